"""Looking after a ledger: backup, restore, export, import, and the checkpoint to hand out.

The key file is in none of them: keep its own backup, apart from the ledger's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from privsynth.documents import join
from privsynth.errors import ApprovalMissing, LedgerError, StorageError, UsageError
from privsynth.ledger.audit import Checked, audit
from privsynth.ledger.checkpoint import Checkpoint, origin_of
from privsynth.ledger.entry import Clock, LogName, utc_now
from privsynth.ledger.ledger import Ledger
from privsynth.ledger.log import LOGS, Session, Transaction
from privsynth.ledger.register import check_frozen, register
from privsynth.ledger.sqlite import SqliteStore
from privsynth.ledger.store import open_ledger, seal_of, store_at
from privsynth.ledger.terms import one_line
from privsynth.ledger.transfer import Export, bring_in, read_export, write_export
from privsynth.ledger.tree import StoredTree
from privsynth.ledger.witness import Witness, witness_at

if TYPE_CHECKING:
    from privsynth.policy.document import Policy

PEOPLE = 2
"""So many distinct people answer for a restore."""


@dataclass(frozen=True)
class Restored:
    """A ledger that was brought back from a backup.

    Attributes:
        checked: what the backup held, read whole.
        lost: entries are missing, or nobody can say that none is: every population's cap is spent, and every hold
            that was sold before takes no further step.
        missing: how many entries of each log the witness knows and the backup lacks; None without a witness.
    """

    checked: Checked
    lost: bool
    missing: dict[str, int] | None


def checkpoint(ledger: Ledger) -> str:
    """The main log's checkpoint, signed: three lines, a blank one, a signature (c2sp.org/tlog-checkpoint)."""
    with ledger.reading() as session:
        return session.signed(session.checkpoint())


def backup(ledger: Ledger, path: str | Path) -> Checked:
    """Copy a SQLite ledger into a new file, by the database's own means, and read the copy whole.

    Raises:
        StorageError: the file exists or cannot be written.
        UsageError: the ledger is not in a file.
        LedgerError: the ledger is not whole.
    """
    if not isinstance(ledger.store, SqliteStore):
        raise UsageError(
            "only a ledger in a file is backed up here", where="backup", mend="use the server's own backup"
        )
    found: list[Checked] = []
    ledger.store.copy(Path(path).absolute(), lambda tx: found.append(_audited(tx, ledger)))
    return found[0]


def _audited(tx: Transaction, ledger: Ledger) -> Checked:
    session = Session(tx, actor=ledger.actor, clock=ledger.clock, key=ledger.seal.key())
    session.check(ledger=ledger.id, policy=ledger.policy.id)
    return audit(session)


def restore(
    backup: str | Path,
    url: str,
    policy: Policy,
    *,
    actor: str,
    people: Sequence[str],
    accept_loss: bool,
    key: str | Path | None = None,
    witness: Witness | str | None = None,
    clock: Clock | None = None,
) -> Restored:
    """Bring a ledger back from a backup, as a new file at ``url``.

    What the witness knows and the backup lacks may have spent all that was left and used every hold: it is booked
    as spent at the cap of every population, in an entry of its own that names who answered for it. Without a witness
    nobody can say what is missing, and the same is booked. A ledger that lost entries goes on with a new witness.

    Args:
        backup: a file that :func:`backup` made.
        url, policy, actor, key, clock: as for :func:`privsynth.ledger.store.open_ledger`.
        people: two or more addresses under the policy's ``people``, who answer for it together.
        accept_loss: that the people know what is booked.
        witness: of the ledger that was lost.

    Raises:
        ApprovalMissing: ``accept_loss`` is not given, or by fewer than two distinct people of the policy.
        LedgerError: the backup is not whole, or not of this ledger's witness, policy or key.
        StorageError: there is a ledger at ``url``; no such backup; it cannot be written.
    """
    store, who, time = store_at(url), one_line(actor, name="actor"), clock or utc_now
    known = sorted(set(people) & set(policy.people))
    if not accept_loss or len(known) < PEOPLE:
        raise ApprovalMissing(
            f"a restore takes {PEOPLE} distinct people of the policy, who accept that what is missing is spent; "
            f"named: {join(known) or 'nobody'}" + ("" if accept_loss else "; the loss was not accepted"),
            where=store.where,
            mend="name them with --by, once each, and give --accept-loss",
        )
    watched = witness_at(witness) if isinstance(witness, str) else witness
    heads = None if watched is None else {log: watched.head(log) for log in LOGS}
    seal, done = seal_of(store, key), list[Restored]()

    def change(tx: Transaction) -> None:
        session = Session(tx, actor=who, clock=time, key=seal.key())
        session.check(ledger="", policy=policy.id)
        checked, missing = audit(session), _missing(session, heads)
        check_frozen(policy, session.balance())
        register(session, policy)
        lost = missing is None or any(missing.values())
        session.append("restore", {"people": known, "lost": lost, "missing": missing, "policy": policy.sha256})
        session.close(renew=True)
        done.append(Restored(checked, lost, missing))

    source = Path(backup).absolute()
    if not source.is_file():
        raise StorageError("no such backup", where=str(source), mend="check the path")
    if not isinstance(store, SqliteStore):
        raise UsageError("a backup is restored to a file", where=store.where, mend="for a database, export and import")
    SqliteStore(source).copy(store.path, change)
    return done[0]


def _missing(session: Session, heads: dict[LogName, str | None] | None) -> dict[str, int] | None:
    """How many entries of each log the witness knows and the backup lacks; None where there is no saying."""
    if heads is None or any(note is None for note in heads.values()):
        return None
    missing: dict[str, int] = {}
    for log in LOGS:
        now, note = session.checkpoint(log), heads[log] or ""
        held = Checkpoint.read(note, origin=origin_of(session.balance().ledger, log), public=session.public)
        if held.size <= now.size and StoredTree(session.tx, log).over(0, held.size) != held.root:
            raise LedgerError(
                f"the backup is not of what the witness remembers: other entries among the first {held.size}",
                where="witness",
                mend="name the ledger's own backup, or its own witness",
            )
        missing[log] = max(0, held.size - now.size)
    return missing


def export(ledger: Ledger, path: str | Path, *, inside: bool = False) -> None:
    """Write the ledger's entries and signed checkpoint as JSON lines into a new file; see ``transfer``.

    Args:
        inside: also the second log and what is kept beside the logs, secret keys among them: for :func:`import_`.

    Raises:
        StorageError: the file exists, or cannot be written.
    """
    with ledger.reading() as session:
        write_export(session, Path(path).absolute(), inside=inside)


def import_(
    path: str | Path,
    url: str,
    policy: Policy,
    *,
    actor: str,
    key: str | Path | None = None,
    witness: Witness | str | None = None,
    clock: Clock | None = None,
) -> Ledger:
    """Make a ledger at ``url`` from an export for inside, and open it.

    The key file must be in its place. A witness must remember exactly what the export holds, or nothing yet.

    Raises:
        LedgerError: anything in the export that is not whole, or of another key, policy or witness.
        UsageError: an export without the second log and the shelves.
        StorageError: there is a ledger at ``url``, no such export, or it cannot be written.
    """
    store, who, time = store_at(url), one_line(actor, name="actor"), clock or utc_now
    seal = seal_of(store, key)
    signing = seal.key()
    found = read(path, key=signing.raw_public)
    if not found.attempts:
        raise UsageError("the export is for showing, not for import", where=str(path), mend="export with --inside")
    if store.exists():
        raise StorageError("the ledger exists", where=store.where, mend="name a new one, or move it away")

    def fill(tx: Transaction) -> None:
        bring_in(tx, found)
        session = Session(tx, actor=who, clock=time, key=signing, new=True)
        session.check(ledger="", policy=policy.id)
        session.adopt()
        session.close(renew=True)
        audit(Session(tx, actor=who, clock=time, key=signing))

    store.create(fill, place=lambda: None)
    return open_ledger(url, policy, actor=who, clock=clock, key=seal.path, witness=witness)


def read(path: str | Path, *, key: bytes | None = None) -> Export:
    """Read and check an export; see :func:`privsynth.ledger.transfer.read_export`.

    Raises:
        StorageError: it cannot be read.
    """
    try:
        raw = Path(path).read_bytes()
    except OSError as fault:
        raise StorageError(f"cannot be read ({fault.strerror})", where=str(path), mend="check the path") from None
    return read_export(raw, key=key, where=str(path))
