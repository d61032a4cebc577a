"""Paid domains as a value, and the cells that they give."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privsynth.data.codec import Between, Codec, Learned
from privsynth.data.schema import Schema
from privsynth.data.tables import read_table
from privsynth.errors import ConditionError, ModelError, SchemaError
from tests.data import made
from tests.data.strategies import texts

WARD = {"kind": "categorical", "open": True, "nullable": True, "other": "elsewhere"}
COLUMNS: dict[str, dict[str, Any]] = {
    "ward": WARD,
    "hours": {"kind": "real", "min": 0, "max": 100, "nullable": True},
    "gain": {"kind": "integer", "min": 0, "max": 99_999},
    "seen": {"kind": "date", "min": "1960-01-01", "max": "2020-12-31"},
    "at": {"kind": "datetime", "min": "2020-01-01 00:00:00", "max": "2020-12-31 23:59:59"},
    "cost": {"kind": "real", "min": 0, "max": 10_000, "decimals": 2, "atoms": [9.99]},
}
LEARNED = Learned(
    bins={
        "hours": (20.0, 40.0, float(np.nextafter(40.0, np.inf)), 60.5),
        "gain": (1.0, 5000.0, 99_999.0),
        "seen": (0.0, 10_000.0),
        "at": (1_580_000_000.0,),
        "cost": (0.01, 5.0, 100.0),
    },
    values={"ward": ("A", "B")},
)


def rows(n: int = 60) -> pd.DataFrame:
    """Rows with texts that are released, not released, null, and no text at all."""
    return pd.DataFrame(
        {
            "ward": [("A", "B", "C", None, "elsewhere", "x\x00y")[i % 6] for i in range(n)],
            "hours": [(40.0, 39.99, None, 0.0, 100.0, 61.0)[i % 6] for i in range(n)],
            "gain": [(0, 1, 99_999, 7000, 4999, 99_998)[i % 6] for i in range(n)],
            "seen": pd.to_datetime(["1969-12-31", "1970-01-01", "2020-12-31"] * (n // 3)),
            "at": pd.to_datetime(["2020-01-01 00:00:01", "2020-12-31 23:59:59"] * (n // 2)),
            "cost": [(0.0, 9.99, 0.01, 9_999.99, 5.0, 4.99)[i % 6] for i in range(n)],
        }
    )


def test_paid_domains_survive_json() -> None:
    back = Learned.from_json(json.loads(json.dumps(LEARNED.to_json())))
    assert back == LEARNED
    assert back.to_json() == LEARNED.to_json()


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), unique=True), st.lists(texts(), unique=True))
def test_any_edges_and_texts_survive_json(edges: list[float], values: list[str]) -> None:
    whole = Learned(bins={"a": tuple(sorted(set(edges)))}, values={"b": tuple(sorted(values))})
    assert Learned.from_json(json.loads(json.dumps(whole.to_json()))) == whole


@pytest.mark.parametrize(
    "change",
    [
        {"bins": {"a": [2.0, 1.0]}},
        {"bins": {"a": [1.0, 1.0]}},
        {"bins": {"a": [float("nan")]}},
        {"bins": {"a": ["1"]}},
        {"bins": {"a": [True]}},
        {"bins": [1.0]},
        {"values": {"a": ["b", "a"]}},
        {"values": {"a": ["a\x00"]}},
        {"values": {"a": [3]}},
        {"maps": {"a": [1.5]}},
        {"more": {}},
    ],
)
def test_what_is_no_paid_domain_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="not learned domains"):
        Learned.from_json({"bins": {}, "values": {}, "maps": {}} | change)


def test_cells_are_the_paid_ones() -> None:
    schema = made.schema(COLUMNS)
    codec = Codec(schema, LEARNED)
    named = {c.name: c.cells for c in codec.columns}
    assert named == {"ward": 4, "hours": 6, "gain": 4, "seen": 3, "at": 2, "cost": 6}
    frame = read_table(rows(), schema).frame
    codes = codec.encode(frame)
    assert codes[:6, 0].tolist() == [0, 1, 2, 3, 2, 2]  # C, the text itself and no text: the rest
    assert codes[:6, 1].tolist() == [2, 1, 5, 0, 4, 4]
    assert codes[:6, 2].tolist() == [0, 1, 3, 2, 1, 2]
    assert codes[:3, 3].tolist() == [0, 1, 2]
    assert codes[:6, 5].tolist() == [0, 3, 1, 5, 2, 1]


def test_values_drawn_from_paid_cells_fall_into_them_again() -> None:
    codec = Codec(made.schema(COLUMNS), LEARNED)
    rng = np.random.default_rng(0)
    codes = np.stack([rng.integers(0, c.cells, 5000) for c in codec.columns], axis=1).astype(np.int32)
    frame = codec.decode(codes, rng)
    assert (codec.encode(frame) == codes).all()
    assert set(frame["ward"].dropna().unique()) == {"A", "B", "elsewhere"}
    assert frame["gain"].dtype == np.int64
    assert (frame["hours"] == 40.0).sum() == (codes[:, 1] == 2).sum()


def test_conditions_on_paid_cells() -> None:
    codec = Codec(made.schema(COLUMNS), LEARNED)
    given = codec.evidence({"ward": "B", "hours": 40.0, "gain": Between(0, 0)})
    assert given["ward"].weights.tolist() == [0, 1, 0, 0]
    assert given["hours"].weights.tolist() == [0, 0, 1, 0, 0, 0]
    assert given["gain"].weights.tolist() == [1, 0, 0, 0]
    with pytest.raises(ConditionError, match="public domain"):
        codec.evidence({"ward": "C"})


def test_before_a_fit_any_text_may_be_asked_for() -> None:
    codec = Codec(made.schema(COLUMNS))
    assert codec.columns[0].cells == 2
    assert codec.evidence({"ward": "anything"})["ward"].weights.tolist() == [1, 0]
    with pytest.raises(ConditionError):
        codec.evidence({"ward": 3})


def test_open_rows_are_named_by_their_whole_text() -> None:
    """Adding a row renames no other: texts that share a cell still make different rows."""
    schema = made.schema({"ward": {"kind": "categorical", "open": True}})
    both = read_table(pd.DataFrame({"ward": ["A", "B"]}), schema).subjects
    alone = read_table(pd.DataFrame({"ward": ["B"]}), schema).subjects
    assert both[1] == alone[0]
    assert both[0] != both[1]


def test_texts_that_nobody_could_review_are_outside() -> None:
    frame = pd.DataFrame({"ward": ["A", "x\x00y", " ", "null", "a" * 2000, None]})
    kept = read_table(frame, made.schema({"ward": WARD}))
    assert [None if pd.isna(v) else v for v in kept.frame["ward"]] == [
        "A",
        *["elsewhere"] * 4,
        None,
    ]
    assert kept.faults == {("ward", "elsewhere"): 4}
    dropped = read_table(frame, made.schema({"ward": WARD | {"outside": "drop"}}))
    assert len(dropped.frame) == 2
    emptied = read_table(frame, made.schema({"ward": WARD | {"outside": "null"}}))
    assert emptied.frame["ward"].isna().sum() == 5


@pytest.mark.parametrize(
    ("column", "what"),
    [
        ({"kind": "categorical", "open": True, "values": ["A"]}, "both a list of values and `open: true`"),
        ({"kind": "categorical", "open": True, "ordered": True}, "an open column has no order"),
        ({"kind": "categorical", "open": True, "outside": "A"}, "'A' is not known"),
        ({"kind": "categorical", "open": True, "outside": "null"}, "needs `nullable: true`"),
        ({"kind": "categorical", "open": True, "other": "null"}, "name of a rule"),
        ({"kind": "categorical", "open": True, "other": " "}, "empty or blank"),
        ({"kind": "categorical", "values": ["A"], "other": "B"}, "`other` is of open columns"),
        ({"kind": "integer", "min": 0, "max": 9, "bins": [3], "cells": "equal"}, "both `bins` and `cells: equal`"),
        ({"kind": "integer", "min": 0, "max": 9, "cells": "even"}, "cells"),
    ],
)
def test_a_bad_line_is_refused_with_its_place(column: dict[str, Any], what: str) -> None:
    with pytest.raises(SchemaError, match=what) as caught:
        made.schema({"it": column, "ok": {"kind": "boolean"}})
    assert caught.value.mend
    assert "schema:1" in caught.value.where


def test_never_names_no_value_of_an_open_column() -> None:
    columns: dict[str, Any] = {"ward": WARD, "ill": {"kind": "boolean"}}
    with pytest.raises(SchemaError, match="no value of it is public"):
        made.schema(columns, never=[{"ward": "A", "ill": True}])


def test_an_open_schema_file_reads_back() -> None:
    from privsynth.data.schema import parse_schema

    schema = made.schema(COLUMNS)
    assert parse_schema(schema.to_yaml()) == schema
    assert Schema.from_json(schema.to_json()) == schema
