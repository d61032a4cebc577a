"""Signed notes of C2SP (c2sp.org/signed-note): a text, a blank line, and a line for each signature.

    text, its last line ended
    (blank line)
    — name base64(key id ‖ signature)

The key id is the first four bytes of SHA-256(name ‖ 0x0A ‖ 0x01 ‖ public key); 0x01 is Ed25519.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64decode, b64encode
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from privsynth.errors import IntegrityError, UsageError
from privsynth.signing.keys import SigningKey

MAX_NOTE = 64 * 1024
_NAME = re.compile(r"[^\s+]{1,200}\Z")
_LINE = re.compile("— ([^ +\n]+) ([A-Za-z0-9+/]+=*)\n")
_ED25519 = b"\x01"


def note_key_id(name: str, public: bytes) -> bytes:
    """The four bytes by which a signature line names its key."""
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:4]


def sign_note(text: str, *, name: str, key: SigningKey) -> str:
    """``text`` with a signature line of ``key`` under ``name``: the same bytes every time.

    Raises:
        UsageError: a text that does not end its last line, or a name with blanks or a plus sign.
    """
    if not text.endswith("\n") or "\n\n" in text or not _NAME.match(name):
        raise UsageError("a note is lines of text, signed under a name without blanks", where="note", mend="mend it")
    return f"{text}\n{note_line(name, note_key_id(name, key.raw_public) + key.sign(text.encode()))}"


def note_line(name: str, raw: bytes) -> str:
    """A signature line of ``raw``, key id and signature, with its end.

    Raises:
        UsageError: a name with blanks or a plus sign.
    """
    if not _NAME.match(name):
        raise UsageError("whoever signs a note has a name without blanks or plus signs", where="note", mend="mend it")
    return f"— {name} {b64encode(raw).decode()}\n"


@dataclass(frozen=True)
class NoteLine:
    """A signature line: whose it says it is, its bytes (key id and signature), and the line as it was written."""

    name: str
    raw: bytes
    written: str


def note_lines(note: str, *, where: str = "note") -> tuple[str, tuple[NoteLine, ...]]:
    """(text, signature lines) of a note, none of them believed yet.

    Raises:
        IntegrityError: not a note.
    """
    text, gap, lines = note.rpartition("\n\n")
    found = list(_LINE.finditer(lines))
    if len(note) > MAX_NOTE or not gap or "\n\n" in f"{text}\n" or "".join(m.group() for m in found) != lines:
        raise _unsigned(where)
    return text + "\n", tuple(NoteLine(m[1], _bytes(m[2], where=where), m.group()) for m in found)


def open_note(note: str, *, name: str, public: bytes, where: str = "note") -> str:
    """The text of a note that the Ed25519 key ``public`` (32 bytes) signed under ``name``.

    Lines of other keys are passed over, as C2SP asks; of this key there must be one, and it must be valid.

    Raises:
        IntegrityError: anything else.
    """
    text, lines = note_lines(note, where=where)
    own = [line.raw[4:] for line in lines if line.name == name and line.raw[:4] == note_key_id(name, public)]
    if len(own) != 1:
        raise _unsigned(where)
    check_signature(own[0], text.encode(), public=public, where=where)
    return text


def check_signature(signature: bytes, data: bytes, *, public: bytes, where: str) -> None:
    """Refuse a signature over ``data`` that is not of the Ed25519 key ``public``.

    Raises:
        IntegrityError: it is not.
    """
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, data)
    except (InvalidSignature, ValueError):
        raise _unsigned(where) from None


def _bytes(text: str, *, where: str) -> bytes:
    try:
        raw = b64decode(text, validate=True)
    except ValueError:
        raise _unsigned(where) from None
    if b64encode(raw).decode() != text:
        raise _unsigned(where)
    return raw


def _unsigned(where: str) -> IntegrityError:
    return IntegrityError(
        "not signed by the key that it must be signed by, or altered",
        where=where,
        mend="check which key and which file this is; get the file again from its owner",
    )
