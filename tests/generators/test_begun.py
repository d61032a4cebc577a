"""What was bought before a training is found again beside its state, by the hold that paid for it and by no other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from privsynth.errors import HoldError
from privsynth.generators.begun import begun, kept, open_fit
from privsynth.generators.training import CheckpointFiles
from tests.privacy.dpsgd.toy import plan
from tests.world import World, build

BOUGHT = b"tables and their noise \x00\xff"
PLAN = plan(steps=100)
STATE = {"count": torch.tensor([3])}


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> World:
    return build(tmp_path_factory.mktemp("begun"), epsilon=1.0)


def test_nothing_is_begun_where_nothing_was_kept(at: World, tmp_path: Path) -> None:
    hold, train = at.hold(), at.split.train
    files = CheckpointFiles(tmp_path / "kept", hold.id)
    assert begun(at.recipe.identity, train, hold, plan=PLAN, checkpoints=None) is None
    assert begun(at.recipe.identity, train, hold, plan=PLAN, checkpoints=files) is None
    assert kept(BOUGHT, None, hold, plan=PLAN) is None


def test_what_was_bought_stands_beside_every_state(at: World, tmp_path: Path) -> None:
    hold, train = at.hold(), at.split.train
    open_fit(at.recipe.identity, train, hold)
    files = CheckpointFiles(tmp_path / "kept", hold.id)
    beside = kept(BOUGHT, files, hold, plan=PLAN)
    assert beside is not None
    assert beside.newest() is None, "no step was taken"
    beside.save(3, STATE)
    found = begun(at.recipe.identity, train, hold, plan=PLAN, checkpoints=files)
    assert found is not None
    bought, again = found
    assert bought == BOUGHT
    step, tensors = again.newest() or (0, {})
    assert (step, {name: t.tolist() for name, t in tensors.items()}) == (3, {"count": [3]})
    again.clear()
    assert files.newest() is None


@pytest.mark.parametrize("other", [{"purpose": "teaching"}, {"recipient": "company"}, {"source": "lab/other"}])
def test_another_fit_does_not_go_on_with_it(at: World, tmp_path: Path, other: dict[str, Any]) -> None:
    hold, train = at.hold(), at.split.train
    files = CheckpointFiles(tmp_path / "kept", hold.id)
    kept(BOUGHT, files, hold, plan=PLAN)
    with pytest.raises(HoldError, match="another fit"):
        begun(at.recipe.identity, replace(train, **other), hold, plan=PLAN, checkpoints=files)
    with pytest.raises(HoldError, match="another fit"):
        begun("0" * 64, train, hold, plan=PLAN, checkpoints=files)
    with pytest.raises(HoldError, match=r"an? split's"):
        begun(at.recipe.identity, replace(train, benchmark=True), hold, plan=PLAN, checkpoints=files)


def test_steps_of_another_plan_are_not_gone_on_with(at: World, tmp_path: Path) -> None:
    """Ninety of a hundred strong steps, and then nine hundred weak ones of a version with other defaults, are neither
    plan's."""
    hold, train = at.hold(), at.split.train
    files = CheckpointFiles(tmp_path / "kept", hold.id)
    kept(BOUGHT, files, hold, plan=PLAN)
    for other in (replace(PLAN, steps=1000), replace(PLAN, noise=PLAN.noise * 2), replace(PLAN, rate=PLAN.rate / 2)):
        with pytest.raises(HoldError, match="other noisy steps"):
            begun(at.recipe.identity, train, hold, plan=other, checkpoints=files)
    assert begun(at.recipe.identity, train, hold, plan=replace(PLAN), checkpoints=files) is not None


def test_a_state_without_what_was_bought_or_of_another_hold_is_refused(at: World, tmp_path: Path) -> None:
    hold, train = at.hold(), at.split.train
    bare = CheckpointFiles(tmp_path / "bare", hold.id)
    bare.save(2, STATE)
    with pytest.raises(HoldError, match="another fit"):
        begun(at.recipe.identity, train, hold, plan=PLAN, checkpoints=bare)
    other = at.hold()
    kept(
        BOUGHT, CheckpointFiles(tmp_path / "kept", hold.id), other, plan=PLAN
    )  # of a folder whose files say this hold's id
    with pytest.raises(HoldError, match="another fit"):
        begun(at.recipe.identity, train, hold, plan=PLAN, checkpoints=CheckpointFiles(tmp_path / "kept", hold.id))
