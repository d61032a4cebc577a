"""`privsynth consent …`: what each command prints, writes and refuses."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from privsynth.pipeline.keys import make_keys
from privsynth.policy.consent.impact import FolderShelf, fit_of
from privsynth.policy.consent.register import read_register
from privsynth.release.recalls import load_recalls
from privsynth.signing import load_trust
from tests import world
from tests.desk import SECRET, Desk, cli


def test_check_counts_and_writes_receipts(desk: Desk, tmp_path: Path) -> None:
    receipts = tmp_path / "receipts.ndjson"
    said = cli("consent", "check", desk.study, "--receipts", receipts, "--json")
    assert said.code == 0, said.err
    people = desk.frame()["person"].nunique()
    assert sum(said.json["answers"].values()) == sum(said.json["reasons"].values()) == people
    assert said.json["internal"] is True
    assert SECRET not in said.out
    lines = [json.loads(line) for line in receipts.read_text().splitlines()]
    assert len(lines) == people
    assert stat.S_IMODE(receipts.stat().st_mode) == 0o600
    granted = sum(line["decision"]["answer"] == "grant" for line in lines)
    assert granted == said.json["answers"]["grant"]
    spoken = cli("consent", "check", desk.study)
    assert "INTERNAL" in spoken.out and SECRET not in spoken.out
    assert cli("consent", "check", desk.study, "--receipts", receipts).code == 2, "a file that is there stays"


def test_withdraw_takes_people_out_of_the_next_fit(desk: Desk, tmp_path: Path) -> None:
    register = desk.folder / "consent.csv"
    before = cli("consent", "check", desk.study, "--json").json["answers"]["grant"]
    gone = sorted(read_register(register))[:7]
    (tmp_path / "ids.txt").write_text("\n".join([*gone, "", gone[0]]))
    said = cli("consent", "withdraw", register, "--subjects", tmp_path / "ids.txt", "--json")
    assert (said.code, said.json["withdrawn"]) == (0, 7), said.err
    assert SECRET not in said.out
    after = cli("consent", "check", desk.study, "--json").json["answers"]["grant"]
    assert before - 7 <= after < before
    (tmp_path / "ids.txt").write_text("\n")
    assert cli("consent", "withdraw", register, "--subjects", tmp_path / "ids.txt").code == 2


@pytest.mark.parametrize(("people", "told"), [(6, "6"), (2, "fewer than 5")])
def test_impact(desk: Desk, tmp_path: Path, people: int, told: str) -> None:
    from privsynth.pipeline.run import read_granted

    ledger = desk.ledger()
    key = ledger.coin_key("lab/visits").key
    train = read_granted(desk.load()).split(ledger).train
    shelf = tmp_path / "shelf"
    FolderShelf(shelf).put(fit_of(train, key=key, hold="h1", day="2026-05-01", epsilon=1.0))
    register = desk.folder / "consent.csv"
    start = ("consent", "impact", desk.folder / "policy.yaml", "--ledger", desk.load().ledger.url, "--shelf", shelf)
    arguments = (*start, "--source", "lab/visits", "--actor", world.ACTOR, "--register", register)
    ids = sorted(set(train.records.subjects.tolist()))[:people]
    (tmp_path / "ids.txt").write_text("\n".join(ids))
    before = cli(*arguments, "--json")
    assert before.code == 0, before.err
    assert all(SECRET not in text for text in (before.out, before.err))
    already = before.json["fits"]
    assert already == []
    assert cli("consent", "withdraw", register, "--subjects", tmp_path / "ids.txt").code == 0
    after = cli(*arguments, "--json").json
    assert after["rung"] == "stop-new-use"
    assert [(f["hold"], f["people"]) for f in after["fits"]] == [("h1", people if people >= 5 else None)]
    spoken = cli(*arguments)
    assert told in spoken.out and "INTERNAL" in spoken.out and SECRET not in spoken.out


def test_impact_without_what_it_needs(desk: Desk, tmp_path: Path) -> None:
    start = ("consent", "impact", desk.folder / "policy.yaml", "--ledger", f"sqlite:///{desk.folder}/ledger.db")
    rest = ("--source", "lab/visits", "--actor", world.ACTOR)
    said = cli(*start, "--shelf", tmp_path / "none", *rest, "--register", desk.folder / "consent.csv")
    assert said.code == 2
    assert "no commitments" in said.err and "on withdrawal" in said.err


def test_recall(tmp_path: Path) -> None:
    pair = make_keys(tmp_path, name="Office")
    due = (datetime.now(UTC) + timedelta(days=30)).date().isoformat()
    out = tmp_path / "recalls.json"
    said = cli(
        "consent", "recall", out, "--key", pair.key, "--next", due, "--recall", "lab/visits:2026-01-01:2026-06-30"
    )
    assert said.code == 0, said.err
    listed = load_recalls(out, load_trust(pair.trust), now=datetime.now(UTC))
    assert listed.next == due
    assert [(r.source, r.from_, r.until) for r in listed.recalls] == [("lab/visits", "2026-01-01", "2026-06-30")]
    for wrong in (("--recall", "lab/visits"), ("--recall", "a:2026-06-30:2026-01-01"), ("--recall", "a:x:y")):
        assert cli("consent", "recall", tmp_path / "b.json", "--key", pair.key, "--next", due, *wrong).code == 2
    assert cli("consent", "recall", tmp_path / "b.json", "--key", pair.key, "--next", "2020-01-01").code == 2
    assert not (tmp_path / "b.json").exists()


def test_a_run_keeps_who_was_in(desk: Desk, tmp_path: Path) -> None:
    """From a run to the list of the fits that held who withdrew, as the policy's rung has it."""
    desk.edit("policy.yaml", ("  by: register\n", "  by: register\n  on withdrawal: retire-models\n"))
    said = desk.run()
    assert said.code == 0, said.err
    [kept] = (desk.folder / "ledger.db.commitments").iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert SECRET not in kept.read_text()
    register = desk.folder / "consent.csv"
    (tmp_path / "ids.txt").write_text("\n".join(sorted(read_register(register))))
    assert cli("consent", "withdraw", register, "--subjects", tmp_path / "ids.txt").code == 0
    told = cli("consent", "impact", desk.folder / "policy.yaml", "--ledger", desk.load().ledger.url, "--source",
               "lab/visits", "--actor", world.ACTOR, "--register", register, "--json").json  # fmt: skip
    [found] = told["fits"]
    assert (told["rung"], found["hold"], found["recipient"]) == ("retire-models", kept.stem, world.RECIPIENT)
    assert found["people"] == len(json.loads(kept.read_text())["commitments"])
    assert desk.run().code != 0, "the release is there already, and nothing is fitted again"


def test_without_a_rung_nothing_is_kept(finished: Desk) -> None:
    assert not (finished.folder / "ledger.db.commitments").exists()


def test_check_by_fhir_records(desk: Desk) -> None:
    pytest.importorskip("fhir.resources", reason="the extra fhir is not installed")
    from tests.policy.consent.made import r4, r5, reference

    rules = (
        "  by: fhir\n  records: [fhir-r4, fhir-r5]\n"
        "  requires: {scope: research, purpose: HRESCH, action: [collect, use]}\n"
        "  verified by: [patient]\n  max age of export: 24h\n"
    )
    desk.edit("policy.yaml", ("  by: register\n", rules))
    now = datetime.now(UTC).isoformat(timespec="seconds")
    desk.edit("study.yaml", ("{register: consent.csv}", f"{{fhir: consents.ndjson, exported: {now}}}"))
    people = sorted(set(desk.frame()["person"]))[:30]
    records = []
    for n, person in enumerate(people):
        own = reference(f"Patient/{person}")
        made = r4(patient=own, performer=[own]) if n % 3 else r5("deny", subject=own, grantor=[own])
        records.append(made)
    (desk.folder / "consents.ndjson").write_text("".join(json.dumps(record) + "\n" for record in records))
    said = cli("consent", "check", desk.study, "--json")
    assert said.code == 0, said.err
    everybody = desk.frame()["person"].nunique()
    assert said.json["answers"] == {"grant": 20, "deny": 10, "unknown": everybody - 30}
    assert said.json["reasons"] == {"granted": 20, "refused": 10, "no-record": everybody - 30}
    assert SECRET not in said.out + said.err
    desk.edit("study.yaml", (f", exported: {now}", ""))
    refused = cli("consent", "check", desk.study, "--json")
    assert (refused.code, refused.json["refused_by"]) == (1, ["PS-CON-002"])
