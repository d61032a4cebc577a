"""The noise of a transcript against the rows that it was drawn for: looked at after every fit that the tests make.

Only tests can do this: it takes the exact counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import wraps
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2

from benchmarks.auditing import exact
from benchmarks.auditing_fits import domain_counts
from privsynth.data.codec import Codes
from privsynth.data.records import Train
from privsynth.generators.images.asked import Rows
from privsynth.generators.images.model import PicturedModel
from privsynth.generators.images.portrait import portray
from privsynth.generators.images.statistics import PICTURES, ImageStatistics
from privsynth.generators.images.sums import Noisy, Till
from privsynth.generators.marginals import MarginalModel, Marginals
from privsynth.generators.marginals.purse import Ints, Purse
from privsynth.generators.marginals.terms import Terms
from privsynth.generators.marginals.transcript import VOTES, MarginalTranscript
from privsynth.ledger.store import Hold
from privsynth.privacy.gdp import threshold_of
from privsynth.privacy.noise import SecureNoise, SeededNoise
from privsynth.progress import SILENT

Floats = npt.NDArray[np.float64]
Residuals = dict[str, list[Floats]]
Fit = Callable[..., MarginalModel]

ALARM = 1e-9
"""False alarms of a fit; some thousands of fits are looked at in a run of all tests."""
MANY = 30
SHIPPED = (SecureNoise, SeededNoise, type(None))


def residuals(transcript: MarginalTranscript, codes: Codes, cells: Sequence[int]) -> Residuals:
    """Per stage each table's noise, in units of its stated standard deviation."""
    out: Residuals = {}
    for m in transcript.measurements:
        noise = (m.counts - exact(codes, cells, m)).astype(np.float64).ravel()
        out.setdefault(m.stage, []).append(noise / math.sqrt(m.variance))
    return out


def domain_residuals(recipe: Marginals, transcript: MarginalTranscript, train: Train, delta: float) -> Residuals:
    """The same of the domain stage. Of votes those of categories that are released but once in 1e12, whatever their
    noise: of the others only the ones with much noise are seen.

    Args:
        delta: the slice for open categories.
    """
    out: Residuals = {}
    values, names = transcript.learned.values, list(recipe.schema.modelled)
    for m, (held, before) in zip(transcript.domains, domain_counts(recipe, transcript, train.records), strict=True):
        counts = m.counts
        if m.stage == VOTES:
            bar = threshold_of(m.sigma, delta=delta / len(values), votes=m.contribution) + 7 * m.sigma
            told = dict(zip(values[names[m.clique[0]]], m.counts.tolist(), strict=True))
            sure = before >= bar
            before = before[sure]
            counts = np.array(
                [told.get(name, 0) for name, is_sure in zip(held, sure, strict=True) if is_sure], dtype=np.int64
            )
        out.setdefault(m.stage, []).append((counts - before).astype(np.float64) / math.sqrt(m.variance))
    return {stage: parts for stage, parts in out.items() if any(part.size for part in parts)}


def spread_fits(parts: Sequence[Floats], *, alarm: float = ALARM) -> bool:
    """Two-sided chi-square of Σ (y − x)² / variance; wrong once in 1/``alarm`` for the stated noise. Of fewer than
    ``MANY`` cells one-sided: whole-numbered noise may well be 0 in all of them."""
    z = np.concatenate(parts)
    low = chi2.ppf(alarm / 2, z.size) if z.size >= MANY else -1.0
    return bool(low < float(z @ z) < chi2.isf(alarm / 2, z.size))


def look(recipe: Marginals, model: MarginalModel, train: Train, hold: Hold) -> None:
    """Fail unless transcript minus true counts is noise of the stated size, in all and in each stage."""
    codec = model.codec
    stages = {
        **residuals(model.transcript, codec.encode(train.records.frame), [c.cells for c in codec.columns]),
        **domain_residuals(recipe, model.transcript, train, hold.prices.delta_open),
    }
    check_spread(stages)


def check_spread(stages: Residuals) -> None:
    """Fail unless the noise is of the stated size, in all and in each stage."""
    together = [table for tables in stages.values() for table in tables]
    for stage, parts in {**stages, "all": together}.items():
        assert spread_fits(parts), f"the noise of stage {stage!r} is not what the transcript says"


class Beside:
    """Stands for a purse: sells what a transcript holds, in its order, and keeps the noise in it."""

    def __init__(self, told: Mapping[str, Noisy]) -> None:
        self._told = iter(told.items())
        self.residuals: Residuals = {}

    def take(self, exact: Callable[[], Ints], *, sigma: float, cost: Fraction) -> Ints:
        """As of a purse."""
        return self._given(exact(), np.float64(sigma))

    def take_two(
        self, exact: Callable[[], Ints], *, sigma: tuple[float, float], first: npt.NDArray[np.bool_], cost: Fraction
    ) -> Ints:
        """As of a purse."""
        return self._given(exact(), np.where(first, *sigma))

    def _given(self, exact: Ints, sigma: npt.ArrayLike) -> Ints:
        name, noisy = next(self._told)
        noise = (noisy.counts - exact).astype(np.float64) / np.sqrt(np.square(sigma) + 1 / 12)
        self.residuals.setdefault(name.split()[-1], []).append(noise.ravel())
        return noisy.counts


def look_at_pictures(recipe: ImageStatistics, model: PicturedModel, train: Train, hold: Hold) -> None:
    """The same of a fit of rows with pictures: its tables, and every sum, histogram and second moment."""
    codec, table = model.codec, model.transcript.table
    codes = codec.encode(train.records.frame)
    beside = Beside(model.transcript.told)
    bought = recipe._rows(
        train.records,
        model.table,
        Till(cast("Purse", beside), contribution=hold.contribution),
        Terms.of(hold),
        PICTURES,
        SILENT,
    )
    assert isinstance(bought, Rows)
    portray(bought, bought.setting, rows=recipe._pictured(model.table), beside=recipe._beside(model.table))
    stages = {**residuals(table, codes, [c.cells for c in codec.columns]), **beside.residuals}
    check_spread(stages)


def looked_at_pictures(fit: Callable[..., PicturedModel]) -> Callable[..., PicturedModel]:
    """``fit``, and a look at each model that a shipped source of noise was used for."""

    @wraps(fit)
    def fitted(self: ImageStatistics, train: Train, hold: Hold, **given: Any) -> PicturedModel:
        model = fit(self, train, hold, **given)
        if type(given.get("noise")) in SHIPPED:
            look_at_pictures(self, model, train, hold)
        return model

    return fitted


def looked_at(fit: Fit) -> Fit:
    """``fit``, and a look at each model that the shipped recipe made with a shipped source of noise."""

    @wraps(fit)
    def fitted(self: Marginals, train: Train, hold: Hold, **given: Any) -> MarginalModel:
        model = fit(self, train, hold, **given)
        if type(self) is Marginals and type(given.get("noise")) in SHIPPED:
            look(self, model, train, hold)
        return model

    return fitted
