"""Fitted models for the tests of the autoregressive generator."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from privsynth.data.records import Split
from privsynth.data.schema import parse_schema
from privsynth.data.tables import read_table
from privsynth.generators.autoregressive import Autoregressive, AutoregressiveModel
from privsynth.ledger.store import Hold, Ledger, open_ledger
from privsynth.policy.consent import filter_consent
from privsynth.policy.document import Policy, load_policy
from privsynth.privacy.budget import Budget
from privsynth.privacy.noise import SeededNoise
from tests.world import ACTOR, POLICY, PURPOSE, RECIPIENT, SCHEMA, register, rows

ODD = """\
privsynth-schema: 1
source: lab/visits
subject: {column: person, at most: 2 rows}
columns:
  person: {kind: identifier}
  smoker: {kind: boolean}
  older: {kind: boolean}
  ill: {kind: boolean}
"""


@dataclass(frozen=True)
class Desk:
    """Everything up to the fit."""

    policy: Policy
    ledger: Ledger
    split: Split
    recipe: Autoregressive

    def hold(self) -> Hold:
        """A new hold for the recipe."""
        return self.ledger.reserve(self.recipe, purpose=PURPOSE, recipient=RECIPIENT, consent="register")


def desk(folder: Path, schema_text: str = SCHEMA, frame: pd.DataFrame | None = None, **fields: Any) -> Desk:
    """A desk over made-up rows."""
    frame = rows() if frame is None else frame
    folder.mkdir(exist_ok=True)
    (folder / "policy.yaml").write_text(POLICY)
    (folder / "consent.csv").write_text(register(frame))
    schema = parse_schema(schema_text)
    policy = load_policy(folder / "policy.yaml")
    ledger = open_ledger(f"sqlite:///{folder / 'ledger.db'}", policy, actor=ACTOR)
    granted = filter_consent(
        read_table(frame, schema),
        policy,
        register=folder / "consent.csv",
        purpose=PURPOSE,
        recipient=RECIPIENT,
    )
    recipe = Autoregressive(schema, Budget(9.0, 1e-8), **fields)
    return Desk(policy, ledger, granted.split(ledger), recipe)


def odd_rows(people: int = 4000) -> pd.DataFrame:
    """Two coins, and whether exactly one of them fell on heads: no pair of columns tells anything."""
    rng = np.random.default_rng(5)
    first, second = rng.random((2, people)) < 0.5
    person = [f"p{i:05d}" for i in range(people)]
    return pd.DataFrame({"person": person, "smoker": first, "older": second, "ill": first ^ second})


@pytest.fixture(scope="session")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Desk, Hold, AutoregressiveModel]:
    """A model by secure noise, with the desk and the hold that it came from."""
    at = desk(tmp_path_factory.mktemp("autoregressive"), target="ill", steps=40)
    hold = at.hold()
    return at, hold, at.recipe.fit(at.split.train, hold)


@pytest.fixture(scope="session")
def model(fitted: tuple[Desk, Hold, AutoregressiveModel]) -> AutoregressiveModel:
    """The model alone."""
    return fitted[2]


@pytest.fixture(scope="session")
def odd(tmp_path_factory: pytest.TempPathFactory) -> AutoregressiveModel:
    """A model of rows with a dependence of three columns and no other."""
    at = desk(tmp_path_factory.mktemp("odd"), ODD, odd_rows(), steps=120, batch=400)
    return at.recipe.fit(at.split.train, at.hold(), noise=SeededNoise(3))
