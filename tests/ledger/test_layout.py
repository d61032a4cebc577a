"""Ledgers of earlier layouts are brought to the present one once, whole or not at all; later ones are refused."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from privsynth.documents import canonical
from privsynth.errors import HoldError, LedgerError
from privsynth.ledger.entry import Entry, read_chain
from privsynth.ledger.layout import ADDED, LAYOUT, TABLE, TABLES, fill
from privsynth.ledger.log import LOGS, Session
from privsynth.ledger.seal import Seal, sealed
from privsynth.ledger.sqlite import SqliteTransaction
from privsynth.ledger.steps import Status
from privsynth.ledger.store import look_at_ledger
from privsynth.signing import load_key, new_key
from tests.ledger.anywhere import POINTS, killed_at
from tests.ledger.test_state import whole
from tests.ledger.world import ANALYST, USE, Hands, kinds, lines, opened, policy, recipe

GOLDEN = Path(__file__).parent / "golden" / "format_1.ledger"
"""Made by the first version: five holds, of which one was approved, one refused, one is in training."""


def later() -> Hands:
    clock = Hands()
    clock.move(days=3)
    return clock


@pytest.fixture
def old(tmp_path: Path) -> Path:
    shutil.copy(GOLDEN, tmp_path / "l.db")
    return tmp_path


def test_an_old_ledger_keeps_every_entry_and_goes_on(old: Path) -> None:
    before = lines(old), lines(old, "attempts")
    ledger = opened(old, clock=later())
    after = lines(old), lines(old, "attempts")
    assert after[0][:-1] == before[0]
    assert after[1] == before[1]
    assert kinds(ledger)[-1] == "key"
    status = {request: hold.id for request in ("monday", "tuesday", "wednesday", "thursday")
              if (hold := ledger.find(request)) is not None}  # fmt: skip
    assert {request: ledger.status(hold) for request, hold in status.items()} == {
        "monday": Status.APPROVED,
        "tuesday": Status.REFUSED,
        "wednesday": Status.OPENED,
        "thursday": Status.RESERVED,
    }
    spent = {(line.over, line.name): line.holds for line in ledger.balances()}
    assert spent == {("population", "patients"): 5, ("recipient", "university"): 4, ("recipient", "institute"): 1}
    training = ledger.hold(status["wednesday"])
    assert training.leased == 40
    assert training.lease(50) == 41
    training.deposit(b"weights")
    with pytest.raises(HoldError, match="trains no more"):
        training.lease(60)
    assert ledger.hold(status["monday"]).transcript() == b"noisy counts"
    assert ledger.attempts("patients") == 2
    for _ in range(20):
        ledger.reserve(recipe(0.01), **USE)
    with ledger.reading() as session:
        assert session.balance().openers == {"patients": {"q.lee@st-anna.example"}}
    ledger.verify()
    with ledger.reading() as session:
        assert session.balance() == whole(session).balance
    assert opened(old, clock=later()).id == ledger.id


def test_the_sums_are_those_of_the_old_version(old: Path) -> None:
    from tests.ledger.world import spent

    sums = {line.name: str(spent(line)) for line in opened(old, clock=later()).balances()}
    assert {name: total[:39] for name, total in sums.items()} == {
        "patients": "322659165352699944300446532222063560758",
        "university": "320914685791226340928825862294476964997",
        "institute": "436119890368400842905167481896648940175",
    }


def test_asking_writes_nothing_and_tells_how_to_migrate(old: Path) -> None:
    before = (old / "l.db").read_bytes()
    with pytest.raises(LedgerError, match="layout 1") as caught:
        look_at_ledger(f"sqlite:///{old / 'l.db'}", policy(), actor=ANALYST)
    assert "ledger migrate" in caught.value.mend
    assert (old / "l.db").read_bytes() == before
    assert [p.name for p in old.iterdir()] == ["l.db"]


def flipped(folder: Path) -> None:
    spoil(folder, "UPDATE entries SET leaf = CAST(replace(leaf, 'university', 'universitx') AS BLOB) WHERE seq = 3")


def lost(folder: Path) -> None:
    spoil(folder, "DELETE FROM transcripts")


def spoil(folder: Path, statement: str) -> None:
    """Change a file of layout 1, leaving its triggers as they were."""
    with sqlite3.connect(folder / "l.db") as connection:
        triggers = [sql for sql in TABLES[1] if sql.startswith("CREATE TRIGGER")]
        for sql in triggers:
            connection.execute(f"DROP TRIGGER {sql.split()[2]}")
        connection.execute(statement)
        for sql in triggers:
            connection.execute(sql)


@pytest.mark.parametrize("harm", [flipped, lost])
def test_an_old_ledger_that_is_not_whole_stays_as_it_is(old: Path, harm: Callable[[Path], None]) -> None:
    harm(old)
    before = (old / "l.db").read_bytes()
    with pytest.raises(LedgerError):
        opened(old, clock=later())
    assert (old / "l.db").read_bytes() == before


class Crash(BaseException):
    """What a power cut looks like from inside."""


def test_a_migration_cut_short_leaves_the_old_ledger(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = lines(old)

    def crash(self: SqliteTransaction, entry: Entry) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(SqliteTransaction, "add", crash)
        with pytest.raises(Crash):
            opened(old, clock=later())
    assert lines(old) == before
    assert opened(old, clock=later()).verify().entries == len(before) + 1


def test_a_later_layout_is_refused(tmp_path: Path) -> None:
    opened(tmp_path)
    with sqlite3.connect(tmp_path / "l.db") as connection:
        connection.execute(f"PRAGMA user_version = {LAYOUT + 1}")
        connection.execute("CREATE TABLE novelty (x)")
    with pytest.raises(LedgerError, match=f"layout {LAYOUT + 1}, of a later version") as caught:
        opened(tmp_path)
    assert "later" in caught.value.mend


def test_a_later_kind_of_entry_is_refused(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    with pytest.raises(LedgerError, match="later version"), ledger.writing() as session:
        session.append("novelty", {})
        session.balance()
    ledger.verify()


def test_the_golden_ledger_is_of_layout_1() -> None:
    with sqlite3.connect(GOLDEN) as connection:
        made = {row[0] for row in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")}
        rows = connection.execute("SELECT seq, leaf, hash FROM entries ORDER BY seq").fetchall()
    assert made == set(TABLES[1])
    assert set(ADDED) == set(range(2, LAYOUT + 1))
    assert [entry.kind for entry in read_chain("main", rows)][:3] == ["genesis", "register", "source"]


def forged(folder: Path) -> bytes:
    """In the ledger's place, a history of the first form in which nothing was ever sold; its bytes."""
    shutil.copy(GOLDEN, folder / "l.db")
    for table, after in (("entries", 2), ("attempts", 0)):
        spoil(folder, f"DELETE FROM {table} WHERE seq > {after}")
    for table in ("transcripts", "claims"):
        spoil(folder, f"DELETE FROM {table}")
    return (folder / "l.db").read_bytes()


def unsigned(folder: Path, *, match: str = "first form beside a key", witness: str | None = None) -> None:
    """What lies in the ledger's place is refused, and stays as it is."""
    before = (folder / "l.db").read_bytes()
    with pytest.raises(LedgerError, match=match):
        opened(folder, clock=later(), witness=witness)
    assert (folder / "l.db").read_bytes() == before


def test_a_log_of_the_old_form_beside_a_key_is_not_signed(old: Path, tmp_path: Path) -> None:
    """Who may write the database but has no key would else have whatever they write signed."""
    opened(old, clock=later())
    shutil.copy(GOLDEN, tmp_path / "l.db")
    unsigned(tmp_path)
    forged(tmp_path)
    unsigned(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["l.db", "l.db.key"]


def test_no_mark_but_one_that_the_key_signed_for_this_very_log_lets_it_be_signed(old: Path, tmp_path: Path) -> None:
    killed_at("key", lambda: opened(old, clock=later()))
    (mark,) = tmp_path.glob(".*.mark")
    genuine = mark.read_bytes()
    forged(tmp_path)
    unsigned(tmp_path)
    key = Seal(tmp_path / "l.db.key").key()
    new_key(tmp_path / "own.key", name="ledger")
    with sqlite3.connect(GOLDEN) as connection:
        assert b"migrating" in genuine
        rows = {log: connection.execute(f"SELECT seq FROM {TABLE[log]}").fetchall() for log in LOGS}
    assert all(f'"{log}":[{len(rows[log])},'.encode() in genuine for log in LOGS)
    payload = genuine[:-129]
    making = canonical({**json.loads(payload), "what": "making"})
    shutil.copy(GOLDEN, tmp_path / "l.db")
    for bad in (b"", payload, sealed("mark", payload, load_key(tmp_path / "own.key")), sealed("mark", making, key)):
        mark.write_bytes(bad)
        (tmp_path / ".l.db.key.migrating").touch()
        unsigned(tmp_path)
    mark.write_bytes(genuine)
    assert "key" in kinds(opened(old, clock=later()))
    assert not mark.exists()


@pytest.mark.parametrize("point", POINTS)
def test_a_death_while_a_ledger_is_brought_up_is_no_loss(old: Path, point: str) -> None:
    before, key = lines(old), old / "l.db.key"
    killed_at(point, lambda: opened(old, clock=later()))
    made = key.read_bytes() if key.exists() else None
    assert (made is None) == (point in ("draft", "mark"))
    ledger = opened(old, clock=later())
    ledger.verify()
    assert lines(old)[:-1] == before
    assert made in (None, key.read_bytes())
    assert Seal(key).marked() == {}
    forged(old)
    unsigned(old)


@pytest.mark.parametrize("keep", [True, False])
def test_the_witness_is_asked_before_an_old_log_is_signed(old: Path, *, keep: bool) -> None:
    """Also where the key went with the ledger, so that a new one would be made."""
    for name in ("w", "w.attempts"):
        (old / name).touch()
    opened(old, clock=later(), witness=f"file:{old / 'w'}")
    forged(old)
    if not keep:
        (old / "l.db.key").unlink()
    unsigned(old, match="its witness remembers one", witness=f"file:{old / 'w'}")
    assert (old / "l.db.key").exists() is keep


def test_a_key_that_another_process_made_meanwhile_is_not_taken(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def other(session: Session) -> None:
        fill(session)
        new_key(old / "l.db.key", name="ledger")

    with monkeypatch.context() as patch:
        patch.setattr("privsynth.ledger.store.fill", other)
        unsigned(old, match="made meanwhile")
    assert sorted(path.name for path in old.iterdir()) == ["l.db", "l.db.key"]
