import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privsynth.validate.coded import Column, Rows, independent
from privsynth.validate.fidelity import Fidelity, coarsen, measure_fidelity, tvd
from tests.validate.world import COLUMNS, Codes, draw


def measure(train: Codes, holdout: Codes, synthetic: Codes, *, ways: int, seed: int = 0) -> Fidelity:
    return measure_fidelity(Rows.of(train), Rows.of(holdout), synthetic, COLUMNS, ways=ways, seed=seed, resamples=80)


def sides(seed: int, n: int = 600) -> tuple[Codes, Codes, Codes]:
    rng = np.random.default_rng(seed)
    return draw(n, rng), draw(n, rng), draw(n, rng)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.lists(st.integers(0, 4), min_size=1, max_size=40))
def test_tvd_is_the_largest_difference_of_any_event(a: list[int], b: list[int]) -> None:
    def chance(values: list[int], event: tuple[bool, ...]) -> float:
        return sum(event[v] for v in values) / len(values)

    events = itertools.product([False, True], repeat=5)
    assert tvd(np.array(a), np.array(b)) == pytest.approx(max(chance(a, e) - chance(b, e) for e in events))


def test_every_table_equals_brute_force() -> None:
    rng = np.random.default_rng(1)
    columns = (Column("a", 3), Column("b", 5, ordered=True), Column("c", 2))
    train, holdout, synthetic = (np.column_stack([rng.integers(c.cells, size=80) for c in columns]) for _ in range(3))
    found = measure_fidelity(Rows.of(train), Rows.of(holdout), synthetic, columns, ways=2, seed=0)
    assert [table.columns for table in found.tables] == [("a", "b"), ("a", "c"), ("b", "c")]
    for table, (i, j) in zip(found.tables, [(0, 1), (0, 2), (1, 2)], strict=True):
        flat = [side[:, i] * 10 + side[:, j] for side in (synthetic, train, holdout)]
        assert table.value == pytest.approx(tvd(flat[0], flat[2]), abs=1e-6)
        assert table.floor == pytest.approx(tvd(flat[1], flat[2]), abs=1e-6)
    assert found.value.value == pytest.approx(np.mean([table.value for table in found.tables]))
    assert found.measured_of == 3 and found.rows == 80


@pytest.mark.parametrize("ways", [1, 2])
def test_fresh_rows_lie_at_the_floor(ways: int) -> None:
    # False alarm of "excess above 0 at 95%": at most 2.5% a run (the interval errs wide); 3 of 20 by
    # chance has probability below 1.5%.
    excess = [measure(*sides(seed), ways=ways).excess for seed in range(20)]
    assert sum(e.low > 0 for e in excess) <= 2
    assert sum(e.high < 0 for e in excess) <= 2


def test_lost_association_lies_at_the_ceiling() -> None:
    for seed in range(5):
        train, holdout, fresh = sides(seed)
        found = measure(train, holdout, independent(fresh, rng=np.random.default_rng(seed)), ways=2)
        assert found.excess.low > 0
        assert found.value.value == pytest.approx(found.ceiling.value, rel=0.1)
        assert found.ceiling.value > 1.4 * found.floor.value


def test_wrong_margins_are_seen_one_way() -> None:
    train, holdout, fresh = sides(6)
    fresh[:, 5] = 0
    found = measure(train, holdout, fresh, ways=1)
    assert found.excess.low > 0 and found.worst(1)[0].columns == ("group",)
    assert found.floor.value < found.value.value < found.ceiling.value


def test_the_broken_pair_is_named_worst() -> None:
    train, holdout, fresh = sides(7, 1500)
    rng = np.random.default_rng(7)
    fresh[:, 4] = rng.permutation(fresh[:, 4])
    assert all("score" in table.columns for table in measure(train, holdout, fresh, ways=2).worst(4))


def test_the_interval_covers_the_spread_of_new_draws() -> None:
    # Stated coverage 95%, erring wide: below 87% of 60 by chance: below 1 in 100.
    rng = np.random.default_rng(8)
    train = draw(400, rng)
    found = [measure(train, draw(400, rng), draw(400, rng), ways=2) for _ in range(60)]
    typical = float(np.mean([f.value.value for f in found]))
    assert np.mean([f.value.low <= typical <= f.value.high for f in found]) >= 0.87


def test_subjects_are_resampled_whole() -> None:
    train, holdout, fresh = sides(9, 200)
    tripled = np.repeat(holdout, 3, axis=0)
    ids = np.repeat(np.arange(200), 3)
    whole = measure_fidelity(Rows.of(train), Rows.of(tripled, ids), fresh, COLUMNS, ways=1, seed=0)
    rows = measure_fidelity(Rows.of(train), Rows.of(tripled), fresh, COLUMNS, ways=1, seed=0)
    assert whole.subjects == 200
    assert whole.value.high - whole.value.low > rows.value.high - rows.value.low


def test_sides_are_cut_to_one_size_and_tables_sampled() -> None:
    rng = np.random.default_rng(10)
    train, holdout, synthetic = draw(900, rng), draw(300, rng), draw(2000, rng)
    found = measure_fidelity(
        Rows.of(train), Rows.of(holdout), synthetic, COLUMNS, ways=2, seed=0, most_tables=5, most_rows=250
    )
    assert found.rows == found.subjects == 250
    assert len(found.tables) == 5 and found.measured_of == 28


@settings(max_examples=50)
@given(st.integers(1, 90), st.booleans(), st.booleans(), st.integers(0, 99))
def test_coarse_cells_keep_order_and_null(cells: int, ordered: bool, nullable: bool, seed: int) -> None:
    column = Column("x", cells + nullable, ordered=ordered, nullable=nullable)
    reference = np.random.default_rng(seed).integers(column.cells, size=(200, 1))
    (mapped,) = coarsen([column], reference)
    assert mapped.shape == (column.cells,) and mapped.min() >= 0 and mapped.max() < max(16, 1)
    if ordered:
        values = mapped[:cells]
        assert (np.diff(values) >= 0).all()
        if nullable:
            assert mapped[-1] not in values
    if column.cells <= 16:
        assert mapped.tolist() == list(range(column.cells))


def test_coarse_cells_hold_about_equal_shares() -> None:
    reference = np.random.default_rng(0).integers(1000, size=(20_000, 1))
    (mapped,) = coarsen([Column("x", 1000, ordered=True)], reference)
    shares = np.bincount(mapped[reference[:, 0]]) / 20_000
    assert shares.min() > 0.04 and shares.max() < 0.09


def test_it_is_deterministic_and_prints_nothing() -> None:
    one, other = (measure(*sides(11, 200), ways=2, seed=3) for _ in range(2))
    assert one.tables == other.tables and one.excess == other.excess
    assert repr(one) == "Fidelity(ways=2)"
