"""The public names: each exists, each is loaded where the face says, and nothing else answers."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import privsynth as ps


@pytest.mark.parametrize("name", sorted(set(ps.__all__) - {"__version__"}))
def test_a_public_name_loads(name: str) -> None:
    assert callable(getattr(ps, name))
    assert name in dir(ps)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'synthesise'"):
        ps.synthesise  # type: ignore[attr-defined]  # noqa: B018  (that it is not there is the point)


def test_validate_can_be_called_although_its_room_has_the_same_name() -> None:
    room = importlib.import_module("privsynth.validate")
    name = "validate"
    assert getattr(ps, name) is room
    with pytest.raises(TypeError, match="required"):
        room()  # reaches validate.report.validate, which names the arguments that it lacks


def test_importing_the_face_loads_no_room() -> None:
    code = "import sys, privsynth; print(sorted(m for m in sys.modules if m.startswith('privsynth.')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_the_version_is_said_once() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["version"] == ps.__version__
