"""Checkpoints: what a log holds, in three signed lines (c2sp.org/tlog-checkpoint).

    privsynth.dev/ledger/<id>
    1234
    base64 of the root

signed as a note (:mod:`privsynth.signing.note`) under the origin as the key's name. Signing is
deterministic: a tree of one size and root has one checkpoint. A witness that is new is told the key too, in one line
more, of a kind that C2SP lets everybody pass over.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64decode, b64encode
from dataclasses import dataclass

from privsynth.errors import IntegrityError, LedgerError
from privsynth.ledger.entry import LogName
from privsynth.signing import SigningKey, open_note, sign_note
from privsynth.signing.note import note_line, note_lines

_TEXT = re.compile(r"([^\n]+)\n(0|[1-9][0-9]{0,15})\n([A-Za-z0-9+/]{43}=)\n\Z")
_KEY_LINE = b"\xffprivsynth ledger key"


@dataclass(frozen=True)
class Checkpoint:
    """The size and root of a log.

    Attributes:
        origin: which log; also the name under which its key signs.
        size: how many entries it has.
        root: of their Merkle tree, 32 bytes.
    """

    origin: str
    size: int
    root: bytes

    def sign(self, key: SigningKey) -> str:
        """The signed note."""
        text = f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"
        return sign_note(text, name=self.origin, key=key)

    @classmethod
    def read(cls, note: str, *, origin: str, public: bytes, where: str = "checkpoint") -> Checkpoint:
        """The checkpoint in ``note``, of the log ``origin``, signed by the key ``public`` (32 bytes).

        Raises:
            LedgerError: another log's, another key's, altered, or no checkpoint at all.
        """
        try:
            checkpoint = cls.parse(open_note(note, name=origin, public=public, where=where), where=where)
        except IntegrityError as fault:
            raise LedgerError(fault.what, where=where, mend=fault.mend) from None
        if checkpoint.origin != origin:
            raise LedgerError(
                f"a checkpoint of {checkpoint.origin[:80]!a}, not of {origin}", where=where, mend="name the right file"
            )
        return checkpoint

    @classmethod
    def parse(cls, text: str, *, where: str = "checkpoint") -> Checkpoint:
        """The checkpoint that ``text`` says, signed or not: the signature is not looked at.

        Raises:
            LedgerError: not three lines of a checkpoint.
        """
        found = _TEXT.match(text.partition("\n\n")[0] + "\n" if "\n\n" in text else text)
        root = b"" if found is None else b64decode(found[3])
        if found is None or b64encode(root).decode() != found[3]:
            raise LedgerError("not a checkpoint of a log", where=where, mend="name the right file; it has three lines")
        return cls(found[1], int(found[2]), root)


def introducing(note: str, public: bytes) -> str:
    """A signed checkpoint with a line more, which says the key that signed it: ``public``, 32 bytes."""
    return note + _key_line(Checkpoint.parse(note).origin, public)


def introduced(note: str) -> bytes | None:
    """The key that :func:`introducing` put under a checkpoint; None where it did not.

    Raises:
        LedgerError: it is there, and did not sign the checkpoint.
        IntegrityError: no note.
    """
    origin = Checkpoint.parse(note).origin
    for line in note_lines(note)[1]:
        if line.written == _key_line(origin, line.raw[4:]):
            Checkpoint.read(note, origin=origin, public=line.raw[4:])
            return line.raw[4:]
    return None


def _key_line(origin: str, public: bytes) -> str:
    return note_line(origin, hashlib.sha256(origin.encode() + b"\n" + _KEY_LINE + public).digest()[:4] + public)


def origin_of(ledger: str, log: LogName = "main") -> str:
    """The origin of a log of the ledger with this id. The second log's is never published."""
    return f"privsynth.dev/ledger/{ledger}" + ("" if log == "main" else f"/{log}")
