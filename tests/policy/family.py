"""A base policy and a child of it, as texts."""

from __future__ import annotations

import hashlib
from pathlib import Path

BASE = """\
privsynth-policy: 1
id: house/base
version: "1"
owner: board@house.example
base: true
privacy:
  budget:
    - {over: population, epsilon: 8.0, delta: 2e-8}
  per release: {max epsilon: 3.0, max delta: 1e-9, delta below: "1/(1000*subjects)"}
  noise: os-secure-only
data: {min rows: 5000}
gate:
  max attempts: 5
  budget: {share: 0.15}
  schema constraints: true
  fidelity: {held-back marginals: {max: 0.08}}
retention: {model: 365d}
roles:
  overlap: refused
"""

CHILD = """\
privsynth-policy: 1
id: house/child
version: "1"
owner: child@house.example
extends: {file: base.yaml, sha256: "PIN"}
valid: {from: 2026-01-01, until: 2030-12-31}
sources:
  house/rows:
    population: house-people
    subjects: 40000
    holdout: 0.2
    unit: person
    neighbours: add-or-remove
    contribution: {max rows per subject: 4}
purposes:
  research: {legal basis: [Art6(1)(a)]}
recipients:
  lab: {purposes: [research]}
consent: {default: deny, by: register}
privacy:
  filter: {kind: gdp}
  budget:
    - {over: population, epsilon: 6.0, delta: 2e-8}
  per release: {max epsilon: 1.0, max delta: 1e-9, delta below: "1/(1000*subjects)"}
data:
  min rows: 5000
gate:
  max attempts: 3
  budget: {share: 0.15}
  schema constraints: true
retention: {model: 30d}
roles:
  requesters of holds: [analysts]
  readers of internal reports: []
people:
  a@house.example: {roles: [analysts]}
"""


def pinned(
    folder: Path, base: str, child: str, in_base: list[tuple[str, str]], in_child: list[tuple[str, str]]
) -> Path:
    """Write both with texts replaced, the child with the pin of the base as written; its path."""
    for old, new in in_base:
        assert old in base, old
        base = base.replace(old, new)
    for old, new in in_child:
        assert old in child, old
        child = child.replace(old, new)
    (folder / "base.yaml").write_text(base)
    path = folder / "child.yaml"
    path.write_text(child.replace("PIN", hashlib.sha256(base.encode()).hexdigest()))
    return path
