"""What a release and a model carry of the ledger, for anyone to check offline: that it sold their hold.

A release's evidence is of two entries, the sale and the approval; a model's, which is kept before a gate is asked, of
the sale alone. ``checkpoint.txt`` is the main log's checkpoint as it was right after the last of them, so it says
nothing of what came later, and nothing of attempts. Where the policy names its witness by a key, it is the checkpoint
which that one signed last, with its cosignature: then it says how long the main log is by now. ``inclusion.json`` holds
the entries, byte for byte, each with its proof. Whoever keeps one can convict a ledger that no longer extends it.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from privsynth.documents import canonical
from privsynth.errors import IntegrityError, LedgerError, ModelError
from privsynth.ledger.checkpoint import Checkpoint
from privsynth.ledger.entry import Entry, leaf_hash, one
from privsynth.ledger.log import Session
from privsynth.ledger.merkle import extends, includes, inclusion
from privsynth.ledger.tree import StoredTree
from privsynth.privacy.events import Receipt
from privsynth.signing import WITNESS_ROLE, Cosigned, Cosigner, Trust

FORMAT = 1
CHECKPOINT, INCLUSION = "checkpoint.txt", "inclusion.json"
SOLD, KINDS = ("reserve",), ("reserve", "approve")
TERMS = ("source", "purpose", "recipient", "recipe", "epsilon", "delta", "unit", "contribution", "neighbours")
OF_SCHEMA = ("schema", "person_rows")  # terms of a recipe that has one
MODEL = "model.json"
_MOST = 64 * 2**20
_MEND = "get it again from its sender; if it is what they sent, ask them for their ledger's checkpoint"


@dataclass(frozen=True)
class Evidence:
    """Entries of a main log about one hold, under a signed checkpoint.

    Attributes:
        checkpoint: right after the last of them.
        key: the Ed25519 key that signed it, 32 bytes.
        entries: by kind.
        witness: who of the witnesses that were asked for has cosigned it, and when; None: none was asked for.
    """

    checkpoint: Checkpoint
    key: bytes
    entries: Mapping[str, Entry]
    witness: Cosigned | None = None

    @property
    def reserve(self) -> Entry:
        """The sale."""
        return self.entries["reserve"]

    @property
    def approve(self) -> Entry:
        """The approval, where it was asked for."""
        return self.entries["approve"]


def evidence_of(session: Session, hold: str, *, kinds: Sequence[str] = KINDS, shown: str = "") -> dict[str, bytes]:
    """The two files of a hold, by name; none where one of its entries of these kinds is not there.

    Args:
        shown: the signed and cosigned checkpoint under which they are to be shown, not before the last of them; empty:
            the one right after it.

    Raises:
        LedgerError: the tree of the log is not the one that was signed.
    """
    entries = {entry.kind: entry for entry in session.of_hold(hold) if entry.kind in kinds}
    if len(entries) < len(kinds):
        return {}
    over, now, size = StoredTree(session.tx).over, session.checkpoint(), entries[kinds[-1]].seq + 1
    size = max(size, Checkpoint.parse(shown).size) if shown else size
    then = Checkpoint(now.origin, size, over(0, size))
    note = shown or session.signed(then)
    whole = extends(now.root, now.size, old_root=then.root, old=size, proof=session.consistency(size))
    if not whole or Checkpoint.parse(note) != then:
        raise LedgerError("the tree of the main log is not the one that was signed", mend="run `ledger verify`")
    proved = [
        {
            "leaf": entries[kind].leaf.decode(),
            "proof": [step.hex() for step in inclusion(over, entries[kind].seq, size)],
        }
        for kind in kinds
    ]
    value = {"privsynth-inclusion": FORMAT, "key": session.public.hex(), "entries": proved}
    return {CHECKPOINT: note.encode(), INCLUSION: canonical(value)}


def check_evidence(
    note: bytes,
    listing: bytes,
    *,
    keys: Sequence[bytes],
    where: str,
    kinds: Sequence[str] = KINDS,
    witnesses: Sequence[Cosigner] | None = None,
) -> Evidence:
    """Read the two files and check every proof.

    Args:
        note, listing: checkpoint.txt and inclusion.json.
        keys: the ledgers' keys that count, 32 bytes each; none: the one that the files name, which shows that they
            agree, not whose they are.
        where: for messages.
        kinds: of the entries that must be there, in the order of their places.
        witnesses: one of whom must have cosigned the checkpoint; None: nobody must.

    Raises:
        LedgerError: anything that does not hold.
    """
    try:
        value = json.loads(listing)
        key = bytes.fromhex(value["key"])
        rows = [(row["leaf"].encode(), tuple(bytes.fromhex(step) for step in row["proof"])) for row in value["entries"]]
        text = note.decode()
        fits = value["privsynth-inclusion"] == FORMAT and canonical(value) == listing and len(rows) == len(kinds)
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
    found = [entry.kind for entry in entries]
    if found != list(kinds) or any(entry.body.get("hold") != entries[0].body.get("hold") for entry in entries):
        raise LedgerError("the entries are not those of one such hold", where=where, mend=_MEND)
    seen = None if witnesses is None else cosigned_by(text, witnesses, where=where)
    return Evidence(checkpoint, key, {entry.kind: entry for entry in entries}, seen)


def cosigned_by(note: str, witnesses: Sequence[Cosigner], *, where: str) -> Cosigned:
    """Who of these has cosigned a checkpoint; the first, where more have.

    Raises:
        LedgerError: none of them.
    """
    for witness in witnesses:
        with suppress(IntegrityError):
            return witness.cosigned(note, where=where)
    raise LedgerError(
        "no witness that you trust has signed its ledger's checkpoint",
        where=where,
        mend="ask whether its policy names a witness by its key, and for a trust file that lists it",
    )


def witnesses_of(trust: Trust, now: dt.datetime | None = None) -> tuple[Cosigner, ...] | None:
    """The witnesses of a trust file whose keys have not expired; None where it lists none at all."""
    time = dt.datetime.now(dt.UTC) if now is None else now
    listed = [key for key in trust.keys if WITNESS_ROLE in key.roles]
    return tuple(Cosigner(key.name, key.raw_public) for key in listed if not key.expired(time)) if listed else None


def is_of(receipt: Receipt, sold: Entry) -> bool:
    """Whether a ``reserve`` entry is the sale that the receipt tells of: hold, time, terms, prices, policy, and what
    came before it. The population's cap and its declared size stand in another entry, and are not looked at here."""
    r = receipt
    body = {
        "hold": r.hold,
        "population": r.population,
        "mu": r.mu,
        "mu fit": r.mu_fit,
        "mu gate": r.mu_gate,
        "event": r.event,
        "policy": r.policy,
        "first of population": r.first_of_population,
        "chosen after report": r.chosen_after_report,
        "apart": r.apart,
    }
    terms = {name: getattr(r, name) for name in TERMS}
    try:
        told, asked = {"apart": False, **sold.body}, dict(sold.body["terms"])
        named = OF_SCHEMA if asked["schema"] else ()
        return (
            r.reserved == sold.time
            and all(told[name] == value for name, value in body.items())
            and all(asked[name] == value for name, value in terms.items())
            and all(asked[name] == getattr(r, name) for name in named)
        )
    except (KeyError, TypeError, ValueError):
        return False


# --- of a model ----------------------------------------------------------------------------------


def check_sale(
    receipt: Receipt, *, keys: Sequence[bytes] = (), where: str, witnesses: Sequence[Cosigner] | None = None
) -> Evidence:
    """Check that the evidence which a receipt carries is of its own sale.

    Args:
        keys, where, witnesses: as of :func:`check_evidence`.

    Raises:
        LedgerError: it carries none, or one that does not hold.
    """
    if set(receipt.evidence) != {CHECKPOINT, INCLUSION}:
        raise LedgerError(
            "nothing shows that a ledger sold it",
            where=where,
            mend="make it again from its ledger: models that were kept before there was such evidence have none",
        )
    note, listing = (receipt.evidence[name] for name in (CHECKPOINT, INCLUSION))
    found = check_evidence(note, listing, keys=keys, where=where, kinds=SOLD, witnesses=witnesses)
    if not is_of(receipt, found.reserve):
        raise LedgerError("the ledger's entry is of another hold than the receipt's", where=where, mend=_MEND)
    return found


def evidence_in(folder: Path) -> dict[str, bytes]:
    """The two files of a model's folder, by name; none where neither is there."""
    return {name: (folder / name).read_bytes() for name in (CHECKPOINT, INCLUSION) if (folder / name).is_file()}


def check_model_folder(
    folder: Path, *, keys: Sequence[bytes] = (), witnesses: Sequence[Cosigner] | None = None
) -> Evidence:
    """As :func:`check_sale` of the receipt in a model's folder; its kind is not asked, and nothing else there is read.

    Raises:
        ModelError: not a model's folder.
    """
    path = folder / MODEL
    try:
        raw = path.read_bytes() if path.is_file() and path.stat().st_size <= _MOST else b""
        receipt = Receipt.from_json(json.loads(raw)["receipt"])
        receipt = replace(receipt, evidence=evidence_in(folder))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise ModelError("not a model's folder", where=str(folder), mend="name the folder") from None
    return check_sale(receipt, keys=keys, where=str(folder), witnesses=witnesses)


def _place(leaf: bytes) -> int:
    """Where an entry says that it stands; -1 where it says nothing of the kind."""
    try:
        place = json.loads(leaf)["seq"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return -1
    return place if isinstance(place, int) else -1
