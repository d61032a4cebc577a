"""Means, basis and spreads from noisy sums: what is there is found, and noise alone is not believed."""

from __future__ import annotations

import numpy as np
import pytest

from privsynth.generators.images.likeness import basis, grain, means, spreads
from privsynth.generators.images.sums import Noisy, square

RNG = np.random.default_rng(4)
SIZE, ROWS = 40, 10_000
ONE_RING = np.zeros(SIZE, dtype=np.int64)


def apart(size: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Each coordinate a ring."""
    return np.arange(size)


def noisy(exact: np.ndarray[tuple[int, ...], np.dtype[np.float64]], sigma: float) -> Noisy:
    """A stack of triangles of second moments, in units of 1e-3, with noise."""
    upper = np.triu_indices(exact.shape[1])
    scale = np.where(upper[0] == upper[1], 1.0, 2**-0.5)
    triangles = np.stack([m[upper] for m in exact])
    counts = np.rint(triangles * 1e3 + RNG.normal(size=triangles.shape) * sigma * scale).astype(np.int64)
    return Noisy(counts, sigma, 1e-3, sigma * 2**-0.5)


def test_noise_alone_has_no_basis() -> None:
    """One direction is kept, for a picture needs one; its spread is no more than the edge."""
    found = basis(noisy(np.zeros((1, SIZE, SIZE)), 1e6), ROWS, ONE_RING)
    assert found.axes.shape == (SIZE, 1)
    assert found.spread[0] <= 1.1 * found.edge


def test_what_stands_out_is_found_with_its_size() -> None:
    axes, _ = np.linalg.qr(RNG.normal(size=(SIZE, SIZE)))
    true = np.array([5.0, 3.0, 2.0])
    moment = ROWS * (axes[:, :3] * true) @ axes[:, :3].T
    found = basis(noisy(moment[None], 5e5), ROWS, ONE_RING)
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
        debiased.append(basis(told, ROWS, ONE_RING).spread[0])
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
    assert means(told, np.diag(own), (3,), apart(2)) == pytest.approx(true, rel=0.01)


def test_effects_of_two_columns_are_told_apart() -> None:
    """Values that mostly occur together: plain means would give each the other's effect too."""
    rng = np.random.default_rng(5)
    a = rng.integers(0, 2, 20_000)
    b = np.where(rng.random(20_000) < 0.9, a, 1 - a)
    v = np.where(a[:, None] == 1, [4.0, 0.0], [0.0, 0.0]) + rng.normal(size=(20_000, 2)) * 0.1
    v -= v.mean(0)
    held = np.stack([a == 0, a == 1, b == 0, b == 1]).astype(float)
    told = Noisy(np.rint(held @ v * 1e3).astype(np.int64), 1e3, 1e-3)
    found = means(told, held @ held.T, (2, 2), apart(2))
    assert (found[1] - found[0])[0] == pytest.approx(4.0, abs=0.3)
    assert abs((found[3] - found[2])[0]) < 0.4
    plain = told.values / held.sum(1)[:, None]
    assert (plain[3] - plain[2])[0] > 3


def test_an_effect_below_the_noise_is_not_believed() -> None:
    rng = np.random.default_rng(6)
    own = np.full(10, 1000.0)
    told = Noisy(np.rint(rng.normal(size=(10, 200)) * 1e6).astype(np.int64), 1e6, 1e-3)
    found = means(told, np.diag(own), (10,), apart(200))
    assert np.abs(found).mean() < 0.5 * np.abs(told.values / 1000).mean()


def test_two_values_are_told_apart_where_their_ring_says_so() -> None:
    """Two values say next to nothing of a coordinate's spread; a ring of twenty does. Below the noise of each."""
    rng = np.random.default_rng(7)
    rings = np.repeat([0, 1], 20)
    true = np.concatenate([np.full(20, 1.5), np.zeros(20)])
    own = np.full(2, 1000.0)
    effects = np.stack([true, -true])
    wrong = {"ringed": [0.0, 0.0], "apart": [0.0, 0.0]}
    for _ in range(50):
        counts = np.rint((effects + rng.normal(size=(2, 40))) * 1e6).astype(np.int64)
        told = Noisy(counts, 1e6, 1e-3)
        for name, held in (("ringed", rings), ("apart", apart(40))):
            found = means(told, np.diag(own), (2,), held)
            wrong[name][0] += ((found - effects)[:, :20] ** 2).mean() / 50
            wrong[name][1] += ((found - effects)[:, 20:] ** 2).mean() / 50
    assert wrong["ringed"][0] < 0.9 * wrong["apart"][0]
    assert wrong["ringed"][1] < 0.9 * wrong["apart"][1]


def test_a_smooth_axis_is_made_smooth_again() -> None:
    """Noise as far out as the signal is strong lies in every coordinate; the ring that holds the axis keeps it."""
    rng = np.random.default_rng(8)
    rings = np.repeat([0, 1, 2, 3], 10)
    axis = np.concatenate([rng.normal(size=10), np.zeros(30)])
    axis /= np.linalg.norm(axis)
    moment = 1.5 * ROWS * np.outer(axis, axis)
    near, raw = [], []
    for _ in range(20):
        told = noisy(moment[None], 1.2e6)
        near.append(abs(basis(told, ROWS, rings).axes[:, 0] @ axis))
        raw.append(abs(basis(told, ROWS, ONE_RING).axes[:, 0] @ axis))
    assert np.mean(near) > np.mean(raw) + 0.02
    found = basis(told, ROWS, rings).axes
    assert np.allclose(found.T @ found, np.eye(found.shape[1]))


def test_grain_is_what_the_axes_do_not_hold() -> None:
    rings = np.repeat([0, 1], 20)
    true = np.concatenate([np.full(20, 4.0), np.full(20, 0.25)])
    told = noisy(np.diag(true)[None] * ROWS, 1e5)
    within = np.concatenate([np.full(20, 3.0), np.zeros(20)])
    assert grain(told, ROWS, within, rings) == pytest.approx(np.sqrt(true - within), rel=0.05)
    alone = grain(noisy(np.zeros((1, 40, 40)), 1e5), ROWS, np.zeros(40), rings)
    assert alone.max() < 0.1
    assert not grain(told, ROWS, true + 1, rings).any()
