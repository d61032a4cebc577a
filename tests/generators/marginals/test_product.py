"""Tables of a mixture against brute force, whatever is made at once; what is too large is refused first."""

from __future__ import annotations

import numpy as np
import pytest

from privsynth.data.evidence import Floats
from privsynth.errors import ConditionError
from privsynth.generators.marginals import product as module
from privsynth.generators.marginals.product import (
    MOST_TABLE_CELLS,
    Given,
    check_table,
    components_at_once,
    product_table,
)


def dirichlet(components: int, *sizes: int) -> tuple[Floats, list[Floats]]:
    rng = np.random.default_rng(list(sizes))
    return rng.dirichlet(np.ones(components)), [rng.dirichlet(np.ones(size), components) for size in sizes]


@pytest.mark.parametrize("at_once", [1, 12, 13, 60, module.AT_ONCE])
@pytest.mark.parametrize("sizes", [(5,), (1,), (3, 4), (4, 3), (2, 6, 3), (6, 2, 3), (4, 4, 4)])
def test_a_table_equals_brute_force_at_every_block(
    sizes: tuple[int, ...], at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Components one by one, some at a time with a rest, and all at once."""
    monkeypatch.setattr(module, "AT_ONCE", at_once)
    weights, parts = dirichlet(7, *sizes)
    letters = "abc"[: len(sizes)]
    wanted = np.einsum("z," + ",".join(f"z{x}" for x in letters) + "->" + letters, weights, *parts)
    found = product_table(weights, parts)
    assert found.shape == sizes
    assert np.allclose(found, wanted, rtol=1e-12, atol=0)


@pytest.mark.parametrize(("components", "cells"), [(1, 1), (10, 3), (10, 4), (10, 100), (9, 3), (5, 0)])
def test_blocks_hold_every_component_once(components: int, cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 9)
    blocks = list(components_at_once(components, cells))
    assert np.concatenate(blocks).tolist() == list(range(components))
    assert all(len(block) * cells <= 9 or len(block) == 1 for block in blocks)


def test_a_given_column_is_the_same_whichever_components_are_asked_for() -> None:
    """To the bit; and it equals the definition. A component that cannot meet the evidence has a row of zeros."""
    weights, (shares,) = dirichlet(6, 4)
    shares[2] = [1.0, 0.0, 0.0, 0.0]
    groups = np.array([0, 1, 1, 3, 2, 3, 3, 0], dtype=np.int32)
    within = np.array([0.25, 0.5, 0.5, 0.2, 1.0, 0.3, 0.5, 0.75])
    evidence = np.array([0.0, 1.0, 0.5, 1.0, 0.0, 1.0, 1.0, 0.0])
    for given in (Given(shares, groups, within), Given(shares, groups, within, evidence)):
        whole = given[np.arange(6)]
        assert given.shape == whole.shape == (6, 8)
        wanted = shares[:, groups] * within * (1.0 if given.evidence is None else evidence)
        total = wanted.sum(axis=1, keepdims=True)
        assert np.allclose(whole, np.divide(wanted, total, out=np.zeros_like(wanted), where=total > 0), rtol=1e-14)
        for some in ([0], [5, 1], [2, 3, 4]):
            assert (given[np.array(some)] == whole[some]).all()
    assert (whole[2] == 0).all()
    assert np.isclose(product_table(weights, [given]).sum(), 1 - weights[2])


def test_a_table_that_is_too_large_is_refused_by_name() -> None:
    with pytest.raises(ConditionError, match=r"2,500,000,000 cells") as error:
        check_table([50_000, 50_000], ["left", "right"])
    assert error.value.where == "left (50,000) x right (50,000)"
    assert "fewer columns" in error.value.mend
    check_table([MOST_TABLE_CELLS], ["left"])
    with pytest.raises(ConditionError):
        check_table([MOST_TABLE_CELLS + 1], ["left"])
