"""Paid domains: cells of numbers and dates by an adaptive grid tree, open categories by a threshold.

A *level* of a column's tree is one histogram over disjoint stretches of its public grid, so a subject's at most
k rows move it by k in L2 at most: an event (k/σ)². Level 1 divides all of the range; each later one divides the
stretches whose noisy count stood out. What is divided, the merging and the atoms are functions of noisy counts.

A *vote* table counts subjects by category, of which a subject holds at most k: L2 at most √k, an event k/σ².
Only categories that occur are counted; a category is released if its noisy count reaches a threshold that one
that a single subject holds passes with probability at most δ (docs/proofs/open-categories.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from privsynth.data.codec import Learned, Listed, Ranged, coded_column
from privsynth.data.columns import Categorical, Date, Datetime, Integer, Real
from privsynth.data.learned import NOTHING
from privsynth.data.ranged import cells_are_learned, ranged_column
from privsynth.data.rules import Determines
from privsynth.data.schema import Schema
from privsynth.generators.marginals.purse import Purse
from privsynth.generators.marginals.transcript import DEPENDENCY, LEVEL, VOTES, Measurement
from privsynth.privacy.gdp import threshold_of
from privsynth.privacy.noise import dyadic_at_least, total_variation

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

DOMAIN_SHARE = 0.5
"""Of μ², where the domain of every column is learned; in proportion to how many are."""
MOST_VOTED = 2**32
"""More categories than a table that fits in memory can hold: for the bound on the sampler's error."""
MOST_CELLS = 100
MOST_CATEGORIES = 1000
BRANCHES = 32
FINEST = 2**30
"""Stretches into which a range without a grid of its own is divided at the deepest level."""
STANDS_OUT = 4.0
DIVIDE_ABOVE = 1 / 256
MOST_DIVIDED = 256
SMALL_SHARE = 1 / 200
SMALL_SIGMAS = 1.5
ALIKE_SIGMAS = 1.25
MASS_WEIGHT = 1 / 8


def learned_ranges(schema: Schema) -> tuple[str, ...]:
    """The columns whose cells a fit pays for."""
    return tuple(
        name
        for name, column in schema.modelled.items()
        if isinstance(column, Integer | Real | Date | Datetime) and cells_are_learned(column)
    )


def open_columns(schema: Schema) -> tuple[str, ...]:
    """The columns whose categories a fit pays for."""
    return tuple(name for name, c in schema.modelled.items() if isinstance(c, Categorical) and c.open)


def learned_maps(schema: Schema) -> dict[str, Determines]:
    """The determined columns for which the schema has no public map."""
    computed = schema.computed.items()
    return {name: rule for name, rule in computed if isinstance(rule, Determines) and rule.map is None}


def most_cells(schema: Schema, name: str) -> int | None:
    """The most cells that a fit can give a column, null included; None where they are public."""
    column = schema.modelled[name]
    null = 1 if column.nullable else 0
    if name in open_columns(schema):
        return MOST_CATEGORIES + 1 + null
    if name in learned_ranges(schema):
        return MOST_CELLS + 2 * len(column.atoms if isinstance(column, Real) else ()) + null
    return None


# --- what it costs -------------------------------------------------------------------------------


@dataclass(frozen=True)
class DomainAsk:
    """The domain of one column, to be bought.

    Attributes:
        column: its name; of a dependency the determined one.
        stage: ``level`` (a tree), ``votes`` or ``dependency``.
        tables: at most so many.
        cells: at most so many counts are drawn in all.
        sigma: of each table's noise.
    """

    column: str
    stage: str
    tables: int
    cells: int
    sigma: float

    def cost(self, contribution: int) -> Fraction:
        """Of one table, in μ²: (k/σ)², of votes k/σ²."""
        return Fraction(contribution) ** (1 if self.stage == VOTES else 2) / Fraction(self.sigma) ** 2


def lay_out_domains(schema: Schema, *, mu: float, contribution: int) -> tuple[DomainAsk, ...]:
    """What each learned domain costs at most, from the schema alone, before the first read: of ``mu``² half
    where every column's domain is learned, in proportion where fewer are; each an even part, which its levels share
    evenly. Dependencies count as columns; they come last, for they need the categories."""
    maps = learned_maps(schema)
    part = mu * mu * DOMAIN_SHARE / (len(schema.modelled) + len(maps))
    sigma = dyadic_at_least(contribution / math.sqrt(part) * (1 + 1e-12))
    out = []
    for name, declared in schema.modelled.items():
        if isinstance(declared, Integer | Real | Date | Datetime) and cells_are_learned(declared):
            grid = Grid.of(ranged_column(name, declared))
            cells = grid.levels * (BRANCHES * MOST_DIVIDED + 1)
            each = dyadic_at_least(contribution * math.sqrt(grid.levels / part) * (1 + 1e-12))
            out.append(DomainAsk(name, LEVEL, grid.levels, cells, each))
        elif isinstance(declared, Categorical) and declared.open:
            each = dyadic_at_least(math.sqrt(contribution / part) * (1 + 1e-12))
            out.append(DomainAsk(name, VOTES, 1, MOST_VOTED, each))
    for name, rule in maps.items():
        left = most_cells(schema, rule.left) or coded_column(rule.left, schema.columns[rule.left]).cells
        cells = left * coded_column(name, schema.columns[name]).cells
        out.append(DomainAsk(name, DEPENDENCY, 1, cells, sigma))
    return tuple(out)


def domain_error(asks: Sequence[DomainAsk]) -> Fraction:
    """At most Σ total variation over every count that the asks draw."""
    return sum((ask.cells * total_variation(ask.sigma) for ask in asks), Fraction(0))


@dataclass(frozen=True, eq=False)
class Domains:
    """What the domain stage gave.

    Attributes:
        learned: cells, categories and maps.
        measured: its noisy tables.
    """

    learned: Learned = NOTHING
    measured: tuple[Measurement, ...] = ()

    @property
    def mu_squared(self) -> Fraction:
        """Exact GDP cost."""
        return sum((m.mu_squared for m in self.measured), Fraction(0))


NO_DOMAINS = Domains()


def learn_domains(
    frame: pd.DataFrame,
    subjects: npt.NDArray[np.object_],
    schema: Schema,
    asks: Sequence[DomainAsk],
    purse: Purse,
    *,
    contribution: int,
    delta: float,
) -> Domains:
    """Buy every domain of the plan.

    Neighbours: add or remove one subject, with her at most k rows. Public: the schema, the asks, ``delta`` (the
    slice for open categories, shared evenly by the open columns). Events: as :class:`DomainAsk` says; the votes
    have the slice as a delta of their own.
    """
    stage = _Stage(purse, contribution, tuple(schema.modelled))
    opened, rules = sum(ask.stage == VOTES for ask in asks), learned_maps(schema)
    bins: dict[str, tuple[float, ...]] = {}
    values: dict[str, tuple[str, ...]] = {}
    maps: dict[str, tuple[Any, ...]] = {}
    for ask in asks:
        if ask.stage == DEPENDENCY:
            left, known = rules[ask.column].left, Learned(bins, values)
            pair = (
                coded_column(left, schema.columns[left], known),
                coded_column(ask.column, schema.columns[ask.column]),
            )
            maps[ask.column] = stage.depend(ask, frame, cast("tuple[Listed, Listed]", pair))
            continue
        column, stored = coded_column(ask.column, schema.modelled[ask.column]), frame[ask.column]
        if isinstance(column, Ranged):
            position, missing = column.position(stored)
            if column.scale:
                position = np.rint(position * column.scale) / column.scale
            bins[ask.column] = learn_edges(column, partial(stage.level, ask, position, missing))
        elif isinstance(column.column, Categorical):
            values[ask.column] = stage.vote(ask, stored, subjects, rest=column.column.rest, delta=delta / opened)
    return Domains(Learned(*(MappingProxyType(part) for part in (bins, values, maps))), tuple(stage.measured))


class _Stage:
    """Buys the tables of the domain stage and keeps them."""

    def __init__(self, purse: Purse, contribution: int, names: Sequence[str]) -> None:
        self._purse = purse
        self._contribution = contribution
        self._names = list(names)
        self.measured: list[Measurement] = []

    def level(self, ask: DomainAsk, position: Floats, missing: Mask, level: Level) -> tuple[Ints, float]:
        """One level's noisy counts, and the variance of each."""
        counts = self._take(ask, lambda: level.count(position, missing))
        self._note(LEVEL, ask, counts)
        return counts, self.measured[-1].variance

    def vote(
        self, ask: DomainAsk, texts: pd.Series[Any], subjects: npt.NDArray[np.object_], *, rest: str, delta: float
    ) -> tuple[str, ...]:
        """The released categories; only their noisy counts are kept."""
        names: list[str] = []

        def exact() -> Ints:
            held, counts = count_votes(texts, subjects, rest=rest)
            names.extend(held)
            return counts

        noisy = self._take(ask, exact)
        values, told = released(names, noisy, threshold_of(ask.sigma, delta=delta, votes=self._contribution))
        self._note(VOTES, ask, told)
        return values

    def depend(self, ask: DomainAsk, frame: pd.DataFrame, pair: tuple[Listed, Listed]) -> tuple[Any, ...]:
        """For each cell of the left column the value of the right one that is most frequent beside it; where that
        does not stand out, the most frequent of all. One table at full resolution: L2 at most k."""
        left, right = pair

        def exact() -> Ints:
            places = left.encode(frame[left.name]).astype(np.int64) * right.cells + right.encode(frame[right.name])
            return np.bincount(places, minlength=left.cells * right.cells).astype(np.int64)

        noisy = self._take(ask, exact)
        self._note(DEPENDENCY, ask, noisy, of=left.name)
        table = noisy.reshape(left.cells, right.cells).astype(np.float64)
        best, usual = table.argmax(axis=1), int(table.sum(axis=0).argmax())
        clear = table.max(axis=1) >= STANDS_OUT * self.measured[-1].variance ** 0.5
        return tuple(
            None if cell == right.null else right.values[cell] for cell in np.where(clear, best, usual).tolist()
        )

    def _take(self, ask: DomainAsk, exact: Callable[[], Ints]) -> Ints:
        return self._purse.take(exact, sigma=ask.sigma, cost=ask.cost(self._contribution))

    def _note(self, stage: str, ask: DomainAsk, counts: Ints, *, of: str | None = None) -> None:
        place = self._names.index(of or ask.column)
        self.measured.append(Measurement(stage, (place,), (None,), counts, ask.sigma, self._contribution))


# --- open categories -----------------------------------------------------------------------------


def count_votes(texts: pd.Series[Any], subjects: npt.NDArray[np.object_], *, rest: str) -> tuple[list[str], Ints]:
    """The categories that occur, sorted, and how many subjects hold each: sensitive, for the noise alone.

    Neighbours: add or remove one subject. Sensitivity: she holds at most k categories, each counted once, so the
    counts of the categories that others hold move by √k in L2 at most. ``rest`` is no category.
    """
    import pandas as pd

    kept = (~texts.isna() & (texts != rest)).to_numpy()
    held = texts[kept].cat.remove_unused_categories()
    names = sorted(str(name) for name in held.cat.categories)
    codes = held.cat.set_categories(names).cat.codes.to_numpy().astype(np.int64)
    whose, _ = pd.factorize(subjects[kept])
    pairs = np.unique(whose.astype(np.int64) * max(len(names), 1) + codes)
    return names, np.bincount(pairs % max(len(names), 1), minlength=len(names)).astype(np.int64)


def released(names: Sequence[str], noisy: Ints, threshold: int) -> tuple[tuple[str, ...], Ints]:
    """The categories whose noisy count reaches the threshold, sorted by text, at most ``MOST_CATEGORIES`` of
    the greatest; and those counts. Of the others nothing is kept, not even how many there were."""
    passed = np.flatnonzero(noisy >= threshold)
    passed = passed[np.argsort(-noisy[passed], kind="stable")][:MOST_CATEGORIES]
    order = sorted(passed.tolist(), key=lambda i: names[i])
    return tuple(names[i] for i in order), noisy[order].astype(np.int64)


# --- the grid ------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Grid:
    """The public places at which a column can be divided.

    Attributes:
        first, last: least and greatest position.
        scale: places are the multiples of 1/scale from ``first`` on; 0: ``FINEST`` equal stretches.
        size: how many values, or stretches, there are.
        nullable: whether the column may be null.
    """

    first: float
    last: float
    scale: float
    size: int
    nullable: bool

    @classmethod
    def of(cls, column: Ranged) -> Grid:
        """The grid of a column; the declaration alone decides."""
        first, last = float(column.low[0]), float(column.stop[-1])
        if column.scale:
            size = round((last - first) * column.scale) + 1
            return cls(first, last, column.scale, size, column.nullable)
        return cls(first, last, 0.0, FINEST, column.nullable)

    @property
    def depth(self) -> int:
        """Levels of division from the whole to the finest stretch."""
        return max(1, math.ceil(math.log(self.size, BRANCHES) - 1e-9))

    @property
    def levels(self) -> int:
        """The most levels that are bought: without a grid one more tells atoms from stretches."""
        return self.depth + (0 if self.scale else 1)

    @property
    def branches(self) -> int:
        """Into how many parts a stretch is divided."""
        return max(2, math.ceil(math.exp(math.log(self.size) / self.depth) - 1e-9))

    def place(self, index: npt.ArrayLike) -> Floats:
        """The position at which each stretch begins; ``size`` is past the end."""
        at = np.asarray(index, dtype=np.float64)
        if self.scale:
            return np.asarray((np.rint(self.first * self.scale) + at) / self.scale)
        return np.asarray(np.where(at >= self.size, np.inf, self.first + (self.last - self.first) * (at / self.size)))

    def parts(self, start: int, stop: int) -> Ints:
        """The ends of the equal parts of a stretch: at most ``branches``, and no part is empty."""
        count = min(self.branches, stop - start)
        return np.array([start + (stop - start) * i // count for i in range(count + 1)], dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Level:
    """Disjoint stretches of positions, increasing; a row falls in at most one of them.

    Attributes:
        low, high: (cells,) where each begins, and where it has ended; of a cell of one value ``high`` is the
            next float.
        null: whether one more cell, the last, counts the nulls.
    """

    low: Floats
    high: Floats
    null: bool

    def count(self, position: Floats, missing: Mask) -> Ints:
        """(cells,) exact counts: sensitive, for the noise alone.

        Neighbours: add or remove one subject. Sensitivity: k in L2, her rows being at most k and each in at
        most one cell.
        """
        known = position[~missing]
        cell = np.searchsorted(self.low, known, side="right") - 1
        inside = (cell >= 0) & (known < self.high[np.maximum(cell, 0)])
        counts = np.bincount(cell[inside], minlength=len(self.low)).astype(np.int64)
        return np.append(counts, np.int64(missing.sum())) if self.null else counts


@dataclass(eq=False)
class _Node:
    """A stretch of the grid and what the noisy counts say of it."""

    start: int
    stop: int
    count: float
    variance: float
    parts: list[_Node]
    atom: float | None = None


Measure = Callable[[Level], tuple[Ints, float]]
"""Buys one level: its noisy counts, and the variance of each."""


def learn_edges(column: Ranged, measure: Measure) -> tuple[float, ...]:
    """The inner edges of at most ``MOST_CELLS`` cells of a column.

    Pure but for ``measure``: replaying the noisy counts gives the same edges. At most ``Grid.levels`` levels are
    bought, fewer where nothing is left to divide.
    """
    grid = Grid.of(column)
    root = _Node(0, grid.size, 0.0, math.inf, [])
    rows, bar = 1.0, 0.0
    open_: list[_Node] = [root]
    for number in range(grid.depth):
        ends = [grid.parts(node.start, node.stop) for node in open_]
        low = grid.place(np.concatenate([e[:-1] for e in ends]))
        high = grid.place(np.concatenate([e[1:] for e in ends]))
        counts, variance = measure(Level(low, high, number == 0 and grid.nullable))
        if number == 0:
            rows = max(1.0, float(counts.sum()))
        bar = max(STANDS_OUT * math.sqrt(variance), DIVIDE_ABOVE * rows)
        at = 0
        for node, end in zip(open_, ends, strict=True):
            spans = zip(end[:-1].tolist(), end[1:].tolist(), strict=True)
            node.parts = [_Node(a, b, float(counts[at + i]), variance, []) for i, (a, b) in enumerate(spans)]
            at += len(node.parts)
        found = [part for node in open_ for part in node.parts if part.count >= bar and part.stop - part.start > 1]
        open_ = _heaviest(found)
        if not open_:
            break
    if not grid.scale:
        _find_atoms(root, grid, bar, measure)
    _reconcile(root)
    return _merged(_leaves(root, grid), rows)


def _find_atoms(root: _Node, grid: Grid, bar: float, measure: Measure) -> None:
    """Split each deepest stretch that stands out at its shortest decimal: below it, exactly it, above it."""
    deep = _heaviest([n for n in _ends(root) if n.stop - n.start == 1 and n.count >= bar])
    if not deep:
        return
    low: list[float] = []
    high: list[float] = []
    for node in deep:
        start, stop = (float(x) for x in grid.place([node.start, node.stop]))
        stop = math.nextafter(grid.last, math.inf) if math.isinf(stop) else stop
        node.atom = shortest_decimal(start, stop)
        after = math.nextafter(node.atom, math.inf)
        low += [start, node.atom, after]
        high += [node.atom, after, stop]
    keep = np.array(low) < np.array(high)  # nothing lies below an atom at the stretch's beginning
    counts, variance = measure(Level(np.array(low)[keep], np.array(high)[keep], False))
    told = np.zeros(len(low))
    told[keep] = counts
    for i, node in enumerate(deep):
        if told[3 * i + 1] < max(STANDS_OUT * math.sqrt(variance), bar / 2):
            node.atom = None


def _heaviest(nodes: list[_Node]) -> list[_Node]:
    """At most ``MOST_DIVIDED`` of them, in their order: so a level has a bounded number of cells."""
    chosen = sorted(nodes, key=lambda n: -n.count)[:MOST_DIVIDED]
    return sorted(chosen, key=lambda n: n.start)


def shortest_decimal(low: float, high: float) -> float:
    """The decimal of fewest digits in [low, high), the one nearest to 0 of several."""
    if low <= 0.0 < high:
        return 0.0
    a, b = Fraction(low), Fraction(high)
    for digits in range(-308, 400):
        unit = Fraction(10) ** -digits
        first, last = math.ceil(a / unit), math.ceil(b / unit) - 1
        if first <= last and low <= (found := float((first if first > 0 else last) * unit)) < high:
            return found
    return low


def _ends(node: _Node) -> list[_Node]:
    return [end for part in node.parts for end in _ends(part)] if node.parts else [node]


def _reconcile(root: _Node) -> None:
    """Counts of parents and of the sums of their parts made equal, weighted by inverse variance (Hay et al. 2010)."""

    def up(node: _Node) -> None:
        for part in node.parts:
            up(part)
        if node.parts:
            total = math.fsum(p.count for p in node.parts)
            variance = math.fsum(p.variance for p in node.parts)
            own = 0.0 if math.isinf(node.variance) else 1 / node.variance
            node.count = (own * node.count + total / variance) / (own + 1 / variance)
            node.variance = 1 / (own + 1 / variance)

    def down(node: _Node) -> None:
        if not node.parts:
            return
        short = node.count - math.fsum(p.count for p in node.parts)
        variance = math.fsum(p.variance for p in node.parts)
        for part in node.parts:
            part.count += short * part.variance / variance
            down(part)

    up(root)
    down(root)


# --- merging -------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Cell:
    """A cell in the making: where it begins, its width in stretches, its count and that count's variance."""

    low: float
    width: float
    count: float
    variance: float


def _leaves(root: _Node, grid: Grid) -> list[_Cell]:
    """The leaves in order; an atom divides its stretch."""
    cells: list[_Cell] = []
    for node in _ends(root):
        low = float(grid.place(node.start))
        if node.atom is None:
            cells.append(_Cell(low, node.stop - node.start, node.count, node.variance))
            continue
        if node.atom > low:
            cells.append(_Cell(low, 0.5, 0.0, node.variance))
        cells.append(_Cell(node.atom, 1e-6, node.count, node.variance))
        cells.append(_Cell(math.nextafter(node.atom, math.inf), 0.5, 0.0, node.variance))
    return cells


def _merged(cells: Sequence[_Cell], rows: float) -> tuple[float, ...]:
    """Neighbours joined, those first whose joining moves least: while one is small and their densities do not
    differ beyond the noise, then until at most ``MOST_CELLS`` are left.

    Joining moves at most |d| of mass within the cell, d what the first holds beyond its share by width; a small
    part of the joined mass is added, so that where nothing differs the lightest are joined first. O(cells²).
    """
    low, width, count, variance = (
        np.array([getattr(c, key) for c in cells]) for key in ("low", "width", "count", "variance")
    )
    while len(low) > 1:
        held = np.maximum(count, 0.0)
        both = held[:-1] + held[1:]
        share = width[:-1] / (width[:-1] + width[1:])
        moved = np.abs(held[:-1] - share * both)
        noise = np.sqrt(variance[:-1] * (1 - share) ** 2 + variance[1:] * share**2)
        small = held < np.maximum(SMALL_SIGMAS * np.sqrt(variance), SMALL_SHARE * rows)
        allowed = (small[:-1] | small[1:]) & ((moved <= ALIKE_SIGMAS * noise) | (moved <= SMALL_SHARE * rows / 4))
        if not allowed.any():
            if len(low) <= MOST_CELLS:
                break
            allowed[:] = True
        i = int(np.argmin(np.where(allowed, moved + MASS_WEIGHT * both, np.inf)))
        for values in (width, count, variance):
            values[i] += values[i + 1]
        low, width, count, variance = (np.delete(values, i + 1) for values in (low, width, count, variance))
    return tuple(low[1:].tolist())
