"""The tree's cells: a function of noisy counts that follows the data."""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privsynth.data.codec import Ranged
from privsynth.data.columns import Date, Datetime, Integer, Real
from privsynth.data.learned import Learned
from privsynth.data.ranged import ranged_column
from privsynth.generators.marginals.grid import Grid
from privsynth.generators.marginals.tree import (
    ALIKE_SIGMAS,
    MASS_WEIGHT,
    MOST_CELLS,
    SMALL_SHARE,
    SMALL_SIGMAS,
    _Cell,
    _merged,
    learn_edges,
)
from tests.generators.marginals.left_open import NARROW, RANGES, coded, grown, hours

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


def merged_plainly(cells: Sequence[_Cell], rows: float) -> tuple[float, ...]:
    """The rule of ``_merged`` step by step, over all pairs each time."""
    low, width, count, variance = (
        np.array([getattr(c, key) for c in cells]) for key in ("low", "width", "count", "variance")
    )
    while len(low) > 1:
        held = np.maximum(count, 0.0)
        both = held[:-1] + held[1:]
        share = width[:-1] / (width[:-1] + width[1:])
        moved = np.abs(held[:-1] - share * both)
        noise = np.sqrt(variance[:-1] * (1 - share) ** 2 + variance[1:] * share**2)
        small = held < np.maximum(SMALL_SIGMAS * np.sqrt(variance), SMALL_SHARE * rows)
        allowed = (small[:-1] | small[1:]) & ((moved <= ALIKE_SIGMAS * noise) | (moved <= SMALL_SHARE * rows / 4))
        if not allowed.any():
            if len(low) <= MOST_CELLS:
                break
            allowed[:] = True
        i = int(np.argmin(np.where(allowed, moved + MASS_WEIGHT * both, np.inf)))
        for values in (width, count, variance):
            values[i] += values[i + 1]
        low, width, count, variance = (np.delete(values, i + 1) for values in (low, width, count, variance))
    return tuple(low[1:].tolist())


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 400), st.integers(0, 2**32 - 1), st.sampled_from([0.1, 1.0, 30.0]), st.booleans())
def test_cells_are_merged_as_the_plain_rule_says(n: int, seed: int, sigma: float, ties: bool) -> None:
    """Also where few numbers occur, so that many pairs cost the same."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(-1, 4, n) * 10.0 if ties else rng.gamma(0.3, 300.0, n) + rng.normal(0, sigma, n)
    widths = rng.choice([1, 32] if ties else [0.5, 1e-6, 1, 32, 1024], n)
    variances = np.where(rng.random(n) < 0.5, sigma**2, sigma**2 / 2)
    numbers = zip(widths.tolist(), counts.tolist(), variances.tolist(), strict=True)
    cells = [_Cell(float(i), *number) for i, number in enumerate(numbers)]
    rows = max(1.0, float(counts.sum()))
    assert _merged(cells, rows) == merged_plainly(cells, rows)


def test_as_many_cells_as_a_tree_can_have_are_merged_in_seconds() -> None:
    rng = np.random.default_rng(0)
    counts = np.where(rng.random(40_000) < 0.03, 900.0, rng.normal(0, 2.0, 40_000))
    cells = [_Cell(float(i), 1.0, count, 4.0) for i, count in enumerate(counts.tolist())]
    began = time.process_time()
    assert len(_merged(cells, float(counts.sum()))) < MOST_CELLS
    assert time.process_time() - began < 4.0


def loads_again(name: str, column: Real | Integer, position: Floats, *, sigma: float = 1.0) -> Ranged:
    """The column with the cells that these rows give, which were written and read."""
    edges, _ = grown(ranged_column(name, column), position, sigma)
    told = Learned(bins={name: edges})
    assert Learned.from_json(json.loads(json.dumps(told.to_json()))) == told
    assert all(column.min < edge <= column.max for edge in edges)
    paid = ranged_column(name, column, edges)
    assert paid.low.tolist() == [column.min, *edges]
    assert (paid.low <= paid.stop).all()
    codes = np.arange(len(paid.low), dtype=np.int32)
    assert (paid.encode(paid.decode(codes, np.random.default_rng(0))) == codes).all()
    return paid


@pytest.mark.parametrize("name", sorted(NARROW))
def test_edges_where_floats_are_scarce_load_again(name: str) -> None:
    low, high = NARROW[name]
    rng = np.random.default_rng(0)
    for position in (
        np.where(rng.random(3000) < 0.5, low, high),
        (low + (high - low) * rng.random(3000) ** 8).clip(low, high),
        (low + (high - low) * rng.choice([0.25, 0.5, 0.7], 3000)).clip(low, high),
    ):
        loads_again(name, Real(min=low, max=high), position)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_edges_of_any_range_load_again(data: st.DataObject) -> None:
    low = data.draw(st.floats(-1e300, 1e300))
    floats = data.draw(st.integers(1, 2**40))
    high = low + floats * math.ulp(low)
    common = data.draw(st.lists(st.floats(low, high), min_size=1, max_size=6))
    position = np.random.default_rng(0).choice(np.array([*common, high]), 2000)
    loads_again("it", Real(min=low, max=high), position)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_edges_of_wide_integers_load_again(data: st.DataObject) -> None:
    low = data.draw(st.integers(-(2**53) + 1, 2**53 - 1000))
    high = data.draw(st.integers(low + 300, 2**53 - 1))
    common = data.draw(st.lists(st.integers(low, high), min_size=1, max_size=6))
    position = np.random.default_rng(0).choice(np.array([*common, high, high - 1], dtype=np.float64), 2000)
    paid = loads_again("it", Integer(min=low, max=high), position)
    assert {float(value) for value in common} <= set(paid.low[paid.low == paid.stop].tolist())


def test_the_floats_beside_one_another_become_atoms() -> None:
    rng = np.random.default_rng(0)
    paid = loads_again(
        "two",
        Real(min=1.0, max=1.0000000000000002),
        np.where(rng.random(3000) < 0.5, 1.0 + 2.0**-52, 1.0).astype(np.float64),
    )
    assert paid.low.tolist() == paid.stop.tolist() == [1.0, 1.0000000000000002]
