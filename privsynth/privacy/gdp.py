"""The curve of Gaussian differential privacy: μ ↔ (epsilon, delta). Caps round down, costs round up.

Dong, Roth & Su 2022; Balle & Wang 2018 for the closed form. Error: a few parts in 10^15 of each term
(:func:`delta_of`), quantiles 1e-12 relative; it is always added on the safe side.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

from privsynth.errors import BudgetError

_ROOT2 = math.sqrt(2.0)
_MOST = 1e7  # no larger μ is looked at
_BELOW_ONE = math.nextafter(1.0, 0.0)


def delta_of(mu: float, *, epsilon: float) -> float:
    """The least delta with which μ-GDP implies (epsilon, delta)-DP, rounded up.

    Φ(-u) - e^ε·Φ(-v) with u = ε/μ - μ/2 and v = ε/μ + μ/2, written as
    ½·exp(-u²/2)·(erfcx(u/√2) - erfcx(v/√2)) where u > 0, so nothing overflows. The bound on the error
    that is added allows 2e-15 for each special function and 1e-15·v² for the exponent.
    """
    check_number("mu", mu, 0.0, _MOST)
    check_number("epsilon", epsilon, 0.0, _MOST**2)
    from scipy.special import erfcx, ndtr

    if mu == 0.0:
        return 0.0
    u, v = epsilon / mu - mu / 2, epsilon / mu + mu / 2
    peak = 0.5 * math.exp(-u * u / 2)
    if u > 0:
        near, far = float(erfcx(u / _ROOT2)), float(erfcx(v / _ROOT2))
        value = peak * max(near - far, 0.0)
        error = peak * (near + far) * (2e-15 + 5e-16 * v) + value * 1e-15 * v * v
    else:
        far = peak * float(erfcx(v / _ROOT2))
        value = float(ndtr(-u)) - far
        error = 4e-15 + far * 2e-15 * (1 + v * v)
    return min(1.0, math.nextafter(value + error, math.inf))


def mu_of(epsilon: float, delta: float) -> float:
    """The largest μ whose curve stays within (epsilon, delta), rounded down: the cap of a GDP budget.

    Raises:
        BudgetError: epsilon outside [1e-6, 1e6], or delta outside [1e-300, 1).
    """
    check_number("epsilon", epsilon, 1e-6, 1e6)
    check_number("delta", delta, 1e-300, _BELOW_ONE)
    return _last(lambda mu: delta_of(mu, epsilon=epsilon) <= delta)


def epsilon_of(mu: float, *, delta: float) -> float:
    """The least epsilon for which μ-GDP implies (epsilon, delta)-DP, rounded up."""
    check_number("mu", mu, 0.0, _MOST)
    check_number("delta", delta, 1e-300, _BELOW_ONE)
    if delta_of(mu, epsilon=0.0) <= delta:
        return 0.0
    enough = max(_last(lambda epsilon: delta_of(mu, epsilon=epsilon) > delta), 1e-12)
    while delta_of(mu, epsilon=enough) > delta:
        enough = math.nextafter(enough, math.inf)
    return enough


def loss_exceeds(mu: float, *, epsilon: float) -> float:
    """P(privacy loss > epsilon) = Φ(μ/2 - ε/μ) for μ-GDP, rounded up.

    For who sees the noisy measurements themselves. Somebody who sees less can be surprised more often:
    :func:`odds_exceed`.
    """
    check_number("mu", mu, 0.0, _MOST)
    check_number("epsilon", epsilon, 0.0, _MOST**2)
    from scipy.special import ndtr

    if mu == 0.0:
        return 0.0
    return min(1.0, math.nextafter(float(ndtr(mu / 2 - epsilon / mu)) * (1 + 1e-12), math.inf))


def odds_exceed(mu: float, *, epsilon: float) -> float:
    """A bound on the probability that anybody's odds on a subject's presence move by more than a factor e^ε,
    either way, whatever part or function of a μ-GDP output they see; rounded up.

    The likelihood ratio of a view is not the ratio of the whole: pooling outcomes of more with outcomes of less
    than e^ε makes one event of just e^ε that is likelier than P(L > ε). By Neyman and Pearson the likeliest event
    S with P(S) ≥ e^ε·Q(S) is {L > t} with equality, t < ε: P(S) = Φ(μ/2 − t/μ). Odds may fall as well: by the
    same argument from the other side with at most e^−ε of that mass, hence the factor 1 + e^−ε.
    """
    check_number("mu", mu, 0.0, _MOST)
    check_number("epsilon", epsilon, 0.0, _MOST**2)
    from scipy.special import log_ndtr, ndtr

    if mu == 0.0 or epsilon == 0.0:
        return float(mu > 0.0)

    def too_low(t: float) -> bool:
        """Whether {L > t} is an event of a ratio below e^ε."""
        return float(log_ndtr(mu / 2 - t / mu) - log_ndtr(-mu / 2 - t / mu)) < epsilon

    low, high = -(mu**2) - 40.0 * mu, epsilon
    if not too_low(low):
        return 1.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if too_low(middle) else (low, middle)
    return min(1.0, float(ndtr(mu / 2 - low / mu)) * (1 + math.exp(-epsilon)) * (1 + 1e-9))


def chain_slack(mu: float, steps: int, *, slack: float, drawn: float) -> float:
    """What r steps from neighbour to neighbour add to the δ of r·μ, rounded up; at most 1.

    Each step is μ-GDP except with probability ``slack``; the laws of both ends lie within ``drawn`` of ideal ones, in
    total variation. Of a test of size a the power is at most F(a) + slack one step on, F(a) = Φ(Φ⁻¹(a) + μ). F is
    concave with F(0) = 0, so F(a + b) ≤ F(a) + F(b), and r steps on it is at most Fʳ(a) + Σ_{j<r} Fʲ(slack). Of real
    ends a is off by ``drawn`` and so is the power: another Fʳ(drawn) + drawn.
    """
    check_number("mu", mu, 0.0, _MOST)
    check_number("steps", steps, 1, 10**7)
    check_number("slack", slack, 0.0, 1.0)
    check_number("drawn", drawn, 0.0, 1.0)
    import numpy as np
    from scipy.special import ndtr, ndtri

    along = float(np.sum(ndtr(ndtri(slack) + mu * np.arange(steps)))) if slack else 0.0
    ends = float(ndtr(ndtri(drawn) + steps * mu)) + drawn if drawn else 0.0
    return min(1.0, (along + ends) * (1 + 1e-9))


def mu_of_pure(epsilon: float) -> float:
    """The μ of pure epsilon-DP: 2·Φ⁻¹(e^ε/(1 + e^ε)), rounded up; both directions, any mechanism.

    Randomised response dominates all of pure epsilon-DP (Kairouz, Oh & Viswanath 2015), and its
    trade-off curve lies above that of this Gaussian, which touches it at one point.
    """
    check_number("epsilon", epsilon, 0.0, 700.0)
    from scipy.special import erfcinv, erfinv

    half = float(erfinv(math.tanh(epsilon / 2))) if epsilon < 1 else float(erfcinv(2 / (1 + math.exp(epsilon))))
    return math.nextafter(2 * _ROOT2 * half * (1 + 1e-12), math.inf) if epsilon else 0.0


def noise_delta(delta: float) -> float:
    """The slice of a hold's delta set aside for the error of the noise tables: 1e-15 at most.

    A hold of n draws must keep (1 + e^ε)·n·total_variation(sigma) below it: for
    a delta of 1e-12 or more that is 10^17 draws at ε = 1 and the largest sigma.
    """
    check_number("delta", delta, 1e-300, _BELOW_ONE)
    return min(delta / 1000, 1e-15)


def open_delta(delta: float) -> float:
    """The slice of a hold's delta for releasing open categories: a thousandth. A threshold grows with the root of
    its logarithm only, and a population's filter keeps just a hundredth of its delta for the holds' own deltas."""
    check_number("delta", delta, 1e-300, _BELOW_ONE)
    return delta / 1000


def steps_delta(delta: float) -> float:
    """The slice of a hold's delta for training by sampled steps, which have a μ except with that probability
    (sampled.py): a thousandth; a training then needs at most 2.5% more noise than by its exact curve, where measured
    (docs/proofs/dpsgd.md 1)."""
    check_number("delta", delta, 1e-300, _BELOW_ONE)
    return delta / 1000


def threshold_of(sigma: float, *, delta: float, votes: int) -> int:
    """The least noisy count at which a category is released: one vote, plus rounded Gaussian noise of ``sigma``,
    reaches it with probability at most 1 − (1 − delta)^(1/votes), so that of ``votes`` such categories any is
    released with probability at most ``delta`` (docs/proofs/open-categories.md).

    P(1 + round(σZ) ≥ T) = Φ(−(T − 3/2)/σ) for whole T; the quantile is taken 1e-9 too high.
    """
    check_number("sigma", sigma, 2.0**-20, 2.0**60)
    check_number("delta", delta, 1e-300, 0.5)
    from scipy.special import ndtri_exp

    each = -math.expm1(math.log1p(-delta) / votes)
    quantile = -float(ndtri_exp(math.log(each))) * (1 + 1e-9)
    return 1 + max(1, math.ceil(sigma * quantile + 0.5))


# --- numbers, rounded to the safe side ----------------------------------------------------------


def check_number(name: str, value: object, low: float, high: float) -> None:
    """Refuse NaN, infinities, -0, text, booleans and whatever lies outside [low, high]."""
    if (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and low <= value <= high
        and math.copysign(1.0, value) > 0
    ):
        return
    raise BudgetError(f"{name} is {value!r}; it must lie between {low:g} and {high:g}", mend=f"give a usable {name}")


def _last(holds: Callable[[float], bool]) -> float:
    """The largest float at which a monotone condition holds, by bisection; 0 where it fails even at 1e-12."""
    good = 1.0
    while not holds(good):
        good /= 2
        if good < 1e-12:
            return 0.0
    bad = good * 2
    while holds(bad):
        good, bad = bad, bad * 2
    while good < (middle := (good + bad) / 2) < bad:
        good, bad = (middle, bad) if holds(middle) else (good, middle)
    return good


def float_up(value: Fraction) -> float:
    """The smallest float that is at least ``value``."""
    near = float(value)
    return near if Fraction(near) >= value else math.nextafter(near, math.inf)


def float_down(value: Fraction) -> float:
    """The largest float that is at most ``value``."""
    near = float(value)
    return near if Fraction(near) <= value else math.nextafter(near, -math.inf)


def root_down(value: Fraction) -> float:
    """The largest float whose square is at most ``value``, to a few units in the last place."""
    near = math.nextafter(math.sqrt(value), math.inf)
    while Fraction(near) ** 2 > value:
        near = math.nextafter(near, 0.0)
    return near


def root_up(value: Fraction) -> float:
    """The smallest float whose square is at least ``value``, to a few units in the last place."""
    near = math.nextafter(math.sqrt(value), 0.0)
    while Fraction(near) ** 2 < value:
        near = math.nextafter(near, math.inf)
    return near
