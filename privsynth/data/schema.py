"""The schema: what is public about a table, declared and reviewed, never inferred from its rows.

Form: docs/schema.md. Every domain (values, bounds, bin edges, nullability, structural zeros) is
public by declaration; the codec, the noise and the sampler take all they know of a column from here.
"""

from __future__ import annotations

import csv
import datetime as dt
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic

from privsynth.documents import Document, Strict, build, identity, load_yaml, parse_yaml, plain, read_bytes
from privsynth.errors import SchemaError

FORMAT = 1
MAX_VALUES = 100_000
MAX_CELLS = 64
Scalar = bool | int | float | str
Outside = Literal["clip", "null", "drop"]

_NAME = re.compile(r"\S(.*\S)?\Z", re.DOTALL)


class _Column(Strict):
    """What every kind of column may say."""

    nullable: bool = False
    dropped: bool = False

    @property
    def learned(self) -> bool:
        """Whether the fit may look at this column."""
        return not self.dropped


class Categorical(_Column):
    """One of a public list of values, in this order. ``outside`` names what happens to other values:
    ``null`` (needs nullable), ``drop`` (the row), or one of the values."""

    kind: Literal["categorical"] = "categorical"
    values: tuple[int | str, ...] = ()
    values_from: str | None = None
    open: bool = False
    ordered: bool = False
    outside: str | int | None = None

    @pydantic.field_validator("values")
    @classmethod
    def _distinct(cls, values: tuple[int | str, ...]) -> tuple[int | str, ...]:
        if len({str(v) for v in values}) != len(values):
            raise ValueError("the values must be distinct (also as text)")
        if len(values) > MAX_VALUES:
            raise ValueError(f"at most {MAX_VALUES} values")
        if len({type(v) for v in values}) > 1:
            raise ValueError("the values must all be text or all be integers: quote the numbers")
        return values

    @pydantic.model_validator(mode="after")
    def _whole(self) -> Categorical:
        if self.open:
            raise ValueError("open category sets are not built yet: list the public values")
        if not self.values and not self.dropped:
            raise ValueError("needs `values: [...]` or `values from: FILE` (a public list, not the data's)")
        if self.outside is None or self.outside == "drop":
            return self
        if self.outside == "null":
            if not self.nullable and "null" not in self.values:
                raise ValueError("`outside: null` needs `nullable: true`")
        elif self.outside not in self.values:
            raise ValueError("`outside` must be null, drop or one of the values")
        return self


class _Bounded(_Column):
    """A column with public bounds. ``outside``: clip (default), null or drop."""

    outside: Outside = "clip"

    @pydantic.model_validator(mode="after")
    def _null_rule(self) -> _Bounded:
        if self.outside == "null" and not self.nullable:
            raise ValueError("`outside: null` needs `nullable: true`")
        return self


def _edges(bins: tuple[float, ...] | None, low: float, high: float) -> None:
    if low >= high:
        raise ValueError("`min` must be below `max`")
    if bins is not None:
        if len(bins) < 1 or any(b <= a for a, b in zip(bins, bins[1:], strict=False)):
            raise ValueError("`bins` are inner edges and must increase")
        if bins[0] <= low or bins[-1] > high:
            raise ValueError("`bins` are inner edges: above `min`, at most `max`")
        if len(bins) >= MAX_VALUES:
            raise ValueError(f"at most {MAX_VALUES} bins")


class Integer(_Bounded):
    """Whole numbers from ``min`` to ``max``, both included. ``bins`` are optional public inner edges:
    each starts a new cell. Without them every value is a cell if there are at most 256, else
    equal-width cells."""

    kind: Literal["integer"] = "integer"
    min: int
    max: int
    bins: tuple[int, ...] | None = None

    @pydantic.model_validator(mode="after")
    def _whole(self) -> Integer:
        if max(abs(self.min), abs(self.max)) > 2**53:
            raise ValueError("bounds beyond 2^53 are not exact")
        _edges(self.bins, self.min, self.max)
        return self


class Real(_Bounded):
    """Real numbers from ``min`` to ``max``. ``bins``: optional public inner edges, else equal widths.
    ``atoms``: optional public values that many rows hold exactly (0, say): a cell each.
    ``decimals``: how many decimals a sampled value is rounded to."""

    kind: Literal["real"] = "real"
    min: float
    max: float
    bins: tuple[float, ...] | None = None
    atoms: tuple[float, ...] = ()
    decimals: Annotated[int, pydantic.Field(ge=0, le=15)] | None = None

    @pydantic.model_validator(mode="after")
    def _whole(self) -> Real:
        _edges(self.bins, self.min, self.max)
        if any(not self.min <= a <= self.max for a in self.atoms) or len(set(self.atoms)) != len(self.atoms):
            raise ValueError("`atoms` must be distinct and within the bounds")
        if not math.isfinite(self.max - self.min):
            raise ValueError("the bounds lie too far apart")
        return self


class Boolean(_Column):
    """true or false. ``outside``: what happens to anything else (null or drop)."""

    kind: Literal["boolean"] = "boolean"
    outside: Literal["null", "drop"] = "drop"


class Date(_Bounded):
    """Calendar days from ``min`` to ``max``."""

    kind: Literal["date"] = "date"
    min: dt.date
    max: dt.date
    bins: tuple[dt.date, ...] | None = None

    @pydantic.model_validator(mode="after")
    def _whole(self) -> Date:
        bins = None if self.bins is None else tuple(float(d.toordinal()) for d in self.bins)
        _edges(bins, self.min.toordinal(), self.max.toordinal())
        return self


class Datetime(_Bounded):
    """Moments from ``min`` to ``max``, without time zone, to the second."""

    kind: Literal["datetime"] = "datetime"
    min: dt.datetime
    max: dt.datetime

    @pydantic.model_validator(mode="after")
    def _whole(self) -> Datetime:
        if self.min.tzinfo is not None or self.max.tzinfo is not None:
            raise ValueError("write times without a zone; declare which zone they are in a comment")
        if self.min >= self.max:
            raise ValueError("`min` must be below `max`")
        return self


class Identifier(_Column):
    """Names a person or record. Never learned; regenerated in the output."""

    kind: Literal["identifier"] = "identifier"

    @property
    def learned(self) -> bool:
        """Never."""
        return False


class Text(_Column):
    """Free text: refused unless ``dropped: true``; it cannot be learned under a proof here."""

    kind: Literal["text"] = "text"

    @pydantic.model_validator(mode="after")
    def _whole(self) -> Text:
        if not self.dropped:
            raise ValueError("free text cannot be learned; write `dropped: true` or make it categorical")
        return self


class Image(_Column):
    """A picture. Loads with the issue on images; refused until then unless dropped."""

    kind: Literal["image"] = "image"
    size: tuple[int, int]
    mode: Literal["L", "RGB"] = "L"

    @pydantic.model_validator(mode="after")
    def _whole(self) -> Image:
        if not self.dropped:
            raise ValueError("images are not built yet; write `dropped: true` to leave the column out")
        return self


Column = Annotated[
    Categorical | Integer | Real | Boolean | Date | Datetime | Identifier | Text | Image,
    pydantic.Field(discriminator="kind"),
]


class Subject(Strict):
    """Who is protected. Either ``{column: patient_id, at most: 12 rows}``: the person behind an id
    column, of whose rows at most k enter a fit; or ``{each row is a: visit, a person has at most: 5
    rows}``: there is no id, so the unit is the row, and the statement says what that means for a
    person with several."""

    column: str | None = None
    at_most: str | None = None
    each_row_is_a: str | None = None
    a_person_has_at_most: str | None = None

    @pydantic.field_validator("at_most", "a_person_has_at_most")
    @classmethod
    def _rows(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[1-9][0-9]{0,5} rows?", value):
            raise ValueError("write it as `12 rows`")
        return value

    @pydantic.model_validator(mode="after")
    def _one_form(self) -> Subject:
        if (self.column is None) == (self.each_row_is_a is None):
            raise ValueError("needs either `column` with `at most`, or `each row is a` with `a person has at most`")
        if self.column is not None and (self.at_most is None or self.a_person_has_at_most is not None):
            raise ValueError("`column` goes with `at most: 12 rows`")
        if self.each_row_is_a is not None and (self.a_person_has_at_most is None or self.at_most is not None):
            raise ValueError("`each row is a` goes with `a person has at most: 5 rows`")
        return self

    @property
    def contribution(self) -> int:
        """k: the most rows of one subject that enter a fit."""
        return int(self.at_most.split()[0]) if self.at_most is not None else 1

    @property
    def person_rows(self) -> int:
        """The most rows that a person may have where the unit is a row, else 1."""
        return int(self.a_person_has_at_most.split()[0]) if self.a_person_has_at_most is not None else 1


@dataclass(frozen=True)
class Order:
    """``left <= right`` (or ``<``) between two columns of one kind; rows with a null on a side pass."""

    left: str
    right: str
    strict: bool

    @classmethod
    def parse(cls, text: str) -> Order:
        """``admitted <= discharged``."""
        match = re.fullmatch(r"\s*(.+?)\s*(<=|<)\s*(.+?)\s*", text)
        if not match:
            raise ValueError("write it as `first <= second`")
        return cls(match[1], match[3], match[2] == "<")


class Schema(Strict):
    """A whole schema. Load with :func:`load_schema`; build in code with ``Schema.model_validate``."""

    format: Annotated[int, pydantic.Field(alias="privsynth-schema")]
    source: str
    subject: Subject
    columns: Mapping[str, Column]
    never: tuple[Mapping[str, Scalar | None], ...] = ()
    order: tuple[str, ...] = ()
    public_from: str | None = None

    @pydantic.field_validator("format")
    @classmethod
    def _known_format(cls, value: int) -> int:
        if value != FORMAT:
            raise ValueError(f"format {value} is not known; this version reads {FORMAT}")
        return value

    @pydantic.field_validator("source")
    @classmethod
    def _source(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}", value):
            raise ValueError("a source is letters, digits and . _ - /")
        return value

    @pydantic.model_validator(mode="after")
    def _whole(self) -> Schema:
        if not any(c.learned for c in self.columns.values()):
            raise ValueError("no column is learned")
        for name in self.columns:
            if not _NAME.match(name) or len(name) > 255 or any(ord(c) < 32 for c in name):
                raise ValueError(f"column name {name!r}: no blanks at its ends, no control characters")
        column = self.subject.column
        if column is not None and not isinstance(self.columns.get(column), Identifier):
            raise ValueError(f"subject column {column!r} must be a column of kind identifier")
        for i, rule in enumerate(self.never):
            if len(rule) < 2:
                raise ValueError(f"never[{i}] needs at least two columns")
            for name, value in rule.items():
                self._value_fits(f"never[{i}]", name, value)
        for text in self.order:
            rule_ = Order.parse(text)
            kinds = [self._learned_kind(f"order {text!r}", name) for name in (rule_.left, rule_.right)]
            numeric = {"integer", "real"}
            if kinds[0] != kinds[1] and not set(kinds) <= numeric:
                raise ValueError(f"order {text!r}: the two columns are of different kinds")
            if kinds[0] not in {"integer", "real", "date", "datetime"}:
                raise ValueError(f"order {text!r}: only numbers and dates have an order")
        return self

    def _learned_kind(self, place: str, name: str) -> str:
        column = self.columns.get(name)
        if column is None or not column.learned:
            raise ValueError(f"{place}: {name!r} is not a learned column of the schema")
        return column.kind

    def _value_fits(self, place: str, name: str, value: Scalar | None) -> None:
        kind = self._learned_kind(place, name)
        column = self.columns[name]
        if value is None:
            if not column.nullable:
                raise ValueError(f"{place}: {name!r} is never null")
        elif isinstance(column, Categorical):
            if value not in column.values:
                raise ValueError(f"{place}: {value!r} is not a value of {name!r}")
        elif isinstance(column, Boolean):
            if not isinstance(value, bool):
                raise ValueError(f"{place}: {name!r} is true or false")
        elif isinstance(column, Integer):
            if isinstance(value, bool) or not isinstance(value, int) or not column.min <= value <= column.max:
                raise ValueError(f"{place}: {value!r} is outside the bounds of {name!r}")
        else:
            raise ValueError(f"{place}: a structural zero on a {kind} column is not supported")

    # --- what other rooms ask -------------------------------------------------------------------

    @property
    def learned(self) -> dict[str, Column]:
        """The columns that a fit looks at, in file order."""
        return {name: c for name, c in self.columns.items() if c.learned}

    @property
    def orders(self) -> tuple[Order, ...]:
        """The ``order`` lines, parsed."""
        return tuple(Order.parse(text) for text in self.order)

    def to_json(self) -> dict[str, Any]:
        """The schema as JSON values, ``values from`` already resolved."""
        return plain(self)

    @property
    def sha256(self) -> str:
        """Identity of the schema's meaning."""
        return identity(self.to_json())

    def __iter__(self) -> Iterator[Any]:
        raise TypeError("iterate schema.columns")


_MENDS = {
    "kind": "one of categorical, integer, real, boolean, date, datetime, identifier, text",
    "columns": "list every column of the data file; `privsynth init DATA` drafts them",
    "subject": "for example `subject: {column: patient_id, at most: 12 rows}`",
    "open": "open category sets come with a later version; list the public values",
    "values": "list the public values, or name a public file with `values from: FILE`",
}


def load_schema(path: str | Path) -> Schema:
    """Read a schema file.

    Raises:
        SchemaError: with ``file:line`` and the mend; a line that still says TODO is one.
    """
    document = load_yaml(path, error=SchemaError, kind="schema")
    return _schema(document, folder=Path(path).parent)


def parse_schema(text: str, *, path: str = "schema", folder: str | Path = ".") -> Schema:
    """As :func:`load_schema`, from text."""
    return _schema(parse_yaml(text.encode(), path=path, error=SchemaError), folder=Path(folder))


def _schema(document: Document, *, folder: Path) -> Schema:
    _refuse_todo(document, document.data, ())
    columns = document.data.get("columns")
    if isinstance(columns, dict):
        for name, column in columns.items():
            if isinstance(column, dict) and "values from" in column:
                if "values" in column:
                    raise SchemaError(
                        "both `values` and `values from`", where=document.where("columns", name), mend="keep one"
                    )
                where = document.where("columns", name, "values from")
                column["values"] = _values_from(column.pop("values from"), folder, where)
    return build(Schema, document, error=SchemaError, mends=_MENDS)


def _refuse_todo(document: Document, value: Any, place: tuple[str | int, ...]) -> None:
    if isinstance(value, str) and value.startswith("TODO"):
        raise SchemaError(
            f"{' › '.join(map(str, place))}: still says {value!r}",
            where=document.where(*place),
            mend="declare the public domain; never read it off the sensitive rows",
        )
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        _refuse_todo(document, inner, (*place, key))


def _values_from(name: Any, folder: Path, where: str) -> list[str]:
    """The first column of a public CSV file beside the schema, header skipped."""
    if not isinstance(name, str) or Path(name).is_absolute() or ".." in Path(name).parts:
        raise SchemaError(
            "`values from` must be a file in the schema's folder", where=where, mend="a relative path without .."
        )
    raw = read_bytes(folder / name, error=SchemaError, kind="public values")
    try:
        rows = list(csv.reader(raw.decode("utf-8-sig").splitlines()))
    except (UnicodeDecodeError, csv.Error):
        raise SchemaError(f"{name} is not UTF-8 CSV", where=where, mend="one value a line under a header") from None
    values = [row[0] for row in rows[1:] if row and row[0] != ""]
    if not values or len(values) > MAX_VALUES:
        raise SchemaError(f"{name} holds {len(values)} values", where=where, mend=f"1 to {MAX_VALUES} values")
    return values
