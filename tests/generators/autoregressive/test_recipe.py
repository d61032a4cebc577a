"""Whole autoregressive fits, from a hold to drawn rows, a saved model and a published transcript."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from privsynth.data.codec import Between
from privsynth.data.records import Model
from privsynth.data.schema import parse_schema
from privsynth.data.tables import violations
from privsynth.errors import BudgetError, ConditionError, HoldError, ModelError, NetworkError, SchemaError, SeededNoise
from privsynth.generators.autoregressive import Autoregressive, AutoregressiveModel, load_network
from privsynth.generators.autoregressive.transcript import AutoregressiveTranscript
from privsynth.generators.kept import load_model, load_transcript
from privsynth.ledger.store import Hold
from privsynth.privacy.accountant import mu_squared
from privsynth.privacy.budget import Budget
from privsynth.privacy.noise import SeededNoise as Seeded
from privsynth.privacy.sampled import dominating_mu
from privsynth.release.gate import gate
from tests.generators.autoregressive.conftest import Desk, desk, odd_rows
from tests.world import SCHEMA

Fitted = tuple[Desk, Hold, AutoregressiveModel]


# --- what is learned -----------------------------------------------------------------------------


def test_a_dependence_that_no_pair_shows_is_learned(odd: AutoregressiveModel) -> None:
    # Of 3,000 subjects at epsilon 9: 0.989 to 0.996 agree, 0.951 to 0.977 given the others (3 seeds of noise); pairs
    # alone give 0.5.
    frame = odd.sample(20_000, seed=1).frame
    agrees = (frame["smoker"] ^ frame["older"]) == frame["ill"]
    assert agrees.mean() > 0.85
    given = odd.sample(4_000, where={"smoker": True, "ill": True}, seed=1).frame
    assert 1 - given["older"].mean() > 0.75
    assert abs(frame["older"].mean() - 0.5) < 0.05


def test_columns_keep_their_paid_shares(model: AutoregressiveModel) -> None:
    codes = model.codes(40_000, rng=np.random.default_rng(1))
    for c, column in enumerate(model.codec.columns):
        level = model.ground.columns[c].level
        told = np.bincount(level[codes[:, c]], minlength=level.max() + 1) / len(codes)
        wanted = np.bincount(level, weights=model.table.share(c))
        # by the chance of 16,384 and 40,000 rows: at most about 0.015 for eight levels
        assert np.abs(told - wanted).sum() / 2 < 0.03, column.name


def test_the_held_back_tables_are_compared_with_the_networks_rows(odd: AutoregressiveModel) -> None:
    told, paid = odd.held_back_error(), odd.table.held_back_error()
    assert told is not None and paid is not None
    assert told.cliques == (("smoker", "older", "ill"),)
    assert told.upper < 0.15 < 0.4 < paid.upper  # 0.015 to 0.028 and 0.50 to 0.51 (3 seeds of noise)


# --- what is paid --------------------------------------------------------------------------------


def test_tables_and_steps_together_cost_no_more_than_the_hold(fitted: Fitted) -> None:
    at, hold, model = fitted
    plan, cap = model.transcript.plan, mu_squared(hold.prices.fit)
    steps = Fraction(dominating_mu(plan.event, delta=hold.prices.delta_steps)) ** 2
    table = model.transcript.table.mu_squared
    assert table <= at.recipe.share * cap
    assert Fraction(85, 100) * cap < table + steps <= cap * (1 + Fraction(1, 1000))  # the check rounds up by 0.02%
    assert plan.subjects == hold.training_subjects == 3000
    assert model.transcript.steps_run == plan.steps == 40
    assert hold.leased == 40
    assert hold.transcript() == model.transcript.to_bytes()


def test_plan_and_size_follow_from_declared_sizes_alone(fitted: Fitted, tmp_path: Path) -> None:
    at, hold, model = fitted
    again = at.recipe.steps_for(hold.prices.mu_fit, hold.prices.delta_steps, hold.training_subjects)
    assert again == model.transcript.plan
    assert again.copies == 2
    assert model.transcript.weights["inlet.weight"].shape[0] == at.recipe.size(hold.prices.mu_fit, 3000).hidden


def test_a_drowned_network_is_refused_before_anything_is_spent(tmp_path: Path) -> None:
    at = desk(tmp_path, target="ill", steps=40)
    poor = replace(at.recipe, budget=Budget(0.5, 1e-8))
    with pytest.raises(BudgetError, match="would drown the network") as told:
        at.ledger.reserve(poor, purpose="research", recipient="university", consent="register")
    assert "Marginals" in str(told.value)
    bold = replace(poor, though_drowned=True)
    held = at.ledger.reserve(bold, purpose="research", recipient="university", consent="register")
    (line,) = bold.check_sampler(held.prices, rows=held.training_subjects, cap_epsilon=held.cap_epsilon).outlook()
    assert "40 steps" in line


def test_a_hold_of_another_recipe_pays_for_nothing(fitted: Fitted) -> None:
    at, hold, _ = fitted
    other = replace(at.recipe, levels=4)
    with pytest.raises(HoldError):
        other.fit(at.split.train, hold)
    with pytest.raises(HoldError):
        at.recipe.fit(at.split.train, hold)  # opened before


# --- rows ----------------------------------------------------------------------------------------


def test_rows_keep_every_rule_and_condition(model: AutoregressiveModel) -> None:
    frame = model.sample(5_000, seed=3).frame
    assert not any(mask.any() for _, mask in violations(frame, model.schema))
    assert list(frame) == [c for c, d in model.schema.columns.items() if not d.dropped]
    assert frame["person"].is_unique
    asked = model.sample(
        3_000, where={"sex": ["F", "M"], "age": Between(30, 41), "cost": 0, "smoker": None}, seed=4
    ).frame
    assert set(asked["sex"]) == {"F", "M"}
    assert asked["age"].between(30, 41).all()
    assert (asked["cost"] == 0).all()
    assert asked["smoker"].isna().all()
    even = model.sample(3_000, balance={"smoker": "equal", "ill": {True: 0.2, False: 0.8}}, where={"age": 50}, seed=5)
    assert even.frame.groupby(["smoker", "ill"]).size().tolist() == [1200, 300, 1200, 300]


def test_the_same_seed_gives_the_same_rows_whatever_order_columns_are_named_in(model: AutoregressiveModel) -> None:
    one = model.sample(500, where={"ill": True, "smoker": False}, seed=9)
    other = model.sample(500, where={"smoker": False, "ill": True}, seed=9)
    assert one.frame.equals(other.frame)
    assert not one.frame.equals(model.sample(500, where={"ill": True, "smoker": False}, seed=10).frame)


def test_no_network_draws_pictures_that_guidance_could_push(model: AutoregressiveModel) -> None:
    with pytest.raises(ConditionError, match="drawn by a network"):
        model.sample(3, guidance=1.0)


# --- what is kept --------------------------------------------------------------------------------


def test_a_transcript_gives_the_same_model_again(fitted: Fitted) -> None:
    at, hold, model = fitted
    as_model: Model = model
    assert as_model.kind == "autoregressive"
    raw = model.transcript.to_bytes()
    again = AutoregressiveTranscript.from_bytes(raw)
    assert again.to_bytes() == raw
    assert at.recipe.refit(again, model.receipt).id == model.id
    assert at.recipe.resume(raw, hold).sample(200, seed=1).frame.equals(model.sample(200, seed=1).frame)
    assert model.refits()
    assert Autoregressive.from_description(model.recipe).identity == at.recipe.identity


def test_weights_of_another_size_are_refused(fitted: Fitted) -> None:
    at, _, model = fitted
    cut = {name: w[:-1] if name == "outlet.bias" else w for name, w in model.transcript.weights.items()}
    with pytest.raises(ModelError, match="another table"):
        at.recipe.refit(replace(model.transcript, weights=cut), model.receipt)
    wild = {name: w * np.float32(np.nan) for name, w in model.transcript.weights.items()}
    with pytest.raises(ModelError):
        AutoregressiveTranscript.from_bytes(replace(model.transcript, weights=wild).to_bytes())


def test_a_saved_model_is_the_same_and_an_altered_one_is_refused(model: AutoregressiveModel, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    assert load_model(tmp_path / "model").id == load_network(tmp_path / "model").id == model.id
    file = tmp_path / "model" / "transcript.safetensors"
    raw = bytearray(file.read_bytes())
    raw[-3] ^= 1
    file.write_bytes(raw)
    with pytest.raises(ModelError):
        load_model(tmp_path / "model")


def test_a_published_transcript_is_read_back_and_tells_its_price(
    model: AutoregressiveModel, odd: AutoregressiveModel, tmp_path: Path
) -> None:
    model.published().write(tmp_path / "transcript")
    found = load_transcript(tmp_path / "transcript")
    assert found.model == model.id == found.refit().id
    told = found.to_json()
    assert told["training"]["plan"] == model.transcript.plan.to_json()
    assert {w["name"] for w in told["training"]["weights"]} == set(model.transcript.weights)
    with pytest.raises(SeededNoise):
        odd.published().files()


def test_the_gate_lets_a_model_pass(fitted: Fitted) -> None:
    at, hold, model = fitted
    approved = gate(model, at.split, hold=hold, policy=at.policy)
    assert approved.model.id == model.id
    assert approved.release(model.sample(1_000, seed=2)).model_id == model.id


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("levels", 1),
        ("hidden", 0),
        ("batch", 1.5),
        ("steps", True),
        ("copies", 65),
        ("table_share", 1.0),
        ("learning_rate", "fast"),
        ("clipping_norm", 0),
        ("device", "abacus"),
    ],
)
def test_fields_out_of_range_are_refused(field: str, value: object) -> None:
    with pytest.raises(BudgetError) as told:
        Autoregressive(parse_schema(SCHEMA), Budget(1.0, 1e-8), **{field: value})  # type: ignore[arg-type]
    assert told.value.where == f"Autoregressive.{field}"


def test_a_target_that_is_no_column_is_refused() -> None:
    with pytest.raises(SchemaError) as told:
        Autoregressive(parse_schema(SCHEMA), Budget(1.0, 1e-8), target="note")
    assert told.value.where == "Autoregressive.target"


def test_a_fit_leaves_the_global_random_states_alone(tmp_path: Path) -> None:
    from tests.generators.autoregressive.conftest import ODD

    at = desk(tmp_path, ODD, odd_rows(), steps=2, hidden=4, batch=50)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]
    model = at.recipe.fit(at.split.train, at.hold(), noise=Seeded(1))
    model.sample(100, seed=1)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # type: ignore[index]
    assert model.receipt.noise == "seeded" == model.transcript.noise


def test_a_machine_that_is_too_small_is_told_before_anything_is_spent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from privsynth.privacy.dpsgd import memory
    from tests.generators.autoregressive.conftest import ODD

    at = desk(tmp_path, ODD, odd_rows(), steps=2, hidden=4, batch=50)
    hold = at.hold()
    monkeypatch.setattr(memory, "free_memory", lambda device: 4096)
    with pytest.raises(NetworkError):
        at.recipe.fit(at.split.train, hold)
    monkeypatch.undo()
    assert at.recipe.fit(at.split.train, hold).receipt.hold == hold.id  # the hold was never opened
