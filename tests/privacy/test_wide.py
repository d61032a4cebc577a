"""Noise of a large sigma: its law, the doubt that is settled exactly, its bounds."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import MPContext
from numpy.typing import NDArray
from scipy.stats import chi2, norm

from privsynth.errors import BudgetError
from privsynth.privacy import wide
from privsynth.privacy.noise import MAX_SIGMA, WIDEST, SecureNoise, SeededNoise, dyadic_at_least, wide_variation
from privsynth.privacy.wide import Wide, ratio_floor

LAW = settings(deadline=None, derandomize=True)
ALARM = 1e-6  # of every statistical test here, for a right sampler
DRAWS = 200_000
LEAST = dyadic_at_least(MAX_SIGMA * 1.01, most=WIDEST)
SIGMAS = [LEAST, dyadic_at_least(1e6, most=WIDEST), dyadic_at_least(3e9, most=WIDEST), WIDEST]


def draws(sigma: float, *, size: int = DRAWS) -> NDArray[np.int64]:
    return SeededNoise(3).add(np.zeros(size, dtype=np.int64), sigma=sigma)


def pearson(found: NDArray[np.int64], expected: NDArray[np.float64]) -> bool:
    statistic = float(np.sum((found - expected) ** 2 / expected))
    return statistic < float(chi2.isf(ALARM, len(expected) - 1))


@pytest.mark.parametrize("sigma", SIGMAS)
def test_the_spread_is_the_stated_one_and_no_other(sigma: float) -> None:
    whole = (draws(sigma) + 0.5) / sigma

    def fits(wrong: float) -> bool:
        statistic = float(np.sum((whole / wrong) ** 2))
        return bool(chi2.ppf(ALARM / 2, DRAWS) < statistic < chi2.isf(ALARM / 2, DRAWS))

    assert fits(1.0)
    assert not fits(0.97)
    assert not fits(1.03)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_the_shape_is_that_of_a_normal_on_both_sides(sigma: float) -> None:
    edges = np.linspace(-3.5, 3.5, 57)
    noise = (draws(sigma) + 0.5) / sigma
    found = np.histogram(noise, np.concatenate([[-np.inf], edges, [np.inf]]))[0]
    cells = np.diff(norm.cdf(np.concatenate([[-np.inf], edges, [np.inf]])))
    assert pearson(found, DRAWS * cells)
    assert not pearson(np.histogram(np.abs(noise), np.concatenate([[-np.inf], edges, [np.inf]]))[0], DRAWS * cells)


@pytest.mark.parametrize("far", [0, 5, 13])
def test_a_draw_stays_with_the_ratio_of_probabilities(far: int) -> None:
    """Of evenly spaced bits the share that stays is the exact ratio, to one part in a million."""
    sampler = Wide.of(LEAST)
    first = far * int(LEAST) >> sampler.bits << sampler.bits
    step = 2**sampler.bits - 1
    spaced = (np.arange(10**6, dtype=np.uint64) * np.uint64(2**64 // 10**6)).astype(np.uint64)
    kept = sampler._keeps(np.full(10**6, first), np.full(10**6, step), lambda n: spaced[:n])
    assert kept.mean() == pytest.approx(ratio_floor(first, step, LEAST) / 2**128, abs=2e-6)
    assert kept.mean() < (1.0 if far else 1.1)


@LAW
@given(exponent=st.integers(16, 45), mantissa=st.integers(33, 64), far=st.floats(0, 13.3), step=st.floats(0, 1))
def test_the_ratio_in_floating_point_lies_within_the_doubt(
    exponent: int, mantissa: int, far: float, step: float
) -> None:
    sampler = Wide.of(min(WIDEST, math.ldexp(mantissa, exponent - 6)))
    first = int(far * sampler.sigma) >> sampler.bits << sampler.bits
    add = min(2**sampler.bits - 1, int(step * 2**sampler.bits))
    near = math.exp(-float(add) * float(2 * first + add + 1) / (2 * sampler.sigma**2))
    assert abs(near - ratio_floor(first, add, sampler.sigma) / 2**128) < wide._DOUBT / 2


@pytest.mark.parametrize(("nudge", "kept"), [(-1, True), (0, False)])
def test_a_draw_in_doubt_is_settled_exactly(nudge: int, kept: bool) -> None:
    """Random bits one below the exact ratio stay, at it they do not: floating point could not tell them apart."""
    sampler = Wide.of(LEAST)
    first, step = np.array([13 << sampler.bits]), np.array([100])
    whole = ratio_floor(int(first[0]), 100, LEAST) + nudge
    told = iter([whole >> 64, whole & (2**64 - 1)])
    assert sampler._keeps(first, step, lambda n: np.array([next(told)], dtype=np.uint64)).tolist() == [kept]


def test_a_ratio_is_that_of_exact_probabilities() -> None:
    context = MPContext()
    context.prec = 800
    root = context.mpf(LEAST) * context.sqrt(2)
    cells = [context.erf((k + 1) / root) - context.erf(k / root) for k in (1280, 1280 + 77)]
    assert ratio_floor(1280, 77, LEAST) == int(context.floor(2**128 * cells[1] / cells[0]))


def test_the_variation_is_a_slice_of_nothing() -> None:
    assert Fraction(0) < wide_variation(WIDEST) < Fraction(1, 2**115)


@pytest.mark.parametrize("sigma", [WIDEST * 2, LEAST + 1, math.inf, math.nan])
def test_other_sigmas_are_refused(sigma: float) -> None:
    with pytest.raises(BudgetError):
        SecureNoise().add(np.zeros(3, dtype=np.int64), sigma=sigma)


def test_the_noise_is_added_to_the_counts() -> None:
    exact = np.array([[10**15, -(10**15)], [0, 2**61]], dtype=np.int64)
    noisy = SecureNoise().add(exact, sigma=LEAST)
    assert noisy.shape == exact.shape
    assert np.abs(noisy - exact).max() < 12 * LEAST
    assert (noisy != exact).all()
