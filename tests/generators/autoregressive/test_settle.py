"""What was bought as tables comes back after the training, and what only the network knows stays."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from privsynth.data.evidence import Floats
from privsynth.generators.autoregressive import settle
from privsynth.generators.autoregressive.drawing import Given, Law, Weights
from privsynth.generators.autoregressive.settle import settled
from privsynth.generators.marginals.product import product_table
from tests.generators.autoregressive.test_drawing import distance, ground, network


@pytest.fixture(scope="module")
def law() -> Law:
    at = ground(np.random.default_rng(3))
    return Law(at, Weights.of({name: p.detach().numpy() for name, p in network(at).named_parameters()}), [0, 1, 3, 2])


def levels(law: Law, names: tuple[int, ...], n: int = 60_000) -> Floats:
    """How often levels of these columns come together."""
    units = Given.of(law, {}).draw(n, np.random.default_rng(8), "even")
    held = [law.ground.columns[c].level_of[units[:, c]] for c in names]
    shape = [law.ground.columns[c].levels for c in names]
    counts = np.bincount(np.ravel_multi_index(held, shape), minlength=int(np.prod(shape)))
    return np.asarray(counts.reshape(shape) / n)


def paid(law: Law, names: tuple[int, ...]) -> Floats:
    return product_table(law.ground.weights, [law.ground.columns[c].by_level for c in names])


def test_columns_and_pairs_of_the_table_come_back(law: Law) -> None:
    at_rest = settled(law, rng=np.random.default_rng(1))
    for names in itertools.combinations(range(4), 2):
        before, after = (
            distance(levels(law, names), paid(law, names)),
            distance(levels(at_rest, names), paid(law, names)),
        )
        # over 8 seeds at most 0.0067, by the chance of 8,192 rows, and less of 32,768; before it is 0.42 to 0.52
        assert after < 0.02 < 0.3 < before, names


def test_what_three_columns_have_together_stays_the_networks(law: Law) -> None:
    at_rest = settled(law, rng=np.random.default_rng(1))
    names = (0, 1, 3)
    assert distance(levels(at_rest, names), paid(law, names)) > 0.03  # 0.049 to 0.051, 8 seeds


def test_columns_alone_are_settled_where_no_pairs_were_bought() -> None:
    at = ground(np.random.default_rng(4), components=1)
    named = {name: p.detach().numpy() for name, p in network(at).named_parameters()}
    at_rest = settled(Law(at, Weights.of(named), [2, 0, 1, 3]), rng=np.random.default_rng(1))
    assert at_rest.network is not None and at_rest.network.skip is None
    for c in range(4):
        assert distance(levels(at_rest, (c,)), paid(at_rest, (c,))) < 0.02  # at most 0.0057, 8 seeds


def test_so_many_levels_that_pairs_do_not_fit_settle_columns(law: Law, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle, "MOST_WIDTH", 3)
    at_rest = settled(law, rng=np.random.default_rng(1))
    assert at_rest.network is not None and at_rest.network.skip is None


def test_the_same_numbers_give_the_same_law_and_no_network_stays_none(law: Law) -> None:
    one, other = (settled(law, rng=np.random.default_rng(1)).network for _ in range(2))
    assert one is not None and other is not None and one.skip is not None and other.skip is not None
    assert np.array_equal(one.skip, other.skip) and np.array_equal(one.outlet_bias, other.outlet_bias)
    bare = replace(law, network=None)
    assert settled(bare, rng=np.random.default_rng(1)) is bare
