"""Looking after a ledger: backup, export, and the checkpoint to hand out. The way back is in ``restore``.

The key file is in none of them: keep its own backup, apart from the ledger's.
"""

from __future__ import annotations

from pathlib import Path

from privsynth.documents import read_bytes
from privsynth.errors import StorageError
from privsynth.ledger.audit import Checked, audit
from privsynth.ledger.ledger import Ledger
from privsynth.ledger.log import Session, Transaction
from privsynth.ledger.sqlite import SqliteStore
from privsynth.ledger.transfer import Export, read_export, write_export


def checkpoint(ledger: Ledger) -> str:
    """The main log's checkpoint, signed: three lines, a blank one, a signature (c2sp.org/tlog-checkpoint), and that of
    the witness, if the policy names one by its key."""
    with ledger.witnessed() as (_, note):
        return note


def backup(ledger: Ledger, path: str | Path) -> Checked:
    """Copy a ledger into a new file while it is in use, and read the copy whole.

    Of a file it is another such file, made by the database's own means; of a server an export for inside, of one
    moment (REPEATABLE READ).

    Raises:
        StorageError: the file exists or cannot be written.
        LedgerError: the ledger is not whole.
    """
    to = Path(path).absolute()
    if isinstance(ledger.store, SqliteStore):
        found: list[Checked] = []
        ledger.store.copy(to, lambda tx: found.append(_audited(tx, ledger)))
        return found[0]
    with ledger.witnessed() as (session, note):
        checked = audit(session)
        write_export(session, to, inside=True, note=note)
    read(to, key=ledger.seal.key().raw_public)
    return checked


def _audited(tx: Transaction, ledger: Ledger) -> Checked:
    session = Session(tx, actor=ledger.actor, clock=ledger.clock, key=ledger.seal.key())
    session.check(ledger=ledger.id, policy=ledger.policy.id)
    return audit(session)


def export(ledger: Ledger, path: str | Path, *, inside: bool = False) -> None:
    """Write the ledger's entries and signed checkpoint as JSON lines into a new file; see ``transfer``.

    Args:
        inside: also the second log and what is kept beside the logs, secret keys among them: a backup, for
            :mod:`privsynth.ledger.restore`.

    Raises:
        StorageError: the file exists, or cannot be written.
    """
    with ledger.witnessed() as (session, note):
        write_export(session, Path(path).absolute(), inside=inside, note=note)


def read(path: str | Path, *, key: bytes | None = None) -> Export:
    """Read and check an export; see :func:`privsynth.ledger.transfer.read_export`.

    Raises:
        StorageError: it cannot be read.
    """
    return read_export(read_bytes(path, error=StorageError, kind="export"), key=key, where=str(path))
