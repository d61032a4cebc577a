"""Sampling of a fitted model: rows a second, and how much nearer an even draw keeps the model's pair tables.

Adult where ``../shared`` has it, else the demo's table; all rows are fitted once at epsilon 1, and nothing is
gated or released. tvd1 and tvd2 are mean total variation distances of a draw's tables to the model's own
exact ones (never to real rows), over all columns and all pairs, at as many rows as Adult has.

    OMP_NUM_THREADS=1 python -m benchmarks.bench_sampling [--seeds 5] [--dry]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import get_args

import numpy as np

from benchmarks.bench_marginals import DELTA, errors, tasks
from benchmarks.fitting import fit_all
from benchmarks.records import Record, keep, table
from privsynth.data.records import Draw
from privsynth.generators.marginals import MarginalModel, Marginals
from privsynth.generators.marginals.draw import draw_codes
from privsynth.privacy.budget import Budget

EPSILON, ROWS, MANY = 1.0, 48_842, 1_000_000


def rate(rows: int, work: Callable[[], object]) -> float:
    """Rows a second, the best of three."""
    seconds = []
    for _ in range(3):
        began = perf_counter()
        work()
        seconds.append(perf_counter() - began)
    return rows / min(seconds)


def measure(name: str, model: MarginalModel, *, seed: int) -> list[Record]:
    """Both ways to draw: evenness and speed."""
    found: list[tuple[str, int, str, float, str]] = []
    cells = [model.cells(c) for c in range(len(model.codec.columns))]
    tvd2 = {}
    for draw in get_args(Draw):
        rng = np.random.default_rng(seed)

        codes = partial(draw_codes, weights=model.weights, tables=cells, rng=rng, draw=draw)
        tvd1, tvd2[draw] = errors(model, codes(ROWS))
        found += [(draw, ROWS, "tvd1 to the model", tvd1, ""), (draw, ROWS, "tvd2 to the model", tvd2[draw], "")]
        for n in (ROWS, MANY):
            found.append((draw, n, f"codes, {n:,} rows", rate(n, partial(codes, n)), "rows/s"))
            whole = rate(n, partial(model.sample, n, seed=seed, draw=draw))
            found.append((draw, n, f"frame, {n:,} rows", whole, "rows/s"))
    found.append(("even", ROWS, "tvd2 independent / even", tvd2["independent"] / tvd2["even"], ""))
    return [
        Record("sampling", name, f"privsynth {draw}", EPSILON, DELTA, seed, n, metric, value, unit)
        for draw, n, metric, value, unit in found
    ]


def main() -> None:
    """Measure, keep, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--dry", action="store_true", help="print the figures and keep none")
    asked = parser.parse_args()
    task = tasks()[-1]
    model, _ = fit_all(Marginals(task.schema, Budget(EPSILON, DELTA), target=task.target), task.records)
    for seed in range(asked.seeds):
        records = measure(task.name, model, seed=seed)
        if asked.dry:
            for record in records:
                print(record.seed, record.system, record.metric, f"{record.value:.4g}", record.unit)
        else:
            keep("sampling", records)
    if not asked.dry:
        print(table("sampling"))


if __name__ == "__main__":
    main()
