"""Pictures as the paid rules see them: the low band of their cosines, exactly.

So that no other real picture can move what a rule says of one, even by a rounding, all that is computed of a picture
is exact: sums of whole numbers below 2⁵³ (2²⁴ in single precision), and roundings of single numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from privsynth.data.pictures import Pictures, Pixels
from privsynth.validate.coded import Rows

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_COSINE = 2**12
_LUMA = np.array([77.0, 150.0, 29.0])
_ROWS, _PIXELS = 512, 2**22


@dataclass(frozen=True, repr=False, eq=False)
class Album:
    """Coded rows with the pictures beside them.

    Attributes:
        rows: the other columns, by subject.
        pictures: of each picture column, one for each row.
    """

    rows: Rows
    pictures: Mapping[str, Pictures]

    def __repr__(self) -> str:
        return "Album(...)"


def planes(pixels: Pixels) -> Iterator[Floats]:
    """Brightness, and of colours two differences, in 256ths of a grey level."""
    held = pixels.astype(np.float64)
    if pixels.ndim == 3:
        yield held * 256
        return
    luma = held @ _LUMA
    yield luma
    yield held[..., 2] * 256 - luma
    yield held[..., 0] * 256 - luma


def _cosines(length: int, side: int, moved: int = 0) -> Floats:
    """(side, length): the orthonormal DCT-II in 4096ths, of a line moved by so many pixels, its border repeated."""
    k, x = np.arange(min(side, length))[:, None], np.arange(length)
    waves = np.cos(np.pi * (x + 0.5) * k / length) * np.sqrt(np.where(k == 0, 1, 2) / length)
    out = np.zeros_like(waves)
    np.add.at(out.T, np.clip(x + moved, 0, length - 1), np.rint(waves.T * _COSINE))
    return out


def band(plane: Floats, side: int, down: int = 0, right: int = 0) -> Floats:
    """(n, coefficients), whole numbers of 16ths of a grey level; each sum on the way is exact."""
    height, width = plane.shape[1:]
    found = _cosines(height, side, down) @ plane @ _cosines(width, side, right).T
    return np.rint(found.reshape(len(plane), -1) / (16 * _COSINE**2))


def parts(pixels: Pixels, chosen: Ints) -> Iterator[Ints]:
    """``chosen`` rows in parts of bounded memory."""
    step = max(1, min(_ROWS, _PIXELS // max(1, int(np.prod(pixels.shape[1:])))))
    return (chosen[i : i + step] for i in range(0, len(chosen), step))
