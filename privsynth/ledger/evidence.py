"""What a release carries of the ledger: that its hold was sold and approved there, for anyone to check offline.

``checkpoint.txt`` is the main log's checkpoint as it was right after the approval, so it says nothing of what came
later, and nothing of attempts. ``inclusion.json`` holds the two entries, byte for byte, each with its proof. Whoever
keeps one can convict a ledger that no longer extends it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from privsynth.documents import canonical
from privsynth.errors import LedgerError
from privsynth.ledger.checkpoint import Checkpoint
from privsynth.ledger.entry import Entry, leaf_hash, one
from privsynth.ledger.log import Session
from privsynth.ledger.merkle import extends, includes, inclusion
from privsynth.ledger.tree import StoredTree

FORMAT = 1
CHECKPOINT, INCLUSION = "checkpoint.txt", "inclusion.json"
KINDS = ("reserve", "approve")
_MEND = "get it again from its sender; if it is what they sent, ask them for their ledger's checkpoint"


@dataclass(frozen=True)
class Evidence:
    """Two entries of a main log under a signed checkpoint.

    Attributes:
        checkpoint: right after the approval.
        key: the Ed25519 key that signed it, 32 bytes.
        reserve, approve: the entries.
    """

    checkpoint: Checkpoint
    key: bytes
    reserve: Entry
    approve: Entry


def evidence_of(session: Session, hold: str) -> dict[str, bytes]:
    """The two files of an approved hold, by name; none where it was not approved.

    Raises:
        LedgerError: the tree of the log is not the one that was signed.
    """
    entries = {entry.kind: entry for entry in session.of_hold(hold) if entry.kind in KINDS}
    if "approve" not in entries:
        return {}
    over, now, size = StoredTree(session.tx).over, session.checkpoint(), entries["approve"].seq + 1
    then = Checkpoint(now.origin, size, over(0, size))
    if not extends(now.root, now.size, old_root=then.root, old=size, proof=session.consistency(size)):
        raise LedgerError("the tree of the main log is not the one that was signed", mend="run `ledger verify`")
    proved = [
        {
            "leaf": entries[kind].leaf.decode(),
            "proof": [step.hex() for step in inclusion(over, entries[kind].seq, size)],
        }
        for kind in KINDS
    ]
    value = {"privsynth-inclusion": FORMAT, "key": session.public.hex(), "entries": proved}
    return {CHECKPOINT: session.signed(then).encode(), INCLUSION: canonical(value)}


def check_evidence(note: bytes, listing: bytes, *, keys: Sequence[bytes], where: str) -> Evidence:
    """Read the two files and check every proof.

    Args:
        note, listing: checkpoint.txt and inclusion.json.
        keys: the ledgers' keys that count, 32 bytes each; none: the one that the files name, which shows that they
            agree, not whose they are.
        where: for messages.

    Raises:
        LedgerError: anything that does not hold.
    """
    try:
        value = json.loads(listing)
        key = bytes.fromhex(value["key"])
        rows = [(row["leaf"].encode(), tuple(bytes.fromhex(step) for step in row["proof"])) for row in value["entries"]]
        text = note.decode()
        fits = value["privsynth-inclusion"] == FORMAT and canonical(value) == listing and len(rows) == len(KINDS)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        fits = False
    if not fits:
        raise LedgerError("not the evidence of a ledger, or of a later version", where=where, mend=_MEND)
    if keys and key not in keys:
        raise LedgerError("its ledger's key is not one that you trust", where=where, mend="ask for their trust file")
    checkpoint = Checkpoint.read(text, origin=Checkpoint.parse(text, where=where).origin, public=key, where=where)
    entries: list[Entry] = []
    for leaf, proof in rows:
        entry = one("main", _place(leaf), leaf, leaf_hash(leaf))
        hashed = bytes.fromhex(entry.hash)
        if not includes(checkpoint.root, checkpoint.size, leaf=hashed, at=entry.seq, proof=proof):
            raise LedgerError("an entry is not in the log of its checkpoint", where=where, mend=_MEND)
        entries.append(entry)
    if tuple(entry.kind for entry in entries) != KINDS or entries[0].body.get("hold") != entries[1].body.get("hold"):
        raise LedgerError("the entries are not those of one approved hold", where=where, mend=_MEND)
    return Evidence(checkpoint, key, *entries)


def _place(leaf: bytes) -> int:
    """Where an entry says that it stands; -1 where it says nothing of the kind."""
    try:
        place = json.loads(leaf)["seq"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return -1
    return place if isinstance(place, int) else -1
