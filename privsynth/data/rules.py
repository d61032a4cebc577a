"""What a schema says beyond single columns: who the subject is, and which rows cannot be."""

from __future__ import annotations

import math
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


def check_never(rule: Mapping[str, Scalar | None], columns: Mapping[str, Column], place: int) -> None:
    """Refuse a structural zero that names what no row can hold."""
    at = ("never", place)
    if len(rule) < 2:
        raise fault("needs at least two columns", *at, mend="shrink the domain of a single column instead")
    for name, value in rule.items():
        column = _learned(name, columns, *at)
        known: Sequence[Scalar] | range
        match column:
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
    """Refuse orders between what cannot be compared, and orders that no row of the domains can satisfy."""
    parsed = [Order.parse(text, "order", i) for i, text in enumerate(orders)]
    low: dict[str, float] = {}
    for i, order in enumerate(parsed):
        pair = [_learned(name, columns, "order", i) for name in (order.left, order.right)]
        if any(not isinstance(c, Integer | Real | Date | Datetime) for c in pair):
            raise fault("only numbers and days have an order", "order", i, mend="remove it")
        if pair[0].kind != pair[1].kind and not {c.kind for c in pair} <= {"integer", "real"}:
            raise fault("the two columns are of different kinds", "order", i, mend="two numbers, or two days")
        low |= {order.left: _ends(pair[0])[0], order.right: _ends(pair[1])[0]}
    # Push each column's least value up along the orders. Without a circle that holds a `<` this comes to rest
    # within as many rounds as there are columns; with one it never does.
    for turn in range(len(low) + 1):
        for i, order in enumerate(parsed):
            least = low[order.left]
            if order.strict:
                fine = isinstance(columns[order.right], Real)
                least = math.nextafter(least, math.inf) if fine else math.floor(least) + 1.0
            if least > _ends(columns[order.right])[1] or (least > low[order.right] and turn == len(low)):
                raise fault("no row can satisfy it", "order", i, mend="widen the bounds, turn it round or remove it")
            low[order.right] = max(low[order.right], least)


def _learned(name: str, columns: Mapping[str, Column], *at: str | int) -> Column:
    column = columns.get(name)
    if column is None or not column.learned:
        raise fault(f"{name!r} is not a learned column of the schema", *at, mend="spell it as under `columns`")
    return column


def _ends(column: Column) -> tuple[float, float]:
    match column:
        case Integer(min=low, max=high) | Real(min=low, max=high):
            return float(low), float(high)
        case Date(min=first, max=last):
            return float(first.toordinal()), float(last.toordinal())
        case Datetime(min=first, max=last):
            return (first - first.min).total_seconds(), (last - last.min).total_seconds()
        case _:
            return -math.inf, math.inf
