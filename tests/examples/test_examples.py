"""examples/adult and examples/diabetes130: they load, they end in a verified release, and each edit that should
be refused ends in its own refusal.

The edits run on small made-up tables that fit the schemas, everywhere. The two full studies run where the real
files lie in ../shared/data, and are skipped, visibly, elsewhere.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import privsynth as ps
from privsynth.data.codec import Codec
from privsynth.data.schema import Categorical, Identifier, Schema, Text, load_schema
from tests.desk import Desk, cli

ROOT = Path(__file__).parents[2]
REAL = ROOT.parent / "shared" / "data"
PEOPLE = 12_000
"""Enough that the plan does not refuse the gates' limits as too narrow for so few people."""


@dataclass(frozen=True)
class Example:
    """One folder of examples/, and the figures of its files that the tests edit or expect."""

    name: str
    data: str
    source: str
    subjects: int
    min_rows: int
    max_epsilon: float
    purpose: str

    @property
    def schema(self) -> str:
        return f"{self.name}.schema.yaml"


ADULT = Example("adult", "adult/adult.parquet", "uci/adult", 48000, 10000, 4.0, "method-research")
DIABETES = Example(
    "diabetes130", "diabetes130/diabetic_data.parquet", "uci/diabetes130", 70000, 5000, 1.0, "medical-research"
)
EXAMPLES = [pytest.param(example, id=example.name) for example in (ADULT, DIABETES)]


def made_up(schema: Schema, people: int) -> pd.DataFrame:
    """Rows of the schema's own domain: every column follows one hidden number for four rows in five."""
    rng = np.random.default_rng(4)
    codec = Codec(schema)
    hidden = rng.random(people)
    place = np.where(rng.random((len(codec.columns), people)) < 0.8, hidden, rng.random((len(codec.columns), people)))
    cells = np.array([column.cells for column in codec.columns])
    learned = codec.decode((place.T * cells).astype(np.int32), rng)
    columns: dict[str, Any] = {}
    for name, column in schema.columns.items():
        match column:
            case Identifier():
                columns[name] = np.arange(people)
            case Text(dropped=True):
                columns[name] = "made up"
            case Categorical(dropped=True, values=values):
                columns[name] = values[0]
            case _ if column.dropped:
                columns[name] = 1
            case Categorical(values=values):
                columns[name] = learned[name].astype(type(values[0]))
            case _:
                columns[name] = learned[name]
    return pd.DataFrame(columns)


def copied(example: Example, folder: Path) -> Desk:
    """The example's files in ``folder``, with a key."""
    left = shutil.ignore_patterns("release*", "model", "trust.json", "*.db*")  # by whoever ran it in its folder
    shutil.copytree(ROOT / "examples" / example.name, folder, dirs_exist_ok=True, ignore=left)
    assert cli("keys", "new", folder / "release.key", "--trust", folder / "trust.json").code == 0
    return Desk(folder)


@pytest.fixture(params=EXAMPLES)
def example(request: pytest.FixtureRequest) -> Example:
    found: Example = request.param
    return found


@pytest.fixture
def desk(example: Example, tmp_path: Path) -> Desk:
    """A copy of an example whose data are small and made up; of its files only the declared sizes are edited."""
    desk = copied(example, tmp_path)
    made_up(load_schema(tmp_path / example.schema), PEOPLE).to_parquet(tmp_path / "made-up.parquet", index=False)
    desk.edit("study.yaml", (f"../../../shared/data/{example.data}", "made-up.parquet"))
    desk.edit("policy.yaml", (f"subjects: {example.subjects} ", f"subjects: {PEOPLE} "))
    desk.edit("policy.yaml", (f"min rows: {example.min_rows}", "min rows: 1000"))
    return desk


def test_the_study_is_allowed_as_it_stands(example: Example, tmp_path: Path) -> None:
    """Not one text is edited; a plan needs no data."""
    desk = copied(example, tmp_path)
    said = cli("plan", desk.study, "--json")
    assert said.code == 0, said.err
    assert said.json["allowed"]
    assert said.json["admitted"]
    assert desk.load().recipe.budget.epsilon == 1.0


def test_the_study_is_allowed_at_the_small_size(desk: Desk) -> None:
    assert cli("plan", desk.study).code == 0


def test_the_made_up_rows_fit_the_schema(desk: Desk, example: Example) -> None:
    """So that the edits below are refused for what was edited and for nothing else."""
    said = cli("data", "check", desk.folder / "made-up.parquet", "--schema", desk.folder / example.schema, "--json")
    assert said.code == 0, said.err
    assert {fault["rule"] for fault in said.json["faults"]} <= {"drop"}
    assert all(fault["column"].startswith("never") for fault in said.json["faults"])  # structural zeros only


def refused(desk: Desk) -> dict[str, Any]:
    """What a run of the edited study says; it fits nothing, pays nothing and writes no release."""
    files = desk.files()
    said = desk.run("--json")
    assert "Traceback" not in said.err
    assert said.err.startswith("privsynth: ")
    assert desk.files() - files <= {"ledger.db", "ledger.db.key"}
    assert "reserve" not in desk.kinds()
    return said.json


def test_epsilon_over_the_release_limit_is_refused(desk: Desk, example: Example) -> None:
    asked, limit = example.max_epsilon + 0.5, example.max_epsilon
    desk.edit("study.yaml", ("epsilon: 1.0", f"epsilon: {asked}"))
    told = refused(desk)
    assert (told["exit_code"], told["error"], told["refused_by"]) == (1, "RequestDenied", ["PS-BUD-001"])
    assert f"epsilon {asked}" in told["what"]
    assert f"at most {limit}" in told["what"]
    assert f"policy.yaml:{line(desk, 'max epsilon')}" in told["where"]
    assert f"epsilon {limit} or less" in told["mend"]


def test_an_unregistered_source_is_refused(desk: Desk, example: Example) -> None:
    desk.edit(example.schema, (f"source: {example.source}\n", f"source: {example.source}-copy\n"))
    told = refused(desk)
    assert (told["exit_code"], told["error"], told["refused_by"][0]) == (1, "RequestDenied", "PS-SRC-001")
    assert f"source '{example.source}-copy'" in told["what"]
    assert f"policy.yaml:{line(desk, 'sources')}" in told["what"]


def test_a_purpose_that_is_not_allowed_is_refused(desk: Desk, example: Example) -> None:
    desk.edit("study.yaml", (f"purpose: {example.purpose}\n", "purpose: marketing\n"))
    told = refused(desk)
    assert (told["exit_code"], told["error"]) == (1, "RequestDenied")
    unknown = ["PS-PUR-001", "PS-REC-002", "PS-PUR-002"]  # so this recipient may not have it, and it has no basis
    assert [rule for rule in told["refused_by"] if rule != "PS-PUR-003"] == unknown  # that of special categories
    assert f"purpose 'marketing'; limit: one of {example.purpose}" in told["what"]
    assert f"policy.yaml:{line(desk, 'purposes')}" in told["what"]


def test_a_register_left_out_is_refused(desk: Desk) -> None:
    """The policy asks for one and the study names none."""
    text = (desk.folder / "policy.yaml").read_text()
    start, end = text.index("  by: not-required"), text.index("privacy:\n")
    (desk.folder / "policy.yaml").write_text(f"{text[:start]}  by: register\n\n{text[end:]}")
    told = refused(desk)
    assert (told["exit_code"], told["error"], told["refused_by"]) == (1, "RequestDenied", ["PS-CON-001"])
    assert "limit: evidence of the kind register" in told["what"]
    assert f"policy.yaml:{line(desk, 'by')}" in told["where"]
    assert "consent: {register: consent.csv}" in told["mend"]


def test_a_ledger_of_another_policy_is_refused(desk: Desk, example: Example) -> None:
    desk.ledger()
    before = (desk.folder / "ledger.db").read_bytes()
    desk.edit("policy.yaml", (f"id: examples/{example.name}\n", f"id: examples/{example.name}-copy\n"))
    told = refused(desk)
    assert (told["exit_code"], told["error"]) == (4, "LedgerError")
    assert f"examples/{example.name}" in told["what"]
    assert told["mend"]
    assert (desk.folder / "ledger.db").read_bytes() == before


def line(desk: Desk, key: str) -> int:
    """The number of the policy's first line that holds ``key``."""
    lines = (desk.folder / "policy.yaml").read_text().splitlines()
    return next(i for i, text in enumerate(lines, 1) if f"{key}:" in text.split("#")[0])


@pytest.mark.slow
def test_the_made_up_rows_end_in_a_verified_release(desk: Desk, example: Example) -> None:
    """The other side of the refusals: with room in budget and gate for so few people, the same files run through."""
    desk.edit("study.yaml", ("epsilon: 1.0", "epsilon: 10.0"))
    desk.edit("policy.yaml", (f"max epsilon: {example.max_epsilon}", "max epsilon: 10.0"))
    text = (desk.folder / "policy.yaml").read_text()
    for key, room in (
        (r"over: \w+, epsilon: ", "20.0"),
        ("held-back marginals: {max: ", "0.3"),
        ("gap: {max: ", "0.4"),
    ):
        text = re.sub(f"({key})[0-9.]+", rf"\g<1>{room}", text)
    (desk.folder / "policy.yaml").write_text(text)
    said = desk.run("--json")
    assert said.code == 0, said.err
    assert cli("verify", desk.release).code == 0


@pytest.mark.slow
def test_the_study_ends_in_a_verified_release(example: Example, tmp_path: Path) -> None:
    """The whole study as it stands, with secure noise, on the real file."""
    real = REAL / example.data
    if not real.exists():
        pytest.skip(f"needs {real}, which is no part of this repository")
    desk = copied(example, tmp_path)
    desk.edit("study.yaml", (f"../../../shared/data/{example.data}", str(real)))
    said = desk.run("--json")
    assert said.code == 0, said.err
    rules = {finding["rule"] for finding in said.json["findings"] if finding["passed"]}
    assert rules == {"PS-GATE-SCH", "PS-GATE-ROW", "PS-GATE-FID", "PS-GATE-MEM", "PS-GATE-UTI", "PS-GATE-GAP"}
    found = ps.verify(desk.release, trust=tmp_path / "trust.json", recipient=desk.load().file.recipient)
    assert (found.receipt.epsilon, found.receipt.delta) == (1.0, 1e-9)
    assert found.rows == desk.load().file.sample.rows
