"""A ledger in one SQLite file. The only file that imports a database driver.

Each operation is one transaction on a connection of its own, so threads, processes and forks share
nothing. Writers begin with BEGIN IMMEDIATE: what they check stays true until they commit. With
``journal_mode=DELETE`` and ``synchronous=EXTRA`` a commit has reached the disk when it returns, and a
plain copy of the file between commits is whole. A new file appears under its name only when its
first entries are durable in it, readable by its owner alone.

What the file cannot show is that it was set back whole, or that its newest lines were cut off
together with everything after them: an older copy is a good ledger too. That needs the head to be
kept elsewhere (the witness of the issue on policy). Keep it on a local disk: network file systems
that do not lock or flush are not detected.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from privsynth.documents import sha256
from privsynth.errors import LedgerError, PrivsynthError, StorageError, UsageError
from privsynth.ledger.entry import Clock, Entry, LogName, utc_now
from privsynth.ledger.hold import Hold
from privsynth.ledger.ledger import Ledger, enter, look, quote_unopened
from privsynth.ledger.log import Session, Shelf
from privsynth.ledger.record import Line
from privsynth.ledger.register import found
from privsynth.ledger.sale import Quote, QuoteLine
from privsynth.ledger.steps import Status
from privsynth.ledger.terms import one_line

if TYPE_CHECKING:
    from privsynth.policy.document import Policy

__all__ = [
    "Hold",
    "Ledger",
    "Line",
    "Quote",
    "QuoteLine",
    "SqliteStore",
    "Status",
    "look_at_ledger",
    "open_ledger",
    "quote_unopened",
]

SCHEME = "sqlite:///"
APPLICATION_ID = 0x70734C31  # "psL1"
MOST_BYTES = 500_000_000
_LOGS: dict[LogName, str] = {"main": "entries", "attempts": "attempts"}
_TABLES = (
    *(
        statement
        for table in _LOGS.values()
        for statement in (
            f"CREATE TABLE {table} (seq INTEGER PRIMARY KEY, leaf BLOB NOT NULL, hash TEXT NOT NULL)",
            f"CREATE TRIGGER {table}_kept BEFORE DELETE ON {table} BEGIN SELECT RAISE(ABORT, 'append only'); END",
            f"CREATE TRIGGER {table}_same BEFORE UPDATE ON {table} BEGIN SELECT RAISE(ABORT, 'append only'); END",
        )
    ),
    *(
        f"CREATE TABLE {shelf} (name TEXT PRIMARY KEY, data BLOB NOT NULL, sha256 TEXT NOT NULL)"
        for shelf in ("secrets", "transcripts", "claims")
    ),
)


def open_ledger(url: str, policy: Policy, *, actor: str, clock: Clock | None = None) -> Ledger:
    """Open the ledger at ``url``, or create it, for ``actor`` under ``policy``.

    Args:
        url: ``sqlite:///ledger.db`` (relative) or ``sqlite:////srv/ledger.db`` (absolute).
        policy: of the id that the ledger was created for; populations that are new in it are registered.
        actor: the address of the person or service that acts, as under the policy's ``people``.
        clock: the host's time; for tests.

    Raises:
        UsageError: another scheme, or no path.
        StorageError: no such folder, a folder, read-only, full, locked for a minute.
        LedgerError: not a ledger, altered, of another policy, frozen fields changed, clock set back.
    """
    store, who, time = _store_at(url), one_line(actor, name="actor"), clock or utc_now
    if not store.path.exists():
        store.create(lambda tx: found(Session(tx, actor=who, clock=time), policy))
    return enter(store, policy, actor=who, clock=time)


def look_at_ledger(url: str, policy: Policy, *, actor: str, clock: Clock | None = None) -> Ledger:
    """Open the ledger at ``url`` to ask it something: none is created, and nothing new in ``policy`` is registered.

    Raises:
        StorageError: there is none. Else as :func:`open_ledger`.
    """
    store = _store_at(url)
    if not store.path.exists():
        raise StorageError("no such ledger", where=str(store.path), mend="check the path; `privsynth run` makes it")
    return look(store, policy, actor=one_line(actor, name="actor"), clock=clock or utc_now)


def _store_at(url: str) -> SqliteStore:
    if not isinstance(url, str) or not url.startswith(SCHEME) or "\0" in url or not url.removeprefix(SCHEME).strip("/"):
        raise UsageError(f"ledger {url!r} is not the address of one", where="ledger", mend=f"use {SCHEME}ledger.db")
    if url == f"{SCHEME}:memory:":
        raise UsageError("a ledger in memory forgets what was spent", where="ledger", mend=f"use {SCHEME}ledger.db")
    path = Path(url.removeprefix(SCHEME))
    if not path.parent.is_dir():
        raise StorageError("no such folder for the ledger", where=str(path.parent), mend="make the folder first")
    return SqliteStore(path.resolve())


@dataclass(frozen=True)
class SqliteStore:
    """The file at ``path``; a writer that finds it locked waits ``wait_seconds``."""

    path: Path
    wait_seconds: float = 60.0

    @contextmanager
    def reading(self) -> Iterator[SqliteTransaction]:
        """See :class:`privsynth.ledger.log.Store`."""
        with self._connected() as connection, _transaction(connection, "BEGIN"):
            _must_be_ours(connection, self.path)
            yield SqliteTransaction(connection)

    @contextmanager
    def writing(self) -> Iterator[SqliteTransaction]:
        """See :class:`privsynth.ledger.log.Store`."""
        with self._connected() as connection, _transaction(connection, "BEGIN IMMEDIATE"):
            _must_be_ours(connection, self.path)
            yield SqliteTransaction(connection)

    def create(self, fill: Callable[[SqliteTransaction], None]) -> None:
        """Make the file with what ``fill`` writes, whole or not at all; an existing file is left as it is."""
        draft = SqliteStore(self.path.with_name(f".{self.path.name}.{secrets.token_hex(8)}.new"), self.wait_seconds)
        try:
            os.close(os.open(draft.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            with draft._connected() as connection, _transaction(connection, "BEGIN IMMEDIATE"):
                for statement in _TABLES:
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                fill(SqliteTransaction(connection))
            os.link(draft.path, self.path)
            _flush_folder(self.path.parent)
        except FileExistsError:
            return  # another process made it first: its ledger is the ledger
        except OSError as fault:
            raise StorageError(
                f"the ledger cannot be created ({fault.strerror})",
                where=str(self.path),
                mend="check that the folder is on a local disk with free space, and that you may write to it",
            ) from None
        finally:
            draft.path.unlink(missing_ok=True)

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        _must_be_writable(self.path)
        try:
            with closing(
                sqlite3.connect(
                    f"{self.path.as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=self.wait_seconds
                )
            ) as connection:
                mode = connection.execute("PRAGMA journal_mode = DELETE").fetchone()[0]
                for pragma in ("synchronous = EXTRA", "fullfsync = ON", "trusted_schema = OFF", "temp_store = MEMORY"):
                    connection.execute(f"PRAGMA {pragma}")
                if mode != "delete":
                    raise StorageError(
                        f"the ledger is in journal mode {mode!r}, in which a copied file can lose entries",
                        where=str(self.path),
                        mend="close the program that changed it, then try again",
                    )
                yield connection
        except sqlite3.Error as fault:
            raise _typed(fault, self.path) from None


@dataclass(frozen=True)
class SqliteTransaction:
    """A connection between begin and commit; see :class:`privsynth.ledger.log.Transaction`."""

    connection: sqlite3.Connection

    def rows(self, log: LogName) -> Sequence[tuple[int, bytes, str]]:
        """Every line of ``log``, in order."""
        return self.connection.execute(f"SELECT seq, leaf, hash FROM {_LOGS[log]} ORDER BY seq").fetchall()

    def add(self, entry: Entry) -> None:
        """Append a line."""
        self.connection.execute(
            f"INSERT INTO {_LOGS[entry.log]} (seq, leaf, hash) VALUES (?, ?, ?)", (entry.seq, entry.leaf, entry.hash)
        )

    def put(self, shelf: Shelf, name: str, data: bytes) -> None:
        """Keep ``data`` under a new name."""
        if len(data) > MOST_BYTES:
            raise StorageError(
                f"{len(data)} bytes are too many to keep in a ledger", where=shelf, mend=f"at most {MOST_BYTES} bytes"
            )
        self.connection.execute(
            f"INSERT INTO {shelf} (name, data, sha256) VALUES (?, ?, ?)", (name, data, sha256(data))
        )

    def names(self, shelf: Shelf) -> frozenset[str]:
        """Every name under which something is kept."""
        return frozenset(row[0] for row in self.connection.execute(f"SELECT name FROM {shelf}"))

    def get(self, shelf: Shelf, name: str) -> bytes | None:
        """What is kept under ``name``."""
        row = self.connection.execute(f"SELECT data FROM {shelf} WHERE name = ?", (name,)).fetchone()
        return row[0] if row is not None and isinstance(row[0], bytes) else None


@contextmanager
def _transaction(connection: sqlite3.Connection, begin: str) -> Iterator[None]:
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _must_be_ours(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a file of another program, and one with tables or triggers that a ledger does not have."""
    found = {row[0] for row in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")}
    number = connection.execute("PRAGMA application_id").fetchone()[0]
    if number != APPLICATION_ID or found != set(_TABLES):
        raise LedgerError(
            "the file is not a ledger of this version, or its tables were changed",
            where=str(path),
            mend="name the right file, or one that does not exist yet; restore a changed one from a backup",
        )


def _must_be_writable(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except OSError as fault:
        raise StorageError(
            f"the ledger cannot be reached ({fault.strerror})", where=str(path), mend="put the ledger back in its place"
        ) from None
    if not stat.S_ISREG(mode):
        raise StorageError("the ledger is not a file", where=str(path), mend="name a file, for example ledger.db")
    if not mode & stat.S_IWUSR or not os.access(path, os.R_OK | os.W_OK):
        raise StorageError("the ledger is read-only", where=str(path), mend="let its owner make it writable again")


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


_FAULTS: dict[int, tuple[type[PrivsynthError], str, str]] = {
    sqlite3.SQLITE_NOTADB: (LedgerError, "the file is not a ledger", "name the right file, or a new one"),
    sqlite3.SQLITE_CORRUPT: (LedgerError, "the file is damaged", "restore it from a backup with its owner"),
    sqlite3.SQLITE_CONSTRAINT: (LedgerError, "the entry is there already", "restore it from a backup with its owner"),
    sqlite3.SQLITE_FULL: (StorageError, "the disk is full", "free some space; nothing was written"),
    sqlite3.SQLITE_READONLY: (StorageError, "the ledger is read-only", "make the file and its folder writable"),
    sqlite3.SQLITE_CANTOPEN: (StorageError, "the ledger cannot be opened", "make the file and its folder writable"),
    sqlite3.SQLITE_BUSY: (StorageError, "another process holds the ledger", "wait for it, then ask again"),
    sqlite3.SQLITE_LOCKED: (StorageError, "another process holds the ledger", "wait for it, then ask again"),
    sqlite3.SQLITE_IOERR: (StorageError, "the disk failed", "check it and its free space, then ask again"),
}


def _typed(fault: sqlite3.Error, path: Path) -> PrivsynthError:
    code = getattr(fault, "sqlite_errorcode", 0) & 0xFF
    error, what, mend = _FAULTS.get(code, (LedgerError, "the database refused", "restore the file from a backup"))
    return error(f"{what} ({getattr(fault, 'sqlite_errorname', type(fault).__name__)})", where=str(path), mend=mend)
