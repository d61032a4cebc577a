"""The receipts of a run's decisions of consent, in a file that stays inside; and the ledger's commitment to it.

Its first line holds a fresh nonce of 32 random bytes, so the SHA-256 of the file, which the ledger's second log notes,
tells nobody who was asked or what was decided; and whoever is shown the file can tell that it is the one of then.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from privsynth.documents import canonical, open_regular
from privsynth.errors import LedgerError, StorageError, UsageError
from privsynth.ledger.ledger import Decided, Ledger
from privsynth.ledger.store import Hold
from privsynth.pipeline.study import Study
from privsynth.policy.consent.reader import Ask, Reading
from privsynth.policy.consent.receipt import decision_receipt

FORMAT = 1
_NONCE = 32  # bytes
_PIECE = 2**20


@dataclass(frozen=True, repr=False)
class Judged:
    """What was decided of each subject, and the moment that counted."""

    reading: Reading
    now: datetime


def keep_decisions(study: Study, judged: Judged, *, hold: Hold) -> Path | None:
    """Write the receipts where the study says, durably, and commit to them before anything is made of the rows.

    Returns:
        The file, of mode 0600 in a folder of mode 0700; None where the study keeps none.

    Raises:
        StorageError: it cannot be written; then nothing was noted.
    """
    folder = study.decisions
    if folder is None:
        return None
    path = folder / f"{hold.id}.{secrets.token_hex(4)}.ndjson"
    whole, told = False, hashlib.sha256()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            for line in _lines(study, judged, hold=hold.id):
                file.write(line)
                told.update(line)
            file.flush()
            os.fsync(file.fileno())
        whole = True
    except OSError as fault:
        raise StorageError(
            f"the receipts of consent cannot be written ({fault.strerror})",
            where=str(path),
            mend="make room, or name another folder under `consent: decisions:`",
        ) from None
    finally:
        if not whole:
            path.unlink(missing_ok=True)
    hold.decide(told.hexdigest())
    return path


def _lines(study: Study, judged: Judged, *, hold: str) -> Iterator[bytes]:
    yield canonical({"privsynth-decisions": FORMAT, "hold": hold, "nonce": secrets.token_hex(_NONCE)}) + b"\n"
    ask = Ask(purpose=study.file.purpose, recipient=study.file.recipient, now=judged.now)
    source, exported = study.schema.source, judged.reading.exported
    for subject, one in sorted(judged.reading.judged.items()):
        told = decision_receipt(subject, one, policy=study.policy, source=source, ask=ask, exported=exported)
        yield json.dumps(told, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def check_decisions(path: Path, ledger: Ledger) -> Decided:
    """The ledger's note of this very file.

    Raises:
        UsageError: it is no such file. LedgerError: it is not as it was, or of another ledger.
    """
    told = hashlib.sha256()
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            first = json.loads(file.readline(_PIECE))
            ours = first["privsynth-decisions"] == FORMAT and isinstance(first["hold"], str)
            file.seek(0)
            while piece := file.read(_PIECE):
                told.update(piece)
    except OSError as fault:
        raise UsageError(f"cannot be read ({fault.strerror})", where=str(path), mend="check path and rights") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        ours = False
    if not ours:
        raise UsageError("not the receipts of a run", where=str(path), mend="name a file that a run has written")
    for note in ledger.decided():
        if note.sha256 == told.hexdigest():
            return note
    raise LedgerError(
        "the ledger's second log notes no such file: it was altered after its run, or is of another ledger",
        where=str(path),
        mend="ask who keeps it for the file as it was; a run that was cut off before its fit leaves one without a note",
    )
