"""The look at the noise of every fit finds a sigma that is wrong, either way, in any stage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from privsynth.generators.images import statistics
from privsynth.generators.marginals import MarginalModel, Marginals, domains
from privsynth.generators.marginals.purse import Ints, Purse
from privsynth.ledger.store import Hold
from tests.after_fits import look
from tests.generators.images.test_statistics import Desk
from tests.generators.marginals.test_learned_fit import LEARNING, wide_rows
from tests.world import World, build

Fitted = tuple[World, Hold, MarginalModel]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    """A fit that learns cells, categories and a map as well."""
    world = build(
        tmp_path_factory.mktemp("looked"), schema=LEARNING, frame=wide_rows(), epsilon=9.0, steps=2, components=4
    )
    hold = world.hold()
    return world, hold, world.recipe.fit(world.split.train, hold)


@pytest.mark.parametrize("ratio", [0.5, 2.0])
@pytest.mark.parametrize("stage", ["pair", "triple"])
def test_a_wrong_sigma_is_found(fitted: Fitted, stage: str, ratio: float) -> None:
    world, hold, model = fitted
    told = tuple(replace(m, sigma=m.sigma * ratio) if m.stage == stage else m for m in model.transcript.measurements)
    false = replace(model, transcript=replace(model.transcript, measurements=told))
    look(world.recipe, model, world.split.train, hold)
    with pytest.raises(AssertionError, match=stage):
        look(world.recipe, false, world.split.train, hold)


@pytest.mark.parametrize(("stage", "ratio"), [("level", 0.5), ("level", 8), ("votes", 1024), ("dependency", 8)])
def test_wrong_noise_of_the_domains_is_found(
    stage: str, ratio: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too little of it only where there are many cells. Of the votes three are looked at: eight times their noise would
    pass once in seven, 1024 times once in ten million."""
    honest = domains._Stage._take

    def wrong(self: domains._Stage, ask: domains.DomainAsk, exact: Callable[[], Ints]) -> Ints:
        if ask.stage != stage:
            return honest(self, ask, exact)
        return self._purse.take(exact, sigma=ask.sigma * ratio, cost=ask.cost(self._contribution))

    monkeypatch.setattr(domains._Stage, "_take", wrong)
    world = build(tmp_path, schema=LEARNING, frame=wide_rows(), steps=2, components=4)
    with pytest.raises(AssertionError, match=f"stage '{stage}' is not"):
        world.recipe.fit(world.split.train, world.hold())


def test_every_fit_is_looked_at(fitted: Fitted, tmp_path: Path) -> None:
    """The rows of another world than the one that was counted: the fit of a test would fail."""
    world, hold, model = fitted
    assert hasattr(Marginals.fit, "__wrapped__")
    with pytest.raises(AssertionError, match="noise"):
        denied = build(tmp_path, schema=LEARNING, frame=wide_rows(), deny=frozenset(f"p{i:05d}" for i in range(400)))
        look(world.recipe, model, denied.split.train, hold)


@pytest.mark.parametrize("ratio", [0.5, 2.0])
@pytest.mark.parametrize("sold", ["take", "take_two"])
def test_wrong_noise_of_pictures_is_found(
    sold: str, ratio: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of sums and histograms (``take``), and of second moments (``take_two``)."""

    class Wrong(Purse):
        def take(self, exact: Callable[[], Ints], *, sigma: float, cost: Fraction) -> Ints:
            return super().take(exact, sigma=sigma * (ratio if sold == "take" else 1), cost=cost)

        def take_two(
            self, exact: Callable[[], Ints], *, sigma: tuple[float, float], first: npt.NDArray[np.bool_], cost: Fraction
        ) -> Ints:
            low, high = (s * (ratio if sold == "take_two" else 1) for s in sigma)
            return super().take_two(exact, sigma=(low, high), first=first, cost=cost)

    desk = Desk(tmp_path)
    desk.recipe.fit(desk.split.train, desk.hold())
    monkeypatch.setattr(statistics, "Purse", Wrong)
    with pytest.raises(AssertionError, match="the noise of stage"):
        desk.recipe.fit(desk.split.train, desk.hold())
