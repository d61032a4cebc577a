"""What git tracks is the project and nothing that a run wrote: no data, no keys, no folder of a mistyped command."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {".ci", "benchmarks", "docs", "examples", "policies", "privsynth", "tests"}
WRITTEN = {".parquet", ".npz", ".npy", ".png", ".jpg", ".zip", ".db", ".key", ".pem", ".safetensors", ".dcm"}
LARGEST = 2 * 2**20


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    try:
        said = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    found = [Path(name) for name in said.split("\0") if name]
    assert found
    return found


def test_folders_are_those_of_the_layout(tracked: list[Path]) -> None:
    assert {path.parts[0] for path in tracked if len(path.parts) > 1} <= FOLDERS


def test_no_data_and_no_keys(tracked: list[Path]) -> None:
    assert [str(path) for path in tracked if path.suffix in WRITTEN] == []


def test_no_large_file(tracked: list[Path]) -> None:
    there = [path for path in tracked if (ROOT / path).exists()]
    assert [str(path) for path in there if (ROOT / path).stat().st_size > LARGEST] == []
