"""From attack scores to figures with limits, guarantee and verdict.

Passing and alarming are two tests. *Pass* is non-inferiority: the one-sided upper 95% bound must lie
under the limit, so a leak at the limit is missed at most 5% of the time whatever the size; small
holdouts cost false refusals, and where even a perfect generator would often be refused the verdict is
UNDERPOWERED. *Alarm* (leak shown) asks that a lower bound lies above chance; its error is 1% over the
three figures together. *Contradiction* of the guarantee is a third: the one-run p-value of Steinke,
Nasr and Jagielski (2023) at the receipt's (epsilon, delta), below 0.001; the interval of one run would
not do, since scores of one run are not independent (field/privacy.md 9).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from privsynth.validate.bounds import advantage_bound, auc_bound, precision_bound
from privsynth.validate.membership.neighbour import Scores
from privsynth.validate.metric import Metric, Verdict
from privsynth.validate.rates import (
    HALVES_INFLATION,
    Interval,
    advantage,
    clopper_pearson,
    delong,
    top_precision,
)

MISS = 0.05
ALARM = 0.01
CONTRADICTION = 0.001
PORTION = 0.02
_FIGURES = 3


@dataclass(frozen=True)
class Paid:
    """What was paid for the model: the guarantee that attacks are held against.

    Attributes:
        epsilon, delta: of the whole release.
        mu: GDP parameter of the fit alone: all that synthetic rows can give away.
    """

    epsilon: float
    delta: float
    mu: float


def auc_error(n: int) -> float:
    """Standard error of an AUC near 1/2 with ``n`` subjects a side, inflated for the shared reference."""
    return HALVES_INFLATION / math.sqrt(6 * n)


def auc_limit(n: int, paid: Paid) -> float:
    """The largest AUC that passes with ``n`` subjects a side: .57 to n = 1,000, .55 at 2,000, .53 from 10,000.

    Never within two standard errors of what the guarantee itself allows at epsilon <= 1: a correct
    model would be refused by luck.
    """
    limit = float(np.interp(math.log(n), np.log([1000, 2000, 10_000]), [0.57, 0.55, 0.53]))
    return max(limit, auc_bound(paid.mu) + 2 * auc_error(n)) if paid.epsilon <= 1 else limit


def precision_limit(k: int, paid: Paid) -> float:
    """The largest share of members among the top ``k`` that passes: .84 at 40, .61 at 400; as :func:`auc_limit`."""
    limit = min(0.85, 0.5 + 2.15 / math.sqrt(k))
    return max(limit, precision_bound(PORTION, mu=paid.mu) + 1 / math.sqrt(k)) if paid.epsilon <= 1 else limit


def top_k(n: int) -> int:
    """How many of the highest of 2n scores are looked at."""
    return max(1, round(PORTION * 2 * n))


def powered(n: int, paid: Paid) -> bool:
    """Whether a perfect generator passes both limits with ``n`` subjects a side, each 99 times of 100."""
    if n < 2:
        return False
    z = NormalDist().inv_cdf(1 - MISS) + NormalDist().inv_cdf(0.99)
    k = top_k(n)
    lucky = min(k, math.ceil(k / 2 + NormalDist().inv_cdf(0.99) * math.sqrt(k) / 2))
    upper = clopper_pearson(lucky, k, level=1 - 2 * MISS).high
    return 0.5 + z * auc_error(n) <= auc_limit(n, paid) and upper <= precision_limit(k, paid)


def detectable_auc(n: int) -> float:
    """The least AUC that the alarm sees with probability 80% with ``n`` subjects a side."""
    return 0.5 + (NormalDist().inv_cdf(1 - ALARM / _FIGURES) + NormalDist().inv_cdf(0.8)) * auc_error(n)


def one_run_p(right: int, guesses: int, candidates: int, *, epsilon: float, delta: float) -> float:
    """The chance of ``right`` or more right among ``guesses``, if the model is (epsilon, delta)-DP.

    Each of the ``candidates`` was in or out by a fair coin. P[B >= v] + 2mδ·max_i (P[B >= v-i] - P[B >= v])/i
    with B ~ Binomial(guesses, e^ε/(1+e^ε)). Here as many are in as out, and all guesses say "in": a right
    one makes the next less likely, so the coins' fixed number errs to the safe side.
    """
    from scipy.stats import binom

    if right == 0:
        return 1.0
    rate = 1 / (1 + math.exp(-epsilon))
    tail = binom.sf(np.arange(right - 1, -2, -1), guesses, rate)
    slack = np.max((tail[1:] - tail[0]) / np.arange(1, right + 1))
    return float(min(1.0, tail[0] + 2 * candidates * delta * slack))


def judge(
    at: Callable[[float], Interval], *, chance: float, limit: float, enough: bool, contradicted: bool = False
) -> Verdict:
    """The verdict of one figure, given its interval ``at`` a two-sided level."""
    lower, upper = at(1 - 2 * ALARM / _FIGURES).low, at(1 - 2 * MISS).high
    if contradicted:
        return Verdict.CONTRADICTS_GUARANTEE
    if lower > limit:
        return Verdict.FAIL_LEAK_SHOWN
    if not enough:
        return Verdict.UNDERPOWERED
    if upper > limit:
        return Verdict.FAIL_LIMIT
    return Verdict.PASS_NOTED if lower > chance else Verdict.PASS


def attack_metrics(
    scores: Scores, copied: Scores, paid: Paid, *, name: str, title: str, seed: int
) -> tuple[Metric, ...]:
    """AUC, precision among the top 2% and advantage of one attack, each with its bound.

    Args:
        scores: on the synthetic rows.
        copied: the same game on verbatim copies of training rows: the ceiling, and the proof that this
            attack can see a leak in these data.
    """
    n = len(scores.members)
    enough = powered(n, paid)

    def auc_of(given: Scores, level: float) -> Interval:
        return delong(given.members, given.others, level=level, inflation=HALVES_INFLATION)

    def top_of(given: Scores, level: float) -> Interval:
        return top_precision(
            given.members, given.others, rng=np.random.default_rng(seed), portion=PORTION, level=level
        )[0]

    def advantage_of(given: Scores, level: float) -> Interval:
        return advantage(given.members, given.others, given.member_half, given.other_half, level=level)

    k = top_k(n)
    right = round(top_of(scores, 0.95).value * k)
    p = one_run_p(right, k, 2 * n, epsilon=paid.epsilon, delta=paid.delta)
    limits = {"auc": auc_limit(n, paid), "top": precision_limit(k, paid)}
    return (
        Metric(
            id=f"membership.{name}.auc",
            family="membership",
            name=f"{title}: AUC",
            floor=0.5,
            value=auc_of(scores, 0.95),
            ceiling=auc_of(copied, 0.95).value,
            n=n,
            bound=auc_bound(paid.mu),
            limit=limits["auc"],
            verdict=judge(lambda level: auc_of(scores, level), chance=0.5, limit=limits["auc"], enough=enough),
            note=f"in or out of train, told from the synthetic rows; an AUC of {detectable_auc(n):.3f} would be seen",
        ),
        Metric(
            id=f"membership.{name}.top",
            family="membership",
            name=f"{title}: members among the top {PORTION:.0%}",
            floor=0.5,
            value=top_of(scores, 0.95),
            ceiling=top_of(copied, 0.95).value,
            n=n,
            bound=precision_bound(PORTION, mu=paid.mu),
            limit=limits["top"],
            verdict=judge(
                lambda level: top_of(scores, level),
                chance=0.5,
                limit=limits["top"],
                enough=enough,
                contradicted=p <= CONTRADICTION,
            ),
            note=f"the {k} surest guesses; finds a few copied rows, which the AUC does not",
        ),
        Metric(
            id=f"membership.{name}.advantage",
            family="membership",
            name=f"{title}: advantage",
            floor=0.0,
            value=advantage_of(scores, 0.95),
            ceiling=advantage_of(copied, 0.95).value,
            n=n,
            bound=advantage_bound(paid.mu),
            note="hits less false alarms, the threshold chosen on the other half",
        ),
    )
