"""A small hospital for the ledger's tests: a policy that can be edited, a recipe, a clock, a way to tamper."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

from privsynth.ledger.entry import Clock, Entry
from privsynth.ledger.hold import Hold
from privsynth.ledger.layout import LAYOUT, TABLES
from privsynth.ledger.ledger import Ledger
from privsynth.ledger.record import Bought, Line, bought_of
from privsynth.ledger.store import open_ledger
from privsynth.ledger.witness import Witness
from privsynth.policy.document import Policy, parse_policy
from privsynth.privacy.accountant import Prices, mu_squared
from privsynth.privacy.budget import Budget
from privsynth.privacy.events import decode
from privsynth.privacy.filters import GdpFilter

ANALYST, OTHER_ANALYST, READER = "a.kim@st-anna.example", "c.roy@st-anna.example", "q.lee@st-anna.example"
NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
USE: dict[str, Any] = {"purpose": "research", "recipient": "university"}

POLICY = """
privsynth-policy: 1
id: st-anna/research
version: "1"
owner: privacy@st-anna.example
valid: {from: 2026-01-01, until: 2031-12-31}
sources:
  ehr/encounters:
    population: patients
    holdout: 0.2
    subjects: 41250
    unit: patient
    neighbours: add-or-remove
    contribution: {max rows per subject: 12}
purposes:
  research: {legal basis: ["Art6(1)(a)"]}
recipients:
  university: {purposes: [research]}
  institute: {purposes: [research]}
consent: {default: deny, by: not-required, because: made up for tests}
privacy:
  filter: {kind: gdp}
  budget:
    - {over: population, epsilon: 6.0, delta: 2e-8}
    - {over: recipient, epsilon: 3.0, delta: 2e-8}
  per release: {max epsilon: 3.0, max delta: 1e-8, delta below: "1/(1000*subjects)"}
  noise: os-secure-only
data: {min rows: 1000}
gate:
  max attempts: 2
  budget: {share: 0.15}
  schema constraints: true
roles:
  requesters of holds: [analysts]
  readers of internal reports: [quality]
people:
  a.kim@st-anna.example: {roles: [analysts]}
  c.roy@st-anna.example: {roles: [analysts]}
  q.lee@st-anna.example: {roles: [quality]}
"""
SECOND_SOURCE = """
  ehr/{name}:
    population: {population}
    holdout: 0.2
    subjects: 41250
    unit: patient
    neighbours: add-or-remove
    contribution: {{max rows per subject: 12}}
purposes:
  research:"""


def policy(*edits: tuple[str, str]) -> Policy:
    """The hospital's policy after replacing text; each replacement must be found."""
    text = POLICY
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new)
    return parse_policy(text.encode(), path="policy.yaml")


def second_source(name: str, population: str) -> tuple[str, str]:
    """An edit that adds a source."""
    return "\npurposes:\n  research:", SECOND_SOURCE.format(name=name, population=population)


@dataclass(frozen=True)
class Recipe:
    """What a ledger sees of a generator."""

    budget: Budget = field(default_factory=lambda: Budget(1.0, 1e-9))
    source: str = "ehr/encounters"
    unit: str = "patient"
    contribution: int = 12
    kind: str = "marginals"
    selects: bool = False
    trains: bool = False
    target: str = "readmitted"

    def describe(self) -> dict[str, Any]:
        """Its public fields."""
        return {"kind": self.kind, "epsilon": self.budget.epsilon, "delta": self.budget.delta, "target": self.target}

    def check_sampler(self, prices: Prices, *, rows: float, cap_epsilon: float) -> None:
        """Any price will do."""


def recipe(epsilon: float = 1.0, delta: float = 1e-9, **fields: Any) -> Recipe:
    """A recipe at this price."""
    return Recipe(Budget(epsilon, delta), **fields)


@dataclass
class Hands:
    """A clock that is moved by hand."""

    now: datetime = NOON

    def __call__(self) -> datetime:
        return self.now

    def move(self, **by: float) -> None:
        """Forward, or back with negative numbers."""
        self.now += timedelta(**by)


def opened(
    folder: Path,
    rules: Policy | None = None,
    *,
    actor: str = ANALYST,
    clock: Clock | None = None,
    name: str = "l.db",
    witness: Witness | str | None = None,
) -> Ledger:
    """The ledger in ``folder``."""
    url = f"sqlite:///{folder / name}"
    return open_ledger(url, rules or policy(), actor=actor, clock=clock or Hands(), witness=witness)


def fit(hold: Hold, transcript: bytes = b"noisy counts") -> Hold:
    """Take the steps of a fit."""
    hold.open_fit(recipe=hold.recipe, source=hold.source, purpose=hold.purpose, recipient=hold.recipient)
    hold.deposit(transcript)
    return hold


def gate(hold: Hold, **other: str) -> int:
    """Open the gate for the hold's own model and data, or for ``other``."""
    own = {
        "model_hold": hold.id,
        "source": hold.source,
        "population": hold.population,
        "purpose": hold.purpose,
        "recipient": hold.recipient,
    }
    return hold.open_gate(**{**own, **other})


def lines(folder: Path, log: str = "entries", name: str = "l.db") -> list[tuple[int, bytes, str]]:
    """The stored rows of a log."""
    with sqlite3.connect(folder / name) as connection:
        return connection.execute(f"SELECT seq, leaf, hash FROM {log} ORDER BY seq").fetchall()


def kinds(ledger: Ledger, log: str = "main") -> list[str]:
    """The kinds of entry in a log, in order."""
    with ledger.reading() as session:
        return [entry.kind for entry in (session.main if log == "main" else session.attempts)]


def tamper(folder: Path, *statements: tuple[str, tuple[Any, ...]], name: str = "l.db") -> None:
    """Change the file as someone who may write to it could, leaving its tables and triggers as they were."""
    triggers = [sql for sql in TABLES[LAYOUT] if sql.startswith("CREATE TRIGGER")]
    connection = sqlite3.connect(folder / name, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("BEGIN")
    for sql in triggers:
        connection.execute(f"DROP TRIGGER {sql.split()[2]}")
    for statement, values in statements:
        connection.execute(statement, values)
    for sql in triggers:
        connection.execute(sql)
    connection.execute("COMMIT")
    connection.close()


def spent(line: Line) -> Fraction:
    """The exact sum in a line's GDP filter."""
    assert isinstance(line.filter, GdpFilter)
    return line.filter.spent


def holds_in(entries: Iterable[Entry]) -> dict[str, Bought]:
    """The holds that these entries sold."""
    return {entry.body["hold"]: bought_of(entry) for entry in entries if entry.kind == "reserve"}


def holds(ledger: Ledger) -> dict[str, Bought]:
    """Every hold that the ledger records."""
    with ledger.reading() as session:
        return holds_in(session.main)


def paid(ledger: Ledger) -> Fraction:
    """The exact sum of μ² over the holds that the ledger records."""
    return sum((mu_squared(decode(hold.event)) for hold in holds(ledger).values()), Fraction(0))
