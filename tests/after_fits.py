"""The noise of a transcript against the rows that it was drawn for: looked at after every fit that the tests make.

Only tests can do this: it takes the exact counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2

from benchmarks.auditing import exact
from privsynth.data.codec import Codes
from privsynth.data.records import Train
from privsynth.generators.marginals import MarginalModel, Marginals
from privsynth.generators.marginals.transcript import MarginalTranscript
from privsynth.privacy.noise import SecureNoise, SeededNoise

Floats = npt.NDArray[np.float64]
Residuals = dict[str, list[Floats]]
Fit = Callable[..., MarginalModel]

ALARM = 1e-9
"""False alarms of a fit; some thousands of fits are looked at in a run of all tests."""
SHIPPED = (SecureNoise, SeededNoise, type(None))


def residuals(transcript: MarginalTranscript, codes: Codes, cells: Sequence[int]) -> Residuals:
    """Per stage each table's noise, in units of its stated standard deviation."""
    out: Residuals = {}
    for m in transcript.measurements:
        noise = (m.counts - exact(codes, cells, m)).astype(np.float64).ravel()
        out.setdefault(m.stage, []).append(noise / math.sqrt(m.variance))
    return out


def spread_fits(parts: Sequence[Floats], *, alarm: float = ALARM) -> bool:
    """Two-sided chi-square of Σ (y − x)² / variance; wrong once in 1/``alarm`` for the stated noise."""
    z = np.concatenate(parts)
    return bool(chi2.ppf(alarm / 2, z.size) < float(z @ z) < chi2.isf(alarm / 2, z.size))


def look(model: MarginalModel, train: Train) -> None:
    """Fail unless transcript minus true counts is noise of the stated size, in all and in each stage."""
    codec = model.codec
    stages = residuals(model.transcript, codec.encode(train.records.frame), [c.cells for c in codec.columns])
    together = [table for tables in stages.values() for table in tables]
    for stage, parts in {**stages, "all": together}.items():
        assert spread_fits(parts), f"the noise of stage {stage!r} is not what the transcript says"


def looked_at(fit: Fit) -> Fit:
    """``fit``, and a look at each model that the shipped recipe made with a shipped source of noise."""

    @wraps(fit)
    def fitted(self: Marginals, train: Train, hold: Any, **given: Any) -> MarginalModel:
        model = fit(self, train, hold, **given)
        if type(self) is Marginals and type(given.get("noise")) in SHIPPED:
            look(model, train)
        return model

    return fitted
