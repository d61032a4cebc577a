"""The kinds of column that a schema may declare, each with its public domain and its rule for what lies outside.

Reference: docs/schema.md. Nothing here is ever learned: the codec, the noise and the sampler take all that
they know of a column from its declaration.
"""

from __future__ import annotations

import datetime as dt
import math
import re
import unicodedata
from itertools import pairwise
from typing import Annotated, Any, Literal

import pydantic

from privsynth.documents import Strict, fault, unseen

MAX_VALUES = 100_000
MAX_CELLS = 64
MAX_TEXT = 1000
OTHER = "other"
EXACT = 2**53 - 1
"""Whole numbers up to here are exact as floats and in JSON."""

Scalar = bool | int | float | str
Outside = Literal["clip", "null", "drop"]

_UNFILLED = re.compile(r"TODO(?![A-Za-z0-9])")
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?\Z")


def unfit(text: str, *, breaks: str = "") -> str:
    """What keeps ``text`` from being a name or value that people review, or nothing; ``breaks``: which of
    tab, line feed and carriage return it may hold."""
    if not text.strip():
        return "is empty or blank"
    if len(text) > MAX_TEXT:
        return f"is longer than {MAX_TEXT} characters"
    if unicodedata.normalize("NFC", text) != text:
        return "is not in Unicode form NFC"
    if unseen(text) or set("\t\n\r") & set(text) - set(breaks):
        return "holds a character that does not show"
    if _UNFILLED.match(text):
        return "begins with TODO, the mark of a draft"
    return ""


def _day(value: Any) -> dt.date:
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        return value
    try:
        if isinstance(value, str) and len(value) == len("2026-01-31"):
            return dt.date.fromisoformat(value)
    except ValueError:
        pass
    raise fault("must be a day", mend="write it as 2026-01-31")


def _moment(value: Any) -> dt.datetime:
    try:
        if isinstance(value, str) and _MOMENT.match(value):
            value = dt.datetime.fromisoformat(value)
    except ValueError:
        pass
    if not isinstance(value, dt.datetime):
        raise fault("must be a moment", mend="write day and time, as 2026-01-31 23:59:59")
    if value.tzinfo is not None:
        raise fault("has a time zone", mend="write it without; say in a comment which zone the column is in")
    if value.microsecond:
        raise fault("is finer than a second", mend="whole seconds")
    return value


Day = Annotated[dt.date, pydantic.BeforeValidator(_day)]
Moment = Annotated[dt.datetime, pydantic.BeforeValidator(_moment)]


class _Column(Strict):
    """What every kind of column may say."""

    nullable: bool = False
    dropped: bool = False

    @property
    def learned(self) -> bool:
        """Whether the fit may look at this column."""
        return not self.dropped


def _null_needs_nullable(column: _Column, outside: object) -> None:
    if outside == "null" and not column.nullable:
        raise fault("`outside: null` needs `nullable: true`", "outside", mend="declare it, or write `outside: drop`")


class Categorical(_Column):
    """One of a public list of values, in this order. ``outside`` names what happens to other values:
    ``null`` (needs nullable), ``drop`` (the row), or one of the values; without it null where the column
    is nullable, else drop.

    ``open: true``: there is no public list; which texts are categories is learned under payment, and all
    others are told as the text ``other``. ``outside`` is then about what cannot be a category at all."""

    kind: Literal["categorical"] = "categorical"
    values: tuple[int | str, ...] = ()
    open: bool = False
    other: str | None = None
    ordered: bool = False
    outside: str | int | None = None

    @property
    def rest(self) -> str:
        """What stands for every text of an open column that was not released."""
        return OTHER if self.other is None else self.other

    @pydantic.field_validator("values")
    @classmethod
    def _distinct(cls, values: tuple[int | str, ...]) -> tuple[int | str, ...]:
        if len(values) > MAX_VALUES:
            raise fault(
                f"has {len(values)} values; the limit is {MAX_VALUES}", mend="group them, or leave the column out"
            )
        seen: dict[str, int] = {}
        for i, value in enumerate(values):
            if isinstance(value, str) != isinstance(values[0], str):
                raise fault("mixes text and whole numbers", i, mend="write all in quotes, or all without")
            if isinstance(value, int) and abs(value) > EXACT:
                raise fault("is beyond 2^53, so not exact", i, mend="store codes that long as text")
            if isinstance(value, str) and (why := unfit(value, breaks="\t\n")):
                raise fault(f"{value[:40]!r} {why}", i, mend="a value that people can read; null is `nullable: true`")
            if value in ("null", "drop"):
                raise fault(f"{value!r} is the name of a rule", i, mend="rename the value; null is `nullable: true`")
            if (other := seen.setdefault(str(value).strip(), i)) != i:
                raise fault(f"{value!r} stands twice, blanks aside (item {other})", i, mend="keep one of the two")
        return values

    @pydantic.model_validator(mode="after")
    def _whole(self) -> Categorical:
        if self.open:
            self._open()
            return self
        if self.other is not None:
            raise fault("`other` is of open columns", "other", mend="remove it, or write `open: true`")
        if not self.values and not self.dropped:
            raise fault(
                "no values", "values", mend="`values: [...]` or `values from: FILE`, a public list, not the data's"
            )
        if self.outside not in (None, "null", "drop", *self.values):
            raise fault(f"{self.outside!r} is not known", "outside", mend="null, drop or one of the values")
        _null_needs_nullable(self, self.outside)
        return self

    def _open(self) -> None:
        """Refuse what an open column cannot say."""
        if self.values:
            raise fault("both a list of values and `open: true`", "open", mend="keep one of the two")
        if self.ordered:
            raise fault("an open column has no order", "ordered", mend="remove it, or list the values")
        if self.outside not in (None, "null", "drop"):
            raise fault(f"{self.outside!r} is not known", "outside", mend="null or drop; `other` names the rest")
        _null_needs_nullable(self, self.outside)
        if why := unfit(self.rest, breaks="\t\n"):
            raise fault(f"{self.rest[:40]!r} {why}", "other", mend="a text that people can read")
        if self.rest in ("null", "drop"):
            raise fault(f"{self.rest!r} is the name of a rule", "other", mend="another text")


class _Bounded(_Column):
    """A column with public bounds. ``outside``: clip (default), null or drop. ``cells``: where nothing else
    gives them, they are ``learned`` under payment (default), or ``equal`` in width and public."""

    outside: Outside = "clip"
    cells: Literal["learned", "equal"] = "learned"

    @pydantic.model_validator(mode="after")
    def _null_rule(self) -> _Bounded:
        _null_needs_nullable(self, self.outside)
        return self


def _edges(bins: tuple[float, ...] | None, cells: str, low: float, high: float) -> None:
    if low >= high:
        raise fault("`min` must be below `max`", "max", mend="swap them, or declare the one value as categorical")
    if bins is not None:
        if cells == "equal":
            raise fault("both `bins` and `cells: equal`", "cells", mend="keep one of the two")
        if not bins or any(b <= a for a, b in pairwise(bins)):
            raise fault("`bins` are inner edges and must increase", "bins", mend="for example [18, 40, 65]")
        if bins[0] <= low or bins[-1] > high:
            raise fault(
                "`bins` are inner edges: above `min`, at most `max`", "bins", mend="leave `min` out of the list"
            )
        if len(bins) >= MAX_VALUES:
            raise fault(f"at most {MAX_VALUES} bins", "bins", mend="make them coarser")


class Integer(_Bounded):
    """Whole numbers from ``min`` to ``max``, both included. ``bins`` are optional public inner edges:
    each starts a new cell. Without them every value is a cell if there are at most 256, else
    the cells are learned, or equal in width."""

    kind: Literal["integer"] = "integer"
    min: int
    max: int
    bins: tuple[int, ...] | None = None

    @pydantic.model_validator(mode="after")
    def _whole(self) -> Integer:
        for key, value in (("min", self.min), ("max", self.max)):
            if abs(value) > EXACT:
                raise fault("is beyond 2^53, so not exact", key, mend="a narrower bound, or kind real")
        _edges(self.bins, self.cells, self.min, self.max)
        return self


class Real(_Bounded):
    """Real numbers from ``min`` to ``max``. ``bins``: optional public inner edges; else the cells are learned,
    or equal in width.
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
        _edges(self.bins, self.cells, self.min, self.max)
        if not math.isfinite(self.max - self.min):
            raise fault("the bounds lie too far apart", "max", mend="bounds that values really have")
        for i, atom in enumerate(self.atoms):
            if not self.min <= atom <= self.max or atom in self.atoms[:i]:
                raise fault("`atoms` must be distinct and within the bounds", "atoms", i, mend="remove or correct it")
            if self.decimals is not None and round(atom, self.decimals) != atom:
                raise fault(f"has more than {self.decimals} decimals", "atoms", i, mend="round it, or raise `decimals`")
        return self


class Boolean(_Column):
    """true or false. ``outside``: what happens to anything else (null or drop)."""

    kind: Literal["boolean"] = "boolean"
    outside: Literal["null", "drop"] = "drop"

    @pydantic.model_validator(mode="after")
    def _whole(self) -> Boolean:
        _null_needs_nullable(self, self.outside)
        return self


class Date(_Bounded):
    """Calendar days from ``min`` to ``max``, both included."""

    kind: Literal["date"] = "date"
    min: Day
    max: Day
    bins: tuple[Day, ...] | None = None

    @pydantic.model_validator(mode="after")
    def _whole(self) -> Date:
        bins = None if self.bins is None else tuple(float(d.toordinal()) for d in self.bins)
        _edges(bins, self.cells, self.min.toordinal(), self.max.toordinal())
        return self


class Datetime(_Bounded):
    """Moments from ``min`` to ``max``, both included, without time zone, to the second."""

    kind: Literal["datetime"] = "datetime"
    min: Moment
    max: Moment

    @pydantic.model_validator(mode="after")
    def _whole(self) -> Datetime:
        if self.min >= self.max:
            raise fault("`min` must be below `max`", "max", mend="swap them")
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
            raise fault("free text cannot be learned", "kind", mend="add `dropped: true`, or make it categorical")
        return self


THERE = "there"
"""What stands in a table for a picture that may be missing and is not."""


class Image(_Column):
    """A picture of ``size`` (width and height in pixels), grey (``L``) or in colours (``RGB``). ``fit``: how one of
    another shape is brought to it: ``crop`` to its middle, ``pad`` with black, or ``stretch``. ``outside``: what
    happens to a row whose picture cannot be read: null where the column is nullable, else drop.

    No table is made of it (:attr:`Schema.pictures`), but of one that may be missing whether it is there."""

    kind: Literal["image"] = "image"
    size: tuple[Annotated[int, pydantic.Field(ge=1, le=4096)], Annotated[int, pydantic.Field(ge=1, le=4096)]]
    mode: Literal["L", "RGB"] = "L"
    fit: Literal["crop", "pad", "stretch"] = "crop"
    outside: Literal["null", "drop"] | None = None

    @property
    def learned(self) -> bool:
        """Never as a column of a table."""
        return False

    @property
    def unreadable(self) -> Literal["null", "drop"]:
        """What happens to a row whose picture cannot be read."""
        return self.outside or ("null" if self.nullable else "drop")

    @pydantic.model_validator(mode="after")
    def _whole(self) -> Image:
        _null_needs_nullable(self, self.outside)
        return self


Column = Annotated[
    Categorical | Integer | Real | Boolean | Date | Datetime | Identifier | Text | Image,
    pydantic.Field(discriminator="kind"),
]
