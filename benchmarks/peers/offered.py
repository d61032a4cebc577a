"""What a driver of pictures is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.picture_sets import PictureSet

Draw = Callable[[int], tuple[Any, Any]]
"""Of how many, (n, height, width[, 3]) bytes and (n, columns) codes."""


@dataclass(frozen=True, eq=False)
class Offer:
    """Pictures and what may be spent on them.

    Attributes:
        pixels: (n, height, width[, 3]) bytes.
        labels: (n, columns) codes below ``sizes``, whose number is public.
        schema: of a row, as privsynth reads it.
    """

    pixels: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    names: tuple[str, ...]
    sizes: tuple[int, ...]
    schema: str
    epsilon: float
    delta: float
    seed: int

    @property
    def joint(self) -> npt.NDArray[np.int64]:
        """(n,) one code for each combination of labels, the last column's fastest."""
        return np.asarray(np.ravel_multi_index(tuple(self.labels.T), self.sizes), dtype=np.int64)

    def parted(self, joint: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """(n, columns) of :attr:`joint`."""
        return np.column_stack(np.unravel_index(joint, self.sizes)).astype(np.int64)

    @property
    def planes(self) -> npt.NDArray[np.float32]:
        """(n, channels, height, width) from 0 to 1."""
        scaled = self.pixels.astype(np.float32) / 255
        shaped = scaled[:, None] if scaled.ndim == 3 else scaled.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(shaped, dtype=np.float32)

    @staticmethod
    def bytes(planes: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
        """The other way round."""
        grey = np.rint(np.clip(planes, 0, 1) * 255).astype(np.uint8)
        return grey[:, 0] if grey.shape[1] == 1 else np.ascontiguousarray(grey.transpose(0, 2, 3, 1))

    @staticmethod
    def save(path: Path, held: PictureSet) -> None:
        """For :meth:`load`."""
        np.savez(
            path,
            pixels=held.train.pixels,
            labels=held.train.labels,
            names=np.array(list(held.columns)),
            sizes=np.array([len(values) for values in held.columns.values()]),
            schema=np.array(held.schema),
        )

    @classmethod
    def load(cls, path: Path, epsilon: float, delta: float, seed: int) -> Offer:
        """Of a file that :meth:`save` wrote."""
        with np.load(path) as held:
            return cls(
                held["pixels"],
                held["labels"],
                tuple(held["names"].tolist()),
                tuple(held["sizes"].tolist()),
                str(held["schema"]),
                epsilon,
                delta,
                seed,
            )
