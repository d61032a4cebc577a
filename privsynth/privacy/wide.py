"""Rounded Gaussians of a large sigma, for sums on a fine integer grid: pure arithmetic, no randomness.

The noise is floor(σZ): for integer x, x + floor(σZ) = floor(x + σZ), post-processing of the Gaussian mechanism. Its
size |σZ| is drawn in two steps. A table of survival probabilities (table.py) gives the stretch of B = 2^m whole
numbers that it falls into, at σ/B between 256 and 512. Within a stretch the density hardly changes (by 6% at most),
so a whole number of it is drawn evenly and kept with the ratio of its probability to the first one's. The ratio is
known in floating point to 2^-36; where the random bits fall that near to it, and only there, it is computed to 400
bits. Proof: docs/proofs/noise.md 7.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privsynth.privacy.table import MAX_SIGMA, Table, check_sigma, expect_dtype, survival_table, table_variation

WIDEST = 2.0**45
_COARSE = 9  # sigma / B lies in [2^8, 2^9)
_DOUBT = 2.0**-36
_PRECISION = 400
Words = Callable[[int], NDArray[np.uint64]]


def wide_variation(sigma: float) -> Fraction:
    """A proved bound on the total variation distance of one wide draw from floor(σZ)."""
    coarse, _ = _parts(sigma)
    return table_variation(coarse) + Fraction(1, 2**127)


@dataclass(frozen=True)
class Wide:
    """The sampler of one sigma above ``MAX_SIGMA``.

    Attributes:
        sigma: standard deviation, on the grid of six significant bits.
        table: of the stretches.
        bits: m: a stretch has 2^m whole numbers.
    """

    sigma: float
    table: Table
    bits: int

    @classmethod
    def of(cls, sigma: float) -> Wide:
        """Make its table: about 0.05 s, kept.

        Raises:
            BudgetError: off the grid, or above ``WIDEST``.
        """
        coarse, bits = _parts(sigma)
        return cls(sigma, survival_table(coarse, whole=True), bits)

    def magnitudes(self, size: int, words: Words) -> NDArray[np.int64]:
        """(size,) draws of floor(|σZ|)."""
        first = self.table.magnitudes(words(size), words(size)) << self.bits
        out = np.empty(size, dtype=np.int64)
        left = np.arange(size)
        while left.size:
            step = (words(left.size) & np.uint64(2**self.bits - 1)).view(np.int64)
            kept = self._keeps(first[left], step, words)
            out[left[kept]] = first[left[kept]] + step[kept]
            left = left[~kept]
        expect_dtype(np.int64, out)
        return out

    def _keeps(self, first: NDArray[np.int64], step: NDArray[np.int64], words: Words) -> NDArray[np.bool_]:
        """Whether ``first + step`` stays: with the ratio of its probability to that of ``first``."""
        ratio = np.exp(-step.astype(np.float64) * (2 * first + step + 1).astype(np.float64) / (2 * self.sigma**2))
        bits = words(len(step))
        drawn = bits.astype(np.float64) * 2.0**-64
        kept = np.asarray(drawn < ratio, dtype=np.bool_)
        for i in np.flatnonzero(np.abs(drawn - ratio) <= _DOUBT):
            whole = (int(bits[i]) << 64) + int(words(1)[0])
            kept[i] = whole < ratio_floor(int(first[i]), int(step[i]), self.sigma)
        return kept


def ratio_floor(first: int, step: int, sigma: float) -> int:
    """floor(2^128·P(|σZ| in [first + step, first + step + 1)) / P(|σZ| in [first, first + 1))), to 400 bits."""
    from mpmath import MPContext

    context = MPContext()
    context.prec = _PRECISION
    unit = context.mpf(sigma) * context.sqrt(2)

    def cell(start: int) -> Any:
        return context.erfc(start / unit) - context.erfc((start + 1) / unit)

    return int(context.floor(2**128 * cell(first + step) / cell(first)))


def _parts(sigma: float) -> tuple[float, int]:
    """σ = coarse·2^bits with coarse in [256, 512)."""
    check_sigma(sigma, most=WIDEST)
    assert sigma > MAX_SIGMA
    mantissa, exponent = math.frexp(sigma)
    return math.ldexp(mantissa, _COARSE), exponent - _COARSE
