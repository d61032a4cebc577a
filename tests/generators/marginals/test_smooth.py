"""Empirical Bayes for one histogram: laws, and that it helps where it should and harms nowhere much."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privsynth.generators.marginals.smooth import _LEVELS, _forward_backward, _likelihood, onto_simplex, smoothed

Floats = npt.NDArray[np.float64]
SIGMA = 40.0


def histogram(kind: str) -> Floats:
    """100 cells of 10,000 rows."""
    rng = np.random.default_rng(7)
    match kind:
        case "flat":
            out = np.full(100, 100.0)
        case "steps":
            out = np.repeat([20.0, 250.0, 60.0, 170.0, 0.0], 20)
        case "bell":
            out = np.exp(-0.5 * ((np.arange(100) - 40) / 12) ** 2)
        case "spikes":
            out = np.where(np.arange(100) % 10 == 0, 900.0, 10.0)
        case _:
            out = rng.pareto(1.2, 100)
    return np.asarray(out * (10_000 / out.sum()))


def error(estimate: Floats, truth: Floats) -> float:
    return float(np.abs(estimate - truth).sum() / 2 / truth.sum())


@pytest.mark.parametrize(
    ("kind", "ordered", "factor"),
    [
        ("flat", True, 0.2),
        ("steps", True, 0.6),
        ("bell", True, 0.75),
        ("spikes", True, 0.6),
        ("heavy", False, 1.02),
        ("flat", False, 0.4),
    ],
)
def test_it_is_nearer_to_the_truth_than_the_simplex_alone(kind: str, ordered: bool, factor: float) -> None:
    """Mean over 20 noise draws, fixed seed."""
    truth = histogram(kind)
    rng = np.random.default_rng(0)
    plain, better = [], []
    for _ in range(20):
        noisy = truth + np.rint(rng.normal(0, SIGMA, 100))
        plain.append(error(onto_simplex(noisy, np.ones(100), 10_000), truth))
        better.append(error(smoothed(noisy, sigma=SIGMA, total=10_000, ordered=ordered), truth))
    assert np.mean(better) < factor * np.mean(plain)


@given(
    noisy=st.lists(st.integers(-500, 5000), min_size=1, max_size=120),
    sigma=st.floats(0.5, 2000),
    total=st.floats(1, 1e6),
    ordered=st.booleans(),
)
def test_it_is_a_histogram_of_the_total(noisy: list[int], sigma: float, total: float, ordered: bool) -> None:
    out = smoothed(np.array(noisy, dtype=np.float64), sigma=sigma, total=total, ordered=ordered)
    assert out.shape == (len(noisy),)
    assert (out >= 0).all()
    assert np.isclose(out.sum(), total)


def test_without_noise_it_is_the_truth() -> None:
    truth = histogram("heavy")
    assert error(smoothed(truth, sigma=1e-3, total=truth.sum(), ordered=True), truth) < 1e-6


def test_the_chain_s_posterior_is_that_of_brute_force() -> None:
    """Three cells, every path of levels enumerated."""
    rng = np.random.default_rng(1)
    likelihood = _likelihood(rng.normal(80, 60, 3), SIGMA)
    law = rng.dirichlet(np.ones(len(_LEVELS)))
    change = 0.3
    prior = change * law[None, :] + (1 - change) * np.eye(len(_LEVELS))
    paths = np.einsum(
        "a,ab,bc,a,b,c->abc", law, prior, prior, likelihood[0], likelihood[1], likelihood[2], optimize=True
    )
    paths /= paths.sum()
    posterior, jumps = _forward_backward(likelihood, law, change)
    for t in range(3):
        assert np.allclose(posterior[t], paths.sum(axis=tuple({0, 1, 2} - {t})))
    anew = np.einsum(
        "a,b,bc,a,b,c->b", law, change * law, prior, likelihood[0], likelihood[1], likelihood[2], optimize=True
    )
    whole = np.einsum("a,ab,bc,a,b,c->", law, prior, prior, likelihood[0], likelihood[1], likelihood[2], optimize=True)
    assert np.allclose(jumps[0], anew / whole)


def test_the_simplex_projection_is_the_nearest_point() -> None:
    """Against random points of the simplex, in the weighted distance."""
    rng = np.random.default_rng(3)
    values, variance = rng.normal(5, 20, 12), rng.uniform(0.5, 4, 12)
    nearest = onto_simplex(values, variance, 60.0)
    best = float(((nearest - values) ** 2 / variance).sum())
    for _ in range(2000):
        other = 0.9 * nearest + 0.1 * 60.0 * rng.dirichlet(np.ones(12))
        assert float(((other - values) ** 2 / variance).sum()) >= best - 1e-9
