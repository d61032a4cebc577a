"""The workload: what may be asked, of which columns, and that it is one thing however it is written."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest

from privsynth.data.codec import Between, Codec
from privsynth.data.schema import Schema, parse_schema
from privsynth.documents import identity
from privsynth.errors import ConditionError, SchemaError
from privsynth.generators.marginals.plan import lay_out
from privsynth.generators.marginals.recipe import Marginals
from privsynth.generators.marginals.workload import Query, Workload
from privsynth.privacy.budget import Budget

SCHEMA = """\
privsynth-schema: 1
source: lab/visits
subject: {each row is a: visit, a person has at most: 1 row}
columns:
  age: {kind: integer, min: 0, max: 99}
  sex: {kind: categorical, values: [F, M, X]}
  smoker: {kind: boolean, nullable: true}
  bmi: {kind: real, min: 10, max: 60, bins: [20, 25, 30]}
  cost: {kind: real, min: 0, max: 1000}
  ward: {kind: categorical, open: true}
  base: {kind: integer, min: 0, max: 9}
  total: {kind: integer, min: 0, max: 108}
sums: [total = age + base]
"""


@pytest.fixture(scope="module")
def schema() -> Schema:
    return parse_schema(SCHEMA)


@pytest.mark.parametrize(
    ("where", "inside"),
    [
        ({"sex": ["F", "X"]}, {"sex": [True, False, True]}),
        ({"smoker": None}, {"smoker": [False, False, True]}),
        ({"bmi": Between(20, 30)}, {"bmi": [False, True, True, False]}),
        (
            {"bmi": Between(25, None), "smoker": True},
            {"bmi": [False, False, True, True], "smoker": [False, True, False]},
        ),
        ({"age": Between(65, 99)}, {"age": [a >= 65 for a in range(100)]}),
    ],
)
def test_a_query_is_two_groups_a_column_inside_and_outside(
    schema: Schema, where: dict[str, Any], inside: dict[str, list[bool]]
) -> None:
    codec = Codec(schema)
    found = {codec.columns[c].name: groups.tolist() for c, groups in Query(where).groups(codec).items()}
    assert found == {name: [int(x) for x in cells] for name, cells in inside.items()}


@pytest.mark.parametrize(
    ("workload", "error", "place", "mend"),
    [
        (Workload(weights=((("age", "sex"), 2), (("sex", "income"), 2))), SchemaError, "weights[1]", "one of age, sex"),
        (Workload(weights=((("age", "total"), 2),)), SchemaError, "weights[0]", "instead"),
        (Workload(queries=(Query({"sex": "F"}), Query({"income": 3}))), ConditionError, "queries[1]", "one of age"),
        (Workload(queries=(Query({"total": 3}),)), ConditionError, "queries[0]", "instead"),
        (Workload(queries=(Query({"sex": "Q"}),)), ConditionError, "queries[0].where['sex']", "'F', 'M', 'X'"),
        (Workload(queries=(Query({"age": 120}),)), ConditionError, "queries[0].where['age']", "bounds"),
        (Workload(queries=(Query({"age": Between(0, 99)}),)), ConditionError, "where['age']", "not the whole column"),
        (Workload(queries=(Query({"bmi": Between(22, 25)}),)), ConditionError, "where['bmi']", "cell edges"),
        (Workload(queries=(Query({"cost": Between(0, 9)}),)), SchemaError, "where['cost']", "cells: equal"),
        (Workload(queries=(Query({"sex": "F", "ward": "A"}),)), SchemaError, "where['ward']", "cells: equal"),
    ],
)
def test_what_the_schema_does_not_hold_is_told_with_its_place(
    schema: Schema, workload: Workload, error: type[Exception], place: str, mend: str
) -> None:
    with pytest.raises(error) as caught:
        Marginals(schema, Budget(1.0, 1e-9), workload=workload)
    assert isinstance(caught.value, SchemaError | ConditionError)
    assert caught.value.where.startswith("Workload.") and place in caught.value.where
    assert mend in caught.value.mend


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: Workload(weights=((("a", "b"), 2.0), (("b", "a"), 3.0))), "has a weight already"),
        (lambda: Workload(weights=((("a", "b", "c", "d"), 2.0),)), "no pair or triple"),
        (lambda: Workload(weights=(("a", "b"),)), "no columns with their weight"),  # type: ignore[arg-type]
        (lambda: Workload(weights=((("a", "b"), True),)), "a weight is True"),
        (lambda: Workload(weights=((("a", "b"), "2"),)), "a weight is '2'"),  # type: ignore[arg-type]
        (lambda: Workload(queries=({"a": 1},)), "dict is no query"),  # type: ignore[arg-type]
        (lambda: Workload(queries=(Query({"a": 1}),) * 1001), "at most 1000"),
        (lambda: Query({}), "one to 3 columns"),
        (lambda: Query(dict.fromkeys("abcd", 1)), "one to 3 columns"),
        (lambda: Query({"a": 1}, -1.0), "a weight is -1.0"),
    ],
)
def test_what_no_plan_can_lay_out_is_refused(make: Any, what: str) -> None:
    with pytest.raises(SchemaError, match=what) as caught:
        make()
    assert caught.value.where and caught.value.mend


def test_a_workload_is_one_thing_however_it_is_written() -> None:
    """Its hash is part of the recipe's: sets have no order of their own, and 5 is 5.0."""
    exact = Workload(weights=((("a", "b"), 5.0),), queries=(Query({"c": ["F", "M"]}, 2.0),), target_weight=3.0)
    for weight, values in ((5, {"M", "F"}), (np.int64(5), ("F", "M")), (np.float32(5), np.array(["F", "M"]))):
        asked = Workload(
            weights=((["a", "b"], weight),),  # type: ignore[arg-type]
            queries=(Query({"c": values}, 2),),
            target_weight=3,
        )
        assert asked == Workload.from_json(json.loads(json.dumps(asked.to_json())))
        assert identity(asked.to_json()) == identity(exact.to_json())


def test_a_query_keeps_what_it_was_asked() -> None:
    values = ["F"]
    query = Query({"sex": values})
    values.append("M")
    assert query.where["sex"] == ["F"]


DATED = """\
privsynth-schema: 1
source: lab/visits
subject: {each row is a: visit, a person has at most: 1 row}
columns:
  age: {kind: integer, min: 0, max: 99}
  bmi: {kind: real, min: 0, max: 1, bins: [0.5]}
  seen: {kind: date, min: 2020-01-01, max: 2020-01-05}
  at: {kind: datetime, min: 2020-01-01 00:00:00, max: 2020-01-01 00:01:00}
"""


@pytest.mark.parametrize(
    ("where", "inside"),
    [
        ({"age": range(2)}, 2),
        ({"age": pd.Series([0, 1])}, 2),
        ({"age": {0: "", 1: ""}.keys()}, 2),
        ({"age": (0, np.int64(1))}, 2),
        ({"bmi": Between(Decimal("0.5"), None)}, 1),
        ({"seen": pd.Timestamp("2020-01-02")}, 1),
        ({"seen": dt.date(2020, 1, 2)}, 1),
        ({"seen": dt.datetime(2020, 1, 2)}, 1),
        ({"seen": np.array(["2020-01-02", "2020-01-04"], dtype="datetime64[ns]")}, 2),
        ({"seen": Between(dt.datetime(2020, 1, 2), None)}, 4),
        ({"at": Between(dt.datetime(2020, 1, 1, 0, 0, 30), None)}, 31),
        ({"at": pd.Timestamp("2020-01-01")}, 1),
    ],
)
def test_values_of_python_and_pandas_are_written_down_and_read_back(where: dict[str, Any], inside: int) -> None:
    """A recipe that does not come back as itself buys a model that nobody can load."""
    schema = parse_schema(DATED)
    recipe = Marginals(schema, Budget(1.0, 1e-9), workload=Workload(queries=(Query(where),)))
    again = Marginals.from_description(json.loads(json.dumps(recipe.describe())))
    assert again.identity == recipe.identity
    for asked in (recipe, again):
        (groups,) = asked.workload.queries[0].groups(Codec(schema)).values()
        assert groups.sum() == inside


@pytest.mark.parametrize("value", [b"F", pd.NaT, [["F"]], {"from": 1}, dt.timedelta(1)])
def test_a_value_that_no_file_can_hold_is_no_query_s(value: Any) -> None:
    with pytest.raises(ConditionError) as caught:
        Query({"sex": value})
    assert caught.value.where == "where['sex']" and caught.value.mend


def test_a_workload_that_is_not_read_back_is_refused_before_anything_is_paid(schema: Schema) -> None:
    query = Query({"age": 1})
    object.__setattr__(query, "where", {"age": range(2)})
    huge = Query({"age": Between(-(2**60), 30)})  # no number that every reader of JSON reads
    for workload in (Workload(queries=(query,)), Workload(queries=(huge,))):
        with pytest.raises(SchemaError, match="read back") as caught:
            Marginals(schema, Budget(1.0, 1e-9), workload=workload)
        assert caught.value.where == "Marginals.workload" and caught.value.mend


@pytest.mark.parametrize("up_to", [np.int64(3), 3.0])
def test_up_to_is_a_plain_number(up_to: Any) -> None:
    assert identity(Workload(up_to=up_to).to_json()) == identity(Workload(up_to=3).to_json())


def test_a_named_triple_weighs_beside_the_pairs_until_all_take_their_share() -> None:
    def costs(*weights: tuple[tuple[str, ...], float]) -> dict[str, list[float]]:
        plan = lay_out(
            names=list("abcdefg"),
            cells=[20] * 7,
            mu=1.0,
            contribution=1,
            rows=1e5,
            target=None,
            workload=Workload(weights=weights),
            recipe="r",
            hold_back=True,
        )
        return {stage: [ask.sigma**-2 for ask in plan.joint if ask.stage == stage] for stage in ("pair", "loose")}

    few, two, many = (
        costs((("a", "b", "c"), 4.0)),
        costs((("a", "b", "c"), 4.0), (("a", "b", "d"), 1.0)),
        costs(*((triple, 4.0) for triple in combinations("abcdefg", 3))),
    )
    assert few["loose"][0] / np.mean(few["pair"]) == pytest.approx(4.0, rel=0.1)
    assert max(two["loose"]) / min(two["loose"]) == pytest.approx(4.0, rel=0.15)
    assert sum(many["loose"]) / sum(many["pair"]) == pytest.approx(0.43, rel=0.05)
