"""How near an attack on the measurement comes to what is stated, and that it finds a cap exceeded by a tenth.

Many runs on two neighbouring tables as far apart as two rows can make them (benchmarks/auditing.py). Lower bounds
hold with a chance of 1e-6 to lie above the truth, over all rules of an audit together. "epsilon if the curve is
Gaussian" is the epsilon of the curve with the bound of μ: no lower bound of epsilon, as a mechanism may be told apart
so well at one rule and hardly at those that epsilon is about.

From so few runs no epsilon above about ln(runs / 4) can be found, so epsilon itself is audited at points of the curve
of μ = 1 where it is smaller: the honest mechanism, one that forgets that a subject has four rows, and one that buys
every table twice and pays once.

The same of whole fits (benchmarks/auditing_fits.py): domains, public help and tables over cells, from raw rows.

    python -m benchmarks.bench_audit [--runs 15000] [--points | --fits]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.auditing import Mechanism, audit, audit_points, bought_twice, bound, points, small, worst_neighbours
from benchmarks.auditing_fits import K as FIT_K
from benchmarks.auditing_fits import whole
from benchmarks.records import Record, keep, table
from privsynth.privacy.gdp import epsilon_of, mu_of
from privsynth.privacy.noise import SeededNoise

EPSILONS, DELTA, ALARM, K = (1.0, 3.0, 10.0, 20.0), 1e-9, 1e-6, 2
PLANTED = 1.1
DELTAS, POINT_MU, POINT_K = (1e-3, 1e-2, 1e-1), 1.0, 4
IF_GAUSSIAN = "epsilon if the curve is Gaussian"


def found(mechanism: Mechanism, stated: float, *, system: str, epsilon: float, runs: int, seed: int) -> list[Record]:
    """The bounds of one mechanism beside what is stated of it."""
    before, after = worst_neighbours(K)
    run = mechanism.runs(SeededNoise(seed))
    bound = audit(run, before, after, mechanism.cells, runs=runs, mu=stated, delta=DELTA, alarm=ALARM)
    figures = {
        "mu, stated": stated,
        "mu, lower bound": bound.mu,
        IF_GAUSSIAN: epsilon_of(bound.mu, delta=DELTA),
        "epsilon, lower bound": bound.epsilon,
    }
    return [
        Record("audit", "five rows and two more", system, epsilon, DELTA, seed, runs, metric, value, "")
        for metric, value in figures.items()
    ]


def records(runs: int) -> Iterator[Record]:
    """Of the mechanism at each epsilon, and of one that spends a tenth more μ than it says."""
    for seed, epsilon in enumerate(EPSILONS):
        mu = mu_of(epsilon, DELTA)
        honest = small(k=K, mu=mu)
        yield from found(honest, mu, system="privsynth", epsilon=epsilon, runs=runs, seed=seed)
    more = PLANTED * mu
    faulty = replace(small(k=K, mu=more), cap=Fraction(more) ** 2)
    yield from found(faulty, mu, system="privsynth, cap exceeded", epsilon=epsilon, runs=runs, seed=len(EPSILONS))


def point_records(runs: int) -> Iterator[Record]:
    """Stated and found ε at points of the curve of one μ, of the honest mechanism and of two with planted faults."""
    before, after = worst_neighbours(POINT_K)
    honest = small(k=POINT_K, mu=POINT_MU)
    systems = {
        "privsynth": honest.runs(SeededNoise(10)),
        "privsynth, contribution forgotten": replace(honest, contribution=1).runs(SeededNoise(11)),
        "privsynth, bought twice": bought_twice(honest, SeededNoise(12)),
    }
    for seed, (system, run) in enumerate(systems.items(), start=10):
        points = audit_points(run, before, after, honest.cells, runs=runs, mu=POINT_MU, deltas=DELTAS, alarm=ALARM)
        for p in points:
            for metric, value in (("epsilon, stated", p.stated), ("epsilon, lower bound", p.found)):
                data = f"five rows and four more, delta {p.delta:g}"
                yield Record("audit", data, system, p.stated, p.delta, seed, runs, metric, value, "")


def fit_records(runs: int) -> Iterator[Record]:
    """Of whole fits: bounds of μ and ε at μ = 3, and of ε at points of the curve of μ = 1."""
    data, system = f"whole fits, a thousand people and {FIT_K} rows of one more", "privsynth"
    for seed, mu in ((20, 3.0), (21, POINT_MU)):
        with TemporaryDirectory() as folder:
            target = whole(Path(folder), mu=mu)
            told = target.told(SeededNoise(seed), runs=runs)
        stated = epsilon_of(target.mu, delta=DELTA)
        seen = bound(told, mu=target.mu, delta=DELTA, alarm=ALARM)
        figures = {"mu, stated": target.mu, "mu, lower bound": seen.mu, "epsilon, lower bound": seen.epsilon}
        for metric, value in figures.items():
            yield Record("audit", data, system, stated, DELTA, seed, runs, metric, value, "")
    for p in points(told, mu=target.mu, deltas=DELTAS, alarm=ALARM):
        for metric, value in (("epsilon, stated", p.stated), ("epsilon, lower bound", p.found)):
            yield Record(
                "audit", f"{data}, delta {p.delta:g}", system, p.stated, p.delta, seed, runs, metric, value, ""
            )


def main() -> None:
    """Keep the records and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15_000, help="of each of the two tables")
    parser.add_argument("--points", action="store_true", help="epsilon at points of the curve alone")
    parser.add_argument("--fits", action="store_true", help="whole fits alone")
    given = parser.parse_args()
    if not given.points and not given.fits:
        keep("audit", records(given.runs))
    if not given.fits:
        keep("audit", point_records(given.runs))
    if not given.points:
        keep("audit", fit_records(given.runs))
    print(table("audit"))


if __name__ == "__main__":
    main()
