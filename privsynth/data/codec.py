"""Raw values ↔ integer cells. All that is known of a domain comes from the schema, never from rows.

A column's cells are numbered 0 … cells-1 in schema order; where it is nullable the last cell is null.
Numbers and dates fall into cells by public edges: the schema's ``bins``, else one cell a value (at most
256), else 64 of equal width; a public atom of a real column is a cell of its own. Inside a cell a
sampled value is uniform. Encoding is pure; decoding takes the caller's random generator.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from privsynth.data.schema import (
    MAX_CELLS,
    Boolean,
    Categorical,
    Column,
    Date,
    Datetime,
    Integer,
    Real,
    Schema,
)
from privsynth.errors import ConditionError

if TYPE_CHECKING:
    import pandas as pd

Codes = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]

VALUES_AS_CELLS = 256
_EPOCH = dt.date(1970, 1, 1).toordinal()


@dataclass(frozen=True)
class Between:
    """A closed range for ``where=``: ``{"age": Between(20, 40)}``; either end may be None (open)."""

    low: Any = None
    high: Any = None


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a condition says of one column.

    Attributes:
        weights: (cells,) float64 in [0, 1]: the share of each cell's values that satisfy it.
        segments: the allowed stretches within cells, for decoding; None for listed columns.
    """

    weights: Floats
    segments: Segments | None = None


@dataclass(frozen=True, eq=False)
class Segments:
    """Disjoint stretches of values, sorted by cell: ``start`` and ``length`` (count of whole numbers, or
    real length; an atom has length 0 and is the only stretch of its cell)."""

    cell: npt.NDArray[np.int64]
    start: Floats
    length: Floats

    def draw(self, codes: Codes, cells: int, *, whole: bool, rng: np.random.Generator) -> Floats:
        """One uniform value from the stretches of each row's cell. (n,) float64."""
        total = np.bincount(self.cell, weights=self.length, minlength=cells).astype(np.float64)
        ends = np.cumsum(self.length)
        offset = np.concatenate([[0.0], np.cumsum(total)])[:-1]
        first = np.searchsorted(self.cell, np.arange(cells))
        room = total[codes]
        u = rng.random(len(codes))
        within = np.minimum(np.floor(u * room), np.maximum(room - 1.0, 0.0)) if whole else u * room
        position = offset[codes] + within
        index = np.searchsorted(ends, position, side="right")
        last = np.searchsorted(self.cell, np.arange(cells), side="right") - 1
        index = np.clip(index, first[codes], np.maximum(last[codes], first[codes]))
        value = self.start[index] + (position - (ends[index] - self.length[index]))
        out: Floats = np.where(self.length[index] > 0, value, self.start[index])
        return out


@dataclass(frozen=True, eq=False)
class CodedColumn:
    """One learned column as cells.

    Attributes:
        name: of the column.
        column: its declaration.
        cells: how many codes there are, the null cell included.
        ordered: whether neighbouring cells are alike (numbers, dates, ordered categories).
        nullable: whether the last cell is null.
    """

    name: str
    column: Column
    cells: int
    ordered: bool
    nullable: bool

    def encode(self, values: pd.Series[Any]) -> Codes:
        """(n,) int32 cells of conformed values."""
        raise ConditionError(f"column {self.name!r} has no cells")

    def decode(self, codes: Codes, rng: np.random.Generator, evidence: Evidence | None = None) -> pd.Series[Any]:
        """(n,) values drawn from the cells, within ``evidence`` where given."""
        raise ConditionError(f"column {self.name!r} has no cells")

    def evidence(self, wanted: Any) -> Evidence:
        """What ``wanted`` (a value, a list of values, None, or :class:`Between`) says of this column."""
        raise ConditionError(f"column {self.name!r} has no cells")

    def labels(self) -> tuple[str, ...]:
        """A short text for each cell, for plots and cards."""
        raise ConditionError(f"column {self.name!r} has no cells")

    @property
    def null(self) -> int | None:
        """The null cell's code, or None."""
        return self.cells - 1 if self.nullable else None

    def _wanted(self, wanted: Any) -> list[Any]:
        if isinstance(wanted, str | bytes) or not isinstance(wanted, Iterable):
            return [wanted]
        values = list(wanted)
        if not values:
            raise ConditionError("an empty list of values", where=f"where[{self.name!r}]", mend="name at least one")
        return values

    def _no_null(self) -> ConditionError:
        return ConditionError("this column is never null", where=f"where[{self.name!r}]", mend="ask for a value")


@dataclass(frozen=True, eq=False)
class Listed(CodedColumn):
    """Categorical and boolean columns."""

    values: tuple[Any, ...]

    def encode(self, values: pd.Series[Any]) -> Codes:
        import pandas as pd

        if isinstance(values.dtype, pd.CategoricalDtype) and tuple(values.cat.categories) == self.values:
            codes = values.cat.codes.to_numpy().astype(np.int32)
        else:
            index = pd.Index(list(self.values), dtype=object)
            codes = index.get_indexer(pd.Index(values.astype(object))).astype(np.int32)
        if self.null is not None:
            codes[codes < 0] = self.null
        return codes

    def decode(self, codes: Codes, rng: np.random.Generator, evidence: Evidence | None = None) -> pd.Series[Any]:
        import pandas as pd

        missing = codes == self.null if self.null is not None else np.zeros(len(codes), dtype=bool)
        if isinstance(self.column, Boolean):
            flags = pd.array(codes == 1, dtype="boolean")
            flags[missing] = pd.NA
            return pd.Series(flags, name=self.name)
        places = np.where(missing, -1, codes).tolist()
        return pd.Series(pd.Categorical.from_codes(places, categories=pd.Index(list(self.values))), name=self.name)

    def evidence(self, wanted: Any) -> Evidence:
        weights = np.zeros(self.cells)
        if isinstance(wanted, Between):
            raise ConditionError(
                "a range on a column without numbers", where=f"where[{self.name!r}]", mend="give a list of values"
            )
        for value in self._wanted(wanted):
            if value is None:
                if self.null is None:
                    raise self._no_null()
                weights[self.null] = 1.0
            else:
                match = [i for i, v in enumerate(self.values) if v == value and isinstance(v, bool) == isinstance(value, bool | np.bool_)]
                if not match:
                    raise ConditionError(
                        f"{value!r} is not in its public domain",
                        where=f"where[{self.name!r}]",
                        mend=f"one of {', '.join(map(repr, self.values[:8]))}{' …' if len(self.values) > 8 else ''}",
                    )
                weights[match[0]] = 1.0
        return Evidence(weights)

    def labels(self) -> tuple[str, ...]:
        return (*(str(v).lower() if isinstance(v, bool) else str(v) for v in self.values), *(("null",) if self.nullable else ()))


@dataclass(frozen=True, eq=False)
class Ranged(CodedColumn):
    """Integers, reals, dates and datetimes as positions: the number itself, the day's ordinal since
    1970, the second since 1970. ``low`` and ``high``: (m,) float64 closed-open ends of the non-null
    cells (whole numbers: ``high`` is the next cell's low; an atom has low = high)."""

    low: Floats
    high: Floats
    whole: bool

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
        codes = np.searchsorted(self.low, position, side="right") - 1
        out: Codes = np.clip(codes, 0, len(self.low) - 1).astype(np.int32)
        if self.null is not None:
            out[missing] = self.null
        return out

    @cached_property
    def segments(self) -> Segments:
        """The cells themselves as stretches."""
        return Segments(np.arange(len(self.low), dtype=np.int64), self.low, self.high - self.low)

    def decode(self, codes: Codes, rng: np.random.Generator, evidence: Evidence | None = None) -> pd.Series[Any]:
        import pandas as pd

        missing = codes == self.null if self.null is not None else np.zeros(len(codes), dtype=bool)
        segments = evidence.segments if evidence is not None and evidence.segments is not None else self.segments
        safe = np.where(missing, segments.cell[0] if len(segments.cell) else 0, codes).astype(np.int32)
        if len(segments.cell):
            position = segments.draw(safe, len(self.low), whole=self.whole, rng=rng)
        else:
            position = np.zeros(len(codes))
        match self.column:
            case Date():
                days = pd.Series(position.astype(np.int64).astype("datetime64[D]").astype("datetime64[s]"))
                return days.where(~missing).rename(self.name)
            case Datetime():
                seconds = pd.Series(position.astype(np.int64).astype("datetime64[s]"))
                return seconds.where(~missing).rename(self.name)
            case Real(decimals=decimals, min=low, max=high):
                if decimals is not None:
                    position = np.clip(np.round(position, decimals), low, high)
                return pd.Series(np.where(missing, np.nan, position), name=self.name)
            case _:
                whole = pd.array(position.astype(np.int64), dtype="Int64" if self.nullable else "int64")
                if missing.any():
                    whole[missing] = pd.NA
                return pd.Series(whole, name=self.name)

    def evidence(self, wanted: Any) -> Evidence:
        weights = np.zeros(self.cells)
        stretches: list[tuple[float, float]] = []
        for item in [wanted] if isinstance(wanted, Between) else self._wanted(wanted):
            if item is None:
                if self.null is None:
                    raise self._no_null()
                weights[self.null] = 1.0
            elif isinstance(item, Between):
                low = -np.inf if item.low is None else self._number(item.low)
                high = np.inf if item.high is None else self._number(item.high)
                if low > high:
                    raise ConditionError("an empty range", where=f"where[{self.name!r}]", mend="low at most high")
                stretches.append((low, high))
            else:
                value = self._number(item)
                stretches.append((value, value))
        segments = self._clip(stretches)
        held = np.bincount(segments.cell, weights=segments.length, minlength=len(self.low)).astype(np.float64)
        size = self.high - self.low
        atom = size <= 0
        share = np.divide(held, size, out=np.zeros_like(held), where=~atom)
        share[atom] = np.isin(np.flatnonzero(atom), segments.cell)
        weights[: len(self.low)] = np.minimum(share, 1.0)
        if not weights.any():
            raise ConditionError(
                "the condition meets no value of the column's public domain",
                where=f"where[{self.name!r}]",
                mend="a range inside the bounds; for a real column a range, not one exact value",
            )
        return Evidence(weights, segments)

    def _number(self, value: Any) -> float:
        try:
            match self.column:
                case Date():
                    day = dt.date.fromisoformat(value) if isinstance(value, str) else value
                    return float(day.toordinal() - _EPOCH)
                case Datetime():
                    moment = dt.datetime.fromisoformat(value) if isinstance(value, str) else value
                    return float((moment - dt.datetime(1970, 1, 1)).total_seconds())
                case _:
                    if isinstance(value, bool | str):
                        raise TypeError
                    number = float(value)
                    if not np.isfinite(number):
                        raise ValueError
                    return number
        except (TypeError, ValueError, AttributeError, OverflowError):
            raise ConditionError(
                f"{value!r} is not a {self.column.kind}",
                where=f"where[{self.name!r}]",
                mend="a value of the column's kind, a list of them, or Between(low, high)",
            ) from None

    def _clip(self, stretches: list[tuple[float, float]]) -> Segments:
        """The union of closed ``stretches`` cut to the cells."""
        merged: list[list[float]] = []
        for low, high in sorted(stretches):
            if self.whole:
                low, high = np.ceil(low), np.floor(high) + 1.0  # closed-open in whole numbers
                if low >= high:
                    continue
            if merged and low <= merged[-1][1]:
                merged[-1][1] = max(merged[-1][1], high)
            else:
                merged.append([low, high])
        cell, start, length = [], [], []
        for c, (a, b) in enumerate(zip(self.low, self.high, strict=True)):
            for low, high in merged:
                left, right = max(a, low), min(b, high)
                if right > left or (a == b and low <= a <= high):
                    cell.append(c)
                    start.append(left)
                    length.append(right - left)
        return Segments(np.array(cell, dtype=np.int64), np.array(start, dtype=float), np.array(length, dtype=float))

    def labels(self) -> tuple[str, ...]:
        def text(position: float) -> str:
            match self.column:
                case Date():
                    return dt.date.fromordinal(int(position) + _EPOCH).isoformat()
                case Datetime():
                    return (dt.datetime(1970, 1, 1) + dt.timedelta(seconds=int(position))).isoformat(" ")
                case _:
                    return f"{position:g}"

        step = 1.0 if self.whole else 0.0
        ends = [
            text(a) if b - a <= step else f"{text(a)} to {text(b - step)}"
            for a, b in zip(self.low, self.high, strict=True)
        ]
        return (*ends, *(("null",) if self.nullable else ()))


def _cells(column: Integer | Real | Date | Datetime) -> tuple[Floats, Floats, bool]:
    """Closed-open cell ends from public edges."""
    match column:
        case Integer(min=low, max=high, bins=bins):
            first, last, whole = float(low), float(high) + 1.0, True
            inner = None if bins is None else np.array(bins, dtype=float)
        case Date(min=low, max=high, bins=days):
            first, last, whole = float(low.toordinal() - _EPOCH), float(high.toordinal() - _EPOCH) + 1.0, True
            inner = None if days is None else np.array([d.toordinal() - _EPOCH for d in days], dtype=float)
        case Datetime(min=low, max=high):
            epoch = dt.datetime(1970, 1, 1)
            first, last, whole = np.floor((low - epoch).total_seconds()), np.floor((high - epoch).total_seconds()) + 1.0, True
            inner = None
        case Real(min=low, max=high, bins=edges):
            first, last, whole = float(low), float(high), False
            inner = None if edges is None else np.array([e for e in edges if e < last], dtype=float)
    if inner is None:
        if whole and last - first <= VALUES_AS_CELLS:
            inner = np.arange(first + 1.0, last)
        else:
            inner = first + (last - first) * np.arange(1, MAX_CELLS) / MAX_CELLS
            inner = np.unique(np.floor(inner)) if whole else inner
            inner = inner[(inner > first) & (inner < last)]
    low_ends = np.concatenate([[first], inner])
    high_ends = np.concatenate([inner, [last]])
    if isinstance(column, Real):
        for atom in sorted(column.atoms):
            low_ends, high_ends = _with_atom(low_ends, high_ends, float(atom))
    return low_ends, high_ends, whole


def _with_atom(low: Floats, high: Floats, atom: float) -> tuple[Floats, Floats]:
    """Cut the cell around ``atom`` into what lies below it, the atom, and what lies above."""
    c = int(np.clip(np.searchsorted(low, atom, side="right") - 1, 0, len(low) - 1))
    above = float(np.nextafter(atom, np.inf))
    parts = [(low[c], atom)] if atom > low[c] else []
    parts.append((atom, atom))
    if above < high[c]:
        parts.append((above, float(high[c])))
    a, b = np.array([p[0] for p in parts]), np.array([p[1] for p in parts])
    return np.concatenate([low[:c], a, low[c + 1 :]]), np.concatenate([high[:c], b, high[c + 1 :]])


def coded_column(name: str, column: Column) -> CodedColumn:
    """The cells of one learned column."""
    null = 1 if column.nullable else 0
    match column:
        case Categorical():
            return Listed(name, column, len(column.values) + null, column.ordered, column.nullable, column.values)
        case Boolean():
            return Listed(name, column, 2 + null, False, column.nullable, (False, True))
        case Integer() | Real() | Date() | Datetime():
            low, high, whole = _cells(column)
            return Ranged(name, column, len(low) + null, True, column.nullable, low, high, whole)
        case _:
            raise ConditionError(f"a {column.kind} column is never coded", where=name)


class Codec:
    """The cells of every learned column of a schema, in file order."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.columns: tuple[CodedColumn, ...] = tuple(coded_column(n, c) for n, c in schema.learned.items())
        self.index: Mapping[str, int] = {c.name: i for i, c in enumerate(self.columns)}

    def encode(self, frame: pd.DataFrame) -> Codes:
        """(n, columns) int32 cells of conformed rows."""
        out = np.empty((len(frame), len(self.columns)), dtype=np.int32, order="F")
        for i, column in enumerate(self.columns):
            out[:, i] = column.encode(frame[column.name])
        return out

    def decode(
        self, codes: Codes, rng: np.random.Generator, evidence: Mapping[str, Evidence] | None = None
    ) -> pd.DataFrame:
        """Rows drawn from their cells; columns in schema order."""
        import pandas as pd

        given = evidence or {}
        return pd.DataFrame(
            {c.name: c.decode(codes[:, i], rng, given.get(c.name)) for i, c in enumerate(self.columns)}
        )

    def evidence(self, where: Mapping[str, Any] | None) -> dict[str, Evidence]:
        """A ``where=`` mapping, checked and translated. Raises ConditionError."""
        out: dict[str, Evidence] = {}
        for name, wanted in (where or {}).items():
            if name not in self.index:
                raise ConditionError(
                    "not a learned column", where=f"where[{name!r}]", mend=f"one of {', '.join(self.index)}"
                )
            out[name] = self.columns[self.index[name]].evidence(wanted)
        return out
