"""Shares as they are declared: read, refused, multiplied, and met to one row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privsynth.data.balance import allot, combinations, read_balance
from privsynth.data.codec import Between, Codec
from privsynth.data.learned import Learned
from privsynth.data.schema import parse_schema
from privsynth.errors import ConditionError
from tests.data import made

CODEC = Codec(
    parse_schema(
        """\
privsynth-schema: 1
source: lab/visits
subject: {each row is a: visit, a person has at most: 2 rows}
columns:
  age: {kind: integer, min: 0, max: 99}
  cost: {kind: real, min: 0, max: 1000, bins: [10, 100], atoms: [0], nullable: true}
  sex: {kind: categorical, values: [F, M, X], nullable: true}
  ill: {kind: boolean}
  seen: {kind: date, min: 2020-01-01, max: 2020-12-31, bins: [2020-04-01]}
  note: {kind: text, dropped: true}
"""
    )
)


def test_equal_is_over_values_and_public_cells_without_null() -> None:
    sex, cost, seen = read_balance({"sex": "equal", "cost": "equal", "seen": "equal"}, CODEC)
    assert sex.shares == pytest.approx([1 / 3] * 3)
    assert [e.weights.tolist() for e in sex.evidence] == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]
    assert len(cost.shares) == 4  # the atom 0, up to 10, up to 100, up to 1000
    assert len(seen.shares) == 2
    assert (sex.asked, cost.asked) == ("equal", "equal")


def test_no_balance_is_none() -> None:
    assert read_balance(None, CODEC) == read_balance({}, CODEC) == ()


def test_shares_are_written_as_json() -> None:
    (shares,) = read_balance({"age": {Between(None, 40): 0.5, 50: 0.5}}, CODEC)
    assert shares.asked == [{"value": {"from": None, "to": 40}, "share": 0.5}, {"value": 50, "share": 0.5}]
    (again,) = read_balance({"age": shares.asked}, CODEC)
    assert again.asked == shares.asked
    assert all((a.weights == b.weights).all() for a, b in zip(again.evidence, shares.evidence, strict=True))


BAD: list[tuple[Any, str]] = [
    (["sex"], "not a mapping"),
    ("equal", "not a mapping"),
    ({"shoe": "equal"}, "not a learned column"),
    ({"note": "equal"}, "not a learned column"),
    ({"sex": {}}, "no value"),
    ({"sex": []}, "no value"),
    ({"sex": None}, "no balance"),
    ({"sex": 0.5}, "no balance"),
    ({"sex": "uniform"}, "no balance"),
    ({"sex": ["F", "M"]}, "no balance"),
    ({"sex": [{"value": "F"}]}, "no balance"),
    ({"sex": {"F": 0.5, "M": 0.4}}, "sum to 0.9"),
    ({"sex": {"F": 0.5, "M": 0.5 + 1e-6}}, "sum to 1.000001"),
    ({"sex": {"F": 1.5, "M": -0.5}}, "the share of 'F' is 1.5"),
    ({"sex": {"F": -0.5, "M": 1.0}}, "the share of 'F' is -0.5"),
    ({"sex": {"F": float("nan"), "M": 1.0}}, "the share of 'F' is nan"),
    ({"sex": {"F": float("inf")}}, "the share of 'F' is inf"),
    ({"sex": {"F": True}}, "the share of 'F' is True"),
    ({"sex": {"F": "1.0"}}, "the share of 'F' is '1.0'"),
    ({"sex": {"F": None}}, "the share of 'F' is None"),
    ({"sex": {"Q": 1.0}}, "not in its public domain"),
    ({"sex": {Between(1, 2): 1.0}}, "a range"),
    ({"sex": [{"value": ["F", "M"], "share": 1.0}]}, "is no value"),
    ({"ill": {None: 0.5, True: 0.5}}, "never null"),
    ({"age": {"old": 1.0}}, "not of kind"),
    ({"age": {120: 1.0}}, "no value"),
    ({"age": {Between(40, 20): 1.0}}, "empty range"),
    ({"age": {Between(20, 40): 0.5, Between(40, 60): 0.5}}, "twice, or two ranges overlap"),
    ({"age": {30: 0.5, Between(20, 40): 0.5}}, "twice, or two ranges overlap"),
    ({"cost": {Between(0, 5): 0.5, Between(4.5, 6): 0.5}}, "twice, or two ranges overlap"),
    ({"sex": [{"value": "F", "share": 0.5}, {"value": "F", "share": 0.5}]}, "twice"),
    ({"age": "equal"}, "100 cells"),
]


@pytest.mark.parametrize(("balance", "what"), BAD, ids=str)
def test_what_is_no_balance_is_refused(balance: Any, what: str) -> None:
    with pytest.raises(ConditionError, match=what) as error:
        read_balance(balance, CODEC)
    assert error.value.where.startswith("balance")
    assert error.value.mend


def test_a_column_is_either_balanced_or_conditioned() -> None:
    with pytest.raises(ConditionError, match="also in `where`"):
        read_balance({"sex": "equal"}, CODEC, where={"sex": ["F", "M"]})


def test_equal_over_many_learned_cells_names_a_mend_that_applies() -> None:
    """Their cells come of a fit: `bins` that are declared now would be another fit's."""
    schema = made.schema({"cost": {"kind": "real", "min": 0, "max": 1000}})
    codec = Codec(schema, Learned(bins={"cost": tuple(float(e) for e in range(10, 1000, 10))}))
    with pytest.raises(ConditionError, match="100 learned cells") as caught:
        read_balance({"cost": "equal"}, codec)
    assert caught.value.mend == "name ranges and their shares"


def test_too_many_combinations_are_refused() -> None:
    each = {a: 1 / 100 for a in range(100)}
    with pytest.raises(ConditionError, match="combinations"):
        read_balance(
            {
                "age": each,
                "sex": "equal",
                "ill": "equal",
                "cost": "equal",
                "seen": {f"2020-01-{d:02d}": 0.1 for d in range(1, 11)},
            },
            CODEC,
        )


def test_combinations_multiply_and_leave_out_what_has_no_share() -> None:
    shares = read_balance({"sex": {"F": 0.7, "M": 0.3, "X": 0}, "ill": {True: 0.1, False: 0.9}}, CODEC)
    found = list(combinations(shares))
    assert [share for share, _ in found] == pytest.approx([0.07, 0.63, 0.03, 0.27])
    assert all(set(given) == {"sex", "ill"} for _, given in found)


@given(st.integers(1, 10_000), st.lists(st.floats(0.001, 1.0), min_size=1, max_size=20), st.integers(0, 2**32))
def test_rows_are_allotted_to_one_row(n: int, parts: list[float], seed: int) -> None:
    shares = np.array(parts) / np.sum(parts)
    rows = allot(n, shares.tolist(), rng=np.random.default_rng(seed))
    assert rows.sum() == n
    assert (np.abs(rows - n * shares) < 1).all()
    left = n * shares - rows  # the largest remainders got the row
    assert left.max() - left.min() <= 1 + 1e-9


def test_ties_are_random() -> None:
    firsts = [int(allot(1, [1 / 3] * 3, rng=np.random.default_rng(s)).argmax()) for s in range(300)]
    assert (np.bincount(firsts, minlength=3) > 60).all()  # 100 each; 60 is 4.9 sd below
    assert allot(6, [1 / 3] * 3, rng=np.random.default_rng(0)).tolist() == [2, 2, 2]
