"""From noisy one-ways (public from here on): the row estimate, smoothed one-ways, groups of cells.

Everything here is post-processing of the transcript and of declared sizes; no rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from privsynth.data.codec import CodedColumn
from privsynth.generators.marginals.public import Ints, blend
from privsynth.generators.marginals.smooth import Floats, smoothed
from privsynth.generators.marginals.transcript import Groups, Measurement


@dataclass(frozen=True, eq=False)
class OneWays:
    """What the one-way stage tells.

    Attributes:
        rows: N̂, the inverse-variance mean of the noisy totals, at least 1.
        rows_sigma: its standard deviation.
        counts: per column (cells,) non-negative estimates that sum to ``rows``.
        variance: per column, of one cell's noise.
    """

    rows: float
    rows_sigma: float
    counts: tuple[Floats, ...]
    variance: tuple[float, ...]


def one_ways(
    measured: Sequence[Measurement], columns: Sequence[CodedColumn], public: Sequence[Ints | None] = ()
) -> OneWays:
    """Estimate the number of rows and each column's distribution from the noisy one-ways, and public ones if any."""
    precision = np.array([1.0 / (m.counts.size * m.variance) for m in measured])
    totals = np.array([float(m.counts.sum()) for m in measured])
    rows = max(float((precision * totals).sum() / precision.sum()), 1.0)
    counts, variance = [], []
    met = blend(measured, public or (None,) * len(measured), rows=rows)
    for m, column, told in zip(measured, columns, met, strict=True):
        noisy = told.share * rows if told.public else m.counts.astype(np.float64)
        values = noisy[: column.null] if column.ordered else noisy
        variance.append(rows**2 / told.precision if told.public else m.variance)
        sigma = float(np.sqrt(variance[-1]))
        if column.ordered and column.null is not None:  # null is no neighbour of a number
            share = min(max(float(noisy[column.null]), 1e-9 * rows), 0.999999 * rows)
            rest = smoothed(values, sigma=sigma, total=rows - share, ordered=True)
            counts.append(np.append(rest, share))
        else:
            counts.append(smoothed(values, sigma=sigma, total=rows, ordered=column.ordered))
    return OneWays(rows, float(precision.sum() ** -0.5), tuple(counts), tuple(variance))


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


def refinement(maps: Sequence[Groups | None], cells: int) -> Groups:
    """The coarsest grouping of which every given one is a merging, numbered by first cell; None: every
    cell by itself. Without any map there is one group."""
    fine: Groups = np.zeros(cells, dtype=np.int32)
    for grouping in maps:
        if grouping is None:
            return np.arange(cells, dtype=np.int32)
        joined = fine.astype(np.int64) * (int(grouping.max()) + 1) + grouping
        _, first, inverse = np.unique(joined, return_index=True, return_inverse=True)
        rank = np.empty(len(first), dtype=np.int32)
        rank[np.argsort(first)] = np.arange(len(first), dtype=np.int32)
        fine = rank[inverse]
    return fine


def merged(fine: Groups, grouping: Groups | None) -> Groups:
    """(fine groups,) map of fine groups to the groups of ``grouping``, which merges them."""
    if grouping is None:
        return np.arange(int(fine.max()) + 1, dtype=np.int32)
    out = np.empty(int(fine.max()) + 1, dtype=np.int32)
    out[fine] = grouping
    return out
