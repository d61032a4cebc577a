"""Columns that follow from others: sums and dependencies hold in every row that is decoded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from privsynth.data.balance import read_balance
from privsynth.data.codec import Codec, Learned
from privsynth.data.schema import Schema, load_schema, parse_schema
from privsynth.data.tables import check_table, read_table, violations
from privsynth.errors import ConditionError, SchemaError
from tests.data import made

COLUMNS: dict[str, dict[str, Any]] = {
    "a": {"kind": "integer", "min": 0, "max": 9, "nullable": True},
    "b": {"kind": "integer", "min": 0, "max": 9},
    "t": {"kind": "integer", "min": 0, "max": 18, "nullable": True},
    "x": {"kind": "real", "min": 0, "max": 9, "decimals": 2},
    "y": {"kind": "real", "min": 0, "max": 9},
    "z": {"kind": "real", "min": 0, "max": 30, "decimals": 1},
    "zip": {"kind": "categorical", "values": [1, 2, 3], "nullable": True},
    "state": {"kind": "categorical", "values": ["P", "Q"], "nullable": True},
    "ward": {"kind": "categorical", "open": True},
    "site": {"kind": "boolean"},
}
RULES: dict[str, Any] = {
    "sums": ["t = a + b", "z = x + y"],
    "determines": [{"rule": "zip -> state", "map": [["1", "P"], ["2", "Q"], ["3", "Q"]]}, "ward -> site"],
}


def schema(columns: dict[str, dict[str, Any]] = COLUMNS, **rules: Any) -> Schema:
    text = {"privsynth-schema": 1, "source": "lab/t", "subject": made.BY_ROW, "columns": columns}
    return parse_schema(json.dumps(text | rules), path="s.yaml")


def drawn(n: int = 500) -> tuple[Schema, Codec, pd.DataFrame]:
    whole = schema(**RULES)
    codec = Codec(whole, Learned(values={"ward": ("u", "v")}, maps={"site": (True, False, True)}))
    rng = np.random.default_rng(0)
    codes = np.stack([rng.integers(0, c.cells, n) for c in codec.columns], axis=1).astype(np.int32)
    return whole, codec, codec.decode(codes, rng)


def test_computed_columns_have_no_cells_and_every_row_keeps_their_rules() -> None:
    whole, codec, frame = drawn()
    assert list(codec.index) == ["a", "b", "x", "y", "zip", "ward"]
    assert list(frame.columns) == list(COLUMNS)
    assert (frame["t"].isna() == frame["a"].isna()).all()
    assert (frame["t"] == frame["a"] + frame["b"]).fillna(True).all()
    assert frame["t"].dtype == "Int64"
    assert np.allclose(frame["z"], frame["x"] + frame["y"], atol=0.051)
    assert (np.rint(frame["z"] * 10) / 10 == frame["z"]).all()
    assert (frame["state"].isna() == frame["zip"].isna()).all()
    assert set(zip(frame["zip"].dropna(), frame["state"].dropna(), strict=True)) == {(1, "P"), (2, "Q"), (3, "Q")}
    assert set(zip(frame["ward"], frame["site"], strict=True)) == {("u", True), ("v", False), ("other", True)}
    assert [int(mask.sum()) for _, mask in violations(frame, whole)] == [0, 0, 0, 0]


def test_a_sum_beyond_its_bounds_is_a_row_that_cannot_be() -> None:
    narrow = schema({**COLUMNS, "t": {**COLUMNS["t"], "max": 10}}, sums=["t = a + b"])
    codes = np.zeros((2, len(Codec(narrow).columns)), dtype=np.int32)
    codes[0, :2] = 9
    frame = Codec(narrow).decode(codes, np.random.default_rng(0))
    assert frame["t"].tolist() == [18, 0]
    assert violations(frame, narrow)[0][1].tolist() == [True, False]


def test_real_rows_that_break_a_computed_rule_stay_and_are_listed_inside() -> None:
    whole, _, frame = drawn(60)
    wrong = frame.assign(t=frame["t"].where(frame.index != 0, 3).astype("Int64"), z=frame["z"])
    wrong.loc[1, "z"] = 29.9
    wrong.loc[2, "zip"] = 1
    wrong.loc[2, "state"] = "Q"
    wrong.loc[0, ["a", "b"]] = [9, 9]
    records = read_table(wrong, whole)
    assert len(records.frame) == 60
    faults = {fault.column: (fault.rule, fault.first) for fault in check_table(wrong, whole)}
    assert faults == {
        "t = a + b": ("computed", (0,)),
        "z = x + y": ("computed", (1,)),
        "zip -> state": ("computed", (2,)),
    }


NUMBER = {"kind": "integer", "min": 0, "max": 9}
FOLLOWING: dict[str, dict[str, Any]] = {
    "a": NUMBER,
    "b": NUMBER | {"nullable": True},
    "t": NUMBER | {"max": 18, "nullable": True, "outside": "drop"},
    "x": {"kind": "real", "min": 0, "max": 9, "decimals": 2},
    "r": {"kind": "real", "min": 0, "max": 18, "decimals": 1, "outside": "drop", "nullable": True},
    "c": NUMBER | {"max": 20},
    "z": {"kind": "categorical", "values": ["A", "B"], "nullable": True},
    "s": {"kind": "categorical", "values": ["X", "Y"], "nullable": True, "outside": "drop"},
    "on": {"kind": "boolean"},
    "f": {"kind": "boolean"},
    "g": {"kind": "categorical", "values": [1, 2]},
}
MAPS: list[Any] = [
    {"rule": "z -> s", "map": [["A", "X"], ["B", "Y"]]},
    {"rule": "on -> f", "map": [["true", "false"], ["false", "true"]]},
    {"rule": "on -> g", "map": [["true", "2"], ["false", "1"]]},
]
BOUND: dict[str, Any] = {"order": ["t <= c"], "never": [{"s": "X", "c": 5}, {"s": None, "c": 7}]}


WRONG: dict[str, dict[str, list[Any]]] = {
    "csv": {
        "t": ["99", "2", None, "4", "abc", "2.5", "0"],
        "r": [None, 99.0, 0.0, None, -1.0, 4.0, 5.0],
        "s": ["Q", None, "Y", "X", "X", "X", "Y"],
        "f": [None, "maybe", "1", "0", "true", "1", "1"],
        "g": [7, None, 1, 2, 1, 2, 1],
    },
    "parquet": {
        "t": [99.0, 2.0, None, 4.0, -1.0, 2.5, 0.0],
        "r": [None, 99.0, 0.0, None, -1.0, 4.0, 5.0],
        "s": ["Q", None, "Y", "X", "X", "X", "Y"],
        "f": [None, 2, 1, 0, 1, 1, 1],
        "g": [7, None, 1, 2, 1, 2, 1],
    },
}


@pytest.mark.parametrize("ending", WRONG)
def test_row_rules_ask_what_is_computed_and_never_what_is_stored(tmp_path: Path, ending: str) -> None:
    """Whatever the file holds in a total or in a column of a public map: the rows that stay, their values and
    their ids are those of a file that is right."""
    ruled = schema(FOLLOWING, sums=["t = a + b", "r = a + x"], determines=MAPS, **BOUND)
    held: dict[str, list[Any]] = {
        "a": [1, 1, 1, 9, 2, 1, 1],
        "b": [1, 9, 1, None, 2, 1, 1],
        "t": [2, 10, 2, None, 4, 2, 2],
        "x": [0.25, 0.5, 1.0, 0.0, 2.0, 3.0, 4.0],
        "r": [1.2, 1.5, 2.0, 9.0, 4.0, 4.0, 5.0],
        "c": [20, 5, 5, 6, 5, 7, 8],
        "z": ["A", "B", "A", "B", "B", None, None],
        "s": ["X", "Y", "X", "Y", "Y", None, None],
        "on": [True, False, True, False, True, False, True],
        "f": [False, True, False, True, False, True, False],
        "g": [2, 1, 2, 1, 2, 1, 2],
    }
    right = made.written(pd.DataFrame(held), tmp_path, ending).rename(tmp_path / f"right.{ending}")
    wrong = made.written(pd.DataFrame(held | WRONG[ending]), tmp_path, ending)
    kept, same = read_table(right, ruled), read_table(wrong, ruled)
    stay = [0, 3, 4, 6]  # the others: 10 > 5, (X, 5) and (null, 7)
    for name in FOLLOWING:
        said = [None if pd.isna(value) else value for value in kept.frame[name].astype(object)]
        assert said == [held[name][i] for i in stay]
    pd.testing.assert_frame_equal(same.frame, kept.frame)
    assert same.subjects.tolist() == kept.subjects.tolist()


def test_stored_values_that_are_not_read_are_listed_as_computed_only() -> None:
    ruled = schema(FOLLOWING, sums=["t = a + b", "r = a + x"], determines=MAPS)
    rows = {
        "a": [1] * 4,
        "b": 1,
        "t": [2, 99, None, 1],
        "x": 1.0,
        "r": 2.0,
        "c": 9,
        "z": "A",
        "s": ["X", "Q", None, "Y"],
    }
    frame = pd.DataFrame(rows | {"on": True, "f": [0, 0, 2, None], "g": [2, 2, 2, 3]})
    faults = check_table(frame, ruled)
    assert {fault.column: (fault.rule, fault.first) for fault in faults} == {
        "t = a + b": ("computed", (1, 2, 3)),
        "z -> s": ("computed", (1, 2, 3)),
        "on -> f": ("computed", (2, 3)),
        "on -> g": ("computed", (3,)),
    }
    assert len(read_table(frame, ruled).frame) == 4


def test_the_stored_value_of_a_map_that_is_learned_is_read_like_any_other() -> None:
    """The fit counts it: what is not of its list loses its row, and a structural zero asks it as stored."""
    ruled = schema(
        {"w": {"kind": "boolean"}, "s": {"kind": "categorical", "values": ["X", "Y"]}, "c": NUMBER},
        determines=["w -> s"],
        never=[{"s": "X", "c": 5}],
    )
    frame = pd.DataFrame({"w": [True] * 5, "s": ["X", "Y", "Q", None, "X"], "c": [1, 5, 1, 1, 5]})
    records = read_table(frame, ruled)
    assert records.frame["s"].tolist() == ["X", "Y"]
    assert records.faults[("s", "drop")] == 2


def test_a_condition_on_a_computed_column_names_what_to_ask_instead() -> None:
    _, codec, _ = drawn(5)
    with pytest.raises(ConditionError, match="computed from a and b") as caught:
        codec.evidence({"t": 3})
    assert caught.value.mend == "name a or b instead"
    with pytest.raises(ConditionError, match="computed from zip"):
        codec.evidence({"state": "P"})
    with pytest.raises(ConditionError, match="computed from zip") as caught:
        read_balance({"state": "equal"}, codec)
    assert caught.value.mend == "name zip instead"


def test_the_words_for_a_column_without_cells_name_those_that_have_some() -> None:
    whole = schema(**RULES)
    assert whole.not_modelled("t") == ("computed from a and b", "name a or b instead")
    assert whole.not_modelled("site") == ("computed from ward", "name ward instead")
    assert whole.not_modelled("shoe") == ("not a learned column", "one of a, b, x, y, zip, ward")


def test_rules_survive_yaml_and_json() -> None:
    whole = schema(**RULES)
    assert parse_schema(whole.to_yaml()) == whole
    assert Schema.from_json(whole.to_json()) == whole
    assert list(whole.modelled) == ["a", "b", "x", "y", "zip", "ward"]
    assert set(whole.computed) == {"t", "z", "state", "site"}


def test_a_public_map_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "zips.csv").write_text("zip,state,more\n1,P,x\n2,Q,y\n\n3,Q,z\n")
    rule = {"rule": "zip -> state", "from": "zips.csv"}
    text = {"privsynth-schema": 1, "source": "lab/t", "subject": made.BY_ROW, "columns": COLUMNS, "determines": [rule]}
    (tmp_path / "s.yaml").write_text(json.dumps(text))
    assert load_schema(tmp_path / "s.yaml").determines[0].map == (("1", "P"), ("2", "Q"), ("3", "Q"))


@pytest.mark.parametrize(
    ("rules", "what"),
    [
        ({"sums": ["t = a + b", "t = b + a"]}, "a column stands twice"),
        ({"sums": ["t = a + b", "z = t + x"]}, "'t' is itself a sum"),
        ({"sums": ["b = a + t"]}, "a part may be null and the sum not"),
        ({"determines": [{"rule": "zip -> state", "map": [["1", "P"], ["2", "Q"]]}]}, "no line for '3'"),
        ({"determines": [{"rule": "zip -> state", "map": [["1", "P"], ["2", "Q"], ["3", "R"]]}]}, "'R' is no value"),
        (
            {"determines": [{"rule": "zip -> state", "map": [["1", "P"], ["1", "Q"], ["2", "Q"], ["3", "P"]]}]},
            "names a value twice",
        ),
        ({"determines": [{"rule": "ward -> site", "map": [["u", "true"]]}]}, "is open, so no map is whole"),
        ({"determines": ["zip -> state", "state -> site"]}, "'state' is computed itself"),
        ({"determines": ["zip -> state", "site -> state"]}, "'state' is computed twice"),
        ({"determines": ["zip -> ward"]}, "'ward' has no public list"),
        (
            {"determines": [{"rule": "zip -> site", "map": [["1", "true"], ["2", "true"], ["3", "false"]]}]},
            "and 'site' not",
        ),
    ],
)
def test_a_rule_that_cannot_hold_is_refused_with_its_line(rules: dict[str, Any], what: str) -> None:
    with pytest.raises(SchemaError, match=what) as caught:
        schema(**rules)
    assert caught.value.where == "s.yaml:1"
    assert caught.value.mend


def test_a_sum_that_no_row_can_satisfy_is_refused() -> None:
    high = {**COLUMNS, "t": {**COLUMNS["t"], "min": 50, "max": 60}}
    assert schema(high, sums=["t = a + b"]).sums  # a may be null, and then t is
    with pytest.raises(SchemaError, match="no row can satisfy it") as caught:
        schema({**high, "a": {"kind": "integer", "min": 0, "max": 9}}, sums=["t = a + b"])
    assert "widen the bounds" in caught.value.mend
