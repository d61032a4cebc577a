"""Pictures ↔ vectors: the low band of a cosine transform of brightness and colour, and where each picture's ink lies.

All of it is a function of one picture and of public sizes, so that it moves no sensitivity. Brightness and two colour
differences (ITU-R BT.601) are each transformed by the orthonormal two-dimensional DCT-II, of which the low square is
kept: a coarser one of the colours, as JPEG does. Distances between vectors are those between the blurred pictures.

*Aligned* pictures (dark ground, bright ink) are first brought to one place and slant by their own moments; those
three numbers go into the vector instead, scaled to about the size of the other entries. Drawn vectors are placed back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from privsynth.data.pictures import Pixels

Floats = npt.NDArray[np.float64]

_YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
_SHIFT, _SHEAR = 6.0, 1.0
"""The most pixels of 28, and the greatest slant, that are undone."""
_WEIGHTS = np.array([0.4, 0.4, 2.0])
"""Of shifts and slant, beside coefficients of pictures of 28 pixels."""
_AT_ONCE = 4096


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

    def vectors(self, pixels: Pixels) -> Floats:
        """(n, size) of (n, height, width[, 3]) pixels."""
        if len(pixels) > _AT_ONCE:
            parts = [self.vectors(pixels[i : i + _AT_ONCE]) for i in range(0, len(pixels), _AT_ONCE)]
            return np.concatenate(parts)
        from scipy.fft import dctn

        planes = self._planes(pixels)
        placed: list[Floats] = []
        if self.aligned:
            where = _moments(planes[:, 0])
            planes = _warped(planes, *_matrices(where))
            placed = [where * _WEIGHTS]
        bands = dctn(planes, axes=(2, 3), norm="ortho")
        kept = [bands[:, c, :rows, :cols].reshape(len(pixels), -1) for c, (rows, cols) in enumerate(self.sides)]
        return np.concatenate([*kept, *placed], axis=1)

    def pixels(self, vectors: Floats) -> Pixels:
        """The pictures of drawn vectors, cut to what a pixel can be."""
        if len(vectors) > _AT_ONCE:
            parts = [self.pixels(vectors[i : i + _AT_ONCE]) for i in range(0, len(vectors), _AT_ONCE)]
            return np.concatenate(parts)
        from scipy.fft import idctn

        planes = np.zeros((len(vectors), len(self.sides), self.height, self.width))
        at = 0
        for c, (rows, cols) in enumerate(self.sides):
            planes[:, c, :rows, :cols] = vectors[:, at : at + rows * cols].reshape(len(vectors), rows, cols)
            at += rows * cols
        planes = idctn(planes, axes=(2, 3), norm="ortho")
        if self.aligned:
            turn, shift = _matrices(_bounded(vectors[:, at:] / _WEIGHTS))
            back: Floats = np.linalg.inv(turn).astype(np.float64)
            planes = _warped(np.clip(planes, 0, 1), back, -np.einsum("nij,nj->ni", back, shift))
        shown = planes[:, 0] if not self.colours else np.einsum("nchw,dc->nhwd", planes, np.linalg.inv(_YCC))
        return np.rint(np.clip(shown, 0, 1) * 255).astype(np.uint8)

    def _planes(self, pixels: Pixels) -> Floats:
        """(n, channels, height, width), from 0 to 1 (colours from -½ to ½)."""
        scaled = pixels.astype(np.float64) / 255
        return np.einsum("nhwc,dc->ndhw", scaled, _YCC) if self.colours else scaled[:, None]


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
