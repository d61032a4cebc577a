"""Integer cell codes drawn from a mixture of products: weights (R,) and one (R, cells) table a column.

A row picks a component by its weight, then every column by that component's table, independently. Both
ways of drawing give every single row exactly this law, up to the rounding of floats. They differ in how
the rows of one draw hang together:

* **independent**: not at all.
* **even**: n rows keep the mixture's own shares more closely than independent rows would.

How an even draw is made:

1. The number of rows of each component is its weight times n, rounded up or down at random.
2. Of each component, how many rows get each cell of a column is likewise its expected number, rounded:
   cells are split in halves, and halves of halves, and at each split all components are rounded together.
3. A component's rows take a column's cells, laid out in order, by the walk k ↦ (k·z + s) mod m over its
   m rows: z is prime to m and near m times a fixed irrational number, another for each column, so that
   any two columns are spread over each other; s is uniform, and independent for each column and component.
4. Where the draw is small enough (``SETTLED``), rows of a component swap values where that evens out the
   pairs of columns (:func:`_settle`).
5. The rows are put in random order.

What holds. *Law:* every row has the mixture's law, so every set of values, of any columns, is expected n
times its probability. *One column:* the rows of a component in a cell are within log2(cells) + 1 of what
is expected of so many rows; the components' own numbers of rows are within 1. *Two and more columns:*
nothing is guaranteed beyond the law; the tests hold pairs to be at least 1.5 times nearer than
independent rows at 48,842. A set of values that is expected less than about once comes as it would among
independent rows. What is *not* true of an even draw is that its rows are independent: an interval that
takes them to be is too wide for what the draw adds, and says nothing of what the fit and the noise add.

Cost: of the components that get rows, C of them, O(n·columns + C·cells) time and no sorting, in which a column of more
than ``WIDE`` cells is read once, a component at a time, and costs O((n + C)·log cells) besides; and for step 4 at most
a fraction of a second a block. Rows are drawn in blocks of at most 1,000,000.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from privsynth.data.codec import Codes
from privsynth.data.evidence import Floats
from privsynth.data.records import Draw
from privsynth.errors import ConditionError
from privsynth.generators.marginals.product import Rows, components_at_once

Ints = npt.NDArray[np.int64]

BLOCK = 1_000_000
SETTLED = 10_000_000  # cells looked at, at most, to even out pairs: mostly rows x columns for each column that swaps
SETTLED_TOGETHER = 256  # pairs of rows decided at once
WIDE = 4096  # cells of a column; of more, a component's rows are split apart from those of the others


def check_draw(draw: str) -> None:
    """Refuse an unknown way to draw.

    Raises:
        ConditionError: not one of :data:`Draw`.
    """
    if draw not in get_args(Draw):
        raise ConditionError(f"draw is {draw!r}", where="sample", mend=f"one of {', '.join(get_args(Draw))}")


def blocks(n: int, *, size: int = BLOCK) -> Iterator[int]:
    """``n`` as the fewest numbers of at most ``size``, as equal as can be."""
    parts = -(-n // size)
    for i in range(parts):
        yield n * (i + 1) // parts - n * i // parts


def draw_codes(
    n: int, weights: Floats, tables: Sequence[Rows], *, rng: np.random.Generator, draw: Draw = "even"
) -> Codes:
    """(n, columns) int32 cells of ``n`` rows, in random order.

    Args:
        n: at most a block.
        weights: (R,) component weights; any positive sum.
        tables: of each column (R, cells), rows of any positive sum. A row of zeros needs weight 0.
    """
    return draw_by_component(n, weights, tables, rng=rng, draw=draw)[1]


def draw_by_component(
    n: int, weights: Floats, tables: Sequence[Rows], *, rng: np.random.Generator, draw: Draw = "even"
) -> tuple[Ints, Codes]:
    """As :func:`draw_codes`, of no columns too, with the component of each row before."""
    live = np.flatnonzero(weights > 0)
    share = weights[live] / weights[live].sum()
    rows = _rounded(n * share, rng) if draw == "even" else rng.multinomial(n, share)
    some = rows > 0
    live, rows = live[some], rows[some]
    if draw == "even":
        walk = _Walk(rows, len(tables))
        drawn = [_split(rows, t, live, rng)[walk.places(c, rng)] for c, t in enumerate(tables)]
        if tables:
            _settle(drawn, [t.shape[1] for t in tables], walk, rng)
    else:
        component = np.repeat(np.arange(len(live)), rows)
        drawn = [_picked(t, live, component, rng.random(n)) for t in tables]
    order = rng.permutation(n)
    out: Codes = np.empty((n, len(tables)), dtype=np.int32, order="F")
    for c, cells in enumerate(drawn):
        out[:, c] = cells[order]
    return np.repeat(live, rows)[order], out


def _rounded(expected: Floats, rng: np.random.Generator) -> Ints:
    """Whole numbers with these expectations along the first axis; the sum of any run of neighbours is its
    expected sum rounded up or down, and the sum of all, where whole, is kept. A 0 stays 0."""
    whole = np.floor(expected)
    before = np.cumsum(expected - whole, axis=0)
    upto = np.floor(before + rng.random(expected.shape[1:]))
    if expected.ndim == 1:  # the sum is whole
        upto[-1] = np.rint(before[-1])
        np.minimum(upto, upto[-1], out=upto)
    return np.asarray(whole + np.diff(upto, axis=0, prepend=0.0), dtype=np.int64)


def _split(rows: Ints, table: Rows, live: Ints, rng: np.random.Generator) -> npt.NDArray[np.integer]:
    """(n,) cells of each component's rows, component by component and in order: how many get each cell has an
    expectation in proportion to the table's row, and is 0 where that is 0. In the smallest type that holds them."""
    cells = table.shape[1]
    kind = np.min_scalar_type(max(cells - 1, 1))
    if cells > WIDE:
        return _split_apart(rows, table, live, rng, kind)
    counts = _split_together(rows, table[live], rng)
    return np.repeat(np.tile(np.arange(cells, dtype=kind), len(live)), counts.ravel())


def _halved(table: Floats) -> list[Floats]:
    """The table, filled up with zeros to a power of 2, and its rows' sums of 2, 4, … neighbours up to all."""
    components, cells = table.shape
    level = np.zeros((components, 1 << (cells - 1).bit_length()))
    level[:, :cells] = table
    levels = [level]
    while levels[-1].shape[1] > 1:
        levels.append(levels[-1][:, 0::2] + levels[-1][:, 1::2])
    return levels


def _split_together(rows: Ints, table: Floats, rng: np.random.Generator) -> Ints:
    """(R, cells) how many of each component's rows get each cell. O(R·cells)."""
    levels = _halved(table)
    counts = rows[:, None]
    for level, parent in zip(levels[-2::-1], levels[:0:-1], strict=True):
        left, right = level[:, 0::2], level[:, 1::2]
        share = np.divide(left, parent, out=np.zeros_like(left), where=parent > 0)
        first = _within(_rounded(np.asarray(counts * share), rng), counts, left, right)
        counts = np.stack([first, counts - first], axis=2).reshape(len(table), -1)
    return counts[:, : table.shape[1]]


def _split_apart(
    rows: Ints, table: Rows, live: Ints, rng: np.random.Generator, kind: np.dtype[Any]
) -> npt.NDArray[np.integer]:
    """The very rows of :func:`_split_together`, one component after the other: of each only the halves that hold rows
    are split. The sums over components, by which all are rounded together, go from one to the next."""
    turns = [rng.random(1 << depth) for depth in range((table.shape[1] - 1).bit_length())]
    before, upto = ([np.zeros(len(turn)) for turn in turns] for _ in range(2))
    out = []
    for component, whole_count in zip(live, rows, strict=True):
        levels = _halved(table[np.array([component])])
        at, counts = np.zeros(1, dtype=np.int64), np.array([whole_count])
        for level, turn, some, last in zip(levels[-2::-1], turns, before, upto, strict=True):
            left, right = level[0, 2 * at], level[0, 2 * at + 1]
            expected = counts * (left / (left + right))
            whole = np.floor(expected)
            some[at] += expected - whole
            now = np.floor(some[at] + turn[at])
            first = _within((whole + (now - last[at])).astype(np.int64), counts, left, right)
            last[at] = now
            counts = np.array([first, counts - first]).T.ravel()
            at = np.array([2 * at, 2 * at + 1]).T.ravel()
            held = counts > 0
            at, counts = at[held], counts[held]
        out.append(np.repeat(at.astype(kind), counts))
    return np.concatenate(out)


def _within(first: Ints, counts: Ints, left: Floats, right: Floats) -> Ints:
    """How many of ``counts`` go left: at least 0, at most all, none where the left cannot be, all where the right
    cannot."""
    first = np.minimum(np.maximum(first, 0), counts)
    first[left <= 0] = 0
    np.copyto(first, counts, where=right <= 0)
    return first


class _Walk:
    """For each column another order of each component's rows."""

    def __init__(self, rows: Ints, columns: int) -> None:
        self._rows = rows
        start = np.cumsum(rows) - rows
        self._start = np.repeat(start, rows)
        self._step = np.arange(len(self._start)) - self._start
        self._size = np.repeat(rows, rows)
        root = 1.5  # of x^(columns + 1) = x + 1: the powers of 1/x are as far from common fractions as can be
        for _ in range(60):
            root = (1.0 + root) ** (1.0 / (columns + 1))
        self._pace = [root ** -(c + 1.0) for c in range(columns)]

    def places(self, column: int, rng: np.random.Generator) -> Ints:
        """(n,) where each row, component by component, finds its cell of the column."""
        return self._at(np.rint(self._pace[column] * self._rows).astype(np.int64), rng)

    def pairs(self, rng: np.random.Generator) -> tuple[Ints, Ints]:
        """Rows two by two, at random, both of one component; of an odd number one stays alone."""
        at = self._at(rng.integers(1, self._rows + 1), rng)
        first = np.flatnonzero((self._step % 2 == 0) & (self._step + 1 < self._size))
        first = first[rng.permutation(len(first))]
        return at[first], at[first + 1]

    def _at(self, pace: Ints, rng: np.random.Generator) -> Ints:
        rows = self._rows
        shift = rng.integers(0, rows)
        at = self._step * np.repeat(_prime_to(rows, pace), rows)
        at += np.repeat(shift, rows)
        at %= self._size
        at += self._start
        return at


def _settle(drawn: list[npt.NDArray[Any]], sizes: Sequence[int], walk: _Walk, rng: np.random.Generator) -> None:
    """Swap values of one column at a time between two rows of a component, where that evens out the pairs of
    columns; in place. As many columns as the work allows (``SETTLED``), those of most cells first.

    Rows are paired at random, and each pair swaps or not by what the swaps decided before have done to the counts
    of pairs of cells, weighted by 1/(1 + count). What is weighed is how far the count is moved from its mean over
    swapping and not swapping, and nothing else: turning every decision round turns every such sum round, and the
    first decisions are coins. So whatever the rows are, each pair swaps with probability 1/2, each column on its
    own: a row's value of a column is that of one of two rows of its component, which the walk made independent of
    its other values, and the row keeps its law. The counts of single columns stay as they are.
    """
    n, columns = len(drawn[0]), len(sizes)
    offset = np.cumsum(sizes) - np.asarray(sizes)
    flat = np.stack([cells + start for cells, start in zip(drawn, offset, strict=True)], axis=1, dtype=np.int64)
    sign = np.repeat([0.5, -0.5], 2 * columns)
    left = SETTLED
    for c in np.argsort(sizes, kind="stable")[::-1]:
        size, column = sizes[c], drawn[c]
        work = n * columns + 8 * sum(sizes) * size
        if work > left:
            continue
        left -= work
        held = flat * size + column[:, None]  # which pair of cells each row holds, with each column
        counts = np.bincount(held.ravel(), minlength=sum(sizes) * size)
        weight = np.rint(2.0**20 / (1.0 + counts))  # whole, so that no sum below is rounded
        weight[offset[c] * size : (offset[c] + size) * size] = 0.0  # the column with itself
        moved = np.zeros(len(counts))
        a, b = walk.pairs(rng)
        differ = column[a] != column[b]
        a, b = a[differ], b[differ]
        swap = np.zeros(len(a), dtype=bool)
        step = max(SETTLED_TOGETHER, len(a) // 200)
        for at in range(0, len(a), step):
            i, j = a[at : at + step], b[at : at + step]
            other = (column[j].astype(np.int64) - column[i])[:, None]
            cells = np.concatenate([held[i], held[j], held[i] + other, held[j] - other], axis=1)
            gain = (moved * weight)[cells] @ sign
            turn = (gain > 0) | ((gain == 0) & (rng.random(len(i)) < 0.5))
            swap[at : at + step] = turn
            change = np.where(turn, -1.0, 1.0)[:, None] * sign
            moved += np.bincount(cells.ravel(), weights=change.ravel(), minlength=len(moved))
        a, b = a[swap], b[swap]
        column[a], column[b] = column[b], column[a]
        flat[:, c] = column + offset[c]


def _prime_to(size: Ints, wanted: Ints) -> Ints:
    """Of each size the number from ``wanted`` on, at most to the size and then from 1, that is prime to it."""
    out = np.clip(wanted, 1, np.maximum(size - 1, 1))
    shared = np.flatnonzero(np.gcd(out, size) > 1)
    while len(shared):
        out[shared] = out[shared] % size[shared] + 1
        shared = shared[np.gcd(out[shared], size[shared]) > 1]
    return out


def _picked(table: Rows, live: Ints, component: Ints, u: Floats) -> npt.NDArray[np.integer]:
    """The cell of each u under its component's row of the table: one search over rows laid end to end,
    O(C·cells + n log(C·cells)).

    Args:
        component: (n,) ascending places in ``live``.
    """
    cells = table.shape[1]
    out = []
    for some in components_at_once(len(live), cells):
        held = table[live[some]]
        mine = slice(*np.searchsorted(component, [some[0], some[-1] + 1]))
        own = component[mine]
        cumulative = np.cumsum(held, axis=1)
        flat = (cumulative / cumulative[:, -1:] + some[:, None]).ravel()
        index = np.searchsorted(flat, own + u[mine], side="right") - (own - some[0]) * cells
        last = cells - 1 - np.argmax((held > 0)[:, ::-1], axis=1)  # a sum just below 1 falls into the last that can be
        out.append(np.minimum(np.maximum(index, 0), last[own - some[0]]))
    return np.concatenate(out)
