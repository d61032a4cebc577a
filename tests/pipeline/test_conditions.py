"""``--where`` and ``--balance`` as a command line writes them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privsynth.data.codec import Between, Codec
from privsynth.data.learned import Learned
from privsynth.data.schema import parse_schema
from privsynth.errors import ConditionError
from privsynth.pipeline.conditions import before_fit, parse_balance, parse_conditions

SCHEMA = parse_schema(
    """\
privsynth-schema: 1
source: lab/visits
subject: {each row is a: visit, a person has at most: 2 rows}
columns:
  age: {kind: integer, min: 0, max: 99}
  cost: {kind: real, min: 0, max: 1000, atoms: [0]}
  sex: {kind: categorical, values: [F, M, "X,Y", "a..b", 'say "hm", then'], nullable: true}
  size: {kind: categorical, values: [S, L]}
  small: {kind: boolean}
  code: {kind: categorical, values: [1, 2, 30]}
  ill: {kind: boolean, nullable: true}
  seen: {kind: date, min: 2020-01-01, max: 2020-12-31}
  note: {kind: text, dropped: true}
determines: [{rule: size -> small, map: [[S, "true"], [L, "false"]]}]
"""
)
Parse = Callable[[list[str], Codec], dict[str, Any]]


def assert_refused(parse: Parse, texts: list[str], what: str, *, where: str) -> None:
    with pytest.raises(ConditionError, match=what) as caught:
        parse(texts, Codec(SCHEMA))
    assert caught.value.where == where
    assert caught.value.mend


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
        (['sex="X,Y",F'], {"sex": ["X,Y", "F"]}),
        (['sex=F,"X,Y","a..b"'], {"sex": ["F", "X,Y", "a..b"]}),
        (['sex="X,Y"'], {"sex": "X,Y"}),
        (['sex="say ""hm"", then",F'], {"sex": ['say "hm", then', "F"]}),
        (['age="20",30'], {"age": [20, 30]}),
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
    found = parse_conditions(texts, Codec(SCHEMA))
    assert found == wanted
    assert all(type(found[name]) is type(wanted[name]) for name in wanted)


@pytest.mark.parametrize(
    ("texts", "what"),
    [
        (["sex"], "has no `=`"),
        ([""], "has no `=`"),
        (["shoe=42"], "not a learned column"),
        (["note=x"], "not a learned column"),
        (["small=true"], "'small' is computed from size"),
        (['sex="X,Y'], "no list of values"),
        (['sex="F"M,X'], "no list of values"),
        (["sex=F\nM"], "no list of values"),
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
    assert_refused(parse_conditions, texts, what, where="--where")


def shares(**by_column: dict[Any, float]) -> dict[str, Any]:
    return {name: [{"value": v, "share": s} for v, s in values.items()] for name, values in by_column.items()}


@pytest.mark.parametrize(
    ("texts", "wanted"),
    [
        ([], {}),
        (["sex=equal"], {"sex": "equal"}),
        (["sex=F:0.7,M:0.3"], shares(sex={"F": 0.7, "M": 0.3})),
        (["sex=X,Y:0.5,a..b:0.5"], shares(sex={"X,Y": 0.5, "a..b": 0.5})),
        (["sex=F:0.5,:0.5"], shares(sex={"F": 0.5, None: 0.5})),
        (["sex=F:0.5,null:0.5"], shares(sex={"F": 0.5, None: 0.5})),
        (["code=1:0.5,30:0.5"], shares(code={1: 0.5, 30: 0.5})),
        (["ill=true:1e-1,false:0.9"], shares(ill={True: 0.1, False: 0.9})),
        (["age=30:1"], shares(age={30: 1.0})),
        (["sex=equal", "ill=equal"], {"sex": "equal", "ill": "equal"}),
    ],
)
def test_a_balance_is_read_by_the_column_s_kind(texts: list[str], wanted: dict[str, Any]) -> None:
    assert parse_balance(texts, Codec(SCHEMA)) == wanted


def test_ranges_have_shares() -> None:
    found = parse_balance(["age=20..40:0.5,41..:0.5", "seen=..2020-06-30:0.5,2020-07-01:0.5"], Codec(SCHEMA))
    assert [item["value"] for item in found["age"]] == [{"from": 20, "to": 40}, {"from": 41, "to": None}]
    assert [item["value"] for item in found["seen"]] == [{"from": None, "to": "2020-06-30"}, "2020-07-01"]


@pytest.mark.parametrize(
    ("texts", "what"),
    [
        (["sex"], "has no `=`"),
        (["shoe=equal"], "shoe: not a learned column"),
        (["note=equal"], "note: not a learned column"),
        (["small=equal"], "small: computed from size"),
        (["sex="], "has no share"),
        (["sex=F"], "'F' has no share"),
        (["sex=F:0.5,M"], "'M' has no share"),
        (["sex=F:half,M:0.5"], "'half' is no share"),
        (["sex=F:nan,M:0.5"], "'nan' is no share"),
        (["sex=F:-0.5,M:1.5"], "the share of 'F' is -0.5"),
        (["sex=F:0.5,M:0.4"], "sum to 0.9"),
        (["sex=F:0.5,F:0.5"], "twice"),
        (["sex=equal", "sex=equal"], "twice"),
        (["sex=F:0.5,Q:0.5"], "public domain"),
        (["sex=equals"], "'equals' has no share"),
        (["ill=yes:1"], "neither true nor false"),
        (["age=old:1"], "not a number"),
        (["age=20..40:0.5,40..60:0.5"], "overlap"),
        (["age=equal"], "100 cells"),
    ],
)
def test_what_is_no_balance_is_refused_with_the_form(texts: list[str], what: str) -> None:
    assert_refused(parse_balance, texts, what, where="--balance")


# --- what a fit has learned -------------------------------------------------------------------------

OPEN = parse_schema(
    """\
privsynth-schema: 1
source: lab/visits
subject: {each row is a: visit, a person has at most: 2 rows}
columns:
  hours: {kind: real, min: 0, max: 100}
  pay: {kind: integer, min: 0, max: 100000}
  ward: {kind: categorical, open: true, nullable: true}
"""
)
FITTED = Codec(
    OPEN,
    Learned(
        bins={"hours": (20.0, 40.0, math.nextafter(40.0, 100)), "pay": (10.0, 1000.0)},
        values={"ward": ("Ear, nose", "east", "null")},
    ),
)
NO_ATOM = "meets no value"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("hours=40", 40),
        ("hours=40..40", Between(40, 40)),
        ("pay=999", 999),
        ("ward=Ear, nose", "Ear, nose"),
        ("ward=east,null", ["east", "null"]),
        ("ward=", None),
    ],
)
def test_a_condition_is_read_by_what_the_model_has_learned(text: str, wanted: Any) -> None:
    assert parse_conditions([text], FITTED) == {text.partition("=")[0]: wanted}


@pytest.mark.parametrize(
    ("text", "what"),
    [("hours=30", NO_ATOM), ("hours=40,30", NO_ATOM), ("ward=Nose", "domain"), ("ward=Ear, nose,east", "domain")],
)
def test_what_the_model_has_not_learned_is_refused(text: str, what: str) -> None:
    assert_refused_by(parse_conditions, text, FITTED, what)


def test_shares_are_read_by_what_the_model_has_learned() -> None:
    assert parse_balance(["hours=40:0.5,..20:0.5", "ward=Ear, nose:0.5,null:0.5"], FITTED) == {
        "hours": [{"value": 40, "share": 0.5}, {"value": {"from": None, "to": 20}, "share": 0.5}],
        "ward": [{"value": "Ear, nose", "share": 0.5}, {"value": "null", "share": 0.5}],
    }
    assert parse_balance(["hours=equal"], FITTED) == {"hours": "equal"}, "it has few cells, and they are known"
    assert_refused_by(parse_balance, "hours=30:1", FITTED, NO_ATOM)


@pytest.mark.parametrize("name", ["hours", "pay"])
def test_equal_over_cells_that_nobody_knows_yet_is_refused(name: str) -> None:
    assert_refused_by(parse_balance, f"{name}=equal", Codec(OPEN), "`equal` on a column whose cells are learned")
    assert parse_balance(["ward=equal"], Codec(OPEN)) == {"ward": "equal"}


@pytest.mark.parametrize(
    ("wanted", "fine"),
    [
        (40, True),
        (0, True),
        (100, True),
        (Between(40, 40), True),
        ([40, Between(50, 60), 37.5], True),
        (101, False),
        (float("nan"), False),
        (10**400, False),
        ("forty", False),
        (True, False),
        (Between(40, 20), False),
        ([40, 200], False),
        ([40, None], False),
    ],
)
def test_before_a_fit_any_number_of_the_range_may_be_an_atom(wanted: Any, fine: bool) -> None:
    where = {"hours": wanted}
    codec = before_fit(Codec(OPEN), where)
    if fine:
        assert codec.evidence(where)["hours"].weights.any()
    else:
        with pytest.raises(ConditionError):
            codec.evidence(where)


def assert_refused_by(parse: Parse, text: str, codec: Codec, what: str) -> None:
    with pytest.raises(ConditionError, match=what) as caught:
        parse([text], codec)
    assert caught.value.mend


@pytest.mark.parametrize("parse", [parse_conditions, parse_balance])
@given(texts=st.lists(st.text(max_size=12) | st.text("sexF=:0.5,1", max_size=12), max_size=3))
def test_no_text_is_an_internal_fault(parse: Parse, texts: list[str]) -> None:
    try:
        found = parse(texts, Codec(SCHEMA))
    except ConditionError:
        return
    assert set(found) <= set(SCHEMA.learned)
