"""Both logs of a ledger as one operation sees them: read and checked whole, then written at the end.

``Store`` and ``Transaction`` are what the ledger asks of a database; ``store`` holds the SQLite one.
A writing transaction excludes every other writer from its first read to its durable commit, so what
was checked is still true when the entry that relies on it is appended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol

from privsynth.errors import LedgerError
from privsynth.ledger.balance import Balance, Gates, fold, fold_attempts
from privsynth.ledger.entry import MEND, Clock, Entry, LogName, follow, read_chain, utc

Shelf = Literal["secrets", "transcripts", "claims"]
SHELVES: tuple[Shelf, ...] = ("secrets", "transcripts", "claims")


class Transaction(Protocol):
    """A database between begin and commit."""

    def rows(self, log: LogName) -> Sequence[tuple[int, bytes, str]]:
        """(place, leaf, stored hash) of every line, in order of place."""
        ...

    def add(self, entry: Entry) -> None:
        """Append a line to its log."""
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
    """One transaction over both logs, their chains checked.

    Attributes:
        tx: the transaction.
        actor: who acts.
        now: the host's time at its beginning, in UTC.
        main, attempts: the lines so far, those appended here included.
    """

    def __init__(self, tx: Transaction, *, actor: str, clock: Clock) -> None:
        self.tx = tx
        self.actor = actor
        self.now = utc(clock())
        self._folded: tuple[int, Balance] | None = None
        self.main = list(read_chain("main", tx.rows("main")))
        self.attempts = list(read_chain("attempts", tx.rows("attempts")))

    def append(self, kind: str, body: Mapping[str, Any], *, log: LogName = "main") -> Entry:
        """Add a line after the last one of ``log``."""
        lines = self.main if log == "main" else self.attempts
        entry = follow(lines[-1] if lines else None, kind, body, log=log, actor=self.actor, now=self.now)
        self.tx.add(entry)
        lines.append(entry)
        return entry

    def balance(self) -> Balance:
        """What the main log adds up to now."""
        if self._folded is None or self._folded[0] != len(self.main):
            self._folded = len(self.main), fold(self.main)
        return self._folded[1]

    def gates(self) -> Gates:
        """What the second log says of gates now."""
        return fold_attempts(self.attempts)

    def check(self, *, ledger: str, policy: str) -> None:
        """Refuse another ledger, another policy's ledger, and logs that do not belong together.

        Args:
            ledger: the id that was opened; empty on opening, when any is right.
            policy: the id of the policy in use.

        Raises:
            LedgerError: one of these.
        """
        balance, gates = self.balance(), self.gates()
        kept = {shelf: self.tx.names(shelf) for shelf in SHELVES}
        if (
            not balance.ledger
            or gates.ledger != balance.ledger
            or not balance.approved.keys() <= gates.gated.keys() - gates.refused.keys()
            or not gates.gated.keys() <= balance.measured.keys()
            or kept
            != {
                "secrets": set(balance.populations),
                "transcripts": set(balance.measured),
                "claims": set(balance.approved),
            }
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
