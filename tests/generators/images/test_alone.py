"""A row's numbers are its own: to the last bit, in whatever company."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from privsynth.generators.images.alone import along, lengths
from privsynth.generators.images.band import Band
from privsynth.generators.images.portrait import View
from privsynth.generators.images.space import VectorSpace
from privsynth.generators.images.sums import shortened

Floats = npt.NDArray[np.float64]


def some(n: int, d: int, *, seed: int = 0) -> Floats:
    """Rows about as long as pictures of 28 pixels."""
    return np.asarray(np.random.default_rng(seed).normal(size=(n, d)) * 3)


def orthonormal(d: int, r: int) -> Floats:
    return np.asarray(np.linalg.qr(some(d, r, seed=1))[0])


def company(n: int) -> list[npt.NDArray[np.int64]]:
    """Choices of rows: all, alone, few, shifted by some, turned, and one left out."""
    everyone = np.arange(n)
    alone = [everyone[i : i + 1] for i in (0, n // 2, n - 1)]
    parts = [everyone[i:j] for i, j in ((1, n), (7, n), (0, n - 1), (3, 8), (5, 22), (n - 17, n))]
    return [everyone, *alone, *parts, everyone[::-1], np.delete(everyone, n // 3)]


@pytest.mark.parametrize(("d", "r"), [(1, 1), (7, 3), (196, 40), (576, 160)])
def test_a_row_is_the_same_wherever_it_stands(d: int, r: int) -> None:
    held, axes = some(4097, d), orthonormal(d, r)
    view = View(False, centre=some(1, d, seed=2)[0], effects=some(5, d, seed=3), axes=axes)
    cells = np.random.default_rng(4).integers(0, 5, (len(held), 1))
    whole = {
        "along": along(held, axes),
        "lengths": lengths(held),
        "view": view.of(held, cells, (5,)),
        "grid": shortened(held, 20.0),
    }
    for chosen in company(len(held)):
        part = held[chosen]
        assert np.array_equal(along(part, axes), whole["along"][chosen])
        assert np.array_equal(lengths(part), whole["lengths"][chosen])
        assert np.array_equal(view.of(part, cells[chosen], (5,)), whole["view"][chosen])
        assert np.array_equal(shortened(part, 20.0), whole["grid"][chosen])


def test_products_are_exact() -> None:
    """As in whole numbers of any size, of the largest rows and of axes all alike, which fill the room."""
    held = np.clip(some(6, 300) * 1e4, -(2.0**14), 2.0**14)
    held[0] = 2.0**14
    for axes in (orthonormal(300, 20), np.full((300, 2), 1.0), np.full((300, 2), 1e-9), np.zeros((300, 2))):
        found = along(held, axes)
        steps = np.rint(held * 2**14).astype(np.int64).astype(object)
        most = np.abs(axes).sum(axis=0).max()
        fine = 2.0 ** np.floor(np.log2(2.0**24 / most)) if most else 1.0
        wanted = steps @ np.rint(axes * fine).astype(np.int64).astype(object)
        assert max(abs(int(w)) for w in wanted.ravel()) <= 2**53
        assert np.array_equal(found, wanted.astype(np.float64) / (2**14 * fine))
    assert np.abs(along(some(50, 300), orthonormal(300, 20)) - some(50, 300) @ orthonormal(300, 20)).max() < 1e-2


def test_what_is_not_finite_is_bounded() -> None:
    wild = np.array([[np.nan, np.inf, -np.inf, 1e300]])
    assert np.abs(along(wild, np.eye(4))).max() == 2.0**14
    assert lengths(np.array([[3.0, -4.0]])).tolist() == [5.0]


def test_nobody_s_grid_moves_when_somebody_leaves() -> None:
    """Inner views of pictures, as second moments of classes are asked along them: one person less changes the sum of
    the others by nothing at all."""
    pixels = np.random.default_rng(5).integers(0, 256, (600, 12, 12), dtype=np.uint8)
    band = Band(12, 12, False, 8)
    view = View(False, centre=band.vectors(pixels[:9]).mean(axis=0), axes=orthonormal(64, 21))
    cells = np.zeros((600, 1), dtype=np.int64)
    whole = shortened(view.of(band.vectors(pixels), cells, (1,)), 2.0)
    for gone in (0, 17, 300, 599):
        left = np.delete(np.arange(600), gone)
        found = shortened(view.of(band.vectors(pixels[left]), cells[left], (1,)), 2.0)
        assert np.array_equal(found, whole[left])


def test_what_a_network_sees_of_a_picture_is_its_own() -> None:
    pixels = np.random.default_rng(6).integers(0, 256, (300, 12, 12), dtype=np.uint8)
    axes = orthonormal(64, 30).astype(np.float32)
    space = VectorSpace(Band(12, 12, False, 8), np.full(64, 0.5, dtype=np.float32), axes, 0.2)
    whole = space.inward(pixels).numpy()
    for chosen in company(300):
        assert np.array_equal(space.inward(pixels[chosen]).numpy(), whole[chosen])
