"""What a hold would cost, alone or as one of a plan, and whether it would be sold. Nothing is written, no data read.

A plan is weighed against the budget lines hold by hold, each on top of the ones before it; what a line can pay does not
depend on their order, for its sums only grow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING

from privsynth.errors import ApprovalMissing, BudgetError, BudgetExhausted
from privsynth.ledger.balance import Balance, LineName
from privsynth.ledger.log import Session
from privsynth.ledger.pace import PaceQuote, paces
from privsynth.ledger.record import Line, Over
from privsynth.ledger.terms import Terms

if TYPE_CHECKING:
    from datetime import date

    from dp_accounting import DpEvent

    from privsynth.ledger.standing import Standing
    from privsynth.policy.decide import Decision
    from privsynth.policy.document import Policy
    from privsynth.policy.nearest import Nearest
    from privsynth.policy.request import Request
    from privsynth.privacy.accountant import Prices

_DIGITS = 3
_LEAST_EPSILON = 1e-4


@dataclass(frozen=True)
class QuoteLine:
    """One budget line before and after a hold.

    Attributes:
        over, name, population: which line.
        epsilon, delta: its cap.
        holds: holds that it has paid for so far.
        spent_before, spent_after: shares of its filter, 0 to 1; after is None where it cannot pay.
    """

    over: Over
    name: str
    population: str
    epsilon: float
    delta: float
    holds: int
    spent_before: float
    spent_after: float | None

    @property
    def admitted(self) -> bool:
        """Whether the line can pay."""
        return self.spent_after is not None


@dataclass(frozen=True)
class Quote:
    """What a hold would cost, and whether it would be sold.

    Attributes:
        decision: of the policy, every rule consulted.
        prices: what fit and gate may each spend.
        lines: the budget lines that would pay; empty where the source is not registered.
        buys: where the lines cannot pay: the largest epsilon at this delta that they still can, rounded
            down to three digits; None where that is nothing, or not needed.
        nearest: where the policy denies: the nearest request that it would allow.
        paces: what each line of the pace says to it; empty for one of a plan, which has them all together.
        unapproved: where people have yet to approve the policy itself.
    """

    decision: Decision
    prices: Prices
    lines: tuple[QuoteLine, ...]
    buys: float | None
    nearest: Nearest | None = None
    paces: tuple[PaceQuote, ...] = ()
    unapproved: ApprovalMissing | None = None

    def under(self, standing: Standing) -> Quote:
        """The same with the rule that asks whether the policy may be worked by at all, if somebody must approve it."""
        from privsynth.policy.request import Decision

        rule = standing.verdict
        if rule is None:
            return self
        return replace(self, decision=Decision((*self.decision.verdicts, rule)), unapproved=standing.missing())

    @property
    def admitted(self) -> bool:
        """Whether policy, every budget line and the pace would sell this hold now. The recipe has its own word still:
        :meth:`Priced.check_sampler`, which a sale and ``privsynth plan`` ask."""
        paid = bool(self.lines) and all(line.admitted for line in self.lines)
        return self.decision.allowed and paid and all(line.admitted for line in self.paces)


@dataclass(frozen=True)
class PlanQuote:
    """What several holds would cost that are sold together.

    Attributes:
        items: each hold, its lines as they stand once those before it that can be paid are.
        paces: what each line of the pace says to all of them together.
    """

    items: tuple[Quote, ...]
    paces: tuple[PaceQuote, ...] = ()

    def under(self, standing: Standing) -> PlanQuote:
        """See :meth:`Quote.under`."""
        return replace(self, items=tuple(item.under(standing) for item in self.items))

    @property
    def admitted(self) -> bool:
        """Whether all of them would be sold now; see :attr:`Quote.admitted`."""
        return all(item.admitted for item in self.items) and all(line.admitted for line in self.paces)


@dataclass(frozen=True)
class Weighed:
    """A request for a hold against the budget lines, as they stand once those before it have paid.

    Attributes:
        terms, prices: of it.
        population: whose budget pays; empty where the source is not registered.
        lines: that must pay; empty where the source is not registered.
        after: each of them once it has paid; None where it cannot.
    """

    terms: Terms
    prices: Prices
    population: str
    lines: tuple[Line, ...]
    after: tuple[Line | None, ...]

    @property
    def short(self) -> tuple[Line, ...]:
        """The lines that cannot pay."""
        return tuple(line for line, after in zip(self.lines, self.after, strict=True) if after is None)

    def paid(self, balance: Balance) -> Balance:
        """``balance`` once every line has paid."""
        spent = {(line.population, line.over, line.name): line for line in self.after if line is not None}
        return replace(balance, spent={**balance.spent, **spent})


def weighed(policy: Policy, balance: Balance, asked: Iterable[Terms]) -> Iterator[Weighed]:
    """Each of ``asked`` in turn, on top of those before it that every line can pay."""
    for terms in asked:
        prices, population = prices_of(policy, terms), balance.sources.get(terms.source, "")
        lines = balance.lines_of(population, terms.recipient) if population else ()
        one = Weighed(terms, prices, population, lines, tuple(_charged(line, prices) for line in lines))
        yield one
        if not one.short:
            balance = one.paid(balance)


def due(bill: Sequence[Weighed]) -> tuple[tuple[Line, DpEvent], ...]:
    """Each budget line, as it stood before all of them, with what it pays for them together: one event."""
    import dp_accounting as dpa

    lines: dict[LineName, Line] = {}
    events: dict[LineName, list[DpEvent]] = {}
    for one in bill:
        for line in one.lines:
            name = (line.population, line.over, line.name)
            lines.setdefault(name, line)
            events.setdefault(name, []).append(one.prices.event)
    return tuple(
        (line, events[name][0] if len(events[name]) == 1 else dpa.ComposedDpEvent(events[name]))
        for name, line in lines.items()
    )


def quote(policy: Policy, balance: Balance, terms: Terms, *, now: datetime, session: Session | None = None) -> Quote:
    """Price ``terms`` against ``balance``, and what was sold lately in ``session``."""
    together = quote_all(policy, balance, [terms], now=now, session=session)
    return replace(together.items[0], paces=together.paces)


def quote_all(
    policy: Policy, balance: Balance, asked: Sequence[Terms], *, now: datetime, session: Session | None = None
) -> PlanQuote:
    """Price several holds that would be sold together; as :func:`quote`."""
    bill = list(weighed(policy, balance, asked))
    moment = moment_of(session, now)
    return PlanQuote(
        items=tuple(_item(policy, request_of(balance, one.terms, today=now.date()), one) for one in bill),
        paces=paces(policy, balance, due(bill), session=session, now=moment),
    )


def _item(policy: Policy, request: Request, one: Weighed) -> Quote:
    from privsynth.policy.decide import decide
    from privsynth.policy.nearest import nearest

    decision = decide(policy, request)
    return Quote(
        decision=decision,
        prices=one.prices,
        lines=tuple(_told(line, after) for line, after in zip(one.lines, one.after, strict=True)),
        buys=still_buys(policy, one) if one.short else None,
        nearest=None if decision.allowed else nearest(policy, request),
    )


def moment_of(session: Session | None, now: datetime) -> datetime:
    """The time that an entry would have."""
    return now if session is None else datetime.fromisoformat(session.time)


def request_of(balance: Balance, terms: Terms, *, today: date) -> Request:
    """What the policy is asked, with what the ledger knows of who asks."""
    population = balance.sources.get(terms.source, "")
    opened = terms.actor in balance.openers.get(population, frozenset())
    return replace(terms.request(today=today), opened_report=opened)


def prices_of(policy: Policy, terms: Terms) -> Prices:
    """What fit and gate of a hold on these terms may each spend.

    Raises:
        BudgetError: a price for which there is no usable noise.
    """
    from privsynth.privacy.accountant import share_out

    return share_out(terms.budget, gate_share=policy.gate.budget.share, selects=terms.selects, trains=terms.trains)


def _charged(line: Line, prices: Prices) -> Line | None:
    try:
        filter_ = line.filter.charge(prices.event, delta=prices.delta_own)
    except BudgetExhausted:
        return None
    return replace(line, filter=filter_, holds=line.holds + 1)


def _told(line: Line, after: Line | None) -> QuoteLine:
    return QuoteLine(
        over=line.over,
        name=line.name,
        population=line.population,
        epsilon=line.epsilon,
        delta=line.delta,
        holds=line.holds,
        spent_before=line.spent_share(),
        spent_after=None if after is None else after.spent_share(),
    )


def still_buys(policy: Policy, one: Weighed) -> float | None:
    """The largest epsilon, rounded down to three digits, that every line would still admit at this delta."""

    def fits(epsilon: float) -> bool:
        try:
            prices = prices_of(policy, replace(one.terms, epsilon=epsilon))
            return all(_charged(line, prices) is not None for line in one.lines)
        except BudgetError:
            return False

    return largest(fits, least=_LEAST_EPSILON, most=one.terms.epsilon)


def largest(fits: Callable[[float], bool], *, least: float, most: float) -> float | None:
    """The largest number in [least, most] that fits, to three digits rounded down; None if ``least`` does not.

    ``fits`` is true up to a point and false after it.
    """
    if not fits(least):
        return None
    good, bad = least, most
    while bad > good * (1 + 10.0 ** -(_DIGITS + 2)):
        middle = (good * bad) ** 0.5
        good, bad = (middle, bad) if fits(middle) else (good, middle)
    exact = Decimal(good)
    rounded = float(exact.quantize(Decimal(1).scaleb(exact.adjusted() - _DIGITS + 1), rounding=ROUND_DOWN))
    return rounded if rounded >= least and fits(rounded) else least
