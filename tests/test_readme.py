"""README.md keeps its word: its code runs as it stands and leaves a verified release; its commands exist."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.main import get_command

import privsynth as ps
from privsynth import errors
from privsynth.cli import app
from privsynth.signing import Trust, new_key, write_trust

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
PATIENTS = 41_250  # as policies/healthcare.yaml declares

SCHEMA = """\
privsynth-schema: 1
source: ehr/encounters
subject: {column: patient_id, at most: 1 row}
columns:
  patient_id: {kind: identifier}
  age:        {kind: integer, min: 0, max: 120}
  sex:        {kind: categorical, values: [F, M, X]}
  pregnant:   {kind: boolean, nullable: true}
  diagnosis:  {kind: categorical, values: [circulatory, respiratory, neoplasm, pregnancy]}
  charge:     {kind: real, min: 0, max: 200000, nullable: true}
  admitted:   {kind: date, min: 2019-01-01, max: 2024-12-31}
  discharged: {kind: date, min: 2019-01-01, max: 2025-06-30, nullable: true}
  readmitted: {kind: boolean}
never: [{sex: M, pregnant: true}]
order: [admitted <= discharged]
"""


def encounters() -> pd.DataFrame:
    """Made-up patients, one encounter each: the old are dearer and come back more often."""
    rng = np.random.default_rng(7)
    sex = rng.choice(["F", "M", "X"], PATIENTS, p=[0.50, 0.48, 0.02])
    age = rng.integers(0, 100, PATIENTS)
    old = age > 60
    pregnant = pd.array((sex == "F") & (age > 15) & (age < 45) & (rng.random(PATIENTS) < 0.1), dtype="boolean")
    pregnant[rng.random(PATIENTS) < 0.05] = pd.NA
    listed = np.array(["circulatory", "respiratory", "neoplasm", "pregnancy"])
    likely = np.where(old[:, None], [0.6, 0.25, 0.15, 0.0], [0.2, 0.5, 0.1, 0.2]).cumsum(axis=1)
    admitted = pd.Timestamp("2019-01-01") + pd.to_timedelta(rng.integers(0, 2190, PATIENTS), unit="D")
    stayed = pd.to_timedelta(rng.integers(0, 20, PATIENTS), unit="D")
    return pd.DataFrame(
        {
            "patient_id": [f"p{i:06d}" for i in range(PATIENTS)],
            "age": age,
            "sex": sex,
            "pregnant": pregnant,
            "diagnosis": listed[(rng.random(PATIENTS)[:, None] >= likely[:, :3]).sum(axis=1)],
            "charge": np.clip(rng.gamma(2.0, 1000 + 60 * age), 0, 200_000).round(2),
            "admitted": admitted.astype("datetime64[s]"),
            "discharged": (admitted + stayed).astype("datetime64[s]"),
            "readmitted": rng.random(PATIENTS) < np.where(old, 0.80, 0.15),
        }
    )


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the README's code expects to run in: the shipped policy as it is, and made-up data."""
    table = encounters()
    (tmp_path / "policies").mkdir()
    for name in ("base.yaml", "healthcare.yaml"):
        shutil.copy(ROOT / "policies" / name, tmp_path / "policies")
    (tmp_path / "encounters.schema.yaml").write_text(SCHEMA)
    table.to_parquet(tmp_path / "encounters.parquet", index=False)
    register = pd.DataFrame({"subject": table["patient_id"], "purpose": "medical-research", "recipient": "*"})
    register["status"] = np.where(np.arange(PATIENTS) % 40, "granted", "withdrawn")
    register = register.assign(**{"from": "2025-01-01", "until": ""})
    register.to_csv(tmp_path / "consent.csv", index=False)
    write_trust(tmp_path / "trust.json", Trust.of(new_key(tmp_path / "release.key", name="A. Kim")))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_the_code_leaves_a_verified_release(place: Path) -> None:
    """With secure noise, as it stands: the gate refuses this made-up table by chance less than once in 10,000."""
    [code] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    found = ps.verify(place / "release", trust=place / "trust.json", recipient="university-hospital")
    assert (found.rows, found.receipt.epsilon, found.receipt.delta) == (50_000, 1.0, 1e-9)
    rows = pd.read_parquet(place / "release" / "data" / "table.parquet")
    assert len(rows) == 50_000
    assert set(rows["sex"]) == {"F"}
    assert rows["patient_id"].str.startswith("synthetic-").all()


def commands(text: str) -> Iterator[list[str]]:
    """The words of each ``privsynth …`` command in code: lines of shell blocks, and inline code."""
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        for line in block.splitlines():
            if line.startswith("privsynth "):
                yield shlex.split(line, comments=True)[1:]
    for inline in re.findall(r"`privsynth ([^`\n]+)`", text):
        yield shlex.split(inline)


def fault(words: list[str]) -> str:
    """What the command line would not know of a command; empty if it knows it all."""
    command = get_command(app)
    while isinstance(found := getattr(command, "commands", None), dict):
        name = words.pop(0) if words else ""
        if name not in found:
            return f"no command {name!r}"
        command = found[name]
    known = {option for parameter in command.params for option in parameter.opts}
    return ", ".join(word for word in words if word.startswith("-") and word not in known)


def test_every_command_exists() -> None:
    told = list(commands(README))
    assert len(told) >= 7
    assert [(words, why) for words in told if (why := fault(list(words)))] == []


def test_a_command_that_does_not_exist_is_told() -> None:
    assert fault(["fly"]) == "no command 'fly'"
    assert fault(["schema", "guess"]) == "no command 'guess'"
    assert fault(["verify", "release", "--trusted", "x"]) == "--trusted"


def test_every_exit_code_is_listed() -> None:
    listed = {int(code) for cell in re.findall(r"^\| ([0-9, ]+) \|", README, re.MULTILINE) for code in cell.split(", ")}
    kinds = [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, errors.PrivsynthError)]
    assert listed == {kind.exit_code for kind in kinds} | {0, 130, 141}


def test_every_link_leads_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("http")]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_first_screen_says_what_it_must() -> None:
    screen = "\n".join(README.splitlines()[:44])
    for part in ("make demo", "make test", "TORCH_INDEX=", "```python", "What it does not promise"):
        assert part in screen
