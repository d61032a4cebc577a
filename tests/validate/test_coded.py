import numpy as np

from privsynth.validate.coded import Rows, independent


def test_rows_are_grouped_by_subject() -> None:
    codes = np.arange(10).reshape(5, 2)
    rows = Rows.of(codes, np.array(["b", "a", "b", "c", "a"], dtype=object))
    assert rows.subjects == 3 and rows.group.tolist() == [1, 0, 1, 2, 0]
    some = rows.of_subjects(np.array([2, 1]))
    assert some.codes.tolist() == [[0, 1], [4, 5], [6, 7]] and some.group.tolist() == [1, 1, 0]
    assert len(rows.some(2, rng=np.random.default_rng(0)).of_subjects(np.array([0]))) >= 1


def test_a_nul_tells_two_subjects_apart() -> None:
    rows = Rows.of(np.zeros((4, 1), dtype=int), np.array(["a\0", "a", "b", "a\0"], dtype=object))
    assert rows.subjects == 3 and rows.group.tolist() == [1, 0, 2, 1]


def test_without_ids_a_row_is_a_subject() -> None:
    rows = Rows.of(np.zeros((4, 1), dtype=int))
    assert rows.subjects == 4 and rows.some(9, rng=np.random.default_rng(0)).subjects == 4


def test_rows_print_nothing_of_themselves() -> None:
    assert "7777" not in repr(Rows.of(np.full((3, 2), 7777)))


def test_independent_keeps_each_column_and_no_row() -> None:
    rng = np.random.default_rng(0)
    codes = np.column_stack([np.arange(500), np.arange(500)])
    shuffled = independent(codes, rng=rng)
    assert np.array_equal(np.sort(shuffled, axis=0), codes)
    assert np.mean(shuffled[:, 0] == shuffled[:, 1]) < 0.05
