"""The file: typed refusals, nothing half written, tampering, kill -9; what it shares with a server: test_stores."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from privsynth.errors import LedgerError, PrivsynthError, StorageError, UsageError
from privsynth.ledger.care import backup
from privsynth.ledger.entry import follow
from privsynth.ledger.ledger import Ledger
from privsynth.ledger.steps import Status
from privsynth.ledger.store import look_at_ledger, open_ledger
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
    tamper,
)

ROOT = Path(__file__).parents[2]
Attack = list[tuple[str, tuple[Any, ...]]]


def files(folder: Path) -> list[str]:
    """The names of what lies in a folder."""
    return sorted(p.name for p in folder.iterdir())


def python(code: str, *args: str) -> subprocess.Popen[str]:
    """A fresh interpreter that runs ``code`` from the repository's root."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *args], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


# --- addresses and files ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["ledger.db", "mysql://host/db", "sqlite://ledger.db", "sqlite:///", "sqlite:////", "sqlite:///:memory:", ""],
)
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(UsageError, match="ledger") as caught:
        open_ledger(url, policy(), actor=ANALYST)
    assert "sqlite:///" in caught.value.mend


@pytest.mark.parametrize("actor", ["", " a@b", "a\nb", "x" * 300])
def test_an_actor_is_one_line(tmp_path: Path, actor: str) -> None:
    with pytest.raises(UsageError, match="actor"):
        opened(tmp_path, actor=actor)
    assert list(tmp_path.iterdir()) == []


def test_a_relative_path_is_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ledger = open_ledger("sqlite:///l.db", policy(), actor=ANALYST)
    monkeypatch.chdir("/")
    assert kinds(ledger)[0] == "genesis"


@pytest.mark.parametrize("name", ["a b%20c?#mode=ro.db", "ε.db"])
def test_odd_names_are_only_names(tmp_path: Path, name: str) -> None:
    opened(tmp_path, name=name).reserve(recipe(), **USE)
    assert sorted(p.name for p in tmp_path.iterdir()) == [name, f"{name}.key"]


def test_a_new_file_is_its_owners_alone_and_nothing_lies_beside_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        opened(tmp_path).reserve(recipe(), **USE)
    finally:
        os.umask(before)
    assert files(tmp_path) == ["l.db", "l.db.key"]
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in files(tmp_path)} == {0o600}


def as_folder(path: Path) -> None:
    path.mkdir()


def as_text(path: Path) -> None:
    path.write_text("this is no database, but a long enough text\n" * 100)


def as_nothing(path: Path) -> None:
    path.touch()


def as_other_database(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE entries (seq, leaf, hash)")


def as_read_only(path: Path) -> None:
    opened(path.parent)
    path.chmod(0o400)


def as_cut(path: Path) -> None:
    ledger = opened(path.parent)
    for _ in range(3):
        ledger.reserve(recipe(0.1), **USE)
    os.truncate(path, path.stat().st_size // 8192 * 4096)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (as_folder, StorageError, "not a file"),
        (as_text, LedgerError, "not a ledger"),
        (as_nothing, LedgerError, "not a ledger"),
        (as_other_database, LedgerError, "not a ledger"),
        (as_read_only, StorageError, "read-only"),
        (as_cut, LedgerError, "damaged"),
    ],
)
def test_what_is_no_ledger_is_refused_and_left_alone(
    tmp_path: Path, make: Callable[[Path], None], error: type[PrivsynthError], words: str
) -> None:
    path = tmp_path / "l.db"
    make(path)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(error, match=words) as caught:
        opened(tmp_path)
    assert caught.value.mend
    assert caught.value.where == str(path)
    assert (path.read_bytes() if path.is_file() else b"") == before


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no such folder"):
        opened(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


def test_a_link_that_leads_to_itself_is_refused(tmp_path: Path) -> None:
    """As the ledger's path it cannot be followed; as its key's it cannot be read, and is not replaced."""
    for name in ("l.db", "k"):
        (tmp_path / name).symlink_to(name)
    for call in (open_ledger, look_at_ledger):
        with pytest.raises(StorageError, match="leads to itself"):
            call(f"sqlite:///{tmp_path / 'l.db'}", policy(), actor=ANALYST)
        with pytest.raises(LedgerError, match="the key that was made with one"):
            call(f"sqlite:///{tmp_path / 'new.db'}", policy(), actor=ANALYST, key=tmp_path / "k")
    assert files(tmp_path) == ["k", "l.db"]


@pytest.mark.parametrize("end", ["-journal", "-wal", "-shm"])
def test_no_ledger_is_made_beside_what_an_earlier_one_left(tmp_path: Path, end: str) -> None:
    """SQLite would write the pages of that one into the new file."""
    ledger = opened(tmp_path, name="old.db")
    for name in ("l.db", "copy.db"):
        (tmp_path / f"{name}{end}").touch()
    before = files(tmp_path)
    for make in (lambda: opened(tmp_path), lambda: backup(ledger, tmp_path / "copy.db")):
        with pytest.raises(StorageError, match="an earlier database of this name") as caught:
            make()
        assert caught.value.where.endswith(end)
    assert files(tmp_path) == before
    for name in ("l.db", "copy.db"):
        (tmp_path / f"{name}{end}").unlink()
    opened(tmp_path).verify()


def test_a_ledger_that_is_gone_is_not_made_anew(ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "l.db").unlink()
    with pytest.raises(StorageError, match="cannot be reached"):
        ledger.reserve(recipe(), **USE)
    assert files(tmp_path) == ["l.db.key"]


def test_other_tables_or_triggers_are_refused(ledger: Ledger, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "l.db") as connection:
        connection.execute("CREATE TRIGGER t AFTER INSERT ON entries BEGIN DELETE FROM claims; END")
    with pytest.raises(LedgerError, match="tables were changed"):
        ledger.reserve(recipe(), **USE)


@contextmanager
def nobody() -> Iterator[None]:
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user takes root")
def test_what_the_system_forbids_is_a_typed_refusal() -> None:
    """Read-only file, read-only folder, hidden folder: as the operating system says it, not by our own look."""
    with tempfile.TemporaryDirectory() as name:
        folder, rules = Path(name), policy()
        folder.chmod(0o755)
        with nobody(), pytest.raises(StorageError, match="cannot be written"):
            opened(folder, rules)
        ledger = opened(folder, rules)
        hold = ledger.reserve(recipe(0.1), **USE)
        os.chown(folder / "l.db.key", 65534, -1)
        for mode, where in ((0o644, 0o755), (0o666, 0o755), (0o666, 0o700)):
            (folder / "l.db").chmod(mode)
            folder.chmod(where)
            with nobody(), pytest.raises(StorageError):
                hold.open_fit(recipe=hold.recipe, source=hold.source, purpose=hold.purpose, recipient=hold.recipient)
        assert ledger.status(hold.id) is Status.RESERVED
        assert files(folder) == ["l.db", "l.db.key"]


FULL = """
import resource, signal, sys
from pathlib import Path
from privsynth.errors import StorageError
from tests.ledger.world import *

folder = Path(sys.argv[1])
ledger = opened(folder)
ledger.quote(recipe(0.1), **USE)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
room = (folder / "l.db").stat().st_size + int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
sold = []
try:
    while True:
        sold.append(ledger.reserve(recipe(0.01), **USE).id)
except StorageError as fault:
    print(len(sold), fault)
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, room))
try:
    opened(folder, name="new.db")
except StorageError as fault:
    print("new:", fault)
"""


@pytest.mark.parametrize("room", [0, 8192])
def test_a_disk_without_room_sells_nothing_and_leaves_nothing_half_written(tmp_path: Path, room: int) -> None:
    ledger = opened(tmp_path)
    run = python(FULL, str(tmp_path), str(room))
    out, err = run.communicate(timeout=120)
    assert run.returncode == 0, err
    assert "Mend" in out
    ledger.verify()
    assert kinds(ledger).count("reserve") == int(out.split()[0])
    assert "new:" in out
    assert files(tmp_path) == ["l.db", "l.db.key"]
    ledger.reserve(recipe(0.01), **USE)


def test_too_large_a_transcript_is_refused(ledger: Ledger) -> None:
    class Large(bytes):
        """Says that it is large, so that the test need not be."""

        def __len__(self) -> int:
            return 500_000_001

    with pytest.raises(StorageError, match="too many"), ledger.store.writing() as tx:
        tx.put("transcripts", "h", Large())


# --- tampering -------------------------------------------------------------------------------------


@pytest.fixture
def used(ledger: Ledger) -> Ledger:
    """A small ledger with something in both logs."""
    hold = fit(ledger.reserve(recipe(0.1), **USE))
    gate(hold)
    hold.refuse(["PS-GATE-SCH"])
    return ledger


@pytest.mark.parametrize("log", ["entries", "attempts"])
def test_a_flipped_byte_in_the_file_is_found(used: Ledger, tmp_path: Path, log: str) -> None:
    """Every 23rd byte here; every single byte and the links between lines in test_entry."""
    for seq, leaf, _ in lines(tmp_path, log):
        for at in {*range(0, len(leaf), 23), len(leaf) - 1}:
            flipped = leaf[:at] + bytes([leaf[at] ^ 1]) + leaf[at + 1 :]
            tamper(tmp_path, (f"UPDATE {log} SET leaf = ? WHERE seq = ?", (flipped, seq)))
            with pytest.raises(LedgerError, match="altered"):
                used.verify()
        tamper(tmp_path, (f"UPDATE {log} SET leaf = ? WHERE seq = ?", (leaf, seq)))
    used.verify()


@pytest.mark.parametrize("log", ["entries", "attempts"])
def test_lines_deleted_swapped_or_copied_in_the_file_are_found(used: Ledger, tmp_path: Path, log: str) -> None:
    good = lines(tmp_path, log)
    move = f"UPDATE {log} SET seq = ? WHERE seq = ?"
    cut = f"DELETE FROM {log} WHERE seq = ?"
    attacks: list[Attack] = [
        *([(cut, (seq,))] for seq, *_ in good[:-1]),
        *([(move, (-1, a)), (move, (a, b)), (move, (b, -1))] for a, b in [(0, 1), (1, 2), (0, len(good) - 1)]),
        [(f"INSERT INTO {log} VALUES (?, ?, ?)", (len(good), *good[-1][1:]))],
        [(f"UPDATE {log} SET hash = ? WHERE seq = 1", ("0" * 64,))],
        [(f"UPDATE {log} SET leaf = CAST(leaf AS TEXT) WHERE seq = 1", ())],
        [(f"DELETE FROM {log}", ())],
    ]
    restore: Attack = [
        (f"DELETE FROM {log}", ()),
        *((f"INSERT INTO {log} VALUES (?, ?, ?)", row) for row in good),
    ]
    for attack in attacks:
        tamper(tmp_path, *attack)
        with pytest.raises(LedgerError):
            opened(tmp_path).verify()
        tamper(tmp_path, *restore)
    used.verify()


@pytest.mark.parametrize("log", ["entries", "attempts"])
def test_a_logs_newest_line_cut_off_is_found_on_opening(used: Ledger, tmp_path: Path, log: str) -> None:
    """The signed head says how long both logs are: only the whole file of another day has another one."""
    tamper(tmp_path, (f"DELETE FROM {log} WHERE seq = (SELECT max(seq) FROM {log})", ()))
    with pytest.raises(LedgerError, match="cut off"):
        opened(tmp_path)


def test_the_head_of_another_day_is_found_on_opening(used: Ledger, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "l.db") as connection:
        cells = connection.execute("SELECT data, name FROM cells").fetchall()
    used.reserve(recipe(0.1), **USE)
    tamper(tmp_path, *(("UPDATE cells SET data = ? WHERE name = ?", cell) for cell in cells))
    with pytest.raises(LedgerError, match="cut off"):
        opened(tmp_path)


def test_lines_written_without_the_key_are_found_on_opening(ledger: Ledger, tmp_path: Path) -> None:
    """Someone with the file, and with the right hashes, but with neither key nor budget."""
    ledger.reserve(recipe(2.5), **USE)
    with ledger.reading() as session:
        last = session.main[-1]
    forged = follow(
        last, "reserve", {**last.body, "hold": "0" * 32, "request": "gift"}, log="main", actor=ANALYST, now=NOON
    )
    tamper(tmp_path, ("INSERT INTO entries VALUES (?, ?, ?)", (forged.seq, forged.leaf, forged.hash)))
    with pytest.raises(LedgerError, match="put in"):
        opened(tmp_path)


def test_the_second_log_of_another_ledger_is_found(used: Ledger, tmp_path: Path) -> None:
    opened(tmp_path, name="other.db")
    other = lines(tmp_path, "attempts", "other.db")
    tamper(tmp_path, ("DELETE FROM attempts", ()), *(("INSERT INTO attempts VALUES (?, ?, ?)", r) for r in other))
    with pytest.raises(LedgerError, match=r"does not follow|changed"):
        opened(tmp_path).verify()


def test_rows_cannot_be_changed_by_accident(used: Ledger, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "l.db") as connection:
        for statement in ("UPDATE entries SET seq = seq", "DELETE FROM entries", "DELETE FROM attempts"):
            with pytest.raises(sqlite3.IntegrityError, match="append only"):
                connection.execute(statement)


# --- crashes ---------------------------------------------------------------------------------------


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.ledger.world import *

hold = opened(Path(sys.argv[1])).reserve(recipe(2.5), **USE, request="monday")
print(hold.id, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_kill_9_after_reserve_leaves_the_budget_spent(ledger: Ledger, tmp_path: Path) -> None:
    run = python(KILLED, str(tmp_path))
    out, err = run.communicate(timeout=120)
    assert run.returncode == -signal.SIGKILL, err
    ledger.verify()
    assert ledger.status(out.strip()) is Status.RESERVED
    assert ledger.balances()[0].holds == 1
    with pytest.raises(PrivsynthError, match="does not fit"):
        ledger.reserve(recipe(2.5), **USE)
    assert ledger.reserve(recipe(2.5), **USE, request="monday").id == out.strip()


# --- two clocks ------------------------------------------------------------------------------------


def test_two_clocks_may_differ_a_little(tmp_path: Path) -> None:
    ahead, behind = Hands(), Hands()
    ahead.move(minutes=4)
    opened(tmp_path, clock=ahead).reserve(recipe(0.1), **USE)
    opened(tmp_path, clock=behind).reserve(recipe(0.1), **USE)
    opened(tmp_path).verify()
