"""Backup and export: nothing altered gets through. The way back is in test_restore."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from privsynth.documents import canonical
from privsynth.errors import (
    LedgerError,
    PrivsynthError,
    StorageError,
)
from privsynth.ledger import care
from privsynth.ledger.checkpoint import Checkpoint
from privsynth.ledger.ledger import Ledger
from privsynth.ledger.transfer import export_lines, read_export
from tests.ledger.test_state import RULES, busy
from tests.ledger.world import (
    NOON,
    OTHER_ANALYST,
    READER,
    Hands,
    lines,
    opened,
)

TWO = [OTHER_ANALYST, READER]


def url(folder: Path, name: str = "l.db") -> str:
    return f"sqlite:///{folder / name}"


def both(folder: Path) -> tuple[object, object]:
    return lines(folder), lines(folder, "attempts")


# --- backup ----------------------------------------------------------------------------------------


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


# --- export ----------------------------------------------------------------------------------------


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
    with pytest.raises(StorageError, match="no such export file"):
        care.read(tmp_path / "none")


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
