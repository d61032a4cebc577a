"""``privsynth init``: a first draft of schema, policy and study, which teaches and does not load.

Of the sensitive file only the column names and the declared storage types are read (Parquet: the schema in
its footer, no statistics; CSV: the header line and not a byte of the rows), so the draft is the same for
every content. What a column may hold is for its owner to declare: each domain is a TODO, which loading
refuses. ``public`` names a file that the user declares public; then domains come from there.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from privsynth.data.columns import unfit
from privsynth.data.draft_text import policy_text, schema_text, study_text, todo
from privsynth.data.public import declared_public
from privsynth.documents import open_regular
from privsynth.errors import DataError, MissingExtra, StorageError

if TYPE_CHECKING:
    import pyarrow as pa

MAX_HEADER = 1024 * 1024

_VALUE = re.compile(r"\s*([-+]?[0-9][0-9.,_ ]*([eE][-+]?[0-9]+)?|[0-9]{2,4}[-/.][0-9]{1,2}[-/.][0-9]{1,4}.*)\s*\Z")


@dataclass(frozen=True)
class Stored:
    """A column as its file declares it.

    Attributes:
        name: of the column.
        kind: the kind of schema column that the storage type suggests; None where the type says nothing
            (text) or there is none (CSV).
        storage: the declared storage type in words; empty for CSV.
    """

    name: str
    kind: str | None
    storage: str = ""


@dataclass(frozen=True)
class Draft:
    """Three texts to be edited.

    Attributes:
        name: from the data's file name; begins the files' names and is the proposed source.
        data: the sensitive file.
        schema: YAML.
        policy: YAML.
    """

    name: str
    data: Path
    schema: str
    policy: str

    @property
    def study(self) -> str:
        """YAML, for the current folder."""
        return self.files(Path())[f"{self.name}.study.yaml"]

    def files(self, folder: Path) -> dict[str, str]:
        """File names and texts, for ``folder``: the study names the data from there."""
        data = os.path.relpath(self.data.resolve(), folder.resolve())
        return {
            f"{self.name}.schema.yaml": self.schema,
            f"{self.name}.policy.yaml": self.policy,
            f"{self.name}.study.yaml": study_text(self.name, data),
        }


def draft(path: str | Path, *, public: str | Path | None = None) -> Draft:
    """Draft the three files for the sensitive table at ``path`` (.parquet or .csv).

    Args:
        public: a file with columns of the same names that the user declares public: domains are taken from
            it, and the drafted schema, which then loads, records its name and SHA-256.

    Raises:
        DataError: no readable header or footer, or names that no schema can hold. It shows no name of a CSV
            file, for a file without a header would show its first row.
        MissingExtra: Parquet or a public file without pyarrow.
    """
    data = Path(path)
    columns = stored_columns(data)
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", data.stem).strip("-._")[:64] or "table"
    if public is None:
        stored = ((c.name, todo(c.kind), f"stored as {c.storage}" if c.storage else "") for c in columns)
        schema = schema_text(name, stored)
    else:
        if Path(public).exists() and data.samefile(public):
            raise DataError(
                "the data file itself was named as public",
                where=str(public),
                mend="name another file that is public already, or draft without one and declare the domains",
            )
        schema = declared_public(Path(public), name, {c.name: c.kind for c in columns})
    return Draft(name, data, schema, policy_text(name))


def write_draft(draft: Draft, folder: str | Path) -> tuple[Path, ...]:
    """Write the three files into ``folder``, or none of them; no file is ever written over.

    Raises:
        StorageError: a file is there already, or cannot be written.
    """
    place = Path(folder)
    texts = {place / file: text for file, text in draft.files(place).items()}
    made: list[Path] = []
    try:
        for path, text in texts.items():
            with path.open("x", encoding="utf-8", newline="\n") as stream:
                made.append(path)
                stream.write(text)
    except FileExistsError as wrong:
        _undo(made)
        raise StorageError(
            "the file exists; no draft was written",
            where=str(wrong.filename),
            mend="move it away, or draft into another folder with --into",
        ) from None
    except OSError as wrong:
        _undo(made)
        raise StorageError(
            f"the draft cannot be written ({wrong.strerror})",
            where=str(place),
            mend="name a folder that exists, that you may write, and with room",
        ) from None
    except BaseException:  # Ctrl-C between two files
        _undo(made)
        raise
    return tuple(texts)


def _undo(made: Sequence[Path]) -> None:
    for path in made:
        with suppress(OSError):
            path.unlink()


# --- names and storage types ---------------------------------------------------------------------


def stored_columns(path: Path) -> tuple[Stored, ...]:
    """Names and declared storage types of a table; nothing that depends on its rows."""
    readers = {".csv": _csv_columns, ".parquet": _parquet_columns}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DataError("its name ends in neither .csv nor .parquet", where=str(path), mend="convert the file")
    try:
        columns = reader(path)
    except OSError as wrong:
        raise DataError(f"cannot be read ({wrong.strerror})", where=str(path), mend="check the path") from None
    if not columns:
        raise DataError("names no column", where=str(path), mend="write the file again, with its header")
    names = [column.name for column in columns]
    for place, name in enumerate(names, 1):
        why = unfit(name) or ("has blanks at its ends" if name != name.strip() else "")
        why = why or ("is longer than 255 characters" if len(name) > 255 else "")
        why = why or ("stands twice" if names.count(name) > 1 else "")
        if why:
            raise DataError(f"the name of column {place} {why}", where=str(path), mend="rename the column in the file")
    return columns


def _csv_columns(path: Path) -> tuple[Stored, ...]:
    """The names of the first line. It is cut out as bytes, so that no row is decoded or looked at."""
    with os.fdopen(open_regular(path), "rb") as stream:
        line = re.split(rb"[\r\n]", stream.readline(MAX_HEADER), maxsplit=1)[0]
    if len(line) >= MAX_HEADER:
        raise DataError(f"the header is longer than {MAX_HEADER} bytes", where=str(path), mend="check the file")
    if not line:
        raise DataError("no header", where=str(path), mend="the first line must name the columns")
    try:
        names = next(csv.reader([line.decode("utf-8-sig")], strict=True), [])
    except (UnicodeDecodeError, csv.Error):
        raise DataError(
            "the header is not one line of UTF-8 CSV", where=str(path), mend="export it again as UTF-8, comma-separated"
        ) from None
    if any(_VALUE.match(name) for name in names):
        raise DataError(
            "the first line holds numbers or days, so it looks like a row and not like names",
            where=str(path),
            mend="write a header line; if those are the names, rename the columns",
        )
    if len(names) == 1 and re.search(r"[;\t|]", names[0]):
        raise DataError("the header is not separated by commas", where=str(path), mend="export it with commas")
    return tuple(Stored(name, None) for name in names)


def _parquet_columns(path: Path) -> tuple[Stored, ...]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise MissingExtra("reading Parquet needs pyarrow", mend="pip install 'privsynth[generate]'") from None
    try:
        with os.fdopen(open_regular(path), "rb") as stream:
            schema = parquet.read_schema(stream)
    except pa.ArrowException:
        raise DataError("not a whole Parquet file", where=str(path), mend="write the file again") from None
    return tuple(_stored(field) for field in schema)


def _stored(field: pa.Field) -> Stored:
    import pyarrow.types as t

    kind = field.type.value_type if t.is_dictionary(field.type) else field.type
    if t.is_nested(kind):
        return Stored(field.name, "unreadable", "nested values")
    if t.is_null(kind):
        return Stored(field.name, None, "null")
    tests = {
        "boolean": t.is_boolean,
        "integer": t.is_integer,
        "real": lambda k: t.is_floating(k) or t.is_decimal(k),
        "date": t.is_date,
        "zoned": lambda k: t.is_timestamp(k) and k.tz is not None,
        "datetime": t.is_timestamp,
        "text": lambda k: t.is_string(k) or t.is_large_string(k),
        "image": lambda k: t.is_binary(k) or t.is_large_binary(k),
    }
    found = next((name for name, test in tests.items() if test(kind)), "unreadable")
    return Stored(field.name, found, "text" if found == "text" else re.sub(r"[^ -~]", "?", str(kind)))
