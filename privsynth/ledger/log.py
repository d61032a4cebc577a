"""Both logs of a ledger as one operation sees them: the signed state, the entries after it, and what is appended.

``Store`` and ``Transaction`` are what the ledger asks of a database; ``store`` holds the SQLite one.
A writing transaction excludes every other writer from its first read to its durable commit, so what
was checked is still true when the entry that relies on it is appended.

What a session believes, it has checked: the state by the ledger's signature; the entries after it by their
chain and by the signed *head*, which says sizes and roots of both logs; an older entry by its proof of
inclusion under the root of the state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol

from privsynth.documents import canonical
from privsynth.errors import LedgerError
from privsynth.ledger.balance import Balance, Gates, fold, fold_attempts
from privsynth.ledger.checkpoint import Checkpoint, origin_of
from privsynth.ledger.entry import MEND, Clock, Entry, LogName, chain, follow, one, read_chain, stamp, utc
from privsynth.ledger.merkle import consistency, includes, inclusion
from privsynth.ledger.record import Bought, bought_of
from privsynth.ledger.seal import sealed, unsealed
from privsynth.ledger.state import Edge, State, root_of
from privsynth.ledger.tree import StoredTree
from privsynth.signing import SigningKey

Shelf = Literal["secrets", "transcripts", "claims", "assigned"]
Cell = Literal["head", "state", "steps", "requests"]
SHELVES: tuple[Shelf, ...] = ("secrets", "transcripts", "claims", "assigned")
CELLS: tuple[Cell, ...] = ("head", "state", "steps", "requests")
LOGS: tuple[LogName, ...] = ("main", "attempts")
MOST_BYTES = 500_000_000
"""The most that is kept under one name."""

_ROOM, _SHARE = 16, 4096  # the state is renewed after 16 entries, and one more for each 4,096 of the log


class Transaction(Protocol):
    """A database between begin and commit."""

    def rows(self, log: LogName, start: int = 0) -> Iterable[tuple[int, bytes, str]]:
        """(place, leaf, stored hash) of every line from place ``start`` on, in order of place."""
        ...

    def row(self, log: LogName, place: int) -> tuple[bytes, str] | None:
        """Leaf and stored hash of a line."""
        ...

    def add(self, entry: Entry) -> None:
        """Append a line to its log."""
        ...

    def hashes(self, log: LogName, level: int, start: int, stop: int) -> Sequence[bytes]:
        """See :class:`privsynth.ledger.tree.Hashes`."""
        ...

    def keep_hash(self, log: LogName, level: int, place: int, value: bytes) -> None:
        """Keep the hash of a full subtree, for ever."""
        ...

    def found(self, name: str) -> Sequence[int]:
        """The places in the main log that are indexed under ``name``, in order."""
        ...

    def index(self, name: str, place: int) -> None:
        """Index a place of the main log under ``name``, for ever."""
        ...

    def indexed(self) -> Iterable[tuple[str, int]]:
        """The whole index, in order of name and place."""
        ...

    def cell(self, name: Cell) -> bytes | None:
        """What the cell holds."""
        ...

    def set_cell(self, name: Cell, data: bytes) -> None:
        """Replace what the cell holds."""
        ...

    def put(self, shelf: Shelf, name: str, data: bytes) -> None:
        """Keep ``data`` under a new name."""
        ...

    def names(self, shelf: Shelf) -> frozenset[str]:
        """Every name under which something is kept."""
        ...

    def get(self, shelf: Shelf, name: str) -> bytes | None:
        """What is kept under ``name``."""
        ...


class Store(Protocol):
    """A database. Each use of either method is one transaction on a connection of its own."""

    def reading(self) -> AbstractContextManager[Transaction]:
        """A consistent view."""
        ...

    def writing(self) -> AbstractContextManager[Transaction]:
        """Exclusive; durable once the block ends, undone if it raises."""
        ...


class Session:
    """One transaction over both logs, checked as far as it looks.

    Attributes:
        tx: the transaction.
        actor: who acts.
        now: the host's time at its beginning, in UTC.
        state: signed, up to some entry.
        edges: where the logs end now, with what was appended here.
    """

    def __init__(self, tx: Transaction, *, actor: str, clock: Clock, key: SigningKey, new: bool = False) -> None:
        """Read the state and the entries after it; ``new``: there is no state yet.

        Raises:
            LedgerError: altered, cut short, or of another key.
        """
        self.tx = tx
        self.actor = actor
        self.now = utc(clock())
        self._key = key
        self._bought: dict[str, Bought | None] = {}
        self.state = State() if new else self._read_state()
        self.edges: dict[LogName, Edge] = {"main": self.state.main, "attempts": self.state.attempts}
        self.tails: dict[LogName, list[Entry]] = {"main": [], "attempts": []}
        for log in LOGS:
            self._take(chain(log, tx.rows(log, self.edges[log].size), after=self.edges[log].last))
        self._head = self._told()
        if not new and self._signed("head") != self._head:
            raise LedgerError(
                "the entries are not those that the ledger's key signed: some were changed, put in or cut off",
                mend=MEND,
            )
        self._folded = (0, 0), self.state.balance, self.state.gates

    # --- what is written ------------------------------------------------------------------------

    def append(self, kind: str, body: Mapping[str, Any], *, log: LogName = "main") -> Entry:
        """Add a line after the last one of ``log``."""
        entry = follow(self.edges[log].last, kind, body, log=log, actor=self.actor, now=self.now)
        self.tx.add(entry)
        self._take([entry])
        self._enrol(entry)
        return entry

    def close(self, *, renew: bool = False) -> None:
        """Sign what was appended; renew the state where many entries have come after it, or if asked to."""
        sizes = [self.edges[log].size for log in LOGS]
        tail = sum(map(len, self.tails.values()))
        if renew or tail > _ROOM + sum(sizes) // _SHARE:
            state = State(self.edges["main"], self.edges["attempts"], self.balance(), self.gates())
            self.tx.set_cell("state", sealed("state", state.to_bytes(), self._key))
            self.tx.set_cell("steps", state.balance.steps)
            self.tx.set_cell("requests", state.balance.requests)
        if renew or self._told() != self._head:
            self.tx.set_cell("head", sealed("head", self._told(), self._key))

    def adopt(self) -> None:
        """Index entries that are in the database already, but in no index, tree or state yet."""
        for log in LOGS:
            for entry in self.tails[log]:
                self._enrol(entry)

    @property
    def time(self) -> str:
        """The time that an entry of the main log would have now: never before the last one."""
        return max(stamp(self.now), self.edges["main"].time)

    # --- what it adds up to ---------------------------------------------------------------------

    def balance(self) -> Balance:
        """What the main log adds up to now."""
        return self._fold()[0]

    def gates(self) -> Gates:
        """What the second log says of gates now."""
        return self._fold()[1]

    def bought(self, hold: str) -> Bought | None:
        """The hold of this id, if it was sold here."""
        if hold not in self._bought:
            sold = [entry for entry in self.of_hold(hold) if entry.kind == "reserve"]
            self._bought[hold] = bought_of(sold[0]) if sold else None
        return self._bought[hold]

    def by_request(self, request: str) -> Bought | None:
        """The hold that was sold for this request id. That there is none is proved: by the entries after the state, and
        by what the state says was asked before them.

        Raises:
            LedgerError: the index hides or misleads.
        """
        sold = next((entry for entry in self.tails["main"] if _sells(entry, request)), None)
        for place in () if sold is not None else self.tx.found(f"request {request}"):
            sold = self.entry(place)
            if not _sells(sold, request):
                raise _misled(sold)
        if sold is None:
            if self.state.balance.may_have_asked(request) and any(
                _sells(entry, request) for entry in chain("main", self.tx.rows("main"))
            ):
                raise _hidden("a request that bought a hold")
            return None
        if sold not in self.of_hold(str(sold.body["hold"])):
            raise _hidden("a hold")
        return self.bought(str(sold.body["hold"]))

    def of_hold(self, hold: str) -> tuple[Entry, ...]:
        """Every entry of the main log about this hold."""
        size = self.state.main.size
        entries = tuple(self.entry(place) for place in self.tx.found(f"hold {hold}") if place < size)
        for entry in entries:
            if entry.body.get("hold") != hold:
                raise _misled(entry)
        return (*entries, *(entry for entry in self.tails["main"] if entry.body.get("hold") == hold))

    def told(self, hold: str, kind: str, name: str) -> Any:
        """What the last entry of ``kind`` about this hold says under ``name``; None without one."""
        entries = [entry for entry in self.of_hold(hold) if entry.kind == kind]
        return entries[-1].body.get(name) if entries else None

    def fit_of(self, hold: str) -> Entry:
        """The entry by which this hold's fit was opened: one of its first. It must be there.

        Raises:
            LedgerError: the index does not lead to it.
        """
        size = self.state.main.size
        for place in self.tx.found(f"hold {hold}"):
            if place < size and (entry := self.entry(place)).kind == "fit":
                if entry.body.get("hold") != hold:
                    raise _misled(entry)
                return entry
        for entry in self.tails["main"]:
            if entry.kind == "fit" and entry.body.get("hold") == hold:
                return entry
        raise LedgerError(f"the entry that opened the fit of hold {hold} is not found", mend=MEND)

    def entry(self, place: int) -> Entry:
        """The entry of the main log at ``place``.

        Raises:
            LedgerError: altered, or not there.
        """
        size = self.state.main.size
        if place >= size:
            if place - size >= len(self.tails["main"]):
                raise _lost(place)
            return self.tails["main"][place - size]
        row = self.tx.row("main", place)
        if row is None:
            raise _lost(place)
        entry = one("main", place, *row)
        proof = inclusion(StoredTree(self.tx).over, place, size)
        leaf, root = bytes.fromhex(entry.hash), root_of(self.state.main)
        if not includes(root, size, leaf=leaf, at=place, proof=proof):
            raise LedgerError("the entry is not one that was signed", where=f"entry {place} of the main log", mend=MEND)
        return entry

    # --- what it can show -----------------------------------------------------------------------

    def checkpoint(self, log: LogName = "main") -> Checkpoint:
        """Size and root of a log now."""
        return Checkpoint(origin_of(self.balance().ledger, log), self.edges[log].size, root_of(self.edges[log]))

    def signed(self, checkpoint: Checkpoint) -> str:
        """The checkpoint as a note signed with the ledger's key."""
        return checkpoint.sign(self._key)

    def inclusion(self, place: int) -> tuple[bytes, ...]:
        """The proof that the main log's entry at ``place`` stands under its checkpoint."""
        return inclusion(StoredTree(self.tx).over, place, self.edges["main"].size)

    def consistency(self, old: int, log: LogName = "main") -> tuple[bytes, ...]:
        """The proof that the first ``old`` entries of a log begin what it is now."""
        return consistency(StoredTree(self.tx, log).over, old, self.edges[log].size)

    # --- everything -----------------------------------------------------------------------------

    @property
    def main(self) -> tuple[Entry, ...]:
        """Every line of the main log, its chain checked: all of it is read."""
        return read_chain("main", self.tx.rows("main"))

    @property
    def attempts(self) -> tuple[Entry, ...]:
        """Every line of the second log, its chain checked: all of it is read."""
        return read_chain("attempts", self.tx.rows("attempts"))

    def reread(self) -> None:
        """Read both logs from their first entry: each must follow the one before it, up to the last, which is signed.

        Raises:
            LedgerError: an entry was changed, taken out, put in or moved.
        """
        for log in LOGS:
            if read_chain(log, self.tx.rows(log))[-1].hash != self.edges[log].hash:
                raise LedgerError(f"the {log} log is not the one that was signed", mend=MEND)

    # --- checks ---------------------------------------------------------------------------------

    def check(self, *, ledger: str, policy: str) -> None:
        """Refuse another ledger, another policy's ledger, and logs that do not belong together.

        Args:
            ledger: the id that was opened; empty on opening, when any is right.
            policy: the id of the policy in use.

        Raises:
            LedgerError: one of these.
        """
        balance, gates = self.balance(), self.gates()
        if (
            not balance.ledger
            or gates.ledger != balance.ledger
            or balance.key != self._key.raw_public.hex()
            or not balance.approved.keys() <= gates.gated.keys() - gates.refused.keys()
            or self.tx.names("secrets") != balance.secrets.keys()
            or self.tx.names("claims") != set(balance.approved)
            or self.tx.names("assigned") != gates.batches.keys()
        ):
            raise LedgerError("the parts of the ledger do not belong together: one of them was cut", mend=MEND)
        if balance.policy != policy:
            raise LedgerError(
                f"this ledger belongs to policy {balance.policy!r}, not to {policy!r}",
                mend="open it with its own policy, or name another ledger file",
            )
        if ledger and balance.ledger != ledger:
            raise LedgerError(
                f"the file now holds ledger {balance.ledger}, but {ledger} was opened",
                mend="put the ledger that was opened back in its place",
            )

    @property
    def public(self) -> bytes:
        """The public part of the ledger's key: 32 bytes."""
        return self._key.raw_public

    # --- inside ---------------------------------------------------------------------------------

    def _take(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self.tails[entry.log].append(entry)
            self.edges[entry.log] = self.edges[entry.log].after(entry)

    def _enrol(self, entry: Entry) -> None:
        """Index an entry, and keep the hashes of the subtrees that it fills."""
        if entry.log == "main":
            for name in names_of(entry):
                self.tx.index(name, entry.seq)
        for level, place, value in StoredTree(self.tx, entry.log).filled(entry.seq + 1):
            self.tx.keep_hash(entry.log, level, place, value)

    def _fold(self) -> tuple[Balance, Gates]:
        (main, attempts), balance, gates = self._folded
        if len(self.tails["main"]) > main:
            whole = main == 0 and not balance.ledger
            balance = fold(self.tails["main"][main:], after=None if whole else balance)
        if len(self.tails["attempts"]) > attempts:
            gates = fold_attempts(self.tails["attempts"][attempts:], after=gates)
        self._folded = (len(self.tails["main"]), len(self.tails["attempts"])), balance, gates
        return balance, gates

    def _read_state(self) -> State:
        steps, requests = self.tx.cell("steps") or b"", self.tx.cell("requests") or b""
        return State.from_bytes(self._signed("state"), steps, requests)

    def _signed(self, name: Cell) -> bytes:
        return unsealed(name, self.tx.cell(name), public=self._key.raw_public, where=f"the ledger's {name}")

    def _told(self) -> bytes:
        """What the signed head says of logs that end here."""
        return canonical({log: [self.edges[log].size, root_of(self.edges[log]).hex()] for log in LOGS})


def names_of(entry: Entry) -> tuple[str, ...]:
    """Under which names an entry of the main log is found again."""
    hold, request = entry.body.get("hold"), entry.body.get("request")
    return (
        *((f"hold {hold}",) if isinstance(hold, str) else ()),
        *((f"request {request}",) if entry.kind == "reserve" and isinstance(request, str) else ()),
    )


def _lost(place: int) -> LedgerError:
    where = f"entry {place} of the main log"
    return LedgerError(f"entry {place} is missing, though the index names it", where=where, mend=MEND)


def _sells(entry: Entry, request: str) -> bool:
    return entry.kind == "reserve" and entry.body.get("request") == request


def _hidden(what: str) -> LedgerError:
    return LedgerError(f"the index of the main log lacks {what}: it was cut", where="the main log", mend=MEND)


def _misled(entry: Entry) -> LedgerError:
    return LedgerError(
        "the index leads to another entry than the one it names", where=f"entry {entry.seq} of the main log", mend=MEND
    )
