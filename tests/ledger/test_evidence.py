"""What a release and a model carry of the ledger: entries under a signed checkpoint, and nothing of what came later."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from privsynth.documents import canonical
from privsynth.errors import LedgerError, ModelError
from privsynth.ledger.evidence import CHECKPOINT, INCLUSION, check_evidence, check_sale
from privsynth.ledger.hold import Hold
from privsynth.ledger.ledger import Ledger
from privsynth.privacy.events import Receipt
from tests.ledger.world import USE, fit, gate, opened, recipe, tamper

GOLDEN = Path(__file__).parent / "golden" / "sale_1.json"


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


# --- of a model, from its sale on --------------------------------------------------------------------


def receipt_of(hold: Hold) -> Receipt:
    return hold.receipt(noise="os-secure", schema="", person_rows=1)


def test_a_receipt_carries_the_sale_and_nothing_of_what_came_later(ledger: Ledger, tmp_path: Path) -> None:
    ledger.reserve(recipe(0.1), **USE)
    hold = ledger.reserve(recipe(0.2), **USE)
    receipt, key = receipt_of(hold), ledger.seal.key().raw_public
    found = check_sale(receipt, keys=[key], where="x")
    assert (found.reserve.body["hold"], found.checkpoint.size) == (hold.id, found.reserve.seq + 1)
    assert set(found.entries) == {"reserve"}
    gate(fit(hold))
    for _ in range(20):
        ledger.reserve(recipe(0.01), **USE)
    again = receipt_of(opened(tmp_path).hold(hold.id))
    assert again.evidence == receipt.evidence
    with pytest.raises(LedgerError, match="not one that you trust"):
        check_sale(receipt, keys=[bytes(32)], where="x")


def test_the_evidence_is_no_part_of_what_a_receipt_says(ledger: Ledger) -> None:
    receipt = receipt_of(ledger.reserve(recipe(0.1), **USE))
    bare = replace(receipt, evidence={})
    assert receipt == bare and "evidence" not in receipt.to_json() and receipt.to_json() == bare.to_json()
    assert Receipt.from_json(receipt.to_json()).evidence == {}
    assert "checkpoint" not in repr(receipt)
    with pytest.raises(ModelError):
        Receipt.from_json({**receipt.to_json(), "evidence": {}})


def test_a_receipt_without_evidence_or_of_another_sale_is_refused(ledger: Ledger) -> None:
    receipt = receipt_of(ledger.reserve(recipe(0.1), **USE))
    other = receipt_of(ledger.reserve(recipe(0.1), **USE))
    for missing in ({}, {CHECKPOINT: receipt.evidence[CHECKPOINT]}, {INCLUSION: receipt.evidence[INCLUSION]}):
        with pytest.raises(LedgerError, match="nothing shows"):
            check_sale(replace(receipt, evidence=missing), where="x")
    changes: list[dict[str, Any]] = [
        {name: "else"} for name in ("hold", "population", "source", "purpose", "recipient")
    ]
    changes += [{"recipe": "00"}, {"policy": "00"}, {"epsilon": 0.05}, {"delta": 1e-12}, {"mu": 0.01}, {"event": {}}]
    for change in [{"evidence": other.evidence}, *changes]:
        with pytest.raises(LedgerError, match="another hold than the receipt's"):
            check_sale(replace(receipt, **change), where="x")


def test_every_altered_byte_of_a_sale_is_found(ledger: Ledger) -> None:
    receipt = receipt_of(ledger.reserve(recipe(0.1), **USE))
    keys = [ledger.seal.key().raw_public]
    for name, step in ((CHECKPOINT, 1), (INCLUSION, 3)):
        raw = receipt.evidence[name]
        for at in range(0, len(raw), step):
            altered = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
            with pytest.raises(LedgerError):
                check_sale(replace(receipt, evidence={**receipt.evidence, name: altered}), keys=keys, where="x")


def test_the_form_of_a_sale_s_evidence_is_read_for_ever() -> None:
    """The golden file: a receipt with its evidence as version 1 wrote it, and the key that signed."""
    told = json.loads(GOLDEN.read_text("utf-8"))
    evidence = {name: text.encode() for name, text in told["evidence"].items()}
    receipt = replace(Receipt.from_json(told["receipt"]), evidence=evidence)
    found = check_sale(receipt, keys=[bytes.fromhex(told["key"])], where="x")
    assert (found.reserve.seq, found.checkpoint.size) == (3, 4)
    assert canonical(json.loads(evidence[INCLUSION])) == evidence[INCLUSION]
