"""The policy's pace at the sale: how much each budget line has paid within its window, and when it pays again.

What was sold within the longest window is read from the log in one piece, and each price is computed once. Times of
entries never go back, so a clock that is set forward opens a window sooner and lets nobody spend more than the budget,
which is asked first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from typing import TYPE_CHECKING

from privsynth.errors import LedgerError, RequestDenied
from privsynth.ledger.balance import Balance
from privsynth.ledger.entry import MEND, Entry, chain, one, stamp, understood
from privsynth.ledger.log import Session
from privsynth.ledger.record import Line
from privsynth.policy.pace import Charge, PaceLine, opens, recent
from privsynth.privacy.events import decode

if TYPE_CHECKING:
    from dp_accounting import DpEvent

    from privsynth.policy.document import Policy


@dataclass(frozen=True)
class _Sale:
    """What the pace asks of a sale: who pays, whose limit it is, what it cost and when."""

    population: str
    recipient: str
    charge: Charge


@dataclass(frozen=True)
class PaceQuote:
    """One line of the pace before a hold.

    Attributes:
        rule: the line.
        name: the population or recipient.
        where: ``file:line`` of it.
        holds: how many holds the budget line has paid for within the window.
        now: the moment of asking, UTC.
        opens: the first moment at which the hold would pass; ``now`` where it passes at once; None where it never does.
    """

    rule: PaceLine
    name: str
    where: str
    holds: int
    now: datetime
    opens: datetime | None

    @property
    def admitted(self) -> bool:
        """Whether the hold passes now."""
        return self.opens == self.now

    @property
    def since(self) -> str:
        """When the hold would pass, in words."""
        if self.opens is None:
            return "never at this price"
        return "now" if self.admitted else f"from {stamp(self.opens)} on"

    def refusal(self, *, plan: bool = False) -> RequestDenied:
        """Why the hold, or the whole plan, is not sold."""
        never = (
            "sell it in parts, each once the pace lets it through: all of a plan counts when it is sold, and together "
            "these holds are more than the share"
            if plan
            else "ask for a smaller epsilon: by itself this hold is more than the share"
        )
        return RequestDenied(
            f"PS-PAC-001: the pace is {self.rule.words}, and that of {self.name!r} has paid for {self.holds} holds in "
            "that time",
            rules=["PS-PAC-001"],
            where=self.where,
            mend=never if self.opens is None else f"ask again {self.since}; what is left of the budget stays",
        )


def paces(
    policy: Policy,
    balance: Balance,
    due: Sequence[tuple[Line, DpEvent]],
    *,
    session: Session | None,
    now: datetime,
) -> tuple[PaceQuote, ...]:
    """What each line of the pace says at ``now`` to what is asked for.

    Args:
        balance: with every sale, of ``session``.
        due: the budget lines that would pay, each with what it would pay for, together.
        session: the log; None where nothing was sold yet.
    """
    rules = policy.privacy.pace or ()
    sold = [] if session is None or not rules else _sold_since(session, now=now, rules=rules)
    out = []
    for i, rule in enumerate(rules):
        for line, event in ((line, event) for line, event in due if line.over == rule.over):
            fresh = balance.populations[line.population].fresh(line.over)
            held = recent(rule, [sale.charge for sale in sold if _paid(line, sale)], now=now)
            where = policy.where("privacy", "pace", i)
            out.append(PaceQuote(rule, line.name, where, len(held), now, opens(rule, fresh, held, event, now=now)))
    return tuple(out)


def slowest(quoted: Sequence[PaceQuote]) -> PaceQuote | None:
    """The line that lets the hold through last, if one does not now."""
    late = [line for line in quoted if not line.admitted]
    return max(late, key=lambda line: line.opens or datetime.max.replace(tzinfo=UTC), default=None)


def refusing(
    policy: Policy, balance: Balance, due: Sequence[tuple[Line, DpEvent]], *, session: Session, now: datetime
) -> PaceQuote | None:
    """The :func:`slowest` line of :func:`paces`, with its arguments.

    Where all that a line ever paid for is within its share, so is every window, and the log is not read.
    """
    shares = [
        (*one, Fraction(rule.share)) for rule in policy.privacy.pace or () for one in due if one[0].over == rule.over
    ]
    if all(line.filter.surplus([event], share=share) == 0 for line, event, share in shares):
        return None
    return slowest(paces(policy, balance, due, session=session, now=now))


def _paid(line: Line, sale: _Sale) -> bool:
    """Whether the line has paid for the hold."""
    mine = line.over == "population" or sale.recipient == line.name
    return mine and sale.population == line.population


def _sold_since(session: Session, *, now: datetime, rules: Sequence[PaceLine]) -> list[_Sale]:
    """The sales of the longest window that ends now, in order. Prices that were recorded alike are one value."""
    events: dict[str, DpEvent] = {}
    out = []
    for entry in _entries_after(session, stamp(now - max(rule.window for rule in rules))):
        if entry.kind == "reserve":
            with understood(entry):
                recorded = str(entry.body["event"])
                event = events[recorded] = events.get(recorded) or decode(entry.body["event"])
                at = datetime.fromisoformat(entry.time)
                out.append(_Sale(entry.body["population"], entry.body["terms"]["recipient"], Charge(at, event)))
    return out


def _entries_after(session: Session, time: str) -> Iterator[Entry]:
    """The entries of the main log that were written after ``time``, in order; believed once all were given.

    They are read on from the last one that was not, as one piece: each names the hash of the one before it, and the
    last one is the one that was signed. Where the piece begins is found by halving, and shown by its first entry, which
    is not after ``time``: times never go back. O(log of all + entries).

    Raises:
        LedgerError: an entry was changed, taken out, put in or moved.
    """
    edge = session.edges["main"]
    low, high = 0, edge.size  # nothing is after ``time`` before low, as far as the rows say
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _read(session, middle).time > time else (middle, high)
    first = _read(session, low)
    end = first.hash
    if first.time > time:
        yield first
    for entry in chain("main", session.tx.rows("main", low + 1), after=first):
        end = entry.hash
        if entry.time > time:
            yield entry
    if end != edge.hash or (low and first.time > time):
        raise LedgerError("the entries of the pace's window are not those that were signed", mend=MEND)


def _read(session: Session, place: int) -> Entry:
    """An entry that is whole by itself, and not yet believed."""
    row = session.tx.row("main", place)
    if row is None:
        raise LedgerError(f"entry {place} is missing", where=f"entry {place} of the main log", mend=MEND)
    return one("main", place, *row)
