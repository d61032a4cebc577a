"""Pixels of very many pictures, made as they are read: an array to whoever reads ascending rows, some at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import cast

import numpy as np
import numpy.typing as npt

from privsynth.data.pictures import Pixels

Ints = npt.NDArray[np.int64]
Pieces = Iterator[tuple[Ints, Pixels]]
PIECE = 2**25
"""Bytes of pixels of a piece, about, or one picture."""


def pieces_of(shape: tuple[int, ...]) -> int:
    """How many pictures of (height, width[, 3]) make a piece."""
    return max(1, PIECE // max(1, int(np.prod(shape))))


def unrolled(shape: tuple[int, ...], begin: Callable[[], Pieces]) -> Pixels:
    """(n, height, width[, 3]) pixels of which one piece is held.

    What reads it by ``[rows]`` (ascending) and ``[start:stop]``, its shape and length, need not know what it is; any
    other use fails. Rows that no piece has are 0. To read earlier rows again begins anew.

    Args:
        begin: the pieces from the first one on, the same each time: ascending rows and their pixels.
    """
    return cast("Pixels", _Unrolled(_Roll(begin), 0, shape))


class _Roll:
    """Pieces, one after the other, and from the start where something earlier is asked."""

    def __init__(self, begin: Callable[[], Pieces]) -> None:
        self._begin = begin
        self._left: Pieces | None = None
        self._held: tuple[Ints, Pixels] | None = None
        self._past = -1  # the last row of the pieces that are gone

    def read(self, rows: Ints, out: Pixels) -> None:
        """Fill ``out`` with the pictures of these ascending rows."""
        if not len(rows):
            return
        if self._left is None or rows[0] <= self._past:
            self._left, self._held, self._past = self._begin(), None, -1
        while True:
            if self._held is not None:
                there, pixels = self._held
                _, places, found = np.intersect1d(rows, there, assume_unique=True, return_indices=True)
                out[places] = pixels[found]
                if there[-1] >= rows[-1]:
                    return
                self._past = int(there[-1])
            self._held = next(self._left, None)
            if self._held is None:
                return


class _Unrolled:
    """What :func:`unrolled` gives: rows from ``start`` on."""

    dtype = np.dtype(np.uint8)

    def __init__(self, roll: _Roll, start: int, shape: tuple[int, ...]) -> None:
        self._roll, self._start, self.shape = roll, start, shape

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | Ints) -> Pixels:
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step != 1:
                raise IndexError("unrolled pixels are read in order")
            length = max(0, stop - start)
            return cast("Pixels", _Unrolled(self._roll, self._start + start, (length, *self.shape[1:])))
        out = np.zeros((len(rows), *self.shape[1:]), dtype=np.uint8)
        self._roll.read(np.asarray(rows, dtype=np.int64) + self._start, out)
        return out
