"""The way back on the command line: what is said before anything is made, who signs it, what it costs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from privsynth.ledger.store import open_ledger
from privsynth.policy.document import load_policy
from tests.desk import AUDITOR, Desk, Said, cli
from tests.world import ACTOR

TWO = (ACTOR, AUDITOR)


class Back:
    """A finished desk whose ledger is gone, its copies, and the keys of two people."""

    def __init__(self, desk: Desk, *, witness: bool) -> None:
        self.at, self.policy = desk.folder, desk.folder / "policy.yaml"
        self.url = f"sqlite:///{self.at}/ledger.db"
        self.witness: list[str | Path] = []
        if witness:
            for name in ("w", "w.attempts"):
                (self.at / name).touch()
            self.witness = ["--witness", f"file:{self.at / 'w'}"]
        for verb, name, *more in (("backup", "b.db"), ("export", "e.jsonl", "--inside")):
            said = cli("ledger", verb, self.policy, self.at / name, "--ledger", self.url, *self.witness, *more)
            assert said.code == 0, said.err
        keys = []
        for number, person in enumerate(TWO):
            made = self.at / f"{number}.json"
            new = cli("keys", "new", self.at / f"{number}.key", "--trust", made, "--name", person, "--role", "policy")
            assert new.code == 0
            keys += json.loads(made.read_text())["keys"]
        (self.at / "people.json").write_text(json.dumps({"privsynth-trust": 1, "threshold": 1, "keys": keys}))
        (self.at / "ledger.db").unlink()

    def restore(self, copy: str, *more: str | Path, verb: str = "restore") -> Said:
        return cli("ledger", verb, self.policy, self.at / copy, "--ledger", self.url, *self.witness,
                   "--answers", self.at / "answers", *more)  # fmt: skip

    def sign(self, number: int) -> Said:
        return cli("ledger", "answer", self.at / "answers", "--key", self.at / f"{number}.key", "--person", TWO[number])

    def trusting(self) -> list[str | Path]:
        return ["--trust", self.at / "people.json"]


@pytest.mark.parametrize(("verb", "copy"), [("restore", "b.db"), ("restore", "e.jsonl"), ("import", "e.jsonl")])
def test_it_says_what_it_costs_two_people_sign_and_then_it_is_made(finished: Desk, verb: str, copy: str) -> None:
    back = Back(finished, witness=False)
    said = back.restore(copy, verb=verb)
    assert (said.code, said.err) == (0, "")
    for words in ("nobody can say what is missing", "booked as spent, for ever", "nothing is restored yet",
                  f"privsynth ledger answer {back.at / 'answers'}"):  # fmt: skip
        assert words in said.out
    assert sorted(p.name for p in back.at.glob("ledger.db*")) == ["ledger.db.key"]
    unsigned = back.restore(copy, *back.trusting(), "--accept-loss", verb=verb)
    assert unsigned.code == 5
    assert "given: nobody" in unsigned.err
    told = back.sign(0)
    assert told.code == 0 and "booked as spent" in told.out
    assert "given: " + ACTOR in back.restore(copy, *back.trusting(), "--accept-loss", verb=verb).err
    assert back.sign(1).code == 0
    assert "not accepted" in back.restore(copy, *back.trusting(), verb=verb).err
    assert "said by a trust file" in back.restore(copy, "--accept-loss", verb=verb).err
    assert not (back.at / "ledger.db").exists()
    made = back.restore(copy, *back.trusting(), "--accept-loss", "--json", verb=verb)
    assert (made.code, made.json["command"]) == (0, f"ledger {verb}")
    assert (made.json["people"], made.json["lost"], made.json["missing"]) == (sorted(TWO), True, None)
    assert cli("ledger", "verify", back.policy, "--ledger", back.url).code == 0
    ledger = open_ledger(back.url, load_policy(back.policy), actor=ACTOR)
    assert ledger.balances()[0].spent_share() == 1.0


def test_an_auditor_sees_who_answered_for_a_restore(finished: Desk) -> None:
    back = Back(finished, witness=False)
    assert back.restore("b.db").code == 0
    assert [back.sign(n).code for n in (0, 1)] == [0, 0]
    assert back.restore("b.db", *back.trusting(), "--accept-loss").code == 0
    shown = back.at / "shown.jsonl"
    assert cli("ledger", "export", back.policy, shown, "--ledger", back.url).code == 0
    own = cli("ledger", "checkpoint", back.policy, "--ledger", back.url, "--json").json["trust"]
    people = json.loads((back.at / "people.json").read_text())["keys"]

    def checked(*keys: Any) -> Said:
        (back.at / "t.json").write_text(json.dumps({"privsynth-trust": 1, "threshold": 1, "keys": [own, *keys]}))
        return cli("ledger", "check", shown, "--trust", back.at / "t.json")

    said = checked(*people)
    assert said.code == 0
    assert "restored, and answered for by" in said.out and all(person in said.out for person in TWO)
    assert checked().code == 0  # who lists no such keys asks nothing
    one = checked(people[0])
    assert one.code == 4
    assert "0 of 2 people" in one.err or "1 of 2 people" in one.err


def test_what_the_witness_remembers_moves_at_no_price(finished: Desk) -> None:
    back = Back(finished, witness=True)
    said = back.restore("e.jsonl", "--json", verb="import")
    assert (said.json["restored"], said.json["lost"]) == (None, False)
    assert [back.sign(n).code for n in (0, 1)] == [0, 0]
    made = back.restore("e.jsonl", *back.trusting(), verb="import")
    assert made.code == 0
    assert "nothing is missing, and nothing is booked" in made.out
    again = cli("ledger", "verify", back.policy, "--ledger", back.url, *back.witness, "--json")
    assert (again.code, again.json["holds"]) == (0, 1)


def test_a_copy_that_the_witness_outgrew_is_not_what_was_answered_for(finished: Desk) -> None:
    back = Back(finished, witness=True)
    assert back.restore("b.db").code == 0
    assert [back.sign(n).code for n in (0, 1)] == [0, 0]
    assert back.restore("b.db", *back.trusting()).code == 0
    (back.at / "ledger.db").unlink()
    said = back.restore("b.db", *back.trusting(), "--accept-loss")
    assert said.code == 5
    assert "of another copy, policy or state of the witness" in said.err
    assert "name a new folder" in said.err


def test_nobody_answers_where_there_is_nothing_to_answer_for(finished: Desk) -> None:
    back = Back(finished, witness=False)
    said = back.sign(0)
    assert said.code == 4
    assert "ledger restore" in said.err or "statement" in said.err


def test_a_ledger_that_is_gone_is_not_made_anew_by_a_run(finished: Desk) -> None:
    Back(finished, witness=False)
    for verb in ("run", "plan"):
        said = cli(verb, finished.study, "--json")
        assert (said.code, said.json["error"]) == (4, "LedgerError"), verb
    assert not (finished.folder / "ledger.db").exists()


def test_where_the_policy_requires_a_witness_plan_and_run_say_so_before_anything_is_made(desk: Desk) -> None:
    desk.edit("policy.yaml", ("\nroles:", "\nledger: {witness: required}\nroles:"))
    before = desk.files()
    for verb in ("plan", "run"):
        said = cli(verb, desk.study, "--json")
        assert (said.code, said.json["error"]) == (1, "RequestDenied"), said.err
        assert "PS-LED-001" in said.json["what"] and "policy.yaml:" in said.json["where"]
    assert desk.files() == before
    for name in ("w", "w.attempts"):
        (desk.folder / name).touch()
    desk.edit("study.yaml", ("ledger: sqlite:///ledger.db", "ledger: {at: sqlite:///ledger.db, witness: file:w}"))
    assert cli("plan", desk.study).code == 0
