"""Withdrawals written into a register, and which fits held who withdrew."""

from __future__ import annotations

import errno
import multiprocessing
import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privsynth.errors import ConsentError, IntegrityError, StorageError, UsageError
from privsynth.policy.consent import judge_named
from privsynth.policy.consent.impact import ACTIONS, FEWEST, Fit, FolderShelf, Shelf, commitments, gone, impact
from privsynth.policy.consent.reader import Ask
from privsynth.policy.consent.register import agrees, read_register
from privsynth.policy.consent.verdict import Answer, Judgement, Reason
from privsynth.policy.consent.withdrawal import withdraw
from privsynth.policy.consent_rules import RUNGS
from privsynth.policy.document import Policy
from tests.pipes import not_waiting, pipe

NOW = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)
ASK = Ask(purpose="medical-research", recipient="university-hospital", now=NOW)
HEAD = "subject,purpose,recipient,status,from,until\n"
GRANT = "{},medical-research,university-hospital,granted,2026-01-01,\n"


@pytest.fixture
def register(tmp_path: Path) -> Path:
    path = tmp_path / "consent.csv"
    path.write_text(HEAD + "".join(GRANT.format(s) for s in ("p1", "p2", "p3")))
    return path


def granted(path: Path, ask: Ask = ASK) -> set[str]:
    return {subject for subject, lines in read_register(path).items() if agrees(lines, ask)}


def test_a_withdrawal_counts_at_once(register: Path) -> None:
    before = register.read_bytes()
    assert withdraw(register, ["p1", "p3"], purpose="medical-research", recipient="university-hospital", now=NOW) == 2
    assert granted(register) == {"p2"}
    assert register.read_bytes().startswith(before), "no other byte is touched"
    assert register.read_text().endswith("p3,medical-research,university-hospital,withdrawn,2026-06-15T12:00:00Z,\n")


@pytest.mark.parametrize(("purpose", "recipient"), [("*", "*"), ("medical-research", "*"), ("*", "other")])
def test_withdrawn_from_everything(register: Path, purpose: str, recipient: str) -> None:
    withdraw(register, ["p2"], purpose=purpose, recipient=recipient, now=NOW)
    assert granted(register) == {"p1", "p3"}


def test_withdrawn_from_another_use(register: Path) -> None:
    withdraw(register, ["p2"], purpose="teaching", now=NOW)
    assert granted(register) == {"p1", "p2", "p3"}


@pytest.mark.parametrize(
    ("text", "ending"),
    [
        (HEAD + GRANT.format("p1")[:-1], "\n"),
        (HEAD.replace("\n", "\r\n") + GRANT.format("p1").replace("\n", "\r\n"), "\r\n"),
        ("\ufeff" + HEAD + GRANT.format("p1"), "\n"),
        (HEAD, "\n"),
        ("until,from,status,recipient,purpose,subject\n,2026-01-01,granted,*,medical-research,p1\n", "\n"),
        ('"subject","purpose","recipient","status","from","until"\n', "\n"),
    ],
)
def test_the_file_s_own_form_is_kept(tmp_path: Path, text: str, ending: str) -> None:
    path = tmp_path / "r.csv"
    path.write_bytes(text.encode())
    withdraw(path, ["p1", 'o\'neill, "x"'], purpose="medical-research", now=NOW)
    after = path.read_bytes()
    assert after.startswith(text.encode()) and after.endswith(ending.encode())
    lines = read_register(path)
    assert not agrees(lines["p1"], ASK)
    assert [entry is not None and entry.withdraws for entry in lines['o\'neill, "x"']] == [True]


@pytest.mark.parametrize("subject", ["", " p1", "p1\n", "p1\np2,x,y,granted,,", "a\x00b", "x" * 1001])
def test_ids_that_would_break_the_file(register: Path, subject: str) -> None:
    before = register.read_bytes()
    with pytest.raises(UsageError, match="one line of text"):
        withdraw(register, ["p1", subject], now=NOW)
    assert register.read_bytes() == before


@given(st.text(min_size=1, max_size=20))
def test_any_id_is_read_back_or_refused(tmp_path_factory: pytest.TempPathFactory, subject: str) -> None:
    path = tmp_path_factory.mktemp("register") / "r.csv"
    path.write_text(HEAD + "p0,medical-research,*,granted,2026-01-01,\n")
    try:
        withdraw(path, [subject], purpose="medical-research", now=NOW)
    except UsageError:
        assert read_register(path).keys() == {"p0"}
    else:
        assert [e is not None and e.withdraws for e in read_register(path)[subject] if subject != "p0"] in ([True], [])
    assert agrees(read_register(path)["p0"], ASK) == (subject != "p0")


def test_a_broken_register_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text(HEAD + '"p1\n')
    with pytest.raises(ConsentError):
        withdraw(path, ["p1"], now=NOW)
    with pytest.raises(ConsentError, match="no such"):
        withdraw(tmp_path / "none.csv", ["p1"], now=NOW)
    assert not (tmp_path / "none.csv").exists()


def test_a_full_disk_leaves_it_as_it_was(register: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, write = register.read_bytes(), os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, data[:7]))
    with pytest.raises(StorageError, match="cannot be written"):
        withdraw(register, ["p1"], now=NOW)
    assert register.read_bytes() == before

    def fails(handle: int) -> None:
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(os, "write", write)
    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(StorageError, match="input/output"):
        withdraw(register, ["p1"], now=NOW)
    assert register.read_bytes() == before


def _withdraw_some(path: str, first: int) -> None:
    for n in range(first, first + 25):
        withdraw(path, [f"q{n}"], purpose="medical-research", now=NOW)


def test_writers_at_once_lose_nothing(register: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_withdraw_some, args=(str(register), 25 * i)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert set(read_register(register)) == {"p1", "p2", "p3", *(f"q{n}" for n in range(100))}


# --- impact --------------------------------------------------------------------------------------

KEY = b"k" * 32


def fit(hold: str, people: list[str], **more: Any) -> Fit:
    given = {"source": "ehr/encounters", "population": "p", "purpose": "medical-research", "recipient": "uni",
             "day": "2026-05-01", "epsilon": 1.0, **more}  # fmt: skip
    return Fit(hold=hold, commitments=commitments(KEY, people), **given)


def test_which_fits_held_who_withdrew() -> None:
    many = [f"p{n}" for n in range(100)]
    fits = [fit("a", many), fit("b", many[:3]), fit("c", many[50:]), fit("d", many, purpose="teaching")]
    asked: list[tuple[str, str]] = []

    def withdrawn(purpose: str, recipient: str) -> list[str]:
        asked.append((purpose, recipient))
        return [" p1 ", "p2", "stranger"] if purpose == "medical-research" else []

    found = impact(fits, key=KEY, withdrawn=withdrawn, rung="retire-models")
    assert [(f.hold, f.people) for f in found] == [("a", None), ("b", None)]
    assert found[0].action == ACTIONS["retire-models"]
    assert asked == [("medical-research", "uni"), ("teaching", "uni")]


@pytest.mark.parametrize(("people", "told"), [(1, None), (4, None), (5, 5), (60, 60)])
def test_small_counts_are_not_told(people: int, told: int | None) -> None:
    many = [f"p{n}" for n in range(100)]
    [found] = impact([fit("a", many)], key=KEY, withdrawn=lambda p, r: many[:people], rung="stop-new-use")
    assert (found.people, FEWEST) == (told, 5)


def test_commitments_are_keyed_and_in_no_order_of_theirs() -> None:
    one, other = commitments(KEY, ["p1", "p2", "p1"]), commitments(b"j" * 32, ["p1", "p2"])
    assert len(one) == 2 and set(one).isdisjoint(other)
    assert commitments(KEY, ["p2", "p1"]) == one
    assert "p1" not in repr(fit("a", ["p1"])) and one[0] not in repr(fit("a", ["p1"]))


def test_every_rung_has_its_action() -> None:
    assert set(ACTIONS) == set(RUNGS)


def test_who_has_said_no() -> None:
    judged = {"a": Judgement(Answer.DENY, (Reason.WITHDRAWN,)), "b": Judgement(Answer.UNKNOWN, (Reason.NO_RECORD,))}
    assert gone(judged) == {"a"}


def test_a_shelf_in_a_folder(tmp_path: Path) -> None:
    shelf: Shelf = FolderShelf(tmp_path / "kept")
    later, first, other = fit("b", ["p1"], day="2026-05-02"), fit("c", ["p2"]), fit("a", ["p1"], population="q")
    for one in (later, first, other, first):
        shelf.put(one)
    assert list(shelf.fits("p")) == [first, later]
    assert {stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "kept").iterdir()} == {0o600}
    assert stat.S_IMODE((tmp_path / "kept").stat().st_mode) == 0o700
    assert shelf.get("b") == later and shelf.get("d") is None
    later = fit("b", ["p1", "p3"], day="2026-05-02")
    shelf.put(later)
    shelf.destroy("c")
    assert list(shelf.fits("p")) == [later]
    for name in ("../x", "", "a/b"):
        with pytest.raises(StorageError, match="not a hold's id"):
            shelf.destroy(name)
    (tmp_path / "kept" / "b.json").write_text("{}")
    with pytest.raises(IntegrityError):
        list(shelf.fits("p"))
    pipe(tmp_path / "kept" / "b.json")
    with not_waiting(), pytest.raises(IntegrityError):
        list(shelf.fits("p"))
    pipe(tmp_path / "kept" / "b.draft")
    with not_waiting(), pytest.raises(StorageError, match="cannot be written"):
        shelf.put(later)


def test_everybody_whom_a_register_names(healthcare: Policy, register: Path) -> None:
    withdraw(register, ["p1"], now=NOW)
    use = {"purpose": ASK.purpose, "recipient": ASK.recipient, "now": NOW}
    reading = judge_named(healthcare, files={"register": register}, **use)  # type: ignore[arg-type]
    assert {s: str(j.answer) for s, j in reading.judged.items()} == {"p1": "deny", "p2": "grant", "p3": "grant"}
    assert gone(reading.judged) == {"p1"}
    with pytest.raises(ConsentError, match="no such evidence"):
        judge_named(healthcare, files={}, **use)  # type: ignore[arg-type]
    with pytest.raises(ConsentError, match="does not know"):
        judge_named(healthcare, files={"register": register}, purpose="x", recipient="y", now=NOW)


BROKEN = "p1,medical-research,university-hospital,granted,some day,\n"


@pytest.mark.parametrize(
    ("lines", "counts"),
    [
        ("p1,medical-research,*,withdrawn,2026-03-01,\n" + BROKEN, True),
        (BROKEN + "p1,*,*,withdrawn,,\n", True),
        ("p1,medical-research,university-hospital,withdrawn,one day in March,\n", True),
        ("p1,,,Withdrawn,2026-03-01,\n", True),
        ("p1,teaching,*,withdrawn,2026-03-01,\n" + BROKEN, False),
        (BROKEN, False),
    ],
)
def test_who_withdrew_counts_though_a_line_of_hers_cannot_be_read(
    healthcare: Policy, tmp_path: Path, lines: str, counts: bool
) -> None:
    path = tmp_path / "consent.csv"
    path.write_text(HEAD + GRANT.format("p1") + lines)
    reading = judge_named(
        healthcare, files={"register": path}, purpose=ASK.purpose, recipient=ASK.recipient, now=ASK.now
    )
    assert not reading.judged["p1"].granted and Reason.UNREADABLE in reading.judged["p1"].reasons
    found = impact([fit("a", ["p1"])], key=KEY, withdrawn=lambda p, r: gone(reading.judged), rung="stop-new-use")
    assert bool(found) == counts
