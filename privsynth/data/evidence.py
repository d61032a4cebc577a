"""What a ``where=`` condition says of one column: which share of each cell it allows, and where inside."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from privsynth.errors import ConditionError

Codes = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Between:
    """A closed range for ``where=``: ``{"age": Between(20, 40)}``; either end may be None (open)."""

    low: Any = None
    high: Any = None


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a condition says of one column.

    Attributes:
        weights: (cells,) float64 in [0, 1]: the share of each cell's values that satisfy it; of a real
            column without ``decimals`` the share of its length.
        segments: the allowed stretches within cells, for decoding; None for listed columns.
    """

    weights: Floats
    segments: Segments | None = None


@dataclass(frozen=True, eq=False)
class Segments:
    """Disjoint stretches of values, sorted by cell, both ends of each allowed.

    Attributes:
        cell: (s,) which cell each lies in; a cell may hold several, or none.
        start, stop: (s,) its ends; equal where it is one value.
        scale: the values are every 1/scale from ``start`` to ``stop``; 0: all numbers between them.
    """

    cell: npt.NDArray[np.int64]
    start: Floats
    stop: Floats
    scale: float

    def __len__(self) -> int:
        return len(self.cell)

    @cached_property
    def size(self) -> Floats:
        """(s,) how many values each holds, or its length."""
        length = self.stop - self.start
        return np.rint(length * self.scale) + 1.0 if self.scale else length

    def held(self, cells: int) -> Floats:
        """(cells,) the size of what is allowed of each cell."""
        return np.bincount(self.cell, weights=self.size, minlength=cells).astype(np.float64)

    def draw(self, codes: Codes, cells: int, *, rng: np.random.Generator) -> Floats:
        """(n,) one uniform value from the stretches of each row's cell.

        Two draws a row where a cell holds several stretches, else one, or none where each holds one value. A
        draw is at most 1 - 2^-53, so that draw times size rounds to less than the size, and the value never
        passes ``stop``.
        """
        place = self._place(codes, cells, rng)
        if self.scale and (self.size == 1.0).all():
            return np.asarray(self.start[place])
        value = rng.random(len(codes))
        value *= self.size[place]
        if self.scale:
            np.floor(value, out=value)
            value += np.rint(self.start * self.scale)[place]
            value /= self.scale
        else:
            value += self.start[place]
        return value

    def _place(self, codes: Codes, cells: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        first = np.searchsorted(self.cell, np.arange(cells)).astype(np.int64)
        if len(self.cell) == 0 or np.all(self.cell[1:] > self.cell[:-1]):
            return first[codes]
        before = np.cumsum(self.size) - self.size
        part = before + self.size - before[first[self.cell]]  # of the cell, up to and with this stretch
        total = self.held(cells)[self.cell]
        share = np.divide(part, total, out=np.ones_like(part), where=total > 0)
        place = np.searchsorted(self.cell + share, codes + rng.random(len(codes)), side="right")
        last = np.searchsorted(self.cell, np.arange(cells), side="right") - 1
        return np.clip(place, first[codes], last[codes]).astype(np.int64)


def wanted_items(wanted: Any, where: str) -> list[Any]:
    """What was asked of a column, as a list.

    Raises:
        ConditionError: nothing was asked, or a mapping.
    """
    if isinstance(wanted, np.ndarray):
        wanted = list(wanted.reshape(-1))
    if isinstance(wanted, Mapping):
        raise ConditionError("a mapping is no condition", where=where, mend="a value, a list, or Between(low, high)")
    if isinstance(wanted, str | bytes) or not isinstance(wanted, Collection):
        return [wanted]
    if len(wanted) == 0:
        raise ConditionError("an empty list of values", where=where, mend="name at least one")
    return list(wanted)


def scalar(value: Any) -> Any:
    """A numpy scalar as the Python value that it stands for; anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def as_json(value: Any) -> Any:
    """What was asked of a column, as JSON values: a range as ``{"from": …, "to": …}``, a date as text."""
    value = scalar(value)
    if isinstance(value, Between):
        return {"from": as_json(value.low), "to": as_json(value.high)}
    if isinstance(value, list | tuple | set | frozenset):
        return [as_json(v) for v in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
