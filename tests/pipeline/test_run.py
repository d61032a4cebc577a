"""The road: what a run leaves, what a second one costs, and that a verdict stands."""

from __future__ import annotations

import json
import re
import shutil

import pandas as pd
import pytest

from privsynth.ledger.store import Status
from privsynth.pipeline.run import run_study
from privsynth.release.verify import verify
from tests.desk import ONCE, SECRET, Desk, cli
from tests.world import ACTOR, RECIPIENT


class Steps:
    """A ``Progress`` that remembers."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int]] = []
        self.done = 0

    def step(self, name: str, total: int) -> None:
        self.seen.append((name, total))

    def advance(self, parts: int = 1) -> None:
        self.done += parts


def test_a_run_ends_in_a_verified_release(desk: Desk) -> None:
    before, steps = desk.files(), Steps()
    outcome = run_study(desk.load(), actor=ACTOR, progress=steps)
    found = verify(outcome.release, trust=desk.folder / "trust.json", recipient=RECIPIENT)
    assert (found.rows, outcome.rows, found.signers) == (300, 300, ("Lab office",))
    assert found.receipt == outcome.model.receipt
    assert [claim["rule"] for claim in found.claims] == [f["rule"] for f in outcome.to_json()["findings"]]
    assert outcome.hold.ledger.policy.id == "lab/visits"
    assert desk.bought() == ONCE
    made = {name.partition("/")[0] for name in desk.files() - before}
    assert made == {"ledger.db", "ledger.db.key", "model", "release"}
    assert [name for name, _ in steps.seen] == [
        "learn the domains (paid)", "measure (paid)", "fit the model (free)", "gate (paid)",
        "sign and write the release",
    ]  # fmt: skip
    assert steps.done >= len(steps.seen)


def test_nothing_of_a_record_lies_in_what_a_run_leaves(ended: Desk) -> None:
    made = [ended.folder / "ledger.db", *(ended.folder / "model").rglob("*"), *ended.release.rglob("*")]
    assert all(SECRET.encode() not in path.read_bytes() for path in made if path.is_file())


def test_what_cannot_be_paid_or_is_denied_is_noted_in_the_second_log(desk: Desk) -> None:
    desk.edit("study.yaml", ("epsilon: 3.0", "epsilon: 11.0"))
    assert desk.run().code == 1
    noted = [entry for entry in desk.entries() if entry["log"] == "attempts" and entry["kind"] == "denied"]
    assert [entry["body"]["rules"] for entry in noted] == [["PS-BUD-001"]]


@pytest.mark.parametrize(
    ("name", "change"),
    [("data.parquet", None), ("consent.csv", None), ("data.parquet", b"no table"), ("consent.csv", b"no register")],
)
def test_a_first_run_without_its_files_leaves_no_ledger(name: str, change: bytes | None, desk: Desk) -> None:
    """A ledger that is made freezes the populations: not for a run that could not begin."""
    place = desk.folder / name
    raw = place.read_bytes()
    if change is None:
        place.unlink()
    else:
        place.write_bytes(change)
    assert desk.run().code == 2
    assert not (desk.folder / "ledger.db").exists()
    place.write_bytes(raw)
    desk.edit("policy.yaml", ("lab-people\n    subjects: 4000", "lab-people\n    subjects: 3900"))
    assert desk.run().code == 0


def test_a_run_that_this_size_cannot_carry_leaves_no_ledger(desk: Desk) -> None:
    desk.edit("policy.yaml", ("upper bound max: 0.3", "upper bound max: 0.001"))
    assert desk.run("--json").json["error"] == "Underpowered"
    assert not (desk.folder / "ledger.db").exists()


# --- a second run ----------------------------------------------------------------------------------


def test_a_second_run_of_a_finished_study_pays_nothing(finished: Desk) -> None:
    paid, release = finished.spent(), (finished.release / "manifest.json").read_bytes()
    again = finished.run("--json")
    assert (again.code, again.json["error"]) == (2, "StorageError")
    assert "new `out:`" in again.json["mend"]
    assert (finished.release / "manifest.json").read_bytes() == release

    finished.edit("study.yaml", ("out: release/", "out: again/"), ("rows: 300, seed: 7", "rows: 90, seed: 8"))
    assert finished.run("--json").json["rows"] == 90
    assert (finished.spent(), finished.bought()) == (paid, ONCE)


def test_an_approved_hold_is_released_without_another_look_at_the_data(finished: Desk) -> None:
    for name in ("data.parquet", "consent.csv"):
        (finished.folder / name).unlink()
    for name in ("release", "model"):
        shutil.rmtree(finished.folder / name)
    assert finished.run().code == 0
    assert finished.bought() == ONCE


def test_a_request_of_one_s_own_buys_again(finished: Desk) -> None:
    paid = finished.spent()
    finished.edit("study.yaml", ("out: release/", "out: again/"), ("model: model/", "model: new/\nrequest: spring"))
    assert finished.run("--json").code == 0
    assert finished.spent() > paid
    assert finished.bought()["reserve"] == 2


def test_another_person_does_not_go_on_with_a_hold(finished: Desk) -> None:
    finished.edit("policy.yaml", ("  rea@lab.example", "  bo@lab.example: {roles: [analysts]}\n  rea@lab.example"))
    finished.edit("study.yaml", ("out: release/", "out: again/\nrequest: one"), ("model: model/", "model: new/"))
    assert finished.run().code == 0
    finished.edit("study.yaml", ("out: again/", "out: third/"))
    said = finished.run("--json", "--actor", "bo@lab.example")
    assert (said.code, said.json["error"]) == (4, "HoldError")
    assert "actor differ" in said.json["what"] and "new request id" in said.json["mend"]


def test_a_model_of_another_hold_is_not_taken_for_this_one(finished: Desk) -> None:
    finished.edit("study.yaml", ("out: release/", "out: again/"), ("model: model/", "model: model/\nrequest: spring"))
    said = finished.run("--json")
    assert (said.code, said.json["error"]) == (2, "StorageError")
    assert finished.bought()["reserve"] == 1
    finished.reserve()
    said = finished.run("--json")
    assert "holds another model" in said.json["what"]
    assert finished.ledger().find("spring") is not None
    assert finished.bought()["fit"] == 1


def test_a_spoilt_model_is_made_again_from_the_ledger(finished: Desk) -> None:
    path = finished.folder / "model" / "model.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    finished.edit("study.yaml", ("out: release/", "out: again/"))
    said = finished.run("--json")
    assert (said.code, said.json["error"]) == (4, "ModelError")
    assert "free" in said.json["mend"]
    shutil.rmtree(finished.folder / "model")
    assert finished.run().code == 0
    assert finished.bought() == ONCE


# --- a refusal stands ------------------------------------------------------------------------------


@pytest.fixture
def refused(desk: Desk) -> Desk:
    """A desk whose gate asks for more than its data can give."""
    desk.edit("policy.yaml", ("at least: 0.35", "at least: 0.93"))
    said = desk.run("--json")
    assert (said.code, said.json["refused_by"]) == (1, ["PS-GATE-UTI"])
    return desk


def test_a_refused_hold_stays_refused(refused: Desk) -> None:
    paid, seen = refused.spent(), refused.bought()
    said = refused.run("--json")
    assert (said.code, said.json["error"], said.json["refused_by"]) == (1, "ReleaseRefused", ["PS-GATE-UTI"])
    assert "request:" in said.json["mend"] and "a verdict stands" in said.json["what"]
    assert (refused.spent(), refused.bought()) == (paid, seen)
    assert not refused.release.exists()
    hold = refused.ledger().find(refused.load().request)
    assert hold is not None and refused.ledger().status(hold.id) is Status.REFUSED


def test_a_refused_model_gives_no_further_release(refused: Desk) -> None:
    said = cli("sample", refused.study, "--rows", "5", "--out", refused.folder / "x", "--json")
    assert (said.code, said.json["error"]) == (4, "HoldError")
    assert not (refused.folder / "x").exists()


def test_a_refusal_shows_limits_and_no_figures(refused: Desk) -> None:
    told = json.dumps([entry for entry in refused.entries() if entry["kind"] == "refused"])
    assert "PS-GATE-UTI" in told and not re.search(r"(?<![0-9])0\.[0-9]", told)


def test_the_release_is_of_the_condition_that_the_study_asks_for(finished: Desk) -> None:
    finished.edit(
        "study.yaml",
        ("seed: 7", "seed: 7, where: {sex: F, age: {from: 20, to: 40}, smoker: null}"),
        ("out: release/", "out: some/"),
    )
    assert finished.run().code == 0
    rows = pd.read_parquet(finished.folder / "some" / "data" / "table.parquet")
    assert set(rows["sex"]) == {"F"} and rows["age"].between(20, 40).all() and rows["smoker"].isna().all()
    condition = verify(finished.folder / "some", trust=finished.folder / "trust.json").condition
    assert condition == {"age": {"from": 20, "to": 40}, "sex": "F", "smoker": None}


def test_a_saved_model_without_its_ledger_releases_nothing(finished: Desk) -> None:
    (finished.folder / "ledger.db").unlink()
    said = cli("sample", finished.study, "--rows", "5", "--out", finished.folder / "x", "--json")
    assert (said.code, said.json["error"]) == (4, "LedgerError")
    assert not (finished.folder / "ledger.db").exists()
