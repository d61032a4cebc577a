"""ISO/IEC TS 27560 records as evidence, and the receipt that is written of a decision."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privsynth.data.records import Records
from privsynth.data.schema import parse_schema
from privsynth.errors import ConsentError, RequestDenied
from privsynth.policy.consent import filter_consent
from privsynth.policy.consent.iso27560 import Law, judge, named, read_receipt
from privsynth.policy.consent.reader import Ask
from privsynth.policy.consent.receipt import decision_receipt
from privsynth.policy.consent.verdict import GRANTED, Answer, Judgement, Reason
from privsynth.policy.document import Policy

NOW = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)
ASK = Ask(purpose="medical-research", recipient="university-hospital", now=NOW)
BASIS = ["Art6(1)(a)", "Art9(2)(a)"]
BASES = [*BASIS, "Art6(1)(f)", "45CFR164.508"]
LAW = Law(frozenset(BASIS), special=True)
GOLDEN = Path(__file__).parents[1] / "golden" / "consent_receipt.json"
R = Reason


def record(**more: Any) -> dict[str, Any]:
    return {
        "schema_version": "27560:2023",
        "record_id": "r-1",
        "subject": "p1",
        "purposes": ["medical-research"],
        "recipients": ["university-hospital"],
        "legal_basis": BASIS,
        "events": [{"state": "given", "time": "2026-01-10T09:00:00+01:00"}],
        **more,
    }


def event(state: str, time: str) -> dict[str, str]:
    return {"state": state, "time": time}


GIVEN = event("given", "2026-01-10T09:00:00Z")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, None),
        ({"recipients": ["*"]}, None),
        ({"purposes": ["teaching", "medical-research"]}, None),
        ({"data_categories": ["encounters"], "jurisdiction": "DE"}, None),
        ({"storage_period": {"from": "2026-01-01", "until": "2026-06-15"}}, None),
        ({"events": [event("requested", "2026-01-01T00:00:00Z"), GIVEN]}, None),
        ({"events": [event("withdrawn", "2025-01-01T00:00:00Z"), GIVEN]}, None),
        ({"events": [GIVEN, event("withdrawn", "2026-03-01T00:00:00Z"), event("given", "2026-04-01T00:00:00Z")]}, None),
        # nothing that grants this
        ({"purposes": ["teaching"]}, R.OTHER_USE),
        ({"recipients": ["insurer"]}, R.OTHER_USE),
        ({"purposes": ["*"]}, R.OTHER_USE),
        ({"legal_basis": ["Art6(1)(a)"]}, R.OTHER_USE),
        ({"storage_period": {"until": "2026-06-14"}}, R.EXPIRED),
        ({"storage_period": {"from": "2026-06-16"}}, R.OTHER_USE),
        ({"events": [event("requested", "2026-01-01T00:00:00Z")]}, R.OTHER_USE),
        ({"events": [event("given", "2026-06-15T12:00:01Z")]}, R.OTHER_USE),
        # against it, at the same time or later
        ({"events": [GIVEN, event("withdrawn", "2026-03-01T00:00:00Z")]}, R.WITHDRAWN),
        ({"events": [GIVEN, event("withdrawn", "2026-01-10T10:00:00+01:00")]}, R.WITHDRAWN),
        ({"events": [GIVEN, event("withdrawn", "2027-03-01T00:00:00Z")]}, R.WITHDRAWN),
        ({"events": [GIVEN, event("refused", "2026-03-01T00:00:00Z")]}, R.REFUSED),
        ({"events": [GIVEN, event("expired", "2026-03-01T00:00:00Z")]}, R.EXPIRED),
        # what cannot be read
        ({"events": []}, R.UNREADABLE),
        ({"events": [event("granted", "2026-01-01T00:00:00Z")]}, R.UNREADABLE),
        ({"events": [event("given", "2026-01-01")]}, R.UNREADABLE),
        ({"events": [event("given", "2026-01-01T00:00:00")]}, R.UNREADABLE),
        ({"events": [GIVEN, {"state": "given"}]}, R.UNREADABLE),
        ({"schema_version": "27560"}, R.UNREADABLE),
        ({"purposes": []}, R.UNREADABLE),
        ({"purposes": "medical-research"}, R.UNREADABLE),
        ({"conditions": "only on Mondays"}, R.UNREADABLE),
        ({"storage_period": {"until": "soon"}}, R.UNREADABLE),
        ({"storage_period": {"to": "2027-01-01"}}, R.UNREADABLE),
        ({"subject": 7}, R.UNREADABLE),
    ],
)
def test_one_record(change: dict[str, Any], why: Reason | None) -> None:
    judged = judge([read_receipt(record(**change))], ASK, LAW)
    assert judged.granted == (why is None), judged
    assert judged.reasons == (why or R.GRANTED,)


def test_no_record() -> None:
    assert judge([], ASK, LAW).reasons == (R.NO_RECORD,)


@pytest.mark.parametrize(
    ("others", "granted"),
    [
        ([record(purposes=["teaching"], events=[event("refused", "2026-05-01T00:00:00Z")])], True),
        ([record(events=[event("withdrawn", "2026-05-01T00:00:00Z")])], False),
        ([record(events=[event("withdrawn", "2025-05-01T00:00:00Z")])], True),
        ([record(purposes=["teaching"], events=[])], False),
    ],
)
def test_several_records(others: list[dict[str, Any]], granted: bool) -> None:
    said = [read_receipt(one) for one in (record(), *others)]
    assert judge(said, ASK, LAW).granted == granted
    assert judge(said[::-1], ASK, LAW).granted == granted


WITHDREW = [GIVEN, event("withdrawn", "2026-03-01T00:00:00Z")]


@pytest.mark.parametrize(
    ("records", "answer"),
    [
        ([record(events=WITHDREW), record(extra=1)], Answer.DENY),
        ([record(events=WITHDREW, extra=1)], Answer.DENY),
        ([record(events=[{"state": "refused", "time": "in March"}])], Answer.DENY),
        ([record(extra=1), record()], Answer.UNKNOWN),
        ([record(events=WITHDREW, purposes=["teaching"]), record(extra=1)], Answer.UNKNOWN),
    ],
)
def test_a_no_is_heard_though_a_record_cannot_be_read(records: list[dict[str, Any]], answer: Answer) -> None:
    for order in (records, records[::-1]):
        judged = judge([read_receipt(one) for one in order], ASK, LAW)
        assert judged.answer is answer and R.UNREADABLE in judged.reasons


@given(
    st.lists(st.sampled_from(BASES), unique=True, min_size=1),
    st.lists(st.sampled_from(BASES), unique=True, min_size=1),
    st.lists(st.sampled_from(BASES), unique=True, min_size=1),
    st.booleans(),
)
def test_a_shorter_legal_basis_never_makes_more_receipts_count(
    listed: list[str], kept: list[str], held: list[str], special: bool
) -> None:
    """Fails where all of the policy's list must stand in a receipt: then a child that lists less asks for less."""
    fewer = frozenset(listed) & frozenset(kept)
    said = [read_receipt(record(legal_basis=held))]
    if judge(said, ASK, Law(fewer, special)).granted:
        assert judge(said, ASK, Law(frozenset(listed), special)).granted


def test_what_a_receipt_relies_on() -> None:
    for basis, held, special, counts in (
        (BASIS, BASIS, True, True),
        (BASIS, [*BASIS, "Art6(1)(c)"], True, True),
        (BASIS, BASIS[:1], True, False),
        (BASIS, BASIS[:1], False, True),
        (BASIS[:1], BASIS, True, False),
        (["45CFR164.508"], ["45CFR164.508"], True, True),
        (BASIS, ["Art6(1)(f)"], False, False),
    ):
        law = Law(frozenset(basis), special)
        assert judge([read_receipt(record(legal_basis=held))], ASK, law).granted == counts, (basis, held, special)


# --- through the consent step --------------------------------------------------------------------


@pytest.fixture
def policy(edited: Callable[..., Policy]) -> Policy:
    return edited(("  by: register\n", "  by: iso-27560\n  max age of export: 7d\n"))


def table(*ids: str) -> Records:
    schema = parse_schema(
        "privsynth-schema: 1\nsource: ehr/encounters\nsubject: {column: patient_id, at most: 12 rows}\n"
        "columns:\n  patient_id: {kind: identifier}\n  age: {kind: integer, min: 0, max: 120}\n"
    )
    return Records(schema, pd.DataFrame({"age": range(len(ids))}), np.array(ids, dtype=object))


def kept(policy: Policy, path: Path, *ids: str, **more: Any) -> list[str]:
    given = {"exported": NOW, "now": NOW, "purpose": ASK.purpose, "recipient": ASK.recipient, **more}
    return list(filter_consent(table(*ids), policy, receipts=path, **given).records.subjects)


def test_filter(policy: Policy, tmp_path: Path) -> None:
    path = tmp_path / "receipts.ndjson"
    others = [record(subject="p2", purposes=["teaching"]), record(subject="p3", extra=1), {"x": 1}, {"subject": " "}]
    path.write_text("\n".join(json.dumps(one) for one in [record(subject=" p1 "), *others]))
    assert kept(policy, path, "p1", "p2", "p3", "p1", "p4") == ["p1", "p1"]
    with pytest.raises(RequestDenied, match="PS-CON-002"):
        kept(policy, path, "p1", exported=None)


def test_a_doubled_key(policy: Policy, tmp_path: Path) -> None:
    path = tmp_path / "receipts.ndjson"
    path.write_text(json.dumps(record()).replace('"record_id"', '"legal_basis": ["x"], "record_id"'))
    assert kept(policy, path, "p1") == []


WITHDRAWN = '{"state": "withdrawn", "time": "2026-02-01T00:00:00Z"}'


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"withdrawn"', '"Withdrawn"'),
        ('"withdrawn"', '"WITHDRAWN"'),
        ('"withdrawn"', '" withdrawn\\t"'),
        ('"withdrawn"', '["withdrawn"]'),
        ('"withdrawn"', '"withdrawn", "state": "given"'),
        (f"[{WITHDRAWN}]", WITHDRAWN),
        (f"[{WITHDRAWN}]", f"[[{WITHDRAWN}]]"),
        (f"[{WITHDRAWN}]", f'[{WITHDRAWN}], "events": []'),
        (f"[{WITHDRAWN}]", f'[], "events": {WITHDRAWN}'),
        ('"subject": "p1"', '"subject": "p1", "subject": "p2"'),
        ('"subject": "p1"', '"subject": ["p1"]'),
        ('"purposes": [', '"purposes": [' + "[" * 70 + "]" * 70 + ", "),
    ],
)
def test_a_withdrawal_is_heard_however_it_is_written(policy: Policy, tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "receipts.ndjson"
    said = json.dumps(record(events=[json.loads(WITHDRAWN)]))
    assert said.count(old) == 1
    path.write_text(json.dumps(record()) + "\n" + said.replace(old, new))
    assert kept(policy, path, "p1") == []
    judged = named(policy, replace(ASK, evidence=path)).judged["p1"]
    assert judged.answer == Answer.DENY and R.WITHDRAWN in judged.reasons and R.UNREADABLE in judged.reasons


def test_a_subject_that_is_a_number_is_heard_too(policy: Policy, tmp_path: Path) -> None:
    path = tmp_path / "receipts.ndjson"
    path.write_text(
        json.dumps(record(subject="7")) + "\n" + json.dumps(record(subject=7, events=[json.loads(WITHDRAWN)]))
    )
    assert named(policy, replace(ASK, evidence=path)).judged["7"].answer == Answer.DENY


@pytest.mark.parametrize(
    ("text", "what"),
    [("", "no record"), ("{", "not JSON"), ("[]", "not one JSON"), ('{"a": "' + "x" * 2**20 + '"}', "large")],
)
def test_structural_faults(policy: Policy, tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "receipts.ndjson"
    path.write_text(text)
    with pytest.raises(ConsentError, match=what) as caught:
        kept(policy, path, "p1")
    assert caught.value.where == str(path)


# --- the receipt of a decision -------------------------------------------------------------------


def test_a_receipt(healthcare: Policy) -> None:
    """The golden file: the receipt of a grant, whatever else changes."""
    told = decision_receipt(
        "p1",
        GRANTED,
        policy=healthcare,
        source="ehr/encounters",
        ask=ASK,
        exported=datetime(2026, 6, 15, 6, tzinfo=UTC),
    )
    told["notice"]["sha256"] = told["record_id"] = "left out of the golden file"
    assert told == json.loads(GOLDEN.read_text("utf-8"))


@pytest.mark.parametrize(
    ("judged", "state"),
    [
        (GRANTED, "given"),
        (Judgement(Answer.DENY, (R.WITHDRAWN,)), "withdrawn"),
        (Judgement(Answer.DENY, (R.REFUSED, R.CONFLICT)), "refused"),
        (Judgement(Answer.UNKNOWN, (R.EXPIRED,)), "expired"),
        (Judgement(Answer.UNKNOWN, (R.NO_RECORD,)), "not-known"),
    ],
)
def test_what_a_receipt_says(healthcare: Policy, judged: Judgement, state: str) -> None:
    told = decision_receipt("p1", judged, policy=healthcare, source="ehr/encounters", ask=ASK)
    again = decision_receipt("p1", judged, policy=healthcare, source="ehr/encounters", ask=ASK)
    assert told == again
    assert told["events"] == [{"state": state, "time": "2026-06-15T12:00:00Z"}]
    assert told["decision"] == {"answer": str(judged.answer), "reasons": [str(r) for r in judged.reasons]}
    other = decision_receipt("p2", judged, policy=healthcare, source="ehr/encounters", ask=ASK)
    assert other["record_id"] != told["record_id"]


def test_a_receipt_is_no_evidence(healthcare: Policy) -> None:
    """What we wrote of a decision cannot come back as a consent."""
    told = decision_receipt("p1", GRANTED, policy=healthcare, source="ehr/encounters", ask=ASK)
    assert read_receipt(told).receipt is None
