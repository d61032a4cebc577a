"""A small world for tests: a policy, a schema, made-up rows with strong dependence, a ledger."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from privsynth.data.records import Split
from privsynth.data.schema import Schema, parse_schema
from privsynth.data.tables import read_table
from privsynth.generators.marginals import Marginals
from privsynth.ledger.store import Hold, Ledger, open_ledger
from privsynth.policy.consent import filter_consent
from privsynth.policy.document import Policy, load_policy
from privsynth.privacy.budget import Budget

ACTOR = "ana@lab.example"
PURPOSE = "research"
RECIPIENT = "university"

SCHEMA = """\
privsynth-schema: 1
source: lab/visits
subject: {column: person, at most: 2 rows}
columns:
  person: {kind: identifier}
  age: {kind: integer, min: 0, max: 99}
  sex: {kind: categorical, values: [F, M, X]}
  smoker: {kind: boolean, nullable: true}
  cost: {kind: real, min: 0, max: 1000, atoms: [0], decimals: 2}
  seen: {kind: date, min: 2020-01-01, max: 2020-12-31}
  ill: {kind: boolean}
  note: {kind: text, dropped: true}
never: [{sex: X, ill: true}]
"""

POLICY = """\
privsynth-policy: 1
id: lab/visits
version: "1"
owner: office@lab.example
valid: {from: 2020-01-01, until: 2099-12-31}
sources:
  lab/visits:
    population: lab-people
    subjects: 4000
    holdout: 0.25
    unit: person
    neighbours: add-or-remove
    contribution: {max rows per subject: 2}
  lab/other:
    population: other-people
    subjects: 4000
    holdout: 0.25
    unit: person
    neighbours: add-or-remove
    contribution: {max rows per subject: 2}
purposes:
  research: {legal basis: [consent]}
  teaching: {legal basis: [consent]}
recipients:
  university: {purposes: [research, teaching]}
  company: {purposes: [research]}
consent:
  default: deny
  by: register
privacy:
  filter: {kind: gdp, orders: auto}
  budget:
    - {over: population, epsilon: 20.0, delta: 2e-7}
    - {over: recipient, epsilon: 20.0, delta: 2e-7}
  per release: {max epsilon: 10.0, max delta: 1e-7, delta below: "1/(1000*subjects)"}
  noise: os-secure-only
data: {min rows: 500}
gate:
  max attempts: 5
  budget: {share: 0.15}
  schema constraints: true
  fidelity:
    held-back marginals: {max: 0.3}
  membership:
    attack: neighbour
    cut: 0.2
    advantage: {upper bound max: 0.3}
  utility:
    target: ill
    positive: [true]
    accuracy: {at least: 0.35}
    by: [smoker]
    gap: {max: 0.5}
roles:
  requesters of holds: [analysts]
  readers of internal reports: [auditors]
people:
  ana@lab.example: {roles: [analysts]}
  rea@lab.example: {roles: [auditors]}
"""


def rows(people: int = 4000, *, seed: int = 1) -> pd.DataFrame:
    """Made-up visits: older people are dearer and more often ill; about a third come twice."""
    rng = np.random.default_rng(seed)
    visits = rng.choice([1, 2], people, p=[0.7, 0.3])
    person = np.repeat(np.arange(people), visits)
    n = len(person)
    age = np.clip(rng.normal(20 + 50 * rng.random(people), 6)[person].round(), 0, 99).astype(int)
    sex = rng.choice(["F", "M", "X"], people, p=[0.5, 0.45, 0.05])[person]
    ill = (rng.random(n) < 0.1 + 0.7 * (age > 50)) & (sex != "X")
    smoker = pd.array(rng.random(n) < 0.2 + 0.4 * ill, dtype="boolean")
    smoker[rng.random(n) < 0.1] = pd.NA
    cost = np.where(rng.random(n) < 0.3, 0.0, np.clip(rng.gamma(2.0, 40.0 + 2 * age), 0, 1000)).round(2)
    seen = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 366, n), unit="D")
    return pd.DataFrame(
        {
            "person": [f"p{i:05d}" for i in person],
            "age": age,
            "sex": sex,
            "smoker": smoker,
            "cost": cost,
            "seen": seen.astype("datetime64[s]"),
            "ill": ill,
            "note": "free text",
        }
    )


def register(frame: pd.DataFrame, *, deny: frozenset[str] = frozenset()) -> str:
    """A consent register in which everybody but ``deny`` grants research to anyone."""
    lines = ["subject,purpose,recipient,status,from,until"]
    for person in dict.fromkeys(frame["person"]):
        lines.append(f"{person},research,*,{'withdrawn' if person in deny else 'granted'},2020-01-01,")
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class World:
    """Everything up to the fit."""

    folder: Path
    schema: Schema
    policy: Policy
    ledger: Ledger
    split: Split
    recipe: Marginals

    def hold(self, *, request: str | None = None) -> Hold:
        """A hold for the recipe."""
        return self.ledger.reserve(
            self.recipe, purpose=PURPOSE, recipient=RECIPIENT, consent="register", request=request
        )


def build(
    folder: Path,
    *,
    frame: pd.DataFrame | None = None,
    deny: frozenset[str] = frozenset(),
    epsilon: float = 3.0,
    policy: str = POLICY,
    schema: str = SCHEMA,
    steps: int = 60,
    components: int = 60,
) -> World:
    """The world in ``folder``; a ledger that lies there already is used again."""
    data = rows() if frame is None else frame
    (folder / "policy.yaml").write_text(policy)
    (folder / "consent.csv").write_text(register(data, deny=deny))
    loaded = load_policy(folder / "policy.yaml")
    declared = parse_schema(schema)
    ledger = open_ledger(f"sqlite:///{folder / 'ledger.db'}", loaded, actor=ACTOR)
    granted = filter_consent(
        read_table(data, declared), loaded, register=folder / "consent.csv", purpose=PURPOSE, recipient=RECIPIENT
    )
    recipe = Marginals(declared, Budget(epsilon, 1e-8), target="ill", steps=steps, components=components)
    return World(folder, declared, loaded, ledger, granted.split(ledger), recipe)
