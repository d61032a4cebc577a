"""Two-step adversaries against a rule of composition, in numbers that bracket the truth.

An adversary runs a first mechanism, sees its answer y, and then runs whichever second one hurts most of all that the
rule still grants. With P and Q the laws with and without the subject and L = ln P(y)/Q(y), the whole has

    δ(ε) = Σ_y P(y)·max_i H_i(ε − L(y)),    H_i(t) = sup_S P_i(S) − e^t·Q_i(S),

and for the other direction P and Q change places. Every law here is a finite one (:class:`Pair`) that is either
``below`` the mechanism's (what is left of it when neighbouring outcomes are told as one: an adversary who sees less)
or ``above`` it (neighbouring outcomes split into their two extreme ratios: one who sees more). δ is monotone under
both, so a mechanism's own figure lies between its two; ``ROUNDING`` covers the arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Any, Protocol

import dp_accounting as dpa
import numpy as np
from dp_accounting.pld.privacy_loss_distribution import from_gaussian_mechanism
from numpy.typing import NDArray
from scipy.special import expit, logsumexp, ndtr, ndtri

from privsynth.errors import BudgetError
from privsynth.privacy.accountant import mu_of_pure, mu_squared, rdp
from privsynth.privacy.filters import Filter, GdpFilter, RenyiFilter
from privsynth.privacy.sampled import sampled_steps

Floats = NDArray[np.float64]
Curve = Callable[[Floats], Floats]

ROUNDING = 1e-11
_CELLS = 3000
_REACH = 12.0  # standard deviations of a Gaussian that are told apart


@dataclass(frozen=True, eq=False)
class Pair:
    """Two laws on one finite set of outcomes: with the subject (``p``) and without (``q``). Masses; each ≥ 0."""

    p: Floats
    q: Floats

    def turned(self) -> Pair:
        """The other direction."""
        return Pair(self.q, self.p)

    def losses(self) -> Floats:
        """ln p/q of every outcome that p can have; infinite where q cannot."""
        with np.errstate(divide="ignore"):
            return np.log(self.p) - np.log(self.q)

    @cached_property
    def _sums(self) -> tuple[Floats, Floats, Floats]:
        possible = self.p > 0
        p, q = self.p[possible], self.q[possible]
        loss = Pair(p, q).losses()
        order = np.argsort(-loss, kind="stable")
        sums = (np.concatenate([[0.0], np.cumsum(masses[order])]) for masses in (p, q))
        return -loss[order], *sums  # type: ignore[return-value]  # two of them

    def curve(self, at: Floats) -> Floats:
        """H(t) at each of ``at``."""
        falling, p, q = self._sums
        at = np.minimum(at, 600.0)
        most = np.searchsorted(falling, -at, side="left")  # outcomes with a loss above t
        return np.asarray(np.maximum(p[most] - np.exp(at) * q[most], 0.0), dtype=np.float64)

    def renyi(self, order: float) -> float:
        """Rényi divergence at ``order``, the larger of both directions, rounded up; inf where unbounded."""
        if np.any((self.p > 0) != (self.q > 0)):
            return math.inf
        p, q = (np.log(masses[self.p > 0]) for masses in (self.p, self.q))
        both = (float(logsumexp(order * a + (1 - order) * b)) for a, b in ((p, q), (q, p)))
        return max(0.0, *both) / (order - 1) + 1e-13

    def mu(self) -> float:
        """The least μ for which it is μ-GDP, rounded up: its trade-off consists of chords, whose corners are told
        apart by {L > t}. inf where some outcome tells everything."""
        if np.any((self.p > 0) != (self.q > 0)):
            return math.inf
        (_, p, q), (_, above_q, above_p) = self._sums, self.turned()._sums

        def quantile(below: Floats, above: Floats) -> Floats:
            """Φ⁻¹ of a probability and its complement, from the smaller of them."""
            lower, upper = ndtri(np.minimum(below, 0.5)), -ndtri(np.minimum(above, 0.5))
            return np.asarray(np.where(below < above, lower, upper), dtype=np.float64)

        corners = quantile(p, above_p[::-1])[1:-1] - quantile(q, above_q[::-1])[1:-1]
        return float(np.max(corners, initial=0.0)) * (1 + 1e-12)


@dataclass(frozen=True, eq=False)
class Mechanism:
    """One step of an adversary.

    Attributes:
        name: for messages.
        above, below: pairs that bracket it, P‖Q.
        above_turned, below_turned: the same for Q‖P.
        event: what a ledger books; None where no event says it, and the costs are given instead.
        mu2: μ² in Gaussian differential privacy; None where there is none.
        renyi: order → its Rényi cost, both directions.
        delta: its own δ: with that probability it does as it likes, else it has the costs above.
    """

    name: str
    above: Pair
    below: Pair
    above_turned: Pair
    below_turned: Pair
    event: Any = None
    mu2: Fraction | None = None
    renyi: Callable[[float], float] = lambda _: math.inf
    delta: float = 0.0

    def pair(self, *, above: bool, turned: bool) -> Pair:
        """The bracket asked for."""
        return (self.above_turned if turned else self.above) if above else (self.below_turned if turned else self.below)


def finite(name: str, p: Sequence[float], q: Sequence[float]) -> Mechanism:
    """A mechanism that is a finite pair."""
    pair = Pair(np.asarray(p, dtype=np.float64), np.asarray(q, dtype=np.float64))
    mu = pair.mu()
    mu2 = Fraction(mu) ** 2 if math.isfinite(mu) else None
    return Mechanism(name, pair, pair, pair.turned(), pair.turned(), None, mu2, pair.renyi)


def coin(p: float, q: float, name: str = "") -> Mechanism:
    """Heads with probability p or q."""
    return finite(name or f"coin({p:.6g}, {q:.6g})", [p, 1 - p], [q, 1 - q])


def randomised_response(epsilon: float) -> Mechanism:
    """The truth of one bit with probability e^ε/(1 + e^ε)."""
    made = coin(float(expit(epsilon)), float(expit(-epsilon)), f"RR({epsilon:.6g})")
    return replace(made, mu2=Fraction(mu_of_pure(epsilon)) ** 2)


def leak(delta: float) -> Mechanism:
    """Everything is told with probability δ, else nothing."""
    return replace(finite(f"leak({delta:g})", [delta, 1 - delta], [0.0, 1.0]), delta=delta, mu2=Fraction(0))


def or_everything(mechanism: Mechanism, delta: float) -> Mechanism:
    """With probability δ everything is told, else ``mechanism`` runs."""

    def mixed(pair: Pair) -> Pair:
        return Pair(np.append((1 - delta) * pair.p, [delta, 0.0]), np.append((1 - delta) * pair.q, [0.0, delta]))

    return replace(
        mechanism,
        name=f"{mechanism.name} or all",
        above=mixed(mechanism.above),
        below=mixed(mechanism.below),
        above_turned=mixed(mechanism.above_turned),
        below_turned=mixed(mechanism.below_turned),
        event=None,
        delta=delta,
    )


@lru_cache(maxsize=512)
def gaussian(noise: float) -> Mechanism:
    """N(1, noise²) against N(0, noise²)."""
    mu = 1 / noise
    edges = np.concatenate([[-np.inf], np.linspace(-_REACH, mu + _REACH, _CELLS), [np.inf]])
    upper = ndtr(edges[:-1] - mu), ndtr(edges[1:] - mu), ndtr(mu - edges[:-1]), ndtr(mu - edges[1:])
    p = np.where(edges[:-1] > mu, upper[2] - upper[3], upper[1] - upper[0])
    q = np.where(edges[:-1] > 0, ndtr(-edges[:-1]) - ndtr(-edges[1:]), ndtr(edges[1:]) - ndtr(edges[:-1]))
    return _bracketed(f"G({noise:.6g})", p, q, mu * edges - mu**2 / 2, dpa.GaussianDpEvent(noise))


@lru_cache(maxsize=512)
def laplace(scale: float) -> Mechanism:
    """Laplace noise of ``scale`` on 1 against 0: two atoms of loss ±1/scale, and a density between them."""
    edges = np.linspace(0.0, 1.0, _CELLS)
    low, high = math.exp(-1 / scale) / 2, 0.5
    inner = np.diff(np.exp((edges - 1) / scale)) / 2, -np.diff(np.exp(-edges / scale)) / 2
    p, q = (np.concatenate([[a], law, [b]]) for law, a, b in zip(inner, (low, high), (high, low), strict=True))
    ends = (2 * edges - 1) / scale
    losses = np.concatenate([[ends[0]], ends, [ends[-1]]])
    return _bracketed(f"Laplace({scale:.6g})", p, q, losses, dpa.LaplaceDpEvent(scale))


@lru_cache(maxsize=64)
def steps(rate: float, noise: float, count: int, *, interval: float = 1e-5) -> Mechanism:
    """``count`` Poisson-sampled Gaussian steps, by dp_accounting's loss distributions: from above on a grid of 1e-4,
    from below on the finer ``interval``, for there every step rounds its loss down."""
    event = sampled_steps(noise=noise, rate=rate, steps=count)
    pairs = []
    for pessimistic in (True, False):
        loss = from_gaussian_mechanism(
            noise,
            sampling_prob=rate,
            pessimistic_estimate=pessimistic,
            use_connect_dots=pessimistic,
            value_discretization_interval=1e-4 if pessimistic else interval,
        ).self_compose(count)
        pairs += [_pair_of(loss._pmf_remove), _pair_of(loss._pmf_add)]
    above, above_turned, below, below_turned = pairs
    name = f"SGD({rate:g}, {noise:.6g}, {count})"
    return Mechanism(name, above, below, above_turned, below_turned, event, None, lambda a: rdp(event, order=a))


def _pair_of(pmf: Any) -> Pair:
    dense = pmf.to_dense_pmf()
    p = np.maximum(np.asarray(dense._probs, dtype=np.float64), 0.0)
    losses = (np.arange(p.size) + dense._lower_loss) * dense._discretization
    return Pair(np.append(p, dense._infinity_mass), np.append(p * np.exp(-losses), 0.0))


def _bracketed(name: str, p: Floats, q: Floats, losses: Floats, event: Any) -> Mechanism:
    """Of cells with masses p and q and the loss at their ends, which rises: as one outcome, or as its two ends."""
    below = Pair(p, q)
    near, far = np.exp(-losses[:-1]), np.exp(-losses[1:])  # q/p at either end of a cell
    finite_ = np.isfinite(near) & (near > far)
    gap = np.where(finite_, near - far, 1.0)
    high = np.where(finite_, np.clip((p * np.where(finite_, near, 0.0) - q) / gap, 0.0, p), p)
    atom = near == far
    high = np.where(atom, p, high)
    split_p = np.concatenate([p - high, high, [0.0]])
    split_q = np.concatenate([(p - high) * np.where(finite_, near, 0.0), high * far, [0.0]])
    split_q[-1] = max(0.0, 1 - float(split_q.sum()))  # a first cell without end: all that q has there, p without it
    above = Pair(split_p, split_q)
    try:
        cost = mu_squared(event)
    except BudgetError:
        cost = None
    return Mechanism(name, above, below, above.turned(), below.turned(), event, cost, lambda a: rdp(event, order=a))


# --- what two steps tell -----------------------------------------------------------------------


def two_step_delta(first: Pair, curves: Sequence[Curve], *, epsilon: float) -> float:
    """Σ_y P(y)·max_i H_i(ε − L(y)); doing nothing more is always among the choices."""
    possible = first.p > 0
    p, q = first.p[possible], first.q[possible]
    left = epsilon - Pair(p, q).losses()
    stop = np.maximum(0.0, 1 - np.exp(np.minimum(left, 0.0)))
    return float(np.sum(p * np.max([stop, *(curve(left) for curve in curves)], axis=0)))


def between(first: Mechanism, finishers: Sequence[Mechanism], *, epsilon: float) -> tuple[float, float]:
    """(below, above): the adversary's δ(ε) lies between, the worse of both directions."""
    low, high = (
        max(
            two_step_delta(
                first.pair(above=above, turned=turned),
                [finisher.pair(above=above, turned=turned).curve for finisher in finishers],
                epsilon=epsilon,
            )
            for turned in (False, True)
        )
        for above in (False, True)
    )
    return low - ROUNDING, high + ROUNDING


# --- rules: what may follow what ----------------------------------------------------------------


class Rule(Protocol):
    """Whether a path of mechanisms is granted, in this order."""

    def grants(self, *path: Mechanism) -> bool:
        """Whether every mechanism of ``path`` is granted after those before it."""
        ...


@dataclass(frozen=True)
class ByFilter:
    """A filter of the package decides; mechanisms that no event says are put in its sums at their own costs."""

    filter: GdpFilter | RenyiFilter

    def grants(self, *path: Mechanism) -> bool:
        """See :class:`Rule`."""
        state: Any = self.filter
        for mechanism in path:
            state = _charged(state, mechanism)
            if state is None:
                return False
        return True

    def rest(self, first: Mechanism) -> Any:
        """The filter after ``first``; None if it is refused."""
        return _charged(self.filter, first)


@dataclass(frozen=True)
class SplitOfNone(RenyiFilter):
    """A fault: every order at the whole of δ, as if one knew beforehand which of them will survive."""

    @property
    def caps(self) -> tuple[float, ...]:
        """B_j for each order."""
        return tuple(replace(_ALONE, epsilon=self.epsilon, delta=self.delta, orders=(a,)).caps[0] for a in self.orders)


@dataclass(frozen=True)
class TightRenyi(RenyiFilter):
    """Rényi orders with the largest caps that any conversion allows; ``shares`` 1 leaves δ unsplit, a fault."""

    shares: int = 2

    @property
    def caps(self) -> tuple[float, ...]:
        """B_j for each order."""
        return tuple(tight_cap(order, self.epsilon, self.delta / self.shares) for order in self.orders)


@dataclass(frozen=True)
class Natural:
    """The unsound rule: the path's own δ, had it been fixed in advance, is within the cap."""

    epsilon: float
    delta: float

    def grants(self, *path: Mechanism) -> bool:
        """See :class:`Rule`; of one or two mechanisms."""
        return between(path[0], path[1:], epsilon=self.epsilon)[1] <= self.delta


_ALONE = RenyiFilter(1.0, 1e-5, 1e-30, (40.0,))


def _charged(state: Any, mechanism: Mechanism) -> Filter | None:
    after: Any
    if mechanism.event is not None:
        try:
            fits = state.admits(mechanism.event, delta=mechanism.delta)
        except BudgetError:  # an event without a cost in this measure
            return None
        return state.charge(mechanism.event, delta=mechanism.delta) if fits else None
    if isinstance(state, GdpFilter):
        if mechanism.mu2 is None:
            return None
        after = replace(state, spent=state.spent + mechanism.mu2)
    else:
        costs = ((total, mechanism.renyi(a)) for total, a in zip(state.sums, state.orders, strict=True))
        after = replace(state, sums=tuple(math.nextafter(total + cost, math.inf) for total, cost in costs))
    after = replace(after, spent_delta=after.spent_delta + Fraction(mechanism.delta))
    return after if after.admits(dpa.NoOpDpEvent()) else None


# --- the best finisher --------------------------------------------------------------------------


def strongest(make: Callable[[float], Mechanism], rule: Rule, first: Mechanism, low: float, high: float) -> Any:
    """The strongest of a family that is granted after ``first``: ``make`` of the least parameter in [low, high], to
    one part in 10⁶, where a larger one hurts less. None if even ``high`` is refused."""
    if not rule.grants(first, make(high)):
        return None
    while high > low * (1 + 1e-6):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if rule.grants(first, make(middle)) else (middle, high)
    return make(high)


@lru_cache(maxsize=4096)
def best_coin(order: float, rest: float, t: float) -> Mechanism:
    """Of all mechanisms whose Rényi divergence at ``order`` is at most ``rest``, in both directions, one with the
    largest H(t): telling only whether S happened costs no more and leaves H(t) as it is, so a coin is enough."""
    lowest, highest = -40.0, -1e-9
    p = q = 0.0
    for _ in range(4):
        logs = np.linspace(lowest, highest, 400)
        ps, qs = _heads(order, rest, np.exp(logs)), np.exp(logs)
        best = int(np.argmax(ps - math.exp(min(t, 600.0)) * qs))
        p, q = float(ps[best]), float(qs[best])
        lowest, highest = logs[max(best - 2, 0)], logs[min(best + 2, logs.size - 1)]
    return coin(p, q)


def _heads(order: float, rest: float, q: Floats) -> Floats:
    """The largest p ≥ q for which coins of p and q are within ``rest`` at ``order``, both ways, a hair less."""

    def cost(p: Floats, q: Floats) -> Floats:
        heads = order * np.log(p) + (1 - order) * np.log(q)
        tails = order * np.log1p(-p) + (1 - order) * np.log1p(-q)
        return np.asarray(np.logaddexp(heads, tails), dtype=np.float64)

    limit = (order - 1) * (rest - 1e-9 * abs(rest) - 1e-12)
    low, high = q.copy(), np.minimum(1 - 1e-12, q * math.exp(min(700.0, rest + 700 / order)) + 1e-300)
    for _ in range(70):
        middle = np.sqrt(low * high)
        within = (cost(middle, q) <= limit) & (cost(q, middle) <= limit)
        low, high = np.where(within, middle, low), np.where(within, high, middle)
    return low


@lru_cache(maxsize=256)
def tight_cap(order: float, epsilon: float, delta: float) -> float:
    """The largest B, to one part in 10⁷, for which D_order ≤ B implies (epsilon, delta)-DP; no conversion grants
    more."""
    low, high = 0.0, 2 * epsilon
    while high - low > 1e-7 * epsilon:
        middle = (low + high) / 2
        made = best_coin(order, middle, epsilon)
        reached = float(made.below.curve(np.array([epsilon]))[0])
        low, high = (middle, high) if reached <= delta else (low, middle)
    return low


def finishers(rule: ByFilter, first: Mechanism, *, epsilon: float) -> list[Mechanism]:
    """Of *all* mechanisms that a filter grants after ``first``, those that hurt most at the losses of ``first``.

    Gaussian differential privacy: the Gaussian of all that is left, from which every other is made (Blackwell).
    Rényi: the coin that is best for each order and loss; for a ``first`` of many outcomes at 24 losses.
    """
    rest = rule.rest(first)
    if rest is None:
        return []
    if isinstance(rest, GdpFilter):
        best = strongest(gaussian, rule, first, 1e-2, 1e6)
        return [] if best is None else [best]
    found = []
    for turned in (False, True):
        pair = first.pair(above=False, turned=turned)
        left = np.unique(epsilon - Pair(pair.p[pair.p > 1e-14], pair.q[pair.p > 1e-14]).losses())
        if left.size > 24:
            left = np.quantile(left, np.linspace(0, 1, 24))
        for order, cap, total in zip(rest.orders, rest.caps, rest.sums, strict=True):
            if total < cap:
                found += [best_coin(order, cap - total, t) for t in np.round(left[np.isfinite(left)], 12).tolist()]
    return [made for made in dict.fromkeys(found) if _charged(rest, made) is not None]


def menu(rule: Rule, first: Mechanism) -> list[Mechanism]:
    """The strongest that ``rule`` grants after ``first`` of several families: Gaussian, Laplace, randomised response,
    a leak, and coins that fall heads rarely."""
    families: list[tuple[Callable[[float], Mechanism], float, float]] = [
        (gaussian, 0.5, 1e4),
        (laplace, 0.3, 1e4),
        (lambda x: randomised_response(1 / x), 0.3, 1e6),
        (lambda x: leak(1 / x), 1e2, 1e12),
        *((lambda x, q=q: coin(q * (1 + 1 / x), q), max(1.0, q / (1 - q)) * 0.6, 1e6) for q in (1e-3, 1e-2, 0.1)),
    ]
    found = [strongest(make, rule, first, low, high) for make, low, high in families]
    return [made for made in found if made is not None]
