"""The survival table of the rounded normal: pure arithmetic, no randomness (that is noise.py's).

|X| = |round(σZ)| exceeds k with probability erfc(x), x = (k + ½)/(σ√2). The table holds floor(2^128
times that), so counting the entries above 128 random bits draws |X|. Proof: docs/proofs/noise.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from privsynth.errors import BudgetError, MissingExtra, PrivsynthError

MIN_SIGMA = 2.0**-4
MAX_SIGMA = 2.0**15

_SIGNIFICANT = 64  # six significant bits: 32 values of sigma in each octave
_BITS = 256  # fixed point: integers stand for multiples of 2^-256
_GUARD = 64  # further bits of the grid's step, so that (2k + 1) times it is right to the last bit
_NODES_PER_UNIT = 32
_LAST_NODE = 305  # 305/32 > 9.53; the table ends where erfc(x) < 2^-128, at x < 9.42
_TERMS = 32
_SLACK = 1 << 32  # error bound in units of 2^-256; the proof (docs/proofs/noise.md) gives 2^14


def dyadic_at_least(sigma: float, *, most: float = MAX_SIGMA) -> float:
    """The smallest number of six significant bits that is at least ``sigma``; so tables are shared.

    At most 3.1% above ``sigma``; the same value goes to the accountant and to the sampler. ``most``: where the
    range ends; above 2^15 only sums on a fine grid go (wide.py).

    Raises:
        BudgetError: not a finite number in [2^-4, most].
    """
    _check_range(sigma, most)
    mantissa, exponent = math.frexp(sigma)
    return math.ldexp(math.ceil(mantissa * _SIGNIFICANT), exponent - 6)


def dyadic_below(sigma: float) -> float:
    """The grid's number just below ``sigma``, itself on the grid; ``sigma`` where the range ends there."""
    check_sigma(sigma)
    mantissa, exponent = math.frexp(sigma)
    step = math.ldexp(1.0, exponent - (7 if mantissa == 0.5 else 6))
    return max(sigma - step, MIN_SIGMA)


def total_variation(sigma: float) -> Fraction:
    """A proved bound on the total variation distance of one draw from the true rounded normal.

    A table of K entries is off by at most (K + 2)·2^-129, and K is at most ⌈13.33·sigma⌉ because
    erfc(x) < exp(-x²) (docs/proofs/noise.md). n draws under an ε enter δ as (1 + e^ε)·n times this.
    """
    check_sigma(sigma)
    return table_variation(sigma)


def table_variation(sigma: float) -> Fraction:
    """The same of a table alone, of rounded or of floored sizes."""
    return Fraction(math.ceil(Fraction(1333, 100) * Fraction(sigma)) + 2, 2**129)


@dataclass(frozen=True)
class Table:
    """Survival counts S(k) = floor(2^128·P(|X| > k)), positive ones only, ascending, in two words.

    Attributes:
        high, low: (K,) uint64; entry i is high[i]·2^64 + low[i], and stands for k = K - 1 - i.
    """

    high: NDArray[np.uint64]
    low: NDArray[np.uint64]

    def magnitudes(self, high: NDArray[np.uint64], low: NDArray[np.uint64]) -> NDArray[np.int64]:
        """How many k have u < S(k), for each u = high·2^64 + low: |X| has exactly the table's law."""
        expect_dtype(np.uint64, high, low, self.high, self.low)
        entries = len(self.high)
        not_above = np.searchsorted(self.high, high, side="right").astype(np.int64)
        last = np.maximum(not_above - 1, 0)
        tied = np.flatnonzero((not_above > 0) & (self.high[last] == high))
        for row in tied:  # equal high words, about K·2^-64 of the draws: compare the low words
            start = int(np.searchsorted(self.high, high[row], side="left"))
            stop = int(not_above[row])
            not_above[row] = start + int(np.searchsorted(self.low[start:stop], low[row], side="right"))
        return entries - not_above


@lru_cache(maxsize=128)
def survival_table(sigma: float, *, whole: bool = False) -> Table:
    """The table of the rounded normal of ``sigma``: 13.3·sigma entries, about 0.1 s at sigma = 1,000.

    P(|X| > k) = erfc(x) at x = (k + ½)/(σ√2), of X = round(σZ); with ``whole`` x = (k + 1)/(σ√2), of
    |X| = floor(|σZ|). erfc comes from its Taylor series about the nearest
    multiple of 1/32, in 256-bit integers with a proved error; the floor must be the same at both
    ends of that error.

    Raises:
        BudgetError: ``sigma`` off the grid.
        MissingExtra: mpmath is not installed.
    """
    check_sigma(sigma)
    nodes = _nodes()
    step = math.isqrt(math.floor(Fraction(4 ** (_BITS + _GUARD)) / (8 * Fraction(sigma) ** 2)))
    half = _BITS - _NODES_PER_UNIT.bit_length()
    counts: list[int] = []
    while True:
        x = ((2 * len(counts) + 1 + whole) * step) >> _GUARD
        nearest = ((x >> half) + 1) >> 1
        t = x - (nearest << (half + 1))
        value = 0
        for coefficient in nodes[min(nearest, _LAST_NODE)]:
            value = ((value * t) >> _BITS) + coefficient
        count = floor_of(value)
        if count == 0:
            break
        counts.append(count)
    counts.reverse()
    low = np.array([count & (2**64 - 1) for count in counts], dtype=np.uint64)
    high = np.array([count >> 64 for count in counts], dtype=np.uint64)
    low.flags.writeable = high.flags.writeable = False
    return Table(high=high, low=low)


def floor_of(value: int) -> int:
    """floor(2^128·v) for any v within the proved error of ``value``·2^-256; refuses where it is not one number."""
    least, most = max(value - _SLACK, 0) >> (_BITS - 128), max(value + _SLACK, 0) >> (_BITS - 128)
    if least != most:
        raise PrivsynthError("a noise table entry lies too near an integer to be rounded with proof")
    return least


@lru_cache(maxsize=1)
def _nodes() -> tuple[tuple[int, ...], ...]:
    """Taylor coefficients of erfc about j/32, highest power first, times 2^256.

    erfc' = -g with g = 2/√π·exp(-x²), and g' = -2x·g gives (n + 1)·g[n+1] = -2x·g[n] - 2·g[n-1].
    """
    try:
        from mpmath import MPContext
    except ImportError:
        raise MissingExtra("drawing noise needs the package mpmath", mend="pip install 'privsynth[generate]'") from None
    context = MPContext()

    def floors(precision: int) -> list[tuple[int, int]]:
        context.prec = precision
        scale = context.mpf(2) ** _BITS
        points = [context.mpf(j) / _NODES_PER_UNIT for j in range(_LAST_NODE + 1)]
        slope = 2 / context.sqrt(context.pi)
        return [
            (int(context.floor(scale * context.erfc(x))), int(context.floor(scale * slope * context.exp(-x * x))))
            for x in points
        ]

    coarse, fine = floors(_BITS + 44), floors(_BITS + 144)
    if coarse != fine:
        raise PrivsynthError("mpmath gives other values of erfc at 300 and at 400 bits", mend="reinstall mpmath")
    return tuple(_taylor(j, erfc, slope) for j, (erfc, slope) in enumerate(fine))


def _taylor(node: int, erfc: int, slope: int) -> tuple[int, ...]:
    g = [0, slope]
    for n in range(_TERMS - 1):
        g.append(-(2 * node * g[-1] + 2 * _NODES_PER_UNIT * g[-2]) // (_NODES_PER_UNIT * (n + 1)))
    return (*(-g[n] // n for n in range(_TERMS, 0, -1)), erfc)


def expect_dtype(dtype: type[np.generic], *arrays: NDArray[np.generic]) -> None:
    """numpy turns uint64 with int64 into float64 without a word: say no first."""
    for array in arrays:
        if array.dtype != dtype:
            raise PrivsynthError(f"noise works on {np.dtype(dtype)} arrays, not {array.dtype}")


def _check_range(sigma: object, most: float) -> None:
    if not (isinstance(sigma, int | float) and not isinstance(sigma, bool) and MIN_SIGMA <= sigma <= most):
        raise BudgetError(
            f"sigma is {sigma!r}; the noise sampler takes {MIN_SIGMA} to {most:g} counts",
            mend="where it is too large: raise epsilon, use fewer columns, or lower the contribution bound",
        )


def check_sigma(sigma: float, *, most: float = MAX_SIGMA) -> None:
    """Refuse a ``sigma`` off the grid: the sampler would then draw from another law than was paid for."""
    if dyadic_at_least(sigma, most=most) != sigma:
        raise BudgetError(
            f"sigma {sigma!r} is not on the grid of six significant bits",
            mend="round it up by dyadic_at_least, and give the same value to the accountant",
        )
