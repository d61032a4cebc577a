import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from privsynth.validate.rates import (
    accuracy_interval,
    advantage,
    auc,
    clopper_pearson,
    delong,
    normal_interval,
    share,
    top_precision,
    wilson,
)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=30), st.lists(st.integers(0, 6), min_size=1, max_size=30))
def test_auc_equals_sklearn_under_ties(members: list[int], others: list[int]) -> None:
    scores = np.array(members + others, dtype=float)
    truth = np.array([True] * len(members) + [False] * len(others))
    assert auc(scores, truth).value == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)


def test_delong_agrees_with_the_bootstrap() -> None:
    rng = np.random.default_rng(1)
    members, others = np.round(rng.normal(0.7, 1, 300), 1), np.round(rng.normal(0, 1.4, 200), 1)
    labels = np.repeat([True, False], [300, 200])
    scores = np.concatenate([members, others])
    draws = []
    for _ in range(1500):
        pick = np.concatenate([rng.integers(300, size=300), 300 + rng.integers(200, size=200)])
        draws.append(auc(scores[pick], labels).value)
    assert auc(scores, labels).sd == pytest.approx(np.std(draws), rel=0.08)


def test_delong_covers_95_times_of_100() -> None:
    # 600 runs at true coverage .95: the count lies outside [.925, .975] with probability below 1 in 100.
    rng = np.random.default_rng(2)
    truth, hits = 0.6914624612740131, 0  # Phi(1/2): normals 1/sqrt(2) apart
    for _ in range(600):
        found = delong(rng.normal(2**-0.5, 1, 120), rng.normal(0, 1, 90))
        hits += found.low <= truth <= found.high
    assert 0.925 <= hits / 600 <= 0.975


def test_inflation_widens_and_the_edges_are_not_certain() -> None:
    rng = np.random.default_rng(3)
    members, others = rng.normal(size=100), rng.normal(size=100)
    plain, wide = delong(members, others), delong(members, others, inflation=1.15)
    assert wide.high - wide.low == pytest.approx(1.15 * (plain.high - plain.low))
    perfect = delong(np.ones(50), np.zeros(80))
    assert perfect.value == perfect.high == 1.0 and 0.9 < perfect.low < 0.95
    assert delong(np.zeros(50), np.ones(80)).low == 0.0


def test_subjects_are_the_unit_of_chance() -> None:
    rng = np.random.default_rng(4)
    scores = rng.normal(size=300)
    truth = rng.random(300) < 0.4
    once = auc(scores, truth)
    assert auc(scores, truth, np.arange(300)).sd == pytest.approx(once.sd)
    twice = np.tile(np.arange(300), 2)
    doubled = auc(np.tile(scores, 2), np.tile(truth, 2), twice)
    assert doubled.value == pytest.approx(once.value) and doubled.sd == pytest.approx(once.sd, rel=1e-9)
    assert auc(np.tile(scores, 2), np.tile(truth, 2)).sd < 0.8 * once.sd  # rows would claim too much
    assert share(np.tile(truth, 2), twice).sd == pytest.approx(share(truth).sd)


def test_a_paired_difference_is_narrower_than_two_intervals() -> None:
    rng = np.random.default_rng(5)
    truth = rng.random(400) < 0.5
    first = truth + rng.normal(size=400)
    one, other = auc(first, truth), auc(first + 0.1 * rng.normal(size=400), truth)
    gap = one.minus(other)
    assert gap.value == pytest.approx(one.value - other.value)
    assert gap.sd < 0.3 * np.hypot(one.sd, other.sd)


@settings(max_examples=60)
@given(st.integers(1, 400), st.data(), st.sampled_from([0.8, 0.95, 0.99]))
def test_proportions_equal_scipy(trials: int, data: st.DataObject, level: float) -> None:
    hits = data.draw(st.integers(0, trials))
    exact = binomtest(hits, trials).proportion_ci(level, "exact")
    ours = clopper_pearson(hits, trials, level=level)
    assert (ours.low, ours.high) == pytest.approx((exact.low, exact.high), abs=1e-8)
    score = binomtest(hits, trials).proportion_ci(level, "wilson")
    mine = wilson(hits / trials, trials, level=level)
    assert (mine.low, mine.high) == pytest.approx((score.low, score.high), abs=1e-8)


def test_no_trials_say_nothing() -> None:
    nothing = clopper_pearson(0, 0)
    assert (nothing.low, nothing.high) == (0.0, 1.0)


def test_accuracy_interval_follows_the_spread_of_subjects() -> None:
    hits = np.repeat([True, False, True, True], 50)
    plain = accuracy_interval(share(hits))
    assert (plain.low, plain.high) == pytest.approx((wilson(0.75, 199).low, wilson(0.75, 199).high), abs=1e-6)
    clustered = accuracy_interval(share(hits, np.repeat(np.arange(40), 5)))
    assert clustered.high - clustered.low > 2 * (plain.high - plain.low)
    certain = accuracy_interval(share(np.ones(30, dtype=bool)))
    assert certain.high == 1.0 and certain.low < 0.9


def test_top_precision_is_a_fair_coin_on_a_safe_generator() -> None:
    # False alarm of "lower 95% end above 1/2": at most 2.5% a run; over 400 runs above 4.8% by chance 1 in 500.
    rng = np.random.default_rng(6)
    alarms, total = 0, 0.0
    for _ in range(400):
        found, k = top_precision(rng.normal(size=500), rng.normal(size=500), rng=rng)
        assert k == 20
        alarms += found.low > 0.5
        total += found.value
    assert alarms / 400 <= 0.048
    assert total / 400 == pytest.approx(0.5, abs=0.02)


def test_top_precision_sees_a_few_copies_which_auc_does_not() -> None:
    rng = np.random.default_rng(7)
    members, others = rng.normal(size=1000), rng.normal(size=1000)
    members[:40] += 6  # 4% copied
    found, _ = top_precision(members, others, rng=rng)
    assert found.low > 0.85
    assert delong(members, others, inflation=1.15).high < 0.55


def test_ties_are_broken_at_random() -> None:
    found, k = top_precision(np.zeros(1000), np.zeros(1000), rng=np.random.default_rng(8))
    assert k == 40 and 0.25 < found.value < 0.75


def test_advantage_is_not_the_best_in_hindsight() -> None:
    # Coverage of 0 on safe scores: 95%; fewer than 92.5% of 400 by chance: 2 in 100.
    rng = np.random.default_rng(9)
    half = np.repeat([0, 1], 150)
    found = [advantage(rng.normal(size=300), rng.normal(size=300), half, half) for _ in range(400)]
    assert np.mean([f.value for f in found]) == pytest.approx(0, abs=0.01)
    assert np.mean([f.low <= 0 <= f.high for f in found]) >= 0.925


def test_advantage_of_separated_scores_is_one() -> None:
    half = np.repeat([0, 1], 100)
    rng = np.random.default_rng(10)
    found = advantage(5 + rng.random(200), rng.random(200), half, half)
    assert found.value > 0.97 and found.low > 0.9


def test_normal_interval_is_cut_to_its_range() -> None:
    cut = normal_interval(0.99, 0.1)
    assert cut.high == 1.0 and cut.low == pytest.approx(0.99 - 0.196, abs=1e-3)
