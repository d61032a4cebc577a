"""The same with a witness: commit, acknowledge, answer, each a moment of its own; and the file put back as it once was.

As :mod:`tests.ledger.explorer`, with three things more. A client opens the ledger before it works with it, and opens
it again after a crash. Between the commit and the answer the witness is told, by the ledger's own code, with a crash
before and after it. And somebody copies the file at any moment, and puts the copy back at any later one when nobody
holds it exclusively; the clock goes on meanwhile, so that no line is written twice with one time. What the outside was
given may then be gone from the file: that it stands in what the witness holds, and that nothing of it is given once
more, is what must be so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from typing import Any

from privsynth.errors import LedgerError
from privsynth.ledger.checkpoint import Checkpoint
from privsynth.ledger.entry import LogName
from privsynth.ledger.ledger import Ledger, look
from privsynth.ledger.log import LOGS
from privsynth.ledger.witness import check_step, show
from privsynth.privacy.accountant import mu_of
from tests.ledger.explorer import Begun, Client, Explorer, Setting, World
from tests.ledger.memory import MemoryStore
from tests.ledger.world import ANALYST, NOON


@dataclass(frozen=True)
class Watch(Setting):
    """What is explored, with a witness.

    Attributes:
        copies: whether somebody copies the file and puts the copy back, once each.
        acknowledges: whether a client is answered only once the witness has the commit; else before: a fault.
        asks: whether opening asks the witness; else a fault.
        compares: whether what is shown to the witness is compared with what was committed; else a fault.
    """

    copies: bool = True
    acknowledges: bool = True
    asks: bool = True
    compares: bool = True


@dataclass(frozen=True)
class Caller(Client):
    """A client, and whether it has opened the ledger; ``told``: its step is committed, and the witness is next."""

    opened: bool = False
    committed: bool = False


@dataclass(frozen=True)
class Watched(World):
    """A world with what the witness holds, by the place of the database that it was shown, and a copy of the file, by
    its place (-1: none). It is ``late`` once the copy was put back."""

    seen: int = -1
    copy: int = -1


@dataclass
class Memory:
    """A witness in memory that checks what every witness must check."""

    notes: dict[LogName, str] = field(default_factory=dict)

    def head(self, log: LogName) -> str | None:
        """See :class:`privsynth.ledger.witness.Witness`."""
        return self.notes.get(log)

    def accept(self, log: LogName, note: str, *, old: int, proof: Sequence[bytes]) -> str:
        """See :class:`privsynth.ledger.witness.Witness`."""
        if check_step(self.notes.get(log), note, old=old, proof=proof):
            self.notes[log] = note
        return ""


@dataclass
class WatchedExplorer(Explorer):
    """All worlds of a setting with a witness."""

    setting: Watch
    _notes: dict[int, dict[LogName, str]] = field(default_factory=dict)
    _shown: dict[Any, bool] = field(default_factory=dict)

    def start(self) -> Watched:
        """A new ledger, shown to its witness, and clients that have yet to open it."""
        first = super().start().database
        return Watched(first, tuple(Caller() for _ in self.setting.requests), seen=first)

    # --- the ledger's own code -------------------------------------------------------------------

    def ledger(self, store: MemoryStore, *, late: bool) -> Ledger:
        """The ledger over ``store``, before or after the copy was put back."""
        return replace(super().ledger(store, late=False), clock=lambda: _LATER if late else NOON)

    @property
    def verdicts(self) -> set[bool]:
        """What the witness has said."""
        return set(self._shown.values())

    def notes(self, place: int) -> dict[LogName, str]:
        """The checkpoints of the database at ``place``."""
        if place not in self._notes:
            with self.ledger(MemoryStore(self.databases[place]), late=True).reading() as session:
                self._notes[place] = {log: session.signed(session.checkpoint(log)) for log in LOGS}
        return self._notes[place]

    def shown(self, seen: int, place: int, *, written: int | None) -> bool:
        """Whether the witness that holds ``seen`` takes the database at ``place``; what it then holds is that.

        Args:
            written: the place of what a client has just committed; None: it opens the ledger.
        """
        key = (seen, place, written)
        if key not in self._shown:
            witness, store = Memory(dict(self.notes(seen))), MemoryStore(self.databases[place])
            try:
                if written is None:
                    look(store, self.rules, actor=ANALYST, clock=lambda: _LATER, seal=self.seal, witness=witness)
                else:
                    own = {log: Checkpoint.parse(note) for log, note in self.notes(written).items()}
                    own = own if self.setting.compares else {}
                    show(witness, self.ledger(store, late=True).reading, least=own)
                self._shown[key] = True
                assert witness.notes == self.notes(place)
            except LedgerError:
                self._shown[key] = False
        return self._shown[key]

    # --- what may happen -------------------------------------------------------------------------

    def actions_of(self, world: World) -> Iterator[tuple[str, World]]:
        """Every action that is possible, and the world after it."""
        assert isinstance(world, Watched)
        if self.setting.copies and world.copy < 0:
            yield "somebody copies the file", replace(world, copy=world.database)
        idle = not any(client.begun and not _caller(client).committed for client in world.clients)
        if world.copy >= 0 and not world.late and idle and world.copy != world.database:
            yield "the copy is put back", replace(world, database=world.copy, late=True)
        for who, client in enumerate(world.clients):
            yield from self._of(world, who, _caller(client), idle=idle)

    def _of(self, world: Watched, who: int, client: Caller, *, idle: bool) -> Iterator[tuple[str, Watched]]:
        crashes = client.crashes < self.setting.crashes
        if not client.opened:
            if not self.setting.asks:
                yield f"{who} opens", _as(world, who, client, opened=True)
            elif self.shown(world.seen, world.database, written=None):
                yield f"{who} opens", replace(_as(world, who, client, opened=True), seen=world.database)
        elif client.begun is None:
            if crashes and (client.hold is not None or client.refused):
                yield f"{who} crashes", self._gone(world, who)
            for step in self._next(client) if idle and not client.refused else ():
                after, answer = self.run(world.database, who, step, client.hold, late=world.late)
                if after is not None and (after != world.database or step == "reserve"):
                    begun = Begun(step, world.database, after, answer)
                    yield f"{who} begins {step}", _as(world, who, client, begun=begun)
        elif not client.committed:
            done = _as(replace(world, database=client.begun.after), who, client, committed=True)
            yield f"{who} commits {client.begun.step}", done if self.setting.acknowledges else self._heard(done, who)
            if crashes:
                yield f"{who} crashes before it commits", self._gone(world, who)
        else:
            taken = self.shown(world.seen, world.database, written=client.begun.after)
            known = replace(world, seen=world.database) if taken else world
            yield f"the witness {'has it' if taken else 'refuses'}", self._told(known, who, taken=taken)
            if crashes:
                yield f"{who} crashes before the witness has it", self._gone(world, who)
                yield f"{who} crashes after the witness was asked", self._gone(known, who)

    def _next(self, client: Caller) -> Sequence[str]:
        return ("reserve",) if client.hold is None else self.setting.steps

    def _told(self, world: Watched, who: int, *, taken: bool) -> Watched:
        """The witness has answered: the client hears how its step ended, or ends in an error and opens again."""
        if not taken:
            return _as(world, who, _caller(world.clients[who]), begun=None, committed=False, opened=False)
        heard = self._heard(world, who) if self.setting.acknowledges else world
        return _as(heard, who, _caller(heard.clients[who]), begun=None, committed=False)

    def _heard(self, world: Watched, who: int) -> Watched:
        heard = self._answered(world, who)
        assert isinstance(heard, Watched)
        return heard

    def _gone(self, world: Watched, who: int) -> Watched:
        return _as(world, who, Caller(crashes=world.clients[who].crashes + 1))

    # --- what must be so -------------------------------------------------------------------------

    def broken(self, world: World) -> str:
        """What is not so in ``world``; empty where all is."""
        assert isinstance(world, Watched)
        books, known = self.books(world.database), self.books(world.seen)
        if books.fault or books.over:
            return books.fault or "more was granted than the cap"
        if not world.told <= set(known.reserved):
            return "a hold was given before the witness had it"
        if any(times > 1 or hold not in known.fitted for hold, times in world.reads):
            return "rows were read before the witness had it, or twice"
        if any(times > 1 or known.leased.get(hold, 0) < step for hold, step, times in world.ran):
            return "a step ran before the witness had its lease, or twice"
        if sum(self._price(hold) for hold in world.told) > _RECIPIENT:
            return "sold again: what was given is more than the cap"
        return ""

    def worsened(self, before: World, after: World) -> str:
        """What an action must never do; empty where it did not."""
        assert isinstance(before, Watched) and isinstance(after, Watched)
        if not self._extends(after.seen, before.seen):
            return "the witness has forgotten"
        opens = any(_caller(b).opened > _caller(a).opened for a, b in zip(before.clients, after.clients, strict=True))
        if opens and not self._extends(after.database, before.seen):
            return "a ledger that was set back was opened"
        if after.late > before.late:
            return ""
        return super().worsened(before, after)

    def _extends(self, now: int, old: int) -> bool:
        """Whether the database at ``now`` holds what the one at ``old`` does, and perhaps more; by its lines."""
        return all(
            self.databases[now].log(log)[: len(self.databases[old].log(log))] == self.databases[old].log(log)
            for log in LOGS
        )

    def _price(self, hold: str) -> float:
        return _mu_squared(self.setting.epsilons[self.setting.requests.index(hold.removeprefix("hold of "))], 1e-9)


_LATER = NOON + timedelta(hours=1)


@cache
def _mu_squared(epsilon: float, delta: float) -> float:
    return mu_of(epsilon, delta) ** 2


_RECIPIENT = _mu_squared(3.0, 2e-8)  # what the policy lets one recipient have


def _as(world: Watched, who: int, client: Caller, **changes: Any) -> Watched:
    clients = (*world.clients[:who], replace(client, **changes), *world.clients[who + 1 :])
    return replace(world, clients=clients)


def _caller(client: Client) -> Caller:
    assert isinstance(client, Caller)
    return client
