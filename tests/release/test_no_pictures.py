"""Tables of which few rows or none have a picture, from the fit to the verdict: that is known only once it is paid, so
all of it must run, and say no more than that the rules are not kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from privsynth.data.records import Split
from privsynth.data.schema import parse_schema
from privsynth.data.tables import read_images
from privsynth.errors import ReleaseRefused
from privsynth.generators.images.statistics import ImageStatistics
from privsynth.ledger.store import Status, open_ledger
from privsynth.policy.consent import filter_consent
from privsynth.policy.document import load_policy
from privsynth.privacy.budget import Budget
from privsynth.release.gate import gate
from tests.generators.images.test_missing import NULLABLE
from tests.generators.images.test_statistics import rows
from tests.release.test_picture_rules import PICTURED
from tests.world import ACTOR, PURPOSE, RECIPIENT, register

RULES = {"PS-GATE-PIM", "PS-GATE-PIA", "PS-GATE-PIG"}


class Desk:
    """Digits of which few keep their picture, by the side of the split that they are on, up to the fit."""

    def __init__(self, folder: Path, held: str, *, size: int = 8) -> None:
        frame, pixels = rows()
        self.folder = folder
        (folder / "policy.yaml").write_text(PICTURED)
        (folder / "consent.csv").write_text(register(frame))
        self.policy = load_policy(folder / "policy.yaml")
        self.schema = parse_schema(NULLABLE.replace("[8, 8]", f"[{size}, {size}]"))
        self.ledger = open_ledger(f"sqlite:///{folder / 'ledger.db'}", self.policy, actor=ACTOR)
        trained = frame["person"].isin(self.split(frame, pixels).train.records.subjects.tolist()).to_numpy()
        kept = {
            "none": np.zeros(len(frame), dtype=np.bool_),
            "holdout": ~trained,
            "train": trained,
            "one": np.arange(len(frame)) == trained.argmax(),
        }[held]
        place = pd.array([i if keep else None for i, keep in enumerate(kept)], dtype="Int64")
        self.granted = self.split(frame.assign(scan=place), pixels)
        self.recipe = ImageStatistics(self.schema, Budget(9.0, 1e-8), by=("digit", "even"), side=6)

    def split(self, frame: pd.DataFrame, pixels: Any) -> Split:
        records = read_images(frame, self.schema, arrays={"scan": pixels})
        consent = self.folder / "consent.csv"
        granted = filter_consent(records, self.policy, register=consent, purpose=PURPOSE, recipient=RECIPIENT)
        return granted.split(self.ledger)


@pytest.mark.parametrize(
    ("held", "size", "trained"),
    [("none", 8, 0), ("holdout", 8, 0), ("one", 8, 1), ("train", 8, None), ("none", 16, 0)],
    ids=["none", "of the holdout alone", "one", "of those trained on alone", "none, aligned"],
)
def test_few_pictures_or_none_end_in_an_ordinary_verdict(
    held: str, size: int, trained: int | None, tmp_path: Path
) -> None:
    desk = Desk(tmp_path, held, size=size)
    there = int((~desk.granted.train.records.pictures["scan"].missing).sum())
    assert there == trained if trained is not None else there > 1000
    hold = desk.ledger.reserve(desk.recipe, purpose=PURPOSE, recipient=RECIPIENT, consent="register")
    model = desk.recipe.fit(desk.granted.train, hold)
    stored = hold.transcript()
    assert stored is not None
    assert desk.recipe.resume(stored, hold).id == model.id
    assert all(np.isfinite(numbers).all() for numbers in model.portrait.arrays)
    assert model.sample(200, seed=1).pictures["scan"].pixels.shape == (200, size, size)
    assert not model.sample(20, where={"scan": "there"}, seed=1).pictures["scan"].missing.any()
    with pytest.raises(ReleaseRefused) as refused:
        gate(model, desk.granted, hold=hold, policy=desk.policy)
    assert set(refused.value.rules) <= RULES
    assert desk.ledger.status(hold.id) is Status.REFUSED
