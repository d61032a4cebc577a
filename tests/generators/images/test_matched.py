"""Pictures cut to what a pixel can be have nearer the means and spreads that were told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from privsynth.generators.images.band import Band
from privsynth.generators.images.matched import matched
from privsynth.generators.images.portrait import Portrait

Floats = npt.NDArray[np.float64]
BAND = Band(12, 12, False, 12)


def dark(*, sizes: tuple[int, ...] = (2,), spread: float = 1.5) -> Portrait:
    """Faint patches on black ground, one place a value, spread so far that half of each would be below black."""
    rng = np.random.default_rng(0)
    pictures = np.zeros((sum(sizes), 12, 12), dtype=np.uint8)
    for i, picture in enumerate(pictures):
        picture[i * 2 : i * 2 + 4, 3:9] = 50
    axes, _ = np.linalg.qr(rng.normal(size=(BAND.size, 5)))
    roots = np.tile(spread * np.eye(5), (sizes[0], 1, 1))
    return Portrait(BAND, np.zeros(BAND.size), BAND.vectors(pictures), axes, roots, np.zeros(BAND.size), 0.0, sizes)


def off(drawn: Portrait, told: Portrait, cells: npt.NDArray[np.int64]) -> tuple[float, float]:
    """How far drawn means and spreads are from those told, by 4,000 draws. Two steps take the means from 1.5 to 0.9."""
    rng = np.random.default_rng(1)
    rows = np.tile(cells, (4000, 1))
    inner = rng.normal(size=(4000, 5)) @ drawn.roots[cells[0]].T
    seen = BAND.seen(drawn.mean(rows) + inner @ drawn.axes.T)
    mean = float(((seen.mean(axis=0) - told.mean(cells[None])[0]) ** 2).sum())
    spread = np.cov((seen @ drawn.axes).T) - told.roots[cells[0]] @ told.roots[cells[0]].T
    return mean, float((spread**2).sum())


def test_cut_pictures_come_nearer_to_what_was_told() -> None:
    told = dark()
    found = matched(told, np.diag([100.0, 300.0]))
    for cell in range(2):
        before, after = off(told, told, np.array([cell])), off(found, told, np.array([cell]))
        assert after[0] < 0.75 * before[0]
        assert after[1] < before[1]


def test_later_columns_are_matched_too() -> None:
    told = dark(sizes=(2, 3))
    beside = np.block([[np.diag([50.0, 50.0]), np.full((2, 3), 17.0)], [np.full((3, 2), 17.0), np.diag([34.0] * 3)]])
    found = matched(told, beside)
    assert not np.array_equal(found.effects[2:], told.effects[2:])
    cells = np.array([0, 2])
    assert off(found, told, cells)[0] < off(told, told, cells)[0]


def test_what_is_never_cut_stays() -> None:
    """Half grey, hardly spread. Up to the draws' own error."""
    told = dark(spread=0.01)
    grey = replace(told, centre=BAND.vectors(np.full((1, 12, 12), 100, dtype=np.uint8))[0])
    found = matched(grey, np.eye(2))
    assert found.effects == pytest.approx(grey.effects, abs=1e-6)
    assert found.roots @ found.roots.transpose(0, 2, 1) == pytest.approx(grey.roots @ grey.roots, abs=1e-8)


def test_the_same_from_the_same() -> None:
    told = dark()
    one, other = (matched(told, np.eye(2)) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(one.arrays, other.arrays, strict=True))
