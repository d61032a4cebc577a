"""The pixels of a DICOM file, and nothing else of it: names, dates and numbers stay behind."""

from __future__ import annotations

import io
import struct
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from privsynth.data.pictures import MOST_PIXELS, Unreadable
from privsynth.errors import MissingExtra

_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC} | {0xF7})
"""Markers of JPEG and JPEG-LS that a frame's size follows."""


def grey_pixels(raw: bytes) -> npt.NDArray[Any]:
    """(height, width) uint16 of one grey frame, its least value 0 and its greatest 65,535 by the stored bits; black is
    low, whatever the file's convention.

    Raises:
        Unreadable: none of one grey frame within the bounds. MissingExtra: no pydicom.
    """
    try:
        import pydicom
    except ImportError:
        raise MissingExtra("DICOM files need pydicom", mend="pip install 'privsynth[dicom]'") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it quotes what it found
            _refuse_deflated(raw)
            file = pydicom.dcmread(io.BytesIO(raw))
            frames = int(getattr(file, "NumberOfFrames", 1) or 1)
            if file.SamplesPerPixel != 1 or frames != 1 or not 0 < file.Rows * file.Columns <= MOST_PIXELS:
                raise Unreadable
            if file.BitsAllocated not in (1, 8, 16):
                raise Unreadable
            _refuse_larger(file, int(file.Rows), int(file.Columns))
            values = np.asarray(file.pixel_array, dtype=np.int64)
            bits, signed = int(file.BitsStored), bool(file.PixelRepresentation)
            inverted = str(file.PhotometricInterpretation) == "MONOCHROME1"
    except Unreadable:
        raise
    except Exception:  # noqa: BLE001 - a decoder of a hostile file fails in every way there is
        raise Unreadable from None
    if values.ndim != 2 or not 1 <= bits <= 16:
        raise Unreadable
    scaled = np.clip(values + (2 ** (bits - 1) if signed else 0), 0, 2**bits - 1) * 65_535 // (2**bits - 1)
    return np.asarray(65_535 - scaled if inverted else scaled, dtype=np.uint16)


def _refuse_larger(file: Any, rows: int, columns: int) -> None:
    """Refuse a compressed frame that would decode to more than the header says, before it is decoded.

    A decoder goes by what the frame itself tells: of run lengths there may be 64 times as many bytes as are stored, and
    a JPEG frame names a size of its own.
    """
    from pydicom.encaps import get_frame
    from pydicom.uid import RLELossless

    syntax = file.file_meta.TransferSyntaxUID
    if not syntax.is_compressed:
        return
    frame = get_frame(file.PixelData, 0, number_of_frames=1)
    if syntax == RLELossless:
        count = struct.unpack("<L", frame[:4])[0]
        starts = struct.unpack("<15L", frame[4:64])[:count]
        for start, end in zip(starts, (*starts[1:], len(frame)), strict=True):
            _refuse_runs(memoryview(frame)[start:end], rows * columns + 1)  # an even length may ask for one more
    elif _size_of(frame) != (rows, columns, 1):
        raise Unreadable


def _refuse_runs(segment: memoryview, most: int) -> None:
    """Refuse a segment of run lengths (PackBits) that tells of more than so many bytes."""
    at = told = 0
    while at < len(segment):
        head = segment[at]
        left = len(segment) - at - 1
        told += (257 - head) * min(1, left) if head > 128 else min(head + 1, left) if head < 128 else 0
        at += 2 if head > 128 else head + 2 if head < 128 else 1
        if told > most:
            raise Unreadable


def _size_of(frame: bytes) -> tuple[int, int, int]:
    """(rows, columns, components) by the header of a frame of JPEG, JPEG-LS or JPEG 2000.

    Raises:
        Unreadable, struct.error: none of them.
    """
    if frame[:4] == b"\xff\x4f\xff\x51":
        right, bottom, left, top = struct.unpack(">4L", frame[8:24])
        return bottom - top, right - left, struct.unpack(">H", frame[40:42])[0]
    at = 2 if frame[:2] == b"\xff\xd8" else len(frame)
    while at < len(frame):
        mark, kind, length = struct.unpack(">BBH", frame[at : at + 4])
        if mark != 0xFF:
            break
        if kind in _FRAMES:
            return struct.unpack(">HHB", frame[at + 5 : at + 10])
        at += 1 if kind == 0xFF else 2 + length
    raise Unreadable


def _refuse_deflated(raw: bytes) -> None:
    """Refuse a file whose whole content is deflated, before it is inflated: no header says to how much.

    The elements before the content are read as ``dcmread`` reads them; where it would read them in another way, as they
    are not encoded as they should be, this fails.
    """
    from pydicom.filereader import read_dataset, read_preamble
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    stream = io.BytesIO(raw)
    read_preamble(stream, False)
    meta = read_dataset(stream, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
    if {str(element.tag): element.value for element in meta}["(0002,0010)"] == DeflatedExplicitVRLittleEndian:
        raise Unreadable
