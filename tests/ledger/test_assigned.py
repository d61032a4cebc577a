"""Populations kept apart: whoever was met first by one is nobody else's, for ever, whatever is cut, copied or raced."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privsynth.documents import sha256
from privsynth.errors import ApprovalMissing, BudgetExhausted, HoldError, LedgerError, RequestDenied, StorageError
from privsynth.ledger import care, state
from privsynth.ledger.assigned import assign
from privsynth.ledger.balance import fold
from privsynth.ledger.checkpoint import Checkpoint
from privsynth.ledger.entry import follow
from privsynth.ledger.ledger import Ledger
from privsynth.ledger.log import LOGS, Session
from privsynth.ledger.record import ID_KEY
from privsynth.ledger.sql import SqlTransaction
from privsynth.ledger.sqlite import in_memory
from privsynth.ledger.store import look_at_ledger
from privsynth.policy.document import Policy
from privsynth.privacy.noise import keyed_ids
from privsynth.signing import SigningKey, load_key, new_key
from tests.ledger.anywhere import contest, opened_at
from tests.ledger.people import People, restored
from tests.ledger.test_standing import House
from tests.ledger.test_witness import files_of
from tests.ledger.world import (
    ANALYST,
    NOON,
    USE,
    Hands,
    fit,
    kinds,
    lines,
    opened,
    policy,
    recipe,
    second_source,
    tamper,
)

RULE = ("  noise: os-secure-only", "  new data: {population: disjoint-subjects-only}\n  noise: os-secure-only")
FIRST, SECOND = "ehr/encounters", "ehr/staff"


def apart(*edits: tuple[str, str]) -> Policy:
    """Two populations, kept apart."""
    return policy(RULE, second_source("staff", "staff"), *edits)


def people(names: Iterable[str]) -> Any:
    """Ids as a split gives them, one for each row."""
    rows = list(names)
    out = np.empty(len(rows), dtype=object)
    out[:] = rows
    return out


def kept(ledger: Ledger, source: str, names: Iterable[str]) -> set[str]:
    """Who of these is of the source's population."""
    rows = people(names)
    _, mask = ledger.assign(source, rows)
    assert mask is not None
    return set(rows[mask])


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """Where the ledger's key lies."""
    return tmp_path / "ledger.key"


@pytest.fixture
def both(url: str, key: Path) -> Ledger:
    """A ledger of two populations that are kept apart, in a file or on a server."""
    return opened_at(url, key, apart())


# --- the law -------------------------------------------------------------------------------------

NAMES = "abcdef"
KEY = bytes(range(32))
IDS = keyed_ids(KEY, NAMES, size=16)


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    """A ledger's key."""
    path = tmp_path_factory.mktemp("key") / "k"
    new_key(path, name="ledger")
    return load_key(path)


def history(splits: Sequence[tuple[str, Iterable[str]]], signer: SigningKey) -> list[set[str]]:
    """Who was kept by each of these splits, one after the other in one ledger."""
    with in_memory() as tx:
        session = Session(tx, actor="a", clock=lambda: NOON, key=signer, new=True)
        session.append("genesis", {"ledger": "l"}, log="attempts")
        names = {id_: name for name, id_ in IDS.items()}
        return [{names[id_] for id_ in assign(session, to, {IDS[name] for name in who})} for to, who in splits]


splits = st.lists(st.tuples(st.sampled_from("PQR"), st.frozensets(st.sampled_from(NAMES))), max_size=8)


@settings(max_examples=80, deadline=None)
@given(splits=splits, gone=st.sampled_from(NAMES))
def test_without_her_nobody_else_moves_and_she_is_in_one_population_only(
    signer: SigningKey, splits: list[tuple[str, frozenset[str]]], gone: str
) -> None:
    there = history(splits, signer)
    without = history([(to, who - {gone}) for to, who in splits], signer)
    assert [who - {gone} for who in there] == without
    assert len({to for (to, _), who in zip(splits, there, strict=True) if gone in who}) <= 1
    first = {name: next((to for to, who in splits if name in who), None) for name in NAMES}
    assert there == [{name for name in who if first[name] == to} for to, who in splits]


def test_a_person_costs_one_cap_whatever_is_asked_after_which_answer(signer: SigningKey) -> None:
    """Pure epsilon, exactly. A population pays for two answers of size 1 each. Along every history of four questions
    the loss about somebody in both files is at most one cap, 2; where each population asks its own file it is 4. Such
    losses add up along a history, so whoever chooses by the answers gets the worst history at most."""
    worst = {"assigned": 0, "own file": 0}
    for asked in product("PQ", repeat=4):
        if max(asked.count("P"), asked.count("Q")) <= 2:
            splits = [(to, frozenset("a")) for to in asked]
            told = history(splits, signer)
            worst["assigned"] = max(worst["assigned"], sum("a" in who for who in told))
            worst["own file"] = max(worst["own file"], len(asked))
    assert worst == {"assigned": 2, "own file": 4}


# --- what the ledger gives ---------------------------------------------------------------------------


def test_whoever_came_first_keeps_her_for_ever_in_both_directions(both: Ledger, url: str, key: Path) -> None:
    assert kept(both, FIRST, "aab") == set("ab")
    assert kept(both, SECOND, "bcc") == {"c"}
    again = opened_at(url, key, apart())
    assert kept(again, FIRST, "abcd") == set("abd")
    assert kept(again, SECOND, "abcd") == {"c"}
    assert kept(again, SECOND, "") == set()
    assert kinds(again, "attempts") == ["genesis", *["assigned"] * 5], "one for each split"
    assert (again.verify().attempts, again.verify().populations) == (6, 2)
    for _ in range(20):
        again.reserve(recipe(0.01), **USE)  # a state that was made anew
    assert kept(opened_at(url, key, apart()), SECOND, "abcd") == {"c"}


def test_what_is_stored_is_one_batch_of_keyed_ids(both: Ledger) -> None:
    kept(both, FIRST, ["zoe", "ann", "zoe"])
    with both.reading() as session:
        (entry,) = session.attempts[1:]
        secret, data = session.tx.get("secrets", ID_KEY), session.tx.get("assigned", "0")
        register = session.main[1].body
    assert secret is not None and len(secret) == 32 and register["ids"] == sha256(secret)
    assert data == b"".join(sorted(keyed_ids(secret, ["ann", "zoe"], size=16).values()))
    told = {"population": "patients", "sha256": sha256(data), "bytes": 32, "nonce": entry.body["nonce"]}
    assert entry.body == told and len(entry.body["nonce"]) == 32


def test_a_split_that_meets_nobody_new_is_an_entry_that_cannot_be_told_by_trying(both: Ledger) -> None:
    """A witness knows of each entry its hash and all of an empty one but the time: so two of one moment differ."""
    kept(both, FIRST, "ab")
    assert (kept(both, FIRST, "b"), kept(both, SECOND, "ab"), kept(both, SECOND, "")) == ({"b"}, set(), set())
    with both.reading() as session:
        _, first, *empty = session.attempts
        assert session.tx.names("assigned") == {"0"} and len(session.gates().assigned) == 1
    assert {entry.kind for entry in empty} == {first.kind} and len(empty) == 3
    assert {(entry.body["bytes"], entry.body["sha256"]) for entry in empty} == {(0, sha256(b""))}
    assert len({entry.body["nonce"] for entry in (first, *empty)}) == 4
    assert both.verify().attempts == 5


def test_neither_a_witness_nor_a_refusal_tells_whether_somebody_was_new(tmp_path: Path) -> None:
    """What the witness is shown grows alike; a clock that is wrong refuses alike; so does a witness that is gone."""
    told = []
    for name, others in (("nobody", ("", "", "")), ("somebody", "xyz")):
        folder, clock = tmp_path / name, Hands()
        folder.mkdir()
        witness = files_of(folder)
        ledger = opened(folder, apart(), clock=clock, witness=witness)
        kept(ledger, FIRST, "ab")
        kept(ledger, SECOND, "ab" + others[0])
        sizes = [Checkpoint.parse(witness.head(log) or "").size for log in LOGS]
        clock.move(minutes=-10)
        with pytest.raises(LedgerError, match="clock") as late:
            kept(ledger, FIRST, "ab" + others[1])
        clock.move(minutes=10)
        witness.path.unlink()
        with pytest.raises(StorageError, match="witness") as gone:
            kept(ledger, FIRST, "ab" + others[2])
        told.append((sizes, late.value.what, late.value.where, gone.value.what))
    assert told[0] == told[1]


def test_a_person_is_one_in_whichever_form_unicode_writes_her(both: Ledger) -> None:
    """Composed or decomposed letters; her coins are those of the text that her file holds."""
    assert kept(both, FIRST, ["Mu\u0308ller", "\u212b"]) == {"Mu\u0308ller", "\u212b"}
    assert kept(both, SECOND, ["M\u00fcller", "A\u030a", "Muller"]) == {"Muller"}
    assert kept(both, FIRST, ["M\u00fcller", "Mu\u0308ller"]) == {"M\u00fcller", "Mu\u0308ller"}


def test_nothing_that_leaves_depends_on_who_was_met(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Main log, checkpoint and evidence of a hold, byte for byte."""
    monkeypatch.setattr("privsynth.ledger.sale.secrets.token_hex", lambda n: "0" * 2 * n)
    (tmp_path / "x").mkdir()
    opened(tmp_path / "x", apart())
    shutil.copytree(tmp_path / "x", tmp_path / "y")
    told = []
    for folder, met in ((tmp_path / "x", "abc"), (tmp_path / "y", "")):
        ledger = opened(folder, apart())
        kept(ledger, FIRST, met)
        kept(ledger, SECOND, met)
        hold = fit(ledger.reserve(recipe(0.5), **USE, request="r"))
        told.append((lines(folder), care.checkpoint(ledger), hold.receipt(noise="os-secure", schema="", person_rows=1)))
    assert told[0] == told[1]


def test_coins_come_with_the_subjects_only(both: Ledger) -> None:
    with pytest.raises(LedgerError, match="keeps populations apart"):
        both.coin_key(FIRST)
    with pytest.raises(RequestDenied, match="PS-SRC-006") as caught:
        both.assign(FIRST, None)
    assert "policy.yaml:" in caught.value.where
    with pytest.raises(RequestDenied, match="PS-SRC-001"):
        both.assign("ehr/none", people("a"))
    assert kinds(both, "attempts") == ["genesis"]
    population, secret = both.commitment_key(FIRST)
    coins, _ = both.assign(FIRST, people("a"))
    assert (population, len(secret)) == ("patients", 32)
    assert secret != coins.key


def test_without_the_rule_all_is_as_before(ledger: Ledger) -> None:
    assert ledger.assign(FIRST, people("ab")) == (ledger.coin_key(FIRST), None)
    assert ledger.assign(FIRST, None) == (ledger.coin_key(FIRST), None)
    assert ledger.commitment_key(FIRST) == ("patients", ledger.coin_key(FIRST).key)
    assert kinds(ledger, "attempts") == ["genesis"]


def test_a_receipt_says_so_and_the_sale_agrees(tmp_path: Path) -> None:
    from dataclasses import replace

    from privsynth.ledger.evidence import is_of
    from privsynth.privacy.events import Receipt

    for rules in (apart(), policy(second_source("staff", "staff"))):
        (tmp_path / str(rules.disjoint)).mkdir()
        hold = fit(opened(tmp_path / str(rules.disjoint), rules).reserve(recipe(0.5), **USE))
        receipt = hold.receipt(noise="os-secure", schema="", person_rows=1)
        assert receipt.apart is rules.disjoint
        assert ("apart" in receipt.to_json()) is rules.disjoint
        assert Receipt.from_json(receipt.to_json()) == receipt
        with hold.ledger.reading() as session:
            sold = next(entry for entry in session.main if entry.kind == "reserve")
        assert is_of(receipt, sold)
        other: dict[str, Any]
        for other in (
            {"apart": not receipt.apart},
            {"first_of_population": False},
            {"chosen_after_report": True},
            {"mu_fit": 0.01},
            {"mu_gate": 0.01},
            {"unit": "row"},
            {"contribution": 1},
            {"neighbours": "replace"},
            {"reserved": "2020-01-01T00:00:00.000000+00:00"},
        ):
            assert not is_of(replace(receipt, **other), sold), other


# --- frozen ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [True, False])
@pytest.mark.parametrize("other", [True, False])
def test_the_rule_stays_as_the_first_population_had_it(tmp_path: Path, *, rule: bool, other: bool) -> None:
    """Also where the changed policy names other populations only."""
    opened(tmp_path, policy(*([RULE] if rule else [])))
    names = [("ehr/encounters:\n    population: patients", "ehr/new:\n    population: newcomers")] if other else []
    with pytest.raises(LedgerError, match="nobody is in two populations") as caught:
        opened(tmp_path, policy(*names, *([] if rule else [RULE])))
    assert "new ledger" in caught.value.mend
    assert caught.value.exit_code == 4
    assert opened(tmp_path, policy(*names, *([RULE] if rule else []))).id


def test_a_log_in_which_one_population_is_apart_and_another_is_not_is_no_log(tmp_path: Path) -> None:
    with opened(tmp_path, apart()).reading() as session:
        entries = session.main
    registers = [entry for entry in entries if entry.kind == "register"]

    def told(*bodies: dict[str, Any]) -> None:
        made = [entries[0]]
        for body in bodies:
            made.append(follow(made[-1], "register", body, log="main", actor="a", now=NOON))
        fold(made)

    first, second = (dict(entry.body) for entry in registers)
    bare = {**second, "frozen": {name: value for name, value in second["frozen"].items() if name != "new data"}}
    told(first, second)
    odd = {**first, "frozen": {**first["frozen"], "new data": "some"}}
    keyed = {**second, "ids": "0" * 64}
    unkeyed = {name: value for name, value in first.items() if name != "ids"}
    for wrong in (
        (first, bare),
        (bare, second),
        (bare, keyed),
        (first, keyed),
        (odd,),
        ({**bare, "ids": "0"},),
        (unkeyed,),
    ):
        with pytest.raises(LedgerError, match="cannot follow"):
            told(*wrong)


# --- altered, cut, lost ------------------------------------------------------------------------------

HARMS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "altered": ("UPDATE assigned SET data = ? WHERE name = '0'", (bytes(32),)),
    "with its own hash": ("UPDATE assigned SET data = ?, sha256 = ?", (bytes(32), sha256(bytes(32)))),
    "shorter": ("UPDATE assigned SET data = substr(data, 1, 16)", ()),
    "gone": ("DELETE FROM assigned", ()),
    "of another name": ("UPDATE assigned SET name = '7'", ()),
    "one too many": ("INSERT INTO assigned VALUES ('1', ?, '')", (bytes(16),)),
    "another key": (f"UPDATE secrets SET data = ? WHERE name = '{ID_KEY}'", (bytes(32),)),
    "no key": (f"DELETE FROM secrets WHERE name = '{ID_KEY}'", ()),
    "an entry less": ("DELETE FROM attempts WHERE seq = 1", ()),
    "another population": ("UPDATE attempts SET leaf = CAST(replace(leaf, 'patients', 'staffers') AS BLOB)", ()),
}


@pytest.mark.parametrize("harm", HARMS)
def test_what_was_altered_gives_nobody(tmp_path: Path, harm: str) -> None:
    ledger = opened(tmp_path, apart())
    kept(ledger, FIRST, "ab")
    tamper(tmp_path, HARMS[harm])
    with pytest.raises(LedgerError) as caught:
        ledger.assign(SECOND, people("bc"))
    assert caught.value.exit_code == 4
    with pytest.raises(LedgerError):
        ledger.verify()


def test_verify_finds_somebody_in_two(tmp_path: Path) -> None:
    ledger = opened(tmp_path, apart())
    kept(ledger, FIRST, "ab")
    with ledger.writing() as session:
        data = session.tx.get("assigned", "0")
        assert data is not None
        session.tx.put("assigned", "1", data[:16])
        body = {"population": "staff", "sha256": sha256(data[:16]), "bytes": 16}
        session.append("assigned", body, log="attempts")
    with pytest.raises(LedgerError, match="twice"):
        ledger.verify()


@pytest.mark.parametrize("form", ["backup", "export"])
def test_copies_carry_who_was_met(tmp_path: Path, form: str) -> None:
    witness = files_of(tmp_path)
    ledger = opened(tmp_path, apart(), witness=witness)
    kept(ledger, FIRST, "ab")
    kept(ledger, SECOND, "a")  # of whom nothing is kept but the entry
    copy = copied(ledger, tmp_path / "copy", form)
    (tmp_path / "l.db").unlink()
    at = f"sqlite:///{tmp_path / 'l.db'}"
    found = restored(copy, at, People(tmp_path / "keys"), apart(), witness=witness)
    assert not found.lost
    assert kept(opened(tmp_path, apart(), witness=witness), SECOND, "abc") == {"c"}


def copied(ledger: Ledger, path: Path, form: str) -> Path:
    if form == "backup":
        care.backup(ledger, path)
    else:
        care.export(ledger, path, inside=True)
    return path


def test_a_server_s_ledger_goes_into_a_file_and_back(both: Ledger, key: Path, tmp_path: Path) -> None:
    kept(both, FIRST, "ab")
    care.backup(both, tmp_path / "copy")
    at = f"sqlite:///{tmp_path / 'there.db'}"
    assert restored(tmp_path / "copy", at, People(tmp_path / "keys"), apart(), key=key).lost  # no witness: who knows
    assert kept(opened_at(at, key, apart()), SECOND, "ab") == set()


def test_lost_assignments_leave_no_budget_to_spend_on_them(tmp_path: Path) -> None:
    """Somebody may count twice after such a restore, and nothing is bought any more of any population, now or later."""
    witness = files_of(tmp_path)
    ledger = opened(tmp_path, apart(), witness=witness)
    hold = ledger.reserve(recipe(0.2), **USE)
    copy = copied(ledger, tmp_path / "copy", "backup")
    assert kept(ledger, FIRST, "ab") == set("ab")
    (tmp_path / "l.db").unlink()
    found = restored(copy, f"sqlite:///{tmp_path / 'l.db'}", People(tmp_path / "keys"), apart(), witness=witness)
    assert found.statement.missing == {"main": 0, "attempts": 1}
    wide = apart(("\npurposes:\n  research:", second_source("third", "third")[1]))
    after = opened(tmp_path, wide)
    for source in (FIRST, SECOND, "ehr/third"):
        with pytest.raises(BudgetExhausted):
            after.reserve(recipe(1e-3, source=source), **USE)
    with pytest.raises(HoldError, match="closed"):
        fit(after.hold(hold.id))
    after.verify()


def test_an_older_copy_in_its_place_is_refused_through_the_witness(tmp_path: Path) -> None:
    witness = files_of(tmp_path)
    ledger = opened(tmp_path, apart(), witness=witness)
    shutil.copy(tmp_path / "l.db", tmp_path / "yesterday")
    kept(ledger, FIRST, "ab")
    shutil.copy(tmp_path / "yesterday", tmp_path / "l.db")
    with pytest.raises(LedgerError, match="set back or changed"):
        kept(ledger, SECOND, "ab")


# --- crashes and races -----------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["put", "append", "show"])
def test_kill_9_while_somebody_is_assigned_is_no_harm(both: Ledger, url: str, key: Path, point: str) -> None:
    where, name = {"put": (SqlTransaction, "put"), "append": (Session, "append"), "show": (Ledger, "_show")}[point]
    child = os.fork()
    if child == 0:
        try:
            genuine: Callable[..., Any] = getattr(where, name)

            def dies(*given: Any, **named: Any) -> None:
                genuine(*given, **named)
                os.kill(os.getpid(), signal.SIGKILL)

            setattr(where, name, dies)
            both.assign(FIRST, people("ab"))
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    again = opened_at(url, key, apart())
    assert again.verify().attempts == (2 if point == "show" else 1)
    assert kept(again, SECOND, "abc") == (set("c") if point == "show" else set("abc"))
    assert kept(again, FIRST, "abc") == (set("ab") if point == "show" else set())


def test_the_witness_knows_before_anybody_who_was_met_gets_rows(tmp_path: Path) -> None:
    """Who assigned them died before the witness knew: the next split tells it."""
    witness = files_of(tmp_path)
    ledger = opened(tmp_path, apart(), witness=witness)
    child = os.fork()
    if child == 0:
        Ledger._show = lambda *given, **named: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment]
        ledger.assign(FIRST, people("ab"))
        os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    held = [Checkpoint.parse(witness.head("attempts") or "").size]
    assert kept(ledger, FIRST, "ab") == set("ab")
    held.append(Checkpoint.parse(witness.head("attempts") or "").size)
    assert held == [1, 3]


def test_a_policy_that_was_replaced_meanwhile_tells_nobody_whether_somebody_is_new(tmp_path: Path) -> None:
    """What was begun under it is brought to its end: its split is made, whoever is in it."""
    house = House(tmp_path)
    house.write(RULE)
    house.approved()
    ledger = house.open()
    house.write(RULE, version="2")
    house.approved()
    house.open()
    for met in ("ab", "ab", "abc"):
        assert kept(ledger, FIRST, met) == set(met)
    with pytest.raises(ApprovalMissing):
        ledger.reserve(recipe(0.1), **USE)


def told(url: str, key: Path, fault: str = "none") -> dict[str, set[str]]:
    """By source, what the processes that split it have in the end, as text."""
    answers = [line.split() for line in contest("both_sides", url, key, fault)]
    return {source: {who for of, who in answers if of == source} for source in (FIRST, SECOND)}


def test_of_processes_that_split_at_once_each_person_ends_in_one(url: str, key: Path) -> None:
    (first,), (second,) = told(url, key).values()  # both processes of a population have the same people
    assert not set(first.split(",")) & set(second.split(","))
    assert len({*first.split(","), *second.split(",")} - {"-"}) == 40


def test_a_look_that_is_not_repeated_under_the_lock_is_found(tmp_path: Path, key: Path) -> None:
    """The same contest, where a writer believes what it saw before."""
    found = told(f"sqlite:///{tmp_path / 'l.db'}", key, "stale_look")
    first, second = (set(",".join(who).split(",")) for who in found.values())
    assert first & second
    with pytest.raises(LedgerError, match="twice"):
        opened_at(f"sqlite:///{tmp_path / 'l.db'}", key, apart()).verify()


# --- earlier layouts -------------------------------------------------------------------------------


def earlier(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """A ledger as layout 2 had it, with its state."""
    with monkeypatch.context() as patch:
        patch.setattr(state, "FORMAT", 2)
        ledger = opened(folder)
        ledger.reserve(recipe(0.5), **USE, request="old")
    with sqlite3.connect(folder / "l.db") as connection:
        connection.execute("DROP TABLE assigned")
        connection.execute("PRAGMA user_version = 2")
    return ledger


def version(folder: Path) -> int:
    with sqlite3.connect(folder / "l.db") as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def test_a_ledger_of_layout_2_is_read_as_it_is_and_brought_up_on_opening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier(tmp_path, monkeypatch)
    looked = look_at_ledger(f"sqlite:///{tmp_path / 'l.db'}", policy(), actor=ANALYST, clock=Hands())
    assert looked.verify().holds == 1
    care.backup(looked, tmp_path / "copy.db")
    with pytest.raises(LedgerError, match="layout 2, without a place"), looked.writing() as session:
        session.tx.put("assigned", "0", bytes(16))
    assert version(tmp_path) == 2
    ledger = opened(tmp_path)
    assert version(tmp_path) == 3
    assert ledger.find("old") is not None
    ledger.verify()
    with pytest.raises(LedgerError, match="nobody is in two populations"):
        opened(tmp_path, apart())
    (tmp_path / "l.db").unlink()
    at = f"sqlite:///{tmp_path / 'l.db'}"
    restored(tmp_path / "copy.db", at, People(tmp_path / "keys"))
    assert version(tmp_path) == 3
