"""From noisy one-ways (public from here on): the row estimate, smoothed one-ways, groups of cells.

Everything here is post-processing of the transcript and of declared sizes; no rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from privsynth.data.codec import CodedColumn
from privsynth.generators.marginals.transcript import Groups, Measurement

Floats = npt.NDArray[np.float64]

POOL_AT_SIGMAS = 3.0


@dataclass(frozen=True, eq=False)
class OneWays:
    """What the one-way stage tells.

    Attributes:
        rows: N̂, the inverse-variance mean of the noisy totals, at least 1.
        rows_sigma: its standard deviation.
        counts: per column (cells,) non-negative estimates that sum to ``rows``.
        pools: per column (cells,) pool numbers: cells of one pool share their mass evenly.
        variance: per column, of one cell's noise.
    """

    rows: float
    rows_sigma: float
    counts: tuple[Floats, ...]
    pools: tuple[Groups, ...]
    variance: tuple[float, ...]


def one_ways(measured: Sequence[Measurement], columns: Sequence[CodedColumn]) -> OneWays:
    """Estimate the number of rows and each column's distribution from the noisy one-ways."""
    precision = np.array([1.0 / (m.counts.size * m.variance) for m in measured])
    totals = np.array([float(m.counts.sum()) for m in measured])
    rows = float((precision * totals).sum() / precision.sum())
    sigma = float(precision.sum() ** -0.5)
    rows = max(rows, 1.0)
    counts, pools = [], []
    for m, column in zip(measured, columns, strict=True):
        pool = _pool(m, column)
        size = np.bincount(pool)
        mass: Floats = np.bincount(pool, weights=m.counts.astype(np.float64)).astype(np.float64)
        mass = _onto_simplex(mass, np.full(len(mass), 1.0) * size, rows)
        counts.append((mass / size)[pool])
        pools.append(pool)
    return OneWays(rows, sigma, tuple(counts), tuple(pools), tuple(m.variance for m in measured))


def _pool(m: Measurement, column: CodedColumn) -> Groups:
    """Neighbouring cells of an ordered column pooled until their sum stands out of the noise."""
    cells = column.cells
    if not column.ordered:
        return np.arange(cells, dtype=np.int32)
    last = cells - 1 if column.nullable else cells
    pool = np.empty(cells, dtype=np.int32)
    number, total, width = 0, 0.0, 0
    for cell in range(last):
        stands_alone = m.counts[cell] > POOL_AT_SIGMAS * m.sigma
        if stands_alone and width and total <= POOL_AT_SIGMAS * m.sigma * np.sqrt(width):
            number, total, width = number + 1, 0.0, 0  # do not smear a spike over what lies below it
        pool[cell] = number
        total += float(m.counts[cell])
        width += 1
        if total > POOL_AT_SIGMAS * m.sigma * np.sqrt(width):
            number, total, width = number + 1, 0.0, 0
    if width:
        number += 1
    if last < cells:
        pool[last] = number
    return pool


def _onto_simplex(values: Floats, variance: Floats, total: float) -> Floats:
    """The non-negative vector summing to ``total`` that is nearest in noise-weighted least squares:
    x = max(0, values − t·variance), t by bisection on a monotone function."""
    low = float(((values - total) / variance).min()) - 1.0
    high = float((values / variance).max()) + 1.0
    for _ in range(200):
        middle = (low + high) / 2
        if np.maximum(values - middle * variance, 0.0).sum() > total:
            low = middle
        else:
            high = middle
    out = np.maximum(values - high * variance, 0.0)
    return out * (total / out.sum()) if out.sum() > 0 else np.full(len(values), total / len(values))


def equal_mass_groups(counts: Floats, wanted: int, *, null: int | None = None) -> Groups:
    """At most ``wanted`` contiguous groups of about equal mass, heavy cells and the null cell alone.

    Every group holds at least one cell; groups are numbered in cell order.
    """
    cells = len(counts)
    if cells <= wanted:
        return np.arange(cells, dtype=np.int32)
    last = cells if null is None else cells - 1
    wanted = max(1, wanted if null is None else wanted - 1)
    mass = np.maximum(counts[:last], 0.0)
    heavy = np.zeros(last, dtype=bool)
    while True:  # a cell with a whole share of what is left stands alone
        share = mass[~heavy].sum() / max(1, wanted - int(heavy.sum()))
        more = ~heavy & (mass >= share) & (share > 0)
        if not more.any() or int((heavy | more).sum()) >= wanted - 1:
            break
        heavy |= more
    room = max(1, wanted - int(heavy.sum()))
    share = max(mass[~heavy].sum() / room, 1e-300)
    group = np.empty(last, dtype=np.int32)
    number, held, open_ = -1, 0.0, False
    for cell in range(last):
        if heavy[cell]:
            number, open_ = number + 1, False
        elif not open_ or held + mass[cell] / 2 > share:
            number, held, open_ = number + 1, 0.0, True
        held += 0.0 if heavy[cell] else mass[cell]
        group[cell] = number
    group = _at_most(group, mass, wanted)
    return group if null is None else np.append(group, group.max() + 1).astype(np.int32)


def _at_most(group: Groups, counts: Floats, wanted: int) -> Groups:
    """Merge the lightest pair of neighbouring groups until there are at most ``wanted``."""
    while int(group.max()) + 1 > wanted:
        mass = np.bincount(group, weights=np.maximum(counts, 0.0))
        i = int(np.argmin(mass[1:] + mass[:-1]))
        group = np.where(group > i, group - 1, group).astype(np.int32)
    return group
