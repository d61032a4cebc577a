"""Every order of reserve, fit, lease, gate, crash, retry and expiry keeps the books; planted faults are found.

The longer form is benchmarks/explore_ledger.py.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.ledger.explorer import (
    Broken,
    Explorer,
    Setting,
    alike,
    appended_after,
    give_back,
    last_writer_wins,
)
from tests.ledger.explorer_witness import Watch, WatchedExplorer

SETTINGS = {
    "two requests": Setting(("a", "b"), (1.0, 1.0), steps=("open_fit", "deposit")),
    "one request of two processes, and the policy ends": Setting(("a", "a"), (1.0, 1.0), expires=True),
    "a budget for one of two, and the policy ends": Setting(
        ("a", "b"), (2.5, 2.5), steps=("open_fit", "deposit", "gate", "approve"), expires=True
    ),
    "a budget for a plan of two or a hold": Setting(("a+b", "c"), (2.0, 2.0), steps=("open_fit", "deposit")),
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
        assert explorer.worlds > 300


def test_what_is_explored_reaches_every_step(explored: dict[str, Explorer]) -> None:
    databases = [database for explorer in explored.values() for database in explorer.databases]
    text = b" ".join(leaf for database in databases for leaf, _ in (*database.main, *database.attempts))
    for kind in (
        "plan",
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


# --- merged states ---------------------------------------------------------------------------------


def test_merging_loses_no_books(explored: dict[str, Explorer], tmp_path: Path) -> None:
    whole = explored["two requests"]
    merged = Explorer(replace(whole.setting, merged=True), tmp_path, whole.rules, whole)
    assert 0 < merged.explore() < whole.worlds and len(merged.databases) < len(whole.databases)
    assert {alike(one) for one in merged.databases} == {alike(one) for one in whole.databases}
    assert merged.compare_merged(every=1) > 0


def test_merging_what_is_not_the_same_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if it did not matter which request bought a hold."""
    monkeypatch.setattr("tests.ledger.explorer.alike", lambda database: (len(database.main), len(database.attempts)))
    explorer = Explorer(replace(LITTLE, epsilons=(2.5, 1.0), merged=True), tmp_path)
    explorer.broken = lambda world: ""  # type: ignore[method-assign]
    explorer.worsened = lambda before, after: ""  # type: ignore[method-assign]
    explorer.explore()
    with pytest.raises(Broken, match="what was merged is not the same"):
        explorer.compare_merged(every=1)


# --- with a witness --------------------------------------------------------------------------------

WATCHED = Watch(("a", "b"), (2.5, 2.5), steps=("open_fit",), crashes=0)


@pytest.mark.parametrize(
    "setting",
    [WATCHED, Watch(("a",), (1.0,), steps=("open_fit", "lease 1", "deposit")), replace(WATCHED, steps=(), crashes=1)],
    ids=["a budget for one of two, a fit", "one request, a training, a crash", "two reserve, a crash each"],
)
def test_a_witness_gives_and_sells_nothing_twice(setting: Watch, tmp_path: Path) -> None:
    """Also where yesterday's file is put back at any moment."""
    explorer = WatchedExplorer(setting, tmp_path)
    assert explorer.explore() > 300
    sys.stdout.write(f"{explorer.worlds:,} states, {explorer.actions:,} actions, {len(explorer.databases):,} books\n")
    assert False in explorer.verdicts and True in explorer.verdicts


@pytest.mark.parametrize(
    ("fault", "what", "steps"),
    [
        ({"acknowledges": False}, "given before the witness had it", 4),
        ({"asks": False}, "set back was opened", 8),
        ({"compares": False}, "given before the witness had it", 7),
        ({"acknowledges": False, "steps": ()}, "given before the witness had it", 4),
    ],
    ids=["given too early", "opened without asking", "shown what is there, not what was written", "sold too early"],
)
def test_a_planted_fault_of_the_witness_is_found(fault: dict[str, Any], what: str, steps: int, tmp_path: Path) -> None:
    with pytest.raises(Broken, match=what) as found:
        WatchedExplorer(replace(WATCHED, crashes=1, **fault), tmp_path).explore()
    assert len(found.value.path) <= steps
    sys.stdout.write(f"{found.value}\n")
