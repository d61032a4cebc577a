"""Public help: rows that anybody may see, of the same schema, beside the paid tables.

A public table, or an earlier release of the same source, takes noise out of a fit where its law is near the private
one. It is declared: the recipe holds its digest, and the transcript its exact tables at the cliques and groups that
were bought, so that a refit still reads the transcript only. It costs nothing, for no private row touches it.

How far the two laws are apart is estimated from paid answers alone. Of a table of K cells with noisy shares y of noise
variance v and public shares q, Σ(y - q)² - K·v is an unbiased estimate of their squared distance; in units of 1/K a
table's is noisy, a stage's is not. What is met is the mean of y and q weighted by precision, 1/v and 1/(g·τ²): a table
of another law gets next to no weight. g: the fit averages noise over tables, which it cannot do with the distance of
two laws.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from privsynth.data.records import Records
from privsynth.data.schema import Schema
from privsynth.data.tables import file_of, read_table
from privsynth.documents import canonical
from privsynth.errors import HoldError, SchemaError
from privsynth.generators.marginals.transcript import Measurement

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

GAIN = 8.0
"""g: by how much the fit lowers the variance of noise that differs from table to table."""
APART_SIGMAS = 2.0
"""A table whose distance from the public one stands out of its noise by so much gets no help."""
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class PublicHelp:
    """A public table, declared in a recipe. Make one with :meth:`of`.

    Attributes:
        sha256: of its learned columns as the schema reads them (:func:`digest`).
        rows: how many it has.
        note: where it comes from and why it is public, in a line.

    Raises:
        SchemaError: not a digest, no rows, or no note.
    """

    sha256: str
    rows: int
    note: str

    def __post_init__(self) -> None:
        if not isinstance(self.sha256, str) or len(self.sha256) != 64 or not set(self.sha256) <= _HEX:
            raise SchemaError(f"{self.sha256!r} is no SHA-256", where="PublicHelp.sha256", mend="use `PublicHelp.of`")
        if isinstance(self.rows, bool) or not isinstance(self.rows, int) or not 1 <= self.rows <= 10**12:
            raise SchemaError(f"rows is {self.rows!r}", where="PublicHelp.rows", mend="a whole number from 1")
        if not isinstance(self.note, str) or not self.note.strip() or "\n" in self.note or len(self.note) > 500:
            raise SchemaError(
                "the public table has no note", where="PublicHelp.note", mend="say in a line where it comes from"
            )

    @classmethod
    def of(cls, public: PublicRows, *, note: str) -> PublicHelp:
        """The declaration of rows that :func:`read_public` gave.

        Raises:
            SchemaError: other rows, such as records.
        """
        if not isinstance(public, PublicRows):
            raise SchemaError(
                f"a {type(public).__name__} is no public table", where="PublicHelp.of", mend="rows of `read_public`"
            )
        return cls(digest(public), len(public.frame), note)

    def check(self, public: PublicRows, *, train: Records) -> None:
        """Refuse rows other than the declared, and those that are the private ones.

        The file's name, links aside, is compared, never its contents: any test of rows against the private ones
        would tell for nothing who is in the data.

        Raises:
            HoldError: no public rows, read by another schema, not these, or private ones.
        """
        if not isinstance(public, PublicRows):
            raise HoldError(f"a {type(public).__name__} is no public table", mend="give the rows of `read_public`")
        if public.schema.sha256 != train.schema.sha256:
            raise HoldError(
                "the public rows were read by another schema than the recipe's", mend="read them by this one"
            )
        if len(public.frame) != self.rows or digest(public) != self.sha256:
            raise HoldError(
                "the public rows are not those that the recipe declares", mend="give the rows of `PublicHelp.of`"
            )
        if public.file is not None and public.file == train.file:
            raise HoldError(
                "the public rows are the private ones, whose exact counts would leave",
                mend="declare a table that anybody may see",
            )

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {"sha256": self.sha256, "rows": self.rows, "note": self.note}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> PublicHelp:
        """What :meth:`to_json` wrote.

        Raises:
            KeyError, TypeError, SchemaError: anything else.
        """
        return cls(**{key: value[key] for key in ("sha256", "rows", "note")})


@dataclass(frozen=True, repr=False, eq=False)
class PublicRows:
    """Rows that their user says anybody may see. Made by :func:`read_public` alone, and never of records.

    Attributes:
        schema: of the private table, by which they were read.
        frame: the learned columns, conformed.
        file: device and number of the file that was read; None of a frame.
    """

    schema: Schema
    frame: pd.DataFrame
    file: tuple[int, int] | None = None

    def __repr__(self) -> str:
        return f"PublicRows({len(self.frame)} rows for {self.schema.source!r})"


def read_public(data: str | Path | pd.DataFrame, schema: Schema) -> PublicRows:
    """Read a table that anybody may see by the schema of the private one: a CSV or Parquet file, or a frame. A Parquet
    file, such as a release's, may lack the columns that no fit learns.

    Raises:
        DataError: a structural fault.
    """
    return PublicRows(schema, _read(data, schema).frame[list(schema.modelled)], file_of(data))


def _read(data: str | Path | pd.DataFrame, schema: Schema) -> Records:
    """The rows as records, with numbers where a Parquet file lacks a column that no fit learns."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    if isinstance(data, pd.DataFrame):
        return read_table(data, schema)
    place = Path(data)
    if place.suffix.lower() != ".parquet" or not place.is_file():
        return read_table(place, schema)
    try:
        held = set(pq.read_schema(place).names)
        absent = [name for name, column in schema.columns.items() if not column.learned and name not in held]
        if not absent or held.isdisjoint(schema.columns):
            return read_table(place, schema)
        frame = pq.read_table(place, use_threads=False).to_pandas(types_mapper=pd.ArrowDtype, use_threads=False)
    except (pa.ArrowException, OSError):
        return read_table(place, schema)  # which says what is wrong with it
    numbers = pd.Series([str(i) for i in range(len(frame))], index=frame.index, dtype="string")
    return read_table(frame.assign(**dict.fromkeys(absent, numbers)), schema)


def digest(public: PublicRows) -> str:
    """SHA-256 over names and values of the learned columns, row by row in their order; how they are stored does not
    change it."""
    whole = hashlib.sha256()
    for name in public.schema.modelled:
        values = public.frame[name]
        missing = values.isna().to_numpy(dtype=np.bool_)
        whole.update(canonical([name, len(values)]))
        whole.update(missing.tobytes())
        whole.update(_bytes(values, missing))
    return whole.hexdigest()


def _bytes(values: pd.Series[Any], missing: npt.NDArray[np.bool_]) -> bytes:
    """The values of a column, 0 or empty where null."""
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        seconds = values.to_numpy().astype("datetime64[s]").astype("<i8")
        return np.where(missing, 0, seconds).astype("<i8").tobytes()
    if pd.api.types.is_bool_dtype(values.dtype) or pd.api.types.is_numeric_dtype(values.dtype):
        return values.to_numpy(dtype=np.float64, na_value=0.0).astype("<f8").tobytes()
    codes, texts = pd.factorize(values.astype(object).where(~missing, ""), sort=False)
    return canonical([f"{type(text).__name__}:{text}" for text in texts]) + codes.astype("<i8").tobytes()


# --- paid and public together ----------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Blend:
    """What a fit is to meet of one table.

    Attributes:
        share: of N̂, one axis a column.
        precision: 1 / variance of one of its cells.
        public: the weight of the public table in it, 0 to 1.
    """

    share: Floats
    precision: float
    public: float


def blend(measured: Sequence[Measurement], public: Sequence[Ints | None], *, rows: float) -> list[Blend]:
    """The tables of one stage, each with the public one where there is any. Post-processing.

    Args:
        measured: of one stage.
        public: exact public counts at the same cells, or None, for each.
        rows: N̂.
    """
    alone = [Blend(m.counts / rows, rows**2 / m.variance, 0.0) for m in measured]
    known = [i for i, table in enumerate(public) if table is not None and table.sum() > 0]
    if not known:
        return alone
    tables = [_Distance.of(alone[i], np.asarray(public[i], dtype=np.float64), rows=rows) for i in known]
    stage = _stage(tables)
    for i, table in zip(known, tables, strict=True):
        alone[i] = table.blend(alone[i], stage)
    return alone


@dataclass(frozen=True, eq=False)
class _Distance:
    """A noisy and a public table: public ``share``, ``apart``: K·(Σ(y - q)² - K·v), which is the squared distance in
    units of 1/K, with standard deviation ``sigma`` of noise; ``least``: what samples of one law differ by."""

    share: Floats
    cells: int
    apart: float
    sigma: float
    least: float

    @classmethod
    def of(cls, paid: Blend, counts: Floats, *, rows: float) -> _Distance:
        q, k, v = counts / counts.sum(), counts.size, 1.0 / paid.precision
        apart = k * (float(((paid.share - q) ** 2).sum()) - k * v)
        least = (1.0 - float((q**2).sum())) / k * (1.0 / counts.sum() + 1.0 / rows)
        return cls(q, k, apart, k * v * math.sqrt(2 * k), max(least, 1e-12))

    def blend(self, paid: Blend, stage: float) -> Blend:
        if self.apart > APART_SIGMAS * self.sigma + self.least * self.cells**2:
            return paid
        precision = 1.0 / (GAIN * max(stage / self.cells**2, self.least))
        weight = precision / (precision + paid.precision)
        return Blend(paid.share + weight * (self.share - paid.share), paid.precision + precision, weight)


def _stage(tables: Sequence[_Distance]) -> float:
    """The distance of a stage's tables together: their mean by precision, and one standard deviation for safety."""
    weight = np.array([1.0 / t.sigma**2 for t in tables])
    mean = float((weight * [t.apart for t in tables]).sum() / weight.sum())
    return max(mean, 0.0) + float(weight.sum() ** -0.5)
