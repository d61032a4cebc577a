"""Fixtures of the generator's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from privsynth.generators.marginals import MarginalModel
from tests.world import World, build


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A world up to the fit."""
    return build(tmp_path)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> MarginalModel:
    """A fitted model, shared."""
    world = build(tmp_path_factory.mktemp("model"))
    return world.recipe.fit(world.split.train, world.hold())
