"""What a schema says beyond single columns: who the subject is, and which rows cannot be."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pydantic

from privsynth.data.columns import Boolean, Categorical, Column, Date, Datetime, Integer, Real, Scalar, unfit
from privsynth.documents import Strict, fault

_ROWS = re.compile(r"([1-9][0-9]{0,5}) rows?\Z")


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
        if value is not None and not _ROWS.match(value):
            raise fault("is not a number of rows", mend="write it as `12 rows`, from 1 to 999999")
        return value

    @pydantic.field_validator("each_row_is_a")
    @classmethod
    def _word(cls, value: str | None) -> str | None:
        if value is not None and (why := unfit(value)):
            raise fault(why, mend="a word such as visit")
        return value

    @pydantic.model_validator(mode="after")
    def _one_form(self) -> Subject:
        forms = (self.column, self.at_most), (self.each_row_is_a, self.a_person_has_at_most)
        if [None not in form for form in forms].count(True) != 1 or sum(f != (None, None) for f in forms) != 1:
            raise fault(
                "is neither of its two forms",
                mend="`{column: id, at most: 12 rows}` or `{each row is a: visit, a person has at most: 5 rows}`",
            )
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
    def parse(cls, text: str, *at: str | int) -> Order:
        """``admitted <= discharged``; a fault names the place ``at``."""
        match = re.fullmatch(r"\s*(.+?)\s*(<=|<)\s*(.+?)\s*", text)
        if not match:
            raise fault(f"{text!r} is no order", *at, mend="write it as `first <= second` or `first < second`")
        return cls(match[1], match[3], match[2] == "<")


@dataclass(frozen=True)
class Sum:
    """``total = a + b``: the left column is computed from the parts, and never learned."""

    left: str
    parts: tuple[str, ...]

    @classmethod
    def parse(cls, text: str, *at: str | int) -> Sum:
        """``total = a + b``; a fault names the place ``at``."""
        left, sign, right = (part.strip() for part in text.partition("="))
        parts = tuple(part.strip() for part in right.split("+"))
        if not sign or not left or len(parts) < 2 or not all(parts):
            raise fault(f"{text!r} is no sum", *at, mend="write it as `total = first + second`")
        return cls(left, parts)


class Determines(Strict):
    """``rule``: ``zip -> state``, the right column computed from the left one, and never learned. ``map``: the
    public value of the right column for each value of the left one; without it a fit pays to learn them."""

    rule: str
    map: tuple[tuple[str, str], ...] | None = None

    @property
    def left(self) -> str:
        """The column that determines."""
        return self.rule.partition("->")[0].strip()

    @property
    def right(self) -> str:
        """The column that is determined."""
        return self.rule.partition("->")[2].strip()


def check_sums(sums: Sequence[str], columns: Mapping[str, Column]) -> None:
    """Refuse sums of what is no number, and of what is a sum itself."""
    parsed = [Sum.parse(text, "sums", i) for i, text in enumerate(sums)]
    lefts = [rule.left for rule in parsed]
    for i, rule in enumerate(parsed):
        at = ("sums", i)
        named = [_learned(name, columns, *at) for name in (rule.left, *rule.parts)]
        if len(set(rule.parts)) < len(rule.parts) or rule.left in rule.parts or lefts.count(rule.left) > 1:
            raise fault("a column stands twice", *at, mend="one line for each total, each part once")
        if clash := next((name for name in rule.parts if name in lefts), None):
            raise fault(f"{clash!r} is itself a sum", *at, mend="write its parts instead")
        if any(not isinstance(c, Integer | Real) for c in named):
            raise fault("only numbers can be added", *at, mend="integer and real columns")
        left, parts = named[0], named[1:]
        if isinstance(left, Integer) and any(isinstance(c, Real) for c in parts):
            raise fault("a whole number cannot be a sum of others", *at, mend=f"declare {rule.left!r} as real")
        if not left.nullable and any(c.nullable for c in parts):
            raise fault("a part may be null and the sum not", *at, mend=f"declare `nullable: true` for {rule.left!r}")


def check_determined(rules: Sequence[Determines], columns: Mapping[str, Column], sums: Sequence[str]) -> None:
    """Refuse dependencies between what has no list of values, circles, and maps with gaps."""
    taken = [Sum.parse(text).left for text in sums]
    rights = [rule.right for rule in rules]
    for i, rule in enumerate(rules):
        at = ("determines", i)
        if rule.rule.count("->") != 1 or not rule.left or not rule.right:
            raise fault(f"{rule.rule!r} is no dependency", *at, "rule", mend="write it as `zip -> state`")
        left, right = (_learned(name, columns, *at, "rule") for name in (rule.left, rule.right))
        if rule.right in taken or rights.count(rule.right) > 1 or rule.left == rule.right:
            raise fault(f"{rule.right!r} is computed twice", *at, "rule", mend="one rule for each computed column")
        if rule.left in rights or rule.left in taken:
            raise fault(f"{rule.left!r} is computed itself", *at, "rule", mend="name the column that determines it")
        if not isinstance(left, Categorical | Boolean):
            raise fault(f"{rule.left!r} has no list of values", *at, "rule", mend="a categorical or boolean column")
        if not isinstance(right, Categorical | Boolean) or (isinstance(right, Categorical) and right.open):
            raise fault(f"{rule.right!r} has no public list", *at, "rule", mend="list its values, or drop the rule")
        if rule.map is not None:
            _check_map(rule, left, right, *at)


def _check_map(rule: Determines, left: Categorical | Boolean, right: Categorical | Boolean, *at: str | int) -> None:
    if isinstance(left, Categorical) and left.open:
        raise fault(f"{rule.left!r} is open, so no map is whole", *at, mend="leave the map out, or list its values")
    known, values = ({text_of(v) for v in listed(c)} for c in (left, right))
    given = [pair[0] for pair in rule.map or ()]
    if missing := sorted(known - set(given)):
        raise fault(f"the map has no line for {missing[0]!r}", *at, mend="one line for each value")
    if len(set(given)) < len(given):
        raise fault("the map names a value twice", *at, mend="one line for each value")
    if wrong := next((b for _, b in rule.map or () if b not in values), None):
        raise fault(f"{wrong!r} is no value of {rule.right!r}", *at, mend="a value of its public list")
    if left.nullable and not right.nullable:
        raise fault(
            f"{rule.left!r} may be null and {rule.right!r} not", *at, mend="declare `nullable: true` for the latter"
        )


def listed(column: Column) -> tuple[Scalar, ...]:
    """The public values of a categorical or boolean column, in the order of its cells."""
    return column.values if isinstance(column, Categorical) else (False, True)


def text_of(value: Scalar) -> str:
    """A value as a map's file writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def check_never(rule: Mapping[str, Scalar | None], columns: Mapping[str, Column], place: int) -> None:
    """Refuse a structural zero that names what no row can hold."""
    at = ("never", place)
    if len(rule) < 2:
        raise fault("needs at least two columns", *at, mend="shrink the domain of a single column instead")
    for name, value in rule.items():
        column = _learned(name, columns, *at)
        known: Sequence[Scalar] | range
        match column:
            case Categorical(open=True):
                raise fault(
                    f"{name!r} is open: no value of it is public", *at, name, mend="list its values, or remove the rule"
                )
            case Categorical(values=values):
                known = values
            case Boolean():
                known = (False, True)
            case Integer(min=low, max=high):
                known = range(low, high + 1)
            case _:
                raise fault(
                    f"{name!r} is of kind {column.kind}",
                    *at,
                    name,
                    mend="categorical, boolean and integer columns only",
                )
        if value is None and not column.nullable:
            raise fault(f"{name!r} is never null", *at, name, mend="remove the rule, or declare `nullable: true`")
        sample = known[0]
        same_type = isinstance(value, str) == isinstance(sample, str) and isinstance(value, bool) == isinstance(
            sample, bool
        )
        if value is not None and (not same_type or isinstance(value, float) or value not in known):
            raise fault(f"{value!r} is no value of {name!r}", *at, name, mend="a value of its public domain")


def check_orders(orders: Sequence[str], columns: Mapping[str, Column]) -> None:
    """Refuse orders between what cannot be compared."""
    for i, text in enumerate(orders):
        order = Order.parse(text, "order", i)
        pair = [_learned(name, columns, "order", i) for name in (order.left, order.right)]
        if any(not isinstance(c, Integer | Real | Date | Datetime) for c in pair):
            raise fault("only numbers and days have an order", "order", i, mend="remove it")
        if pair[0].kind != pair[1].kind and not {c.kind for c in pair} <= {"integer", "real"}:
            raise fault("the two columns are of different kinds", "order", i, mend="two numbers, or two days")


def _learned(name: str, columns: Mapping[str, Column], *at: str | int) -> Column:
    column = columns.get(name)
    if column is None or not column.learned:
        raise fault(f"{name!r} is not a learned column of the schema", *at, mend="spell it as under `columns`")
    return column
