"""The cells of numbers, dates and moments: an adaptive tree over a column's public grid.

A *level* of the tree is one histogram over disjoint stretches of the grid, so a subject's at most k rows move it by
k in L2 at most: an event (k/σ)². Level 1 divides all of the range; each later one divides the stretches whose noisy
count stood out. What is divided, the merging and the atoms are functions of noisy counts.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from privsynth.data.codec import Ranged
from privsynth.generators.marginals.grid import Grid, Ints, Level, shortest_decimal

MOST_CELLS = 100
STANDS_OUT = 4.0
"""Standard deviations of the noise."""
DIVIDE_ABOVE = 1 / 256
MOST_DIVIDED = 256
SMALL_SHARE = 1 / 200
SMALL_SIGMAS = 1.5
ALIKE_SIGMAS = 1.25
MASS_WEIGHT = 1 / 8


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
    edges = _merged(_leaves(root, grid), rows)
    return tuple(sorted({edge for edge in edges if grid.first < edge <= grid.last}))


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
    part of the joined mass is added, so that where nothing differs the lightest are joined first; of equals the
    first. Only the two pairs beside a joined one change, so heaps of pairs make it O(cells·log cells).
    """
    chain = [_Cell(c.low, float(c.width), float(c.count), float(c.variance)) for c in cells]
    after = list(range(1, len(chain) + 1))
    before = list(range(-1, len(chain) - 1))
    age = [0] * len(chain)
    """How often the pair that each cell begins has changed: what a heap says of a younger one is void."""
    freely: list[tuple[float, int, int]] = []
    forced: list[tuple[float, int, int]] = []

    def offer(i: int) -> None:
        age[i] += 1
        if after[i] < len(chain):
            cost, free = _joining(chain[i], chain[after[i]], rows)
            heapq.heappush(forced, (cost, i, age[i]))
            if free:
                heapq.heappush(freely, (cost, i, age[i]))

    def least(heap: list[tuple[float, int, int]]) -> int | None:
        while heap:
            _, i, then = heapq.heappop(heap)
            if age[i] == then:
                return i
        return None

    for i in range(len(chain)):
        offer(i)
    left = len(chain)
    while left > 1:
        found = least(freely)
        if found is None and left > MOST_CELLS:
            found = least(forced)
        if found is None:
            break
        cell, gone = chain[found], after[found]
        cell.width += chain[gone].width
        cell.count += chain[gone].count
        cell.variance += chain[gone].variance
        after[found] = after[gone]
        if after[gone] < len(chain):
            before[after[gone]] = found
        age[gone] += 1
        left -= 1
        offer(found)
        if before[found] >= 0:
            offer(before[found])
    edges, at = [], after[0]
    while at < len(chain):
        edges.append(chain[at].low)
        at = after[at]
    return tuple(edges)


def _joining(one: _Cell, other: _Cell, rows: float) -> tuple[float, bool]:
    """What joining two neighbours costs, and whether it is allowed while there are few cells."""
    held = max(one.count, 0.0), max(other.count, 0.0)
    both = held[0] + held[1]
    share = one.width / (one.width + other.width)
    moved = abs(held[0] - share * both)
    noise = math.sqrt(one.variance * ((1 - share) * (1 - share)) + other.variance * (share * share))
    small = any(
        mass < max(SMALL_SIGMAS * math.sqrt(cell.variance), SMALL_SHARE * rows)
        for mass, cell in zip(held, (one, other), strict=True)
    )
    alike = moved <= ALIKE_SIGMAS * noise or moved <= SMALL_SHARE * rows / 4
    return moved + MASS_WEIGHT * both, small and alike
