"""Bringing a ledger back: from a backup or an export for inside, into a file or a database.

Whatever makes a ledger out of a copy goes this one way, also a move from a file to a server: a copy is an older ledger,
with budget that may since have been spent. The witness is asked first, then two people sign what would come of it
(``answers``), then the ledger is made, whole or not at all. The key file must be in its place.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from privsynth.documents import open_regular, plain
from privsynth.errors import ApprovalMissing, LedgerError, StorageError, UsageError
from privsynth.ledger.answers import PEOPLE, Answers, Extent, Remembered, Statement, answers, read_statement
from privsynth.ledger.audit import Checked, audit
from privsynth.ledger.checkpoint import Checkpoint, origin_of
from privsynth.ledger.entry import Clock, LogName, utc_now
from privsynth.ledger.ledger import look
from privsynth.ledger.log import LOGS, Session, Transaction
from privsynth.ledger.register import check_frozen, register
from privsynth.ledger.seal import Seal
from privsynth.ledger.sqlite import SqliteStore, in_memory
from privsynth.ledger.standing import accept, cosigner_of
from privsynth.ledger.store import Home, seal_of, store_at, watched_by
from privsynth.ledger.terms import one_line
from privsynth.ledger.transfer import bring_in, pour, read_export
from privsynth.ledger.tree import StoredTree
from privsynth.ledger.witness import Witness, remembered

if TYPE_CHECKING:
    from privsynth.policy.document import Policy
    from privsynth.signing import Cosigner, SigningKey, Trust

_SQLITE = b"SQLite format 3\0"


@dataclass(frozen=True)
class Restored:
    """A ledger that was brought back.

    Attributes:
        checked: what the copy held, read whole.
        statement: what was answered for.
        people: who answered.
    """

    checked: Checked
    statement: Statement
    people: tuple[str, ...]

    @property
    def lost(self) -> bool:
        """Whether entries are missing, or nobody can say that none is: every population's cap is then spent, also of
        those that are registered later, and every hold that was sold before takes no further step."""
        return self.statement.lost


@dataclass(frozen=True)
class Restore:
    """A restore that may be asked for.

    Attributes:
        source: a file that ``ledger backup`` made, or an export for inside.
        home: where the ledger is to be; nothing may lie there.
        policy, actor, clock: as for :func:`privsynth.ledger.store.open_ledger`.
        seal: the ledger's key file.
        witness: of the ledger that was lost; None: nobody can say what is missing.
    """

    source: Path
    home: Home
    policy: Policy
    actor: str
    clock: Clock
    seal: Seal
    witness: Witness | None

    @classmethod
    def of(
        cls,
        source: str | Path,
        url: str,
        policy: Policy,
        *,
        actor: str,
        key: str | Path | None = None,
        witness: Witness | str | None = None,
        clock: Clock | None = None,
    ) -> Restore:
        """From addresses, as :func:`privsynth.ledger.store.open_ledger` takes them.

        Raises:
            UsageError: not the address of a ledger or a witness.
            RequestDenied: the policy requires a witness, and none is named.
        """
        home, who = store_at(url), one_line(actor, name="actor")
        watched = watched_by(witness, policy)
        return cls(Path(source).absolute(), home, policy, who, clock or utc_now, seal_of(home, key), watched)

    def statement(self) -> Statement:
        """What people would answer for now. Writes nothing.

        Raises:
            LedgerError: the copy is not whole, or not of this witness, policy or key.
            StorageError: there is a ledger already; there is no such copy; somebody does not answer.
        """
        with self._looked() as (_, found, _):
            return found

    def run(self, folder: Path, *, trust: Trust | None = None, accept_loss: bool = False) -> Restored:
        """Make the ledger, with an entry of its own that says who answered for what.

        Args:
            folder: of the answers (:mod:`privsynth.ledger.answers`).
            trust: whose keys count, of the role ``policy``, where the copy does not itself name them.
            accept_loss: that whoever runs it knows too what is booked.

        Raises:
            ApprovalMissing: fewer than two people of the policy answer for this very statement; the loss is not
                accepted; or the policy itself is not approved.
            UsageError: a trust file is missing, or given where the copy names the keys.
            LedgerError, StorageError: as :meth:`statement`.
        """
        with self._looked() as (session, statement, checked):
            if read_statement(folder) != statement:
                raise ApprovalMissing(
                    "what lies there to be answered for is of another copy, policy or state of the witness",
                    where=str(folder),
                    mend="name a new folder, and have what it then says answered",
                )
            given = self._answered(session, statement, folder, trust)
            given.demand(folder=folder)
            if statement.lost and not accept_loss:
                raise ApprovalMissing(
                    "what is missing is booked as spent, and that was not accepted",
                    where=self.home.where,
                    mend="read the statement again, and give --accept-loss",
                )
            people = tuple(one.person for one in given.given)
            body = {
                "people": list(people),
                "lost": statement.lost,
                "missing": statement.missing,
                "policy": self.policy.sha256,
                "statement": plain(statement),
                "answers": [{"person": g.person, "key": g.keyid, "envelope": g.envelope} for g in given.given],
            }
            self._make(session.tx, body)
        if self.witness is not None and not statement.lost:  # so that the same answers carry nothing again
            look(self.home, self.policy, actor=self.actor, clock=self.clock, seal=self.seal, witness=self.witness)
        return Restored(checked, statement, people)

    # --- steps ------------------------------------------------------------------------------------

    @contextmanager
    def _looked(self) -> Iterator[tuple[Session, Statement, Checked]]:
        """The copy, read whole, and what there is to answer for."""
        heads = self._heads(None)
        if self.home.exists():
            raise StorageError("the ledger exists", where=self.home.where, mend="name a new one, or move it away")
        self.home.must_be_free()
        key = self.seal.key()
        with _opened(self.source, key, actor=self.actor, clock=self.clock) as tx:
            session = Session(tx, actor=self.actor, clock=self.clock, key=key)
            session.check(ledger="", policy=self.policy.id)
            checked, cosigner = audit(session), cosigner_of(session, self.policy)
            heads = heads if cosigner is None else self._heads(cosigner)
            yield session, _statement(session, heads, policy=self.policy), checked

    def _heads(self, cosigner: Cosigner | None) -> dict[LogName, str | None]:
        """What the witness remembers, signed by ``cosigner`` if one is given. One that remembers nothing signs nothing:
        then everything is booked as lost."""
        return {} if self.witness is None else {log: remembered(self.witness, log, cosigner) for log in LOGS}

    def _answered(self, session: Session, statement: Statement, folder: Path, trust: Trust | None) -> Answers:
        accepted = session.balance().accepted
        quorum = None if accepted is None else accepted.quorum
        named = None if quorum is None else quorum.trust()
        people: Collection[str] = self.policy.people
        if quorum is not None and named is not None:
            people = [one.person for one in quorum.approvers]
        if named is not None and trust is not None:
            raise UsageError(
                "the copy's own log says whose keys count, and a trust file was given too",
                where="--trust",
                mend="leave it out",
            )
        counted = named if named is not None else trust
        if counted is None:
            raise UsageError(
                "whose keys count is said by a trust file, and none was given",
                where="--trust",
                mend=f"name one that lists the keys of {PEOPLE} people, of the role policy (`privsynth keys new --role "
                "policy`)",
            )
        return answers(statement, folder, counted, people=people, now=session.now)

    def _make(self, copy: Transaction, body: Mapping[str, Any]) -> None:
        made: list[bytes | None] = []

        def fill(tx: Transaction) -> None:
            pour(copy, tx)
            session = Session(tx, actor=self.actor, clock=self.clock, key=self.seal.key())
            check_frozen(self.policy, session.balance())
            session.append("restore", body)
            accept(session, self.policy)
            register(session, self.policy)
            session.close(renew=True)
            audit(Session(tx, actor=self.actor, clock=self.clock, key=self.seal.key()))
            made.append(tx.cell("head"))

        self.home.create(fill, place=lambda: None)
        with self.home.reading() as tx:
            if made != [tx.cell("head")]:
                raise StorageError(
                    "another process made a ledger there", where=self.home.where, mend="see whose it is, then ask again"
                )


@contextmanager
def _opened(source: Path, key: SigningKey, *, actor: str, clock: Clock) -> Iterator[Transaction]:
    """The copy as a database that can be read."""
    try:
        file = os.fdopen(open_regular(source), "rb")
    except OSError as fault:
        raise StorageError(f"no such copy ({fault.strerror})", where=str(source), mend="check the path") from None
    with file:
        raw = file.read(len(_SQLITE))
        if raw != _SQLITE:
            raw += file.read()
    if raw == _SQLITE:
        with SqliteStore(source).looking() as tx:
            yield tx
        return
    found = read_export(raw, key=key.raw_public, where=str(source))
    if not found.attempts:
        raise UsageError("the export is for showing", where=str(source), mend="export with --inside")
    with in_memory() as tx:
        bring_in(tx, found)
        session = Session(tx, actor=actor, clock=clock, key=key, new=True)
        session.adopt()
        session.close(renew=True)
        yield tx


def _statement(session: Session, heads: Mapping[LogName, str | None], *, policy: Policy) -> Statement:
    """What the copy holds and what the witness remembers of it.

    Raises:
        LedgerError: it remembers other entries than the copy has.
    """
    now = {log: session.checkpoint(log) for log in LOGS}
    held: dict[LogName, int] = {}
    for log, note in heads.items():
        if note is None:
            continue
        origin = origin_of(session.balance().ledger, log)
        seen = Checkpoint.read(note, origin=origin, public=session.public, where="witness")
        if seen.size <= now[log].size and StoredTree(session.tx, log).over(0, seen.size) != seen.root:
            raise LedgerError(
                f"the copy is not of what the witness remembers: other entries among the first {seen.size}",
                where="witness",
                mend="name the ledger's own backup, or its own witness",
            )
        held[log] = seen.size
    whole = len(held) == len(LOGS)
    return Statement(
        ledger=session.balance().ledger,
        policy=policy.sha256,
        main=Extent(size=now["main"].size, root=now["main"].root.hex()),
        attempts=Extent(size=now["attempts"].size, root=now["attempts"].root.hex()),
        witness=Remembered(main=held["main"], attempts=held["attempts"]) if whole else None,
        lost=not whole or any(held[log] > now[log].size for log in LOGS),
    )
