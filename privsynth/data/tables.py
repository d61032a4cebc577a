"""Files and frames → Records, by the schema alone.

Structure is checked and refused loudly: missing, unknown or doubled columns, wrong storage types,
unreadable files (files.py). Content never stops a run: each value outside its domain is clipped, mapped
or loses its row by the schema's rule, row by row (conform.py), and only ``privsynth data check`` lists
such rows. What the schema computes from other columns (totals, values of a public map) is computed from them for
real rows too, before any row rule is asked: whatever the file holds there is read by nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from privsynth.data.codec import Floats, Listed, OpenListed, Ranged, coded_column
from privsynth.data.conform import Mask, conform
from privsynth.data.csv_file import csv_header
from privsynth.data.files import Stored, load
from privsynth.data.pictures import Pictures, decode_all, there
from privsynth.data.ranged import ranged_bounds, total
from privsynth.data.records import Ballots, Records, numbered
from privsynth.data.rules import Determines, Sum, listed, text_of
from privsynth.data.schema import Boolean, Column, Integer, Real, Schema
from privsynth.data.shelf import Shelf, table_of
from privsynth.data.spelling import odd_ids
from privsynth.documents import join
from privsynth.errors import DataError, MissingExtra
from privsynth.progress import SILENT, Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

__all__ = [
    "Fault",
    "check_images",
    "check_table",
    "csv_header",
    "file_of",
    "read_images",
    "read_table",
    "violations",
]

_LISTED = 10


@dataclass(frozen=True)
class Fault:
    """One kind of content fault, for eyes inside only.

    Attributes:
        column: the column, or the text of the row rule.
        rule: what is done: ``clip``, ``round down``, ``null``, ``drop``, ``computed`` (nothing: the row stays), a
            category, or ``kept, ...`` of an id that may be a second spelling of one person's.
        rows: how many rows.
        first: the numbers (from 0) of the first ten of them.
    """

    column: str
    rule: str
    rows: int
    first: tuple[int, ...]


def read_table(data: str | Path | pd.DataFrame, schema: Schema) -> Records:
    """Read a CSV or Parquet file, or a pandas frame, by its schema.

    CSV: UTF-8 (a byte order mark is passed over), comma, a header line; an empty field is null, a quoted
    empty one is empty text; blank lines are passed over. Parquet: flat columns. Types are those of the
    storage (CSV: text, converted by the schema). Complexity O(rows · columns).

    Raises:
        DataError: a structural fault. It names columns and storage types, never a value.
        MissingExtra: pandas and pyarrow are not installed.
    """
    return _read(data, schema)[0]


def read_images(
    data: str | Path | pd.DataFrame,
    schema: Schema,
    *,
    folder: str | Path | None = None,
    arrays: Mapping[str, npt.NDArray[Any]] | None = None,
    progress: Progress = SILENT,
) -> Records:
    """Read a table whose rows carry pictures, by its schema.

    A column of kind image holds each picture's path, its file as bytes (Parquet), or its number in ``arrays``. PNG,
    JPEG, WebP, TIFF with 8 or 16 bits, and DICOM with the extra ``dicom`` (pixel data alone). Each is turned
    upright, stripped of all that is no pixel, and brought to the declared size. One that cannot be read, moves, or is
    larger than 64 MiB or 50 megapixels is dropped by the schema's rule, as a value outside its domain is.

    Args:
        data: a CSV or Parquet file or a pandas frame, as :func:`read_table` takes them; or a folder that holds one.
        folder: where paths start; by default the table's own folder. A path that leaves it is no picture.
        arrays: by column, (n, height, width) or (n, height, width, 3) of uint8 or uint16. A frame may leave a column
            out that stands here: then its rows are the pictures in their order.

    Raises:
        DataError: a structural fault: no pictures in the schema, no table, arrays of another length or type, a column
            that can name no picture (numbers without arrays, paths without a folder).
        MissingExtra: pandas and pyarrow, Pillow or pydicom are not installed.
    """
    return _read(*table_of(data, schema, folder=folder, arrays=arrays), progress=progress)[0]


def check_table(data: str | Path | pd.DataFrame, schema: Schema) -> tuple[Fault, ...]:
    """List the content faults of a table. Sensitive: for ``privsynth data check``, inside only.

    Raises:
        DataError, MissingExtra: as :func:`read_table`.
    """
    return _read(data, schema)[1].listed()


def check_images(
    data: str | Path | pd.DataFrame,
    schema: Schema,
    *,
    folder: str | Path | None = None,
    arrays: Mapping[str, npt.NDArray[Any]] | None = None,
) -> tuple[Fault, ...]:
    """List the content faults of a table and of its pictures. Sensitive: inside only.

    Raises:
        DataError, MissingExtra: as :func:`read_images`.
    """
    return _read(*table_of(data, schema, folder=folder, arrays=arrays))[1].listed()


def _read(
    data: str | Path | pd.DataFrame, schema: Schema, shelf: Shelf | None = None, *, progress: Progress = SILENT
) -> tuple[Records, _Faults]:
    if schema.pictures and shelf is None:
        raise DataError("the schema has pictures", where=join(list(schema.pictures)), mend="read it by `read_images`")
    try:
        import pandas as pd
        import pyarrow as pa  # noqa: F401 - asked for here, so that what is missing is said once
    except ImportError:
        raise MissingExtra("reading data needs pandas and pyarrow", mend="pip install 'privsynth[generate]'") from None
    stored = load(data, schema)
    if shelf is not None:
        for name in schema.pictures:
            shelf.check(name, stored.columns[name])
    faults, unread = _Faults(stored.rows), _unread(schema)
    columns: dict[str, pd.Series[Any]] = {}
    misfits: dict[str, Mask] = {}
    for name, column in schema.learned.items():
        conformed = conform(name, column, stored.columns[name])
        columns[name] = conformed.values
        if name in unread:
            misfits[name] = np.logical_or.reduce([mask for _, mask in conformed.broken])
            continue
        for rule, mask in conformed.broken:
            faults.note(name, rule, mask)
    pictures = {} if shelf is None else _pictures(stored, schema, shelf, faults, progress)
    ids = _subjects(stored, schema, faults)
    rows = range(stored.rows)
    frame = pd.DataFrame(columns | _followed(columns, schema), index=rows, copy=False)
    _row_rules(frame, pd.DataFrame(columns, index=rows, copy=False), misfits, schema, faults)
    for name in schema.columns:  # consent may ask for a dropped column; neither codec nor fit ever sees it
        if schema.columns[name].dropped and name in stored.columns:
            frame[name] = stored.columns[name].to_pandas()
    for name, held in pictures.items():
        if schema.pictures[name].nullable:
            frame[name] = there(held.missing)
    kept = faults.alive
    if not kept.all():
        frame = frame.loc[kept].reset_index(drop=True)
    pictures = {name: held.keep(kept) for name, held in pictures.items()}
    subjects = ids[kept] if ids is not None else _row_ids(frame, schema, pictures)
    roll = _roll(stored, ids, kept, subjects)
    counts = MappingProxyType(faults.counts())
    return Records(schema, frame, subjects, counts, roll, file_of(data), pictures), faults


def _pictures(stored: Stored, schema: Schema, shelf: Shelf, faults: _Faults, progress: Progress) -> dict[str, Pictures]:
    """Every picture, decoded; what is none is told to ``faults``."""
    out = {}
    for name, column in schema.pictures.items():
        progress.step(f"read the pictures of {name}", stored.rows)
        out[name], failed = decode_all(shelf.sources(name, stored.columns[name]), column, advance=progress.advance)
        faults.note(name, column.unreadable, failed)
        if not column.nullable:
            faults.note(name, "drop", out[name].missing & ~failed)
    return out


def file_of(data: str | Path | pd.DataFrame) -> tuple[int, int] | None:
    """Which file it is, whatever its name; None of a frame."""
    if not isinstance(data, str | os.PathLike):
        return None
    found = os.stat(data)
    return found.st_dev, found.st_ino


def _roll(
    stored: Stored, ids: npt.NDArray[np.object_] | None, kept: Mask, subjects: npt.NDArray[np.object_]
) -> Callable[[str], Ballots]:
    """Every row's stored value of a column with its subject; where a row is a subject, the kept rows'."""

    def said(column: str) -> Ballots:
        values = stored.columns[column].to_pylist()
        if ids is None:
            return subjects, [value for value, standing in zip(values, kept, strict=True) if standing]
        return ids, values

    return said


class _Faults:
    """Gathers which rows broke which rule."""

    def __init__(self, rows: int) -> None:
        self.alive: Mask = np.ones(rows, dtype=np.bool_)
        self.ids: Callable[[], dict[tuple[str, str], Mask]] = dict
        self._found: dict[tuple[str, str], Mask] = {}

    def note(self, column: str, rule: str, mask: Mask) -> None:
        """``mask``: the rows that broke it; ``drop`` kills them."""
        if not mask.any():
            return
        before = self._found.get((column, rule))
        self._found[column, rule] = mask if before is None else before | mask
        if rule == "drop":
            self.alive = self.alive & ~mask

    def listed(self) -> tuple[Fault, ...]:
        return tuple(
            Fault(column, rule, int(mask.sum()), tuple(int(i) for i in np.flatnonzero(mask)[:_LISTED]))
            for (column, rule), mask in (self._found | self.ids()).items()
            if mask.any()
        )

    def counts(self) -> dict[tuple[str, str], int]:
        return {key: int(mask.sum()) for key, mask in self._found.items()}


# --- rows ----------------------------------------------------------------------------------------


def _subjects(stored: Stored, schema: Schema, faults: _Faults) -> npt.NDArray[np.object_] | None:
    """Each row's subject id as text without the blanks at its ends; rows without one are dropped by rule. Every
    other character belongs to the id, NUL and other controls too: "a" and "a\\0" are two subjects."""
    import pyarrow as pa

    name = schema.subject.column
    if name is None:
        return None
    texts = stored.columns[name].cast(pa.large_string()).to_pylist()
    ids = np.empty(len(texts), dtype=object)
    ids[:] = [None if text is None else text.strip() or None for text in texts]
    faults.note(name, "drop", np.array([i is None for i in ids], dtype=np.bool_))
    faults.ids = lambda: {(name, kind): mask for kind, mask in odd_ids(ids).items()}
    return ids


def _unread(schema: Schema) -> dict[str, Sum | Determines]:
    """The computed columns whose stored values nothing reads: totals, and those of a public map. Without a map
    the fit reads them, to learn one."""
    return {name: rule for name, rule in schema.computed.items() if isinstance(rule, Sum) or rule.map is not None}


def _followed(columns: Mapping[str, pd.Series[Any]], schema: Schema) -> dict[str, pd.Series[Any]]:
    """What the schema computes of conformed columns without a fit, stored as they are; a row that is dropped may
    hold anything. O(rows)."""
    out: dict[str, pd.Series[Any]] = {}
    for name, rule in _unread(schema).items():
        column = schema.columns[name]
        if isinstance(rule, Sum):
            out[name] = total(name, column, [columns[part] for part in rule.parts]).astype(columns[name].dtype)
        else:
            out[name] = _mapped(rule, columns[rule.left], schema.columns[rule.left], column)
    return out


def _mapped(rule: Determines, left: pd.Series[Any], declared: Column, column: Column) -> pd.Series[Any]:
    """The value of ``column`` beside each of conformed ``left`` by the rule's public map; null beside null."""
    import pandas as pd

    known, values = dict(rule.map or ()), listed(column)
    place = {text_of(value): i for i, value in enumerate(values)}
    image = np.array([place[known[text_of(value)]] for value in listed(declared)] + [-1], dtype=np.int64)
    flags = isinstance(declared, Boolean)
    lefts = left.astype("Int8").to_numpy(np.int64, na_value=-1) if flags else left.cat.codes.to_numpy()
    rights = image[lefts]
    if isinstance(column, Boolean):
        return pd.Series(pd.arrays.BooleanArray(rights == 1, rights < 0))
    dtype = pd.CategoricalDtype(pd.Index(list(values)))
    return pd.Series(pd.Categorical.from_codes(cast("Sequence[int]", rights), dtype=dtype))


def _row_ids(frame: pd.DataFrame, schema: Schema, pictures: Mapping[str, Pictures]) -> npt.NDArray[np.object_]:
    """Where each row is a subject: the hash of its content and its number among equal rows, so that
    adding or removing a row renames no other (of equal rows the last name goes). Stays in memory; only
    keyed coins are drawn from it.

    Content is every picture and every learned column but those that are computed from others, so that whatever a fit
    can count is alike in rows of one name: which of them has which ordinal, by their order in the file, changes no
    table."""
    parts, unread = [], _unread(schema)
    for column in (coded_column(name, c) for name, c in schema.learned.items() if name not in unread):
        if isinstance(column, Ranged):
            position, missing = column.position(frame[column.name])
            parts += [position, missing.astype(np.float64)] if column.nullable else [position]
        elif isinstance(column, OpenListed):
            parts += _text_marks(frame[column.name])
        else:
            parts.append(column.encode(frame[column.name]).astype(np.float64))
    rows = np.stack(parts, axis=1) if parts else np.zeros((len(frame), 0))
    rows += 0.0  # -0.0 is 0.0
    raw, width = memoryview(rows.tobytes()), rows.itemsize * rows.shape[1]
    digests = []
    for i in range(len(rows)):
        whole = sha256(raw[i * width : (i + 1) * width])
        for name in schema.pictures:
            whole.update(sha256(pictures[name].raw(i)).digest())
        digests.append(whole.hexdigest())
    return numbered(np.array(digests, dtype=object))


def _text_marks(texts: pd.Series[Any]) -> list[Floats]:
    """Two numbers of 48 bits a row from the hash of its text, -1 where it is null."""
    digests = [sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts.cat.categories]
    places = texts.cat.codes.to_numpy()
    marks = ([*(int.from_bytes(d[at : at + 6], "big") for d in digests), -1] for at in (0, 6))
    return [np.array(mark, dtype=np.float64)[places] for mark in marks]


def _row_rules(
    frame: pd.DataFrame, stored: pd.DataFrame, misfits: Mapping[str, Mask], schema: Schema, faults: _Faults
) -> None:
    """Rows that break a structural zero or an order are dropped by rule. Where a ``stored`` value differs from what
    is computed from other columns, or is none of its domain (``misfits``), the row stays."""
    alive = np.flatnonzero(faults.alive)
    told, held = (f if len(alive) == len(f) else f.loc[faults.alive] for f in (frame, stored))
    wrong = _miscomputed(held, schema)
    wrong += [(_line(name, schema.computed[name]), mask[alive]) for name, mask in misfits.items()]
    for done, found in (("drop", _forbidden(told, schema)), ("computed", wrong)):
        for rule, mask in found:
            broken = np.zeros(len(frame), dtype=np.bool_)
            broken[alive[mask]] = True
            faults.note(rule, done, broken)


def violations(frame: pd.DataFrame, schema: Schema) -> list[tuple[str, Mask]]:
    """Which rows of conformed values break each line of the schema's ``never``, ``order``, ``sums`` and
    ``determines``."""
    return _forbidden(frame, schema) + _miscomputed(frame, schema)


def _line(name: str, rule: Sum | Determines) -> str:
    """The line of the schema that computes a column."""
    return f"{name} = {' + '.join(rule.parts)}" if isinstance(rule, Sum) else f"{rule.left} -> {rule.right}"


def _miscomputed(frame: pd.DataFrame, schema: Schema) -> list[tuple[str, Mask]]:
    """Sums that are not those of their parts or leave their bounds; determined values that are not their map's, or
    where there is none not the most frequent one beside the value that determines them."""
    import pandas as pd

    out: list[tuple[str, Mask]] = []
    for name, rule in schema.computed.items():
        column, stored = schema.columns[name], frame[name]
        if isinstance(rule, Sum):
            wanted = total(name, column, [frame[part] for part in rule.parts])
            (held, missing), none = _position(frame, schema, name), wanted.isna().to_numpy()
            sums = wanted.to_numpy(dtype=np.float64, na_value=0.0)
            low, high = ranged_bounds(column)
            near = 0.0 if isinstance(column, Integer) else 1e-9 * np.maximum(np.abs(sums), 1.0)
            if isinstance(column, Real) and column.decimals is not None:
                near = near + 0.5 * 10.0**-column.decimals
            wrong = (np.abs(held - sums) > near) | (held < low) | (held > high) | missing
            out.append((_line(name, rule), np.asarray(wrong & ~none, dtype=np.bool_)))
            continue
        left = frame[rule.left].astype(object).map(lambda v: "" if v is None or v is pd.NA or v != v else text_of(v))
        right = stored.astype(object).map(lambda v: "" if v is None or v is pd.NA or v != v else text_of(v))
        if rule.map is not None:
            wanted = left.map(dict(rule.map)).fillna("")
        else:
            counts = pd.DataFrame({"l": left, "r": right}).value_counts(sort=True).reset_index()
            wanted = left.map(counts.drop_duplicates("l").set_index("l")["r"])
        out.append((_line(name, rule), np.asarray(wanted != right, dtype=np.bool_)))
    return out


def _forbidden(frame: pd.DataFrame, schema: Schema) -> list[tuple[str, Mask]]:
    """Which rows break a structural zero or an order."""
    out: list[tuple[str, Mask]] = []
    for rule in schema.never:
        mask = np.ones(len(frame), dtype=np.bool_)
        for name, value in rule.items():
            mask &= _holds(frame, schema, name, value)
        out.append((f"never {dict(rule)}", mask))
    for order in schema.orders:
        (left, no_left), (right, no_right) = (_position(frame, schema, n) for n in (order.left, order.right))
        wrong = (left >= right) if order.strict else (left > right)
        out.append((f"{order.left} {'<' if order.strict else '<='} {order.right}", wrong & ~no_left & ~no_right))
    return out


def _holds(frame: pd.DataFrame, schema: Schema, name: str, value: Any) -> Mask:
    """The rows that hold ``value`` of the column."""
    coded, column = coded_column(name, schema.columns[name]), frame[name]
    if value is None:
        return np.asarray(column.isna(), dtype=np.bool_)
    if isinstance(coded, Listed):
        return np.asarray(coded.encode(column) == coded.values.index(value), dtype=np.bool_)
    position, missing = _position(frame, schema, name)
    return np.asarray((position == value) & ~missing, dtype=np.bool_)


def _position(frame: pd.DataFrame, schema: Schema, name: str) -> tuple[Floats, Mask]:
    coded = coded_column(name, schema.columns[name])
    if not isinstance(coded, Ranged):
        raise DataError(f"column {name!r} has no order", mend="name numbers or dates in `order`")
    return coded.position(frame[name])
