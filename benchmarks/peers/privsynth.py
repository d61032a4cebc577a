"""privsynth by its public API: schema, policy, ledger, hold, ``Split.benchmark``, fit, sample.

The table's codes are its values. Without options it is what is shipped by default.
Options: components=NUMBER, steps=NUMBER, target=none.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import dp_accounting.pld  # noqa: F401  loaded before the clock starts, as every peer's library is
import numpy as np
import numpy.typing as npt
import pandas as pd
import torch  # noqa: F401

import privsynth as ps
from benchmarks.peers.protocol import Draw, Fit, Job, main
from privsynth.data.codec import Codec
from privsynth.data.records import Split
from privsynth.data.schema import parse_schema
from privsynth.generators.marginals import MarginalModel

POLICY = """\
privsynth-policy: 1
id: bench/table
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
    contribution: {{max rows per subject: {rows}}}
purposes: {{bench: {{legal basis: [public-data]}}}}
recipients: {{bench: {{purposes: [bench]}}}}
consent: {{default: deny, by: not-required, because: a benchmark on public data}}
privacy:
  filter: {{kind: gdp, orders: auto}}
  budget: [{{over: population, epsilon: {epsilon}, delta: {delta}}}]
  per release: {{max epsilon: {epsilon}, max delta: {delta}, delta below: "1/subjects"}}
  noise: os-secure-only
data: {{min rows: 100}}
gate: {{max attempts: 1, budget: {{share: 0}}, schema constraints: true}}
roles: {{requesters of holds: [bench], readers of internal reports: []}}
people: {{bench@bench.example: {{roles: [bench]}}}}
"""


def policy_text(*, source: str, subjects: int, unit: str, rows: int, epsilon: float, delta: float) -> str:
    """A benchmark's policy: no gate's share, a budget for one release, the size declared to the last full thousand
    (hundred, below a thousand)."""
    declared = subjects // 1000 * 1000 or subjects // 100 * 100
    room = f"{1.25 * epsilon + 0.1:.6g}"
    return POLICY.format(
        source=source, subjects=declared, unit=unit, rows=rows, epsilon=room, delta=f"{min(2 * delta, 1e-6):.3g}"
    )


def schema_json(job: Job) -> dict[str, Any]:
    """The schema of a coded table: one cell a code; null is a null, not one more value of an order."""
    columns: dict[str, Any] = {}
    for name, size, ordered, nullable in zip(job.columns, job.sizes, job.ordered, job.nullable, strict=True):
        values = size - nullable
        if ordered and values >= 2:
            columns[name] = {"kind": "integer", "min": 0, "max": values - 1}
            if values > 256:
                columns[name]["bins"] = list(range(1, values))
        else:
            columns[name] = {"kind": "categorical", "values": list(range(values)), "ordered": ordered}
        if nullable:
            columns[name]["nullable"] = True
    subject = {"each row is a": "record", "a person has at most": "1 row"}
    return {"privsynth-schema": 1, "source": "bench/table", "subject": subject, "columns": columns}


def prepare(job: Job) -> Fit:
    """The schema and the frame; the fit reads, asks consent, splits, reserves and fits."""
    schema = parse_schema(json.dumps(schema_json(job)))
    held = zip(job.columns, job.codes.T, job.sizes, job.nullable, strict=True)
    frame = pd.DataFrame({name: _values(codes, size, nullable) for name, codes, size, nullable in held})
    target = job.columns[job.target] if job.target >= 0 and job.options.get("target") != "none" else None
    more: dict[str, Any] = {name: int(job.options[name]) for name in ("components", "steps") if name in job.options}
    recipe = ps.Marginals(schema, ps.Budget(job.epsilon, job.delta), target=target, **more)
    codec = Codec(schema)

    def fit() -> Draw:
        model = fit_all(recipe, frame, job.told)
        return lambda n: codec.encode(model.sample(n, seed=job.seed).frame)

    return fit


def _values(codes: npt.NDArray[np.int32], size: int, nullable: bool) -> pd.Series:
    """A column's codes as its values; the last as null where the column has one."""
    values = pd.Series(codes, dtype="int64")
    return values.astype("Int64").mask(values == size - 1) if nullable else values


def fit_all(recipe: ps.Marginals, source: pd.DataFrame | Path, told: dict[str, float]) -> MarginalModel:
    """Read, ask consent, split, reserve, fit every row, under a policy and a ledger of its own."""
    schema, budget = recipe.schema, recipe.budget
    records = ps.read_table(source, schema)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "policy.yaml"
        path.write_text(
            policy_text(
                source=schema.source,
                subjects=len(np.unique(records.subjects.astype(object))),
                unit=recipe.unit or "person",
                rows=recipe.contribution,
                epsilon=budget.epsilon,
                delta=budget.delta,
            )
        )
        policy = ps.load_policy(path)
        ledger = ps.open_ledger(f"sqlite:///{folder}/ledger.db", policy, actor="bench@bench.example")
        granted = ps.filter_consent(records, policy, purpose="bench", recipient="bench")
        hold = ledger.reserve(recipe, purpose="bench", recipient="bench", consent="none")
        train = Split.benchmark(granted, ledger).train
        began = perf_counter()
        model = recipe.fit(train, hold)
        told["seconds_fit"] = perf_counter() - began
    return model


if __name__ == "__main__":
    main(prepare)
