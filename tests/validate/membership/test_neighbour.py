import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privsynth.validate.coded import Column, Rows
from privsynth.validate.membership import neighbour
from privsynth.validate.membership.neighbour import Scores, attack, by_subject, distance, draw_game, min_distance
from privsynth.validate.rates import HALVES_INFLATION, delong, top_precision
from tests.validate.world import COLUMNS, Codes, copies, draw


def brute(a: Codes, b: Codes, columns: list[Column]) -> list[float]:
    """Straight from the words of the contract, one pair of rows at a time."""

    def apart(x: int, y: int, column: Column) -> float:
        null = column.cells - 1 if column.nullable else None
        if not column.ordered or x == null or y == null:
            return float(x != y)
        largest = max(column.cells - 1 - column.nullable, 1)
        grid = neighbour.GRID  # the documented rounding: a step, or for wide columns the whole difference, down
        steps = abs(x - y) * (grid // largest) if column.cells <= 256 else abs(x - y) * grid // largest
        assert abs(steps / grid - abs(x - y) / largest) <= 256 / grid
        return steps / grid

    def total(left: list[int], right: list[int]) -> float:
        return sum(apart(x, y, column) for x, y, column in zip(left, right, columns, strict=True))

    rows = b.tolist()
    return [min((total(left, right) for right in rows), default=np.inf) for left in a.tolist()]


columns_of = st.lists(
    st.builds(Column, st.just("x"), st.integers(2, 9) | st.sampled_from([256, 257, 400]), st.booleans(), st.booleans()),
    min_size=1,
    max_size=5,
)


@settings(max_examples=80, deadline=None)
@given(columns_of, st.integers(0, 12), st.integers(0, 12), st.integers(0, 10_000))
def test_the_matrix_product_equals_brute_force(columns: list[Column], n: int, m: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = (np.column_stack([rng.integers(c.cells, size=size) for c in columns]).astype(np.int32) for size in (n, m))
    assert min_distance(a, b, columns).tolist() == brute(a, b, columns)


def test_blocks_join_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    a, b = draw(50, rng), draw(70, rng)
    whole = min_distance(a, b, COLUMNS)
    monkeypatch.setattr(neighbour, "_A_ROWS", 7)
    monkeypatch.setattr(neighbour, "_B_ROWS", 11)
    assert np.array_equal(min_distance(a, b, COLUMNS), whole)
    assert whole.tolist() == brute(a, b, list(COLUMNS))
    monkeypatch.setattr(neighbour, "_PART", 2)
    assert np.array_equal(min_distance(a, b, COLUMNS), whole), "columns in parts"


def test_a_copy_is_exactly_zero_and_nothing_else_is() -> None:
    rng = np.random.default_rng(1)
    rows = np.unique(draw(3000, rng), axis=0)
    assert (min_distance(rows, rows, COLUMNS) == 0.0).all()
    away = rows[:100].copy()
    away[:, 4] = (away[:, 4] + 1) % 80
    copied = (rows[None] == away[:, None]).all(axis=2).any(axis=1)
    assert np.array_equal(min_distance(away, rows, COLUMNS) == 0.0, copied)


def test_nothing_to_be_near_to_is_infinitely_far() -> None:
    rows = draw(3, np.random.default_rng(2))
    assert np.isinf(min_distance(rows, rows[:0], COLUMNS)).all()
    assert min_distance(rows[:0], rows, COLUMNS).shape == (0,)


def test_each_column_counts_at_most_one() -> None:
    low = np.zeros((1, 8), dtype=np.int32)
    high = np.array([[c.cells - 1 for c in COLUMNS]], dtype=np.int32)
    (apart,) = distance(low, high, COLUMNS).tolist()
    assert 8.0 - 8 * 256 / neighbour.GRID <= apart <= 8.0


def test_a_subject_has_her_largest_score() -> None:
    rows = Rows.of(np.zeros((4, 1), dtype=int), np.array(["b", "a", "b", "a"], dtype=object))
    assert by_subject(np.array([1.0, 5.0, 3.0, -2.0]), rows).tolist() == [5.0, 3.0]


def test_the_game_never_scores_a_subject_against_herself() -> None:
    rng = np.random.default_rng(3)
    train, holdout = draw(300, rng), draw(101, rng)
    holdout[:, 0], train[:, 0] = np.arange(101) % 60, np.arange(300) % 60
    marked = np.column_stack([np.arange(101) % 60, np.arange(101) // 60])
    holdout[:, :2] = marked
    game = draw_game(Rows.of(train), Rows.of(holdout), COLUMNS, rng=rng)
    tested = [{tuple(row) for row in rows.codes[:, :2].tolist()} for rows in game.others]
    assert not tested[0] & tested[1] and len(tested[0] | tested[1]) == 101
    assert game.n == 101 == sum(rows.subjects for rows in game.members)
    assert all((known > 0).all() for known in game.other_known)


def test_the_game_is_capped() -> None:
    rng = np.random.default_rng(4)
    game = draw_game(Rows.of(draw(60, rng)), Rows.of(draw(500, rng)), COLUMNS, rng=rng)
    assert game.n == 60
    capped = draw_game(Rows.of(draw(600, rng)), Rows.of(draw(500, rng)), COLUMNS, rng=rng, most=80)
    assert capped.n == 80


def play(seed: int, share: float, n: int = 500) -> Scores:
    rng = np.random.default_rng(seed)
    train, holdout, fresh = draw(n, rng), draw(n, rng), draw(n, rng)
    game = draw_game(Rows.of(train), Rows.of(holdout), COLUMNS, rng=rng)
    return attack(game, copies(train, fresh, share))


def test_fresh_rows_give_nobody_away() -> None:
    # Per run the AUC's 95% interval lies above 1/2 with probability 2.5%: 6 or more of 60 by chance: 3 in 1,000.
    found = [play(seed, 0.0) for seed in range(60)]
    areas = [delong(s.members, s.others, inflation=HALVES_INFLATION) for s in found]
    assert sum(area.low > 0.5 for area in areas) <= 5
    assert np.mean([area.value for area in areas]) == pytest.approx(0.5, abs=0.007)
    tops = [top_precision(s.members, s.others, rng=np.random.default_rng(0))[0] for s in found]
    assert sum(top.low > 0.5 for top in tops) <= 5


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_copies_are_caught_every_time(share: float) -> None:
    for seed in range(20):
        scores = play(seed, share)
        top, _ = top_precision(scores.members, scores.others, rng=np.random.default_rng(0))
        assert top.low > 0.6
        if share == 0.5:
            assert delong(scores.members, scores.others, inflation=HALVES_INFLATION).low > 0.6


def test_subjects_with_several_rows_are_caught_by_one_of_them() -> None:
    rng = np.random.default_rng(5)
    ids = np.repeat(np.arange(300), 3)
    train, holdout, fresh = draw(900, rng), draw(900, rng), draw(900, rng)
    leaked = fresh.copy()
    leaked[:300] = train[::3]
    game = draw_game(Rows.of(train, ids), Rows.of(holdout, ids), COLUMNS, rng=rng)
    caught, safe = attack(game, leaked), attack(game, fresh)
    assert len(caught.members) == len(caught.others) == 300
    assert delong(caught.members, caught.others).low > 0.6
    assert delong(safe.members, safe.others, inflation=HALVES_INFLATION).low < 0.5


def test_scores_print_nothing() -> None:
    assert repr(play(0, 0.5, 50)) == "Scores(...)"
    rng = np.random.default_rng(0)
    assert repr(draw_game(Rows.of(draw(40, rng)), Rows.of(draw(40, rng)), COLUMNS, rng=rng)) == "Game(...)"


def test_a_distance_is_a_function_of_its_own_row_alone() -> None:
    """Ties to the last bit, any order, any company: what the paid rule's sensitivity of 1 rests on."""
    columns = [Column(f"c{i}", 7 + 13 * i, ordered=True) for i in range(8)]
    rng = np.random.default_rng(3)
    rows = np.column_stack([rng.integers(c.cells, size=2_100) for c in columns]).astype(np.int32)
    near = rows[rng.integers(0, 2_100, 300)] + 0
    near[:, 0] = (near[:, 0] + 1) % columns[0].cells
    whole = min_distance(rows, near, columns)
    for _ in range(5):
        kept = rng.permutation(2_100)[: int(rng.integers(1, 2_100))]
        shuffled = near[rng.permutation(len(near))]
        assert np.array_equal(min_distance(rows[kept], shuffled, columns), whole[kept])
