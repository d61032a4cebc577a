"""Whole tables: the three forms read alike, every row by itself, row rules, and who the rows belong to."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privsynth.data.codec import Codec
from privsynth.data.records import Records
from privsynth.data.schema import Schema
from privsynth.data.tables import check_table, read_table, violations
from tests.data import made

BY_ID, BY_ROW = made.every_kind(), made.every_kind(made.BY_ROW)


def faulty(n: int = 60, *, seed: int = 0) -> pd.DataFrame:
    """Rows of every kind with faults of content of every sort among them."""
    rng = np.random.default_rng(seed)
    frame = made.rows(n)
    frame["person"] = rng.choice(np.array(["p1", " p2 ", "p3", "", "  ", "ä", None], dtype=object), n)
    frame["age"] = rng.choice([-5.0, 0.0, 50.0, 50.5, 120.0, 121.0, 1e300, np.inf, np.nan], n)
    frame["visits"] = rng.choice([-1, 0, 1, 1000, 1001, 2**53], n)
    frame["sex"] = rng.choice(["F", "M", "X", "f", " F", made.MARKER], n)
    frame["ward"] = rng.choice(np.array(["A", "B", "C", "", None], dtype=object), n)
    frame["grade"] = rng.choice([1.0, 2.0, 3.0, 4.0, 1.5], n, p=[0.4, 0.3, 0.2, 0.05, 0.05])
    frame["ill"] = rng.choice([0, 1, 2], n, p=[0.6, 0.35, 0.05])
    frame["cost"] = rng.choice([0.0, 0.004, 5.255, 999.999, 1e9, -3.0, np.inf], n)
    frame["weight"] = rng.choice([1.5, 1.4, 80.25, 300.0, 301.0, np.nan], n)
    frame["seen"] = rng.choice(pd.to_datetime(["1950-01-01", "1969-12-31", "1999-06-06", "2020-12-31"]).to_numpy(), n)
    return frame


def same(a: Records, b: Records) -> None:
    codec = Codec(a.schema)
    assert np.array_equal(codec.encode(a.frame), codec.encode(b.frame))
    assert a.subjects.tolist() == b.subjects.tolist()
    assert a.faults == b.faults
    pd.testing.assert_frame_equal(a.frame.drop(columns="note"), b.frame.drop(columns="note"))
    assert a.frame["note"].tolist() == b.frame["note"].tolist()


@pytest.mark.parametrize("schema", [BY_ID, BY_ROW], ids=["person", "row"])
@pytest.mark.parametrize("seed", range(4))
def test_frame_csv_and_parquet_read_alike(tmp_path: Path, schema: Schema, seed: int) -> None:
    frame = faulty(seed=seed)
    frame["person"] = frame["person"].fillna("")  # CSV has one way to write no text
    frame["ward"] = frame["ward"].mask(frame["ward"] == "", None)
    direct = read_table(frame, schema)
    assert 0 < len(direct.frame) < len(frame)
    for ending in ("csv", "parquet"):
        path = made.written(frame, tmp_path, ending)
        same(read_table(path, schema), direct)
        same(read_table(str(path), schema), direct)
        assert check_table(path, schema) == check_table(frame, schema)


def test_categories_read_as_the_texts_that_they_are(tmp_path: Path) -> None:
    frame = faulty()
    names = ["person", "sex", "ward", "note", "grade"]
    coded = frame.assign(**{name: frame[name].astype("category") for name in names})
    direct = read_table(frame, BY_ID)
    same(read_table(coded, BY_ID), direct)
    same(read_table(made.written(coded, tmp_path, "parquet"), BY_ID), direct)


def test_the_order_of_columns_and_the_index_mean_nothing() -> None:
    frame = faulty()
    direct = read_table(frame, BY_ID)
    same(read_table(frame[frame.columns[::-1]], BY_ID), direct)
    same(read_table(frame.set_axis(frame.index[::-1] * 7, axis=0), BY_ID), direct)
    same(read_table(frame.set_axis([0] * len(frame), axis=0), BY_ID), direct)


# --- row by row ----------------------------------------------------------------------------------


def contents(records: Records, *, subjects: bool) -> list[tuple[Any, ...]]:
    codes = Codec(records.schema).encode(records.frame)
    return [(*row, *([who] if subjects else [])) for row, who in zip(codes.tolist(), records.subjects, strict=True)]


@settings(max_examples=40, deadline=None)
@given(seeds=st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), sizes=st.tuples(*[st.integers(0, 25)] * 2))
def test_what_a_row_becomes_depends_on_that_row_alone(seeds: tuple[int, int], sizes: tuple[int, int]) -> None:
    """Conforming A and B together is conforming each by itself: rows, subjects, and counts of faults."""
    parts = [faulty(n, seed=s).astype(faulty(1).dtypes.to_dict()) for n, s in zip(sizes, seeds, strict=True)]
    both = pd.concat(parts, ignore_index=True)
    for schema, ids in ((BY_ID, True), (BY_ROW, False)):
        together, alone = read_table(both, schema), [read_table(part, schema) for part in parts]
        assert contents(together, subjects=ids) == [row for r in alone for row in contents(r, subjects=ids)]
        assert together.faults == sum((Counter(r.faults) for r in alone), Counter())


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 40), data=st.data())
def test_adding_a_row_renames_no_other(seed: int, n: int, data: st.DataObject) -> None:
    """Where each row is a subject: of n rows and n - 1 of them, the ids differ by exactly the one that went,
    and each row content keeps its ids (of equal rows the last ordinal goes)."""
    frame = faulty(n, seed=seed)
    gone = data.draw(st.integers(0, n - 1))
    whole, less = read_table(frame, BY_ROW), read_table(frame.drop(index=gone), BY_ROW)
    assert len(set(whole.subjects)) == len(whole.subjects)
    assert set(less.subjects) <= set(whole.subjects)
    assert len(whole.subjects) - len(less.subjects) in (0, 1)
    named: dict[tuple[Any, ...], set[str]] = {}
    for content, who in zip(contents(whole, subjects=False), whole.subjects, strict=True):
        named.setdefault(content, set()).add(who)
    for content, who in zip(contents(less, subjects=False), less.subjects, strict=True):
        assert who in named[content]
    shuffled = read_table(frame.sample(frac=1, random_state=seed), BY_ROW)
    assert sorted(shuffled.subjects) == sorted(whole.subjects)


def test_equal_rows_are_distinct_subjects_and_minus_zero_is_zero() -> None:
    schema = made.schema({"r": {"kind": "real", "min": -1, "max": 1, "nullable": True}})
    ids = read_table(pd.DataFrame({"r": [0.0, -0.0, 0.5, 0.0, None, None]}), schema).subjects.tolist()
    contents, ordinals = zip(*(i.split(":") for i in ids), strict=True)
    assert ordinals == ("0", "1", "0", "2", "0", "1")
    assert len(set(contents)) == 3


def test_a_row_is_named_by_every_value_that_a_fit_can_count_and_no_other() -> None:
    """A determined value is counted where the map is not public; a total or a value of a public map never is."""
    flag: dict[str, Any] = {"kind": "categorical", "values": ["N", "S"]}
    number: dict[str, Any] = {"kind": "integer", "min": 0, "max": 9}
    plain = made.schema(
        {"ward": {"kind": "boolean"}, "n": number, "m": number, "site": flag, "wing": flag, "t": number}
    )
    schema = Schema.from_json(
        {
            **plain.to_json(),
            "sums": ["t = n + m"],
            "determines": ["ward -> site", {"rule": "ward -> wing", "map": [["true", "N"], ["false", "S"]]}],
        }
    )
    frame = pd.DataFrame({"ward": [True] * 4, "n": 1, "m": 2, "site": list("NSNS"), "wing": "N", "t": 3})
    ids = read_table(frame, schema).subjects.tolist()
    contents, ordinals = zip(*(i.split(":") for i in ids), strict=True)
    assert ordinals == ("0", "0", "1", "1"), "rows that differ in the site are not alike"
    assert contents[0] == contents[2] != contents[1] == contents[3]
    assert read_table(frame.assign(wing=list("NSSN"), t=[3, 9, 0, 1]), schema).subjects.tolist() == ids


def test_a_row_is_named_by_what_is_learned_of_it_only() -> None:
    frame = faulty()
    other = frame.assign(note="else", person="nobody")
    assert read_table(frame, BY_ROW).subjects.tolist() == read_table(other, BY_ROW).subjects.tolist()


# --- subjects ------------------------------------------------------------------------------------


def test_rows_without_a_subject_are_lost(tmp_path: Path) -> None:
    schema = made.schema({"person": {"kind": "identifier"}, "n": {"kind": "integer", "min": 0, "max": 9}})
    frame = pd.DataFrame({"person": ["p", None, "", " \t", " p ", "nan", "None"], "n": range(7)})
    records = read_table(frame, schema)
    assert records.subjects.tolist() == ["p", "p", "nan", "None"]
    assert records.frame["n"].tolist() == [0, 4, 5, 6]
    assert records.faults == {("person", "drop"): 3}
    assert "person" not in records.frame
    for kind in ("int64", "Int64", "uint8"):
        numbered = frame.assign(person=pd.Series([1, 2, 1, 4, 5, 6, 7], dtype=kind))
        assert read_table(numbered, schema).subjects.tolist() == ["1", "2", "1", "4", "5", "6", "7"]
    path = tmp_path / "t.csv"
    path.write_text('person,n\n007,1\n7,2\n,3\n"",4\n')
    assert read_table(path, schema).subjects.tolist() == ["007", "7"]


def test_a_nul_belongs_to_the_id(tmp_path: Path) -> None:
    schema = made.schema({"person": {"kind": "identifier"}, "n": {"kind": "integer", "min": 0, "max": 9}})
    frame = pd.DataFrame({"person": ["p", "p\0", " p\0 ", "\0", "p\0\0"], "n": range(5)})
    for data in (frame, made.written(frame, tmp_path, "parquet"), made.written(frame, tmp_path, "csv")):
        records = read_table(data, schema)
        assert records.subjects.tolist() == ["p", "p\0", "p\0", "\0", "p\0\0"]
        assert not records.faults


# --- what is not learned -------------------------------------------------------------------------


def test_a_dropped_column_can_be_read_for_consent_and_is_never_coded(tmp_path: Path) -> None:
    frame = made.rows(8).assign(note=pd.Series(["yes", "no", None, "", "yes", "yes", "no", "no"], dtype=object))
    for data in (frame, made.written(frame, tmp_path, "parquet")):
        records = read_table(data, BY_ID)
        assert records.frame["note"].tolist() == frame["note"].tolist()
    codec = Codec(BY_ID)
    assert "note" not in codec.index
    assert "note" not in codec.decode(codec.encode(records.frame), np.random.default_rng(1))
    assert np.array_equal(codec.encode(records.frame), codec.encode(read_table(frame.assign(note="x"), BY_ID).frame))


def test_a_learned_kind_that_is_dropped_is_not_learned() -> None:
    schema = made.schema(
        {
            "n": {"kind": "integer", "min": 0, "max": 9},
            "agreed": {"kind": "categorical", "values": ["yes"], "dropped": True},
            "sum": {"kind": "real", "min": 0, "max": 9, "dropped": True},
        }
    )
    records = read_table(pd.DataFrame({"n": [1, 2], "agreed": ["yes", "?"], "sum": [1.0, 99.0]}), schema)
    assert list(Codec(schema).index) == ["n"]
    assert records.faults == {}
    assert records.frame["agreed"].tolist() == ["yes", "?"]
    assert "sum" not in records.frame


# --- row rules -----------------------------------------------------------------------------------

RULED: dict[str, dict[str, Any]] = {
    "sex": {"kind": "categorical", "values": ["F", "M"], "nullable": True},
    "grade": {"kind": "categorical", "values": [0, 1]},
    "ill": {"kind": "boolean", "nullable": True},
    "n": {"kind": "integer", "min": 0, "max": 3, "nullable": True},
    "r": {"kind": "real", "min": 0, "max": 3, "nullable": True},
    "d": {"kind": "date", "min": "2020-01-01", "max": "2020-01-04", "nullable": True},
    "e": {"kind": "date", "min": "2020-01-01", "max": "2020-01-04", "nullable": True},
}
NEVER: list[dict[str, Any]] = [
    {"sex": "M", "ill": True},
    {"grade": 1, "ill": False, "n": 0},
    {"sex": None, "n": 3},
    {"grade": 0, "ill": None},
]
RULES = made.schema(RULED, never=NEVER, order=["n <= r", "d < e"])


def breaks(frame: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """(n, 6) which rows break which rule: by the words of the schema, one row at a time."""

    def held(row: dict[str, Any]) -> list[bool]:
        never = [all(row[name] == value for name, value in rule.items()) for rule in NEVER]
        late = row["n"] is not None and row["r"] is not None and not row["n"] <= row["r"]
        return [*never, late, row["d"] is not None and row["e"] is not None and not row["d"] < row["e"]]

    rows = ({k: None if pd.isna(v) else v for k, v in frame.iloc[i].items()} for i in range(len(frame)))
    return np.array([held({str(k): v for k, v in row.items()}) for row in rows], dtype=np.bool_).reshape(-1, 6)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(0, 40))
def test_row_rules_equal_brute_force(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)

    def some(values: list[Any]) -> list[Any]:
        return [values[i] for i in rng.integers(0, len(values), n)]

    days = [*pd.date_range("2020-01-01", periods=4), None]
    frame = pd.DataFrame(
        {
            "sex": pd.Series(some(["F", "M", None]), dtype=object),
            "grade": pd.Series(some([0, 1]), dtype="int64"),
            "ill": pd.Series(some([True, False, None]), dtype="boolean"),
            "n": pd.Series(some([0, 1, 2, 3, None]), dtype="Int64"),
            "r": pd.Series(some([0.0, 1.5, 2.0, 3.0, None]), dtype="float64"),
            "d": pd.Series(some(days), dtype="datetime64[s]"),
            "e": pd.Series(some(days), dtype="datetime64[s]"),
        }
    )
    expected = breaks(frame)
    records, faults = read_table(frame, RULES), {f.column: f for f in check_table(frame, RULES)}
    assert len(records.frame) == n - expected.any(axis=1).sum()
    assert not any(mask.any() for _, mask in violations(records.frame, RULES))
    free = made.schema(RULED)
    read, codec = read_table(frame, free).frame, Codec(free)
    for rows in (read, codec.decode(codec.encode(read), rng)):  # as conformed, and as sampled
        for i, (_, mask) in enumerate(violations(rows, RULES)):
            assert np.array_equal(mask, breaks(rows)[:, i])
    for i, (text, _) in enumerate(violations(read, RULES)):
        assert (faults[text].first if text in faults else ()) == tuple(np.flatnonzero(expected[:, i])[:10])


def test_rules_are_asked_only_of_rows_that_stand() -> None:
    """A row that is lost for a null where none is declared breaks no structural zero besides."""
    frame = pd.DataFrame({"sex": ["M"], "grade": pd.array([None], "Int64"), "ill": [True], "n": [1], "r": [2.0]})
    frame = frame.assign(d=pd.Series([pd.NaT], dtype="datetime64[s]"), e=pd.Series([pd.NaT], dtype="datetime64[s]"))
    assert dict(read_table(frame, RULES).faults) == {("grade", "drop"): 1}


def test_rules_hold_after_clipping() -> None:
    schema = made.schema({k: {"kind": "integer", "min": 0, "max": 9} for k in "ab"}, order=["a <= b"])
    records = read_table(pd.DataFrame({"a": [50, 5], "b": [40, 4]}), schema)
    assert records.frame["a"].tolist() == [9]  # 50 and 40 are both 9
    assert records.faults == {("a", "clip"): 1, ("b", "clip"): 1, ("a <= b", "drop"): 1}
