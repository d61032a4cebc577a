"""Sampled steps as a (μ, δ) event: the mixture lies above the true curve everywhere, and hardly above it."""

from __future__ import annotations

import math

import dp_accounting as dpa
import numpy as np
import pytest
from dp_accounting.pld.privacy_loss_distribution import from_gaussian_mechanism
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from privsynth.errors import BudgetError
from privsynth.privacy import sampled
from privsynth.privacy.accountant import mu_of, price
from privsynth.privacy.gdp import delta_of, steps_delta
from privsynth.privacy.sampled import calibrated_noise, dominating_mu, sampled_steps

LAW = settings(deadline=None, derandomize=True, max_examples=15)
DELTA = 1e-8


def hockey_stick(noise: float, rate: float, epsilon: float, *, remove: bool) -> float:
    """Of one sampled step, exact: the likelihood ratio 1 − q + q·exp((2x − 1)/2σ²) grows with x."""
    ratio = math.exp(epsilon if remove else -epsilon)
    if ratio <= 1 - rate:
        return 0.0
    cut = noise**2 * math.log((ratio - 1 + rate) / rate) + 0.5
    tail = norm.sf if remove else norm.cdf
    without, shifted = float(tail(cut / noise)), float(tail((cut - 1) / noise))
    with_her = (1 - rate) * without + rate * shifted
    p, q = (with_her, without) if remove else (without, with_her)
    return p - math.exp(epsilon) * q


def mixture(mu: float, delta: float, epsilon: float) -> float:
    return (1 - delta) * delta_of(mu, epsilon=epsilon) + delta


@LAW
@given(noise=st.floats(0.5, 5.0), rate=st.floats(0.01, 0.9), share=st.floats(0.0, 1.0))
def test_one_step_lies_below_its_mixture_in_both_directions(noise: float, rate: float, share: float) -> None:
    mu = dominating_mu(sampled_steps(noise=noise, rate=rate, steps=1), delta=1e-6)
    epsilon = share * 6 * mu
    for remove in (True, False):
        assert hockey_stick(noise, rate, epsilon, remove=remove) <= mixture(mu, 1e-6, epsilon) + 1e-11


@pytest.mark.parametrize(("noise", "rate"), [(1.0, 0.01), (0.5, 0.001), (0.3, 0.01)])
def test_one_step_lies_below_its_mixture_far_out(noise: float, rate: float) -> None:
    """Where the μ of the central limit is small beside one step's loss: up to epsilon 20."""
    mu = dominating_mu(sampled_steps(noise=noise, rate=rate, steps=1), delta=DELTA)
    for epsilon in np.linspace(0.0, 20.0, 801):
        for remove in (True, False):
            assert hockey_stick(noise, rate, epsilon, remove=remove) <= mixture(mu, DELTA, epsilon) * (1 + 1e-9) + 1e-15


def test_few_rare_steps_lie_below_their_mixture_far_out() -> None:
    """Ten at rate 0.001: the curve of all is at least that of one, in closed form."""
    mu = dominating_mu(sampled_steps(noise=0.5, rate=0.001, steps=10), delta=DELTA)
    loss = from_gaussian_mechanism(0.5, sampling_prob=0.001, value_discretization_interval=1e-3).self_compose(10)
    epsilons = np.linspace(0.0, 20.0, 801)
    composed = np.asarray(loss.get_delta_for_epsilon(epsilons))
    for epsilon, true in zip(epsilons, composed, strict=True):
        least = hockey_stick(0.5, 0.001, epsilon, remove=True)
        assert least <= true * (1 + 1e-6) + 1e-15
        assert true <= mixture(mu, DELTA, epsilon) * (1 + 1e-6) + 1e-13


@pytest.mark.parametrize(
    ("noise", "rate", "steps"), [(1.0, 0.05, 200), (4.5, 0.068, 300), (0.8, 0.01, 1000), (6.0, 0.9, 20)]
)
def test_many_steps_lie_below_their_mixture_and_touch_it(noise: float, rate: float, steps: int) -> None:
    """Against a loss distribution of another fineness, at epsilons that are not on our grid."""
    mu = dominating_mu(sampled_steps(noise=noise, rate=rate, steps=steps), delta=DELTA)
    loss = from_gaussian_mechanism(
        noise, sampling_prob=rate, value_discretization_interval=rate / noise / 71
    ).self_compose(steps)
    epsilons = np.linspace(0, mu**2 / 2 + 9 * mu, 397)
    true = np.asarray(loss.get_delta_for_epsilon(epsilons))
    assert all(t <= mixture(mu, DELTA, e) for t, e in zip(true, epsilons, strict=True))
    assert any(t > mixture(0.99 * mu, DELTA, e) for t, e in zip(true, epsilons, strict=True))


def test_without_delta_no_mu_would_do() -> None:
    """Far out the true curve of a step is heavier than any Gaussian's of about its size: the slice pays for that."""
    mu = dominating_mu(sampled_steps(noise=1.0, rate=0.01, steps=1), delta=1e-6)
    epsilon = 20 * mu
    assert hockey_stick(1.0, 0.01, epsilon, remove=True) > delta_of(mu, epsilon=epsilon)


def test_little_is_lost_against_the_exact_curve() -> None:
    """At epsilon 1, delta 1e-5, q 0.068, T 300: with 1% less noise the budget would be broken on any accounting."""
    delta = 1e-5
    slice_ = steps_delta(delta)
    noise = calibrated_noise(mu=mu_of(1.0, delta - slice_), delta=slice_, rate=0.068, steps=300)
    paid = price(sampled_steps(noise=noise, rate=0.068, steps=300), delta=delta)
    broken = price(sampled_steps(noise=noise / 1.01, rate=0.068, steps=300), delta=delta)
    assert paid <= 1.0 < broken


@pytest.mark.parametrize(("mu", "rate", "steps"), [(0.3, 0.068, 300), (1.0, 0.7, 40), (0.02, 0.001, 50)])
def test_calibration_is_within_its_price_and_tight(mu: float, rate: float, steps: int) -> None:
    noise = calibrated_noise(mu=mu, delta=DELTA, rate=rate, steps=steps)
    assert dominating_mu(sampled_steps(noise=noise, rate=rate, steps=steps), delta=DELTA) <= mu * 1.0002
    assert dominating_mu(sampled_steps(noise=noise * 0.997, rate=rate, steps=steps), delta=DELTA) > mu


def test_without_sampling_the_price_is_the_gaussians_and_takes_no_delta() -> None:
    assert calibrated_noise(mu=0.5, delta=DELTA, rate=1.0, steps=16) == 8.0
    assert dominating_mu(sampled_steps(noise=8.0, rate=1.0, steps=16), delta=DELTA) == 0.5


@pytest.mark.parametrize("points", [5, 50, 500])
def test_a_coarse_grid_errs_on_the_safe_side(points: int, monkeypatch: pytest.MonkeyPatch) -> None:
    event = sampled_steps(noise=2.0, rate=0.1, steps=100)
    fine = dominating_mu(event, delta=DELTA)
    monkeypatch.setattr(sampled, "_POINTS", points)
    sampled._curve.cache_clear()
    coarse = dominating_mu(event, delta=DELTA)
    sampled._curve.cache_clear()
    assert coarse > fine


@pytest.mark.parametrize(("noise", "rate", "interval", "doublings"), [(1.0, 0.05, 0.02, 8), (4.5, 0.068, 0.001, 8)])
def test_convolutions_lose_far_less_than_is_added_for_them(
    noise: float, rate: float, interval: float, doublings: int
) -> None:
    """Tails of the composed loss distribution against convolution by its definition in extended precision."""
    loss = from_gaussian_mechanism(noise, sampling_prob=rate, value_discretization_interval=interval)
    one = loss._pmf_remove.to_dense_pmf()
    probabilities, lowest = np.array(one._probs, dtype=np.longdouble), one._lower_loss
    for _ in range(doublings):
        probabilities, lowest = np.convolve(probabilities, probabilities), 2 * lowest
        kept = np.flatnonzero(probabilities > 1e-24)
        probabilities, lowest = probabilities[kept[0] : kept[-1] + 1], lowest + int(kept[0])
    losses = (np.arange(probabilities.size) + lowest) * interval
    epsilons = np.linspace(0, losses[-1], 50)
    composed = loss.self_compose(2**doublings)._pmf_remove.get_delta_for_epsilon(epsilons)
    for epsilon, found in zip(epsilons, composed, strict=True):
        above = losses > epsilon
        exact = float(np.sum(probabilities[above] * -np.expm1(epsilon - losses[above])))
        assert exact - found < 2e-16 + sampled._rounding(2**doublings) / 500


def test_our_lower_bound_of_a_gaussian_curve_is_one() -> None:
    epsilons = np.linspace(0, 30, 301)
    for mu in (0.01, 0.3, 2.0, 6.0):
        below = sampled._gauss_below(mu, epsilons)
        above = np.array([delta_of(mu, epsilon=e) for e in epsilons])
        assert np.all(below <= above)
        assert np.allclose(below[above > 1e-12], above[above > 1e-12], rtol=1e-9, atol=0)


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"noise": 0.1}, "noise multiplier"),
        ({"noise": math.nan}, "noise multiplier"),
        ({"rate": 0.0}, "rate"),
        ({"rate": 1.1}, "rate"),
        ({"steps": 0}, "steps"),
        ({"delta": 1.9e-13}, "rounding error"),
        ({"delta": 0.9}, "delta"),
    ],
)
def test_absurd_steps_are_refused(fields: dict[str, float], word: str) -> None:
    usual = {"noise": 1.0, "rate": 0.1, "steps": 10, "delta": DELTA, **fields}
    delta = usual.pop("delta")
    with pytest.raises(BudgetError, match=word):
        dominating_mu(sampled_steps(**usual), delta=delta)  # type: ignore[arg-type]


def test_other_events_are_refused() -> None:
    with pytest.raises(BudgetError, match="Poisson-sampled"):
        dominating_mu(dpa.GaussianDpEvent(1.0), delta=DELTA)
    with pytest.raises(BudgetError, match="lose too much"):
        dominating_mu(sampled_steps(noise=0.5, rate=0.9, steps=200), delta=DELTA)
    with pytest.raises(BudgetError, match="lose too much"):
        dominating_mu(sampled_steps(noise=0.25, rate=0.9, steps=1000), delta=DELTA)
