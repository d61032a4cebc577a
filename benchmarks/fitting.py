"""A recipe fitted to every row of a table, under a policy and a ledger of its own; nothing is gated or released."""

from __future__ import annotations

import tempfile
from pathlib import Path
from time import perf_counter
from typing import Protocol, TypeVar

import dp_accounting.pld  # noqa: F401  loaded before any clock starts, as every peer's library is
import numpy as np
import torch  # noqa: F401

import privsynth as ps
from privsynth.data.records import Records, Split, Train
from privsynth.data.schema import Schema
from privsynth.ledger.store import Hold
from privsynth.privacy.priced import Priced

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
    room, most = f"{1.25 * epsilon + 0.1:.6g}", min(2 * delta, max(1e-6, 1.2 * delta))
    return POLICY.format(source=source, subjects=declared, unit=unit, rows=rows, epsilon=room, delta=f"{most:.3g}")


M_co = TypeVar("M_co", covariant=True)


class Fits(Priced, Protocol[M_co]):
    """A recipe, with the type of its models."""

    @property
    def schema(self) -> Schema:
        """Of the rows."""
        ...

    def fit(self, train: Train, hold: Hold) -> M_co:
        """Spend the hold."""
        ...


def fit_all(recipe: Fits[M_co], records: Records) -> tuple[M_co, float]:
    """Ask consent, split, reserve, fit every row by secure noise: the model, and seconds of the fit alone."""
    schema, budget = recipe.schema, recipe.budget
    text = policy_text(
        source=schema.source,
        subjects=len(np.unique(records.subjects.astype(object))),
        unit=recipe.unit or "person",
        rows=recipe.contribution,
        epsilon=budget.epsilon,
        delta=budget.delta,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "policy.yaml"
        path.write_text(text)
        policy = ps.load_policy(path)
        ledger = ps.open_ledger(f"sqlite:///{folder}/ledger.db", policy, actor="bench@bench.example")
        granted = ps.filter_consent(records, policy, purpose="bench", recipient="bench")
        hold = ledger.reserve(recipe, purpose="bench", recipient="bench", consent="none")
        train = Split.benchmark(granted, ledger).train
        began = perf_counter()
        model = recipe.fit(train, hold)
        return model, perf_counter() - began
