"""The proved rules across adaptively chosen holds (field/privacy.md 7; docs/proofs/filters.md).

A filter is a cap fixed when the ledger is created. It grants a hold only if the sum of costs stays
under the cap whatever is asked next; the privacy loss distribution of the past decides nothing here
("natural filters" are unsound: arXiv 2602.06756). δ* = δ_f + δ_a: δ_f converts the sum of costs,
δ_a takes the own δ of events (sampler error, thresholded categories).

Premise: the next event is a function of charged outputs, public facts and independent coins.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import lru_cache, reduce
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from privsynth.errors import BudgetError, BudgetExhausted
from privsynth.privacy.accountant import epsilon_of, mu_of, mu_squared, rdp
from privsynth.privacy.budget import Budget
from privsynth.privacy.gdp import check_number

if TYPE_CHECKING:
    from dp_accounting import DpEvent

FilterKind = Literal["gdp", "rdp"]
T = TypeVar("T")
SPREAD = (1.15, 1.6, 2.6)  # where the automatic orders lie, in units of ln(k/δ_f)/ε* above 1
_MOST_ORDERS = 8
GDP_GRID = 2**256
"""μ² is rounded up to multiples of 1/GDP_GRID, so that exact sums stay short."""


class Filter(Protocol):
    """What a budget line may still pay for. Frozen: ``charge`` returns the next one."""

    @property
    def kind(self) -> FilterKind:
        """``gdp`` or ``rdp``."""
        ...

    def admits(self, event: DpEvent, *, delta: float = 0.0) -> bool:
        """Whether ``event``, with its own ``delta``, still fits; raises BudgetError if it has no proved cost."""
        ...

    def charge(self, event: DpEvent, *, delta: float = 0.0) -> Filter:
        """The filter after ``event``; BudgetExhausted, and nothing changed, if it does not fit."""
        ...

    def course(self, charges: Sequence[tuple[DpEvent, float]]) -> Iterator[Filter]:
        """The filter after each of these in turn, an event with its own delta, as :meth:`charge` has it; but each value
        is priced once. BudgetExhausted at the first that does not fit."""
        ...

    def spent_share(self) -> float:
        """The share of the cap that is spent, in [0, 1]: a diagnostic."""
        ...

    def within(self, share: Fraction) -> bool:
        """Whether the sum of costs is at most ``share`` of the cap, exactly: for a limit inside the filter, which
        proves nothing by itself. The events' own deltas are not asked."""
        ...

    def surplus(self, events: Sequence[DpEvent], *, share: Fraction) -> int | None:
        """How many of ``events``, one or more, must go, the first ones first, until charging the others in their order
        is :meth:`within` ``share``; None where not even the last one is.

        What it answers is what :meth:`charge` of each would; but each value is priced once, O(n) prices and O(n log n)
        sums, and O(n) sums where none must go.

        Raises:
            BudgetError: an event without a proved cost.
        """
        ...

    def spent_epsilon(self) -> float:
        """Epsilon of the spent part at δ_f, had it been fixed in advance: a diagnostic, never a claim."""
        ...

    def to_json(self) -> dict[str, Any]:
        """The frozen parameters, not the sums."""
        ...


@dataclass(frozen=True)
class GdpFilter:
    """Σμ² ≤ μ*²(ε*, δ_f) and Σδ ≤ δ_a: then everything ever granted is (ε*, δ*)-DP. Loses nothing.

    For every event with a proved μ for add or remove, in both directions, after every history.

    Attributes:
        epsilon, delta: the cap (ε*, δ*).
        delta_a: the part of delta for the events' own deltas.
        spent, spent_delta: exact sums so far, each cost rounded up to a multiple of 2^-256.
    """

    epsilon: float
    delta: float
    delta_a: float
    spent: Fraction = Fraction(0)
    spent_delta: Fraction = Fraction(0)
    kind: FilterKind = field(default="gdp", init=False)

    def __post_init__(self) -> None:
        _check_cap(self.epsilon, self.delta, self.delta_a)

    @property
    def cap(self) -> Fraction:
        """μ*², rounded down."""
        return _gdp_cap(self.epsilon, _delta_f(self.delta, self.delta_a))

    def admits(self, event: DpEvent, *, delta: float = 0.0) -> bool:
        """See :meth:`Filter.admits`."""
        return self._after(_gdp_cost(event), delta)._within()

    def charge(self, event: DpEvent, *, delta: float = 0.0) -> GdpFilter:
        """See :meth:`Filter.charge`."""
        return next(self.course([(event, delta)]))

    def course(self, charges: Sequence[tuple[DpEvent, float]]) -> Iterator[GdpFilter]:
        """See :meth:`Filter.course`."""
        costs, now = _priced([event for event, _ in charges], _gdp_cost), self
        for cost, (_, delta) in zip(costs, charges, strict=True):
            now = now._after(cost, delta)
            if not now._within():
                raise _exhausted(self.epsilon, self.delta)
            yield now

    def spent_share(self) -> float:
        """See :meth:`Filter.spent_share`."""
        return float(max(self.spent / self.cap, self.spent_delta / Fraction(self.delta_a)))

    def within(self, share: Fraction) -> bool:
        """See :meth:`Filter.within`."""
        return self.spent <= share * self.cap

    def surplus(self, events: Sequence[DpEvent], *, share: Fraction) -> int | None:
        """See :meth:`Filter.surplus`."""
        costs = _priced(events, _gdp_cost)
        return _surplus(len(costs), lambda gone: self._plus(sum(costs[gone:])), share)

    def spent_epsilon(self) -> float:
        """See :meth:`Filter.spent_epsilon`."""
        return epsilon_of(math.sqrt(self.spent), delta=_delta_f(self.delta, self.delta_a))

    def to_json(self) -> dict[str, Any]:
        """See :meth:`Filter.to_json`."""
        return {"kind": self.kind, "epsilon": self.epsilon, "delta": self.delta, "delta_a": self.delta_a}

    def _after(self, cost: int, delta: float) -> GdpFilter:
        return self._plus(cost, _own_delta(delta))

    def _plus(self, cost: int, delta: Fraction = Fraction(0)) -> GdpFilter:
        """After events that together cost so many 2^-256, with their own deltas."""
        spent, spent_delta = self.spent + Fraction(cost, GDP_GRID), self.spent_delta + delta
        return replace(self, spent=spent, spent_delta=spent_delta)

    def _within(self) -> bool:
        return self.spent <= self.cap and self.spent_delta <= Fraction(self.delta_a)


@dataclass(frozen=True)
class RenyiFilter:
    """Rényi divergence at k fixed orders: granted while at least one order still holds everything.

    Each order j has δ_f/k and the largest B_j for which (α_j, B_j)-RDP implies (ε*, δ_f/k)-DP. Every
    event is added to all sums; an order whose sum has passed B_j is dead for ever. The division of
    δ_f is the price of choosing the surviving order after the fact.

    Attributes:
        epsilon, delta: the cap (ε*, δ*).
        delta_a: the part of delta for the events' own deltas.
        orders: α_1 < ... < α_k, all above 1.
        sums: Rényi divergence spent at each order, every addition rounded up.
        spent_delta: exact sum of the events' own deltas.
    """

    epsilon: float
    delta: float
    delta_a: float
    orders: tuple[float, ...]
    sums: tuple[float, ...] = ()
    spent_delta: Fraction = Fraction(0)
    kind: FilterKind = field(default="rdp", init=False)

    def __post_init__(self) -> None:
        _check_cap(self.epsilon, self.delta, self.delta_a)
        _check_orders(self.orders)
        object.__setattr__(self, "sums", self.sums or (0.0,) * len(self.orders))
        if len(self.sums) != len(self.orders):
            raise BudgetError("a Rényi filter has one sum for each order", mend="rebuild it from the ledger")
        for order, cap in zip(self.orders, self.caps, strict=True):
            if not cap > 0:
                raise BudgetError(
                    f"order {order:g} can never pay for anything at epsilon {self.epsilon:g}, delta {self.delta:g}",
                    mend="leave it out, take a larger one, or write `orders: auto`",
                )

    @property
    def caps(self) -> tuple[float, ...]:
        """B_j for each order, rounded down."""
        delta = _share_down(_delta_f(self.delta, self.delta_a), len(self.orders))
        return tuple(_renyi_cap(order, self.epsilon, delta) for order in self.orders)

    def admits(self, event: DpEvent, *, delta: float = 0.0) -> bool:
        """See :meth:`Filter.admits`."""
        return self._after(self._cost(event), delta)._within()

    def charge(self, event: DpEvent, *, delta: float = 0.0) -> RenyiFilter:
        """See :meth:`Filter.charge`."""
        return next(self.course([(event, delta)]))

    def course(self, charges: Sequence[tuple[DpEvent, float]]) -> Iterator[RenyiFilter]:
        """See :meth:`Filter.course`."""
        costs, now = _priced([event for event, _ in charges], self._cost), self
        for cost, (_, delta) in zip(costs, charges, strict=True):
            now = now._after(cost, delta)
            if not now._within():
                raise _exhausted(self.epsilon, self.delta)
            yield now

    def spent_share(self) -> float:
        """See :meth:`Filter.spent_share`; of the order that has most left."""
        share = min(total / cap for total, cap in zip(self.sums, self.caps, strict=True))
        return max(share, float(self.spent_delta / Fraction(self.delta_a)))

    def within(self, share: Fraction) -> bool:
        """See :meth:`Filter.within`; at some order."""
        sums = zip(self.sums, self.caps, strict=True)
        return any(math.isfinite(total) and Fraction(total) <= share * Fraction(cap) for total, cap in sums)

    def surplus(self, events: Sequence[DpEvent], *, share: Fraction) -> int | None:
        """See :meth:`Filter.surplus`."""
        costs = _priced(events, self._cost)
        return _surplus(len(costs), lambda gone: self._plus(costs[gone:]), share)

    def spent_epsilon(self) -> float:
        """See :meth:`Filter.spent_epsilon`; by the best of the fixed orders, each at δ_f/k."""
        if not any(self.sums):
            return 0.0
        left = zip(self.sums, self.caps, strict=True)
        return max(0.0, min(self.epsilon - cap + total for total, cap in left))

    def to_json(self) -> dict[str, Any]:
        """See :meth:`Filter.to_json`."""
        frozen = {"kind": self.kind, "epsilon": self.epsilon, "delta": self.delta, "delta_a": self.delta_a}
        return {**frozen, "orders": list(self.orders)}

    def _after(self, cost: tuple[float, ...], delta: float) -> RenyiFilter:
        return replace(self._plus([cost]), spent_delta=self.spent_delta + _own_delta(delta))

    def _cost(self, event: DpEvent) -> tuple[float, ...]:
        return tuple(rdp(event, order=order) for order in self.orders)

    def _plus(self, costs: Sequence[tuple[float, ...]]) -> RenyiFilter:
        """After events of these costs, one number an order each, added one after another."""
        sums = (
            reduce(_add_up, costs_j, total) for total, costs_j in zip(self.sums, zip(*costs, strict=True), strict=True)
        )
        return replace(self, sums=tuple(sums))

    def _within(self) -> bool:
        alive = any(total <= cap for total, cap in zip(self.sums, self.caps, strict=True))
        return alive and self.spent_delta <= Fraction(self.delta_a)


def make_filter(
    kind: FilterKind, *, epsilon: float, delta: float, orders: tuple[float, ...] | None = None
) -> GdpFilter | RenyiFilter:
    """A fresh filter for a cap (epsilon, delta), with delta_a = delta/100.

    Args:
        kind: ``gdp`` for events with a proved μ; training by sampled steps too (sampled.py); ``rdp`` for Rényi costs.
        orders: of a Rényi filter; None chooses three by :func:`automatic_orders`.

    Raises:
        BudgetError: a cap or an order outside its range, orders for a GDP filter, an unknown kind.
    """
    Budget(epsilon, delta)
    delta_a = delta / 100
    match kind:
        case "gdp" if orders is None:
            return GdpFilter(epsilon, delta, delta_a)
        case "gdp":
            raise BudgetError("a gdp filter has no orders", mend="remove `orders`, or take kind rdp")
        case "rdp":
            automatic = automatic_orders(epsilon, _delta_f(delta, delta_a))
            return RenyiFilter(epsilon, delta, delta_a, automatic if orders is None else orders)
        case _:
            raise BudgetError(f"filter kind {kind!r} is not known", mend="gdp or rdp")


def automatic_orders(epsilon: float, delta_f: float) -> tuple[float, ...]:
    """α = 1 + c·ln(k/δ_f)/ε for each c of ``SPREAD``, to six digits so that every platform agrees."""
    unit = math.log(len(SPREAD) / delta_f) / epsilon
    return tuple(float(f"{1 + c * unit:.6g}") for c in SPREAD)


# --- helpers -----------------------------------------------------------------------------------


def _priced(events: Sequence[DpEvent], cost: Callable[[DpEvent], T]) -> list[T]:
    """The cost of each event; a value that comes again is priced once."""
    values = {id(event): event for event in events}
    costs = {key: cost(event) for key, event in values.items()}
    return [costs[id(event)] for event in events]


def _surplus(count: int, without: Callable[[int], GdpFilter | RenyiFilter], share: Fraction) -> int | None:
    """The least number of events that must go. Sums only grow with each event, in exact numbers and in floats that are
    rounded up, so what fits with more of them fits with fewer, and what fits at the end fitted all along."""

    def fits(gone: int) -> bool:
        after = without(gone)
        return after._within() and after.within(share)

    if fits(0):
        return 0
    if not fits(count - 1):
        return None
    low, high = 0, count - 1  # fits(high), and not fits(low)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


def _gdp_cost(event: DpEvent) -> int:
    """What an event costs, in units of 2^-256, rounded up."""
    return gdp_units(mu_squared(event))


def gdp_units(cost: Fraction) -> int:
    """An exact μ² in units of 1/GDP_GRID, rounded up: what every sum of μ² is made of."""
    return math.ceil(cost * GDP_GRID)


def _add_up(total: float, cost: float) -> float:
    return math.nextafter(total + cost, math.inf)


@lru_cache(maxsize=256)
def _gdp_cap(epsilon: float, delta: float) -> Fraction:
    return Fraction(mu_of(epsilon, delta)) ** 2


def _renyi_cap(order: float, epsilon: float, delta: float) -> float:
    """The largest B for which (order, B)-RDP implies (epsilon, delta)-DP, rounded down.

    Canonne, Kamath & Steinke 2020, proposition 12 (Balle et al. 2020, theorem 21):
    B = ε - ln(1 - 1/α) + (ln δ + ln α)/(α - 1); the terms are right to 1e-15 each, 1e-13 is taken off.
    """
    paid = (math.log(delta) + math.log(order)) / (order - 1)
    gained = -math.log1p(-1 / order)
    return epsilon + gained + paid - 1e-13 * (epsilon + gained + abs(paid))


def _delta_f(delta: float, delta_a: float) -> float:
    return math.nextafter(delta - delta_a, 0.0)


def _share_down(delta: float, parts: int) -> float:
    return math.nextafter(delta / parts, 0.0)


def _own_delta(delta: float) -> Fraction:
    """An event's own delta, exact."""
    check_number("an event's own delta", delta, 0.0, 1.0)
    return Fraction(delta)


def _check_cap(epsilon: float, delta: float, delta_a: float) -> None:
    Budget(epsilon, delta)
    check_number("delta_a", delta_a, 1e-310, math.nextafter(delta, 0.0))


def _check_orders(orders: tuple[float, ...]) -> None:
    for order in orders:
        check_number("a Rényi order", order, 1.001, 1e7)
    if not 1 <= len(orders) <= _MOST_ORDERS or list(orders) != sorted(set(orders)):
        raise BudgetError(
            f"Rényi orders {orders!r}: one to {_MOST_ORDERS} different numbers, ascending",
            mend="write `orders: auto`, or a short list: every order divides delta",
        )


def _exhausted(epsilon: float, delta: float) -> BudgetExhausted:
    return BudgetExhausted(
        f"what is left of the cap (epsilon {epsilon:g}, delta {delta:g}) does not pay for this",
        mend="a smaller epsilon; nothing refills a budget",
    )
