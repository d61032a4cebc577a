"""What is read of private vectors: sums on an integer grid and histograms of lengths, each with rounded noise.

Neighbours: add or remove one subject, whose at most k rows may all say the same. Every row's vector is shortened to a
radius (never lengthened) and truncated toward zero to a grid of 2^-16 of that radius, which shortens it again; the
whole numbers are summed exactly. So in grid units the L2 sensitivity is k·2^16 of one sum, k·√m·2^16 of sums over the
cells of m columns (each row stands in one cell of each), k·2^32 of a second moment in Frobenius norm, k of a histogram.
A noisy second moment has half the variance off its diagonal, where each number stands twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from privsynth.generators.images.alone import lengths
from privsynth.generators.marginals.purse import Purse
from privsynth.privacy.noise import WIDEST, dyadic_at_least

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

GRID = 2**16
BINS = 32
"""Of a histogram of lengths; each a third of an octave, the last for all above."""
_PER_OCTAVE = 3
_MARGIN = 1 + 1e-12
_AT_ONCE = 2**16
_MOST = 1e150  # so that squares are finite


@dataclass(frozen=True, eq=False)
class Noisy:
    """Noisy whole numbers, and what one of them is worth.

    Attributes:
        counts: as drawn.
        sigma: of the noise on each (of a second moment: on its diagonal; off it ``sigma_off``).
        unit: what 1 stands for.
    """

    counts: Ints
    sigma: float
    unit: float = 1.0
    sigma_off: float | None = None

    @property
    def values(self) -> Floats:
        """What the numbers stand for; the noise of a wide sigma is a half too low on average, which is nothing."""
        return self.counts.astype(np.float64) * self.unit

    @property
    def error(self) -> float:
        """Standard deviation of each value's noise."""
        return math.sqrt(self.sigma**2 + 1 / 12) * self.unit


def shortened(vectors: Floats, radius: float) -> Ints:
    """(n, d) whole numbers of the grid: each row no longer than 2^16, and a function of that row alone."""
    finite = np.clip(np.nan_to_num(vectors), -_MOST, _MOST)
    factor = np.minimum(1.0, radius / np.maximum(lengths(finite), 1e-300)) * (GRID / radius / _MARGIN)
    return np.asarray(np.trunc(finite * factor[:, None]), dtype=np.int64)


def unit_of(radius: float) -> float:
    """What 1 of the grid stands for."""
    return radius / GRID * _MARGIN


class Till:
    """Buys sums of private rows at a price in μ² each."""

    def __init__(self, purse: Purse, *, contribution: int) -> None:
        self._purse = purse
        self._k = contribution

    def lengths(self, found: Floats, top: float, *, price: float) -> Noisy:
        """(BINS,) how many rows have a length up to each of :func:`edges`. Event: Gaussian(σ/k)."""
        place = np.minimum(np.searchsorted(edges(top), np.nan_to_num(found)), BINS - 1)
        return self._plain(lambda: np.bincount(place, minlength=BINS).astype(np.int64), price)

    def count(self, rows: int, *, price: float) -> Noisy:
        """(1,) how many rows there are. Event: Gaussian(σ/k)."""
        return self._plain(lambda: np.array([rows], dtype=np.int64), price)

    def _plain(self, exact: Callable[[], Ints], price: float) -> Noisy:
        sigma = dyadic_at_least(self._k / math.sqrt(price) * _MARGIN)
        cost = Fraction(self._k) ** 2 / Fraction(sigma) ** 2
        return Noisy(self._purse.take(exact, sigma=sigma, cost=cost), sigma)

    def sums(self, vectors: Floats, radius: float, cells: Ints, sizes: tuple[int, ...], *, price: float) -> Noisy:
        """(Σ sizes, d) sums of shortened vectors over the cells of each column. Event: Gaussian(σ/(k·√m·2^16)).

        Args:
            cells: (n, m) each row's cell in each column; m = 0 for one sum of all.
            sizes: how many cells each column has.
        """
        columns = max(1, len(sizes))
        far = self._k * GRID
        sigma = dyadic_at_least(far * math.sqrt(columns / price) * _MARGIN, most=WIDEST)
        cost = Fraction(far) ** 2 * columns / Fraction(sigma) ** 2

        def exact() -> Ints:
            grid = shortened(vectors, radius)
            parts = []
            for c, size in enumerate(sizes):
                out = np.zeros((size, grid.shape[1]), dtype=np.int64)
                order = np.argsort(cells[:, c], kind="stable")
                starts = np.searchsorted(cells[order, c], np.arange(size + 1))
                for cell in range(size):
                    out[cell] = grid[order[starts[cell] : starts[cell + 1]]].sum(axis=0)
                parts.append(out)
            return np.concatenate(parts) if parts else grid.sum(axis=0)[None]

        return Noisy(self._purse.take(exact, sigma=sigma, cost=cost), sigma, unit_of(radius))

    def moments(self, vectors: Floats, radius: float, cells: Ints, size: int, *, price: float) -> Noisy:
        """(size, d(d+1)/2) upper triangles of Σ v·vᵀ over the rows of each cell of one column. Event: Gaussian of
        (k·2^32/σ), the noise off the diagonal being at least σ/√2."""
        far = self._k * GRID**2
        sigma = dyadic_at_least(far / math.sqrt(price) * _MARGIN, most=WIDEST)
        off = dyadic_at_least(sigma / math.sqrt(2), most=WIDEST)
        cost = Fraction(far) ** 2 * max(1 / Fraction(sigma) ** 2, 1 / (2 * Fraction(off) ** 2))
        upper = np.triu_indices(vectors.shape[1])
        diagonal = upper[0] == upper[1]

        def exact() -> Ints:
            grid = shortened(vectors, radius)
            return np.stack([_squares(grid[cells == cell])[upper] for cell in range(size)])

        counts = self._purse.take_two(exact, sigma=(sigma, off), first=diagonal, cost=cost)
        return Noisy(counts, sigma, unit_of(radius) ** 2, off)


def _squares(grid: Ints) -> Ints:
    """Σ v·vᵀ exactly: products of at most 2^32 summed in floats 2^16 rows at a time stay below 2^53."""
    out = np.zeros((grid.shape[1], grid.shape[1]), dtype=np.int64)
    for start in range(0, len(grid), _AT_ONCE):
        part = grid[start : start + _AT_ONCE].astype(np.float64)
        out += (part.T @ part).astype(np.int64)
    return out


def square(triangle: Floats, size: int) -> Floats:
    """The symmetric matrix of an upper triangle."""
    out = np.zeros((size, size))
    upper = np.triu_indices(size)
    out[upper] = triangle
    return out + np.triu(out, 1).T


def edges(top: float) -> Floats:
    """Upper ends of all bins of lengths but the last: ``top`` is where the last octave ends."""
    return np.asarray(top * 2.0 ** ((np.arange(BINS - 1) - (BINS - 2)) / _PER_OCTAVE), dtype=np.float64)


def quantile(noisy: Noisy, top: float, share: float) -> float:
    """The least edge that, by the noisy histogram, about ``share`` of the rows do not pass."""
    counts = np.maximum(noisy.values - noisy.error, 0.0)
    reached = np.cumsum(counts) >= share * max(counts.sum(), 1e-9)
    ends = np.append(edges(top), top)
    return float(ends[int(np.argmax(reached))] if reached.any() else top)
