"""How far apart two sets of vectors are as normal laws (Dowson & Landau 1982; Fréchet 1957).

Of features without trained weights it is no FID and compares with none: it is read between a floor, two halves of the
real ones, and a null, each picture replaced by the mean of its class. It falls with the number of vectors, so all three
are taken on equally many.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from privsynth.errors import SchemaError

Floats = npt.NDArray[np.float64]


def frechet(one: Floats, other: Floats) -> float:
    """The squared distance ‖m₁ − m₂‖² + tr(C₁ + C₂ − 2·(C₁^½·C₂·C₁^½)^½); 0 for equal sets, in squared feature units.

    Only roots of symmetric matrices are taken, so that singular covariances and rounding give no imaginary parts.

    Raises:
        SchemaError: fewer than two vectors of either, or vectors of two lengths.
    """
    if min(len(one), len(other)) < 2 or one.shape[1] != other.shape[1]:
        raise SchemaError(
            f"sets of {one.shape} and {other.shape}",
            where="validate.images.frechet",
            mend="give at least two vectors of each, of one length",
        )
    first, second = np.cov(one, rowvar=False, ddof=0), np.cov(other, rowvar=False, ddof=0)
    first, second = np.atleast_2d(first), np.atleast_2d(second)
    root = _root(first)
    between = root @ second @ root
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh((between + between.T) / 2), 0.0)).sum()
    apart = ((one.mean(axis=0) - other.mean(axis=0)) ** 2).sum()
    return float(max(apart + np.trace(first) + np.trace(second) - 2 * shared, 0.0))


@dataclass(frozen=True)
class Distance:
    """A distance between what it would be at best and with nothing but class means.

    Attributes:
        value: drawn beside real.
        floor: real beside real.
        null: class means beside real.
    """

    value: float
    floor: float
    null: float

    @property
    def share(self) -> float:
        """0 at the floor, 1 at the null, negative below the floor."""
        return (self.value - self.floor) / max(self.null - self.floor, 1e-300)


def placed(real: Floats, drawn: Floats, flat: Floats, *, rng: np.random.Generator) -> Distance:
    """The distance of ``drawn`` beside one half of ``real``, with floor and null on as many vectors.

    Args:
        flat: vectors of class-mean pictures.
        rng: which halves, and which vectors where there are more.
    """
    order = rng.permutation(len(real))
    n = min(len(real) // 2, len(drawn), len(flat))
    half, other = real[order[:n]], real[order[n : 2 * n]]
    chosen = [all_[rng.permutation(len(all_))[:n]] for all_ in (drawn, flat)]
    return Distance(frechet(half, chosen[0]), frechet(half, other), frechet(half, chosen[1]))


def _root(matrix: Floats) -> Floats:
    values, axes = np.linalg.eigh((matrix + matrix.T) / 2)
    out: Floats = (axes * np.sqrt(np.maximum(values, 0.0))) @ axes.T
    return out
