"""Domains from a file that its user declares public, for a drafted schema that loads and says where they are from."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydantic

from privsynth.data.columns import Column, unfit
from privsynth.data.draft_text import public_head
from privsynth.data.schema import FORMAT, Schema
from privsynth.documents import read_bytes, sha256
from privsynth.errors import DataError, MissingExtra, SchemaError

if TYPE_CHECKING:
    import pyarrow as pa

MAX_LISTED = 200
"""More distinct texts than this are no list that people review; the column is left out."""
UNKNOWN_ROWS = "999999 rows"
"""What a person may have at most where nobody has said: the statement then claims least."""

_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,15})\Z")
_REAL = re.compile(r"[-+]?(0|[1-9][0-9]*)(\.[0-9]*)?([eE][-+]?[0-9]+)?\Z")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}")
_COLUMN: pydantic.TypeAdapter[Column] = pydantic.TypeAdapter(Column)

Domain = dict[str, Any]


def declared_public(path: Path, source: str, columns: Mapping[str, str | None]) -> str:
    """A whole schema, as YAML, of the sensitive table's ``columns`` (and the kinds that their storage
    suggests) with domains from the public file.

    What the public file does not tell is left out (``dropped``), with the reason in a comment.

    Raises:
        DataError: unreadable, or it shares no usable column with the data.
        MissingExtra: pyarrow is not installed.
    """
    raw = read_bytes(path, error=DataError, kind="public")
    table = _table(path, raw)
    declared: list[Domain] = []
    left_out: list[str] = []
    for column, kind in columns.items():
        found = table.column(column).to_pylist() if table.column_names.count(column) == 1 else None
        domain, why = _domain(kind, found)
        declared.append({"name": column, **(domain or {"kind": "text", "dropped": True})})
        left_out += [f"{column}: {why}"] if why else []
    name = path.name if not unfit(path.name) else "a file"
    value = {
        "privsynth-schema": FORMAT,
        "source": source,
        "subject": {"each row is a": "row", "a person has at most": UNKNOWN_ROWS},
        "columns": declared,
        "public from": f"{name} {sha256(raw)}",
    }
    try:
        return public_head(name, left_out) + Schema.from_json(value).to_yaml()
    except SchemaError as wrong:
        raise DataError(
            f"no schema can be drafted from it ({wrong.what})",
            where=str(path),
            mend="name a public file of the same form",
        ) from None


def _table(path: Path, raw: bytes) -> pa.Table:
    try:
        import pyarrow as pa
        from pyarrow import csv, parquet
    except ImportError:
        raise MissingExtra("reading a public file needs pyarrow", mend="pip install 'privsynth[generate]'") from None
    readers: dict[str, Callable[[], pa.Table]] = {
        ".parquet": lambda: parquet.ParquetFile(pa.BufferReader(raw)).read(use_threads=False),
        ".csv": lambda: csv.read_csv(
            pa.BufferReader(raw),
            read_options=csv.ReadOptions(use_threads=False),
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(_names(raw), pa.string()), null_values=[""], strings_can_be_null=True
            ),
        ),
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DataError("its name ends in neither .csv nor .parquet", where=str(path), mend="convert the file")
    try:
        return reader()
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        raise DataError("not a whole table", where=str(path), mend="write the public file again") from None


def _names(raw: bytes) -> Sequence[str]:
    import pyarrow as pa
    from pyarrow import csv

    options = csv.ParseOptions(newlines_in_values=True)
    alone = csv.ReadOptions(use_threads=False)
    with csv.open_csv(pa.BufferReader(raw), read_options=alone, parse_options=options) as reader:
        return [str(name) for name in reader.schema.names]


def _domain(kind: str | None, values: Sequence[Any] | None) -> tuple[Domain | None, str]:
    """The domain of public ``values`` for a column whose storage suggests ``kind``, or why there is none."""
    if kind is not None and kind not in _BY_KIND:
        return None, "its storage type cannot be read"
    if values is None:
        return None, "not in the public file"
    present = [v for v in values if v is not None and not (isinstance(v, float) and math.isnan(v))]
    if not present:
        return None, "empty in the public file"
    for guess in _BY_KIND if kind is None else (kind,):
        domain = _BY_KIND[guess](present)
        if domain is None:
            continue
        try:
            _COLUMN.validate_python(domain)
        except pydantic.ValidationError as wrong:
            return None, f"its public values make no {guess} domain ({wrong.errors()[0]['msg']})"
        return domain | ({"nullable": True} if len(present) < len(values) else {}), ""
    texts = kind in (None, "text")
    return None, f"more than {MAX_LISTED} different texts" if texts else "the public file stores it as another type"


def _integer(values: Sequence[Any]) -> Domain | None:
    numbers = [_whole(v) for v in values]
    known = [n for n in numbers if n is not None]
    if len(known) < len(numbers):
        return None
    low, high = min(known), max(known)
    return {"kind": "integer", "min": low, "max": high} if low < high else {"kind": "categorical", "values": [low]}


def _whole(value: Any) -> int | None:
    if isinstance(value, str):
        return int(value) if _INTEGER.match(value) else None
    number = _number(value)
    return int(value) if number is not None and number.is_integer() else None


def _real(values: Sequence[Any]) -> Domain | None:
    numbers = [_number(v) for v in values]
    known = [n for n in numbers if n is not None]
    return {"kind": "real", "min": min(known), "max": max(known)} if len(known) == len(numbers) else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        return None
    if isinstance(value, str) and not _REAL.match(value):
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def _boolean(values: Sequence[Any]) -> Domain | None:
    return {"kind": "boolean"} if all(str(v).lower() in ("true", "false") for v in values) else None


def _date(values: Sequence[Any]) -> Domain | None:
    days = [_parsed(dt.date, v, _DAY) for v in values]
    known = [d for d in days if type(d) is dt.date]
    return {"kind": "date", "min": min(known), "max": max(known)} if len(known) == len(days) else None


def _datetime(values: Sequence[Any]) -> Domain | None:
    moments = [_parsed(dt.datetime, v, _MOMENT) for v in values]
    known = [m for m in moments if isinstance(m, dt.datetime) and m.tzinfo is None]
    if len(known) < len(moments):
        return None
    first, last = min(known).replace(microsecond=0), max(known)
    last += dt.timedelta(seconds=1) if last.microsecond else dt.timedelta()
    return {"kind": "datetime", "min": first, "max": last.replace(microsecond=0)}


def _parsed(kind: type[dt.date], value: Any, form: re.Pattern[str]) -> dt.date | None:
    if isinstance(value, dt.datetime):  # pandas' own moments are finer than Python's
        return dt.datetime(*value.timetuple()[:6], value.microsecond, tzinfo=value.tzinfo)
    if isinstance(value, kind):
        return value
    try:
        return kind.fromisoformat(value) if isinstance(value, str) and form.match(value) else None
    except ValueError:
        return None


def _text(values: Sequence[Any]) -> Domain | None:
    listed = sorted({v for v in values if isinstance(v, str)})
    good = len(listed) <= MAX_LISTED and all(isinstance(v, str) for v in values)
    return {"kind": "categorical", "values": listed} if good else None


_BY_KIND: Mapping[str, Callable[[Sequence[Any]], Domain | None]] = {
    "integer": _integer,
    "real": _real,
    "boolean": _boolean,
    "date": _date,
    "datetime": _datetime,
    "text": _text,
}
