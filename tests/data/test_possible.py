"""Rules that no row can keep together are refused, what some row can keep never is: by all rows of small domains."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from privsynth.data import possible
from privsynth.data.columns import Boolean, Categorical, Column, Integer, Real
from privsynth.data.ranged import total
from privsynth.data.rules import Sum, listed, text_of
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


FLAGS = [True, False]
TYPES = {"integer": "Int64", "real": "float64", "boolean": "boolean"}


def whole(low: int, high: int, *, nullable: bool = False) -> dict[str, Any]:
    return {"kind": "integer", "min": low, "max": high, "nullable": nullable}


def real(low: float, high: float, decimals: int) -> dict[str, Any]:
    return {"kind": "real", "min": low, "max": high, "decimals": decimals}


def load(columns: dict[str, Any], **rules: Any) -> Schema:
    listed = [{"name": name, **column} for name, column in columns.items()]
    return Schema.from_json({**HEAD, **rules, "columns": listed})


def values(column: Column) -> list[Any]:
    """Every value of a small domain; of reals those on the grid, or where there is none the ends."""
    match column:
        case Integer(min=low, max=high):
            out: list[Any] = list(range(low, high + 1))
        case Real(min=low, max=high, decimals=d):
            scale = 10 ** (d or 0)
            first, last = math.ceil(round(low * scale, 9)), math.floor(round(high * scale, 9))
            out = [k / scale for k in range(first, last + 1)] or [low, high]
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
            texts = {text_of(v): v for v in listed(schema.columns[name])}
            known = {left: texts[right] for left, right in rule.map or ()}
            held = [None if pd.isna(v) else known[text_of(v)] for v in frame[rule.left].tolist()]
            frame[name] = pd.Series(held, dtype=TYPES.get(schema.columns[name].kind, "object"))
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


def small(rng: np.random.Generator) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two flags and up to four numbers with narrow bounds of either sign; rules over them, some of them tight."""

    def number(*, real: bool, width: int) -> dict[str, Any]:
        decimals = int(rng.integers(0, 3)) if real else 0
        scale = 10**decimals
        low = int(rng.integers(-3, 6))
        high = low + int(rng.integers(1, width))
        if not real:
            return {"kind": "integer", "min": low, "max": high, "nullable": bool(rng.random() < 0.25)}
        shift = 0.4 * bool(rng.random() < 0.3)
        bounds = {"min": (low + shift) / scale, "max": (high - shift) / scale}
        return {"kind": "real", **bounds, "decimals": decimals, "nullable": bool(rng.random() < 0.25)}

    real = bool(rng.random() < 0.6)
    columns: dict[str, Any] = {
        "L": {"kind": "boolean", "nullable": bool(rng.random() < 0.3)},
        "R": {"kind": "boolean", "nullable": True},
        "a": number(real=real and bool(rng.random() < 0.7), width=5),
        "b": number(real=real, width=5),
        "c": number(real=False, width=5),
        "t": {**number(real=real, width=7), "nullable": True},
    }
    parts = ["a", "b", "c"] if rng.random() < 0.2 else ["a", "b"]
    rules: dict[str, Any] = {"sums": [f"t = {' + '.join(parts)}"] if rng.random() < 0.7 else []}
    if rules["sums"] and not any(columns[name]["nullable"] for name in parts):
        columns["t"]["nullable"] = bool(rng.random() < 0.3)
    names = ["a", "b", "c", "t"]
    pairs = [(*rng.choice(names, 2), rng.choice(["<", "<="])) for _ in range(rng.integers(0, 4))]
    rules["order"] = [f"{left} {sign} {right}" for left, right, sign in pairs]
    if rng.random() < 0.6:
        values = [("true", "false")[i] for i in rng.integers(0, 2, 2)]
        rules["determines"] = [{"rule": "L -> R", "map": [["false", values[0]], ["true", values[1]]]}]
    whole = [n for n in ("c", "a", "b") if columns[n]["kind"] == "integer"][: int(rng.integers(1, 3))]
    named = [*rng.permutation(["L", "R"])[: int(rng.integers(1, 3))], *whole]
    held = {n: FLAGS if n in "LR" else list(range(columns[n]["min"], columns[n]["max"] + 1)) for n in named}
    held |= {n: [*held[n], None] for n in named if columns[n]["nullable"]}
    combinations = [dict(zip(map(str, held), v, strict=True)) for v in itertools.product(*held.values())]
    kept = set(rng.integers(0, len(combinations), rng.integers(0, 3)).tolist())
    if rng.random() < 0.6:
        rules["never"] = [rule for i, rule in enumerate(combinations) if i not in kept]
    return columns, rules


@pytest.mark.parametrize("seed", range(8))
def test_what_some_row_of_a_small_schema_keeps_loads(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    rng = np.random.default_rng(seed)
    refused = 0
    for _ in range(60):
        columns, rules = small(rng)
        schema = unchecked(monkeypatch, columns, **rules)
        try:
            load(columns, **rules)
        except SchemaError:
            refused += 1
            assert not has_row(schema), (columns, rules)
    assert 0 < refused < 60


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
        ({"a": whole(10, 20), "b": whole(0, 5)}, {"order": ["a <= b"]}),
        ({"t": whole(100, 200), "b": whole(0, 5), "c": whole(0, 20)}, {"sums": ["t = b + c"]}),
        (
            {"a": whole(10, 20, nullable=True), "b": whole(0, 5), "ok": BASE["ok"]},
            {"order": ["a <= b"], "never": [{"a": None, "ok": ok} for ok in FLAGS]},
        ),
        ({n: whole(0, 9) for n in "abc"}, {"order": ["c < a", "b <= c", "a <= b"]}),
        (
            {**{n: whole(0, 9) for n in "abc"}, "d": whole(0, 9, nullable=True)},
            {"order": ["a < b", "b < d", "d < a", "b < c", "c <= a"]},
        ),
        ({f"c{i}": whole(0, 9) for i in range(11)}, {"order": [f"c{i} < c{i + 1}" for i in reversed(range(10))]}),
        (
            {"t": whole(0, 9, nullable=True), "a": whole(5, 9), "b": whole(5, 9)},
            {"sums": ["t = a + b"]},
        ),
    ],
    ids=[
        "never",
        "sum",
        "wide sum",
        "sum and least",
        "never and order",
        "map",
        "forty columns",
        "bounds of an order",
        "bounds of a sum",
        "a null ruled out",
        "a circle",
        "a circle beside a null",
        "a chain",
        "a total never null",
    ],
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
        (
            {"L": {"kind": "boolean"}, "R": {"kind": "boolean", "nullable": True}, "state": BASE["state"]},
            {
                "never": [{**flag, "state": x} for flag in ({"R": None}, {"L": True}) for x in "NS"],
                "determines": [{"rule": "L -> R", "map": [["true", "true"], ["false", "false"]]}],
            },
        ),
        (
            {"a": whole(0, 9), "b": whole(-5, 5), "t": whole(0, 9)},
            {"sums": ["t = a + b"], "order": ["t < a"]},
        ),
        (
            {"a": whole(0, 9), "b": whole(0, 9, nullable=True), "c": whole(0, 9)},
            {"order": ["a < b", "b < c", "c < a"]},
        ),
        ({"a": whole(10, 20), "b": whole(0, 5, nullable=True)}, {"order": ["a <= b"]}),
        (
            {"t": whole(100, 200, nullable=True), "b": whole(0, 5, nullable=True), "c": whole(0, 20)},
            {"sums": ["t = b + c"]},
        ),
        (
            {"t": whole(0, 9, nullable=True), "a": whole(0, 9, nullable=True), "b": whole(0, 5), "c": whole(-9, -1)},
            {"sums": ["t = a + b"], "order": ["t < c"]},
        ),
        (
            {"t": real(0, 0.3, 1), "b": real(0.1, 5, 1), "c": real(0.2, 5, 1)},
            {"sums": ["t = b + c"]},
        ),
        (
            {"t": real(1, 3, 0), "b": real(0, 0.5, 2), "c": real(0, 0.4, 2)},
            {"sums": ["t = b + c"]},
        ),
        (
            {"t": real(0, 100, 1), "a": real(0, 1e16, 1), "b": whole(0, 5)},
            {"sums": ["t = a + b"], "order": ["t < a"]},
        ),
        (
            {"t": real(0, 100, 1), "a": real(0.01, 0.04, 1), "b": whole(0, 5)},
            {"sums": ["t = a + b"], "order": ["t < a"]},
        ),
    ],
    ids=[
        "a null sum",
        "a null value",
        "a part of 0",
        "rounded down",
        "a determined null",
        "a part below 0",
        "a null in a circle",
        "a null beside an order",
        "a null total beside its bounds",
        "a null total in an order",
        "floats rounded to the bound",
        "rounded up to the bound",
        "a part too large for its decimals",
        "a part between two decimals",
    ],
)
def test_what_a_null_or_rounding_keeps_is_taken(columns: dict[str, Any], rules: dict[str, Any]) -> None:
    assert load(columns, **rules).learned


def test_a_search_that_would_take_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is then not seen ends at the draw, with an error."""
    monkeypatch.setattr(possible, "LOOKS", 3)
    columns = {f"f{i}": {"kind": "boolean"} for i in range(3)}
    every = [dict(zip(columns, held, strict=True)) for held in itertools.product(FLAGS, repeat=3)]
    assert load(columns, never=every).never
