"""The doors to a ledger, whatever database it is in: opened, made where there is none, looked at."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from privsynth.errors import LedgerError, StorageError, UsageError
from privsynth.ledger.address import is_ledger
from privsynth.ledger.entry import Clock, utc_now
from privsynth.ledger.hold import Hold
from privsynth.ledger.layout import fill
from privsynth.ledger.ledger import Ledger, enter, look, quote_all_unopened, quote_unopened
from privsynth.ledger.log import LOGS, Session, Store, Transaction
from privsynth.ledger.quote import PlanQuote, Quote, QuoteLine
from privsynth.ledger.record import Line
from privsynth.ledger.register import found
from privsynth.ledger.seal import Seal
from privsynth.ledger.sqlite import SqliteStore
from privsynth.ledger.steps import Status
from privsynth.ledger.terms import one_line
from privsynth.ledger.wish import Wish
from privsynth.ledger.witness import Witness, witness_at
from privsynth.policy.ledger_asks import on_named
from privsynth.signing import SigningKey

if TYPE_CHECKING:
    from privsynth.policy.document import Policy

__all__ = [
    "Hold",
    "Ledger",
    "Line",
    "PlanQuote",
    "Quote",
    "QuoteLine",
    "SqliteStore",
    "Status",
    "Wish",
    "look_at_ledger",
    "open_ledger",
    "quote_all_unopened",
    "quote_unopened",
]


class Home(Store, Protocol):
    """A store that a ledger can be made in."""

    @property
    def where(self) -> str:
        """For messages: nothing secret."""
        ...

    @property
    def key(self) -> Path:
        """Where the ledger's key lies if nobody says; a UsageError where somebody must."""
        ...

    def exists(self) -> bool:
        """Whether there is something in the ledger's place."""
        ...

    def must_be_free(self) -> None:
        """Refuse a free place, in which what an earlier ledger left would spoil a new one."""
        ...

    def create(self, fill: Callable[[Transaction], None], *, place: Callable[[], None]) -> None:
        """Make it with what ``fill`` writes, whole or not at all; what is there already is left as it is.

        ``place`` brings what must be there first to its place; FileExistsError means: begin again.
        """
        ...

    def migrate(self, fill: Callable[[Transaction], None]) -> None:
        """Bring it to the present layout, whole or not at all; ``fill`` fills what is new."""
        ...


def open_ledger(
    url: str,
    policy: Policy,
    *,
    actor: str,
    clock: Clock | None = None,
    key: str | Path | None = None,
    witness: Witness | str | None = None,
) -> Ledger:
    """Open the ledger at ``url``, or create it, for ``actor`` under ``policy``.

    A ledger of an earlier layout is brought to the present one, once and for good (docs/ledger.md).

    Args:
        url: ``sqlite:///ledger.db`` (relative), ``sqlite:////srv/ledger.db`` (absolute), or
            ``postgresql://user@host:5432/database`` (docs/postgres.md).
        policy: of the id that the ledger was created for; populations that are new in it are registered.
        actor: the address of the person or service that acts, as under the policy's ``people``.
        clock: the host's time; for tests.
        key: the ledger's key file, made with it; None: ``ledger.db.key`` beside it. For PostgreSQL name one.
        witness: who remembers how long the ledger was (:func:`privsynth.ledger.witness.witness_at`), or its address:
            ``file:/path``, ``cmd:program ...``, ``https://...``. None: nobody.

    Raises:
        RequestDenied: the policy requires a witness, and none is named (PS-LED-001).
        UsageError: another scheme, no path or database, no key file named for a database.
        MissingExtra: PostgreSQL without psycopg.
        StorageError: no such folder, a folder, read-only, full, locked for a minute; a server that is gone, or whose
            settings do not keep what it commits; the witness does not answer.
        LedgerError: not a ledger, altered, of another policy or key, frozen fields changed, clock set back; not what
            the witness remembers; or the witness is not the one that the policy names by its key (PS-LED-002).
    """
    store, who, time = store_at(url), one_line(actor, name="actor"), clock or utc_now
    seal, watched = seal_of(store, key), watched_by(witness, policy)
    while not is_there(store, watched, seal):
        with seal.drafted() as draft:
            id = str((draft.said or {}).get("ledger") or secrets.token_hex(16))
            begin = partial(_begin, policy=policy, actor=who, clock=time, key=draft.key, ledger=id)
            store.create(begin, place=partial(draft.place, {"what": "making", "ledger": id}))
    store.migrate(partial(_bring, where=store.where, actor=who, clock=time, seal=seal, witness=watched))
    seal.settled()
    return enter(store, policy, actor=who, clock=time, seal=seal, witness=watched)


def look_at_ledger(
    url: str,
    policy: Policy,
    *,
    actor: str,
    clock: Clock | None = None,
    key: str | Path | None = None,
    witness: Witness | str | None = None,
) -> Ledger:
    """Open the ledger at ``url`` to ask it something: none is created, and nothing new in ``policy`` is registered.

    Raises:
        StorageError: there is none, and never was one. Else as :func:`open_ledger`.
    """
    store, watched = store_at(url), watched_by(witness, policy)
    seal = seal_of(store, key)
    if not is_there(store, watched, seal):
        raise StorageError("no such ledger", where=store.where, mend="check the path; `privsynth run` makes it")
    who, time = one_line(actor, name="actor"), clock or utc_now
    return look(store, policy, actor=who, clock=time, seal=seal, witness=watched)


def is_there(home: Home, witness: Witness | None = None, seal: Seal | None = None) -> bool:
    """Whether there is a ledger.

    Raises:
        LedgerError: there is none, and its witness remembers one, or its key lies there.
        StorageError: the place or the witness cannot be asked.
    """
    remembered = None if witness is None else witness.head("main")  # asked first: another process may make it now
    orphan = seal.path if seal is not None and seal.orphaned else None
    if home.exists():
        return True
    if remembered is not None:
        raise LedgerError(
            "there is no ledger, but its witness remembers one",
            where=home.where,
            mend="put the ledger back in its place; a new ledger takes a new witness",
        )
    if orphan is not None:
        raise LedgerError(
            f"there is no ledger, but the key that was made with one is there ({orphan}): a new one would sell the "
            "same people's budget again",
            where=home.where,
            mend="put the ledger back in its place, or restore a backup (`privsynth ledger restore`); a new ledger, of "
            "people who are in no other one, takes a new name and a key of its own",
        )
    return False


def watched_by(given: Witness | str | None, policy: Policy) -> Witness | None:
    """The witness that was named, if any.

    Raises:
        UsageError: not the address of one.
        RequestDenied: none was, and the policy requires one (PS-LED-001).
    """
    on_named(policy, witness=given is not None).refuse()
    return witness_at(given) if isinstance(given, str) else given


def store_at(url: str) -> Home:
    """The place of the ledger at ``url``, whether there is one or not.

    Raises:
        UsageError: not the address of one; it is not told, as a password may stand in it.
    """
    if not is_ledger(url):
        raise UsageError(
            "not the address of a ledger",
            where="ledger",
            mend="use sqlite:///ledger.db or postgresql://user@host:5432/database",
        )
    return _HOMES[url.partition("://")[0]](url)


def _postgres_at(url: str) -> Home:
    from privsynth.ledger.postgres import PostgresStore

    return PostgresStore.at(url)


_HOMES: Mapping[str, Callable[[str], Home]] = {
    "sqlite": SqliteStore.at,
    "postgres": _postgres_at,
    "postgresql": _postgres_at,
}


def seal_of(home: Home, key: str | Path | None) -> Seal:
    """The key file of the ledger there: as given, else where it lies if nobody says."""
    return Seal(home.key if key is None else Path(key).absolute())


def _begin(tx: Transaction, *, policy: Policy, actor: str, clock: Clock, key: SigningKey, ledger: str) -> None:
    found(Session(tx, actor=actor, clock=clock, key=key, new=True), policy, ledger)


def _bring(tx: Transaction, *, where: str, actor: str, clock: Clock, seal: Seal, witness: Witness | None) -> None:
    """Sign a ledger of the first form, which nobody has signed yet, with a key of its own.

    Where a key is there already, only what the key's own mark says was to be signed with it.

    Raises:
        LedgerError: the witness remembers a ledger, or the key that is there was not made for this one as it is.
    """
    if witness is not None and any(witness.head(log) is not None for log in LOGS):
        raise _forged("a ledger of the first form, which no key has signed, but its witness remembers one", where)
    with seal.drafted() as draft:
        session = Session(tx, actor=actor, clock=clock, key=draft.key, new=True)
        said: dict[str, Any] = {"what": "migrating", "ledger": session.balance().ledger}
        for log in LOGS:
            head = session.checkpoint(log)
            said[log] = [head.size, head.root.hex()]
        if draft.said not in (None, said):
            raise _forged("a ledger of the first form beside a key that was not made for it, as it is now", where)
        fill(session)
        try:
            draft.place(said)
        except FileExistsError:
            raise _forged("a ledger of the first form beside a key that was made meanwhile", where) from None


def _forged(what: str, where: str) -> LedgerError:
    return LedgerError(what, where=where, mend="put the ledger that was signed back in its place, with its owner")
