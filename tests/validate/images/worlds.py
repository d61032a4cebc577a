"""Generators with a known fault beside real digits: what a measure of pictures must tell apart."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from privsynth.data.pictures import Pixels

Ints = npt.NDArray[np.int64]


def digits() -> tuple[Pixels, Ints]:
    """(1,797, 16, 16) in an order that is no order, and their classes."""
    from sklearn.datasets import load_digits

    held = load_digits()
    order = np.random.default_rng(0).permutation(len(held.target))
    grey = np.minimum(held.images * 16, 255).astype(np.uint8)[order]
    return grey.repeat(2, axis=1).repeat(2, axis=2), held.target[order].astype(np.int64)


def halves() -> tuple[Pixels, Ints, Pixels, Ints]:
    """Real ones, and fresh ones of the same people's hands: 898 each."""
    pixels, classes = digits()
    return pixels[:898], classes[:898], pixels[898:1796], classes[898:1796]


def blurred(pixels: Pixels) -> Pixels:
    """Each pixel the mean of 5 × 5."""
    padded = np.pad(pixels.astype(float), ((0, 0), (2, 2), (2, 2)), mode="edge")
    return np.asarray(
        np.mean([padded[:, i : i + 16, j : j + 16] for i in range(5) for j in range(5)], axis=0), dtype=np.uint8
    )


def noisy(pixels: Pixels) -> Pixels:
    """With noise of a quarter of the range."""
    noise = np.random.default_rng(1).normal(size=pixels.shape) * 64
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def collapsed(pixels: Pixels, classes: Ints) -> Pixels:
    """Of each class one picture, again and again, less a grain."""
    first = np.array([int(np.argmax(classes == c)) for c in classes])
    grain = np.random.default_rng(2).integers(0, 8, pixels.shape)
    return np.asarray(np.minimum(pixels[first].astype(np.int64) + grain, 255), dtype=np.uint8)


def one_kind(pixels: Pixels, classes: Ints) -> Pixels:
    """Of all classes the first alone."""
    held = pixels[classes == 0]
    out: Pixels = held[np.arange(len(pixels)) % len(held)]
    return out


def flat(pixels: Pixels, classes: Ints) -> Pixels:
    """Each the mean of its class."""
    means = np.stack([pixels[classes == c].mean(axis=0) for c in range(10)])
    out: Pixels = means[classes].astype(np.uint8)
    return out
