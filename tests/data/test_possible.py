"""Rules that no row can keep together are refused, what some row can keep never is: by all rows of small domains."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from privsynth.data import possible
from privsynth.data.columns import Boolean, Categorical, Column, Integer, Real
from privsynth.data.ranged import total
from privsynth.data.rules import Sum
from privsynth.data.schema import Schema
from privsynth.data.tables import violations
from privsynth.errors import SchemaError

HEAD: dict[str, Any] = {
    "privsynth-schema": 1,
    "source": "s",
    "subject": {"each row is a": "visit", "a person has at most": "1 row"},
}
BASE: dict[str, dict[str, Any]] = {
    "a": {"kind": "integer", "min": 0, "max": 2},
    "b": {"kind": "integer", "min": 0, "max": 3},
    "c": {"kind": "integer", "min": 1, "max": 2},
    "r": {"kind": "real", "min": 0, "max": 1.5, "decimals": 1},
    "ok": {"kind": "boolean"},
    "zip": {"kind": "categorical", "values": ["1", "2", "3"]},
    "state": {"kind": "categorical", "values": ["N", "S"]},
    "t": {"kind": "integer", "min": 0, "max": 6},
    "u": {"kind": "real", "min": 0, "max": 3, "decimals": 0},
}
MAP = {"rule": "zip -> state", "map": [["1", "N"], ["2", "N"], ["3", "S"]]}
WIDE = {
    "a": {"kind": "real", "min": 0, "max": 1e6},
    "b": {"kind": "real", "min": 0, "max": 1e6},
    "t": {"kind": "real", "min": 0, "max": 2e6},
}


TYPES = {"integer": "Int64", "real": "float64", "boolean": "boolean"}


def load(columns: dict[str, Any], **rules: Any) -> Schema:
    listed = [{"name": name, **column} for name, column in columns.items()]
    return Schema.from_json({**HEAD, **rules, "columns": listed})


def values(column: Column) -> list[Any]:
    """Every value of a small domain; of reals those on the grid."""
    match column:
        case Integer(min=low, max=high):
            out: list[Any] = list(range(low, high + 1))
        case Real(min=low, max=high, decimals=d):
            scale = 10 ** (d or 0)
            out = [k / scale for k in range(int(np.ceil(low * scale)), int(np.floor(high * scale)) + 1)]
        case Boolean():
            out = [False, True]
        case Categorical():
            out = list(column.values)
        case _:
            raise AssertionError(column)
    return [*out, None] if column.nullable else out


def rows(schema: Schema) -> pd.DataFrame:
    """All rows of the domains with what is computed from them; ``schema`` need not have loaded."""
    names = list(schema.modelled)
    frame = pd.DataFrame(
        list(itertools.product(*(values(schema.columns[n]) for n in names))), columns=names, dtype=object
    )
    frame = frame.astype({n: TYPES.get(schema.columns[n].kind, "object") for n in names})
    for name, rule in schema.computed.items():
        if isinstance(rule, Sum):
            frame[name] = total(name, schema.columns[name], [frame[part] for part in rule.parts])
        else:
            known = dict(rule.map or ())
            frame[name] = pd.Series([None if v is None else known[v] for v in frame[rule.left]], dtype=object)
    return frame


def has_row(schema: Schema) -> bool:
    frame = rows(schema)
    return not np.logical_or.reduce(
        [np.zeros(len(frame), dtype=bool), *(m for _, m in violations(frame, schema))]
    ).all()


def unchecked(monkeypatch: pytest.MonkeyPatch, columns: dict[str, Any], **rules: Any) -> Schema:
    with monkeypatch.context() as patch:
        patch.setattr("privsynth.data.schema.check_possible", lambda *_: None)
        return load(columns, **rules)


@st.composite
def ruled(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """Columns and rules over them, often more than any row can keep."""
    columns = {name: dict(column) for name, column in BASE.items()}
    loose = draw(st.sets(st.sampled_from(["a", "b", "ok", "zip"])))
    for name in loose:
        columns[name]["nullable"] = True
    for name in ("state", "t", "u"):
        columns[name]["nullable"] = True
    rules: dict[str, Any] = {}
    used = list(draw(st.sets(st.sampled_from(["a", "b", "c", "ok", "zip", "state", "t"]), min_size=2, max_size=3)))
    sums = draw(st.sampled_from([[], ["t = a + b"], ["t = a + c"], ["u = r + c"], ["t = a + b", "u = r + c"]]))
    numbers = ["a", "b", "c", "r", "t", "u"]
    signs = st.sampled_from(["<", "<="])
    pairs = draw(st.lists(st.tuples(st.sampled_from(numbers), signs, st.sampled_from(numbers)), max_size=4))
    if draw(st.booleans()):
        rules["determines"] = [MAP]
    domain: dict[str, list[Any]] = {"a": [0, 1, 2], "b": [0, 1, 2, 3], "c": [1, 2], "ok": [True, False], "t": [0, 1, 3]}
    domain |= {"zip": ["1", "2", "3"], "state": ["N", "S"]}
    held = {n: domain[n] + ([None] if columns[n].get("nullable") else []) for n in used}
    whole = [dict(zip(used, v, strict=True)) for v in itertools.product(*(held[n] for n in used))]
    drop = draw(st.sets(st.integers(0, len(whole) - 1), max_size=2))
    if draw(st.booleans()):
        rules["never"] = [rule for i, rule in enumerate(whole) if i not in drop]
    wanted = {n for p in pairs for n in (p[0], p[2])} | set(used) | {n for s in sums for n in s if n in BASE}
    wanted |= {"zip", "state"} if "determines" in rules else set()
    rules |= {"sums": sums, "order": [" ".join(p) for p in pairs]}
    return {n: c for n, c in columns.items() if n in wanted}, rules


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ruled())
@example(({n: BASE[n] for n in ("a", "ok")}, {"never": [{"a": i, "ok": o} for i in range(3) for o in (True, False)]}))
def test_what_some_row_keeps_is_never_refused(
    monkeypatch: pytest.MonkeyPatch, made: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    """And where only ``never`` lines and public maps speak, what no row keeps always is."""
    columns, rules = made
    try:
        schema = unchecked(monkeypatch, columns, **rules)
    except SchemaError:  # a line that is refused by itself
        return
    try:
        load(columns, **rules)
    except SchemaError as error:
        assert error.mend and error.where
        assert not has_row(schema)
    else:
        assert has_row(schema) or rules["order"] or rules["sums"]


FLAGS = [True, False]


@pytest.mark.parametrize(
    ("columns", "rules"),
    [
        ({"a": BASE["a"], "ok": BASE["ok"]}, {"never": [{"a": i, "ok": o} for i in range(3) for o in FLAGS]}),
        ({"t": BASE["t"], "a": BASE["a"], "b": BASE["b"]}, {"sums": ["t = a + b"], "order": ["t < a"]}),
        (WIDE, {"sums": ["t = a + b"], "order": ["t < a"]}),
        (WIDE | {"b": {"kind": "real", "min": 1, "max": 1e6}}, {"sums": ["t = a + b"], "order": ["t <= a"]}),
        (
            {"a": BASE["a"], "b": BASE["b"], "ok": BASE["ok"]},
            {"never": [{"a": i, "ok": o} for i in (1, 2) for o in FLAGS], "order": ["b < a"]},
        ),
        (
            {"zip": BASE["zip"], "state": BASE["state"], "ok": BASE["ok"]},
            {
                "determines": [MAP],
                "never": [{"state": "N", "ok": o} for o in FLAGS] + [{"zip": "3", "ok": o} for o in FLAGS],
            },
        ),
        (
            {f"f{i}": {"kind": "boolean"} for i in range(40)},
            {
                "never": [{f"f{i}": a, f"f{i + 1}": not a} for i in range(39) for a in FLAGS]
                + [{"f0": a, "f39": a} for a in FLAGS]
            },
        ),
    ],
    ids=["never", "sum", "wide sum", "sum and least", "never and order", "map", "forty columns"],
)
def test_rules_that_leave_no_row_are_refused(columns: dict[str, Any], rules: dict[str, Any]) -> None:
    with pytest.raises(SchemaError, match="no row") as error:
        load(columns, **rules)
    assert error.value.mend and error.value.where


@pytest.mark.parametrize(
    ("columns", "rules"),
    [
        (
            {"t": {**BASE["t"], "nullable": True}, "a": {**BASE["a"], "nullable": True}, "b": BASE["b"]},
            {"sums": ["t = a + b"], "order": ["t < a"]},
        ),
        (
            {"a": {**BASE["a"], "nullable": True}, "ok": BASE["ok"]},
            {"never": [{"a": i, "ok": o} for i in range(3) for o in FLAGS]},
        ),
        (WIDE, {"sums": ["t = a + b"], "order": ["t <= a"]}),
        (
            {"u": BASE["u"], "r": {**BASE["r"], "decimals": 2}, "v": BASE["r"]},
            {"sums": ["u = r + v"], "order": ["u < r"]},
        ),
    ],
    ids=["a null sum", "a null value", "a part of 0", "rounded down"],
)
def test_what_a_null_or_rounding_keeps_is_taken(columns: dict[str, Any], rules: dict[str, Any]) -> None:
    assert load(columns, **rules).learned


def test_a_search_that_would_take_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is then not seen ends at the draw, with an error."""
    monkeypatch.setattr(possible, "LOOKS", 3)
    columns = {f"f{i}": {"kind": "boolean"} for i in range(3)}
    every = [dict(zip(columns, held, strict=True)) for held in itertools.product(FLAGS, repeat=3)]
    assert load(columns, never=every).never
