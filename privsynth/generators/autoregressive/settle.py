"""After the training, free: what was bought as tables is brought back.

Noisy steps tell what goes with what among many columns; each column, and each pair where pairs were bought, was told by
a table with far less noise. Rows are drawn column by column; before a column is drawn, its levels get factors, one for
each level and, where there are pairs, one for each level of every column before it, by which the mean law of the rows
drawn has the shares of the table model. Among all laws that do it is the nearest to the network's (least relative
entropy: multinomial regression with the network as offset), but for a small penalty, so that no factor runs away. One
pass; up to the chance of the rows drawn and the penalty, rows of the settled law have the table's columns and pairs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from privsynth.data.evidence import Floats
from privsynth.generators.autoregressive.drawing import Law, Partial, picked, spread
from privsynth.generators.autoregressive.ground import Ints
from privsynth.generators.marginals.product import product_table

if TYPE_CHECKING:
    from scipy.sparse import csr_array

ROWS = 32_768
ROUNDS = 40
PENALTY = 2e-4
MOST_WIDTH = 1024
"""Levels of all columns; of more, columns alone are settled: pairs of levels would not fit in memory."""


def settled(law: Law, *, rng: np.random.Generator) -> Law:
    """The same law with other last biases, and with a way past the hidden layer where pairs were bought.

    Args:
        rng: for the rows that are drawn; the same gives the same law.
    """
    if law.network is None:
        return law
    ground = law.ground
    pairs = len(ground.weights) > 1 and ground.width <= MOST_WIDTH
    bias = law.network.outlet_bias.copy()
    skip = np.zeros((ground.width, ground.width)) if pairs else None
    moved = replace(law, network=replace(law.network, outlet_bias=bias, skip=skip))  # filled in, column by column
    rows, before = moved.empty(ROWS), list[int]()
    for column in law.order:
        own = slice(int(ground.starts[column]), int(ground.starts[column + 1]))
        factors = _factors(moved, rows, column, before if pairs else [])
        bias[own] += factors[-1]
        if skip is not None:
            skip[:, own] = factors[:-1]
            _go_straight(moved, rows, own, before, factors[:-1])
        moved.take(rows, column, picked(moved.shares(rows, column), spread(ROWS, rng, "even")))
        before.append(column)
    return moved


def _go_straight(law: Law, rows: Partial, own: slice, before: list[int], factors: Floats) -> None:
    """Bring rows to where they would be, had the way past the hidden layer to these levels been there before."""
    for c in before:
        rows.straight[:, own] += factors[_levels(law, rows, c)]


def _levels(law: Law, rows: Partial, column: int) -> Ints:
    """(n,) each row's level of a column, among those of all."""
    return np.asarray(law.ground.starts[column] + law.ground.columns[column].level_of[rows.units[:, column]])


def _factors(law: Law, rows: Partial, column: int, before: list[int]) -> Floats:
    """(width + 1, levels) logarithms: of each level of the columns before, 0 of all others, and of every row."""
    from scipy.optimize import minimize

    units, width = law.ground.columns[column], law.ground.width
    given = np.log(np.maximum(law.shares(rows, column) @ np.eye(units.levels)[units.level_of], 1e-12))
    known = _known(law, rows, before)
    wanted = np.zeros((width + 1, units.levels))
    shares = law.ground.weights @ units.by_level
    wanted[-1] = shares / shares.sum()
    for c in before:
        first, own = law.ground.columns[c], slice(int(law.ground.starts[c]), int(law.ground.starts[c + 1]))
        table = product_table(law.ground.weights, [first.by_level, units.by_level])
        held = known[:, own].sum(axis=0) / len(rows)
        total = table.sum(axis=1, keepdims=True)
        wanted[own] = held[:, None] * np.divide(table, total, out=np.tile(wanted[-1], (len(table), 1)), where=total > 0)
    used = np.flatnonzero(wanted.sum(axis=1) > 0)
    seen, goal = known[:, used], wanted[used]

    def gap(flat: Floats) -> tuple[float, Floats]:
        moved = flat.reshape(goal.shape)
        log = given + seen @ moved
        peak = log.max(axis=1, keepdims=True)
        each = np.exp(log - peak)
        total = each.sum(axis=1, keepdims=True)
        value = float((np.log(total) + peak).mean() - (moved * goal).sum() + PENALTY / 2 * np.square(moved).sum())
        slope = seen.T @ (each / total) / len(rows) - goal + PENALTY * moved
        return value, slope.ravel()

    found = minimize(gap, np.zeros(goal.size), jac=True, method="L-BFGS-B", options={"maxiter": ROUNDS})
    out = np.zeros((width + 1, units.levels))
    out[used] = found.x.reshape(goal.shape)
    return out


def _known(law: Law, rows: Partial, before: list[int]) -> csr_array:
    """(n, width + 1) ones where a row has a level of a column before, and in the last place."""
    from scipy.sparse import csr_array

    held = [_levels(law, rows, c) for c in before]
    place = np.stack([*held, np.full(len(rows), law.ground.width)], axis=1)
    ends = np.arange(len(rows) + 1) * place.shape[1]
    return csr_array((np.ones(place.size), place.ravel(), ends), shape=(len(rows), law.ground.width + 1))
