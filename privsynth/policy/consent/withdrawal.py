"""Withdrawals written into a register: lines added at its end, durably, and no other byte touched."""

from __future__ import annotations

import csv
import fcntl
import io
import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from privsynth.documents import open_regular
from privsynth.errors import StorageError, UsageError
from privsynth.policy.consent.register import ANY, read_register


def withdraw(
    register: str | Path, subjects: Sequence[str], *, purpose: str = ANY, recipient: str = ANY, now: datetime
) -> int:
    """Add one line a subject that withdraws what she granted, from ``now`` on. Returns how many lines were added.

    The register is locked while it is written; a write that fails leaves it as it was, and one that a crash cuts
    short makes the next reading of it an error, never a withdrawal that is lost without a word.

    Args:
        register: the file; it must be there and whole.
        subjects: ids as the register has them, each once.
        purpose: a purpose of the policy, or ``*``: everything. A line for everything denies the subject until it is
            taken out again, so a new grant for one purpose does not lift it.
        recipient: a recipient of the policy, or ``*``: all.
        now: with a time zone.

    Raises:
        ConsentError: the register cannot be read.
        UsageError: an id, purpose or recipient that is no line of text, or a moment without zone.
        StorageError: it cannot be written.
    """
    if now.tzinfo is None:
        raise UsageError("`now` has no time zone", where="withdraw", mend="pass datetime.now(UTC)")
    path = Path(register)
    named = [_cell(subject, "a subject's id") for subject in subjects]
    cells = {
        "purpose": _cell(purpose, "the purpose"),
        "recipient": _cell(recipient, "the recipient"),
        "status": "withdrawn",
        "from": now.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "until": "",
    }
    read_register(path)
    try:
        handle = open_regular(path, os.O_RDWR | os.O_APPEND)
    except OSError as wrong:
        raise _unwritable(path, wrong) from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        before = os.fstat(handle).st_size
        raw = os.pread(handle, before, 0)
        lines = _lines(raw, named, cells)
        try:
            _append(handle, lines)
        except OSError as wrong:
            with suppress(OSError):
                os.ftruncate(handle, before)
            raise _unwritable(path, wrong) from None
    finally:
        os.close(handle)
    _keep_folder(path)
    return len(named)


def _lines(raw: bytes, subjects: Sequence[str], cells: dict[str, str]) -> bytes:
    """The lines in the order of the file's own header, after a line break where the last line lacks one."""
    first = raw.decode("utf-8-sig").splitlines()[0]
    header = next(csv.reader([first]))
    ending = "\r\n" if raw.endswith(b"\r\n") else "\n"
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator=ending)
    for subject in subjects:
        row = {"subject": subject, **cells}
        writer.writerow([row[name] for name in header])
    return (b"" if raw.endswith(b"\n") else ending.encode()) + out.getvalue().encode()


def _append(handle: int, lines: bytes) -> None:
    written = os.write(handle, lines)
    if written != len(lines):
        raise OSError(28, "no room for the whole line")
    os.fsync(handle)


def _keep_folder(path: Path) -> None:
    with suppress(OSError):  # not every file system syncs folders; the file itself is synced
        folder = os.open(path.resolve().parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _cell(text: str, what: str) -> str:
    if not text or text != text.strip() or not text.isprintable() or len(text) > 1000:
        raise UsageError(
            f"{what} must be one line of text without blanks at its ends",
            where="withdraw",
            mend="write it as it stands",
        )
    return text


def _unwritable(path: Path, wrong: OSError) -> StorageError:
    return StorageError(
        f"the register cannot be written ({wrong.strerror})",
        where=str(path),
        mend="nobody was withdrawn: make room or give yourself the right, and run it again",
    )
