"""Where a network works: pictures as they are less their mean, or the few numbers in which a portrait says they differ.

Each space is a function of paid statistics and public sizes, and is kept in the transcript. What comes in has a root
mean square of 1/2 by those statistics.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from privsynth.data.pictures import Pixels
from privsynth.errors import ModelError
from privsynth.generators.images.alone import along
from privsynth.generators.images.band import Band
from privsynth.generators.images.edm import SIGMA_DATA
from privsynth.generators.images.portrait import Portrait

Floats = npt.NDArray[np.float64]
Arrays = Mapping[str, npt.NDArray[np.float32]]

FOLDED = 40
"""Pictures of more pixels a side are folded: each square of four pixels becomes one with four times the channels."""
MOST_KEPT = 96
"""Numbers of a vector, at most."""


class Space(Protocol):
    """Pixels ↔ what a network sees."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one picture inside."""
        ...

    @property
    def arrays(self) -> Arrays:
        """What a space is made of, for the transcript."""
        ...

    def inward(self, pixels: Pixels) -> Tensor:
        """(n, \\*shape) float32 of (n, height, width[, 3]) pixels, on the CPU."""
        ...

    def outward(self, held: Tensor) -> Pixels:
        """The pictures of what a network drew, cut to what a pixel can be."""
        ...

    def pieces(self, held: Tensor, at_once: int) -> Iterator[Pixels]:
        """The same, so many at a time; the same pixels however many."""
        ...


@dataclass(frozen=True, eq=False)
class PixelSpace:
    """Pictures less ``mean`` (height, width, channels; 0 to 1), times ``scale``; padded to a multiple of 4."""

    mean: npt.NDArray[np.float32]
    scale: float
    grey: bool

    @classmethod
    def of(cls, pixels: Pixels) -> PixelSpace:
        """By drawn pictures."""
        scaled = (pixels if pixels.ndim == 4 else pixels[..., None]).astype(np.float32) / 255
        mean = scaled.mean(axis=0)
        return cls(mean, float(SIGMA_DATA / max(float(np.sqrt(((scaled - mean) ** 2).mean())), 1e-3)), pixels.ndim == 3)

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> PixelSpace:
        """Of :attr:`arrays`."""
        return cls(arrays["mean"], float(arrays["scale"][0]), arrays["mean"].shape[2] == 1)

    @property
    def arrays(self) -> Arrays:
        """See :class:`Space`."""
        return {"mean": self.mean, "scale": np.array([self.scale], dtype=np.float32)}

    @property
    def shape(self) -> tuple[int, ...]:
        """See :class:`Space`."""
        return picture_shape(*self.mean.shape)

    def inward(self, pixels: Pixels) -> Tensor:
        """See :class:`Space`."""
        scaled = (pixels[..., None] if self.grey else pixels).astype(np.float32) / 255
        held = torch.from_numpy(np.ascontiguousarray(((scaled - self.mean) * self.scale).transpose(0, 3, 1, 2)))
        fold = _fold(*self.mean.shape[:2])
        _, high, wide = self.shape
        height, width = self.mean.shape[:2]
        held = functional.pad(held, (0, wide * fold - width, 0, high * fold - height))
        return functional.pixel_unshuffle(held, fold).contiguous()

    def outward(self, held: Tensor) -> Pixels:
        """See :class:`Space`."""
        height, width = self.mean.shape[:2]
        whole = functional.pixel_shuffle(held.float().cpu(), _fold(height, width))[:, :, :height, :width]
        shown = np.nan_to_num(whole.numpy()).transpose(0, 2, 3, 1) / self.scale + self.mean
        pixels = np.rint(np.clip(shown, 0, 1) * 255).astype(np.uint8)
        return np.ascontiguousarray(pixels[..., 0] if self.grey else pixels)

    def pieces(self, held: Tensor, at_once: int) -> Iterator[Pixels]:
        """See :class:`Space`."""
        return (self.outward(held[i : i + at_once]) for i in range(0, len(held), at_once))


@dataclass(frozen=True, eq=False)
class VectorSpace:
    """Vectors of a portrait's band less ``mean``, along ``axes`` (d, r), times ``scale``."""

    band: Band
    mean: npt.NDArray[np.float32]
    axes: npt.NDArray[np.float32]
    scale: float

    @classmethod
    def of(cls, portrait: Portrait, pixels: Pixels) -> VectorSpace:
        """By a portrait and pictures that it drew: as many axes as it has, and one for each effect."""
        vectors = portrait.band.vectors(pixels)
        mean = vectors.mean(axis=0)
        size = vector_length(portrait.band, portrait.axes.shape[1] + sum(portrait.sizes) - len(portrait.sizes))
        spread, axes = np.linalg.eigh((vectors - mean).T @ (vectors - mean) / len(vectors))
        kept = axes[:, ::-1][:, :size]
        rms = float(np.sqrt(max(spread[::-1][:size].mean(), 1e-9)))
        return cls(portrait.band, mean.astype(np.float32), kept.astype(np.float32), SIGMA_DATA / rms)

    @classmethod
    def from_arrays(cls, arrays: Arrays, band: Band) -> VectorSpace:
        """Of :attr:`arrays`."""
        return cls(band, arrays["mean"], arrays["axes"], float(arrays["scale"][0]))

    @property
    def arrays(self) -> Arrays:
        """See :class:`Space`."""
        return {"mean": self.mean, "axes": self.axes, "scale": np.array([self.scale], dtype=np.float32)}

    @property
    def shape(self) -> tuple[int, ...]:
        """See :class:`Space`."""
        return (self.axes.shape[1],)

    def inward(self, pixels: Pixels) -> Tensor:
        """See :class:`Space`."""
        held = along(self.band.vectors(pixels) - self.mean, self.axes.astype(np.float64)) * self.scale
        return torch.from_numpy(held.astype(np.float32))

    def outward(self, held: Tensor) -> Pixels:
        """See :class:`Space`."""
        return self.band.pixels(self._vectors(held))

    def pieces(self, held: Tensor, at_once: int) -> Iterator[Pixels]:
        """See :class:`Space`."""
        vectors = self._vectors(held)
        return (self.band.pixels(vectors[i : i + at_once]) for i in range(0, len(vectors), at_once))

    def _vectors(self, held: Tensor) -> Floats:
        inner = np.nan_to_num(held.float().cpu().numpy().astype(np.float64)) / self.scale
        return np.asarray(inner @ self.axes.T + self.mean, dtype=np.float64)


def space_of(arrays: Arrays, band: Band | None) -> Space:
    """The space of arrays out of a transcript: of vectors of ``band``, or of pictures.

    Raises:
        ModelError: they are of neither.
    """
    try:
        return PixelSpace.from_arrays(arrays) if band is None else VectorSpace.from_arrays(arrays, band)
    except (KeyError, IndexError):
        raise ModelError("the transcript tells of another space", mend="restore it from a backup") from None


def picture_shape(height: int, width: int, channels: int) -> tuple[int, int, int]:
    """(channels, height, width) inside of pictures of a declared size."""
    fold = _fold(height, width)
    step = 4 * fold
    return channels * fold**2, -(-height // step) * 4, -(-width // step) * 4


def vector_length(band: Band, asked: int) -> int:
    """How many numbers stand for a picture."""
    return max(1, min(MOST_KEPT, band.size, asked))


def _fold(height: int, width: int) -> int:
    return 2 if max(height, width) > FOLDED else 1
