"""Backup, restore, export and import: nothing altered gets through, and what is lost is spent."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from privsynth.documents import canonical
from privsynth.errors import (
    ApprovalMissing,
    BudgetExhausted,
    HoldError,
    LedgerError,
    PrivsynthError,
    StorageError,
    UsageError,
)
from privsynth.ledger import care
from privsynth.ledger.checkpoint import Checkpoint
from privsynth.ledger.ledger import Ledger
from privsynth.ledger.steps import Status
from privsynth.ledger.transfer import export_lines, read_export
from tests.ledger.test_state import RULES, busy
from tests.ledger.test_witness import files_of
from tests.ledger.world import (
    ANALYST,
    NOON,
    OTHER_ANALYST,
    READER,
    USE,
    Hands,
    fit,
    gate,
    kinds,
    lines,
    opened,
    policy,
    recipe,
)

TWO = [OTHER_ANALYST, READER]


def url(folder: Path, name: str = "l.db") -> str:
    return f"sqlite:///{folder / name}"


def both(folder: Path) -> tuple[object, object]:
    return lines(folder), lines(folder, "attempts")


# --- backup and restore ----------------------------------------------------------------------------


def test_a_backup_is_whole_and_can_be_made_while_someone_reads(tmp_path: Path) -> None:
    ledger = busy(tmp_path, RULES["gdp"])
    with ledger.reading():
        checked = care.backup(ledger, tmp_path / "b.db")
    assert checked == ledger.verify()
    assert (tmp_path / "b.db").stat().st_mode & 0o777 == 0o600
    shutil.copy(tmp_path / "b.db", tmp_path / "l.db")
    assert opened(tmp_path, RULES["gdp"]).verify() == checked
    with pytest.raises(StorageError, match="the file exists"):
        care.backup(ledger, tmp_path / "b.db")
    with pytest.raises(StorageError, match="cannot be written"):
        care.backup(ledger, tmp_path / "no" / "b.db")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.db", "l.db", "l.db.key"]


@pytest.mark.parametrize(
    ("people", "accept"), [(TWO, False), ([], True), (TWO[:1] * 2, True), ([READER, "stranger@x.example"], True)]
)
def test_a_restore_takes_two_distinct_people_who_accept(tmp_path: Path, people: list[str], accept: bool) -> None:
    care.backup(opened(tmp_path), tmp_path / "b.db")
    (tmp_path / "l.db").unlink()
    with pytest.raises(ApprovalMissing, match="takes 2 distinct people") as caught:
        care.restore(
            tmp_path / "b.db", url(tmp_path), policy(), actor=ANALYST, people=people, accept_loss=accept, clock=Hands()
        )
    assert caught.value.exit_code == 5
    assert "--accept-loss" in caught.value.mend
    assert not (tmp_path / "l.db").exists()


def restored(folder: Path, witness: object = None, backup: str = "b.db") -> care.Restored:
    (folder / "l.db").unlink(missing_ok=True)
    return care.restore(
        folder / backup,
        url(folder),
        policy(),
        actor=ANALYST,
        people=TWO,
        accept_loss=True,
        witness=witness,  # type: ignore[arg-type]  # a witness, an address, or none
        clock=Hands(),
    )


def test_what_the_witness_knows_and_the_backup_lacks_is_spent(tmp_path: Path) -> None:
    witness = files_of(tmp_path)
    ledger = opened(tmp_path, witness=witness)
    known = ledger.reserve(recipe(0.2), **USE, request="known")
    done = fit(ledger.reserve(recipe(0.2), **USE, request="done"))
    care.backup(ledger, tmp_path / "b.db")
    fit(known, b"in what was lost")
    gate(done)
    told = restored(tmp_path, witness)
    assert (told.lost, told.missing) == (True, {"main": 2, "attempts": 1})
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
    assert (body["people"], body["lost"], body["missing"]) == (sorted(TWO), True, {"main": 2, "attempts": 1})
    after.verify()
    with pytest.raises(LedgerError, match="set back or changed"):  # the old witness does not forget
        opened(tmp_path, witness=witness)
    (tmp_path / "new").mkdir()
    opened(tmp_path, witness=files_of(tmp_path / "new")).verify()


def test_a_restore_without_a_gap_costs_nothing(tmp_path: Path) -> None:
    witness = files_of(tmp_path)
    ledger = opened(tmp_path, witness=witness)
    hold = ledger.reserve(recipe(0.2), **USE)
    care.backup(ledger, tmp_path / "b.db")
    told = restored(tmp_path, witness)
    assert (told.lost, told.missing) == (False, {"main": 0, "attempts": 0})
    after = opened(tmp_path, witness=witness)
    assert kinds(after)[-1] == "restore"
    assert after.balances()[0].holds == 1
    fit(after.hold(hold.id))
    after.verify()


@pytest.mark.parametrize("kind", RULES)
def test_a_restore_that_nobody_witnessed_spends_everything(tmp_path: Path, kind: str) -> None:
    care.backup(busy(tmp_path, RULES[kind]), tmp_path / "b.db")
    (tmp_path / "l.db").unlink()
    told = care.restore(
        tmp_path / "b.db", url(tmp_path), RULES[kind], actor=ANALYST, people=TWO, accept_loss=True, clock=Hands()
    )
    assert (told.lost, told.missing) == (True, None)
    after = opened(tmp_path, RULES[kind])
    with pytest.raises(BudgetExhausted):
        after.reserve(recipe(1e-3), **USE)
    after.verify()


def test_what_is_no_backup_of_this_ledger_is_not_restored(tmp_path: Path) -> None:
    witness = files_of(tmp_path)
    care.backup(opened(tmp_path, witness=witness), tmp_path / "b.db")
    (tmp_path / "other").mkdir()
    care.backup(opened(tmp_path / "other"), tmp_path / "other.db")
    (tmp_path / "x").write_bytes(b"no database, but long enough\n" * 100)
    care.backup(opened(tmp_path), tmp_path / "bad.db")
    with sqlite3.connect(tmp_path / "bad.db") as connection:
        connection.execute("UPDATE secrets SET data = x'00'")
    shutil.copytree(tmp_path, tmp_path / "fork")
    fork = opened(tmp_path / "fork")
    fork.reserve(recipe(0.1), **USE)
    care.backup(fork, tmp_path / "fork.db")
    opened(tmp_path, witness=witness).reserve(recipe(0.2), **USE)
    for name, words in (
        ("x", "not a ledger"),
        ("other.db", "key"),
        ("none", "no such backup"),
        ("bad.db", "secret key"),
        ("fork.db", "not of what the witness remembers"),
    ):
        with pytest.raises(PrivsynthError, match=words):
            restored(tmp_path, witness, name)
        assert not (tmp_path / "l.db").exists()
    opened(tmp_path / "fork")
    with pytest.raises(StorageError, match="the file exists"):
        care.restore(
            tmp_path / "b.db",
            url(tmp_path / "fork"),
            policy(),
            actor=ANALYST,
            people=TWO,
            accept_loss=True,
            key=tmp_path / "l.db.key",
            clock=Hands(),
        )


# --- export and import -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[bytes, bytes, bytes]]:
    """(for showing, for inside, public key) of a ledger with entries of every kind."""
    ledger = busy(tmp_path_factory.mktemp("exported"), RULES["gdp"])
    with ledger.reading() as session:
        yield b"".join(export_lines(session)), b"".join(export_lines(session, inside=True)), session.public


def test_an_export_shows_every_entry_and_nothing_of_attempts(tmp_path: Path) -> None:
    ledger = busy(tmp_path, RULES["gdp"], rounds=2)
    care.export(ledger, tmp_path / "e.jsonl")
    found = care.read(tmp_path / "e.jsonl", key=ledger.seal.key().raw_public)
    with ledger.reading() as session:
        assert found.main == session.main
        assert found.balance == session.balance()
    assert (found.attempts, found.shelves) == ((), ())
    text = (tmp_path / "e.jsonl").read_text()
    assert text.splitlines()[0] == lines(tmp_path)[0][1].decode()
    assert json.loads(text.splitlines()[-1])["checkpoint"] == care.checkpoint(ledger)
    assert "PS-GATE" not in text
    assert '"log":"attempts"' not in text
    assert (tmp_path / "e.jsonl").stat().st_mode & 0o777 == 0o600
    with pytest.raises(StorageError, match="the file exists"):
        care.export(ledger, tmp_path / "e.jsonl")
    with pytest.raises(StorageError, match="cannot be written"):
        care.export(ledger, tmp_path / "no" / "e.jsonl")
    with pytest.raises(StorageError, match="cannot be read"):
        care.read(tmp_path / "none")


def test_an_import_is_the_same_ledger(tmp_path: Path) -> None:
    ledger = busy(tmp_path, RULES["gdp"])
    care.export(ledger, tmp_path / "e.jsonl", inside=True)
    brought = care.import_(
        tmp_path / "e.jsonl",
        url(tmp_path, "n.db"),
        RULES["gdp"],
        actor=ANALYST,
        key=tmp_path / "l.db.key",
        clock=Hands(),
    )
    assert lines(tmp_path, name="n.db") == lines(tmp_path)
    assert lines(tmp_path, "attempts", "n.db") == lines(tmp_path, "attempts")
    assert brought.verify() == ledger.verify()
    assert brought.coin_key("ehr/encounters") == ledger.coin_key("ehr/encounters")
    brought.reserve(recipe(0.01), **USE)
    with pytest.raises(StorageError, match="the ledger exists"):
        care.import_(tmp_path / "e.jsonl", url(tmp_path), RULES["gdp"], actor=ANALYST)


def test_what_is_not_for_import_or_of_another_key_or_policy_is_refused(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    care.export(ledger, tmp_path / "e.jsonl")
    care.export(ledger, tmp_path / "i.jsonl", inside=True)
    new, key = url(tmp_path, "n.db"), tmp_path / "l.db.key"
    with pytest.raises(UsageError, match="for showing"):
        care.import_(tmp_path / "e.jsonl", new, policy(), actor=ANALYST, key=key)
    with pytest.raises(LedgerError, match="belongs to policy"):
        other = policy(("id: st-anna/research", "id: st-anna/other"))
        care.import_(tmp_path / "i.jsonl", new, other, actor=ANALYST, key=key)
    with pytest.raises(LedgerError, match="key file cannot be read"):
        care.import_(tmp_path / "i.jsonl", new, policy(), actor=ANALYST)
    opened(tmp_path, name="other.db")
    with pytest.raises(LedgerError, match="another key"):
        care.import_(tmp_path / "i.jsonl", new, policy(), actor=ANALYST, key=tmp_path / "other.db.key")
    assert not (tmp_path / "n.db").exists()


@given(st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_altered_byte_of_an_export_is_found(exported: tuple[bytes, bytes, bytes], data: st.DataObject) -> None:
    """Sampled here; every byte of 200 entries in benchmarks/bench_ledger_bytes.py."""
    shown, inside, key = exported
    raw = data.draw(st.sampled_from([shown, inside]))
    at, mask = data.draw(st.integers(0, len(raw) - 1)), data.draw(st.integers(1, 255))
    with pytest.raises(LedgerError):
        read_export(raw[:at] + bytes([raw[at] ^ mask]) + raw[at + 1 :], key=key)


@pytest.mark.parametrize("inside", [False, True])
def test_lines_dropped_swapped_doubled_or_cut_off_are_found(exported: tuple[bytes, bytes, bytes], inside: bool) -> None:
    raw, key = exported[inside], exported[2]
    read_export(raw, key=key)
    rows = raw.splitlines(keepends=True)
    for at in range(len(rows)):
        attacks = [rows[:at] + rows[at + 1 :], rows[: at + 1] + rows[at:], rows[:at]]
        if at:
            attacks.append([*rows[: at - 1], rows[at], rows[at - 1], *rows[at + 1 :]])
        for attack in attacks:
            with pytest.raises(LedgerError):
                read_export(b"".join(attack), key=key)
    for at in {*range(0, len(raw), 997), len(raw) - 1}:
        with pytest.raises(LedgerError):
            read_export(raw[:at], key=key)


def test_an_export_convicts_a_key_that_is_not_the_ledgers(exported: tuple[bytes, bytes, bytes], tmp_path: Path) -> None:
    shown, _, key = exported
    other = opened(tmp_path).seal.key()
    with pytest.raises(LedgerError, match="another key"):
        read_export(shown, key=other.raw_public)
    found = read_export(shown)
    assert found.key == key
    forged = Checkpoint(found.checkpoints[0].origin, found.checkpoints[0].size, found.checkpoints[0].root).sign(other)
    rows = shown.splitlines(keepends=True)[:-1]
    with pytest.raises(LedgerError, match="not signed"):
        read_export(b"".join(rows) + canonical({"checkpoint": forged}) + b"\n", key=key)


@pytest.mark.parametrize(
    "line",
    [
        b"{}\n",
        b"[]\n",
        b'{"a": 1}\n',
        b'{"data":"","name":"x","shelf":"other"}\n',
        b'{"data":"*","name":"x","shelf":"claims"}\n',
        b"\n",
        b"\xff\n",
    ],
)
def test_other_lines_are_no_part_of_an_export(exported: tuple[bytes, bytes, bytes], line: bytes) -> None:
    with pytest.raises(LedgerError, match="not whole"):
        read_export(line + exported[0], key=exported[2])
    with pytest.raises(LedgerError, match="not whole"):
        read_export(line, key=exported[2])


# --- the file --------------------------------------------------------------------------------------


def test_a_flipped_bit_of_the_file_is_found_or_changes_no_entry(tmp_path: Path) -> None:
    """Sampled here, by a fixed step; the benchmark flips more."""
    ledger = busy(tmp_path, RULES["gdp"], rounds=3)
    path = tmp_path / "l.db"
    raw, before = path.read_bytes(), both(tmp_path)
    found = same = 0
    for at in range(7, len(raw), len(raw) // 250):
        path.write_bytes(raw[:at] + bytes([raw[at] ^ (1 << at % 8)]) + raw[at + 1 :])
        try:
            replace(ledger).verify()
        except PrivsynthError:
            found += 1
            continue
        same += 1
        assert both(tmp_path) == before
    assert found > same / 4
    path.write_bytes(raw)
    ledger.verify()


def test_a_checkpoint_is_a_note(tmp_path: Path) -> None:
    ledger: Ledger = opened(tmp_path, clock=Hands(NOON))
    note = care.checkpoint(ledger)
    public = ledger.seal.key().raw_public
    assert Checkpoint.read(note, origin=f"privsynth.dev/ledger/{ledger.id}", public=public).size == 3
