"""Numbers and dates as cells: by public edges or by paid ones, never by what rows hold."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from privsynth.data.evidence import Between, Codes, Evidence, Floats, Segments, scalar, up, wanted_items
from privsynth.data.listed import CodedColumn
from privsynth.data.schema import MAX_CELLS, Column, Date, Datetime, Integer, Real
from privsynth.errors import ConditionError, PrivsynthError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

VALUES_AS_CELLS = 256
_FINEST = 2.0**51
_DAY_ZERO = dt.date(1970, 1, 1).toordinal()
_MOMENT_ZERO = dt.datetime(1970, 1, 1)


@dataclass(frozen=True, eq=False)
class Ranged(CodedColumn):
    """Integers, reals, dates and datetimes as positions: the number itself, the day's ordinal since
    1970, the second since 1970.

    Attributes:
        low, stop: (m,) float64: first and last value of each non-null cell; equal in a cell of one value.
        scale: values are the multiples of 1/scale: 1 for whole numbers and dates, 10^decimals for reals
            of so many decimals, which are rounded to them; 0 for other reals, where a cell is a stretch.
        bounds: as declared; ``low[0]`` and ``stop[-1]`` are the first and last value within them.
    """

    low: Floats
    stop: Floats
    scale: float
    bounds: tuple[float, float]

    @property
    def whole(self) -> bool:
        """Whether positions are whole numbers by kind."""
        return not isinstance(self.column, Real)

    @property
    def high(self) -> Floats:
        """(m,) where each cell ends: the next one's ``low``, but an atom of a stretch where it begins."""
        if self.scale:
            return np.append(self.low[1:], (np.rint(self.stop[-1] * self.scale) + 1.0) / self.scale)
        return np.where(self.low < self.stop, np.append(self.low[1:], self.stop[-1]), self.low)

    def position(self, values: pd.Series[Any]) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """(n,) positions and which are null (their position is 0)."""
        import pandas as pd

        missing = values.isna().to_numpy()
        if isinstance(self.column, Date | Datetime):
            unit = "datetime64[D]" if isinstance(self.column, Date) else "datetime64[s]"
            raw = pd.to_datetime(values).to_numpy().astype(unit).astype(np.int64).astype(np.float64)
        else:
            raw = values.to_numpy(dtype=np.float64, na_value=np.nan)
        return np.where(missing, 0.0, raw), missing

    def encode(self, values: pd.Series[Any]) -> Codes:
        position, missing = self.position(values)
        if self.scale and not self.whole:
            position = np.rint(position * self.scale) / self.scale
        if self.whole and len(self.low) == self.stop[-1] - self.low[0] + 1.0:  # one cell a value
            codes = np.floor(position) - self.low[0]
        else:
            codes = np.searchsorted(self.low, position, side="right") - 1.0
        return self._with_null(np.clip(codes, 0, len(self.low) - 1).astype(np.int32), missing)

    @cached_property
    def segments(self) -> Segments:
        """The cells themselves as stretches."""
        return Segments(np.arange(len(self.low), dtype=np.int64), self.low, self.stop, self.scale)

    def decode(self, codes: Codes, rng: np.random.Generator, evidence: Evidence | None = None) -> pd.Series[Any]:
        missing = self._missing(codes)
        segments = evidence.segments if evidence is not None and evidence.segments is not None else self.segments
        if len(segments):
            safe = np.where(missing, segments.cell[0], codes).astype(np.int32) if self.nullable else codes
            position = segments.draw(safe, len(self.low), rng=rng)
        else:  # only null is allowed
            position = np.zeros(len(codes))
        return self.series(position, missing)

    def series(self, position: Floats, missing: npt.NDArray[np.bool_]) -> pd.Series[Any]:
        """(n,) positions as values of the column's kind, null where ``missing``; a position may be changed."""
        import pandas as pd

        match self.column:
            case Date() | Datetime():
                unit = "datetime64[D]" if isinstance(self.column, Date) else "datetime64[s]"
                moments = position.astype(np.int64).astype(unit).astype("datetime64[s]")
                moments[missing] = np.datetime64("NaT")
                return pd.Series(moments, name=self.name, copy=False)
            case Real():
                position = position + 0.0  # -0.0 is 0.0
                position[missing] = np.nan
                return pd.Series(position, name=self.name, copy=False)
            case _:
                numbers = position.astype(np.int64)
                if not self.nullable:
                    return pd.Series(numbers, name=self.name, copy=False)
                return pd.Series(pd.arrays.IntegerArray(numbers, missing), name=self.name)

    def evidence(self, wanted: Any) -> Evidence:
        weights = np.zeros(self.cells)
        stretches: list[tuple[float, float]] = []
        for item in [wanted] if isinstance(wanted, Between) else wanted_items(wanted, self._where):
            if item is None:
                if self.null is None:
                    raise self._no_null()
                weights[self.null] = 1.0
            else:
                stretches.append(self._stretch(item))
        segments, size = self._cut(stretches), self.segments.size
        share = np.divide(segments.held(len(size)), size, out=np.zeros_like(size), where=size > 0)
        share[segments.cell[size[segments.cell] <= 0]] = 1.0  # an atom is allowed or not
        weights[: len(size)] = np.minimum(share, 1.0)
        return Evidence(weights, segments)

    def _stretch(self, item: Any) -> tuple[float, float]:
        """The closed range that ``item`` asks for; it meets the domain."""
        if isinstance(item, Between):
            low = -np.inf if item.low is None else self._number(item.low)
            high = np.inf if item.high is None else self._number(item.high)
            if low > high:
                raise ConditionError("an empty range", where=self._where, mend="low at most high")
        else:
            low = high = self._number(item)
        if not len(self._cut([(low, high)])):
            raise ConditionError(
                f"{item!r} meets no value of the column's public domain",
                where=self._where,
                mend="a range inside the bounds; for a real column a range, not one exact value",
            )
        return low, high

    def _number(self, value: Any) -> float:
        try:
            match self.column:
                case Date():
                    day = dt.date.fromisoformat(value) if isinstance(value, str) else value
                    return float(day.toordinal() - _DAY_ZERO)
                case Datetime():
                    moment = dt.datetime.fromisoformat(value) if isinstance(value, str) else value
                    return float((moment - _MOMENT_ZERO).total_seconds())
                case _:
                    plain = scalar(value)
                    if isinstance(plain, bool | str | bytes):
                        raise TypeError
                    number = float(plain)
                    if not np.isfinite(number):
                        raise ValueError
                    return number
        except (TypeError, ValueError, AttributeError, OverflowError):
            raise ConditionError(
                f"{value!r} is not of kind {self.column.kind}",
                where=self._where,
                mend="a value of the column's kind, a list of them, or Between(low, high)",
            ) from None

    def _cut(self, stretches: list[tuple[float, float]]) -> Segments:
        """The union of closed ``stretches``, cut to the cells."""
        merged: list[list[float]] = []
        for low, high in sorted(stretches):
            if merged and low <= merged[-1][1]:
                merged[-1][1] = max(merged[-1][1], high)
            else:
                merged.append([low, high])
        cells, starts, stops = [], [], []
        for low, high in merged:
            met = np.arange(np.searchsorted(self.stop, low), np.searchsorted(self.low, high, side="right"))
            start, stop = np.maximum(self.low[met], low), np.minimum(self.stop[met], high)
            if self.scale:
                start, stop = up(start, self.scale), _down(stop, self.scale)
            some = (start < stop) | (start == stop) & (self.scale > 0 or self.low[met] == self.stop[met])
            cells.append(met[some])
            starts.append(start[some])
            stops.append(stop[some])
        none = np.zeros(0)
        cell = np.concatenate([none, *cells]).astype(np.int64)
        return Segments(cell, np.concatenate([none, *starts]), np.concatenate([none, *stops]), self.scale)

    def labels(self) -> tuple[str, ...]:
        texts = tuple(self._label(c, "g") for c in range(len(self.low)))
        if len(set(texts)) < len(texts):  # six digits do not tell the cells apart
            texts = tuple(self._label(c, "r") for c in range(len(self.low)))
        return (*texts, "null") if self.nullable else texts

    def _label(self, cell: int, digits: str) -> str:
        low, stop, high = float(self.low[cell]), float(self.stop[cell]), float(self.high[cell])
        if low == stop:
            return self._text(low, digits)
        above_atom = not self.scale and cell > 0 and self.low[cell - 1] == self.stop[cell - 1]
        first = f"over {self._text(float(self.stop[cell - 1]), digits)}" if above_atom else self._text(low, digits)
        return f"{first} to {self._text(stop if self.scale else high, digits)}"

    def _text(self, position: float, digits: str) -> str:
        match self.column:
            case Date():
                return dt.date.fromordinal(int(position) + _DAY_ZERO).isoformat()
            case Datetime():
                return (_MOMENT_ZERO + dt.timedelta(seconds=int(position))).isoformat(" ")
            case Integer():
                return str(int(position))
            case _:
                return f"{position:g}" if digits == "g" else repr(position)


def _down(value: Floats, scale: float) -> Floats:
    return -up(-value, scale)


def cells_are_learned(column: Column) -> bool:
    """Whether the cells are left to a fit: numbers or dates without ``bins`` and ``cells: equal``, of more than 256
    values."""
    if not isinstance(column, Integer | Real | Date | Datetime):
        return False
    bounds, edges = _declared(column)
    if edges is not None or column.cells == "equal":
        return False
    return isinstance(column, Real) or bounds[1] - bounds[0] >= VALUES_AS_CELLS


def ranged_column(
    name: str, column: Integer | Real | Date | Datetime, learned: Sequence[float] | None = None
) -> Ranged:
    """The cells of a bounded column: by its ``bins``, else by the ``learned`` edges, else one a value or 64 of
    equal width; then atoms. Edges are brought to the values that a column has, so no cell is empty."""
    bounds, edges = _declared(column)
    scale = _scale(column, bounds)
    ends = np.array(bounds)
    first, last = (float(up(ends, scale)[0]), float(_down(ends, scale)[1])) if scale else bounds
    if edges is None and learned is not None:
        edges = np.array(learned, dtype=np.float64)
        edges = edges[(edges >= first) & (edges <= last)]
    elif edges is None and not isinstance(column, Real) and last - first < VALUES_AS_CELLS:
        edges = np.arange(first + 1.0, last + 1.0)
    elif edges is None:
        end = last if isinstance(column, Real) else last + 1.0
        edges = first + (end - first) * (np.arange(1, MAX_CELLS) / MAX_CELLS)
        edges = edges if isinstance(column, Real) else np.floor(edges)
    elif not scale:
        edges = edges[edges < last]
    atoms = np.array(column.atoms if isinstance(column, Real) else (), dtype=np.float64)
    if scale:
        atoms = np.rint(atoms * scale) / scale
        after = (np.rint(atoms * scale) + 1.0) / scale
        low = np.unique(np.concatenate([[first], up(edges, scale), atoms, after]))
        low = low[(low >= first) & (low <= last)]
        stop = (np.rint(low[1:] * scale) - 1.0) / scale
    else:
        low = np.unique(np.concatenate([[first], edges, atoms, np.nextafter(atoms, np.inf)]))
        low = low[(low >= first) & (low <= last)]
        stop = np.nextafter(low[1:], -np.inf)
    cells = len(low) + (1 if column.nullable else 0)
    return Ranged(name, column, cells, True, column.nullable, low, np.append(stop, last), scale, bounds)


def ranged_bounds(column: Column) -> tuple[float, float]:
    """First and last position of a column of numbers or dates, both allowed."""
    if not isinstance(column, Integer | Real | Date | Datetime):
        raise PrivsynthError(f"a {column.kind} column has no bounds", where="ranged_bounds")
    return _declared(column)[0]


def total(name: str, column: Column, parts: Sequence[pd.Series[Any]]) -> pd.Series[Any]:
    """The sum of decoded columns, null where one of them is; a real one to its ``decimals``."""
    import pandas as pd

    missing = np.logical_or.reduce([part.isna().to_numpy() for part in parts])
    if isinstance(column, Integer):
        whole = np.sum([part.to_numpy(dtype=np.int64, na_value=0) for part in parts], axis=0)
        if not column.nullable:
            return pd.Series(whole, name=name, copy=False)
        return pd.Series(pd.arrays.IntegerArray(whole, missing), name=name)
    sums: Floats = np.sum([part.to_numpy(dtype=np.float64, na_value=np.nan) for part in parts], axis=0)
    if isinstance(column, Real) and (scale := _scale(column, (column.min, column.max))):
        sums = np.rint(sums * scale) / scale
    return pd.Series(sums + 0.0, name=name, copy=False)


def _declared(column: Integer | Real | Date | Datetime) -> tuple[tuple[float, float], Floats | None]:
    """First and last position, both allowed, and the inner edges that the schema names."""
    match column:
        case Date(min=low, max=high, bins=bins):
            first, last = float(low.toordinal() - _DAY_ZERO), float(high.toordinal() - _DAY_ZERO)
            return (first, last), None if bins is None else np.array([d.toordinal() - _DAY_ZERO for d in bins], float)
        case Datetime(min=low, max=high):
            start, end = ((moment - _MOMENT_ZERO) // dt.timedelta(seconds=1) for moment in (low, high))
            return (float(start), float(end)), None
        case Integer() | Real():
            edges = None if column.bins is None else np.array(column.bins, dtype=np.float64)
            return (float(column.min), float(column.max)), edges


def _scale(column: Integer | Real | Date | Datetime, bounds: tuple[float, float]) -> float:
    """Of a real column 10^decimals, unless its floats are not that fine, or no such number is in bounds."""
    if not isinstance(column, Real):
        return 1.0
    if column.decimals is None:
        return 0.0
    scale, ends = 10.0**column.decimals, np.array(bounds)
    if np.abs(ends).max() * scale >= _FINEST or up(ends, scale)[0] > _down(ends, scale)[1]:
        return 0.0
    return scale
