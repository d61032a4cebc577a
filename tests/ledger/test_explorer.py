"""Every order of reserve, fit, lease, gate, crash, retry and expiry keeps the books; planted faults are found.

The longer form is benchmarks/explore_ledger.py.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.ledger.explorer import (
    Broken,
    Explorer,
    Setting,
    appended_after,
    give_back,
    last_writer_wins,
)

SETTINGS = {
    "two requests": Setting(("a", "b"), (1.0, 1.0), steps=("open_fit", "deposit")),
    "one request of two processes, and the policy ends": Setting(("a", "a"), (1.0, 1.0), expires=True),
    "a budget for one of two, and the policy ends": Setting(
        ("a", "b"), (2.5, 2.5), steps=("open_fit", "deposit", "gate", "approve"), expires=True
    ),
}
LITTLE = Setting(("a", "b"), (1.0, 1.0), steps=("open_fit",))


@pytest.fixture(scope="module")
def explored(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Explorer]:
    """Each setting, all its worlds gone through."""
    explorers = {name: Explorer(setting, tmp_path_factory.mktemp("key")) for name, setting in SETTINGS.items()}
    for explorer in explorers.values():
        explorer.explore()
    return explorers


def test_every_state_keeps_the_books(explored: dict[str, Explorer]) -> None:
    for name, explorer in explored.items():
        told = f"{explorer.worlds:,} states, {explorer.actions:,} actions, {len(explorer.databases):,} books"
        sys.stdout.write(f"{name}: {told}\n")
        assert explorer.worlds > 1000


def test_what_is_explored_reaches_every_step(explored: dict[str, Explorer]) -> None:
    databases = [database for explorer in explored.values() for database in explorer.databases]
    text = b" ".join(leaf for database in databases for leaf, _ in (*database.main, *database.attempts))
    for kind in (
        "reserve",
        "fit",
        "lease",
        "measured",
        "approve",
        "disclose",
        "gate",
        "refused",
        "denied",
        "exhausted",
    ):
        assert f'"kind":"{kind}"'.encode() in text, kind


@pytest.mark.parametrize(
    ("fault", "what"),
    [
        (lambda setting: replace(setting, crash=give_back), "spent has fallen"),
        (
            lambda setting: replace(setting, exclusive=False, commit=last_writer_wins),
            "has fallen|was lost|is not there",
        ),
        (lambda setting: replace(setting, exclusive=False, commit=appended_after), "does not follow"),
        (lambda setting: replace(setting, answers_early=True), "is not there"),
    ],
    ids=["give back on crash", "no lock: the last writer wins", "no lock: both are appended", "handed out too early"],
)
def test_a_planted_fault_is_found(fault: Callable[[Setting], Setting], what: str, tmp_path: Path) -> None:
    with pytest.raises(Broken, match=what) as found:
        Explorer(fault(LITTLE), tmp_path).explore()
    assert 1 <= len(found.value.path) <= 6
    sys.stdout.write(f"{found.value}\n")


def test_rows_that_are_read_before_the_commit_are_found(tmp_path: Path) -> None:
    """An early answer to the reservation itself is no harm where nobody crashes; one to open_fit is."""
    explorer = Explorer(replace(LITTLE, requests=("a",), epsilons=(1.0,), answers_early=True), tmp_path)
    explorer.broken = lambda world: "" if not world.reads else Explorer.broken(explorer, world)  # type: ignore[method-assign]
    with pytest.raises(Broken, match="without a durable entry"):
        explorer.explore()
