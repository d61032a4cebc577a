"""The schema file: what it says, every fault with its line and mend, and round trips."""

from __future__ import annotations

import copy
import datetime as dt
import json
import re
from pathlib import Path
from typing import Any

import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from privsynth.data.schema import (
    Boolean,
    Categorical,
    Date,
    Datetime,
    Identifier,
    Integer,
    Order,
    Real,
    Schema,
    Subject,
    Text,
    load_schema,
    parse_schema,
)
from privsynth.data.written import entry
from privsynth.documents import MAX_BYTES, canonical, parse_yaml
from privsynth.errors import SchemaError
from tests.data.strategies import names, schemas, texts

DESIGN = """\
privsynth-schema: 1
source: ehr/encounters                    # must be registered in the policy
subject: {column: patient_id, at most: 12 rows}
columns:
  patient_id: {kind: identifier}                                  # never learned, regenerated
  age:        {kind: integer, min: 0, max: 120}
  sex:        {kind: categorical, values: [F, M, X]}
  pregnant:   {kind: boolean, nullable: true}
  diagnosis:  {kind: categorical, values from: icd10_blocks.csv}  # a public list
  charge:     {kind: real, min: 0, max: 200000, nullable: true}
  admitted:   {kind: date, min: 2019-01-01, max: 2024-12-31}
  discharged: {kind: date, min: 2019-01-01, max: 2025-06-30, nullable: true}
  seen:       {kind: datetime, min: 2019-01-01 00:00, max: 2025-06-30T23:59:59}
  readmitted: {kind: boolean}
  xray:       {kind: image, size: [64, 64], mode: L, dropped: true}
  notes:      {kind: text, dropped: true}
never: [{sex: M, pregnant: true}]
order: [admitted <= discharged]
"""
KINDS = ("categorical", "integer", "real", "boolean", "date", "datetime", "identifier", "text", "image")
HEAD = """\
privsynth-schema: 1
source: s
subject: {each row is a: visit, a person has at most: 5 rows}
columns:
  ok: {kind: boolean}
"""


def test_the_schema_of_the_design(tmp_path: Path) -> None:
    (tmp_path / "icd10_blocks.csv").write_text(
        '\ufeffcode,title\nA00-A09,"Intestinal, infectious"\n\n"B15 ""x""",y\n,z\n'
    )
    (tmp_path / "s.yaml").write_text(DESIGN)
    schema = load_schema(tmp_path / "s.yaml")
    assert schema.columns["diagnosis"] == Categorical(values=("A00-A09", 'B15 "x"'))
    assert schema.columns["age"] == Integer(min=0, max=120)
    assert schema.columns["charge"] == Real(min=0, max=200_000, nullable=True)
    assert schema.columns["admitted"] == Date(min=dt.date(2019, 1, 1), max=dt.date(2024, 12, 31))
    last = dt.datetime(2025, 6, 30, 23, 59, 59)
    assert schema.columns["seen"] == Datetime(min=dt.datetime(2019, 1, 1), max=last)
    assert schema.subject == Subject(column="patient_id", at_most="12 rows")
    assert (schema.subject.contribution, schema.subject.person_rows) == (12, 1)
    assert schema.orders == (Order("admitted", "discharged", strict=False),)
    assert "patient_id" not in schema.learned
    assert {"xray", "notes"}.isdisjoint(schema.learned)
    assert list(schema.columns)[:3] == ["patient_id", "age", "sex"]
    assert Schema.from_json(json.loads(canonical(schema.to_json()))) == schema


def test_without_a_person_the_unit_is_the_row() -> None:
    subject = parse_schema(HEAD).subject
    assert (subject.contribution, subject.person_rows) == (1, 5)


# --- faults ------------------------------------------------------------------------------------------

COLUMN_FAULTS: list[tuple[str, str, str]] = [  # the column `c`, what is said, the mend
    ("integer", "c: must be a mapping", "a line for each column"),
    ("", "c: must be a mapping", "a line for each column"),
    ("{min: 0, max: 9}", "c › kind: key 'kind' is missing", "one of categorical, integer"),
    ("{kind: int, min: 0, max: 9}", "c › kind: 'int' is not known", "one of categorical, integer"),
    # no value is turned into another
    ("{kind: integer, min: true, max: 9}", "c › min: must be a valid integer", "least value"),
    ("{kind: integer, min: '0', max: 9}", "c › min: must be a valid integer", "least value"),
    ("{kind: integer, min: 0.0, max: 9}", "c › min: must be a valid integer", "least value"),
    ("{kind: integer, min: 0, max: null}", "c › max: must be a valid integer", "greatest value"),
    ("{kind: real, min: false, max: 9}", "c › min: must be a valid number", "least value"),
    ("{kind: real, min: '0.5', max: 9}", "c › min: must be a valid number", "least value"),
    ("{kind: boolean, nullable: yes}", "c › nullable: must be a valid boolean", "nullable: true"),
    ("{kind: boolean, nullable: 1}", "c › nullable: must be a valid boolean", "nullable: true"),
    ("{kind: date, min: 0, max: 86400}", "c › min: must be a day", "2026-01-31"),
    ("{kind: date, min: '0', max: 2020-01-01}", "c › min: must be a day", "2026-01-31"),
    ("{kind: date, min: 2019-02-30, max: 2020-01-01}", "c › min: must be a day", "2026-01-31"),
    ("{kind: date, min: 20190101, max: 2020-01-01}", "c › min: must be a day", "2026-01-31"),
    ("{kind: date, min: 2019-01-01 00:00:00, max: 2020-01-01}", "c › min: must be a day", "2026-01-31"),
    ("{kind: datetime, min: 2019-01-01, max: 2020-01-01}", "c › min: must be a moment", "day and time"),
    ("{kind: datetime, min: 0, max: 1}", "c › min: must be a moment", "day and time"),
    ("{kind: datetime, min: 2019-01-01T00:00:00Z, max: 2020-01-01T00:00}", "c › min: must be a moment", "23:59:59"),
    ("{kind: datetime, min: 2019-01-01T00:00:00.5, max: 2020-01-01T00:00}", "c › min: must be a moment", "23:59:59"),
    # keys
    ("{kind: integer, max: 9}", "c › min: key 'min' is missing", "from public knowledge"),
    ("{kind: integer, mn: 0, max: 9}", "key 'min' is missing (`mn` is not a key)", "from public knowledge"),
    ("{kind: integer, min: 0, max: 9, step: 2}", "c › step: unknown key", "keys here are bins, cells, dropped, kind"),
    ("{kind: boolean, min: 0}", "c › min: unknown key 'min'", "least value"),
    ("{kind: identifier, nulable: true}", "c › nulable: unknown key", "did you mean `nullable`?"),
    # bounds and edges
    ("{kind: integer, min: 9, max: 9}", "c › max: `min` must be below `max`", "swap"),
    ("{kind: real, min: 1, max: 0}", "c › max: `min` must be below `max`", "swap"),
    ("{kind: date, min: 2020-01-01, max: 2019-01-01}", "c › max: `min` must be below `max`", "swap"),
    ("{kind: datetime, min: 2020-01-01 00:00, max: 2020-01-01 00:00}", "c › max: `min` must be below", "swap"),
    (f"{{kind: integer, min: 0, max: {2**53}}}", "c › max: is beyond 2^53", "kind real"),
    ("{kind: real, min: -1.7e308, max: 1.7e308}", "c › max: the bounds lie too far apart", "really have"),
    ("{kind: integer, min: 0, max: 9, bins: [5, 5]}", "c › bins: `bins` are inner edges and must increase", "[18"),
    ("{kind: integer, min: 0, max: 9, bins: []}", "c › bins: `bins` are inner edges and must increase", "[18"),
    ("{kind: integer, min: 0, max: 9, bins: [0, 5]}", "c › bins: `bins` are inner edges: above `min`", "leave"),
    ("{kind: integer, min: 0, max: 9, bins: [5, 10]}", "c › bins: `bins` are inner edges: above `min`", "leave"),
    ("{kind: integer, min: 0, max: 9, bins: 5}", "c › bins: must be a list", "inner edges"),
    ("{kind: date, min: 2019-01-01, max: 2020-01-01, bins: [2019-06]}", "c › bins › 0: must be a day", "2026-01-31"),
    ("{kind: real, min: 0, max: 9, atoms: [10]}", "c › atoms › 0: `atoms` must be distinct and within", "correct"),
    ("{kind: real, min: 0, max: 9, atoms: [1, 1.0]}", "c › atoms › 1: `atoms` must be distinct", "correct"),
    ("{kind: real, min: 0, max: 9, atoms: [0.55], decimals: 1}", "c › atoms › 0: has more than 1 decimals", "round"),
    ("{kind: real, min: 0, max: 9, decimals: 16}", "c › decimals: must be less than or equal to 15", "0 to 15"),
    # values
    ("{kind: categorical}", "columns › c: no values", "values from: FILE"),
    ("{kind: categorical, values: []}", "c › values: no values", "values from: FILE"),
    ("{kind: categorical, values: abc}", "c › values: must be a list", "text or whole numbers"),
    (
        "{kind: categorical, values: [true, false]}",
        "c › values › 0: must be a valid integer or a valid string",
        "boolean",
    ),
    ("{kind: categorical, values: [a, null]}", "c › values › 1: must be a valid integer or a valid", "nullable: true"),
    ("{kind: categorical, values: [1.5]}", "c › values › 0: must be a valid integer", "text or whole"),
    ("{kind: categorical, values: [1, X]}", "c › values › 1: mixes text and whole numbers", "quotes"),
    ("{kind: categorical, values: [1, '1']}", "c › values › 1: mixes text and whole numbers", "quotes"),
    ("{kind: categorical, values: [F, M, F]}", "c › values › 2: 'F' stands twice", "keep one"),
    ("{kind: categorical, values: [F, 'F ']}", "c › values › 1: 'F ' stands twice, blanks aside", "keep one"),
    ("{kind: categorical, values: ['']}", "c › values › 0: '' is empty or blank", "nullable"),
    ("{kind: categorical, values: [' ']}", "c › values › 0: ' ' is empty or blank", "nullable"),
    ('{kind: categorical, values: ["a\\rb"]}', "holds a character that does not show", "people can read"),
    ("{kind: categorical, values: [a, drop]}", "c › values › 1: 'drop' is the name of a rule", "rename"),
    ("{kind: categorical, values: [a, 'null']}", "c › values › 1: 'null' is the name of a rule", "rename"),
    (f"{{kind: categorical, values: [{2**53}]}}", "c › values › 0: is beyond 2^53", "as text"),
    (f"{{kind: categorical, values: [{'x' * 1001}]}}", "is longer than 1000 characters", "people can read"),
    ("{kind: categorical, open: true, values: [a]}", "c › open: both a list of values and", "keep one"),
    ("{kind: categorical, open: true, ordered: true}", "c › ordered: an open column has no order", "list the values"),
    ("{kind: categorical, values: [a], other: b}", "c › other: `other` is of open columns", "open: true"),
    ("{kind: integer, min: 0, max: 9, bins: [3], cells: equal}", "c › cells: both `bins` and", "keep one"),
    ("{kind: integer, min: 0, max: 9, cells: even}", "c › cells: must be 'learned' or 'equal'", "64 public cells"),
    # what happens outside
    ("{kind: categorical, values: [a], outside: b}", "c › outside: 'b' is not known", "one of the values"),
    ("{kind: categorical, values: ['1'], outside: 1}", "c › outside: 1 is not known", "one of the values"),
    ("{kind: categorical, values: [a], outside: 'null'}", "c › outside: `outside: null` needs", "declare it"),
    ("{kind: integer, min: 0, max: 9, outside: null}", "c › outside: `outside: null` needs", "declare it"),
    ("{kind: boolean, outside: 'null'}", "c › outside: `outside: null` needs `nullable: true`", "declare it"),
    ("{kind: boolean, outside: clip}", "c › outside: must be 'null' or 'drop'", "for a boolean null, drop"),
    ("{kind: real, min: 0, max: 9, outside: 3}", "c › outside: must be 'clip', 'null' or 'drop'", "clip, null or drop"),
    # kinds that are not learned
    ("{kind: text}", "c › kind: free text cannot be learned", "dropped: true"),
    ("{kind: image, size: [64, 64], outside: 'null'}", "c › outside: `outside: null` needs", "declare it"),
    ("{kind: image, dropped: true}", "c › size: key 'size' is missing", "width and height"),
    ("{kind: image, dropped: true, size: [0, 9]}", "c › size › 0: must be greater than or equal to 1", "width"),
    ("{kind: integer, min: TODO, max: TODO}", "c › min: still says 'TODO'", "public domain"),
    ("{kind: TODO one of the kinds}", "c › kind: still says 'TODO one of the kinds'", "never read it off"),
]


@pytest.mark.parametrize(("column", "what", "mend"), COLUMN_FAULTS)
def test_a_bad_column(column: str, what: str, mend: str) -> None:
    with pytest.raises(SchemaError) as caught:
        parse_schema(f"{HEAD}  c: {column}\n", path="s.yaml")
    assert caught.value.where == "s.yaml:6"
    assert what in caught.value.what
    assert mend in caught.value.mend
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "place", "line"),
    [
        ("  c: {kind: integer, min: 0, max: 9, bins: }\n", "columns › c › bins", 6),
        ("  c: {kind: real, min: 0, max: 9, decimals: ~}\n", "columns › c › decimals", 6),
        ("  c: {kind: categorical, open: true, other: null}\n", "columns › c › other", 6),
        ("public from:\n", "public from", 6),
    ],
)
def test_a_key_with_nothing_behind_it_is_no_key_left_out(text: str, place: str, line: int) -> None:
    with pytest.raises(SchemaError, match=f"{place}: nothing is stated") as caught:
        parse_schema(f"{HEAD}{text}", path="s.yaml")
    assert caught.value.where == f"s.yaml:{line}"


ROWS = """\
  n: {kind: integer, min: 0, max: 9, nullable: true}
  m: {kind: integer, min: 20, max: 29}
  x: {kind: real, min: 0, max: 9}
  d: {kind: date, min: 2019-01-01, max: 2019-12-31}
  e: {kind: datetime, min: 2019-01-01 00:00, max: 2019-12-31 00:00}
  g: {kind: categorical, values: [1, 2]}
  t: {kind: text, dropped: true}
  id: {kind: identifier}
"""


@pytest.mark.parametrize(
    ("text", "line", "what", "mend"),
    [
        ("never: {ok: true}", 14, "never: must be a list", "for example"),
        ("never: [{ok: true}]", 14, "never › 0: needs at least two columns", "domain of a single column"),
        ("never: [{ok: true, q: 1}]", 14, "never › 0: 'q' is not a learned column", "spell it"),
        ("never:\n- {ok: true, n: 1}\n- {ok: true, t: a}", 16, "never › 1: 't' is not a learned column", "spell it"),
        ("never: [{ok: 1, n: 1}]", 14, "never › 0 › ok: 1 is no value of 'ok'", "public domain"),
        ("never: [{ok: true, n: true}]", 14, "never › 0 › n: True is no value of 'n'", "public domain"),
        ("never: [{ok: true, n: 1.0}]", 14, "never › 0 › n: 1.0 is no value of 'n'", "public domain"),
        ("never: [{ok: true, n: 10}]", 14, "never › 0 › n: 10 is no value of 'n'", "public domain"),
        ("never: [{ok: true, g: true}]", 14, "never › 0 › g: True is no value of 'g'", "public domain"),
        ("never: [{ok: true, g: '1'}]", 14, "never › 0 › g: '1' is no value of 'g'", "public domain"),
        ("never: [{ok: null, n: 1}]", 14, "never › 0 › ok: 'ok' is never null", "nullable: true"),
        ("never: [{ok: true, x: 1}]", 14, "never › 0 › x: 'x' is of kind real", "integer columns only"),
        ("order: n <= m", 14, "order: must be a list", "for example"),
        ("order: [n >= m]", 14, "'n >= m' is no order", "first <= second"),
        ("order: [n <= q]", 14, "order › 0: 'q' is not a learned column", "spell it"),
        ("order:\n- n <= m\n- n <= id", 16, "order › 1: 'id' is not a learned column", "spell it"),
        ("order: [ok <= n]", 14, "order › 0: only numbers and days have an order", "remove"),
        ("order: [d <= e]", 14, "order › 0: the two columns are of different kinds", "two days"),
        ("order: [n <= d]", 14, "order › 0: the two columns are of different kinds", "two days"),
        ("order: [m <= x]", 14, "order › 0: no row can satisfy it", "widen"),
        ("order: [x < x]", 14, "order › 0: no row can satisfy it", "turn it round"),
        ("order:\n- n <= m\n- d < d", 16, "order › 1: no row can satisfy it", "turn it round"),
        ("public from: ''", 14, "public from: is empty or blank", "privsynth init"),
        ("sums: [n]", 14, "sums › 0: 'n' is no sum", "total = first + second"),
        ("sums: [n = m]", 14, "sums › 0: 'n = m' is no sum", "total = first + second"),
        ("sums: [n = m + q]", 14, "sums › 0: 'q' is not a learned column", "spell it"),
        ("sums: [n = m + n]", 14, "sums › 0: a column stands twice", "each part once"),
        ("sums: [n = x + m]", 14, "sums › 0: a whole number cannot be a sum of others", "real"),
        ("sums: [n = ok + m]", 14, "sums › 0: only numbers can be added", "integer and real"),
        ("determines: [g]", 14, "determines › 0: 'g' is no dependency", "zip -> state"),
        ("determines: [g -> q]", 14, "determines › 0: 'q' is not a learned column", "spell it"),
        ("determines: [n -> g]", 14, "determines › 0: 'n' has no list of values", "categorical"),
        ("determines: [g -> n]", 14, "determines › 0: 'n' has no public list", "drop the rule"),
        ("determines: [g -> g]", 14, "determines › 0: 'g' is computed twice", "one rule"),
        ("determines: [{rule: g -> ok, from: ../x.csv}]", 14, "must be a file in the schema's folder", "without"),
        ("determines: [{rule: g -> ok, from: none.csv}]", 14, "none.csv", "path"),
        ("extra: 1", 14, "extra: unknown key 'extra'", "The keys here are columns, determines, never, order"),
    ],
)
def test_a_bad_rule(text: str, line: int, what: str, mend: str) -> None:
    with pytest.raises(SchemaError) as caught:
        parse_schema(f"{HEAD}{ROWS}{text}\n", path="s.yaml")
    assert caught.value.where == f"s.yaml:{line}"
    assert what in caught.value.what
    assert mend in caught.value.mend


@pytest.mark.parametrize(
    ("old", "new", "line", "what", "mend"),
    [
        ("privsynth-schema: 1\n", "", 1, "key 'privsynth-schema' is missing", "first line"),
        ("schema: 1", "schema: 2", 1, "format 2 is not known; this version reads 1", "privsynth-schema: 1"),
        ("schema: 1", "schema: true", 1, "must be a valid integer", "first line"),
        ("source: s", "source: s p", 2, "source: is not a source's name", "policy"),
        ("source: s\n", "", 1, "key 'source' is missing", "registers the data"),
        ("5 rows", "5", 3, "must be a valid string", "`5 rows`"),
        ("5 rows", "0 rows", 3, "is not a number of rows", "12 rows"),
        ("5 rows", "'5 rows '", 3, "is not a number of rows", "12 rows"),
        ("{each row is a: visit, ", "{", 3, "subject: is neither of its two forms", "{column: id"),
        ("{each", "{column: ok, each", 3, "subject: is neither of its two forms", "{column: id"),
        (", a person has at most: 5 rows", "", 3, "subject: is neither of its two forms", "{column: id"),
        ("a: visit", "a: ' '", 3, "subject › each row is a: is empty or blank", "a word"),
        ("{each row is a: visit, a person has", "{column: ok,", 3, "'ok' is no identifier", "kind: identifier"),
        ("{each row is a: visit, a person has", "{column: q,", 3, "'q' is no identifier", "kind: identifier"),
        ("kind: boolean", "kind: boolean, dropped: true", 4, "columns: no column is learned", "domain"),
        ("  ok: {kind: boolean}", "  []", 4, "`columns` is a list", "name: {kind"),
        ("columns:\n  ok: {kind: boolean}", "columns: abc", 4, "columns: must be a mapping", "a line for each"),
        ("columns:\n  ok: {kind: boolean}", "columns:", 4, "columns: must be a mapping", "a line for each"),
        ("  ok:", "  ' ok':", 5, "the name ' ok' has blanks at its ends", "rename"),
        ("  ok:", '  "a\\nb":', 5, "the name 'a\\nb' holds a character that does not show", "rename"),
        ("  ok:", f"  {'x' * 256}:", 5, "or is too long", "rename"),
        ("  ok:", "  TODO name:", 5, "begins with TODO", "rename"),
        ("  ok:", "  '':", 5, "the name '' is empty or blank", "rename"),
    ],
)
def test_a_bad_head(old: str, new: str, line: int, what: str, mend: str) -> None:
    assert old in HEAD
    with pytest.raises(SchemaError) as caught:
        parse_schema(HEAD.replace(old, new), path="s.yaml")
    assert caught.value.where == f"s.yaml:{line}"
    assert what in caught.value.what
    assert mend in caught.value.mend


@pytest.mark.parametrize("word", ["null", "'null'", "~", ""])
def test_outside_null_is_the_rule_and_not_an_empty_value(word: str) -> None:
    for column in ("integer, min: 0, max: 9", "boolean", "categorical, values: [a]"):
        schema = parse_schema(f"{HEAD}  c: {{kind: {column}, nullable: true, outside: {word}}}\n")
        assert schema.to_json()["columns"][1]["outside"] == "null"
        assert parse_schema(schema.to_yaml()) == schema


def test_the_example_of_the_reference_loads(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/schema.md").read_text("utf-8")
    (tmp_path / "icd10_blocks.csv").write_text("code\nA00-A09\n")
    (tmp_path / "s.yaml").write_text(page.partition("```yaml\n")[2].partition("```")[0])
    schema = load_schema(tmp_path / "s.yaml")
    assert {c.kind for c in schema.columns.values()} == {c for c in KINDS if f"| `{c}` |" in page and c != "image"}


def test_the_reference_names_every_key() -> None:
    page = (Path(__file__).parents[2] / "docs/schema.md").read_text("utf-8")
    for model in (Categorical, Integer, Real, Boolean, Date, Datetime, Identifier, Text, Schema):
        for name, field in model.model_fields.items():
            assert re.search(rf"\b{field.alias or name}\b", page)


@pytest.mark.parametrize("order", ["m <= n", "n < n", "n <= x, x <= n, n < x", "n < x, x < n"])
def test_an_order_that_only_a_null_keeps_loads(order: str) -> None:
    """``n`` may be null, and a null passes every order."""
    assert len(parse_schema(f"{HEAD}{ROWS}order: [{order}]\n").order) == order.count(",") + 1


def test_rules_that_load() -> None:
    text = f"{HEAD}{ROWS}never: [{{ok: true, n: null}}, {{g: 2, n: 3}}]\norder: [n<m, 'x  <=  m', n <= x, x <= n]\n"
    schema = parse_schema(text)
    assert schema.orders[:2] == (Order("n", "m", strict=True), Order("x", "m", strict=False))
    assert schema.orders[2:] == (Order("n", "x", strict=False), Order("x", "n", strict=False))
    assert schema.to_json()["never"] == [{"ok": True, "n": None}, {"g": 2, "n": 3}]  # the null stays


@pytest.mark.parametrize(
    ("content", "what", "mend"),
    [
        (None, "no such public values file", "check the path"),
        (b"code\n", "v.csv holds 0 values", "1 to"),
        (b"code\na\n\xe9\n", "v.csv is not UTF-8 CSV", "one value a line"),
        (b'code\n"a', "v.csv is not UTF-8 CSV", "one value a line"),
        (b"code\na\nb\na\n", "columns › c › values › 2: 'a' stands twice", "keep one"),
        (b"code\na\n a\n", "columns › c › values › 1: ' a' stands twice, blanks aside", "keep one"),
        (b"code\nTODO\n", "begins with TODO", "people can read"),
        ("code\ne\u0301\n".encode(), "is not in Unicode form NFC", "people can read"),
        (b"code\n" + b"x\n" * 100_001, "v.csv holds 100001 values", "1 to 100000"),
        (b"code\n" + b"x" * (16 * 1024 * 1024), "v.csv: larger than", "split"),
    ],
)
def test_a_bad_list_of_values(tmp_path: Path, content: bytes | None, what: str, mend: str) -> None:
    if content is not None:
        (tmp_path / "v.csv").write_bytes(content)
    path = tmp_path / "s.yaml"
    path.write_text(f"{HEAD}  c:\n    kind: categorical\n    values from: v.csv\n")
    with pytest.raises(SchemaError) as caught:
        load_schema(path)
    assert caught.value.where == f"{path}:8"  # the line that names the list
    assert what in caught.value.what
    assert mend in caught.value.mend


@pytest.mark.parametrize("name", ["../v.csv", "/etc/passwd", "a/../../v.csv", "[v.csv]", "3"])
def test_a_list_of_values_lies_in_the_folder(name: str) -> None:
    with pytest.raises(SchemaError, match="must be a file in the schema's folder"):
        parse_schema(f"{HEAD}  c: {{kind: categorical, values from: {name}}}\n")


def test_values_and_values_from_exclude_each_other() -> None:
    with pytest.raises(SchemaError, match="both `values` and `values from`"):
        parse_schema(f"{HEAD}  c: {{kind: categorical, values: [a], values from: v.csv}}\n")


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(SchemaError, match="lone surrogate"):
        parse_schema(f"{HEAD}  \ud800: {{kind: boolean}}\n")


JUNK = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 3),
        st.floats(allow_nan=False, allow_infinity=False),
        st.sampled_from(["null", "drop", "integer", "TODO x", "12 rows", "2020-01-01", ""]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["kind", "values", "min", "outside", "column", "name", "open"]), inner, max_size=4
        ),
    ),
    max_leaves=6,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(schemas(), st.data())
def test_no_file_ends_in_another_error(schema: Schema, data: st.DataObject) -> None:
    value: Any = schema.to_json()
    value["columns"] = {column.pop("name"): column for column in value["columns"]}
    for _ in range(data.draw(st.integers(1, 3))):
        node = value
        for _ in range(data.draw(st.integers(0, 3))):
            inner = [v for v in (node.values() if isinstance(node, dict) else node) if isinstance(v, dict | list) and v]
            node = data.draw(st.sampled_from(inner)) if inner else node
        key = data.draw(st.sampled_from(list(node) if isinstance(node, dict) else list(range(len(node)))))
        node[key] = data.draw(JUNK)
    try:
        parse_schema("\n".join(entry(key, part) for key, part in value.items()))
    except SchemaError as refused:
        assert refused.where.startswith("schema")
        assert refused.mend


# --- round trips --------------------------------------------------------------------------------------


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(schemas())
def test_a_schema_survives_json_and_yaml(schema: Schema) -> None:
    again = Schema.from_json(json.loads(canonical(schema.to_json())))
    assert again == schema
    assert list(again.columns) == list(schema.columns)  # canonical JSON sorts keys; columns keep their order
    assert again.sha256 == schema.sha256
    text = schema.to_yaml()
    loaded = parse_schema(text)
    assert loaded == schema
    assert list(loaded.columns) == list(schema.columns)
    assert loaded.to_yaml() == text


@settings(max_examples=150, deadline=None)
@given(
    st.recursive(
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(-(10**20), 10**20),
            st.floats(allow_nan=False, allow_infinity=False),
            texts(),
        ),
        lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(names, inner, max_size=4)),
        max_leaves=15,
    )
)
def test_every_value_is_written_as_it_is_read(value: Any) -> None:
    text = "a:\n" + entry("b", value, indent=2)
    found = parse_yaml(text.encode(), path="f", error=SchemaError).data["a"]["b"]
    assert repr(found) == repr(value)  # also the types


def test_long_lists_are_folded() -> None:
    schema = parse_schema(f"{HEAD}  c: {{kind: categorical, values: [{', '.join(f'value {i}' for i in range(99))}]}}\n")
    assert max(map(len, schema.to_yaml().splitlines())) <= 110
    assert parse_schema(schema.to_yaml()) == schema


def test_a_file_that_could_not_be_read_back_is_not_written() -> None:
    schema = parse_schema(HEAD)
    values = tuple(f"{i:06d}" for i in range(40_000))
    large = schema.model_copy(update={"columns": {"c": Categorical(values=values)}})
    with pytest.raises(SchemaError, match=f"larger than {MAX_BYTES} bytes") as caught:
        large.to_yaml()
    assert "values from" in caught.value.mend


def test_two_schemas_are_equal_when_they_say_the_same_in_the_same_order() -> None:
    one, two = parse_schema(f"{HEAD}{ROWS}"), parse_schema(f"# other words\n{HEAD}{ROWS}never: []\n")
    assert one == two
    assert hash(one) == hash(two)
    turned = Schema.from_json({**one.to_json(), "columns": one.to_json()["columns"][::-1]})
    assert turned != one
    assert turned.sha256 != one.sha256


def test_a_schema_is_frozen_to_its_leaves() -> None:
    schema = parse_schema(f"{HEAD}{ROWS}never: [{{ok: true, n: 1}}]\n")
    columns: Any = schema.columns
    rule: Any = schema.never[0]
    with pytest.raises(TypeError):
        columns["new"] = Identifier()
    with pytest.raises(TypeError):
        rule["n"] = 2
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        schema.source = "other"
    assert copy.deepcopy(schema) == schema


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        ([{"kind": "boolean"}], "columns › 0: must be a column with a name of its own"),
        (
            [{"name": "a", "kind": "boolean"}, {"name": "a", "kind": "boolean"}],
            "columns › 1: must be a column with a name",
        ),
        ([3], "columns › 0: must be a column with a name of its own"),
        ({"a": {"kind": "bool"}}, "columns › a › kind: 'bool' is not known"),
    ],
)
def test_bad_json_is_refused(columns: object, what: str) -> None:
    with pytest.raises(SchemaError) as caught:
        Schema.from_json({**parse_schema(HEAD).to_json(), "columns": columns}, where="model.json")
    assert what in caught.value.what
    assert caught.value.where == "model.json"


def test_kinds_made_in_code_keep_the_rules() -> None:
    assert Boolean(nullable=True, outside="null").learned
    assert not Text(dropped=True).learned
    with pytest.raises(pydantic.ValidationError):
        Integer(min=True, max=5)
    with pytest.raises(pydantic.ValidationError):
        Date(min=dt.datetime(2020, 1, 1), max=dt.date(2020, 1, 2))
    with pytest.raises(pydantic.ValidationError, match="time zone"):
        Datetime(min=dt.datetime(2020, 1, 1, tzinfo=dt.UTC), max=dt.datetime(2020, 1, 2))
    with pytest.raises(pydantic.ValidationError, match="finer than a second"):
        Datetime(min=dt.datetime(2020, 1, 1, 0, 0, 0, 5), max=dt.datetime(2020, 1, 2))
    with pytest.raises(TypeError, match=r"iterate schema\.columns"):
        list(parse_schema(HEAD))
