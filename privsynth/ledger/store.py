"""The doors to a ledger, whatever database it is in: opened, made where there is none, looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from privsynth.errors import LedgerError, StorageError, UsageError
from privsynth.ledger.entry import Clock, utc_now
from privsynth.ledger.hold import Hold
from privsynth.ledger.layout import fill
from privsynth.ledger.ledger import Ledger, enter, look, quote_unopened
from privsynth.ledger.log import Session, Store, Transaction
from privsynth.ledger.record import Line
from privsynth.ledger.register import found
from privsynth.ledger.sale import Quote, QuoteLine
from privsynth.ledger.seal import Seal
from privsynth.ledger.sqlite import SqliteStore
from privsynth.ledger.steps import Status
from privsynth.ledger.terms import one_line
from privsynth.ledger.witness import Witness, witness_at
from privsynth.signing import SigningKey

if TYPE_CHECKING:
    from privsynth.policy.document import Policy

__all__ = [
    "Hold",
    "Ledger",
    "Line",
    "Quote",
    "QuoteLine",
    "SqliteStore",
    "Status",
    "look_at_ledger",
    "open_ledger",
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
        UsageError: another scheme, no path or database, no key file named for a database.
        MissingExtra: PostgreSQL without psycopg.
        StorageError: no such folder, a folder, read-only, full, locked for a minute; a server that is gone, or whose
            settings do not keep what it commits; the witness does not answer.
        LedgerError: not a ledger, altered, of another policy or key, frozen fields changed, clock set back; or not
            what the witness remembers.
    """
    store, who, time = store_at(url), one_line(actor, name="actor"), clock or utc_now
    seal, watched = seal_of(store, key), _witness(witness)
    remembered = None if watched is None else watched.head("main")
    while not store.exists():
        if remembered is not None:
            raise LedgerError(
                "there is no ledger, but its witness remembers one",
                where=store.where,
                mend="put the ledger back in its place; a new ledger takes a new witness",
            )
        with seal.drafted() as (drafted, place):
            begin = partial(_begin, policy=policy, actor=who, clock=time, key=drafted)
            store.create(begin, place=place)
    store.migrate(lambda tx: fill(Session(tx, actor=who, clock=time, key=seal.first(store.where), new=True)))
    seal.migrated()
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
        StorageError: there is none. Else as :func:`open_ledger`.
    """
    store = store_at(url)
    if not store.exists():
        raise StorageError("no such ledger", where=store.where, mend="check the path; `privsynth run` makes it")
    who, time = one_line(actor, name="actor"), clock or utc_now
    return look(store, policy, actor=who, clock=time, seal=seal_of(store, key), witness=_witness(witness))


def _witness(given: Witness | str | None) -> Witness | None:
    return witness_at(given) if isinstance(given, str) else given


def store_at(url: str) -> Home:
    """The place of the ledger at ``url``, whether there is one or not.

    Raises:
        UsageError: not the address of one.
    """
    scheme, named, _ = url.partition("://") if isinstance(url, str) else ("", "", "")
    if not named or scheme not in _HOMES or "\0" in url:
        shown = "" if "@" in str(url) else f" {url!r}"  # a password may stand before an @
        raise UsageError(
            f"ledger{shown} is not the address of one",
            where="ledger",
            mend="use sqlite:///ledger.db or postgresql://user@host:5432/database",
        )
    return _HOMES[scheme](url)


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


def _begin(tx: Transaction, *, policy: Policy, actor: str, clock: Clock, key: SigningKey) -> None:
    found(Session(tx, actor=actor, clock=clock, key=key, new=True), policy)
