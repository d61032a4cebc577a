"""Pictures ↔ vectors: the low band of a cosine transform of brightness and colour, and where each picture's ink lies.

All of it is a function of one picture and of public sizes, so that it moves no sensitivity. Brightness and two colour
differences (ITU-R BT.601) are each transformed by the orthonormal two-dimensional DCT-II, of which the low square is
kept: a coarser one of the colours, as JPEG does. Distances between vectors are those between the blurred pictures.

*Aligned* pictures (dark ground, bright ink) are first brought to one place and slant by their own moments; those
three numbers go into the vector instead, scaled to about the size of the other entries. Drawn vectors are placed back.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from privsynth.data.pictures import Pixels

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
_SHIFT, _SHEAR = 6.0, 1.0
"""The most pixels of 28, and the greatest slant, that are undone."""
_WEIGHTS = np.array([0.4, 0.4, 2.0])
"""Of shifts and slant, beside coefficients of pictures of 28 pixels."""
_AT_ONCE = 4096
_NUMBERS = 2**22
"""Of pixels and channels in a block, each of which takes about 25 bytes on the way, 65 of aligned pictures: 270 MB, and
1.3 GB for one picture of 4096 × 4096."""


@dataclass(frozen=True)
class Band:
    """How pictures of one declared size become vectors.

    Attributes:
        height, width: in pixels.
        colours: whether they are RGB.
        side: of the square of coefficients of brightness; of colours it is 0.4 of that.
        aligned: whether pictures are aligned first.
    """

    height: int
    width: int
    colours: bool
    side: int
    aligned: bool = False

    @property
    def sides(self) -> tuple[tuple[int, int], ...]:
        """(rows, columns) of coefficients kept of each channel."""
        luma = (min(self.side, self.height), min(self.side, self.width))
        if not self.colours:
            return (luma,)
        chroma = (max(1, round(0.4 * luma[0])), max(1, round(0.4 * luma[1])))
        return (luma, chroma, chroma)

    @property
    def size(self) -> int:
        """Entries of a vector."""
        return sum(rows * columns for rows, columns in self.sides) + (len(_WEIGHTS) if self.aligned else 0)

    @property
    def at_once(self) -> int:
        """Pictures of a block, which bounds memory alone: what is computed of one is a function of that one."""
        return max(1, min(_AT_ONCE, _NUMBERS // (self.height * self.width * len(self.sides))))

    def _blocks(self, n: int) -> Iterator[slice]:
        return (slice(i, i + self.at_once) for i in range(0, n, self.at_once))

    def vectors(self, pixels: Pixels) -> Floats:
        """(n, size) of (n, height, width[, 3]) pixels."""
        out = np.empty((len(pixels), self.size))
        for block in self._blocks(len(pixels)):
            out[block] = self._vectors(pixels[block])
        return out

    def _vectors(self, pixels: Pixels) -> Floats:
        planes = self._planes(pixels.astype(np.float64) / 255)
        if not self.aligned:
            return self._transformed(planes)
        where = _moments(planes[:, 0])
        return np.concatenate([self._transformed(_warped(planes, *_matrices(where))), where * _WEIGHTS], axis=1)

    def pixels(self, vectors: Floats) -> Pixels:
        """(n, height, width[, 3]) the pictures of drawn vectors, cut to what a pixel can be."""
        out = np.empty((len(vectors), self.height, self.width, *((3,) if self.colours else ())), dtype=np.uint8)
        for block in self._blocks(len(vectors)):
            out[block] = self._pixels(vectors[block])
        return out

    def _pixels(self, vectors: Floats) -> Pixels:
        shown = self._shown(vectors)
        if self.aligned:
            turn, shift = _matrices(_bounded(vectors[:, -len(_WEIGHTS) :] / _WEIGHTS))
            back: Floats = np.linalg.inv(turn).astype(np.float64)
            shown = _warped(shown[:, None], back, -np.einsum("nij,nj->ni", back, shift))[:, 0]
        return np.rint(shown * 255).astype(np.uint8)

    def seen(self, vectors: Floats) -> Floats:
        """(n, size) vectors again of the pictures of ``vectors``, cut to what a pixel can be; places stay."""
        out = vectors.copy()
        for block in self._blocks(len(vectors)):
            told = self._transformed(self._planes(self._shown(vectors[block])))
            out[block, : told.shape[1]] = told
        return out

    @property
    def rings(self) -> Ints:
        """(size,) which entries are of one channel and about one frequency; places are each alone."""
        found = []
        for c, (rows, cols) in enumerate(self.sides):
            down, right = np.arange(rows)[:, None] / self.height, np.arange(cols)[None] / self.width
            found.append(1000 * c + np.rint(np.hypot(down, right) * max(self.height, self.width)).ravel())
        if self.aligned:
            found.append(-1.0 - np.arange(len(_WEIGHTS)))
        return np.concatenate(found).astype(np.int64)

    def _planes(self, scaled: Floats) -> Floats:
        """(n, channels, height, width) of pixels from 0 to 1: of colours brightness, and two from -½ to ½."""
        return np.asarray(np.einsum("nhwc,dc->ndhw", scaled, _YCC) if self.colours else scaled[:, None])

    def _transformed(self, planes: Floats) -> Floats:
        """(n, coefficients) the low band of each plane."""
        kept = [
            _cosines(rows, self.height) @ planes[:, c] @ _cosines(cols, self.width).T
            for c, (rows, cols) in enumerate(self.sides)
        ]
        return np.concatenate([k.reshape(len(k), k.shape[1] * k.shape[2]) for k in kept], axis=1)

    def _shown(self, vectors: Floats) -> Floats:
        """(n, height, width[, 3]) from 0 to 1: the pictures of a low band, those of aligned ones in their own frame."""
        planes, at = [], 0
        for rows, cols in self.sides:
            low = vectors[:, at : at + rows * cols].reshape(len(vectors), rows, cols)
            planes.append(_cosines(rows, self.height).T @ low @ _cosines(cols, self.width))
            at += rows * cols
        shown = np.einsum("nchw,dc->nhwd", np.stack(planes, axis=1), np.linalg.inv(_YCC)) if self.colours else planes[0]
        return np.asarray(np.clip(shown, 0, 1), dtype=np.float64)


@functools.cache
def _cosines(kept: int, size: int) -> Floats:
    """(kept, size) the first rows of the orthonormal DCT-II."""
    waves = np.cos(np.pi * np.arange(kept)[:, None] * (2 * np.arange(size)[None] + 1) / (2 * size))
    return np.asarray(waves * np.sqrt(np.where(np.arange(kept) == 0, 1, 2) / size)[:, None], dtype=np.float64)


def _moments(plane: Floats) -> Floats:
    """(n, 3): how far the ink's centre lies below and right of the middle, in pixels, and its slant."""
    height, width = plane.shape[1:]
    y, x = (np.arange(height) - (height - 1) / 2)[:, None], (np.arange(width) - (width - 1) / 2)[None]
    mass = plane.sum((1, 2)) + 1e-3
    down, right = (plane * y).sum((1, 2)) / mass, (plane * x).sum((1, 2)) / mass
    dy, dx = y - down[:, None, None], x - right[:, None, None]
    spread, slanted = (plane * dy * dy).sum((1, 2)) / mass, (plane * dy * dx).sum((1, 2)) / mass
    return _bounded(np.stack([down, right, slanted / np.maximum(spread, 1.0)], axis=1))


def _bounded(where: Floats) -> Floats:
    bounds = np.array([_SHIFT, _SHIFT, _SHEAR])
    return np.clip(where, -bounds, bounds)


def _matrices(where: Floats) -> tuple[Floats, Floats]:
    """(n, 2, 2) and (n, 2): from aligned places to those in the picture."""
    turn = np.tile(np.eye(2), (len(where), 1, 1))
    turn[:, 1, 0] = where[:, 2]
    return turn, where[:, :2]


def _warped(planes: Floats, turn: Floats, shift: Floats) -> Floats:
    """Each picture read at ``turn`` · place + ``shift``, between pixels linearly, beyond the border 0."""
    import torch
    from torch.nn.functional import grid_sample

    height, width = planes.shape[2:]
    half = np.array([(height - 1) / 2, (width - 1) / 2])
    grid = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), axis=-1) - half
    at = (np.einsum("nij,hwj->nhwi", turn, grid) + shift[:, None, None]) / np.maximum(half, 0.5)
    places = torch.from_numpy(np.ascontiguousarray(at[..., ::-1], dtype=np.float32))
    held = torch.from_numpy(planes.astype(np.float32))
    with torch.no_grad():
        read = grid_sample(held, places, mode="bilinear", padding_mode="zeros", align_corners=True)
    return read.numpy().astype(np.float64)
