"""What a mixture is fitted to: plain arrays, no torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Block:
    """Tables of many pairs of columns at once, all at one grouping of each column.

    Attributes:
        merge: (G,) map of the model's groups to B merged groups, all columns side by side; None: G itself.
        wanted, precision: (B, B) shares and 1 / variance, above the diagonal; precision 0: not measured.
        given: the groups (places in G) of one column whose rows alone are counted; None: all rows.
    """

    merge: Index | None
    wanted: Floats
    precision: Floats
    given: tuple[int, ...] | None = None


@dataclass(frozen=True, eq=False)
class Loose:
    """One table of one to three columns: ``columns``; per column the (groups,) map of its groups to the
    table's; ``wanted`` shares and their common ``precision``."""

    columns: tuple[int, ...]
    merges: tuple[Index, ...]
    wanted: Floats
    precision: float


@dataclass(frozen=True, eq=False)
class Targets:
    """What the mixture must meet, in shares of N̂.

    Attributes:
        sizes: groups of each column; G is their sum.
        one_way: (G,) the smoothed one-ways at group level, each column's summing to 1.
        one_way_precision: (G,) 1 / variance of them.
        blocks, loose: the joint tables.
        penalty: λ.
    """

    sizes: tuple[int, ...]
    one_way: Floats
    one_way_precision: Floats
    blocks: tuple[Block, ...]
    loose: tuple[Loose, ...]
    penalty: float
