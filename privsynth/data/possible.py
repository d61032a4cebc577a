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
at a line or a value, about a second.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import Any

from privsynth.data.columns import Column, Date, Datetime, Integer, Real, Scalar
from privsynth.data.rules import Determines, Order, Sum, listed, text_of
from privsynth.documents import fault

PASSES = 20
LOOKS = 500_000

Value = Scalar | None
Values = frozenset[Value]
At = tuple[str | int, ...]
Number = int | float

_SPREAD = 1e-12  # of the bounds of a sum: more than the rounding of its floats
_GRID = 2.0**51  # numbers of so many steps are floats on their grid of decimals


@dataclass
class _Looks:
    """How many looks are left until a search is given up."""

    left: int


def check_possible(
    never: Sequence[Mapping[str, Value]],
    orders: Sequence[str],
    sums: Sequence[str],
    determines: Sequence[Determines],
    columns: Mapping[str, Column],
) -> None:
    """Refuse rules, each of them well formed, that no row can keep together."""
    told = [line for line in _undetermined(never, determines, columns) if all(line.values())]
    parts = _parts(told, [Order.parse(text) for text in orders], [Sum.parse(text) for text in sums], columns)
    looks = _Looks(LOOKS)
    for part in parts:
        if at := _narrowed(part.ends(part.every), part, looks):
            turn = at[0] == "order"
            mend = (
                "widen the bounds, turn it round or remove it" if turn else "widen the bounds of the sum or its parts"
            )
            raise fault("no row can satisfy it", *at, mend=mend)
    for part in sorted(parts, key=lambda part: len(part.never)):
        if not part.has_row(looks):
            names = ", ".join(part.cells)
            raise fault(
                f"no row is left: the lines on {names} rule out every combination that the other rules allow",
                "never",
                mend="remove a line, or widen a domain",
            )


def _undetermined(
    never: Sequence[Mapping[str, Value]], determines: Sequence[Determines], columns: Mapping[str, Column]
) -> Iterator[Mapping[str, Values]]:
    """The lines, with values of a column that a public map determines told as those that determine them."""
    by: dict[str, tuple[str, dict[str, Values]]] = {}
    for rule in determines:
        if rule.map is not None:
            known, left = dict(rule.map), columns[rule.left]
            sources: dict[str, list[Value]] = {}
            for source in listed(left):
                sources.setdefault(known[text_of(source)], []).append(source)
            by[rule.right] = rule.left, {text: frozenset(values) for text, values in sources.items()}
    for line in never:
        out: dict[str, Values] = {}
        for name, value in line.items():
            values: Values = frozenset([value])
            if name in by:
                name, sourced = by[name]
                if value is not None:
                    values = sourced.get(text_of(value), frozenset())
                elif not columns[name].nullable:
                    values = frozenset()
            out[name] = out[name] & values if name in out else values
        yield out


@dataclass(frozen=True)
class _Ends:
    """The least and the greatest of some numbers or days, and whether null is among them."""

    low: Number
    high: Number
    null: bool


@dataclass(frozen=True)
class _Cells:
    """What the lines tell apart of a column: of each cell its ends, and of the values of each line their cells."""

    ends: tuple[_Ends, ...]
    of: Mapping[Values, frozenset[int]]


Left = Mapping[str, frozenset[int]]
"""By column which of its cells are left."""


@dataclass(frozen=True)
class _Part:
    """Rules that hang together; orders and sums with their places in the schema, orders from the least column up."""

    never: tuple[Mapping[str, Values], ...]
    orders: tuple[tuple[At, Order], ...]
    sums: tuple[tuple[At, Sum], ...]
    columns: Mapping[str, Column]

    @cached_property
    def cells(self) -> dict[str, _Cells]:
        """Of each column of a ``never`` line what the lines tell apart."""
        named: dict[str, list[Values]] = {}
        for rule in self.never:
            for name, values in rule.items():
                named.setdefault(name, []).append(values)
        return {name: _told_apart(self.columns[name], values) for name, values in named.items()}

    @cached_property
    def every(self) -> Left:
        """All cells."""
        return {name: frozenset(range(len(cells.ends))) for name, cells in self.cells.items()}

    @cached_property
    def whole(self) -> dict[str, _Ends]:
        """The ends of each column of an order or a sum, as declared."""
        names = dict.fromkeys([n for _, o in self.orders for n in (o.left, o.right)])
        names |= dict.fromkeys([n for _, s in self.sums for n in (s.left, *s.parts)])
        return {name: _Ends(*_declared(self.columns[name]), self.columns[name].nullable) for name in names}

    @cached_property
    def edges(self) -> tuple[_Edge, ...]:
        """What the orders say."""
        return tuple(_Edge(o.left, o.right, _step(o, self.columns), at) for at, o in self.orders)

    def has_row(self, looks: _Looks) -> bool:
        """Whether some choice of cells breaks no line and leaves something of each column, or the search is given up.

        Of the lines that can still be broken the one with the fewest columns to decide is split: one column is
        outside of what the line names, or inside."""
        lines = [{name: self.cells[name].of[values] for name, values in rule.items()} for rule in self.never]
        states: list[tuple[Left, list[dict[str, frozenset[int]]]]] = [(self.every, lines)]
        while states:
            left, known = states.pop()
            looks.left -= len(known) + sum(len(left[name]) for name in self.whole.keys() & left.keys()) + 1
            if looks.left < 0:
                return True
            known = [line for line in known if not any(left[name].isdisjoint(held) for name, held in line.items())]
            undecided = [[name for name, held in line.items() if not left[name] <= held] for line in known]
            if not all(undecided) or _narrowed(self.ends(left), self, looks):
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
        out = self.whole.copy()
        for name in out.keys() & left.keys():
            if len(left[name]) == len(self.every[name]):
                continue
            some = [self.cells[name].ends[i] for i in left[name]]
            out[name] = _Ends(min(e.low for e in some), max(e.high for e in some), any(e.null for e in some))
        for _, rule in self.sums:  # a total is null where a part is
            if not any(out[part].null for part in rule.parts):
                out[rule.left] = _Ends(out[rule.left].low, out[rule.left].high, null=False)
        return out


def _parts(
    never: Sequence[Mapping[str, Values]],
    orders: Sequence[Order],
    sums: Sequence[Sum],
    columns: Mapping[str, Column],
) -> list[_Part]:
    lines = [tuple(rule) for rule in never] + [(o.left, o.right) for o in orders] + [(s.left, *s.parts) for s in sums]
    home: dict[str, set[str]] = {}  # of each column those that hang together with it
    for names in lines:
        joined = max((home.setdefault(name, {name}) for name in names), key=len)
        for name in names:
            if (other := home[name]) is not joined:
                joined |= other
                home |= dict.fromkeys(other, joined)
    parts: dict[int, tuple[list[Mapping[str, Values]], list[tuple[At, Order]], list[tuple[At, Sum]]]] = {
        id(joined): ([], [], []) for joined in home.values()
    }
    for rule in never:
        parts[id(home[next(iter(rule))])][0].append(rule)
    for place in _in_turn(orders):
        parts[id(home[orders[place].left])][1].append((("order", place), orders[place]))
    for place, total in enumerate(sums):
        parts[id(home[total.left])][2].append((("sums", place), total))
    return [_Part(tuple(held), tuple(order), tuple(total), columns) for held, order, total in parts.values()]


def _in_turn(orders: Sequence[Order]) -> list[int]:
    """Their places, from the least column up as far as they make no circle: so few turns bring them to rest."""
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for order in orders:
        sorter.add(order.right, order.left)
    with suppress(CycleError):
        sorter.prepare()
    rank: dict[str, int] = {}
    while ready := sorter.get_ready():
        rank |= dict.fromkeys(ready, len(rank))
        sorter.done(*ready)
    return sorted(range(len(orders)), key=lambda place: rank.get(orders[place].left, len(rank)))


def _told_apart(column: Column, named: Sequence[Values]) -> _Cells:
    """Values that stand in the same lines are a cell together, and so are all that stand in none."""
    distinct = list(dict.fromkeys(named))
    stands: dict[Value, list[int]] = {}
    for i, values in enumerate(distinct):
        for value in values:
            stands.setdefault(value, []).append(i)
    together: dict[tuple[int, ...], list[Value]] = {}
    for value, places in stands.items():
        together.setdefault(tuple(places), []).append(value)
    cells: list[set[int]] = [set() for _ in distinct]
    for cell, alike in enumerate(together):
        for i in alike:
            cells[i].add(cell)
    ends = [_ends(values) for values in together.values()]
    size = column.max - column.min + 1 if isinstance(column, Integer) else len(listed(column))
    if size + column.nullable > len(stands):
        low, high = _declared(column)
        while low in stands:
            low += 1
        while high in stands:
            high -= 1
        ends.append(_Ends(low, high, column.nullable and None not in stands))
    return _Cells(tuple(ends), dict(zip(distinct, map(frozenset, cells), strict=True)))


def _ends(values: Sequence[Value]) -> _Ends:
    numbers = [v for v in values if isinstance(v, int)]
    return _Ends(min(numbers, default=math.inf), max(numbers, default=-math.inf), None in values)


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


def _narrowed(ends: Mapping[str, _Ends], part: _Part, looks: _Looks) -> At:
    """The line that leaves nothing of a column, or nothing.

    With the other parts of a sum held at their ends every rule says that one column is at least another plus a
    step. Such rules come to rest within as many turns as there are columns, or there is a circle of them that
    nothing can keep (Bellman 1958). Then the sums are looked at again with the new ends."""
    columns = part.columns
    low, high = {n: e.low for n, e in ends.items()}, {n: e.high for n, e in ends.items()}
    fixed = [edge for edge in part.edges if not ends[edge.left].null and not ends[edge.right].null]
    sums = [(at, rule) for at, rule in part.sums if not any(ends[p].null for p in rule.parts)]
    looks.left -= len(ends)
    for _ in range(PASSES):
        before = low.copy(), high.copy()
        edges = [*fixed, *(edge for at, rule in sums for edge in _of_sum(at, rule, columns, low, high))]
        for _ in range(len(ends) + 1):
            looks.left -= 2 * len(edges)
            moved: At = ()
            for edge in edges:
                if (least := edge.up(low[edge.left])) > low[edge.right]:
                    low[edge.right], moved = least, edge.at
                if low[edge.right] > high[edge.right] or low[edge.left] > high[edge.left]:
                    return edge.at
            for edge in reversed(edges):
                if (most := edge.down(high[edge.right])) < high[edge.left]:
                    high[edge.left], moved = most, edge.at
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
