"""``--where`` as a command line writes it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privsynth.data.codec import Between
from privsynth.data.schema import parse_schema
from privsynth.errors import ConditionError
from privsynth.pipeline.conditions import parse_conditions

SCHEMA = parse_schema(
    """\
privsynth-schema: 1
source: lab/visits
subject: {each row is a: visit, a person has at most: 2 rows}
columns:
  age: {kind: integer, min: 0, max: 99}
  cost: {kind: real, min: 0, max: 1000, atoms: [0]}
  sex: {kind: categorical, values: [F, M, "X,Y", "a..b"], nullable: true}
  code: {kind: categorical, values: [1, 2, 30]}
  ill: {kind: boolean, nullable: true}
  seen: {kind: date, min: 2020-01-01, max: 2020-12-31}
  note: {kind: text, dropped: true}
"""
)


@pytest.mark.parametrize(
    ("texts", "wanted"),
    [
        ([], {}),
        (["sex=F"], {"sex": "F"}),
        (["sex=F,M"], {"sex": ["F", "M"]}),
        (["sex=X,Y"], {"sex": "X,Y"}),
        (["sex=a..b"], {"sex": "a..b"}),
        (["sex="], {"sex": None}),
        (["code=30"], {"code": 30}),
        (["code=1,2"], {"code": [1, 2]}),
        (["age=20"], {"age": 20}),
        (["age=20,30"], {"age": [20, 30]}),
        (["age=20..40"], {"age": Between(20, 40)}),
        (["age=20.."], {"age": Between(20, None)}),
        (["age=..40"], {"age": Between(None, 40)}),
        (["cost=0"], {"cost": 0}),
        (["cost=1.5..1e2"], {"cost": Between(1.5, 100.0)}),
        (["cost=-1..5"], {"cost": Between(-1, 5)}),
        (["ill=true"], {"ill": True}),
        (["ill=true,false"], {"ill": [True, False]}),
        (["ill="], {"ill": None}),
        (["seen=2020-02-01..2020-03-01"], {"seen": Between("2020-02-01", "2020-03-01")}),
        (["seen=2020-02-01"], {"seen": "2020-02-01"}),
        (["sex=F", "age=20..40"], {"sex": "F", "age": Between(20, 40)}),
    ],
)
def test_a_condition_is_read_by_the_column_s_kind(texts: list[str], wanted: dict[str, Any]) -> None:
    found = parse_conditions(texts, SCHEMA)
    assert found == wanted
    assert all(type(found[name]) is type(wanted[name]) for name in wanted)


@pytest.mark.parametrize(
    ("texts", "what"),
    [
        (["sex"], "has no `=`"),
        ([""], "has no `=`"),
        (["shoe=42"], "not a learned column"),
        (["note=x"], "not a learned column"),
        (["sex=F", "sex=M"], "twice"),
        (["age=old"], "not a number"),
        (["age=20..old"], "not a number"),
        (["age=20,"], "not a number"),
        (["age=nan"], "not a number"),
        (["cost=inf"], "not a number"),
        (["cost=1_000"], "not a number"),
        (["ill=yes"], "neither true nor false"),
        (["seen=soon"], "not of kind date.*LOW..HIGH"),
        (["sex=Q"], "not (a value|one) of|no value|domain"),
        (["sex=F,Q"], "not (a value|one) of|no value|domain"),
        (["code=1,7"], "not (a value|one) of|no value|domain"),
    ],
)
def test_what_is_no_condition_is_refused_with_the_form(texts: list[str], what: str) -> None:
    with pytest.raises(ConditionError, match=what) as caught:
        parse_conditions(texts, SCHEMA)
    assert caught.value.where == "--where"
    assert caught.value.mend


@given(st.lists(st.text(max_size=12), max_size=3))
def test_no_text_is_an_internal_fault(texts: list[str]) -> None:
    try:
        found = parse_conditions(texts, SCHEMA)
    except ConditionError:
        return
    assert set(found) <= set(SCHEMA.learned)
