"""Prices of events: against closed forms, numeric integrals and dp_accounting; rounding on the safe side."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import dp_accounting as dpa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import MPContext

from privsynth.errors import BudgetError
from privsynth.privacy.accountant import (
    calibrate,
    delta_of,
    epsilon_of,
    mu_of,
    mu_of_pure,
    mu_squared,
    noise_delta,
    price,
    rdp,
    share_out,
)
from privsynth.privacy.budget import Budget
from privsynth.privacy.gdp import open_delta, steps_delta

LAW = settings(deadline=None, derandomize=True)

EXACT = MPContext()
EXACT.prec = 120


def gaussian(noise: float) -> Any:
    return dpa.GaussianDpEvent(noise)


def sgd(share: float, noise: float, steps: int) -> Any:
    return dpa.SelfComposedDpEvent(dpa.PoissonSampledDpEvent(share, gaussian(noise)), steps)


# --- price -------------------------------------------------------------------------------------


def test_gaussian_trees_have_the_closed_form() -> None:
    tree = dpa.ComposedDpEvent([gaussian(2.0), dpa.SelfComposedDpEvent(gaussian(10.0), 25), dpa.NoOpDpEvent()])
    assert price(tree, delta=1e-6) == pytest.approx(epsilon_of(math.sqrt(0.5), delta=1e-6), rel=1e-12)
    assert price(dpa.NoOpDpEvent(), delta=1e-6) == 0.0


@pytest.mark.parametrize("delta", [1e-6, 1e-9])
def test_the_pld_is_never_below_the_closed_form(delta: float) -> None:
    """A "sampled" Gaussian that samples everyone is a Gaussian, but goes through the convolutions."""
    exact = epsilon_of(math.sqrt(1000) / 50, delta=delta)
    assert exact <= price(sgd(1.0, 50.0, 1000), delta=delta) <= exact * 1.001


def test_laplace_has_its_known_curve() -> None:
    for scale in (0.5, 2.0, 20.0):
        exact = 1 / scale + 2 * math.log1p(-1e-3)
        assert exact - 1e-9 <= price(dpa.LaplaceDpEvent(scale), delta=1e-3) <= exact + 1e-3


def test_sampling_is_priced() -> None:
    assert price(sgd(0.01, 2.0, 100), delta=1e-6) < price(sgd(0.02, 2.0, 100), delta=1e-6) < math.inf


def test_too_small_a_delta_for_the_pld_is_refused() -> None:
    with pytest.raises(BudgetError, match="rounding error"):
        price(sgd(0.01, 1.0, 500), delta=1e-13)
    assert price(gaussian(1.0), delta=1e-200) > 0


# --- calibrate ---------------------------------------------------------------------------------


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 10.0])
def test_calibrated_noise_is_the_least_that_meets_the_budget(epsilon: float) -> None:
    budget = Budget(epsilon, 1e-9)
    noise = calibrate(gaussian, budget)
    assert price(gaussian(noise), delta=1e-9) <= epsilon
    assert 1 <= noise * mu_of(epsilon, 1e-9) <= 1.0002


def test_calibrated_dp_sgd_meets_the_budget_by_its_pld() -> None:
    noise = calibrate(lambda noise: sgd(0.2, noise, 10), Budget(0.5, 1e-6))
    assert noise > 1
    assert price(sgd(0.2, noise, 10), delta=1e-6) <= 0.5
    assert price(sgd(0.2, noise * 0.999, 10), delta=1e-6) > 0.5


def test_what_noise_cannot_mend_is_refused_and_what_needs_none_gets_the_least() -> None:
    with pytest.raises(BudgetError, match="no amount of noise"):
        calibrate(lambda _: gaussian(0.5), Budget(1.0, 1e-9))
    assert calibrate(lambda _: dpa.NoOpDpEvent(), Budget(1.0, 1e-9)) <= 0.25


# --- μ² ----------------------------------------------------------------------------------------


def test_mu_squared_is_exact() -> None:
    assert mu_squared(gaussian(3.0)) == Fraction(1, 9)
    assert mu_squared(gaussian(0.1)) == 1 / Fraction(0.1) ** 2
    assert mu_squared(dpa.SelfComposedDpEvent(gaussian(3.0), 7)) == Fraction(7, 9)
    assert mu_squared(dpa.ComposedDpEvent([gaussian(3.0), gaussian(2.0), dpa.NoOpDpEvent()])) == Fraction(13, 36)
    assert mu_squared(dpa.NoOpDpEvent()) == 0
    assert mu_squared(dpa.SelfComposedDpEvent(gaussian(3.0), 0)) == 0


@LAW
@given(st.floats(0.02, 1e4))
def test_laplace_is_booked_as_pure_privacy_rounded_up(scale: float) -> None:
    found = mu_squared(dpa.LaplaceDpEvent(scale))
    half = 1 / (2 * EXACT.mpf(scale))
    tail = 1 / (1 + EXACT.exp(2 * half))  # Φ(-μ/2)
    assert EXACT.ncdf(-EXACT.sqrt(EXACT.mpf(found.numerator) / found.denominator) / 2) <= tail
    assert float(found) == pytest.approx(mu_of_pure(1 / scale) ** 2, rel=1e-11)


@pytest.mark.parametrize(
    "event", [sgd(0.1, 1.0, 2), dpa.ZCDpEvent(0.1), dpa.NonPrivateDpEvent(), dpa.UnsupportedDpEvent()]
)
def test_events_without_a_proved_mu_are_refused(event: Any) -> None:
    with pytest.raises(BudgetError) as refusal:
        mu_squared(dpa.ComposedDpEvent([gaussian(1.0), event]))
    assert refusal.value.mend


# --- Rényi -------------------------------------------------------------------------------------


@LAW
@given(st.floats(1.01, 200), st.floats(0.1, 1e4))
def test_gaussian_renyi_is_exact_and_rounded_up(order: float, noise: float) -> None:
    exact = Fraction(order) / (2 * Fraction(noise) ** 2)
    found = rdp(gaussian(noise), order=order)
    assert exact <= Fraction(found)
    assert found == pytest.approx(float(exact), rel=1e-14)


@pytest.mark.parametrize(("scale", "order"), [(1.0, 2.0), (10.0, 8.9), (1e3, 50.0), (0.1, 40.0), (1e4, 1.05)])
def test_laplace_renyi_is_not_below_the_true_one(scale: float, order: float) -> None:
    b, a = EXACT.mpf(scale), EXACT.mpf(order)
    moment = a / (2 * a - 1) * EXACT.exp((a - 1) / b) + (a - 1) / (2 * a - 1) * EXACT.exp(-a / b)
    exact = EXACT.log(moment) / (a - 1)
    found = rdp(dpa.LaplaceDpEvent(scale), order=order)
    assert exact <= found <= exact * (1 + 1e-9) + 1e-10


@pytest.mark.parametrize(
    ("share", "noise", "order"),
    [(0.01, 1.5, 8.9), (0.001, 0.8, 5.3), (0.01, 1.0, 17.0), (0.1, 2.0, 3.7), (1e-4, 1.0, 30.5), (1e-5, 3.0, 12.0)],
)
def test_sampled_renyi_is_not_below_the_true_one(share: float, noise: float, order: float) -> None:
    """Against the integral of (mixture/base)^α over the base (Mironov, Talwar & Zhang 2019)."""
    s = EXACT.mpf(noise)

    def integrand(x: Any) -> Any:
        return EXACT.npdf(x, 0, s) * (1 - share + share * EXACT.exp((2 * x - 1) / (2 * s**2))) ** order

    places = sorted([-20 * noise, -5 * noise, 0, 1, 5 * noise, order, order + 10 * noise, order + 40 * noise])
    exact = EXACT.log(EXACT.quad(integrand, places)) / (order - 1)
    found = rdp(dpa.PoissonSampledDpEvent(share, gaussian(noise)), order=order)
    assert exact <= found <= exact * 1.001 + 1e-11


def test_renyi_costs_add_up_rounded_up() -> None:
    parts = [gaussian(2.0), dpa.LaplaceDpEvent(3.0), sgd(0.01, 1.0, 100)]
    whole = rdp(dpa.ComposedDpEvent(parts), order=8.0)
    assert whole >= math.fsum(rdp(part, order=8.0) for part in parts)
    assert whole == pytest.approx(sum(rdp(part, order=8.0) for part in parts), rel=1e-12)
    assert rdp(sgd(0.01, 1.0, 100), order=8.0) == pytest.approx(100 * rdp(sgd(0.01, 1.0, 1), order=8.0), rel=1e-12)
    assert rdp(dpa.NoOpDpEvent(), order=8.0) == 0.0


@pytest.mark.parametrize(
    "event", [dpa.PoissonSampledDpEvent(0.1, dpa.LaplaceDpEvent(1.0)), dpa.ZCDpEvent(0.1), dpa.UnsupportedDpEvent()]
)
def test_events_without_a_proved_renyi_curve_are_refused(event: Any) -> None:
    with pytest.raises(BudgetError) as refusal:
        rdp(event, order=8.0)
    assert refusal.value.mend


@pytest.mark.parametrize("order", [1.0, 0.5, math.nan, math.inf, -2.0])
def test_orders_that_are_none_are_refused(order: float) -> None:
    with pytest.raises(BudgetError, match="order"):
        rdp(gaussian(1.0), order=order)


# --- absurd numbers inside events --------------------------------------------------------------

ABSURD = [math.nan, math.inf, -1.0, -0.0, 0.0, 1e-400, 1e308]


@pytest.mark.parametrize("value", ABSURD)
@pytest.mark.parametrize(
    "make", [dpa.GaussianDpEvent, dpa.LaplaceDpEvent, lambda x: sgd(0.1, x, 2), lambda x: sgd(x, 1.0, 2)]
)
def test_absurd_numbers_in_events_are_refused_by_every_measure(make: Callable[[float], Any], value: float) -> None:
    for measure in (
        lambda event: price(event, delta=1e-6),
        mu_squared,
        lambda event: rdp(event, order=8.0),
    ):
        with pytest.raises(BudgetError):
            measure(dpa.ComposedDpEvent([gaussian(1.0), make(value)]))


@pytest.mark.parametrize("count", [-1, 2.5, math.nan, 10**10, True])
def test_absurd_counts_are_refused(count: Any) -> None:
    event = gaussian(1.0)
    composed = dpa.SelfComposedDpEvent(event, 1)
    object.__setattr__(composed, "count", count)
    with pytest.raises(BudgetError):
        mu_squared(composed)


def test_sampling_of_a_composition_is_refused() -> None:
    with pytest.raises(BudgetError, match="single"):
        rdp(dpa.PoissonSampledDpEvent(0.1, dpa.ComposedDpEvent([gaussian(1.0)])), order=8.0)


# --- fit and gate ------------------------------------------------------------------------------


@LAW
@given(st.floats(1e-3, 50), st.floats(-12, -1), st.just(0.0) | st.floats(1e-6, 0.99))
def test_fit_and_gate_together_cost_no_more_than_the_release(epsilon: float, power: float, share: float) -> None:
    budget = Budget(epsilon, 10**power)
    prices = share_out(budget, gate_share=share)
    whole = Fraction(prices.mu) ** 2
    assert mu_squared(dpa.ComposedDpEvent([prices.fit, prices.gate])) <= whole
    assert Fraction(prices.mu_fit) ** 2 + Fraction(prices.mu_gate) ** 2 <= whole
    assert mu_squared(prices.fit) <= Fraction(prices.mu_fit) ** 2
    assert mu_squared(prices.gate) <= Fraction(prices.mu_gate) ** 2
    assert prices.mu_fit**2 + prices.mu_gate**2 == pytest.approx(prices.mu**2, rel=1e-12)
    assert prices.mu_gate**2 == pytest.approx(share * prices.mu**2, rel=1e-9, abs=1e-30)
    assert prices.delta_noise == noise_delta(budget.delta)
    assert delta_of(prices.mu, epsilon=epsilon) <= Fraction(budget.delta) - Fraction(prices.delta_noise)


@LAW
@given(st.floats(1e-2, 50), st.floats(-12, -1))
def test_open_categories_take_a_slice_of_delta(epsilon: float, power: float) -> None:
    budget = Budget(epsilon, 10**power)
    plain, open_ = (share_out(budget, gate_share=0.15, selects=s) for s in (False, True))
    assert plain.delta_open == 0.0
    assert open_.delta_open == open_delta(budget.delta)
    assert open_.mu <= plain.mu
    slices = Fraction(open_.delta_noise) + Fraction(open_.delta_open)
    assert delta_of(open_.mu, epsilon=epsilon) <= Fraction(budget.delta) - slices
    assert Fraction(open_.delta_own) >= 2 * slices
    assert open_.delta_own == pytest.approx(float(2 * slices), rel=1e-12)


@LAW
@given(st.floats(1e-2, 50), st.floats(-12, -1), st.booleans())
def test_training_takes_a_slice_of_delta(epsilon: float, power: float, selects: bool) -> None:
    budget = Budget(epsilon, 10**power)
    plain, trains = (share_out(budget, gate_share=0.15, selects=selects, trains=t) for t in (False, True))
    assert (plain.delta_steps, trains.delta_steps) == (0.0, steps_delta(budget.delta))
    assert trains.mu <= plain.mu
    slices = Fraction(trains.delta_noise) + Fraction(trains.delta_open) + Fraction(trains.delta_steps)
    assert delta_of(trains.mu, epsilon=epsilon) <= Fraction(budget.delta) - slices
    assert Fraction(trains.delta_own) >= 2 * slices
    assert trains.delta_own == pytest.approx(float(2 * slices), rel=1e-12)


def test_without_a_gate_the_fit_has_everything() -> None:
    prices = share_out(Budget(1.0, 1e-9), gate_share=0.0)
    assert prices.gate == dpa.NoOpDpEvent()
    assert prices.mu_gate == 0.0
    assert prices.mu_fit == prices.mu


@pytest.mark.parametrize("share", [-0.1, 1.0, 1.5, math.nan, math.inf])
def test_shares_that_leave_nothing_are_refused(share: float) -> None:
    with pytest.raises(BudgetError, match="share"):
        share_out(Budget(1.0, 1e-9), gate_share=share)


def test_a_share_too_small_to_use_is_refused() -> None:
    with pytest.raises(BudgetError, match="no usable budget"):
        share_out(Budget(1.0, 1e-9), gate_share=1e-60)
