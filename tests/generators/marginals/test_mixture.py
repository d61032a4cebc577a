"""The mixture's fit: it meets exact tables, and it is deterministic."""

from __future__ import annotations

import numpy as np
import torch

from privsynth.generators.marginals.mixture import Mixture, Targets, fit_mixture
from privsynth.progress import SILENT


def truth() -> tuple[Mixture, Targets]:
    """A known mixture of three products over columns of 3, 4 and 2 groups, and its exact tables."""
    rng = np.random.default_rng(0)
    sizes = (3, 4, 2)
    tables = np.concatenate([rng.dirichlet(np.ones(s) * 0.5, 3) for s in sizes], axis=1)
    mixture = Mixture(np.array([0.5, 0.3, 0.2]), tables, sizes)
    blocks = [mixture.block(c) for c in range(3)]
    ones = tuple(mixture.weights @ b for b in blocks)
    pairs = {
        (i, j): (blocks[i].T @ (mixture.weights[:, None] * blocks[j]), 1e8) for i in range(3) for j in range(i + 1, 3)
    }
    return mixture, Targets(sizes, ones, tuple(np.full(s, 1e8) for s in sizes), pairs)


def test_exact_tables_are_met() -> None:
    _, targets = truth()
    fitted = fit_mixture(targets, components=50, steps=800, seed=1, progress=SILENT)
    assert np.isclose(fitted.weights.sum(), 1)
    for (i, j), (table, _) in targets.pairs.items():
        got = fitted.block(i).T @ (fitted.weights[:, None] * fitted.block(j))
        assert np.abs(got - table).sum() / 2 < 0.005
    for c, one in enumerate(targets.one_way):
        assert np.allclose(fitted.block(c).sum(axis=1), 1)
        assert np.abs(fitted.weights @ fitted.block(c) - one).sum() / 2 < 0.005


def test_the_same_seed_gives_the_same_bytes() -> None:
    _, targets = truth()
    a, b, c = (fit_mixture(targets, components=20, steps=50, seed=s, progress=SILENT) for s in (1, 1, 2))
    assert a.tables.tobytes() == b.tables.tobytes()
    assert a.tables.tobytes() != c.tables.tobytes()


def test_without_pairs_columns_are_independent() -> None:
    _, targets = truth()
    alone = fit_mixture(
        Targets(targets.sizes, targets.one_way, targets.one_way_precision, {}),
        components=9,
        steps=9,
        seed=1,
        progress=SILENT,
    )
    assert alone.tables.shape == (1, 9)
    assert np.allclose(alone.tables[0], np.concatenate(targets.one_way))


def test_threads_are_put_back_and_do_not_change_the_bytes() -> None:
    _, targets = truth()
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(fit_mixture(targets, components=20, steps=50, seed=1, progress=SILENT).tables.tobytes())
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1]
