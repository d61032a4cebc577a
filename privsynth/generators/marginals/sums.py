"""Sums of noisy tables by least squares: how many rows lie inside a condition, how many there are, and the share.

All noise is independent, of known variance; a table's cells inside a condition, its other cells, and the total of a
table that does not express it are three sums whose means are a·(rows inside) + b·(rows).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from privsynth.generators.marginals.resolve import merged
from privsynth.generators.marginals.transcript import Groups, Measurement

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Masks = Mapping[int, Mask]
"""By column number the cells that a condition allows."""


class Sums:
    """Least squares over sums of noisy tables."""

    def __init__(self, measured: Sequence[Measurement]) -> None:
        self._measured = measured
        self._totals = [float(m.counts.sum()) for m in measured]

    def that_express(self, masks: Masks) -> list[Measurement]:
        """The tables of which these cells are whole groups."""
        return [m for m in self._measured if _picked(m, masks) is not None]

    def holding(self, columns: set[int]) -> list[Measurement]:
        """The tables that hold some of these columns."""
        return [m for m in self._measured if columns & set(m.clique)]

    def finest(self, columns: Sequence[int]) -> Measurement | None:
        """Of the tables that hold all of these columns the one with the most cells for them; of several the one
        with the least noise a cell."""
        held = [m for m in self._measured if set(columns) <= set(m.clique)]
        return max(held, key=lambda m: (_cells(m, columns), -m.variance * m.counts.size), default=None)

    def of(self, masks: Masks) -> tuple[float, float, tuple[float, float, float]]:
        """How many rows are inside, how many there are, and (variance, covariance, variance) of both."""
        normal, right = np.zeros((2, 2)), np.zeros(2)
        for m, total in zip(self._measured, self._totals, strict=True):
            picked = _picked(m, masks)
            if picked is None:
                normal[1, 1] += 1.0 / (m.counts.size * m.variance)
                right[1] += total / (m.counts.size * m.variance)
                continue
            inside = float(m.counts[np.ix_(*picked)].sum())
            cells = math.prod(int(p.sum()) for p in picked)
            own, other = cells * m.variance, (m.counts.size - cells) * m.variance
            normal += np.array([[1.0 / own + 1.0 / other, -1.0 / other], [-1.0 / other, 1.0 / other]])
            right += np.array([inside / own - (total - inside) / other, (total - inside) / other])
        spread = np.linalg.inv(normal)
        count, rows = (float(x) for x in spread @ right)
        return count, rows, (float(spread[0, 0]), float(spread[0, 1]), float(spread[1, 1]))

    def all_of(
        self, columns: Sequence[int], groups: Sequence[Groups | None], sizes: Sequence[int]
    ) -> tuple[Floats, Floats, tuple[Floats, Floats, Floats], list[Measurement]]:
        """As :meth:`of` for every cell of a grid at once, and the tables that have it."""
        shape = tuple(sizes)
        a, b, d = np.zeros(shape), np.zeros(shape), 0.0  # normal equations of a cell: [[a, b], [b, d]]
        by_count, by_rows = np.zeros(shape), np.zeros(shape)
        rest = np.zeros(shape)
        used = []
        for m, total in zip(self._measured, self._totals, strict=True):
            found = _onto(m, columns, groups, shape)
            if found is None:
                d += 1.0 / (m.counts.size * m.variance)
                by_rows += total / (m.counts.size * m.variance)
                continue
            used.append(m)
            inside, cells = found
            own, weight = cells * m.variance, 1.0 / ((m.counts.size - cells) * m.variance)
            a += 1.0 / own + weight
            b -= weight
            rest += weight
            by_count += inside / own - weight * (total - inside)
            by_rows += weight * (total - inside)
        e = rest + d
        determinant = a * e - b * b
        count = (e * by_count - b * by_rows) / determinant
        rows = (a * by_rows - b * by_count) / determinant
        return count, rows, (e / determinant, -b / determinant, a / determinant), used


def _picked(m: Measurement, masks: Masks) -> list[Mask] | None:
    """Which groups of each axis lie inside; None where the table lacks a column or cuts a group."""
    if not set(masks) <= set(m.clique):
        return None
    out = []
    for c, g, size in zip(m.clique, m.groups, m.counts.shape, strict=True):
        mask = masks.get(c)
        if mask is None:
            out.append(np.ones(size, dtype=np.bool_))
        elif g is None:
            out.append(mask)
        else:
            inside = touched(mask, g, size)
            if (inside & touched(~mask, g, size)).any():
                return None
            out.append(inside)
    return out


def touched(mask: Mask, groups: Groups, size: int) -> Mask:
    """(size,) the groups that hold some cell of ``mask``."""
    return np.bincount(groups[mask], minlength=size) > 0


def _cells(m: Measurement, columns: Sequence[int]) -> int:
    return math.prod(m.counts.shape[m.clique.index(c)] for c in columns)


def _onto(
    m: Measurement, columns: Sequence[int], groups: Sequence[Groups | None], shape: tuple[int, ...]
) -> tuple[Floats, Floats] | None:
    """The table's counts summed to a grid over ``columns``, and how many of its cells each sum has; None where
    the table lacks a column or is coarser than the grid."""
    if not set(columns) <= set(m.clique):
        return None
    others = tuple(axis for axis, c in enumerate(m.clique) if c not in columns)
    kept = [c for c in m.clique if c in columns]
    table: Floats = m.counts.sum(axis=others).astype(np.float64)
    cells = np.full(table.shape, float(math.prod(m.counts.shape[axis] for axis in others)))
    table = np.transpose(table, [kept.index(c) for c in columns])
    cells = np.transpose(cells, [kept.index(c) for c in columns])
    for axis, (c, wanted) in enumerate(zip(columns, groups, strict=True)):
        own = m.groups[m.clique.index(c)]
        if own is None and wanted is None:
            continue
        if own is not None and (wanted is None or not _refines(own, wanted)):
            return None
        assert wanted is not None
        places = wanted if own is None else merged(own, wanted)
        table, cells = (summed(x, places, axis=axis, size=shape[axis]) for x in (table, cells))
    return table, cells


def _refines(fine: Groups, coarse: Groups) -> bool:
    """Whether every group of ``coarse`` is a union of groups of ``fine``."""
    return bool(np.array_equal(merged(fine, coarse)[fine], coarse))


def summed(table: Floats, places: Groups, *, axis: int, size: int) -> Floats:
    """The table with the entries along one axis summed at ``places``, of which there are ``size``."""
    out = np.zeros([size if i == axis else n for i, n in enumerate(table.shape)])
    np.add.at(np.moveaxis(out, axis, 0), places, np.moveaxis(table, axis, 0))
    return out


def fieller(
    count: Floats | float,
    rows: Floats | float,
    spread: tuple[Floats | float, Floats | float, Floats | float],
    confidence: float,
) -> tuple[Floats, Floats, Floats]:
    """Estimate and ends of count / rows: where (count − p·rows)² ≤ z²·Var(count − p·rows) (Fieller 1954); all
    of 0 to 1 where the number of rows itself cannot be told from 0."""
    square = NormalDist().inv_cdf(0.5 + confidence / 2) ** 2
    own, both, other = (np.asarray(x, dtype=np.float64) for x in spread)
    count, rows = np.asarray(count, dtype=np.float64), np.asarray(rows, dtype=np.float64)
    a, b, c = rows**2 - square * other, count * rows - square * both, count**2 - square * own
    clear = (a > 0) & (rows > 0)
    safe = np.where(clear, a, 1.0)
    reach = np.sqrt(np.maximum(b**2 - a * c, 0.0)) / safe
    middle = b / safe
    estimate = np.divide(count, rows, out=np.full_like(middle, 0.5), where=clear)
    held = np.clip(estimate, 0.0, 1.0)
    low = np.minimum(middle - reach, held - (estimate - middle + reach))
    high = np.maximum(middle + reach, held + (middle + reach - estimate))
    return held, np.where(clear, np.clip(low, 0.0, 1.0), 0.0), np.where(clear, np.clip(high, 0.0, 1.0), 1.0)
