"""Determined columns without a public map: which value stands beside each cell of the column that determines them.

One table of both columns' cells, in which each row is in one cell: a subject's at most k rows move it by k in L2 at
most, an event (k/σ)². The map is a function of its noisy counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from privsynth.data.codec import Listed
from privsynth.generators.marginals.tree import STANDS_OUT

if TYPE_CHECKING:
    import pandas as pd

Ints = npt.NDArray[np.int64]

MOST_BESIDE = 20_000_000
"""Cells of a dependency's table."""


def count_beside(frame: pd.DataFrame, left: Listed, right: Listed) -> Ints:
    """(left cells · right cells,) exact counts: sensitive, for the noise alone.

    Neighbours: add or remove one subject. Sensitivity: k in L2, her rows being at most k and each in one cell.
    """
    places = left.encode(frame[left.name]).astype(np.int64) * right.cells + right.encode(frame[right.name])
    return np.bincount(places, minlength=left.cells * right.cells).astype(np.int64, copy=False)


def most_frequent(noisy: Ints, left: Listed, right: Listed, *, sigma: float) -> tuple[Any, ...]:
    """For each cell of the left column the value of the right one that is most frequent beside it; where that
    does not stand out of noise of this standard deviation, the most frequent of all."""
    table = noisy.reshape(left.cells, right.cells).astype(np.float64)
    best, usual = table.argmax(axis=1), int(table.sum(axis=0).argmax())
    clear = table.max(axis=1) >= STANDS_OUT * sigma
    return tuple(None if cell == right.null else right.values[cell] for cell in np.where(clear, best, usual).tolist())
