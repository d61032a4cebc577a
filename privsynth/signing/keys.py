"""Private keys: Ed25519, PKCS#8 PEM, mode 0600, never overwritten."""

from __future__ import annotations

import datetime as dt
import secrets
from base64 import encodebytes
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import padding, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from securesystemslib.signer import CryptoSigner  # type: ignore[attr-defined]  # re-exported without __all__

from privsynth.errors import KeyFileError
from privsynth.signing.files import read_small, reason, write_new
from privsynth.signing.trust import TrustedKey

KEY_MODE = 0o600

_MAX_KEY = 64 * 1024
_SHORT = 128  # DER lengths below this take one byte
_SCRYPT_N, _SCRYPT_R, _SCRYPT_P = 2**14, 8, 5  # 16 MiB, five passes: what openssl reads without being asked to


@dataclass(frozen=True, repr=False, eq=False)
class SigningKey:
    """A private key in memory. Says nothing of itself but its id."""

    signer: CryptoSigner = field(repr=False)

    @property
    def keyid(self) -> str:
        """SHA-256 over the public key."""
        return self.signer.public_key.keyid

    @property
    def raw_public(self) -> bytes:
        """The 32 bytes of the public key."""
        return bytes.fromhex(self.signer.public_key.keyval["public"])

    def sign(self, data: bytes) -> bytes:
        """The Ed25519 signature (RFC 8032) over ``data``: 64 bytes, the same every time."""
        return bytes.fromhex(self.signer.sign(data).signature)

    def __repr__(self) -> str:
        return f"SigningKey({self.keyid[:8]})"

    def public(self, *, name: str, roles: tuple[str, ...] = ("release",), expires: dt.date | None = None) -> TrustedKey:
        """The public part, as it stands in a trust file.

        Raises:
            KeyFileError: a name or role that a trust file cannot hold.
        """
        return TrustedKey.of_raw(self.raw_public, name=name, roles=roles, expires=expires)


def new_key(
    path: str | Path, *, name: str, passphrase: bytes | None = None, roles: tuple[str, ...] = ("release",)
) -> TrustedKey:
    """Draw an Ed25519 key, write it to ``path`` (a new file, or ``release.key`` in a folder), mode 0600.

    Args:
        path: never overwritten.
        name: the person who holds it; two keys of one name count once towards a threshold.
        passphrase: encrypts the file (PKCS#8, scrypt, AES-256); None leaves it readable to its owner.
        roles: what it may sign: ``release``, ``policy``, ``witness``.

    Returns:
        The public part, for a trust file.

    Raises:
        StorageError: the file exists or cannot be written.
        KeyFileError: an empty passphrase, or a name that a trust file cannot hold.
    """
    if passphrase == b"":
        raise KeyFileError("the passphrase is empty", where=str(path), mend="give one, or none at all")
    private = Ed25519PrivateKey.generate()
    public = SigningKey(CryptoSigner(private)).public(name=name, roles=roles)
    der = private.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    label, der = ("PRIVATE KEY", der) if passphrase is None else ("ENCRYPTED PRIVATE KEY", _lock(der, passphrase))
    pem = f"-----BEGIN {label}-----\n{encodebytes(der).decode()}-----END {label}-----\n"
    target = Path(path)
    write_new(target / "release.key" if target.is_dir() else target, pem.encode(), mode=KEY_MODE)
    return public


def load_key(path: str | Path, *, passphrase: bytes | None = None) -> SigningKey:
    """Read a private key.

    Raises:
        KeyFileError: no such file, readable by others, wrong passphrase, not an Ed25519 key.
    """
    where = str(path)
    try:
        pem, mode = read_small(Path(path), limit=_MAX_KEY)
    except (OSError, ValueError) as fault:
        mend = "check the path; `privsynth keys new` makes one"
        raise KeyFileError(f"the key file cannot be read ({reason(fault)})", where=where, mend=mend) from None
    if mode != KEY_MODE:
        raise KeyFileError(
            f"the key file has mode {mode:04o}; only {KEY_MODE:04o} keeps it to its owner",
            where=where,
            mend=f"chmod 600 {path}",
        )
    try:
        key = serialization.load_pem_private_key(pem, passphrase)
    except TypeError:
        what, mend = (
            ("the key file is encrypted", "give its passphrase")
            if passphrase is None
            else ("the key file is not encrypted, but a passphrase was given", "leave the passphrase out")
        )
        raise KeyFileError(what, where=where, mend=mend) from None
    except (ValueError, UnsupportedAlgorithm):
        raise KeyFileError(
            "not a private key in PEM form, or another passphrase",
            where=where,
            mend="check the passphrase; `privsynth keys new` makes a key",
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError("not an Ed25519 key", where=where, mend="make one with `privsynth keys new`")
    return SigningKey(CryptoSigner(key))


def _der(tag: int, *parts: bytes) -> bytes:
    """A DER value: tag, length, contents."""
    body = b"".join(parts)
    size = len(body).to_bytes(max(1, (len(body).bit_length() + 7) // 8), "big")
    return bytes([tag]) + (size if len(body) < _SHORT else bytes([0x80 | len(size)]) + size) + body


def _lock(der: bytes, passphrase: bytes) -> bytes:
    """PKCS#8 EncryptedPrivateKeyInfo: PBES2 (RFC 8018) with scrypt (RFC 7914, section 7) and AES-256-CBC.

    Written by hand because cryptography 50 writes PBKDF2 with 2,048 rounds; it and openssl read this.
    """
    salt, iv = secrets.token_bytes(16), secrets.token_bytes(16)
    key = Scrypt(salt=salt, length=32, n=_SCRYPT_N, r=_SCRYPT_R, p=_SCRYPT_P).derive(passphrase)
    padder = padding.PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES256(key), modes.CBC(iv)).encryptor()
    locked = encryptor.update(padder.update(der) + padder.finalize()) + encryptor.finalize()
    integers = [_der(0x02, n.to_bytes(n.bit_length() // 8 + 1, "big")) for n in (_SCRYPT_N, _SCRYPT_R, _SCRYPT_P)]
    scrypt = _der(0x30, bytes.fromhex("06092b06010401da47040b"), _der(0x30, _der(0x04, salt), *integers))
    aes = _der(0x30, bytes.fromhex("060960864801650304012a"), _der(0x04, iv))
    pbes2 = _der(0x30, bytes.fromhex("06092a864886f70d01050d"), _der(0x30, scrypt, aes))
    return _der(0x30, pbes2, _der(0x04, locked))
