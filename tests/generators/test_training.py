"""Checkpoints: one at a time, whole or not there, for one hold. Leases: a training resumed through a real ledger."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from torch import Tensor

from privsynth.errors import HoldError, ModelError, StorageError
from privsynth.generators.training import CheckpointFiles, Leased
from privsynth.ledger.hold import Hold
from privsynth.privacy.dpsgd import Trained, train
from tests.ledger.world import USE, opened, recipe
from tests.pipes import not_waiting, pipe
from tests.privacy.dpsgd.toy import Rows, cross_entropy, plan, random_rows, small

STATE = {"weights/a": torch.arange(6.0).reshape(2, 3), "count": torch.tensor([3])}


def files(tmp_path: Path, hold: str = "h") -> CheckpointFiles:
    return CheckpointFiles(tmp_path / "deep" / "checkpoints", hold)


def names(kept: CheckpointFiles) -> list[str]:
    return sorted(path.name for path in kept.folder.iterdir())


def test_the_newest_comes_back_and_older_ones_are_gone(tmp_path: Path) -> None:
    kept = files(tmp_path)
    assert kept.newest() is None
    kept.save(3, {**STATE, "count": torch.tensor([1])})
    kept.save(20, STATE)
    assert names(kept) == ["step-0000020.safetensors"]
    found = kept.newest()
    assert found is not None
    step, tensors = found
    assert step == 20
    assert {n: t.tolist() for n, t in tensors.items()} == {n: t.tolist() for n, t in STATE.items()}
    kept.clear()
    assert kept.newest() is None


def test_only_the_owner_may_read_them(tmp_path: Path) -> None:
    kept = files(tmp_path)
    kept.save(1, STATE)
    assert stat.S_IMODE((kept.folder / names(kept)[0]).stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.folder.stat().st_mode) == 0o700


def test_a_write_that_broke_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = files(tmp_path)
    kept.save(1, STATE)

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(StorageError, match="No space left"):
        kept.save(2, STATE)
    monkeypatch.undo()
    assert (kept.newest() or (0,))[0] == 1
    kept.save(3, STATE)
    assert names(kept) == ["step-0000003.safetensors"]


def test_two_processes_write_each_its_own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one has written and not yet renamed, another writes: both are whole, and the highest step stays."""
    kept, other, rename = files(tmp_path), files(tmp_path), Path.replace

    def slow(self: Path, target: Path) -> Path:
        monkeypatch.undo()
        other.save(4, {"w": torch.full((1000,), 4.0)})
        assert len(list(kept.folder.glob("half*"))) == 1
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", slow)
    kept.save(3, {"w": torch.full((7,), 3.0)})
    step, tensors = kept.newest() or (0, {})
    assert (step, tensors["w"].tolist()) == (4, [4.0] * 1000)
    other.save(5, STATE)
    assert names(kept) == ["step-0000005.safetensors"]


def test_a_checkpoint_that_another_process_deletes_is_not_a_broken_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = files(tmp_path)
    kept.save(1, STATE)
    listed, first = CheckpointFiles._steps, [[1]]
    kept.save(2, STATE)
    monkeypatch.setattr(CheckpointFiles, "_steps", lambda self: first.pop() if first else listed(self))
    assert (kept.newest() or (0,))[0] == 2


def test_half_written_files_are_swept(tmp_path: Path) -> None:
    """Those of a process that was killed: an hour later by the next write, in any case by the end of the fit."""
    kept = files(tmp_path)
    kept.save(1, STATE)
    old, new = kept.folder / "half-1-aa", kept.folder / "half-2-bb"
    for half in (old, new):
        half.write_bytes(b"x")
    os.utime(old, (time.time() - 7200, time.time() - 7200))
    kept.save(2, STATE)
    assert names(kept) == ["half-2-bb", "step-0000002.safetensors"]
    kept.clear()
    assert names(kept) == []
    kept.clear()
    files(tmp_path / "nowhere").clear()


def test_checkpoints_that_cannot_be_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = files(tmp_path)
    kept.save(1, STATE)

    def refused(self: Path, missing_ok: bool = False) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "unlink", refused)
    with pytest.raises(StorageError, match="Read-only"):
        kept.clear()


def test_checkpoints_of_something_else_are_refused(tmp_path: Path) -> None:
    kept = files(tmp_path)
    kept.save(5, STATE)
    with pytest.raises(ModelError, match="another hold"):
        files(tmp_path, "other").newest()
    (kept.folder / "step-0000005.safetensors").rename(kept.folder / "step-0000009.safetensors")
    with pytest.raises(ModelError, match="another hold"):
        kept.newest()
    for spoilt in (b"\x00" * 40, save(STATE), b""):
        (kept.folder / "step-0000009.safetensors").write_bytes(spoilt)
        with pytest.raises(ModelError, match="not a checkpoint"):
            kept.newest()
    pipe(kept.folder / "step-0000009.safetensors")
    with not_waiting(), pytest.raises(ModelError, match="not a checkpoint"):
        kept.newest()


def test_one_process_trains_at_a_time_and_lets_go_however_it_ends(tmp_path: Path) -> None:
    kept = files(tmp_path)
    holding = "import sys, time; from pathlib import Path; from privsynth.generators.training import CheckpointFiles\n"
    holding += (
        f"with CheckpointFiles(Path({str(kept.folder)!r}), 'h').alone():\n    print('.', flush=True); time.sleep(600)"
    )
    other = subprocess.Popen([sys.executable, "-c", holding], stdout=subprocess.PIPE)
    assert other.stdout is not None and other.stdout.read(1) == b"."
    with pytest.raises(HoldError, match="another process trains"), kept.alone():
        raise AssertionError("it trains beside the other")
    other.kill()
    other.communicate()
    assert not kept.begun
    for _ in range(2):
        with kept.alone():
            kept.save(1, STATE)
    assert kept.begun
    with pytest.raises(BlockingIOError), kept.alone():
        raise BlockingIOError("the block's own fault stays what it is")


class Dies(CheckpointFiles):
    """The process ends after the third checkpoint."""

    def save(self, step: int, tensors: Mapping[str, Tensor]) -> None:
        super().save(step, tensors)
        if step == 6:
            raise KeyboardInterrupt


def run(hold: Hold, kept: Any) -> Trained:
    what = plan(steps=100)
    return train(
        small(), Rows.some(9), cross_entropy, what, make_batch=random_rows, lease=Leased(hold), checkpoints=kept
    )


def test_a_training_dies_and_is_resumed_through_the_ledger(tmp_path: Path) -> None:
    """Steps 1 to 6 are in the checkpoint; those leased and lost stay spent; after the transcript nothing runs."""
    hold = opened(tmp_path).reserve(recipe(0.5, trains=True), **USE, request="monday")
    hold.open_fit(recipe=hold.recipe, source=hold.source, purpose=hold.purpose, recipient=hold.recipient)
    kept = files(tmp_path, hold.id)
    with pytest.raises(KeyboardInterrupt):
        run(hold, Dies(kept.folder, hold.id))
    assert hold.leased == 6
    hold.lease(8)
    resumed = run(opened(tmp_path).hold(hold.id), kept)
    assert (resumed.steps_run, hold.leased) == (98, 100)
    assert run(hold, kept).steps_run == 98
    hold.deposit(b"weights")
    with pytest.raises(HoldError, match="trains no more"):
        run(hold, kept)
