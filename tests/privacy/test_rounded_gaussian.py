"""The rounded Gaussian is as private as the Gaussian that it rounds, at the smallest σ too; the discrete one is not.

To 50 digits: with P and Q the laws of x + round(σZ) for two x that differ by a whole number, H(ε) = Σ max(P − e^ε·Q, 0)
against the curve of (difference/σ)-GDP (docs/proofs/noise.md 1). Then by adversaries of two steps (adversaries.py), for
whom a ledger books either noise as the Gaussian of the same σ.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import dp_accounting as dpa
import mpmath
import numpy as np
import pytest

from privsynth.privacy.filters import GdpFilter
from tests.privacy.adversaries import ByFilter, Mechanism, Pair, between, strongest

DIGITS = 50
EXACT = mpmath.mpf(10) ** -45
SIGMAS = [0.0625, 0.125, 0.25, 0.5, 0.75, 1.0, 2.0, 5.0]
Law = Callable[[int], Any]  # the probability of a whole number


@cache
def rounded(sigma: float) -> Law:
    """Of round(σZ)."""
    with mpmath.workdps(DIGITS):
        root = mpmath.mpf(sigma) * mpmath.sqrt(2)

    @cache
    def beyond(halves: int) -> Any:
        with mpmath.workdps(DIGITS):
            return mpmath.erfc(mpmath.mpf(halves) / 2 / root) / 2

    return lambda k: beyond(2 * abs(k) - 1) - beyond(2 * abs(k) + 1)


@cache
def discrete(sigma: float) -> Law:
    """Of the discrete Gaussian: weights exp(−k²/2σ²)."""
    with mpmath.workdps(DIGITS):
        weight = cache(lambda k: mpmath.exp(-mpmath.mpf(k * k) / (2 * mpmath.mpf(sigma) ** 2)))
        total = sum(weight(k) for k in range(-far(sigma), far(sigma) + 1))

    def law(k: int) -> Any:
        with mpmath.workdps(DIGITS):
            return weight(abs(k)) / total

    return law


def far(sigma: float) -> int:
    """A whole number beyond which neither law has 10⁻⁴⁷."""
    return math.ceil(15 * sigma) + 2


def excess(law: Law, sigma: float, shift: int) -> list[Any]:
    """H(ε) less the curve of (shift/σ)-GDP, for each ε where the Gaussian's best event begins at a tenth."""
    with mpmath.workdps(DIGITS):
        mu, reach = mpmath.mpf(shift) / sigma, far(sigma)
        tenths = range(5 * shift, 10 * (shift + math.ceil(4 * sigma)))
        at = [mu * (mpmath.mpf(tenth) / 10 / sigma - mu / 2) for tenth in tenths]
        masses = [(law(k - shift), law(k)) for k in range(-reach, reach + shift + 1)]
        found = []
        for epsilon in at:
            grown = mpmath.exp(epsilon)
            told = sum(max(p - grown * q, 0) for p, q in masses)
            curve = mpmath.ncdf(mu / 2 - epsilon / mu) - grown * mpmath.ncdf(-mu / 2 - epsilon / mu)
            found.append(told - curve)
        return found


@pytest.mark.parametrize("shift", [1, 2])
@pytest.mark.parametrize("sigma", SIGMAS)
def test_rounding_never_exceeds_the_curve_and_touches_it(sigma: float, shift: int) -> None:
    """Where a best event of the Gaussian begins half-way between two whole numbers rounding hides nothing at all."""
    over = excess(rounded(sigma), sigma, shift)
    assert max(over) <= EXACT
    assert max(over) >= -EXACT


@pytest.mark.parametrize("shift", [1, 2])
@pytest.mark.parametrize("sigma", SIGMAS)
def test_the_discrete_gaussian_exceeds_it(sigma: float, shift: int) -> None:
    """By 0.25 of probability at σ = 1/4, 0.016 at 1, 1.3e-4 at 5, for a shift of 1."""
    assert max(excess(discrete(sigma), sigma, shift)) > 1e-4


def test_two_coordinates_at_once_stay_below_their_common_mu() -> None:
    """Shifts of 1 in two counts: √2/σ; every pair of outcomes is one of the product law."""
    for sigma in (0.5, 1.0):
        kept, broken = (twice(mechanism(law(sigma), sigma).below).mu() for law in (rounded, discrete))
        assert kept <= math.sqrt(2) / sigma * (1 + 1e-9)
        assert broken > 1.01 * math.sqrt(2) / sigma


def twice(pair: Pair) -> Pair:
    """Two independent outcomes of it."""
    return Pair(np.outer(pair.p, pair.p).ravel(), np.outer(pair.q, pair.q).ravel())


# --- by adversaries ------------------------------------------------------------------------------


def mechanism(law: Law, sigma: float) -> Mechanism:
    """A count with this noise, of 1 against 0, as a ledger books it: a Gaussian of this σ."""
    reach = far(sigma)
    p, q = (np.array([float(law(k - x)) for k in range(-reach, reach + 2)]) for x in (1, 0))
    possible = (p > 1e-200) & (q > 1e-200)
    pair = Pair(p[possible], q[possible])
    turned = pair.turned()
    return Mechanism(f"σ = {sigma}", pair, pair, turned, turned, dpa.GaussianDpEvent(sigma))


def worst(law: Callable[[float], Law]) -> float:
    """δ over the cap of two such counts one after the other, each as strong as a GDP filter lets it be, over
    several caps and first σ: the second's σ is chosen from a grid, as released noise is."""
    found = []
    for epsilon, delta in ((1.0, 1e-3), (4.0, 1e-3), (8.0, 1e-4)):
        rule = ByFilter(GdpFilter(epsilon, delta, 1e-30))
        for sigma in (0.5, 0.75, 1.0, 1.5, 2.5, 4.0):
            first = mechanism(law(sigma), sigma)
            if rule.grants(first):
                second = strongest(lambda s: mechanism(law(float(f"{s:.4g}")), float(f"{s:.4g}")), rule, first, 0.3, 60)
                found.append(between(first, [second], epsilon=epsilon)[1] / delta)
    return max(found)


def test_two_rounded_counts_keep_the_cap_and_two_discrete_ones_do_not() -> None:
    kept, broken = worst(rounded), worst(discrete)
    assert kept <= 1 + 1e-6
    assert broken > 2
