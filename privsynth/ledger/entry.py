"""One line of a ledger's log: canonical JSON, linked to the line before it by its hash.

A *leaf* is the RFC 8785 JSON of the line; its hash is SHA-256(0x00 || leaf), the leaf hash of
RFC 6962, so a Merkle tree can be laid over the same leaves later without rewriting one. Each leaf
names the log that it belongs to, its place, and the hash of the leaf before it: a flipped byte, a
line taken out, put in, or moved is found by reading the log once (:func:`chain`).

What a chain alone cannot show: that its newest lines, or the whole file, were set back to an earlier
state. For that the tree over the leaves is signed (``checkpoint``) and its head kept elsewhere (``witness``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol

from privsynth.documents import canonical
from privsynth.errors import LedgerError, ModelError, UsageError

FORMAT = 1
BEFORE_ALL = "0" * 64
STEP_BACK = timedelta(minutes=5)

LogName = Literal["main", "attempts"]
Clock = Callable[[], datetime]

_KEYS = {"privsynth-ledger", "log", "seq", "time", "actor", "kind", "prev", "body"}
MEND = "stop using this ledger, keep the file, and restore it from a backup together with its owner"


class Before(Protocol):
    """The line that another one comes after: an entry, or what is kept of it."""

    @property
    def seq(self) -> int:
        """Its place."""
        ...

    @property
    def time(self) -> str:
        """Its time."""
        ...

    @property
    def hash(self) -> str:
        """Its leaf hash."""
        ...


@dataclass(frozen=True)
class Entry:
    """One line.

    Attributes:
        log: ``main``, or ``attempts`` (the second log, which is never published).
        seq: its place, from 0.
        time: ISO 8601 in UTC with microseconds; never before the line above.
        actor: who asked for it.
        kind: what happened: ``reserve``, ``fit``, ...
        body: its fields, by kind.
        prev: hash of the line before, in hex; 64 zeros for the first.
        leaf: the exact bytes that are hashed.
    """

    log: LogName
    seq: int
    time: str
    actor: str
    kind: str
    body: Mapping[str, Any] = field(repr=False)
    prev: str = field(repr=False)
    leaf: bytes = field(repr=False)

    @property
    def hash(self) -> str:
        """Hex SHA-256 of 0x00 and the leaf."""
        return leaf_hash(self.leaf)


def leaf_hash(leaf: bytes) -> str:
    """The RFC 6962 leaf hash of ``leaf``, in hex."""
    return hashlib.sha256(b"\x00" + leaf).hexdigest()


def utc_now() -> datetime:
    """The host's clock, in UTC."""
    return datetime.now(UTC)


def utc(now: datetime) -> datetime:
    """``now`` in UTC.

    Raises:
        UsageError: ``now`` names no time zone.
    """
    if now.tzinfo is None:
        raise UsageError("the clock gives a time without a zone", where="clock", mend="use datetime.now(UTC)")
    return now.astimezone(UTC)


def follow(
    last: Before | None, kind: str, body: Mapping[str, Any], *, log: LogName, actor: str, now: datetime
) -> Entry:
    """The line that comes after ``last`` (None: the first), at the later of ``now`` and the line above.

    Raises:
        UsageError: ``now`` names no time zone.
        LedgerError: ``now`` is more than five minutes before ``last``.
    """
    time = utc(now)
    if last is not None:
        before = datetime.fromisoformat(last.time)
        if before - time > STEP_BACK:
            raise LedgerError(
                f"the clock says {stamp(time)}, but the last entry was written at {last.time}: more than five "
                "minutes back",
                where=f"entry {last.seq} of the {log} log",
                mend="set the host's clock right and ask again; nothing was written",
            )
        time = max(time, before)
    seq, prev = (0, BEFORE_ALL) if last is None else (last.seq + 1, last.hash)
    leaf = canonical(
        {
            "privsynth-ledger": FORMAT,
            "log": log,
            "seq": seq,
            "time": stamp(time),
            "actor": actor,
            "kind": kind,
            "prev": prev,
            "body": dict(body),
        }
    )
    return _parse(leaf)


def read_chain(log: LogName, rows: Iterable[tuple[int, bytes, str]]) -> tuple[Entry, ...]:
    """Every line of a log, checked as by :func:`chain`."""
    return tuple(chain(log, rows))


def chain(log: LogName, rows: Iterable[tuple[int, bytes, str]], *, after: Before | None = None) -> Iterator[Entry]:
    """The lines of a log one by one, each checked before it is given.

    Args:
        log: which log the rows claim to be.
        rows: (place, leaf, stored hash) in order of place.
        after: the line before the first of them; None: they begin the log.

    Raises:
        LedgerError: a line that was changed, taken out, put in or moved.
    """
    first, prev, time = (0, BEFORE_ALL, "") if after is None else (after.seq + 1, after.hash, after.time)
    for place, (seq, leaf, stored) in enumerate(rows, first):
        if seq != place:
            where = f"entry {place} of the {log} log"
            raise LedgerError(f"entry {place} is missing (the next one is {seq})", where=where, mend=MEND)
        entry = one(log, place, leaf, stored)
        if entry.prev != prev or entry.time < time:
            raise _stray(log, place)
        yield entry
        prev, time = stored, entry.time


def one(log: LogName, place: int, leaf: bytes, stored: str) -> Entry:
    """A line by itself: its hash, and that it says of itself where it stands.

    Raises:
        LedgerError: altered, or moved here from elsewhere.
    """
    if not isinstance(leaf, bytes) or leaf_hash(leaf) != stored:
        where = f"entry {place} of the {log} log"
        raise LedgerError("the entry was altered: its hash does not match", where=where, mend=MEND)
    entry = _parse(leaf)
    if (entry.log, entry.seq) != (log, place):
        raise _stray(log, place)
    return entry


def _stray(log: LogName, place: int) -> LedgerError:
    where = f"entry {place} of the {log} log"
    return LedgerError("the entry does not follow the one before it", where=where, mend=MEND)


def odd(entry: Entry) -> LedgerError:
    """The entry is whole, but what it says cannot be."""
    return LedgerError(
        f"entry {entry.seq} ({entry.kind}) cannot follow the ones before it, or is of a later version",
        where=f"entry {entry.seq} of the {entry.log} log",
        mend="use the version of privsynth that wrote it; else " + MEND,
    )


@contextmanager
def understood(entry: Entry) -> Iterator[None]:
    """While the block reads ``entry``: a field that is not there, or not of its kind, is :func:`odd`."""
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError, UsageError, ModelError):
        raise odd(entry) from None


def stamp(time: datetime) -> str:
    """``time``, in UTC, as entries write it: texts of this form sort as their times do."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.%f+00:00")


def _parse(leaf: bytes) -> Entry:
    try:
        value = json.loads(leaf)
        format_, keys = value["privsynth-ledger"], set(value)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise LedgerError("an entry is not a line of a privsynth ledger", mend=MEND) from None
    texts = all(isinstance(value.get(key), str) for key in ("log", "time", "actor", "kind", "prev"))
    whole = texts and isinstance(value.get("seq"), int) and isinstance(value.get("body"), dict)
    if format_ != FORMAT or keys != _KEYS or not whole:
        raise LedgerError(
            f"an entry has format {format_!r}; this version reads {FORMAT}",
            mend="use the version of privsynth that wrote the ledger, or a later one",
        )
    return Entry(
        log=value["log"],
        seq=value["seq"],
        time=value["time"],
        actor=value["actor"],
        kind=value["kind"],
        body=value["body"],
        prev=value["prev"],
        leaf=leaf,
    )
