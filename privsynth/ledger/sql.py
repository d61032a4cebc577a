"""What a ledger does to its tables, in statements that SQLite and PostgreSQL both understand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

from privsynth.documents import sha256
from privsynth.errors import LedgerError, StorageError
from privsynth.ledger.entry import MEND, Entry, LogName
from privsynth.ledger.layout import LAYOUT, SINCE, TABLE
from privsynth.ledger.log import MOST_BYTES, Cell, Shelf

BEFORE_ALL = -(2**63)
"""The lowest place that a database can hold: what somebody put before the first line is read too, and found."""


class SqlTransaction(ABC):
    """A connection between begin and commit; see :class:`privsynth.ledger.log.Transaction`.

    Attributes:
        layout: of its tables.
    """

    layout: int = LAYOUT

    @abstractmethod
    def ask(self, statement: str, *values: object) -> Iterable[Any]:
        """Run a statement, in which ? stands for each value; its rows, if it has any."""

    @abstractmethod
    def rows(self, log: LogName, start: int = 0) -> Iterable[tuple[int, bytes, str]]:
        """Every line of ``log`` from ``start`` on, in order."""

    @abstractmethod
    def indexed(self) -> Iterable[tuple[str, int]]:
        """The whole index."""

    def row(self, log: LogName, place: int) -> tuple[bytes, str] | None:
        """Leaf and stored hash of a line."""
        return next(iter(self.ask(f"SELECT leaf, hash FROM {TABLE[log]} WHERE seq = ?", place)), None)

    def add(self, entry: Entry) -> None:
        """Append a line."""
        self.ask(
            f"INSERT INTO {TABLE[entry.log]} (seq, leaf, hash) VALUES (?, ?, ?)", entry.seq, entry.leaf, entry.hash
        )

    def hashes(self, log: LogName, level: int, start: int, stop: int) -> Sequence[bytes]:
        """The hashes of a level of the tree from ``start`` up to ``stop``."""
        if level:
            query = "SELECT hash FROM nodes WHERE log = ? AND level = ? AND place >= ? AND place < ? ORDER BY place"
            rows = self.ask(query, log, level, start, stop)
        else:
            rows = self.ask(f"SELECT hash FROM {TABLE[log]} WHERE seq >= ? AND seq < ? ORDER BY seq", start, stop)
        try:
            return [bytes.fromhex(value) if level == 0 else bytes(value) for (value,) in rows]
        except (TypeError, ValueError):
            raise LedgerError("a hash of the tree is not one", where=f"the {log} log", mend=MEND) from None

    def keep_hash(self, log: LogName, level: int, place: int, value: bytes) -> None:
        """Keep the hash of a full subtree."""
        self.ask("INSERT INTO nodes VALUES (?, ?, ?, ?)", log, level, place, value)

    def found(self, name: str) -> Sequence[int]:
        """The places that are indexed under ``name``."""
        rows = list(self.ask("SELECT seq FROM found WHERE name = ? ORDER BY seq", name))
        if not all(isinstance(place, int) for (place,) in rows):
            raise LedgerError("the index leads to no place", where="the main log", mend=MEND)
        return [place for (place,) in rows]

    def index(self, name: str, place: int) -> None:
        """Index a place."""
        self.ask("INSERT INTO found VALUES (?, ?)", name, place)

    def cell(self, name: Cell) -> bytes | None:
        """What a cell holds."""
        return _data(self.ask("SELECT data FROM cells WHERE name = ?", name))

    def set_cell(self, name: Cell, data: bytes) -> None:
        """Replace what a cell holds."""
        statement = "INSERT INTO cells VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET data = excluded.data"
        self.ask(statement, name, data)

    def put(self, shelf: Shelf, name: str, data: bytes) -> None:
        """Keep ``data`` under a new name."""
        if len(data) > MOST_BYTES:
            raise StorageError(
                f"{len(data)} bytes are too many to keep in a ledger", where=shelf, mend=f"at most {MOST_BYTES} bytes"
            )
        if not self._has(shelf):
            mend = "run `privsynth ledger migrate`, or open it once as the role that owns its tables"
            raise LedgerError(f"the ledger has layout {self.layout}, without a place for this", where=shelf, mend=mend)
        self.ask(f"INSERT INTO {shelf} (name, data, sha256) VALUES (?, ?, ?)", name, data, sha256(data))

    def names(self, shelf: Shelf) -> frozenset[str]:
        """Every name under which something is kept."""
        return frozenset(name for (name,) in self.ask(f"SELECT name FROM {shelf}")) if self._has(shelf) else frozenset()

    def get(self, shelf: Shelf, name: str) -> bytes | None:
        """What is kept under ``name``."""
        return _data(self.ask(f"SELECT data FROM {shelf} WHERE name = ?", name)) if self._has(shelf) else None

    def _has(self, shelf: Shelf) -> bool:
        return SINCE.get(shelf, 0) <= self.layout


def _data(rows: Iterable[Any]) -> bytes | None:
    """The bytes in the one row that there may be; None for what is no bytes."""
    value = next((data for (data,) in rows), None)
    return value if isinstance(value, bytes) else None
