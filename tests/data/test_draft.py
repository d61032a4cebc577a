"""Drafts tell nothing of the rows, teach, refuse to load while a TODO is left, and are written all or not at all."""

from __future__ import annotations

import datetime as dt
import re
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from privsynth.data.columns import Boolean, Categorical, Date, Datetime, Integer, Real
from privsynth.data.draft import Draft, draft, stored_columns, write_draft
from privsynth.data.public import UNKNOWN_ROWS
from privsynth.data.schema import load_schema, parse_schema
from privsynth.data.written import entry
from privsynth.documents import parse_yaml, sha256
from privsynth.errors import DataError, PolicyError, SchemaError, StorageError
from privsynth.policy.document import parse_policy

SECRET = "qx7z"
NAMES = ["patient_id", "age", "charge", "alive", "born", "seen", "sex", "yes", "a: b", "é 🙂"]


def table(rows: int = 3, *, shift: int = 0, mark: str = SECRET) -> pa.Table:
    """Rows whose every cell is recognisable; ``shift`` changes them all."""
    n = range(rows)
    day = dt.date(1931, 5, 17) + dt.timedelta(days=shift)
    cells: dict[str, pa.Array] = {
        "patient_id": pa.array([f"{mark}{i}" for i in n], pa.string()),
        "age": pa.array([73911 + i + shift for i in n], pa.int64()),
        "charge": pa.array([None if i == 1 else 48213.57 + i + shift for i in n], pa.float64()),
        "alive": pa.array([i == shift for i in n], pa.bool_()),
        "born": pa.array([day] * rows, pa.date32()),
        "seen": pa.array([dt.datetime(1931, 5, 17, 3, 4, 5) + dt.timedelta(days=shift)] * rows, pa.timestamp("us")),
        "sex": pa.array([mark] * rows, pa.string()).dictionary_encode(),
        "yes": pa.array([f"{mark} yes"] * rows, pa.string()),
        "a: b": pa.array([f"{mark} a"] * rows, pa.string()),
        "é 🙂": pa.array([f"{mark} e"] * rows, pa.string()),
    }
    return pa.table(cells)


def as_parquet(path: Path, data: pa.Table) -> Path:
    parquet.write_table(data, path.with_suffix(".parquet"))
    return path.with_suffix(".parquet")


def as_csv(path: Path, data: pa.Table) -> Path:
    arrow_csv.write_csv(data, path.with_suffix(".csv"))
    return path.with_suffix(".csv")


WRITERS = pytest.mark.parametrize("write", [as_parquet, as_csv])
Write = Callable[[Path, pa.Table], Path]


def texts(drafted: Draft) -> str:
    return "\n".join(drafted.files(drafted.data.parent).values())


@WRITERS
def test_no_cell_is_in_the_draft_and_the_rows_change_no_byte(tmp_path: Path, write: Write) -> None:
    first = texts(draft(write(tmp_path / "encounters", table())))
    assert not re.search(rf"{SECRET}|7391|4821|1931|05-17", first)
    (tmp_path / "other").mkdir()
    for other in (table(7, shift=3, mark="other"), table(0), table(1, shift=-900), table(2000, mark="TODO")):
        assert texts(draft(write(tmp_path / "other" / "encounters", other))) == first


def test_rows_that_cannot_be_decoded_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "encounters.csv"
    drafts = []
    for rows in (b"", b"\n", b"\n1,2\n", b"\n\xff\xfe,\x00\n", b'\n"never closed,\n', b"\r\n1", b"\r1\r2"):
        path.write_bytes(b"age,sex" + rows)
        drafts.append(texts(draft(path)))
    assert len(set(drafts)) == 1


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.integers(-(2**60), 2**60), max_size=5), st.lists(st.text(string.printable, max_size=5), max_size=5))
def test_any_rows_give_the_same_draft(tmp_path: Path, numbers: list[int], words: list[str]) -> None:
    cells = {"num": pa.array(numbers, pa.int64()), "w": pa.array([*words, *[None] * 5][: len(numbers)], pa.string())}
    path = as_parquet(tmp_path / "t", pa.table(cells))
    schema = draft(path).schema
    assert "num: {kind: integer, min: TODO least" in schema
    assert schema == draft(as_parquet(tmp_path / "t", pa.table({n: c.slice(0, 0) for n, c in cells.items()}))).schema


def test_names_and_storage_types_are_read(tmp_path: Path) -> None:
    data = as_parquet(tmp_path / "t", table())
    kinds = {column.name: column.kind for column in stored_columns(data)}
    suggested = ["text", "integer", "real", "boolean", "date", "datetime", "text", "text", "text", "text"]
    assert kinds == dict(zip(NAMES, suggested, strict=True))
    assert [column.name for column in stored_columns(as_csv(tmp_path / "t", table()))] == NAMES


@WRITERS
def test_every_part_of_a_draft_is_well_formed_and_refuses_to_load(tmp_path: Path, write: Write) -> None:
    drafted = draft(write(tmp_path / "encounters", table()))
    for text in drafted.files(tmp_path).values():
        assert "TODO" in text
        parse_yaml(text.encode(), path="draft", error=SchemaError)
    with pytest.raises(SchemaError, match=r"subject: still says 'TODO one of the two forms above'.*never read it off"):
        parse_schema(drafted.schema)
    with pytest.raises(PolicyError, match="still says 'TODO"):
        parse_policy(drafted.policy.encode(), path="p.yaml")


def test_every_domain_is_a_todo(tmp_path: Path) -> None:
    """No column loads before its owner has said something: not even a boolean, for it may be null."""
    drafted = parse_yaml(draft(as_parquet(tmp_path / "t", table())).schema.encode(), path="d", error=SchemaError).data
    for column in drafted["columns"].values():
        assert any(str(part).startswith("TODO") for part in column.values())


ANSWERS: list[tuple[tuple[str | int, ...], Any]] = [
    (("owner",), "office@lab.example"),
    (("valid",), {"from": "2026-01-01", "until": "2027-01-01"}),
    (("sources", "encounters", "population"), "patients"),
    (("sources", "encounters", "subjects"), 40_000),
    (("sources", "encounters", "unit"), "patient"),
    (("sources", "encounters", "contribution", "max rows per subject"), 12),
    (("purposes", "research", "legal basis", 0), "Art6(1)(a)"),
    (("recipients", "recipient", "purposes", 0), "research"),
    (("consent", "by"), "register"),
    (("privacy", "budget", 0), {"over": "population", "epsilon": 6.0, "delta": 2e-8}),
    (("privacy", "budget", 1), {"over": "recipient", "epsilon": 3.0, "delta": 2e-8}),
    (("privacy", "per release", "max epsilon"), 1.0),
    (("privacy", "per release", "max delta"), 1e-9),
    (("data", "min rows"), 1000),
    (("people",), {"a.kim@lab.example": {"roles": ["analysts"]}}),
]


def test_the_policy_loads_once_its_todos_are_filled_in(tmp_path: Path) -> None:
    policy: Any = parse_yaml(
        draft(as_csv(tmp_path / "encounters", table())).policy.encode(), path="p", error=SchemaError
    ).data
    for place, answer in ANSWERS:
        node = policy
        for key in place[:-1]:
            node = node[key]
        assert "TODO" in repr(node[place[-1]])
        node[place[-1]] = answer
    assert "TODO" not in repr(policy)
    text = "\n".join(entry(key, value) for key, value in policy.items())
    assert parse_policy(text.encode(), path="p.yaml").source("encounters").subjects == 40_000


def test_the_study_names_the_files_and_the_data_from_its_folder(tmp_path: Path) -> None:
    data = as_csv(tmp_path / "encounters", table())
    (tmp_path / "study").mkdir()
    write_draft(draft(data), tmp_path / "study")
    study = parse_yaml((tmp_path / "study/encounters.study.yaml").read_bytes(), path="s", error=SchemaError).data
    assert (tmp_path / "study" / study["data"]).resolve() == data.resolve()
    for key in ("schema", "policy"):
        assert (tmp_path / "study" / study[key]).is_file()
    assert draft(data).study.startswith("# One run")


@pytest.mark.parametrize(
    ("stem", "name"),
    [("a b", "a-b"), ("--x", "x"), ("é", "table"), ("TODO", "TODO"), ("x" * 200, "x" * 64), ("no", "no")],
)
def test_odd_file_names(tmp_path: Path, stem: str, name: str) -> None:
    path = tmp_path / f"{stem}.csv"
    path.write_text("age\n")
    drafted = draft(path)
    assert drafted.name == name
    assert parse_yaml(drafted.schema.encode(), path="d", error=SchemaError).data["source"] == name
    assert set(parse_yaml(drafted.policy.encode(), path="d", error=SchemaError).data["sources"]) == {name}


# --- faults --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("t.csv", b"", "no header"),
        ("t.csv", b"\n1,2\n", "no header"),
        ("t.csv", b"\xff\xfea\x00", "not one line of UTF-8 CSV"),
        ("t.csv", b'id,"na\nme"\n', "not one line of UTF-8 CSV"),
        ("t.csv", b"id,age,id\n", "the name of column 1 stands twice"),
        ("t.csv", b"id,,age\n", "the name of column 2 is empty or blank"),
        ("t.csv", b"id, age\n", "the name of column 2 has blanks at its ends"),
        ("t.csv", b"id,a\x1bge\n", "the name of column 2 holds a character that does not show"),
        ("t.csv", b"x" * 300, "the name of column 1 is longer than 255"),
        ("t.csv", b"x" * (2 * 1024 * 1024), "the header is longer than"),
        ("t.csv", b"id;age;sex\n", "not separated by commas"),
        ("t.csv", b"Alice,34,F\n", "looks like a row"),
        ("t.csv", b"Alice,1990-02-03,F\n", "looks like a row"),
        ("t.csv", b"Alice,-1.5e3\n", "looks like a row"),
        ("t.parquet", b"", "not a whole Parquet file"),
        ("t.parquet", b"PAR1 cut short", "not a whole Parquet file"),
        ("t.xlsx", b"PK", "ends in neither .csv nor .parquet"),
        ("missing.csv", None, "cannot be read (No such file"),
        ("missing.parquet", None, "cannot be read (No such file"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: bytes | None, what: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        draft(tmp_path / name)
    assert what in caught.value.what
    assert caught.value.where == str(tmp_path / name)
    assert caught.value.mend
    for cell in ("Alice", "34", "1990", "1.5"):
        assert cell not in caught.value.what  # a file without a header would show a person


def test_storage_that_cannot_be_learned_is_a_todo(tmp_path: Path) -> None:
    zoned = pa.array([dt.datetime(2020, 1, 1)], pa.timestamp("us", "Europe/Vienna"))
    cells = pa.table({"z": zoned, "l": pa.array([[1]]), "b": pa.array([b"x"])})
    schema = draft(as_parquet(tmp_path / "t", cells)).schema
    assert 'dropped: "TODO store it without a time zone' in schema
    assert schema.count("TODO store it flat or leave it out") == 1
    assert 'b: {kind: image, size: "TODO such as [64, 64]' in schema


# --- public files --------------------------------------------------------------------------------------

PUBLIC = {
    "n": ["3", "-7", "12"],
    "x": ["0.5", "2", ""],
    "flag": ["true", "FALSE", ""],
    "day": ["2020-02-29", "2019-01-01", "2021-01-01"],
    "moment": ["2020-02-29 01:02:03.5", "2019-01-01T00:00:00", "2020-03-01 00:00"],
    "word": ["b", 'a "q", x', "b"],
    "zip": ["0100", "1200", "0100"],
    "one": ["5", "5", "5"],
    "same": ["0.5", "0.5", "0.5"],
    "none": ["", "", ""],
    "blank": ["a", " ", "b"],
}


def public_table(*, typed: bool) -> pa.Table:
    cells: dict[str, Any] = {name: [v or None for v in values] for name, values in PUBLIC.items()}
    if typed:
        cells |= {
            "n": [3, -7, 12],
            "x": [0.5, 2.0, float("nan")],
            "flag": [True, False, None],
            "day": [dt.date.fromisoformat(v) for v in PUBLIC["day"]],
            "moment": pa.array([dt.datetime.fromisoformat(v) for v in PUBLIC["moment"]], pa.timestamp("ns")),
            "one": [5, 5, 5],
            "same": [0.5, 0.5, 0.5],
        }
    return pa.table(cells)


@pytest.mark.parametrize("data_typed", [True, False])
@pytest.mark.parametrize("public_typed", [True, False])
def test_domains_come_from_a_public_file(tmp_path: Path, data_typed: bool, public_typed: bool) -> None:
    more = {"secret": pa.array(["x"], pa.string()), "l": pa.array(["x"], pa.string())}
    empty = public_table(typed=data_typed).slice(0, 0)
    for name, column in more.items():
        empty = empty.append_column(name, column.slice(0, 0))
    data = (as_parquet if data_typed else as_csv)(tmp_path / "data", empty)
    write = as_parquet if public_typed else as_csv
    drafted = draft(data, public=write(tmp_path / "census", public_table(typed=public_typed)))
    public = tmp_path / f"census.{'parquet' if public_typed else 'csv'}"
    (tmp_path / "s.yaml").write_text(drafted.schema)
    schema = load_schema(tmp_path / "s.yaml")
    assert schema.public_from == f"{public.name} {sha256(public.read_bytes())}"
    assert schema.source == "data"
    assert (schema.subject.each_row_is_a, schema.subject.a_person_has_at_most) == ("row", UNKNOWN_ROWS)
    assert schema.learned == {
        "n": Integer(min=-7, max=12),
        "x": Real(min=0.5, max=2.0, nullable=True),
        "flag": Boolean(nullable=True),
        "day": Date(min=dt.date(2019, 1, 1), max=dt.date(2021, 1, 1)),
        "moment": Datetime(min=dt.datetime(2019, 1, 1), max=dt.datetime(2020, 3, 1)),
        "word": Categorical(values=('a "q", x', "b")),
        "zip": Categorical(values=("0100", "1200")),
        "one": Categorical(values=(5,)),
    }
    for line in (
        "secret: not in the public file",
        "none: empty in",
        "blank: its public",
        "same: its public values make no",
    ):
        assert f"#   {line}" in drafted.schema


@pytest.mark.parametrize("write", [as_parquet, as_csv])
def test_the_rows_of_the_data_change_nothing_beside_a_public_file(tmp_path: Path, write: Write) -> None:
    public = as_parquet(tmp_path / "public", table(5, mark="open"))
    first = draft(write(tmp_path / "encounters", table()), public=public).schema
    assert SECRET not in first
    assert first == draft(write(tmp_path / "encounters", table(9, shift=4, mark="other")), public=public).schema
    assert parse_schema(first).columns["sex"] == Categorical(values=("open",))


def test_a_public_file_of_other_types_leaves_the_column_out(tmp_path: Path) -> None:
    data = as_parquet(tmp_path / "d", pa.table({"n": pa.array([1], pa.int64()), "w": pa.array(["x"])}))
    public = as_parquet(tmp_path / "p", pa.table({"n": ["x", "y"], "w": ["v", "w"]}))
    drafted = draft(data, public=public).schema
    assert set(parse_schema(drafted).learned) == {"w"}
    assert "n: the public file stores it as another type" in drafted


def test_too_many_texts_are_no_list(tmp_path: Path) -> None:
    data = as_parquet(tmp_path / "d", pa.table({"n": pa.array([1], pa.int64()), "w": pa.array(["x"])}))
    public = as_csv(tmp_path / "p", pa.table({"n": range(300), "w": [f"w{i}" for i in range(300)]}))
    assert set(parse_schema(draft(data, public=public).schema).learned) == {"n"}


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("missing.csv", None, "no such public file"),
        ("p.csv", b"", "not a whole table"),
        ("p.csv", b"age,sex\n1\n", "not a whole table"),
        ("p.csv", b"age\n\xff\n", "not a whole table"),
        ("p.parquet", b"PAR1", "not a whole table"),
        ("p.json", b"{}", "ends in neither .csv nor .parquet"),
        ("p.csv", b"other\n1\n", "no schema can be drafted from it (columns: no column is learned)"),
    ],
)
def test_bad_public_files(tmp_path: Path, name: str, content: bytes | None, what: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        draft(as_csv(tmp_path / "d", table()), public=tmp_path / name)
    assert what in caught.value.what
    assert caught.value.mend


def test_the_data_are_not_their_own_public_file(tmp_path: Path) -> None:
    data = as_csv(tmp_path / "d", table())
    (tmp_path / "link.csv").symlink_to(data)
    for public in (data, tmp_path / "link.csv"):
        with pytest.raises(DataError, match="the data file itself was named as public"):
            draft(data, public=public)


# --- writing -------------------------------------------------------------------------------------------


def test_three_files_are_written(tmp_path: Path) -> None:
    drafted = draft(as_csv(tmp_path / "encounters", table()))
    written = write_draft(drafted, tmp_path)
    assert [path.name for path in written] == [f"encounters.{kind}.yaml" for kind in ("schema", "policy", "study")]
    assert written[0].read_text("utf-8") == drafted.schema


@pytest.mark.parametrize("kind", ["schema", "policy", "study"])
def test_a_file_that_is_there_stays_and_nothing_is_written(tmp_path: Path, kind: str) -> None:
    (there := tmp_path / f"encounters.{kind}.yaml").write_text("mine")
    data = as_csv(tmp_path / "encounters", table())
    with pytest.raises(StorageError, match=r"the file exists; no draft was written.*--into") as caught:
        write_draft(draft(data), tmp_path)
    assert caught.value.where == str(there)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["encounters.csv", there.name])
    assert there.read_text() == "mine"


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    drafted = draft(as_csv(tmp_path / "encounters", table()))
    for folder in (tmp_path / "missing", tmp_path / "encounters.csv"):
        with pytest.raises(StorageError, match="the draft cannot be written"):
            write_draft(drafted, folder)


def test_an_interruption_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drafted = draft(as_csv(tmp_path / "encounters", table()))
    real = Path.open
    opened: list[Path] = []

    def interrupted(self: Path, *args: Any, **keywords: Any) -> Any:
        if len(opened) == 2:
            raise KeyboardInterrupt
        opened.append(self)
        return real(self, *args, **keywords)

    monkeypatch.setattr(Path, "open", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_draft(drafted, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["encounters.csv"]
