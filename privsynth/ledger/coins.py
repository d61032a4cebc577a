"""What a split needs of a ledger: the coins of a population, and who is of it."""

from __future__ import annotations

import hmac
import unicodedata
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from privsynth.errors import LedgerError
from privsynth.ledger.assigned import assign
from privsynth.ledger.audit import secret_of
from privsynth.ledger.balance import ID_BYTES
from privsynth.ledger.log import Session
from privsynth.ledger.record import ID_KEY
from privsynth.policy.new_data import unknown_again

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from privsynth.data.records import CoinKey
    from privsynth.policy.document import Policy


class Book(Protocol):
    """What is asked of the ledger."""

    @property
    def policy(self) -> Policy:
        """The policy in use now."""
        ...

    def reading(self) -> AbstractContextManager[Session]:
        """Both logs, checked."""
        ...

    def writing(self, *, going_on: bool = False) -> AbstractContextManager[Session]:
        """Both logs, checked and held exclusively; durable, and witnessed, when the block ends."""
        ...


def coins_of(session: Session, policy: Policy, source: str) -> CoinKey:
    """The coins of the source's population; errors as of :meth:`privsynth.ledger.ledger.Ledger.coin_key`."""
    from privsynth.data.records import CoinKey

    registered = policy.source(source)
    population = session.balance().populations.get(registered.population)
    if population is None:
        raise LedgerError(
            f"population {registered.population!r} is not registered yet",
            mend="open the ledger again with this policy",
        )
    return CoinKey(
        population=population.name,
        holdout=float(population.frozen["holdout"]),
        contribution=int(population.frozen["contribution"]),
        key=secret_of(session, population.name, population.key),
    )


def coins_for_anybody(session: Session, policy: Policy, source: str) -> CoinKey:
    """As :func:`coins_of`, where it does not matter who is of the population."""
    if session.balance().ids:
        raise LedgerError(
            "this ledger keeps populations apart: it gives coins for named subjects only",
            mend="split with `granted.split(ledger)`, which asks for them by `assign`",
        )
    return coins_of(session, policy, source)


def coins_for(
    book: Book, source: str, subjects: npt.NDArray[np.object_] | None
) -> tuple[CoinKey, npt.NDArray[np.bool_] | None]:
    """As :meth:`privsynth.ledger.ledger.Ledger.assign`. One id is one person in whichever of the forms that Unicode
    calls equal it is written.

    All is done alike whether or not somebody is new, under a policy that was replaced too: one entry, one transaction.
    """
    import numpy as np

    from privsynth.privacy.noise import keyed_ids

    with book.reading() as session:
        coins, digest = coins_of(session, book.policy, source), session.balance().ids
        key = secret_of(session, ID_KEY, digest) if digest else b""
    if not key:
        return coins, None
    if subjects is None:
        raise unknown_again(book.policy)
    rows = [unicodedata.normalize("NFC", who) if isinstance(who, str) else who for who in subjects.tolist()]
    ids = keyed_ids(key, rows, size=ID_BYTES)
    with book.writing(going_on=True) as session:
        own = assign(session, coins.population, frozenset(ids.values()))
    return coins, np.fromiter((ids[subject] in own for subject in rows), dtype=np.bool_, count=len(rows))


def commitment_key_of(session: Session, policy: Policy, source: str) -> tuple[str, bytes]:
    """As :meth:`privsynth.ledger.ledger.Ledger.commitment_key`: another one where coins are for named subjects only."""
    coins = coins_of(session, policy, source)
    apart = bool(session.balance().ids)
    return coins.population, hmac.digest(coins.key, b"commitments", "sha256") if apart else coins.key
