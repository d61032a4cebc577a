"""Tables under a mixture of products: one column's for some components, and that of a few columns together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from privsynth.errors import ConditionError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MOST_TABLE_CELLS = 2**27
"""Cells of a table that is given out: a gibibyte as floats."""
AT_ONCE = 2**22
"""Cells of components times cells that are made at once."""


class Rows(Protocol):
    """(R, cells) of a column, of which the rows of some components can be asked for: an array, or made as asked."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, components: Ints, /) -> Floats: ...


@dataclass(frozen=True, eq=False)
class Given:
    """Each component's distribution of one column given the column's own evidence: rows that sum to 1, or of zeros.

    Attributes:
        shares: (R, groups) of each component.
        groups: (cells,) map of cells to groups.
        within: (cells,) probability of a cell within its group.
        evidence: (cells,) weights of the cells; None where all are 1.
    """

    shares: Floats
    groups: npt.NDArray[np.int32]
    within: Floats
    evidence: Floats | None = None

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.shares), len(self.groups)

    def __getitem__(self, components: Ints, /) -> Floats:
        table = np.take(self.shares[components], self.groups, axis=1)
        table *= self.within
        if self.evidence is not None:
            table *= self.evidence
        total = np.cumsum(table, axis=1)[:, -1:]  # from the left: the same whichever components are asked for
        return np.divide(table, total, out=np.zeros_like(table), where=total > 0)


def components_at_once(components: int, cells: int) -> Iterator[Ints]:
    """The components in order, as many at a time as keep a table of so many cells each within ``AT_ONCE``."""
    step = max(1, AT_ONCE // max(cells, 1))
    for at in range(0, components, step):
        yield np.arange(at, min(at + step, components))


def check_table(sizes: Sequence[int], names: Sequence[str]) -> None:
    """Refuse a table of too many cells before it is made.

    Raises:
        ConditionError: more than ``MOST_TABLE_CELLS``.
    """
    cells = math.prod(sizes)
    if cells > MOST_TABLE_CELLS:
        raise ConditionError(
            f"a table of {cells:,} cells; at most {MOST_TABLE_CELLS:,} are given out",
            where=" x ".join(f"{name} ({size:,})" for name, size in zip(names, sizes, strict=True)),
            mend="ask for fewer columns or group their values in the schema; "
            "`probability` and `interval` answer one condition at a time",
        )


def product_table(weights: Floats, parts: Sequence[Rows]) -> Floats:
    """Σ_r w_r Π parts_r, one axis a part, by matrix products over a few components at a time.

    Args:
        weights: (R,) of the components.
        parts: one to three columns, each (R, cells or groups).
    """
    sizes = [part.shape[1] for part in parts]
    order = sorted(range(len(parts)), key=sizes.__getitem__)  # the largest is the right side of the products
    beside = math.prod(sizes[i] for i in order[:-1])
    table: Floats = np.zeros((beside, sizes[order[-1]]))
    for some in components_at_once(len(weights), max(table.shape)):
        left = weights[some, None]
        for i in order[:-1]:
            left = (left[:, :, None] * parts[i][some][:, None, :]).reshape(len(some), -1)
        table += left.T @ parts[order[-1]][some]
    return np.transpose(table.reshape([sizes[i] for i in order]), np.argsort(order))
