"""The one seam between rows and counts: a clique of columns in, an exact integer table out.

Exact tables are sensitive. They go from here straight into ``NoiseSource.add`` and nowhere else.
Rows are subject-bounded before they reach a Counter (``Granted.split``), so for a contribution bound k
the L2 sensitivity of one table under adding or removing a subject is k (all k rows in one cell).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from privsynth.data.codec import Codes
from privsynth.errors import PrivsynthError

Grouping = npt.NDArray[np.int32]


class Counter(Protocol):
    """Counts rows by the cells of a clique."""

    def count(self, clique: Sequence[int], groups: Mapping[int, Grouping]) -> npt.NDArray[np.int64]:
        """The exact table of ``clique`` (column numbers), one axis a column, its cells merged by
        ``groups[column]`` where given (a (cells,) map to group numbers 0 … g-1)."""
        ...


class TableCounter:
    """Counts coded rows in memory: O(rows) a clique, one row-length buffer."""

    def __init__(self, codes: Codes, cells: Sequence[int]) -> None:
        """``codes``: (n, columns) int32; ``cells``: how many each column has.

        Raises:
            PrivsynthError: codes outside their column: a fault of ours, or rows that were not conformed.
        """
        limits = np.asarray(cells, dtype=np.int64)
        fits = codes.shape[1:] == limits.shape
        if not fits or (codes.size and not np.all((codes.min(axis=0) >= 0) & (codes.max(axis=0) < limits))):
            raise PrivsynthError("codes do not fit their columns", where="TableCounter")
        self._codes = codes
        self._cells = tuple(cells)

    def __repr__(self) -> str:
        return f"TableCounter({len(self._cells)} columns)"

    def count(self, clique: Sequence[int], groups: Mapping[int, Grouping]) -> npt.NDArray[np.int64]:
        shape = tuple(int(groups[c].max()) + 1 if c in groups else self._cells[c] for c in clique)
        flat = np.zeros(len(self._codes), dtype=np.int64)
        for column, size in zip(clique, shape, strict=True):
            part = self._codes[:, column]
            flat *= size
            flat += groups[column][part] if column in groups else part
        table = np.bincount(flat, minlength=math.prod(shape))
        return table.astype(np.int64, copy=False).reshape(shape)
