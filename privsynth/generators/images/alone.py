"""What is computed of a row, to the last bit the same whatever rows stand beside it, before it and behind it.

A matrix product rounds a row by where it falls in the blocks that a library makes of all rows: when somebody leaves,
others' numbers could move by a last bit, and one of those by a whole unit of the grid that sums are taken on. So here
products are of whole numbers whose every partial sum is below 2^53, which no order of adding rounds; and lengths are
added up one coordinate after the other, each step a single rounding of IEEE 754.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_STEP, _MOST = 2.0**-14, 2.0**14
"""Of a coordinate: what it is rounded to, and the most that it may be; pictures of 4096 × 4096 stay below it."""
_WHOLE = 2.0**53
_AT_ONCE = 4096


def lengths(vectors: Floats) -> Floats:
    """(n,) Euclidean lengths of (n, d) rows; relative error at most (d + 2)·2^-53."""
    out = np.zeros(len(vectors))
    for start in range(0, len(vectors), _AT_ONCE):
        part = out[start : start + _AT_ONCE]
        for coordinate in np.ascontiguousarray(vectors[start : start + _AT_ONCE].T):
            part += coordinate * coordinate
    return np.asarray(np.sqrt(out), dtype=np.float64)


def along(vectors: Floats, axes: Floats) -> Floats:
    """(n, r) products of (n, d) rows with (d, r) axes, both rounded so that the products are exact.

    Coordinates are brought to 2^-14, what is not finite or larger than 2^14 to the nearest that may be; ``axes``, which
    are public or were told before, to the finest power of two that leaves room: of orthonormal ones 2^-19 at d = 1,000.
    d is at most 2^24.
    """
    whole = np.rint(np.clip(np.nan_to_num(vectors), -_MOST, _MOST) / _STEP)
    most = np.abs(axes).sum(axis=0).max(initial=0.0) + 1e-300
    room = _WHOLE * _STEP / _MOST / 2  # for Σ|axis| in its own steps, roundings included
    fine = 2.0 ** min(1000, math.floor(math.log2(room / most)))
    return np.asarray(whole @ np.rint(axes * fine) * (_STEP / fine), dtype=np.float64)
