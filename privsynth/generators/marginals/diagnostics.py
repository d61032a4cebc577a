"""What a fitted model and its transcript tell of the fit: figures for a person to look at. Free.

Everything is a function of noisy tables that were paid for: no rows are read and nothing is spent, so whoever
requests holds may look too. The page is drawn in ``diagnostics_page.py``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from privsynth.data.codec import CodedColumn
from privsynth.data.records import HeldBack
from privsynth.generators.marginals.product import product_table
from privsynth.generators.marginals.public import blend
from privsynth.generators.marginals.transcript import Groups, Measurement
from privsynth.privacy.events import Receipt
from privsynth.validate.rates import Interval

if TYPE_CHECKING:
    from privsynth.generators.marginals.model import MarginalModel

Floats = npt.NDArray[np.float64]

FORMAT = 1
MOST_BARS = 24
WORST_TABLES = 10
FALSE_EDGES = 0.05
"""The chance that any pair of independent columns is told as dependent, over all pairs together."""
Z95 = 1.959963984540054


@dataclass(frozen=True)
class Table:
    """One noisy table.

    Attributes:
        stage: as in the transcript.
        columns: their names.
        groups: how many groups of cells each column has in it.
        sigma: standard deviation of one count's noise, in rows (of votes: in subjects).
        mu_squared: what it cost.
        error: total-variation distance that the noise alone adds to the table, expected, with a 95% interval; None
            for the tables of a domain.
        chi_square: squared distance of the model from the table, in variances of the noise, a cell: about 1 where
            the model says what the rows say; None for the tables of a domain.
    """

    stage: str
    columns: tuple[str, ...]
    groups: tuple[int, ...]
    sigma: float
    mu_squared: float
    error: Interval | None
    chi_square: float | None

    @property
    def cells(self) -> int:
        """How many counts it has."""
        return math.prod(self.groups)


@dataclass(frozen=True)
class Stage:
    """The tables of one stage together.

    Attributes:
        name: of the stage.
        tables: how many.
        groups: least and most groups of a column.
        sigma: least and most noise of a count, in rows.
        error: mean of the tables' expected errors; None for the tables of a domain.
        chi_square: a cell, over all its cells.
        mu_share: of the fit's μ².
    """

    name: str
    tables: int
    groups: tuple[int, int]
    sigma: tuple[float, float]
    error: float | None
    chi_square: float | None
    mu_share: float


@dataclass(frozen=True)
class Pair:
    """How far two columns are from independent.

    Attributes:
        columns: the two.
        tvd: distance of the model's table of the two from the product of its margins, at the measured groups; 0 is
            independent.
        stands_out: whether the noisy table shows a dependence that neither noise nor the chance of who is in the data
            explains.
    """

    columns: tuple[str, str]
    tvd: float
    stands_out: bool


@dataclass(frozen=True, eq=False)
class OneWay:
    """One column: shares of at most ``MOST_BARS`` bars, each of neighbouring cells.

    Attributes:
        column: its name.
        labels: of the bars.
        share: the model's.
        low, high: 95% interval of the noisy measurement of each.
        chi_square: a cell.
    """

    column: str
    labels: tuple[str, ...]
    share: Floats = field(repr=False)
    low: Floats = field(repr=False)
    high: Floats = field(repr=False)
    chi_square: float


@dataclass(frozen=True, eq=False, repr=False)
class Diagnostics:
    """The figures. Make them with ``model.diagnostics()``.

    Attributes:
        receipt: what was paid.
        model: the model's id.
        components: of its mixture.
        rows: N̂ with its 95% interval.
        stages, tables: what was measured, in the order of measuring.
        held_back: error on tables that the fit never saw; None where none were held back.
        pairs: of the columns whose pair was measured, the most dependent first.
        one_ways: every column, the worst met first.
        helped: mean weight of the public table in each stage's tables, 0 to 1; empty where none was declared.
    """

    receipt: Receipt
    model: str
    components: int
    rows: Interval
    stages: tuple[Stage, ...]
    tables: tuple[Table, ...]
    held_back: HeldBack | None
    pairs: tuple[Pair, ...]
    one_ways: tuple[OneWay, ...]
    helped: Mapping[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Diagnostics({self.receipt.source!r}, {len(self.tables)} tables)"

    @property
    def edges(self) -> tuple[Pair, ...]:
        """The pairs that stand out of the noise, the most dependent first."""
        return tuple(pair for pair in self.pairs if pair.stands_out)

    def worst(self, stage: str) -> tuple[Table, ...]:
        """The tables of a stage that the model meets least, at most ``WORST_TABLES``."""
        some = [t for t in self.tables if t.stage == stage and t.chi_square is not None]
        return tuple(sorted(some, key=lambda t: -(t.chi_square or 0.0))[:WORST_TABLES])

    def to_json(self) -> dict[str, Any]:
        """All but the plots as JSON values; of many tables the worst of each stage, of the pairs those that stand
        out."""
        paid, held = self.receipt, self.held_back
        return {
            "privsynth-diagnostics": FORMAT,
            "model": self.model,
            "source": paid.source,
            "hold": paid.hold,
            "epsilon": paid.epsilon,
            "delta": paid.delta,
            "unit": paid.unit,
            "noise": paid.noise,
            "mu": {"fit": paid.mu_fit, "gate": paid.mu_gate},
            "components": self.components,
            "public weight": dict(self.helped),
            "columns": len(self.one_ways),
            "rows": _told(self.rows),
            "held back": None
            if held is None
            else {"estimate": held.estimate, "upper": held.upper, "tables": len(held.cliques)},
            "stages": [
                {
                    "stage": s.name,
                    "tables": s.tables,
                    "groups": list(s.groups),
                    "sigma": list(s.sigma),
                    "sigma share": [x / self.rows.value for x in s.sigma],
                    "expected error": s.error,
                    "chi-square": s.chi_square,
                    "mu share": s.mu_share,
                }
                for s in self.stages
            ],
            "worst tables": [
                {
                    "stage": t.stage,
                    "columns": list(t.columns),
                    "groups": list(t.groups),
                    "sigma": t.sigma,
                    "expected error": None if t.error is None else _told(t.error),
                    "chi-square": t.chi_square,
                    "mu squared": t.mu_squared,
                }
                for s in self.stages
                for t in self.worst(s.name)
            ],
            "pairs measured": len(self.pairs),
            "dependent pairs": [{"columns": list(p.columns), "tvd": p.tvd} for p in self.edges],
        }

    def page(self, *, plots: int = 12) -> str:
        """One HTML page, self-contained; ``plots`` columns are drawn, those met worst first."""
        from privsynth.generators.marginals.diagnostics_page import page

        return page(self, plots=plots)

    def write(self, path: str | Path, *, plots: int = 12) -> Path:
        """Write :meth:`page`, whole or not at all.

        Raises:
            StorageError: the place cannot be written.
        """
        from privsynth.validate.page import write

        return write(path, self.page(plots=plots), what="page")


def diagnose(model: MarginalModel) -> Diagnostics:
    """The figures of a model. O(R·G²) as one step of the fit, and a few operations a table."""
    columns = model.codec.columns
    spent = [*model.transcript.domains, *model.transcript.measurements]
    found = {id(m): q for m, q in _expected(model)}
    tables = tuple(_table(m, found.get(id(m)), model, columns) for m in spent)
    rows = Interval(model.rows, max(0.0, model.rows - Z95 * model.rows_sigma), model.rows + Z95 * model.rows_sigma)
    one_ways = [_one_way(m, found[id(m)], model, columns) for m in model.transcript.stage("one-way")]
    return Diagnostics(
        receipt=model.receipt,
        model=model.id,
        components=len(model.weights),
        rows=rows,
        stages=_stages(tables, model.receipt.mu_fit**2),
        tables=tables,
        held_back=model.held_back_error(),
        pairs=_pairs(
            [(m, found[id(m)]) for m in model.transcript.stage("pair")],
            columns,
            rows=model.rows,
            alike=model.receipt.contribution * model.receipt.person_rows,
        ),
        one_ways=tuple(sorted(one_ways, key=lambda o: -o.chi_square)),
        helped=_helped(model),
    )


def _helped(model: MarginalModel) -> dict[str, float]:
    """How much of what was met is the public table's, by stage."""
    out = {}
    for stage in dict.fromkeys(m.stage for m in model.transcript.measurements):
        met = blend(*zip(*model.transcript.helped(stage), strict=True), rows=model.rows)
        if model.transcript.public and stage != "held-back":
            out[stage] = math.fsum(told.public for told in met) / len(met)
    return out


# --- the model's tables ----------------------------------------------------------------------------


class _Parts:
    """(R, groups) tables of columns, each made once."""

    def __init__(self, model: MarginalModel) -> None:
        self._model = model
        self._made: dict[tuple[int, bytes | None], Floats] = {}

    def __call__(self, column: int, groups: Groups | None) -> Floats:
        key = (column, None if groups is None else groups.tobytes())
        if key not in self._made:
            self._made[key] = self._model.grouped(column, groups)
        return self._made[key]


def _expected(model: MarginalModel) -> Iterator[tuple[Measurement, Floats]]:
    """Each measured table with the model's shares at its groups."""
    parts, weights = _Parts(model), model.weights
    pairs: dict[int, list[tuple[Measurement, Floats, Floats]]] = {}
    for m in model.transcript.measurements:
        if len(m.clique) == 1 and m.groups[0] is None:
            yield m, model.share(m.clique[0])
            continue
        held = [parts(c, g) for c, g in zip(m.clique, m.groups, strict=True)]
        if len(held) == 2:
            pairs.setdefault(id(held[0]), []).append((m, held[0], held[1]))
            continue
        yield m, product_table(weights, held)
    for some in pairs.values():  # all partners of a column in one product
        side = np.concatenate([b for _, _, b in some], axis=1)
        whole = (weights[:, None] * some[0][1]).T @ side
        ends = np.cumsum([b.shape[1] for _, _, b in some])
        for (m, _, b), end in zip(some, ends.tolist(), strict=True):
            yield m, whole[:, end - b.shape[1] : end]


def _table(m: Measurement, shares: Floats | None, model: MarginalModel, columns: Sequence[CodedColumn]) -> Table:
    error = chi_square = None
    if shares is not None:
        error = noise_error(m.counts.size, sigma=math.sqrt(m.variance), rows=model.rows, rows_sigma=model.rows_sigma)
        chi_square = _chi_square(m, shares, model.rows)
    names = tuple(columns[c].name for c in m.clique)
    return Table(m.stage, names, m.counts.shape, m.sigma, float(m.mu_squared), error, chi_square)


def _chi_square(m: Measurement, shares: Floats, rows: float) -> float:
    return float(((m.counts - rows * shares) ** 2).mean() / m.variance)


def noise_error(cells: int, *, sigma: float, rows: float, rows_sigma: float = 0.0) -> Interval:
    """½·Σ|noise| / N̂ of a table: expected, and an interval that holds about 95% of what it may be, N̂'s own
    uncertainty included."""
    mean = 0.5 * cells * sigma * math.sqrt(2 / math.pi) / rows
    spread = math.hypot(math.sqrt((math.pi / 2 - 1) / cells), rows_sigma / rows)
    return Interval(mean, mean * max(0.0, 1 - Z95 * spread), mean * (1 + Z95 * spread))


def _stages(tables: Sequence[Table], mu_fit_squared: float) -> tuple[Stage, ...]:
    by_name: dict[str, list[Table]] = {}
    for table in tables:
        by_name.setdefault(table.stage, []).append(table)
    return tuple(_stage(name, some, mu_fit_squared) for name, some in by_name.items())


def _stage(name: str, tables: Sequence[Table], mu_fit_squared: float) -> Stage:
    sizes = [g for t in tables for g in t.groups]
    sigmas = [t.sigma for t in tables]
    errors = [t.error.value for t in tables if t.error is not None]
    squares = [(t.chi_square, t.cells) for t in tables if t.chi_square is not None]
    cells = sum(n for _, n in squares)
    return Stage(
        name=name,
        tables=len(tables),
        groups=(min(sizes), max(sizes)),
        sigma=(min(sigmas), max(sigmas)),
        error=math.fsum(errors) / len(errors) if errors else None,
        chi_square=math.fsum(x * n for x, n in squares) / cells if cells else None,
        mu_share=math.fsum(t.mu_squared for t in tables) / mu_fit_squared if mu_fit_squared > 0 else 0.0,
    )


# --- dependence ------------------------------------------------------------------------------------


def _pairs(
    measured: Sequence[tuple[Measurement, Floats]], columns: Sequence[CodedColumn], *, rows: float, alike: int = 1
) -> tuple[Pair, ...]:
    """Of every measured pair the model's dependence, and whether the noisy table itself shows one.

    What of a table lies outside every table of the form u·qᵀ + p·vᵀ (p, q its margins) says nothing of N̂ and the
    margins, to first order. Where the columns are independent it is the noise and the chance of who is in the data.
    Rows drawn independently give it the covariance N̂·A⊗B, A = P·diag(p)·P with P the projection off p, B likewise of
    q; the noise gives it σ². So along the eigenvectors of A and B every entry has the variance σ² + N̂·αᵢ·βⱼ, and the
    sum of the (a - 1)·(b - 1) squares over their variances has that mean. Its law is taken as a chi-square scaled to
    the variance that cells of few rows give it (their fourth cumulant). A pair stands out above the quantile that all
    pairs together exceed by chance with probability at most ``FALSE_EDGES``.

    Args:
        rows: N̂.
        alike: how many rows of one person may be alike; they count as one, and the variance of the chance is as many
            times larger at most.
    """
    from scipy.special import gammainccinv

    level = FALSE_EDGES / max(len(measured), 1)
    bases: dict[tuple[int, bytes | None], tuple[Floats, Floats]] = {}
    out = []
    for m, shares in measured:
        left, right = shares.sum(axis=1), shares.sum(axis=0)
        tvd = 0.5 * float(np.abs(shares - np.outer(left, right)).sum())
        stands_out = False
        if min(shares.shape) > 1:
            keys = [(c, None if g is None else g.tobytes()) for c, g in zip(m.clique, m.groups, strict=True)]
            for key, margin in zip(keys, (left, right), strict=True):
                if key not in bases:
                    bases[key] = _beside(margin)
            (along, alpha), (across, beta) = (bases[key] for key in keys)
            weight = 1.0 / (m.variance + alike * rows * np.outer(alpha, beta))
            told = float((weight * (along.T @ m.counts.astype(np.float64) @ across) ** 2).sum())
            each = (along**2) @ weight @ (across**2).T
            freedom = weight.size
            variance = 2.0 * freedom + float((alike**3 * rows * np.outer(left, right) * each**2).sum())
            bar = variance / freedom * float(gammainccinv(freedom**2 / variance, level))
            stands_out = told > bar
        out.append(Pair((columns[m.clique[0]].name, columns[m.clique[1]].name), tvd, stands_out))
    return tuple(sorted(out, key=lambda p: -p.tvd))


def _beside(margin: Floats) -> tuple[Floats, Floats]:
    """Orthonormal directions at right angles to a margin p, as columns, that part diag(p) into uncorrelated entries;
    and the variance of each, for one row."""
    off = np.linalg.qr(margin[:, None], mode="complete")[0][:, 1:]
    variances, turn = np.linalg.eigh(off.T @ (margin[:, None] * off))
    return np.asarray(off @ turn), np.maximum(variances, 0.0)


# --- one column ------------------------------------------------------------------------------------


def _one_way(m: Measurement, share: Floats, model: MarginalModel, columns: Sequence[CodedColumn]) -> OneWay:
    column = columns[m.clique[0]]
    bars, labels = _bars(column, share)
    cells = np.bincount(bars)
    seen = np.bincount(bars, weights=m.counts.astype(np.float64)) / model.rows
    half = Z95 * np.sqrt(m.variance * cells) / model.rows
    return OneWay(
        column.name,
        labels,
        np.bincount(bars, weights=share).astype(np.float64),
        np.clip(seen - half, 0, 1),
        np.clip(seen + half, 0, 1),
        _chi_square(m, share, model.rows),
    )


def _bars(column: CodedColumn, share: Floats) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """(cells,) the bar of each cell, and the bars' labels: neighbouring cells of an ordered column together, the
    rarest of an unordered one; null alone."""
    labels = column.labels()
    inner = column.cells if column.null is None else column.cells - 1
    most = MOST_BARS if column.null is None else MOST_BARS - 1
    if inner <= most:
        return np.arange(column.cells), labels
    if column.ordered:
        width = -(-inner // most)
        bars = np.arange(inner) // width
        told = [_span(labels, k * width, min((k + 1) * width, inner) - 1) for k in range(int(bars[-1]) + 1)]
    else:
        common = np.sort(np.argsort(-share[:inner], kind="stable")[: most - 1])
        bars = np.full(inner, most - 1)
        bars[common] = np.arange(most - 1)
        told = [*(labels[c] for c in common.tolist()), f"{inner - most + 1} others"]
    if column.null is not None:
        bars, told = np.append(bars, bars.max() + 1), [*told, "null"]
    return bars.astype(np.int64), tuple(told)


def _span(labels: Sequence[str], first: int, last: int) -> str:
    return labels[first] if first == last else f"{labels[first].split(' to ')[0]} to {labels[last].split(' to ')[-1]}"


def _told(interval: Interval) -> dict[str, float]:
    return {"value": interval.value, "low": interval.low, "high": interval.high}
