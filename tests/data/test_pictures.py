"""Stored pictures: what each kind becomes, and what is none."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from privsynth.data import pictures
from privsynth.data.columns import Image
from privsynth.data.pictures import Pixels, Unreadable, decode, decode_all

GREY, COLOURS = Image(size=(4, 4)), Image(size=(4, 4), mode="RGB")
HALVES = np.repeat([[0, 0, 200, 200]], 4, axis=0).astype(np.uint8)
"""Dark to the left, bright to the right."""


def stored(picture: Pillow.Image, format_: str = "PNG", **given: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, format_, **given)
    return out.getvalue()


def grey(values: Pixels = HALVES) -> Pillow.Image:
    return Pillow.fromarray(values)


def header(width: int, height: int) -> bytes:
    """A PNG that says it is so large, with next to nothing in it."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    size = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("format_", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_every_format_gives_its_pixels(format_: str) -> None:
    large = grey(np.kron(HALVES, np.ones((8, 8), dtype=np.uint8)))
    near = decode(stored(large.convert("RGB") if format_ == "WEBP" else large, format_), GREY)
    assert near.dtype == np.uint8
    assert np.abs(near.astype(int) - HALVES).max() <= 12


def test_a_picture_of_the_declared_size_is_kept_to_the_bit() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    assert np.array_equal(decode(stored(Pillow.fromarray(noise)), COLOURS), noise)
    assert np.array_equal(decode(noise, COLOURS), noise)


@pytest.mark.parametrize(
    ("picture", "wanted"),
    [
        (Pillow.fromarray(HALVES.astype(np.uint16) * 257), HALVES),  # 16 bits: the upper half
        (grey().convert("P"), HALVES),
        (grey().convert("1", dither=Pillow.Dither.NONE), np.where(HALVES > 127, 255, 0)),
        (Pillow.merge("LA", (grey(), Pillow.new("L", (4, 4), 0))), HALVES * 0),  # transparent: black
        (Pillow.merge("RGBA", (*[grey()] * 3, Pillow.new("L", (4, 4), 255))), HALVES),
    ],
    ids=["16 bits", "palette", "bits", "transparent", "opaque"],
)
def test_other_modes_become_grey(picture: Pillow.Image, wanted: Pixels) -> None:
    assert np.abs(decode(stored(picture), GREY).astype(int) - wanted).max() <= 1


def test_cmyk_becomes_colours() -> None:
    assert decode(stored(grey().convert("RGB").convert("CMYK"), "JPEG"), COLOURS).shape == (4, 4, 3)


def test_the_camera_s_orientation_is_applied_and_all_else_left_behind() -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 3  # upside down
    exif[0x010E] = "Ms Miller"
    turned = decode(stored(grey(), "PNG", exif=exif), GREY)
    assert np.array_equal(turned, HALVES[:, ::-1])


@pytest.mark.parametrize(("fit", "wanted"), [("crop", [0, 200]), ("pad", [0, 0]), ("stretch", [0, 200])])
def test_another_shape_is_brought_to_the_declared_one(fit: str, wanted: list[int]) -> None:
    wide = grey(np.repeat(HALVES, 2, axis=1))
    column = Image.model_validate({"kind": "image", "size": [4, 4], "fit": fit})
    found = decode(stored(wide), column)
    assert [int(found[0, 0]), int(found[0, 3])] == wanted
    assert found[1].tolist() == ([0, 0, 200, 200])


HOSTILE = {
    "empty": b"",
    "text": b"not a picture at all",
    "cut off": stored(Pillow.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64), dtype=np.uint8)))[:900],
    "50,000 by 50,000": header(50_000, 50_000),
    "more than it holds": header(3000, 3000),
    "animated": stored(grey(), "WEBP", save_all=True, append_images=[grey(HALVES[:, ::-1].copy())]),
    "several pages": stored(grey(), "TIFF", save_all=True, append_images=[grey()]),
    "another format": stored(grey(), "BMP"),
    "gif": stored(grey(), "GIF"),
    "floats": stored(Pillow.fromarray(HALVES.astype(np.float32)), "TIFF"),
}


@pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_no_picture_is_none(raw: bytes) -> None:
    with pytest.raises(Unreadable):
        decode(raw, GREY)


def test_a_bomb_is_refused_by_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is decoded: 2.5 GB would be."""
    from PIL import PngImagePlugin

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(Unreadable):
        decode(header(50_000, 50_000), GREY)
    with pytest.raises(Unreadable):
        decode(header(8000, 8000), GREY)


def tiff(pages: int) -> bytes:
    """A page of 8 × 8 pixels again and again, each in 114 bytes."""
    tags = [(256, 3, 1, 8), (257, 3, 1, 8), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8)]
    tags += [(277, 3, 1, 1), (278, 3, 1, 8), (279, 4, 1, 64)]
    held = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    size = len(held) + 4
    starts = [*(72 + size * (i + 1) for i in range(pages - 1)), 0]
    return struct.pack("<2sHI", b"II", 42, 72) + bytes(64) + b"".join(held + struct.pack("<I", at) for at in starts)


def test_the_pages_of_a_file_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second one is enough: to find the last of many takes minutes."""
    from PIL import TiffImagePlugin

    read: list[int] = []
    load = TiffImagePlugin.ImageFileDirectory_v2.load

    def counted(self: Any, stream: Any) -> None:
        read.append(stream.tell())
        load(self, stream)

    monkeypatch.setattr(TiffImagePlugin.ImageFileDirectory_v2, "load", counted)
    assert not decode(tiff(1), GREY).any()
    read.clear()
    with pytest.raises(Unreadable):
        decode(tiff(5000), GREY)
    assert 0 < len(read) < 9


def test_too_many_bytes_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MOST_BYTES", 50)
    (tmp_path / "a.png").write_bytes(stored(grey()))
    with pytest.raises(Unreadable):
        decode(tmp_path / "a.png", GREY)
    with pytest.raises(Unreadable):
        decode(stored(grey()), GREY)


@pytest.mark.parametrize("name", ["a.txt", "a", "a.gif", "missing.png", "folder.png"])
def test_files_of_other_names_are_no_pictures(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    if name not in ("missing.png", "folder.png"):
        (tmp_path / name).write_bytes(stored(grey()))
    with pytest.raises(Unreadable):
        decode(tmp_path / name, GREY)


@pytest.mark.parametrize(
    "values", [HALVES.astype(np.int32), HALVES.astype(float), HALVES[0], np.zeros((4, 4, 2), np.uint8), HALVES[:0]]
)
def test_other_arrays_are_no_pictures(values: Pixels) -> None:
    with pytest.raises(Unreadable):
        decode(values, GREY)


def test_rows_are_kept_beside_their_pictures() -> None:
    held, failed = decode_all([stored(grey()), None, b"x", HALVES[::-1].copy()], GREY)
    assert held.missing.tolist() == [False, True, True, False]
    assert failed.tolist() == [False, False, True, False]
    assert not held.pixels[1:3].any()
    kept = held.keep(np.array([False, True, False, True]))
    assert kept.missing.tolist() == [True, False]
    assert kept.raw(0) == b""
    assert kept.raw(1) == HALVES.tobytes()
    assert "200" not in repr(held)


def test_dicom_gives_its_pixels_and_nothing_else(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    from pydicom.dataset import FileDataset, FileMetaDataset

    def file(inverted: bool) -> Path:
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
        meta.MediaStorageSOPInstanceUID = pydicom.uid.UID("1.2.3")
        meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        out = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        out.PatientName = "Miller^Anna"
        out.Rows = out.Columns = 4
        out.SamplesPerPixel, out.BitsAllocated, out.BitsStored, out.HighBit = 1, 16, 12, 11
        out.PixelRepresentation = 0
        out.PhotometricInterpretation = "MONOCHROME1" if inverted else "MONOCHROME2"
        out.PixelData = (HALVES.astype(np.uint16) * 16).tobytes()
        place = tmp_path / f"{inverted}.dcm"
        out.save_as(place, enforce_file_format=True)
        return place

    assert np.abs(decode(file(False), GREY).astype(int) - HALVES).max() <= 1
    assert np.abs(decode(file(True), GREY).astype(int) - (255 - HALVES)).max() <= 1
    (tmp_path / "cut.dcm").write_bytes((tmp_path / "True.dcm").read_bytes()[:300])
    with pytest.raises(Unreadable):
        decode(tmp_path / "cut.dcm", GREY)


@pytest.mark.filterwarnings("ignore")  # of pydicom, about how the file is written
@pytest.mark.parametrize("implicit", [False, True])
def test_a_deflated_dicom_file_is_refused_before_it_is_inflated(
    implicit: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of 5 kB would take 4 MiB; one of the allowed size a thousand times its own."""
    reader = pytest.importorskip("pydicom.filereader")

    class Sealed:
        MAX_WBITS = zlib.MAX_WBITS

        @staticmethod
        def decompress(raw: bytes, bits: int) -> bytes:
            pytest.fail("inflated")

    monkeypatch.setattr(reader, "zlib", Sealed)
    squeezed = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OW", 0, 2**22) + bytes(2**22)
    uid = b"1.2.840.10008.1.2.1.99"
    named = struct.pack("<HHI", 2, 16, len(uid)) if implicit else struct.pack("<HH2sH", 2, 16, b"UI", len(uid))
    place = tmp_path / "bomb.dcm"
    place.write_bytes(bytes(128) + b"DICM" + named + uid + squeezed.compress(body) + squeezed.flush())
    assert place.stat().st_size < 10_000
    with pytest.raises(Unreadable):
        decode(place, GREY)


def dicom_file(place: Path, syntax: str, frame: bytes, *, rows: int, columns: int, allocated: int = 8) -> Path:
    """A file of one grey frame, compressed elsewhere."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.7")
    meta.MediaStorageSOPInstanceUID = UID("1.2.3")
    meta.TransferSyntaxUID = UID(syntax)
    out = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    out.Rows, out.Columns, out.SamplesPerPixel, out.PixelRepresentation = rows, columns, 1, 0
    out.BitsAllocated, out.BitsStored, out.HighBit = allocated, 8, 7
    out.PhotometricInterpretation = "MONOCHROME2"
    out.PixelData = encapsulate([frame])
    out["PixelData"].VR = "OB"
    out.save_as(place, enforce_file_format=True)
    return place


RLE, BASELINE, JPEG_2000 = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90"


def runs(*segments: bytes) -> bytes:
    """A frame of run lengths."""
    starts = [64 + sum(map(len, segments[:i])) for i in range(len(segments))]
    return struct.pack("<16L", len(segments), *starts, *[0] * (15 - len(segments))) + b"".join(segments)


def shown(kind: str, side: int, **how: Any) -> bytes:
    return stored(grey(np.full((side, side), 200, dtype=np.uint8)), kind, **how)


def test_compressed_dicom_frames_of_the_size_that_they_say_are_read(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    same = bytes([257 - 8, 200]) * 2  # 16 bytes, as two runs of eight
    for syntax, frame, side in (
        (RLE, runs(same), 4),
        (RLE, runs(bytes([8, *[200] * 9])), 3),
        (RLE, runs(bytes([9, *[200] * 9, 0])), 3),  # one byte more, to make an even length
        (BASELINE, shown("JPEG", 4), 4),
        (JPEG_2000, shown("JPEG2000", 4, no_jp2=True), 4),
    ):
        place = dicom_file(tmp_path / "a.dcm", syntax, frame, rows=side, columns=side)
        found = decode(place, GREY)
        assert np.abs(found.astype(int) - 200).max() <= 2, syntax


@pytest.mark.parametrize(
    ("syntax", "frame"),
    [
        (RLE, lambda: runs(bytes([129, 7]) * 1000)),
        (RLE, lambda: runs(bytes([257 - 8, 200]) * 2 + bytes([127, *[1] * 128]))),
        (BASELINE, lambda: shown("JPEG", 300)),
        (BASELINE, lambda: b"\xff\xd8\xff\xe0\x00\x04\x00\x00" + b"\x00" * 40),
        (JPEG_2000, lambda: shown("JPEG2000", 300, no_jp2=True)),
        (JPEG_2000, lambda: shown("JPEG2000", 4)),
    ],
    ids=["runs", "a long end", "a large JPEG", "no size", "a large JPEG 2000", "boxes around it"],
)
def test_a_dicom_frame_larger_than_its_header_is_refused_before_it_is_decoded(
    syntax: str, frame: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A header of 4 x 4 pixels, and a frame that would take 64 times its bytes, or a size of its own."""
    pydicom = pytest.importorskip("pydicom")

    def decoded(self: Any) -> None:
        pytest.fail("decoded")

    monkeypatch.setattr(pydicom.Dataset, "pixel_array", property(decoded))
    with pytest.raises(Unreadable):
        decode(dicom_file(tmp_path / "a.dcm", syntax, frame(), rows=4, columns=4), GREY)
    wide = dicom_file(tmp_path / "b.dcm", RLE, runs(bytes([257 - 8, 200]) * 2), rows=4, columns=4, allocated=64)
    with pytest.raises(Unreadable):
        decode(wide, GREY)
