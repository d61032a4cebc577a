"""Rows of a mixture of products drawn given that chains of ``order`` lines hold: exact, however rare that is.

Of k independent columns one row in k! is in order, so that redrawing what is not (filled.py) takes too long for
chains of more than a few. A chain is a path of order lines, ``a <= b``, ``b < c``, …, of columns that have cells;
no column stands in two, and the longest are taken first. Order lines beside them (of a total, across chains, round a
circle) are left to redrawing, which conditions on what is left: the law of a row is in every case the model's given
that all rules hold.

How a chain is drawn. The ends of all its columns' cells cut the numbers into pieces, on each of which every column
that can lie there is uniform. Given the component the columns are independent, and a row is in order if its columns
fall into pieces in order, and within a run of columns in one piece the values are in order: for m columns of one
kind that is 1/m! of them, or of K whole numbers (K + m - 1 - s choose m) of K^m, of which s lines are strict. Sums
over the last run give the weight of the first j columns by the piece of the last one; a null starts anew, for it
keeps every order. Then

1. a row's component is drawn by its weight times the probability that its columns keep the chains;
2. from the last column back, null or the piece, and how many columns share it, by those sums;
3. the values of a run uniformly among those in order, and every other column by its own table (draw.py).

Where columns of a run are of different kinds (whole numbers beside reals) their values are drawn freely and redrawn
if they are not in order.

In an even draw (draw.py) the numbers of rows of the components, and the columns outside of chains, are even; the
columns of a chain are drawn independently given the component.

Cost: of a chain of k columns with I pieces in all (at most the sum of their cells and conditions' ends) and R
components O(R·I·k²) for each draw, and O(n·k²) for n rows. A chain of more than ``MOST_WORK`` is left to redrawing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from privsynth.data.codec import Codec, Evidence, Floats, Ranged
from privsynth.data.records import Draw
from privsynth.generators.marginals.draw import draw_by_component
from privsynth.generators.marginals.product import Rows, components_at_once

if TYPE_CHECKING:
    import pandas as pd

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

RARE = 0.1  # of the rows; where more keep the orders they are redrawn
MOST_WORK = 1_000_000_000


@dataclass(frozen=True, eq=False)
class Pieces:
    """One column of a chain over the pieces.

    Attributes:
        column: its number in the codec.
        coded: its cells.
        cell: (I,) the cell that a piece is of; -1 where the column cannot lie there.
        share: (I,) the part of its cell that lies there.
        first: (I,) the least value there, in steps of 1/scale where the column has a scale.
        size: (I,) how many values there are, or their length.
    """

    column: int
    coded: Ranged
    cell: Ints
    share: Floats
    first: Floats
    size: Floats

    def probabilities(self, table: Floats) -> tuple[Floats, Floats]:
        """(C, I) of the pieces and (C,) of null, of a table of (C, cells)."""
        null = np.zeros(len(table)) if self.coded.null is None else table[:, self.coded.null]
        return table[:, self.cell] * self.share, null


@dataclass(frozen=True, eq=False)
class _Sums:
    """What some components, C of them, give the first j columns of a chain, in order.

    Attributes:
        at: at j (C, I) with column j in a piece.
        null: at j (C,) with column j null.
        before: at j (C, I) with column j null or in a piece before this one.
        own: at j (C, I) a piece of the column after the first j alone.
    """

    at: list[Floats] = field(default_factory=list)
    null: list[Floats] = field(default_factory=list)
    before: list[Floats] = field(default_factory=list)
    own: list[Floats] = field(default_factory=list)

    def add(self, at: Floats, null: Floats) -> None:
        """One more column."""
        self.at.append(at)
        self.null.append(null)
        below = np.zeros_like(at)
        np.cumsum(at[:, :-1], axis=1, out=below[:, 1:])
        self.before.append(null[:, None] + below)


@dataclass(frozen=True, eq=False)
class Chain:
    """Columns in order, and which lines between neighbours are strict."""

    columns: tuple[Pieces, ...]
    strict: tuple[bool, ...]

    def __len__(self) -> int:
        return len(self.columns)

    @property
    def pieces(self) -> int:
        """I."""
        return len(self.columns[0].cell)

    @cached_property
    def _scale(self) -> float:
        """What probabilities are multiplied by, so that those of a long chain are not too small for a float."""
        return len(self) / math.e

    @cached_property
    def _in_order(self) -> dict[tuple[int, int], Floats]:
        """(I,) of columns i to j - 1 in one piece the share that is in order."""
        return {(i, j): self._share(i, j) for j in range(1, len(self) + 1) for i in range(j)}

    def _share(self, i: int, j: int) -> Floats:
        run = self.columns[i:j]
        scale, m = run[0].coded.scale, j - i
        if m == 1 or any(c.coded.scale != scale for c in run):
            return np.ones(self.pieces)
        values = run[0].size if scale else np.where(run[0].size > 0, np.inf, 1.0)
        values = np.maximum(values, 1.0)
        free = m - 1 - sum(self.strict[i : j - 1])
        out = np.ones(self.pieces)
        for t in range(m):
            out *= np.maximum(1.0 + (free - t) / values, 0.0) / (t + 1)
        return out

    def _summed(self, given: Sequence[Rows], some: Ints) -> _Sums:
        sums = _Sums()
        sums.add(np.zeros((len(some), self.pieces)), np.ones(len(some)))
        for j, column in enumerate(self.columns, 1):
            own, null = column.probabilities(given[column.column][some] * self._scale)
            sums.own.append(own)
            at, run = np.zeros_like(own), np.ones_like(own)
            for i in range(j - 1, -1, -1):
                run *= sums.own[i]
                at += sums.before[i] * run * self._in_order[i, j]
            sums.add(at, null * (sums.at[-1].sum(axis=1) + sums.null[-1]))
        return sums

    def log_mass(self, given: Sequence[Rows]) -> Floats:
        """(R,) logarithm of the probability that a component's columns keep the chain; -inf where it is 0."""
        out = []
        for some in components_at_once(given[0].shape[0], len(self) * self.pieces):
            sums = self._summed(given, some)
            with np.errstate(divide="ignore"):
                out.append(np.log(sums.at[-1].sum(axis=1) + sums.null[-1]) - len(self) * math.log(self._scale))
        return np.concatenate(out)

    def draw(self, component: Ints, given: Sequence[Rows], rng: np.random.Generator) -> dict[str, pd.Series[Any]]:
        """Of each column (n,) values that keep the chain, given each row's component.

        Where a run is of several kinds its values may not."""
        position = np.zeros((len(component), len(self)))
        missing = np.zeros((len(component), len(self)), dtype=bool)
        live, own = np.unique(component, return_inverse=True)
        for some in components_at_once(len(live), len(self) * self.pieces):
            rows = np.flatnonzero((own >= some[0]) & (own <= some[-1]))
            self._fill(position, missing, rows, own[rows] - some[0], self._summed(given, live[some]), rng)
        return {c.coded.name: c.coded.series(position[:, i], missing[:, i]) for i, c in enumerate(self.columns)}

    def _fill(
        self, position: Floats, missing: Mask, rows: Ints, component: Ints, sums: _Sums, rng: np.random.Generator
    ) -> None:
        """From the last column back: ``upto[row]`` columns are still to be drawn, in pieces before ``below[row]``."""
        upto, below = np.full(len(rows), len(self)), np.full(len(rows), self.pieces)
        for j in range(len(self), 0, -1):
            mine = np.flatnonzero(upto == j)
            if not len(mine):
                continue
            own = component[mine]
            piece = _picked(sums.at[j], sums.null[j], own, below[mine], rng.random(len(mine)))
            none = piece < 0
            missing[rows[mine[none]], j - 1] = True
            upto[mine[none]], below[mine[none]] = j - 1, self.pieces
            mine, own, piece = mine[~none], own[~none], piece[~none]
            start = self._starts(j, own, piece, sums, rng.random(len(mine)))
            upto[mine], below[mine] = start, piece
            for i in range(j):
                here = start == i
                if here.any():
                    position[rows[mine[here]], i:j] = self._values(i, j, piece[here], rng)

    def _starts(self, j: int, own: Ints, piece: Ints, sums: _Sums, u: Floats) -> Ints:
        """(n,) the first column of the run that ends with column j in a piece."""
        weight, run = np.empty((len(own), j)), np.ones(len(own))
        for i in range(j - 1, -1, -1):
            run = run * sums.own[i][own, piece]
            weight[:, j - 1 - i] = sums.before[i][own, piece] * run * self._in_order[i, j][piece]
        upto = np.cumsum(weight, axis=1)
        longer = (upto <= (u * upto[:, -1])[:, None]).sum(axis=1)
        last = j - 1 - np.argmax((weight > 0)[:, ::-1], axis=1)
        return np.asarray(j - 1 - np.minimum(longer, last), dtype=np.int64)

    def _values(self, i: int, j: int, piece: Ints, rng: np.random.Generator) -> Floats:
        """(n, j - i) positions of columns i to j - 1 in one piece, uniform among those in order."""
        run = self.columns[i:j]
        scale, n, m = run[0].coded.scale, len(piece), j - i
        if any(c.coded.scale != scale for c in run):
            return np.hstack([_uniform(c, piece, 1, rng) for c in run])
        if not scale:
            return np.sort(_uniform(run[0], piece, m, rng), axis=1)
        strict = np.concatenate([[0], np.cumsum(np.asarray(self.strict[i : j - 1], dtype=np.int64))])
        apart = np.arange(m) - strict  # how far a choice without repeats is above one that may repeat
        chosen = _subset(run[0].size[piece].astype(np.int64) + apart[-1], m, rng) - apart
        return np.asarray((chosen + run[0].first[piece][:, None]) / scale).reshape(n, m)


def _picked(at: Floats, null: Floats, own: Ints, below: Ints, u: Floats) -> Ints:
    """(n,) a piece before ``below`` by its weight, or -1 for null. By halves, in each component's own sums: those of
    the first pieces may be smaller by any factor than those of all."""
    pieces = at.shape[1]
    upto = np.cumsum(at, axis=1)
    top = np.maximum(below - 1, 0)
    held = np.where(below > 0, upto[own, top], 0.0)
    target = u * (null[own] + held) - null[own]
    low, high = np.zeros_like(own), top
    for _ in range(pieces.bit_length()):
        middle = (low + high) // 2
        over = upto[own, middle] > target
        low, high = np.where(over, low, np.minimum(middle + 1, high)), np.where(over, middle, high)
    last = np.maximum.accumulate(np.where(at > 0, np.arange(pieces), -1), axis=1)  # the target may round up to all
    return np.asarray(np.where((target < 0) | (held <= 0), -1, last[own, low]), dtype=np.int64)


def _uniform(column: Pieces, piece: Ints, m: int, rng: np.random.Generator) -> Floats:
    """(n, m) independent positions of a column in its pieces."""
    scale, first, size = column.coded.scale, column.first[piece][:, None], column.size[piece][:, None]
    value = rng.random((len(piece), m)) * size
    return np.asarray((np.floor(value) + first) / scale if scale else value + first)


def _subset(size: Ints, m: int, rng: np.random.Generator) -> Ints:
    """(n, m) of each row m different numbers from 0 to size - 1 in order, every set alike (Floyd 1987)."""
    out = np.full((len(size), m), -1, dtype=np.int64)
    for t in range(m):
        top = size - m + t
        chosen = rng.integers(0, top + 1)
        out[:, t] = np.where((out[:, :t] == chosen[:, None]).any(axis=1), top, chosen)
    return np.sort(out, axis=1)


# --- which chains --------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Chains:
    """Chains that hold no column twice, and the components' weights given that they hold; none of them positive
    where they cannot.

    Attributes:
        chains: the longest first.
        weights: (R,).
    """

    chains: tuple[Chain, ...]
    weights: Floats

    def frame(
        self,
        n: int,
        codec: Codec,
        given: Sequence[Rows],
        evidence: Mapping[str, Evidence],
        rng: np.random.Generator,
        draw: Draw,
    ) -> pd.DataFrame:
        """``n`` rows, at most a block."""
        held = {column.column for chain in self.chains for column in chain.columns}
        free = [c for c in range(len(codec.columns)) if c not in held]
        component, drawn = draw_by_component(n, self.weights, [given[c] for c in free], rng=rng, draw=draw)
        codes = np.zeros((n, len(codec.columns)), dtype=np.int32, order="F")
        codes[:, free] = drawn
        series = [chain.draw(component, given, rng) for chain in self.chains]
        return codec.decode(codes, rng, evidence, {name: values for some in series for name, values in some.items()})


def rare_chains(
    codec: Codec, evidence: Mapping[str, Evidence], weights: Floats, given: Sequence[Rows]
) -> Chains | None:
    """The chains of the schema's orders, where fewer than ``RARE`` of the model's rows keep them; else None."""
    chains = []
    for path, strict in _paths(codec):
        chain = _cut(codec, path, strict, evidence)
        if len(weights) * chain.pieces * len(chain) ** 2 <= MOST_WORK:
            chains.append(chain)
    if not chains:
        return None
    mass = np.sum([chain.log_mass(given) for chain in chains], axis=0)
    with np.errstate(divide="ignore"):
        log = np.log(weights) + mass
    top = log.max()
    if not np.isfinite(top):
        return Chains(tuple(chains), np.zeros(len(weights)))
    if math.exp(top) * np.exp(log - top).sum() >= RARE:
        return None
    return Chains(tuple(chains), np.exp(log - top))


def _paths(codec: Codec) -> Iterator[tuple[tuple[int, ...], tuple[bool, ...]]]:
    """Paths of order lines that share no column, the longest first, and which lines are strict."""
    strict: dict[tuple[int, int], bool] = {}
    before: dict[int, list[int]] = {}
    for order in codec.schema.orders:
        if order.left not in codec.index or order.right not in codec.index:
            continue
        pair = codec.index[order.left], codec.index[order.right]
        if pair in strict:
            strict[pair] |= order.strict
            continue
        wider = {**before, pair[1]: [*before.get(pair[1], []), pair[0]]}
        try:
            TopologicalSorter(wider).prepare()
        except CycleError:
            continue
        before, strict[pair] = wider, order.strict
    while True:
        longest: dict[int, tuple[int, ...]] = {}
        for c in TopologicalSorter(before).static_order():
            longest[c] = (*max((longest[b] for b in before.get(c, [])), key=len, default=()), c)
        path = max(longest.values(), key=len, default=())
        if len(path) < 2:
            return
        yield path, tuple(strict[pair] for pair in pairwise(path))
        before = {c: [b for b in some if b not in path] for c, some in before.items() if c not in path}


def _cut(codec: Codec, path: Sequence[int], strict: tuple[bool, ...], evidence: Mapping[str, Evidence]) -> Chain:
    """The chain over the pieces that the ends of all its columns' stretches leave."""
    coded = [c for c in (codec.columns[i] for i in path) if isinstance(c, Ranged)]
    allowed = [e.segments if (e := evidence.get(c.name)) is not None else None for c in coded]
    stretches = [c.segments if s is None else s for c, s in zip(coded, allowed, strict=True)]
    after = [s.after for s in stretches]
    ends = np.unique(
        np.concatenate([*(s.start for s in stretches), *after, [0.0, 1.0] if not any(map(len, after)) else []])
    )
    columns = []
    for i, c, s, stop in zip(path, coded, stretches, after, strict=True):
        at = np.searchsorted(s.start, ends[:-1], side="right") - 1
        can = (at >= 0) & (ends[:-1] < stop[at]) if len(s) else np.zeros(len(ends) - 1, dtype=bool)
        cell = np.where(can, s.cell[at] if len(s) else -1, -1)
        first, size = s.between(ends)
        held = s.held(len(c.low))[cell]
        share = np.where(can, np.divide(size, held, out=np.ones_like(size), where=held > 0), 0.0)
        columns.append(Pieces(i, c, cell, share, first, size))
    return Chain(tuple(columns), strict)
