"""What a bundle's zip files of pictures may be, read without numpy, pandas or Pillow and without unpacking."""

from __future__ import annotations

import csv
import os
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from privsynth.data.album import archive_of
from privsynth.documents import open_regular
from privsynth.errors import BundleError
from privsynth.release.manifest import check_names
from privsynth.release.png import PLAIN, Worn, check_png, most_bytes
from privsynth.release.predicate import CSV, PictureFile

TIME = (1980, 1, 1, 0, 0, 0)
_VERSION, _END = 20, 22  # of a plain member; bytes of the record that ends a zip file without a comment
_ASK = "ask its sender"
_BROKEN = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    struct.error,
    ValueError,
    OverflowError,
    NotImplementedError,
    RuntimeError,
    EOFError,
    OSError,
)


def pictures_told(schema: Mapping[str, Any], counts: Mapping[str, int]) -> tuple[PictureFile, ...] | None:
    """Each column of pictures of a schema, as JSON values, with how many there are; None where it has no such column.

    Raises:
        KeyError, TypeError, ValueError: not a schema, or a column without a count.
    """
    columns = [c for c in schema["columns"] if c["kind"] == "image" and not c.get("dropped", False)]
    told = [
        PictureFile(
            column=c["name"],
            file=archive_of(c["name"]),
            size=tuple(c["size"]),
            mode=c["mode"],
            pictures=counts[c["name"]],
        )
        for c in columns
    ]
    return tuple(told) or None


def check_archives(
    root: Path,
    told: tuple[PictureFile, ...],
    *,
    rows: int,
    worn: Worn = PLAIN,
    read: Callable[[bytes, str], None] | None = None,
) -> None:
    """Refuse zip files that do not hold exactly the pictures that table.csv names.

    Args:
        worn: what each picture carries beside its marks.
        read: raises for a picture whose C2PA manifest does not hold; None: it is not read.

    Raises:
        BundleError: naming the first.
    """
    names = _named(root / CSV, [file.column for file in told], rows=rows)
    for file in told:
        where = str(root / file.file)
        wanted = names[file.column]
        check_names(["table.csv", "table.parquet", *wanted], where=where)
        if len(wanted) != file.pictures:
            raise BundleError("the table names another number of pictures", where=where, mend=_ASK)
        _check_members(root / file.file, wanted, file, worn, read)


def _named(path: Path, columns: list[str], *, rows: int) -> dict[str, list[str]]:
    """What stands in these columns of the table, empty cells left out."""
    out: dict[str, list[str]] = {column: [] for column in columns}
    try:
        with os.fdopen(open_regular(path), encoding="utf-8", newline="") as file:
            lines = csv.reader(file, strict=True)
            head = next(lines)
            places = {column: head.index(column) for column in columns}
            for read, line in enumerate(lines, 1):
                if len(line) != len(head) or read > rows:
                    raise ValueError
                for column, place in places.items():
                    if line[place]:
                        out[column].append(line[place])
    except (OSError, ValueError, StopIteration, csv.Error):
        raise BundleError("not the table that its pictures go with", where=str(path), mend=_ASK) from None
    return out


def _check_members(
    path: Path, wanted: list[str], told: PictureFile, worn: Worn, read: Callable[[bytes, str], None] | None
) -> None:
    """Whether the file is these members in this order, stored one behind the other, and nothing else; and each of them
    a picture as told. Memory: one picture at a time."""
    size = told.size
    most = most_bytes(size, told.mode, worn)
    try:
        with os.fdopen(open_regular(path), "rb") as raw, zipfile.ZipFile(raw) as archive:
            members, end = archive.infolist(), archive.start_dir
            whole = [m.orig_filename for m in members] == wanted and not archive.comment
            at = 0
            for member in members if whole else ():
                whole = whole and member.header_offset == at and _plain(member)
                member.extra, member.extract_version = b"", _VERSION  # a far place changes the directory alone
                head = member.FileHeader(zip64=False)
                raw.seek(at)
                whole = whole and raw.read(len(head)) == head and member.file_size <= most
                if whole:
                    picture, where = raw.read(member.file_size), f"{path}: {member.filename}"
                    check_png(picture, size=size, mode=told.mode, where=where, worn=worn)
                    if read is not None:
                        read(picture, where)
                at += len(head) + member.file_size
            raw.seek(-_END, os.SEEK_END)
            whole = whole and at == end and raw.read(4) == b"PK\x05\x06"
    except _BROKEN:
        raise BundleError("not a zip file that can be read", where=str(path), mend=_ASK) from None
    if not whole:
        raise BundleError("not the pictures that the table names, plainly stored", where=str(path), mend=_ASK)


def _plain(member: zipfile.ZipInfo) -> bool:
    return (
        member.compress_type == zipfile.ZIP_STORED
        and member.compress_size == member.file_size
        and member.extra
        in (b"", struct.pack("<HHQ", 1, 8, member.header_offset))  # beyond 2 GiB the place stands there
        and not (member.flag_bits or member.comment)
        and member.date_time == TIME
    )
