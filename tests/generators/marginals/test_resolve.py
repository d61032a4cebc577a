"""Row estimate, smoothing and groups: post-processing laws."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from privsynth.data.codec import coded_column
from privsynth.data.schema import Categorical, Integer
from privsynth.generators.marginals.resolve import equal_mass_groups, merged, one_ways, refinement
from privsynth.generators.marginals.transcript import Measurement

AGE = coded_column("age", Integer(min=0, max=99))
SEX = coded_column("sex", Categorical(values=("F", "M")))


def measured(counts: np.ndarray[tuple[int], np.dtype[np.int64]], sigma: float, column: int) -> Measurement:
    return Measurement("one-way", (column,), (None,), counts, sigma, 1)


def test_the_row_estimate_is_unbiased_with_its_stated_error() -> None:
    """z over 400 draws: mean within 4 / 20 and variance within 4·sqrt(2/400); false alarm under 1e-3."""
    rng = np.random.default_rng(0)
    truth = np.zeros(100, dtype=np.int64)
    truth[20:60] = 50
    sex = np.array([1200, 800], dtype=np.int64)
    z = []
    for _ in range(400):
        noisy = [
            measured(c + np.rint(rng.normal(0, 20, c.shape)).astype(np.int64), 20.0, i)
            for i, c in enumerate((truth, sex))
        ]
        ones = one_ways(noisy, (AGE, SEX))
        z.append((ones.rows - 2000) / ones.rows_sigma)
    assert abs(np.mean(z)) < 0.2
    assert abs(np.var(z) - 1) < 0.3


def test_smoothed_one_ways_are_counts_of_the_row_estimate() -> None:
    rng = np.random.default_rng(1)
    counts = np.rint(rng.normal(0, 30, 100)).astype(np.int64)
    counts[40] += 5000
    ones = one_ways([measured(counts, 30.0, 0)], (AGE,))
    assert (ones.counts[0] >= 0).all()
    assert np.isclose(ones.counts[0].sum(), ones.rows)
    assert ones.counts[0].argmax() == 40, "a spike is not smeared over its neighbours"
    assert ones.counts[0][40] > 0.8 * ones.rows


def test_noise_alone_still_gives_a_distribution() -> None:
    ones = one_ways([measured(np.array([-5, -9], dtype=np.int64), 10.0, 0)], (SEX,))
    assert ones.rows == 1.0
    assert np.isclose(ones.counts[0].sum(), 1.0)


@given(
    counts=st.lists(st.floats(0, 1e6), min_size=1, max_size=80),
    wanted=st.integers(2, 30),
    nullable=st.booleans(),
)
def test_groups_are_contiguous_and_few(counts: list[float], wanted: int, nullable: bool) -> None:
    null = len(counts) - 1 if nullable and len(counts) > 1 else None
    groups = equal_mass_groups(np.array(counts), wanted, null=null)
    assert groups.shape == (len(counts),)
    assert groups.dtype == np.int32
    assert groups[0] == 0
    assert set(np.diff(groups)) <= {0, 1}, "every group is a stretch of cells, numbered in order"
    assert groups.max() + 1 <= max(wanted, 2 if null is not None else 1)
    if null is not None and len(counts) > wanted:
        assert (groups == groups[null]).sum() == 1, "null is no neighbour of a number"


def test_heavy_cells_stand_alone_and_the_rest_is_even() -> None:
    counts = np.ones(100)
    counts[10] = 500
    groups = equal_mass_groups(counts, 10)
    assert (groups == groups[10]).sum() == 1
    mass = np.bincount(groups, weights=counts)
    rest = np.delete(mass, groups[10])
    assert rest.max() <= 4 * rest[rest > 0].min()


def test_null_is_no_neighbour_of_a_number() -> None:
    """A null cell of most rows beside a faint range: neither shrinks to the other."""
    column = coded_column("age", Integer(min=0, max=99, nullable=True))
    rng = np.random.default_rng(2)
    counts = np.rint(rng.normal(20, 20, 101)).astype(np.int64)
    counts[100] = 8000
    ones = one_ways([measured(counts, 20.0, 0)], (column,))
    assert abs(ones.counts[0][100] - 8000) < 0.5
    assert np.isclose(ones.counts[0][:100].sum(), ones.rows - ones.counts[0][100])


@given(
    maps=st.lists(st.lists(st.integers(0, 4), min_size=12, max_size=12), min_size=0, max_size=4),
)
def test_every_map_merges_the_refinement(maps: list[list[int]]) -> None:
    arrays = [np.unique(m, return_inverse=True)[1].astype(np.int32) for m in maps]
    fine = refinement(arrays, 12)
    for grouping in arrays:
        assert (merged(fine, grouping)[fine] == grouping).all()
    together = {tuple(int(a[i]) for a in arrays) for i in range(12)}
    assert int(fine.max()) + 1 == len(together), "no finer than it must be"
    first = [int(np.flatnonzero(fine == g)[0]) for g in range(int(fine.max()) + 1)]
    assert first == sorted(first), "numbered by first cell"


def test_a_column_measured_whole_is_refined_to_its_cells() -> None:
    assert refinement([np.zeros(5, dtype=np.int32), None], 5).tolist() == [0, 1, 2, 3, 4]
