"""A fit that was cut off goes on: nothing is bought twice, no step runs twice, and lost steps stay spent."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from privsynth.errors import HoldError, MemoryShort
from privsynth.generators.training import CheckpointFiles
from privsynth.ledger.store import Hold
from privsynth.privacy.dpsgd.sums import Sums
from privsynth.privacy.events import Provenance
from privsynth.privacy.noise import SeededNoise
from tests.generators.autoregressive.conftest import ODD, Desk, desk, odd_rows
from tests.generators.images.test_diffusion import Killed, Until

ROOT = Path(__file__).parents[3]
STEPS = 8
SMALL: dict[str, Any] = {"steps": STEPS, "hidden": 4, "batch": 50}

# Fits by the hold whose id it is told, and is killed by a signal that nothing can catch once it took so many steps.
KILLER = """
import os, signal, sys
from pathlib import Path
from privsynth.generators.training import CheckpointFiles
from privsynth.privacy.dpsgd.state import State
from tests.generators.autoregressive.test_going_on import laid

folder, hold, steps = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
step, taken = State.step, []

def last(state, gradient, **rates):
    step(state, gradient, **rates)
    taken.append(None)
    if len(taken) == steps:
        os.kill(os.getpid(), signal.SIGKILL)

State.step = last
at = laid(folder)
at.recipe.fit(at.split.train, at.ledger.hold(hold), checkpoints=CheckpointFiles(folder / "kept", hold))
"""


def laid(folder: Path) -> Desk:
    """The desk of these tests in ``folder``; a ledger that lies there already is used again."""
    return desk(folder, ODD, odd_rows(600), **SMALL)


@pytest.fixture
def at(tmp_path: Path) -> Desk:
    return laid(tmp_path)


@dataclass
class ByStep:
    """Noise and coins that are known by the step that was leased for them: for who compares two fits of one hold's
    terms, step by step."""

    hold: Hold
    bits: SeededNoise = field(default_factory=lambda: SeededNoise(1))
    step: int = 0

    def _turned(self) -> SeededNoise:
        if self.step != (now := self.hold.leased):
            self.step, self.bits = now, SeededNoise(1000 + now)
        return self.bits

    def add(self, exact: NDArray[np.int64], *, sigma: float) -> NDArray[np.int64]:
        return self._turned().add(exact, sigma=sigma)

    def words(self, count: int) -> NDArray[np.uint64]:
        return self._turned().words(count)

    @property
    def provenance(self) -> Provenance:
        return "seeded"


# --- kill -9 -------------------------------------------------------------------------------------


def test_killed_in_its_steps_it_goes_on_where_it_may(at: Desk, tmp_path: Path) -> None:
    """Killed in its fifth step: four are kept, the fifth was leased and is lost, and the tables are those of before."""
    hold = at.hold()
    done = subprocess.run(
        [sys.executable, "-c", KILLER, str(tmp_path), hold.id, "5"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert hold.leased == 5
    kept = CheckpointFiles(tmp_path / "kept", hold.id)
    step, tensors = kept.newest() or (0, {})
    assert step == 4
    with pytest.raises(HoldError, match="opened for a fit before"):
        at.recipe.fit(at.split.train, hold)
    model = at.recipe.fit(at.split.train, hold, checkpoints=kept)
    assert model.transcript.steps_run == STEPS - 1
    assert hold.leased == STEPS
    assert model.transcript.table.to_bytes() == tensors["bought"].numpy().tobytes()
    assert hold.transcript() == model.transcript.to_bytes()
    assert model.receipt.noise == "os-secure"
    assert kept.newest() is None, "what is kept of the fit is its transcript"
    assert model.refits()


# --- the same steps ------------------------------------------------------------------------------


def test_cut_off_between_steps_it_ends_as_if_it_had_not_been(at: Desk, tmp_path: Path) -> None:
    """With noise that is the same for the same step: tables, steps and weights of both fits are equal, bit for bit."""
    whole, parted = at.hold(), at.hold()
    kept = CheckpointFiles(tmp_path / "parted", parted.id)
    asked: dict[str, Any] = {"checkpoints": kept}
    through = at.recipe.fit(at.split.train, whole, noise=ByStep(whole))
    with pytest.raises(Killed):
        at.recipe.fit(at.split.train, parted, noise=ByStep(parted), progress=Until(2), **asked)
    assert parted.leased == 3
    found = at.recipe.fit(at.split.train, parted, noise=ByStep(parted), **asked)
    assert found.transcript.steps_run == through.transcript.steps_run == STEPS
    assert found.transcript.to_bytes() == through.transcript.to_bytes()


def test_no_step_is_taken_twice_whoever_puts_an_old_checkpoint_back(
    at: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two go on from copies of one state: no step is both's; once a transcript is there nobody trains on."""
    hold, ran = at.hold(), list[int]()
    kept = CheckpointFiles(tmp_path / "kept", hold.id)
    over = Sums.over

    def seen(sums: Sums, chosen: NDArray[np.int64]) -> Tensor:
        ran.append(hold.leased)
        return over(sums, chosen)

    monkeypatch.setattr(Sums, "over", seen)
    with pytest.raises(Killed):
        at.recipe.fit(at.split.train, hold, checkpoints=kept, progress=Until(1))
    for name in ("first", "second"):
        shutil.copytree(kept.folder, tmp_path / name)
    with pytest.raises(Killed):
        at.recipe.fit(at.split.train, hold, checkpoints=CheckpointFiles(tmp_path / "first", hold.id), progress=Until(2))
    at.recipe.fit(at.split.train, hold, checkpoints=CheckpointFiles(tmp_path / "second", hold.id))
    assert ran == list(range(1, STEPS + 1))
    with pytest.raises(HoldError, match="trains no more"):
        at.recipe.fit(at.split.train, hold, checkpoints=kept)
    assert ran == list(range(1, STEPS + 1))


def test_a_lease_that_forgets_is_what_the_test_above_finds(
    at: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: a hold whose lease begins anew with every process would let a step run again, with noise of its own."""
    hold, ran = at.hold(), list[int]()
    kept = CheckpointFiles(tmp_path / "kept", hold.id)

    def forgetful(self: Hold, through: int) -> int:
        ran.append(through)
        return through

    for _ in range(2):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(Hold, "lease", forgetful)
            at.recipe.fit(at.split.train, hold, checkpoints=kept, progress=Until(0))
    assert len(ran) > len(set(ran))


# --- what it goes on with ------------------------------------------------------------------------


def test_it_goes_on_with_its_own_state_and_with_nothing_else(at: Desk, tmp_path: Path) -> None:
    hold = at.hold()
    kept = CheckpointFiles(tmp_path / "kept", hold.id)
    with pytest.raises(Killed):
        at.recipe.fit(at.split.train, hold, checkpoints=kept, progress=Until(0))
    leased = hold.leased
    with pytest.raises(HoldError, match="another fit"):
        at.recipe.fit(at.split.train, hold, checkpoints=kept, noise=SeededNoise(1))
    with pytest.raises(HoldError, match="another fit"):
        at.recipe.fit(replace(at.split.train, purpose="teaching"), hold, checkpoints=kept)
    with pytest.raises(HoldError, match="another ledger"):
        at.recipe.fit(replace(at.split.train, coins="0" * 64), hold, checkpoints=kept)
    other = replace(at.recipe, levels=4)
    with pytest.raises(HoldError):
        other.fit(at.split.train, hold, checkpoints=kept)
    assert hold.leased == leased, "nothing ran"
    assert at.recipe.fit(at.split.train, hold, checkpoints=kept).receipt.hold == hold.id


@pytest.mark.parametrize("goes_on", [True, False])
def test_memory_that_runs_out_says_what_becomes_of_the_hold(
    at: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, goes_on: bool
) -> None:
    hold = at.hold()
    kept = CheckpointFiles(tmp_path / "kept", hold.id) if goes_on else None

    def full(*given: Any, **more: Any) -> Mapping[str, Tensor]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(Sums, "over", full)
        with pytest.raises(MemoryShort) as told:
            at.recipe.fit(at.split.train, hold, checkpoints=kept)
    assert ("run the same command again" if goes_on else "this hold is lost") in str(told.value)
    if goes_on:
        assert at.recipe.fit(at.split.train, hold, checkpoints=kept).transcript.steps_run == STEPS - 1
