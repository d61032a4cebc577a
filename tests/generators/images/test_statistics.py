"""A whole fit of rows with pictures, from a hold to drawn rows."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from privsynth.data.records import Split, Train
from privsynth.data.schema import Schema, parse_schema
from privsynth.data.tables import read_images
from privsynth.errors import BudgetError, HoldError, ModelError, PolicyError, SchemaError
from privsynth.generators.images.model import PicturedModel
from privsynth.generators.images.statistics import ImageStatistics
from privsynth.generators.images.transcript import PicturedTranscript
from privsynth.ledger.store import Hold, Ledger, open_ledger
from privsynth.policy.consent import filter_consent
from privsynth.policy.document import load_policy
from privsynth.privacy.accountant import mu_squared
from privsynth.privacy.budget import Budget
from privsynth.privacy.noise import SeededNoise
from privsynth.release.gate import gate
from tests.generators.images.test_portrait import digits
from tests.generators.marginals.recorded import Recorder
from tests.world import ACTOR, POLICY, PURPOSE, RECIPIENT, register

SCHEMA = """\
privsynth-schema: 1
source: lab/visits
subject: {column: person, at most: 2 rows}
columns:
  person: {kind: identifier}
  digit: {kind: categorical, values: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]}
  even: {kind: boolean}
  ink: {kind: integer, min: 0, max: 100000, cells: equal}
  scan: {kind: image, size: [8, 8]}
"""


def rows() -> tuple[pd.DataFrame, Any]:
    """Each digit is a person's, some people have two."""
    pixels, classes = digits()
    person = np.arange(len(pixels)) * 2 // 3
    frame = pd.DataFrame(
        {
            "person": [f"p{i:05d}" for i in person],
            "digit": classes,
            "even": classes % 2 == 0,
            "ink": pixels.reshape(len(pixels), -1).sum(1, dtype=np.int64),
        }
    )
    return frame, pixels


class Desk:
    """Everything up to the fit."""

    def __init__(self, folder: Path, *, without: frozenset[str] = frozenset()) -> None:
        frame, pixels = rows()
        keep = ~frame["person"].isin(without).to_numpy()
        frame, pixels = frame[keep].reset_index(drop=True), pixels[keep]
        folder.mkdir(exist_ok=True)
        (folder / "policy.yaml").write_text(
            POLICY.replace("subjects: 4000", "subjects: 1000")
            .replace("target: ill", "target: even")
            .replace("[smoker]", "[digit]")
        )
        (folder / "consent.csv").write_text(register(frame))
        self.schema: Schema = parse_schema(SCHEMA)
        self.policy = load_policy(folder / "policy.yaml")
        self.ledger: Ledger = open_ledger(f"sqlite:///{folder / 'ledger.db'}", self.policy, actor=ACTOR)
        records = read_images(frame, self.schema, arrays={"scan": pixels})
        granted = filter_consent(
            records, self.policy, register=folder / "consent.csv", purpose=PURPOSE, recipient=RECIPIENT
        )
        self.split: Split = granted.split(self.ledger)
        self.recipe = ImageStatistics(self.schema, Budget(9.0, 1e-8), by=("digit", "even"), side=6)

    def hold(self) -> Hold:
        return self.ledger.reserve(self.recipe, purpose=PURPOSE, recipient=RECIPIENT, consent="register")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(tmp_path_factory.mktemp("pictured"))


@pytest.fixture(scope="module")
def hold(desk: Desk) -> Hold:
    return desk.hold()


@pytest.fixture(scope="module")
def model(desk: Desk, hold: Hold) -> PicturedModel:
    return desk.recipe.fit(desk.split.train, hold)


def spent(transcript: PicturedTranscript) -> Fraction:
    """In μ²: of the table exactly, of the pictures what their sigmas say (k = 2, two columns)."""
    total = transcript.table.mu_squared
    for name, noisy in transcript.told.items():
        far = {"effects": 2 * 2**16, "mean": 2 * 2**16, "pooled": 2 * 2**32, "classes": 2 * 2**32}.get(
            name.split()[-1], 2
        )
        times = 2 if name.endswith("effects") else 1
        cost = Fraction(far) ** 2 * times / Fraction(noisy.sigma) ** 2
        if noisy.sigma_off is not None:
            cost = max(cost, Fraction(far) ** 2 / (2 * Fraction(noisy.sigma_off) ** 2))
        total += cost
    return total


def test_a_fit_spends_its_hold_and_not_more(model: PicturedModel, hold: Hold) -> None:
    cap = mu_squared(hold.prices.fit)
    assert Fraction(85, 100) * cap < spent(model.transcript) <= cap
    assert hold.transcript() == model.transcript.to_bytes()
    assert model.receipt.noise == "os-secure"
    with pytest.raises(HoldError):
        hold.open_fit(recipe=model.receipt.recipe, source="lab/visits", purpose=PURPOSE, recipient=RECIPIENT)


def test_a_refit_from_the_stored_bytes_is_the_same_model(desk: Desk, model: PicturedModel) -> None:
    stored = PicturedTranscript.from_bytes(model.transcript.to_bytes())
    again = desk.recipe.refit(stored, model.receipt)
    assert again.id == model.id
    assert stored.to_bytes() == model.transcript.to_bytes()
    assert model.refits()


def test_rows_are_drawn_with_their_pictures(desk: Desk, model: PicturedModel) -> None:
    told = model.sample(300, seed=4)
    assert list(told.frame.columns) == list(desk.schema.columns)
    assert told.frame["scan"].tolist()[:2] == ["scan/001.png", "scan/002.png"]
    pixels = told.pictures["scan"].pixels
    assert pixels.shape == (300, 8, 8)
    again = model.sample(300, seed=4)
    assert np.array_equal(again.pictures["scan"].pixels, pixels)
    assert again.frame.equals(told.frame)
    assert not np.array_equal(model.sample(300, seed=5).pictures["scan"].pixels, pixels)
    assert model.sample(300, where={"digit": 3}, seed=1).frame["digit"].tolist() == [3] * 300
    balanced = model.sample(300, balance={"digit": "equal"}, seed=1).frame["digit"]
    assert balanced.value_counts().tolist() == [30] * 10


def test_a_picture_goes_with_its_row(model: PicturedModel) -> None:
    """Nearest to the real mean of the digit that stands beside it, far above chance: of 16 fits 57% on average, with
    a standard deviation of 6%; by chance 10%."""
    _, pixels = rows()
    _, classes = digits()
    real = np.stack([pixels[classes == c].reshape(-1, 64).mean(0) for c in range(10)])
    told = model.sample(1000, balance={"digit": "equal"}, seed=2)
    drawn = told.pictures["scan"].pixels.reshape(1000, 64).astype(float)
    nearest = ((drawn[:, None] - real[None]) ** 2).sum(2).argmin(1)
    assert (nearest == told.frame["digit"].to_numpy(dtype=int)).mean() > 0.25


def observable(model: PicturedModel) -> tuple[Any, ...]:
    """Everything of a fit that leaves it, less the hold's random id and what hangs on it."""
    drawn = model.table.sample(50, seed=1).frame.drop(columns="person").to_csv()
    return (model.transcript.to_bytes(), [a.tobytes() for a in model.portrait.arrays], model.table.tensors(), drawn)


def test_replayed_outputs_leave_nothing_else_of_the_rows(tmp_path: Path) -> None:
    """Whatever a neighbouring table changes beyond the noisy outputs would show."""
    one, other = Desk(tmp_path / "a"), Desk(tmp_path / "b", without=frozenset({"p00007"}))
    recorder = Recorder(SeededNoise(2))
    first = one.recipe.fit(one.split.train, one.hold(), noise=recorder)
    replay = recorder.replay()
    second = other.recipe.fit(other.split.train, other.hold(), noise=replay)
    assert replay.sigmas == recorder.sigmas
    assert observable(first) == observable(second)
    assert first.receipt.noise == "seeded"


def test_altered_transcripts_are_refused(desk: Desk, model: PicturedModel) -> None:
    raw = model.transcript.to_bytes()
    with pytest.raises(ModelError):
        PicturedTranscript.from_bytes(raw[:-9])
    with pytest.raises(ModelError):
        PicturedTranscript.from_bytes(model.transcript.table.to_bytes())
    told = dict(model.transcript.told)
    told.pop("inner")
    with pytest.raises(ModelError, match="inner"):
        desk.recipe.refit(replace(model.transcript, told=told), model.receipt)
    other = replace(model.transcript, recipe="0" * 64)
    with pytest.raises(HoldError):
        desk.recipe.refit(other, model.receipt)


def test_a_policy_without_rules_for_pictures_lets_none_out(desk: Desk, hold: Hold, model: PicturedModel) -> None:
    with pytest.raises(PolicyError, match="pictures"):
        gate(cast("Any", model), desk.split, hold=hold, policy=desk.policy)


def test_a_recipe_is_what_its_description_says(desk: Desk) -> None:
    again = ImageStatistics.from_description(desk.recipe.describe())
    assert again == desk.recipe
    assert again.identity == desk.recipe.identity
    assert ImageStatistics(desk.schema, Budget(1.0, 1e-9)).by == ("digit",)
    assert ImageStatistics(desk.schema, Budget(1.0, 1e-9)).identity != desk.recipe.identity


@pytest.mark.parametrize(
    ("change", "given", "error", "what"),
    [
        (("scan: {kind: image, size: [8, 8]}", "scan: {kind: text, dropped: true}"), {}, SchemaError, "0 columns"),
        (("", ""), {"by": ("ink",)}, SchemaError, "cannot depend on ink"),
        (("", ""), {"by": ("digit", "digit")}, SchemaError, "cannot depend on"),
        (("", ""), {"side": 2}, BudgetError, "side is 2"),
    ],
)
def test_recipes_that_cannot_be(
    change: tuple[str, str], given: dict[str, Any], error: type[Exception], what: str
) -> None:
    with pytest.raises(error, match=what):
        ImageStatistics(parse_schema(SCHEMA.replace(*change)), Budget(1.0, 1e-9), **given)


def test_rows_of_another_reading_are_refused(desk: Desk, tmp_path: Path) -> None:
    train: Train = desk.split.train
    bare = replace(train, records=replace(train.records, pictures={}))
    with pytest.raises(HoldError, match="another schema"):
        desk.recipe.fit(bare, Desk(tmp_path / "c").hold())


def test_small_pictures_are_never_aligned(desk: Desk) -> None:
    assert desk.recipe._setting(6).straight is None
    large = ImageStatistics(parse_schema(SCHEMA.replace("[8, 8]", "[16, 16]")), Budget(1.0, 1e-9))
    assert large._setting(6).straight is not None


def test_a_refit_is_the_same_whatever_the_number_of_cores(tmp_path: Path) -> None:
    """Pictures of 28 × 28 pixels, whose matrices are large enough to be shared out among threads."""
    code = """
import hashlib, sys
import numpy as np
from privsynth.generators.images.asked import Rows
from privsynth.generators.images.band import Band
from privsynth.generators.images.portrait import Setting, portray
from privsynth.generators.images.sums import Till
from privsynth.data.threads import one_thread
from privsynth.generators.marginals.purse import Purse
from privsynth.privacy.noise import SeededNoise
rng = np.random.default_rng(0)
pixels = rng.integers(0, 256, (3000, 28, 28), dtype=np.uint8)
cells = rng.integers(0, 2, (3000, 1))
setting = Setting(Band(28, 28, False, 14), Band(28, 28, False, 14, aligned=True), (2,))
with one_thread():
    rows = Rows(setting, pixels, cells, Till(Purse(SeededNoise(1), cap=10**6), contribution=1), 1.0)
    found = portray(rows, setting, rows=3000.0, beside=np.full((2, 2), 1500.0) * np.eye(2))
print(hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in found.arrays)).hexdigest())
"""
    told = set()
    for threads in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        )
        told.add(done.stdout)
    assert len(told) == 1


def test_class_means_divided_by_true_counts_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fit that peeks at how many rows hold each value makes a model that its transcript does not give."""
    desk = Desk(tmp_path / "peeked")
    hold, frame = desk.hold(), desk.split.train.records.frame

    def counted(recipe: ImageStatistics, table: Any) -> Any:
        cells = table.codec.encode(frame)[:, [table.codec.index[name] for name in recipe.by]]
        ones = np.concatenate([np.eye(n)[cells[:, i]] for i, n in enumerate(recipe.sizes)], axis=1)
        return ones.T @ ones

    with monkeypatch.context() as peeking:
        peeking.setattr(ImageStatistics, "_beside", counted)
        model = desk.recipe.fit(desk.split.train, hold)
    assert not model.refits()
    with pytest.raises(HoldError, match="not the one that its transcript gives"):
        gate(replace(model), desk.split, hold=hold, policy=desk.policy)
