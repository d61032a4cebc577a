"""Pace: a speed limit inside a budget, which stays for ever: within any window of a length at most a share of it.

A window is rolling, not a month of the calendar, so that nothing comes back at midnight; ``month`` is the longest one.
What counts is when holds were bought, by the entries of the ledger, whose times never go back: whoever sets the clock
forward buys sooner, and never more than the budget.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pydantic

from privsynth.policy.directions import ABSENT, OWN, Ladder, Order
from privsynth.policy.words import Part

if TYPE_CHECKING:
    from dp_accounting import DpEvent

    from privsynth.privacy.filters import Filter

Per = Literal["year", "quarter", "month", "week", "day"]
WINDOWS: Mapping[Per, timedelta] = {
    "year": timedelta(days=366),
    "quarter": timedelta(days=92),
    "month": timedelta(days=31),
    "week": timedelta(days=7),
    "day": timedelta(days=1),
}
"""The longest first: what holds for a window holds for every window inside it, so the longest is the tightest."""
_MOST_DIGITS = 12
_SHARE = re.compile(r"[0-9]+/[0-9]+|[0-9]*\.?[0-9]+(e-[0-9]+)?")


def _share(value: Any) -> str:
    """``1/4``, ``2/8`` and ``0.25`` as ``1/4``."""
    plain = isinstance(value, str | float) and len(str(value)) <= _MOST_DIGITS and _SHARE.fullmatch(str(value))
    try:
        share = Fraction(str(value)) if plain else Fraction()
    except ZeroDivisionError:
        share = Fraction()
    if not 0 < share < 1:
        raise ValueError("must be a share between 0 and 1, such as 1/4 or 0.25")
    return str(share)


@dataclass(frozen=True)
class Portion:
    """A share such as ``1/4``: smaller is tighter; not stated is no limit."""

    def order(self, before: Any, after: Any, /) -> Order:
        """See :class:`privsynth.policy.directions.Direction`."""
        if ABSENT in (before, after):
            return "same" if before is after else "tighter" if before is ABSENT else "looser"
        old, new = Fraction(before), Fraction(after)
        return "same" if old == new else "tighter" if new < old else "looser"

    def steps(self, value: Any, names: Sequence[str], /) -> Iterator[Any]:
        """A quarter, tenth, hundredth more, while it is a share."""
        for part in (Fraction(5, 4), Fraction(11, 10), Fraction(101, 100)):
            if Fraction(value) * part < 1:
                yield str(Fraction(value) * part)


class PaceLine(Part):
    """At most ``share`` of the budget line over the same is bought within any window as long as ``per``."""

    over: Annotated[Literal["population", "recipient"], OWN]
    per: Annotated[Per, Ladder(tuple(WINDOWS))]
    share: Annotated[str, pydantic.BeforeValidator(_share, json_schema_input_type=str | float), Portion()]

    @property
    def window(self) -> timedelta:
        """The length of the window."""
        return WINDOWS[self.per]

    @property
    def words(self) -> str:
        """The limit as text."""
        return f"at most {self.share} of the budget over {self.over} within any {self.window.days} days"


@dataclass(frozen=True)
class Charge:
    """What a hold cost, and when it was bought."""

    at: datetime
    event: DpEvent


def recent(rule: PaceLine, charges: Sequence[Charge], *, now: datetime) -> tuple[Charge, ...]:
    """Those of ``charges`` in the window that ends now, in order of time."""
    return tuple(sorted((c for c in charges if c.at > now - rule.window), key=lambda charge: charge.at))


def opens(
    rule: PaceLine, fresh: Filter, charges: Sequence[Charge], event: DpEvent, *, now: datetime
) -> datetime | None:
    """The first moment from ``now`` on at which the line lets ``event`` through, if nothing else is bought until then.

    Args:
        rule: the line.
        fresh: the filter of the budget line, of which nothing is spent.
        charges: what the budget line has paid for; older than the window or not.
        event: what is asked for.

    The whole window is asked first; where it does not fit, one by one leave it, found by halving: see
    :meth:`privsynth.privacy.filters.Filter.surplus`.

    Returns:
        ``now`` where it passes at once; None where it is more than the share by itself, and never passes.
    """
    held = recent(rule, charges, now=now)
    gone = fresh.surplus([*(charge.event for charge in held), event], share=Fraction(rule.share))
    return None if gone is None else now if gone == 0 else held[gone - 1].at + rule.window
