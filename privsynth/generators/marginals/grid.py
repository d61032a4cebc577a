"""The public places at which a column of numbers, dates or moments can be divided, and histograms over them."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from privsynth.data.codec import Ranged

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

BRANCHES = 32
FINEST = 2**30
"""Stretches into which a range without a grid of its own is divided at the deepest level, if that leaves each of
them two floats at least."""


@dataclass(frozen=True, eq=False)
class Grid:
    """The public places at which a column can be divided.

    Attributes:
        first, last: least and greatest position.
        scale: places are the multiples of 1/scale from ``first`` on; 0: equal stretches.
        size: how many values, or stretches, there are.
        nullable: whether the column may be null.
    """

    first: float
    last: float
    scale: float
    size: int
    nullable: bool

    @classmethod
    def of(cls, column: Ranged) -> Grid:
        """The grid of a column; the declaration alone decides."""
        first, last = float(column.low[0]), float(column.stop[-1])
        if column.scale:
            size = round(last * column.scale) - round(first * column.scale) + 1
            return cls(first, last, column.scale, size, column.nullable)
        floats = (last - first) / math.ulp(max(abs(first), abs(last)))
        return cls(first, last, 0.0, max(1, min(FINEST, int(floats / 2))), column.nullable)

    @property
    def depth(self) -> int:
        """Levels of division from the whole to the finest stretch."""
        return max(1, math.ceil(math.log(self.size, BRANCHES) - 1e-9))

    @property
    def levels(self) -> int:
        """The most levels that are bought: without a grid one more tells atoms from stretches."""
        return self.depth + (0 if self.scale else 1)

    @property
    def branches(self) -> int:
        """Into how many parts a stretch is divided."""
        return max(2, math.ceil(math.exp(math.log(self.size) / self.depth) - 1e-9))

    def place(self, index: npt.ArrayLike) -> Floats:
        """The position at which each stretch begins; ``size`` is past the end."""
        if self.scale:
            return np.asarray((round(self.first * self.scale) + np.asarray(index, dtype=np.int64)) / self.scale)
        at = np.asarray(index, dtype=np.float64)
        return np.asarray(np.where(at >= self.size, np.inf, self.first + (self.last - self.first) * (at / self.size)))

    def parts(self, start: int, stop: int) -> Ints:
        """The ends of the equal parts of a stretch: at most ``branches``, and no part is empty."""
        count = min(self.branches, stop - start)
        return np.array([start + (stop - start) * i // count for i in range(count + 1)], dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Level:
    """Disjoint stretches of positions, increasing; a row falls in at most one of them.

    Attributes:
        low, high: (cells,) where each begins, and where it has ended; of a cell of one value ``high`` is the
            next float.
        null: whether one more cell, the last, counts the nulls.
    """

    low: Floats
    high: Floats
    null: bool

    def count(self, position: Floats, missing: Mask) -> Ints:
        """(cells,) exact counts: sensitive, for the noise alone.

        Neighbours: add or remove one subject. Sensitivity: k in L2, her rows being at most k and each in at
        most one cell.
        """
        known = position[~missing]
        cell = np.searchsorted(self.low, known, side="right") - 1
        inside = (cell >= 0) & (known < self.high[np.maximum(cell, 0)])
        counts = np.bincount(cell[inside], minlength=len(self.low)).astype(np.int64)
        return np.append(counts, np.int64(missing.sum())) if self.null else counts


def shortest_decimal(low: float, high: float) -> float:
    """The decimal of fewest digits in [low, high), the one nearest to 0 of several."""
    if low <= 0.0 < high:
        return 0.0
    most = sys.float_info.max
    a, b = Fraction(low), Fraction(min(high, most))
    for digits in range(-2 - math.floor(math.log10(min(max(-low, high), most))), 400):
        unit = Fraction(10) ** -digits
        first, last = math.ceil(a / unit), math.ceil(b / unit) - 1
        for near in (first - 1, first) if low > 0 else (last + 1, last):  # 16.3 itself lies below the float 16.3
            if abs(exact := near * unit) <= most and low <= (found := float(exact)) < high:
                return found
    return low
