"""A witness with a key of its own: what it has taken it signs, so that nobody else can pass for it.

The file alone is memory, and an empty one is a witness too, made by anybody at any time. A key is not: whoever names it
in a policy takes the word of this witness alone. What the key has signed is noted beside it, in a *mark* that it signs
itself: of which ledger, and how long its logs were. So a memory that was lost, emptied, put back to an earlier day or
swapped for one that does not go on from there, however long, ends this witness loudly, and a key that has signed for
one ledger signs for no other. The ledger's own key is told with the first checkpoint, and stands in the mark: what that
one has not signed is refused from then on. Of a mark without it the owner names it.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from privsynth.documents import canonical, open_regular
from privsynth.errors import IntegrityError, LedgerError, StorageError
from privsynth.ledger.checkpoint import Checkpoint, introduced, origin_of
from privsynth.ledger.entry import LogName
from privsynth.ledger.log import LOGS
from privsynth.ledger.seal import flush_folder, sealed, unsealed
from privsynth.ledger.witness import WRITTEN, check_step
from privsynth.ledger.witness_file import FileWitness
from privsynth.signing import WITNESS_ROLE, Cosigner, SigningKey, TrustedKey, cosign
from privsynth.signing.files import read_small, write_new
from privsynth.signing.keys import KEY_MODE
from privsynth.signing.note import note_lines

_KIND = "witness's mark"
_MARK_BYTES = 4096
_LEDGER_KEY = "ledger key"
_ID = re.compile(r"[0-9a-f]{32}")
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
            if note is None:
                return None
            line = self._signed(log, note)
            self._noted(log, note)
            return note + line

    def accept(self, log: LogName, note: str, *, old: int, proof: Sequence[bytes]) -> str:
        """See :meth:`privsynth.ledger.witness.Witness.accept`."""
        with self._alone():
            check_step(self._held(log), note, old=old, proof=proof)
            line = self._signed(log, note)  # first, so that nothing is stored which could not be signed
            self.memory.accept(log, note, old=old, proof=proof)
            self._noted(log, note)
            return line

    def pin(self, public: bytes) -> None:
        """Take from now on only what the ledger's key ``public`` (32 bytes) has signed.

        Raises:
            LedgerError: what is held is not signed by it, or another key was named before.
        """
        with self._alone():
            said = self._said()
            if said.get(_LEDGER_KEY, public.hex()) != public.hex():
                raise self._refused("it was told of another key of the ledger", "a ledger has one key; name that one")
            for log in LOGS:
                if (note := self._held(log)) is not None:
                    Checkpoint.read(note, origin=Checkpoint.parse(note).origin, public=public, where="witness")
            self._set_marks({**said, _LEDGER_KEY: public.hex()})

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
        """What the memory holds, which must be what was signed, or go on from there."""
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
        if held.size > signed.size and Checkpoint.parse(self.memory.since(log, marks[log])) != held:
            what = f"its memory has {held.size} entries of the {log} log, which do not go on from the {signed.size}"
            raise self._ended(f"{what} that its key has signed")
        return note

    def _signed(self, log: LogName, note: str) -> str:
        """The signature line under a checkpoint that goes on from what was signed."""
        self._of_ledger(log, note)
        return cosign(note, name=self.name, key=self.key, seconds=int(self.seconds()))

    def _noted(self, log: LogName, note: str) -> None:
        """The mark says so, before the signature is given to anybody."""
        said, told = self._said(), note.partition("\n\n")[0] + "\n"
        if said.get(log) != told:
            public = self._ledger_key(note)
            self._set_marks({**said, log: told, **({} if public is None else {_LEDGER_KEY: public.hex()})})

    def _ledger_key(self, note: str) -> bytes | None:
        """The ledger's key: as the mark says, else as told with the first checkpoint; None where nobody said it."""
        said = self._said()
        return bytes.fromhex(said[_LEDGER_KEY]) if _LEDGER_KEY in said else None if said else introduced(note)

    def _of_ledger(self, log: LogName, note: str) -> None:
        """Refuse what is no checkpoint that a ledger signed, or not the one for which the key has signed."""
        now = Checkpoint.parse(note, where="witness")
        ledger = now.origin.removesuffix("" if log == "main" else f"/{log}").rpartition("/")[2]
        try:
            signed = any(line.name == now.origin for line in note_lines(note, where="witness")[1])
        except IntegrityError:
            signed = False
        if not (signed and now.size and _ID.fullmatch(ledger) and now.origin == origin_of(ledger, log)):
            raise self._refused(f"not a checkpoint of the {log} log of a ledger, signed by it", "send one that is")
        if (public := self._ledger_key(note)) is not None:
            Checkpoint.read(note, origin=now.origin, public=public, where="witness")
        self._of_one(log, now)

    def _of_one(self, log: LogName, checkpoint: Checkpoint) -> None:
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
        """The text of the newest checkpoint of each log that the key has signed."""
        said = self._said()
        return {log: said[log] for log in LOGS if log in said}

    def _said(self) -> dict[str, str]:
        """What the mark says: of each log, and of the ledger's key, in hex, if it was named.

        Raises:
            LedgerError: the mark is not the key's own.
        """
        if not os.path.lexists(self._mark):
            return {}
        try:
            raw, _ = read_small(self._mark, limit=_MARK_BYTES)
            said = json.loads(unsealed(_KIND, raw, public=self.key.raw_public, where=str(self._mark)))
            return {name: str(said[name]) for name in (*LOGS, _LEDGER_KEY) if name in said}
        except (OSError, ValueError, LedgerError):
            raise self._ended("what its key has signed cannot be read") from None

    def _set_marks(self, marks: Mapping[str, str]) -> None:
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

    def _refused(self, what: str, mend: str) -> LedgerError:
        return LedgerError(f"the witness refuses: {what}", where="witness", mend=mend)

    def _fault(self, what: str) -> StorageError:
        return StorageError(what, where=str(self.path), mend=WRITTEN)
