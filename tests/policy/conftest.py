"""What the tests of the policy room share: the shipped policies, and one edit of them at a time."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from privsynth.policy.document import Policy, load_policy, parse_policy

FOLDER = Path(__file__).resolve().parents[2] / "policies"
Edit = Callable[..., Policy]


def alone(text: str) -> str:
    """A policy's text without its parent."""
    return re.sub(r"(?m)^extends:.*\n", "", text)


@pytest.fixture
def policies() -> Path:
    """The folder of the shipped policies."""
    return FOLDER


@pytest.fixture
def policies_text() -> str:
    """healthcare.yaml without its parent, as text."""
    return alone((FOLDER / "healthcare.yaml").read_text())


@pytest.fixture
def healthcare() -> Policy:
    """policies/healthcare.yaml."""
    return load_policy(FOLDER / "healthcare.yaml")


@pytest.fixture
def edited() -> Edit:
    """healthcare.yaml (or another) with texts replaced: ``edited(("old", "new"), ..., of="finance")``."""

    def edit(*changes: tuple[str, str], of: str = "healthcare") -> Policy:
        text = alone((FOLDER / f"{of}.yaml").read_text())
        for old, new in changes:
            assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times"
            text = text.replace(old, new)
        return parse_policy(text.encode(), path="policy.yaml")

    return edit
