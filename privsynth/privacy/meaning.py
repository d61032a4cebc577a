"""What the best possible attacker can do, from the privacy curve itself and not from one ε of it.

Two things may be known of what was released. A :class:`Curve`: it is μ-GDP but for a slack, the part of δ that was set
aside for what has no μ. Or only a :class:`Bound`: (ε, δ), as under a filter of kind ``rdp``, which says far less. Each
answers the same questions (:class:`Known`):

- ``caught``: with which probability can an attacker be right about somebody who is in the data, if he may be wrong
  about somebody who is not with probability ``outsiders``? Neyman and Pearson: no attacker does better.
- ``surprise``: with which probability may anybody's odds move by more than ``factor``?

For ``subjects`` taken together the question is asked along a chain of neighbours, one subject at each step: what r
subjects change is at most r applications of what one changes. Somebody's *value* is such a chain of two: the person
with the old value leaves, and the one with the new value comes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from privsynth.privacy.gdp import chain_slack, check_number, delta_of, epsilon_of, mu_of, noise_delta

_MOST_SUBJECTS = 1000


class Known(Protocol):
    """What is known of a release, or of all releases together."""

    @property
    def factor(self) -> float:
        """By how much odds may move, but for ``surprise``; at least 1."""
        ...

    @property
    def surprise(self) -> float:
        """With which probability anybody's odds may move by more than ``factor``, either way."""
        ...

    def caught(self, outsiders: float, *, subjects: int = 1) -> float:
        """The best attacker's rate of right guesses about insiders at the rate ``outsiders`` of wrong ones."""
        ...

    def epsilon_of(self, subjects: int) -> tuple[float, float]:
        """(ε, δ) of so many subjects together; δ grows only where it must."""
        ...


@dataclass(frozen=True)
class Curve:
    """μ-GDP, but for two slacks.

    Attributes:
        mu: above 0.
        slack: every pair of neighbours is μ-GDP except with this probability (released categories, trained steps).
        drawn: every law lies within this of the ideal one, in total variation (the tables that noise is drawn from).
        epsilon, delta: the statement that it was bought by: at ``epsilon`` the curve and both slacks are within delta.
    """

    mu: float
    slack: float
    drawn: float
    epsilon: float
    delta: float

    def __post_init__(self) -> None:
        check_number("mu", self.mu, 1e-12, 1e4)
        check_number("slack", self.slack, 0.0, 1.0)
        check_number("drawn", self.drawn, 0.0, 1.0)
        _check_statement(self.epsilon, self.delta)

    @property
    def factor(self) -> float:
        """See :class:`Known`: e^ε."""
        return math.exp(self.epsilon)

    @property
    def surprise(self) -> float:
        """See :class:`Known`; for every view of the release, as ``gdp.odds_exceed``, the slack with it.

        Of the events S with P(S) ≥ e^ε·Q(S) the likeliest is {L > t} with t < ε, so low that the two are equal; the
        slacks help to make them equal, and add themselves.
        """
        from scipy.special import ndtr

        spare = self.slack + (1 + self.factor) * self.drawn

        def short(t: float) -> bool:
            """Whether {L > t} lacks more for e^ε than there is to spare."""
            with_, without = ndtr(self.mu / 2 - t / self.mu), ndtr(-self.mu / 2 - t / self.mu)
            return bool(with_ + spare < self.factor * without)

        lowest = -(self.mu**2) - 40.0 * self.mu
        if not short(lowest):
            return 1.0
        low, _ = _turn(short, lowest, self.epsilon)
        likeliest = float(ndtr(self.mu / 2 - low / self.mu)) + spare
        return min(1.0, likeliest * (1 + 1 / self.factor) * (1 + 1e-9))

    def caught(self, outsiders: float, *, subjects: int = 1) -> float:
        """See :class:`Known`: r times F(a) = Φ(Φ⁻¹(a) + μ) + slack, which without slack is Φ(Φ⁻¹(a) + r·μ); before and
        after it comes what was drawn. F covers "with probability slack all is told, else μ-GDP", as Φ(Φ⁻¹(a) + μ) is
        concave in a."""
        from scipy.special import ndtr, ndtri

        rate = min(1.0, _check_question(outsiders, subjects) + self.drawn)
        if self.slack == 0.0:
            rate = float(ndtr(ndtri(rate) + subjects * self.mu))
        else:
            for _ in range(subjects):
                rate = min(1.0, float(ndtr(ndtri(rate) + self.mu)) + self.slack)
        return min(1.0, rate + self.drawn)

    def epsilon_of(self, subjects: int) -> tuple[float, float]:
        """See :class:`Known`: of r·μ, at the same δ or at twice what the slacks come to along the chain."""
        if subjects == 1:
            return self.epsilon, self.delta
        slack = chain_slack(self.mu, subjects, slack=self.slack, drawn=self.drawn)
        if slack >= 0.5:
            return math.inf, 1.0
        delta = max(self.delta, 2 * slack)
        return epsilon_of(subjects * self.mu, delta=(delta - slack) * (1 - 1e-12)), delta


@dataclass(frozen=True)
class Bound:
    """(ε, δ) and nothing else: the worst of all curves that meet it."""

    epsilon: float
    delta: float

    def __post_init__(self) -> None:
        _check_statement(self.epsilon, self.delta)

    @property
    def factor(self) -> float:
        """See :class:`Known`: 2·e^ε. How often odds move by more than e^ε itself, (ε, δ) alone does not say."""
        return 2 * math.exp(self.epsilon)

    @property
    def surprise(self) -> float:
        """See :class:`Known`: P(S) ≥ 2e^ε·Q(S) and P(S) ≤ e^ε·Q(S) + δ give P(S) ≤ 2δ."""
        return min(1.0, 2 * self.delta * (1 + 1 / self.factor))

    def caught(self, outsiders: float, *, subjects: int = 1) -> float:
        """See :class:`Known`: r times min(e^ε·a + δ, 1 − e^−ε·(1 − δ − a))."""
        rate = _check_question(outsiders, subjects)
        for _ in range(subjects):
            rate = min(1.0, math.exp(self.epsilon) * rate + self.delta, self._far(rate))
        return rate

    def epsilon_of(self, subjects: int) -> tuple[float, float]:
        """See :class:`Known`: r·ε, and δ·(e^(rε) − 1)/(e^ε − 1)."""
        grown = sum(math.exp(min(700.0, step * self.epsilon)) for step in range(subjects))
        return subjects * self.epsilon, min(1.0, self.delta * grown)

    def _far(self, rate: float) -> float:
        return 1 - math.exp(-self.epsilon) * max(0.0, 1 - self.delta - rate)


def curve_of(mu: float, *, epsilon: float, delta: float) -> Curve:
    """The curve of a release that was bought at (epsilon, delta) and has ``mu``: what μ does not use up of δ is slack,
    and of that the slice of :func:`gdp.noise_delta` is for the tables."""
    slice_ = noise_delta(delta)
    slack = delta - delta_of(mu, epsilon=epsilon) - slice_
    return Curve(mu, slack if slack > 1e-6 * delta else 0.0, _drawn(slice_, epsilon), epsilon, delta)


def curve_of_cap(epsilon: float, delta: float) -> Curve:
    """What a filter of kind ``gdp`` with this cap promises of everything together (docs/proofs/filters.md 3)."""
    own = delta / 100
    return Curve(mu_of(epsilon, delta - own), own / 2, _drawn(own / 2, epsilon), epsilon, delta)


# --- helpers -------------------------------------------------------------------------------------


def _drawn(slice_: float, epsilon: float) -> float:
    """The total variation that a slice of δ pays for: it takes (1 + e^ε) times it (docs/proofs/noise.md 4)."""
    return slice_ / (1 + math.exp(epsilon))


def _turn(holds: Callable[[float], bool], low: float, high: float) -> tuple[float, float]:
    """Two neighbouring points between which ``holds`` changes; it differs at ``low`` and ``high``."""
    at_low = holds(low)
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if holds(middle) == at_low else (low, middle)
    return low, high


def _check_statement(epsilon: float, delta: float) -> None:
    check_number("epsilon", epsilon, 1e-6, 700.0)
    check_number("delta", delta, 1e-300, math.nextafter(1.0, 0.0))


def _check_question(outsiders: float, subjects: int) -> float:
    check_number("the rate of wrong guesses about outsiders", outsiders, 0.0, 1.0)
    check_number("subjects", subjects, 1, _MOST_SUBJECTS)
    return float(outsiders)
