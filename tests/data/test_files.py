"""Every fault of structure is a DataError that says what, where and the mend, and never a value."""

from __future__ import annotations

import datetime as dt
import os
import traceback
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from privsynth.data import csv_file
from privsynth.data.codec import Codec
from privsynth.data.schema import Schema, parse_schema
from privsynth.data.tables import csv_header, read_table
from privsynth.errors import DataError
from tests.data import made

M = made.MARKER
FEW_N = {"kind": "integer", "min": 0, "max": 9}
FEW = made.schema({"name": {"kind": "categorical", "values": ["a", "b"]}, "n": FEW_N})
DAY = {"kind": "date", "min": "2020-01-01", "max": "2021-01-01"}


def refused(data: Any, schema: Schema = FEW) -> DataError:
    """The error of reading ``data``: whole, and silent about values, its traceback included."""
    with pytest.raises(DataError) as caught:
        read_table(data, schema)
    error = caught.value
    assert error.what
    assert error.where
    assert error.mend
    assert error.exit_code == 2
    assert M not in "".join(traceback.format_exception(error))
    assert M.lower() not in repr(error).lower()
    return error


def put(folder: Path, content: bytes | str, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def put_table(folder: Path, arrays: list[pa.Array], names: list[str]) -> Path:
    path = folder / "t.parquet"
    parquet.write_table(pa.Table.from_arrays(arrays, names=names), path)
    return path


# --- what is no file -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "says", "mend"),
    [
        (lambda d: d / "absent.csv", "no such data file", "path"),
        (lambda d: str(d / "absent.parquet"), "no such data file", "path"),
        (lambda d: str(d / "a\0b.csv"), "not a path", "path"),
        (lambda d: put(d, M) / "t.csv", "no such data file .Not a directory", "path"),
        (lambda d: d, "a folder", "name one"),
        (lambda d: (d / "t.parquet", (d / "t.parquet").mkdir())[0], "a folder", "name one"),
        (lambda d: put(d, M, "t.xlsx"), "'.xlsx'|[.]xlsx", ".csv or .parquet"),
        (lambda d: put(d, M, "t"), "ending in nothing", ".csv or .parquet"),
        (lambda d: put(d, "", "t.csv"), "zero bytes", "header"),
        (lambda d: put(d, "", "t.parquet"), "zero bytes", "header"),
        (lambda d: [{"name": M}], "a list is no table", "frame"),
        (lambda d: None, "a NoneType is no table", "frame"),
    ],
)
def test_what_is_no_data_file(tmp_path: Path, make: Callable[[Path], Any], says: str, mend: str) -> None:
    error = refused(make(tmp_path))
    assert pytest.raises(DataError, match=says).matches(error)
    assert mend in error.mend


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_a_file_that_may_not_be_read(tmp_path: Path, name: str) -> None:
    path = put(tmp_path, M, name)
    path.chmod(0)
    assert "cannot be read (Permission denied)" in refused(path).what


# --- names ---------------------------------------------------------------------------------------


def as_frame(names: list[Any]) -> pd.DataFrame:
    frame = pd.DataFrame([[M] * len(names)])
    frame.columns = pd.Index(names)
    return frame


def as_csv(names: list[Any], folder: Path) -> Path:
    return put(folder, ",".join(names) + "\n" + ",".join([M] * len(names)) + "\n")


def as_parquet(names: list[Any], folder: Path) -> Path:
    return put_table(folder, [pa.array([M])] * len(names), names)


@pytest.mark.parametrize("write", [lambda n, d: as_frame(n), as_csv, as_parquet])
@pytest.mark.parametrize(
    ("names", "says", "mend"),
    [
        (["name"], "missing columns: n", "take them out of the schema"),
        (["n", "name", "more", "else"], "the schema does not know: 'more', 'else'", "dropped: true"),
        (["n", "name", "n"], "columns 1 and 3 have one name", "a name of its own"),
        (["name", "name", "name"], "columns 1 and 2 have one name", "a name of its own"),
        (["x", "y"], "none of the schema's columns", "the first line must name the columns"),
        (["N", " name"], "none of the schema's columns", "the first line must name the columns"),
    ],
)
def test_column_names(
    tmp_path: Path, write: Callable[[list[Any], Path], Any], names: list[str], says: str, mend: str
) -> None:
    error = refused(write(names, tmp_path))
    assert says in error.what
    assert mend in error.mend
    assert error.where == "data frame" or error.where.startswith(str(tmp_path))


def test_a_file_without_its_header_keeps_the_first_record_to_itself(tmp_path: Path) -> None:
    for first in (f"{M},5", f"{M},{M}", f"a,{M}", f"{M},5,{M}", f"n,{M}", f'"{M}",5'):
        refused(put(tmp_path, f"{first}\na,5\nb,6\n"))


def test_frames_with_names_that_are_not_text() -> None:
    schema = made.schema({"0": {"kind": "integer", "min": 0, "max": 9}, "True": {"kind": "boolean"}})
    frame = pd.DataFrame({0: [1, 2], True: [True, False]})
    assert len(read_table(frame, schema).frame) == 2
    assert "columns 1 and 2" in refused(pd.DataFrame([[1, 2]], columns=pd.Index([0, "0"], dtype=object)), schema).what
    assert "none of" in refused(pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")])), schema).what


# --- CSV -----------------------------------------------------------------------------------------

BROKEN = {
    "open quote in the last field": f'name,n\na,1\nb,"{M}',
    "open quote over lines": f'name,n\n"{M},1\nb,2\n',
    "open quote after an escaped one": f'name,n\n"{M}"",1\n',
    "fewer fields": f"name,n\na,1\n{M}\n",
    "more fields": f"name,n\na,1\nb,2,{M}\n",
    "cut in the last line": f"name,n\na,1\n{M}",
    "latin-1 in a value": f"name,n\n{M}ä,1\n".encode("latin-1"),
    "not UTF-8 far down": b"name,n\n" + b"a,1\n" * 20_000 + f"{M}".encode() + b"\xff,1\n",
    "zeros": b"name,n\n" + b"\0" * 50,
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_csv(tmp_path: Path, content: str | bytes) -> None:
    error = refused(put(tmp_path, content))
    assert "not a whole UTF-8 CSV file" in error.what
    assert "as many fields as the header" in error.mend


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (f"name;n\n{M};1\n".encode(), "none of the schema's columns"),
        (f"näme,n\n{M},1\n".encode("latin-1"), "header is not UTF-8"),
        (f"name,n\n{M},1\n".encode("utf-16"), "header is not UTF-8"),
        (b'"name,n\n' + M.encode() + b",1\n", "header is not UTF-8"),
        (b"\n\nname,n\na,1\n", "no header"),
        (b"\xef\xbb\xbf", "no header"),
        (b"PAR1" + M.encode() * 40_000, "header is not UTF-8"),
    ],
)
def test_a_broken_header(tmp_path: Path, content: bytes, says: str) -> None:
    assert says in refused(put(tmp_path, content)).what


def test_a_record_longer_than_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path, "name,n\n" + f"{M * 40},1\n" * 3)
    assert read_table(path, FEW).faults == {("name", "drop"): 3}
    monkeypatch.setattr(csv_file, "BLOCK_BYTES", 64)
    assert "longer than" in refused(path).what


@pytest.mark.parametrize(
    "content",
    [
        "name,n",
        "name,n\n",
        "name,n\r\n",
        "name,n\n\n\n",
        "\ufeffname,n\n",
        '"name","n"\n',
    ],
)
def test_a_header_without_rows_is_content(tmp_path: Path, content: str) -> None:
    records = read_table(put(tmp_path, content), FEW)
    assert len(records.frame) == len(records.subjects) == 0
    assert Codec(FEW).encode(records.frame).shape == (0, 2)


def test_a_frame_and_a_parquet_file_without_rows(tmp_path: Path) -> None:
    empty = made.rows().iloc[:0]
    for data in (empty, made.written(empty, tmp_path, "parquet"), made.written(empty, tmp_path, "csv")):
        records = read_table(data, made.every_kind())
        assert len(records.frame) == len(records.subjects) == 0


@pytest.mark.parametrize(
    ("content", "values"),
    [
        ("name,n\na,1\nb,2\n", ["a", "b"]),
        ("name,n\na,1\nb,2", ["a", "b"]),
        ("\ufeffname,n\r\na,1\r\nb,2\r\n", ["a", "b"]),
        ('\ufeff"name",n\r\n"a",1\r\n"b","2"', ["a", "b"]),
        ("name,n\ra,1\rb,2\r", ["a", "b"]),
        ("name,n\n\na,1\n\nb,2\n\n", ["a", "b"]),
        ("n,name\n1,a\n2,b\n", ["a", "b"]),
    ],
)
def test_forms_of_csv(tmp_path: Path, content: str, values: list[str]) -> None:
    records = read_table(put(tmp_path, content), FEW)
    assert records.frame["name"].tolist() == values
    assert records.frame["n"].tolist() == [1, 2]
    assert csv_header(tmp_path / "t.csv") in (["name", "n"], ["n", "name"])


def test_quotes_line_breaks_and_empty_text(tmp_path: Path) -> None:
    values = ["x\ny", 'say "no"', "a,b", 'half"quote']
    schema = made.schema(
        {"v": {"kind": "categorical", "values": values, "nullable": True, "outside": "drop"}, "i": FEW_N}
    )
    content = 'v,i\n"x\ny",1\n"say ""no""",2\n"a,b",3\nhalf"quote,4\n,5\n"",6\n'
    records = read_table(put(tmp_path, content), schema)
    assert records.frame["i"].tolist() == [1, 2, 3, 4, 5]
    assert records.frame["v"].isna().tolist() == [False] * 4 + [True]
    assert records.frame["v"].tolist()[:4] == values
    assert records.faults == {("v", "drop"): 1}  # empty text is a value, and none of the list


def closes(text: bytes) -> bool:
    """The rule, byte by byte: a quote opens a field only at its beginning, and two inside are one."""
    state, start = "plain", True
    for byte in text.decode("latin-1"):
        if state == "quoted":
            state = "closing" if byte == '"' else "quoted"
        elif state == "closing" and byte == '"':
            state = "quoted"
        else:
            state = "quoted" if byte == '"' and start else "plain"
        start = state == "plain" and byte in ",\r\n"
    return state != "quoted"


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from('"",\n\rx'), min_size=1, max_size=30))
def test_open_quotes_are_found(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "quotes.csv"
    for bom in (b"", b"\xef\xbb\xbf"):
        path.write_bytes(bom + text.encode())
        assert csv_file.quotes_close(path) == closes(text.encode())


# --- Parquet -------------------------------------------------------------------------------------


def good_parquet(folder: Path) -> bytes:
    made.rows(200).assign(ward=M).to_parquet(folder / "good.parquet", index=False)
    return (folder / "good.parquet").read_bytes()


def test_a_truncated_parquet_file(tmp_path: Path) -> None:
    raw = good_parquet(tmp_path)
    for size in [1, 4, 8, 100, len(raw) // 2, len(raw) - 100, len(raw) - 8, len(raw) - 1]:
        assert "not a whole Parquet file" in refused(put(tmp_path, raw[:size], "t.parquet"), made.every_kind()).what


def test_a_damaged_parquet_file_reads_or_is_refused(tmp_path: Path) -> None:
    raw, rng = good_parquet(tmp_path), np.random.default_rng(5)
    fates = set()
    for _ in range(150):
        damaged = bytearray(raw)
        for place in rng.integers(0, len(raw), 3):
            damaged[place] ^= 1 << int(rng.integers(8))
        path = put(tmp_path, bytes(damaged), "t.parquet")
        try:
            read_table(path, made.every_kind())
            fates.add("read")
        except DataError as error:
            fates.add("refused")
            assert M not in str(error)
    assert fates == {"read", "refused"}


def test_a_page_whose_checksum_is_wrong_is_refused(tmp_path: Path) -> None:
    table = pa.table({"name": ["a"] * 50, "n": pa.array(range(50), pa.int64())})
    path = tmp_path / "t.parquet"
    parquet.write_table(table, path, write_page_checksum=True, use_dictionary=False, compression="none")
    raw = path.read_bytes()
    place = raw.index((7).to_bytes(8, "little")) + 1  # inside the values of n
    refused(put(tmp_path, raw[:place] + b"\x01" + raw[place + 1 :], "t.parquet"))


def test_parquet_text_that_is_not_utf8(tmp_path: Path) -> None:
    bad = pa.array([M.encode() + b"\xff"]).view(pa.string())
    assert "not UTF-8" in refused(put_table(tmp_path, [bad, pa.array([1])], ["name", "n"])).what


def test_what_is_no_parquet_file(tmp_path: Path) -> None:
    refused(put(tmp_path, f"name,n\n{M},1\n" * 100, "t.parquet"))


# --- storage types -------------------------------------------------------------------------------

WRONG: list[tuple[dict[str, Any], pa.Array, str]] = [
    (FEW_N, pa.array([M]), "integer but stored as string"),
    (FEW_N, pa.array([M]).dictionary_encode(), "integer but stored as string"),
    (FEW_N, pa.array([True]), "integer but stored as bool"),
    (FEW_N, pa.array([[4711]]), "stored as list"),
    ({"kind": "real", "min": 0, "max": 9}, pa.array([{M: 1.0}]), "stored as struct"),
    ({"kind": "real", "min": 0, "max": 9}, pa.array([dt.date(2020, 1, 1)]), "stored as date32"),
    ({"kind": "real", "min": 0, "max": 9}, pa.array([[(M, 1)]], pa.map_(pa.string(), pa.int64())), "stored as map"),
    ({"kind": "boolean"}, pa.array(["true"]), "boolean but stored as string"),
    ({"kind": "boolean"}, pa.array([M.encode()]), "boolean but stored as binary"),
    ({"kind": "categorical", "values": ["a"]}, pa.array([1]), "stored as int64"),
    ({"kind": "categorical", "values": ["a"]}, pa.array([M.encode()]), "stored as binary"),
    ({"kind": "categorical", "values": ["a"]}, pa.array([[M]]), "stored as list"),
    ({"kind": "categorical", "values": [1]}, pa.array(["1"]), "stored as string"),
    (DAY, pa.array(["2020-01-01"]), "stored as string"),
    (DAY, pa.array([18262]), "stored as int64"),
    (
        {"kind": "datetime", "min": "2020-01-01 00:00:00", "max": "2021-01-01 00:00:00"},
        pa.array([dt.datetime(2020, 1, 1)], pa.timestamp("us", tz="Europe/Berlin")),
        "stored as timestamp with time zone",
    ),
    (
        {"kind": "datetime", "min": "2020-01-01 00:00:00", "max": "2021-01-01 00:00:00"},
        pa.array([dt.time(10)]),
        "stored as time64",
    ),
    ({"kind": "real", "min": 0, "max": 9}, pa.array([dt.timedelta(1)]), "stored as duration"),
]


@pytest.mark.parametrize(("column", "array", "says"), WRONG, ids=[w[2] for w in WRONG])
@pytest.mark.parametrize("form", ["parquet", "frame"])
def test_wrong_storage_types(tmp_path: Path, column: dict[str, Any], array: pa.Array, says: str, form: str) -> None:
    path = put_table(tmp_path, [array], ["c"])
    data = path if form == "parquet" else pd.DataFrame({"c": array.to_pandas(types_mapper=pd.ArrowDtype)})
    error = refused(data, made.schema({"c": column}))
    assert "column 'c'" in error.what
    assert says in error.what
    assert "store it as" in error.mend


NUMBERS = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]
NUMBERS += [pa.float16(), pa.float32(), pa.float64(), pa.decimal128(9, 3), pa.decimal256(50, 3)]


@pytest.mark.parametrize("kind", NUMBERS, ids=str)
@pytest.mark.parametrize("dictionary", [False, True])
@pytest.mark.parametrize("form", ["parquet", "frame"])
def test_every_number_type_reads_alike(tmp_path: Path, kind: pa.DataType, dictionary: bool, form: str) -> None:
    schema = made.schema(
        {
            "i": {"kind": "integer", "min": 0, "max": 9, "nullable": True},
            "r": {"kind": "real", "min": 0, "max": 9, "nullable": True, "decimals": 0},
            "c": {"kind": "categorical", "values": [0, 1, 7], "nullable": True},
            "b": {"kind": "boolean", "nullable": True, "outside": "null"},
        }
    )
    numbers = [0, 1, None, 7]
    make = np.float16 if pa.types.is_float16(kind) else Decimal if pa.types.is_decimal(kind) else int
    array = pa.array([None if v is None else make(v) for v in numbers], kind)
    if dictionary and not pa.types.is_float16(kind):
        array = array.dictionary_encode()
    data: Any = put_table(tmp_path, [array] * 4, list("ircb"))
    if form == "frame":
        data = parquet.read_table(data).to_pandas()
    codes = Codec(schema).encode(read_table(data, schema).frame)
    assert codes.tolist() == [[0, 0, 0, 0], [1, 1, 1, 1], [10, 10, 3, 2], [7, 7, 2, 2]]


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())], ids=str
)
def test_every_text_type_reads_alike(tmp_path: Path, kind: pa.DataType) -> None:
    schema = made.schema(
        {
            "person": {"kind": "identifier"},
            "c": {"kind": "categorical", "values": ["a", "b"], "nullable": True},
            "agreed": {"kind": "text", "dropped": True},
        }
    )
    text = pa.array(["b", None, "a"])
    ids = pa.array(["p1", "p2", " p1 "])
    arrays = [a.cast(kind) if not pa.types.is_dictionary(kind) else a.dictionary_encode() for a in (ids, text, text)]
    records = read_table(put_table(tmp_path, arrays, ["person", "c", "agreed"]), schema)
    assert Codec(schema).encode(records.frame).ravel().tolist() == [1, 2, 0]
    assert records.subjects.tolist() == ["p1", "p2", "p1"]
    assert records.frame["agreed"].tolist() == ["b", None, "a"]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_every_date_type_reads_alike(tmp_path: Path, unit: str) -> None:
    schema = made.schema(
        {
            "d": {"kind": "date", "min": "1969-12-30", "max": "1970-01-02", "nullable": True},
            "t": {"kind": "datetime", "min": "1969-12-31 23:59:58", "max": "1970-01-01 00:00:01", "nullable": True},
        }
    )
    moments = pa.array([dt.datetime(1969, 12, 31, 23, 59, 58), None, dt.datetime(1970, 1, 1)], pa.timestamp(unit))
    days = pa.array([dt.date(1969, 12, 31), None, dt.date(1970, 1, 1)])
    for d in (days, days.cast(pa.date64()), moments, moments.dictionary_encode()):
        records = read_table(put_table(tmp_path, [d, moments], ["d", "t"]), schema)
        assert Codec(schema).encode(records.frame).tolist() == [[1, 0], [4, 4], [2, 2]]


def test_a_column_of_nulls_has_no_type_to_refuse(tmp_path: Path) -> None:
    names = list(made.EVERY_KIND)
    path = put_table(tmp_path, [pa.array(["p"])] + [pa.nulls(1)] * (len(names) - 1), names)
    records = read_table(path, made.every_kind())
    assert len(records.frame) == 0
    assert records.faults["ill", "drop"] == 1


@pytest.mark.parametrize("values", [[b"x"], [b"x", M.encode()]], ids=["one", "two"])
def test_a_dropped_column_may_hold_anything(tmp_path: Path, values: list[bytes]) -> None:
    schema = made.schema({"n": FEW_N, "x": {"kind": "text", "dropped": True}, "y": {"kind": "identifier"}})
    objects = pd.DataFrame({"n": [1, 2], "x": [1, M], "y": [{M: 1}, [2]]})
    nested = put_table(tmp_path, [pa.array([1]), pa.array([[M]]), pa.array([{M: 1}])], ["n", "x", "y"])
    for data in (objects, nested):
        frame = read_table(data, schema).frame
        assert list(frame.columns) == ["n"]


# --- frames --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        [1, M],
        [M, 1],
        [1.5, M],
        [dt.date(2020, 1, 1), M],
        [{M: 1}, 5],
        [object(), M],
        [2**70, 1],
        ["\ud800" + M, "a"],
        [1 + 2j, 2j],
    ],
    ids=["int, text", "text, int", "float, text", "date, text", "dict, int", "objects", "huge", "surrogate", "complex"],
)
def test_frame_columns_of_no_one_type(values: list[Any]) -> None:
    schema = made.schema({"c": {"kind": "categorical", "values": ["a"]}})
    error = refused(pd.DataFrame({"c": pd.Series(values, dtype=object)}), schema)
    assert error.where == "data frame"
    assert "column 'c'" in error.what


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (pd.period_range("2020-01", periods=2, freq="M"), "extension"),
        (pd.interval_range(0, 2), "extension"),
        (pd.date_range("2020-01-01", periods=2, tz="UTC"), "timestamp with time zone"),
        (pd.to_timedelta(["1D", "2D"]), "duration"),
        (pd.Series([M, M.encode()]), "binary"),
    ],
    ids=["period", "interval", "zone", "timedelta", "bytes"],
)
def test_frame_types_that_no_kind_has(values: Any, says: str) -> None:
    for column in (DAY, {"kind": "categorical", "values": ["a"]}):
        assert says in refused(pd.DataFrame({"c": values}), made.schema({"c": column})).what


def test_a_subject_column_of_the_wrong_type(tmp_path: Path) -> None:
    schema = made.schema({"person": {"kind": "identifier"}, "n": FEW_N})
    for array in (pa.array([4711.5]), pa.array([True]), pa.array([[M]]), pa.array([{M: 1}])):
        error = refused(put_table(tmp_path, [array, pa.array([1])], ["person", "n"]), schema)
        assert "subject column 'person' is stored as" in error.what
        assert "text or integers" in error.mend


def test_reading_leaves_the_frame_as_it_was() -> None:
    frame = made.rows(30)
    before = frame.copy(deep=True)
    read_table(frame, made.every_kind())
    pd.testing.assert_frame_equal(frame, before)


def test_a_csv_without_a_header_does_not_tell_which_cells_are_equal(tmp_path: Path) -> None:
    schema = parse_schema(
        "privsynth-schema: 1\nsource: s\nsubject: {each row is a: visit, a person has at most: 1 row}\n"
        "columns:\n  age: {kind: integer, min: 0, max: 9}\n  grade: {kind: integer, min: 0, max: 9}\n"
    )
    told = []
    for first in ("4,4", "4,5"):
        path = tmp_path / "t.csv"
        path.write_text(f"{first}\n1,2\n")
        with pytest.raises(DataError) as error:
            read_table(path, schema)
        told.append(str(error.value))
    assert told[0] == told[1]
