"""Pictures of nothing: soft blots, bars and rings, by a seed. They teach a network what an edge is, and no more."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from privsynth.data.pictures import Pixels

_SHAPES = 3
"""On each picture."""


def procedural(n: int, shape: tuple[int, ...], rng: np.random.Generator) -> Pixels:
    """(n, height, width[, 3]) pictures."""
    height, width = shape[:2]
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None]
    channels = shape[2] if len(shape) == 3 else 1
    out = np.tile((rng.random((n, 1, 1, channels)) < 0.5) * rng.random((n, 1, 1, channels)), (1, height, width, 1))
    for _ in range(_SHAPES):
        inside = _shape(n, y, x, 2.0 / max(height, width), rng)[..., None]
        out = out * (1 - inside) + inside * rng.random((n, 1, 1, channels))
    pixels = np.rint(out * 255).astype(np.uint8)
    return pixels if len(shape) == 3 else np.ascontiguousarray(pixels[..., 0])


def _shape(
    n: int, y: npt.NDArray[np.float64], x: npt.NDArray[np.float64], pixel: float, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """(n, height, width) how far each pixel is within a blot, a bar or a ring."""

    def each(low: float, high: float) -> npt.NDArray[np.float64]:
        return rng.uniform(low, high, (n, 1, 1))

    turn, down, right = each(0, np.pi), each(-0.7, 0.7), each(-0.7, 0.7)
    long = (x - right) * np.cos(turn) + (y - down) * np.sin(turn)
    across = (y - down) * np.cos(turn) - (x - right) * np.sin(turn)
    tall, wide, kind = each(0.15, 0.8), each(0.05, 0.4), rng.integers(0, 3, (n, 1, 1))
    round_ = (np.sqrt((long / tall) ** 2 + (across / wide) ** 2) - 1) * wide
    bar = np.maximum(np.abs(long) - tall, np.abs(across) - wide)
    ring = np.abs(np.sqrt(long**2 + across**2) - tall) - wide / 2
    away = np.select([kind == 0, kind == 1], [round_, bar], ring)
    return np.asarray(1 / (1 + np.exp(np.clip(2 * away / pixel, -30, 30))))
