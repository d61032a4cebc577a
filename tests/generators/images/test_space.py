"""Pixels to what a network sees, and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from privsynth.data.pictures import Pixels
from privsynth.errors import ModelError
from privsynth.generators.images.space import PixelSpace, Space, VectorSpace, picture_shape, space_of
from tests.generators.images.test_portrait import digits, portrait, setting


def pictures(*shape: int) -> Pixels:
    """Random ones, brighter to the right."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 120, shape[1]).reshape(1, 1, -1, *[1] * (len(shape) - 2))
    return np.asarray(rng.integers(0, 120, (50, *shape)) + ramp, dtype=np.uint8)


@pytest.mark.parametrize("shape", [(8, 8), (10, 14), (9, 7, 3), (44, 30), (48, 41, 3)])
def test_pictures_come_back(shape: tuple[int, ...]) -> None:
    pixels = pictures(*shape)
    space = PixelSpace.of(pixels)
    held = space.inward(pixels)
    assert held.shape[1:] == space.shape == picture_shape(shape[0], shape[1], 3 if len(shape) == 3 else 1)
    assert held.is_contiguous()
    assert max(space.shape[1:]) <= 40
    assert all(side % 4 == 0 for side in space.shape[1:])
    assert np.array_equal(space.outward(held), pixels)


def test_what_comes_in_is_of_one_size() -> None:
    pixels = pictures(12, 12)
    held = PixelSpace.of(pixels).inward(pixels)
    assert float(held.square().mean().sqrt()) == pytest.approx(0.5, abs=0.01)
    assert abs(float(held.mean())) < 0.01


def test_pictures_all_alike_make_a_space_too() -> None:
    space = PixelSpace.of(np.full((5, 8, 8), 7, dtype=np.uint8))
    assert torch.isfinite(space.inward(pictures(8, 8))).all()


def test_what_is_not_finite_becomes_a_picture() -> None:
    space = PixelSpace.of(pictures(8, 8))
    drawn = space.outward(torch.full((2, *space.shape), float("nan")))
    assert drawn.shape == (2, 8, 8)


def vectors() -> tuple[VectorSpace, Pixels]:
    pixels, classes = digits()
    found, _, _ = portrait(pixels, classes, setting(8, 8, 10, straight=False), mu=20.0)
    return VectorSpace.of(found, pixels), pixels


def test_vectors_tell_most_of_a_picture() -> None:
    space, pixels = vectors()
    held = space.inward(pixels)
    assert held.shape == (len(pixels), *space.shape)
    assert float(held.square().mean().sqrt()) == pytest.approx(0.5, abs=0.01)
    off = space.outward(held).astype(float) - pixels
    assert np.sqrt((off**2).mean()) < 0.5 * pixels.astype(float).std()


@pytest.mark.parametrize("kind", ["pixels", "vectors"])
def test_a_space_comes_back_from_its_arrays(kind: str) -> None:
    vector, pixels = vectors()
    space: Space = vector if kind == "vectors" else PixelSpace.of(pixels)
    again = space_of(dict(space.arrays), vector.band if kind == "vectors" else None)
    assert torch.allclose(again.inward(pixels[:5]), space.inward(pixels[:5]), rtol=1e-5, atol=1e-5)


def test_arrays_of_nothing_are_refused() -> None:
    with pytest.raises(ModelError):
        space_of({}, None)
