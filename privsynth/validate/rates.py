"""Rates with their intervals: AUC, proportions, precision among the top scores, advantage.

The AUC's interval is DeLong's (1988), exact under ties by midranks, in Obuchowski's form (1997) where
a subject has several rows. Intervals are two-sided; a one-sided bound at error a is the end of the
two-sided interval at level 1 - 2a.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

HALVES_INFLATION = 1.15
"""Attack scores of one half share one reference, so they are not independent: over 110 safe runs the
empirical spread was up to 1.16 of DeLong's standard error (field/validator.md 2)."""


@dataclass(frozen=True)
class Interval:
    """An estimate with a two-sided interval.

    Attributes:
        value: the estimate.
        low, high: ends of the interval at ``level``.
        level: coverage, in (0, 1).
    """

    value: float
    low: float
    high: float
    level: float = 0.95


def normal_interval(
    value: float, sd: float, *, level: float = 0.95, within: tuple[float, float] = (0.0, 1.0)
) -> Interval:
    """``value`` ± z·``sd``, cut to ``within``."""
    reach = NormalDist().inv_cdf(0.5 + level / 2) * sd
    return Interval(value, max(within[0], value - reach), min(within[1], value + reach), level)


def clopper_pearson(successes: int, trials: int, *, level: float = 0.95) -> Interval:
    """The exact binomial interval: covers with at least ``level`` whatever the rate. No trials: [0, 1]."""
    from scipy.special import betaincinv

    if trials == 0:
        return Interval(float("nan"), 0.0, 1.0, level)
    tail = (1 - level) / 2
    low = 0.0 if successes == 0 else float(betaincinv(successes, trials - successes + 1, tail))
    high = 1.0 if successes == trials else float(betaincinv(successes + 1, trials - successes, 1 - tail))
    return Interval(successes / trials, low, high, level)


def wilson(rate: float, trials: float, *, level: float = 0.95) -> Interval:
    """Wilson's score interval of a rate over ``trials``, which may be an effective number."""
    z = NormalDist().inv_cdf(0.5 + level / 2)
    centre = (rate + z * z / (2 * trials)) / (1 + z * z / trials)
    reach = z / (1 + z * z / trials) * np.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials**2))
    return Interval(rate, max(0.0, float(centre - reach)), min(1.0, float(centre + reach)), level)


@dataclass(frozen=True, repr=False, eq=False)
class Influence:
    """An estimate and what each subject moves it by; its variance is the sum of their squares.

    Differences of two estimates on the same subjects have the difference of the influences: that is
    DeLong's paired comparison.
    """

    value: float
    parts: Floats

    @property
    def sd(self) -> float:
        """Standard deviation of the estimate."""
        return float(np.sqrt(np.sum(self.parts**2)))

    def minus(self, other: Influence) -> Influence:
        """This estimate less another on the same subjects."""
        return Influence(self.value - other.value, self.parts - other.parts)


def auc(scores: Floats, positive: Bools, group: Ints | None = None) -> Influence:
    """The chance that a positive row scores above a negative one, ties counting half.

    Args:
        scores: (n,).
        positive: (n,); both kinds must occur.
        group: (n,) subject of each row as 0 .. g-1; None where each row is its own subject.
    """
    from scipy.stats import rankdata

    m = int(positive.sum())
    n = len(scores) - m
    ranks = rankdata(scores)
    above = np.empty(len(scores))
    above[positive] = (ranks[positive] - rankdata(scores[positive])) / n
    above[~positive] = 1 - (ranks[~positive] - rankdata(scores[~positive])) / m
    value = float(above[positive].mean())
    labels = np.arange(len(scores)) if group is None else group
    parts = np.zeros(int(labels.max()) + 1)
    for side, count in ((positive, m), (~positive, n)):
        involved = np.unique(labels[side]).size
        scale = np.sqrt(involved / (involved - 1)) if involved > 1 else 1.0
        parts += scale * np.bincount(labels[side], weights=(above[side] - value) / count, minlength=len(parts))
    return Influence(value, parts)


def share(hits: Bools, group: Ints | None = None) -> Influence:
    """The share of rows where ``hits``, with subjects as the unit of chance."""
    labels = np.arange(len(hits)) if group is None else group
    value = float(hits.mean())
    parts = np.bincount(labels, weights=(hits - value) / len(hits))
    scale = float(np.sqrt(len(parts) / (len(parts) - 1))) if len(parts) > 1 else 1.0
    return Influence(value, np.asarray(scale * parts, dtype=np.float64))


def delong(members: Floats, others: Floats, *, level: float = 0.95, inflation: float = 1.0) -> Interval:
    """AUC of ``members`` over ``others``, one score a subject, with DeLong's interval.

    ``inflation`` widens the standard error. At an AUC of exactly 0 or 1 DeLong's variance is 0; there
    Clopper-Pearson's interval of no miss among the smaller side stands in, which errs wide.
    """
    labels = np.concatenate([np.ones(len(members), bool), np.zeros(len(others), bool)])
    estimate = auc(np.concatenate([members, others]), labels)
    if estimate.value in (0.0, 1.0):
        least = min(len(members), len(others))
        edge = clopper_pearson(least if estimate.value else 0, least, level=level)
        return Interval(estimate.value, edge.low, edge.high, level)
    return normal_interval(estimate.value, inflation * estimate.sd, level=level)


def accuracy_interval(hits: Influence, *, level: float = 0.95) -> Interval:
    """Wilson's interval at the effective number of trials that the subjects' spread implies."""
    spread = hits.value * (1 - hits.value)
    trials = spread / hits.sd**2 if hits.sd > 0 and spread > 0 else float(len(hits.parts))
    return wilson(hits.value, trials, level=level)


def top_precision(
    members: Floats, others: Floats, *, rng: np.random.Generator, portion: float = 0.02, level: float = 0.95
) -> tuple[Interval, int]:
    """Share of members among the highest ``portion`` of pooled scores, ties broken at random, and K.

    ``members`` and ``others`` are equally many. The cut is symmetric in the labels, so nothing is
    learnt from them and a safe generator's share is 1/2; this is the one-run audit statistic of
    Steinke, Nasr and Jagielski (2023) with K guesses. The interval is Clopper-Pearson's.
    """
    pooled = np.concatenate([members, others])
    k = max(1, round(portion * len(pooled)))
    top = np.lexsort((rng.random(len(pooled)), -pooled))[:k]
    return clopper_pearson(int(np.sum(top < len(members))), k, level=level), k


def advantage(members: Floats, others: Floats, member_half: Ints, other_half: Ints, *, level: float = 0.95) -> Interval:
    """TPR - FPR of "score above a threshold", the threshold of each half chosen on the other half.

    So the value is not the best in hindsight and may be below 0. The interval is Newcombe's (1998,
    method 10): Wilson's intervals of the two rates, combined.
    """
    caught = np.zeros(2, dtype=np.int64)
    for half in (0, 1):
        threshold = _best_threshold(members[member_half != half], others[other_half != half])
        caught[0] += int(np.sum(members[member_half == half] > threshold))
        caught[1] += int(np.sum(others[other_half == half] > threshold))
    hit = wilson(caught[0] / len(members), len(members), level=level)
    false = wilson(caught[1] / len(others), len(others), level=level)
    value = float(hit.value - false.value)
    low = value - np.hypot(hit.value - hit.low, false.high - false.value)
    high = value + np.hypot(hit.high - hit.value, false.value - false.low)
    return Interval(value, float(low), float(high), level)


def _best_threshold(members: Floats, others: Floats) -> float:
    """The pooled score above which TPR - FPR is largest."""
    cuts = np.unique(np.concatenate([members, others]))
    hit = len(members) - np.searchsorted(np.sort(members), cuts, side="right")
    false = len(others) - np.searchsorted(np.sort(others), cuts, side="right")
    return float(cuts[np.argmax(hit / max(len(members), 1) - false / max(len(others), 1))])
