"""The inner filter of a fit that adapts: exact sums, nothing read unpaid, and no adversary gets past its curve."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import dp_accounting as dpa
import numpy as np
import pytest
from numpy.typing import NDArray

from privsynth.errors import BudgetError, BudgetExhausted
from privsynth.privacy.accountant import mu_squared
from privsynth.privacy.envelope import Envelope
from privsynth.privacy.gdp import delta_of
from privsynth.privacy.noise import SeededNoise, dyadic_at_least
from tests.privacy.adversaries import (
    Mechanism,
    Rule,
    between,
    coin,
    finite,
    gaussian,
    laplace,
    menu,
    randomised_response,
    strongest,
)

Ints = NDArray[np.int64]


def envelope(mu: float = 1.0, *, seed: int = 1) -> Envelope:
    return Envelope(Fraction(mu) ** 2, noise=SeededNoise(seed))


def unread() -> Ints:
    raise AssertionError("read before it was paid")


# --- sums ----------------------------------------------------------------------------------------


def test_what_is_spent_is_what_the_events_cost() -> None:
    held = envelope(3.0)
    held.measure(lambda: np.zeros(4, dtype=np.int64), sigma=2.0, sensitivity=9)
    held.spend(dpa.GaussianDpEvent(1.0))
    held.measure(lambda: np.zeros(4, dtype=np.int64), sigma=2.5, sensitivity=Fraction(5, 2))
    spent = Fraction(9, 4) + 1 + Fraction(2, 5)
    assert 9 - spent - Fraction(3, 2**256) <= held.left <= 9 - spent
    assert held.admits(dpa.GaussianDpEvent(0.5))
    assert not held.admits(dpa.GaussianDpEvent(0.43))


def test_one_unit_in_the_last_place_decides() -> None:
    event = dpa.GaussianDpEvent(3.0)
    cost = mu_squared(event)
    assert not Envelope(cost, noise=SeededNoise(1)).admits(event), "1/9 is rounded down as a cap and up as a cost"
    held = Envelope(cost + Fraction(1, 2**255), noise=SeededNoise(1))
    held.spend(event)
    with pytest.raises(BudgetExhausted):
        held.spend(dpa.GaussianDpEvent(2.0**60))


@pytest.mark.parametrize("sigma", [0.5, 1.0, 3.9])
def test_nothing_is_read_or_spent_that_does_not_fit(sigma: float) -> None:
    held = envelope(0.25)
    before = held.left
    with pytest.raises(BudgetExhausted, match="envelope"):
        held.measure(unread, sigma=dyadic_at_least(sigma), sensitivity=1)
    with pytest.raises(BudgetExhausted):
        held.measure_two(unread, sigma=(1.0, 1.0), first=np.array([True]), cost=Fraction(1))
    assert held.left == before
    held.spend(dpa.GaussianDpEvent(4.0))
    assert held.left == 0


@pytest.mark.parametrize(
    "event",
    [
        dpa.ZCDpEvent(0.01, 0.0),
        dpa.PoissonSampledDpEvent(0.01, dpa.GaussianDpEvent(100.0)),
        dpa.ComposedDpEvent([dpa.GaussianDpEvent(100.0), dpa.ZCDpEvent(0.001, 0.0)]),
    ],
)
def test_events_without_a_proved_mu_are_refused(event: dpa.DpEvent) -> None:
    held = envelope(5.0)
    for ask in (held.admits, held.spend):
        with pytest.raises(BudgetError) as refused:
            ask(event)
        assert not isinstance(refused.value, BudgetExhausted)
    assert held.left == 25


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.nan, math.inf, 1.2345678, 2.0**-5])
def test_noise_off_the_sampler_s_grid_is_refused_before_it_is_paid(sigma: float) -> None:
    held = envelope(5.0)
    with pytest.raises(BudgetError):
        held.measure(unread, sigma=sigma, sensitivity=1)
    with pytest.raises(BudgetError, match="less than nothing"):
        held.measure(unread, sigma=1.0, sensitivity=-1)
    assert held.left == 25


@pytest.mark.parametrize("cap", [Fraction(0), Fraction(-1), Fraction(1, 2**300)])
def test_an_envelope_holds_something(cap: Fraction) -> None:
    with pytest.raises(BudgetError, match="nothing"):
        Envelope(cap, noise=SeededNoise(1))


def test_a_crash_between_paying_and_the_answer_gives_nothing_back() -> None:
    held = envelope(1.0)
    with pytest.raises(AssertionError):
        held.measure(unread, sigma=2.0, sensitivity=1)
    assert held.left == Fraction(3, 4)


def test_the_noise_is_what_was_paid_for() -> None:
    """Of 40,000 draws the variance is within 5% of σ² + 1/12: seven standard deviations; the seed is fixed."""
    drawn = envelope(1.0).measure(lambda: np.zeros(40_000, dtype=np.int64), sigma=8.0, sensitivity=2)
    assert float(drawn.var()) == pytest.approx(64 + 1 / 12, rel=0.05)


# --- adversaries -----------------------------------------------------------------------------------

MU = 0.25
POINTS = (0.0, 0.05, 0.25, 1.0)
RESOLUTION = 2e-3
FIRST = [
    gaussian(6.0),
    gaussian(10.0),
    randomised_response(0.05),
    coin(0.3, 0.29),
    laplace(20.0),
    finite("three", [0.02, 0.5, 0.48], [0.018, 0.49, 0.492]),
]


@dataclass(frozen=True)
class ByEnvelope:
    """The envelope of ``MU`` decides. A mechanism that no event says is put in at its μ²; what has none is refused."""

    cost: Callable[[Mechanism], Fraction | None] = field(default=lambda mechanism: mechanism.mu2)

    def grants(self, *path: Mechanism) -> bool:
        """Whether every mechanism of ``path`` is paid, in order."""
        held = envelope(MU)
        try:
            for mechanism in path:
                cost = self.cost(mechanism)
                if cost is None:
                    return False
                held.measure(lambda: np.zeros(1, dtype=np.int64), sigma=1.0, sensitivity=cost)
        except BudgetExhausted:
            return False
        return True


@dataclass(frozen=True)
class Natural:
    """A fault: granted while the path's own curve, had it been fixed in advance, lies below that of ``MU``."""

    epsilon: float

    def grants(self, *path: Mechanism) -> bool:
        """Of one or two mechanisms, at ``epsilon``."""
        return between(path[0], path[1:], epsilon=self.epsilon)[1] <= delta_of(MU, epsilon=self.epsilon)


def bare(mechanism: Mechanism) -> Fraction | None:
    """A fault: pure ε costs μ = ε, without the 2Φ⁻¹(e^ε/(1 + e^ε)) that covers it."""
    if mechanism.event is not None and isinstance(mechanism.event, dpa.LaplaceDpEvent):
        return 1 / Fraction(mechanism.event.noise_multiplier) ** 2
    return mechanism.mu2


def worst(rule: Callable[[float], Rule], *, above: bool, points: Sequence[float] = POINTS, firsts: int = 6) -> float:
    """The largest δ(ε) of two steps over that of ``MU``; the second chosen by the first's answer from all that the
    rule grants: ``above`` from the Gaussian of all that is left, of which everything else is made, and its menu."""
    found = 0.0
    for epsilon in points:
        ruled, stated = rule(epsilon), delta_of(MU, epsilon=epsilon)
        for first in FIRST[:firsts]:
            if stated < 1e-6 or not ruled.grants(first):
                continue
            rest = [strongest(gaussian, ruled, first, 1e-2, 1e6), *menu(ruled, first)]
            second = [made for made in rest if made is not None and (made.delta == 0 or not above)]
            found = max(found, between(first, second, epsilon=epsilon)[above] / stated)
    return found


def test_an_adaptive_chooser_stays_within_the_envelope_s_curve() -> None:
    assert 0.99 < worst(lambda _: ByEnvelope(), above=True) <= 1 + RESOLUTION


def test_an_inner_natural_filter_is_found_out() -> None:
    assert worst(Natural, above=False, points=(0.25,), firsts=2) > 1.05


def test_a_cost_that_is_not_inflated_is_found_out() -> None:
    assert worst(lambda _: ByEnvelope(bare), above=False, points=(0.0, 0.05), firsts=2) > 1.05
