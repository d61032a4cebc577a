"""The one seam between rows and counts: equal to brute force, and no more sensitive than it says."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privsynth.data.count import Grouping, TableCounter
from privsynth.errors import PrivsynthError

Codes = npt.NDArray[np.int32]


@st.composite
def tables(draw: st.DrawFn, *, rows: int = 30) -> tuple[Codes, tuple[int, ...], dict[int, Grouping]]:
    """Coded rows, cells of each column, and for some columns a map of cells to groups."""
    cells = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=4)))
    row = st.tuples(*[st.integers(0, c - 1) for c in cells])
    codes = np.array(draw(st.lists(row, max_size=rows)), dtype=np.int32).reshape(-1, len(cells))
    groups = {}
    for column in draw(st.sets(st.sampled_from(range(len(cells))))):
        merged = sorted(draw(st.lists(st.integers(0, 3), min_size=cells[column], max_size=cells[column])))
        groups[column] = np.unique(merged, return_inverse=True)[1].astype(np.int32)
    return np.asfortranarray(codes), cells, groups


def brute_force(
    codes: Codes, cells: tuple[int, ...], clique: tuple[int, ...], groups: dict[int, Grouping]
) -> npt.NDArray[np.int64]:
    merged = [groups.get(c, np.arange(cells[c])) for c in clique]
    shape = [int(m.max()) + 1 for m in merged]
    out = np.zeros(shape, dtype=np.int64)
    for row in codes:
        out[tuple(m[row[c]] for m, c in zip(merged, clique, strict=True))] += 1
    return out


@settings(max_examples=200, deadline=None)
@given(table=tables())
def test_counts_equal_brute_force(table: tuple[Codes, tuple[int, ...], dict[int, Grouping]]) -> None:
    codes, cells, groups = table
    counter = TableCounter(codes, cells)
    for size in range(len(cells) + 1):
        for clique in itertools.permutations(range(len(cells)), size):
            for maps in (groups, {}):
                counts = counter.count(clique, maps)
                assert counts.dtype == np.int64
                assert np.array_equal(counts, brute_force(codes, cells, clique, maps))
                assert counts.sum() == len(codes)


@settings(max_examples=200, deadline=None)
@given(table=tables(rows=12), k=st.integers(1, 4), data=st.data())
def test_a_subject_with_k_rows_moves_a_table_by_at_most_k(
    table: tuple[Codes, tuple[int, ...], dict[int, Grouping]], k: int, data: st.DataObject
) -> None:
    """In L2, and by exactly k where her rows are alike: the sensitivity that the noise is priced by."""
    codes, cells, groups = table
    row = st.tuples(*[st.integers(0, c - 1) for c in cells])
    hers = np.array(data.draw(st.lists(row, min_size=k, max_size=k)), dtype=np.int32)
    clique = tuple(data.draw(st.permutations(range(len(cells)))))[: data.draw(st.integers(0, len(cells)))]
    before = TableCounter(codes, cells).count(clique, groups)

    def moved(rows: Codes) -> float:
        after = TableCounter(np.concatenate([codes, rows]), cells).count(clique, groups)
        return math.sqrt(((after - before) ** 2).sum())

    assert moved(hers) <= k + 1e-9
    assert moved(hers[:1].repeat(k, axis=0)) == k


@settings(max_examples=50, deadline=None)
@given(table=tables(), seed=st.integers(0, 2**32))
def test_the_order_of_rows_means_nothing(table: tuple[Codes, tuple[int, ...], dict[int, Grouping]], seed: int) -> None:
    codes, cells, groups = table
    clique = tuple(range(len(cells)))
    straight, mixed = (TableCounter(c, cells) for c in (codes, np.random.default_rng(seed).permutation(codes)))
    assert np.array_equal(straight.count(clique, groups), mixed.count(clique, groups))


def test_no_rows() -> None:
    counter = TableCounter(np.zeros((0, 2), dtype=np.int32), (3, 4))
    assert counter.count((0, 1), {}).tolist() == [[0] * 4] * 3
    assert counter.count((), {}).tolist() == 0
    assert counter.count((1,), {1: np.array([0, 0, 1, 1], dtype=np.int32)}).tolist() == [0, 0]


def test_it_says_nothing_of_its_rows() -> None:
    assert repr(TableCounter(np.full((5, 2), 7, dtype=np.int32), (9, 9))) == "TableCounter(2 columns)"


@pytest.mark.parametrize("codes", [[[-1, 0]], [[0, 2]], [[0, 0], [3, 1]], [[0]], [[0, 0, 0]]])
def test_a_code_outside_its_column_is_refused(codes: list[list[int]]) -> None:
    with pytest.raises(PrivsynthError, match="codes do not fit") as refused:
        TableCounter(np.array(codes, dtype=np.int32), (3, 2))
    assert not any(str(code) in str(refused.value) for row in codes for code in row if code)
