"""How far the one- and two-way tables of the synthetic rows lie from those of people never seen.

Every distance is a total variation distance (TVD) to the *holdout*, and stands between two others at
the same sizes: the *floor* (training rows against the holdout: what chance alone makes of a perfect
generator) and the *ceiling* (what ignorance makes: for two-way tables the training columns shuffled
one by one, so right margins and no association; for one-way tables uniform draws over the schema's
cells). A TVD without them says nothing: on 1,000 people of Adult the floor of two-way tables is .079
and the ceiling .126.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from privsynth.progress import SILENT, Progress
from privsynth.validate.coded import Coded, Codes, Rows, independent

Floats = npt.NDArray[np.float64]

RESAMPLES = 200


@dataclass(frozen=True)
class Distance:
    """A mean TVD with its sampling interval; ``low`` and ``high`` at the table's level."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Table:
    """The distance of one set of columns: synthetic, floor and ceiling, each to the holdout."""

    columns: tuple[str, ...]
    value: float
    floor: float
    ceiling: float


@dataclass(frozen=True, repr=False)
class Fidelity:
    """Mean TVD over tables of ``ways`` columns, with the tables themselves.

    Attributes:
        ways: 1 or 2.
        value, floor, ceiling: mean over tables of synthetic, train and ignorant rows to the holdout.
        excess: value - floor, resampled together, so its interval is the narrower one.
        rows: on either side of each comparison.
        tables: every table measured, in column order.
        measured_of: how many tables there are in all; more than ``len(tables)`` where they were sampled.
    """

    ways: int
    value: Distance
    floor: Distance
    ceiling: Distance
    excess: Distance
    rows: int
    subjects: int
    tables: tuple[Table, ...]
    measured_of: int

    def __repr__(self) -> str:
        return f"Fidelity(ways={self.ways})"

    def worst(self, most: int = 5) -> tuple[Table, ...]:
        """The tables with the largest value above their floor."""
        return tuple(sorted(self.tables, key=lambda table: table.floor - table.value)[:most])


def coarsen(columns: Sequence[Coded], reference: Codes, *, cells: int = 16) -> list[npt.NDArray[np.int64]]:
    """For each column a map (its cells,) from code to one of at most ``cells`` coarser cells.

    Ordered columns: cells of about equal shares of ``reference``, null kept apart. Unordered: the
    commonest codes of ``reference``, the rest together. Columns with few cells stay as they are.
    """
    maps: list[npt.NDArray[np.int64]] = []
    for j, column in enumerate(columns):
        counts = np.bincount(reference[:, j], minlength=column.cells)
        if column.cells <= cells:
            maps.append(np.arange(column.cells))
        elif column.ordered:
            values = column.cells - column.nullable
            before = np.cumsum(counts[:values]) - counts[:values] / 2
            groups = np.minimum((before / max(before[-1], 1) * (cells - 1)).astype(np.int64), cells - 2)
            maps.append(np.append(groups, cells - 1) if column.nullable else groups)
        else:
            place = np.full(column.cells, cells - 1, dtype=np.int64)
            place[np.argsort(-counts, kind="stable")[: cells - 1]] = np.arange(cells - 1)
            maps.append(place)
    return maps


def tvd(a: Codes, b: Codes) -> float:
    """Half the L1 distance of the shares of two arrays (n,), (m,) of codes; in [0, 1]."""
    cells = int(max(a.max(), b.max())) + 1
    return float(np.abs(np.bincount(a, minlength=cells) / len(a) - np.bincount(b, minlength=cells) / len(b)).sum() / 2)


def measure_fidelity(
    train: Rows,
    holdout: Rows,
    synthetic: Codes,
    columns: Sequence[Coded],
    *,
    ways: int,
    seed: int,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    most_rows: int = 20_000,
    most_tables: int = 600,
    progress: Progress = SILENT,
) -> Fidelity:
    """Measure every table of ``ways`` columns (a seeded choice of ``most_tables`` if there are more).

    Sides are cut to one size: subjects of train and holdout equally many (with at most about
    ``most_rows`` rows), synthetic rows as many as the train side has rows. Intervals: value ± z·sd over
    ``resamples`` bootstraps of the holdout's and train's subjects and of the synthetic rows. (The
    percentiles of a resampled TVD are biased upward, so they are not used; the spread is at most about
    √2 too wide where value and floor meet.)
    """
    rng = np.random.default_rng(seed)
    fit = min(1.0, most_rows * min(train.subjects / len(train), holdout.subjects / len(holdout)) / holdout.subjects)
    subjects = min(train.subjects, max(1, int(fit * holdout.subjects)))
    real, seen = holdout.some(subjects, rng=rng), train.some(subjects, rng=rng)
    drawn = synthetic[rng.permutation(len(synthetic))[: len(seen)]]
    ignorant = independent(seen.codes, rng=rng) if ways > 1 else _uniform(columns, len(seen), rng)
    maps = coarsen(columns, real.codes)
    sides = [Rows.of(drawn), seen, Rows.of(ignorant)]
    coarse = [np.column_stack([m[side.codes[:, j]] for j, m in enumerate(maps)]) for side in (real, *sides)]
    weights = [_weights(side, resamples, rng) for side in (real, *sides)]
    every = list(combinations(range(len(columns)), ways))
    chosen = sorted(rng.permutation(len(every))[:most_tables].tolist())
    progress.step(f"{ways}-way tables", len(chosen))
    points = np.zeros((len(chosen), 3))
    resampled = np.zeros((3, resamples))
    for row, index in enumerate(chosen):
        sizes = [int(maps[j].max()) + 1 for j in every[index]]
        shares = [_shares(codes, every[index], sizes, weight) for codes, weight in zip(coarse, weights, strict=True)]
        for i in range(3):
            gaps = np.abs(shares[i + 1] - shares[0]).sum(axis=0) / 2
            points[row, i] = gaps[0]
            resampled[i] += gaps[1:] / len(chosen)
        progress.advance()
    means = points.mean(axis=0)

    def spread(value: float, draws: Floats) -> Distance:
        reach = NormalDist().inv_cdf(0.5 + level / 2) * float(draws.std(ddof=1))
        return Distance(float(value), float(value) - reach, float(value) + reach)

    return Fidelity(
        ways=ways,
        value=spread(means[0], resampled[0]),
        floor=spread(means[1], resampled[1]),
        ceiling=spread(means[2], resampled[2]),
        excess=spread(means[0] - means[1], resampled[0] - resampled[1]),
        rows=len(drawn),
        subjects=subjects,
        tables=tuple(
            Table(tuple(columns[j].name for j in every[index]), *(float(p) for p in points[row]))
            for row, index in enumerate(chosen)
        ),
        measured_of=len(every),
    )


def _uniform(columns: Sequence[Coded], rows: int, rng: np.random.Generator) -> Codes:
    return np.column_stack([rng.integers(column.cells, size=rows) for column in columns])


def _weights(rows: Rows, resamples: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """(rows, 1 + resamples): first column as is, the others how often a subject's resample has the row."""
    drawn = rng.multinomial(rows.subjects, np.full(rows.subjects, 1 / rows.subjects), size=resamples)
    out = np.ones((len(rows), 1 + resamples), dtype=np.float32)
    out[:, 1:] = drawn.T[rows.group]
    return out


def _shares(codes: Codes, clique: Sequence[int], sizes: Sequence[int], weights: npt.NDArray[np.float32]) -> Floats:
    """(cells of the clique, 1 + resamples): each column the shares of one weighting."""
    from scipy.sparse import csr_array

    flat = np.ravel_multi_index(tuple(codes[:, j] for j in clique), tuple(sizes))
    order = np.argsort(flat, kind="stable")
    starts = np.searchsorted(flat[order], np.arange(int(np.prod(sizes)) + 1))
    pick = csr_array((np.ones(len(flat), dtype=np.float32), order, starts), shape=(len(starts) - 1, len(flat)))
    counts = (pick @ weights).astype(np.float64)
    shares: Floats = counts / counts.sum(axis=0)
    return shares
