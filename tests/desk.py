"""A study's folder as a user has it, and the command line as a user calls it."""

from __future__ import annotations

import io
import json
import sqlite3
import sys
from contextlib import closing, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from privsynth.cli import main
from privsynth.ledger.store import Ledger, open_ledger
from privsynth.pipeline.keys import make_keys
from privsynth.pipeline.study import Study, load_study
from privsynth.policy.document import load_policy
from tests import world

SECRET = "zq7"
"""Stands in every person's id, in the consent register and in the free text of every row, and nowhere else."""

AUDITOR = "rea@lab.example"
STUDY = f"""\
privsynth-study: 1
schema: schema.yaml
data: data.parquet
policy: policy.yaml
ledger: sqlite:///ledger.db
consent: {{register: consent.csv}}
actor: {world.ACTOR}
purpose: {world.PURPOSE}
recipient: {world.RECIPIENT}
generator: {{kind: marginals, epsilon: 3.0, delta: 1e-8, target: ill, steps: 40, components: 40}}
sample: {{rows: 300, seed: 7}}
sign: {{key: release.key}}
out: release/
model: model/
"""


ONCE = dict.fromkeys(("reserve", "fit", "measured", "gate", "approve"), 1)
"""What the ledger holds of a study that was bought once and approved."""


@dataclass(frozen=True)
class Said:
    """What a command left on the screen."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Standard output as one JSON object on one line."""
        assert self.out.count("\n") == 1, self.out
        value: dict[str, Any] = json.loads(self.out)
        assert value["privsynth"] == 1
        return value


def cli(*args: str | Path) -> Said:
    """``privsynth ARGS`` in this process."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["privsynth", *map(str, args)])
        try:
            main()
            code = 0
        except SystemExit as done:
            code = int(done.code or 0)
    return Said(code, out.getvalue(), err.getvalue())


@dataclass(frozen=True)
class Desk:
    """A folder with study.yaml, policy.yaml, schema.yaml, data.parquet, consent.csv, release.key, trust.json."""

    folder: Path

    @property
    def study(self) -> Path:
        """The study file."""
        return self.folder / "study.yaml"

    @property
    def release(self) -> Path:
        """Where the release will be."""
        return self.folder / "release"

    def load(self) -> Study:
        """The study."""
        return load_study(self.study)

    def ledger(self, *, actor: str = world.ACTOR) -> Ledger:
        """Its ledger, made if it is not there."""
        policy = load_policy(self.folder / "policy.yaml")
        return open_ledger(f"sqlite:///{self.folder / 'ledger.db'}", policy, actor=actor)

    def reserve(self) -> str:
        """The study's own hold, as a run that then stopped would leave it."""
        study = self.load()
        purpose, recipient = study.file.purpose, study.file.recipient
        ledger = self.ledger()
        return ledger.reserve(
            study.recipe, purpose=purpose, recipient=recipient, consent=study.consent, request=study.request
        ).id

    def edit(self, name: str, *changes: tuple[str, str]) -> None:
        """Replace texts that stand once in a file."""
        text = (self.folder / name).read_text("utf-8")
        for old, new in changes:
            assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {name}"
            text = text.replace(old, new)
        (self.folder / name).write_text(text, "utf-8")

    def frame(self) -> pd.DataFrame:
        """The data."""
        return pd.read_parquet(self.folder / "data.parquet")

    def entries(self) -> list[dict[str, Any]]:
        """Every line of both logs, as the file holds them; none where there is no whole ledger."""
        path = self.folder / "ledger.db"
        if not path.is_file():
            return []
        try:
            with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
                rows = [
                    *connection.execute("SELECT leaf FROM entries ORDER BY seq"),
                    *connection.execute("SELECT leaf FROM attempts ORDER BY seq"),
                ]
        except sqlite3.DatabaseError:
            return []
        return [json.loads(row[0]) for row in rows]

    def kinds(self) -> list[str]:
        """What happened, by the logs."""
        return [entry["kind"] for entry in self.entries()]

    def bought(self) -> dict[str, int]:
        """How often each step was taken."""
        kinds = self.kinds()
        return {kind: kinds.count(kind) for kind in ONCE}

    def spent(self) -> float:
        """The share of the population's budget that is spent."""
        line, *_ = self.ledger().balances()
        return line.spent_share()

    def stage(self) -> str:
        """How far a run has come, by what is durable."""
        kinds = set(self.kinds())
        reached = {
            "approved": "approve" in kinds,
            "gate begun": "gate" in kinds,
            "model kept": (self.folder / "model").exists(),
            "measured": "measured" in kinds,
            "fit begun": "fit" in kinds,
            "reserved": "reserve" in kinds,
            "registered": "genesis" in kinds,
        }
        return next((name for name, done in reached.items() if done), "nothing yet")

    def files(self) -> set[str]:
        """Every path in the folder."""
        return {p.relative_to(self.folder).as_posix() for p in self.folder.rglob("*")}

    def run(self, *args: str) -> Said:
        """``privsynth run``."""
        return cli("run", self.study, *args)


def lay(folder: Path) -> Desk:
    """Write a new desk into ``folder``."""
    frame = world.rows()
    frame["person"] = SECRET + frame["person"]
    frame["note"] = f"{SECRET} free text"
    frame.to_parquet(folder / "data.parquet", index=False)
    (folder / "consent.csv").write_text(world.register(frame))
    (folder / "policy.yaml").write_text(world.POLICY)
    (folder / "schema.yaml").write_text(world.SCHEMA)
    (folder / "study.yaml").write_text(STUDY)
    make_keys(folder / "release.key", name="Lab office")
    return Desk(folder)
