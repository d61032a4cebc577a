"""Means, basis and spreads from noisy sums: what is there is found, and noise alone is not believed."""

from __future__ import annotations

import numpy as np
import pytest

from privsynth.generators.images.likeness import basis, means, spreads
from privsynth.generators.images.sums import Noisy, square

RNG = np.random.default_rng(4)
SIZE, ROWS = 40, 10_000


def noisy(exact: np.ndarray[tuple[int, ...], np.dtype[np.float64]], sigma: float) -> Noisy:
    """A stack of triangles of second moments, in units of 1e-3, with noise."""
    upper = np.triu_indices(exact.shape[1])
    scale = np.where(upper[0] == upper[1], 1.0, 2**-0.5)
    triangles = np.stack([m[upper] for m in exact])
    counts = np.rint(triangles * 1e3 + RNG.normal(size=triangles.shape) * sigma * scale).astype(np.int64)
    return Noisy(counts, sigma, 1e-3, sigma * 2**-0.5)


def test_noise_alone_has_no_basis() -> None:
    """One direction is kept, for a picture needs one; its spread is no more than the edge."""
    found = basis(noisy(np.zeros((1, SIZE, SIZE)), 1e6), ROWS, SIZE)
    assert found.axes.shape == (SIZE, 1)
    assert found.spread[0] <= 1.1 * found.edge


def test_what_stands_out_is_found_with_its_size() -> None:
    axes, _ = np.linalg.qr(RNG.normal(size=(SIZE, SIZE)))
    true = np.array([5.0, 3.0, 2.0])
    moment = ROWS * (axes[:, :3] * true) @ axes[:, :3].T
    found = basis(noisy(moment[None], 5e5), ROWS, SIZE)
    assert found.spread == pytest.approx(true, rel=0.1)
    assert found.edge < 2.0
    assert np.abs(np.linalg.svd(axes[:, :3].T @ found.axes)[1]).min() > 0.98
    assert np.allclose(found.axes.T @ found.axes, np.eye(3))


def test_the_spread_is_debiased() -> None:
    """Without the rule the noise would add to it."""
    moment = np.zeros((SIZE, SIZE))
    moment[0, 0] = 1.0 * ROWS
    plain, debiased = [], []
    for _ in range(30):
        told = noisy(moment[None], 8.0e5)
        debiased.append(basis(told, ROWS, SIZE).spread[0])
        plain.append(np.linalg.eigvalsh(square(told.values[0], SIZE) / ROWS)[-1])
    assert np.mean(debiased) == pytest.approx(1.0, abs=0.15)
    assert np.mean(plain) > np.mean(debiased) + 0.1


def test_classes_that_do_not_differ_keep_the_pooled_spread() -> None:
    pooled = np.diag([3.0, 1.0, 0.5])
    moments = noisy(np.stack([pooled * ROWS] * 4), 1e6)
    for found in spreads(moments, np.full(4, float(ROWS)), pooled):
        assert np.abs(found - pooled).max() < 0.15
    (alone,) = spreads(noisy(pooled[None], 1e6), np.array([0.3]), pooled)
    assert np.array_equal(alone, pooled)


def test_a_class_of_its_own_is_told() -> None:
    pooled, own = np.diag([3.0, 1.0, 0.5]), np.diag([1.0, 3.0, 0.5])
    (found,) = spreads(noisy(own[None] * ROWS, 1e5), np.array([float(ROWS)]), pooled)
    assert np.abs(found - own).max() < 0.1
    assert np.linalg.eigvalsh(found).min() >= 0


def test_means_of_one_column() -> None:
    true = np.array([[2.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])
    own = np.array([100.0, 150.0, 50.0])
    told = Noisy(np.rint(true * own[:, None] * 1e3).astype(np.int64), 1e3, 1e-3)
    assert means(told, np.diag(own), (3,)) == pytest.approx(true, rel=0.01)


def test_effects_of_two_columns_are_told_apart() -> None:
    """Values that mostly occur together: plain means would give each the other's effect too."""
    rng = np.random.default_rng(5)
    a = rng.integers(0, 2, 20_000)
    b = np.where(rng.random(20_000) < 0.9, a, 1 - a)
    v = np.where(a[:, None] == 1, [4.0, 0.0], [0.0, 0.0]) + rng.normal(size=(20_000, 2)) * 0.1
    v -= v.mean(0)
    held = np.stack([a == 0, a == 1, b == 0, b == 1]).astype(float)
    told = Noisy(np.rint(held @ v * 1e3).astype(np.int64), 1e3, 1e-3)
    found = means(told, held @ held.T, (2, 2))
    assert (found[1] - found[0])[0] == pytest.approx(4.0, abs=0.3)
    assert abs((found[3] - found[2])[0]) < 0.4
    plain = told.values / held.sum(1)[:, None]
    assert (plain[3] - plain[2])[0] > 3


def test_an_effect_below_the_noise_is_not_believed() -> None:
    rng = np.random.default_rng(6)
    own = np.full(10, 1000.0)
    told = Noisy(np.rint(rng.normal(size=(10, 200)) * 1e6).astype(np.int64), 1e6, 1e-3)
    found = means(told, np.diag(own), (10,))
    assert np.abs(found).mean() < 0.5 * np.abs(told.values / 1000).mean()
