"""The fit: what a hold buys, what a transcript is, and that nothing else of the rows gets through."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch

from privsynth.data.count import Counter
from privsynth.errors import BudgetError, HoldError, MissingExtra, SchemaError
from privsynth.generators.marginals import MarginalModel, Marginals
from privsynth.generators.marginals.transcript import MarginalTranscript, Measurement
from privsynth.generators.marginals.workload import Query, Workload
from privsynth.ledger.store import Status
from privsynth.privacy.accountant import mu_squared
from privsynth.privacy.budget import Budget
from privsynth.privacy.noise import NoiseSource, SecureNoise, SeededNoise
from tests.generators.marginals.recorded import Ints, Recorder
from tests.world import PURPOSE, RECIPIENT, World, build, rows


@dataclass
class Log:
    """Keeps what a progress screen would be told."""

    lines: list[tuple[str, int]] = field(default_factory=list)

    def step(self, name: str, total: int) -> None:
        self.lines.append((name, total))

    def advance(self, parts: int = 1) -> None:
        self.lines.append(("advance", parts))


def observable(world: World, model: MarginalModel, log: Log) -> tuple[Any, ...]:
    """Everything of a run that anyone outside could see, less the hold's random id and time, and the mark of the
    drawn identifiers, which is a hash of the model's id and so of those."""
    receipt = {k: v for k, v in model.receipt.to_json().items() if k not in ("hold", "reserved")}
    drawn = model.sample(500, seed=3).frame
    mark = str(drawn["person"][0]).split("-")[1]
    return (
        model.transcript.to_bytes(),
        model.tensors(),
        drawn.to_csv().replace(f"synthetic-{mark}-", "synthetic-"),
        model.held_back_error(),
        receipt,
        tuple(log.lines),
        repr(model),
        repr(world.split),
    )


def test_a_fit_spends_its_hold_and_not_more(world: World) -> None:
    hold = world.hold()
    model = world.recipe.fit(world.split.train, hold)
    spent, cap = model.transcript.mu_squared, mu_squared(hold.prices.fit)
    assert spent <= cap
    assert spent > Fraction(9, 10) * cap, "a tenth of the budget is left unused"
    assert model.receipt.noise == "os-secure"
    assert model.receipt.mu_fit == hold.prices.mu_fit
    assert hold.transcript() == model.transcript.to_bytes()
    assert world.ledger.status(hold.id) is Status.MEASURED


def test_the_row_estimate_is_paid_and_near(world: World) -> None:
    model = world.recipe.fit(world.split.train, world.hold())
    truth = len(world.split.train.records.frame)
    estimate, sigma = model.rows_estimate()
    assert abs(estimate - truth) < 5 * sigma  # false alarm below 1 in a million
    assert sigma > 1


def test_refit_is_free_and_bit_identical(world: World) -> None:
    hold = world.hold()
    model = world.recipe.fit(world.split.train, hold)
    raw = hold.transcript()
    assert raw is not None
    again = world.recipe.refit(MarginalTranscript.from_bytes(raw), model.receipt)
    assert again.tensors() == model.tensors()
    assert again.id == model.id


def test_refit_in_another_process_is_bit_identical(world: World, tmp_path: Path) -> None:
    model = world.recipe.fit(world.split.train, world.hold())
    model.save(tmp_path / "model")
    script = (
        "import sys; from privsynth.generators.marginals import Marginals, load_model;"
        "from privsynth.privacy.budget import Budget;"
        "m = load_model(sys.argv[1]);"
        f"r = Marginals(m.schema, Budget({world.recipe.budget.epsilon!r}, {world.recipe.budget.delta!r}), target='ill',"
        f" steps={world.recipe.steps}, components={world.recipe.components});"
        "assert r.refit(m.transcript, m.receipt).id == m.id"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "model")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_transcript_of_another_recipe_is_refused(world: World) -> None:
    model = world.recipe.fit(world.split.train, world.hold())
    with pytest.raises(HoldError, match="another recipe"):
        replace(world.recipe, steps=61).refit(model.transcript, model.receipt)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda w: replace(w.recipe, steps=61), "recipe"),
        (lambda w: replace(w.recipe, budget=Budget(3.0, 2e-8)), "recipe"),
    ],
)
def test_a_hold_of_another_recipe_is_refused(world: World, change: Any, named: str) -> None:
    with pytest.raises(HoldError, match=named):
        change(world).fit(world.split.train, world.hold())


@pytest.mark.parametrize("side", ["source", "purpose", "recipient"])
def test_a_hold_of_another_source_purpose_or_recipient_is_refused(world: World, side: str) -> None:
    change: dict[str, Any] = {side: "elsewhere"}
    train = replace(world.split.train, **change)
    hold = world.hold()
    with pytest.raises(HoldError, match=side):
        world.recipe.fit(train, hold)
    assert world.ledger.status(hold.id) is Status.RESERVED, "a refused fit does not open the hold"


def test_a_hold_is_fitted_once(world: World) -> None:
    hold = world.hold()
    world.recipe.fit(world.split.train, hold)
    with pytest.raises(HoldError, match="opened for a fit before"):
        world.recipe.fit(world.split.train, hold)


def test_records_of_another_schema_are_refused(world: World, tmp_path: Path) -> None:
    other = build(tmp_path, schema=world_schema_with_a_wider_age())
    with pytest.raises(HoldError, match="another schema"):
        world.recipe.fit(other.split.train, world.hold())


def world_schema_with_a_wider_age() -> str:
    from tests.world import SCHEMA

    return SCHEMA.replace("max: 99", "max: 120")


def test_a_crash_while_measuring_leaves_the_budget_spent(world: World) -> None:
    class Broken(SecureNoise):
        def add(self, exact: Ints, *, sigma: float) -> Ints:
            raise KeyboardInterrupt

    hold = world.hold(request="r1")
    before = world.ledger.balances()
    with pytest.raises(KeyboardInterrupt):
        world.recipe.fit(world.split.train, hold, noise=Broken())
    assert [x.spent_share() for x in world.ledger.balances()] == [x.spent_share() for x in before]
    again = world.hold(request="r1")
    with pytest.raises(HoldError, match="opened for a fit before"):
        world.recipe.fit(world.split.train, again)


def test_changing_denied_rows_changes_no_byte_of_the_transcript(tmp_path: Path) -> None:
    """(b) of the issue: same ledger, hence same coins; seeded noise, hence same draws."""
    frame = rows()
    denied = frozenset(f"p{i:05d}" for i in range(0, 4000, 7))
    altered = frame.copy()
    mask = altered["person"].isin(denied)
    altered.loc[mask, "age"] = 1
    altered.loc[mask, "sex"] = "F"
    altered.loc[mask, "cost"] = 999.0

    def transcript(data: Any) -> bytes:
        world = build(tmp_path, frame=data, deny=denied)
        model = world.recipe.fit(world.split.train, world.hold(), noise=SeededNoise(5))
        assert model.receipt.noise == "seeded"
        return model.transcript.to_bytes()

    base = transcript(frame)
    assert transcript(altered) == base
    granted = frame.copy()
    granted.loc[~mask, "age"] = (granted.loc[~mask, "age"] + 1).clip(0, 99)
    assert transcript(granted) != base, "the check can fail"


def _run(world: World, recipe: Marginals, noise: NoiseSource) -> tuple[Any, ...]:
    log = Log()
    hold = world.ledger.reserve(recipe, purpose=PURPOSE, recipient=RECIPIENT, consent="register")
    model = recipe.fit(world.split.train, hold, noise=noise, progress=log)
    return observable(world, model, log)


def test_replayed_outputs_leave_nothing_else_of_the_rows(tmp_path: Path) -> None:
    """(c) of the issue: whatever a neighbouring table changes beyond the noisy outputs would show."""
    frame = rows()
    neighbour = frame[frame["person"] != "p00000"].reset_index(drop=True)
    a, b = build(_new(tmp_path / "a"), frame=frame), build(_new(tmp_path / "b"), frame=neighbour)
    recorder = Recorder(SecureNoise())
    first = _run(a, a.recipe, recorder)
    second = _run(b, b.recipe, recorder.replay())
    assert first == second


class Leaky(Marginals):
    """A planted fault: the exact number of rows goes into the transcript beside the noise."""

    def _measure(self, counter: Counter, **given: Any) -> MarginalTranscript:
        honest = super()._measure(counter, **given)
        first = honest.measurements[0]
        exact = counter.count((0,), {}).sum()
        counts = first.counts.copy()
        counts[0] += exact % 2
        planted = Measurement(first.stage, first.clique, first.groups, counts, first.sigma, first.contribution)
        return replace(honest, measurements=(planted, *honest.measurements[1:]))


def test_a_planted_exact_count_is_caught(tmp_path: Path) -> None:
    """(c) again: the comparison above does find a leak of N. A neighbour's N differs in parity only if it is
    in the training side and has one row, so several neighbours are tried."""
    frame = rows()
    a = build(_new(tmp_path / "a"), frame=frame)
    leaky = Leaky(a.schema, a.recipe.budget, target="ill", steps=60, components=60)
    recorder = Recorder(SecureNoise())
    first = _run(a, leaky, recorder)
    singles = frame["person"].value_counts()
    caught = False
    for person in singles[singles == 1].index[:12]:  # each is trained on with probability 3/4: all miss in 6e-8
        folder = _new(tmp_path / person)
        for name in ("ledger.db", "ledger.db.key"):
            shutil.copy(tmp_path / "a" / name, folder / name)
        b = build(folder, frame=frame[frame["person"] != person].reset_index(drop=True))
        if _run(b, leaky, recorder.replay()) != first:
            caught = True
            break
    assert caught


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_fields_are_public_and_checked(world: World) -> None:
    with pytest.raises(SchemaError, match="target"):
        Marginals(world.schema, Budget(1.0, 1e-9), target="person")
    with pytest.raises(BudgetError, match="steps"):
        Marginals(world.schema, Budget(1.0, 1e-9), steps=0)
    with pytest.raises(BudgetError, match="components"):
        Marginals(world.schema, Budget(1.0, 1e-9), components=True)
    assert world.recipe.describe()["schema"] == world.schema.to_json()
    assert world.recipe.identity != replace(world.recipe, target=None).identity


def test_a_fit_that_cannot_be_laid_out_is_not_sold(world: World) -> None:
    """Noise beyond the sampler's range: the ledger says so before anything is bought."""
    recipe = replace(world.recipe, budget=Budget(1e-4, 1e-12))
    with pytest.raises(BudgetError, match="sigma"):
        world.ledger.reserve(recipe, purpose=PURPOSE, recipient=RECIPIENT, consent="register", request="small")
    assert world.ledger.find("small") is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is there")
def test_a_device_that_is_not_there_is_told_before_paying(world: World) -> None:
    recipe = replace(world.recipe, device="cuda")
    hold = world.ledger.reserve(recipe, purpose=PURPOSE, recipient=RECIPIENT, consent="register")
    with pytest.raises(MissingExtra, match="CUDA"):
        recipe.fit(world.split.train, hold)
    assert world.ledger.status(hold.id) is Status.RESERVED


def test_a_recipe_is_its_description(world: World) -> None:
    """Whatever a recipe asks, its description gives it back: else a model could never be refitted or gated."""
    asked = Workload(up_to=3, queries=(Query({"sex": ["F", "M"]}), Query({"sex": "F", "ill": True}, 2.0)))
    for recipe in (world.recipe, replace(world.recipe, workload=asked, target=None)):
        again = Marginals.from_description(json.loads(json.dumps(recipe.describe())))
        assert again.identity == recipe.identity


def test_a_workload_with_queries_and_all_triples_is_fitted_and_refits(world: World) -> None:
    asked = Workload(up_to=3, queries=(Query({"sex": "F", "ill": True}, 5.0),))
    recipe = replace(world.recipe, workload=asked)
    hold = world.ledger.reserve(recipe, purpose=PURPOSE, recipient=RECIPIENT, consent="register")
    model = recipe.fit(world.split.train, hold)
    assert {"query", "loose"} <= {m.stage for m in model.transcript.measurements}
    assert model.refits()
