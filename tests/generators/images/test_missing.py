"""Rows whose picture may be missing: a column of the table says so, and the pictures follow from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from privsynth.data.records import Split
from privsynth.data.schema import Schema, parse_schema
from privsynth.data.tables import read_images
from privsynth.errors import BudgetError
from privsynth.generators.images.model import PicturedModel
from privsynth.generators.images.statistics import ImageStatistics
from privsynth.ledger.store import Hold, Ledger, open_ledger
from privsynth.policy.consent import filter_consent
from privsynth.policy.document import load_policy
from privsynth.privacy.budget import Budget
from tests.generators.images.test_statistics import SCHEMA, rows
from tests.world import ACTOR, POLICY, PURPOSE, RECIPIENT, register

NULLABLE = SCHEMA.replace("size: [8, 8]}", "size: [8, 8], nullable: true}")
FIRST, SECOND = 0.6, 0.05
"""Shares of rows without a picture: of odd digits, of even ones."""


class Desk:
    """Rows of which many have no picture, up to the fit."""

    def __init__(self, folder: Path) -> None:
        frame, pixels = rows()
        rng = np.random.default_rng(5)
        lost = rng.random(len(frame)) < np.where(frame["even"], SECOND, FIRST)
        place = pd.array([None if gone else i for i, gone in enumerate(lost)], dtype="Int64")
        (folder / "policy.yaml").write_text(
            POLICY.replace("subjects: 4000", "subjects: 1000")
            .replace("target: ill", "target: even")
            .replace("[smoker]", "[digit]")
        )
        (folder / "consent.csv").write_text(register(frame))
        self.frame, self.pixels = frame.assign(scan=place), pixels
        self.schema: Schema = parse_schema(NULLABLE)
        policy = load_policy(folder / "policy.yaml")
        self.ledger: Ledger = open_ledger(f"sqlite:///{folder / 'ledger.db'}", policy, actor=ACTOR)
        self.records = read_images(self.frame, self.schema, arrays={"scan": pixels})
        granted = filter_consent(
            self.records, policy, register=folder / "consent.csv", purpose=PURPOSE, recipient=RECIPIENT
        )
        self.split: Split = granted.split(self.ledger)
        self.recipe = ImageStatistics(self.schema, Budget(9.0, 1e-8), by=("digit",), side=6)
        self.hold: Hold = self.ledger.reserve(self.recipe, purpose=PURPOSE, recipient=RECIPIENT, consent="register")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(tmp_path_factory.mktemp("missing"))


@pytest.fixture(scope="module")
def model(desk: Desk) -> PicturedModel:
    return desk.recipe.fit(desk.split.train, desk.hold)


def missing_by(even: Any, missing: Any) -> tuple[float, float]:
    """Shares of rows without a picture: of odd digits, of even ones."""
    flag = np.asarray(even, dtype=np.bool_)
    return float(missing[~flag].mean()), float(missing[flag].mean())


def test_the_table_says_whether_a_picture_is_there(desk: Desk) -> None:
    held = desk.records.pictures["scan"].missing
    assert (desk.records.frame["scan"].isna().to_numpy() == held).all()
    assert set(desk.records.frame["scan"].dropna()) == {"there"}
    table = desk.schema.table
    assert list(table.columns) == list(desk.schema.columns)
    assert table.columns["scan"].kind == "categorical"
    assert table.columns["scan"].nullable


def test_a_picture_that_may_be_missing_is_nothing_to_depend_on(desk: Desk) -> None:
    assert desk.recipe.by == ("digit",)
    assert "scan" not in desk.recipe._sizes


def test_missing_pictures_follow_the_row(desk: Desk, model: PicturedModel) -> None:
    """Standard error of each share about 0.03 (noise and draws): a false alarm once in 1,000 runs at most."""
    real = missing_by(desk.records.frame["even"], desk.records.pictures["scan"].missing)
    drawn = model.sample(4000, seed=2)
    held = drawn.pictures["scan"]
    told = missing_by(drawn.frame["even"], held.missing)
    assert abs(told[0] - real[0]) < 0.12
    assert abs(told[1] - real[1]) < 0.12
    assert (drawn.frame["scan"].isna().to_numpy() == held.missing).all()
    assert not held.pixels[held.missing].any()
    assert held.pixels[~held.missing].reshape(-1, 64).any(1).all()
    assert (drawn.table["scan"].isna().to_numpy() == held.missing).all()
    assert model.codec.encode(drawn.table).shape == (4000, len(model.codec.columns))


def test_rows_can_be_asked_with_or_without_pictures(model: PicturedModel) -> None:
    assert not model.sample(50, where={"scan": "there"}, seed=1).pictures["scan"].missing.any()
    assert model.sample(50, where={"scan": None}, seed=1).pictures["scan"].missing.all()
    half = model.sample(100, balance={"scan": {"there": 0.5, None: 0.5}}, seed=1)
    assert half.pictures["scan"].missing.sum() == 50


def test_pictures_are_told_of_those_that_are_there(desk: Desk, model: PicturedModel) -> None:
    """The mean picture is that of the real ones, not darkened by rows without any: grey levels within a tenth."""
    held = desk.records.pictures["scan"]
    real = float(held.pixels[~held.missing].mean())
    drawn = model.sample(3000, where={"scan": "there"}, seed=3).pictures["scan"].pixels
    assert abs(float(drawn.mean()) - real) < 0.1 * real


def test_a_refit_is_the_same_model(desk: Desk, model: PicturedModel) -> None:
    stored = desk.hold.transcript()
    assert stored is not None
    assert desk.recipe.resume(stored, desk.hold).id == model.id


def test_too_few_people_are_told_before_anything_is_paid(desk: Desk) -> None:
    prices = desk.ledger.quote(
        ImageStatistics(desk.schema, Budget(0.5, 1e-8), by=("digit",)), purpose=PURPOSE, recipient=RECIPIENT
    ).prices
    recipe = ImageStatistics(desk.schema, Budget(0.5, 1e-8), by=("digit",))
    with pytest.raises(BudgetError, match="would be noise: it stands 0"):
        recipe.check_sampler(prices, rows=71.0, cap_epsilon=10.0)
    told = recipe.check_sampler(prices, rows=1e6, cap_epsilon=10.0).outlook()
    assert "coefficients; the mean picture of a value of digit stands" in told[0]


def test_values_that_noise_drowned_are_told(desk: Desk, model: PicturedModel) -> None:
    """Each digit stands out; were there a hundred times fewer rows, none would."""
    assert model.sample(20, seed=1).faint == {}
    told = desk.recipe.faint(model.table, model.receipt.mu_fit / 100)
    assert set(told["digit"]) == {str(d) for d in range(10)}
