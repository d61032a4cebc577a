"""The steps from paid sums to a portrait: price, replay, what is told of pictures."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest

from privsynth.data.pictures import Pixels
from privsynth.errors import ModelError
from privsynth.generators.images.asked import Rows, Told
from privsynth.generators.images.band import Band
from privsynth.generators.images.portrait import EFFECTS, MOST_EFFECTS, Portrait, Setting, View, effects_share, portray
from privsynth.generators.images.sums import Noisy, Till
from privsynth.generators.marginals.purse import Purse
from privsynth.privacy.noise import NoiseSource, SecureNoise, SeededNoise
from tests.generators.marginals.recorded import Recorder

Ints = npt.NDArray[np.int64]


def digits() -> tuple[Pixels, Ints]:
    """(1,797, 8, 8) and their classes."""
    from sklearn.datasets import load_digits

    held = load_digits()
    return np.asarray(np.minimum(held.images * 16, 255), dtype=np.uint8), np.asarray(held.target, dtype=np.int64)


def strokes(n: int = 400) -> tuple[Pixels, Ints]:
    """Upright and lying strokes, anywhere."""
    rng = np.random.default_rng(0)
    out, lying = np.zeros((n, 28, 28), dtype=np.uint8), rng.integers(0, 2, n)
    for picture, flat, (down, right) in zip(out, lying, rng.integers(-5, 6, (n, 2)), strict=True):
        tall, wide = (4, 12) if flat else (12, 4)
        picture[14 - tall // 2 + down :, 14 - wide // 2 + right :][:tall, :wide] = 255
    return out, lying.astype(np.int64)


def setting(side: int, band: int, classes: int, *, straight: bool) -> Setting:
    plain = Band(side, side, False, band)
    return Setting(plain, Band(side, side, False, band, aligned=True) if straight else None, (classes,))


def portrait(
    pixels: Pixels, classes: Ints, held: Setting, *, mu: float, noise: NoiseSource | None = None, k: int = 1
) -> tuple[Portrait, Rows, Purse]:
    purse = Purse(noise or SeededNoise(3), cap=Fraction(mu) ** 2)
    rows = Rows(held, pixels, classes[:, None], Till(purse, contribution=k), mu * mu)
    return portray(rows, held, rows=len(pixels), beside=np.diag(np.bincount(classes).astype(float))), rows, purse


def arrays(found: Portrait) -> list[npt.NDArray[np.float64]]:
    return list(found.arrays)


@pytest.mark.parametrize("straight", [False, True])
@pytest.mark.parametrize("k", [1, 5])
def test_a_portrait_costs_its_price_and_hardly_less(straight: bool, k: int) -> None:
    """Every step is paid out of an exact cap; sigma's grid leaves at most 6% of it."""
    _, _, purse = portrait(*strokes(), setting(28, 6, 2, straight=straight), mu=0.5, k=k)
    assert 0 <= purse.left <= Fraction(6, 100) * Fraction(1, 4)


@pytest.mark.parametrize("make", [digits, strokes])
def test_a_transcript_gives_the_same_portrait(make: object) -> None:
    pixels, classes = digits() if make is digits else strokes()
    held = setting(pixels.shape[1], 6, int(classes.max()) + 1, straight=True)
    found, rows, _ = portrait(pixels, classes, held, mu=2.0, noise=SecureNoise())
    again = portray(Told(rows.told), held, rows=len(pixels), beside=np.diag(np.bincount(classes).astype(float)))
    assert again.band == found.band
    assert all(np.array_equal(a, b) for a, b in zip(arrays(found), arrays(again), strict=True))


def test_the_rows_show_in_nothing_but_the_noisy_sums() -> None:
    """Other pictures, and the outputs of the first: the same questions at the same noise, the same portrait."""
    pixels, classes = digits()
    held = setting(8, 6, 10, straight=True)
    recorder = Recorder(SeededNoise(9))
    first, rows, _ = portrait(pixels, classes, held, mu=1.0, noise=recorder)
    replay = recorder.replay()
    other, told, _ = portrait(255 - pixels[::-1], np.roll(classes, 7), held, mu=1.0, noise=replay)
    assert replay.sigmas == recorder.sigmas
    assert list(told.told) == list(rows.told)
    assert all(np.array_equal(a, b) for a, b in zip(arrays(first), arrays(other), strict=True))


def test_pictures_of_a_class_are_told_by_its_portrait() -> None:
    """Drawn digits are nearest to their own class's real mean, at little noise; hardly better than chance at much."""
    pixels, classes = digits()
    real = np.stack([pixels[classes == c].reshape(-1, 64).mean(0) for c in range(10)])

    def right(mu: float) -> float:
        found, _, _ = portrait(pixels, classes, setting(8, 8, 10, straight=False), mu=mu)
        rng = np.random.default_rng(1)
        which = np.repeat(np.arange(10), 50)
        inner = np.einsum("nr,nsr->ns", rng.normal(size=(500, found.roots.shape[2])), found.roots[which])
        drawn = found.band.pixels(found.centre + found.effects[which] + inner @ found.axes.T).reshape(500, 64)
        nearest = ((drawn[:, None] - real[None]) ** 2).sum(2).argmin(1)
        return float((nearest == which).mean())

    assert right(20.0) > 0.8
    assert right(0.02) < 0.4


def test_pictures_are_aligned_where_that_leaves_less() -> None:
    found, _, _ = portrait(*strokes(), setting(28, 10, 2, straight=True), mu=5.0)
    assert found.band.aligned
    rng = np.random.default_rng(2)
    waves = rng.normal(size=(400, 28, 28)).cumsum(1).cumsum(2)
    textures = np.clip(127 + waves * 2, 0, 255).astype(np.uint8)
    assert not portrait(textures, np.arange(400) % 2, setting(28, 10, 2, straight=True), mu=5.0)[0].band.aligned


def test_a_view_takes_off_what_each_value_adds() -> None:
    view = View(
        False, np.array([1.0, 0.0]), np.array([[1.0, 0], [2, 0], [0, 5], [0, 6], [0, 7]]), np.array([[1.0], [1]])
    )
    seen = view.of(np.zeros((2, 2)), np.array([[0, 2], [1, 0]]), (2, 3))
    assert seen.tolist() == [[-1 - 1 - 7], [-1 - 2 - 5]]


def test_a_transcript_without_a_table_is_refused() -> None:
    empty: Mapping[str, Noisy] = {}
    with pytest.raises(ModelError, match="plain whole"):
        portray(Told(empty), setting(8, 6, 10, straight=False), rows=10, beside=np.eye(10))


def test_the_less_is_told_the_more_of_it_sets_values_apart() -> None:
    assert effects_share(400) == MOST_EFFECTS
    assert effects_share(1e9) == EFFECTS
    assert EFFECTS < effects_share(5_000) < MOST_EFFECTS


def test_what_no_axis_holds_is_drawn_beside_them() -> None:
    found, _, _ = portrait(*digits(), setting(8, 8, 10, straight=False), mu=0.5)
    rng = np.random.default_rng(0)
    grains = found.grains(4000, rng)
    assert np.abs(grains @ found.axes).max() < 1e-9
    assert found.grain.any()
    assert (grains**2).sum(axis=1).mean() <= 1.05 * (found.grain**2).sum()
