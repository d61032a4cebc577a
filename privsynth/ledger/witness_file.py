"""A witness that is a file: lines that are only ever added, each of which proves that it extends the one before it."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from privsynth.documents import open_regular, read_bytes
from privsynth.errors import LedgerError, StorageError
from privsynth.ledger.entry import LogName
from privsynth.ledger.witness import WRITTEN, check_step

_BEGINS = b'{"checkpoint": "'


@dataclass(frozen=True)
class _Read:
    """What was read of a witness's file: up to which byte, the newest checkpoint there, whether a torn line follows,
    and whether lines are of something else."""

    upto: int = 0
    held: str | None = None
    torn: bool = False
    odd: bool = False

    def after(self, line: bytes) -> _Read:
        """With one line more."""
        if not line.endswith(b"\n"):  # cut off by a crash, or being written: what follows begins a new one
            return replace(self, torn=True, odd=self.odd or not _ours(line))
        held = _stepped(self.held, line)
        cut = _ours(line) and not line.endswith(b"}\n")
        return _Read(self.upto + len(line), held, odd=self.odd or (held is None and not cut))


@dataclass(frozen=True)
class FileWitness:
    """A file for each log, of JSON lines that are only ever added: ``path``, and ``path.attempts``.

    Its owner makes both, empty, once. Each line holds a checkpoint and the proof that it extends the one before it, and
    the newest is the end of that chain: a line that was taken before and is added once more extends nothing any more,
    and is passed over. No part of the file shows that no larger one stands elsewhere, so it is read whole, once for
    each value of this class, and then from where it ended.

    With ``marked`` it is read whole once for all: how far lies in a file beside it, ``path.main.read``. That is for an
    account which alone may write there, as ``privsynth ledger witness`` has.

    It protects as far as whoever writes to the ledger cannot take lines away again: let another account own it and run
    :class:`CommandWitness`. An append-only mark (``chattr +a``) keeps lines from being taken away by everybody who is
    not root, so that nothing is forgotten; but whoever may add lines can add one that shuts the ledger.
    """

    path: Path
    marked: bool = False
    _read: dict[tuple[LogName, int, int], _Read] = field(default_factory=dict, repr=False, compare=False)

    def head(self, log: LogName) -> str | None:
        """See :meth:`Witness.head`."""
        with self._opened(log, os.O_RDONLY) as file:
            return self._newest(log, file).held

    def since(self, log: LogName, note: str) -> str:
        """The end of the chain that goes on from the checkpoint ``note``, whatever the lines before it say; ``note``
        itself where no line extends it. All lines are read."""
        with self._opened(log, os.O_RDONLY) as file:
            held: str | None = note
            for line in file:
                held = _stepped(held, line) if line.endswith(b"\n") else held
            return held or note

    def accept(self, log: LogName, note: str, *, old: int, proof: Sequence[bytes]) -> str:
        """See :meth:`Witness.accept`: a file has no key, and signs nothing."""
        with self._opened(log, os.O_RDWR | os.O_APPEND) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            read = self._newest(log, file)
            if read.torn:  # ended first: it may lack nothing but its end, and then it is what must be extended
                self._add(file, b"\n")
                read = self._newest(log, file)
            if not check_step(read.held, note, old=old, proof=proof):
                return ""
            line = json.dumps({"checkpoint": note, "old": old, "proof": [step.hex() for step in proof]})
            self._add(file, f"{line}\n".encode())
            if self._newest(log, file).held != note:
                raise self._fault("the witness's file does not hold what was just written")
        return ""

    def _add(self, file: Any, raw: bytes) -> None:
        try:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        except OSError as fault:
            raise self._fault(f"the witness's file cannot be written ({fault.strerror})") from None

    def _opened(self, log: LogName, flags: int) -> Any:
        path = self.path if log == "main" else self.path.with_name(f"{self.path.name}.{log}")
        try:
            return os.fdopen(open_regular(path, flags), "r+b" if flags & os.O_RDWR else "rb")
        except OSError as fault:
            raise StorageError(
                f"the witness's file cannot be opened ({fault.strerror})",
                where=str(path),
                mend=f"its owner makes it once, empty, and lets it be added to: touch {path}",
            ) from None

    def _newest(self, log: LogName, file: Any) -> _Read:
        """The end of the chain, read on from where it was read before."""
        now = os.fstat(file.fileno())
        before = self._read.get((log, now.st_dev, now.st_ino)) or self._mark(log)
        read = replace(before, torn=False)
        if now.st_size < read.upto:
            raise self._fault("the witness's file is shorter than it was: lines were taken away")
        file.seek(read.upto)
        for line in file:
            read = read.after(line)
        if read.held is None and read.odd:
            raise self._fault("the witness's file holds no checkpoint")
        self._read[log, now.st_dev, now.st_ino] = read
        if self.marked and read.upto > before.upto:
            self._set_mark(log, read)
        return read

    def _mark(self, log: LogName) -> _Read:
        """How far the file was read by whoever read it last; from its beginning where nobody says."""
        try:
            said = json.loads(read_bytes(self._marks(log), error=StorageError, kind="mark")) if self.marked else {}
            return _Read(int(said["upto"]), str(said["checkpoint"]))
        except (StorageError, ValueError, KeyError, TypeError):
            return _Read()

    def _set_mark(self, log: LogName, read: _Read) -> None:
        path = self._marks(log)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        with suppress(OSError):  # without it the next one reads from further back
            draft.write_text(json.dumps({"upto": read.upto, "checkpoint": read.held}), "utf-8")
            draft.replace(path)

    def _marks(self, log: LogName) -> Path:
        return self.path.with_name(f"{self.path.name}.{log}.read")

    def _fault(self, what: str) -> StorageError:
        return StorageError(what, where=str(self.path), mend=WRITTEN)


def _ours(line: bytes) -> bool:
    """Whether a line begins as those of a witness do, as far as it goes."""
    return line.startswith(_BEGINS) or _BEGINS.startswith(line.removesuffix(b"\n"))


def _stepped(held: str | None, line: bytes) -> str | None:
    """The newest checkpoint after a line of a witness's file: the line's own only if it extends the one before it."""
    try:
        said = json.loads(line)
        note, proof = str(said["checkpoint"]), [bytes.fromhex(step) for step in said["proof"]]
        return note if check_step(held, note, old=said["old"], proof=proof) else held
    except (ValueError, KeyError, TypeError, RecursionError, LedgerError):
        return held
