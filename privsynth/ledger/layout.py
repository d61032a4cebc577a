"""The tables of a ledger's database, by version of their layout, and the way from one to the next.

Layout 1 held both logs and the shelves. Layout 2 adds the index of the main log, the kept hashes of the trees, and
the signed cells. Layout 3 adds the shelf of who was met by which population. Entries are never rewritten: a ledger of
layout 1 is read whole once, and what layout 2 adds is made from it, in one transaction that an older program cannot
undo and will not read. One of layout 2 is read as it is, that shelf empty, and brought up when it is opened for work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from privsynth.errors import LedgerError
from privsynth.ledger.balance import Balance, Gates, Step
from privsynth.ledger.entry import MEND, LogName

if TYPE_CHECKING:
    from privsynth.ledger.log import Session, Shelf, Transaction

LAYOUT = 3
READ = 2
"""The earliest layout that is read, and worked with, as it is."""
TABLE: dict[LogName, str] = {"main": "entries", "attempts": "attempts"}


def _kept(table: str) -> tuple[str, str]:
    """The triggers that keep a table append-only against accidents."""
    return (
        f"CREATE TRIGGER {table}_kept BEFORE DELETE ON {table} BEGIN SELECT RAISE(ABORT, 'append only'); END",
        f"CREATE TRIGGER {table}_same BEFORE UPDATE ON {table} BEGIN SELECT RAISE(ABORT, 'append only'); END",
    )


def _shelf(name: str) -> str:
    return f"CREATE TABLE {name} (name TEXT PRIMARY KEY, data BLOB NOT NULL, sha256 TEXT NOT NULL)"


_FIRST = (
    *(
        statement
        for table in TABLE.values()
        for statement in (
            f"CREATE TABLE {table} (seq INTEGER PRIMARY KEY, leaf BLOB NOT NULL, hash TEXT NOT NULL)",
            *_kept(table),
        )
    ),
    *map(_shelf, ("secrets", "transcripts", "claims")),
)
_ADDED = (
    "CREATE TABLE found (name TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (name, seq)) WITHOUT ROWID",
    *_kept("found"),
    "CREATE TABLE nodes (log TEXT NOT NULL, level INTEGER NOT NULL, place INTEGER NOT NULL, hash BLOB NOT NULL, "
    "PRIMARY KEY (log, level, place)) WITHOUT ROWID",
    *_kept("nodes"),
    "CREATE TABLE cells (name TEXT PRIMARY KEY, data BLOB NOT NULL)",
)
_ASSIGNED = (_shelf("assigned"), *_kept("assigned"))
TABLES: dict[int, tuple[str, ...]] = {1: _FIRST, 2: _FIRST + _ADDED, 3: _FIRST + _ADDED + _ASSIGNED}
"""Layout -> the statements that make it, in order."""

VERSION = {1: 0, 2: 2, 3: 3}
"""Layout -> the ``user_version`` of its file."""

ADDED: dict[int, tuple[str, ...]] = {2: _ADDED, 3: _ASSIGNED}
"""Layout -> the statements that make it out of the one before."""

SINCE: dict[str, int] = {"assigned": 3}
"""Shelf -> the layout since which there is one, where that is not the first."""


def fill(session: Session) -> None:
    """Record the key in a ledger that had none, and make index, hashes, state and head from its entries.

    Args:
        session: new, over the tables of layout 2, of which those that layout 1 had are filled.

    Raises:
        LedgerError: the ledger of layout 1 is not whole. Nothing is changed then.
    """
    check_whole(session.tx, session.balance(), session.gates())
    session.adopt()
    session.append("key", {"key": session.public.hex()})
    session.close(renew=True)


def check_whole(tx: Transaction, balance: Balance, gates: Gates) -> None:
    """Refuse logs and shelves of which one was cut, by all that they say of one another.

    Raises:
        LedgerError: they do not belong together.
    """
    kept: dict[Shelf, frozenset[str]] = {
        "secrets": tx.names("secrets"),
        "transcripts": tx.names("transcripts"),
        "claims": tx.names("claims"),
        "assigned": tx.names("assigned"),
    }
    if (
        not balance.ledger
        or gates.ledger != balance.ledger
        or not balance.approved.keys() <= gates.gated.keys() - gates.refused.keys()
        or not gates.gated.keys() <= kept["transcripts"]
        or kept["secrets"] != balance.secrets.keys()
        or kept["assigned"] != gates.batches.keys()
        or not {batch.population for batch in gates.assigned} <= (balance.populations.keys() if balance.ids else set())
        or kept["claims"] != set(balance.approved)
        or len(kept["transcripts"]) != balance.count(Step.MEASURED)
    ):
        raise LedgerError("the parts of the ledger do not belong together: one of them was cut", mend=MEND)
