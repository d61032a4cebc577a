"""Marginals on the demo's table, and on Adult where ``../shared`` has it: error of the model, and seconds.

All rows are fitted and nothing is gated or released. tvd1 and tvd2 are mean total variation distances of
the model's exact tables to the real ones at the schema's cells, over all columns and all pairs.

    python -m benchmarks.bench_marginals [--seeds 3]
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
from statsmodels.datasets import randhie

from benchmarks.records import Record, keep, table
from privsynth.data.codec import Codec, Codes
from privsynth.data.records import Records
from privsynth.data.schema import Schema, load_schema
from privsynth.data.tables import read_table
from privsynth.generators.marginals import MarginalModel, Marginals
from privsynth.ledger.store import open_ledger
from privsynth.policy.consent import filter_consent
from privsynth.policy.document import load_policy
from privsynth.privacy.budget import Budget

ROOT = Path(__file__).resolve().parents[1]
ADULT = ROOT.parent / "shared/data/adult/adult.parquet"
EPSILONS, DELTA = (0.1, 1.0, 10.0), 1e-9

POLICY = """\
privsynth-policy: 1
id: bench/{name}
version: "1"
owner: bench@bench.example
valid: {{from: 2020-01-01, until: 2099-12-31}}
sources:
  {source}:
    population: bench
    holdout: 0.000001
    subjects: {subjects}
    unit: {unit}
    neighbours: add-or-remove
    contribution: {{max rows per subject: 1}}
purposes: {{bench: {{legal basis: [public-data]}}}}
recipients: {{bench: {{purposes: [bench]}}}}
consent: {{default: deny, by: not-required, because: a benchmark on public data}}
privacy:
  filter: {{kind: gdp, orders: auto}}
  budget: [{{over: population, epsilon: 25, delta: 2e-8}}]
  per release: {{max epsilon: 20, max delta: 1e-8, delta below: "1/subjects"}}
  noise: os-secure-only
data: {{min rows: 100}}
gate: {{max attempts: 1, budget: {{share: 0}}, schema constraints: true}}
roles: {{requesters of holds: [bench], readers of internal reports: []}}
people: {{bench@bench.example: {{roles: [bench]}}}}
"""


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
    """(tvd1, tvd2) of the model's exact tables to the rows' own."""
    cells = [model.cells(c) for c in range(codes.shape[1])]
    one, two = [], []
    for c, table_ in enumerate(cells):
        real = np.bincount(codes[:, c], minlength=table_.shape[1]) / len(codes)
        one.append(np.abs(real - model.weights @ table_).sum() / 2)
    for i, j in itertools.combinations(range(codes.shape[1]), 2):
        width = cells[j].shape[1]
        flat = codes[:, i].astype(np.int64) * width + codes[:, j]
        real = np.bincount(flat, minlength=cells[i].shape[1] * width) / len(codes)
        fitted = (cells[i].T @ (model.weights[:, None] * cells[j])).ravel()
        two.append(np.abs(real - fitted).sum() / 2)
    return float(np.mean(one)), float(np.mean(two))


def measure(task: Task, *, epsilon: float, seed: int) -> list[Record]:
    """One fit by secure noise, under a policy and ledger of its own."""
    codes = Codec(task.schema).encode(task.records.frame)
    with tempfile.TemporaryDirectory() as folder:
        text = POLICY.format(
            name=task.name,
            source=task.schema.source,
            subjects=len(codes) // 1000 * 1000,
            unit=task.schema.subject.each_row_is_a or "person",
        )
        (Path(folder) / "policy.yaml").write_text(text)
        policy = load_policy(Path(folder) / "policy.yaml")
        ledger = open_ledger(f"sqlite:///{folder}/ledger.db", policy, actor="bench@bench.example")
        split = filter_consent(task.records, policy, purpose="bench", recipient="bench").split(ledger)
        recipe = Marginals(task.schema, Budget(epsilon, DELTA), target=task.target)
        hold = ledger.reserve(recipe, purpose="bench", recipient="bench", consent="none")
        began = perf_counter()
        model = recipe.fit(split.train, hold)
        seconds = perf_counter() - began
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
