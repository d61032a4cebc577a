"""Schemas and tables for the tests of this room."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from privsynth.data.schema import Schema, parse_schema

MARKER = "S3CRET-4711"
"""Planted in data; no error may ever say it."""

BY_ID = {"column": "person", "at most": "3 rows"}
BY_ROW = {"each row is a": "visit", "a person has at most": "5 rows"}

EVERY_KIND: dict[str, dict[str, Any]] = {
    "person": {"kind": "identifier"},
    "age": {"kind": "integer", "min": 0, "max": 120, "nullable": True, "outside": "null"},
    "visits": {"kind": "integer", "min": 1, "max": 1000},
    "sex": {"kind": "categorical", "values": ["F", "M", "X"], "outside": "X"},
    "ward": {"kind": "categorical", "values": ["A", "B"], "nullable": True},
    "grade": {"kind": "categorical", "values": [1, 2, 3], "ordered": True},
    "ill": {"kind": "boolean"},
    "smoker": {"kind": "boolean", "nullable": True, "outside": "null"},
    "cost": {"kind": "real", "min": 0.0, "max": 1000.0, "atoms": [0.0], "decimals": 2},
    "weight": {"kind": "real", "min": 1.5, "max": 300.0, "nullable": True, "outside": "drop"},
    "seen": {"kind": "date", "min": "1960-01-01", "max": "2020-12-31"},
    "left": {"kind": "date", "min": "1960-01-01", "max": "2020-12-31", "nullable": True},
    "at": {"kind": "datetime", "min": "1960-01-01 00:00:00", "max": "2020-12-31 23:59:59"},
    "note": {"kind": "text", "dropped": True},
}


def schema(
    columns: Mapping[str, Mapping[str, Any]],
    *,
    subject: Mapping[str, str] | None = None,
    never: Sequence[Mapping[str, Any]] = (),
    order: Sequence[str] = (),
) -> Schema:
    """A schema; by default each row is a subject, or the person where there is such a column."""
    whom = subject or (BY_ID if "person" in columns else BY_ROW)
    text = {"privsynth-schema": 1, "source": "lab/t", "subject": whom, "columns": columns}
    return parse_schema(json.dumps(text | ({"never": never} if never else {}) | ({"order": order} if order else {})))


def every_kind(subject: Mapping[str, str] | None = None) -> Schema:
    """A schema of all kinds, with a structural zero and an order."""
    return schema(EVERY_KIND, subject=subject, never=[{"sex": "M", "ill": True}], order=["seen <= left"])


def rows(n: int = 6) -> pd.DataFrame:
    """``n`` rows that break no rule of :func:`every_kind`, with typed columns."""
    return pd.DataFrame(
        {
            "person": [f"p{i // 2}" for i in range(n)],
            "age": pd.array([None if i % 5 == 4 else i % 121 for i in range(n)], dtype="Int64"),
            "visits": [1 + i % 1000 for i in range(n)],
            "sex": ["FMX"[i % 3] for i in range(n)],
            "ward": [("A", "B", None)[i % 3] for i in range(n)],
            "grade": [1 + i % 3 for i in range(n)],
            "ill": [i % 6 == 0 for i in range(n)],
            "smoker": pd.array([(True, False, None)[i % 3] for i in range(n)], dtype="boolean"),
            "cost": [i * 1.25 % 1000 for i in range(n)],
            "weight": [None if i % 4 == 3 else 1.5 + i % 290 for i in range(n)],
            "seen": pd.Timestamp("1969-12-30") + pd.to_timedelta([i % 9000 for i in range(n)], unit="D"),
            "left": pd.Series(pd.Timestamp("1999-01-01"), index=range(n)).where(pd.Series(range(n)) % 3 != 2),
            "at": pd.Timestamp("1969-12-31 23:59:58") + pd.to_timedelta(range(n), unit="s"),
            "note": [MARKER for _ in range(n)],
        }
    )


def written(frame: pd.DataFrame, folder: Path, ending: str) -> Path:
    """``frame`` as a file."""
    path = folder / f"t.{ending}"
    if ending == "csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path, index=False)
    return path
