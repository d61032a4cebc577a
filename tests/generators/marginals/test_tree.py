"""The tree's cells: a function of noisy counts that follows the data."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from privsynth.data.columns import Date, Datetime, Integer, Real
from privsynth.data.ranged import ranged_column
from privsynth.generators.marginals.grid import Grid
from privsynth.generators.marginals.tree import MOST_CELLS, learn_edges
from tests.generators.marginals.left_open import RANGES, coded, grown, hours

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@pytest.mark.parametrize("name", sorted(RANGES))
def test_the_edges_are_a_function_of_the_noisy_counts(name: str) -> None:
    column = coded(name)
    rng = np.random.default_rng(2)
    position = np.floor(rng.beta(2, 9, 20_000) * (column.stop[-1] - column.low[0])) + column.low[0]
    edges, levels = grown(column, position, 20.0)
    again = iter(levels)
    assert learn_edges(column, lambda _: (next(again), 20.0**2 + 1 / 12)) == edges
    assert 10 < len(edges) < MOST_CELLS
    assert all(a < b for a, b in itertools.pairwise(edges))


@pytest.mark.parametrize("name", sorted(RANGES))
@pytest.mark.parametrize("sigma", [1.0, 8192.0])
def test_any_counts_give_cells(name: str, sigma: float) -> None:
    """No rows at all, and noise that drowns everything."""
    column = coded(name)
    declared = column.column
    assert isinstance(declared, Integer | Real | Date | Datetime)
    for position in (np.zeros(0), np.full(50, column.low[0]), np.full(50, column.stop[-1])):
        edges, levels = grown(column, position, sigma)
        paid = ranged_column(name, declared, edges)
        assert 1 <= paid.cells <= MOST_CELLS + 1
        assert len(levels) <= Grid.of(column).levels
        codes = np.arange(len(paid.low), dtype=np.int32)
        assert (paid.encode(paid.decode(codes, np.random.default_rng(0))) == codes).all()


def test_round_hours_become_atoms() -> None:
    column, truth = coded("hours"), hours()
    declared = RANGES["hours"]
    assert isinstance(declared, Real)
    edges, _ = grown(column, truth, 40.0)
    paid = ranged_column("hours", declared, edges)
    atoms = paid.low[paid.low == paid.stop].tolist()
    assert {20.0, 30.0, 35.0, 37.5, 40.0, 45.0, 50.0, 60.0} <= set(atoms)
    codes = paid.encode(pd.Series(truth))
    drawn = paid.decode(codes, np.random.default_rng(0)).to_numpy()
    assert np.mean(drawn == 40.0) == pytest.approx(np.mean(truth == 40.0), abs=1e-3)
    assert np.isnan(drawn).sum() == np.isnan(truth).sum()


def test_a_dense_stretch_is_no_atom() -> None:
    """Values all different, within a millionth of the range: they must not collapse to one."""
    column = ranged_column("wide", Real(min=0, max=1e12))
    truth = np.random.default_rng(0).gamma(3.0, 30.0, 20_000)
    edges, _ = grown(column, truth, 10.0)
    paid = ranged_column("wide", Real(min=0, max=1e12), edges)
    assert (paid.low < paid.stop).all()
    drawn = paid.decode(paid.encode(pd.Series(truth)), np.random.default_rng(0))
    assert drawn.nunique() > 10_000
    assert drawn.max() < 1e4


def test_integers_stay_integers_and_their_spikes_stay() -> None:
    rng = np.random.default_rng(4)
    n = 40_000
    truth = np.where(rng.random(n) < 0.9, 0, rng.choice([7298, 7688, 15_024, 99_999], n))
    truth = np.where(rng.random(n) < 0.05, rng.integers(0, 100_000, n), truth)
    declared = RANGES["gain"]
    assert isinstance(declared, Integer)
    column = ranged_column("gain", declared)
    edges, _ = grown(column, truth.astype(float), 40.0)
    paid = ranged_column("gain", declared, edges)
    assert {0.0, 7298.0, 7688.0, 15_024.0, 99_999.0} <= set(paid.low[paid.low == paid.stop].tolist())
    drawn = paid.decode(paid.encode(pd.Series(truth)), np.random.default_rng(0))
    assert drawn.dtype == np.int64
    assert np.mean(drawn == 0) == pytest.approx(np.mean(truth == 0), abs=2e-3)


def distance(a: Floats, b: Floats) -> float:
    """Kolmogorov's."""
    at = np.unique(np.concatenate([a, b]))
    shares = (np.searchsorted(np.sort(x), at, side="right") / len(x) for x in (a, b))
    return float(np.abs(np.subtract(*shares)).max())


def test_paid_cells_are_nearer_than_equal_ones() -> None:
    rng = np.random.default_rng(6)
    truth = np.exp(rng.normal(5, 1.5, 30_000)).clip(0, 5000)
    declared = RANGES["cost"]
    assert isinstance(declared, Real)
    equal = ranged_column("cost", declared)
    position = np.rint(truth * 100) / 100
    paid = ranged_column("cost", declared, grown(equal, position, 40.0)[0])
    far, near = (distance(c.decode(c.encode(pd.Series(truth)), rng).to_numpy(), position) for c in (equal, paid))
    assert near < 0.02 < far
