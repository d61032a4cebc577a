"""Spaces without trained weights: the same everywhere, each picture's own, open to what they are for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from privsynth.validate.images.features import DIRECTIONS, SIZE, convolved, octaves
from tests.validate.images.worlds import blurred, halves, noisy


def test_vectors_are_each_picture_s_own() -> None:
    pixels, *_ = halves()
    whole = convolved(pixels[:600])
    assert whole.shape == (600, SIZE)
    assert np.allclose(convolved(pixels[590:600]), whole[590:], atol=1e-5)
    assert np.allclose(octaves(pixels[5:6])[0], octaves(pixels[:6])[5])


def test_weights_are_drawn_by_a_seed_of_their_own() -> None:
    """The global generator is neither read nor moved."""
    pixels, *_ = halves()
    before = torch.get_rng_state()
    found = convolved(pixels[:3])
    assert torch.equal(torch.get_rng_state(), before)
    assert found.sum() == pytest.approx(convolved(pixels[:3]).sum(), rel=0)


@pytest.mark.parametrize("shape", [(4, 8, 8), (4, 28, 28), (4, 64, 64, 3), (4, 20, 33), (0, 9, 9)])
def test_pictures_of_any_size_and_colour(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert convolved(pixels).shape == (shape[0], SIZE)
    assert np.isfinite(convolved(pixels)).all()


def test_grey_as_colours_is_the_same() -> None:
    pixels, *_ = halves()
    assert np.allclose(convolved(np.repeat(pixels[:5, ..., None], 3, axis=3)), convolved(pixels[:5]), atol=1e-6)


def test_blur_takes_from_high_octaves_and_noise_adds_to_them() -> None:
    pixels, *_ = halves()
    high = octaves(pixels)[:, -DIRECTIONS:].mean()
    assert octaves(blurred(pixels))[:, -DIRECTIONS:].mean() < 0.7 * high
    assert octaves(noisy(pixels))[:, -DIRECTIONS:].mean() > 1.3 * high


def test_an_octave_knows_its_direction() -> None:
    lying = np.broadcast_to((np.arange(16) % 8 < 4)[:, None] * np.uint8(200), (16, 16))
    lying_, upright = octaves(np.stack([lying, lying.T]).astype(np.uint8))
    assert lying_[DIRECTIONS::DIRECTIONS].sum() > 5 * lying_[1::DIRECTIONS].sum()
    assert upright[1::DIRECTIONS].sum() > 5 * upright[DIRECTIONS::DIRECTIONS].sum()
