"""Pixels that are made as they are read: the same whoever reads which parts, and one piece held."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest

from privsynth.data.pictures import Pictures, Pixels
from privsynth.data.unrolled import PIECE, pieces_of, unrolled

Ints = npt.NDArray[np.int64]
WHOLE = np.random.default_rng(0).integers(0, 256, (50, 4, 3), dtype=np.uint8)
THERE = np.flatnonzero(np.arange(50) % 7 != 0)
WHOLE[np.arange(50) % 7 == 0] = 0


class Painter:
    """Pieces of seven, and how often they were begun and made."""

    def __init__(self) -> None:
        self.begun = self.made = 0

    def begin(self) -> Iterator[tuple[Ints, Pixels]]:
        self.begun += 1
        for i in range(0, len(THERE), 7):
            self.made += 1
            rows = THERE[i : i + 7]
            yield rows, WHOLE[rows]


def test_it_reads_like_an_array() -> None:
    painter = Painter()
    made = unrolled(WHOLE.shape, painter.begin)
    assert (made.shape, made.ndim, len(made)) == (WHOLE.shape, 3, 50)
    assert made.dtype == np.uint8
    assert painter.begun == 0, "nothing is made before it is read"
    assert np.array_equal(made[np.arange(50)], WHOLE)
    for size in (1, 4, 11, 50):
        for start in range(0, 50, size):
            rows = np.arange(start, min(50, start + size))
            assert np.array_equal(made[rows], WHOLE[rows])
    part = made[10:40]
    assert part.shape == (30, 4, 3)
    assert np.array_equal(part[np.array([0, 5, 29])], WHOLE[[10, 15, 39]])
    assert np.array_equal(part[5:][np.array([0])], WHOLE[15:16])
    assert made[np.zeros(0, dtype=np.int64)].shape == (0, 4, 3)
    with pytest.raises(IndexError):
        made[::2]


def test_reading_on_makes_each_piece_once() -> None:
    painter = Painter()
    made = unrolled(WHOLE.shape, painter.begin)
    near, fresh = made[:30], made[30:]
    for start in range(0, 30, 4):
        near[np.arange(start, min(30, start + 4))]
    for start in range(0, 20, 4):
        fresh[np.arange(start, start + 4)]
    assert (painter.begun, painter.made) == (1, 6)
    assert np.array_equal(near[np.array([0, 1])], WHOLE[:2])
    assert painter.begun == 2, "what was passed is made again"


def test_a_piece_is_of_bounded_size() -> None:
    assert pieces_of((1024, 1024)) * 2**20 == PIECE
    assert pieces_of((28, 28)) * 784 <= PIECE
    assert pieces_of((4096, 4096, 3)) == 1


def test_pictures_of_it_are_pictures() -> None:
    held = Pictures(unrolled(WHOLE.shape, Painter().begin), np.arange(50) % 7 == 0)
    assert len(held) == 50
    assert repr(held) == "Pictures(4 × 3)"
