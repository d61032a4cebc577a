"""Tables whose rows carry pictures → Records."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from privsynth.data.schema import Schema
from privsynth.data.tables import check_images, read_images, read_table
from privsynth.errors import DataError, SchemaError
from privsynth.generators.marginals import Marginals
from privsynth.privacy.budget import Budget
from tests.data import made
from tests.data.test_pictures import grey, stored

PIXELS = np.random.default_rng(2).integers(0, 256, (6, 4, 4), dtype=np.uint8)


def schema(**image: Any) -> Schema:
    columns = {
        "person": {"kind": "identifier"},
        "ill": {"kind": "boolean"},
        "scan": {"kind": "image", "size": [4, 4], **image},
    }
    return made.schema(columns)


def frame(scans: list[Any]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "person": [f"p{i}" for i in range(len(scans))],
            "ill": [i % 2 == 0 for i in range(len(scans))],
            "scan": pd.Series(scans, dtype=pd.ArrowDtype(pa.binary() if isinstance(scans[0], bytes) else pa.string())),
        }
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i, pixels in enumerate(PIXELS):
        (tmp_path / f"{i}.png").write_bytes(stored(grey(pixels)))
    frame([f"{i}.png" for i in range(6)]).to_csv(tmp_path / "scans.csv", index=False)
    return tmp_path


def test_a_folder_with_its_table(folder: Path) -> None:
    records = read_images(folder, schema())
    assert np.array_equal(records.pictures["scan"].pixels, PIXELS)
    assert list(records.frame.columns) == ["ill"]
    assert records.subjects.tolist() == [f"p{i}" for i in range(6)]
    assert np.array_equal(read_images(folder / "scans.csv", schema()).pictures["scan"].pixels, PIXELS)


def test_pictures_inside_a_parquet_file(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pandas(frame([stored(grey(p)) for p in PIXELS])), tmp_path / "t.parquet")
    assert np.array_equal(read_images(tmp_path / "t.parquet", schema()).pictures["scan"].pixels, PIXELS)


def test_arrays_beside_a_frame() -> None:
    bare = frame(["x"] * 6).drop(columns="scan")
    assert np.array_equal(read_images(bare, schema(), arrays={"scan": PIXELS}).pictures["scan"].pixels, PIXELS)
    numbered = bare.assign(scan=[5, 4, 3, 2, 1, 9])
    records = read_images(numbered, schema(), arrays={"scan": PIXELS})
    assert np.array_equal(records.pictures["scan"].pixels, PIXELS[[5, 4, 3, 2, 1]])
    assert records.faults == {("scan", "drop"): 1}


def test_a_picture_that_cannot_be_read_loses_its_row(folder: Path) -> None:
    (folder / "2.png").write_bytes(b"torn")
    records = read_images(folder, schema())
    assert records.subjects.tolist() == ["p0", "p1", "p3", "p4", "p5"]
    assert np.array_equal(records.pictures["scan"].pixels, PIXELS[[0, 1, 3, 4, 5]])
    (fault,) = check_images(folder, schema())
    assert (fault.column, fault.rule, fault.rows, fault.first) == ("scan", "drop", 1, (2,))


def test_where_a_picture_may_be_missing_the_row_stays(folder: Path) -> None:
    (folder / "2.png").write_bytes(b"torn")
    records = read_images(folder, schema(nullable=True))
    assert records.pictures["scan"].missing.tolist() == [False, False, True, False, False, False]
    assert records.faults == {("scan", "null"): 1}
    assert len(read_images(folder, schema(nullable=True, outside="drop")).frame) == 5


@pytest.mark.parametrize("nullable", [True, False])
def test_a_row_without_a_picture(nullable: bool) -> None:
    records = read_images(frame([stored(grey()), None]), schema(nullable=nullable))
    assert len(records.frame) == (2 if nullable else 1)


def test_no_path_leaves_the_folder(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "secret.png"
    outside.write_bytes(stored(grey()))
    os.symlink(outside, folder / "link.png")
    paths = [str(outside), f"../{outside.parent.name}/secret.png", "link.png", "0.png", "a\0b", "/dev/zero"]
    frame(paths).to_csv(folder / "scans.csv", index=False)
    assert read_images(folder, schema()).subjects.tolist() == ["p3"]


def test_rows_that_are_subjects_are_named_by_their_pictures_too() -> None:
    declared = made.schema({"ill": {"kind": "boolean"}, "scan": {"kind": "image", "size": [4, 4]}}, subject=made.BY_ROW)
    same = pd.DataFrame({"ill": [True] * 3})
    twice = PIXELS[[0, 1, 0]]
    ids = read_images(same, declared, arrays={"scan": twice}).subjects.tolist()
    assert ids[0].partition(":")[0] == ids[2].partition(":")[0] != ids[1].partition(":")[0]
    assert [i.partition(":")[2] for i in ids] == ["0", "0", "1"]


def test_a_schema_of_pictures_alone_is_read() -> None:
    declared = made.schema({"scan": {"kind": "image", "size": [4, 4]}}, subject=made.BY_ROW)
    records = read_images(pd.DataFrame(index=range(6)), declared, arrays={"scan": PIXELS})
    assert len(records.subjects) == 6


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"scan": PIXELS[:5]}, "5 pictures of 'scan' for 6 rows"),
        ({"scan": PIXELS.astype(float)}, "no array of uint8"),
        ({"scan": PIXELS[0]}, "3 or 4 dimensions"),
        ({"scan": np.zeros((6, 4, 4, 4), np.uint8)}, "are of 4 × 4 × 4"),
        ({"scan": np.zeros((6, 0, 4), np.uint8)}, "are of 0 × 4"),
        ({"ill": PIXELS}, "'ill' holds no pictures"),
    ],
)
def test_arrays_that_do_not_fit(given: dict[str, Any], what: str) -> None:
    with pytest.raises(DataError, match=what):
        read_images(frame(["x"] * 6).drop(columns="scan"), schema(), arrays=given)


@pytest.mark.parametrize(
    ("scans", "given", "what"),
    [
        ([0, 1, None], {}, "holds numbers, and `arrays`"),
        (["0.png", None, "2.png"], {}, "holds paths, and there is no folder"),
        (["0", "1", None], {"arrays": {"scan": PIXELS}}, "holds no numbers, and `arrays`"),
        ([b"torn", b"", None], {"arrays": {"scan": PIXELS}}, "holds no numbers, and `arrays`"),
    ],
    ids=["numbers", "paths", "text beside arrays", "bytes beside arrays"],
)
def test_columns_that_could_name_no_picture(scans: list[Any], given: dict[str, Any], what: str) -> None:
    """Structure, told by type alone: otherwise each row's picture would be a fault of its content."""
    kind: Any = pd.ArrowDtype(pa.array(scans).type)
    table = frame(["x"] * 3).assign(scan=pd.Series(scans, dtype=kind))
    with pytest.raises(DataError, match=what):
        read_images(table, schema(nullable=True), **given)


@pytest.mark.parametrize("kind", [pa.int64(), pa.string(), pa.binary(), pa.float64(), pa.null()], ids=str)
@pytest.mark.parametrize("given", [{}, {"arrays": {"scan": PIXELS}}], ids=["alone", "beside arrays"])
def test_a_column_of_nulls_may_be_of_any_type(kind: pa.DataType, given: dict[str, Any]) -> None:
    table = frame(["x"] * 3).assign(scan=pd.Series([None] * 3, dtype=pd.ArrowDtype(kind)))
    assert read_images(table, schema(nullable=True), **given).pictures["scan"].missing.all()


def test_other_faults_of_structure(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(DataError, match="has no pictures"):
        read_images(frame(["x"]), made.schema({"person": {"kind": "identifier"}, "ill": {"kind": "boolean"}}))
    with pytest.raises(DataError, match="read it by `read_images`"):
        read_table(folder / "scans.csv", schema())
    (folder / "other.csv").write_text("a\n1\n")
    with pytest.raises(DataError, match="2 tables in the folder"):
        read_images(folder, schema())
    with pytest.raises(DataError, match="not a folder"):
        read_images(folder / "scans.csv", schema(), folder=tmp_path / "missing")
    with pytest.raises(DataError, match="declared image but stored as double"):
        read_images(frame(["x"]).assign(scan=[1.5]), schema())


def test_a_recipe_for_tables_refuses_pictures() -> None:
    with pytest.raises(SchemaError, match="scan"):
        Marginals(schema(), Budget(1.0, 1e-9))
