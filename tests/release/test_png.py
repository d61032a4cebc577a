"""A PNG file of a release is its pixels and the two marks: whatever else it is, or is made to be, is refused."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from privsynth.errors import BundleError
from privsynth.release.album import png
from privsynth.release.png import KEYWORD, SOURCE, TYPE, XMP, check_png, check_sheet

WIDE, HIGH = 20, 12


def made(mode: str = "RGB", *, wide: int = WIDE, high: int = HIGH) -> bytes:
    shape = (high, wide, 3) if mode == "RGB" else (high, wide)
    return png(np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8))


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def check(raw: bytes, mode: str = "RGB") -> None:
    check_png(raw, size=(WIDE, HIGH), mode=mode, where="p.png")


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_what_a_release_writes_passes_and_any_reader_finds_the_marks(mode: str) -> None:
    check(made(mode), mode)
    with Image.open(io.BytesIO(made(mode))) as seen:
        assert seen.info[SOURCE[0]] == SOURCE[1]
        assert TYPE in seen.info[KEYWORD]
        assert set(seen.info) <= {SOURCE[0], KEYWORD, "xmp"}


@pytest.mark.parametrize(("wide", "high"), [(1, 1), (1, 70), (256, 256)])
def test_sizes(wide: int, high: int) -> None:
    check_png(made(wide=wide, high=high), size=(wide, high), mode="RGB", where="p.png")


def _marked(**more: object) -> bytes:
    said, sink = PngInfo(), io.BytesIO()
    said.add_text(*SOURCE)
    said.add_itxt(KEYWORD, XMP)
    for name, text in more.items():
        said.add_text(name, str(text))
    Image.fromarray(np.zeros((HIGH, WIDE, 3), np.uint8)).save(sink, "PNG", pnginfo=said)
    return sink.getvalue()


def _before() -> bytes:
    """As it was written before there was the second mark."""
    said, sink = PngInfo(), io.BytesIO()
    said.add_text(*SOURCE)
    Image.fromarray(np.zeros((HIGH, WIDE, 3), np.uint8)).save(sink, "PNG", pnginfo=said)
    return sink.getvalue()


def _saved(picture: Image.Image, **how: object) -> bytes:
    sink = io.BytesIO()
    picture.save(sink, "PNG", **how)
    return sink.getvalue()


def _data(raw: bytes, data: bytes) -> bytes:
    """``raw`` with other compressed data."""
    at = raw.index(b"IDAT") - 4
    return raw[:at] + chunk(b"IDAT", data) + chunk(b"IEND", b"")


LINES = bytes(HIGH * (WIDE * 3 + 1))
FAULTS: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda raw: b"",
    "a JPEG file": lambda raw: b"\xff\xd8\xff\xe0" + raw,
    "cut short": lambda raw: raw[:-5],
    "no end": lambda raw: raw[:-12],
    "something behind": lambda raw: raw + b"row 17 of the register",
    "a chunk behind the end": lambda raw: raw + chunk(b"tEXt", b"Comment\0row 17"),
    "one more text": lambda raw: _marked(Comment="row 17"),
    "a private chunk": lambda raw: raw[:-12] + chunk(b"prVt", b"row 17") + raw[-12:],
    "no marks": lambda raw: _saved(Image.new("RGB", (WIDE, HIGH))),
    "another source": lambda raw: raw.replace(b"synthetic, privsynth", b"photograph, made here", 1),
    "interlaced": lambda raw: raw.replace(chunk(b"IHDR", raw[16:29]), chunk(b"IHDR", raw[16:28] + b"\1")),
    "a bomb": lambda raw: _data(raw, zlib.compress(bytes(50_000_000), 9)),
    "a line less": lambda raw: _data(raw, zlib.compress(LINES[: -WIDE * 3 - 1])),
    "a byte more": lambda raw: _data(raw, zlib.compress(LINES + b"\0")),
    "a filter that is none": lambda raw: _data(raw, zlib.compress(b"\7" + LINES[1:])),
    "bytes behind the pixels": lambda raw: _data(raw, zlib.compress(LINES) + b"row 17"),
    "data cut short": lambda raw: _data(raw, zlib.compress(LINES)[:-4]),
    "no data": lambda raw: raw[: raw.index(b"IDAT") - 4] + chunk(b"IEND", b""),
    "an empty picture": lambda raw: _saved(Image.new("RGB", (1, 1))),
}


@pytest.mark.parametrize("name", FAULTS)
def test_anything_else_is_refused(name: str) -> None:
    with pytest.raises(BundleError, match="20 x 12 pixels, marked as synthetic"):
        check(FAULTS[name](made()))


def test_a_picture_of_before_the_second_mark_is_told_so() -> None:
    with pytest.raises(BundleError, match="made by an earlier privsynth") as caught:
        check(_before())
    assert "release the model again" in caught.value.mend
    for changed in (_before() + b"x", _before()[:-12] + chunk(b"prVt", b"row 17") + _before()[-12:]):
        with pytest.raises(BundleError, match="20 x 12 pixels"):
            check(changed)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_sheet_tells_its_own_size(mode: str) -> None:
    check_sheet(made(mode), most=(WIDE, HIGH), where="p.png")
    for most in ((WIDE - 1, HIGH), (WIDE, HIGH - 1)):
        with pytest.raises(BundleError, match="pixels at most"):
            check_sheet(made(mode), most=most, where="p.png")


@pytest.mark.parametrize("name", FAULTS)
def test_anything_else_is_no_sheet(name: str) -> None:
    """But a smaller picture."""
    if name != "an empty picture":
        with pytest.raises(BundleError):
            check_sheet(FAULTS[name](made()), most=(4000, 4000), where="p.png")


@given(raw=st.binary(max_size=60))
def test_any_bytes_are_no_sheet(raw: bytes) -> None:
    for start in (b"", made()[:8], made()[:24], made()[:-20]):
        with pytest.raises(BundleError):
            check_sheet(start + raw, most=(WIDE, HIGH), where="p.png")


def test_another_size_or_mode_is_refused() -> None:
    for raw in (made(wide=HIGH, high=WIDE), made("L")):
        with pytest.raises(BundleError):
            check(raw)


def test_plain_data_pass() -> None:
    check(_data(made(), zlib.compress(LINES)))


@given(at=st.integers(0, len(made()) - 1), bit=st.integers(0, 7))
def test_any_flipped_bit_is_refused(at: int, bit: int) -> None:
    raw = bytearray(made())
    raw[at] ^= 1 << bit
    with pytest.raises(BundleError):
        check(bytes(raw))


@given(raw=st.binary(max_size=300))
def test_any_bytes_end_in_the_typed_error(raw: bytes) -> None:
    for start in (b"", made()[:8], made()[:-20]):
        with pytest.raises(BundleError):
            check(start + raw)
