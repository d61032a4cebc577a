"""What code a figure is of, and which are kept already."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from benchmarks import records
from benchmarks.records import Record


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of one commit: code and a result."""
    results = tmp_path / "benchmarks" / "results"
    results.mkdir(parents=True)
    (tmp_path / "code.py").write_text("1\n")
    (results / "t.jsonl").write_text("")
    for words in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "x"],
    ):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    monkeypatch.setattr(records, "ROOT", tmp_path)
    monkeypatch.setattr(records, "RESULTS", results)
    return tmp_path


def record(seed: int, epsilon: float | None = 1.0) -> Record:
    return Record("t", "digits", "privsynth", epsilon, 1e-5, seed, 10, "accuracy", 90.0, "%")


def test_a_kept_figure_does_not_make_the_code_another(tree: Path) -> None:
    clean = records.commit()
    records.keep("t", [record(0)])
    records.keep("t", [record(1)])
    assert records.commit() == clean and clean and "dirty" not in clean
    (tree / "code.py").write_text("2\n")
    assert records.commit() == f"{clean}-dirty"


def test_what_is_kept_of_this_commit(tree: Path) -> None:
    records.keep("t", [record(0), record(1, None)])
    clean = records.commit()
    both = {("digits", "privsynth", 1.0, 0), ("digits", "privsynth", None, 1)}
    assert records.measured("t", at=clean) == records.measured("t") == both
    assert records.measured("t", at="0ther") == set()
    (tree / "code.py").write_text("2\n")
    records.keep("t", [record(2)])
    assert len(records.measured("t")) == 3
    assert records.measured("t", at=records.commit()) == set(), "two dirty trees may differ"
