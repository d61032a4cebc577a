"""Attack scores boiled down to what the plots show: no score of a single subject is kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from privsynth.validate.membership.neighbour import Scores

Point = tuple[float, float]

_BINS = 40
_POINTS = 120


@dataclass(frozen=True, repr=False)
class Curve:
    """Histogram and ROC of an attack.

    Attributes:
        edges: (bins + 1) score edges; the outermost bins hold all beyond them too.
        members, others: (bins) counts.
        roc: (false-positive rate, true-positive rate) points, rising; at most 120, even in log FPR.
        copied: the same for verbatim copies: what a leak looks like on these data.
        n: subjects a side.
    """

    edges: tuple[float, ...]
    members: tuple[int, ...]
    others: tuple[int, ...]
    roc: tuple[Point, ...]
    copied: tuple[Point, ...]
    n: int

    def __repr__(self) -> str:
        return "Curve(...)"


def draw_curve(scores: Scores, copied: Scores) -> Curve:
    """Bin the scores of one attack and of its control."""
    pooled = np.concatenate([scores.members, scores.others])
    low, high = (float(q) for q in np.quantile(pooled, [0.002, 0.998]))
    edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)

    def counts(values: npt.NDArray[np.float64]) -> tuple[int, ...]:
        return tuple(int(c) for c in np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0])

    return Curve(
        edges=tuple(float(e) for e in edges),
        members=counts(scores.members),
        others=counts(scores.others),
        roc=_roc(scores),
        copied=_roc(copied),
        n=len(scores.members),
    )


def _roc(scores: Scores) -> tuple[Point, ...]:
    cuts = np.unique(np.concatenate([scores.members, scores.others]))[::-1]
    hit = 1 - np.searchsorted(np.sort(scores.members), cuts) / len(scores.members)
    false = 1 - np.searchsorted(np.sort(scores.others), cuts) / len(scores.others)
    wanted = np.geomspace(1 / len(scores.others), 1, _POINTS)
    kept = np.unique(np.searchsorted(false, wanted, side="right") - 1)
    return tuple((float(false[i]), float(hit[i])) for i in kept[kept >= 0])
