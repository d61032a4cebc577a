"""What becomes of every value that a column may hold: kept, rounded, clipped, mapped, null, or the row lost."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privsynth.data.codec import Codec
from privsynth.data.tables import check_table, read_table
from tests.data import made

LOST = "the row is lost"

INTEGER = {"kind": "integer", "min": 0, "max": 9}
REAL = {"kind": "real", "min": 0, "max": 9.5}
BOOLEAN = {"kind": "boolean"}
TEXT = {"kind": "categorical", "values": ["F", "M", "1"]}
CODE = {"kind": "categorical", "values": [1, 2, -3]}
DAY = {"kind": "date", "min": "1960-01-02", "max": "2020-12-31"}
MOMENT = {"kind": "datetime", "min": "1960-01-01 00:00:10", "max": "2020-12-31 23:59:59"}
NULLABLE = {"nullable": True}


def outcome(column: dict[str, Any], values: Sequence[Any], folder: Path | None = None) -> list[Any]:
    """What each value becomes, read alone and all together, from a frame, or as text from a CSV file."""
    schema = made.schema({"i": {"kind": "integer", "min": 0, "max": 999}, "c": column})

    def read(frame: pd.DataFrame) -> list[Any]:
        data = frame if folder is None else as_csv(frame, folder)
        kept = read_table(data, schema).frame
        found = {i: None if pd.isna(c) else c for i, c in zip(kept["i"], kept["c"].astype(object), strict=True)}
        return [found.get(i, LOST) for i in frame["i"]]

    frame = pd.DataFrame({"i": range(len(values)), "c": values})
    together = read(frame)
    assert together == [read(frame.iloc[[i]])[0] for i in range(len(values))]
    return together


def as_csv(frame: pd.DataFrame, folder: Path) -> Path:
    """Each text in quotes, but the empty one (null) and the one that is only quotes (empty text)."""
    texts = [text if text in ("", '""') else f'"{text}"' for text in frame["c"]]
    path = folder / "t.csv"
    path.write_text("i,c\n" + "".join(f"{i},{c}\n" for i, c in zip(frame["i"], texts, strict=True)), encoding="utf-8")
    return path


def days(*texts: str) -> list[pd.Timestamp]:
    return [pd.Timestamp(text) for text in texts]


# --- text, as of CSV -----------------------------------------------------------------------------

NO_NUMBER = ["abc", "0x10", "1_000", "1,5", "NaN", "nan", "５", "1e", "--1", "1 2", ".", "e5", "true", "NULL", '""', ""]
OVER = ["10", "9.6", "inf", "+Infinity", "1e999", "9" * 500]
UNDER = ["-1", "-0.01", "-inf", "-1e999"]
NO_DAY = ["2020-13-01", "2020-02-30", "02.01.2020", "1/2/2020", "today", "2020", "5", "2020-01-02x", "24:00", '""', ""]


@pytest.mark.parametrize(
    ("column", "texts", "becomes"),
    [
        (INTEGER, ["5", " 5\t", "+5", "05", "5.", "5.0", "50e-1", "5.7", "5.999999", "-0"], [5] * 9 + [0]),
        (INTEGER, [".9", "1e-300"], [0, 0]),
        (INTEGER, OVER, [9] * len(OVER)),
        (INTEGER, UNDER, [0] * len(UNDER)),
        (INTEGER | {"outside": "drop"}, OVER + UNDER, [LOST, 9, *[LOST] * 8]),
        (INTEGER | NULLABLE | {"outside": "null"}, OVER + UNDER, [None, 9, *[None] * 8]),
        (INTEGER, NO_NUMBER, [LOST] * len(NO_NUMBER)),
        (INTEGER | NULLABLE, NO_NUMBER, [None] * len(NO_NUMBER)),
        (INTEGER | NULLABLE | {"outside": "drop"}, NO_NUMBER, [None] * len(NO_NUMBER)),
        (REAL, ["5", "5.25", ".5", "9.5", "-0.0", "5e-324", " 1E0 "], [5.0, 5.25, 0.5, 9.5, 0.0, 5e-324, 1.0]),
        (REAL, OVER, [9.5] * len(OVER)),
        (REAL, UNDER, [0.0] * len(UNDER)),
        (REAL | {"outside": "drop"}, OVER + UNDER, [LOST] * 10),
        (REAL | NULLABLE | {"outside": "null"}, OVER + UNDER, [None] * 10),
        (REAL, NO_NUMBER, [LOST] * len(NO_NUMBER)),
        (REAL | NULLABLE, NO_NUMBER, [None] * len(NO_NUMBER)),
        (BOOLEAN, ["true", "True", "TRUE", "1", "1.0", " true "], [True] * 6),
        (BOOLEAN, ["false", "False", "FALSE", "0", "0.0", "-0"], [False] * 6),
        (BOOLEAN, ["yes", "no", "t", "2", "0.5", "-1", "inf", "x", '""', ""], [LOST] * 10),
        (BOOLEAN | NULLABLE, ["yes", "2", '""', ""], [LOST, LOST, LOST, None]),
        (BOOLEAN | NULLABLE | {"outside": "null"}, ["yes", "2", '""', ""], [None] * 4),
        (TEXT, ["F", "M", "1"], ["F", "M", "1"]),
        (TEXT, ["f", " F", "F ", "1.0", "X", "null", '""', ""], [LOST] * 8),
        (TEXT | NULLABLE, ["f", "X", '""', ""], [None] * 4),
        (TEXT | NULLABLE | {"outside": "drop"}, ["f", "X", '""', ""], [LOST, LOST, LOST, None]),
        (TEXT | {"outside": "M"}, ["f", "X", '""', ""], ["M", "M", "M", LOST]),
        (TEXT | NULLABLE | {"outside": "M"}, ["f", "X", '""', ""], ["M", "M", "M", None]),
        (CODE, ["1", "01", " 2", "+2", "2.0", "-3"], [1, 1, 2, 2, 2, -3]),
        (CODE, ["0", "1.5", "x", "true", "inf", "9" * 500, '""', ""], [LOST] * 8),
        (CODE | {"outside": 2}, ["0", "1.5", "x", ""], [2, 2, 2, LOST]),
        (DAY, ["2020-01-02", " 2020-01-02 ", "20200102", "2020-01-02T23:59:59.9"], days(*["2020-01-02"] * 4)),
        (DAY, ["2020-01-02T00:00:00Z", "2020-01-02 23:00+05:00"], days(*["2020-01-02"] * 2)),
        (DAY, ["1960-01-02", "1969-12-31T23:59", "1970-01-01"], days("1960-01-02", "1969-12-31", "1970-01-01")),
        (DAY, ["0001-01-01", "1960-01-01", "9999-12-31"], days("1960-01-02", "1960-01-02", "2020-12-31")),
        (DAY | {"outside": "drop"}, ["1960-01-01", "2021-01-01"], [LOST, LOST]),
        (DAY | NULLABLE | {"outside": "null"}, ["1960-01-01", "2021-01-01"], [None, None]),
        (DAY, NO_DAY, [LOST] * len(NO_DAY)),
        (DAY | NULLABLE, NO_DAY, [None] * len(NO_DAY)),
        (MOMENT, ["2020-12-31 23:59:59.9", "2020-12-31T23:59:59"], days(*["2020-12-31 23:59:59"] * 2)),
        (MOMENT, ["1969-12-31 23:59:59.5", "2000-02-29"], days("1969-12-31 23:59:59", "2000-02-29")),
        (MOMENT, ["1960-01-01", "2021-01-01T00:00:00-10:00"], days("1960-01-01 00:00:10", "2020-12-31 23:59:59")),
        (MOMENT, NO_DAY, [LOST] * len(NO_DAY)),
    ],
)
def test_text(tmp_path: Path, column: dict[str, Any], texts: list[str], becomes: list[Any]) -> None:
    assert outcome(column, texts, tmp_path) == becomes


# --- typed values --------------------------------------------------------------------------------

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("column", "values", "becomes"),
    [
        (INTEGER, [0, 9, -1, 10, 2**62, -(2**63)], [0, 9, 0, 9, 9, 0]),
        (INTEGER, np.array([2**64 - 1, 3], dtype=np.uint64), [9, 3]),
        (INTEGER, [5.0, 5.5, -0.5, 9.5, NAN, INF, -INF], [5, 5, 0, 9, LOST, 9, 0]),
        (INTEGER | NULLABLE | {"outside": "null"}, [5.0, -0.5, NAN, INF, -INF], [5, None, None, None, None]),
        (INTEGER | {"outside": "drop"}, [5.0, -0.5, 9.5, INF], [5, LOST, 9, LOST]),
        (INTEGER | NULLABLE, pd.array([3, None], dtype="Int8"), [3, None]),
        (INTEGER, [Decimal("3.9"), Decimal("-1"), None], [3, 0, LOST]),
        (REAL, [5, 10, -1], [5.0, 9.5, 0.0]),
        (REAL | NULLABLE, [5.5, NAN, INF, -INF, None], [5.5, None, 9.5, 0.0, None]),
        (REAL | NULLABLE | {"outside": "null"}, [5.5, INF, -1e300], [5.5, None, None]),
        (REAL, np.array([0.5, 65504, NAN], dtype=np.float16), [0.5, 9.5, LOST]),
        (BOOLEAN, [True, False], [True, False]),
        (BOOLEAN, [True, None], [True, LOST]),
        (BOOLEAN | NULLABLE, pd.array([True, None], dtype="boolean"), [True, None]),
        (BOOLEAN, [0, 1, 2, -1], [False, True, LOST, LOST]),
        (BOOLEAN | NULLABLE | {"outside": "null"}, [0.0, 1.0, 0.5, NAN, INF], [False, True, None, None, None]),
        (TEXT, ["F", "x", None], ["F", LOST, LOST]),
        (TEXT | {"outside": "M"}, pd.Categorical(["F", "x", None, "M"]), ["F", "M", LOST, "M"]),
        (CODE, [1, 2, -3, 4, 2**62], [1, 2, -3, LOST, LOST]),
        (CODE | NULLABLE, [1.0, 1.5, NAN, INF], [1, None, None, None]),
        (CODE, np.array([2**64 - 3, 1], dtype=np.uint64), [LOST, 1]),
        (DAY, np.array(["2020-01-02T13", "1930-01-01"], "datetime64[ns]"), days("2020-01-02", "1960-01-02")),
        (DAY, np.array(["NaT", "1960-01-02"], "datetime64[ns]"), [LOST, *days("1960-01-02")]),
        (DAY, np.array(["9999-12-31", "0001-01-01"], "datetime64[s]"), days("2020-12-31", "1960-01-02")),
        (MOMENT, np.array(["1969-12-31T23:59:59.7"], "datetime64[ms]"), days("1969-12-31 23:59:59")),
        (MOMENT | NULLABLE, np.array(["NaT", "1980"], "datetime64[s]"), [None, *days("1980-01-01")]),
    ],
)
def test_typed(column: dict[str, Any], values: Sequence[Any], becomes: list[Any]) -> None:
    assert outcome(column, values) == becomes


def test_a_text_of_any_length_is_read_in_linear_time(tmp_path: Path) -> None:
    long = "1" * 200_000
    for column in (INTEGER, CODE, BOOLEAN, DAY):
        outcome(column | NULLABLE, [long, long + "x", " " * 200_000 + "x", "." + long + "e"], tmp_path)


# --- counts of faults ----------------------------------------------------------------------------


def test_faults_are_counted_by_column_and_rule() -> None:
    schema = made.schema(
        {"a": INTEGER | {"outside": "drop"}, "b": REAL | NULLABLE, "c": TEXT | {"outside": "M"}, "d": BOOLEAN}
    )
    frame = pd.DataFrame(
        {
            "a": [1.0, 1.5, 99.0, None, 1.0],
            "b": [1.0, -1.0, 99.0, None, INF],
            "c": ["F", "?", None, "F", "?"],
            "d": pd.array([True, None, True, True, False], dtype="boolean"),
        }
    )
    assert dict(read_table(frame, schema).faults) == {
        ("a", "round down"): 1,
        ("a", "drop"): 2,
        ("b", "clip"): 3,
        ("c", "M"): 2,
        ("c", "drop"): 1,
        ("d", "drop"): 1,
    }
    listed = {(f.column, f.rule): f.first for f in check_table(frame, schema)}
    assert listed["a", "drop"] == (2, 3)
    assert listed["b", "clip"] == (1, 2, 4)
    assert listed["c", "M"] == (1, 4)


def test_at_most_ten_rows_are_listed() -> None:
    (fault,) = check_table(pd.DataFrame({"c": [99] * 25}), made.schema({"c": INTEGER}))
    assert (fault.column, fault.rule, fault.rows, fault.first) == ("c", "clip", 25, tuple(range(10)))


def test_a_clean_table_has_no_faults() -> None:
    assert check_table(made.rows(50), made.every_kind()) == ()


# --- any text at all -----------------------------------------------------------------------------

PIECES = ["1", "0", "9", ".", "-", "+", "e", "inf", "nan", " ", "2020-01-0", "T", ":", "Z", "true", "F", "\u0661", "_"]


@settings(max_examples=80, deadline=None)
@given(texts=st.lists(st.lists(st.sampled_from(PIECES), max_size=6).map("".join), min_size=1, max_size=8))
def test_no_text_stops_a_run(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    kinds: list[dict[str, Any]] = [INTEGER, REAL, BOOLEAN, TEXT, CODE, DAY, MOMENT]
    schema = made.schema({f"c{i}": {**column, "nullable": True} for i, column in enumerate(kinds)})
    path = tmp_path_factory.getbasetemp() / "any.csv"
    pd.DataFrame(dict.fromkeys(schema.columns, texts)).to_csv(path, index=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        codec, frame = Codec(schema), read_table(path, schema).frame
        codes = codec.encode(frame)
    assert len(frame) >= sum(t in ("", "true", "1", "0") for t in texts)
    assert codes.min(initial=0) >= 0
    assert all(codes[:, i].max(initial=0) < c.cells for i, c in enumerate(codec.columns))
