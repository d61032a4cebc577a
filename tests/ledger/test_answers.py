"""Answers for a restore: of one statement, by distinct people with distinct keys, for a week."""

from __future__ import annotations

import datetime as dt
import json
from base64 import b64decode, b64encode
from pathlib import Path

import pytest

from privsynth.documents import canonical
from privsynth.errors import ApprovalMissing, BundleError, StorageError
from privsynth.ledger.answers import (
    STATEMENT,
    Answers,
    Extent,
    Remembered,
    Statement,
    answer,
    answers,
    read_statement,
    write_statement,
)
from privsynth.policy.approval import PAYLOAD_TYPE as APPROVAL
from privsynth.signing import sign_envelope
from tests.ledger.people import TWO, People
from tests.ledger.world import NOON
from tests.pipes import not_waiting, pipe

ROOT = "a" * 64
SAID = Statement(
    ledger="0" * 32,
    policy="b" * 64,
    main=Extent(size=7, root=ROOT),
    attempts=Extent(size=3, root=ROOT),
    witness=Remembered(main=9, attempts=3),
    lost=True,
)
TODAY = NOON.date()


@pytest.fixture
def people(tmp_path: Path) -> People:
    return People(tmp_path / "keys")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_statement(SAID, tmp_path / "answers")
    return tmp_path / "answers"


def found(folder: Path, people: People, *, statement: Statement = SAID, now: dt.datetime = NOON) -> Answers:
    return answers(statement, folder, people.trust, people=TWO, now=now)


def test_two_people_answer(folder: Path, people: People) -> None:
    people.answer(folder, *TWO)
    told = found(folder, people)
    assert [one.person for one in told.given] == list(TWO)
    assert [one.keyid for one in told.given] == [people.keys[person].keyid for person in TWO]
    told.demand(folder=folder)
    assert told.passed_over == ()


def test_a_person_counts_once_and_a_key_counts_once(folder: Path, people: People) -> None:
    people.answer(folder, TWO[0])
    path = next(path for path in folder.iterdir() if path.name != STATEMENT)
    (folder / "copy.json").write_bytes(path.read_bytes())
    with pytest.raises(StorageError, match="there already"):
        people.answer(folder, TWO[0])
    people.key("second key", known_as=TWO[0].upper())
    answer(folder, people.key("second key"), person=TWO[0], today=TODAY)
    told = found(folder, people)
    assert len(told.given) == 1
    assert {why for _, why in told.passed_over} <= {f"{p} has answered already" for p in (TWO[0], TWO[0].upper())}
    assert len(told.passed_over) == 2
    with pytest.raises(ApprovalMissing, match="has answered already"):
        told.demand(folder=folder)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"main": Extent(size=8, root=ROOT)}, "another copy"),
        ({"main": Extent(size=7, root="c" * 64)}, "another copy"),
        ({"attempts": Extent(size=2, root=ROOT)}, "another copy"),
        ({"ledger": "1" * 32}, "another copy"),
        ({"policy": "d" * 64}, "another copy"),
        ({"witness": None}, "another copy"),
        ({"witness": Remembered(main=10, attempts=3)}, "another copy"),
        ({"lost": False}, "another copy"),
    ],
)
def test_an_answer_is_of_one_statement(folder: Path, people: People, change: dict[str, object], why: str) -> None:
    people.answer(folder, *TWO)
    told = found(folder, people, statement=SAID.model_copy(update=change))
    assert told.given == ()
    assert all(why in one for _, one in told.passed_over)


def test_an_answer_counts_for_a_week(folder: Path, people: People) -> None:
    people.answer(folder, *TWO)
    for days, count in ((-2, 0), (-1, 2), (0, 2), (7, 2), (9, 0)):
        told = found(folder, people, now=NOON + dt.timedelta(days=days))
        assert len(told.given) == count, days


def test_strangers_other_roles_and_old_keys_do_not_count(folder: Path, people: People, tmp_path: Path) -> None:
    people.key(TWO[0], role="release")
    people.key(TWO[1], expires=TODAY - dt.timedelta(days=1))
    people.answer(folder, *TWO, "nobody@elsewhere.example")
    other = People(tmp_path / "others")
    other.answer(folder, TWO[0])
    told = found(folder, people)
    assert told.given == ()
    whys = " | ".join(why for _, why in told.passed_over)
    for words in ("of the 1 people needed", "expired", "not one of the policy's people", "does not list"):
        assert words in whys


def test_a_name_that_is_not_the_keys_does_not_count(folder: Path, people: People) -> None:
    answer(folder, people.key(TWO[0]), person=TWO[1], today=TODAY)
    assert "another name" in found(folder, people).passed_over[0][1]


def test_an_approval_of_a_policy_answers_for_nothing(folder: Path, people: People) -> None:
    raw = sign_envelope(APPROVAL, b"{}", people.key(TWO[0]))
    (folder / "approval.json").write_bytes(raw)
    assert "not of type" in found(folder, people).passed_over[0][1]


def test_an_altered_answer_does_not_count(folder: Path, people: People) -> None:
    people.answer(folder, TWO[0])
    path = next(path for path in folder.iterdir() if path.name != STATEMENT)
    envelope = json.loads(path.read_bytes())
    payload = json.loads(b64decode(envelope["payload"]))
    for key, value in (
        ("person", TWO[1]),
        ("on", "2026-11-22"),
        ("statement", {**payload["statement"], "lost": False}),
    ):
        forged = {**envelope, "payload": b64encode(canonical({**payload, key: value})).decode()}
        path.write_bytes(canonical(forged))
        assert found(folder, people).given == ()
    path.write_bytes(b"{")
    assert found(folder, people).given == ()


def test_a_day_that_does_not_exist_is_told(folder: Path, people: People) -> None:
    people.key(TWO[0])
    odd = type("Odd", (), {"isoformat": lambda self: "2026-02-30"})()
    answer(folder, people.key(TWO[0]), person=TWO[0], today=odd)
    assert "no such day" in found(folder, people).passed_over[0][1]


def test_a_statement_lies_once_in_its_folder(folder: Path, tmp_path: Path) -> None:
    assert read_statement(folder) == SAID
    with pytest.raises(StorageError, match="there already"):
        write_statement(SAID, folder)
    with pytest.raises(BundleError, match="statement"):
        read_statement(tmp_path / "none")
    with pytest.raises(StorageError, match="cannot be written"):
        write_statement(SAID, tmp_path / "no" / "folder")
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="not a folder"):
        write_statement(SAID, tmp_path / "file")
    (folder / STATEMENT).write_bytes(canonical({"privsynth-restore": 1}))
    with pytest.raises(BundleError):
        read_statement(folder)


def test_a_pipe_among_the_answers_is_not_waited_for(folder: Path, people: People) -> None:
    people.key(TWO[0])
    pipe(folder / "0.json")
    with not_waiting():
        assert found(folder, people).passed_over == (("0.json", "the answer file cannot be read (not a file)"),)
    pipe(folder / STATEMENT)
    with not_waiting(), pytest.raises(BundleError, match="not a file"):
        read_statement(folder)


def test_a_statement_says_in_words_what_it_costs() -> None:
    text = "\n".join(SAID.words())
    assert "7 entries, 3 attempts" in text
    assert "remembers 9 entries" in text
    assert "booked as spent, for ever" in text
    assert SAID.missing == {"main": 2, "attempts": 0}
    alone = SAID.model_copy(update={"witness": None})
    assert alone.missing is None
    assert "nobody can say" in "\n".join(alone.words())
    assert "nothing is missing" in "\n".join(SAID.model_copy(update={"lost": False}).words())
