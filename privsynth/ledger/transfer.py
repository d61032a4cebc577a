"""A ledger as text: every entry as it was hashed, one a line, and the signed checkpoint that convicts any other.

An export is JSON lines. First the leaves of the main log, byte for byte; then, in an export for inside, those of the
second log and what is kept beside the logs, ``{"data","name","shelf"}`` with base64, in order of shelf and name; last
the checkpoint of each log in it, ``{"checkpoint"}``. Each line is RFC 8785 JSON. A byte that is not as it was, a line
taken out, put in, swapped, or the end cut off, is found by reading it: the roots are signed.
"""

from __future__ import annotations

import json
import os
import secrets
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from privsynth.documents import canonical, sha256
from privsynth.errors import LedgerError, StorageError
from privsynth.ledger.balance import Balance, Gates, fold, fold_attempts
from privsynth.ledger.checkpoint import Checkpoint, origin_of
from privsynth.ledger.entry import Entry, LogName, leaf_hash, one, read_chain
from privsynth.ledger.layout import check_whole
from privsynth.ledger.log import CELLS, LOGS, SHELVES, Session, Shelf, Transaction
from privsynth.ledger.merkle import Frontier
from privsynth.ledger.tree import LEVELS

_KEY_BYTES = 32
_ANY = 2**62
_MEND = "get the export again from who made it; if it is what they made, their ledger was altered"


@dataclass(frozen=True)
class Export:
    """What an export holds, checked.

    Attributes:
        main, attempts: the entries; ``attempts`` empty where they were left out.
        shelves: (shelf, name, data) of what is kept beside the logs; empty where it was left out.
        checkpoints: of each log in it.
        note: the main log's, as it was signed.
        key: the Ed25519 key that signed it, 32 bytes.
    """

    main: tuple[Entry, ...] = field(repr=False)
    attempts: tuple[Entry, ...] = field(repr=False)
    shelves: tuple[tuple[Shelf, str, bytes], ...] = field(repr=False)
    checkpoints: tuple[Checkpoint, ...]
    note: str
    key: bytes

    @property
    def balance(self) -> Balance:
        """What the main log adds up to."""
        return fold(self.main)

    @property
    def gates(self) -> Gates:
        """What the second log says."""
        return fold_attempts(self.attempts)


def export_lines(session: Session, *, inside: bool = False, note: str = "") -> Iterator[bytes]:
    """The lines of an export, each with its end.

    Args:
        session: over the ledger.
        inside: with the second log and the shelves, secret keys among them; such a file stays inside.
        note: the main log's checkpoint as a note that somebody else has signed too; empty: only the ledger signs.
    """
    logs = LOGS if inside else LOGS[:1]
    for log in logs:
        for _, leaf, _ in session.tx.rows(log):
            yield leaf + b"\n"
    for shelf in SHELVES if inside else ():
        for name in sorted(session.tx.names(shelf)):
            data = b64encode(session.tx.get(shelf, name) or b"").decode()
            yield canonical({"shelf": shelf, "name": name, "data": data}) + b"\n"
    for log in logs:
        own = session.signed(session.checkpoint(log))
        yield canonical({"checkpoint": note if note and log == "main" else own}) + b"\n"


def read_export(raw: bytes, *, key: bytes | None = None, where: str = "export") -> Export:
    """Read and check an export.

    Args:
        raw: the file.
        key: the ledger's Ed25519 key, 32 bytes, from elsewhere; None: the one that the log itself names, which shows
            that the file is whole, not whose it is.
        where: its name, for messages.

    Raises:
        LedgerError: anything that was altered, taken out, put in, moved or cut off.
    """
    if not raw.endswith(b"\n"):
        raise _broken("its end was cut off", where)
    leaves: dict[LogName, list[bytes]] = {"main": [], "attempts": []}
    shelves: list[tuple[Shelf, str, bytes]] = []
    notes: list[str] = []
    for number, line in enumerate(raw[:-1].split(b"\n"), 1):
        value = _value(line, where=f"{where}:{number}")
        match value:
            case {"log": "main"} if not (leaves["attempts"] or shelves or notes):
                leaves["main"].append(line)
            case {"log": "attempts"} if not (shelves or notes):
                leaves["attempts"].append(line)
            case {"shelf": shelf, "name": str(name), "data": str(data)} if len(value) == 3 and not notes:
                shelves.append((_shelf(shelf, where), name, _bytes(data, where)))
            case {"checkpoint": str(note)} if len(value) == 1 and len(notes) < len(LOGS):
                notes.append(note)
            case _:
                raise _broken("a line that does not belong there", f"{where}:{number}")
    logs = {log: read_chain(log, ((n, leaf, leaf_hash(leaf)) for n, leaf in enumerate(leaves[log]))) for log in LOGS}
    inside = bool(logs["attempts"])
    if not logs["main"] or len(notes) != 1 + inside or (shelves and not inside):
        raise _broken("a part of it is missing", where)
    order = [(SHELVES.index(shelf), name) for shelf, name, _ in shelves]
    if order != sorted(set(order)):
        raise _broken("what was kept beside the logs is repeated or out of order", where)
    ledger, named = _names(logs["main"])
    if key is not None and key.hex() != named:
        raise _broken("the ledger names another key than the one given", where)
    public = _key(named, where)
    checkpoints = []
    for log, note in zip(LOGS, notes, strict=False):
        checkpoint = Checkpoint.read(note, origin=origin_of(ledger, log), public=public, where=where)
        edge = Frontier().grown(bytes.fromhex(entry.hash) for entry in logs[log])
        if (checkpoint.size, checkpoint.root) != (edge.size, edge.root):
            raise _broken(f"the {log} log is not the one that its checkpoint was signed for", where)
        checkpoints.append(checkpoint)
    balance = fold(logs["main"])
    if inside and {(shelf, name): sha256(data) for shelf, name, data in shelves} != _kept(
        balance, fold_attempts(logs["attempts"]), logs["main"]
    ):
        raise _broken("what was kept beside the logs is not what the entries say", where)
    return Export(logs["main"], logs["attempts"], tuple(shelves), tuple(checkpoints), notes[0], public)


def write_export(session: Session, path: Path, *, inside: bool = False, note: str = "") -> None:
    """Write an export as a new file that its owner alone can read, whole or not at all.

    Raises:
        StorageError: it exists, or cannot be written.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}.new")
    try:
        with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            for line in export_lines(session, inside=inside, note=note):
                file.write(line)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        raise StorageError("the file exists", where=str(path), mend="name a new one, or move it away") from None
    except OSError as fault:
        what = f"the export cannot be written ({fault.strerror})"
        raise StorageError(what, where=str(path), mend="choose a folder with free space that you may write") from None
    finally:
        draft.unlink(missing_ok=True)


def bring_in(tx: Transaction, export: Export) -> None:
    """Put everything of an export for inside into an empty database.

    Raises:
        LedgerError: it is not for inside, or its parts do not belong together.
    """
    for entry in (*export.main, *export.attempts):
        tx.add(entry)
    for shelf, name, data in export.shelves:
        tx.put(shelf, name, data)
    check_whole(tx, export.balance, export.gates)


def pour(copy: Transaction, tx: Transaction) -> None:
    """Put everything of a ledger that was read whole into an empty database, as it is."""
    for log in LOGS:
        for seq, leaf, stored in copy.rows(log):
            tx.add(one(log, seq, leaf, stored))
        for level in LEVELS:
            for place, value in enumerate(copy.hashes(log, level, 0, _ANY)):
                tx.keep_hash(log, level, place, value)
    for shelf in SHELVES:
        for name in copy.names(shelf):
            tx.put(shelf, name, copy.get(shelf, name) or b"")
    for name, place in copy.indexed():
        tx.index(name, place)
    for cell in CELLS:
        tx.set_cell(cell, copy.cell(cell) or b"")


def _names(main: tuple[Entry, ...]) -> tuple[str, str]:
    """The ledger's id, and the key that it names for itself, in hex; not yet believed."""
    named = [str(entry.body.get("key", "")) for entry in (main[0], *(e for e in main if e.kind == "key"))]
    return str(main[0].body.get("ledger", "")), next((key for key in named if key), "")


def _key(named: str, where: str) -> bytes:
    try:
        key = bytes.fromhex(named)
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise _broken("the ledger names no key", where)
    return key


def _kept(balance: Balance, gates: Gates, main: tuple[Entry, ...]) -> dict[tuple[Shelf, str], str]:
    """What must be kept beside the logs: (shelf, name) -> SHA-256."""
    kept: dict[tuple[Shelf, str], str] = {("secrets", name): key for name, key in balance.secrets.items()}
    kept |= {("assigned", name): ids for name, ids in gates.batches.items()}
    kept |= {("transcripts", e.body["hold"]): e.body["sha256"] for e in main if e.kind == "measured"}
    return kept | {("claims", hold): claims for hold, claims in balance.approved.items()}


def _value(line: bytes, *, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line.decode("utf-8"))
        whole = isinstance(value, dict) and canonical(value) == line
    except (ValueError, RecursionError):
        whole = False
    if not whole:
        raise _broken("a line that is not canonical JSON", where)
    found: dict[str, Any] = value
    return found


def _shelf(name: object, where: str) -> Shelf:
    for shelf in SHELVES:
        if shelf == name:
            return shelf
    raise _broken("a shelf that a ledger does not have", where)


def _bytes(text: str, where: str) -> bytes:
    try:
        data = b64decode(text, validate=True)
    except ValueError:
        data = b""
    if b64encode(data).decode() != text:
        raise _broken("what was kept beside the logs is not base64", where)
    return data


def _broken(what: str, where: str) -> LedgerError:
    return LedgerError(f"the export is not whole: {what}", where=where, mend=_MEND)
