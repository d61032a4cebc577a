"""Minors are left out by rule: per subject, by every row of hers as it was stored, before anything is counted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privsynth.data.records import Records
from privsynth.data.schema import parse_schema
from privsynth.data.tables import read_table
from privsynth.errors import ConsentError, PolicyError, RequestDenied
from privsynth.policy.asks import answer
from privsynth.policy.compare import compare
from privsynth.policy.consent import filter_consent, judge_consent
from privsynth.policy.consent.verdict import Reason
from privsynth.policy.consent_asks import SubjectAsk
from privsynth.policy.directions import SUPERSET
from privsynth.policy.document import Policy
from privsynth.policy.minors import Minors

Edit = Callable[..., Policy]
NOW = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)
USE: dict[str, Any] = {"purpose": "medical-research", "recipient": "university-hospital", "now": NOW}
LINE = "subject,purpose,recipient,status,from,until\n"
ADULTS = "{kind: integer, min: 18, max: 90}"
BANDS = "{kind: categorical, values: [20-29, 30-39]}"


def schema(age: str = ADULTS) -> Any:
    return parse_schema(
        "privsynth-schema: 1\nsource: ehr/encounters\nsubject: {column: patient_id, at most: 12 rows}\n"
        f"columns:\n  patient_id: {{kind: identifier}}\n  age: {age}\n  sex: {{kind: categorical, values: [F, M]}}\n"
    )


@pytest.fixture
def policy(edited: Edit) -> Callable[[str], Policy]:
    def make(rule: str) -> Policy:
        return edited(("    unit: patient ", f"    minors: {rule}\n    unit: patient "))

    return make


@pytest.fixture
def left(tmp_path: Path, policy: Callable[[str], Policy]) -> Callable[..., list[str]]:
    """Who is left of people with these ages, all of whom agreed."""

    def who(rule: str, people: dict[str, list[Any]], *, age: str = ADULTS, csv: bool = False) -> list[str]:
        rows = [(person, value) for person, values in people.items() for value in values]
        frame = pd.DataFrame({"patient_id": [p for p, _ in rows], "age": pd.Series([v for _, v in rows]), "sex": "F"})
        path = tmp_path / "consent.csv"
        path.write_text(LINE + "".join(f"{person},medical-research,*,granted,2026-01-01,\n" for person in people))
        if csv:
            frame.to_csv(tmp_path / "rows.csv", index=False)
        records = read_table(tmp_path / "rows.csv" if csv else frame, schema(age))
        granted = filter_consent(records, policy(rule), register=path, **USE)
        return list(dict.fromkeys(granted.records.subjects.tolist()))

    return who


def test_below_an_age(left: Any) -> None:
    """The schema clips 17 to 18; the rule reads what was stored."""
    people = {"a": [17, 18, 40], "b": [18], "c": [90, 91], "d": [5], "e": [None, 30], "f": [-1]}
    assert left("{column: age, below: 18}", people) == ["b", "c"]
    assert left("{column: age, below: 19}", people) == ["c"]
    assert left("{column: age, below: 3}", {"a": [17], "b": [2]}) == ["a"]


def test_values_that_mean_a_minor(left: Any) -> None:
    people = {"a": ["0-2"], "b": ["20-29"], "c": ["30-39", "3-9"], "d": [None], "e": [" 3-9 "], "f": [""]}
    assert left("{column: age, values: [0-2, 3-9]}", people, age=BANDS) == ["b"]
    assert left("{column: age, values: [0-2, 3-9]}", people, age="{kind: text, dropped: true}") == ["b"]


@pytest.mark.parametrize(
    ("value", "out"),
    [("17", True), ("18", False), (" 18.5 ", False), ("17.99", True), ("eighteen", True), ("", True), ("-20", True),
     ("1e9", True), (17.999, True), (18.0, False), (float("nan"), True), (float("inf"), True), (True, True),
     (None, True), (b"20", True)],
)  # fmt: skip
def test_what_cannot_be_read_is_left_out(value: Any, out: bool) -> None:
    assert Minors(column="age", below=18).leaves_out(value) == out


def test_a_whole_number_as_a_value() -> None:
    rule = Minors(column="minor", values=(1,))
    assert [rule.leaves_out(v) for v in (1, 1.0, "1", 0, "0", True, None)] == [
        True,
        True,
        True,
        False,
        False,
        True,
        True,
    ]


@pytest.mark.parametrize(
    ("values", "out", "kept"),
    [
        ((True,), [True, 1, 1.0, "True", "TRUE", " true ", "1", "1.0", "yes", "ja", "", None, 2], [False, 0, "FALSE"]),
        ((16, 17), [16, 16.0, "16", "16.0", "016", "+16", " 1.6e1", Decimal(17), "16 years", "1\uff17"], [40, "40.0"]),
        (("child",), ["child", "CHILD", " Child\u00a0", "\u200bchild", "\uff23hild", "", " \u200b", b"x"], ["adult"]),
        (("3-9",), ["3-9", "3 - 9", "3\u20139", "3\u22129"], ["30-39"]),
        (("true",), ["True", True, 1, "1"], ["false", 0]),
        (("16",), [16, "016", 16.0], ["old", 40]),
        ((10**400,), ["x"], [5, 10**300]),
    ],
)  # fmt: skip
def test_a_cell_is_compared_by_what_it_means(values: tuple[Any, ...], out: list[Any], kept: list[Any]) -> None:
    rule = Minors(column="age", values=values)
    assert [v for v in out if not rule.leaves_out(v)] == [] == [v for v in kept if rule.leaves_out(v)]


CELLS = [True, False, 0, 1, 2, 16, 16.5, "true", "no", "1", "016", "child", "Child", "adult", " ", "", None]


@given(st.lists(st.sampled_from([True, False, 0, 1, 16, "child", "adult", "1", "true"]), min_size=2, unique_by=repr))
def test_one_value_more_leaves_nobody_in(values: list[Any]) -> None:
    more, fewer = Minors(column="age", values=tuple(values)), Minors(column="age", values=tuple(values[1:]))
    assert SUPERSET.order(values[1:], values) == "tighter"
    assert {repr(c) for c in CELLS if fewer.leaves_out(c)} <= {repr(c) for c in CELLS if more.leaves_out(c)}


def test_true_and_one_are_two_values() -> None:
    """Beside `true` a 2 reads as nothing, beside 1 it is another number."""
    assert SUPERSET.order([True], [1]) == "incomparable"


@pytest.mark.parametrize(
    ("rule", "age", "cells", "kept"),
    [
        ("[true]", "{kind: boolean}", ["True", "TRUE", "1", "1.0", "yes", "t", "", "False", "0"], ["False", "0"]),
        ("[true]", "{kind: boolean}", [1, 0], [0]),
        ("[true]", "{kind: boolean}", [True, False], [False]),
        ("[true]", "{kind: boolean, dropped: true}", ["True", "no", "false"], ["false"]),
        ("[true]", "{kind: text, dropped: true}", ["True", "x", "false"], ["false"]),
        ("[16, 17]", ADULTS, ["16.0", "017", "5", "18", "91", "18.5"], ["18"]),
        ("[16, 17]", ADULTS, [16.0, None, 18.0], [18.0]),
        ("[child]", "{kind: categorical, values: [Child, Adult], outside: Adult}", ["CHILD", "kid", "Child", "Adult"],
         ["Adult"]),
        ("[1]", "{kind: categorical, values: [1, 2]}", ["01", "1.0", "3", "02"], ["02"]),
        ("[child]", "{kind: categorical, open: true}", ["CHILD", "kid", "Adult", " "], ["kid", "Adult"]),
    ],
)  # fmt: skip
def test_what_the_schema_would_turn_into_another_value_is_left_out(
    left: Any, rule: str, age: str, cells: list[Any], kept: list[Any]
) -> None:
    people, asked = {str(cell): [cell] for cell in cells}, f"{{column: age, values: {rule}}}"
    assert left(asked, people, age=age, csv=True) == [str(cell) for cell in kept]
    if not any(isinstance(cell, str) for cell in cells):
        assert left(asked, people, age=age) == [str(cell) for cell in kept]


@pytest.mark.parametrize(
    "age", ["{kind: boolean}", "{kind: boolean, nullable: true}", ADULTS, BANDS, "{kind: categorical, values: [1, 2]}",
            "{kind: real, min: 0, max: 9}", "{kind: date, min: 2000-01-01, max: 2020-01-01}",
            "{kind: text, dropped: true}"],
)  # fmt: skip
def test_a_column_of_nothing_leaves_nobody_in(left: Any, age: str) -> None:
    assert left("{column: age, values: [16]}", {"a": [None], "b": [None]}, age=age, csv=True) == []


def test_rows_by_hand_are_read_alike(tmp_path: Path, policy: Callable[[str], Policy]) -> None:
    path = tmp_path / "consent.csv"
    path.write_text(LINE + "".join(f"{p},medical-research,*,granted,2026-01-01,\n" for p in "abc"))
    for held, kept in (([True, False, None], ["b"]), ([True, False, "false"], [])):
        frame, ids = pd.DataFrame({"age": held}, dtype=object), np.array(["a", "b", "c"], dtype=object)
        records = Records(schema("{kind: boolean}"), frame, ids)
        granted = filter_consent(records, policy("{column: age, values: [true]}"), register=path, **USE)
        assert granted.records.subjects.tolist() == kept


@pytest.mark.parametrize("age", ["{kind: text, dropped: true}", "{kind: identifier}"])
def test_a_column_that_is_not_read_is_told(left: Any, age: str) -> None:
    with pytest.raises(ConsentError, match="as it was stored"):
        left("{column: age, values: [true]}", {"a": [True]}, age=age)


def test_they_are_told_inside_only(tmp_path: Path, policy: Callable[[str], Policy]) -> None:
    path = tmp_path / "consent.csv"
    path.write_text(LINE + "".join(f"{p},medical-research,*,granted,2026-01-01,\n" for p in "ab"))
    records = read_table(pd.DataFrame({"patient_id": ["a", "b", "c"], "age": [10, 20, 10], "sex": "F"}), schema())
    files = {"register": path, "fhir": None, "receipts": None}
    judged = judge_consent(records, policy("{column: age, below: 18}"), files=files, **USE).judged
    assert {s: one.reasons for s, one in judged.items()} == {
        "a": (Reason.MINOR,),
        "b": (Reason.GRANTED,),
        "c": (Reason.NO_RECORD,),
    }


def test_a_column_that_the_schema_does_not_declare_denies_with_its_line(
    tmp_path: Path, policy: Callable[[str], Policy]
) -> None:
    path = tmp_path / "consent.csv"
    path.write_text(LINE)
    made = policy("{column: years, below: 18}")
    records = read_table(pd.DataFrame({"patient_id": ["a"], "age": [20], "sex": "F"}), schema())
    with pytest.raises(RequestDenied, match="PS-SRC-004") as caught:
        filter_consent(records, made, register=path, **USE)
    assert caught.value.where == made.where("sources", "ehr/encounters", "minors", "column")
    by_hand = Records(schema(), pd.DataFrame({"age": [20]}), np.array(["a"], dtype=object))
    with pytest.raises(ConsentError, match="as it was stored"):
        filter_consent(by_hand, policy("{column: age, below: 18}"), register=path, **USE)


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.sampled_from("abcd"), st.lists(st.integers(0, 40), min_size=1, max_size=3), min_size=1))
def test_one_subject_moves_nobody_else(people: dict[str, list[int]]) -> None:
    """What is left of some is what is left of each alone."""
    rule = Minors(column="age", below=18)
    out = {p for p, ages in people.items() if any(map(rule.leaves_out, ages))}
    assert out == {p for p, ages in people.items() if min(ages) < 18}


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        ("{column: age}", "does not say who is one"),
        ("{column: age, below: 18, values: [0-2]}", "both"),
        ("{below: 18}", "column"),
        ("{column: age, below: 0}", "below"),
        ("{column: age, below: 17.5}", "below"),
        ("{column: age, values: []}", "values"),
        ("{column: age, below: 18, unknown: allowed}", "unknown"),
    ],
)
def test_rules_that_are_none(policy: Callable[[str], Policy], rule: str, fault: str) -> None:
    with pytest.raises(PolicyError, match=fault):
        policy(rule)


@pytest.mark.parametrize(
    ("before", "after", "value"),
    [
        ("{column: age, below: 18}", "{column: age, below: 16}", 17),
        ("{column: age, values: [0-2, 3-9]}", "{column: age, values: [0-2]}", "3-9"),
        ("{column: age, below: 18}", "", 17),
    ],
)
def test_a_looser_rule_is_shown_by_a_subject(
    policy: Callable[[str], Policy], edited: Edit, before: str, after: str, value: Any
) -> None:
    one, other = policy(before), policy(after) if after else edited()
    change = compare(one, other)[0]
    assert change.order == "looser" and change.witness is not None
    ask = SubjectAsk(source="ehr/encounters", value=value)
    assert [v.id for v in answer(ask, one).refusing] == ["PS-SRC-005"] and answer(ask, other).allowed
    assert {c.order for c in compare(other, one)} == {"tighter"}
    assert not answer(SubjectAsk(source="no/source", value=40), one).allowed
