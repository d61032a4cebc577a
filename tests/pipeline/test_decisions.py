"""Receipts of a run's decisions of consent: kept inside where the study says so, and committed to in the second log."""

from __future__ import annotations

import json
import os
import stat
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from privsynth.documents import identity, sha256
from privsynth.errors import StorageError, UsageError
from privsynth.pipeline.decisions import keep_decisions
from privsynth.pipeline.run import run_study
from tests.desk import SECRET, Desk, Said, cli
from tests.world import ACTOR


@pytest.fixture
def kept(desk: Desk) -> Desk:
    """A desk whose study keeps receipts."""
    desk.edit("study.yaml", ("{register: consent.csv}", "{register: consent.csv, decisions: inside/decisions}"))
    return desk


def files(desk: Desk) -> list[Path]:
    return sorted((desk.folder / "inside" / "decisions").glob("*"))


def notes(desk: Desk) -> list[dict[str, Any]]:
    return [entry for entry in desk.entries() if entry["kind"] == "decisions"]


def audit(desk: Desk, file: Path, *args: str) -> Said:
    books = ("--ledger", f"sqlite:///{desk.folder}/ledger.db")
    return cli("consent", "audit", desk.folder / "policy.yaml", file, *books, *args)


def test_a_study_that_does_not_ask_keeps_none(finished: Desk) -> None:
    assert notes(finished) == []
    assert not [name for name in finished.files() if "decisions" in name]


def test_a_run_keeps_a_receipt_of_every_decision_and_commits_to_it_before_the_fit(kept: Desk) -> None:
    said = kept.run("--json")
    assert said.code == 0, said.out
    assert SECRET not in said.out + said.err
    (file,), (note,) = files(kept), notes(kept)
    assert (stat.S_IMODE(file.stat().st_mode), stat.S_IMODE(file.parent.stat().st_mode)) == (0o600, 0o700)
    assert note["log"] == "attempts"
    assert note["body"] == {"hold": said.json["hold"], "population": "lab-people", "sha256": sha256(file.read_bytes())}
    fit = next(entry for entry in kept.entries() if entry["kind"] == "fit")
    assert note["time"] <= fit["time"]

    first, *told = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    assert (first["privsynth-decisions"], first["hold"], len(first["nonce"])) == (1, said.json["hold"], 64)
    counted = cli("consent", "check", kept.study, "--json").json["answers"]
    assert Counter(one["decision"]["answer"] for one in told) == counted
    assert {one["subject"] for one in told} == set(kept.frame()["person"])
    for one in told:
        assert one["record_id"] == identity({name: value for name, value in one.items() if name != "record_id"})

    found = audit(kept, file, "--json")
    assert (found.code, found.json["hold"], found.json["sha256"]) == (0, said.json["hold"], note["body"]["sha256"])
    assert "unchanged" in audit(kept, file).out
    assert cli("ledger", "verify", kept.folder / "policy.yaml", "--ledger", kept.load().ledger.url).code == 0


def test_no_release_or_model_holds_them(kept: Desk) -> None:
    assert kept.run().code == 0
    (note,) = notes(kept)
    for folder in (kept.release, kept.folder / "model"):
        for file in folder.rglob("*"):
            assert not file.is_file() or note["body"]["sha256"].encode() not in file.read_bytes()


def test_a_changed_file_is_convicted(kept: Desk) -> None:
    assert kept.run().code == 0
    (file,) = files(kept)
    raw = file.read_bytes()
    lines = raw.splitlines(keepends=True)
    for changed in (
        raw.replace(b'"answer":"grant"', b'"answer":"deny"', 1),
        b"".join(lines[:-1]),
        b"".join([lines[0], lines[2], lines[1], *lines[3:]]),
        raw + lines[1],
    ):
        assert changed != raw
        file.write_bytes(changed)
        said = audit(kept, file, "--json")
        assert (said.code, said.json["error"]) == (4, "LedgerError")
        assert SECRET not in said.out
    for other in (b"", b"{}\n", b"[]\n", b"no json\n"):
        file.write_bytes(other)
        assert audit(kept, file).code == 2
    assert audit(kept, file.parent / "none").code == 2
    file.write_bytes(raw)
    assert audit(kept, file).code == 0


def test_the_same_decisions_give_another_hash_each_time(kept: Desk) -> None:
    """The nonce is fresh: nobody who knows who was asked and what was decided can find the hash."""
    judged, hold = _judged(kept), _hold(kept)
    for _ in range(2):
        keep_decisions(kept.load(), judged, hold=hold)
    one, other = notes(kept)
    assert one["body"]["sha256"] != other["body"]["sha256"]
    first, second = (file.read_bytes().splitlines() for file in files(kept))
    assert first[0] != second[0]
    assert first[1:] == second[1:]
    for file in files(kept):
        assert audit(kept, file, "--actor", ACTOR).code == 0


def test_a_disk_that_is_full_stops_the_run_before_its_fit(kept: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    judged, hold = _judged(kept), _hold(kept)

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"receipts of consent cannot be written \(No space left"):
        keep_decisions(kept.load(), judged, hold=hold)
    assert files(kept) == [] and notes(kept) == []
    monkeypatch.undo()
    assert run_study(kept.load(), actor=kept.load().file.actor or "").rows == 300


def test_a_place_that_cannot_be_written_is_told_before_anything_is_paid(desk: Desk) -> None:
    desk.edit("study.yaml", ("{register: consent.csv}", "{register: consent.csv, decisions: data.parquet/x}"))
    assert desk.run().code == 2
    assert "reserve" not in desk.kinds()


def test_a_commitment_is_a_hash(desk: Desk) -> None:
    hold = _hold(desk)
    for wrong in ("", "00", "A" * 64, "0" * 65, 7):
        with pytest.raises(UsageError, match="SHA-256"):
            hold.decide(wrong)
    hold.decide("0" * 64)
    assert [note.sha256 for note in desk.ledger().decided()] == ["0" * 64]


def _hold(desk: Desk) -> Any:
    return desk.ledger().hold(desk.reserve())


def _judged(desk: Desk) -> Any:
    from privsynth.pipeline.run import read_judged

    return read_judged(desk.load())[1]
