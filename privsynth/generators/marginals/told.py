"""What a transcript tells beside its model: the held-back error, and intervals of shares of the training rows.

Post-processing: noisy tables and the model that was fitted to them, no rows, no randomness, no cost.

An interval is about the rows that were trained on, after content rules, consent and the bound on a subject's
rows: it covers the noise that was added, not the chance by which these rows came from a population.

*Measured.* A table expresses a condition if every column of the condition is one of its own and no group of it
is cut. Its cells inside sum to an unbiased estimate of how many rows meet the condition, its other cells of how
many do not, and every table's total is one of all rows. All noise is independent and near normal (rounding is in
the variance), so least squares over these sums gives both counts with their exact covariance; the share's interval
is Fieller's, in which the noise of the number of rows is accounted for exactly. Where the estimate lies outside
0 to 1 it is moved inside and keeps its reach, so an interval is never narrower than the noise; near 0 and 1 it
covers more often than stated. One limit: groups were chosen from the noisy one-ways, so where a condition on one
column can be told from later tables only because of how the noise fell, pooling them is not exactly independent
of that choice. Nor is it of which tables an adaptive fit's last round bought: of 15,000 intervals of 95% on made-up
pairs 95.5% covered, of those whose pair was bought again 93.4% to 95.8% by how near to the noise they were.

*Bounds.* A condition that no table expresses lies between measured ones: within whatever wider condition on some
of its columns a table does express, and no less than such parts must share (Fréchet 1935). These bounds hold at
the stated confidence all together (a union bound over every figure used); they may be wide, and the model's own
share, moved inside, is the estimate. No interval of the model itself is given: redrawing the noise shows how it
moves with the noise, not how far it is from the rows where nothing was measured. On made-up rows (210 conditions on
two and three columns, at ε = 1 and 8, 20 redraws refitted each) such intervals held the truth in 79 to 92% where 95%
was asked; bounds held it always, at about eight times the width.

*Public.* What every row meets has the share 1 and what the schema's ``never`` rules out the share 0, each with an
interval of that one number, by the basis ``measured`` and no table: none had to be read.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from privsynth.data.codec import Codec
from privsynth.data.records import Condition, HeldBack
from privsynth.errors import ConditionError
from privsynth.generators.marginals.product import product_table
from privsynth.generators.marginals.sums import Floats, Mask, Masks, Sums, fieller, summed, touched
from privsynth.generators.marginals.transcript import Groups, MarginalTranscript, Measurement
from privsynth.generators.marginals.zeros import is_zero, zero_cells

if TYPE_CHECKING:
    from privsynth.generators.marginals.model import MarginalModel

Basis = Literal["measured", "bounds"]
Table = tuple[str, tuple[str, ...]]
WIDEST = 3
MOST_SURE = 1 - 1e-9
"""The greatest confidence: shared by a union bound it still has a quantile as a float."""


@dataclass(frozen=True)
class Interval:
    """The share of training rows that meet a condition.

    Attributes:
        estimate: where ``measured`` the noisy tables' own, else the model's within the bounds; of what the schema
            alone decides exactly 0 or 1.
        low, high: ends of the interval, within 0 and 1.
        confidence: of the interval, for this condition alone.
        basis: ``measured``: from tables that express it; ``bounds``: from tables of wider or narrower conditions.
        tables: (stage, columns) of the tables that were read, but those for their totals alone.
    """

    estimate: float
    low: float
    high: float
    confidence: float
    basis: Basis
    tables: tuple[Table, ...]


@dataclass(frozen=True, eq=False)
class IntervalTable:
    """The shares of the cells of one to three columns, one axis a column.

    Attributes:
        names: the columns.
        groups: per column the (cells,) map of its cells to the axis, None where they are the cells.
        estimate, low, high: as in :class:`Interval`; each cell's interval is for that cell alone.
        confidence, basis, tables: as in :class:`Interval`.
    """

    names: tuple[str, ...]
    groups: tuple[Groups | None, ...]
    estimate: Floats
    low: Floats
    high: Floats
    confidence: float
    basis: Basis
    tables: tuple[Table, ...]


# --- intervals -----------------------------------------------------------------------------------


def interval(model: MarginalModel, where: Condition, *, confidence: float = 0.95) -> Interval:
    """The share of training rows that meet ``where``, a condition on one to three columns.

    Raises:
        ConditionError: another number of columns, a value outside its domain, or a confidence out of range.
    """
    _check(confidence)
    evidence = model.codec.evidence(where)
    if not 1 <= len(evidence) <= WIDEST:
        raise ConditionError(f"a condition on {len(evidence)} columns", where="interval", mend="one to three columns")
    weights = {model.codec.index[name]: e.weights for name, e in evidence.items()}
    weights = {c: w for c, w in weights.items() if (w < 1.0).any()}
    inner, outer = ({c: w >= 1.0 for c, w in weights.items()}, {c: w > 0.0 for c, w in weights.items()})
    if not weights:
        return Interval(1.0, 1.0, 1.0, confidence, "measured", ())
    if is_zero(model.codec, evidence):
        return Interval(0.0, 0.0, 0.0, confidence, "measured", ())
    sums = Sums(model.transcript.measurements)
    if all(np.array_equal(inner[c], outer[c]) for c in weights):
        used = sums.that_express(inner)
        if used:
            share, low, high = map(float, fieller(*sums.of(inner), confidence))
            return Interval(share, low, high, confidence, "measured", _told(model, used))
    low, high, used = _Bounds(sums, inner, outer).at(confidence)
    estimate = min(max(model.probability(where), low), high)
    return Interval(estimate, low, high, confidence, "bounds", _told(model, used))


def marginal_interval(model: MarginalModel, names: Sequence[str], *, confidence: float = 0.95) -> IntervalTable:
    """The shares of all cells of one to three columns: over the groups of the finest table that holds them all,
    pooled with those that keep these groups apart; where none holds them all, over cells, between 0 and the least
    upper bound by tables of some of them.

    Raises:
        ConditionError: as :meth:`MarginalModel.marginal`, or a confidence out of range.
    """
    _check(confidence)
    shares = model.marginal(names)
    columns = tuple(model.codec.index[name] for name in names)
    never = zero_cells(model.codec, names)
    sums = Sums(model.transcript.measurements)
    held = sums.finest(columns)
    if held is not None:
        groups = tuple(held.groups[held.clique.index(c)] for c in columns)
        estimate, low, high, used = _grid(sums, columns, groups, _sizes(model, columns, groups), confidence)
        estimate, low, high = (_without(never, groups, table) for table in (estimate, low, high))
        return IntervalTable(tuple(names), groups, estimate, low, high, confidence, "measured", _told(model, used))
    parts = [part for size in (2, 1) for part in itertools.combinations(columns, size) if sums.finest(part)]
    parts = [p for p in parts if not any(set(p) < set(q) for q in parts)]
    high, tables = np.ones_like(shares), []
    for part in parts:
        table = sums.finest(part)
        assert table is not None
        groups = tuple(table.groups[table.clique.index(c)] for c in part)
        one_sided = max(0.0, 1 - 2 * (1 - confidence) / len(parts))
        _, _, top, used = _grid(sums, part, groups, _sizes(model, part, groups), one_sided)
        for axis, group in enumerate(groups):
            top = top if group is None else np.take(top, group, axis=axis)
        order = sorted(range(len(part)), key=lambda i: columns.index(part[i]))
        shape = [s if c in part else 1 for c, s in zip(columns, shares.shape, strict=True)]
        high = np.minimum(high, np.transpose(top, order).reshape(shape))
        tables += [m for m in used if m not in tables]
    high = _without(never, (None,) * len(columns), high)
    estimate = np.minimum(shares, high)
    return IntervalTable(
        tuple(names),
        (None,) * len(columns),
        estimate,
        np.zeros_like(high),
        high,
        confidence,
        "bounds",
        _told(model, tables),
    )


def intervals(model: MarginalModel) -> dict[str, tuple[Floats, Floats, Floats]]:
    """Per column: the model's share of each cell, and the 95% interval of its noisy one-way.

    Each is (cells,). For pictures: of the one-way table alone, and N̂ as if it were exact; its noise moves all
    bars of a column together by a share that is small beside each one's own.
    """
    out = {}
    for c, m in enumerate(model.transcript.stage("one-way")):
        share = model.share(c)
        y = m.counts / model.rows
        half = 1.96 * np.sqrt(m.variance) / model.rows
        out[model.codec.columns[c].name] = (share, np.clip(y - half, 0, 1), np.clip(y + half, 0, 1))
    return out


def held_back_error(model: MarginalModel) -> HeldBack | None:
    """How far the model is from its held-back cliques: see :func:`held_back`."""
    return held_back(
        model.transcript,
        model.codec,
        lambda m: product_table(model.weights, [model.grouped(c, g) for c, g in zip(m.clique, m.groups, strict=True)]),
        rows=model.rows,
    )


def held_back(
    transcript: MarginalTranscript,
    codec: Codec,
    table: Callable[[Measurement], Floats],
    *,
    rows: float,
    drawn: float = math.inf,
) -> HeldBack | None:
    """Root mean square over held-back cliques of ½·sqrt(K·‖x − N̂·q‖²)/N̂, an upper bound of their
    total-variation error by Cauchy-Schwarz, from the unbiased Σ(y − N̂·q)² − K·variance.

    ``upper`` adds 1.645 standard deviations of that statistic's noise.

    Args:
        table: q, a model's distribution over the cells of a measurement.
        rows: N̂.
        drawn: of how many independent rows q was counted; what their chance adds, N̂²·(1 − Σq²)/(drawn − 1), is
            taken off.
    """
    held = transcript.stage("held-back")
    if not held:
        return None
    squares, noises, cliques = [], [], []
    for m in held:
        q = table(m)
        k, v = m.counts.size, m.variance
        s = float(((m.counts - rows * q) ** 2).sum()) - k * v
        if math.isfinite(drawn):
            s -= rows**2 * (1 - float((q**2).sum())) / (drawn - 1)
        factor = k / (4 * rows**2)
        squares.append(factor * s)
        noises.append(factor**2 * (2 * k * v**2 + 4 * v * max(s, 0.0)))
        cliques.append(tuple(codec.columns[c].name for c in m.clique))
    mean = float(np.mean(squares))
    sd = float(np.sqrt(np.sum(noises))) / len(squares)
    return HeldBack(
        estimate=float(np.sqrt(max(mean, 0.0))),
        upper=float(np.sqrt(max(mean + 1.645 * sd, 0.0))),
        cliques=tuple(cliques),
    )


def _grid(
    sums: Sums, columns: Sequence[int], groups: Sequence[Groups | None], sizes: Sequence[int], confidence: float
) -> tuple[Floats, Floats, Floats, list[Measurement]]:
    if math.prod(sizes) == 1:  # all rows are in it
        whole = np.ones(tuple(sizes))
        return whole, whole, whole, []
    count, rows, spread, used = sums.all_of(columns, groups, sizes)
    return *fieller(count, rows, spread, confidence), used


def _without(never: Mask | None, groups: Sequence[Groups | None], table: Floats) -> Floats:
    """The table with 0 in every group of cells that all are structural zeros."""
    if never is None:
        return table
    left: Floats = (~never).astype(np.float64)
    for axis, g in enumerate(groups):
        left = left if g is None else summed(left, g, axis=axis, size=table.shape[axis])
    return np.where(left > 0, table, 0.0)


def _sizes(model: MarginalModel, columns: Sequence[int], groups: Sequence[Groups | None]) -> list[int]:
    return [
        model.codec.columns[c].cells if g is None else int(g.max()) + 1 for c, g in zip(columns, groups, strict=True)
    ]


# --- bounds --------------------------------------------------------------------------------------


class _Bounds:
    """What measured conditions say of one that is not, by a union bound over all that are looked at."""

    def __init__(self, sums: Sums, inner: Masks, outer: Masks) -> None:
        self._sums = sums
        self._inner = inner
        self._tables = sums.holding(set(inner))
        self._figures: dict[bytes, Masks] = {}
        self._lows = self._noted(inner, inside=True)
        self._highs = self._above(outer)
        self._gaps = list(self._differences())

    def at(self, confidence: float) -> tuple[float, float, list[Measurement]]:
        """Low, high and the tables used."""
        if not self._figures:
            return 0.0, 1.0, []
        each = 1 - (1 - confidence) / len(self._figures)
        ends = {key: self._ends(masks, each) for key, masks in self._figures.items()}
        high = min((ends[key][1] for key in self._highs), default=1.0)
        low = max((ends[key][0] for key in self._lows), default=0.0)
        for base, others in self._gaps:
            least = max((ends[key][0] for key in base), default=0.0)
            low = max(low, least - min((ends[key][1] for key in others), default=1.0))
        used = {id(m): m for masks in self._figures.values() for m in self._sums.that_express(masks)}
        order = [m for m in self._tables if id(m) in used]
        return min(low, high), max(low, high), order

    def _ends(self, masks: Masks, confidence: float) -> tuple[float, float]:
        _, low, high = fieller(*self._sums.of(masks), confidence)
        return float(low), float(high)

    def _differences(self) -> Iterator[tuple[list[bytes], list[bytes]]]:
        """P(T and c) = P(T) − P(T and not c) for each column c, T the others: bounds of both."""
        for c in self._inner:
            rest = {other: mask for other, mask in self._inner.items() if other != c}
            if rest and all(mask.any() for mask in rest.values()):
                yield self._noted(rest, inside=True), self._above({**rest, c: ~self._inner[c]})

    def _above(self, masks: Masks) -> list[bytes]:
        """Measured conditions on some of the columns that hold wherever ``masks`` does."""
        out: list[bytes] = []
        for size in range(1, len(masks) + 1):
            for part in itertools.combinations(sorted(masks), size):
                out += self._noted({c: masks[c] for c in part}, inside=False)
        return list(dict.fromkeys(out))

    def _noted(self, masks: Masks, *, inside: bool) -> list[bytes]:
        """Measured conditions on these columns that lie inside ``masks``, or that ``masks`` lies inside."""
        out = []
        for m in self._tables:
            if not set(masks) <= set(m.clique):
                continue
            fitted = {c: _fitted(masks[c], m.groups[m.clique.index(c)], inside) for c in sorted(masks)}
            if inside and not all(mask.any() for mask in fitted.values()):
                continue
            fitted = {c: mask for c, mask in fitted.items() if not mask.all()}
            if fitted:
                key = b"".join(c.to_bytes(4, "big") + mask.tobytes() for c, mask in fitted.items())
                self._figures.setdefault(key, fitted)
                out.append(key)
        return list(dict.fromkeys(out))


def _fitted(mask: Mask, groups: Groups | None, inside: bool) -> Mask:
    """The greatest union of groups inside ``mask``, or the least that holds it."""
    if groups is None:
        return mask
    size = int(groups.max()) + 1
    return ~touched(~mask, groups, size)[groups] if inside else touched(mask, groups, size)[groups]


def _told(model: MarginalModel, used: Sequence[Measurement]) -> tuple[Table, ...]:
    return tuple((m.stage, tuple(model.codec.columns[c].name for c in m.clique)) for m in used)


def _check(confidence: float) -> None:
    if isinstance(confidence, bool) or not isinstance(confidence, int | float) or not 0.0 < confidence <= MOST_SURE:
        raise ConditionError(
            f"a confidence of {confidence!r}", where="interval", mend=f"above 0 and at most {MOST_SURE}, e.g. 0.95"
        )
