"""A study of rows with pictures, by the command line: plan, run, look, sample again, and what is refused."""

from __future__ import annotations

import io
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from privsynth.errors import ConditionError, StudyError
from privsynth.generators.images.statistics import ImageStatistics
from privsynth.pipeline.study import load_study
from privsynth.release.c2pa_mark import Chain
from privsynth.release.verify import verify
from privsynth.signing import Trust, new_key, write_trust
from tests.desk import cli
from tests.release.certificates import certified, key_file, pem

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits"


def as_png(picture: Any) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(picture).save(sink, "PNG")
    return sink.getvalue()


@pytest.fixture(scope="module")
def laid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's folder with its data; the second row's picture is none."""
    folder = tmp_path_factory.mktemp("digits")
    shutil.copytree(EXAMPLE, folder, dirs_exist_ok=True)
    bundle: Any = load_digits()
    pixels = (bundle.images * 15.9375).astype(np.uint8)
    scans = [as_png(picture) for picture in pixels]
    scans[1] = scans[1][:40]
    frame = pd.DataFrame({"person": [f"d{i}" for i in range(len(pixels))], "digit": bundle.target})
    frame.assign(even=bundle.target % 2 == 0, scan=scans).to_parquet(folder / "digits.parquet", index=False)
    write_trust(folder / "trust.json", Trust.of(new_key(folder / "release.key", name="example")))
    return folder


@pytest.fixture(scope="module")
def ended(laid: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, run to its release."""
    folder = tmp_path_factory.mktemp("ended") / "digits"
    shutil.copytree(laid, folder)
    said = cli("run", folder / "study.yaml", "--json")
    assert said.code == 0, said.err
    return folder


def test_the_generator_becomes_the_recipe(laid: Path) -> None:
    recipe = load_study(laid / "study.yaml").recipe
    assert isinstance(recipe, ImageStatistics)
    assert (recipe.by, recipe.side, recipe.aligned, recipe.budget.epsilon) == (("digit",), None, True, 3.0)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("by: [digit]", "by: [person]", "cannot depend on person"),
        ("by: [digit]", "side: 2", "side is 2"),
        ("by: [digit]", "target: digit", "unknown key 'target'"),
        ("kind: image-statistics", "kind: pictures", "'pictures' is not known"),
    ],
)
def test_a_generator_that_cannot_be_is_told_at_its_line(
    laid: Path, tmp_path: Path, old: str, new: str, what: str
) -> None:
    folder = tmp_path / "digits"
    shutil.copytree(laid, folder)
    text = (folder / "study.yaml").read_text()
    (folder / "study.yaml").write_text(text.replace(old, new))
    said = cli("plan", folder / "study.yaml")
    assert said.code == 2
    assert what in said.err
    assert "study.yaml:10" in said.err
    with pytest.raises(StudyError) if "unknown" in what or "known" in what else pytest.raises(Exception, match=what):
        load_study(folder / "study.yaml")


@pytest.mark.parametrize("asked", ["where: {scan: there}", 'balance: {scan: {there: 0.9, "null": 0.1}}'])
def test_a_study_may_ask_for_rows_with_pictures(laid: Path, tmp_path: Path, asked: str) -> None:
    folder = tmp_path / "digits"
    shutil.copytree(laid, folder)
    changes = {"schema": ("mode: L}", "mode: L, nullable: true}"), "study": ("balance: {digit: equal}", asked)}
    for name, (old, new) in changes.items():
        text = (folder / f"{name}.yaml").read_text()
        assert old in text
        (folder / f"{name}.yaml").write_text(text.replace(old, new))
    study = load_study(folder / "study.yaml")
    assert {**study.condition(), **study.balance()}.keys() == {"scan"}
    (folder / "schema.yaml").write_text((laid / "schema.yaml").read_text())
    with pytest.raises(ConditionError):
        load_study(folder / "study.yaml")


def test_a_plan_says_what_pictures_to_expect(laid: Path) -> None:
    said = cli("plan", laid / "study.yaml")
    assert said.code == 0, said.err
    assert "the mean picture of a value of digit stands" in said.out
    told = cli("plan", laid / "study.yaml", "--json").json
    assert len(told["outlook"]) == 1
    assert not (laid / "ledger.db").exists()


def test_a_price_that_drowns_the_pictures_is_refused_before_it_is_paid(laid: Path, tmp_path: Path) -> None:
    folder = tmp_path / "digits"
    shutil.copytree(laid, folder)
    text = (folder / "study.yaml").read_text()
    (folder / "study.yaml").write_text(text.replace("epsilon: 3.0", "epsilon: 0.1"))
    for command in ("plan", "run"):
        said = cli(command, folder / "study.yaml")
        assert said.code == 2
        assert "would be noise" in said.err
        assert "study.yaml:10" in said.err
    assert not (folder / "ledger.db").exists()


def test_data_check_lists_what_is_no_picture(laid: Path) -> None:
    said = cli("data", "check", laid / "digits.parquet", "--schema", laid / "schema.yaml", "--json")
    assert said.code == 0
    assert said.json["faults"] == [{"column": "scan", "rule": "drop", "rows": 1, "first": [1]}]


def test_a_run_ends_in_a_verified_release_with_pictures(ended: Path) -> None:
    found = verify(ended / "release", trust=ended / "trust.json", recipient="research-group")
    assert found.rows == 2000
    table = pd.read_parquet(found.folder / "data" / "table.parquet")
    assert set(table["digit"].value_counts()) == {200}
    with zipfile.ZipFile(found.folder / "data" / "scan.zip") as archive:
        assert archive.namelist() == table["scan"].tolist()
        with Image.open(io.BytesIO(archive.read("scan/0001.png"))) as picture:
            assert (picture.size, picture.mode) == ((8, 8), "L")
    with Image.open(found.folder / "pictures.png") as sheet:
        assert sheet.size > (100, 100)


def test_the_same_study_again_pays_nothing_and_goes_on_from_its_transcript(ended: Path, tmp_path: Path) -> None:
    folder = tmp_path / "again"
    shutil.copytree(ended, folder)
    first = (folder / "release" / "data" / "scan.zip").read_bytes()
    shutil.rmtree(folder / "release")
    shutil.rmtree(folder / "model")
    said = cli("run", folder / "study.yaml")
    assert said.code == 0, said.err
    verify(folder / "release", trust=folder / "trust.json")
    assert (folder / "release" / "data" / "scan.zip").read_bytes() == first


def test_more_of_one_kind_is_drawn_free(ended: Path) -> None:
    out = ended / "threes"
    said = cli("sample", ended / "study.yaml", "--rows", "50", "--where", "digit=3", "--seed", "2", "--out", out)
    assert said.code == 0, said.err
    table = pd.read_csv(out / "data" / "table.csv")
    assert set(table["digit"]) == {3}
    assert verify(out, trust=ended / "trust.json").rows == 50


def test_what_is_free_with_a_saved_model(ended: Path, tmp_path: Path) -> None:
    assert cli("inspect", ended / "model", "--quiet").code == 0
    said = cli("transcript", ended / "model", "--out", tmp_path / "told", "--json")
    assert said.code == 0, said.err


def test_pictures_are_signed_where_the_study_says_so(ended: Path, tmp_path: Path) -> None:
    """Of an approved model too; a policy that asks for it refuses a study that does not, before anything is paid."""
    pytest.importorskip("c2pa", reason="c2pa-python is not installed")
    folder = tmp_path / "signed"
    shutil.copytree(ended, folder)
    root = certified("authority")
    leaf = certified("pictures", root)
    (folder / "chain.pem").write_bytes(pem(leaf, root))
    key_file(folder / "leaf.key", leaf)
    study, policy = folder / "study.yaml", folder / "policy.yaml"
    text = study.read_text()
    study.write_text(
        text.replace("{key: release.key}", "{key: release.key, c2pa: {certificate: chain.pem, key: leaf.key}}")
    )
    out = folder / "signed"
    said = cli("sample", study, "--rows", "20", "--seed", "2", "--out", out)
    assert said.code == 0, said.err
    told = cli("verify", out, "--trust", folder / "trust.json", "--json").json["c2pa"]
    assert told == {"certificate": Chain.of(pem(leaf, root)).fingerprint, "read": True}
    assert "C2PA manifest" in cli("verify", out, "--trust", folder / "trust.json").out

    policy.write_text(policy.read_text() + "images: {biometric use: forbidden, mark synthetic: [iptc, c2pa]}\n")
    for ledger in folder.glob("ledger*"):
        ledger.unlink()
    assert cli("plan", study).code == 0
    (folder / "leaf.key").chmod(0o644)
    shutil.rmtree(folder / "release")
    shutil.rmtree(folder / "model")
    assert (cli("run", study, "--json").json["error"], list(folder.glob("ledger*"))) == ("KeyFileError", [])
    study.write_text(text)
    for verb in ("plan", "run"):
        refused = cli(verb, study, "--json")
        assert (refused.code, refused.json["refused_by"]) == (1, ["PS-IMG-002"]), refused.err
