"""CSV: UTF-8, comma, a header, RFC 4180 quotes; every column as text, an empty unquoted field null.

What is refused here is told without a word of the file but the numbers of its columns.
"""

from __future__ import annotations

import csv
import mmap
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from privsynth.documents import open_regular
from privsynth.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK_BYTES = 16 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"
_CLOSED = re.compile(  # every quote that opens a field is closed; elsewhere a quote is a character
    rb'(?:[^"]++|(?:(?<=[,\n\r])|\A)"(?:[^"]++|"")*+"|(?<![,\n\r])(?!\A)")*+'
)


def csv_header(path: Path) -> list[str]:
    """The column names of a CSV file; nothing beyond its first record is looked at.

    Raises:
        DataError: no header, doubled names, not UTF-8.
    """
    names, _ = header(path)
    refuse_doubled(names, str(path))
    return names


def header(path: Path) -> tuple[list[str], bool]:
    """The first record, and whether anything follows it. Raises as :func:`csv_header`, but for doubled names:
    whether these are names at all, only the schema can tell."""
    where = str(path)
    try:
        with os.fdopen(open_regular(path), encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
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
    return names, more


def refuse_doubled(names: Sequence[str], where: str) -> None:
    """Raise DataError, by numbers, if two columns have one name."""
    first: dict[str, int] = {}
    for number, name in enumerate(names, 1):
        if first.setdefault(name, number) != number:
            raise DataError(
                f"doubled column names: columns {first[name]} and {number} have one name",
                where=where,
                mend="give every column a name of its own",
            )


def read_csv(path: Path, columns: Sequence[str]) -> dict[str, pa.ChunkedArray]:
    """These columns, as text, of a file that has more than its header.

    Raises:
        DataError: not UTF-8, a record of another number of fields, an open quote.
    """
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    broken = DataError(
        "not a whole UTF-8 CSV file: a line is cut off, has another number of fields or a quote that nothing closes, "
        f"is not UTF-8, or is longer than {BLOCK_BYTES // 1024**2} MiB",
        where=str(path),
        mend="export it again as UTF-8, comma-separated, every line with as many fields as the header",
    )
    try:
        if not quotes_close(path):
            raise broken
        table = arrow_csv.read_csv(
            path,
            read_options=arrow_csv.ReadOptions(encoding="utf8", block_size=BLOCK_BYTES, use_threads=False),
            parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
            convert_options=arrow_csv.ConvertOptions(
                include_columns=columns,
                column_types=dict.fromkeys(columns, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                check_utf8=True,
            ),
        )
    except (pa.ArrowException, UnicodeDecodeError, OSError, ValueError):
        raise broken from None
    return {name: table.column(name) for name in columns}


def no_text() -> pa.ChunkedArray:
    """A column of a file that has only its header."""
    import pyarrow as pa

    return pa.chunked_array([pa.array([], pa.string())])


def quotes_close(path: Path) -> bool:
    """Whether no quoted field is still open at the file's end (a parser would close it, and call a record
    that is cut off whole). One pass."""
    with (
        os.fdopen(open_regular(path), "rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as raw,
        memoryview(raw) as whole,
        whole[len(_BOM) if raw[: len(_BOM)] == _BOM else 0 :] as text,
    ):
        return bool(_CLOSED.fullmatch(text))
