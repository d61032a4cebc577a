"""The price of a fixed number of Poisson-sampled Gaussian steps in Gaussian differential privacy.

Sampled steps have no μ: far out their curve is heavier than that of any Gaussian. But *except with probability delta*
they have one. An event is a **(μ, δ) event** if for every epsilon ≥ 0, and in both directions, its hockey-stick curve H
keeps below that of the mixture "with probability 1 − δ the μ-GDP pair, else everything is told":

    H(ε) ≤ (1 − δ)·H_μ(ε) + δ

By Blackwell's theorem it is then a post-processing of that mixture, so a GDP filter may book it as μ with an own δ, and
a Rényi filter as α·μ²/2 with an own δ. Proof, and how a grid of epsilons decides for all: docs/proofs/dpsgd.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from privsynth.errors import BudgetError
from privsynth.privacy.accountant import NOISE_RANGE
from privsynth.privacy.gdp import check_number, root_up

if TYPE_CHECKING:
    from dp_accounting import DpEvent

Floats = NDArray[np.float64]

_POINTS = 3000  # of epsilon, where the two curves are compared
_REACH = 8.0  # the last of them: μ²/2 + 8·μ for the μ of the central limit, and on until the curve is below delta
_VALUES = 10_000  # of the loss distribution over that range: costs less than 0.03% of μ against ten times as many
_MOST_MU = 20.0
_TIGHT = 1.0002
_TO = 1.001
_LEAST_NOISE = 2.0**-2  # below it only sampling would protect, and the loss distribution grows without bound


def sampled_steps(*, noise: float, rate: float, steps: int) -> DpEvent:
    """The event of ``steps`` noisy sums of a Poisson sample: each subject is in with probability ``rate``, on its own.

    Args:
        noise: multiplier: standard deviation of the noise over the most that a subject moves the sum.
        rate: q, in (0, 1].
        steps: T, at least 1.
    """
    import dp_accounting as dpa

    return dpa.SelfComposedDpEvent(dpa.PoissonSampledDpEvent(rate, dpa.GaussianDpEvent(noise)), steps)


def dominating_mu(event: DpEvent, *, delta: float) -> float:
    """The least μ, rounded up to 0.02%, for which :func:`sampled_steps`' event is a (μ, ``delta``) event.

    Args:
        delta: at least 1.25 times the rounding error of the loss distribution, 1e-13 + 4e-16 a step.

    Raises:
        BudgetError: another event than :func:`sampled_steps` makes, numbers out of range, or no μ of use.
    """
    noise, rate, steps = _parts(event)
    _check(noise, rate, steps, delta)
    if rate == 1.0:
        return root_up(steps / Fraction(noise) ** 2)
    curve = _curve(noise, rate, steps, delta)
    enough = curve.guess
    while not curve.below(enough, delta):
        enough *= 2
        if enough > 4 * _MOST_MU:
            raise _too_much()
    little = enough / 2
    while curve.below(little, delta):
        enough, little = little, little / 2
    while enough > little * _TIGHT:
        middle = math.sqrt(little * enough)
        little, enough = (little, middle) if curve.below(middle, delta) else (middle, enough)
    return enough


@lru_cache(maxsize=256)
def calibrated_noise(*, mu: float, delta: float, rate: float, steps: int) -> float:
    """The least noise multiplier, to 0.1% and not below 1/4, whose ``steps`` at ``rate`` are a (mu, delta) event.

    Raises:
        BudgetError: numbers out of range, or no noise multiplier meets it.
    """
    check_number("mu", mu, 1e-6, _MOST_MU)
    _check(1.0, rate, steps, delta)
    if rate == 1.0:
        return root_up(steps / Fraction(mu) ** 2)

    def meets(noise: float) -> bool:
        return _limit(noise, rate, steps) <= _MOST_MU and _curve(noise, rate, steps, delta).below(mu, delta)

    enough, factor = max(1 / math.sqrt(math.log1p((mu / rate) ** 2 / steps)), _LEAST_NOISE), 1.02
    little = enough / factor
    while not meets(enough):
        little, enough, factor = enough, enough * factor, factor**1.5
    while little > _LEAST_NOISE and meets(little):
        enough, little = little, little / factor
    while enough > little * _TO:
        middle = math.sqrt(little * enough)
        little, enough = (little, middle) if meets(middle) else (middle, enough)
    return enough


# --- the two curves ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Curve:
    """An upper bound on an event's hockey-stick curve, both directions, at ascending epsilons from 0.

    The last value is at most the delta that the curve was made for.
    """

    epsilons: Floats
    values: Floats
    guess: float

    def below(self, mu: float, delta: float) -> bool:
        """Whether the curve keeps below (1 − delta)·H_μ + delta everywhere.

        Both fall in epsilon: on each stretch the event's value at its start is compared with H_μ at its end, and
        past the last point delta alone is enough.
        """
        there = (1 - delta) * _gauss_below(mu, self.epsilons[1:]) + delta * (1 - 1e-15)
        return bool(np.all(self.values[:-1] <= there))


@lru_cache(maxsize=8)
def _curve(noise: float, rate: float, steps: int, delta: float) -> _Curve:
    from dp_accounting.pld.privacy_loss_distribution import from_gaussian_mechanism

    guess = _limit(noise, rate, steps)
    if guess > _MOST_MU:
        raise _too_much()
    largest = math.log1p(rate * math.expm1(8 / noise + noise**-2 / 2))  # loss of one step, but for 1e-15
    interval = float(f"{(guess**2 / 2 + _REACH * guess + largest) / _VALUES:.2g}")
    loss = from_gaussian_mechanism(noise, sampling_prob=rate, value_discretization_interval=interval)
    loss = loss.self_compose(steps)
    error, last = _rounding(steps), guess**2 / 2 + _REACH * guess
    while float(loss.get_delta_for_epsilon(last)) + error > delta:
        last *= 1.3
    epsilons = np.linspace(0.0, last, _POINTS)
    values = np.asarray(loss.get_delta_for_epsilon(epsilons), dtype=np.float64)
    return _Curve(epsilons, values * (1 + 1e-10) + error, guess)


def _limit(noise: float, rate: float, steps: int) -> float:
    """The μ of many small steps: μ² = q²·T·(exp(1/σ²) − 1), by the central limit."""
    return rate * math.sqrt(steps * math.expm1(noise**-2))


def _gauss_below(mu: float, epsilons: Floats) -> Floats:
    """A lower bound on the curve H_μ: as ``gdp.delta_of``, its error taken off instead of added."""
    from scipy.special import erfcx, ndtr

    u, v = epsilons / mu - mu / 2, epsilons / mu + mu / 2
    peak, far = 0.5 * np.exp(-u * u / 2), erfcx(v / math.sqrt(2.0))
    near = np.where(u > 0, erfcx(np.maximum(u, 0.0) / math.sqrt(2.0)), 0.0)
    outer = peak * np.maximum(near - far, 0.0)
    outer_error = peak * (near + far) * (2e-15 + 5e-16 * v) + outer * 1e-15 * v * v
    inner = ndtr(-u) - peak * far
    inner_error = 4e-15 + peak * far * 2e-15 * (1 + v * v)
    least = np.where(u > 0, outer - outer_error, inner - inner_error) * (1 - 1e-14)
    return np.asarray(np.maximum(least, 0.0), dtype=np.float64)


# --- numbers -------------------------------------------------------------------------------------


def _parts(event: DpEvent) -> tuple[float, float, int]:
    import dp_accounting as dpa

    match event:
        case dpa.SelfComposedDpEvent(
            event=dpa.PoissonSampledDpEvent(
                sampling_probability=rate, event=dpa.GaussianDpEvent(noise_multiplier=noise)
            ),
            count=steps,
        ):
            return float(noise), float(rate), steps
    raise BudgetError("only Poisson-sampled Gaussian steps have a price here", mend="use sampled_steps")


def _rounding(steps: int) -> float:
    """What is added for floats that nobody has bounded: 500 times what the convolutions were measured to lose, and for
    each step a little more than what one step's curve was (docs/proofs/dpsgd.md 1)."""
    return 1e-13 + 4e-16 * steps


def _too_much() -> BudgetError:
    return BudgetError("these sampled steps lose too much to be priced", mend="more noise, or fewer steps")


def _check(noise: float, rate: float, steps: int, delta: float) -> None:
    check_number("noise multiplier", noise, _LEAST_NOISE, NOISE_RANGE[1])
    check_number("sampling rate", rate, 2.0**-40, 1.0)
    check_number("steps", steps, 1, 10**6)
    if int(steps) != steps:
        raise BudgetError("a broken number of steps", mend="a whole number")
    check_number("delta", delta, 1e-300, 0.5)
    if delta < 1.25 * _rounding(steps):
        raise BudgetError(
            f"a delta of {delta:g} for {steps} sampled steps is below the rounding error of their price",
            mend="a larger delta of the release, or fewer steps",
        )
