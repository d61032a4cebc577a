"""The curve of Gaussian differential privacy against 300-bit arithmetic: never on the unsafe side."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from statistics import NormalDist
from typing import Any

import dp_accounting as dpa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import MPContext
from scipy.special import ndtr

from privsynth.errors import BudgetError
from privsynth.privacy.accountant import share_out
from privsynth.privacy.budget import Budget
from privsynth.privacy.gdp import (
    chain_slack,
    delta_of,
    epsilon_of,
    float_up,
    loss_exceeds,
    mu_of,
    mu_of_pure,
    noise_delta,
    odds_exceed,
    open_delta,
    root_down,
    root_up,
    threshold_of,
)

LAW = settings(deadline=None, derandomize=True)

EXACT = MPContext()
EXACT.prec = 300


def true_delta(mu: float, epsilon: float) -> Any:
    m, e = EXACT.mpf(mu), EXACT.mpf(epsilon)
    return EXACT.ncdf(m / 2 - e / m) - EXACT.exp(e) * EXACT.ncdf(-m / 2 - e / m)


@LAW
@given(st.floats(-5, 3), st.floats(-30, 36))
def test_delta_is_never_below_the_true_one_and_hardly_above(magnitude: float, place: float) -> None:
    mu = 10**magnitude
    epsilon = max(0.0, mu * mu / 2 + mu * place)
    true, found = true_delta(mu, epsilon), delta_of(mu, epsilon=epsilon)
    assert found >= true
    assert found <= true * (1 + 1e-6) + 1e-305


@pytest.mark.parametrize("sigma", [0.5, 1.0, 3.0, 40.0])
@pytest.mark.parametrize("delta", [1e-3, 1e-6, 1e-12])
def test_epsilon_agrees_with_dp_accounting(sigma: float, delta: float) -> None:
    oracle = dpa.get_epsilon_gaussian(sigma, delta, tol=1e-10)
    assert epsilon_of(1 / sigma, delta=delta) == pytest.approx(oracle, rel=1e-6, abs=1e-9)


BUDGETS = st.tuples(st.floats(1e-4, 50), st.floats(-200, -0.01).map(lambda x: 10**x))


@LAW
@given(BUDGETS)
def test_a_cap_is_within_its_budget_and_is_the_largest(budget: tuple[float, float]) -> None:
    epsilon, delta = budget
    mu = mu_of(epsilon, delta)
    assert true_delta(mu, epsilon) <= delta
    assert true_delta(mu * (1 + 1e-6), epsilon) > delta
    assert epsilon_of(mu, delta=delta) == pytest.approx(epsilon, rel=1e-6)


@LAW
@given(st.floats(-4, 2), st.floats(-100, -1))
def test_a_cost_is_above_the_least_epsilon(magnitude: float, power: float) -> None:
    mu, delta = 10**magnitude, 10**power
    epsilon = epsilon_of(mu, delta=delta)
    assert true_delta(mu, epsilon) <= delta
    assert epsilon == 0.0 or true_delta(mu, epsilon * (1 - 1e-6)) > delta


def test_figures_of_the_field_notes() -> None:
    assert mu_of(3.0, 1e-6) == pytest.approx(0.6477, abs=5e-5)
    mu = mu_of(1.0, 1e-6)
    assert loss_exceeds(mu, epsilon=1.0) == pytest.approx(2.0e-5, rel=0.02)
    assert epsilon_of(2 * mu, delta=1e-6) == pytest.approx(2.12, abs=0.005)
    assert epsilon_of(math.sqrt(2) * mu, delta=1e-6) == pytest.approx(1.45, abs=0.006)
    assert mu_of_pure(0.1) == pytest.approx(0.125, abs=5e-4)


@LAW
@given(st.floats(1e-3, 30), st.floats(1e-3, 30))
def test_the_chance_of_a_larger_loss_is_never_understated(mu: float, epsilon: float) -> None:
    true = EXACT.ncdf(EXACT.mpf(mu) / 2 - EXACT.mpf(epsilon) / EXACT.mpf(mu))
    found = loss_exceeds(mu, epsilon=epsilon)
    assert found >= true or true < 1e-300 or found == 1.0
    assert found <= true * (1 + 1e-9) + 1e-300


@LAW
@given(st.floats(1e-6, 40))
def test_pure_privacy_is_covered_by_its_mu_and_by_no_smaller_one(epsilon: float) -> None:
    """Randomised response, which dominates pure ε-DP: its curve 1 - e^(e-ε)... lies under that of μ, and touches it."""
    mu = mu_of_pure(epsilon)
    e = EXACT.mpf(epsilon)
    top = EXACT.exp(e) / (1 + EXACT.exp(e))

    def exceeds(mu: float) -> bool:
        places = [EXACT.mpf(i) / 16 * e for i in range(16)]
        return any(top - EXACT.exp(x) * (1 - top) > true_delta(mu, float(x)) for x in places)

    assert not exceeds(mu)
    assert exceeds(mu * (1 - 1e-9))


def test_no_privacy_loss_costs_nothing() -> None:
    assert delta_of(0.0, epsilon=1.0) == 0.0
    assert epsilon_of(0.0, delta=1e-9) == 0.0
    assert loss_exceeds(0.0, epsilon=1.0) == 0.0
    assert mu_of_pure(0.0) == 0.0
    assert epsilon_of(1e-9, delta=1e-6) == 0.0


@pytest.mark.parametrize("sigma", [0.5, 3.0, 8.25, 300.0])
@pytest.mark.parametrize("delta", [0.2, 1e-3, 1e-12, 1e-30])
@pytest.mark.parametrize("votes", [1, 3, 12])
def test_a_threshold_is_the_least_that_keeps_its_delta(sigma: float, delta: float, votes: int) -> None:
    """Against the exact tail of the rounded normal: a single vote reaches it with at most its share of delta."""

    def released(at: int) -> Any:
        """That any of ``votes`` categories of one vote each reaches ``at``."""
        each = EXACT.erfc((EXACT.mpf(at) - 1.5) / (EXACT.mpf(sigma) * EXACT.sqrt(2))) / 2
        return 1 - (1 - each) ** votes

    threshold = threshold_of(sigma, delta=delta, votes=votes)
    assert released(threshold) <= delta
    assert threshold == 2 or released(threshold - 1) > delta * (1 - 1e-6)


def test_the_slice_for_open_categories_leaves_room_for_others() -> None:
    assert open_delta(1e-6) == pytest.approx(1e-9)
    assert 2 * open_delta(1e-6) < 1e-6 / 100, "a hold of a population's whole delta fits in what its filter keeps"


def test_the_slice_for_sampler_error_is_tiny() -> None:
    assert noise_delta(1e-6) == 1e-15
    assert noise_delta(1e-13) == pytest.approx(1e-16)


ABSURD = [math.nan, math.inf, -math.inf, -1.0, -0.0, 1e308, True, "1", None]


@pytest.mark.parametrize("value", ABSURD)
@pytest.mark.parametrize(
    "ask",
    [
        lambda x: delta_of(x, epsilon=1.0),
        lambda x: delta_of(1.0, epsilon=x),
        lambda x: mu_of(x, 1e-6),
        lambda x: mu_of(1.0, x),
        lambda x: epsilon_of(x, delta=1e-6),
        lambda x: epsilon_of(1.0, delta=x),
        lambda x: loss_exceeds(x, epsilon=1.0),
        lambda x: loss_exceeds(1.0, epsilon=x),
        mu_of_pure,
        noise_delta,
    ],
)
def test_absurd_numbers_are_refused(ask: Callable[[Any], float], value: object) -> None:
    with pytest.raises(BudgetError) as refusal:
        ask(value)
    assert refusal.value.mend


def test_numbers_below_the_smallest_float_are_refused_where_zero_is_absurd() -> None:
    nothing = 1e-400
    with pytest.raises(BudgetError):
        mu_of(nothing, 1e-6)
    with pytest.raises(BudgetError):
        mu_of(1.0, nothing)
    with pytest.raises(BudgetError):
        epsilon_of(1.0, delta=nothing)


@LAW
@given(st.fractions(min_value=Fraction(1, 10**9), max_value=10**9))
def test_roots_and_floats_round_to_the_safe_side(value: Fraction) -> None:
    low, high = root_down(value), root_up(value)
    assert Fraction(low) ** 2 <= value <= Fraction(high) ** 2
    assert high - low <= 4 * math.ulp(high)
    assert Fraction(math.nextafter(float_up(value), 0)) < value <= Fraction(float_up(value))


@pytest.mark.parametrize(("epsilon", "delta"), [(1.0, 1e-9), (0.1, 1e-9), (10.0, 1e-9), (1.0, 1e-6), (3.0, 1e-8)])
def test_odds_move_too_far_for_no_view_more_often_than_is_said(epsilon: float, delta: float) -> None:
    """Every one-bit view [output > t] of the Gaussian pair, on a fine grid: those that move odds by more than e^ε
    are seen no more often than the bound, and one of them almost as often. P(L > ε) is no such bound."""
    mu = mu_of(epsilon, delta)
    t = np.linspace(-3 * epsilon, epsilon + 6 * mu, 400_001)
    with_, without = ndtr(mu / 2 - t / mu), ndtr(-mu / 2 - t / mu)
    seen = with_[with_ >= math.exp(epsilon) * without].max()
    bound = odds_exceed(mu, epsilon=epsilon)
    assert seen <= bound <= 1.02 * seen * (1 + math.exp(-epsilon))
    assert seen > 1.5 * loss_exceeds(mu, epsilon=epsilon)


def test_odds_at_the_ends() -> None:
    assert odds_exceed(0.0, epsilon=1.0) == 0.0
    assert odds_exceed(1.0, epsilon=0.0) == 1.0
    assert odds_exceed(50.0, epsilon=0.001) == pytest.approx(1.0, abs=0.01)


# --- chains of neighbours --------------------------------------------------------------------------


def test_the_slack_of_a_chain_by_hand() -> None:
    """μ = 1, slack Φ(−5), off by Φ(−6): after three steps Φ(−5) + Φ(−4) + Φ(−3), and at the ends Φ(−6 + 3) + Φ(−6)."""
    phi = NormalDist().cdf
    along, ends = phi(-5) + phi(-4) + phi(-3), phi(-3) + phi(-6)
    assert chain_slack(1.0, 3, slack=phi(-5), drawn=phi(-6)) == pytest.approx(along + ends, rel=1e-7)
    assert chain_slack(1.0, 3, slack=phi(-5), drawn=0.0) == pytest.approx(along, rel=1e-7)
    assert chain_slack(1.0, 1, slack=1e-9, drawn=0.0) == pytest.approx(1e-9)
    assert chain_slack(2.0, 4, slack=0.0, drawn=0.0) == 0.0
    assert chain_slack(5.0, 9, slack=0.1, drawn=0.0) == 1.0


@pytest.mark.parametrize("mu", [0.2, 1.0])
@pytest.mark.parametrize("steps", [2, 3])
def test_no_chain_of_mixtures_is_worse_than_its_bound(mu: float, steps: int) -> None:
    """Each step: with probability s all is told, else a Gaussian shift. The power of r such steps, one after the other
    at its worst, against F^r and the slack, at every size."""
    normal, s = NormalDist(), 1e-4
    bound = chain_slack(mu, steps, slack=s, drawn=0.0)
    for size in [10.0**e for e in range(-9, 0)]:
        power = size
        for _ in range(steps):
            power = min(1.0, s + (1 - s) * normal.cdf(normal.inv_cdf(min(1 - 1e-12, power / (1 - s))) + mu))
        free = normal.cdf(normal.inv_cdf(size) + steps * mu)
        assert power <= free + bound
    tiny = 1e-12
    power = tiny
    for _ in range(steps):
        power = s + (1 - s) * normal.cdf(normal.inv_cdf(power / (1 - s)) + mu)
    assert power > steps * s, "adding slacks up, or leaving them out, is too little"


@pytest.mark.parametrize(
    ("epsilon", "trains", "two", "four"),
    [(1.0, False, 6e-15, 9e-14), (1.0, True, 5e-12, 7e-11), (10.0, False, 9e-10, 2e-3), (10.0, True, 3e-8, 1e-2)],
)
def test_slacks_of_releases_along_a_chain(epsilon: float, trains: bool, two: float, four: float) -> None:
    """The figures of docs/numbers.md, rounded up to a digit."""
    prices = share_out(Budget(epsilon, 1e-9), gate_share=0.15, trains=trains)
    own = prices.delta_steps
    drawn = prices.delta_noise / (1 + math.exp(epsilon))
    for steps, told in ((2, two), (4, four)):
        found = chain_slack(prices.mu, steps, slack=own, drawn=drawn)
        assert 0.5 * told < found <= told
