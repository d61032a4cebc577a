"""A witness with a key of its own: what it has taken it signs, so that nobody else can pass for it.

The file alone is memory, and an empty one is a witness too, made by anybody at any time. A key is not: whoever names it
in a policy takes the word of this witness alone. What the key has signed is noted beside it, in a *mark* that it signs
itself: of which ledger, and how long its logs were. So a memory that was lost, emptied or put back to an earlier day
ends this witness loudly, and a key that has signed for one ledger signs for no other.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from privsynth.documents import canonical, open_regular
from privsynth.errors import LedgerError, StorageError
from privsynth.ledger.checkpoint import Checkpoint, origin_of
from privsynth.ledger.entry import LogName
from privsynth.ledger.log import LOGS
from privsynth.ledger.seal import flush_folder, sealed, unsealed
from privsynth.ledger.witness import WRITTEN
from privsynth.ledger.witness_file import FileWitness
from privsynth.signing import WITNESS_ROLE, Cosigner, SigningKey, TrustedKey, cosign
from privsynth.signing.files import read_small, write_new
from privsynth.signing.keys import KEY_MODE

_KIND = "witness's mark"
_MARK_BYTES = 4096
_GONE = (
    "put the newest memory back from its backup; if it is lost, the ledger takes a witness with a new key, which a "
    "changed policy names"
)


@dataclass(frozen=True)
class KeyedWitness:
    """A witness over the file ``memory``, which signs with ``key``, read from ``path``, under ``name``.

    One question is answered at a time. ``seconds`` is the time, since 1970; for tests.
    """

    memory: FileWitness
    key: SigningKey = field(repr=False)
    path: Path
    name: str
    seconds: Callable[[], float] = field(default=time.time, repr=False)

    def __post_init__(self) -> None:
        _ = self.trusted  # a name that a trust file can hold

    @property
    def trusted(self) -> TrustedKey:
        """It, as a trust file lists it; a KeyFileError where the name has blanks or plus signs."""
        return self.key.public(name=self.name, roles=(WITNESS_ROLE,))

    @property
    def cosigner(self) -> Cosigner:
        """Who it is, as a policy names it."""
        return Cosigner(self.name, self.key.raw_public)

    def head(self, log: LogName) -> str | None:
        """See :meth:`privsynth.ledger.witness.Witness.head`: signed now."""
        with self._alone():
            note = self._held(log)
            return None if note is None else note + self._signed(log, note)

    def accept(self, log: LogName, note: str, *, old: int, proof: Sequence[bytes]) -> str:
        """See :meth:`privsynth.ledger.witness.Witness.accept`."""
        with self._alone():
            self._held(log)
            self._of_one(log, Checkpoint.parse(note, where="witness"))
            self.memory.accept(log, note, old=old, proof=proof)
            return self._signed(log, note)

    # --- steps ------------------------------------------------------------------------------------

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time: what is signed is the newest that was taken."""
        try:
            handle = open_regular(self.path)
        except OSError as fault:
            raise self._fault(f"the witness's key cannot be opened ({fault.strerror})") from None
        with os.fdopen(handle, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _held(self, log: LogName) -> str | None:
        """What the memory holds, which must not be less than what was signed."""
        note, marks = self.memory.head(log), self._marks()
        if log not in marks:
            return note
        signed = Checkpoint.parse(marks[log], where="witness")
        held = None if note is None else Checkpoint.parse(note, where="witness")
        if held is None or held.origin != signed.origin or held.size < signed.size:
            size = 0 if held is None else held.size
            raise self._ended(f"its key has signed {signed.size} entries of the {log} log, and its memory has {size}")
        if held.size == signed.size and held.root != signed.root:
            raise self._ended(f"its key has signed other entries of the {log} log than its memory has")
        return note

    def _signed(self, log: LogName, note: str) -> str:
        """The signature line under what the memory holds; the mark is written first."""
        now, marks = Checkpoint.parse(note, where="witness"), self._marks()
        self._of_one(log, now)
        told = note.partition("\n\n")[0] + "\n"
        if marks.get(log) != told:
            self._set_marks({**marks, log: told})
        return cosign(note, name=self.name, key=self.key, seconds=int(self.seconds()))

    def _of_one(self, log: LogName, checkpoint: Checkpoint) -> None:
        """Refuse another ledger than the one for which the key has signed."""
        for other, told in self._marks().items():
            ledger = Checkpoint.parse(told, where="witness").origin.removesuffix(f"/{other}").rpartition("/")[2]
            if checkpoint.origin != origin_of(ledger, log):
                raise LedgerError(
                    f"this key has signed for another ledger ({ledger}), and signs for one only",
                    where="witness",
                    mend="put that ledger back in its place; a new ledger takes a witness with a key of its own",
                )

    # --- what was signed --------------------------------------------------------------------------

    @property
    def _mark(self) -> Path:
        return self.path.with_name(f".{self.path.name}.{self.key.keyid[:16]}.mark")

    def _marks(self) -> dict[LogName, str]:
        """The text of the newest checkpoint of each log that the key has signed.

        Raises:
            LedgerError: the mark is not the key's own.
        """
        if not os.path.lexists(self._mark):
            return {}
        try:
            raw, _ = read_small(self._mark, limit=_MARK_BYTES)
            said = json.loads(unsealed(_KIND, raw, public=self.key.raw_public, where=str(self._mark)))
            return {log: str(said[log]) for log in LOGS if log in said}
        except (OSError, ValueError, LedgerError):
            raise self._ended("what its key has signed cannot be read") from None

    def _set_marks(self, marks: Mapping[LogName, str]) -> None:
        draft = self._mark.with_name(f"{self._mark.name}.new")
        draft.unlink(missing_ok=True)  # of a process that was killed
        write_new(draft, sealed(_KIND, canonical(marks), self.key), mode=KEY_MODE)
        try:
            draft.replace(self._mark)
            flush_folder(self._mark.parent)
        except OSError as fault:
            raise self._fault(f"the mark beside the witness's key cannot be written ({fault.strerror})") from None

    def _ended(self, what: str) -> LedgerError:
        return LedgerError(f"this witness does not remember what it must: {what}", where=str(self.path), mend=_GONE)

    def _fault(self, what: str) -> StorageError:
        return StorageError(what, where=str(self.path), mend=WRITTEN)
