import math

import numpy as np
import pytest

from privsynth.validate.bounds import auc_bound
from privsynth.validate.membership.judge import (
    ALARM,
    MISS,
    Paid,
    attack_metrics,
    auc_error,
    auc_limit,
    detectable_auc,
    judge,
    one_run_p,
    powered,
    precision_limit,
    top_k,
)
from privsynth.validate.membership.neighbour import Scores
from privsynth.validate.metric import Metric, Verdict, worst
from privsynth.validate.rates import Interval

LOOSE = Paid(epsilon=10.0, delta=1e-6, mu=1.848)
TIGHT = Paid(epsilon=1.0, delta=1e-6, mu=0.237)


def scores(n: int, rng: np.random.Generator, *, shift: float = 0.0, copied: float = 0.0) -> Scores:
    members = rng.normal(shift, 1, n)
    members[: round(copied * n)] += 8
    half = np.repeat([0, 1], [n // 2, n - n // 2])
    return Scores(members, rng.normal(0, 1, n), half, half)


def figures(given: Scores, paid: Paid) -> tuple[Metric, ...]:
    leak = scores(len(given.members), np.random.default_rng(0), copied=1.0)
    return attack_metrics(given, leak, paid, name="neighbour", title="nearest neighbour", seed=0)


def verdict(given: Scores, paid: Paid) -> Verdict:
    return worst([metric.verdict for metric in figures(given, paid) if metric.verdict])


@pytest.mark.parametrize(
    ("centre", "reach", "enough", "contradicted", "wanted"),
    [
        (0.50, 0.02, True, False, Verdict.PASS),
        (0.54, 0.01, True, False, Verdict.PASS_NOTED),
        (0.55, 0.05, True, False, Verdict.FAIL_LIMIT),
        (0.65, 0.02, True, False, Verdict.FAIL_LEAK_SHOWN),
        (0.50, 0.02, False, False, Verdict.UNDERPOWERED),
        (0.65, 0.02, False, False, Verdict.FAIL_LEAK_SHOWN),
        (0.65, 0.02, True, True, Verdict.CONTRADICTS_GUARANTEE),
    ],
)
def test_each_verdict_fires(centre: float, reach: float, enough: bool, contradicted: bool, wanted: Verdict) -> None:
    found = judge(
        lambda level: Interval(centre, centre - reach, centre + reach, level),
        chance=0.5,
        limit=0.57,
        enough=enough,
        contradicted=contradicted,
    )
    assert found is wanted and wanted.meaning


def test_passing_and_alarming_ask_for_their_own_levels() -> None:
    asked: list[float] = []

    def at(level: float) -> Interval:
        asked.append(level)
        return Interval(0.5, 0.49, 0.51, level)

    judge(at, chance=0.5, limit=0.57, enough=True)
    assert sorted(asked) == pytest.approx([1 - 2 * MISS, 1 - 2 * ALARM / 3])


def test_limits_follow_size_and_guarantee() -> None:
    sizes = (500, 1000, 2000, 10_000, 99_999)
    assert [auc_limit(n, LOOSE) for n in sizes] == pytest.approx([0.57, 0.57, 0.55, 0.53, 0.53])
    assert precision_limit(40, LOOSE) == pytest.approx(0.84, abs=0.01)
    for n in (1000, 10_000):
        assert auc_limit(n, TIGHT) >= auc_bound(TIGHT.mu) + 2 * auc_error(n)
        assert precision_limit(top_k(n), TIGHT) > precision_limit(top_k(n), LOOSE) or n == 1000
    assert top_k(1000) == 40


def test_power_is_known_before_running() -> None:
    assert not any(powered(n, LOOSE) for n in (0, 1, 20, 100, 500))
    assert all(powered(n, paid) for n in (1000, 1500, 2000, 5000, 10_000, 50_000) for paid in (LOOSE, TIGHT))
    assert detectable_auc(1000) == pytest.approx(0.554, abs=0.002)


def test_a_safe_generator_passes() -> None:
    # Computed: each of two figures refuses a perfect generator at most 1 time in 100, and one leaks a
    # note at most 1 time in 100. Of 200 runs more than 11 refused, or more than 7 noted: below 3 in 1,000.
    rng = np.random.default_rng(1)
    found = [verdict(scores(1000, rng), LOOSE) for _ in range(200)]
    assert sum(not v.passed for v in found) <= 11
    assert sum(v is Verdict.PASS_NOTED for v in found) <= 7


def test_a_leak_at_the_limit_is_missed_one_time_in_twenty_at_most() -> None:
    rng = np.random.default_rng(2)
    at_limit = math.sqrt(2) * 0.17637416478  # Phi^-1(.57): AUC .57
    areas = [figures(scores(1000, rng, shift=at_limit), LOOSE)[0].verdict for _ in range(200)]
    assert sum(v is not None and v.passed for v in areas) <= 19  # 5% of 200 is 10; above 19 by chance: 4 in 1,000


def test_sparse_copies_fail_by_the_top_and_not_by_the_auc() -> None:
    rng = np.random.default_rng(3)
    area, top, gain = figures(scores(4000, rng, copied=0.025), LOOSE)
    assert area.verdict is not None and area.verdict.passed
    assert top.verdict is Verdict.FAIL_LEAK_SHOWN
    assert gain.verdict is None and gain.bound is not None and gain.limit is None


def test_half_copies_contradict_a_tight_guarantee_and_not_a_loose_one() -> None:
    leak = scores(1000, np.random.default_rng(4), copied=0.5)
    assert verdict(leak, TIGHT) is Verdict.CONTRADICTS_GUARANTEE
    assert verdict(leak, LOOSE) is Verdict.FAIL_LEAK_SHOWN


def test_a_small_holdout_is_underpowered_unless_the_leak_is_plain() -> None:
    rng = np.random.default_rng(5)
    assert verdict(scores(100, rng), LOOSE) is Verdict.UNDERPOWERED
    assert verdict(scores(100, rng, copied=0.9), LOOSE) is Verdict.FAIL_LEAK_SHOWN


def test_the_one_run_p_value_equals_its_formula() -> None:
    right, guesses, m, epsilon, delta = 7, 9, 50, 0.8, 1e-3
    rate = math.exp(epsilon) / (1 + math.exp(epsilon))

    def tail(least: int) -> float:
        return sum(math.comb(guesses, k) * rate**k * (1 - rate) ** (guesses - k) for k in range(least, guesses + 1))

    slack = max((tail(right - i) - tail(right)) / i for i in range(1, right + 1))
    assert one_run_p(right, guesses, m, epsilon=epsilon, delta=delta) == pytest.approx(tail(7) + 2 * m * delta * slack)
    assert one_run_p(0, 9, 50, epsilon=1, delta=1e-6) == 1.0
    assert one_run_p(40, 40, 2000, epsilon=1, delta=1e-9) < 0.001 < one_run_p(30, 40, 2000, epsilon=1, delta=1e-9)


def test_the_one_run_p_value_keeps_its_level_on_randomised_response() -> None:
    # The tightest case: at p <= 5% the alarm rate is at most 5%; above 7.5% of 600 by chance: 5 in 1,000.
    rng = np.random.default_rng(6)
    rights = rng.binomial(100, math.e / (1 + math.e), size=600)
    assert np.mean([one_run_p(int(r), 100, 200, epsilon=1, delta=0) <= 0.05 for r in rights]) <= 0.075
    broken = rng.binomial(100, math.e**2 / (1 + math.e**2), size=50)
    assert np.mean([one_run_p(int(r), 100, 200, epsilon=1, delta=0) <= 0.05 for r in broken]) > 0.9


def test_worst_of_nothing_passes_nothing() -> None:
    assert worst([]) is Verdict.UNDERPOWERED
    assert worst([Verdict.PASS, Verdict.FAIL_LIMIT, Verdict.PASS_NOTED]) is Verdict.FAIL_LIMIT
