"""A changed policy is worked by only once the people whom the ledger remembers have approved it."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from privsynth.errors import ApprovalMissing, HoldError, LedgerError, PolicyError, PrivsynthError
from privsynth.ledger.answers import answer, write_statement
from privsynth.ledger.care import backup, export, read
from privsynth.ledger.ledger import Ledger, quote_unopened
from privsynth.ledger.restore import Restore
from privsynth.ledger.store import look_at_ledger, open_ledger
from privsynth.policy.approval import approve, folder_of
from privsynth.policy.document import Policy, load_policy
from privsynth.signing import SigningKey, load_key, new_key
from tests.ledger.anywhere import in_children
from tests.ledger.test_layout import GOLDEN, later
from tests.ledger.test_state import whole
from tests.ledger.world import ANALYST, OTHER_ANALYST, POLICY, READER, USE, Hands, fit, gate, kinds, recipe
from tests.pipes import not_waiting, pipe

DPO, SECURITY, BOARD = "d.po@st-anna.example", "s.ecurity@st-anna.example", "b.oard@st-anna.example"
MALLORY = "m.allory@st-anna.example"
APPROVERS = {DPO: "dpo", SECURITY: "security", BOARD: "dpo"}
PEOPLE = "people:\n"
RULE = "approval:\n  policy change: {people: 2, roles: [dpo, security], not author: true}\n"
LOOSER = ("max epsilon: 3.0", "max epsilon: 2.9"), ("max attempts: 2", "max attempts: 9")


@dataclass
class House:
    """A folder with one policy file, people with keys, and a ledger.

    Attributes:
        folder: of all of them.
        keys: of the people, by address; a key is made when it is first asked for.
        named: whose keys the file names now: address -> the person whose key it is.
        clock: of the ledger.
    """

    folder: Path
    keys: dict[str, SigningKey] = field(default_factory=dict)
    named: dict[str, str] = field(default_factory=lambda: dict.fromkeys(APPROVERS, ""))
    roles: dict[str, str] = field(default_factory=lambda: dict(APPROVERS))
    clock: Hands = field(default_factory=Hands)

    @property
    def path(self) -> Path:
        return self.folder / "policy.yaml"

    def key(self, name: str) -> SigningKey:
        if name not in self.keys:
            path = self.folder / f"{len(self.keys)}.key"
            new_key(path, name=name)
            self.keys[name] = load_key(path)
        return self.keys[name]

    def write(self, *edits: tuple[str, str], rule: str = RULE, version: str = "1") -> Policy:
        """The policy file as somebody leaves it."""
        text = POLICY.replace('version: "1"', f'version: "{version}"')
        for old, new in edits:
            assert old in text, old
            text = text.replace(old, new)
        lines = ""
        for person, holder in self.named.items() if rule else ():
            line = self.key(holder or person).public(name=person).line
            lines += f'  {person}: {{roles: [{self.roles[person]}], key: "{line}"}}\n'
        self.path.write_text(text.replace(PEOPLE, PEOPLE + lines) + rule)
        return load_policy(self.path)

    def in_use(self) -> str | None:
        """SHA-256 of the policy that the ledger accepted last."""
        if not (self.folder / "l.db").exists():
            return None
        found = look_at_ledger(self.url, load_policy(self.path), actor=ANALYST, clock=self.clock).standing().accepted
        return None if found is None else found.sha256

    def approved(self, by: tuple[str, ...] = (DPO, SECURITY), *, key: str = "", **told: str | None) -> None:
        """Each of these people approves the file as it is, in the place of the policy in use, or of ``before``."""
        before = told["before"] if told else self.in_use()
        for person in by:
            approve(
                load_policy(self.path),
                folder_of(self.path),
                self.key(key or person),
                before=before,
                person=person,
                today=self.clock.now.date(),
            )

    @property
    def url(self) -> str:
        return f"sqlite:///{self.folder / 'l.db'}"

    def open(self, *, actor: str = ANALYST) -> Ledger:
        return open_ledger(self.url, load_policy(self.path), actor=actor, clock=self.clock)

    def refused(self, *, actor: str = ANALYST) -> ApprovalMissing:
        """The refusal to open it; the ledger is as it was."""
        before = (self.folder / "l.db").read_bytes() if (self.folder / "l.db").exists() else b""
        with pytest.raises(ApprovalMissing) as caught:
            self.open(actor=actor)
        after = (self.folder / "l.db").read_bytes() if (self.folder / "l.db").exists() else b""
        assert after == before
        assert caught.value.exit_code == 5 and caught.value.rules == ("PS-APP-001",)
        return caught.value


@pytest.fixture
def house(tmp_path: Path) -> House:
    """With a ledger under its first policy, which two people approved."""
    found = House(tmp_path)
    found.write()
    found.approved()
    found.open()
    return found


def last(ledger: Ledger) -> dict[str, Any]:
    with ledger.reading() as session:
        return dict([entry for entry in session.main if entry.kind == "policy"][-1].body)


# --- the first policy ------------------------------------------------------------------------------


def test_the_first_policy_takes_its_own_people(tmp_path: Path) -> None:
    house = House(tmp_path)
    policy = house.write()
    fault = house.refused()
    assert "approved by nobody; 2 missing" in fault.what and "2 distinct people" in fault.what
    assert f"privsynth policy approve {house.path}" in fault.mend
    assert fault.where == policy.where("approval", "policy change")
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".key", ".key", ".key", ".yaml"], "nothing is left behind"
    house.approved((DPO,))
    assert f"approved by {DPO}; 1 missing" in house.refused().what
    house.approved((SECURITY,))
    ledger = house.open()
    assert kinds(ledger)[:3] == ["genesis", "policy", "register"]
    body = last(ledger)
    assert (body["policy"], body["before"]) == (policy.sha256, None)
    assert [one["person"] for one in body["approved"]] == [DPO, SECURITY]
    assert [one["key"] for one in body["approved"]] == [house.keys[DPO].keyid, house.keys[SECURITY].keyid]
    assert len({one["envelope"] for one in body["approved"]}) == 2
    assert [one["person"] for one in body["rule"]["approvers"]] == [DPO, SECURITY, BOARD]
    ledger.verify()


def test_a_policy_without_the_rule_is_as_it_was(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.write(rule="")
    house.open()
    house.write(*LOOSER, rule="")
    ledger = house.open()
    assert "policy" not in kinds(ledger)
    assert ledger.standing().verdict is None and ledger.standing().missing() is None


def test_a_rule_that_comes_later_takes_its_own_people(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.write(rule="")
    house.open()
    house.write()
    house.refused()
    house.approved()
    assert kinds(house.open())[-1] == "policy"
    house.write(*LOOSER)
    house.refused()


def test_a_ledger_of_the_first_form_opens_and_the_next_change_writes_the_first_entry(tmp_path: Path) -> None:
    shutil.copy(GOLDEN, tmp_path / "l.db")
    house = House(tmp_path, clock=later())
    house.write(rule="")
    assert "policy" not in kinds(house.open())
    house.write()
    house.refused()
    house.approved()
    ledger = house.open()
    assert kinds(ledger)[-1] == "policy" and last(ledger)["before"] is None
    ledger.verify()


# --- changes ---------------------------------------------------------------------------------------


def test_a_change_takes_the_people_of_the_policy_before_it(house: House) -> None:
    before = load_policy(house.path).sha256
    after = house.write(*LOOSER)
    fault = house.refused()
    assert "entry 1 of the ledger" in fault.where
    house.approved((BOARD, SECURITY))
    ledger = house.open()
    assert (last(ledger)["before"], last(ledger)["policy"]) == (before, after.sha256)
    assert kinds(ledger).count("policy") == 2
    house.open()
    assert kinds(ledger).count("policy") == 2, "it is in use; nothing more is noted"


def test_a_pipe_among_the_approvals_is_not_waited_for(house: House) -> None:
    """The ledger is locked while they are read."""
    policy = house.write(version="2")
    house.approved((DPO,))
    pipe(folder_of(house.path) / f"{policy.sha256[:16]}-0.json")
    with not_waiting():
        assert "not a file" in house.refused().what
    house.approved((SECURITY,))
    with not_waiting():
        house.open()


def test_a_comment_is_no_change(house: House) -> None:
    house.path.write_text("# a comment\n" + house.path.read_text())
    house.open()


def test_the_ledger_remembers_when_the_folder_is_gone(house: House) -> None:
    shutil.rmtree(folder_of(house.path))
    house.open().reserve(recipe(), **USE)


def edit_limits(house: House) -> None:
    house.write(*LOOSER)


def edit_keys(house: House) -> None:
    """All approvers have Mallory's keys now, and she signs for them."""
    house.named = {DPO: MALLORY, SECURITY: MALLORY + "2", BOARD: MALLORY + "3"}
    house.write()
    house.approved((DPO,), key=MALLORY)
    house.approved((SECURITY,), key=MALLORY + "2")


def edit_both(house: House) -> None:
    house.named = {DPO: MALLORY, SECURITY: MALLORY + "2"}
    house.write(*LOOSER)
    house.approved((DPO,), key=MALLORY)
    house.approved((SECURITY,), key=MALLORY + "2")


def edit_people(house: House) -> None:
    """Two approvers of her own."""
    house.named, house.roles = {MALLORY: "", READER + "2": ""}, {MALLORY: "dpo", READER + "2": "dpo"}
    house.write(*LOOSER)
    house.approved((MALLORY, READER + "2"))


def drop_the_rule(house: House) -> None:
    house.write(*LOOSER, rule="")


def loosen_the_rule(house: House) -> None:
    house.write(*LOOSER, rule="approval: {policy change: {people: 2, roles: [dpo, security]}}\n")
    house.approved((DPO,))


def other_people_s_approvals(house: House) -> None:
    """Of the version in use, under new names."""
    house.write(*LOOSER)
    folder = folder_of(house.path)
    for n, path in enumerate(sorted(folder.glob("*.json"))):
        shutil.copy(path, folder / f"{load_policy(house.path).sha256[:16]}-{n}.json")


def one_person_twice(house: House) -> None:
    """A key of hers that the policy names, and another."""
    house.write(*LOOSER)
    house.approved((DPO,))
    house.approved((DPO,), key=DPO + " again")
    house.approved((DPO.upper(),), key=DPO + " a third")


def her_key_for_two_people(house: House) -> None:
    house.write(*LOOSER)
    house.approved((DPO,))
    house.approved((SECURITY,), key=DPO + " again")
    path = folder_of(house.path) / "0.json"
    with pytest.raises(Exception, match="approved already"):
        house.approved((SECURITY,), key=DPO)
    assert not path.exists()


def another_version_s(house: House) -> None:
    house.write(*LOOSER, version="2")
    house.approved()
    house.write(*LOOSER, version="3")


def other_policy_s(house: House) -> None:
    """Of another policy of the same words."""
    before = house.in_use()
    house.write(*LOOSER, ("id: st-anna/research", "id: st-anna/other"))
    house.approved(before=before)
    house.write(*LOOSER)


def of_the_day_after_tomorrow(house: House) -> None:
    house.write(*LOOSER)
    house.clock.move(days=3)
    house.approved()
    house.clock.move(days=-3)


def in_the_place_of_another(house: House) -> None:
    """Of the policy in use, before there was one; and in the place of some other."""
    house.write(*LOOSER, version="2")
    house.approved(before=None)
    house.approved(before="0" * 64)


HOSTILE: tuple[Callable[[House], None], ...] = (
    edit_limits,
    edit_keys,
    edit_both,
    edit_people,
    drop_the_rule,
    loosen_the_rule,
    other_people_s_approvals,
    one_person_twice,
    her_key_for_two_people,
    another_version_s,
    other_policy_s,
    of_the_day_after_tomorrow,
    in_the_place_of_another,
)


@pytest.mark.parametrize("edit", HOSTILE, ids=lambda edit: edit.__name__)
def test_a_lone_editor_is_refused(house: House, edit: Callable[[House], None]) -> None:
    edit(house)
    assert "missing" in house.refused().what
    house.named, house.roles = dict.fromkeys(APPROVERS, ""), dict(APPROVERS)
    house.write()
    house.open()


@pytest.mark.parametrize("edit", [edit_keys, edit_both, edit_people, drop_the_rule], ids=lambda edit: edit.__name__)
def test_keys_in_the_file_that_is_approved_would_let_her_in(
    house: House, monkeypatch: pytest.MonkeyPatch, edit: Callable[[House], None]
) -> None:
    """What these tests would see if a policy vouched for itself."""
    for module in ("accepted", "standing"):
        monkeypatch.setattr(f"privsynth.ledger.{module}.deciding", lambda before, own: own)
    edit(house)
    house.open()


def attack(house: House, draw: random.Random, own: list[str]) -> None:
    """One step of an editor who holds one approver's key and as many new ones as she likes."""
    match draw.randrange(6):
        case 0 | 1:
            owner = draw.choice(["privacy@st-anna.example", DPO, SECURITY, MALLORY])
            people = draw.sample([*APPROVERS, MALLORY, "x@st-anna.example"], draw.randint(3, 5))
            holders = draw.sample(list(dict.fromkeys([*APPROVERS, *own])), len(people))
            house.named = dict(zip(people, holders, strict=True))
            house.roles = {person: draw.choice(["dpo", "security"]) for person in people}
            some = draw.choice([2, 2, 3])
            rule = RULE.replace("people: 2", f"people: {some}").replace("true", draw.choice(["true", "false"]))
            before = house.path.read_text()
            try:
                house.write(
                    ("max attempts: 2", f"max attempts: {draw.randint(2, 4)}"),
                    ("owner: privacy@st-anna.example", f"owner: {owner}"),
                    rule=draw.choice([rule, rule, RULE, ""]),
                    version=draw.choice("123"),
                )
            except PolicyError:
                house.path.write_text(before)
        case 2 | 3 | 4:
            person = draw.choice([*APPROVERS, MALLORY, DPO.upper()])
            with suppress(PrivsynthError):
                house.approved((person,), key=draw.choice(own))
        case _:
            house.clock.move(days=draw.choice([0, 1]))
            files = sorted(folder_of(house.path).glob("*.json"))
            (folder_of(house.path) / f"{draw.randrange(9)}.json").write_bytes(draw.choice(files).read_bytes())


@pytest.mark.parametrize("seed", range(3))
def test_no_steps_of_one_editor_change_what_is_in_use(house: House, seed: int) -> None:
    """40 random steps of each editor; she is an approver herself, and tries to open the ledger after each."""
    draw, first, refused = random.Random(seed), house.path.read_text(), 0
    house.roles |= {MALLORY: "dpo", "x@st-anna.example": "dpo"}
    before, mine = load_policy(house.path).sha256, draw.choice(list(APPROVERS))
    for _ in range(40):
        attack(house, draw, [mine, MALLORY, MALLORY + "2"])
        if load_policy(house.path).sha256 != before:
            house.refused(actor=draw.choice([ANALYST, mine]))
            refused += 1
    assert refused >= 15
    house.path.write_text(first)
    assert last(house.open())["policy"] == before


def test_the_owner_of_neither_policy_counts(house: House) -> None:
    owner = ("owner: privacy@st-anna.example", f"owner: {DPO}")
    house.write(*LOOSER, owner)
    house.approved((SECURITY,))
    with pytest.raises(Exception, match="nobody approves her own"):
        house.approved((DPO,))
    house.refused()
    house.approved((BOARD,))
    house.open()
    house.write(*LOOSER, ("max delta: 1e-8", "max delta: 9e-9"))  # another owner again; the one before does not count
    house.approved((DPO, SECURITY))
    assert f"approved by {SECURITY}; 1 missing" in house.refused().what
    house.approved((BOARD,))
    house.open()


def test_who_brings_a_change_does_not_count_in_it(house: House) -> None:
    house.write(*LOOSER)
    house.approved()
    assert f"{DPO} may not approve" in house.refused(actor=DPO).what
    house.open(actor=OTHER_ANALYST)


def test_where_the_rule_does_not_ask_for_others_she_does(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.write(rule="approval: {policy change: {people: 2, roles: [dpo, security]}}\n")
    house.approved()
    house.open(actor=DPO)


def test_a_policy_that_was_replaced_does_not_come_back(house: House) -> None:
    """Its approvals lie there still, and are good signatures of the right people."""
    house.write(*LOOSER, version="2")
    house.approved()
    house.open()
    house.write()
    fault = house.refused()
    assert "its approvals are spent" in fault.what and "new `version`" in fault.mend
    house.write(version="3")
    house.refused()
    house.approved()
    house.open()


def test_a_rule_that_was_dropped_by_its_people_is_gone(house: House) -> None:
    house.write(rule="")
    house.refused()
    house.approved()
    ledger = house.open()
    assert last(ledger)["rule"] is None
    house.write(*LOOSER, rule="")
    house.open()
    house.write()
    assert "its approvals are spent" in house.refused().what
    house.write(version="2")
    house.refused()
    house.approved()  # its own people
    house.open()
    assert last(ledger)["rule"] is not None
    ledger.verify()


@pytest.mark.parametrize("rule", [RULE, ""], ids=["one more", "without the rule"])
def test_what_was_approved_in_the_place_of_one_policy_does_not_replace_another(house: House, rule: str) -> None:
    """Approved, given up for another one on the same day, and brought in by somebody who kept the signatures."""
    house.write(*LOOSER, version="2")
    house.approved()
    house.write(version="3", rule=rule)
    house.approved()
    house.open()
    house.write(*LOOSER, version="2")
    assert "given to replace policy" in house.refused().what
    house.approved()
    house.open()


# --- while others work -----------------------------------------------------------------------------


def test_a_process_under_the_policy_before_begins_nothing_and_ends_what_it_began(house: House) -> None:
    before = house.open()
    fitted, reserved = before.reserve(recipe(), **USE), before.reserve(recipe(), **USE)
    fitted.open_fit(recipe=fitted.recipe, source=fitted.source, purpose=fitted.purpose, recipient=fitted.recipient)
    gated = fit(before.reserve(recipe(), **USE))
    gate(gated)
    house.write(*LOOSER, version="2")
    house.approved()
    after = house.open()
    for begun in (
        lambda: before.reserve(recipe(), **USE),
        lambda: fit(reserved),
        lambda: gate(fitted),
        lambda: before.open_report("patients"),
    ):
        with pytest.raises(ApprovalMissing, match="was in use before and was replaced"):
            begun()
    assert fitted.lease(3) == 1
    fitted.deposit(b"noisy counts")
    gated.refuse(["PS-GATE-MEM"])
    with pytest.raises(HoldError, match="rows that policy"):
        gate(after.hold(fitted.id))
    assert after.attempts("patients") == 1
    assert before.hold(fitted.id).transcript() == b"noisy counts"
    after.verify()


def test_of_many_that_open_at_once_one_writes_the_entry(house: House) -> None:
    house.write(*LOOSER)
    house.approved()

    def opened() -> str:
        return house.open().id

    assert len(set(in_children(opened))) == 1
    assert kinds(house.open()).count("policy") == 2


def test_of_many_that_make_it_at_once_one_does(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.write()
    assert set(in_children(lambda: house.open().id)) == {"ApprovalMissing"}
    house.approved()
    assert len(set(in_children(lambda: house.open().id))) == 1
    assert kinds(house.open()).count("policy") == 1


def test_in_a_file_and_on_a_server(url: str, tmp_path: Path) -> None:
    """The same, many processes at once."""
    house, key = House(tmp_path), tmp_path / "server.key"
    before = house.write().sha256
    house.approved(before=None)

    def opened() -> str:
        return open_ledger(url, load_policy(house.path), actor=ANALYST, key=key, clock=house.clock).id

    made = opened()
    house.write(*LOOSER)
    assert set(in_children(opened)) == {"ApprovalMissing"}
    house.approved(before=before)
    assert set(in_children(opened)) == {made}
    ledger = look_at_ledger(url, load_policy(house.path), actor=ANALYST, key=key, clock=house.clock)
    assert kinds(ledger).count("policy") == 2
    ledger.verify()


# --- asking ----------------------------------------------------------------------------------------


def test_asking_works_and_says_that_it_is_not_approved(house: House) -> None:
    ledger = house.open()
    assert ledger.quote(recipe(), **USE).admitted
    verdict = ledger.standing().verdict
    assert verdict is not None and verdict.allowed and verdict.what == "the policy in use"
    house.write(*LOOSER)
    looked = look_at_ledger(house.url, load_policy(house.path), actor=ANALYST, clock=house.clock)
    looked.verify()
    assert looked.balances()
    quoted = looked.quote(recipe(), **USE)
    assert [v.id for v in quoted.decision.refusing] == ["PS-APP-001"]
    assert not quoted.admitted and quoted.unapproved is not None
    with pytest.raises(ApprovalMissing):
        looked.reserve(recipe(), **USE)


def test_a_quote_before_there_is_a_ledger(tmp_path: Path) -> None:
    house = House(tmp_path)
    policy = house.write()
    asked: dict[str, Any] = {**USE, "actor": ANALYST, "clock": house.clock}
    assert [v.id for v in quote_unopened(recipe(), policy, **asked).decision.refusing] == ["PS-APP-001"]
    house.approved()
    assert quote_unopened(recipe(), policy, **asked).admitted


# --- what it is kept in ----------------------------------------------------------------------------


def test_the_state_carries_it(house: House) -> None:
    ledger = house.open()
    for _ in range(20):
        ledger.reserve(recipe(0.01), **USE)
    with ledger.reading() as session:
        assert session.state.balance.accepted is not None
        assert b'"privsynth-ledger-state":3' in session.state.to_bytes()
        assert session.balance() == whole(session).balance
    house.write(*LOOSER)
    house.refused()


@pytest.mark.parametrize("copied", [False, True])
def test_a_copy_carries_it_and_a_restore_asks_too(house: House, tmp_path: Path, copied: bool) -> None:
    """From a backup and from an export: whoever brings a ledger back with an edited policy is asked as in the old one,
    and it is the copy that says whose keys count."""
    copy, folder, ledger = tmp_path / "copy", tmp_path / "answers", house.open()
    if copied:
        backup(ledger, copy)
    else:
        export(ledger, copy, inside=True)
        accepted = read(copy).balance.accepted
        assert accepted is not None and accepted.quorum is not None and accepted.quorum.people == 2
    house.write(*LOOSER)
    url, key = f"sqlite:///{tmp_path / 'again.db'}", tmp_path / "l.db.key"
    again = Restore.of(copy, url, load_policy(house.path), actor=ANALYST, key=key, clock=house.clock)
    write_statement(again.statement(), folder)
    for person in (DPO, SECURITY):
        answer(folder, house.key(person), person=person, today=house.clock.now.date())
    with pytest.raises(ApprovalMissing, match="PS-APP-001"):
        again.run(folder, accept_loss=True)
    assert not (tmp_path / "again.db").exists()
    house.approved()
    assert again.run(folder, accept_loss=True).lost
    restored = open_ledger(url, load_policy(house.path), actor=ANALYST, key=key, clock=house.clock)
    restored.verify()
    assert kinds(restored)[-2:] == ["restore", "policy"]


@pytest.mark.parametrize(
    "harm",
    [
        {"before": "0" * 64},
        {"approved": []},
        {"approved": [{"person": DPO, "key": "k", "envelope": "e"}] * 2},
        {"approved": [{"person": MALLORY, "key": "k", "envelope": "e"}, {"person": DPO, "key": "k", "envelope": "e"}]},
        {"rule": {"people": 0}},
        {"rule": 7},
    ],
)
def test_an_entry_that_cannot_follow_is_refused(house: House, harm: dict[str, Any]) -> None:
    """As a program with the ledger's key could write it; the fold believes none."""
    ledger = house.open()
    body = {**last(ledger), "policy": "1" * 64, "before": last(ledger)["policy"]}
    with pytest.raises(LedgerError, match="cannot follow"), ledger.writing() as session:
        session.append("policy", {**body, **harm})
        session.balance()
    with ledger.writing() as session:
        session.append("policy", body)
        session.balance()
