"""A ledger in a PostgreSQL database: for several machines that sell from one budget.

Each operation is one transaction on a connection of its own, so threads, processes and forks share nothing. All
entries form one chain, whose next line depends on the one before it, so there is one writer at a time for the whole
ledger and not for each population: a writer begins with SELECT ... FOR UPDATE on the row of the signed head, at READ
COMMITTED, so that all it reads after that is what the writer before it committed. A reader has one snapshot
(REPEATABLE READ). Without the lock two writers would both see the budget that only one of them may have.

A commit is on disk when it returns: each transaction first asserts its isolation level, ``synchronous_commit``,
``fsync``, and that the server is no replica. Where the answer to COMMIT is lost, nothing is handed out; the entry is
there or not, and the same request id finds out.

Nothing here shows a password: faults name host, port and database, and the kind of the fault, never its text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from privsynth.errors import LedgerError, MissingExtra, PrivsynthError, StorageError, UsageError
from privsynth.ledger.address import shown
from privsynth.ledger.entry import MEND, LogName
from privsynth.ledger.layout import LAYOUT, TABLE
from privsynth.ledger.postgres_tables import SCHEMA, STATEMENTS, bring_up, is_there, must_be_ours
from privsynth.ledger.sql import BEFORE_ALL, SqlTransaction

if TYPE_CHECKING:
    from psycopg import Connection


PAGE = 5_000
_MAKING = 0x70734C31  # "psL1": the advisory lock of those who make a ledger
_PATIENCE = {  # with a network that is silent; the address may say otherwise
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
_IDLE_SECONDS = 600  # a writer that says nothing for so long is gone, and its lock with it
_READING, _WRITING = "repeatable read", "read committed"
_ASSERTED = {  # of the session, beside its isolation level
    "synchronous_commit": ("on", "remote_apply"),
    "fsync": ("on",),
    "session_replication_role": ("origin",),
    "server_encoding": ("UTF8",),
}
_RETRY = "when the server is back, ask again with the same request id: what was written is found again"


@dataclass(frozen=True)
class PostgresStore:
    """The ledger in one database.

    Attributes:
        where: ``postgresql://host:port/database``, for messages (:func:`privsynth.ledger.address.shown`).
        parameters: of the connection, as libpq names them; they may hold a password.
        wait_seconds: how long a writer waits for another one.
    """

    where: str
    parameters: dict[str, Any] = field(repr=False)
    wait_seconds: float = 60.0

    @classmethod
    def at(cls, url: str) -> PostgresStore:
        """The store at ``postgresql://user@host:port/database``, with any parameter that libpq knows.

        Raises:
            UsageError: not such an address, or it names no database, or a port that is none.
            MissingExtra: psycopg is not installed.
        """
        driver = _driver()
        try:
            parameters = driver.conninfo.conninfo_to_dict(url)
        except (driver.Error, UnicodeError):  # its text may hold the password
            raise _no_address("cannot be read") from None
        if not {"dbname", "service"} & parameters.keys():
            raise _no_address("names no database")
        host = parameters.get("host") or parameters.get("hostaddr") or ""
        port = parameters.get("port", "")
        if not all(map(_may_be_port, port.split(","))):  # one for each of several hosts
            raise _no_address(
                "has a port that is no number from 1 to 65535; in a password write %40 for @ and %2F for /"
            )
        ported = f":{port}" if port else ""
        return cls(shown(f"postgresql://{host}{ported}/{parameters.get('dbname', '')}"), parameters)

    @contextmanager
    def reading(self) -> Iterator[PostgresTransaction]:
        """See :class:`privsynth.ledger.log.Store`."""
        with self._begun(_READING, "READ ONLY") as connection:
            yield PostgresTransaction(connection, must_be_ours(connection, self.where))

    @contextmanager
    def writing(self) -> Iterator[PostgresTransaction]:
        """See :class:`privsynth.ledger.log.Store`."""
        with self._begun(_WRITING, "READ WRITE") as connection:
            layout = must_be_ours(connection, self.where)
            self._alone(connection)
            yield PostgresTransaction(connection, layout)

    @property
    def key(self) -> Path:
        """Where the ledger's key lies: nobody knows but the caller."""
        raise UsageError(
            "a ledger in a database has its key file elsewhere, and none was named",
            where="ledger",
            mend="name the file that was made with the ledger, or where it is to be made",
        )

    def migrate(self, fill: Callable[[PostgresTransaction], None]) -> None:
        """Bring the tables to the present layout, whole or not at all; there is nothing to fill.

        Raises:
            StorageError: this role does not own them.
        """
        with self._begun(_READING, "READ ONLY") as connection:
            if must_be_ours(connection, self.where) == LAYOUT:
                return
        with self._begun(_WRITING, "READ WRITE") as connection:
            self._alone(connection)
            layout = must_be_ours(connection, self.where)  # of now: another process may have done it first
            try:
                bring_up(connection, layout)
            except _driver().errors.InsufficientPrivilege:
                raise StorageError(
                    f"the ledger has layout {layout}, and this role may not bring it to layout {LAYOUT}",
                    where=self.where,
                    mend="run `privsynth ledger migrate` as the role that owns its tables (docs/postgres.md)",
                ) from None

    def must_be_free(self) -> None:
        """Nothing to do: nothing of a ledger lies outside its schema."""

    def exists(self) -> bool:
        """Whether the database holds a ledger."""
        with self._begun(_READING, "READ ONLY") as connection:
            return is_there(connection)

    def create(self, fill: Callable[[PostgresTransaction], None], *, place: Callable[[], None] = lambda: None) -> None:
        """Make the tables with what ``fill`` writes, whole or not at all; a ledger that is there is left as it is.

        ``place`` brings what must be there first to its place; FileExistsError means: begin again.
        """
        with suppress(FileExistsError), self._begun(_WRITING, "READ WRITE") as connection:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MAKING,))
            if is_there(connection):
                return  # another process made it first: its ledger is the ledger
            for statement in STATEMENTS:
                connection.execute(statement.encode())
            fill(PostgresTransaction(connection))
            place()

    def _alone(self, connection: Connection[Any]) -> None:
        """Wait until no other writer is there; none comes before the end of this transaction."""
        locked = connection.execute("SELECT FROM cells WHERE name = 'head' FOR UPDATE").fetchone()
        if locked is None:
            raise LedgerError("the ledger's head is not there", where=self.where, mend=MEND)

    @contextmanager
    def _begun(self, level: str, how: str) -> Iterator[Connection[Any]]:
        with self._connected() as connection:
            connection.execute(f"BEGIN ISOLATION LEVEL {level} {how}".encode())
            try:
                self._assert_server(connection, level)
                yield connection
                if connection.execute("COMMIT").statusmessage != "COMMIT":
                    raise StorageError("the server undid what was written", where=self.where, mend="ask again")
            except BaseException:
                with suppress(_driver().Error):
                    connection.execute("ROLLBACK")
                raise

    def _assert_server(self, connection: Connection[Any], level: str) -> None:
        """Set the limits of this transaction, and assert what durable and exclusive rest on."""
        limits = {
            "search_path": f"pg_catalog, {SCHEMA}, pg_temp",
            "lock_timeout": f"{round(1000 * self.wait_seconds)}",
            "idle_in_transaction_session_timeout": f"{1000 * _IDLE_SECONDS if level == _WRITING else 0}",
        }
        asserted = {"transaction_isolation": (level,), **_ASSERTED}
        asked = [f"current_setting('{name}')" for name in asserted]
        asked += [f"set_config('{name}', '{value}', true)" for name, value in limits.items()]
        row = connection.execute(f"SELECT pg_is_in_recovery(), {', '.join(asked)}".encode()).fetchone()
        if row is None or row[0]:
            raise StorageError("the server is a replica", where=self.where, mend="name the primary server")
        for value, (name, good) in zip(row[1:], asserted.items(), strict=False):
            if value not in good:
                raise StorageError(
                    f"the server's {name} is {value!r}; a ledger needs {' or '.join(map(repr, good))}",
                    where=self.where,
                    mend="set it right for this role and database; nothing was written",
                )

    @contextmanager
    def _connected(self) -> Iterator[Connection[Any]]:
        driver = _driver()
        given = {"application_name": "privsynth", **_PATIENCE, **self.parameters}
        try:
            try:
                connected = driver.connect(
                    **{**given, "client_encoding": "utf8"}, autocommit=True, prepare_threshold=None
                )
            except UnicodeError:  # of the host's name, which is looked up first
                raise _no_address("names no host that could be looked up") from None
            with closing(connected) as connection:
                yield connection
        except driver.Error as fault:
            raise _typed(fault, self.where) from None


@dataclass(frozen=True)
class PostgresTransaction(SqlTransaction):
    """A connection to the server between begin and commit."""

    connection: Connection[Any]
    layout: int = LAYOUT

    def ask(self, statement: str, *values: object) -> list[Any]:
        """Run a statement."""
        cursor = self.connection.execute(statement.replace("?", "%s").encode(), values, binary=True)
        return cursor.fetchall() if cursor.description else []

    def rows(self, log: LogName, start: int = 0) -> Iterator[tuple[int, bytes, str]]:
        """Every line of ``log`` from ``start`` on, in order, page by page."""
        query = f"SELECT seq, leaf, hash FROM {TABLE[log]} WHERE seq >= ? ORDER BY seq LIMIT {PAGE}"
        place = start or BEFORE_ALL
        while page := self.ask(query, place):
            yield from page
            place = page[-1][0] + 1

    def indexed(self) -> Iterator[tuple[str, int]]:
        """The whole index, in the order of its bytes, which is that of a file."""
        with self.connection.cursor("indexed", binary=True) as cursor:
            cursor.itersize = PAGE
            yield from cursor.execute('SELECT name, seq FROM found ORDER BY name COLLATE "C", seq')


def _driver() -> ModuleType:
    try:
        import psycopg
    except ImportError:
        raise MissingExtra(
            "a ledger in PostgreSQL needs psycopg", where="ledger", mend="pip install 'privsynth[postgres]'"
        ) from None
    return psycopg


def _may_be_port(text: str) -> bool:
    """Whether libpq could dial it; it takes nothing for its own default."""
    return not text or (text.isascii() and text.isdigit() and len(text) < 6 and 0 < int(text) < 1 << 16)


def _no_address(what: str) -> UsageError:
    return UsageError(
        f"the ledger's address {what}", where="ledger", mend="use postgresql://user@host:5432/database, and ~/.pgpass"
    )


_FAULTS: dict[str, tuple[type[PrivsynthError], str, str]] = {
    "0A": (StorageError, "the server is a replica, or too old", "name the primary server, PostgreSQL 12 or later"),
    "08": (StorageError, "the server is gone", _RETRY),
    "23": (LedgerError, "the entry is there already", "restore the database from a backup with its owner"),
    "25": (StorageError, "the database is read-only", "name the primary server, and let the role write"),
    "28": (StorageError, "the server does not let this role in", "check the role and its password"),
    "3D": (StorageError, "there is no such database", "make it first: CREATE DATABASE"),
    "40": (StorageError, "another process wrote at the same moment", "ask again; nothing was written"),
    "42501": (StorageError, "this role may not do that", "give it the rights that docs/postgres.md lists"),
    "53": (StorageError, "the server is full", "free space or connections, then ask again; nothing was written"),
    "54": (StorageError, "the server cannot keep so much at once", "a smaller transcript"),
    "55P03": (StorageError, "another process holds the ledger", "wait for it, then ask again"),
    "57014": (StorageError, "the server broke the operation off", "ask again; nothing was written"),
    "57": (StorageError, "the server is gone", _RETRY),
    "58": (StorageError, "the server's disk failed", "check it, then ask again"),
}
_TOLD = {  # a connection that was refused has no SQLSTATE; these are read, and not shown
    "authentication failed": "28",
    "no password supplied": "28",
    "not permitted to log in": "28",
    "pg_hba.conf": "28",
    "FATAL:  role": "28",
    "FATAL:  database": "3D",
    "too many": "53",
}
_MISREAD = re.compile(  # what libpq and psycopg say of an address before they dial it, or for its sake
    r"(?:bad value for|invalid integer value .* for connection option) \"?(?P<late>\w+)"
    r"|invalid \"?(?P<name>\w+)\"? value: "
    r"|could not (?:match \d+|parse network address)|definition of service"
)
_GONE = StorageError, "the server cannot be reached, or is gone", _RETRY
_OTHER = LedgerError, "the database refused", "restore the database from a backup with its owner"


def _typed(fault: Exception, where: str) -> PrivsynthError:
    """By SQLSTATE; a connection that breaks has none."""
    told = (code for words, code in _TOLD.items() if words in str(fault))
    code = getattr(fault, "sqlstate", None) or next(told, "")
    if not code and (misread := _MISREAD.search(str(fault))):
        name = misread["name"] or misread["late"]
        return _no_address(f"has a value that is not understood{f' for {name}' if name else ''}")
    gone = not code and isinstance(fault, _driver().OperationalError)
    error, what, mend = _FAULTS.get(code) or _FAULTS.get(code[:2]) or (_GONE if gone else _OTHER)
    return error(f"{what} ({type(fault).__name__})", where=where, mend=mend)
