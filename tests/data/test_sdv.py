"""Schema to and from SDV's Metadata: what one side cannot say is taken from ``like`` and never from the rows."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from sdv.metadata import Metadata

from privsynth.data.schema import Schema, Subject, parse_schema
from privsynth.data.sdv import draft_from_sdv, from_sdv, to_sdv
from privsynth.errors import MissingExtra, SchemaError
from tests.data.strategies import schemas

SCHEMA = """\
privsynth-schema: 1
source: ehr/encounters
subject: {column: id, at most: 12 rows}
columns:
  id: {kind: identifier}
  age: {kind: integer, min: 0, max: 120, bins: [18, 65]}
  sex: {kind: categorical, values: [F, M, X]}
  stage: {kind: categorical, values: [1, 2, 3], ordered: true, nullable: true}
  alive: {kind: boolean, nullable: true}
  charge: {kind: real, min: 0, max: 2e5, atoms: [0], decimals: 2}
  admitted: {kind: date, min: 2019-01-01, max: 2024-12-31}
  seen: {kind: datetime, min: 2019-01-01 00:00, max: 2024-12-31 23:59:59}
  born: {kind: date, min: 0001-01-01, max: 2024-12-31}
  notes: {kind: text, dropped: true}
  xray: {kind: image, size: [64, 64], dropped: true}
never: [{sex: M, alive: null}]
order: [born <= admitted]
"""


def columns(metadata: Any, table: str = "table") -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = metadata.to_dict()["tables"][table]["columns"]
    return found


def detected() -> Any:
    """Metadata as SDV makes it, with ranges read off rows."""
    n = 40
    frame = pd.DataFrame(
        {
            "id": [f"p{i}" for i in range(n)],
            "age": np.arange(n) % 31,
            "charge": np.linspace(0, 1, n),
            "rounded": np.arange(n) / 4,
            "sex": ["F", "M"] * (n // 2),
            "alive": [True, False] * (n // 2),
            "admitted": [f"2020-01-{i % 28 + 1:02d}" for i in range(n)],
            "seen": pd.date_range("2020", periods=n, freq="h"),
            "grade": [1.0, 2.0, None, 4.0] * (n // 4),
            "email": [f"{i}@x.example" for i in range(n)],
        }
    )
    return Metadata.detect_from_dataframes({"encounters": frame})


# --- schema to metadata and back ---------------------------------------------------------------------


def test_what_sdv_is_told() -> None:
    said = columns(to_sdv(parse_schema(SCHEMA)))
    assert said == {
        "id": {"sdtype": "id", "range_is_nullable": False},
        "age": {
            "sdtype": "numerical",
            "range_min": 0,
            "range_max": 120,
            "decimal_places": 0,
            "range_is_nullable": False,
        },
        "sex": {"sdtype": "categorical", "range_values": ["F", "M", "X"], "range_is_nullable": False},
        "stage": {"sdtype": "ordinal", "range_values": [1, 2, 3], "range_is_nullable": True},
        "alive": {"sdtype": "boolean", "range_is_nullable": True},
        "charge": {
            "sdtype": "numerical",
            "range_min": 0.0,
            "range_max": 200000.0,
            "decimal_places": 2,
            "range_is_nullable": False,
        },
        "admitted": {
            "sdtype": "datetime",
            "datetime_format": "%Y-%m-%d",
            "range_min": "2019-01-01",
            "range_max": "2024-12-31",
            "range_is_nullable": False,
        },
        "seen": {
            "sdtype": "datetime",
            "datetime_format": "%Y-%m-%d %H:%M:%S",
            "range_min": "2019-01-01 00:00:00",
            "range_max": "2024-12-31 23:59:59",
            "range_is_nullable": False,
        },
        "born": {  # SDV cannot hold the year 1
            "sdtype": "datetime",
            "datetime_format": "%Y-%m-%d",
            "range_max": "2024-12-31",
            "range_is_nullable": False,
        },
        "notes": {"sdtype": "unknown", "pii": True},
        "xray": {"sdtype": "unknown", "pii": True},
    }
    assert list(said) == list(parse_schema(SCHEMA).columns)


def test_sdv_checks_rows_by_it() -> None:
    """The ranges are SDV's own: its validation of rows refuses what the schema refuses."""
    metadata = to_sdv(parse_schema(SCHEMA.partition("  born")[0]))
    good = {
        "id": ["a", "b"],
        "age": [0, 120],
        "sex": ["F", "X"],
        "stage": [1, None],
        "alive": [True, None],
        "charge": [0.5, 2e5],
        "admitted": ["2019-01-01", "2024-12-31"],
        "seen": ["2019-01-01 00:00:00", "2024-12-31 23:59:59"],
    }
    metadata.validate_data({"table": pd.DataFrame(good)})
    for name, bad in (("age", [0, 121]), ("sex", ["F", "Q"]), ("admitted", ["2018-12-31", "2020-01-01"])):
        with pytest.raises(Exception, match=f"'{name}'"):
            metadata.validate_data({"table": pd.DataFrame({**good, name: bad})})


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(schemas())
def test_every_schema_comes_back_and_sdv_accepts_it(schema: Schema) -> None:
    metadata = to_sdv(schema)
    metadata.validate()
    assert from_sdv(metadata, like=schema) == schema
    saved = Metadata.load_from_dict(metadata.to_dict())
    assert from_sdv(saved, like=schema) == schema
    assert to_sdv(schema, like=metadata).to_dict() == metadata.to_dict()


def test_the_columns_take_the_order_of_the_metadata() -> None:
    schema = parse_schema(SCHEMA)
    said = to_sdv(schema).to_dict()
    said["tables"]["table"]["columns"] = dict(reversed(said["tables"]["table"]["columns"].items()))
    turned = from_sdv(Metadata.load_from_dict(said), like=schema)
    assert list(turned.columns) == list(schema.columns)[::-1]
    assert turned.columns == schema.columns


def test_detected_ranges_never_become_a_domain() -> None:
    metadata = to_sdv(parse_schema(SCHEMA))
    metadata.update_column("age", sdtype="numerical", range_min=7, range_max=93)
    assert from_sdv(metadata, like=parse_schema(SCHEMA)) == parse_schema(SCHEMA)


# --- metadata to schema and back ---------------------------------------------------------------------


def test_a_draft_holds_kinds_and_no_range() -> None:
    text = draft_from_sdv(detected(), source="ehr/encounters")
    declared = text.partition("\ncolumns:")[2].partition("\n# Rows")[0]
    for value in ("2020", "30", "9.75", "p1", "x.example", "[F"):
        assert value not in declared
    assert "public from" not in text
    kinds = {
        "id": "{kind: identifier}",
        "age": "{kind: integer, min: TODO least",
        "charge": "{kind: real, min: TODO least",
        "sex": "{kind: categorical, values: TODO a public list, nullable: TODO true or false}",
        "alive": "{kind: boolean, nullable: TODO true or false}",
        "admitted": "{kind: date, min: TODO first possible day",
        "seen": "{kind: datetime, min: TODO first possible moment",
        "grade": "{kind: categorical, values: TODO a public list, ordered: true",
        "email": "{kind: text, dropped: true}",
    }
    for name, declared in kinds.items():
        assert f"\n  {name}: {declared}" in text
    with pytest.raises(SchemaError, match="still says 'TODO"):
        parse_schema(text)


def test_metadata_with_public_ranges_comes_back() -> None:
    metadata = detected()
    text = draft_from_sdv(
        metadata, source="ehr/encounters", subject=Subject(column="id", at_most="12 rows"), ranges="public"
    )
    schema = parse_schema(text)
    assert schema.public_from is not None
    assert schema.public_from.startswith("SDV metadata ")
    assert schema.subject.contribution == 12
    assert schema.columns["age"].kind == "integer"
    assert to_sdv(schema, like=metadata).to_dict() == metadata.to_dict()


def test_what_only_sdv_can_say_is_kept() -> None:
    said = detected().to_dict()
    table = said["tables"]["encounters"]
    table["primary_key"] = "id"
    table["columns"]["id"] = {"sdtype": "id", "regex_format": "p[0-9]+"}
    table["columns"]["admitted"] |= {
        "datetime_format": "%d.%m.%Y",
        "range_min": "01.02.2020",
        "range_max": "28.02.2020",
    }
    metadata = Metadata.load_from_dict(said)
    text = draft_from_sdv(metadata, source="s", subject=Subject(column="id", at_most="1 row"), ranges="public")
    assert "admitted: {kind: date, min: 2020-02-01, max: 2020-02-28" in text
    again = to_sdv(parse_schema(text), like=metadata)
    assert again.to_dict() == metadata.to_dict()
    wider = to_sdv(parse_schema(text.replace("max: 2020-02-28", "max: 2029-12-31")), like=metadata)
    assert columns(wider, "encounters")["admitted"]["range_max"] == "31.12.2029"  # the schema's public end


@pytest.mark.parametrize(
    ("said", "declared"),
    [
        ({"sdtype": "numerical"}, "{kind: real, min: TODO least"),
        (
            {"sdtype": "numerical", "range_min": 3, "range_max": 3, "decimal_places": 0},
            "{kind: integer, min: TODO least",
        ),
        ({"sdtype": "datetime"}, "{kind: datetime, min: TODO first"),
        ({"sdtype": "datetime", "datetime_format": "%m/%d/%y"}, "{kind: date, min: TODO first"),
        ({"sdtype": "categorical"}, "{kind: categorical, values: TODO"),
        ({"sdtype": "categorical", "range_values": [0.5, 1.5]}, "{kind: categorical, values: TODO"),
        ({"sdtype": "categorical", "high_cardinality": True}, "{kind: categorical, values: TODO"),
        ({"sdtype": "categorical", "range_values": ["null"]}, "{kind: categorical, values: TODO"),
        ({"sdtype": "boolean"}, "{kind: boolean, nullable: TODO"),
        ({"sdtype": "boolean", "range_is_nullable": True}, "{kind: boolean, nullable: true}"),
        ({"sdtype": "id", "range_is_nullable": True}, "{kind: identifier, nullable: true}"),
        ({"sdtype": "unknown"}, "{kind: TODO categorical or identifier or text"),
        ({"sdtype": "ssn", "pii": True}, "{kind: text, dropped: true}"),
    ],
)
def test_ranges_that_give_no_domain_stay_open(said: dict[str, Any], declared: str) -> None:
    metadata = Metadata.load_from_dict({"tables": {"t": {"columns": {"c": said}}}})
    assert f"\n  c: {declared}" in draft_from_sdv(metadata, source="s", ranges="public")


# --- faults ------------------------------------------------------------------------------------------


def two_tables() -> Any:
    metadata = Metadata()
    for name in ("a", "b"):
        metadata.add_table(name)
        metadata.add_column("c", name, sdtype="boolean")
    return metadata


def test_of_several_tables_one_is_named() -> None:
    assert "c: {kind: boolean" in draft_from_sdv(two_tables(), source="s", table="b")
    for table in (None, "q"):
        with pytest.raises(SchemaError, match="the metadata has tables a, b") as caught:
            draft_from_sdv(two_tables(), source="s", table=table)
        assert "table" in caught.value.mend


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        ({"c": {"sdtype": "boolean"}, "d": {"sdtype": "boolean"}}, "name different columns: d"),
        ({"d": {"sdtype": "boolean"}}, "name different columns: c, d"),
        ({"c": {"sdtype": "numerical"}}, "column 'c' is numerical in the metadata and boolean in the schema"),
        ({"c": {"sdtype": "numerical", "range_min": "91"}}, "SDV's own check refuses the metadata"),
        ({"c": {}}, "SDV's own check refuses the metadata"),
        ({"c": {"sdtype": "numerical", "range_min": 91, "range_max": 7}}, "SDV's own check refuses the metadata"),
        ({}, "SDV's own check refuses the metadata"),
    ],
)
def test_metadata_that_does_not_fit(columns: dict[str, Any], what: str) -> None:
    schema = parse_schema(
        "privsynth-schema: 1\nsource: s\nsubject: {each row is a: row, a person has at most: 1 row}\n"
        "columns:\n  c: {kind: boolean}\n"
    )
    with pytest.raises(SchemaError) as caught:
        from_sdv(Metadata.load_from_dict({"tables": {"t": {"columns": columns}}}), like=schema)
    assert what in caught.value.what
    assert "91" not in str(caught.value)
    assert caught.value.mend


def test_without_sdv_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    metadata, schema = detected(), parse_schema(SCHEMA)
    monkeypatch.setitem(sys.modules, "sdv.metadata", None)
    for call in (
        lambda: to_sdv(schema),
        lambda: from_sdv(metadata, like=schema),
        lambda: draft_from_sdv(metadata, source="s"),
    ):
        with pytest.raises(MissingExtra, match=r"privsynth\[sdv\]"):
            call()
