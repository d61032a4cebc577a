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
keeps every order. All are kept as logarithms, so that none is too small or too large for a float, however long the
chain. Then

1. a row's component is drawn by its weight times the probability that its columns keep the chains;
2. from the last column back, null or the piece, and how many columns share it, by those sums;
3. the values of a run uniformly among those in order, and every other column by its own table (draw.py).

Where columns of a run are of different kinds (whole numbers beside reals) their values are drawn freely and redrawn
if they are not in order.

When. Both ways, by the chains and by redrawing, have the law of a row given that it keeps the rules; which one is
taken is no matter of chance: the chains are, where fewer than ``RARE`` of the model's rows keep them. That is summed
from the components of most weight on, and no further than to ``RARE``; the sums of a chain are kept for the draws of a
sample that say the same of its columns (the combinations of a balance).

In an even draw (draw.py) the numbers of rows of the components, and the columns outside of chains, are even; the
columns of a chain are drawn independently given the component.

Cost: of a chain of k columns with I pieces in all (at most the sum of their cells and conditions' ends) and R
components O(R·I·k²) for each draw at most, and O(n·k²) for n rows; columns that share no piece add nothing to the
square. A chain of more than ``MOST_WORK`` is left to redrawing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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
FIRST_LOOK = 16  # components whose rows in order are summed before it is looked whether they are enough; then twice
MOST_KNOWN = 64  # chains under conditions whose sums are kept


@dataclass(frozen=True, eq=False)
class Pieces:
    """One column of a chain over the pieces.

    Attributes:
        column: its number in the codec.
        coded: its cells.
        table: (R, cells) each component's distribution of it.
        cell: (I,) the cell that a piece is of; -1 where the column cannot lie there.
        share: (I,) the part of its cell that lies there.
        first: (I,) the least value there, in steps of 1/scale where the column has a scale.
        size: (I,) how many values there are, or their length.
    """

    column: int
    coded: Ranged
    table: Rows
    cell: Ints
    share: Floats
    first: Floats
    size: Floats

    @cached_property
    def reach(self) -> slice:
        """From the first piece to the last where the column can lie."""
        can = np.flatnonzero(self.cell >= 0)
        return slice(int(can[0]), int(can[-1]) + 1) if len(can) else slice(0, 0)

    def log_probabilities(self, some: Ints) -> tuple[Floats, Floats]:
        """(C, I) of the pieces and (C,) of null, of some components."""
        with np.errstate(divide="ignore"):
            table, share = np.log(self.table[some]), np.log(self.share)
        null = np.full(len(some), -np.inf) if self.coded.null is None else table[:, self.coded.null]
        return table[:, self.cell] + share, null


@dataclass(frozen=True, eq=False)
class _Sums:
    """Logarithms of what some components, C of them, give the first j columns of a chain, in order.

    Attributes:
        own: at j (C, I) a piece of the column after the first j alone.
        before: at j (C, I + 1) with column j null or in a piece before this one; the last is of all.
    """

    own: list[Floats]
    before: list[Floats]


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
    def _mass(self) -> Floats:
        """(R,) what :meth:`log_mass` has found; NaN where nobody has asked."""
        return np.full(self.columns[0].table.shape[0], np.nan)

    def _runs(self, j: int) -> Iterator[tuple[int, Floats]]:
        """The first columns i of the runs in one piece that end with column j, from the nearest on and as long as
        there is a piece for all, with the logarithm of the share of their values that is in order, in the reach of
        column j."""
        last = self.columns[j - 1]
        here, scale = last.reach, last.coded.scale
        values = last.size[here] if scale else np.where(last.size[here] > 0, np.inf, 1.0)
        values = np.maximum(values, 1.0)
        share, strict, alike = np.zeros(len(values)), 0, True
        start, stop = here.start, here.stop
        for i in range(j - 1, -1, -1):
            column, after = self.columns[i], j - 1 - i
            start, stop = max(start, column.reach.start), min(stop, column.reach.stop)
            if start >= stop:
                return
            alike = alike and column.coded.scale == scale
            if not alike:
                share = np.zeros(len(values))
            elif after:
                strict += self.strict[i]
                more = -strict if self.strict[i] else after - strict
                with np.errstate(divide="ignore"):
                    share = share + np.log(np.maximum(1.0 + more / values, 0.0) / (after + 1))
            yield i, share

    def _summed(self, some: Ints) -> _Sums:
        before = np.zeros((len(some), self.pieces + 1))
        sums = _Sums([], [before])
        for j, column in enumerate(self.columns, 1):
            own, null = column.log_probabilities(some)
            sums.own.append(own)
            here, run, terms = column.reach, np.zeros(1), []
            for i, share in self._runs(j):
                run = run + sums.own[i][:, here]
                terms.append(sums.before[i][:, here] + run + share)
            upto = np.full_like(before, -np.inf)
            upto[:, 0] = null + before[:, -1]
            if terms:
                upto[:, 1:][:, here] = _log_sum(terms)
            before = np.logaddexp.accumulate(upto, axis=1)
            sums.before.append(before)
        return sums

    def log_mass(self, some: Ints) -> Floats:
        """(C,) logarithm of the probability that a component's columns keep the chain; -inf where it is 0."""
        unknown = some[np.isnan(self._mass[some])]
        for part in components_at_once(len(unknown), len(self) * self.pieces):
            self._mass[unknown[part]] = self._summed(unknown[part]).before[-1][:, -1]
        return self._mass[some]

    def draw(self, component: Ints, rng: np.random.Generator) -> dict[str, pd.Series[Any]]:
        """Of each column (n,) values that keep the chain, given each row's component.

        Where a run is of several kinds its values may not."""
        position = np.zeros((len(component), len(self)))
        missing = np.zeros((len(component), len(self)), dtype=bool)
        live, own = np.unique(component, return_inverse=True)
        for some in components_at_once(len(live), len(self) * self.pieces):
            rows = np.flatnonzero((own >= some[0]) & (own <= some[-1]))
            self._fill(position, missing, rows, own[rows] - some[0], self._summed(live[some]), rng)
        return {c.coded.name: c.coded.series(position[:, i], missing[:, i]) for i, c in enumerate(self.columns)}

    def _fill(
        self, position: Floats, missing: Mask, rows: Ints, component: Ints, sums: _Sums, rng: np.random.Generator
    ) -> None:
        """From the last column back: ``upto[row]`` columns are still to be drawn, in pieces before ``below[row]``."""
        upto, below = np.full(len(rows), len(self)), np.full(len(rows), self.pieces)
        for j in range(len(self), 0, -1):
            mine = np.flatnonzero(upto == j)
            piece = _picked(sums.before[j], component[mine], below[mine], rng.random(len(mine)))
            none = mine[piece < 0]
            missing[rows[none], j - 1] = True
            upto[none], below[none] = j - 1, self.pieces
            mine, piece = mine[piece >= 0], piece[piece >= 0]
            if not len(mine):
                continue
            start = self._starts(j, component[mine], piece, sums, rng.random(len(mine)))
            upto[mine], below[mine] = start, piece
            for i in np.unique(start):
                here = start == i
                position[rows[mine[here]], i:j] = self._values(i, j, piece[here], rng)

    def _starts(self, j: int, own: Ints, piece: Ints, sums: _Sums, u: Floats) -> Ints:
        """(n,) the first column of the run that ends with column j in a piece."""
        at, run, terms = piece - self.columns[j - 1].reach.start, np.zeros(len(own)), []
        for i, share in self._runs(j):
            run = run + sums.own[i][own, piece]
            terms.append(sums.before[i][own, piece] + run + share[at])
        weight = np.stack(terms, axis=1)
        upto = np.cumsum(np.exp(weight - weight.max(axis=1, keepdims=True)), axis=1)
        longer = (upto < ((1.0 - u) * upto[:, -1])[:, None]).sum(axis=1)
        return np.asarray(j - 1 - longer, dtype=np.int64)

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


def _log_sum(terms: Sequence[Floats]) -> Floats:
    """The logarithm of the sum of exponentials; -inf of all -inf."""
    top = np.maximum.reduce(terms)
    base = np.where(np.isneginf(top), 0.0, top)
    with np.errstate(divide="ignore"):
        return np.asarray(base + np.log(np.add.reduce([np.exp(term - base) for term in terms])))


def _picked(before: Floats, own: Ints, below: Ints, u: Floats) -> Ints:
    """(n,) a piece before ``below`` by its weight, or -1 for null. By halves, in each component's own sums: those of
    the first pieces may be smaller by any factor than those of all."""
    target = before[own, below] + np.log1p(-u)
    low, high = np.zeros_like(own), below
    for _ in range(before.shape[1].bit_length()):
        middle = (low + high) // 2
        enough = before[own, middle] >= target
        low, high = np.where(enough, low, np.minimum(middle + 1, high)), np.where(enough, middle, high)
    return np.asarray(low - 1, dtype=np.int64)


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
        series = [chain.draw(component, rng) for chain in self.chains]
        return codec.decode(codes, rng, evidence, {name: values for some in series for name, values in some.items()})


class Orders:
    """The chains of a schema's orders, for the draws of one sample of one model."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._paths = tuple(_paths(codec))
        self._known: dict[tuple[Any, ...], Chain] = {}

    def rare(self, evidence: Mapping[str, Evidence], log_weights: Floats, given: Sequence[Rows]) -> Chains | None:
        """The chains, where fewer than ``RARE`` of the rows given the evidence keep them; else None.

        Args:
            log_weights: (R,) of the components given the evidence; their exponentials sum to 1.
            given: of each column (R, cells) given its own evidence.
        """
        found = [self._chain(path, strict, evidence, given) for path, strict in self._paths]
        chains = tuple(c for c in found if len(log_weights) * c.pieces * len(c) ** 2 <= MOST_WORK)
        if not chains:
            return None
        order = np.argsort(-log_weights, kind="stable")[: np.count_nonzero(log_weights > -np.inf)]
        log, sure, at = np.full(len(log_weights), -np.inf), 0.0, 0
        while at < len(order):
            some = order[at : at + max(FIRST_LOOK, at)]
            log[some] = log_weights[some] + np.sum([chain.log_mass(some) for chain in chains], axis=0)
            sure += np.exp(log[some]).sum()
            if sure >= RARE:
                return None
            at += len(some)
        top = log.max()
        return Chains(chains, np.exp(log - (0.0 if np.isneginf(top) else top)))

    def _chain(
        self, path: tuple[int, ...], strict: tuple[bool, ...], evidence: Mapping[str, Evidence], given: Sequence[Rows]
    ) -> Chain:
        key = (path, *(evidence.get(self._codec.columns[c].name) for c in path))
        if key not in self._known:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[key] = _cut(self._codec, path, strict, evidence, given)
        return self._known[key]


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


def _cut(
    codec: Codec,
    path: Sequence[int],
    strict: tuple[bool, ...],
    evidence: Mapping[str, Evidence],
    given: Sequence[Rows],
) -> Chain:
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
        columns.append(Pieces(i, c, given[i], cell, share, first, size))
    return Chain(tuple(columns), strict)
