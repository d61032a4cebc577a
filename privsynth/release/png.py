"""What a PNG file of a release may hold, read without Pillow: its pixels, the two marks that it is synthetic, no more.

The marks are a text chunk for people and the ``DigitalSourceType`` of the IPTC Photo Metadata Standard in XMP, which is
what machines look for (``trainedAlgorithmicMedia``). Whoever wants to can take them away: the signed hashes are the
proof, and the marks are for those who do not look at them. Form: PNG specification, third edition (W3C 2025).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from privsynth.errors import BundleError

SOURCE = ("Source", "synthetic, privsynth")
KEYWORD = "XML:com.adobe.xmp"
TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
XMP = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">'
    f"<Iptc4xmpExt:DigitalSourceType>{TYPE}</Iptc4xmpExt:DigitalSourceType>"
    '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
)
CHANNELS = {"L": 1, "RGB": 3}
"""Bytes of a pixel, by mode."""

SPARE = 4096
"""Bytes that a file may take beside twice its pixels."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR = {"L": 0, "RGB": 2}
_FILTERS = 5
_MARKS = (
    (b"tEXt", b"\0".join(word.encode("latin-1") for word in SOURCE)),
    (b"iTXt", KEYWORD.encode("latin-1") + bytes(5) + XMP.encode()),
)


def check_png(raw: bytes, *, size: tuple[int, int], mode: str, where: str) -> None:
    """Refuse a PNG file that is not a marked synthetic picture of this size and nothing else.

    Args:
        raw: the file. Work and memory are bounded by it and by the declared pixels, whatever it says.
        size: (width, height) in pixels.
        mode: ``L`` or ``RGB``.
        where: its name, for the message.

    Raises:
        BundleError: another size or mode, broken, without its marks, or with anything besides.
    """
    width, height = size
    head = struct.pack(">IIBBBBB", width, height, 8, _COLOUR[mode], 0, 0, 0)
    try:
        chunks = list(_chunks(raw))
        data = b"".join(body for kind, body in chunks if kind == b"IDAT")
        others = [chunk for chunk in chunks if chunk[0] != b"IDAT"]
        if others == [(b"IHDR", head), _MARKS[0], (b"IEND", b"")]:
            raise BundleError(
                "made by an earlier privsynth: it lacks the IPTC mark as synthetic",
                where=where,
                mend="ask its sender to release the model again (`privsynth sample`, free)",
            )
        shape = [kind for kind, _ in chunks[:3]] + sorted({kind for kind, _ in chunks[3:-1]}) + [chunks[-1][0]]
        fits = others == [(b"IHDR", head), *_MARKS, (b"IEND", b"")]
        fits = fits and shape == [b"IHDR", b"tEXt", b"iTXt", b"IDAT", b"IEND"]
        fits = fits and _pixels(data, line=width * CHANNELS[mode] + 1, lines=height)
    except (struct.error, zlib.error, ValueError, IndexError):
        fits = False
    if not fits:
        raise _other(f"{width} x {height} pixels", where)


def most_bytes(size: tuple[int, int], mode: str) -> int:
    """How large a file of such a picture may be."""
    width, height = size
    return SPARE + 2 * CHANNELS[mode] * (width + 1) * (height + 1)


def check_sheet(raw: bytes, *, most: tuple[int, int], where: str) -> None:
    """As :func:`check_png`, of a picture that tells its own size and mode.

    Args:
        most: largest (width, height).
    """
    told = struct.unpack(">IIBB", raw[16:26].ljust(10, b"\0"))
    size, mode = told[:2], {colour: mode for mode, colour in _COLOUR.items()}.get(told[3])
    if mode is None or not all(0 < one <= limit for one, limit in zip(size, most, strict=True)):
        raise _other(f"{most[0]} x {most[1]} pixels at most", where)
    check_png(raw, size=size, mode=mode, where=where)


def _other(size: str, where: str) -> BundleError:
    return BundleError(
        f"not a PNG file of {size}, marked as synthetic, and nothing else", where=where, mend="ask its sender"
    )


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
