"""Drawing cell codes: the law of a row, how even an even draw is, what is never drawn, small and odd cases."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from privsynth.data.codec import Codes
from privsynth.data.evidence import Floats
from privsynth.data.records import Draw
from privsynth.errors import ConditionError
from privsynth.generators.marginals import draw as module
from privsynth.generators.marginals import product
from privsynth.generators.marginals.draw import BLOCK, blocks, check_draw, draw_codes

WAYS: tuple[Draw, ...] = ("even", "independent")


def mixture(sizes: tuple[int, ...], components: int, *, seed: int, peak: float = 0.3) -> tuple[Floats, list[Floats]]:
    """A made-up mixture with some cells of probability 0."""
    rng = np.random.default_rng(seed)
    tables = []
    for size in sizes:
        table = rng.dirichlet(np.full(size, peak), components)
        table[table < 1e-3] = 0.0
        tables.append(table / table.sum(axis=1, keepdims=True))
    return rng.dirichlet(np.ones(components)), tables


def joint(weights: Floats, tables: list[Floats]) -> Floats:
    """The whole joint table: the oracle."""
    letters = "abcdefgh"[: len(tables)]
    table = np.einsum("z," + ",".join(f"z{x}" for x in letters) + "->" + letters, weights, *tables)
    return np.asarray(table / table.sum())


def counted(codes: Codes, shape: tuple[int, ...]) -> Floats:
    out = np.zeros(shape)
    np.add.at(out, tuple(codes.T), 1)
    return out


def pairs_distance(codes: Codes, weights: Floats, tables: list[Floats]) -> float:
    """Mean total variation distance of the rows' pair tables to the mixture's own."""
    out = []
    for i, j in itertools.combinations(range(len(tables)), 2):
        exact = tables[i].T @ (weights[:, None] * tables[j])
        found = counted(codes[:, [i, j]], exact.shape) / len(codes)
        out.append(np.abs(found - exact).sum() / 2)
    return float(np.mean(out))


SMALL = mixture((2, 3, 4), 3, seed=1, peak=1.0)


@pytest.mark.parametrize("draw", WAYS)
@pytest.mark.parametrize("n", [1, 2, 7])
def test_a_row_has_the_mixture_s_law(draw: Draw, n: int) -> None:
    """The first row of 4,000 draws against the whole joint table; by chi-square, a false alarm in 100,000."""
    weights, tables = SMALL
    rng = np.random.default_rng([n, len(draw)])
    first = np.concatenate([draw_codes(n, weights, tables, rng=rng, draw=draw)[:1] for _ in range(4000)])
    expected = 4000 * joint(weights, tables)
    found = counted(first, expected.shape)
    assert found[expected == 0].sum() == 0
    some = expected >= 5
    rest = expected[~some].sum()
    statistic = ((found - expected)[some] ** 2 / expected[some]).sum() + (found[~some].sum() - rest) ** 2 / max(rest, 1)
    assert statistic < chi2.ppf(1 - 1e-5, some.sum())


@pytest.mark.parametrize("settled", [0, module.SETTLED])
@pytest.mark.parametrize("n", [3, 40])
def test_an_even_draw_is_unbiased_in_every_cell_of_the_joint(
    n: int, settled: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mean count of each of the 24 joint cells over 3,000 draws lies within 5 of its own standard errors of
    n times its probability: a false alarm in 70,000. Both with and without swaps."""
    monkeypatch.setattr(module, "SETTLED", settled)
    weights, tables = SMALL
    rng = np.random.default_rng(n + settled)
    exact = joint(weights, tables)
    counts = np.stack([counted(draw_codes(n, weights, tables, rng=rng), exact.shape) for _ in range(3000)])
    error = counts.std(axis=0) / np.sqrt(3000) + 1e-3
    assert (np.abs(counts.mean(axis=0) - n * exact) < 5 * error).all()


def test_swaps_keep_the_law_where_they_have_much_to_even_out() -> None:
    """One component, so that every row may swap with every other; two columns of 6 cells, 60 rows. The test would
    see a bias of a fifth of a row in a cell: a draw that puts every count to its nearest whole number fails it."""
    rng = np.random.default_rng(8)
    tables = [rng.dirichlet(np.ones(6), 1), rng.dirichlet(np.ones(6), 1)]
    exact = 60 * joint(np.ones(1), tables)
    counts = np.stack([counted(draw_codes(60, np.ones(1), tables, rng=rng), (6, 6)) for _ in range(3000)])
    error = counts.std(axis=0) / np.sqrt(3000) + 1e-9
    assert error.max() < 0.04
    assert (np.abs(counts.mean(axis=0) - exact) < 5 * error).all()
    assert (np.abs(np.rint(exact) - exact) > 5 * error).any(), "and the test can fail"


def test_pairs_are_nearer_than_those_of_independent_rows() -> None:
    """At least 1.5 times, at the size of Adult; three columns at a time gain too."""
    weights, tables = mixture((74, 9, 16, 7, 15, 6, 5, 2, 40), 200, seed=3)
    found = {}
    for draw in WAYS:
        rng = np.random.default_rng(4)
        found[draw] = np.mean(
            [pairs_distance(draw_codes(48_842, weights, tables, rng=rng, draw=draw), weights, tables) for _ in range(2)]
        )
    assert found["independent"] > 1.5 * found["even"]


def test_single_columns_are_as_near_as_is_said() -> None:
    """Of each component within log2(cells) + 1 rows of what its own number of rows expects."""
    weights, tables = mixture((2, 5, 64), 20, seed=5)
    tell = np.eye(20)
    codes = draw_codes(5000, weights, [tell, *tables], rng=np.random.default_rng(6))
    rows = np.bincount(codes[:, 0], minlength=20)
    assert (np.abs(rows - 5000 * weights) < 1).all()
    for c, table in enumerate(tables, start=1):
        found = counted(codes[:, [0, c]], table.shape)
        assert (np.abs(found - rows[:, None] * table) < np.log2(table.shape[1]) + 1).all()
        assert np.abs(found.sum(axis=0) - 5000 * weights @ table).max() < 5000**0.5 / 4


@pytest.mark.parametrize("n", [1, 5, 300, 20_000])
@pytest.mark.parametrize("sizes", [(1,), (2, 3), (8, 33, 64), (5, 257)])
def test_a_wide_column_is_split_into_the_very_same_rows(
    n: int, sizes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One component after the other or all together: only the time differs."""
    weights, tables = mixture(sizes, 40, seed=n, peak=0.1)
    weights[3::7] = 0.0
    found = []
    for wide in (0, 4, module.WIDE):
        monkeypatch.setattr(module, "WIDE", wide)
        found.append(draw_codes(n, weights, tables, rng=np.random.default_rng(n)))
    assert (found[0] == found[2]).all() and (found[1] == found[2]).all()


@pytest.mark.parametrize("at_once", [1, 70, 99])
def test_independent_rows_are_the_same_however_many_components_are_looked_at_together(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, tables = mixture((2, 33), 40, seed=3, peak=0.1)
    wanted = draw_codes(500, weights, tables, rng=np.random.default_rng(1), draw="independent")
    monkeypatch.setattr(product, "AT_ONCE", at_once)
    found = draw_codes(500, weights, tables, rng=np.random.default_rng(1), draw="independent")
    assert (found == wanted).all()


def test_a_wide_column_is_as_near_as_is_said() -> None:
    """6,000 cells, more than ``WIDE``: each component within log2(cells) + 1 rows; runs of 100 neighbouring cells, all
    components together, at least three times nearer to the mixture's own than those of independent rows."""
    rng = np.random.default_rng(1)
    weights, tables = rng.dirichlet(np.ones(30)), [np.eye(30), rng.dirichlet(np.full(6000, 0.3), 30)]
    assert tables[1].shape[1] > module.WIDE
    distance = {}
    for draw in WAYS:
        codes = draw_codes(30_000, weights, tables, rng=np.random.default_rng(2), draw=draw)
        found = counted(codes, (30, 6000))
        far = np.abs(found - found.sum(axis=1, keepdims=True) * tables[1]).max()
        assert far < np.log2(6000) + 1 or draw == "independent"
        ends = np.abs((found.sum(axis=0) - 30_000 * weights @ tables[1]).reshape(60, 100).sum(axis=1))
        distance[draw] = ends.sum()
        assert found[:, tables[1].max(axis=0) == 0].sum() == 0
    assert distance["independent"] > 3 * distance["even"]


@pytest.mark.parametrize("draw", WAYS)
def test_what_has_no_probability_is_never_drawn(draw: Draw) -> None:
    weights, tables = mixture((2, 7, 33), 50, seed=7, peak=0.1)
    weights[::2] = 0.0
    exact = joint(weights, tables)
    codes = draw_codes(200_000, weights, tables, rng=np.random.default_rng(8), draw=draw)
    assert counted(codes, exact.shape)[exact == 0].sum() == 0
    nothing = [t.copy() for t in tables]
    for t in nothing:
        t[weights == 0] = 0.0  # as a condition leaves a component that cannot meet it
    assert len(draw_codes(100, weights, nothing, rng=np.random.default_rng(8), draw=draw)) == 100


@pytest.mark.parametrize("draw", WAYS)
def test_rows_come_in_random_order(draw: Draw) -> None:
    """Neighbours of one component are as many as chance has it: of 20 equal ones, 1 in 20; within 5 sd."""
    codes = draw_codes(20_000, np.full(20, 0.05), [np.eye(20)], rng=np.random.default_rng(9), draw=draw)
    assert abs((codes[1:, 0] == codes[:-1, 0]).mean() - 0.05) < 5 * np.sqrt(0.05 * 0.95 / 20_000)


@pytest.mark.parametrize("draw", WAYS)
def test_a_seed_repeats(draw: Draw) -> None:
    a, b, c = (draw_codes(500, *SMALL, rng=np.random.default_rng(s), draw=draw) for s in (1, 1, 2))
    assert (a == b).all()
    assert (a != c).any()


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 60),
    st.lists(st.integers(1, 9), min_size=1, max_size=5),
    st.integers(1, 8),
    st.sampled_from(WAYS),
    st.integers(0, 2**32),
)
def test_every_shape_is_drawn(n: int, sizes: list[int], components: int, draw: Draw, seed: int) -> None:
    weights, tables = mixture(tuple(sizes), components, seed=seed)
    codes = draw_codes(n, weights, tables, rng=np.random.default_rng(seed), draw=draw)
    assert codes.shape == (n, len(sizes)) and codes.dtype == np.int32
    assert (codes >= 0).all() and (codes < np.array(sizes)).all()
    exact = joint(weights, tables)
    assert counted(codes, exact.shape)[exact == 0].sum() == 0


def test_tiny_probabilities_are_kept() -> None:
    """A cell of 1e-12 beside one of almost 1 comes when all else is excluded, whatever its size."""
    weights = np.array([1.0 - 1e-12, 1e-12])
    tables = [np.array([[1.0, 0.0], [0.5, 0.5]]), np.array([[1.0, 1e-300], [1e-13, 1.0]])]
    for draw in WAYS:
        rng = np.random.default_rng(2)
        codes = draw_codes(1000, weights * [0.0, 1.0], tables, rng=rng, draw=draw)
        assert 400 < codes[:, 0].sum() < 600
        assert (codes[:, 1] == 1).all()


@pytest.mark.parametrize("n", [1, 999_999, BLOCK, BLOCK + 1, 100_000_000])
def test_blocks_add_up(n: int) -> None:
    sizes = list(blocks(n))
    assert sum(sizes) == n
    assert max(sizes) <= BLOCK
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("draw", ["odd", "", None, "Even"])
def test_another_way_to_draw_is_refused(draw: Any) -> None:
    with pytest.raises(ConditionError, match="draw") as error:
        check_draw(draw)
    assert "independent" in error.value.mend
