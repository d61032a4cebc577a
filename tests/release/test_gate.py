"""The gate: whom it refuses before reading, what it refuses after, and what it never shows."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from privsynth.data.codec import Between
from privsynth.data.records import Granted, Split, Synthetic
from privsynth.data.schema import parse_schema
from privsynth.data.tables import read_table
from privsynth.errors import HoldError, PolicyError, PrivsynthError, ReleaseRefused, RequestDenied, SeededNoise
from privsynth.generators.base import check_rows
from privsynth.generators.marginals import MarginalModel
from privsynth.ledger.store import Hold, Ledger, Status, open_ledger
from privsynth.policy.consent import filter_consent
from privsynth.policy.document import Policy, parse_policy
from privsynth.privacy.accountant import mu_squared, share_out
from privsynth.privacy.budget import Budget
from privsynth.privacy.events import Provenance
from privsynth.privacy.noise import SeededNoise as Seeded
from privsynth.progress import SILENT
from privsynth.release.claims import Claims, Finding
from privsynth.release.gate import Approved, approved, check_rules, gate
from privsynth.release.rules import Bench, evaluate, utility_out_of_reach
from tests.world import ACTOR, POLICY, PURPOSE, RECIPIENT, SCHEMA, World, build, rows


@pytest.fixture
def fitted(tmp_path: Path) -> tuple[World, Hold, MarginalModel]:
    """A world with a fitted model and its hold."""
    world = build(tmp_path)
    hold = world.hold()
    return world, hold, world.recipe.fit(world.split.train, hold)


Fitted = tuple[World, Hold, MarginalModel]


def test_a_correct_model_passes_and_is_recorded(fitted: Fitted) -> None:
    world, hold, model = fitted
    verdict = gate(model, world.split, hold=hold, policy=world.policy)
    assert [f.rule for f in verdict.claims.findings] == [
        "PS-GATE-SCH",
        "PS-GATE-ROW",
        "PS-GATE-FID",
        "PS-GATE-MEM",
        "PS-GATE-UTI",
        "PS-GATE-GAP",
    ]
    assert all(f.passed and f.figure and re.search(r"policy\.yaml:\d+$", f.where) for f in verdict.claims.findings)
    assert world.ledger.status(hold.id) is Status.APPROVED
    assert world.ledger.attempts("lab-people") == 1
    again = approved(model, hold=hold, policy=world.policy)
    assert again.claims == verdict.claims


def test_the_verdict_is_inherited_by_conditional_samples_of_the_same_model_only(fitted: Fitted) -> None:
    world, hold, model = fitted
    verdict = gate(model, world.split, hold=hold, policy=world.policy)
    assert verdict.release(model.sample(50, where={"sex": "F"}, seed=1)).generator == "marginals"
    other = replace(model, rows=model.rows + 1)
    with pytest.raises(HoldError, match="another model"):
        verdict.release(other.sample(50, seed=1))


# --- (e): whom the gate refuses before it reads anything -------------------------------------------


def _split(world: World, **changes: Any) -> Split:
    split = world.split
    return replace(split, train=replace(split.train, **changes), holdout=replace(split.holdout, **changes))


@pytest.mark.parametrize("field", ["population", "source", "purpose", "recipient"])
def test_a_split_of_elsewhere_is_refused(fitted: Fitted, field: str) -> None:
    world, hold, model = fitted
    with pytest.raises(HoldError, match=field):
        gate(model, _split(world, **{field: "elsewhere"}), hold=hold, policy=world.policy)
    assert world.ledger.attempts("lab-people") == 0


UNPAID = (
    POLICY.partition("  fidelity:")[0].replace("share: 0.15", "share: 0") + "roles:" + POLICY.partition("roles:")[2]
)
"""The gate's free rules only, and no share."""


def _granted(world: World) -> Granted:
    records = read_table(rows(), world.schema)
    register = world.folder / "consent.csv"
    return filter_consent(records, world.policy, register=register, purpose=PURPOSE, recipient=RECIPIENT)


def test_a_benchmark_s_split_is_refused_whoever_fitted(tmp_path: Path) -> None:
    world = build(tmp_path, policy=UNPAID)
    hold = world.hold()
    model = world.recipe.fit(world.split.train, hold)
    everyone = Split.benchmark(_granted(world), world.ledger)
    for split in (
        everyone,
        replace(world.split, holdout=everyone.holdout),
        replace(everyone, holdout=world.split.holdout),
    ):
        with pytest.raises(HoldError, match=r"Split\.benchmark"):
            gate(model, split, hold=hold, policy=world.policy)
    assert world.ledger.attempts("lab-people") == 0
    assert gate(model, world.split, hold=hold, policy=world.policy).claims.findings, "its own split passes"


def test_a_model_of_a_benchmark_is_refused_with_any_split(tmp_path: Path) -> None:
    """The ledger knows: neither a split of the same ledger, drawn otherwise, nor marks taken off help."""
    world = build(tmp_path, policy=UNPAID)
    hold = world.hold()
    everyone = Split.benchmark(_granted(world), world.ledger)
    model = world.recipe.fit(everyone.train, hold)
    unmarked = {side: replace(getattr(everyone, side), benchmark=False) for side in ("train", "holdout")}
    for split in (world.split, replace(everyone, **unmarked)):
        with pytest.raises(HoldError, match=r"Split\.benchmark"):
            gate(model, split, hold=hold, policy=world.policy)
    assert world.ledger.attempts("lab-people") == 0


def test_a_hold_that_pays_for_a_gate_is_not_for_a_benchmark(tmp_path: Path) -> None:
    world = build(tmp_path)
    hold = world.hold()
    with pytest.raises(HoldError, match="share 0"):
        world.recipe.fit(Split.benchmark(_granted(world), world.ledger).train, hold)
    assert world.ledger.status(hold.id) is Status.RESERVED, "nothing was spent"


def test_another_hold_than_the_model_s_is_refused(fitted: Fitted) -> None:
    world, _, model = fitted
    other = world.hold()
    world.recipe.fit(world.split.train, other)
    with pytest.raises(HoldError, match="model"):
        gate(model, world.split, hold=other, policy=world.policy)


def test_a_hold_of_another_recipe_is_refused(fitted: Fitted) -> None:
    world, _, model = fitted
    recipe = replace(world.recipe, steps=61)
    other = world.ledger.reserve(recipe, purpose="research", recipient="university", consent="register")
    with pytest.raises(HoldError):
        gate(model, world.split, hold=other, policy=world.policy)


def test_a_hold_is_gated_once(fitted: Fitted) -> None:
    world, hold, model = fitted
    gate(model, world.split, hold=hold, policy=world.policy)
    with pytest.raises(HoldError, match="gated before"):
        gate(model, world.split, hold=hold, policy=world.policy)
    assert world.ledger.attempts("lab-people") == 1


def test_a_model_with_seeded_noise_is_refused(tmp_path: Path) -> None:
    world = build(tmp_path)
    hold = world.hold()
    model = world.recipe.fit(world.split.train, hold, noise=Seeded(1))
    with pytest.raises(SeededNoise) as error:
        gate(model, world.split, hold=hold, policy=world.policy)
    assert error.value.exit_code == 4
    washed = replace(model, receipt=replace(model.receipt, noise="os-secure"))
    assert washed.transcript.noise == "seeded"
    with pytest.raises(SeededNoise):
        gate(washed, world.split, hold=hold, policy=world.policy)


def test_a_model_that_was_not_measured_is_refused(tmp_path: Path, fitted: Fitted) -> None:
    world, _, model = fitted
    hold = world.hold()
    forged = replace(model, receipt=replace(model.receipt, hold=hold.id))
    with pytest.raises(HoldError, match="receipt"):
        gate(forged, world.split, hold=hold, policy=world.policy)


def test_a_model_that_is_not_the_transcript_s_is_refused(fitted: Fitted) -> None:
    """A model put together by hand, under a true receipt: the gate fits the transcript's own model."""
    world, hold, model = fitted
    tables = np.roll(model.tables, 1, axis=0)
    forged = replace(model, tables=tables, transcript=replace(model.transcript, noise="os-secure", recipe="x"))
    with pytest.raises(HoldError, match="transcript"):
        gate(forged, world.split, hold=hold, policy=world.policy)


def test_attempts_are_counted_for_ever_and_before_computing(tmp_path: Path) -> None:
    world = build(tmp_path, policy=POLICY.replace("max attempts: 5", "max attempts: 1"))
    for attempt in (1, 2):
        hold = world.hold()
        model = world.recipe.fit(world.split.train, hold)
        if attempt == 1:
            gate(model, world.split, hold=hold, policy=world.policy)
        else:
            with pytest.raises(ReleaseRefused) as error:
                gate(model, world.split, hold=hold, policy=world.policy)
            assert error.value.rules == ("PS-GATE-ATT",)


# --- what it refuses after reading ------------------------------------------------------------------


class Copier:
    """A planted leak: hands out training rows, under a true receipt."""

    def __init__(self, model: MarginalModel, frame: pd.DataFrame) -> None:
        self._model = model
        self._frame = frame

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def sample(self, n: int, *, seed: int | None = None, **_: Any) -> Synthetic:
        drawn = self._frame.sample(n, replace=True, random_state=seed or 1).reset_index(drop=True)
        return Synthetic(drawn, self._model.schema, self._model.receipt, self._model.id, {})


def test_a_copying_generator_is_refused_without_a_figure(tmp_path: Path) -> None:
    world = build(tmp_path, policy=POLICY.replace("upper bound max: 0.3", "upper bound max: 0.2"), epsilon=10.0)
    hold = world.hold()
    model = world.recipe.fit(world.split.train, hold)
    leaky = Copier(model, world.split.train.records.frame)
    with pytest.raises(ReleaseRefused) as error:
        gate(leaky, world.split, hold=hold, policy=world.policy)
    assert error.value.rules == ("PS-GATE-MEM",)
    assert error.value.exit_code == 1
    assert "0.2" in str(error.value), "the limit is told"
    numbers = set(re.findall(r"0\.\d{3,}", str(error.value)))
    assert not numbers, "no measured figure is told"
    assert world.ledger.status(hold.id) is Status.REFUSED
    with pytest.raises(HoldError):
        approved(model, hold=hold, policy=world.policy)


LIMITS = [
    ("at_least", "accuracy: {at least: 0.35}", "accuracy: {at least: 0.999}", "PS-GATE-UTI"),
    ("gap", "gap: {max: 0.5}", "gap: {max: 0.0001}", "PS-GATE-GAP"),
    ("fidelity", "held-back marginals: {max: 0.3}", "held-back marginals: {max: 0.0001}", "PS-GATE-FID"),
    ("membership", "upper bound max: 0.3", "upper bound max: 0.0001", "PS-GATE-MEM"),
    ("rows", "min rows: 500", "min rows: 2999", ""),
    ("groups", "min rows: 500", "min rows: 500, min subjects per group: 400", "PS-GATE-GRP"),
]


@pytest.mark.parametrize(("old", "new", "rule"), [x[1:] for x in LIMITS], ids=[x[0] for x in LIMITS])
def test_each_rule_can_refuse(tmp_path: Path, old: str, new: str, rule: str) -> None:
    """Membership: of copies. A bound that holds 95 times in 100 would let an innocent model pass now and then."""
    policy = POLICY.replace(old, new)
    assert policy != POLICY
    people = rows(3000 if rule else 1500)
    world = build(tmp_path, policy=policy, frame=people)
    hold = world.hold()
    model = world.recipe.fit(world.split.train, hold)
    judged = Copier(model, world.split.train.records.frame) if rule == "PS-GATE-MEM" else model
    with pytest.raises(ReleaseRefused) as error:
        gate(judged, world.split, hold=hold, policy=world.policy)
    assert (rule or "PS-GATE-ROW") in error.value.rules


# --- rules that this schema cannot answer -----------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("target: ill", "target: note", "note"),
        ("by: [smoker]", "by: [person]", "person"),
        ("positive: [true]", "positive: {above: 3}", "positive"),
        ("positive: [true]", "positive: [maybe]", "maybe"),
    ],
)
def test_rules_that_the_schema_cannot_answer_are_refused_before_spending(
    tmp_path: Path, old: str, new: str, word: str
) -> None:
    world = build(tmp_path)
    policy = parse_policy(POLICY.replace(old, new).encode(), path="p.yaml")
    with pytest.raises(PrivsynthError, match=word) as error:
        check_rules(policy, world.schema)
    assert isinstance(error.value, PolicyError) or error.value.exit_code == 2
    assert error.value.mend


def test_a_rule_on_a_computed_column_names_those_that_it_follows_from() -> None:
    schema = parse_schema(SCHEMA + 'determines: [{rule: sex -> smoker, map: [[F, "true"], [M, "false"], [X, "true"]]}]')
    with pytest.raises(PolicyError, match="'smoker' is computed from sex") as caught:
        check_rules(parse_policy(POLICY.encode(), path="p.yaml"), schema)
    assert caught.value.mend == "name sex instead"
    assert caught.value.where.startswith("p.yaml:")


def test_groups_of_enough_people_pass_and_say_so(tmp_path: Path) -> None:
    """Of about 660 held-out people some 66 do not say whether they smoke: sd 7, noise 5, and the bound is above 20."""
    world = build(
        tmp_path, policy=POLICY.replace("min rows: 500", "min rows: 500, min subjects per group: 20"), epsilon=10.0
    )
    hold = world.hold()
    model = world.recipe.fit(world.split.train, hold)
    verdict = gate(model, world.split, hold=hold, policy=world.policy)
    assert isinstance(verdict, Approved)
    [found] = [f for f in verdict.claims.findings if f.rule == "PS-GATE-GRP"]
    assert found.passed and found.figure is not None and "smallest: smoker" in found.figure
    assert found.where == world.policy.where("data", "min subjects per group")


def test_groups_of_numbers_are_stretches(tmp_path: Path) -> None:
    policy = POLICY.replace("by: [smoker]", "by: [age, smoker]").replace("gap: {max: 0.5}", "gap: {max: 0.95}")
    world = build(tmp_path, policy=policy, epsilon=10.0)
    hold = world.hold()
    model = world.recipe.fit(world.split.train, hold)
    verdict = gate(model, world.split, hold=hold, policy=world.policy)
    assert isinstance(verdict, Approved)
    gap = next(f for f in verdict.claims.findings if f.rule == "PS-GATE-GAP")
    assert gap.figure is not None
    assert "of 8 groups" in gap.figure


def forced(model: MarginalModel, **cells: int) -> MarginalModel:
    """The model with all its mass on one cell of each of these columns."""
    tables, within = model.tables.copy(), list(model.within)
    for name, cell in cells.items():
        c = model.codec.index[name]
        groups, start = model.groups[c], sum(int(g.max()) + 1 for g in model.groups[:c])
        width = int(groups.max()) + 1
        tables[:, start : start + width] = np.eye(width)[groups[cell]]
        within[c] = np.where(groups == groups[cell], np.arange(len(groups)) == cell, within[c])
    return replace(model, tables=tables, within=tuple(within))


def test_a_model_that_hardly_draws_a_row_the_schema_allows_is_refused_by_that(fitted: Fitted) -> None:
    """Noise alone can do this to a model of very few people: a refusal by rule, not an error, and not a lost gate."""
    world, hold, model = fitted

    class Barren(Copier):
        """The model in everything but what it draws."""

        def sample(self, n: int, **asked: Any) -> Synthetic:
            return forced(model, sex=2, ill=1).sample(n, **asked)

    with pytest.raises(ReleaseRefused, match="PS-GATE-SCH schema constraints") as refused:
        gate(Barren(model, pd.DataFrame()), world.split, hold=hold, policy=world.policy)
    assert refused.value.rules == ("PS-GATE-SCH",)
    assert world.ledger.status(hold.id) is Status.REFUSED


def under(world: World, folder: Path, old: str, new: str) -> tuple[Ledger, Split, Policy]:
    """The ledger under a policy that says ``new``, and the split with consent read under it."""
    policy = parse_policy(POLICY.replace(old, new).encode(), path="policy.yaml")
    ledger = open_ledger(f"sqlite:///{folder}/ledger.db", policy, actor=ACTOR)
    sides: Any = {name: replace(getattr(world.split, name), policy=policy.sha256) for name in ("train", "holdout")}
    return ledger, replace(world.split, **sides), policy


SECOND = ('version: "1"', 'version: "2"')
TIGHTER = ("max epsilon: 10.0", "max epsilon: 0.5")
ADULTS = ("    neighbours: add-or-remove\n", "    neighbours: add-or-remove\n    minors: {column: age, below: 40}\n")


def test_a_hold_is_fitted_under_the_policy_in_use_if_that_allows_it(tmp_path: Path) -> None:
    world = build(tmp_path, policy=POLICY)
    hold = world.hold()
    ledger, split, _ = under(world, tmp_path, *TIGHTER)
    with pytest.raises(RequestDenied) as caught:
        world.recipe.fit(split.train, ledger.hold(hold.id))
    assert caught.value.rules == ("PS-BUD-001",) and ledger.status(hold.id) == "reserved"
    ledger, split, second = under(world, tmp_path, *SECOND)
    with pytest.raises(HoldError, match="another policy"):
        world.recipe.fit(world.split.train, ledger.hold(hold.id))
    model = world.recipe.fit(split.train, ledger.hold(hold.id))
    passed = gate(model, split, hold=ledger.hold(hold.id), policy=second)
    assert passed.policy is second and passed.claims.findings


@pytest.mark.parametrize("change", [SECOND, ADULTS], ids=["version", "minors"])
def test_a_model_of_rows_that_another_policy_chose_is_not_gated(tmp_path: Path, change: tuple[str, str]) -> None:
    """What the release's policy says of whose rows were fitted would be untrue; no attempt is counted."""
    world = build(tmp_path, policy=POLICY)
    hold = world.hold()
    model = world.recipe.fit(world.split.train, hold)
    ledger, split, policy = under(world, tmp_path, *change)
    with pytest.raises(HoldError, match="rows that policy"):
        gate(model, split, hold=ledger.hold(hold.id), policy=policy)
    assert ledger.attempts("lab-people") == 0
    again = open_ledger(f"sqlite:///{tmp_path}/ledger.db", world.policy, actor=ACTOR)
    assert gate(model, world.split, hold=again.hold(hold.id), policy=world.policy).claims.findings


def test_a_training_goes_on_under_its_own_policy_alone(tmp_path: Path) -> None:
    world = build(tmp_path, policy=POLICY)
    hold, train = world.hold(), world.split.train
    bought: Any = {"source": train.source, "purpose": train.purpose, "recipient": train.recipient}
    hold.open_fit(recipe=world.recipe.identity, **bought)
    assert hold.lease(5) == 1
    ledger, _, _ = under(world, tmp_path, *TIGHTER)
    with pytest.raises(HoldError, match="rows that policy"):
        ledger.hold(hold.id).lease(10)
    assert hold.lease(10) == 6


def test_an_index_that_hides_which_policy_chose_the_rows_opens_no_gate(tmp_path: Path) -> None:
    world = build(tmp_path, policy=POLICY)
    hold = world.hold()
    ledger, split, _ = under(world, tmp_path, *SECOND)
    model = world.recipe.fit(split.train, ledger.hold(hold.id))
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as cut, cut:
        triggers = cut.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            cut.execute(f'DROP TRIGGER "{name}"')
        cut.execute("DELETE FROM found WHERE name = ?", (f"hold {hold.id}",))
        for _, sql in triggers:
            cut.execute(sql)
    with pytest.raises(PrivsynthError):
        gate(model, world.split, hold=hold, policy=world.policy)
    assert world.ledger.attempts("lab-people") == 0


def test_an_approval_stands_under_the_policy_that_gave_it(fitted: Fitted) -> None:
    world, hold, model = fitted
    gate(model, world.split, hold=hold, policy=world.policy)
    other = parse_policy(POLICY.replace('version: "1"', 'version: "2"').encode(), path="p.yaml")
    with pytest.raises(HoldError, match="policy changed"):
        approved(model, hold=hold, policy=other)


def test_a_model_older_than_the_policy_keeps_one_draws_no_more(tmp_path: Path) -> None:
    world = build(tmp_path, policy=POLICY + "retention: {model: 30d}\n")
    hold = world.hold()
    model = world.recipe.fit(world.split.train, hold)
    gate(model, world.split, hold=hold, policy=world.policy)

    def seen_after(days: int) -> Hold:
        later = datetime.now(UTC) + timedelta(days=days)
        return replace(hold, ledger=replace(world.ledger, clock=lambda: later))

    assert approved(model, hold=seen_after(29), policy=world.policy).model is model
    with pytest.raises(RequestDenied) as caught:
        approved(model, hold=seen_after(31), policy=world.policy)
    assert caught.value.rules == ("PS-RET-001",) and "30d" in str(caught.value)
    hold = world.hold()
    model = world.recipe.fit(world.split.train, hold)
    with pytest.raises(RequestDenied) as caught:
        gate(model, world.split, hold=seen_after(31), policy=world.policy)
    assert caught.value.rules == ("PS-RET-001",) and world.ledger.attempts("lab-people") == 1


@pytest.mark.parametrize(
    ("share", "wanted"), [("share: 0.15", None), ("share: 0.0002", "accuracy"), ("share: 0.02", "gap")]
)
def test_limits_that_no_model_could_be_shown_to_keep_are_known_before_spending(share: str, wanted: str | None) -> None:
    tight = POLICY.replace("share: 0.15", share).replace("gap: {max: 0.5}", "gap: {max: 0.2}")
    policy = parse_policy(tight.encode(), path="p.yaml")
    mu_gate = share_out(Budget(3.0, 1e-8), gate_share=policy.gate.budget.share).mu_gate
    asked = {"subjects": 4000, "holdout": 0.25, "mu_gate": mu_gate}
    assert utility_out_of_reach(policy, contribution=2, **asked) == wanted


# --- what was put together by hand ------------------------------------------------------------------


def test_a_forged_receipt_is_refused_by_gate_and_approval(fitted: Fitted) -> None:
    world, hold, model = fitted
    forged = replace(model, receipt=replace(model.receipt, epsilon=0.01, mu=0.001))
    with pytest.raises(HoldError, match="receipt"):
        gate(forged, world.split, hold=hold, policy=world.policy)
    gate(model, world.split, hold=hold, policy=world.policy)
    with pytest.raises(HoldError):
        approved(forged, hold=hold, policy=world.policy)


def test_forged_tables_under_a_true_transcript_are_refused_by_gate_and_approval(fitted: Fitted) -> None:
    world, hold, model = fitted
    forged = replace(model, tables=np.roll(model.tables, 1, axis=0))
    with pytest.raises(HoldError, match="transcript gives"):
        gate(forged, world.split, hold=hold, policy=world.policy)
    gate(model, world.split, hold=hold, policy=world.policy)
    with pytest.raises(HoldError, match="another model"):
        approved(forged, hold=hold, policy=world.policy)


def test_an_approval_made_by_hand_releases_nothing(fitted: Fitted) -> None:
    world, hold, model = fitted
    claims = Claims((Finding("PS-GATE-MEM", "membership", True, "x", "y", "paid", "p:1"),))
    with pytest.raises(HoldError, match="no such approval"):
        Approved(model, claims, world.policy, hold).release(model.sample(10, seed=1))
    verdict = gate(model, world.split, hold=hold, policy=world.policy)
    with pytest.raises(HoldError, match="no such approval"):
        replace(verdict, claims=claims).release(model.sample(10, seed=1))


def test_rows_changed_after_the_draw_do_not_leave(fitted: Fitted) -> None:
    world, hold, model = fitted
    verdict = gate(model, world.split, hold=hold, policy=world.policy)
    drawn = model.sample(50)
    real = world.split.train.records.frame.head(50)
    swapped = drawn.frame.assign(age=real["age"].astype("int64").to_numpy())
    for frame in (swapped, drawn.frame.head(49)):
        with pytest.raises(HoldError, match="not the rows"):
            verdict.release(replace(drawn, frame=frame))
    assert verdict.release(drawn).synth.frame.equals(drawn.frame)


def test_a_balanced_draw_is_drawn_again_as_it_was_asked(fitted: Fitted) -> None:
    world, hold, model = fitted
    verdict = gate(model, world.split, hold=hold, policy=world.policy)
    drawn = model.sample(60, balance={"sex": {"F": 0.5, "M": 0.5}, "ill": "equal"}, where={"age": Between(20, 70)})
    released = verdict.release(drawn).synth
    assert released.frame.equals(drawn.frame) and released.balance == drawn.balance
    loose = model.sample(60, draw="independent")
    assert verdict.release(loose).synth.draw == "independent"
    for other in (replace(drawn, balance={}), replace(drawn, balance={"ill": "equal"}), replace(loose, draw="even")):
        with pytest.raises(HoldError, match="not the rows"):
            verdict.release(other)


def test_a_split_of_another_ledger_is_refused_by_fit_and_gate(fitted: Fitted, tmp_path: Path) -> None:
    world, hold, model = fitted
    (tmp_path / "other").mkdir()
    other = build(tmp_path / "other")
    with pytest.raises(HoldError, match="ledger"):
        gate(model, other.split, hold=hold, policy=world.policy)
    with pytest.raises(HoldError, match="another ledger"):
        world.recipe.fit(other.split.train, world.hold())


def test_swapped_sides_are_refused(fitted: Fitted) -> None:
    world, hold, model = fitted
    sides: Any = {"train": world.split.holdout, "holdout": world.split.train}
    swapped = replace(world.split, **sides)
    with pytest.raises(HoldError, match="sides"):
        gate(model, swapped, hold=hold, policy=world.policy)
    side: Any = world.split.holdout
    with pytest.raises(HoldError, match="training side"):
        world.recipe.fit(side, world.hold())


def test_consent_read_under_another_policy_is_refused(fitted: Fitted) -> None:
    world, _, _ = fitted
    with pytest.raises(HoldError, match="another policy"):
        world.recipe.fit(replace(world.split.train, policy="0" * 64), world.hold())


def test_rows_of_subjects_are_counted_to_the_last_character(fitted: Fitted) -> None:
    """ "p" and "p\\0" with as many rows as were bought each are two subjects."""
    world, _, _ = fitted
    train = world.split.train
    ids = train.records.subjects
    alike = np.array([ids[0], f"{ids[0]}\0"], dtype=object)
    records = replace(train.records, frame=train.records.frame.iloc[: 2 * train.contribution])
    check_rows(replace(train, records=replace(records, subjects=np.repeat(alike, train.contribution))), world.hold())
    with pytest.raises(HoldError, match="rows of a subject"):
        check_rows(
            replace(train, records=replace(records, subjects=np.repeat(ids[:1], 2 * train.contribution))), world.hold()
        )


def test_more_rows_of_a_subject_than_were_bought_are_refused(fitted: Fitted) -> None:
    world, hold, model = fitted
    records = world.split.train.records
    twice = replace(
        records,
        frame=pd.concat([records.frame] * 3, ignore_index=True),
        subjects=np.concatenate([records.subjects] * 3),
    )
    for train in (replace(world.split.train, records=twice), replace(world.split.train, contribution=1)):
        with pytest.raises(HoldError, match="rows of a subject"):
            world.recipe.fit(train, world.hold())
    split = replace(world.split, holdout=replace(world.split.holdout, contribution=1))
    with pytest.raises(HoldError, match="contribution"):
        gate(model, split, hold=hold, policy=world.policy)


def test_noise_is_not_secure_by_its_word(tmp_path: Path) -> None:
    class Liar:
        provenance: Provenance = "os-secure"

        def add(self, exact: npt.NDArray[np.int64], *, sigma: float) -> npt.NDArray[np.int64]:
            return exact

    world = build(tmp_path)
    hold = world.hold()
    model = world.recipe.fit(world.split.train, hold, noise=Liar())
    assert model.receipt.noise == "seeded"
    with pytest.raises(SeededNoise):
        gate(model, world.split, hold=hold, policy=world.policy)


def test_the_gate_s_tables_cost_at_most_what_the_hold_set_aside(tmp_path: Path) -> None:
    """With k = 2, two rules and two groupings: Σ (Δ/σ)² over every paid table, by the tables' own sensitivities."""
    world = build(tmp_path, policy=POLICY.replace("by: [smoker]", "by: [age, smoker]"))
    hold = world.hold()
    model = world.recipe.fit(world.split.train, hold)

    class Tap:
        provenance: Provenance = "seeded"

        def __init__(self) -> None:
            self.cost = Fraction(0)
            self.tables = 0

        def add(self, exact: npt.NDArray[np.int64], *, sigma: float) -> npt.NDArray[np.int64]:
            sensitivity = 1 if exact.shape == (2, 2) else hold.contribution
            self.cost += Fraction(sensitivity) ** 2 / Fraction(sigma) ** 2
            self.tables += 1
            return exact

    tap = Tap()
    evaluate(Bench.set_up(model, world.split, hold=hold, policy=world.policy), noise=tap, progress=SILENT)
    assert tap.tables == 3
    assert hold.contribution == 2
    paid_for = mu_squared(hold.prices.gate)
    assert Fraction(8, 10) * paid_for < tap.cost <= paid_for
