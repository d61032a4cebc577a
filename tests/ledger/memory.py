"""A database in memory for the ledger's tests: a value, so that a test may keep every state it was ever in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from privsynth.ledger.entry import Entry, LogName
from privsynth.ledger.log import Cell, Shelf
from privsynth.ledger.seal import Seal
from privsynth.signing import SigningKey, load_key, new_key

Row = tuple[bytes, str]


@dataclass(frozen=True, eq=False)
class Database:
    """Everything that a ledger keeps, at one moment. Never changed."""

    main: tuple[Row, ...] = ()
    attempts: tuple[Row, ...] = ()
    parts: Mapping[Any, Any] = field(default_factory=lambda: MappingProxyType({}))

    @cached_property
    def key(self) -> tuple[str, ...]:
        """What tells two moments apart: the hashes of all lines, which the rest is a function of."""
        return (*(hash_ for _, hash_ in self.main), "|", *(hash_ for _, hash_ in self.attempts))

    def log(self, name: LogName) -> tuple[Row, ...]:
        """A log's rows."""
        return self.main if name == "main" else self.attempts


class MemoryTransaction:
    """See :class:`privsynth.ledger.log.Transaction`: reads what there was, and gathers what is written."""

    def __init__(self, before: Database) -> None:
        self.before = before
        self.added: dict[LogName, list[Row]] = {"main": [], "attempts": []}
        self.parts: dict[Any, Any] = dict(before.parts)

    def after(self) -> Database:
        """What the database is once this is written."""
        main, attempts = (self.before.log(log) + tuple(self.added[log]) for log in ("main", "attempts"))
        return Database(main, attempts, MappingProxyType(self.parts))

    def _all(self, log: LogName) -> Sequence[Row]:
        return (*self.before.log(log), *self.added[log])

    def rows(self, log: LogName, start: int = 0) -> Sequence[tuple[int, bytes, str]]:
        """See the protocol, as all below."""
        return [(place, *row) for place, row in enumerate(self._all(log)) if place >= start]

    def row(self, log: LogName, place: int) -> Row | None:
        rows = self._all(log)
        return rows[place] if 0 <= place < len(rows) else None

    def add(self, entry: Entry) -> None:
        assert entry.seq == len(self._all(entry.log))
        self.added[entry.log].append((entry.leaf, entry.hash))

    def hashes(self, log: LogName, level: int, start: int, stop: int) -> Sequence[bytes]:
        start, stop = max(start, 0), max(stop, 0)
        if level:
            return self.parts.get(("nodes", log, level), ())[start:stop]  # type: ignore[no-any-return]
        return [bytes.fromhex(hash_) for _, hash_ in self._all(log)[start:stop]]

    def keep_hash(self, log: LogName, level: int, place: int, value: bytes) -> None:
        kept = self.parts.get(("nodes", log, level), ())
        assert place == len(kept)
        self.parts["nodes", log, level] = (*kept, value)

    def found(self, name: str) -> Sequence[int]:
        return self.parts.get(("found", name), ())  # type: ignore[no-any-return]

    def index(self, name: str, place: int) -> None:
        self.parts["found", name] = (*self.found(name), place)

    def indexed(self) -> Iterator[tuple[str, int]]:
        for key in sorted(key for key in self.parts if key[0] == "found"):
            yield from ((key[1], place) for place in self.parts[key])

    def cell(self, name: Cell) -> bytes | None:
        return self.parts.get(("cell", name))

    def set_cell(self, name: Cell, data: bytes) -> None:
        self.parts["cell", name] = data

    def put(self, shelf: Shelf, name: str, data: bytes) -> None:
        self._new(("shelf", shelf, name), data)

    def names(self, shelf: Shelf) -> frozenset[str]:
        return frozenset(key[2] for key in self.parts if key[:2] == ("shelf", shelf))

    def get(self, shelf: Shelf, name: str) -> bytes | None:
        return self.parts.get(("shelf", shelf, name))

    def _new(self, key: Any, value: bytes) -> None:
        assert key not in self.parts
        self.parts[key] = value


class MemoryStore:
    """See :class:`privsynth.ledger.log.Store`: one moment, which a writing transaction does not change; what it
    would leave behind stands in ``written`` until somebody commits it."""

    def __init__(self, now: Database) -> None:
        self.now = now
        self.written: Database | None = None

    @contextmanager
    def reading(self) -> Iterator[MemoryTransaction]:
        """A view of the moment."""
        yield MemoryTransaction(self.now)

    @contextmanager
    def writing(self) -> Iterator[MemoryTransaction]:
        """A transaction on the moment; a block that raises leaves nothing."""
        self.written = None
        transaction = MemoryTransaction(self.now)
        yield transaction
        self.written = transaction.after()


@dataclass(frozen=True)
class KeptSeal(Seal):
    """A seal whose key is in memory already."""

    kept: SigningKey

    def key(self) -> SigningKey:
        """The key."""
        return self.kept


def sealed_by(folder: Path) -> KeptSeal:
    """A new key, made in ``folder``."""
    path = folder / "memory.key"
    new_key(path, name="ledger")
    return KeptSeal(path, load_key(path))


def rewritten(now: Database, change: Callable[[dict[Any, Any]], None]) -> Database:
    """The database with other parts, as somebody who writes past the ledger would leave it."""
    parts = dict(now.parts)
    change(parts)
    return replace(now, parts=MappingProxyType(parts))
