"""age: files that only the holder of a key can open (age-encryption.org/v1). The only importer of pyrage.

A recipient's key is public text, ``age1`` and 58 characters; an identity file holds its secret. Both are the forms of
the age tool itself, so either side may use that tool. Post-quantum keys, plugins and passphrases are other forms.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from privsynth.errors import BundleError, KeyFileError, MissingExtra
from privsynth.signing.files import read_small, reason, write_new
from privsynth.signing.keys import KEY_MODE

AGE_KEY = r"age1[02-9ac-hj-np-z]{58}"
"""What a recipient's key looks like, as a pattern; :func:`check_age_key` looks at its checksum too."""
MAX_HEADER = 64 * 1024
"""Bytes within which the header of a file must end."""

_PREFIX = "age"
_HEADER = re.compile(
    rb"age-encryption\.org/v1\n"
    rb"(?:-> [!-~]+(?: [!-~]+)*\n(?:[A-Za-z0-9+/]{64}\n)*[A-Za-z0-9+/]{0,63}\n)+"
    rb"--- [A-Za-z0-9+/]{43}\n"
)
"""A whole header; of one that does not end pyrage would hold all that follows."""
_LETTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_CODE = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECK, _SPARE = 6, 4  # letters of the checksum; bits that 52 letters hold beyond 32 bytes
_FIELD = 2**255 - 19
_MAX_IDENTITY = 64 * 1024
_SECRET = "AGE-SECRET-KEY-1"


class Target(Protocol):
    """Where plain bytes go, in order."""

    def write(self, data: bytes, /) -> int:
        """Take all of ``data``."""
        ...


def check_age() -> None:
    """Return if files can be encrypted here.

    Raises:
        MissingExtra: pyrage is not installed.
    """
    if find_spec("pyrage") is None:
        raise MissingExtra("sealing needs a package that is not installed: pyrage", mend="pip install 'privsynth[age]'")


def check_age_key(text: str) -> str:
    """``text``, if it is the key of a recipient: X25519 in Bech32 (BIP 173), as age writes it.

    Raises:
        KeyFileError: another form, a wrong checksum, or a number that is no key.
    """
    mend = "copy it as its holder's `privsynth keys receiving` or `age-keygen` printed it"
    values = [_LETTERS.find(letter) for letter in text.removeprefix(f"{_PREFIX}1")]
    if not text.startswith(f"{_PREFIX}1") or len(values) != 58 or -1 in values:
        raise KeyFileError("a key is age1 and 58 small letters and digits", mend=mend)
    head = [ord(letter) >> 5 for letter in _PREFIX] + [0] + [ord(letter) & 31 for letter in _PREFIX]
    number = 0
    for value in values[:-_CHECK]:
        number = number << 5 | value
    if _checksum([*head, *values]) != 1 or number % (1 << _SPARE):
        raise KeyFileError("the key's checksum is wrong: a letter of it was changed", mend=mend)
    raw = (number >> _SPARE).to_bytes(32, "big")
    try:
        canonical = int.from_bytes(raw, "little") < _FIELD
        X25519PrivateKey.from_private_bytes(b"\1" * 32).exchange(X25519PublicKey.from_public_bytes(raw))
    except ValueError:  # a point of small order: whatever is encrypted to it, everybody can read
        canonical = False
    if not canonical:
        raise KeyFileError("nobody can hold this key: it is no public key of X25519", mend=mend)
    return text


def _checksum(values: list[int]) -> int:
    """The remainder of BIP 173; 1 of a text whose checksum is right."""
    rest = 1
    for value in values:
        top, rest = rest >> 25, (rest & 0x1FFFFFF) << 5 ^ value
        for bit, part in enumerate(_CODE):
            rest ^= part if top >> bit & 1 else 0
    return rest


@dataclass(frozen=True, repr=False, eq=False)
class Identity:
    """A receiver's secret keys in memory. Says nothing of itself but its public ``keys``."""

    keys: tuple[str, ...]
    secrets: tuple[Any, ...] = field(repr=False)

    def __repr__(self) -> str:
        return f"Identity({', '.join(self.keys)})"


def new_identity(path: str | Path) -> str:
    """Draw a receiver's key and write it to ``path`` in age's own form: a new file, mode 0600.

    Returns:
        Its public part, ``age1...``, for the sender's policy.

    Raises:
        StorageError: the file exists or cannot be written. MissingExtra: pyrage is not installed.
    """
    check_age()
    from pyrage import x25519

    secret = x25519.Identity.generate()
    key = str(secret.to_public())
    made = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    write_new(Path(path), f"# created: {made}\n# public key: {key}\n{secret}\n".encode(), mode=KEY_MODE)
    return key


def load_identity(path: str | Path) -> Identity:
    """Read an identity file: one or more lines ``AGE-SECRET-KEY-1...``; empty lines and ``#`` are passed over.

    Raises:
        KeyFileError: no such file, readable by others, or another line. No part of the file is told.
        MissingExtra: pyrage is not installed.
    """
    check_age()
    from pyrage import IdentityError, x25519

    where = str(path)
    try:
        raw, mode = read_small(Path(path), limit=_MAX_IDENTITY)
    except (OSError, ValueError) as fault:
        mend = "check the path; `privsynth keys receiving` makes one"
        raise KeyFileError(f"the identity file cannot be read ({reason(fault)})", where=where, mend=mend) from None
    if mode not in (KEY_MODE, 0o400):
        raise KeyFileError(
            f"the identity file has mode {mode:04o}; {KEY_MODE:04o} or 0400 keeps it to its owner",
            where=where,
            mend=f"chmod 600 {path}",
        )
    lines = [line.strip() for line in raw.decode("ascii", errors="replace").splitlines()]
    found = [line for line in lines if line and not line.startswith("#")]
    try:
        if not found or not all(line.startswith(_SECRET) for line in found):
            raise IdentityError
        secrets = tuple(x25519.Identity.from_str(line) for line in found)
    except IdentityError:
        raise KeyFileError(
            f"not an identity file: its lines are {_SECRET}... and comments",
            where=where,
            mend="name the file that `privsynth keys receiving` or `age-keygen` made; one with a passphrase is "
            "decrypted by `age` first",
        ) from None
    return Identity(tuple(str(secret.to_public()) for secret in secrets), secrets)


def encrypt(chunks: Iterable[bytes], target: BinaryIO, *, key: str) -> None:
    """Write ``chunks`` to ``target`` so that only the holder of ``key`` can read them. Memory: a chunk.

    Raises:
        KeyFileError: not a key. MissingExtra: pyrage is not installed. What ``chunks`` and ``target`` raise.
    """
    check_age()
    import pyrage

    source, sink = _Chunks(chunks), _Watched(target)
    recipient = pyrage.x25519.Recipient.from_str(check_age_key(key))
    try:
        pyrage.encrypt_io(source, sink, [recipient])
    except BaseException:  # it tells a fault of a stream in words of its own
        if (fault := source.fault or sink.fault) is not None:
            raise fault from None
        raise


def decrypt(source: BinaryIO, target: Target, identity: Identity, *, where: str) -> None:
    """Write what ``source`` holds to ``target``, piece by piece: what is written is worth nothing before this returns.

    Args:
        source: at its start, and one that can seek.
        where: what it is called in errors.

    Raises:
        BundleError: not an age file, not for this identity, altered, or cut off. What the two streams raise.
    """
    import pyrage

    again = "get the file again from its sender; it must be sealed to your key"
    head = source.read(MAX_HEADER)
    if not _HEADER.match(head):
        raise BundleError("not a sealed release: it does not begin as a binary age file", where=where, mend=again)
    source.seek(0)
    watched, sink = _Watched(source), _Watched(target)
    try:
        pyrage.decrypt_io(watched, sink, list(identity.secrets))
    except BaseException as fault:
        if (own := watched.fault or sink.fault) is not None:
            raise own from None
        if isinstance(fault, KeyboardInterrupt | SystemExit | MemoryError):
            raise
        raise BundleError(  # also where it panics, which is no Exception
            "it cannot be opened: it was sealed to another key, or was altered or cut off on its way",
            where=where,
            mend=f"{again} {' or '.join(identity.keys)}",
        ) from None


class _Watched:
    """A stream that keeps its own first fault, which pyrage would pass on as a text, after another try to write."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.fault: BaseException | None = None

    def read(self, most: int) -> bytes:
        return self._asked(self.stream.read, most)  # type: ignore[no-any-return]

    def write(self, data: bytes) -> int:
        return self._asked(self.stream.write, data)  # type: ignore[no-any-return]

    def flush(self) -> None:
        """Left to whoever owns the stream."""

    def _asked(self, act: Any, given: Any) -> Any:
        if self.fault is not None:
            raise self.fault
        try:
            return act(given)
        except BaseException as fault:
            self.fault = fault
            raise


class _Chunks(_Watched):
    """Chunks as a stream that is read."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        super().__init__(iter(chunks))
        self._held = memoryview(b"")

    def read(self, most: int) -> bytes:
        while not self._held:
            chunk = self._asked(lambda _: next(self.stream, None), None)
            if chunk is None:
                return b""
            self._held = memoryview(chunk)
        part, self._held = self._held[:most], self._held[most:]
        return bytes(part)
