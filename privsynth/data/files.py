"""Files and frames → columns as they are stored, and every fault of structure.

Refused here: missing, unknown or doubled columns, storage types that do not fit the declared kind,
files that are cut off, not UTF-8 or no table at all. Errors name columns that the schema names, numbers of
columns and storage types; nothing that could be a value (the first line of a file that lacks its header
is one).
"""

from __future__ import annotations

import csv
import mmap
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from privsynth.data.schema import Boolean, Categorical, Column, Date, Datetime, Integer, Real, Schema
from privsynth.errors import DataError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

BLOCK_BYTES = 16 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"
_CLOSED = re.compile(  # every quote that opens a field is closed; elsewhere a quote is a character
    rb'(?:[^"]++|(?:(?<=[,\n\r])|\A)"(?:[^"]++|"")*+"|(?<![,\n\r])(?!\A)")*+'
)


@dataclass(frozen=True, repr=False, eq=False)
class Stored:
    """The columns that are needed, as stored.

    Attributes:
        columns: the learned columns, the subject's, and dropped text (consent may be read from it).
        rows: how many.
        from_text: whether values are text, to be converted by the schema (CSV).
        where: the file, for messages.
    """

    columns: Mapping[str, pa.ChunkedArray]
    rows: int
    from_text: bool
    where: str


def load(data: str | Path | pd.DataFrame, schema: Schema) -> Stored:
    """Read what the schema needs of a file or frame.

    Raises:
        DataError: a structural fault.
    """
    import pandas as pd

    if isinstance(data, pd.DataFrame):
        stored = _frame(data, schema)
    elif isinstance(data, str | os.PathLike):
        stored = _file(Path(data), schema)
    else:
        raise DataError(
            f"a {type(data).__name__} is no table", where="data", mend="a pandas frame, or a .csv or .parquet file"
        )
    for name, column in schema.learned.items():
        _check_storage(name, column, stored)
    return stored


def is_text(kind: pa.DataType) -> bool:
    """Whether a storage type is text."""
    import pyarrow.types as t

    kind = kind.value_type if t.is_dictionary(kind) else kind
    return bool(t.is_string(kind) or t.is_large_string(kind) or t.is_string_view(kind))


def _needed(names: Sequence[str], schema: Schema) -> list[str]:
    """The columns to read; dropped ones only if their storage turns out to be text."""
    return [n for n in names if schema.columns[n].learned or schema.columns[n].dropped or n == schema.subject.column]


def _kept(name: str, kind: pa.DataType, schema: Schema) -> bool:
    return not schema.columns[name].dropped or is_text(kind)


# --- frames --------------------------------------------------------------------------------------


def _frame(frame: pd.DataFrame, schema: Schema) -> Stored:
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
    return Stored(columns, len(frame), from_text=False, where=where)


def _field(series: pd.Series[Any]) -> pa.ChunkedArray | None:
    """As Arrow, or None where Arrow has no one type for it."""
    import pyarrow as pa

    try:
        field = pa.array(series, from_pandas=True)
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        return None
    return field if isinstance(field, pa.ChunkedArray) else pa.chunked_array([field])


# --- files ---------------------------------------------------------------------------------------


def _file(path: Path, schema: Schema) -> Stored:
    where = ascii(str(path))[1:-1] if "\0" in str(path) else str(path)
    try:
        folder, size = path.is_dir(), path.stat().st_size
    except (OSError, ValueError) as fault:
        reason = fault.strerror if isinstance(fault, OSError) else "not a path"
        raise DataError(f"no such data file ({reason})", where=where, mend="check the path and its rights") from None
    if folder:
        raise DataError("a folder, not a data file", where=where, mend="name one .csv or .parquet file")
    readers: dict[str, Callable[[Path, Schema], Stored]] = {".csv": _csv, ".parquet": _parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            f"a file name ending in {path.suffix or 'nothing'} is not known",
            where=where,
            mend="a .csv or .parquet file",
        )
    if size == 0:
        raise DataError("zero bytes: not even a header", where=where, mend="write the file again, with its header")
    try:
        with path.open("rb"):
            pass
    except OSError as fault:
        raise DataError(f"cannot be read ({fault.strerror})", where=where, mend="check its permissions") from None
    return reader(path, schema)


def _csv(path: Path, schema: Schema) -> Stored:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    where = str(path)
    names, more = _header(path)
    _check_names(names, schema, where)
    needed = _needed(names, schema)
    if not more:
        nothing = pa.chunked_array([pa.array([], pa.string())])
        return Stored(dict.fromkeys(needed, nothing), 0, from_text=True, where=where)
    broken = DataError(
        "not a whole UTF-8 CSV file: a line is cut off, has another number of fields or a quote that nothing closes, "
        f"is not UTF-8, or is longer than {BLOCK_BYTES // 1024**2} MiB",
        where=where,
        mend="export it again as UTF-8, comma-separated, every line with as many fields as the header",
    )
    try:
        if not _quotes_close(path):
            raise broken
        table = arrow_csv.read_csv(
            path,
            read_options=arrow_csv.ReadOptions(encoding="utf8", block_size=BLOCK_BYTES),
            parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
            convert_options=arrow_csv.ConvertOptions(
                include_columns=needed,
                column_types=dict.fromkeys(needed, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                check_utf8=True,
            ),
        )
    except (pa.ArrowException, UnicodeDecodeError, OSError, ValueError):
        raise broken from None
    return Stored(dict(zip(needed, table.columns, strict=True)), table.num_rows, from_text=True, where=where)


def csv_header(path: Path) -> list[str]:
    """The column names of a CSV file; nothing beyond its first record is looked at.

    Raises:
        DataError: no header, doubled names, not UTF-8.
    """
    return _header(path)[0]


def _header(path: Path) -> tuple[list[str], bool]:
    """The column names, and whether anything follows the first record."""
    where = str(path)
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
            names = next(csv.reader(stream, strict=True), [])
            more = stream.readline() != ""
        "".join(names).encode()
    except (UnicodeEncodeError, csv.Error):  # bytes that are not UTF-8 became surrogates
        raise DataError("the header is not UTF-8 CSV", where=where, mend="export it again as UTF-8") from None
    except (OSError, ValueError) as fault:
        reason = fault.strerror if isinstance(fault, OSError) else "not a path"
        raise DataError(f"cannot be read ({reason})", where=where, mend="check the path") from None
    if not names:
        raise DataError("no header", where=where, mend="the first line must name the columns")
    _refuse_doubled(names, where)
    return names, more


def _quotes_close(path: Path) -> bool:
    """Whether no quoted field is still open at the file's end (a parser would close it, and call a line
    that is cut off whole). One pass."""
    with (
        path.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as raw,
        memoryview(raw) as whole,
        whole[len(_BOM) if raw[: len(_BOM)] == _BOM else 0 :] as text,
    ):
        return bool(_CLOSED.fullmatch(text))


def _parquet(path: Path, schema: Schema) -> Stored:
    import pyarrow as pa
    from pyarrow import parquet

    where = str(path)
    try:
        with parquet.ParquetFile(path, page_checksum_verification=True) as file:
            kinds = {field.name: field.type for field in file.schema_arrow}
            _check_names(file.schema_arrow.names, schema, where)
            needed = [n for n in _needed(list(kinds), schema) if _kept(n, kinds[n], schema)]
            table = file.read(columns=needed)
        table.validate(full=True)
        return Stored({n: table.column(n) for n in needed}, table.num_rows, from_text=False, where=where)
    except (pa.ArrowException, OSError, ValueError, KeyError):
        raise DataError(
            "not a whole Parquet file, or one whose text is not UTF-8", where=where, mend="write the file again"
        ) from None


# --- names and storage types ---------------------------------------------------------------------


def _refuse_doubled(names: Sequence[str], where: str) -> None:
    first: dict[str, int] = {}
    for number, name in enumerate(names, 1):
        if first.setdefault(name, number) != number:
            raise DataError(
                f"doubled column names: columns {first[name]} and {number} have one name",
                where=where,
                mend="give every column a name of its own",
            )


def _check_names(names: Sequence[str], schema: Schema, where: str) -> None:
    _refuse_doubled(names, where)
    held = set(names)
    missing = [n for n in schema.columns if n not in held]
    unknown = [n for n in names if n not in schema.columns]
    if missing and len(missing) == len(schema.columns):
        raise DataError(
            "none of the schema's columns is here",
            where=where,
            mend="the first line must name the columns, comma-separated; or name the schema of this file",
        )
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


def _check_storage(name: str, column: Column, stored: Stored) -> None:
    """Refuse a storage type that does not fit the declared kind."""
    import pyarrow.types as t

    kind = stored.columns[name].type
    kind = kind.value_type if t.is_dictionary(kind) else kind
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
    if not (good or (stored.from_text and is_text(kind)) or t.is_null(kind)):
        raise DataError(
            f"column {name!r} is declared {column.kind} but stored as {type_name(kind)}",
            where=stored.where,
            mend=f"store it as {wanted}, or declare what it is",
        )


def type_name(kind: pa.DataType) -> str:
    """A storage type in words, without its parameters: a struct's field names may be values."""
    import pyarrow.types as t

    if t.is_timestamp(kind) and kind.tz is not None:
        return "timestamp with time zone"
    return re.split(r"[<(\[]", str(kind), maxsplit=1)[0].strip()
