"""What the documentation points at exists."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
INVARIANTS = (ROOT / "docs/invariants.md").read_text("utf-8")


def functions(path: str) -> set[str]:
    """The names of all functions and classes of the file at ``path``."""
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}


@pytest.mark.parametrize("named", sorted(set(re.findall(r"`(tests/[\w/]+\.py(?:::\w+)?)`", INVARIANTS))))
def test_a_test_named_by_the_invariants_exists(named: str) -> None:
    path, _, function = named.partition("::")
    assert (ROOT / path).is_file()
    assert not function or function in functions(path)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`(\w[\w/]*\.py)`", INVARIANTS))))
def test_a_place_named_by_the_invariants_exists(path: str) -> None:
    assert (ROOT / path).is_file() or (ROOT / "privsynth" / path).is_file()


def test_each_direct_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    names = {Requirement(line).name for group in groups for line in group} - {"privsynth"}
    text = (ROOT / "docs/dependencies.md").read_text("utf-8")
    assert sorted(name for name in names if name not in text) == []


def test_each_direct_dependency_but_torch_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    wanted = {Requirement(line).name.lower().replace("_", "-") for group in groups for line in group}
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines if "==" in line}
    assert wanted - pinned == {"privsynth", "torch"}
