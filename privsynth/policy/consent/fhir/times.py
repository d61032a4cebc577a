"""FHIR dates and times, and whether a moment lies in a period: yes, no, or not sure.

A date without zone is read in the zone of its record (the offset of the record's own date and time), and where that
states none, at its narrowest: a period has begun for sure when its first day has begun everywhere on earth, and is
over when its last day has ended anywhere. The end of a period is included, to the end of its day, month or year.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

_WHEN = re.compile(
    r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2})(?:T([0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{1,9})?"
    r"(Z|[+-](?:0[0-9]|1[0-4]):[0-5][0-9]))?)?)?\Z",
    re.ASCII,
)
_FIRST = dt.datetime.min.replace(tzinfo=dt.UTC)
_LAST = dt.datetime.max.replace(tzinfo=dt.UTC)
EAST, WEST = dt.timedelta(hours=14), dt.timedelta(hours=-12)
_TICK = dt.timedelta(microseconds=1)


class Match(IntEnum):
    """Three-valued truth: all of several is the least, one of several the greatest."""

    NO = 0
    UNSURE = 1
    YES = 2


@dataclass(frozen=True)
class Edge:
    """A moment that is known to lie from ``early`` to ``late``."""

    early: dt.datetime
    late: dt.datetime


@dataclass(frozen=True)
class When:
    """A date or time: the moment at which it begins, and the one at which it is over."""

    begins: Edge
    ends: Edge


@dataclass(frozen=True)
class Period:
    """From ``start`` to ``end``, both included; None is open, ``readable`` false is a period that nobody can judge."""

    start: When | None = None
    end: When | None = None
    readable: bool = True

    def holds(self, now: dt.datetime) -> Match:
        """Whether ``now`` lies within."""
        if not self.readable:
            return Match.UNSURE
        begun = ended = Match.YES
        if self.start is not None:
            edge = self.start.begins
            begun = Match.NO if now < edge.early else Match.YES if now >= edge.late else Match.UNSURE
        if self.end is not None:
            edge = self.end.ends
            ended = Match.NO if now >= edge.late else Match.YES if now < edge.early else Match.UNSURE
        return min(begun, ended)

    def over(self, now: dt.datetime) -> bool:
        """Whether it is over for sure."""
        return self.readable and self.end is not None and now >= self.end.ends.late


def zone_of(value: Any) -> dt.timedelta | None:
    """The offset that a date and time states; None for a date, and for anything else."""
    found = _WHEN.match(value) if isinstance(value, str) else None
    return _offset(found[6]) if found is not None and found[6] else None


def read_when(value: Any, zone: dt.timedelta | None = None) -> When | None:
    """A FHIR date or dateTime; None where it cannot be read. ``zone``: of a date."""
    found = _WHEN.match(value) if isinstance(value, str) else None
    if found is None:
        return None
    year, month, day, clock, fraction, offset = found.groups()
    try:
        if clock is not None:
            moment = dt.datetime.fromisoformat(f"{year}-{month}-{day}T{clock}")
            moment = moment.replace(microsecond=int((fraction or ".0")[1:7].ljust(6, "0")), tzinfo=dt.UTC)
            at = _shift(moment, _offset(offset))
            return When(Edge(at, at), Edge(_later(at), _later(at)))
        first = dt.datetime(int(year), int(month or 1), int(day or 1), tzinfo=dt.UTC)
    except ValueError:
        return None
    return When(_edge(first, zone), _edge(_next(first, month, day), zone))


def read_period(value: Any, zone: dt.timedelta | None) -> Period:
    """A FHIR Period; one that is empty, turned round or not understood is not readable."""
    if not isinstance(value, dict) or not value or not set(value) <= {"start", "end"}:
        return Period(readable=False)
    start, end = read_when(value.get("start"), zone), read_when(value.get("end"), zone)
    if ("start" in value and start is None) or ("end" in value and end is None):
        return Period(readable=False)
    if start is not None and end is not None and start.begins.early >= end.ends.late:
        return Period(readable=False)
    return Period(start, end)


def _offset(text: str) -> dt.timedelta:
    if text == "Z":
        return dt.timedelta(0)
    size = dt.timedelta(hours=int(text[1:3]), minutes=int(text[4:6]))
    return size if text[0] == "+" else -size


def _next(first: dt.datetime, month: str | None, day: str | None) -> dt.datetime:
    """The beginning of the next year, month or day."""
    try:
        if day is not None:
            return first + dt.timedelta(days=1)
        if month is not None:
            return (first + dt.timedelta(days=31)).replace(day=1)
        return first.replace(year=first.year + 1)
    except (OverflowError, ValueError):
        return _LAST


def _edge(midnight: dt.datetime, zone: dt.timedelta | None) -> Edge:
    """When a day begins: in ``zone``, else between the places where it does so first and last."""
    if zone is not None:
        at = _shift(midnight, zone)
        return Edge(at, at)
    return Edge(_shift(midnight, EAST), _shift(midnight, WEST))


def _shift(local: dt.datetime, offset: dt.timedelta) -> dt.datetime:
    try:
        return local - offset
    except OverflowError:
        return _FIRST if offset > dt.timedelta(0) else _LAST


def _later(at: dt.datetime) -> dt.datetime:
    return at if at >= _LAST else at + _TICK
