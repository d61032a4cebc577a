"""The law that a network starts from: a paid table model's own conditionals, column by column, given any others.

A mixture of products knows the distribution of every column given any set of known columns exactly: the components'
weights given what is known, times the column's table. The network only moves it (network.py): of each column it sees
*levels*, a few runs of cells of about equal paid mass, and multiplies the probability of a level. Inside a level the
mixture's own distribution stays. *Units* are the cells of a column that share both a level and a group of the mixture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from privsynth.data.evidence import Floats
from privsynth.generators.marginals import MarginalModel
from privsynth.generators.marginals.resolve import equal_mass_groups, refinement
from privsynth.generators.marginals.transcript import Groups

Ints = npt.NDArray[np.int64]

NORM_FLOOR = 1e-3
"""Of the mean square to which the network's hidden layer is scaled."""


@dataclass(frozen=True, eq=False)
class Units:
    """One column.

    Attributes:
        level, unit: (cells,) of each cell.
        level_of, group_of: (U,) of each unit.
        share: (U,) of a unit within its group of the mixture.
        within: (cells,) of a cell within its unit.
        tables: (R, groups) each component's distribution over the groups.
    """

    level: Groups
    unit: Groups
    level_of: Ints
    group_of: Ints
    share: Floats
    within: Floats
    tables: Floats

    @property
    def levels(self) -> int:
        """How many there are."""
        return int(self.level.max()) + 1

    @cached_property
    def by_level(self) -> Floats:
        """(R, levels) each component's distribution."""
        units = self.tables[:, self.group_of] * self.share
        out = np.zeros((len(units), self.levels))
        np.add.at(out.T, self.level_of, units.T)
        return out

    def allowed(self, weights: Floats | None) -> Floats:
        """(U,) of each unit's mass the share that weights of the cells leave."""
        if weights is None:
            return np.ones(len(self.share))
        return np.bincount(self.unit, weights=self.within * weights, minlength=len(self.share)).astype(np.float64)

    def cells(self, units: Ints, weights: Floats | None, rng: np.random.Generator) -> npt.NDArray[np.int32]:
        """(n,) a cell of each unit by its share, times ``weights`` where given."""
        order = np.argsort(self.unit, kind="stable")
        mass = (self.within if weights is None else self.within * weights)[order]
        upto = np.cumsum(mass)
        first = np.searchsorted(self.unit[order], np.arange(len(self.share)))
        last = np.append(first[1:], len(order)) - 1
        start = np.where(first > 0, upto[first - 1], 0.0)
        at = start[units] + rng.random(len(units)) * (upto[last] - start)[units]
        place = np.clip(np.searchsorted(upto, at, side="right"), first[units], last[units])
        for _ in range(2):  # rounding: never a cell of no mass
            place = np.where(mass[place] > 0, place, np.maximum(place - 1, first[units]))
        return np.asarray(order[place], dtype=np.int32)


@dataclass(frozen=True, eq=False)
class Ground:
    """A table model as a network is added to it.

    Attributes:
        weights: (R,) of the components, sum 1.
        columns: of the table, in the codec's order.
    """

    weights: Floats
    columns: tuple[Units, ...]

    @classmethod
    def of(cls, model: MarginalModel, *, levels: int) -> Ground:
        """With at most ``levels`` of each column, by the model's own shares: post-processing of paid counts."""
        columns = []
        for c, coded in enumerate(model.codec.columns):
            level = equal_mass_groups(model.share(c), levels, null=coded.null)
            group = model.groups[c]
            columns.append(_units(level, group, model.within[c], model.grouped(c, group)))
        return cls(np.asarray(model.weights, dtype=np.float64), tuple(columns))

    @classmethod
    def blank(cls, levels: Sequence[int]) -> Ground:
        """Of nobody: so many even levels of each column, two components. A network is tried on it before it is paid."""
        columns = []
        for n in levels:
            cells = np.arange(n, dtype=np.int32)
            columns.append(_units(cells, cells, np.ones(n), np.full((2, n), 1.0 / n)))
        return cls(np.full(2, 0.5), tuple(columns))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Ground:
        """Of :attr:`arrays`."""
        parts = [f.name for f in fields(Units)]
        columns = range((len(arrays) - 1) // len(parts))
        return cls(arrays["weights"], tuple(Units(*(arrays[f"{c}.{part}"] for part in parts)) for c in columns))

    @property
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What it is made of, by name."""
        parts = [f.name for f in fields(Units)]
        held = {f"{c}.{part}": getattr(units, part) for c, units in enumerate(self.columns) for part in parts}
        return {"weights": self.weights, **held}

    @cached_property
    def starts(self) -> Ints:
        """(columns + 1,) where each column's levels stand among those of all."""
        return np.concatenate([[0], np.cumsum([c.levels for c in self.columns])]).astype(np.int64)

    @property
    def width(self) -> int:
        """Levels of all columns."""
        return int(self.starts[-1])


def _units(level: Groups, group: Groups, within: Floats, tables: Floats) -> Units:
    unit = refinement([group, level], len(level))
    share = np.bincount(unit, weights=within).astype(np.float64)
    even = 1.0 / np.bincount(unit)[unit]
    first = np.unique(unit, return_index=True)[1]
    return Units(
        level=level,
        unit=unit,
        level_of=level[first].astype(np.int64),
        group_of=group[first].astype(np.int64),
        share=share,
        within=np.divide(within, share[unit], out=even, where=share[unit] > 0),
        tables=np.asarray(tables, dtype=np.float64),
    )


def drawing_order(columns: int, target: int | None) -> Sequence[int]:
    """In which columns are drawn: as they stand, the target last."""
    return [c for c in range(columns) if c != target] + ([] if target is None else [target])
