"""Files and frames → Records, by the schema alone.

Structure is checked and refused loudly: missing, unknown or doubled columns, wrong storage types,
unreadable files. Content never stops a run: each value outside its domain is clipped, mapped or
loses its row by the schema's rule, row by row, and only ``privsynth data check`` lists such rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from privsynth.data.codec import Codec, Ranged
from privsynth.data.records import Records
from privsynth.data.schema import Boolean, Categorical, Column, Date, Datetime, Integer, Real, Schema
from privsynth.errors import DataError, MissingExtra

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Fault:
    """One kind of content fault, for eyes inside only.

    Attributes:
        column: the column, or the text of the row rule.
        rule: what is done: ``clip``, ``null``, ``drop``, or a category.
        rows: how many rows.
        first: the numbers (from 0) of the first ten of them.
    """

    column: str
    rule: str
    rows: int
    first: tuple[int, ...]


def read_table(data: str | Path | pd.DataFrame, schema: Schema) -> Records:
    """Read a CSV or Parquet file, or a pandas frame, by its schema.

    CSV: UTF-8, comma, a header line; an empty field is null. Parquet: flat columns. Types are those of
    the storage (CSV: text, converted by the schema). Complexity O(rows · columns).

    Raises:
        DataError: a structural fault. It names columns and storage types, never a value.
        MissingExtra: pandas and pyarrow are not installed.
    """
    records, _ = _read(data, schema, list_rows=False)
    return records


def check_table(data: str | Path | pd.DataFrame, schema: Schema) -> tuple[Fault, ...]:
    """List the content faults of a table. Sensitive: for ``privsynth data check``, inside only."""
    _, faults = _read(data, schema, list_rows=True)
    return faults


def _read(data: str | Path | pd.DataFrame, schema: Schema, *, list_rows: bool) -> tuple[Records, tuple[Fault, ...]]:
    try:
        import pandas as pd
        import pyarrow as pa
    except ImportError:
        raise MissingExtra(
            "reading data needs pandas and pyarrow", mend="pip install 'privsynth[generate]'"
        ) from None
    if isinstance(data, pd.DataFrame):
        where = "data frame"
        table, from_text = _frame(data, where), False
    else:
        where = str(data)
        table, from_text = _file(Path(data), where)
    _check_names(table.column_names, schema, where)
    ledger = _Faults(table.num_rows, list_rows)
    conformed: dict[str, pd.Series[Any]] = {}
    for name, column in schema.columns.items():
        if column.learned:
            field: pa.ChunkedArray = table.column(name)
            conformed[name] = _conform(name, column, field, from_text, ledger, where)
    frame = pd.DataFrame(conformed)
    ids, kept = _subjects(table, schema, where, ledger)
    kept &= ledger.alive
    kept = _row_rules(frame, schema, kept, ledger)
    extra = [n for n, c in schema.columns.items() if c.dropped and pa.types.is_string(table.schema.field(n).type)]
    for name in extra:  # consent may ask for a dropped column; the fit never sees it
        frame[name] = table.column(name).to_pandas()
    frame = frame.loc[kept].reset_index(drop=True)
    subjects = ids[kept] if ids is not None else _row_ids(frame, schema)
    return Records(schema, frame, subjects, ledger.counts()), ledger.faults()


class _Faults:
    """Gathers which rows broke which rule."""

    def __init__(self, rows: int, list_rows: bool) -> None:
        self.alive: Mask = np.ones(rows, dtype=bool)
        self._list = list_rows
        self._found: list[Fault] = []

    def note(self, column: str, rule: str, mask: Mask) -> None:
        """``mask``: the rows that broke it; ``drop`` kills them."""
        if mask.any():
            first = tuple(int(i) for i in np.flatnonzero(mask)[:10]) if self._list else ()
            self._found.append(Fault(column, rule, int(mask.sum()), first))
        if rule == "drop":
            self.alive &= ~mask

    def faults(self) -> tuple[Fault, ...]:
        return tuple(self._found)

    def counts(self) -> dict[tuple[str, str], int]:
        return {(f.column, f.rule): f.rows for f in self._found}


# --- files ---------------------------------------------------------------------------------------


def _frame(frame: pd.DataFrame, where: str) -> pa.Table:
    import pyarrow as pa

    names = [str(n) for n in frame.columns]
    _refuse_doubled(names, where)
    try:
        return pa.Table.from_pandas(frame.set_axis(names, axis=1), preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        raise DataError(
            "a column mixes types that no storage type holds", where=where, mend="give each column one type"
        ) from None


def _file(path: Path, where: str) -> tuple[pa.Table, bool]:
    """The table and whether its values are text to be converted (CSV)."""
    readers: dict[str, Callable[[Path, str], pa.Table]] = {".csv": _csv, ".parquet": _parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            f"a file name ending in {path.suffix or 'nothing'} is not known", where=where, mend="a .csv or .parquet file"
        )
    try:
        empty = path.stat().st_size == 0
    except OSError as fault:
        raise DataError(
            f"no such data file ({fault.strerror})", where=where, mend="check the path and its permissions"
        ) from None
    if path.is_dir():
        raise DataError("a folder, not a data file", where=where, mend="name one .csv or .parquet file")
    if empty:
        raise DataError("zero bytes: not even a header", where=where, mend="write the file again, with its header")
    return reader(path, where), path.suffix.lower() == ".csv"


def _csv(path: Path, where: str) -> pa.Table:
    import pyarrow as pa
    from pyarrow import csv

    names = csv_header(path)
    options = csv.ConvertOptions(
        column_types={name: pa.string() for name in names},
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        check_utf8=True,
    )
    try:
        return csv.read_csv(
            path,
            read_options=csv.ReadOptions(encoding="utf8", block_size=16 * 1024 * 1024),
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=options,
        )
    except (pa.ArrowInvalid, pa.ArrowKeyError, UnicodeDecodeError, OSError):
        raise DataError(
            "not a whole UTF-8 CSV file: some line is cut off, has another number of fields, or is not UTF-8",
            where=where,
            mend="export it again as UTF-8, comma-separated, every line with as many fields as the header",
        ) from None


def csv_header(path: Path) -> list[str]:
    """The column names of a CSV file; nothing beyond its first record is looked at.

    Raises:
        DataError: no header, doubled names, not UTF-8.
    """
    import csv as plain_csv

    where = str(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            names = next(plain_csv.reader(stream, strict=True), [])
    except (UnicodeDecodeError, plain_csv.Error):
        raise DataError("the header is not UTF-8 CSV", where=where, mend="export it again as UTF-8") from None
    except OSError as fault:
        raise DataError(f"cannot be read ({fault.strerror})", where=where, mend="check the path") from None
    if not names:
        raise DataError("no header", where=where, mend="the first line must name the columns")
    _refuse_doubled(names, where)
    return names


def _parquet(path: Path, where: str) -> pa.Table:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
        _refuse_doubled(file.schema_arrow.names, where)
        return file.read()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError):
        raise DataError("not a whole Parquet file", where=where, mend="write the file again") from None


def _refuse_doubled(names: Sequence[str], where: str) -> None:
    doubled = sorted({n for n in names if list(names).count(n) > 1})
    if doubled:
        raise DataError(
            f"doubled column names: {', '.join(doubled)}", where=where, mend="give every column a name of its own"
        )


def _check_names(names: Sequence[str], schema: Schema, where: str) -> None:
    missing = [n for n in schema.columns if n not in names]
    unknown = [n for n in names if n not in schema.columns]
    if missing:
        raise DataError(
            f"missing columns: {', '.join(missing)}", where=where, mend="add them, or take them out of the schema"
        )
    if unknown:
        raise DataError(
            f"columns that the schema does not know: {', '.join(unknown)}",
            where=where,
            mend="declare them; `{kind: text, dropped: true}` leaves one out",
        )


# --- values --------------------------------------------------------------------------------------


def _storage(name: str, column: Column, kind: pa.DataType, from_text: bool, where: str) -> pa.DataType:
    """Refuse a storage type that does not fit the declared kind."""
    import pyarrow.types as t

    if t.is_dictionary(kind):
        kind = kind.value_type
    number = t.is_integer(kind) or t.is_floating(kind) or t.is_decimal(kind)
    text = t.is_string(kind) or t.is_large_string(kind)
    match column:
        case Integer() | Real():
            good, wanted = number, "a number type"
        case Boolean():
            good, wanted = t.is_boolean(kind) or number, "boolean, or numbers 0 and 1"
        case Categorical(values=values) if values and isinstance(values[0], int):
            good, wanted = number, "an integer type"
        case Categorical():
            good, wanted = text, "text"
        case Date() | Datetime():
            good = t.is_date(kind) or (t.is_timestamp(kind) and kind.tz is None)
            wanted = "date or timestamp without time zone"
        case _:
            good, wanted = True, ""
    if not (good or (from_text and text) or t.is_null(kind)):
        raise DataError(
            f"column {name!r} is declared {column.kind} but stored as {kind}",
            where=where,
            mend=f"store it as {wanted}, or declare what it is",
        )
    return kind


def _conform(
    name: str, column: Column, field: pa.ChunkedArray, from_text: bool, faults: _Faults, where: str
) -> pd.Series[Any]:
    """The column as conformed values; faults noted by the schema's rule."""
    kind = _storage(name, column, field.type, from_text, where)
    match column:
        case Categorical():
            values, known, absent = _categories(column, field)
            rule = column.outside if column.outside is not None else ("null" if column.nullable else "drop")
            if not isinstance(rule, str) or rule not in ("null", "drop") or rule in column.values:
                values[~known & ~absent] = column.values.index(rule)
            series = _category_series(values, column)
        case Boolean():
            numbers, absent = _numbers(field, kind, column)
            known = (numbers == 0) | (numbers == 1)
            rule = column.outside
            series = _boolean_series(numbers, known & ~absent)
        case Integer() | Real() | Date() | Datetime():
            return _ranged(name, column, field, kind, faults)
        case _:
            raise DataError(f"column {name!r} of kind {column.kind} cannot be learned", where=where, mend="drop it")
    outside = ~known & ~absent
    faults.note(name, str(rule), outside)
    if not column.nullable:
        faults.note(name, "drop", absent)
    return series


def _categories(column: Categorical, field: pa.ChunkedArray) -> tuple[npt.NDArray[np.int64], Mask, Mask]:
    """Positions in the value list (-1 unknown), which are known, which are null."""
    import pandas as pd

    raw = field.to_pandas()
    absent = raw.isna().to_numpy()
    if column.values and isinstance(column.values[0], int):
        numbers = pd.to_numeric(raw, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        values = pd.Index(np.array(column.values, dtype=np.float64)).get_indexer(numbers)
    else:
        values = pd.Index(list(column.values), dtype=object).get_indexer(raw.astype(object))
    values = values.astype(np.int64)
    values[absent] = -1
    return values, values >= 0, absent


def _category_series(codes: npt.NDArray[np.int64], column: Categorical) -> pd.Series[Any]:
    import pandas as pd

    return pd.Series(pd.Categorical.from_codes(codes.tolist(), categories=pd.Index(list(column.values))))


def _boolean_series(numbers: npt.NDArray[np.float64], known: Mask) -> pd.Series[Any]:
    import pandas as pd

    flags = pd.array(numbers == 1, dtype="boolean")
    flags[~known] = pd.NA
    return pd.Series(flags)


_TRUTH = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0, "True": 1.0, "False": 0.0, "TRUE": 1.0, "FALSE": 0.0}


def _numbers(field: pa.ChunkedArray, kind: pa.DataType, column: Column) -> tuple[npt.NDArray[np.float64], Mask]:
    """Values as float64 positions (NaN: not a value of the kind) and which are null."""
    import pandas as pd
    import pyarrow.types as t

    raw = field.to_pandas()
    absent = raw.isna().to_numpy()
    if t.is_null(kind):
        return np.full(len(raw), np.nan), np.ones(len(raw), dtype=bool)
    text = t.is_string(kind) or t.is_large_string(kind)
    match column:
        case Boolean() if text:
            numbers = raw.astype(object).map(_TRUTH).to_numpy(dtype=np.float64, na_value=np.nan)
        case Date() | Datetime():
            unit = "datetime64[D]" if isinstance(column, Date) else "datetime64[s]"
            moments = pd.to_datetime(raw, errors="coerce", format="ISO8601" if text else None)
            if getattr(moments.dt, "tz", None) is not None:
                moments = moments.dt.tz_localize(None)
            numbers = moments.to_numpy().astype(unit).astype(np.int64).astype(np.float64)
            numbers[moments.isna().to_numpy()] = np.nan
        case _:
            numbers = pd.to_numeric(raw.astype(object) if not text else raw, errors="coerce").to_numpy(
                dtype=np.float64, na_value=np.nan
            )
    return numbers, absent


def _ranged(name: str, column: Column, field: pa.ChunkedArray, kind: pa.DataType, faults: _Faults) -> pd.Series[Any]:
    """Numbers and dates: out of bounds by ``outside``; what is no number of the kind counts as null."""
    import pandas as pd

    coded = _bounded_column(name, column)
    numbers, absent = _numbers(field, kind, column)
    numbers[np.isinf(numbers)] = np.sign(numbers[np.isinf(numbers)]) * 1e300
    unreadable = np.isnan(numbers) & ~absent
    low, high = coded.low[0], coded.high[-1] - (1.0 if coded.whole else 0.0)
    fractional = np.zeros(len(numbers), dtype=bool)
    if coded.whole:
        whole = np.floor(numbers)
        fractional = (whole != numbers) & ~np.isnan(numbers)
        numbers = whole
    out = ((numbers < low) | (numbers > high)) & ~np.isnan(numbers)
    rule = getattr(column, "outside", "clip")
    faults.note(name, rule, out)
    faults.note(name, "round down", fractional)
    numbers = np.clip(numbers, low, high)
    if rule == "null":
        numbers[out] = np.nan
    missing = np.isnan(numbers)
    faults.note(name, "null" if column.nullable else "drop", unreadable)
    if not column.nullable:
        faults.note(name, "drop", absent)
    filled = np.where(missing, low, numbers)
    match column:
        case Date():
            series: pd.Series[Any] = pd.Series(filled.astype(np.int64).astype("datetime64[D]").astype("datetime64[s]"))
            return series.where(~missing)
        case Datetime():
            return pd.Series(filled.astype(np.int64).astype("datetime64[s]")).where(~missing)
        case Integer():
            whole_numbers = pd.array(filled.astype(np.int64), dtype="Int64")
            whole_numbers[missing] = pd.NA
            return pd.Series(whole_numbers)
        case _:
            return pd.Series(np.where(missing, np.nan, filled))


def _bounded_column(name: str, column: Column) -> Ranged:
    """The cells of a numeric or date column."""
    from privsynth.data.codec import coded_column

    coded = coded_column(name, column)
    if not isinstance(coded, Ranged):
        raise DataError(f"column {name!r} has no bounds", mend="declare min and max")
    return coded


# --- rows ----------------------------------------------------------------------------------------


def _subjects(
    table: pa.Table, schema: Schema, where: str, faults: _Faults
) -> tuple[npt.NDArray[np.object_] | None, Mask]:
    """Each row's subject id as text; rows without one are dropped by rule."""
    import pyarrow.types as t

    name = schema.subject.column
    if name is None:
        return None, np.ones(table.num_rows, dtype=bool)
    kind = table.schema.field(name).type
    kind = kind.value_type if t.is_dictionary(kind) else kind
    if not (t.is_string(kind) or t.is_large_string(kind) or t.is_integer(kind) or t.is_null(kind)):
        raise DataError(
            f"subject column {name!r} is stored as {kind}", where=where, mend="store ids as text or integers"
        )
    raw = table.column(name).to_pylist()
    absent = np.array([v is None or str(v).strip() == "" for v in raw], dtype=bool)
    ids = np.array([None if v is None else str(v).strip() for v in raw], dtype=object)
    faults.note(name, "drop", absent)
    return ids.reshape(-1), ~absent


def _row_ids(frame: pd.DataFrame, schema: Schema) -> npt.NDArray[np.object_]:
    """Where each row is a subject: the hash of its content and its number among equal rows, so that
    adding or removing a row renames no other. Stays in memory; only keyed coins are drawn from it."""
    parts = []
    for column in Codec(schema).columns:
        if isinstance(column, Ranged):
            position, missing = column.position(frame[column.name])
            parts += [position, missing.astype(np.float64)]
        else:
            parts.append(column.encode(frame[column.name]).astype(np.float64))
    rows = np.ascontiguousarray(np.stack(parts, axis=1)) if len(frame) else np.zeros((0, 1))
    seen: dict[bytes, int] = {}
    ids = np.empty(len(rows), dtype=object)
    for i, row in enumerate(rows):
        digest = sha256(row.tobytes()).digest()
        ordinal = seen.get(digest, 0)
        seen[digest] = ordinal + 1
        ids[i] = f"{digest.hex()}:{ordinal}"
    return ids


def _row_rules(frame: pd.DataFrame, schema: Schema, kept: Mask, faults: _Faults) -> Mask:
    """Rows that break a structural zero or an order are dropped by rule."""
    bad = violations(frame, schema)
    for rule, mask in bad:
        faults.note(rule, "drop", mask & kept)
        kept = kept & ~mask
    return kept


def violations(frame: pd.DataFrame, schema: Schema) -> list[tuple[str, Mask]]:
    """Which rows of conformed values break each ``never`` and ``order`` line of the schema."""
    out: list[tuple[str, Mask]] = []
    for rule in schema.never:
        mask = np.ones(len(frame), dtype=bool)
        for name, value in rule.items():
            column = frame[name]
            hit = column.isna() if value is None else (column.astype(object) == value).fillna(False)
            mask &= hit.to_numpy(dtype=bool)
        out.append((f"never {dict(rule)}", mask))
    for order in schema.orders:
        left, right = frame[order.left], frame[order.right]
        present = left.notna().to_numpy() & right.notna().to_numpy()
        wrong = (left >= right) if order.strict else (left > right)
        out.append((f"{order.left} {'<' if order.strict else '<='} {order.right}", wrong.fillna(False).to_numpy(dtype=bool) & present))
    return out


