"""One stored column → values of its public domain, and which rows broke which rule. Row by row: what
becomes of a value depends on that value alone. Nothing here can fail on content.

What is no value of the kind at all (``abc`` in a number column) counts as null. CSV text is read so:
numbers as decimal literals; ``true``, ``false``, ``1``, ``0`` in any case; dates and moments as ISO 8601,
of which a zone is passed over: the time counts as it is written.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from privsynth.data.columns import unfit
from privsynth.data.evidence import Floats
from privsynth.data.files import is_text
from privsynth.data.ranged import ranged_column
from privsynth.data.schema import Boolean, Categorical, Column, Date, Datetime, Integer, Real
from privsynth.errors import PrivsynthError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    import pyarrow as pa

Mask = npt.NDArray[np.bool_]
Places = npt.NDArray[np.int64]

_NUMBER = r"(?i)^[ \t]*[-+]?(([0-9]+\.?[0-9]*|\.[0-9]+)(e[-+]?[0-9]+)?|inf(inity)?)[ \t]*$"  # RE2: linear
_WHOLE = re.compile(r"[ \t]*+[-+]?[0-9]{1,400}+[ \t]*+\Z")
_TRUTH = {"true": 1.0, "false": 0.0}
_ZERO = dt.datetime(1970, 1, 1)
_DAY_SECONDS = 86_400
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


@dataclass(frozen=True, repr=False, eq=False)
class Conformed:
    """One column after its rules.

    Attributes:
        values: (n,) conformed; a row that is dropped may hold anything.
        broken: (rule, (n,) which rows), the rules being ``clip``, ``round down``, ``null``, ``drop`` or a
            category; only ``drop`` loses the row.
    """

    values: pd.Series[Any]
    broken: tuple[tuple[str, Mask], ...]


def conform(name: str, column: Column, flat: pa.Array) -> Conformed:
    """The stored column by its schema. ``flat``: of a storage type that fits (files.py). O(rows)."""
    absent = np.asarray(flat.is_null(nan_is_null=True).to_numpy(zero_copy_only=False), dtype=np.bool_)
    match column:
        case Categorical(open=True):
            return _open(column, flat, absent)
        case Categorical():
            return _categorical(column, flat, absent)
        case Boolean():
            return _boolean(column, flat, absent)
        case Integer() | Real() | Date() | Datetime():
            return _ranged(name, column, flat, absent)
        case _:
            raise PrivsynthError(f"a {column.kind} column is never conformed", where=f"column {name!r}")


def _by_value(flat: pa.Array, read: Callable[[pa.Array], npt.NDArray[Any]], none: Any) -> npt.NDArray[Any]:
    """``read`` of each distinct value, spread over the rows; ``none`` where null."""
    coded = flat.dictionary_encode()
    table = read(coded.dictionary)
    table = np.append(table, np.array([none], dtype=table.dtype))
    places = coded.indices.fill_null(len(table) - 1).to_numpy(zero_copy_only=False)
    return cast("npt.NDArray[Any]", table[places])


def _nullable_or_drop(column: Column) -> str:
    return "null" if column.nullable else "drop"


def _broken(column: Column, outside: Mask, rule: str, absent: Mask) -> tuple[tuple[str, Mask], ...]:
    found = [(rule, outside)]
    if not column.nullable:
        found.append(("drop", absent))
    return tuple(found)


# --- lists ---------------------------------------------------------------------------------------


def _categorical(column: Categorical, flat: pa.Array, absent: Mask) -> Conformed:
    import pandas as pd

    place: dict[object, int] = {value: i for i, value in enumerate(column.values)}
    whole = isinstance(column.values[0], int)

    def find(values: pa.Array) -> Places:
        keys = _read_codes(values) if whole and is_text(flat.type) else values.to_pylist()
        return np.array([place.get(k, -1) for k in keys], dtype=np.int64)

    places: Places = _by_value(flat, find, -1)
    outside = (places < 0) & ~absent
    rule = _nullable_or_drop(column) if column.outside is None else column.outside
    if rule in place:
        places[outside] = place[rule]
    dtype = pd.CategoricalDtype(pd.Index(list(column.values)))
    values = pd.Categorical.from_codes(cast("Sequence[int]", places), dtype=dtype)
    return Conformed(pd.Series(values), _broken(column, outside, str(rule), absent))


def _open(column: Categorical, flat: pa.Array, absent: Mask) -> Conformed:
    """Every text that could be a category stays; what could not is ``other``, or by ``outside`` null or dropped."""
    import pandas as pd

    coded = flat.dictionary_encode()
    texts = [str(text) for text in coded.dictionary.to_pylist()]
    fit = [not unfit(text, breaks="\t\n") and text not in ("null", "drop") for text in texts]
    listed = sorted({column.rest, *(text for text, good in zip(texts, fit, strict=True) if good)})
    place = {text: i for i, text in enumerate(listed)}
    table = np.array([place.get(text, -1) for text in texts] + [-1], dtype=np.int64)
    places = table[coded.indices.fill_null(len(texts)).to_numpy(zero_copy_only=False)]
    outside = (places < 0) & ~absent
    if column.outside is None:
        places[outside] = place[column.rest]
    rule = column.rest if column.outside is None else column.outside
    values = pd.Categorical.from_codes(cast("Sequence[int]", places), dtype=pd.CategoricalDtype(pd.Index(listed)))
    return Conformed(pd.Series(values), _broken(column, outside, str(rule), absent))


def _read_codes(texts: pa.Array) -> list[int | float]:
    """Whole numbers exactly, however large; others as :func:`_read_numbers`."""
    pairs = zip(texts.to_pylist(), _read_numbers(texts).tolist(), strict=True)
    return [int(text) if _WHOLE.match(text) else number for text, number in pairs]


def _boolean(column: Boolean, flat: pa.Array, absent: Mask) -> Conformed:
    import pandas as pd

    numbers = _by_value(flat, _read_truths, np.nan) if is_text(flat.type) else _stored_numbers(flat)
    known = (numbers == 0) | (numbers == 1)
    values = pd.arrays.BooleanArray(numbers == 1, ~known)
    return Conformed(pd.Series(values), _broken(column, ~known & ~absent, column.outside, absent))


def _read_truths(texts: pa.Array) -> Floats:
    pairs = zip(texts.to_pylist(), _read_numbers(texts).tolist(), strict=True)
    return np.array([_TRUTH.get(text.strip(" \t").lower(), number) for text, number in pairs], dtype=np.float64)


# --- numbers and dates ---------------------------------------------------------------------------


def _ranged(name: str, column: Integer | Real | Date | Datetime, flat: pa.Array, absent: Mask) -> Conformed:
    import pandas as pd

    coded = ranged_column(name, column)
    low, high = coded.bounds
    numbers = _positions(column, flat)
    unreadable = np.isnan(numbers) & ~absent
    broken: list[tuple[str, Mask]] = []
    if coded.whole:
        whole = np.floor(numbers)
        broken.append(("round down", whole < numbers))
        numbers = whole
    outside = (numbers < low) | (numbers > high)
    broken = [(column.outside, outside), *broken, (_nullable_or_drop(column), unreadable)]
    if not column.nullable:
        broken.append(("drop", absent))
    missing = np.isnan(numbers)
    if column.outside == "null":
        missing |= outside
    numbers = np.where(missing, low, np.clip(numbers, low, high))
    match column:
        case Date() | Datetime():
            unit = "datetime64[D]" if isinstance(column, Date) else "datetime64[s]"
            moments = numbers.astype(np.int64).astype(unit).astype("datetime64[s]")
            moments[missing] = np.datetime64("NaT")
            values = pd.Series(moments)
        case Integer():
            values = pd.Series(pd.arrays.IntegerArray(numbers.astype(np.int64), missing))
        case Real():
            numbers[missing] = np.nan
            values = pd.Series(numbers)
    return Conformed(values, tuple(broken))


def _positions(column: Column, flat: pa.Array) -> Floats:
    """Each value as a position (data/ranged.py); NaN: null, or no value of the kind."""
    import pyarrow.types as t

    dates = isinstance(column, Date | Datetime)
    if is_text(flat.type):
        numbers: Floats = _by_value(flat, _read_moments if dates else _read_numbers, np.nan)
    elif dates and not t.is_null(flat.type):
        numbers = _stored_seconds(flat)
    else:
        return _stored_numbers(flat)
    return np.floor(numbers / _DAY_SECONDS) if isinstance(column, Date) else numbers


def _stored_numbers(flat: pa.Array) -> Floats:
    """Whole numbers beyond 2^53 to the nearest float64."""
    import pyarrow as pa

    out = flat.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return np.array(out, dtype=np.float64)


def _stored_seconds(flat: pa.Array) -> Floats:
    """Seconds since 1970, rounded down."""
    import pyarrow as pa
    import pyarrow.types as t

    kind = flat.type
    if t.is_date32(kind):
        whole, factor, divisor = flat.cast(pa.int32()).cast(pa.int64()), _DAY_SECONDS, 1
    else:
        whole, factor, divisor = flat.cast(pa.int64()), 1, _PER_SECOND["ms" if t.is_date64(kind) else kind.unit]
    counts = whole.fill_null(0).to_numpy(zero_copy_only=False)
    seconds = np.floor_divide(counts, divisor) * factor
    return np.where(flat.is_null().to_numpy(zero_copy_only=False), np.nan, seconds.astype(np.float64))


def _read_numbers(texts: pa.Array) -> Floats:
    """Decimal literals, or NaN."""
    import pyarrow.compute as pc

    out = np.full(len(texts), np.nan)
    good = pc.match_substring_regex(texts, pattern=_NUMBER)
    out[good.to_numpy(zero_copy_only=False)] = [float(text) for text in texts.filter(good).to_pylist()]
    return out


def _read_moments(texts: pa.Array) -> Floats:
    return np.array([_moment(text) for text in texts.to_pylist()], dtype=np.float64)


def _moment(text: str) -> float:
    """Seconds since 1970 of an ISO 8601 day or moment, rounded down, or NaN."""
    try:
        since = dt.datetime.fromisoformat(text.strip(" \t")).replace(tzinfo=None) - _ZERO
    except ValueError:
        return float("nan")
    return float(since.days * _DAY_SECONDS + since.seconds)
