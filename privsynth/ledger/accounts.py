"""The books as people read them: of each budget line what was bought when, by which source, and what the rest buys; of
each plan how many of its holds were used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from privsynth.errors import BudgetExhausted, LedgerError
from privsynth.ledger.balance import Balance, Step
from privsynth.ledger.entry import Entry
from privsynth.ledger.ledger import Ledger
from privsynth.ledger.record import Bought, Over, bought_of
from privsynth.privacy.events import decode
from privsynth.privacy.filters import Filter, GdpFilter, RenyiFilter

if TYPE_CHECKING:
    from dp_accounting import DpEvent

MOST_MORE = 1000
"""Further holds are counted up to so many."""

_Charges = dict[str, tuple["DpEvent", float]]
"""By hold what a line pays for it: an event, one value for all that were recorded alike, with its own delta."""


@dataclass(frozen=True)
class Purchase:
    """A hold on a budget line.

    Attributes:
        time: when it was bought, ISO 8601 UTC.
        source, recipient, purpose: what for.
        epsilon, delta: its whole price.
        spent: share of the line's filter that was spent after it, 0 to 1.
    """

    time: str
    source: str
    recipient: str
    purpose: str
    epsilon: float
    delta: float
    spent: float


@dataclass(frozen=True)
class Account:
    """A budget line with its history. Nothing in it depends on a record, on attempts or on verdicts.

    Attributes:
        over: ``population``, the guarantee, or ``recipient``, a limit of the policy.
        name, population: whose.
        epsilon, delta: the cap, for ever.
        spent: share of the filter that is spent, 0 to 1: whatever became of the holds, it does not come back.
        left: share of the filter that can still be bought, 0 to 1. A hold for a recipient must pass the population's
            line too, so hers is never more than what that one has left, in shares of her own.
        held: share that holds cost which have no model yet: they are part of ``spent``.
        by_source: share of the filter spent through each source.
        purchases: every hold, in the order of buying.
        more: how many further holds at the price of the last one the line would pay for, and for a recipient the
            population's line too, up to ``MOST_MORE``; None where nothing was bought yet.
    """

    over: Over
    name: str
    population: str
    epsilon: float
    delta: float
    spent: float
    left: float
    held: float
    by_source: dict[str, float]
    purchases: tuple[Purchase, ...]
    more: int | None

    @property
    def words(self) -> str:
        """What the rest buys, in words."""
        if self.more is None:
            return "nothing was bought yet" if self.left else "nothing: the population's budget is spent"
        many = f"more than {MOST_MORE}" if self.more > MOST_MORE else "no" if self.more == 0 else str(self.more)
        last = self.purchases[-1]
        what = "release" if self.more == 1 else "releases"
        return f"{many} more {what} like the last (ε = {last.epsilon:g}, δ = {last.delta:g})"

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "over": self.over,
            "name": self.name,
            "population": self.population,
            "epsilon": self.epsilon,
            "delta": self.delta,
            "holds": len(self.purchases),
            "spent_share": self.spent,
            "held_share": self.held,
            "left_share": self.left,
            "by_source": self.by_source,
            "more_like_the_last": self.more,
            "purchases": [vars(purchase) for purchase in self.purchases],
        }


@dataclass(frozen=True)
class Programme:
    """A plan: holds that were sold together. Nothing in it depends on a record, on attempts or on verdicts.

    Attributes:
        id, name: of the plan; the name is for people, and may be empty.
        time: when it was sold, ISO 8601 UTC.
        requests: the request id of each hold, in its order.
        used: how many of them had a fit begun.
        waiting: how many may still be used; the others expired, or were closed by a restore. All of them stay spent.
    """

    id: str
    name: str
    time: str
    requests: tuple[str, ...]
    used: int
    waiting: int

    @property
    def title(self) -> str:
        """Its name, else the beginning of its id."""
        return self.name or self.id[:8]

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        told = {"plan": self.id, "name": self.name, "time": self.time, "requests": list(self.requests)}
        return {**told, "sold": len(self.requests), "used": self.used, "waiting": self.waiting}


@dataclass(frozen=True)
class Books:
    """Every budget line, the population's before its recipients', and every plan, in the order of buying."""

    lines: tuple[Account, ...]
    plans: tuple[Programme, ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {"lines": [line.to_json() for line in self.lines], "plans": [plan.to_json() for plan in self.plans]}


def accounts(ledger: Ledger) -> tuple[Account, ...]:
    """Every budget line of a ledger with its history. Reads the whole log."""
    return books(ledger).lines


def books(ledger: Ledger) -> Books:
    """What a ledger's budgets and plans have come to. Reads the whole log."""
    with ledger.reading() as session:
        entries, balance, now = session.main, session.balance(), session.time
        lines = balance.lines(recipients=ledger.policy.recipients)
        populations = {line.population: line for line in lines if line.over == "population"}
        fresh = {(line.population, line.over): balance.populations[line.population].fresh(line.over) for line in lines}
    sold = [bought_of(entry) for entry in entries if entry.kind == "reserve"]
    charges = _charges(sold)
    open_ = {hold.id for hold in sold} - {entry.body["hold"] for entry in entries if entry.kind == "measured"}
    found = []
    for line in lines:
        mine = [hold for hold in sold if hold.population == line.population]
        if line.over == "recipient":
            mine = [hold for hold in mine if hold.terms.recipient == line.name]
        start = fresh[line.population, line.over]
        passed = [line] if line.over == "population" else [populations[line.population], line]
        found.append(
            Account(
                over=line.over,
                name=line.name,
                population=line.population,
                epsilon=line.epsilon,
                delta=line.delta,
                spent=line.spent_share(),
                left=max(0.0, min(1.0 - line.spent_share(), _room(passed[0].filter) / _room(start))),
                held=_share(start, [b for b in mine if b.id in open_], charges),
                by_source={s: _share(start, [b for b in mine if b.terms.source == s], charges) for s in _sources(mine)},
                purchases=_history(start, mine, charges),
                more=_more([one.filter for one in passed], charges[mine[-1].id]) if mine else None,
            )
        )
    planned: dict[str, list[Bought]] = {}
    for hold in sold:
        planned.setdefault(hold.plan, []).append(hold)
    plans = [_programme(entry, planned[entry.body["plan"]], balance, now) for entry in entries if entry.kind == "plan"]
    return Books(tuple(found), tuple(plans))


def _programme(plan: Entry, holds: Sequence[Bought], balance: Balance, now: str) -> Programme:
    fresh = [hold for hold in holds if not balance.step(hold) & (Step.FITTED | Step.CLOSED)]
    return Programme(
        id=plan.body["plan"],
        name=plan.body["name"],
        time=plan.time,
        requests=tuple(hold.request for hold in holds),
        used=sum(Step.FITTED in balance.step(hold) for hold in holds),
        waiting=sum(not hold.expires or now <= hold.expires for hold in fresh),
    )


def _sources(holds: Sequence[Bought]) -> list[str]:
    return list(dict.fromkeys(hold.terms.source for hold in holds))


def _charges(holds: Sequence[Bought]) -> _Charges:
    events: dict[str, DpEvent] = {}
    own: dict[tuple[float, ...], float] = {}
    out: _Charges = {}
    for hold in holds:
        recorded, p = str(hold.event), hold.prices
        deltas = p.delta_noise, p.delta_open, p.delta_steps
        event = events[recorded] = events.get(recorded) or decode(hold.event)
        delta = own[deltas] = own.get(deltas) or p.delta_own
        out[hold.id] = event, delta
    return out


def _share(start: Filter, holds: Sequence[Bought], charges: _Charges) -> float:
    *_, after = start, *start.course([charges[hold.id] for hold in holds])
    return after.spent_share() if holds else 0.0


def _history(start: Filter, holds: Sequence[Bought], charges: _Charges) -> tuple[Purchase, ...]:
    out = []
    for hold, after in zip(holds, start.course([charges[hold.id] for hold in holds]), strict=True):
        terms = hold.terms
        out.append(
            Purchase(
                time=hold.reserved,
                source=terms.source,
                recipient=terms.recipient,
                purpose=terms.purpose,
                epsilon=terms.epsilon,
                delta=terms.delta,
                spent=after.spent_share(),
            )
        )
    return tuple(out)


def _room(spent: Filter) -> float:
    """The largest μ² of one Gaussian that still fits: what filters of different caps and orders have in common."""
    match spent:
        case GdpFilter():
            return float(spent.cap - spent.spent)
        case RenyiFilter():
            rest = zip(spent.orders, spent.caps, spent.sums, strict=True)
            return max(2 * (cap - total) / order for order, cap, total in rest)
    raise LedgerError(f"a {spent.kind} filter is not known here", mend="use the version that made the ledger")


def _more(spent: Sequence[Filter], last: tuple[DpEvent, float]) -> int:
    count = 0
    try:
        for _ in zip(*(one.course([last] * (MOST_MORE + 1)) for one in spent), strict=True):
            count += 1
    except BudgetExhausted:
        pass
    return count
