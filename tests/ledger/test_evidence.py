"""What a release carries of the ledger: two entries under a signed checkpoint, and nothing of what came later."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from privsynth.documents import canonical
from privsynth.errors import LedgerError
from privsynth.ledger.evidence import CHECKPOINT, INCLUSION, check_evidence
from privsynth.ledger.hold import Hold
from privsynth.ledger.ledger import Ledger
from tests.ledger.world import USE, fit, gate, opened, recipe, tamper


@pytest.fixture
def done(ledger: Ledger) -> Hold:
    """An approved hold, between others."""
    fit(ledger.reserve(recipe(0.1), **USE))
    hold = fit(ledger.reserve(recipe(0.2), **USE, request="monday"))
    gate(hold)
    hold.approve({"findings": []})
    return hold


def files(hold: Hold) -> tuple[bytes, bytes]:
    found = hold.evidence()
    assert list(found) == [CHECKPOINT, INCLUSION]
    return found[CHECKPOINT], found[INCLUSION]


def test_it_shows_the_sale_and_the_approval_of_one_hold(ledger: Ledger, done: Hold) -> None:
    key = ledger.seal.key().raw_public
    for keys in ([key], [], [bytes(32), key]):
        found = check_evidence(*files(done), keys=keys, where="x")
        assert (found.reserve.body["hold"], found.approve.body["hold"]) == (done.id, done.id)
        assert (found.key, found.checkpoint.size) == (key, found.approve.seq + 1)
    with pytest.raises(LedgerError, match="not one that you trust"):
        check_evidence(*files(done), keys=[bytes(32)], where="x")


def test_it_says_nothing_of_what_came_later_or_of_attempts(ledger: Ledger, done: Hold, tmp_path: Path) -> None:
    before = files(done)
    for _ in range(40):
        ledger.reserve(recipe(0.01), **USE)
    other = fit(ledger.reserve(recipe(0.1), **USE))
    gate(other)
    other.refuse(["PS-GATE-MEM"])
    assert files(done) == before == files(opened(tmp_path).hold(done.id))


def test_a_hold_that_was_not_approved_has_none(ledger: Ledger) -> None:
    hold = fit(ledger.reserve(recipe(0.1), **USE))
    assert hold.evidence() == {}
    gate(hold)
    hold.refuse(["PS-GATE-MEM"])
    assert hold.evidence() == {}


def test_every_altered_byte_is_found(ledger: Ledger, done: Hold) -> None:
    key, both = ledger.seal.key().raw_public, files(done)
    for which in (0, 1):
        raw = both[which]
        for at in range(0, len(raw), 1 if which == 0 else 3):
            altered = list(both)
            altered[which] = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
            with pytest.raises(LedgerError):
                check_evidence(altered[0], altered[1], keys=[key], where="x")


def test_other_entries_are_refused(ledger: Ledger, done: Hold) -> None:
    key, (note, listing) = ledger.seal.key().raw_public, files(done)
    other = fit(ledger.reserve(recipe(0.1), **USE))
    gate(other)
    other.approve({})
    value, more = json.loads(listing), json.loads(files(other)[1])
    changes: list[Any] = [
        {**value, "entries": value["entries"][::-1]},
        {**value, "entries": value["entries"][:1]},
        {**value, "entries": [*value["entries"], value["entries"][0]]},
        {**value, "entries": [value["entries"][0], more["entries"][1]]},
        {**value, "privsynth-inclusion": 2},
        {**value, "key": ""},
        {**value, "entries": [{"leaf": "{}", "proof": []}] * 2},
        {**value, "entries": [{"leaf": '{"seq":0}', "proof": ["00"]}] * 2},
        {},
        [],
    ]
    for changed in changes:
        with pytest.raises(LedgerError):
            check_evidence(note, canonical(changed), keys=[key], where="x")


def test_a_tree_that_was_altered_gives_none(ledger: Ledger, done: Hold, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "l.db") as connection:
        (hash_,) = connection.execute("SELECT hash FROM entries WHERE seq = 1").fetchone()
    other = hash_.replace(hash_[0], "0" if hash_[0] != "0" else "1")
    tamper(tmp_path, ("UPDATE entries SET hash = ? WHERE seq = 1", (other,)))
    with pytest.raises(LedgerError):
        done.evidence()
