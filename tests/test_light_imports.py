"""What a receiver, an officer or a ledger needs must load without the heavy packages."""

from __future__ import annotations

import subprocess
import sys

import pytest

BLOCKER = """
import sys
from importlib.abc import MetaPathFinder

class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"{{name}} is blocked by this test", name=name)
        return None

sys.meta_path.insert(0, Absent())
"""
TENSORS_AND_FRAMES = {"torch", "pandas", "pyarrow", "sklearn", "safetensors", "opacus", "statsmodels", "matplotlib"}
NUMBERS = {"numpy", "scipy", "dp_accounting", "mpmath"}


def load(modules: list[str], absent: set[str]) -> subprocess.CompletedProcess[str]:
    """Import ``modules`` in a fresh interpreter in which ``absent`` packages cannot be imported."""
    code = BLOCKER.format(absent=absent) + "".join(f"import {module}\n" for module in modules)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        (
            [
                "privsynth",
                "privsynth.release.verify",
                "privsynth.release.cosign",
                "privsynth.release.sealed",
                "privsynth.signing",
            ],
            TENSORS_AND_FRAMES | NUMBERS | {"pyrage"},
        ),
        (["privsynth.release.manifest"], TENSORS_AND_FRAMES),
        (["privsynth.policy.document", "privsynth.policy.decide"], TENSORS_AND_FRAMES),
        (["privsynth.ledger.store"], TENSORS_AND_FRAMES),
        (["privsynth.cli"], TENSORS_AND_FRAMES),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else f"without {len(value)} packages",
)
def test_loads_without(modules: list[str], absent: set[str]) -> None:
    done = load(modules, absent)
    assert done.returncode == 0, done.stderr


def test_the_blocker_blocks() -> None:
    done = load(["numpy"], NUMBERS)
    assert done.returncode != 0
    assert "numpy is blocked by this test" in done.stderr
