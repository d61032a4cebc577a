"""Sums on a grid: sensitivity on neighbours, exactness, price, noise."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from privsynth.errors import HoldError
from privsynth.generators.images.sums import BINS, GRID, Noisy, Till, edges, quantile, shortened, square
from privsynth.generators.marginals.purse import Purse
from privsynth.privacy.events import Provenance
from privsynth.privacy.noise import SeededNoise

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
FEW = settings(max_examples=60, deadline=None)


class Exact:
    """A source that adds nothing and notes what it was asked: to look at exact sums."""

    def __init__(self) -> None:
        self.sigmas: list[float] = []

    @property
    def provenance(self) -> Provenance:
        return "seeded"

    def add(self, exact: Ints, *, sigma: float) -> Ints:
        self.sigmas.append(sigma)
        return exact


def till(k: int = 1, *, cap: float = 1e9) -> tuple[Till, Exact]:
    source = Exact()
    return Till(Purse(source, cap=Fraction(cap)), contribution=k), source


def rows(rng: np.random.Generator, n: int, d: int) -> Floats:
    """Of every size there is: huge, tiny, not finite."""
    out = rng.normal(size=(n, d)) * 10.0 ** rng.integers(-6, 7, (n, 1))
    out[rng.random((n, d)) < 0.02] = rng.choice([np.inf, -np.inf, np.nan, 0.0, 1e308])
    return out


@FEW
@given(seed=st.integers(0, 2**32), radius=st.sampled_from([1e-3, 0.7, 11.0, 1e4]), d=st.integers(1, 40))
def test_no_row_is_longer_than_the_grid(seed: int, radius: float, d: int) -> None:
    grid = shortened(rows(np.random.default_rng(seed), 30, d), radius)
    assert grid.dtype == np.int64
    assert all(sum(int(v) ** 2 for v in row) <= GRID**2 for row in grid)


def test_rows_within_the_radius_keep_their_place() -> None:
    v = np.array([[0.3, -0.4], [30.0, 40.0]])
    assert shortened(v, 5.0)[0] / GRID * 5 == pytest.approx([0.3, -0.4], abs=5 / GRID)
    assert shortened(v, 5.0)[1] / GRID * 5 == pytest.approx([3.0, 4.0], abs=5 / GRID)


@FEW
@given(seed=st.integers(0, 2**32), k=st.integers(1, 4), m=st.integers(0, 3), alike=st.booleans())
def test_a_subject_moves_sums_by_what_is_paid(seed: int, k: int, m: int, alike: bool) -> None:
    """k rows more: within k·√m·2^16 of sums, k·2^32 of second moments, k of histograms; the price says the same."""
    rng = np.random.default_rng(seed)
    sizes = tuple(int(s) for s in rng.integers(1, 4, m))
    v, radius = rows(rng, 12, 5), float(rng.choice([0.5, 3.0]))
    hers = np.repeat(np.clip(rows(rng, 1, 5), -1e300, 1e300) * 1e6, k, axis=0) if alike else rows(rng, k, 5)
    cells = np.stack([rng.integers(0, s, 12 + k) for s in sizes], axis=1) if m else np.zeros((12 + k, 0), np.int64)
    if alike:
        cells[12:] = cells[12]
    more = np.concatenate([v, hers])
    one = cells[:, 0] if m else np.zeros(12 + k, np.int64)
    size = sizes[0] if m else 1

    def told(till: Till, part: slice) -> list[Noisy]:
        lengths = np.abs(more[part, 0])
        return [
            till.sums(more[part], radius, cells[part], sizes, price=1.0),
            till.moments(more[part], radius, one[part], size, price=1.0),
            till.lengths(lengths, 9.0, price=1.0),
            till.count(len(more[part]), price=1.0),
        ]

    (buyer, source), (other, _) = till(k), till(k)
    for before, after, far in zip(
        told(buyer, slice(0, 12)),
        told(other, slice(0, 12 + k)),
        [k * math.sqrt(max(1, m)) * GRID, k * GRID**2, k, k],
        strict=True,
    ):
        moved = (after.counts - before.counts).astype(float)
        if before.sigma_off is not None:  # each number off the diagonal stands twice
            upper = np.triu_indices(5)
            moved = moved * np.where(upper[0] == upper[1], 1.0, math.sqrt(2))
        assert np.linalg.norm(moved) <= far * (1 + 1e-12)
        assert before.sigma >= far  # at a price of 1 in μ²
    assert source.sigmas


def test_the_bound_is_reached() -> None:
    """All k rows alike, at the radius, in the same cells: no smaller sensitivity would do."""
    buyer, _ = till(3)
    v = np.repeat([[7.0, 0.0]], 3, axis=0)
    cells = np.zeros((3, 2), dtype=np.int64)
    found = np.linalg.norm(buyer.sums(v, 1.0, cells, (2, 2), price=1.0).counts)
    assert found == pytest.approx(3 * math.sqrt(2) * GRID, rel=1e-4)
    assert buyer.moments(v, 1.0, cells[:, 0], 1, price=1.0).counts[0, 0] == pytest.approx(3 * GRID**2, rel=1e-4)


def test_sums_and_moments_are_those_of_the_rows() -> None:
    rng = np.random.default_rng(3)
    v, cells = rng.normal(size=(5000, 6)), rng.integers(0, 3, (5000, 2))
    buyer, _ = till()
    sums = buyer.sums(v, 50.0, cells, (3, 3), price=1.0).values
    wanted = np.stack([v[cells[:, c] == a].sum(0) for c in (0, 1) for a in range(3)])
    assert np.abs(sums - wanted).max() < 5000 * 50 / GRID
    found = buyer.moments(v, 50.0, cells[:, 0], 3, price=1.0)
    for a in range(3):
        part = v[cells[:, 0] == a]
        assert np.abs(square(found.values[a], 6) - part.T @ part).max() < 5000 * 50 / GRID * 6


@pytest.mark.parametrize("k", [1, 3])
def test_what_is_asked_costs_at_most_its_price(k: int) -> None:
    """Four asks at a quarter each fit in a cap of 1; a fifth does not, and reads nothing."""
    buyer, _ = till(k, cap=1.0)
    v, cells = np.ones((4, 3)), np.zeros((4, 2), dtype=np.int64)
    buyer.sums(v, 1.0, cells, (1, 2), price=0.25)
    buyer.moments(v, 1.0, cells[:, 0], 1, price=0.25)
    buyer.lengths(v[:, 0], 1.0, price=0.25)
    buyer.count(4, price=0.25)
    with pytest.raises(HoldError, match="more than the hold has left"):
        buyer.count(4, price=0.25)


def test_the_noise_is_what_is_said_of_it() -> None:
    """Chi-square of noise alone, on and off the diagonal, at a false alarm of 1e-6; off it a tenth less or more is
    found, on it, where numbers are few, half or double."""
    buyer = Till(Purse(SeededNoise(5), cap=Fraction(10)), contribution=2)
    told = buyer.moments(np.zeros((1, 140)), 2.0, np.zeros(1, np.int64), 1, price=0.5)
    upper = np.triu_indices(140)
    assert told.sigma_off is not None
    for part, sigma in ((upper[0] == upper[1], told.sigma), (upper[0] != upper[1], told.sigma_off)):
        noise = told.counts[0, part] / sigma
        for wrong in (1.0, 0.9, 1.1) if part.sum() > 1000 else (1.0, 0.5, 2.0):
            statistic, n = float((noise / wrong) @ (noise / wrong)), len(noise)
            assert (chi2.ppf(5e-7, n) < statistic < chi2.isf(5e-7, n)) == (wrong == 1.0)
    assert told.error == pytest.approx(told.sigma * told.unit)


def test_a_histogram_tells_a_quantile() -> None:
    buyer, _ = till()
    lengths = np.concatenate([np.full(900, 2.0), np.full(100, 20.0)])
    noisy = buyer.lengths(lengths, 28.0, price=100.0)
    assert noisy.counts.sum() == 1000
    assert len(noisy.counts) == BINS
    for share, least in ((0.5, 2.0), (0.85, 2.0), (0.95, 20.0)):
        found = quantile(noisy, 28.0, share)
        assert least <= found <= least * 2 ** (1 / 3)
    assert edges(28.0)[-1] == 28.0
    assert quantile(Noisy(np.zeros(BINS, np.int64), 5.0), 28.0, 0.9) > 0
