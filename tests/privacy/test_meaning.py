"""The best attacker by the privacy curve: closed forms, and laws that hold for every curve."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privsynth.errors import BudgetError
from privsynth.privacy.accountant import share_out
from privsynth.privacy.budget import Budget
from privsynth.privacy.gdp import delta_of, epsilon_of, loss_exceeds, mu_of, odds_exceed
from privsynth.privacy.meaning import Bound, Curve, Known, curve_of, curve_of_cap

LAW = settings(deadline=None, derandomize=True, max_examples=60)
NORMAL = NormalDist()
EPSILONS, DELTAS = st.floats(0.05, 12), st.sampled_from([1e-5, 1e-6, 1e-9, 1e-12])


def bought(epsilon: float, delta: float, *, selects: bool = False) -> Curve:
    """As a hold of this price has it."""
    return curve_of(share_out(Budget(epsilon, delta), gate_share=0.0, selects=selects).mu, epsilon=epsilon, delta=delta)


def plain(mu: float, epsilon: float = 1.0) -> Curve:
    """μ-GDP without any slack."""
    return Curve(mu, 0.0, 0.0, epsilon, delta_of(mu, epsilon=epsilon))


# --- closed forms --------------------------------------------------------------------------------


@pytest.mark.parametrize("subjects", [1, 2, 4])
@pytest.mark.parametrize("rate", [1e-4, 0.01, 0.3])
def test_a_gaussian_s_best_attacker_is_known(rate: float, subjects: int) -> None:
    expected = NORMAL.cdf(NORMAL.inv_cdf(rate) + subjects * 0.4)
    assert plain(0.4).caught(rate, subjects=subjects) == pytest.approx(expected, rel=1e-9)


def test_the_figures_of_the_field_page() -> None:
    """TPR at 1% and 0.1% by (ε, δ = 1e-6) alone, and of a Gaussian of that price; 2μ at (1, 1e-6) is ε = 2.12."""
    for epsilon, alone, curve in ((1.0, (0.027, 0.0027), (0.018, 0.0022)), (5.0, (1.0, 0.15), (0.096, 0.019))):
        for rate, by_bound, by_curve in zip((0.01, 0.001), alone, curve, strict=True):
            assert Bound(epsilon, 1e-6).caught(rate) == pytest.approx(by_bound, rel=0.03)
            assert bought(epsilon, 1e-6).caught(rate) == pytest.approx(by_curve, rel=0.03)
    assert bought(1.0, 1e-6).epsilon_of(2)[0] == pytest.approx(2.12, abs=0.005)


def test_surprise_of_a_gaussian_is_that_of_the_statement() -> None:
    for epsilon, delta in ((0.1, 1e-9), (1.0, 1e-6), (5.0, 1e-9), (12.0, 1e-12)):
        mu = mu_of(epsilon, delta)
        exact = Curve(mu, 0.0, 0.0, epsilon, delta).surprise
        assert exact == pytest.approx(odds_exceed(mu, epsilon=epsilon), rel=1e-6)
        assert exact > loss_exceeds(mu, epsilon=epsilon)


def test_several_subjects_of_a_gaussian_have_r_times_its_mu() -> None:
    for subjects in (2, 3, 4):
        epsilon, delta = plain(0.18).epsilon_of(subjects)
        assert delta == plain(0.18).delta
        assert epsilon == pytest.approx(epsilon_of(subjects * 0.18, delta=delta), rel=1e-6)


def test_without_a_curve_families_cost_as_group_privacy_says() -> None:
    assert list(Bound(1.0, 1e-6).epsilon_of(2)) == pytest.approx([2.0, 1e-6 * (1 + math.e)])
    assert list(Bound(1.0, 1e-6).epsilon_of(3)) == pytest.approx([3.0, 1e-6 * (1 + math.e + math.e**2)])
    assert Bound(1.0, 1e-6).surprise == pytest.approx(2e-6 * (1 + math.exp(-1) / 2))


def test_a_slack_costs_families_more_than_itself() -> None:
    """Somebody whose presence lets a category out once in 10⁶ lets it out far oftener with three others like her."""
    with_slack = Curve(0.5, 1e-6, 0.0, 2.0, delta_of(0.5, epsilon=2.0) + 1e-6)
    twice = 1e-6 + NORMAL.cdf(NORMAL.inv_cdf(1e-6) + 0.5)
    assert [with_slack.caught(0.0, subjects=r) for r in (1, 2)] == pytest.approx([1e-6, twice], rel=1e-9)
    assert with_slack.caught(0.0, subjects=4) > 30e-6


def test_a_slice_of_delta_is_found_again() -> None:
    """What a hold sets aside for open categories stands between its μ and its δ."""
    assert bought(1.0, 1e-9).slack == 0.0
    assert bought(1.0, 1e-9, selects=True).slack == pytest.approx(1e-12, rel=1e-3)


# --- laws ----------------------------------------------------------------------------------------


def known(epsilon: float, delta: float) -> list[Known]:
    return [bought(epsilon, delta), curve_of_cap(epsilon, delta), Bound(epsilon, delta)]


@LAW
@given(EPSILONS, DELTAS, st.floats(1e-6, 0.9), st.floats(1.0, 3.0), st.integers(1, 4))
def test_more_of_anything_never_protects_better(
    epsilon: float, delta: float, rate: float, factor: float, subjects: int
) -> None:
    more = zip(known(epsilon, delta), known(epsilon * factor, delta), strict=True)
    for less, dearer in more:
        caught = less.caught(rate, subjects=subjects)
        assert rate <= caught * (1 + 1e-9) and caught <= 1
        assert caught <= less.caught(min(1.0, rate * factor), subjects=subjects) * (1 + 1e-9)
        assert caught <= less.caught(rate, subjects=subjects + 1) * (1 + 1e-9)
        assert caught <= dearer.caught(rate, subjects=subjects) * (1 + 1e-9)


@LAW
@given(EPSILONS, DELTAS, st.floats(1e-9, 0.99))
def test_the_curve_says_more_than_epsilon_and_delta(epsilon: float, delta: float, rate: float) -> None:
    """A release keeps its (ε, δ), so its attacker keeps the bound of (ε, δ), and a cap's curve its own."""
    bound = Bound(epsilon, delta).caught(rate) * (1 + 1e-9)
    assert bought(epsilon, delta).caught(rate) <= bound
    assert curve_of_cap(epsilon, delta).caught(rate) <= bound
    assert 0 < bought(epsilon, delta).surprise <= 1


@settings(LAW, max_examples=15)
@given(st.floats(0.1, 6), DELTAS, st.integers(1, 4))
def test_families_cost_more_and_are_caught_within_what_they_cost(epsilon: float, delta: float, subjects: int) -> None:
    for told in known(epsilon, delta):
        one, more = told.epsilon_of(subjects), told.epsilon_of(subjects + 1)
        assert one[1] <= more[1]
        assert one[0] <= more[0] * (1 + 1e-9) or one[1] < more[1]
        if math.isfinite(one[0]):
            for rate in (1e-8, 1e-4, 0.01, 0.5):
                assert told.caught(rate, subjects=subjects) <= (math.exp(one[0]) * rate + one[1]) * (1 + 1e-6)


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_absurd_numbers_are_refused(value: float) -> None:
    for fault in (
        lambda: Bound(value, 1e-6),
        lambda: Bound(1.0, value),
        lambda: Curve(value, 0.0, 0.0, 1.0, 1e-6),
        lambda: plain(0.4).caught(-0.1 if value == 0 else value),
        lambda: plain(0.4).caught(0.1, subjects=int(min(value, 2000)) if math.isfinite(value) else 0),
    ):
        with pytest.raises(BudgetError):
            fault()
