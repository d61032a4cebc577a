"""The pixels of a DICOM file, and nothing else of it: names, dates and numbers stay behind."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt

from privsynth.data.pictures import MOST_PIXELS, Unreadable
from privsynth.errors import MissingExtra


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
        _refuse_deflated(raw)
        file = pydicom.dcmread(io.BytesIO(raw))
        frames = int(getattr(file, "NumberOfFrames", 1) or 1)
        if file.SamplesPerPixel != 1 or frames != 1 or not 0 < file.Rows * file.Columns <= MOST_PIXELS:
            raise Unreadable
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
