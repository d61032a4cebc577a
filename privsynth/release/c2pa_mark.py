"""The second mark of a synthetic picture: a signed manifest after the C2PA, in a PNG file's ``caBX`` chunk.

It says that the picture was created, and by what (``trainedAlgorithmicMedia``); nothing of a person, a record or a
time, and no server is asked. Whoever wants to can take it away, like any mark: the bundle's signed hashes are the
proof. It holds until its certificate expires, for without a server nobody tells when it was made.
"""

from __future__ import annotations

import io
import json
import ssl
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from privsynth import __version__
from privsynth.documents import sha256
from privsynth.errors import BundleError, KeyFileError, MissingExtra
from privsynth.release.png import TYPE
from privsynth.signing.files import read_small, reason

MOST_CHAIN = 64 * 1024
"""Bytes of a file of certificates."""

_ENDS = "-----END CERTIFICATE-----"
_MEND = "a PEM file: the certificate that signs, then its issuer's (docs/guide-pictures.md)"
_OLD = "signingCredential.expired"
_KEPT = {"claimSignature.validated", "assertion.dataHash.match"}
_SIGNATURE = b"\x00\x00\x00\x28jumdc2cs\x00\x11\x00\x10\x80\x00\x00\xaa\x00\x38\x9b\x71\x03c2pa.signature\x00"
"""How a manifest's box of its signature begins."""
_RAW = 64
"""Bytes of an ES256 signature."""
_DOT = b"\x89PNG\r\n\x1a\n" + b"".join(
    struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    for kind, body in (
        (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(2))),
        (b"IEND", b""),
    )
)
"""A picture of one black pixel."""
_MANIFEST: dict[str, Any] = {
    "claim_generator_info": [{"name": "privsynth", "version": __version__}],
    "assertions": [
        {
            "label": "c2pa.actions.v2",
            "data": {"actions": [{"action": "c2pa.created", "digitalSourceType": TYPE}]},
        }
    ],
}


@dataclass(frozen=True)
class Chain:
    """Public certificates.

    Attributes:
        pem: all of them, and nothing else.
        ders: the same, as DER, in order.
        root: the last, as PEM.
    """

    pem: bytes = field(repr=False)
    ders: tuple[bytes, ...] = field(repr=False)
    root: str = field(repr=False)

    @property
    def leaf(self) -> bytes:
        """The first, which signs, as DER."""
        return self.ders[0]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate that signs, in hex."""
        return sha256(self.leaf)

    @classmethod
    def of(cls, pem: bytes) -> Chain:
        """Two certificates or more.

        Raises:
            ValueError: anything else.
        """
        parts = [part.strip() + f"\n{_ENDS}\n" for part in pem.decode("ascii").split(_ENDS)]
        if len(parts) < 3 or parts.pop() != f"\n{_ENDS}\n":
            raise ValueError("not two certificates or more")
        ders = tuple(ssl.PEM_cert_to_DER_cert(part) for part in parts)
        plain = [ssl.DER_cert_to_PEM_cert(der) for der in ders]
        return cls("".join(plain).encode(), ders, plain[-1])


@dataclass(frozen=True)
class Credential:
    """Certificates and the private key of the first."""

    chain: Chain
    key: bytes = field(repr=False)
    where: str

    @classmethod
    def load(cls, certificate: str | Path, key: str | Path) -> Credential:
        """Read both files.

        Args:
            certificate: PEM: the one that signs, for e-mail protection and digital signatures, then its issuer's.
            key: its private key on the curve P-256, PEM (PKCS#8, not encrypted), readable by its owner alone.

        Raises:
            KeyFileError: one cannot be used. MissingExtra: no c2pa-python.
        """
        where = str(key)
        try:
            chain = Chain.of(read_small(Path(certificate), limit=MOST_CHAIN)[0])
        except (OSError, ValueError) as fault:
            raise KeyFileError(
                f"no certificates can be read ({reason(fault)})", where=str(certificate), mend=_MEND
            ) from None
        try:
            pem, mode = read_small(Path(key), limit=MOST_CHAIN)
        except (OSError, ValueError) as fault:
            raise KeyFileError(
                f"the key of the certificate cannot be read ({reason(fault)})", where=where, mend="check the path"
            ) from None
        if mode & 0o077:
            raise KeyFileError(
                f"others can read the key (mode {mode:04o})", where=where, mend=f"chmod 600 {key}, and think who did"
            )
        made = cls(chain, pem, where)
        made._try()
        return made

    def _try(self) -> None:
        """Sign something, and read it as a receiver would."""
        read = reader(self.chain)
        marked = self.marker()(_DOT)
        try:
            if read is not None:
                read(marked, self.where)
        except BundleError:
            raise self._useless() from None

    def marker(self) -> Callable[[bytes], bytes]:
        """What puts a manifest into a PNG file; some milliseconds a file, about 3 kB more of it.

        Raises:
            KeyFileError: these do not sign. MissingExtra: no c2pa-python.
        """
        c2pa = library()
        try:
            info = c2pa.C2paSignerInfo(alg=b"es256", sign_cert=self.chain.pem, private_key=self.key, ta_url=None)
            signer = c2pa.Signer.from_info(info)
        except c2pa.C2paError:
            raise self._useless() from None
        context = c2pa.Context.from_dict({"version": 1, "builder": {"thumbnail": {"enabled": False}}})

        def marked(raw: bytes) -> bytes:
            sink = io.BytesIO()
            try:
                c2pa.Builder(json.dumps(_MANIFEST), context).sign(signer, "image/png", io.BytesIO(raw), sink)
            except c2pa.C2paError:
                raise self._useless() from None
            return sink.getvalue()

        return marked

    def _useless(self) -> KeyFileError:
        return KeyFileError(
            "this key and these certificates do not sign C2PA manifests today",
            where=self.where,
            mend="a key on P-256 in PKCS#8, its certificate valid today, then its issuer's (docs/guide-pictures.md)",
        )


def library() -> Any:
    """c2pa-python.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import c2pa
    except ImportError:
        raise MissingExtra("C2PA manifests need c2pa-python", mend="pip install 'privsynth[c2pa]'") from None
    return c2pa


def reader(chain: Chain) -> Callable[[bytes, str], None] | None:
    """What refuses a PNG file (given with its name) whose manifest is not one of ours, signed by this certificate; None
    without c2pa-python. Reads offline. Where the manifest lies is checked elsewhere (``release/png.py``).

    The returned function raises BundleError.
    """
    try:
        c2pa = library()
    except MissingExtra:
        return None
    quiet = {"remote_manifest_fetch": False, "ocsp_fetch": False}
    context = c2pa.Context.from_dict({"version": 1, "trust": {"trust_anchors": chain.root}, "verify": quiet})

    def check(raw: bytes, where: str) -> None:
        try:
            said = json.loads(c2pa.Reader("image/png", io.BytesIO(raw), context=context).json())
            fits = _fits(said) and _signed_by(chain, raw)
        except (c2pa.C2paError, ValueError, KeyError, TypeError, IndexError, AttributeError):
            fits = False
        if not fits:
            raise BundleError("its C2PA manifest does not hold", where=where, mend="ask its sender")

    return check


def _fits(said: Any) -> bool:
    """Whether one manifest is there, says what ours say, is whole, and was signed by who is trusted, perhaps before her
    certificate expired."""
    [manifest] = said["manifests"].values()
    [assertion] = manifest["assertions"]
    found = said["validation_results"]["activeManifest"]
    passed, failed = ({one["code"] for one in found.get(side, ())} for side in ("success", "failure"))
    return (
        assertion["data"] == {"actions": [{"action": "c2pa.created", "digitalSourceType": TYPE}]}
        and passed >= _KEPT
        and (not failed or (_OLD in failed and failed <= {_OLD, "signingCredential.untrusted"}))
    )


def _signed_by(chain: Chain, raw: bytes) -> bool:
    """Whether the signature of a PNG file's manifest, which is read elsewhere, is by these certificates: it begins with
    them, byte for byte as ours do, and nothing is in the room that it leaves.

    Raises:
        ValueError: it is built in another way.
    """
    body = raw[41 : 41 + int.from_bytes(raw[33:37], "big")]
    [store] = _boxes(body)
    [_, manifest] = _boxes(store)
    [_, _, _, signature] = _boxes(manifest)
    [_, cose] = _boxes(signature)
    protected = b"\xa2\x01\x26\x18\x21" + _cbor(4, len(chain.ders)) + b"".join(map(_bytes, chain.ders))
    before, after = b"\xd2\x84" + _bytes(protected) + b"\xa1\x63pad", b"\xf6" + _cbor(2, _RAW)
    room = bytes(len(cose) - len(before) - len(_cbor(2, 256)) - len(after) - _RAW)
    return signature.startswith(_SIGNATURE) and cose[:-_RAW] == before + _bytes(room) + after


def _boxes(raw: bytes) -> list[bytes]:
    """What the boxes of JUMBF (ISO 19566-5) hold that fill ``raw``."""
    found = []
    while raw:
        size = int.from_bytes(raw[:4], "big")
        if not 8 <= size <= len(raw):
            raise ValueError("no box")
        found.append(raw[8:size])
        raw = raw[size:]
    return found


def _cbor(kind: int, count: int) -> bytes:
    """The head of an item in CBOR (RFC 8949): of bytes (2) or of an array (4)."""
    if count < 24:
        return bytes([kind << 5 | count])
    return bytes([kind << 5 | 24, count]) if count < 256 else bytes([kind << 5 | 25]) + count.to_bytes(2, "big")


def _bytes(raw: bytes) -> bytes:
    return _cbor(2, len(raw)) + raw
