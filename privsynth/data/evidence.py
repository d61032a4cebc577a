"""What a ``where=`` condition says of one column: which share of each cell it allows, and where inside."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from privsynth.errors import ConditionError

Codes = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]

_ASK = "a value, a list, or Between(low, high)"


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

    @cached_property
    def after(self) -> Floats:
        """(s,) the least number from which on there is no more of each."""
        return (np.rint(self.stop * self.scale) + 1.0) / self.scale if self.scale else np.nextafter(self.stop, np.inf)

    def between(self, ends: Floats) -> tuple[Floats, Floats]:
        """Of what a stretch holds from each of (e,) increasing ends on and below the next: (e - 1,) the first value, in
        steps where there is a scale, and the size."""
        if not self.scale:
            return ends[:-1], np.nextafter(ends[1:], -np.inf) - ends[:-1]
        steps = np.rint(up(ends, self.scale) * self.scale)
        return steps[:-1], np.diff(steps)

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


def up(value: Floats, scale: float) -> Floats:
    """The least multiple of 1/scale from each value on."""
    step = np.ceil(value * scale)
    step -= (step - 1.0) / scale >= value  # the product was rounded
    step += step / scale < value
    return np.asarray(step / scale)


def wanted_items(wanted: Any, where: str) -> list[Any]:
    """What was asked of a column, as a list.

    Raises:
        ConditionError: nothing was asked, or a mapping.
    """
    if isinstance(wanted, Mapping):
        raise ConditionError("a mapping is no condition", where=where, mend=_ASK)
    if not _several(wanted):
        return [wanted]
    items = _listed(wanted)
    if not items:
        raise ConditionError("an empty list of values", where=where, mend="name at least one")
    return items


def _several(wanted: Any) -> bool:
    return isinstance(wanted, Collection) and not isinstance(wanted, str | bytes | Mapping)


def _listed(wanted: Any) -> list[Any]:
    """The values of a collection; of a set, which has no order, always in the same."""
    if isinstance(wanted, set | frozenset):
        return sorted(wanted, key=lambda item: (type(item).__name__, str(item)))
    return list(wanted.reshape(-1)) if isinstance(wanted, np.ndarray) else list(wanted)


def scalar(value: Any) -> Any:
    """A numpy scalar as the Python value that it stands for; anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def plain(wanted: Any, where: str = "where") -> Any:
    """What was asked of a column, in values that a file can hold and every reader reads back alike.

    Returns:
        None, a boolean, a number, text, a :class:`Between` of them, or a list of these. Days and moments are ISO
        text; a moment at midnight is its day, which columns of both kinds read.

    Raises:
        ConditionError: a value of another kind.
    """
    if _several(wanted):
        return [_plain_item(item, where) for item in _listed(wanted)]
    return _plain_item(wanted, where)


def _plain_item(item: Any, where: str) -> Any:
    if isinstance(item, Between):
        return Between(_plain_value(item.low, where), _plain_value(item.high, where))
    return _plain_value(item, where)


def _plain_value(value: Any, where: str) -> Any:
    if isinstance(value, np.datetime64) and not np.isnat(value):
        value = value.astype("datetime64[us]").item()
    elif isinstance(value, np.floating | np.integer | np.bool_ | np.str_):
        value = value.item() if not isinstance(value, np.longdouble) else float(value)
    match value:
        case None | bool():
            return value
        case int():
            return int(value)
        case float() | Decimal() | Fraction():
            return float(value)
        case str():
            return str.__str__(value)  # of an enumeration its text, not its name
        case dt.datetime() if value == value:  # pandas' missing moment is none
            midnight = value.tzinfo is None and value == dt.datetime(value.year, value.month, value.day)
            return value.date().isoformat() if midnight else value.isoformat(" ")
        case dt.date() if not isinstance(value, dt.datetime):
            return value.isoformat()
    raise ConditionError(f"{value!r} is no value of a column", where=where, mend=_ASK)


def as_json(value: Any) -> Any:
    """What was asked of a column, as JSON values: a range as ``{"from": …, "to": …}``, a date as text.

    Raises:
        ConditionError: as of :func:`plain`.
    """
    return _json(plain(value))


def _json(value: Any) -> Any:
    if isinstance(value, Between):
        return {"from": value.low, "to": value.high}
    return [_json(item) for item in value] if isinstance(value, list) else value
