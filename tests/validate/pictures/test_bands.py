"""The low band of a picture: right, exact at every size, and the same for a moved picture as if it were moved."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy.fft import dctn

from privsynth.data.pictures import Pixels
from privsynth.validate.pictures.bands import band, parts, planes
from privsynth.validate.pictures.copies import Gallery
from tests.validate.pictures.drawn import pictures


def some(*shape: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("shape", [(3, 9, 14), (2, 64, 48), (1, 1, 5)])
def test_it_is_the_cosine_transform(shape: tuple[int, ...]) -> None:
    """In 16ths of a grey level, but for cosines of 12 bits."""
    pixels = some(*shape)
    found = band(next(planes(pixels)), 10)
    wanted = dctn(pixels.astype(np.float64), axes=(1, 2), norm="ortho")[:, :10, :10].reshape(len(pixels), -1)
    largest = float(np.abs(wanted).max())
    assert np.abs(found / 16 - wanted).max() < 0.04 + 1e-3 * largest
    assert (found == np.rint(found)).all()


def test_colours_are_brightness_and_two_differences() -> None:
    pixels = some(4, 6, 6, 3)
    luma, blue, red = planes(pixels)
    assert (luma == pixels @ np.array([77, 150, 29], dtype=np.int64)).all()
    assert (blue == pixels[..., 2].astype(np.int64) * 256 - luma).all()
    assert (red == pixels[..., 0].astype(np.int64) * 256 - luma).all()
    [grey] = planes(np.repeat(pixels[..., :1], 3, axis=3)[..., 0])
    assert (grey == pixels[..., 0].astype(np.int64) * 256).all()


@pytest.mark.parametrize(("down", "right"), [(1, 0), (-2, 0), (0, 2), (1, -1)])
def test_a_moved_picture_is_one_that_was_moved(down: int, right: int) -> None:
    pixels = some(5, 12, 16)
    padded = np.pad(pixels, ((0, 0), (2, 2), (2, 2)), mode="edge")
    moved = padded[:, 2 + down : 14 + down, 2 + right : 18 + right]
    assert (band(next(planes(pixels)), 8, down, right) == band(next(planes(moved)), 8)).all()


def test_the_largest_sums_are_exact() -> None:
    """Of the largest and hardest picture that a schema can declare, in float64 as in whole numbers of any size."""
    bright = np.full((1, 4096, 4096), 255, dtype=np.uint8)
    found = band(next(planes(bright)), 2)
    assert found[0, 0] == (255 * 4096 * 16)
    assert 255 * 256 * (4096 * 64.5) ** 2 < 2**53


def test_products_of_vectors_are_exact_in_single_precision() -> None:
    pixels = some(300, 12, 12)
    near = Gallery.of(pictures(pixels), rng=np.random.default_rng(0)).near
    whole: npt.NDArray[np.int64] = near.astype(np.int64)
    assert (whole == near).all()
    assert (whole**2).sum(axis=1).max() < 2**24
    assert ((near @ near.T).astype(np.int64) == whole @ whole.T).all()


def test_parts_cover_every_row_once_in_bounded_memory() -> None:
    pixels = np.zeros((1100, 100, 100, 3), dtype=np.uint8)
    chosen = np.arange(1, 1100, 2)
    found = list(parts(pixels, chosen))
    assert np.concatenate(found).tolist() == chosen.tolist()
    assert max(map(len, found)) * 30_000 <= 2**22
