"""Sampled steps as a (μ, δ) event: the mixture lies above the true curve everywhere, and hardly above it."""

from __future__ import annotations

import math

import dp_accounting as dpa
import mpmath
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
        assert exact - found < 2e-16 + 1e-13 / 500


# --- what is trusted, and what is allowed for it -------------------------------------------------


@pytest.mark.parametrize(("noise", "rate", "interval"), [(1.0, 0.05, 0.001), (8.0, 0.068, 1e-4), (30.0, 0.1, 1e-5)])
def test_one_step_of_the_library_is_exact_within_its_allowance(noise: float, rate: float, interval: float) -> None:
    """Its curve at points of its grid, where discretisation adds nothing, against 50 digits: at most 3.4e-16 below."""
    loss = from_gaussian_mechanism(noise, sampling_prob=rate, value_discretization_interval=interval)
    per_step = sampled._rounding(1) - sampled._rounding(0)
    for remove, pmf in ((True, loss._pmf_remove), (False, loss._pmf_add)):
        dense = pmf.to_dense_pmf()
        places = np.unique(np.linspace(max(0, -dense._lower_loss), dense.size - 1, 60).astype(int)) + dense._lower_loss
        found = pmf.get_delta_for_epsilon(places * interval)
        for place, value in zip(places, found, strict=True):
            exact = exactly(noise, rate, mpmath.mpf(float(place * interval)), remove=remove)
            assert exact - mpmath.mpf(float(value)) <= per_step


def exactly(noise: float, rate: float, epsilon: mpmath.mpf, *, remove: bool) -> mpmath.mpf:
    """As :func:`hockey_stick`, in 50 digits."""
    with mpmath.workdps(50):
        q, ratio = mpmath.mpf(rate), mpmath.exp(epsilon if remove else -epsilon)
        if ratio <= 1 - q:
            return mpmath.mpf(0)
        cut = noise**2 * mpmath.log((ratio - 1 + q) / q) + mpmath.mpf(1) / 2
        side = 1 if remove else -1
        without, shifted = (mpmath.erfc(side * x / noise / mpmath.sqrt(2)) / 2 for x in (cut, cut - 1))
        with_her = (1 - q) * without + q * shifted
        return with_her - mpmath.exp(epsilon) * without if remove else without - mpmath.exp(epsilon) * with_her


def test_the_library_rounds_upwards() -> None:
    """The coarser its grid, the higher its curve, in both directions: a multiple of the interval keeps the points."""
    fine, coarse = (
        from_gaussian_mechanism(2.0, sampling_prob=0.1, value_discretization_interval=h).self_compose(50)
        for h in (1e-3, 0.05)
    )
    epsilons = np.linspace(0.0, 3.0, 97)
    for above, below in ((coarse._pmf_remove, fine._pmf_remove), (coarse._pmf_add, fine._pmf_add)):
        gap = np.asarray(above.get_delta_for_epsilon(epsilons)) - np.asarray(below.get_delta_for_epsilon(epsilons))
        assert np.all(gap >= -1e-14)
        assert np.max(gap) > 1e-6


def test_every_allowance_only_raises_a_price(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kept curve lies above the library's by the allowance at least, and a larger allowance costs a larger μ."""
    noise, rate, steps = 2.0, 0.1, 100
    sampled._curve.cache_clear()
    curve = sampled._curve(noise, rate, steps, DELTA)
    span = curve.guess**2 / 2 + sampled._REACH * curve.guess
    largest = math.log1p(rate * math.expm1(8 / noise + noise**-2 / 2))
    interval = float(f"{(span + largest) / sampled._VALUES:.2g}")
    loss = from_gaussian_mechanism(noise, sampling_prob=rate, value_discretization_interval=interval)
    plain = np.asarray(loss.self_compose(steps).get_delta_for_epsilon(curve.epsilons))
    assert np.all(curve.values >= plain + sampled._rounding(steps))
    assert curve.values[-1] <= DELTA
    event = sampled_steps(noise=noise, rate=rate, steps=steps)
    prices = []
    for times in (0.0, 1.0, 1e4):
        monkeypatch.setattr(sampled, "_rounding", lambda steps, times=times: times * (1e-13 + 4e-16 * steps))
        sampled._curve.cache_clear()
        prices.append(dominating_mu(event, delta=DELTA))
    sampled._curve.cache_clear()
    assert prices[0] <= prices[1] < prices[2]


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
        ({"delta": 1.2e-13}, "rounding error"),
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
