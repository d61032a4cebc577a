"""A whole fit by diffusion, from a hold to drawn rows: price, refit, what labels do, what a crash leaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from privsynth.data import unrolled
from privsynth.data.guidance import MOST_GUIDANCE
from privsynth.data.records import Granted, Split
from privsynth.data.schema import Schema, parse_schema
from privsynth.data.tables import read_images
from privsynth.errors import BudgetError, ConditionError, HoldError, MemoryShort, ModelError, NetworkError, SchemaError
from privsynth.generators.images import diffused
from privsynth.generators.images.diffused import DiffusedModel
from privsynth.generators.images.diffusion import ImageDiffusion
from privsynth.generators.images.edm import few
from privsynth.generators.images.networks import drawn
from privsynth.generators.images.pretrained import PublicWeights
from privsynth.generators.images.published import PublishedPictures
from privsynth.generators.images.trained import TrainedTranscript
from privsynth.generators.kept import load_model, load_transcript
from privsynth.generators.training import CheckpointFiles
from privsynth.ledger.store import Hold, Ledger, open_ledger
from privsynth.policy.consent import filter_consent
from privsynth.policy.document import load_policy
from privsynth.privacy.accountant import mu_squared, share_out
from privsynth.privacy.budget import Budget
from privsynth.privacy.dpsgd import memory
from privsynth.privacy.noise import SeededNoise
from privsynth.privacy.sampled import dominating_mu
from tests.release.test_gate import UNPAID
from tests.world import ACTOR, POLICY, PURPOSE, RECIPIENT, register

SCHEMA = """\
privsynth-schema: 1
source: lab/visits
subject: {column: person, at most: 2 rows}
columns:
  person: {kind: identifier}
  bright: {kind: boolean}
  striped: {kind: categorical, values: [none, lying, upright]}
  scan: {kind: image, size: [8, 8]}
"""
SMALL: dict[str, Any] = {"network": "latent", "channels": 8, "steps": 15, "copies": 2, "warm_up": 20, "side": 4}


def rows(n: int = 1500) -> tuple[pd.DataFrame, Any]:
    """Pictures of 8 × 8: dark or bright, with stripes or none; some people have two."""
    rng = np.random.default_rng(0)
    bright, striped = rng.random(n) < 0.5, rng.integers(0, 3, n)
    wave = np.array([1.0, 1, -1, -1, 1, 1, -1, -1])
    pattern = np.stack([np.zeros((8, 8)), np.tile(wave[:, None], (1, 8)), np.tile(wave[None], (8, 1))])
    pixels = 70 + 110 * bright[:, None, None] + 40 * pattern[striped] + rng.normal(scale=8, size=(n, 8, 8))
    frame = pd.DataFrame(
        {
            "person": [f"p{i * 2 // 3:05d}" for i in range(n)],
            "bright": bright,
            "striped": np.array(["none", "lying", "upright"])[striped],
        }
    )
    return frame, np.clip(pixels, 0, 255).astype(np.uint8)


class Desk:
    """Everything up to the fit: 4,000 people declared, of whom 1,000 are there."""

    def __init__(self, folder: Path, policy: str = POLICY) -> None:
        frame, pixels = rows()
        folder.mkdir(exist_ok=True)
        policy = policy.replace("target: ill", "target: bright").replace("[smoker]", "[striped]")
        (folder / "policy.yaml").write_text(policy)
        (folder / "consent.csv").write_text(register(frame))
        self.schema: Schema = parse_schema(SCHEMA)
        self.policy = load_policy(folder / "policy.yaml")
        self.ledger: Ledger = open_ledger(f"sqlite:///{folder / 'ledger.db'}", self.policy, actor=ACTOR)
        records = read_images(frame, self.schema, arrays={"scan": pixels})
        self.granted: Granted = filter_consent(
            records, self.policy, register=folder / "consent.csv", purpose=PURPOSE, recipient=RECIPIENT
        )
        self.split: Split = self.granted.split(self.ledger)

    def recipe(self, **given: Any) -> ImageDiffusion:
        return ImageDiffusion(self.schema, Budget(9.0, 1e-8), by=("bright", "striped"), **{**SMALL, **given})

    def hold(self, recipe: ImageDiffusion) -> Hold:
        return self.ledger.reserve(recipe, purpose=PURPOSE, recipient=RECIPIENT, consent="register")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(tmp_path_factory.mktemp("diffused"))


@pytest.fixture(scope="module")
def hold(desk: Desk) -> Hold:
    return desk.hold(desk.recipe())


@pytest.fixture(scope="module")
def model(desk: Desk, hold: Hold) -> DiffusedModel:
    return desk.recipe().fit(desk.split.train, hold)


# --- price ---------------------------------------------------------------------------------------


def test_a_fit_spends_its_hold_and_not_more(desk: Desk, model: DiffusedModel, hold: Hold) -> None:
    """Tables, sums and steps by their own prices; the gate has the rest of the hold."""
    recipe, transcript = desk.recipe(), model.transcript
    cap = mu_squared(hold.prices.fit)
    sums = PublishedPictures(recipe.first, model.receipt, transcript.first, "")
    bought = transcript.first.table.mu_squared + sum(map(sums.mu_squared, transcript.first.told), Fraction(0))
    steps = Fraction(dominating_mu(transcript.plan.event, delta=hold.prices.delta_steps)) ** 2
    assert bought + recipe.left(hold.prices.mu_fit) <= cap
    assert steps <= recipe.left(hold.prices.mu_fit) * (1 + Fraction(1, 1000))
    assert Fraction(85, 100) * cap < bought + steps
    assert cap + mu_squared(hold.prices.gate) <= Fraction(hold.prices.mu) ** 2
    assert hold.transcript() == transcript.to_bytes()
    assert (model.receipt.noise, transcript.steps_run) == ("os-secure", 15)


def test_the_steps_follow_from_declared_sizes(desk: Desk, model: DiffusedModel, hold: Hold) -> None:
    plan = model.transcript.plan
    assert plan == desk.recipe().plan(hold.prices, hold.training_subjects)
    assert plan.subjects == hold.training_subjects == 3000.0
    assert plan.divisor == pytest.approx(750)
    assert hold.leased == 15


def test_noise_that_drowns_a_network_is_refused_before_anything_is_spent(desk: Desk) -> None:
    recipe = replace(desk.recipe(network="unet", channels=64), budget=Budget(1.5, 1e-8))
    with pytest.raises(BudgetError, match="drowns the network"):
        desk.hold(recipe)
    prices = share_out(Budget(9.0, 1e-8), gate_share=0.15, trains=True)
    told = desk.recipe().check_sampler(prices, rows=3000, cap_epsilon=20.0)
    assert told.signal > 1
    assert any("training" in line for line in told.outlook())


def test_what_does_not_fit_the_machine_is_refused_before_anything_is_spent(desk: Desk) -> None:
    recipe = desk.recipe(copies=3)
    hold = desk.hold(recipe)
    with pytest.raises(NetworkError, match="at once need"):
        recipe.fit(desk.split.train, hold, physical=10**9)
    hold.open_fit(recipe=recipe.identity, source="lab/visits", purpose=PURPOSE, recipient=RECIPIENT)


# --- what is learned -----------------------------------------------------------------------------


def test_rows_are_drawn_with_their_pictures(desk: Desk, model: DiffusedModel) -> None:
    told = model.sample(200, seed=4)
    assert list(told.frame.columns) == list(desk.schema.columns)
    pixels = told.pictures["scan"].pixels
    assert pixels.shape == (200, 8, 8)
    again = model.sample(200, seed=4)
    assert np.array_equal(again.pictures["scan"].pixels, pixels)
    assert again.frame.equals(told.frame)
    assert not np.array_equal(model.sample(200, seed=5).pictures["scan"].pixels, pixels)
    assert set(model.sample(50, where={"bright": True}, seed=1).frame["bright"]) == {True}


@pytest.mark.parametrize("how", [{}, {"full": True}, {"guidance": 1.0}])
def test_a_picture_goes_with_its_row(model: DiffusedModel, how: Mapping[str, Any]) -> None:
    """Bright rows are brighter: 110 grey levels in truth, at least 40 drawn."""
    told = model.sample(400, balance={"bright": "equal"}, seed=2, **how)
    drawn_ = told.pictures["scan"].pixels.reshape(400, -1).mean(1)
    bright = told.frame["bright"].to_numpy(dtype=bool)
    assert drawn_[bright].mean() - drawn_[~bright].mean() > 40


@pytest.mark.parametrize("piece", [64, 1000, 2**25])
def test_pixels_made_as_they_are_read_are_those_of_the_sample(
    model: DiffusedModel, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the last bit, in pieces of one, of fifteen and of all; of the statistics' model too."""
    monkeypatch.setattr(unrolled, "PIECE", piece)
    for drawing in (model, model.first):
        whole, made = drawing.sample(200, seed=5, draw="independent"), drawing.unrolled(200, seed=5, draw="independent")
        assert made.frame.equals(whole.frame)
        assert (made.model_id, made.faint) == (whole.model_id, whole.faint)
        pixels = made.pictures["scan"].pixels
        read = [pixels[np.arange(i, min(200, i + 37))] for i in range(0, 200, 37)]
        assert np.array_equal(np.concatenate(read), whole.pictures["scan"].pixels)


def test_guided_rows_say_so_and_are_a_draw_of_their_own(model: DiffusedModel) -> None:
    plain, guided, again = (model.sample(30, seed=3, guidance=g) for g in (0, 1.5, 1.5))
    assert (plain.guidance, guided.guidance) == (0.0, 1.5)
    assert guided.frame.equals(again.frame)
    assert np.array_equal(guided.pictures["scan"].pixels, again.pictures["scan"].pixels)
    assert not set(plain.frame["person"]) & set(guided.frame["person"])
    assert plain.frame.drop(columns="person").equals(guided.frame.drop(columns="person")), "rows are the table's"
    assert not np.array_equal(plain.pictures["scan"].pixels, guided.pictures["scan"].pixels)


def test_at_its_greatest_guidance_pictures_are_drawn_as_by_finer_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 8 fits the root mean square to four times the steps was 1.2 to 1.6 grey levels; of the way in few calls, which
    was fitted without guidance, 4 to 94."""
    desk = Desk(tmp_path / "desk")
    recipe = desk.recipe()
    model = recipe.fit(desk.split.train, desk.hold(recipe), noise=SeededNoise(1))

    def guided() -> NDArray[np.float64]:
        pixels = model.sample(300, seed=3, guidance=MOST_GUIDANCE).pictures["scan"].pixels
        return np.asarray(pixels, dtype=np.float64)

    drawn_ = guided()
    monkeypatch.setattr(diffused, "STEPS", 72)
    fine = guided()
    monkeypatch.setattr(diffused, "heun", lambda at, noise, steps: [few(at, noise, model.transcript.few)])
    apart, rough = (float(np.sqrt(np.square(found - fine).mean())) for found in (drawn_, guided()))
    assert apart < 3 < 10 < rough


def test_what_draws_no_pictures_by_a_network_refuses_guidance(model: DiffusedModel) -> None:
    for other in (model.first, model.first.table):
        assert len(other.sample(3, guidance=0.0)) == 3
        with pytest.raises(ConditionError, match="drawn by a network"):
            other.sample(3, guidance=1.0)
    for guidance in (-1.0, 3.5, float("nan"), True):
        with pytest.raises(ConditionError, match="guidance is"):
            model.sample(3, guidance=guidance)


def test_a_network_over_pixels_is_fitted_the_same_way(desk: Desk) -> None:
    recipe = desk.recipe(network="unet", steps=3, warm_up=5, batch=100)
    before = torch.get_rng_state(), np.random.get_state()[1].tobytes()  # type: ignore[index]
    found = recipe.fit(desk.split.train, desk.hold(recipe))
    after = torch.get_rng_state(), np.random.get_state()[1].tobytes()  # type: ignore[index]
    assert torch.equal(before[0], after[0])
    assert before[1] == after[1]
    assert found.sample(20, seed=1).pictures["scan"].pixels.shape == (20, 8, 8)
    assert found.refits()


# --- what is kept --------------------------------------------------------------------------------


def test_a_refit_from_the_stored_bytes_is_the_same_model(desk: Desk, model: DiffusedModel, hold: Hold) -> None:
    stored = TrainedTranscript.from_bytes(model.transcript.to_bytes())
    assert stored.to_bytes() == model.transcript.to_bytes()
    assert desk.recipe().refit(stored, model.receipt).id == model.id
    assert desk.recipe().resume(model.transcript.to_bytes(), hold).id == model.id
    assert model.refits()


def test_a_model_is_kept_in_a_folder(model: DiffusedModel, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    again = load_model(tmp_path / "model")
    assert again.id == model.id
    assert again.sample(20, seed=1).pictures["scan"].pixels.tobytes() == (
        model.sample(20, seed=1).pictures["scan"].pixels.tobytes()
    )
    raw = (tmp_path / "model" / "transcript.safetensors").read_bytes()
    (tmp_path / "model" / "transcript.safetensors").write_bytes(raw[:-4] + b"\0\0\0\1")
    with pytest.raises(ModelError):
        load_model(tmp_path / "model")


def test_a_transcript_is_published(model: DiffusedModel, tmp_path: Path) -> None:
    told = model.published()
    told.write(tmp_path / "told")
    again = load_transcript(tmp_path / "told")
    assert again.model == model.id
    listing = told.to_json()["training"]
    assert listing["plan"] == model.transcript.plan.to_json()
    assert sum(np.prod(w["shape"]) for w in listing["weights"]) == model.layout.parameters


def test_altered_transcripts_are_refused(desk: Desk, model: DiffusedModel) -> None:
    transcript, recipe = model.transcript, desk.recipe()
    with pytest.raises(ModelError):
        TrainedTranscript.from_bytes(transcript.to_bytes()[:-9])
    with pytest.raises(ModelError):
        TrainedTranscript.from_bytes(transcript.first.to_bytes())
    spoilt = dict(transcript.weights)
    name = next(iter(spoilt))
    spoilt[name] = spoilt[name] * float("nan")
    with pytest.raises(ModelError):
        TrainedTranscript.from_bytes(replace(transcript, weights=spoilt).to_bytes())
    fewer = {n: w for n, w in transcript.weights.items() if n != name}
    with pytest.raises(ModelError, match="another network"):
        recipe.refit(replace(transcript, weights=fewer), model.receipt)
    with pytest.raises(HoldError):
        recipe.refit(replace(transcript, recipe="0" * 64), model.receipt)


# --- crashes -------------------------------------------------------------------------------------


class Killed(Exception):
    """Stands for kill -9."""


class Until:
    """Progress that ends a fit within its noisy steps."""

    def __init__(self, steps: int) -> None:
        self.left, self.counts = steps, False

    def step(self, name: str, total: int) -> None:
        self.counts = name == "train privately"

    def advance(self, parts: int = 1) -> None:
        self.left -= parts if self.counts else 0
        if self.left < 0:
            raise Killed


def test_a_fit_that_was_killed_goes_on_where_it_may(desk: Desk, tmp_path: Path) -> None:
    """The step that was cut off is lost, nothing of it is drawn again, and the statistics are not bought twice."""
    recipe = desk.recipe(steps=12)
    hold = desk.hold(recipe)
    kept = CheckpointFiles(tmp_path / "kept", hold.id)
    with pytest.raises(Killed):
        recipe.fit(desk.split.train, hold, checkpoints=kept, progress=Until(7))
    assert hold.leased == 8
    with pytest.raises(HoldError):
        recipe.fit(desk.split.train, hold)
    bought = _bought(kept)
    found = recipe.fit(desk.split.train, hold, checkpoints=kept)
    assert found.transcript.steps_run in (11, 12)
    assert found.transcript.first.to_bytes() == bought
    assert hold.leased == 12
    assert kept.newest() is None, "what is kept of the fit is its transcript"
    assert found.refits()


def test_memory_that_runs_out_is_said_and_the_fit_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(tmp_path / "desk")
    recipe = desk.recipe(steps=2)
    hold = desk.hold(recipe)
    kept = CheckpointFiles(tmp_path / "kept", hold.id)

    def full(*given: Any, **more: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr("privsynth.generators.images.paid.train_together", full)
        with pytest.raises(MemoryShort, match="ran out after the hold was opened") as caught:
            recipe.fit(desk.split.train, hold, checkpoints=kept)
    assert "run the same command again" in str(caught.value)
    assert recipe.fit(desk.split.train, hold, checkpoints=kept).transcript.steps_run == 2


def test_memory_that_becomes_short_after_paying_leaves_a_fit_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the hold is opened there is room, after the warm-up none for one subject; then there is again."""
    desk = Desk(tmp_path / "desk")
    recipe = desk.recipe(steps=2)
    hold = desk.hold(recipe)
    kept = CheckpointFiles(tmp_path / "kept", hold.id)
    with monkeypatch.context() as patch:
        patch.setattr(memory, "free_memory", lambda device: 2**33 if kept.newest() is None else 0)
        with pytest.raises(MemoryShort, match="stays spent"):
            recipe.fit(desk.split.train, hold, checkpoints=kept)
        assert hold.leased == 0
        with pytest.raises(MemoryShort, match="GiB") as caught:  # the second time it is told before the warm-up
            recipe.fit(desk.split.train, hold, checkpoints=kept)
        assert "after the hold" not in str(caught.value)
    assert recipe.fit(desk.split.train, hold, checkpoints=kept).transcript.steps_run == 2


def test_without_checkpoints_memory_that_runs_out_costs_the_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(tmp_path / "desk")
    recipe = desk.recipe(steps=2)

    def full(*given: Any, **more: Any) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("privsynth.generators.images.paid.warmed", full)
    with pytest.raises(MemoryShort, match="this hold is lost"):
        recipe.fit(desk.split.train, desk.hold(recipe))

    def faulty(*given: Any, **more: Any) -> None:
        raise RuntimeError("another fault")

    monkeypatch.setattr("privsynth.generators.images.paid.warmed", faulty)
    with pytest.raises(RuntimeError, match="another fault"):
        recipe.fit(desk.split.train, desk.hold(recipe))


def test_a_warm_up_that_does_not_fit_is_told_before_anything_is_spent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One subject at once fits in a megabyte, 256 examples and their pool of pictures do not."""
    desk = Desk(tmp_path / "desk")
    recipe = desk.recipe()
    hold = desk.hold(recipe)
    monkeypatch.setattr(memory, "free_memory", lambda device: 2**20)
    with pytest.raises(MemoryShort, match="256 examples"):
        recipe.fit(desk.split.train, hold)
    hold.open_fit(recipe=recipe.identity, source="lab/visits", purpose=PURPOSE, recipient=RECIPIENT)


def test_checkpoints_of_another_fit_are_refused(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "desk")
    recipe, other = desk.recipe(steps=2), desk.recipe(steps=3)
    kept = CheckpointFiles(tmp_path / "kept", "one")
    with pytest.raises(Killed):
        recipe.fit(desk.split.train, desk.hold(recipe), checkpoints=kept, progress=Until(0))
    with pytest.raises(HoldError, match="another fit"):
        other.fit(desk.split.train, desk.hold(other), checkpoints=kept)


@pytest.mark.parametrize("begun", [False, True], ids=["a split's", "a benchmark's"])
def test_a_fit_goes_on_with_a_benchmark_only_where_it_began_with_one(tmp_path: Path, begun: bool) -> None:
    """The ledger knows with which; the mark in ``train`` and what lies beside the checkpoints do not count."""
    desk = Desk(tmp_path / "desk", UNPAID)
    recipe = desk.recipe(steps=3)
    hold = desk.hold(recipe)
    everyone = Split.benchmark(desk.granted, desk.ledger).train
    own, other = (everyone, desk.split.train) if begun else (desk.split.train, everyone)
    kept = CheckpointFiles(tmp_path / "kept", hold.id)
    assert not hold.benchmark
    with pytest.raises(Killed):
        recipe.fit(own, hold, checkpoints=kept, progress=Until(0))
    assert hold.benchmark is begun
    leased = hold.leased
    with pytest.raises(HoldError, match=r"the fit was begun with .*Split\.benchmark's"):
        recipe.fit(other, hold, checkpoints=kept)
    assert hold.leased == leased, "nothing ran"
    assert recipe.fit(own, hold, checkpoints=kept).transcript.steps_run >= 1


def test_what_a_fit_would_go_on_with_is_asked_as_at_its_beginning(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "desk")
    recipe = desk.recipe(steps=3)
    hold = desk.hold(recipe)
    kept = CheckpointFiles(tmp_path / "kept", hold.id)
    with pytest.raises(Killed):
        recipe.fit(desk.split.train, hold, checkpoints=kept, progress=Until(0))
    for train, noise in (
        (replace(desk.split.train, purpose="elsewhere"), None),
        (replace(desk.split.train, recipient="elsewhere"), None),
        (replace(desk.split.train, source="elsewhere"), None),
        (desk.split.train, SeededNoise(1)),
    ):
        with pytest.raises(HoldError, match="another fit"):
            recipe.fit(train, hold, checkpoints=kept, noise=noise)
    with pytest.raises(HoldError, match="another ledger"):
        recipe.fit(replace(desk.split.train, coins="0" * 64), hold, checkpoints=kept)
    with pytest.raises(HoldError):
        desk.recipe(steps=2).fit(desk.split.train, hold, checkpoints=kept)


def _bought(kept: CheckpointFiles) -> bytes:
    newest = kept.newest()
    assert newest is not None
    held: Tensor = newest[1]["bought"]
    return held.numpy().tobytes()


# --- recipes -------------------------------------------------------------------------------------


def test_a_recipe_is_what_its_description_says(desk: Desk, tmp_path: Path) -> None:
    recipe = desk.recipe()
    assert ImageDiffusion.from_description(recipe.describe()) == recipe
    assert ImageDiffusion.from_description(recipe.describe()).identity == recipe.identity
    public = {f.name for f in fields(ImageDiffusion)} - {"chosen", "first"}
    assert set(recipe.describe()) == {"kind", *public}
    layout = recipe.layout()
    save_file(dict(drawn(layout, torch.Generator().manual_seed(1)).state_dict()), tmp_path / "w.safetensors")
    helped = replace(recipe, pretrained=PublicWeights.of(tmp_path / "w.safetensors", licence="CC0", note="made"))
    again = ImageDiffusion.from_description(helped.describe())
    assert again == helped
    assert again.identity != recipe.identity
    assert str(tmp_path) not in str(helped.describe())
    with pytest.raises(ModelError):
        ImageDiffusion.from_description({**recipe.describe(), "more": 1})


def test_public_weights_that_are_not_here_are_asked_for_before_anything_is_spent(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "desk")
    recipe = desk.recipe(pretrained=PublicWeights("a" * 64, "CC0", "made"))
    hold = desk.hold(recipe)
    with pytest.raises(HoldError, match="not here"):
        recipe.fit(desk.split.train, hold)
    hold.open_fit(recipe=recipe.identity, source="lab/visits", purpose=PURPOSE, recipient=RECIPIENT)


@pytest.mark.parametrize(
    ("given", "error", "what"),
    [
        ({"network": "gan"}, BudgetError, "network is 'gan'"),
        ({"device": "tpu"}, BudgetError, "device is 'tpu'"),
        ({"channels": 12}, BudgetError, "eights"),
        ({"channels": True}, BudgetError, "channels is True"),
        ({"steps": 0}, BudgetError, "steps is 0"),
        ({"copies": 1.5}, BudgetError, "copies is 1.5"),
        ({"learning_rate": 0.0}, BudgetError, "learning_rate"),
        ({"statistics_share": 0.95}, BudgetError, "statistics_share"),
        ({"pretrained": "w.safetensors"}, SchemaError, "pretrained"),
        ({"by": ("person",)}, SchemaError, "cannot depend on"),
    ],
)
def test_recipes_that_cannot_be(given: dict[str, Any], error: type[Exception], what: str) -> None:
    with pytest.raises(error, match=what):
        ImageDiffusion(parse_schema(SCHEMA), Budget(1.0, 1e-8), **given)


def test_statistics_have_more_where_noise_leaves_less_to_a_network(desk: Desk) -> None:
    shares = [desk.recipe().share(mu) for mu in (0.1, 0.3, 1.0, 3.0)]
    assert shares == sorted(shares, reverse=True)
    assert float(shares[0]) == pytest.approx(0.34, abs=0.01)
    assert float(shares[-1]) == pytest.approx(0.11, abs=0.01)
    assert desk.recipe(statistics_share=0.5).share(1.0) == Fraction(1, 2)
