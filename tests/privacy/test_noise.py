"""Drawing: the law, the right sigma, replay, refusals, coins. The table itself: test_table.py.

Statistical tests state their false-alarm rate; seeded ones were fixed once and cannot flicker.
"""

from __future__ import annotations

import hmac
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import beta, chi2, norm

from privsynth.errors import BudgetError, PrivsynthError
from privsynth.privacy.gdp import delta_of
from privsynth.privacy.noise import (
    NoiseSource,
    SecureNoise,
    SeededNoise,
    commitment,
    dyadic_at_least,
    keyed_coins,
    keyed_ids,
    noisy_argmax,
    poisson_sample,
)

LAW = settings(deadline=None, derandomize=True)

ALARM = 1e-6  # of every statistical test here, for a right sampler
DRAWS = 40_000
KEY = bytes(range(32))
SOURCES = [pytest.param(SecureNoise(), id="secure"), pytest.param(SeededNoise(11), id="seeded")]


def draws(source: NoiseSource, sigma: float, size: int = DRAWS) -> NDArray[np.int64]:
    return source.add(np.zeros(size, dtype=np.int64), sigma=sigma)


def spread_fits(noise: NDArray[np.int64], sigma: float) -> bool:
    """Two-sided chi-square test that the noise is a rounded Gaussian of ``sigma``: variance sigma² + 1/12."""
    statistic = float(np.sum(noise.astype(float) ** 2)) / (sigma**2 + 1 / 12)
    return bool(chi2.ppf(ALARM / 2, noise.size) < statistic < chi2.isf(ALARM / 2, noise.size))


def shape_fits(noise: NDArray[np.int64], sigma: float) -> bool:
    """Pearson's chi-square test of the whole histogram against the exact probabilities."""
    reach = math.ceil(4 * sigma)
    edges = np.concatenate([[-np.inf], np.arange(-reach, reach + 1) + 0.5, [np.inf]])
    expected = noise.size * np.diff(norm.cdf(edges / sigma))
    found = np.histogram(noise, bins=np.clip(edges, -1e9, 1e9))[0]
    kept = expected > 5
    statistic = float(np.sum((found[kept] - expected[kept]) ** 2 / expected[kept]))
    return statistic < float(chi2.isf(ALARM, int(kept.sum()) - 1))


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("sigma", [2.0, 5.0, 40.0, 1024.0])
def test_accepts_the_right_sigma_and_rejects_a_wrong_one_both_ways(source: NoiseSource, sigma: float) -> None:
    noise = draws(source, sigma)
    assert spread_fits(noise, sigma)
    for wrong in (2 / 3, 0.9, 1.1, 3 / 2):
        assert not spread_fits(noise, wrong * sigma)
    for wrong in (2 / 3, 0.875, 1.125, 3 / 2):
        assert not spread_fits(draws(source, dyadic_at_least(wrong * sigma)), sigma)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("sigma", [0.5, 1.0, 3.0])
def test_histogram_fits_the_exact_law_and_no_other(source: NoiseSource, sigma: float) -> None:
    noise = draws(source, sigma)
    assert shape_fits(noise, sigma)
    assert not shape_fits(noise, 0.9 * sigma)
    assert not shape_fits(noise, 1.1 * sigma)
    assert not shape_fits(np.abs(noise), sigma)  # a missing sign bit


@pytest.mark.parametrize("source", SOURCES)
def test_draws_are_independent_of_each_other(source: NoiseSource) -> None:
    noise = draws(source, 10.0) / 10.0
    lagged = float(np.mean(noise[1:] * noise[:-1])) * math.sqrt(noise.size - 1)
    assert abs(lagged) < norm.isf(ALARM / 2) * 1.05


def test_empirical_epsilon_stays_below_the_stated_one() -> None:
    """Clopper-Pearson on one event: P - e^ε·Q ≤ δ holds for the paid sigma and is caught broken for 2/3 of it."""
    shift, epsilon, sigma = 6, 1.0, 6.0
    stated = delta_of(shift / sigma, epsilon=epsilon)
    cut = shift / 2 + sigma**2 * epsilon / shift

    def least_delta(used: float) -> float:
        source = SeededNoise(5)
        hits = [int(np.sum(x + draws(source, used) > cut)) for x in (shift, 0)]
        low = float(beta.ppf(ALARM / 2, hits[0], DRAWS - hits[0] + 1))
        high = float(beta.isf(ALARM / 2, hits[1] + 1, DRAWS - hits[1]))
        return low - math.exp(epsilon) * high

    assert least_delta(sigma) <= stated
    assert least_delta(4.0) > stated


def test_rounded_gaussian_is_gdp_and_the_discrete_gaussian_is_not() -> None:
    """Hockey-stick divergences of the exact laws against the curve of Δ/σ-GDP, Δ = 1, 2, 3."""
    points = np.arange(-400, 401)
    for sigma in (0.75, 1.0, 2.0, 5.0):
        below = np.diff(norm.cdf(np.arange(-400.5, 0.6) / sigma))  # mirrored, so that both tails are precise
        rounded = np.concatenate([below, below[-2::-1]])
        discrete = np.exp(-(points**2) / (2 * sigma**2))
        discrete /= discrete.sum()
        for shift in (1, 2, 3):
            curve = [(e, delta_of(shift / sigma, epsilon=e)) for e in np.linspace(0, 6 * shift / sigma, 60).tolist()]

            def worst(law: NDArray[np.float64], by: int, curve: list[tuple[float, float]] = curve) -> float:
                p, q = np.roll(law, by), law
                return max(float(np.maximum(p - math.exp(e) * q, 0).sum()) - d for e, d in curve)

            assert worst(rounded, shift) <= 1e-14
            if sigma <= 2 and shift == 1:
                assert worst(discrete, shift) > 1e-4


def test_no_smaller_mu_would_do() -> None:
    """At a shift of many counts the rounding hides next to nothing: 0.99·Δ/σ is already too small."""
    sigma, shift, epsilon = 16.0, 32, 3.0
    below = np.diff(norm.cdf(np.arange(-400.5, 0.6) / sigma))
    law = np.concatenate([below, below[-2::-1]])
    found = float(np.maximum(np.roll(law, shift) - math.exp(epsilon) * law, 0).sum())
    assert delta_of(0.99 * shift / sigma, epsilon=epsilon) < found <= delta_of(shift / sigma, epsilon=epsilon)


# --- replay, shapes, types ---------------------------------------------------------------------


def test_a_seed_replays_and_goes_on() -> None:
    first, again, other = SeededNoise(3), SeededNoise(3), SeededNoise(4)
    a, b = draws(first, 8.0, 100), draws(first, 8.0, 100)
    assert np.array_equal(a, draws(again, 8.0, 100))
    assert np.array_equal(b, draws(again, 8.0, 100))
    assert not np.array_equal(a, b)
    assert not np.array_equal(a, draws(other, 8.0, 100))


def test_secure_draws_never_repeat() -> None:
    assert not np.array_equal(draws(SecureNoise(), 64.0, 100), draws(SecureNoise(), 64.0, 100))


def test_each_source_says_where_its_bits_come_from() -> None:
    assert SecureNoise().provenance == "os-secure"
    assert SeededNoise(1).provenance == "seeded"
    assert repr(SeededNoise(314159)) == "SeededNoise()"


def test_shape_is_kept_and_the_input_untouched() -> None:
    exact = np.arange(24, dtype=np.int64).reshape(2, 3, 4)
    noisy = SeededNoise(1).add(exact, sigma=4.0)
    assert noisy.shape == exact.shape
    assert noisy.dtype == np.int64
    assert np.array_equal(exact.ravel(), np.arange(24))
    flat = SeededNoise(1).add(np.arange(24, dtype=np.int64), sigma=4.0)
    assert np.array_equal(noisy.ravel(), flat)
    turned = SeededNoise(1).add(np.asfortranarray(exact), sigma=4.0)
    assert np.array_equal(noisy, turned)
    assert SeededNoise(1).add(np.zeros((0, 3), dtype=np.int64), sigma=4.0).shape == (0, 3)


def test_many_cells_are_drawn_in_parts() -> None:
    noise = draws(SeededNoise(2), 16.0, (1 << 20) + 7)
    assert spread_fits(noise, 16.0)
    assert np.unique(noise[-7:]).size > 1


def test_counts_at_the_ends_of_int64_do_not_wrap() -> None:
    ends = np.iinfo(np.int64)
    noisy = SeededNoise(1).add(np.array([ends.min, ends.max] * 500, dtype=np.int64), sigma=1024.0)
    assert (noisy[::2] < -(2**61)).all()
    assert (noisy[1::2] > 2**61).all()


@pytest.mark.parametrize("dtype", [np.int32, np.uint64, np.float64])
def test_other_types_than_int64_are_refused(dtype: type[np.generic]) -> None:
    with pytest.raises(PrivsynthError, match="int64"):
        SeededNoise(1).add(np.zeros(3, dtype=dtype), sigma=4.0)


@pytest.mark.parametrize("sigma", [5.03, 0.0, -1.0, math.nan, math.inf, 2.0**46])
def test_a_sigma_off_the_grid_or_out_of_range_is_refused(sigma: float) -> None:
    with pytest.raises(BudgetError) as refusal:
        draws(SecureNoise(), sigma, 1)
    assert refusal.value.mend


# --- noisy selection ---------------------------------------------------------------------------


def test_noisy_argmax_takes_the_largest_noisy_score() -> None:
    scores = np.array([0, 900, 0], dtype=np.int64)
    assert noisy_argmax(scores, sigma=4.0, source=SeededNoise(1)) == 1
    source = SeededNoise(9)
    picks = [noisy_argmax(np.array([0, 8], dtype=np.int64), sigma=8.0, source=source) for _ in range(2000)]
    chance = float(norm.cdf(1 / math.sqrt(2)))  # P(Z1 - Z2 < 8/σ); rounding moves it by less than 0.01
    assert abs(np.mean(picks) - chance) < 0.01 + 5 * math.sqrt(chance * (1 - chance) / 2000)


def test_noisy_argmax_takes_the_first_on_a_tie_and_refuses_nothing_to_choose() -> None:
    tiny = 0.0625  # noise that is always 0
    assert noisy_argmax(np.array([1, 3, 3], dtype=np.int64), sigma=tiny, source=SeededNoise(1)) == 1
    for scores in (np.zeros(0, dtype=np.int64), np.zeros((2, 2), dtype=np.int64)):
        with pytest.raises(PrivsynthError, match="non-empty"):
            noisy_argmax(scores, sigma=4.0, source=SeededNoise(1))


# --- coins -------------------------------------------------------------------------------------


def coins_of(ids: list[str], probability: float = 0.3, key: bytes = KEY) -> dict[str, bool]:
    tossed = keyed_coins(key, np.array(ids, dtype=object), probability=probability)
    return dict(zip(ids, tossed.tolist(), strict=True))


@LAW
@given(st.lists(st.text(), min_size=1, unique=True), st.floats(0, 1), st.randoms())
def test_a_coin_depends_on_nobody_else(ids: list[str], probability: float, random: object) -> None:
    everyone = coins_of(ids, probability)
    without = coins_of(ids[1:], probability)
    assert all(everyone[i] == without[i] for i in ids[1:])
    assert coins_of(ids[::-1], probability) == everyone


def test_coins_are_as_documented() -> None:
    digest = hmac.digest(KEY, "coin:żółw-1".encode(), "sha256")
    place = int.from_bytes(digest[:8], "big")
    assert coins_of(["żółw-1"], (place + 2**11) / 2**64)["żółw-1"]
    assert not coins_of(["żółw-1"], (place - 2**11) / 2**64)["żółw-1"]


def test_rows_of_one_subject_share_a_coin() -> None:
    ids = np.array(["a", "b", "a", "c", "b", "a"], dtype=object)
    tossed = keyed_coins(KEY, ids, probability=0.5)
    assert len({bool(c) for c, i in zip(tossed, ids, strict=True) if i == "a"}) == 1
    assert tossed.dtype == np.bool_


def test_coins_have_their_probability() -> None:
    ids = [f"subject {i}" for i in range(20_000)]
    for probability in (0.1, 0.3, 0.9):
        share = np.mean(list(coins_of(ids, probability).values()))
        assert abs(share - probability) < 5 * math.sqrt(probability * (1 - probability) / len(ids))
    assert not any(coins_of(ids, 0.0).values())
    assert all(coins_of(ids, 1.0).values())
    assert coins_of(ids) != coins_of(ids, key=KEY[::-1])


def test_coins_refuse_what_they_cannot_toss_and_name_no_subject() -> None:
    for probability in (-0.1, 1.1, math.nan):
        with pytest.raises(PrivsynthError, match="probability"):
            coins_of(["a"], probability)
    with pytest.raises(PrivsynthError, match="16 bytes"):
        coins_of(["a"], key=b"short")
    with pytest.raises(PrivsynthError) as fault:
        keyed_coins(KEY, np.array(["a", 77013], dtype=object), probability=0.5)
    assert "77013" not in str(fault.value)
    assert coins_of(["half a pair: \ud800"], 1.0)
    assert keyed_coins(KEY, np.array([], dtype=object), probability=0.5).shape == (0,)


def test_a_commitment_needs_the_key() -> None:
    assert commitment(KEY, "ann") == hmac.digest(KEY, b"subject:ann", "sha256").hex()
    assert commitment(KEY, "ann") != commitment(KEY[::-1], "ann")
    assert commitment(KEY, "ann") != commitment(KEY, "bob")
    with pytest.raises(PrivsynthError, match="16 bytes"):
        commitment(b"", "ann")


@pytest.mark.parametrize("size", [1, 16, 32])
def test_ids_are_the_beginnings_of_commitments(size: int) -> None:
    ids = keyed_ids(KEY, ["ann", "zoë", "ann", ""], size=size)
    assert ids == {name: bytes.fromhex(commitment(KEY, name))[:size] for name in ("ann", "zoë", "")}
    assert keyed_ids(KEY, [], size=size) == {}
    with pytest.raises(PrivsynthError, match="16 bytes"):
        keyed_ids(b"", ["ann"], size=size)
    with pytest.raises(PrivsynthError):
        keyed_ids(KEY, [7], size=size)  # type: ignore[list-item]


# --- Poisson samples -----------------------------------------------------------------------------


class Words(SeededNoise):
    """Given words."""

    def words(self, count: int) -> NDArray[np.uint64]:
        return np.array([0, 2**63 - 1, 2**63, 2**64 - 1], dtype=np.uint64)[:count]


def test_a_coin_is_a_whole_number_below_the_rate() -> None:
    assert poisson_sample(4, rate=0.5, source=Words(0)).tolist() == [0, 1]
    assert poisson_sample(4, rate=0.5 + 2.0**-53, source=Words(0)).tolist() == [0, 1, 2]
    assert poisson_sample(4, rate=2.0**-64, source=Words(0)).tolist() == [0]
    assert poisson_sample(4, rate=1.0, source=Words(0)).tolist() == [0, 1, 2, 3]
    assert poisson_sample(0, rate=0.5, source=Words(0)).tolist() == []


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("rate", [0.001, 0.3, 0.999])
def test_a_sample_has_its_rate(source: SecureNoise | SeededNoise, rate: float) -> None:
    chosen = poisson_sample(100_000, rate=rate, source=source)
    low, high = beta.ppf(
        [ALARM / 2, 1 - ALARM / 2], len(chosen) + np.array([0, 1]), 100_000 - len(chosen) + np.array([1, 0])
    )
    assert low < rate < high
    assert np.all(np.diff(chosen) > 0)


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.5, math.nan])
def test_an_absurd_rate_is_refused(rate: float) -> None:
    with pytest.raises(PrivsynthError, match="rate"):
        poisson_sample(3, rate=rate, source=SecureNoise())
