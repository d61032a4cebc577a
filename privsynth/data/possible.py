"""Whether some row can keep all rules of a schema together, as far as its declared domains alone can show.

Rules fall into parts that share no column; there is a row if each part has one. In each part a search looks for
values that break no ``never`` line: of a column only those sets of values are told apart that the lines tell apart.
What it leaves open of numbers and days is narrowed by ``order`` and ``sums`` (:func:`_narrowed`); where nothing is
left of a column, another choice is looked for, and where there is none the part has no row.

*Sound:* what some row can keep is never refused. A null passes an order and makes its sum null; floats are given
room for their rounding.

*Seen:* ``never`` lines that cover every combination, also through a public map of ``determines``; circles of orders
and sums (``t < a`` beside ``t = a + b`` with b from 0) and bounds that these push past each other, whatever
``never`` leaves open.

*Not seen:* maps that a fit learns; gaps inside a range, which ``never`` cuts or ``decimals`` leave; sums of which
more than :data:`PASSES` rounds would be needed to leave nothing; and what would take more than :data:`LOOKS` looks
at a line, a second or two.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from privsynth.data.columns import Column, Date, Datetime, Integer, Real, Scalar
from privsynth.data.rules import Determines, Order, Sum, listed, text_of
from privsynth.documents import fault

PASSES = 20
LOOKS = 300_000

Value = Scalar | None
Values = frozenset[Value]
At = tuple[str | int, ...]
Number = int | float

_SPREAD = 1e-12  # of the bounds of a sum: more than the rounding of its floats
_GRID = 2.0**51  # numbers of so many steps are floats on their grid of decimals


def check_possible(
    never: Sequence[Mapping[str, Value]],
    orders: Sequence[str],
    sums: Sequence[str],
    determines: Sequence[Determines],
    columns: Mapping[str, Column],
) -> None:
    """Refuse rules, each of them well formed, that no row can keep together."""
    told = [_undetermined(rule, determines, columns) for rule in never]
    for part in _parts(told, [Order.parse(text) for text in orders], [Sum.parse(text) for text in sums], columns):
        if at := _narrowed(part.ends({}), part):
            raise fault("no row can satisfy it", *at, mend="widen the bounds, turn it round or remove it")
        if not part.has_row():
            names = ", ".join(part.cells)
            raise fault(
                f"no row is left: the lines on {names} rule out every combination that the other rules allow",
                "never",
                mend="remove a line, or widen a domain",
            )


def _undetermined(
    rule: Mapping[str, Value], determines: Sequence[Determines], columns: Mapping[str, Column]
) -> Mapping[str, Values]:
    """The line, with values of a column that a public map determines told as those that determine them."""
    by = {d.right: d for d in determines if d.map is not None}
    out: dict[str, Values] = {}
    for name, value in rule.items():
        values: Values = frozenset([value])
        if name in by:
            name, known = by[name].left, dict(by[name].map or ())
            if value is not None:
                values = frozenset(v for v in listed(columns[name]) if known[text_of(v)] == text_of(value))
        out[name] = out.get(name, values) & values
    return out


@dataclass(frozen=True)
class _Cell:
    """Values of a column that no line tells apart: some that lines name, or all but those."""

    values: Values
    all_but: Values | None = None


@dataclass(frozen=True)
class _Ends:
    """What is left of a column of numbers or days: its least and greatest value, and whether it may be null."""

    low: Number
    high: Number
    null: bool


Left = Mapping[str, frozenset[int]]
"""By column which of its cells are left; those of a column that is not named are all."""


@dataclass(frozen=True)
class _Part:
    """Rules that hang together; orders and sums with their places in the schema."""

    never: tuple[Mapping[str, Values], ...]
    orders: tuple[tuple[At, Order], ...]
    sums: tuple[tuple[At, Sum], ...]
    columns: Mapping[str, Column]

    @cached_property
    def cells(self) -> dict[str, tuple[_Cell, ...]]:
        """Of each column of a ``never`` line what the lines tell apart."""
        names = dict.fromkeys(name for rule in self.never for name in rule)
        return {
            name: _told_apart(self.columns[name], [rule[name] for rule in self.never if name in rule]) for name in names
        }

    def has_row(self) -> bool:
        """Whether some choice of cells breaks no line and leaves something of each column, or the search is given up.

        Of the lines that can still be broken the one with the fewest columns to decide is split: one column is
        outside of what the line names, or inside."""
        cells = self.cells
        lines = [
            {name: frozenset(i for i, cell in enumerate(cells[name]) if cell.values & v) for name, v in rule.items()}
            for rule in self.never
        ]
        states: list[tuple[Left, list[dict[str, frozenset[int]]]]] = [
            ({name: frozenset(range(len(held))) for name, held in cells.items()}, lines)
        ]
        looks = 0
        while states:
            left, known = states.pop()
            looks += len(known) + PASSES * (len(self.orders) + len(self.sums)) + 1
            if looks > LOOKS:
                return True
            known = [line for line in known if all(left[name] & held for name, held in line.items())]
            undecided = [[name for name, held in line.items() if not left[name] <= held] for line in known]
            if not all(undecided) or _narrowed(self.ends(left), self):
                continue
            if not known:
                return True
            names, line = min(zip(undecided, known, strict=True), key=lambda pair: len(pair[0]))
            name = names[0]
            inside = [left[name] & line[name]] if len(names) > 1 else []
            states += [({**left, name: some}, known) for some in (*inside, left[name] - line[name])]
        return False

    def ends(self, left: Left) -> dict[str, _Ends]:
        """What is left of each column of an order or a sum."""
        names = dict.fromkeys([n for _, o in self.orders for n in (o.left, o.right)])
        names |= dict.fromkeys([n for _, s in self.sums for n in (s.left, *s.parts)])
        out = {
            name: _left_of(self.columns[name], [self.cells[name][i] for i in left[name]] if name in left else None)
            for name in names
        }
        for _, rule in self.sums:  # a total is null where a part is
            if not any(out[part].null for part in rule.parts):
                out[rule.left] = _Ends(out[rule.left].low, out[rule.left].high, null=False)
        return out


def _parts(
    never: Sequence[Mapping[str, Values]],
    orders: Sequence[Order],
    sums: Sequence[Sum],
    columns: Mapping[str, Column],
) -> Iterator[_Part]:
    lines: list[tuple[str, int, set[str]]] = [
        *(("never", i, set(rule)) for i, rule in enumerate(never)),
        *(("order", i, {rule.left, rule.right}) for i, rule in enumerate(orders)),
        *(("sums", i, {rule.left, *rule.parts}) for i, rule in enumerate(sums)),
    ]
    parts: list[tuple[set[str], list[tuple[str, int]]]] = []
    for key, i, names in lines:
        met = [part for part in parts if part[0] & names]
        parts = [part for part in parts if not part[0] & names]
        parts.append((names.union(*(part[0] for part in met)), [line for part in met for line in part[1]] + [(key, i)]))
    for _, held in parts:
        yield _Part(
            tuple(never[i] for key, i in held if key == "never"),
            tuple(((key, i), orders[i]) for key, i in held if key == "order"),
            tuple(((key, i), sums[i]) for key, i in held if key == "sums"),
            columns,
        )


def _told_apart(column: Column, named: Sequence[Values]) -> tuple[_Cell, ...]:
    """Values that stand in the same lines together, then all that stand in none."""
    together: dict[tuple[bool, ...], set[Value]] = {}
    every = frozenset[Value]().union(*named)
    for value in every:
        together.setdefault(tuple(value in values for values in named), set()).add(value)
    size = column.max - column.min + 1 if isinstance(column, Integer) else len(listed(column))
    some = [_Cell(frozenset(values)) for values in together.values()]
    return (*some, *([_Cell(frozenset(), every)] if size + column.nullable > len(every) else []))


def _left_of(column: Column, cells: Sequence[_Cell] | None) -> _Ends:
    """The ends of these cells; None: of the whole column."""
    low, high = _declared(column)
    if cells is None:
        return _Ends(low, high, column.nullable)
    least, most, null = [], [], False
    for cell in cells:
        values = sorted(v for v in cell.values if isinstance(v, int))
        null |= None in cell.values
        if cell.all_but is not None:
            null |= column.nullable and None not in cell.all_but
            first, last = low, high
            while first in cell.all_but:
                first += 1
            while last in cell.all_but:
                last -= 1
            values = [first, last] if first <= last else []
        least += values[:1]
        most += values[-1:]
    return _Ends(min(least, default=math.inf), max(most, default=-math.inf), null)


def _declared(column: Column) -> tuple[Any, Any]:
    match column:
        case Integer(min=low, max=high) | Real(min=low, max=high):
            return low, high
        case Date(min=first, max=last):
            return first.toordinal(), last.toordinal()
        case Datetime(min=first, max=last):
            return int((first - first.min).total_seconds()), int((last - last.min).total_seconds())
        case _:
            return -math.inf, math.inf


# --- orders and sums -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Edge:
    """``right`` is at least ``left`` + ``step``, or where that is None at least the next float."""

    left: str
    right: str
    step: Number | None
    at: At

    def up(self, value: Number) -> Number:
        return math.nextafter(value, math.inf) if self.step is None else value + self.step

    def down(self, value: Number) -> Number:
        return math.nextafter(value, -math.inf) if self.step is None else value - self.step


def _narrowed(ends: Mapping[str, _Ends], part: _Part) -> At:
    """The line that leaves nothing of a column, or nothing.

    With the other parts of a sum held at their ends every rule says that one column is at least another plus a
    step. Such rules come to rest within as many turns as there are columns, or there is a circle of them that
    nothing can keep (Bellman 1958). Then the sums are looked at again with the new ends."""
    columns = part.columns
    low, high = {n: e.low for n, e in ends.items()}, {n: e.high for n, e in ends.items()}
    fixed = [
        _Edge(o.left, o.right, _step(o, columns), at)
        for at, o in part.orders
        if not ends[o.left].null and not ends[o.right].null
    ]
    sums = [(at, rule) for at, rule in part.sums if not any(ends[p].null for p in rule.parts)]
    for _ in range(PASSES):
        before = low.copy(), high.copy()
        edges = [*fixed, *(edge for at, rule in sums for edge in _of_sum(at, rule, columns, low, high))]
        for _ in range(len(ends) + 1):
            moved: At = ()
            for edge in edges:
                least, most = edge.up(low[edge.left]), edge.down(high[edge.right])
                if least > low[edge.right] or most < high[edge.left]:
                    moved = edge.at
                low[edge.right], high[edge.left] = max(low[edge.right], least), min(high[edge.left], most)
                if low[edge.right] > high[edge.right] or low[edge.left] > high[edge.left]:
                    return edge.at
            if not moved:
                break
        else:
            return moved
        for edge in edges:
            for name in (edge.left, edge.right):
                if not isinstance(columns[name], Real):
                    low[name], high[name] = math.ceil(low[name]), math.floor(high[name])
                if low[name] > high[name]:
                    return edge.at
        if (low, high) == before:
            break
    return ()


def _step(order: Order, columns: Mapping[str, Column]) -> Number | None:
    if not order.strict:
        return 0
    return None if any(isinstance(columns[name], Real) for name in (order.left, order.right)) else 1


def _of_sum(
    at: At, rule: Sum, columns: Mapping[str, Column], low: Mapping[str, Number], high: Mapping[str, Number]
) -> Iterator[_Edge]:
    """What a sum of parts that are not null says of the total and each part, the others at their ends."""
    total = columns[rule.left]
    decimals = total.decimals if isinstance(total, Real) else None
    held = _grid(total)
    exact = {p: decimals is None or (held is not None and _on_grid(columns[p], held)) for p in rule.parts}
    room: Number = 0
    if isinstance(total, Real):
        room = _SPREAD * sum(max(abs(low[n]), abs(high[n])) for n in (rule.left, *rule.parts))
        if decimals is not None and not all(exact.values()):
            room += 0.5 * 10.0**-decimals
    for part in rule.parts:
        others = [name for name in rule.parts if name != part]
        least, most = [low[name] for name in others], [high[name] for name in others]
        up, down = sum(least) - room, -sum(most) - room
        if exact[part]:  # then a sum is no less than what nothing below 0 is added to, also of floats
            up, down = max(up, 0) if min(least) >= 0 else up, max(down, 0) if max(most) <= 0 else down
        yield _Edge(part, rule.left, up, at)
        yield _Edge(rule.left, part, down, at)


def _grid(column: Column) -> int | None:
    """To how many decimals every value that is drawn of a column is a number; None where that is not sure."""
    if isinstance(column, Integer):
        return 0
    if not isinstance(column, Real) or column.decimals is None:
        return None
    scale = 10.0**column.decimals
    fine = max(abs(column.min), abs(column.max)) * scale < _GRID and (column.max - column.min) * scale > 1.001
    return column.decimals if fine else None


def _on_grid(column: Column, decimals: int) -> bool:
    own = _grid(column)
    return own is not None and own <= decimals
