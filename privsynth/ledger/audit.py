"""Reading a whole ledger: every entry, every hash, every sum, and all that is made from them or kept beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from privsynth.documents import sha256
from privsynth.errors import LedgerError
from privsynth.ledger.assigned import check_apart
from privsynth.ledger.balance import Step, fold, fold_attempts
from privsynth.ledger.entry import MEND, Entry, LogName, chain
from privsynth.ledger.layout import check_whole
from privsynth.ledger.log import Session, names_of
from privsynth.ledger.record import ID_KEY, accountant_version
from privsynth.ledger.state import Edge, State
from privsynth.ledger.steps import kept
from privsynth.ledger.tree import LEVELS, StoredTree

_ANY = 2**62


@dataclass(frozen=True)
class Checked:
    """A ledger that was read whole: how much of each there is.

    Attributes:
        ledger: its id.
        entries, attempts: lines of the two logs.
        populations, holds, transcripts, claims: registered, sold, and kept beside the logs.
    """

    ledger: str
    entries: int
    attempts: int
    populations: int
    holds: int
    transcripts: int
    claims: int


def audit(session: Session) -> Checked:
    """Read everything.

    Raises:
        LedgerError: an entry, a key, or something that is made from the entries was altered, taken out or moved.
        ModelError: a stored transcript or stored claims are not what their entry says.
    """
    index: list[tuple[str, int]] = []
    measured: dict[str, str] = {}
    accountants: set[str] = set()

    def note(entry: Entry) -> None:
        index.extend((name, entry.seq) for name in names_of(entry))
        if entry.kind == "measured":
            measured[entry.body["hold"]] = entry.body["sha256"]
        if entry.kind == "reserve":
            accountants.add(str(entry.body.get("accountant")))

    main, attempts = _Walk(session, "main", note), _Walk(session, "attempts", lambda entry: None)
    balance, gates = fold(main), fold_attempts(attempts)
    if sorted(index) != list(session.tx.indexed()):
        raise LedgerError("the index of the main log is not the one that its entries make", mend=MEND)
    read = State(main.edge, attempts.edge, balance, gates)
    told = State(session.edges["main"], session.edges["attempts"], session.balance(), session.gates())
    if not accountants <= {accountant_version()}:  # what an earlier one charged stays charged
        read, told = _without_sums(read), _without_sums(told)
    if (read.to_bytes(), balance.steps) != (told.to_bytes(), session.balance().steps):
        raise LedgerError("the signed state is not what the entries add up to", mend=MEND)
    check_whole(session.tx, balance, gates)
    for name, digest in balance.secrets.items():
        secret_of(session, name, digest)
    check_apart(session)
    for hold, expected in measured.items():
        kept(session, "transcripts", hold, expected)
    for hold, expected in balance.approved.items():
        kept(session, "claims", hold, expected)
    return Checked(
        ledger=balance.ledger,
        entries=main.edge.size,
        attempts=attempts.edge.size,
        populations=len(balance.populations),
        holds=balance.count(Step.SOLD),
        transcripts=len(measured),
        claims=len(balance.approved),
    )


class _Walk:
    """The entries of a log in order; ``edge`` is where it ended, its kept hashes compared on the way."""

    def __init__(self, session: Session, log: LogName, note: Callable[[Entry], None]) -> None:
        self._session, self._log, self._note = session, log, note
        self.edge = Edge()

    def __iter__(self) -> Iterator[Entry]:
        tx, tree = self._session.tx, StoredTree(self._session.tx, self._log)
        for entry in chain(self._log, tx.rows(self._log)):
            yield entry
            self._note(entry)
            self.edge = self.edge.after(entry)
            for level, place, value in tree.filled(self.edge.size):
                if list(tx.hashes(self._log, level, place, place + 1)) != [value]:
                    raise _untrue(self._log)
        for level in LEVELS:
            if len(tx.hashes(self._log, level, -_ANY, _ANY)) != self.edge.size >> level:
                raise _untrue(self._log)


def secret_of(session: Session, name: str, commitment: str) -> bytes:
    """The secret key of a population, or of everybody's ids (``ID_KEY``).

    Raises:
        LedgerError: it is not the one of which the entry has the hash.
    """
    key = session.tx.get("secrets", name)
    if key is None or sha256(key) != commitment:
        whose = name if name == ID_KEY else f"population {name!r}"
        raise LedgerError(
            f"the secret key of {whose} is not the one that was drawn when it was registered",
            mend="restore the whole file from a backup: with another key the split would be drawn again",
        )
    return key


def _without_sums(state: State) -> State:
    return replace(state, balance=replace(state.balance, spent={}))


def _untrue(log: LogName) -> LedgerError:
    return LedgerError(f"the tree of the {log} log is not the one that its entries make", mend=MEND)
