"""What a PNG file of a release may hold, read without Pillow: its pixels, the marks that it is synthetic, no more.

The marks are a text chunk for people and the ``DigitalSourceType`` of the IPTC Photo Metadata Standard in XMP, which is
what machines look for (``trainedAlgorithmicMedia``); where the policy forbids biometric use the XMP says that too, and
where a run signs its pictures there is a C2PA manifest, whose content is not read here. Whoever wants to can take them
away: the signed hashes are the proof, and the marks are for those who do not look at them. Form: PNG specification,
third edition (W3C 2025).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from privsynth.errors import BundleError

SOURCE = ("Source", "synthetic, privsynth")
KEYWORD = "XML:com.adobe.xmp"
TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
TERM = (
    "Biometric use is forbidden: not for identifying or verifying anybody, not for surveillance, and not for telling "
    "which group a person belongs to."
)
"""What stands in each picture, and in the privacy statement, where the policy forbids biometric use."""

_RIGHTS = (
    '<xmpRights:UsageTerms xmlns:xmpRights="http://ns.adobe.com/xap/1.0/rights/"><rdf:Alt>'
    f'<rdf:li xml:lang="x-default">{TERM}</rdf:li></rdf:Alt></xmpRights:UsageTerms>'
)


def _xmp(rights: str) -> str:
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">'
        f"<Iptc4xmpExt:DigitalSourceType>{TYPE}</Iptc4xmpExt:DigitalSourceType>{rights}"
        '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    )


XMP, XMP_WITH_TERM = _xmp(""), _xmp(_RIGHTS)
CHANNELS = {"L": 1, "RGB": 3}
"""Bytes of a pixel, by mode."""

SPARE = 4096
"""Bytes that a file may take beside twice its pixels."""

MOST_MANIFEST = 64 * 1024
"""Bytes of a C2PA manifest."""


@dataclass(frozen=True)
class Worn:
    """What pictures of a release carry beside the two marks.

    Attributes:
        term: whether the XMP says that biometric use is forbidden.
        leaf: the certificate (DER) of whoever signed a C2PA manifest of each; None where there is none.
    """

    term: bool = False
    leaf: bytes | None = None


PLAIN = Worn()

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR = {"L": 0, "RGB": 2}
_FILTERS = 5
_MANIFEST = b"caBX"
_TEXT = (b"tEXt", b"\0".join(word.encode("latin-1") for word in SOURCE))
_MARKS = {
    term: (_TEXT, (b"iTXt", KEYWORD.encode("latin-1") + bytes(5) + xmp.encode()))
    for term, xmp in ((False, XMP), (True, XMP_WITH_TERM))
}


def check_png(raw: bytes, *, size: tuple[int, int], mode: str, where: str, worn: Worn = PLAIN) -> None:
    """Refuse a PNG file that is not a marked synthetic picture of this size and nothing else.

    Args:
        raw: the file. Work and memory are bounded by it and by the declared pixels, whatever it says.
        size: (width, height) in pixels.
        mode: ``L`` or ``RGB``.
        where: its name, for the message.
        worn: what it carries beside its marks; of a manifest is checked that one is there, just behind the header, no
            larger than :data:`MOST_MANIFEST` and with the certificate in it.

    Raises:
        BundleError: another size or mode, broken, without its marks, or with anything besides.
    """
    width, height = size
    head = struct.pack(">IIBBBBB", width, height, 8, _COLOUR[mode], 0, 0, 0)
    try:
        chunks = list(_chunks(raw))
        signed = worn.leaf is None or _manifest(chunks, worn.leaf)
        data = b"".join(body for kind, body in chunks if kind == b"IDAT")
        others = [chunk for chunk in chunks if chunk[0] != b"IDAT"]
        if others == [(b"IHDR", head), _TEXT, (b"IEND", b"")]:
            raise BundleError(
                "made by an earlier privsynth: it lacks the IPTC mark as synthetic",
                where=where,
                mend="ask its sender to release the model again (`privsynth sample`, free)",
            )
        shape = [kind for kind, _ in chunks[:3]] + sorted({kind for kind, _ in chunks[3:-1]}) + [chunks[-1][0]]
        fits = signed and others == [(b"IHDR", head), *_MARKS[worn.term], (b"IEND", b"")]
        fits = fits and shape == [b"IHDR", b"tEXt", b"iTXt", b"IDAT", b"IEND"]
        fits = fits and _pixels(data, line=width * CHANNELS[mode] + 1, lines=height)
    except (struct.error, zlib.error, ValueError, IndexError):
        fits = False
    if not fits:
        raise _other(f"{width} x {height} pixels", where)


def most_bytes(size: tuple[int, int], mode: str, worn: Worn = PLAIN) -> int:
    """How large a file of such a picture may be."""
    width, height = size
    return SPARE + (0 if worn.leaf is None else MOST_MANIFEST) + 2 * CHANNELS[mode] * (width + 1) * (height + 1)


def check_sheet(raw: bytes, *, most: tuple[int, int], where: str, worn: Worn = PLAIN) -> None:
    """As :func:`check_png`, of a picture that tells its own size and mode.

    Args:
        most: largest (width, height).
    """
    told = struct.unpack(">IIBB", raw[16:26].ljust(10, b"\0"))
    size, mode = told[:2], {colour: mode for mode, colour in _COLOUR.items()}.get(told[3])
    if mode is None or not all(0 < one <= limit for one, limit in zip(size, most, strict=True)):
        raise _other(f"{most[0]} x {most[1]} pixels at most", where)
    check_png(raw, size=size, mode=mode, where=where, worn=worn)


def _other(size: str, where: str) -> BundleError:
    return BundleError(
        f"not a PNG file of {size}, marked as synthetic, and nothing else", where=where, mend="ask its sender"
    )


def _manifest(chunks: list[tuple[bytes, bytes]], leaf: bytes) -> bool:
    """Take the manifest out of the chunks; whether it was there."""
    kind, body = chunks.pop(1)
    return kind == _MANIFEST and len(body) <= MOST_MANIFEST and leaf in body


def _chunks(raw: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(type, data) of each chunk up to the last byte."""
    if not raw.startswith(_SIGNATURE):
        raise ValueError
    at = len(_SIGNATURE)
    while at < len(raw):
        length, kind = struct.unpack_from(">I4s", raw, at)
        body = raw[at + 8 : at + 8 + length]
        (crc,) = struct.unpack_from(">I", raw, at + 8 + length)
        if crc != zlib.crc32(kind + body):
            raise ValueError
        yield kind, body
        at += length + 12


def _pixels(data: bytes, *, line: int, lines: int) -> bool:
    """Whether the compressed data are exactly these lines, each with a filter that there is."""
    unpacked = zlib.decompressobj()
    plain = unpacked.decompress(data, line * lines + 1)
    exact = len(plain) == line * lines and unpacked.eof and not unpacked.unused_data
    return exact and max(plain[::line]) < _FILTERS
