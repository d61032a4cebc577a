"""Marginals on the demo's table, and on Adult where ``../shared`` has it: error of the model, and seconds.

All rows are fitted and nothing is gated or released. tvd1 and tvd2 are mean total variation distances of
the model's exact tables to the real ones over all columns and all pairs, at the model's cells: the schema's,
or those that the fit bought where the schema leaves them open.

    python -m benchmarks.bench_marginals [--seeds 3]
"""

from __future__ import annotations

import argparse
import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from statsmodels.datasets import randhie

from benchmarks.fitting import fit_all
from benchmarks.records import Record, keep, table
from privsynth.data.codec import Codes
from privsynth.data.records import Records
from privsynth.data.schema import Schema, load_schema
from privsynth.data.tables import read_table
from privsynth.generators.marginals import MarginalModel, Marginals
from privsynth.privacy.budget import Budget

ROOT = Path(__file__).resolve().parents[1]
ADULT = ROOT.parent / "shared/data/adult/adult.parquet"
EPSILONS, DELTA = (0.1, 1.0, 10.0), 1e-9


@dataclass(frozen=True)
class Task:
    """A table to be fitted."""

    name: str
    schema: Schema
    records: Records
    target: str


def tasks() -> list[Task]:
    """What there is to fit on this machine."""
    schema = load_schema(ROOT / "privsynth/pipeline/demo_files/randhie.schema.yaml")
    found = [Task("randhie", schema, read_table(randhie.load_pandas().data, schema), "hlthg")]
    if ADULT.exists():
        adult = load_schema(ROOT / "examples/adult/adult.schema.yaml")
        found.append(Task("adult", adult, read_table(ADULT, adult), "income"))
    return found


def errors(model: MarginalModel, codes: Codes) -> tuple[float, float]:
    """(tvd1, tvd2) between the rows' own tables and the model's exact ones."""
    cells = [model.cells(c) for c in range(codes.shape[1])]
    one, two = [], []
    for c, table_ in enumerate(cells):
        counted = np.bincount(codes[:, c], minlength=table_.shape[1]) / len(codes)
        one.append(np.abs(counted - model.weights @ table_).sum() / 2)
    for i, j in itertools.combinations(range(codes.shape[1]), 2):
        width = cells[j].shape[1]
        flat = codes[:, i].astype(np.int64) * width + codes[:, j]
        counted = np.bincount(flat, minlength=cells[i].shape[1] * width) / len(codes)
        fitted = (cells[i].T @ (model.weights[:, None] * cells[j])).ravel()
        two.append(np.abs(counted - fitted).sum() / 2)
    return float(np.mean(one)), float(np.mean(two))


def measure(task: Task, *, epsilon: float, seed: int) -> list[Record]:
    """One fit by secure noise."""
    model, seconds = fit_all(Marginals(task.schema, Budget(epsilon, DELTA), target=task.target), task.records)
    codes = model.codec.encode(task.records.frame)
    tvd1, tvd2 = errors(model, codes)
    figures = (("tvd1", tvd1, ""), ("tvd2", tvd2, ""), ("seconds", seconds, "s"))
    return [
        Record("marginals", task.name, "privsynth", epsilon, DELTA, seed, len(codes), metric, value, unit)
        for metric, value, unit in figures
    ]


def main() -> None:
    """Measure, keep, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    seeds = parser.parse_args().seeds
    for task in tasks():
        for epsilon in EPSILONS:
            for seed in range(seeds):
                keep("marginals", measure(task, epsilon=epsilon, seed=seed))
    print(table("marginals"))


if __name__ == "__main__":
    main()
