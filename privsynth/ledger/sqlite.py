"""A ledger in one SQLite file.

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
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from privsynth.errors import LedgerError, PrivsynthError, StorageError, UsageError
from privsynth.ledger.entry import MEND, LogName
from privsynth.ledger.layout import ADDED, LAYOUT, READ, TABLE, TABLES, VERSION
from privsynth.ledger.seal import SUFFIX, flush_folder
from privsynth.ledger.sql import BEFORE_ALL, SqlTransaction

SCHEME = "sqlite:///"
APPLICATION_ID = 0x70734C31  # "psL1"


@dataclass(frozen=True)
class SqliteStore:
    """The file at ``path``; a writer that finds it locked waits ``wait_seconds``."""

    path: Path
    wait_seconds: float = 60.0

    @classmethod
    def at(cls, url: str) -> SqliteStore:
        """The store at ``sqlite:///ledger.db`` (relative) or ``sqlite:////srv/ledger.db`` (absolute).

        Raises:
            UsageError: not such an address. StorageError: no such folder.
        """
        if not url.startswith(SCHEME) or not url.removeprefix(SCHEME).strip("/"):
            raise UsageError("not the address of a ledger", where="ledger", mend=f"use {SCHEME}ledger.db")
        if url == f"{SCHEME}:memory:":
            raise UsageError("a ledger in memory forgets what was spent", where="ledger", mend=f"use {SCHEME}ledger.db")
        path = Path(url.removeprefix(SCHEME))
        if not path.parent.is_dir():
            raise StorageError("no such folder for the ledger", where=str(path.parent), mend="make the folder first")
        return cls(_resolved(path))

    @property
    def where(self) -> str:
        """For messages."""
        return str(self.path)

    @property
    def key(self) -> Path:
        """Where the ledger's key lies if nobody says."""
        return self.path.with_name(self.path.name + SUFFIX)

    def exists(self) -> bool:
        """Whether there is a file."""
        return self.path.exists()

    def must_be_free(self) -> None:
        """Refuse a free name beside which the journal of an earlier file lies: SQLite would write that one's pages into
        a new file of the name, and destroy it.

        Raises:
            StorageError: naming the journal.
        """
        left = [name for end in ("-journal", "-wal", "-shm") if os.path.lexists(name := f"{self.path}{end}")]
        if left and not os.path.lexists(self.path):  # else it is of what another process made meanwhile
            raise StorageError(
                "what an earlier database of this name left lies there, and would be written into the new one",
                where=left[0],
                mend="move it away, together with the file that it is of if that is still somewhere; or name a new one",
            )

    @contextmanager
    def reading(self) -> Iterator[SqliteTransaction]:
        """See :class:`privsynth.ledger.log.Store`."""
        with self._connected() as connection, _transaction(connection, "BEGIN"):
            yield SqliteTransaction(connection, _must_be_ours(connection, self.path))

    @contextmanager
    def writing(self) -> Iterator[SqliteTransaction]:
        """See :class:`privsynth.ledger.log.Store`."""
        with self._connected() as connection, _transaction(connection, "BEGIN IMMEDIATE"):
            yield SqliteTransaction(connection, _must_be_ours(connection, self.path))

    @contextmanager
    def looking(self) -> Iterator[SqliteTransaction]:
        """As ``reading``, of a file that nobody may write to, such as a backup on a disk that is read-only."""
        _must_be_files(self.path)
        try:
            uri = f"{self.path.as_uri()}?mode=ro"
            opened = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=self.wait_seconds)
            with closing(opened) as connection, _transaction(connection, "BEGIN"):
                yield SqliteTransaction(connection, _must_be_ours(connection, self.path))
        except sqlite3.Error as fault:
            raise _typed(fault, self.path) from None
        except UnicodeDecodeError:
            raise LedgerError("the file is damaged", where=str(self.path), mend=MEND) from None

    def create(self, fill: Callable[[SqliteTransaction], None], *, place: Callable[[], None] = lambda: None) -> None:
        """Make the file with what ``fill`` writes, whole or not at all; an existing file is left as it is.

        ``place`` brings what must be there first to its place; FileExistsError means: begin again.

        Raises:
            StorageError: it cannot be written, or an earlier file's journal lies there.
        """
        self.must_be_free()
        draft = SqliteStore(self.path.with_name(f".{self.path.name}.{secrets.token_hex(8)}.new"), self.wait_seconds)
        try:
            os.close(os.open(draft.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            with draft._connected() as connection, _transaction(connection, "BEGIN IMMEDIATE"):
                for statement in TABLES[LAYOUT]:
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {VERSION[LAYOUT]}")
                fill(SqliteTransaction(connection))
            place()
            os.link(draft.path, self.path)
            flush_folder(self.path.parent)
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

    def migrate(self, fill: Callable[[SqliteTransaction], None]) -> None:
        """Bring a file of an earlier layout to the present one, whole or not at all; ``fill`` fills what was new in
        layout 2."""
        with self._connected() as connection:
            with _transaction(connection, "BEGIN"):
                if _layout(connection, self.path) == LAYOUT:
                    return
            with _transaction(connection, "BEGIN IMMEDIATE"):
                before = _layout(connection, self.path)  # of now: another process may have done it first
                for layout in range(before + 1, LAYOUT + 1):
                    for statement in ADDED[layout]:
                        connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {VERSION[LAYOUT]}")
                if before < READ:
                    fill(SqliteTransaction(connection))

    def copy(self, to: Path, change: Callable[[SqliteTransaction], None]) -> None:
        """Make the new file ``to`` from a consistent copy of this one, whole or not at all; nothing here is written.

        Args:
            to: a path where nothing lies.
            change: reads the copy, and may write to it, before it gets its name.

        Raises:
            StorageError: something lies there, or it cannot be written. LedgerError: this is no ledger.
        """
        SqliteStore(to).must_be_free()
        _must_be_files(self.path)
        draft = SqliteStore(to.with_name(f".{to.name}.{secrets.token_hex(8)}.new"), self.wait_seconds)
        try:
            os.close(os.open(draft.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            uri = f"{self.path.as_uri()}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True, timeout=self.wait_seconds)) as source:
                _must_be_ours(source, self.path)
                with closing(sqlite3.connect(draft.path)) as target:
                    source.backup(target)
            with draft.writing() as tx:
                change(tx)
            os.link(draft.path, to)
            flush_folder(to.parent)
        except FileExistsError:
            raise StorageError("the file exists", where=str(to), mend="name a new one, or move it away") from None
        except sqlite3.Error as fault:
            raise _typed(fault, self.path) from None
        except OSError as fault:
            what = f"the copy cannot be written ({fault.strerror})"
            raise StorageError(what, where=str(to), mend="choose a folder on a local disk with free space") from None
        finally:
            draft.path.unlink(missing_ok=True)

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        _must_be_writable(self.path)
        _must_be_files(self.path)
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
        except UnicodeDecodeError:  # SQLite's own words about tables whose names are no text any more
            raise LedgerError("the file is damaged", where=str(self.path), mend=MEND) from None


@dataclass(frozen=True)
class SqliteTransaction(SqlTransaction):
    """A connection to the file between begin and commit."""

    connection: sqlite3.Connection
    layout: int = LAYOUT

    def ask(self, statement: str, *values: object) -> Iterable[Any]:
        """Run a statement."""
        return self.connection.execute(statement, values)

    def rows(self, log: LogName, start: int = 0) -> Iterable[tuple[int, bytes, str]]:
        """Every line of ``log`` from ``start`` on, in order."""
        return self.ask(f"SELECT seq, leaf, hash FROM {TABLE[log]} WHERE seq >= ? ORDER BY seq", start or BEFORE_ALL)

    def indexed(self) -> Iterable[tuple[str, int]]:
        """The whole index."""
        return self.ask("SELECT name, seq FROM found ORDER BY name, seq")


@contextmanager
def in_memory() -> Iterator[SqliteTransaction]:
    """Empty tables that nobody else sees, gone when the block ends."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for statement in TABLES[LAYOUT]:
            connection.execute(statement)
        yield SqliteTransaction(connection)


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


def _must_be_ours(connection: sqlite3.Connection, path: Path) -> int:
    """The file's layout. Refuse what is no ledger, and one that has yet to be brought to a layout that can be read."""
    layout = _layout(connection, path)
    if layout < READ:
        raise LedgerError(
            f"the ledger has layout {layout}, of an earlier version of privsynth; this one works with {LAYOUT}",
            where=str(path),
            mend="back it up, then run `privsynth ledger migrate`: later versions read it, earlier ones no more",
        )
    return layout


def _layout(connection: sqlite3.Connection, path: Path) -> int:
    """The file's layout; a file of another program, and one with tables or triggers that a ledger does not have,
    is refused."""
    found = {row[0] for row in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")}
    number = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if number == APPLICATION_ID and version > LAYOUT:
        raise LedgerError(
            f"the ledger has layout {version}, of a later version of privsynth; this one reads up to {LAYOUT}",
            where=str(path),
            mend="use the version that wrote it, or a later one",
        )
    layouts = [layout for layout, tables in TABLES.items() if (found, version) == (set(tables), VERSION[layout])]
    if number != APPLICATION_ID or not layouts:
        raise LedgerError(
            "the file is not a ledger of this version, or its tables were changed",
            where=str(path),
            mend="name the right file, or one that does not exist yet; restore a changed one from a backup",
        )
    return layouts[0]


def _resolved(path: Path) -> Path:
    try:
        found = path.resolve()
        if not found.is_symlink():
            return found
    except (OSError, RuntimeError):  # which of them, or none, differs between versions of Python
        pass
    raise StorageError("the path of the ledger is a link that leads to itself", where=str(path), mend="name a file")


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


def _must_be_files(path: Path) -> None:
    """Refuse a pipe or device in the place of the database or of its journal: SQLite would wait for its other end."""
    for name in (f"{path}{end}" for end in ("", "-journal", "-wal")):
        with suppress(OSError):
            if not stat.S_ISREG(os.stat(name).st_mode):
                raise StorageError("not a file", where=name, mend="move it away; it is no part of a ledger")


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
