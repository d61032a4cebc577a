"""Where the pictures of a table lie: in files beside it, inside it, or in arrays."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from privsynth.data.files import is_text
from privsynth.data.pictures import MOST_PIXELS, Source
from privsynth.data.schema import Schema
from privsynth.documents import join
from privsynth.errors import DataError, MissingExtra

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

TABLES = (".csv", ".parquet")


@dataclass(frozen=True, repr=False, eq=False)
class Shelf:
    """Turns what a row says of its picture into a source of it.

    Attributes:
        folder: where paths start, links resolved; None where no file is looked at.
        arrays: pictures by column and number.
    """

    folder: Path | None
    arrays: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)

    def check(self, name: str, stored: pa.Array) -> None:
        """Refuse a column none of whose rows could name a picture, by its storage type; one of nulls alone is fine.

        Raises:
            DataError: numbers without arrays, arrays without numbers, paths without a folder.
        """
        import pyarrow.types as t

        kind, numbered = stored.type, name in self.arrays
        if stored.null_count == len(stored):
            return
        if numbered and not t.is_integer(kind):
            what, mend = (
                "no numbers, and `arrays` holds its pictures",
                "store whole numbers (Parquet or a frame), or paths alone",
            )
        elif t.is_integer(kind) and not numbered:
            what, mend = "numbers, and `arrays` holds no pictures of it", "give `arrays` its pictures, or store paths"
        elif is_text(kind) and self.folder is None:
            what, mend = "paths, and there is no folder", "give `folder`, where they start"
        else:
            return
        raise DataError(f"it holds {what}", where=f"column {name!r}", mend=mend)

    def sources(self, name: str, stored: pa.Array) -> list[Source]:
        """One for each row; None where the row says nothing. What points nowhere becomes empty bytes: no picture."""
        values = stored.to_pylist()
        held = self.arrays.get(name)
        if held is not None:
            return [None if v is None else self._numbered(held, v) for v in values]
        return [None if v is None or v == "" else v if isinstance(v, bytes) else self._path(str(v)) for v in values]

    def _numbered(self, held: npt.NDArray[Any], number: object) -> Source:
        if not isinstance(number, int) or not 0 <= number < len(held):
            return b""
        return np.asarray(held[number])

    def _path(self, text: str) -> Source:
        """The file that a row names, if it lies within the folder, links followed."""
        if self.folder is None or "\0" in text:
            return b""
        try:
            place = (self.folder / text).resolve()
        except (OSError, RuntimeError):
            return b""
        return place if place.is_relative_to(self.folder) else b""


def table_of(
    data: str | Path | pd.DataFrame,
    schema: Schema,
    *,
    folder: str | Path | None,
    arrays: Mapping[str, npt.NDArray[Any]] | None,
) -> tuple[str | Path | pd.DataFrame, Schema, Shelf]:
    """The table of what a user names, and the shelf of its pictures.

    Raises:
        DataError: no pictures in the schema, a folder without one table, a folder that is none, arrays that do not fit.
    """
    try:
        import pandas as pd
    except ImportError:
        raise MissingExtra("reading data needs pandas", mend="pip install 'privsynth[generate]'") from None
    if not schema.pictures:
        raise DataError("the schema has no pictures", where="schema", mend="declare a column of kind image")
    if isinstance(data, str | os.PathLike) and Path(data).is_dir():
        folder, data = folder if folder is not None else data, _table_in(Path(data))
    given = dict(arrays or {})
    _check_arrays(given, schema)
    if isinstance(data, pd.DataFrame):
        data = _numbered(data, given)
    elif folder is None and isinstance(data, str | os.PathLike):
        folder = Path(data).parent
    if folder is not None and not Path(folder).is_dir():
        raise DataError("not a folder", where=str(folder), mend="name the folder that the paths start from")
    return data, schema, Shelf(None if folder is None else Path(folder).resolve(), given)


def _table_in(folder: Path) -> Path:
    """The one table of a folder."""
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in TABLES)
    if len(found) != 1:
        raise DataError(
            f"{len(found) or 'no'} tables in the folder",
            where=str(folder),
            mend="one .csv or .parquet file that names each picture and what is known of it",
        )
    return found[0]


def _check_arrays(arrays: Mapping[str, npt.NDArray[Any]], schema: Schema) -> None:
    for name, held in arrays.items():
        if name not in schema.pictures:
            raise DataError(
                f"{name!r} holds no pictures", where="arrays", mend=f"by column: {join(list(schema.pictures))}"
            )
        mend = "(n, height, width) or (n, height, width, 3)"
        shape: tuple[int, ...] = getattr(held, "shape", ())
        if getattr(held, "dtype", None) not in (np.uint8, np.uint16) or len(shape) not in (3, 4):
            raise DataError(
                f"the pictures of {name!r} are no array of uint8 or uint16 of 3 or 4 dimensions",
                where="arrays",
                mend=mend,
            )
        if not 0 < shape[1] * shape[2] <= MOST_PIXELS or shape[3:] not in ((), (1,), (3,)):
            raise DataError(
                f"the pictures of {name!r} are of {' × '.join(map(str, shape[1:]))}",
                where="arrays",
                mend=f"{mend}, of {MOST_PIXELS:,} pixels at most",
            )


def _numbered(frame: pd.DataFrame, arrays: Mapping[str, npt.NDArray[Any]]) -> pd.DataFrame:
    """The frame with the numbers of the pictures that it leaves out."""
    for name, held in arrays.items():
        if name not in frame.columns:
            if len(held) != len(frame):
                raise DataError(
                    f"{len(held):,} pictures of {name!r} for {len(frame):,} rows",
                    where="arrays",
                    mend="one for each row, or a column of their numbers",
                )
            frame = frame.assign(**{name: np.arange(len(frame))})
    return frame
