"""Fixed events → epsilon, delta, μ and noise. Caps round down, costs round up.

*Inside a hold* all parameters are fixed before the first read, so the privacy loss distribution
(PLD) of the composed event prices it. Gaussian events compose to one Gaussian, whose curve has a
closed form (Balle & Wang 2018; Dong, Roth & Su 2022); every other tree goes through dp_accounting's
pessimistic PLD. *Across holds* only filters.py decides, in GDP or Rényi costs taken from here.

Numbers are floats with a stated error, always added on the safe side: the curve as in gdp.py, Rényi
costs 1e-12 plus rounding, PLD convolutions 1e-13 + 1e-15 a step in delta. Sums of μ² are exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from privsynth.errors import BudgetError
from privsynth.privacy.budget import Budget
from privsynth.privacy.events import encode
from privsynth.privacy.gdp import (
    check_number,
    delta_of,
    epsilon_of,
    float_down,
    float_up,
    loss_exceeds,
    mu_of,
    mu_of_pure,
    noise_delta,
    odds_exceed,
    open_delta,
    root_down,
    root_up,
    steps_delta,
)

if TYPE_CHECKING:
    from dp_accounting import DpEvent

__all__ = [
    "Prices",
    "calibrate",
    "delta_of",
    "epsilon_of",
    "loss_exceeds",
    "mu_of",
    "mu_of_pure",
    "mu_squared",
    "noise_delta",
    "odds_exceed",
    "price",
    "rdp",
    "share_out",
]

NOISE_RANGE = (2.0**-20, 2.0**60)  # noise multipliers that mean something
_SMALLEST_SHARE = 2.0**-64  # of Poisson sampling: inclusion is a 64-bit integer below q·2^64
_MOST_STEPS = 10**9
_LEAST_NOISE = 2.0**-3  # below it only sampling would protect, and the PLD grows without bound


# --- the price of an event ---------------------------------------------------------------------


def price(event: DpEvent, *, delta: float) -> float:
    """The epsilon of a fixed event at ``delta``, by its privacy loss distribution, never too low.

    Gaussian trees by the closed form; others by dp_accounting's pessimistic PLD (add or remove), read
    at delta less the rounding error of its convolutions.

    Raises:
        BudgetError: an event that has no PLD, or a delta too small for the PLD's arithmetic.
    """
    import dp_accounting as dpa
    from dp_accounting.pld import PLDAccountant

    check_number("delta", delta, 1e-300, 1.0 - 2.0**-53)
    leaves = list(_leaves(event))
    if all(isinstance(leaf, dpa.GaussianDpEvent) for leaf, _ in leaves):
        return epsilon_of(root_up(mu_squared(event)), delta=delta)
    usable = delta - 1e-13 - 1e-15 * sum(count for _, count in leaves)
    if usable <= 0:
        raise BudgetError(
            f"delta {delta:g} is below the rounding error of the privacy loss distribution",
            mend="1e-12 or more for sampled or Laplace events, or Gaussian events only",
        )
    accountant = PLDAccountant()
    for leaf, count in leaves:
        accountant.compose(leaf, count)
    return math.nextafter(float(accountant.get_epsilon(usable)), math.inf)


def calibrate(make_event: Callable[[float], DpEvent], budget: Budget) -> float:
    """The least noise multiplier, to 0.01% and not below 1/8, whose event costs at most ``budget``.

    Args:
        make_event: noise multiplier → the whole fixed event; more noise must not cost more.
        budget: epsilon and delta that :func:`price` must meet.

    Raises:
        BudgetError: no noise multiplier meets the budget.
    """

    def meets(noise: float) -> bool:
        return price(make_event(noise), delta=budget.delta) <= budget.epsilon

    enough = 1.0
    while not meets(enough):
        enough *= 2
        if enough > NOISE_RANGE[1]:
            raise BudgetError("no amount of noise meets this budget", mend="raise epsilon or take fewer steps")
    little = enough / 2
    while little > _LEAST_NOISE and meets(little):
        enough, little = little, little / 2
    while enough > little * 1.0001:
        middle = math.sqrt(little * enough)
        little, enough = (little, middle) if meets(middle) else (middle, enough)
    return enough


def mu_squared(event: DpEvent) -> Fraction:
    """The proved GDP cost μ² of ``event``, exact from its numbers; μ² adds up over any composition.

    Gaussian 1/multiplier²; Laplace as pure (1/scale)-DP. The same in both directions of add or remove.

    Raises:
        BudgetError: an event without a proved μ (Poisson-sampled, zCDP, unknown).
    """
    import dp_accounting as dpa

    total = Fraction(0)
    for leaf, count in _leaves(event):
        match leaf:
            case dpa.GaussianDpEvent(noise_multiplier=noise):
                total += count / Fraction(noise) ** 2
            case dpa.LaplaceDpEvent(noise_multiplier=scale):
                total += count * Fraction(mu_of_pure(math.nextafter(1 / scale, math.inf))) ** 2
            case _:
                raise BudgetError(
                    f"a {type(leaf).__name__} has no proved cost in Gaussian differential privacy",
                    mend="price a training's steps together (privacy/sampled.py), or use a filter of kind rdp",
                )
    return total


def rdp(event: DpEvent, *, order: float) -> float:
    """The Rényi divergence of ``event`` at ``order`` (above 1), rounded up; infinite where unbounded.

    Gaussian α/(2σ²), exact; Laplace and Poisson-sampled Gaussian by dp_accounting (Mironov 2017;
    Mironov, Talwar & Zhang 2019), plus 1e-12 relative and 1e-12 + 1e-14·α, over α - 1, absolute.

    Raises:
        BudgetError: an event without a proved Rényi curve.
    """
    import dp_accounting as dpa

    check_number("order", order, 1.0 + 1e-6, 1e7)
    total = 0.0
    for leaf, count in _leaves(event):
        if isinstance(leaf, dpa.GaussianDpEvent):
            cost = float_up(count * Fraction(order) / (2 * Fraction(leaf.noise_multiplier) ** 2))
        else:
            cost = math.nextafter(count * _rdp_of_leaf(leaf, order), math.inf)
        total = math.nextafter(total + cost, math.inf)
    return total


def _rdp_of_leaf(leaf: DpEvent, order: float) -> float:
    import dp_accounting as dpa
    from dp_accounting.rdp import RdpAccountant

    accountant = RdpAccountant([order], dpa.NeighboringRelation.ADD_OR_REMOVE_ONE)
    if not accountant.supports(leaf):
        raise BudgetError(
            f"a {type(leaf).__name__} of this kind has no proved Rényi curve",
            mend="sample Gaussian events, or do not sample",
        )
    accountant.compose(leaf)
    value = float(accountant.rdp[0])
    slack = (1e-12 + 1e-14 * order) * max(1.0, 1 / (order - 1))
    return math.inf if math.isnan(value) else max(value, 0.0) * (1 + 1e-12) + slack


# --- one hold pays fit and gate ----------------------------------------------------------------


@dataclass(frozen=True)
class Prices:
    """How a release's budget falls to its fit and its gate.

    Attributes:
        mu: of the whole release; mu² is at least mu_fit² + mu_gate², exactly.
        mu_fit, mu_gate: each one's part; mu_gate is 0 where there is no gate.
        fit, gate: the events that the ledger books, ``GaussianDpEvent(1/μ)`` as envelopes.
        delta_noise: the slice of delta for the error of the noise tables.
        delta_open: the slice for releasing open categories; 0 where there are none.
        delta_steps: the slice for training by sampled steps; 0 where nothing is trained.
    """

    mu: float
    mu_fit: float
    mu_gate: float
    fit: DpEvent
    gate: DpEvent
    delta_noise: float
    delta_open: float = 0.0
    delta_steps: float = 0.0

    @property
    def event(self) -> DpEvent:
        """Fit, then gate: the one event that a hold charges."""
        import dp_accounting as dpa

        return dpa.ComposedDpEvent([self.fit, self.gate])

    @property
    def delta_own(self) -> float:
        """What a filter books beside the event, rounded up: twice all slices, for its one sum is of two kinds of
        own delta (docs/proofs/filters.md 3)."""
        return float_up(2 * (Fraction(self.delta_noise) + Fraction(self.delta_open) + Fraction(self.delta_steps)))


def share_out(budget: Budget, *, gate_share: float, selects: bool = False, trains: bool = False) -> Prices:
    """Split ``budget`` so that μ_gate² = gate_share·μ²(epsilon, delta less the slices), the fit having the rest.

    Every step is rounded so that the two events together never cost more than μ².

    Args:
        gate_share: the policy's.
        selects: whether the fit releases categories from open sets, which takes a slice of delta of its own.
        trains: whether the fit trains a network by sampled steps, which takes one too.

    Raises:
        BudgetError: a share outside [0, 1), or that leaves a part without a usable budget.
    """
    import dp_accounting as dpa

    if not 0.0 <= gate_share < 1.0:
        raise BudgetError(f"the gate's share is {gate_share!r}; it must be at least 0 and below 1", mend="e.g. 0.1")
    slice_ = noise_delta(budget.delta)
    open_ = open_delta(budget.delta) if selects else 0.0
    trained = steps_delta(budget.delta) if trains else 0.0
    slices = Fraction(slice_) + Fraction(open_) + Fraction(trained)
    mu = mu_of(budget.epsilon, float_down(Fraction(budget.delta) - slices))
    whole = Fraction(mu) ** 2
    mu_gate = root_down(whole * Fraction(gate_share))
    mu_fit = root_down(whole - Fraction(mu_gate) ** 2)
    return Prices(
        mu=mu,
        mu_fit=mu_fit,
        mu_gate=mu_gate,
        fit=dpa.GaussianDpEvent(_inverse_up(mu_fit)),
        gate=dpa.GaussianDpEvent(_inverse_up(mu_gate)) if gate_share else dpa.NoOpDpEvent(),
        delta_noise=slice_,
        delta_open=open_,
        delta_steps=trained,
    )


# --- helpers -----------------------------------------------------------------------------------


def _leaves(event: DpEvent, count: int = 1) -> Iterator[tuple[DpEvent, int]]:
    """The primitive events of a tree, each with how often it runs; every number checked."""
    import dp_accounting as dpa

    match event:
        case dpa.NoOpDpEvent():
            return
        case dpa.ComposedDpEvent(events=events):
            for inner in events:
                yield from _leaves(inner, count)
        case dpa.SelfComposedDpEvent(event=inner, count=times):
            check_number("count", times, 0, _MOST_STEPS)
            if times != int(times):
                raise BudgetError("a self-composed event repeats a broken number of times", mend="a whole number")
            if times:
                yield from _leaves(inner, count * int(times))
        case dpa.PoissonSampledDpEvent(sampling_probability=share, event=inner):
            check_number("sampling probability", share, _SMALLEST_SHARE, 1.0)
            if not isinstance(inner, dpa.GaussianDpEvent | dpa.LaplaceDpEvent):
                raise BudgetError("only single Gaussian or Laplace events may be sampled", mend="compose outside")
            check_number("noise multiplier", inner.noise_multiplier, *NOISE_RANGE)
            yield event, count
        case dpa.GaussianDpEvent(noise_multiplier=noise) | dpa.LaplaceDpEvent(noise_multiplier=noise):
            check_number("noise multiplier", noise, *NOISE_RANGE)
            yield event, count
        case _:
            encode(event)
            raise BudgetError(f"event {type(event).__name__} has no proved price", mend="use Gaussian events")


def _inverse_up(mu: float) -> float:
    """A noise multiplier of at least 1/mu, exactly; refuses one that no event may have."""
    if mu <= 1 / NOISE_RANGE[1]:
        raise BudgetError("this share leaves no usable budget", mend="raise epsilon or the gate's share")
    return float_up(1 / Fraction(mu))
