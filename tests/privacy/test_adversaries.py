"""No two steps cost more than the cap under the filters that grant them; under three unsound rules some do.

Figures are exact up to stated brackets (adversaries.py). Where a filter decides, the second step is the worst of *all*
mechanisms that it would still grant; only the first is searched for (benchmarks/bench_adversaries.py searches longer).
"""

from __future__ import annotations

import math
import sys
from typing import Any

import mpmath
import numpy as np
import pytest

from privsynth.privacy.filters import GdpFilter, RenyiFilter, automatic_orders
from privsynth.privacy.gdp import delta_of
from tests.privacy.adversaries import (
    ROUNDING,
    ByFilter,
    Mechanism,
    Natural,
    Pair,
    Rule,
    SplitOfNone,
    TightRenyi,
    best_coin,
    between,
    coin,
    finishers,
    finite,
    gaussian,
    laplace,
    leak,
    menu,
    or_everything,
    randomised_response,
    steps,
    strongest,
)

EPSILON, DELTA = 1.0, 1e-5
TINY = 1e-30  # delta_a, so that nearly all of delta is the filter's own
RESOLUTION = 1e-3  # of the cap: what the brackets leave open where a rule spends it all
AUTO = automatic_orders(EPSILON, DELTA)

GDP = ByFilter(GdpFilter(EPSILON, DELTA, TINY))
RENYI = ByFilter(RenyiFilter(EPSILON, DELTA, TINY, AUTO))
TWO_ORDERS = ByFilter(RenyiFilter(EPSILON, DELTA, TINY, (12.0, 40.0)))
TIGHT = ByFilter(TightRenyi(EPSILON, DELTA, TINY, (12.0, 40.0)))
SOUND = {"gdp": GDP, "rdp auto": RENYI, "rdp 12, 40": TWO_ORDERS, "rdp 12, 40, tight": TIGHT}
UNSPLIT = {
    "rdp auto": ByFilter(SplitOfNone(EPSILON, DELTA, TINY, AUTO)),
    "rdp 12, 40": ByFilter(SplitOfNone(EPSILON, DELTA, TINY, (12.0, 40.0))),
}
NATURAL = Natural(EPSILON, DELTA)

FIRST = [
    randomised_response(0.03),
    randomised_response(0.1),
    coin(0.3, 0.29),
    coin(0.01, 0.005),
    coin(0.5, 0.47),
    finite("three", [0.02, 0.5, 0.48], [0.015, 0.49, 0.495]),
    gaussian(6.0),
    gaussian(10.0),
    laplace(20.0),
]


def ratio(rule: Rule, first: Mechanism) -> float:
    """δ of the worst that the rule grants, over the cap; 0 where it does not even grant the first step."""
    if not rule.grants(first):
        return 0.0
    second = finishers(rule, first, epsilon=EPSILON) if isinstance(rule, ByFilter) else menu(rule, first)
    return between(first, second, epsilon=EPSILON)[isinstance(rule, ByFilter)] / DELTA


def assert_kept(rule: Rule) -> None:
    worst = max(FIRST, key=lambda first: ratio(rule, first))
    found = ratio(rule, worst)
    sys.stdout.write(f"worst of {len(FIRST)} firsts: {worst.name}, {found:.4f} of the cap\n")
    assert found <= 1 + RESOLUTION


# --- the figures ---------------------------------------------------------------------------------


def curves(made: Mechanism, t: float) -> tuple[float, float]:
    """Of the four pairs the largest lower and the least upper H(t)."""
    low, high = (
        [float(made.pair(above=above, turned=turned).curve(np.array([t]))[0]) for turned in (False, True)]
        for above in (False, True)
    )
    return max(low) - ROUNDING, min(high) + ROUNDING


@pytest.mark.parametrize("noise", [1.5, 4.03, 10.0])
@pytest.mark.parametrize("t", [0.0, 0.1, 0.5, 1.0])
def test_pairs_bracket_the_curve_of_a_gaussian(noise: float, t: float) -> None:
    low, high = curves(gaussian(noise), t)
    with mpmath.workdps(40):
        mu, e = 1 / mpmath.mpf(noise), mpmath.mpf(t)
        exact = mpmath.ncdf(mu / 2 - e / mu) - mpmath.exp(e) * mpmath.ncdf(-mu / 2 - e / mu)
    assert low <= exact <= high
    assert exact <= delta_of(1 / noise, epsilon=t)
    assert high - low <= 1e-4 * exact + 3 * ROUNDING


@pytest.mark.parametrize("scale", [1.48, 10.0])
@pytest.mark.parametrize("t", [0.0, 0.05, 0.5])
def test_pairs_bracket_the_curve_of_laplace(scale: float, t: float) -> None:
    low, high = curves(laplace(scale), t)
    assert low <= max(0.0, -math.expm1((t - 1 / scale) / 2)) <= high <= low + 1e-8


def test_two_gaussian_steps_are_one() -> None:
    """The composition has a closed form, and no split of μ² into two steps gains anything."""
    low, high = between(gaussian(6.0), [gaussian(4.8)], epsilon=EPSILON)
    assert low <= delta_of(math.hypot(1 / 6.0, 1 / 4.8), epsilon=EPSILON) <= high
    assert high <= low * (1 + RESOLUTION)


def test_no_mechanism_of_three_outcomes_beats_the_best_coin() -> None:
    """Drawn at random, each made weaker until it costs what the coin may."""
    rng, order, rest, t = np.random.default_rng(1), 12.0, 0.2, 0.97
    best = float(best_coin(order, rest, t).below.curve(np.array([t]))[0])
    drawn = []
    for _ in range(200):
        q = rng.dirichlet([1.0, 1.0, 0.05])
        towards = rng.dirichlet([1.0, 1.0, 0.05])
        low, high = 0.0, 1.0
        for _ in range(40):
            middle = (low + high) / 2
            within = Pair(q + middle * (towards - q), q).renyi(order) <= rest
            low, high = (middle, high) if within else (low, middle)
        drawn.append(float(Pair(q + low * (towards - q), q).curve(np.array([t]))[0]))
    assert 0 < max(drawn) <= best


# --- the examples --------------------------------------------------------------------------------

LEAKS = 1 + 1 / (1 + math.exp(0.1))  # in units of δ: randomised response, then what its answer tells to take
AFTER_PLUS = randomised_response(0.9 - math.log1p(-DELTA * (1 + math.exp(-0.1)) * (1 + math.exp(-0.9)) * 0.99999))
EXAMPLES: list[tuple[Mechanism, list[Mechanism], float, float]] = [
    (gaussian(10.0), [gaussian(4.03), laplace(1.48)], 1.871, 1e-3),
    (gaussian(8.0), [gaussian(4.2175), laplace(1.7015), randomised_response(0.58), leak(9.999e-6)], 2.694, 1e-3),
    (randomised_response(0.1), [AFTER_PLUS, leak(DELTA * (1 - 2e-6))], LEAKS, 1e-4),
]


def examine(first: Mechanism, second: list[Mechanism], expected: float, wide: float) -> None:
    low, high = between(first, second, epsilon=EPSILON)
    assert expected * DELTA * (1 - wide) <= low <= high <= expected * DELTA * (1 + wide)
    assert all(NATURAL.grants(first, step) for step in second)
    assert low > DELTA  # what the natural rule lets happen
    for rule in SOUND.values():
        granted = [step for step in second if rule.grants(first, step)]
        if rule.grants(first):
            assert between(first, granted, epsilon=EPSILON)[1] <= DELTA


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example[0].name)
def test_examples_break_the_natural_filter_and_no_other(example: Any) -> None:
    examine(*example)


def test_sampled_steps_break_the_natural_filter_and_no_other() -> None:
    examine(steps(0.01, 1.5, 300, interval=1e-5), [gaussian(4.33), laplace(1.89)], 1.80, 0.03)
    examine(gaussian(6.0), [gaussian(4.77), steps(0.001, 0.606, 200, interval=2e-5)], 1.60, 0.02)


def test_two_orders_without_a_split_of_delta_break_the_cap() -> None:
    """Randomised response of 0.03, then a coin by its answer: 1.247·δ with the tightest conversion; as split, not."""
    first = randomised_response(0.03)
    whole = ByFilter(TightRenyi(EPSILON, DELTA, TINY, (12.0, 40.0), shares=1))
    assert ratio(whole, first) == pytest.approx(1.247, abs=2e-3)
    assert ratio(UNSPLIT["rdp 12, 40"], first) < ratio(whole, first)
    assert ratio(TIGHT, first) <= 1 + RESOLUTION
    assert ratio(TWO_ORDERS, first) <= ratio(TIGHT, first)


# --- the search ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SOUND)
def test_no_two_steps_exceed_the_cap(name: str) -> None:
    assert_kept(SOUND[name])


def test_the_gdp_filter_loses_nothing() -> None:
    assert ratio(GDP, gaussian(6.0)) == pytest.approx(1.0, abs=RESOLUTION)


@pytest.mark.parametrize("name", UNSPLIT)
def test_orders_without_the_split_are_found_out(name: str) -> None:
    with pytest.raises(AssertionError):
        assert_kept(UNSPLIT[name])


def test_the_natural_filter_is_found_out() -> None:
    with pytest.raises(AssertionError):
        assert_kept(NATURAL)


# --- events with a δ of their own ---------------------------------------------------------------


def test_own_deltas_come_out_of_the_cap_and_not_on_top_of_it() -> None:
    """A finisher that tells everything with probability δ_a, else is what is left in μ: within δ_f + δ_a."""
    half = DELTA / 2

    def worst(filter_: GdpFilter, first: Mechanism) -> float:
        rule = ByFilter(filter_)
        plain = strongest(gaussian, rule, first, 1e-2, 1e6)
        mixed = or_everything(plain, filter_.delta_a)
        assert rule.grants(first, mixed)
        assert not rule.grants(first, or_everything(plain, filter_.delta_a * 1.01))
        assert not rule.grants(first, mixed, leak(DELTA / 1000))
        return between(first, [mixed, plain, leak(filter_.delta_a)], epsilon=EPSILON)[1] / DELTA

    for first in (randomised_response(0.1), gaussian(10.0)):
        assert worst(GdpFilter(EPSILON, DELTA, half), first) <= 1 + RESOLUTION
    on_top = GdpFilter(EPSILON, DELTA + half, half)
    assert worst(on_top, gaussian(10.0)) > 1.4
