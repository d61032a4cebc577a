"""The look at the noise of every fit finds a sigma that is wrong, either way, in any stage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from privsynth.generators.marginals import MarginalModel, Marginals
from tests.after_fits import look
from tests.world import World, build


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, MarginalModel]:
    world = build(tmp_path_factory.mktemp("looked"), steps=2, components=4)
    return world, world.recipe.fit(world.split.train, world.hold())


@pytest.mark.parametrize("ratio", [0.5, 2.0])
@pytest.mark.parametrize("stage", ["pair", "triple"])
def test_a_wrong_sigma_is_found(fitted: tuple[World, MarginalModel], stage: str, ratio: float) -> None:
    world, model = fitted
    told = tuple(replace(m, sigma=m.sigma * ratio) if m.stage == stage else m for m in model.transcript.measurements)
    false = replace(model, transcript=replace(model.transcript, measurements=told))
    look(model, world.split.train)
    with pytest.raises(AssertionError, match=stage):
        look(false, world.split.train)


def test_every_fit_is_looked_at(fitted: tuple[World, MarginalModel], tmp_path: Path) -> None:
    """The rows of another world than the one that was counted: the fit of a test would fail."""
    _, model = fitted
    assert hasattr(Marginals.fit, "__wrapped__")
    with pytest.raises(AssertionError, match="noise"):
        look(model, build(tmp_path, deny=frozenset(f"p{i:05d}" for i in range(400))).split.train)
