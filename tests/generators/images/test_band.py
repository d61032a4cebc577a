"""Pictures to vectors and back."""

from __future__ import annotations

import numpy as np
import pytest

from privsynth.generators.images import band as module
from privsynth.generators.images.band import Band


def smooth(n: int = 3, *, channels: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Pictures of low frequencies."""
    y, x = np.mgrid[:16, :12] / 16
    waves = [np.cos(np.pi * (i + 1) * y) * np.cos(np.pi * i * x) for i in range(1 if channels else n)]
    grey = 127 + 100 * np.stack(waves)
    if channels:
        grey = np.stack([grey, 255 - grey, grey / 2], axis=-1)
    return grey.astype(np.uint8)


@pytest.mark.parametrize("colours", [False, True])
def test_a_whole_band_keeps_every_pixel(colours: bool) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (5, 16, 12, 3) if colours else (5, 16, 12), dtype=np.uint8)
    band = Band(16, 12, colours, 100)
    if colours:  # of colours 0.4 of the side is kept: none there, none lost
        noise = np.repeat(noise[..., :1], 3, axis=-1)
    assert np.array_equal(band.pixels(band.vectors(noise)), noise)


@pytest.mark.parametrize("channels", [0, 3])
def test_a_low_band_keeps_smooth_pictures(channels: int) -> None:
    held = smooth(channels=channels)
    band = Band(16, 12, channels == 3, 8)
    assert band.vectors(held).shape == (len(held), band.size)
    assert np.abs(band.pixels(band.vectors(held)).astype(int) - held).max() <= 5


def test_lengths_are_those_of_the_pictures() -> None:
    """An orthonormal map shortens and never lengthens."""
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 256, (20, 16, 12), dtype=np.uint8)
    whole = np.linalg.norm(noise.reshape(20, -1) / 255, axis=1)
    assert np.allclose(np.linalg.norm(Band(16, 12, False, 99).vectors(noise), axis=1), whole)
    assert (np.linalg.norm(Band(16, 12, False, 5).vectors(noise), axis=1) <= whole + 1e-9).all()


def test_a_picture_s_vector_is_its_own() -> None:
    rng = np.random.default_rng(2)
    noise = rng.integers(0, 256, (6, 16, 12), dtype=np.uint8)
    band = Band(16, 12, False, 6, aligned=True)
    assert np.allclose(band.vectors(noise)[3], band.vectors(noise[3:4])[0])


def stroke(down: int, right: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    out = np.zeros((28, 28), dtype=np.uint8)
    out[8 + down : 20 + down, 12 + right : 16 + right] = 255
    return out


def test_aligned_pictures_differ_by_their_place_alone() -> None:
    """The same stroke elsewhere has the same band, and the place in the last numbers."""
    band = Band(28, 28, False, 28, aligned=True)
    here, there = band.vectors(np.stack([stroke(0, 0), stroke(3, -2)]))
    assert np.abs(here[:-3] - there[:-3]).max() < 1e-3
    assert (there - here)[-3:] / [0.4, 0.4, 2.0] == pytest.approx([3.0, -2.0, 0.0], abs=1e-3)
    shown = band.pixels(np.stack([here, there])).astype(int)
    assert np.abs(shown[1] - stroke(3, -2)).mean() < 2
    plain = Band(28, 28, False, 28).vectors(np.stack([stroke(0, 0), stroke(3, -2)]))
    assert np.linalg.norm(plain[0] - plain[1]) > 3


def test_a_slant_is_taken_out_and_put_back() -> None:
    upright = np.zeros((28, 28))
    upright[4:24, 12:16] = 255
    slanted = np.stack([np.roll(upright[r], (r - 14) // 3) for r in range(28)]).astype(np.uint8)
    band = Band(28, 28, False, 28, aligned=True)
    vector = band.vectors(slanted[None])
    assert vector[0, -1] / 2.0 == pytest.approx(1 / 3, abs=0.05)
    assert np.abs(band.pixels(vector)[0].astype(int) - slanted).mean() < 12
    straight = Band(28, 28, False, 28).pixels(vector[:, :-3])[0]
    assert straight[:, 10:18].sum() > 0.97 * straight.sum()


def test_an_empty_picture_has_a_vector() -> None:
    band = Band(28, 28, False, 10, aligned=True)
    assert np.isfinite(band.vectors(np.zeros((2, 28, 28), dtype=np.uint8))).all()
    assert not band.pixels(np.zeros((1, band.size))).any()


@pytest.mark.parametrize("colours", [False, True])
def test_what_is_left_of_a_vector_is_that_of_its_picture(colours: bool) -> None:
    """Up to the rounding of pixels; and a vector of a real picture of the whole band is left as it is."""
    rng = np.random.default_rng(3)
    band = Band(16, 12, colours, 6)
    wild = rng.normal(size=(5, band.size)) * 3
    assert np.abs(band.seen(wild) - band.vectors(band.pixels(wild))).max() < 0.05
    assert np.linalg.norm(band.seen(wild)) < np.linalg.norm(wild)
    calm = band.vectors(np.full((2, 16, 12, 3) if colours else (2, 16, 12), 128, dtype=np.uint8))
    assert np.allclose(band.seen(calm), calm)


def test_places_are_left_as_they_are() -> None:
    band = Band(28, 28, False, 8, aligned=True)
    wild = np.random.default_rng(4).normal(size=(3, band.size)) * 5
    assert np.array_equal(band.seen(wild)[:, -3:], wild[:, -3:])


def test_a_ring_is_of_one_channel_and_one_frequency() -> None:
    band = Band(16, 16, True, 5)
    rings = band.rings
    assert len(rings) == band.size == 25 + 4 + 4
    assert rings[:6].tolist() == [0, 1, 2, 3, 4, 1]
    assert set(rings[:25]).isdisjoint(rings[25:29])
    assert set(rings[25:29]).isdisjoint(rings[29:])
    placed = Band(16, 16, False, 5, aligned=True).rings
    assert (placed[:25].min(), len(set(placed[25:]))) == (0, 3)
    assert placed[25:].max() < 0


KINDS = [
    Band(16, 12, False, 6),
    Band(16, 12, False, 6, aligned=True),
    Band(16, 12, True, 6),
    Band(1, 7, False, 6),
    Band(33, 29, False, 24, aligned=True),
]


@pytest.mark.parametrize("band", KINDS, ids=str)
def test_nothing_depends_on_the_block(band: Band, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the last bit: blocks bound memory and are no part of what is told."""
    rng = np.random.default_rng(5)
    shape = (band.height, band.width, *((3,) if band.colours else ()))
    pixels, wild = rng.integers(0, 256, (37, *shape), dtype=np.uint8), rng.normal(size=(37, band.size))

    def told() -> list[bytes]:
        return [band.vectors(pixels).tobytes(), band.pixels(wild).tobytes(), band.seen(wild).tobytes()]

    whole = told()
    for most in (1, 5, 36):
        monkeypatch.setattr(module, "_AT_ONCE", most)
        assert told() == whole


@pytest.mark.parametrize("band", KINDS, ids=str)
def test_no_pictures_have_no_vectors(band: Band) -> None:
    shape = (band.height, band.width, *((3,) if band.colours else ()))
    assert band.vectors(np.zeros((0, *shape), dtype=np.uint8)).shape == (0, band.size)
    assert band.pixels(np.zeros((0, band.size))).shape == (0, *shape)
    assert band.seen(np.zeros((0, band.size))).shape == (0, band.size)


def test_blocks_of_large_pictures_hold_fewer() -> None:
    assert Band(28, 28, False, 14, aligned=True).at_once == 4096
    assert Band(64, 64, True, 14).at_once == 341
    assert Band(4096, 4096, True, 24).at_once == 1
