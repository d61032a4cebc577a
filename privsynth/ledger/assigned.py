"""Who belongs to which population, once and for ever, where the policy keeps them apart (``new data``).

Every subject of a split belongs to the population whose split met her first. Her id is the first 16 bytes of an HMAC
under one key of the ledger. The ids that a split is the first to meet are one batch, sorted, kept beside the logs
under its number; an entry ``assigned`` of the second log names population, hash and size, of an empty batch too. Both
are durable before the split gives any row. What it says of one subject depends on no other, so adding or removing her
moves nobody else, and her rows are in the splits of one population only (docs/proofs/disjoint.md). The second log is
never published: nothing that leaves depends on who was met, or on whether somebody was. Nor does its length, which a
witness sees: each split adds one entry, and a nonce in it keeps its hash from being tried.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Set

from privsynth.documents import sha256
from privsynth.errors import LedgerError
from privsynth.ledger.balance import ID_BYTES, Batch
from privsynth.ledger.log import MOST_BYTES, Session

_MEND = "restore the whole ledger from a backup: without them nobody knows who counts where, so nothing is split"
_MOST = MOST_BYTES // ID_BYTES


def met(session: Session, population: str, ids: Set[bytes]) -> tuple[frozenset[bytes], frozenset[bytes]]:
    """Those of ``ids`` who belong to this population, and those who belong to none yet. O(ids + all that were met).

    Raises:
        LedgerError: a batch is missing or altered.
    """
    own: set[bytes] = set()
    new = set(ids)
    for batch, held in batches(session):
        here = new.intersection(held)
        new -= here
        own |= here if batch.population == population else set()
    return frozenset(own), frozenset(new)


def assign(session: Session, population: str, ids: Set[bytes]) -> frozenset[bytes]:
    """Assign those of ``ids`` who belong to no population yet to this one; all who belong to it now. It is one entry,
    where there is nobody new too; more only of more than ``MOST_BYTES`` of new ids.

    Raises:
        LedgerError: a batch is missing or altered.
    """
    own, new = met(session, population, ids)
    ordered = sorted(new)
    for start in range(0, len(ordered) or 1, _MOST):
        data = b"".join(ordered[start : start + _MOST])
        if data:
            session.tx.put("assigned", str(len(session.gates().assigned)), data)
        body = {"population": population, "sha256": sha256(data), "bytes": len(data), "nonce": secrets.token_hex(16)}
        session.append("assigned", body, log="attempts")
    return own | new


def batches(session: Session) -> Iterator[tuple[Batch, Iterator[bytes]]]:
    """Every batch with its ids, each compared with its entry.

    Raises:
        LedgerError: one is missing or altered.
    """
    for number, batch in enumerate(session.gates().assigned):
        data = session.tx.get("assigned", str(number))
        if data is None or len(data) != batch.bytes or sha256(data) != batch.sha256:
            raise LedgerError(
                "a batch of the people whom populations have met is not what the ledger's entry says",
                where=f"batch {number}",
                mend=_MEND,
            )
        yield batch, (data[at : at + ID_BYTES] for at in range(0, len(data), ID_BYTES))


def check_apart(session: Session) -> None:
    """Read all batches: nobody is in two.

    Raises:
        LedgerError: somebody is, or a batch is missing or altered.
    """
    every = [id for _, held in batches(session) for id in held]
    if len(set(every)) != len(every):
        raise LedgerError("somebody was assigned to a population twice", where="the second log", mend=_MEND)
