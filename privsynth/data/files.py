"""Files and frames → columns as they are stored, and every fault of structure.

Refused here: missing, unknown or doubled columns, storage types that do not fit the declared kind,
files that are cut off, not UTF-8 or no table at all. Errors name columns that the schema names, numbers of
columns and storage types; nothing that could be a value (the first line of a file that lacks its header
is one).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from privsynth.data.csv_file import header, no_text, read_csv, refuse_doubled
from privsynth.data.schema import Boolean, Categorical, Column, Date, Datetime, Integer, Real, Schema
from privsynth.documents import open_regular
from privsynth.errors import DataError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_CSV = ".csv"
_Raw = dict[str, "pa.ChunkedArray"]


@dataclass(frozen=True, repr=False, eq=False)
class Stored:
    """The columns that are needed, as stored.

    Attributes:
        columns: the learned columns, the subject's, and dropped text (consent may be read from it); each
            one array without dictionary, text as large_string, decimals and halves as float64.
        rows: how many.
    """

    columns: Mapping[str, pa.Array]
    rows: int


def load(data: str | Path | pd.DataFrame, schema: Schema) -> Stored:
    """Read what the schema needs of a file or frame.

    Raises:
        DataError: a structural fault.
    """
    import pandas as pd

    if isinstance(data, pd.DataFrame):
        where, raw = "data frame", _frame(data, schema)
    elif isinstance(data, str | os.PathLike):
        where, raw = str(data), _file(Path(data), schema)
    else:
        raise DataError(
            f"a {type(data).__name__} is no table", where="data", mend="a pandas frame, or a .csv or .parquet file"
        )
    from_text = not isinstance(data, pd.DataFrame) and Path(data).suffix.lower() == _CSV
    for name, column in schema.learned.items():
        _check_storage(name, column, raw[name].type, from_text=from_text, where=where)
    for name in schema.pictures:
        if raw[name].null_count < len(raw[name]):
            _check_pictures(name, raw[name].type, where)
    if schema.subject.column is not None:
        _check_subject(schema.subject.column, raw[schema.subject.column].type, where)
    columns = {name: _flat(field) for name, field in raw.items()}
    return Stored(columns, len(next(iter(columns.values()))))


def _flat(field: pa.ChunkedArray) -> pa.Array:
    import pyarrow as pa
    import pyarrow.types as t

    kind = field.type
    if t.is_dictionary(kind):
        field, kind = field.cast(kind.value_type), kind.value_type
    if is_text(kind):
        field = field.cast(pa.large_string())  # one array may then hold more than 2 GiB
    elif is_binary(kind):
        field = field.cast(pa.large_binary())
    elif t.is_decimal(kind) or t.is_float16(kind):
        field = field.cast(pa.float64(), safe=False)
    return field.combine_chunks()


def is_text(kind: pa.DataType) -> bool:
    """Whether a storage type is text."""
    import pyarrow.types as t

    kind = _value_type(kind)
    return bool(t.is_string(kind) or t.is_large_string(kind) or t.is_string_view(kind))


def _needed(names: Sequence[str], schema: Schema) -> list[str]:
    """The columns to read; dropped ones only if their storage turns out to be text."""
    held = {*schema.learned, *schema.pictures, schema.subject.column}
    return [n for n in names if n in held or schema.columns[n].dropped]


def _kept(name: str, kind: pa.DataType, schema: Schema) -> bool:
    return not schema.columns[name].dropped or is_text(kind)


# --- frames --------------------------------------------------------------------------------------


def _frame(frame: pd.DataFrame, schema: Schema) -> _Raw:
    where = "data frame"
    names = [str(n) for n in frame.columns]
    _check_names(names, schema, where)
    place = {name: i for i, name in enumerate(names)}
    columns = {}
    for name in _needed(names, schema):
        field = _field(frame.iloc[:, place[name]])
        if field is None and not schema.columns[name].dropped:
            raise DataError(
                f"column {name!r} mixes types, or is of one that no file could store",
                where=where,
                mend="give the column one type",
            )
        if field is not None and _kept(name, field.type, schema):
            columns[name] = field
    return columns


def _field(series: pd.Series[Any]) -> pa.ChunkedArray | None:
    """As Arrow, or None where Arrow has no one type for it."""
    import pyarrow as pa

    try:
        field = pa.array(series, from_pandas=True)
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        return None
    return field if isinstance(field, pa.ChunkedArray) else pa.chunked_array([field])


# --- files ---------------------------------------------------------------------------------------


def _file(path: Path, schema: Schema) -> _Raw:
    where = ascii(str(path))[1:-1] if "\0" in str(path) else str(path)
    try:
        folder, size = path.is_dir(), path.stat().st_size
    except (OSError, ValueError) as fault:
        reason = fault.strerror if isinstance(fault, OSError) else "not a path"
        raise DataError(f"no such data file ({reason})", where=where, mend="check the path and its rights") from None
    if folder:
        raise DataError("a folder, not a data file", where=where, mend="name one .csv or .parquet file")
    readers: dict[str, Callable[[Path, Schema], _Raw]] = {_CSV: _csv, ".parquet": _parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            f"a file name ending in {path.suffix or 'nothing'} is not known",
            where=where,
            mend="a .csv or .parquet file",
        )
    if size == 0 and path.is_file():
        raise DataError("zero bytes: not even a header", where=where, mend="write the file again, with its header")
    try:
        os.close(open_regular(path))
    except OSError as fault:
        raise DataError(f"cannot be read ({fault.strerror})", where=where, mend="check its permissions") from None
    return reader(path, schema)


def _csv(path: Path, schema: Schema) -> _Raw:
    names, rows = header(path)
    _check_names(names, schema, str(path))
    needed = _needed(names, schema)
    return read_csv(path, needed) if rows else dict.fromkeys(needed, no_text())


def _parquet(path: Path, schema: Schema) -> _Raw:
    import pyarrow as pa
    from pyarrow import parquet

    where = str(path)
    try:
        with parquet.ParquetFile(path, page_checksum_verification=True) as file:
            kinds = {field.name: field.type for field in file.schema_arrow}
            _check_names(file.schema_arrow.names, schema, where)
            needed = [n for n in _needed(list(kinds), schema) if _kept(n, kinds[n], schema)]
            table = file.read(columns=needed, use_threads=False)
        table.validate(full=True)
        return {n: table.column(n) for n in needed}
    except (pa.ArrowException, OSError, ValueError, KeyError):
        raise DataError(
            "not a whole Parquet file, or one whose text is not UTF-8", where=where, mend="write the file again"
        ) from None


# --- names and storage types ---------------------------------------------------------------------


def _check_names(names: Sequence[str], schema: Schema, where: str) -> None:
    held = set(names)
    missing = [n for n in schema.columns if n not in held]
    unknown = [n for n in names if n not in schema.columns]
    if missing and len(missing) == len(schema.columns):  # first: these may be a record's values, not names
        raise DataError(
            "none of the schema's columns is here",
            where=where,
            mend="the first line must name the columns, comma-separated; or name the schema of this file",
        )
    refuse_doubled(names, where)
    if missing:
        raise DataError(
            f"missing columns: {', '.join(missing)}", where=where, mend="add them, or take them out of the schema"
        )
    if unknown:  # all of the schema's names are there, so these are names too
        raise DataError(
            f"columns that the schema does not know: {', '.join(map(repr, unknown))}",
            where=where,
            mend="declare them; `{kind: text, dropped: true}` leaves one out",
        )


def _check_storage(name: str, column: Column, kind: pa.DataType, *, from_text: bool, where: str) -> None:
    """Refuse a storage type that does not fit the declared kind."""
    import pyarrow.types as t

    kind = _value_type(kind)
    number = t.is_integer(kind) or t.is_floating(kind) or t.is_decimal(kind)
    match column:
        case Integer() | Real():
            good, wanted = number, "a number type"
        case Boolean():
            good, wanted = t.is_boolean(kind) or number, "boolean, or numbers 0 and 1"
        case Categorical(values=values) if values and isinstance(values[0], int):
            good, wanted = number, "an integer type"
        case Categorical():
            good, wanted = is_text(kind), "text"
        case Date() | Datetime():
            good = t.is_date(kind) or (t.is_timestamp(kind) and kind.tz is None)
            wanted = "date or timestamp without time zone"
        case _:
            raise DataError(f"a {column.kind} column cannot be learned", where=f"column {name!r}", mend="drop it")
    if not (good or (from_text and is_text(kind)) or t.is_null(kind)):
        raise DataError(
            f"column {name!r} is declared {column.kind} but stored as {_type_name(kind)}",
            where=where,
            mend=f"store it as {wanted}, or declare what it is",
        )


def _check_subject(name: str, kind: pa.DataType, where: str) -> None:
    import pyarrow.types as t

    kind = _value_type(kind)
    if not (is_text(kind) or t.is_integer(kind) or t.is_null(kind)):
        raise DataError(
            f"subject column {name!r} is stored as {_type_name(kind)}",
            where=where,
            mend="store ids as text or integers",
        )


def _check_pictures(name: str, kind: pa.DataType, where: str) -> None:
    import pyarrow.types as t

    kind = _value_type(kind)
    if not (is_text(kind) or is_binary(kind) or t.is_integer(kind) or t.is_null(kind)):
        raise DataError(
            f"column {name!r} is declared image but stored as {_type_name(kind)}",
            where=where,
            mend="store each picture's path as text, or its file as binary",
        )


def is_binary(kind: pa.DataType) -> bool:
    """Whether a storage type is bytes."""
    import pyarrow.types as t

    return bool(t.is_binary(kind) or t.is_large_binary(kind) or t.is_fixed_size_binary(kind))


def _value_type(kind: pa.DataType) -> pa.DataType:
    import pyarrow.types as t

    return kind.value_type if t.is_dictionary(kind) else kind


def _type_name(kind: pa.DataType) -> str:
    """A storage type in words, without its parameters: a struct's field names may be values."""
    import pyarrow.types as t

    if t.is_timestamp(kind) and kind.tz is not None:
        return "timestamp with time zone"
    return re.split(r"[<(\[]", str(kind), maxsplit=1)[0].strip()
