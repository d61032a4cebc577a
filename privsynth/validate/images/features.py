"""Pictures → vectors in which they are compared, without weights that anybody trained.

Two spaces: means over 4 × 4 places of a small convolutional network whose weights are drawn once by a fixed seed
(random weights keep edges, texture and place apart well enough to tell blur, noise and missing kinds), and how much of
each octave and direction a picture holds, by the cosine transform. Both are a function of each picture alone.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from privsynth.data.pictures import Pixels

if TYPE_CHECKING:
    import torch

Floats = npt.NDArray[np.float64]

SIZE = 512
"""Of a vector of :func:`convolved`."""
DIRECTIONS = 3
"""Lying, slanted and upright waves."""
_CHANNELS, _POOL = (32, 64, 32), 4
_SEED = 20260101
_LARGE = 48
_AT_ONCE = 512


def convolved(pixels: Pixels) -> Floats:
    """(n, 512) of (n, height, width[, 3]) pictures: three layers of 3 × 3 random filters, ReLU, means of 16 places.

    Grey pictures are read as colours with three equal channels, so that both kinds have one space. Every layer but the
    first halves the size; of pictures of 48 pixels and more the first does too.
    """
    import torch
    from torch.nn.functional import adaptive_avg_pool2d, conv2d, relu

    first = 2 if min(pixels.shape[1:3]) >= _LARGE else 1
    out = []
    with torch.no_grad():
        for start in range(0, len(pixels), _AT_ONCE):
            part = np.asarray(pixels[start : start + _AT_ONCE] / np.float32(255) - np.float32(0.5), dtype=np.float32)
            seen = torch.from_numpy(np.ascontiguousarray(_coloured(part).transpose(0, 3, 1, 2)))
            for i, weight in enumerate(_filters()):
                seen = relu(conv2d(seen, weight, stride=first if i == 0 else 2, padding=1))
            out.append(adaptive_avg_pool2d(seen, _POOL).flatten(1).numpy().astype(np.float64))
    return np.concatenate(out) if out else np.zeros((0, SIZE))


def octaves(pixels: Pixels) -> Floats:
    """(n, channels · bands · 3) root mean squares of the coefficients of each octave and direction, in grey levels."""
    from scipy.fft import dctn

    height, width = pixels.shape[1:3]
    which = _bands(height, width)
    bands = int(which.max()) + 1
    counts = np.maximum(np.bincount(which.ravel(), minlength=bands), 1)
    planes = pixels.reshape(len(pixels), height, width, -1)
    out = np.zeros((len(pixels), planes.shape[3], bands))
    for i, picture in enumerate(planes):
        for c in range(planes.shape[3]):
            power = dctn(picture[:, :, c].astype(np.float64), norm="ortho") ** 2
            out[i, c] = np.sqrt(np.bincount(which.ravel(), power.ravel(), minlength=bands) / counts)
    return out.reshape(len(pixels), -1)


def _coloured(scaled: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return scaled if scaled.ndim == 4 else np.repeat(scaled[..., None], 3, axis=3)


@functools.cache
def _filters() -> tuple[torch.Tensor, ...]:
    """He et al. 2015: the size of what passes a layer stays."""
    rng = np.random.default_rng(_SEED)
    import torch

    drawn, before = [], 3
    for channels in _CHANNELS:
        weight = rng.normal(size=(channels, before, 3, 3)) * np.sqrt(2 / (9 * before))
        drawn.append(torch.from_numpy(weight.astype(np.float32)))
        before = channels
    return tuple(drawn)


def _bands(height: int, width: int) -> npt.NDArray[np.int64]:
    """(height, width) which octave and direction each coefficient is of; the mean brightness is a band of its own."""
    down, right = np.arange(height)[:, None] / height, np.arange(width)[None] / width
    waves = np.hypot(down, right) * max(height, width)
    octave = np.floor(np.log2(np.maximum(waves, 1.0))).astype(np.int64)
    direction = np.minimum(np.arctan2(down, right + 1e-12) / (np.pi / 2) * DIRECTIONS, DIRECTIONS - 1).astype(np.int64)
    return np.where(waves == 0, 0, 1 + octave * DIRECTIONS + direction)
