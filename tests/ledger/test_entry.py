"""Lines of a log: their bytes, their links, their times."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from privsynth.errors import LedgerError, UsageError
from privsynth.ledger.entry import BEFORE_ALL, Entry, LogName, follow, read_chain
from tests.ledger.world import NOON

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
BODY = st.dictionaries(
    TEXT, st.one_of(TEXT, st.booleans(), st.integers(-(2**53) + 1, 2**53 - 1), st.none()), max_size=4
)


def log_of(bodies: list[dict[str, object]], log: LogName = "main") -> list[Entry]:
    entries: list[Entry] = []
    for body in bodies:
        last = entries[-1] if entries else None
        entries.append(follow(last, "kind", body, log=log, actor="a@b", now=NOON))
    return entries


def rows(entries: list[Entry]) -> list[tuple[int, bytes, str]]:
    return [(e.seq, e.leaf, e.hash) for e in entries]


@given(st.lists(BODY, max_size=6))
def test_what_is_written_is_read(bodies: list[dict[str, object]]) -> None:
    entries = log_of(bodies)
    assert list(read_chain("main", rows(entries))) == entries
    assert [e.body for e in entries] == bodies


def test_a_leaf_is_canonical_json_linked_by_rfc_6962_hashes() -> None:
    first, second = log_of([{"b": 1, "a": 0.1}, {}])
    value = json.loads(first.leaf)
    assert rfc8785.dumps(value) == first.leaf
    assert set(value) == {"privsynth-ledger", "log", "seq", "time", "actor", "kind", "prev", "body"}
    assert value["prev"] == BEFORE_ALL
    assert json.loads(second.leaf)["prev"] == hashlib.sha256(b"\x00" + first.leaf).hexdigest() == first.hash


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_come_back_exactly(number: float) -> None:
    (entry,) = log_of([{"number": number}])
    assert float(entry.body["number"]) == number  # whole numbers come back as whole numbers


def test_every_flipped_byte_is_found() -> None:
    entries = log_of([{"epsilon": 1.0}, {"hold": "ab"}, {}])
    for place, entry in enumerate(entries):
        for at in range(len(entry.leaf)):
            for mask in (0x01, 0x80):
                leaf = bytearray(entry.leaf)
                leaf[at] ^= mask
                stored = rows(entries)
                stored[place] = (place, bytes(leaf), entry.hash)
                with pytest.raises(LedgerError, match="altered"):
                    read_chain("main", stored)
                stored[place] = (place, bytes(leaf), hashlib.sha256(b"\x00" + leaf).hexdigest())
                if place < 2:  # with its own hash mended, the next line convicts it
                    with pytest.raises(LedgerError):
                        read_chain("main", stored)


def test_lines_taken_out_put_in_or_moved_are_found() -> None:
    entries = log_of([{"n": n} for n in range(4)])
    good = rows(entries)
    for place in range(3):
        with pytest.raises(LedgerError, match=f"entry {place} is missing"):
            read_chain("main", good[:place] + good[place + 1 :])
        shifted = [(seq, leaf, hash_) for seq, (_, leaf, hash_) in enumerate(good[:place] + good[place + 1 :])]
        with pytest.raises(LedgerError, match="does not follow"):
            read_chain("main", shifted)
        swapped = list(good)
        swapped[place] = (place, *good[place + 1][1:])
        swapped[place + 1] = (place + 1, *good[place][1:])
        with pytest.raises(LedgerError, match="does not follow"):
            read_chain("main", swapped)
    with pytest.raises(LedgerError, match="does not follow"):
        read_chain("attempts", good)


def test_a_line_of_another_format_or_no_line_at_all() -> None:
    (entry,) = log_of([{}])
    for leaf, words in (
        (entry.leaf.replace(b'"privsynth-ledger":1', b'"privsynth-ledger":2'), "format 2"),
        (b"[]", "not a line"),
        (b"\xff", "not a line"),
        (b'{"privsynth-ledger":1}', "format 1"),
        (entry.leaf.replace(b'"actor":"a@b"', b'"actor":7'), "format 1"),
        (entry.leaf.replace(b'"seq":0', b'"seq":"0"'), "format 1"),
        (b"[" * 100_000, "not a line"),
    ):
        with pytest.raises(LedgerError, match=words):
            read_chain("main", [(0, leaf, hashlib.sha256(b"\x00" + leaf).hexdigest())])


def test_time_never_goes_back_and_a_clock_far_behind_is_refused() -> None:
    first = follow(None, "a", {}, log="main", actor="x", now=NOON)
    slow = follow(first, "b", {}, log="main", actor="x", now=NOON - timedelta(minutes=5))
    assert slow.time == first.time
    with pytest.raises(LedgerError, match="five minutes") as caught:
        follow(first, "b", {}, log="main", actor="x", now=NOON - timedelta(minutes=5, microseconds=1))
    assert "clock" in caught.value.mend
    later = follow(slow, "c", {}, log="main", actor="x", now=NOON + timedelta(seconds=1))
    assert datetime.fromisoformat(later.time) == NOON + timedelta(seconds=1)


def test_time_is_written_in_utc_and_needs_a_zone() -> None:
    east = NOON.astimezone(timezone(timedelta(hours=9)))
    assert follow(None, "a", {}, log="main", actor="x", now=east).time == "2026-11-21T12:00:00.000000+00:00"
    with pytest.raises(UsageError, match="zone"):
        follow(None, "a", {}, log="main", actor="x", now=datetime(2026, 11, 21))


@given(st.lists(st.integers(-290, 10**6), min_size=1, max_size=8))
def test_times_are_sorted_whatever_the_clock_does_within_five_minutes(steps: list[int]) -> None:
    entries: list[Entry] = []
    now = NOON
    for step in steps:
        now = max(now + timedelta(seconds=step), NOON)
        last = entries[-1] if entries else None
        if last is not None and datetime.fromisoformat(last.time) - now > timedelta(minutes=5):
            now = datetime.fromisoformat(last.time)
        entries.append(follow(last, "a", {}, log="main", actor="x", now=now))
    times = [e.time for e in entries]
    assert times == sorted(times)
    assert all(datetime.fromisoformat(t).tzinfo == UTC for t in times)
