"""Stored pictures → arrays of one declared size, one at a time and within bounds.

What a picture becomes is a function of its own bytes and the declaration: orientation applied, all else that a file
tells (place, camera, comments) left behind, first to the declared colours, then to the declared size. A picture that
cannot be read, or that is larger than the bounds, is no picture: what becomes of its row is the schema's rule
(images.py). Nothing here prints, and no message of a decoder goes on: it may quote what it found.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from privsynth.data.columns import THERE, Image
from privsynth.errors import MissingExtra

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image as Pillow

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Source = bytes | Path | npt.NDArray[Any] | None

MOST_BYTES = 64 * 2**20
"""Of one stored picture."""
MOST_PIXELS = 50_000_000
"""Of one stored picture, by its header, before anything is decoded."""
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF")
_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff"})
DICOM = ".dcm"


@dataclass(frozen=True, repr=False, eq=False)
class Pictures:
    """The pictures of one column, one for each row.

    Attributes:
        pixels: (n, height, width) of mode L, (n, height, width, 3) of RGB; 0 where missing.
        missing: (n,) which rows have none.
    """

    pixels: Pixels
    missing: Mask

    def __len__(self) -> int:
        return len(self.missing)

    def __repr__(self) -> str:
        return f"Pictures({' × '.join(map(str, self.pixels.shape[1:]))})"

    def keep(self, mask: Mask) -> Pictures:
        """Those of the rows where ``mask`` is true."""
        return self if mask.all() else Pictures(self.pixels[mask], self.missing[mask])

    def equals(self, other: Pictures) -> bool:
        """Whether both are the same, pixel by pixel. Memory: some pictures."""
        return (
            self.pixels.dtype == other.pixels.dtype
            and self.pixels.shape == other.pixels.shape
            and np.array_equal(self.missing, other.missing)
            and all(np.array_equal(a, b) for a, b in zip(self.pixels, other.pixels, strict=True))
        )

    def raw(self, row: int) -> bytes:
        """What identifies a row's picture by content: for keyed row ids alone."""
        return b"" if self.missing[row] else self.pixels[row].tobytes()


def there(missing: Mask) -> pd.Categorical:
    """Of each row whether it has a picture, as a column of its table: a category or null."""
    import pandas as pd

    codes = cast("Sequence[int]", np.where(missing, -1, 0))
    return pd.Categorical.from_codes(codes, dtype=pd.CategoricalDtype(pd.Index([THERE])))


class Unreadable(Exception):
    """A picture that is none: caught here, never told."""


def shape_of(column: Image) -> tuple[int, ...]:
    """Of one picture as an array."""
    width, height = column.size
    return (height, width) if column.mode == "L" else (height, width, 3)


def decode_all(
    sources: list[Source], column: Image, *, advance: Callable[[], None] = lambda: None
) -> tuple[Pictures, Mask]:
    """Every source as pixels, and which of them were no pictures. Memory: the result and one picture.

    Raises:
        MissingExtra: no Pillow (or pydicom, where a source ends in .dcm).
    """
    pixels = np.zeros((len(sources), *shape_of(column)), dtype=np.uint8)
    missing = np.zeros(len(sources), dtype=np.bool_)
    failed = np.zeros(len(sources), dtype=np.bool_)
    for i, source in enumerate(sources):
        if source is None:
            missing[i] = True
        else:
            try:
                pixels[i] = decode(source, column)
            except Unreadable:
                missing[i] = failed[i] = True
        advance()
    return Pictures(pixels, missing), failed


def decode(source: bytes | Path | npt.NDArray[Any], column: Image) -> Pixels:
    """One picture at its declared size and mode.

    Raises:
        Unreadable: none that can be read within the bounds. MissingExtra: no Pillow.
    """
    if isinstance(source, np.ndarray) and source.dtype == np.uint8 and source.shape == shape_of(column):
        return source
    if isinstance(source, np.ndarray):
        picture = _of_array(source)
    elif isinstance(source, Path) and source.suffix.lower() == DICOM:
        from privsynth.data.dicom import grey_pixels

        picture = _of_array(grey_pixels(_bytes(source)))
    else:
        picture = _opened(_bytes(source) if isinstance(source, Path) else source, source)
    return np.asarray(fitted(picture, column), dtype=np.uint8)


def _bytes(path: Path) -> bytes:
    """A file's bytes; a link out of reach, a device or too large a file is no picture."""
    try:
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            raise Unreadable
        return path.read_bytes()
    except (OSError, ValueError):
        raise Unreadable from None


def _pillow() -> Any:
    try:
        from PIL import Image as pillow
    except ImportError:
        raise MissingExtra("pictures need Pillow", mend="pip install 'privsynth[images]'") from None
    return pillow


def _opened(raw: bytes, source: bytes | Path) -> Pillow.Image:
    """A decoded picture, upright. Its format is what its bytes say; a file's name must not say another kind."""
    pillow = _pillow()
    if not 0 < len(raw) <= MOST_BYTES:
        raise Unreadable
    if isinstance(source, Path) and source.suffix.lower() not in _SUFFIXES:
        raise Unreadable
    from PIL import ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pillow.DecompressionBombWarning)
            with pillow.open(io.BytesIO(raw), formats=FORMATS) as picture:
                width, height = picture.size
                if width * height > MOST_PIXELS or _goes_on(picture):
                    raise Unreadable
                picture.load()
                return ImageOps.exif_transpose(picture)
    except Unreadable:
        raise
    except MemoryError:
        raise Unreadable from None
    except Exception:  # noqa: BLE001 - decoders fail in every way there is
        raise Unreadable from None


def _goes_on(picture: Pillow.Image) -> bool:
    """Whether there is a second frame. None is counted: a TIFF file has as many pages as fit into it, and to find
    each takes longer than the one before."""
    if picture.format != "TIFF":
        return int(getattr(picture, "n_frames", 1)) != 1
    try:
        picture.seek(1)
    except EOFError:
        picture.seek(0)
        return False
    return True


def _of_array(values: npt.NDArray[Any]) -> Pillow.Image:
    """A picture of numbers: 8 or 16 bits without sign, (h, w), (h, w, 1), (h, w, 3)."""
    pillow = _pillow()
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] != 3):
        raise Unreadable
    if not 0 < values.shape[0] * values.shape[1] <= MOST_PIXELS:
        raise Unreadable
    if values.dtype == np.uint16:
        values = (values >> 8).astype(np.uint8)
    if values.dtype != np.uint8:
        raise Unreadable
    made: Pillow.Image = pillow.fromarray(np.ascontiguousarray(values))
    return made


def fitted(picture: Pillow.Image, column: Image) -> Pillow.Image:
    """To the declared mode and size: cut to its middle (``crop``), set on black (``pad``) or ``stretch``ed."""
    pillow = _pillow()
    from PIL import ImageOps

    toned = _toned(picture, column.mode)
    size = column.size
    if toned.size == size:
        return toned
    shrinks = toned.size[0] >= size[0] and toned.size[1] >= size[1]
    way = pillow.Resampling.BOX if shrinks else pillow.Resampling.BILINEAR
    match column.fit:
        case "crop":
            return ImageOps.fit(toned, size, method=way)
        case "pad":
            return ImageOps.pad(toned, size, method=way)
        case _:
            return toned.resize(size, way)


def _toned(picture: Pillow.Image, mode: str) -> Pillow.Image:
    """In the declared colours: 16 bits to 8 by their upper half, what is transparent on black."""
    if picture.mode.startswith("I;16") or picture.mode in ("I", "F"):
        values = np.asarray(picture)
        if values.dtype.kind == "f" or values.size == 0 or values.min() < 0 or values.max() > 65_535:
            raise Unreadable
        picture = _of_array(values.astype(np.uint16))
    if picture.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in picture.info:
        clear = picture.convert("RGBA")
        ground = _pillow().new("RGBA", clear.size, (0, 0, 0, 255))
        picture = _pillow().alpha_composite(ground, clear)
    return picture.convert("RGB").convert(mode) if picture.mode not in (mode, "L") else picture.convert(mode)
