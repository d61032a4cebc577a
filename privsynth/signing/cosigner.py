"""Cosignatures of C2SP (c2sp.org/tlog-cosignature): what somebody else signs of a log's checkpoint, and when.

    — name base64(key id ‖ time, 8 bytes ‖ signature)

The Ed25519 signature is over two lines, ``cosignature/v1`` and ``time`` with the seconds since 1970, and the text of
the note. The key id is the first four bytes of SHA-256(name ‖ 0x0A ‖ 0x04 ‖ public key). Who cosigns is written on one
line, ``name+key id in hex+base64(0x04 ‖ public key)``: a *vkey* (c2sp.org/signed-note).
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64decode, b64encode
from dataclasses import dataclass

from privsynth.errors import IntegrityError, KeyFileError, UsageError
from privsynth.signing.keys import SigningKey
from privsynth.signing.note import check_signature, note_line, note_lines

COSIGNER_LINE = r"[^\s+]{1,200}\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}"
_TIMESTAMPED = b"\x04"
_TIME, _SIGNATURE = 8, 64  # bytes
_LATEST = 2**63 - 1


@dataclass(frozen=True)
class Cosigned:
    """A cosignature that holds.

    Attributes:
        name: whose it is.
        seconds: when it was given, as who gave it says: since 1970, UTC.
        line: the signature line, with its end.
    """

    name: str
    seconds: int
    line: str


@dataclass(frozen=True)
class Cosigner:
    """Who cosigns: a name without blanks or plus signs, and an Ed25519 public key of 32 bytes."""

    name: str
    public: bytes

    @classmethod
    def read(cls, line: str) -> Cosigner:
        """The cosigner that :attr:`line` wrote.

        Raises:
            KeyFileError: something else, or a key id that is not this key's.
        """
        if re.fullmatch(COSIGNER_LINE, line):
            name, _, key = line.split("+", 2)
            raw = b64decode(key)
            found = cls(name, raw[1:])
            if found.line == line:
                return found
        raise KeyFileError(
            "not the line of a witness's key",
            where="witness key",
            mend="write it as `privsynth ledger witness FILE key` prints it: name+8 hex digits+44 characters",
        )

    @property
    def line(self) -> str:
        """It on one line, as policies name it."""
        key = b64encode(_TIMESTAMPED + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{key}"

    @property
    def key_id(self) -> bytes:
        """The four bytes by which a signature line names its key."""
        return hashlib.sha256(self.name.encode() + b"\n" + _TIMESTAMPED + self.public).digest()[:4]

    def cosigned(self, note: str, *, where: str = "note") -> Cosigned:
        """Its cosignature under ``note``; lines of others are passed over.

        Raises:
            IntegrityError: there is none, there are two, or it does not hold.
        """
        text, lines = note_lines(note, where=where)
        own = [line for line in lines if line.name == self.name and line.raw[:4] == self.key_id]
        raw = own[0].raw[4:] if len(own) == 1 else b""
        seconds = int.from_bytes(raw[:_TIME], "big")
        if len(raw) != _TIME + _SIGNATURE or not 0 < seconds <= _LATEST:
            raise IntegrityError(
                f"not cosigned by {self.name}", where=where, mend="ask that witness, and no other, to sign it"
            )
        check_signature(raw[_TIME:], _said(text, seconds), public=self.public, where=where)
        return Cosigned(self.name, seconds, own[0].written)


def cosign(note: str, *, name: str, key: SigningKey, seconds: int) -> str:
    """The signature line, with its end, by which ``key`` says under ``name`` that at ``seconds`` this was the newest
    checkpoint of its log that it had seen. Whose checkpoint it is was checked before.

    Raises:
        UsageError: a time that cannot be written.
        IntegrityError: no note.
    """
    if not 0 < seconds <= _LATEST:
        raise UsageError("no time at which something was signed", where="cosignature", mend="set the clock")
    text, _ = note_lines(note, where="note")
    raw = seconds.to_bytes(_TIME, "big") + key.sign(_said(text, seconds))
    return note_line(name, Cosigner(name, key.raw_public).key_id + raw)


def _said(text: str, seconds: int) -> bytes:
    return f"cosignature/v1\ntime {seconds}\n{text}".encode()
