"""Restore: two people sign for it, nothing altered gets through, and what is lost is spent."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from privsynth.documents import plain
from privsynth.errors import (
    ApprovalMissing,
    BudgetExhausted,
    HoldError,
    LedgerError,
    PrivsynthError,
    RequestDenied,
    StorageError,
    UsageError,
)
from privsynth.ledger import care
from privsynth.ledger.answers import PAYLOAD_TYPE, answer, write_statement
from privsynth.ledger.entry import LogName
from privsynth.ledger.restore import Restored
from privsynth.ledger.steps import Status
from privsynth.ledger.store import open_ledger
from privsynth.policy.document import load_policy
from privsynth.policy.quorum import ROLE
from privsynth.signing import Trust, verify_envelope
from tests.ledger.people import TWO, People, restore_of, restored
from tests.ledger.test_standing import DPO, SECURITY, House
from tests.ledger.test_state import RULES, busy
from tests.ledger.test_witness import files_of
from tests.ledger.world import (
    ANALYST,
    NOON,
    USE,
    Hands,
    fit,
    gate,
    kinds,
    lines,
    opened,
    policy,
    recipe,
    second_source,
)
from tests.pipes import not_waiting, pipe

FORMS = ("backup", "export")


@pytest.fixture
def people(tmp_path: Path) -> People:
    return People(tmp_path / "keys")


def url(folder: Path, name: str = "l.db") -> str:
    return f"sqlite:///{folder / name}"


def copied(folder: Path, form: str, name: str = "copy", **named: object) -> Path:
    """A copy of the ledger in ``folder``, in one of the two forms."""
    path = folder / name
    ledger = opened(folder, **named)  # type: ignore[arg-type]  # witness or rules
    if form == "backup":
        care.backup(ledger, path)
    else:
        care.export(ledger, path, inside=True)
    return path


def gone(folder: Path) -> str:
    """Where the ledger was."""
    (folder / "l.db").unlink()
    return url(folder)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    opened(tmp_path)
    where = gone(tmp_path)
    with not_waiting(), pytest.raises(StorageError, match="not a file"):
        restore_of(pipe(tmp_path / "copy"), where).statement()
    with not_waiting(), pytest.raises(StorageError, match="not a file"):
        care.read(tmp_path / "copy")
    pipe(tmp_path / "w")
    pipe(tmp_path / "w.attempts")
    with not_waiting(), pytest.raises(StorageError, match="not a file"):
        opened(tmp_path, witness=f"file:{tmp_path / 'w'}")


# --- who answers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("given", [(), TWO[:1]])
def test_nothing_is_made_before_two_have_answered(
    tmp_path: Path, people: People, form: str, given: tuple[str, ...]
) -> None:
    source = copied(tmp_path, form)
    asked = restore_of(source, gone(tmp_path))
    write_statement(asked.statement(), tmp_path / "answers")
    people.answer(tmp_path / "answers", *given)
    people.key(TWO[1])
    with pytest.raises(ApprovalMissing, match="answers of 2 distinct people") as caught:
        asked.run(tmp_path / "answers", trust=people.trust, accept_loss=True)
    assert caught.value.exit_code == 5
    assert "privsynth ledger answer" in caught.value.mend
    assert not (tmp_path / "l.db").exists()


def test_a_loss_is_accepted_by_whoever_runs_it_too(tmp_path: Path, people: People) -> None:
    source = copied(tmp_path, "backup")
    asked = restore_of(source, gone(tmp_path))
    write_statement(asked.statement(), tmp_path / "answers")
    people.answer(tmp_path / "answers", *TWO)
    with pytest.raises(ApprovalMissing, match="not accepted") as caught:
        asked.run(tmp_path / "answers", trust=people.trust)
    assert "--accept-loss" in caught.value.mend
    assert not (tmp_path / "l.db").exists()
    assert asked.run(tmp_path / "answers", trust=people.trust, accept_loss=True).people == TWO


def test_without_keys_that_anybody_vouches_for_nobody_answers(tmp_path: Path, people: People) -> None:
    source = copied(tmp_path, "backup")
    asked = restore_of(source, gone(tmp_path))
    write_statement(asked.statement(), tmp_path / "answers")
    people.answer(tmp_path / "answers", *TWO)
    with pytest.raises(UsageError, match="said by a trust file") as caught:
        asked.run(tmp_path / "answers", accept_loss=True)
    assert "--role policy" in caught.value.mend


def test_the_entry_holds_what_was_signed_for_anyone_to_check_later(tmp_path: Path, people: People) -> None:
    source = copied(tmp_path, "backup")
    told = restored(source, gone(tmp_path), people)
    with opened(tmp_path).reading() as session:
        body = session.main[-1].body
    assert body["people"] == list(TWO)
    assert body["statement"] == plain(told.statement)
    for one, person in zip(body["answers"], TWO, strict=True):
        assert (one["person"], one["key"]) == (person, people.keys[person].keyid)
        envelope = verify_envelope(
            one["envelope"].encode(), Trust.of(*people.trusted), payload_type=PAYLOAD_TYPE, role=ROLE, now=NOON
        )
        assert envelope.signers == (person,)
        assert json.loads(envelope.payload)["statement"] == body["statement"]


def test_answers_are_of_one_copy_and_one_state_of_the_witness(tmp_path: Path, people: People) -> None:
    """Answers that were given for a restore without a gap do not carry one of an older copy, or a later one."""
    witness = files_of(tmp_path)
    ledger = opened(tmp_path, witness=witness)
    older = copied(tmp_path, "backup", "older", witness=witness)
    ledger.reserve(recipe(0.2), **USE)
    newer = copied(tmp_path, "backup", "newer", witness=witness)
    where, answers = gone(tmp_path), tmp_path / "answers"
    write_statement(restore_of(newer, where, witness=witness).statement(), answers)
    people.answer(answers, *TWO)
    for source, seen in ((older, witness), (newer, None), (older, None)):
        with pytest.raises(ApprovalMissing, match="of another copy, policy or state of the witness"):
            restore_of(source, where, witness=seen).run(answers, trust=people.trust, accept_loss=True)
    assert not restore_of(newer, where, witness=witness).run(answers, trust=people.trust).lost
    with pytest.raises(ApprovalMissing, match="of another copy, policy or state of the witness"):
        restore_of(newer, gone(tmp_path), witness=witness).run(answers, trust=people.trust, accept_loss=True)


@pytest.mark.parametrize("form", FORMS)
def test_nobody_is_asked_while_an_earlier_files_journal_lies_there(tmp_path: Path, people: People, form: str) -> None:
    """SQLite would write the pages of that file into the one that is made: it would be destroyed, and signed for."""
    source = copied(tmp_path, form)
    where, journal = gone(tmp_path), tmp_path / "l.db-journal"
    asked = restore_of(source, where)
    write_statement(asked.statement(), tmp_path / "answers")
    people.answer(tmp_path / "answers", *TWO)
    journal.touch()
    for ask in (asked.statement, lambda: asked.run(tmp_path / "answers", trust=people.trust, accept_loss=True)):
        with pytest.raises(StorageError, match="an earlier database of this name") as caught:
            ask()
        assert caught.value.where == str(journal)
    assert not (tmp_path / "l.db").exists()
    journal.unlink()
    asked.run(tmp_path / "answers", trust=people.trust, accept_loss=True)


def test_where_the_log_itself_names_the_keys_no_trust_file_is_taken(tmp_path: Path, people: People) -> None:
    """Two people whom somebody's own trust file vouches for restore no ledger whose policy names its approvers."""
    house = House(tmp_path)
    house.write()
    house.approved()
    care.backup(house.open(), tmp_path / "copy")
    (tmp_path / "l.db").unlink()
    asked = restore_of(tmp_path / "copy", house.url, load_policy(house.path))
    answers = tmp_path / "answers"
    write_statement(asked.statement(), answers)
    people.answer(answers, *TWO)
    with pytest.raises(UsageError, match="a trust file was given too") as caught:
        asked.run(answers, trust=people.trust, accept_loss=True)
    assert caught.value.mend == "leave it out"
    with pytest.raises(ApprovalMissing, match="does not list"):
        asked.run(answers, accept_loss=True)
    answer(answers, house.key(DPO), person=DPO, today=NOON.date())
    answer(answers, house.key(SECURITY), person=SECURITY, today=NOON.date())
    assert asked.run(answers, accept_loss=True).people == (DPO, SECURITY)
    house.open().verify()


# --- what is lost ----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_what_the_witness_knows_and_the_copy_lacks_is_spent(tmp_path: Path, people: People, form: str) -> None:
    witness = files_of(tmp_path)
    ledger = opened(tmp_path, witness=witness)
    known = ledger.reserve(recipe(0.2), **USE, request="known")
    done = fit(ledger.reserve(recipe(0.2), **USE, request="done"))
    source = copied(tmp_path, form, witness=witness)
    fit(known, b"in what was lost")
    gate(done)
    told = restored(source, gone(tmp_path), people, witness=witness)
    assert (told.lost, told.statement.missing) == (True, {"main": 2, "attempts": 1})
    after = opened(tmp_path)
    assert after.balances()[0].spent_share() == 1.0
    for epsilon in (1e-3, 0.2):
        with pytest.raises(BudgetExhausted):
            after.reserve(recipe(epsilon), **USE)
    for id_ in (known.id, done.id):
        hold = after.hold(id_)
        for step in (fit, gate, lambda h: h.lease(3), lambda h: h.deposit(b"")):
            with pytest.raises(HoldError, match="closed"):
                step(hold)
    assert after.status(done.id) is Status.MEASURED
    assert after.hold(done.id).transcript() == b"noisy counts"
    with after.reading() as session:
        body = session.main[-1].body
    assert (body["lost"], body["missing"]) == (True, {"main": 2, "attempts": 1})
    after.verify()
    with pytest.raises(LedgerError, match="set back or changed") as caught:  # the old witness does not forget
        opened(tmp_path, witness=witness)
    assert "takes a new witness" in caught.value.mend
    (tmp_path / "new").mkdir()
    opened(tmp_path, witness=files_of(tmp_path / "new")).verify()


@pytest.mark.parametrize("form", FORMS)
def test_a_restore_without_a_gap_costs_nothing(tmp_path: Path, people: People, form: str) -> None:
    witness = files_of(tmp_path)
    hold = opened(tmp_path, witness=witness).reserve(recipe(0.2), **USE)
    source = copied(tmp_path, form, witness=witness)
    told = restored(source, gone(tmp_path), people, witness=witness)
    assert (told.lost, told.statement.missing) == (False, {"main": 0, "attempts": 0})
    after = opened(tmp_path, policy(second_source("staff", "staff")), witness=witness)
    assert [kind for kind in kinds(after) if kind not in ("register", "source")][-1] == "restore"
    assert after.balances()[0].holds == 1
    fit(after.hold(hold.id))
    after.reserve(recipe(0.2, source="ehr/staff"), **USE)  # nothing was lost: a new population is new
    after.verify()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", RULES)
@pytest.mark.parametrize("witnessed", [False, True])
def test_what_nobody_witnessed_spends_everything(
    tmp_path: Path, people: People, kind: str, form: str, witnessed: bool
) -> None:
    """Without a witness, and with one that knows nothing, such as one that was made for the occasion."""
    busy(tmp_path, RULES[kind])
    source = copied(tmp_path, form, rules=RULES[kind])
    witness = files_of(tmp_path) if witnessed else None
    told = restored(source, gone(tmp_path), people, RULES[kind], witness=witness)
    assert (told.lost, told.statement.missing) == (True, None)
    after = opened(tmp_path, RULES[kind], witness=witness)
    with pytest.raises(BudgetExhausted):
        after.reserve(recipe(1e-3), **USE)
    after.verify()


def test_a_population_of_the_gap_does_not_come_back_fresh(tmp_path: Path, people: People) -> None:
    """Registered and spent in what was lost, its coins gone: whatever is registered after a loss counts as spent."""
    witness = files_of(tmp_path)
    opened(tmp_path, witness=witness)
    source = copied(tmp_path, "backup", witness=witness)
    wide = policy(second_source("staff", "staff"))
    lost = opened(tmp_path, wide, witness=witness)
    fit(lost.reserve(recipe(2.0, source="ehr/staff"), **USE))
    assert restored(source, gone(tmp_path), people, witness=witness).lost
    after = opened(tmp_path, wide)
    assert kinds(after)[-2:] == ["register", "source"]
    assert {line.population: line.spent_share() for line in after.balances() if line.over == "population"} == {
        "patients": 1.0,
        "staff": 1.0,
    }
    for epsilon in (1e-3, 0.5):
        quoted = after.quote(recipe(epsilon, source="ehr/staff"), **USE)
        assert not quoted.admitted
        with pytest.raises(BudgetExhausted, match="staff") as caught:
            after.reserve(recipe(epsilon, source="ehr/staff"), **USE)
        assert "entries of this ledger are lost" in caught.value.mend
    after.verify()
    again = opened(tmp_path, policy(second_source("staff", "staff"), second_source("third", "third")))
    with again.reading() as session:
        assert session.balance().lost
    with pytest.raises(BudgetExhausted, match="third"):
        again.reserve(recipe(1e-3, source="ehr/third"), **USE)
    again.verify()


# --- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_what_is_no_copy_of_this_ledger_is_not_restored(tmp_path: Path, people: People, form: str) -> None:
    witness = files_of(tmp_path)
    copied(tmp_path, form, witness=witness)
    (tmp_path / "other").mkdir()
    copied(tmp_path / "other", form)
    (tmp_path / "x").write_bytes(b"SQLite format 3\0 no database, but long enough\n" * 100)
    (tmp_path / "y").write_bytes(b"no export\n")
    bad = copied(tmp_path, "backup", "bad.db")
    with sqlite3.connect(bad) as connection:
        connection.execute("UPDATE secrets SET data = x'00'")
    shutil.copytree(tmp_path, tmp_path / "fork")
    opened(tmp_path / "fork").reserve(recipe(0.1), **USE)
    copied(tmp_path / "fork", form, "forked")
    opened(tmp_path, witness=witness).reserve(recipe(0.2), **USE)
    where = gone(tmp_path)
    for name, words in (
        ("x", "not a ledger|damaged"),
        ("y", "not whole"),
        ("other/copy", "key"),
        ("none", "no such copy"),
        ("bad.db", "secret key"),
        ("fork/forked", "not of what the witness remembers"),
    ):
        with pytest.raises(PrivsynthError, match=words):
            restore_of(tmp_path / name, where, witness=witness).statement()
        assert not (tmp_path / "l.db").exists()
    with pytest.raises(LedgerError, match="belongs to policy"):
        other = policy(("id: st-anna/research", "id: st-anna/other"))
        restore_of(tmp_path / "copy", where, other, witness=witness).statement()
    shutil.copy(tmp_path / "fork" / "l.db", tmp_path / "l.db")
    with pytest.raises(StorageError, match="the ledger exists"):
        restore_of(tmp_path / "copy", where, witness=witness).statement()


def test_an_export_for_showing_and_a_missing_key_are_refused(tmp_path: Path) -> None:
    care.export(opened(tmp_path), tmp_path / "shown")
    inside = copied(tmp_path, "export")
    with pytest.raises(UsageError, match="for showing"):
        restore_of(tmp_path / "shown", url(tmp_path, "n.db"), key=tmp_path / "l.db.key").statement()
    with pytest.raises(LedgerError, match="key file cannot be read"):
        restore_of(inside, url(tmp_path, "n.db")).statement()


class Asked(list[str]):
    """A witness that notes when it is asked, and cannot answer."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def head(self, log: LogName) -> str | None:
        """Nothing is there yet."""
        self.append(log)
        assert not self.place.exists()
        raise StorageError("the witness does not answer")

    def accept(self, log: LogName, note: str, *, old: int, proof: object) -> None:
        """Never."""
        raise AssertionError


@pytest.mark.parametrize("form", FORMS)
def test_the_witness_is_asked_before_anything_is_made(tmp_path: Path, people: People, form: str) -> None:
    source = copied(tmp_path, form)
    where, asked = gone(tmp_path), Asked(tmp_path / "l.db")
    write_statement(restore_of(source, where).statement(), tmp_path / "answers")
    people.answer(tmp_path / "answers", *TWO)
    with pytest.raises(StorageError, match="does not answer"):
        restore_of(source, where, witness=asked).run(tmp_path / "answers", trust=people.trust, accept_loss=True)
    assert asked == ["main"]
    assert sorted(p.name for p in tmp_path.glob("*l.db*")) == ["l.db.key"]


def test_a_restore_is_the_same_ledger_in_either_form(tmp_path: Path, people: People) -> None:
    ledger = busy(tmp_path, RULES["gdp"])
    before = (lines(tmp_path), lines(tmp_path, "attempts"), ledger.coin_key("ehr/encounters"), ledger.balances())
    for form in FORMS:
        (tmp_path / f"w-{form}").mkdir()
        witness = files_of(tmp_path / f"w-{form}")
        source = copied(tmp_path, form, form, rules=RULES["gdp"], witness=witness)
        told: Restored = restored(
            source, url(tmp_path, "n.db"), people, RULES["gdp"], key=tmp_path / "l.db.key", witness=witness
        )
        assert not told.lost
        after = open_ledger(
            url(tmp_path, "n.db"), RULES["gdp"], actor=ANALYST, clock=Hands(), key=tmp_path / "l.db.key"
        )
        now = lines(tmp_path, name="n.db")
        assert (now[: len(before[0])], now[len(before[0]) :]) == (before[0], now[-1:])
        assert lines(tmp_path, "attempts", "n.db") == before[1]
        assert (after.coin_key("ehr/encounters"), after.balances()) == before[2:]
        after.verify()
        after.reserve(recipe(0.01), **USE)
        assert (tmp_path / "n.db").stat().st_mode & 0o777 == 0o600
        (tmp_path / "n.db").unlink()


# --- a policy that requires a witness --------------------------------------------------------------


STRICT = policy(("\nroles:", "\nledger: {witness: required}\nroles:"))


def test_where_the_policy_requires_a_witness_nothing_is_done_without_one(tmp_path: Path, people: People) -> None:
    from privsynth.ledger.store import look_at_ledger

    witness = files_of(tmp_path)
    with pytest.raises(RequestDenied, match="PS-LED-001") as caught:
        opened(tmp_path, STRICT)
    assert caught.value.rules == ("PS-LED-001",)
    assert caught.value.where == STRICT.where("ledger", "witness")
    assert caught.value.where.startswith("policy.yaml:")
    assert "--witness" in caught.value.mend
    assert sorted(p.name for p in tmp_path.iterdir()) == ["w", "w.attempts"]
    opened(tmp_path, STRICT, witness=witness).reserve(recipe(0.1), **USE)
    source = copied(tmp_path, "backup", rules=STRICT, witness=witness)
    with pytest.raises(RequestDenied, match="PS-LED-001"):
        opened(tmp_path, STRICT)
    with pytest.raises(RequestDenied, match="PS-LED-001"):
        look_at_ledger(url(tmp_path), STRICT, actor=ANALYST)
    with pytest.raises(RequestDenied, match="PS-LED-001"):
        restore_of(source, url(tmp_path), STRICT)
    assert not restored(source, gone(tmp_path), people, STRICT, witness=witness).lost
