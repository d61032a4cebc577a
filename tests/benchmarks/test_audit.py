"""The audit's own arithmetic, on mechanisms whose μ is known."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from statistics import NormalDist

import numpy as np
import pytest

from benchmarks.auditing import audit, audit_points, exact, scores, small, worst_neighbours
from benchmarks.bench_audit import DELTAS, IF_GAUSSIAN, fit_records, point_records, records
from privsynth.data.codec import Codes
from privsynth.generators.marginals.transcript import MarginalTranscript, Measurement
from privsynth.privacy.noise import SeededNoise, dyadic_at_least

CELLS = [3, 4, 2, 2]


def one_table(codes: Codes, *, sigma: float, noise: SeededNoise) -> MarginalTranscript:
    counts = noise.add(np.bincount(codes[:, 0], minlength=3).astype(np.int64), sigma=sigma)
    return MarginalTranscript((Measurement("one-way", (0,), (None,), counts, sigma, 2),), "made", "seeded")


def test_the_likelihood_ratio_is_that_of_normal_densities() -> None:
    before, after = worst_neighbours(2)
    transcript = small().runs(SeededNoise(1))(after)
    ratio = 0.0
    for m in transcript.measurements:
        for y, x0, x1 in zip(
            *(t.ravel() for t in (m.counts, exact(before, CELLS, m), exact(after, CELLS, m))), strict=True
        ):
            ratio += math.log(NormalDist(float(x1), m.sigma).pdf(y) / NormalDist(float(x0), m.sigma).pdf(y))
    assert scores(transcript, before, after, CELLS)["likelihood"] == pytest.approx(ratio, rel=1e-9)


@pytest.mark.parametrize("mu", [1.0, 3.0])
def test_the_bound_is_below_a_known_mu_and_nears_it(mu: float) -> None:
    """One table of a known μ; 4,000 runs come within 25% at μ = 1 and 15% at μ = 3 (a false alarm in 1,000)."""
    noise, sigma = SeededNoise(2), dyadic_at_least(2 / mu)
    before, after = worst_neighbours(2)

    def run(codes: Codes) -> MarginalTranscript:
        return one_table(codes, sigma=sigma, noise=noise)

    found = audit(run, before, after, CELLS, runs=4000, mu=mu, delta=1e-6, alarm=1e-3)
    assert (0.75 if mu < 2 else 0.85) * 2 / sigma < found.mu <= 2 / sigma
    assert found.epsilon > 0


def test_tables_that_do_not_differ_tell_nothing() -> None:
    before, _ = worst_neighbours(2)
    noise = SeededNoise(3)
    found = audit(
        lambda codes: one_table(codes, sigma=2.0, noise=noise),
        before,
        before,
        CELLS,
        runs=300,
        mu=1.0,
        delta=1e-6,
        alarm=1e-6,
    )
    assert (found.mu, found.epsilon) == (0.0, 0.0)


def test_every_stage_over_cells_is_audited() -> None:
    mechanism = small()
    stages = {m.stage for m in mechanism.runs(SeededNoise(1))(worst_neighbours(2)[0]).measurements}
    assert stages == {"one-way", "held-back", "pair", "triple", "loose", "query"}
    with pytest.raises(Exception, match="more than the hold has left"):
        replace(mechanism, cap=mechanism.cap / 2).runs(SeededNoise(1))(worst_neighbours(2)[0])


def test_the_benchmark_tells_stated_and_found() -> None:
    kept = list(records(20))
    assert {r.metric for r in kept} == {"mu, stated", "mu, lower bound", IF_GAUSSIAN, "epsilon, lower bound"}
    assert {r.system for r in kept} == {"privsynth", "privsynth, cap exceeded"}


def test_the_benchmark_tells_of_whole_fits() -> None:
    kept = list(fit_records(4))
    assert {r.metric for r in kept} == {"mu, stated", "mu, lower bound", "epsilon, stated", "epsilon, lower bound"}
    assert {r.delta for r in kept} == {1e-9, *DELTAS}


def test_epsilon_is_told_at_points_of_the_curve() -> None:
    kept = list(point_records(5))
    assert {r.metric for r in kept} == {"epsilon, stated", "epsilon, lower bound"}
    assert {r.delta for r in kept} == set(DELTAS)
    assert {r.system for r in kept} == {
        "privsynth", "privsynth, contribution forgotten", "privsynth, bought twice"
    }  # fmt: skip


def test_a_bound_of_epsilon_is_that_of_exact_binomial_limits() -> None:
    """A mechanism that shows everything: without one error in n runs, ln((low - δ) / high) of the limits."""
    before, after = worst_neighbours(2)
    run = partial(one_table, sigma=0.25, noise=SeededNoise(4))
    (point,) = audit_points(run, before, after, CELLS, runs=100, mu=1.0, deltas=(1e-3,), alarm=1e-2)
    tail = 1e-2 / 16  # of one limit: four rules, two ways, two rates
    low, high = tail ** (1 / 100), 1 - tail ** (1 / 100)
    assert point.found == pytest.approx(math.log((low - 1e-3) / high), rel=1e-6)
