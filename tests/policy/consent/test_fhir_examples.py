"""The published examples of Consent (12 of R4, 12 of STU3) grant nobody for research, each for its reason.

The files are not part of this project: the tests on them run where the folder is there. The traps in them are built
again below, in records of our own, with everything else set right.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from privsynth.policy.consent.fhir.record import read_record
from privsynth.policy.consent.fhir.rules import judge_subject
from privsynth.policy.consent.verdict import Answer, Judgement, Reason
from tests.policy.consent.made import (
    QUESTION,
    Raw,
    action,
    actor,
    coding,
    concept,
    deny,
    edited,
    judged,
    permit,
    purpose,
    put,
    r4,
    reference,
)

pytest.importorskip("fhir.resources", reason="the extra fhir is not installed")

FOLDER = Path(__file__).parents[4] / "shared" / "data" / "fhir_consent"
there = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"the published examples are not at {FOLDER}")
R = Reason
NAMES = ("Emergency", "Out", "basic", "grantor", "notAuthor", "notOrg", "notThem", "notThis", "notTime", "pkb",
         "signature", "smartonfhir")  # fmt: skip
WHEN = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)

WHY: dict[str, set[Reason]] = {
    "Emergency": {R.OTHER_USE},  # an exception for emergencies that lost its type, and opts out of the rest
    "Out": {R.NOT_JUDGED},  # an opt-out for one custodian: of others it says nothing
    "basic": {R.EXPIRED, R.DATES},  # over before it was written
    "grantor": {R.OTHER_USE},  # an opt-out that lost its permission
    "notAuthor": {R.UNTYPED_ROOT, R.NOT_JUDGED},
    "notOrg": {R.TYPED_ROOT, R.OTHER_USE},
    "notThem": {R.UNTYPED_ROOT},
    "notThis": {R.UNTYPED_ROOT, R.NOT_JUDGED},
    "notTime": {R.UNTYPED_ROOT, R.EXPIRED},
    "pkb": {R.UNTYPED_PROVISION},
    "signature": {R.EXPIRED},
    "smartonfhir": {R.EXPIRED},
}


def example(version: str, name: str) -> Raw:
    loaded: Raw = json.loads((FOLDER / version / f"Consent-consent-example-{name}.json").read_text("utf-8"))
    return loaded


def answer(raw: Raw, **question: Any) -> Judgement:
    record = read_record(raw)
    assert record.subject
    asked = {"now": WHEN, "signers": frozenset({"patient", "legal-representative"}), **question}
    return judge_subject([record], replace(QUESTION, **asked))


@there
@pytest.mark.parametrize("name", NAMES)
def test_r4(name: str) -> None:
    told = answer(example("r4", name))
    assert told.answer is Answer.UNKNOWN
    assert {R.OTHER_SCOPE, *WHY[name]} <= set(told.reasons)


@there
@pytest.mark.parametrize("name", NAMES)
def test_r4_made_a_research_consent(name: str) -> None:
    """Its scope, signer and time set right, and whoever is named in it asked for: what is left is the trap itself."""
    raw = example("r4", name)
    raw["scope"] = concept("consentscope", "research")
    raw["performer"] = [raw["patient"]]
    for moment in ("2026-11-22T00:00:00Z", "2016-06-23T07:15:00Z", "2016-05-31T00:00:00Z", "2015-01-15T00:00:00Z"):
        for who in ("Organization/f001", "Practitioner/f204", "Practitioner/13", "Patient/example", "Organization/uni"):
            for actions in (("collect", "use"), ("access",), ("use",)):
                told = answer(raw, now=dt.datetime.fromisoformat(moment), recipients=frozenset({who}), actions=actions)
                assert not told.granted, (moment, who, actions)


@there
@pytest.mark.parametrize("name", NAMES)
def test_stu3_is_refused_by_its_version(name: str) -> None:
    assert answer(example("stu3", name)) == Judgement(Answer.UNKNOWN, (R.UNSUPPORTED_VERSION,))


@there
def test_these_are_all_files() -> None:
    assert len(list(FOLDER.rglob("*.json"))) == 24


# --- the same traps, in records of our own -------------------------------------------------------

HOUSE, NURSE = actor("Organization/house", role="CST"), actor("Practitioner/nurse")
ACCESS = action("access", "correct")
ASKED: dict[str, Any] = {"actions": ("access",), "recipients": frozenset({"Practitioner/nurse", "Organization/other"})}
STU3: Raw = {
    "resourceType": "Consent",
    "status": "active",
    "patient": reference("Patient/p1"),
    "policyRule": "http://hl7.org/fhir/ConsentPolicy/opt-in",
}


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        # all but the nurse, without its deny: read as written it would be only the nurse
        (r4(provision={"actor": [NURSE], "action": ACCESS}), R.UNTYPED_ROOT),
        (r4(provision={"actor": [HOUSE]}), R.UNTYPED_ROOT),
        (r4(provision={"data": [{"meaning": "related", "reference": reference("Task/1")}]}), R.UNTYPED_ROOT),
        (r4(provision={"period": {"start": "2026-06-01", "end": "2026-07-01"}}), R.UNTYPED_ROOT),
        # a deny at the root, where R4 has no type
        (r4(provision=deny(actor=[NURSE], action=ACCESS)), R.REFUSED),
        (r4(provision=deny(actor=[actor("Organization/third")], action=ACCESS)), R.OTHER_USE),
        # an exception for emergencies, swallowed by the nested deny
        (r4("OPTOUT", {"actor": [NURSE], "purpose": purpose("ETREAT"), "provision": [deny(actor=[NURSE])]}),
         R.OTHER_USE),
        (r4("OPTOUT", {"actor": [NURSE], "provision": [deny(actor=[NURSE])]}), R.REFUSED),
        # an opt-out that lost its permission; who is meant stands in a reference, not in a display
        (r4("OPTOUT", {"actor": [HOUSE, {**NURSE, "reference": {"reference": "Patient/x", "display": "Nurse"}}],
                       "action": ACCESS}), R.NOT_JUDGED),
        # permissions without type, under labels
        (r4("OPTOUT", {"actor": [NURSE], "provision": [
            {"actor": [NURSE], "securityLabel": [coding("v3-ActCode", "PSY")]}]}), R.UNTYPED_PROVISION),
        (r4("OPTOUT", {"provision": [permit(actor=[NURSE], securityLabel=[coding("v3-ActCode", "PSY")])]}), R.REFUSED),
        # over before it was written
        (r4(provision=permit(period={"start": "1964-01-01", "end": "2016-01-01"})), R.DATES),
        # an opt-out for one custodian
        (r4("OPTOUT", {"actor": [HOUSE]}), R.NOT_JUDGED),
        # half an hour, one class, given by a relative
        (r4(provision={"period": {"start": "2026-06-15T21:45:00+10:00", "end": "2026-06-15T22:15:00+10:00"},
                       "provision": [permit(action=ACCESS, **{"class": [coding("x/types", "MedicationRequest")]})]}),
         R.UNTYPED_ROOT),
        (r4(provision=permit(), performer=[reference("RelatedPerson/peter")]), R.SIGNER),
        # a signature in a Provenance is a claim
        (edited(r4(contained=[{"resourceType": "Provenance", "id": "s", "target": [reference("#")],
                               "recorded": "2026-01-01T00:00:00Z", "agent": [{"who": reference("Patient/p1")}]}]),
                put("performer", None)), R.SIGNER),
        # another version
        ({**STU3, "except": [{"type": "deny", "actor": [NURSE]}]}, R.UNSUPPORTED_VERSION),
        ({**STU3}, R.UNSUPPORTED_VERSION),
        ({**STU3, "scope": concept("consentscope", "research")}, R.MIXED_VERSIONS),
    ],
)  # fmt: skip
def test_traps(raw: Raw, why: Reason) -> None:
    told = judged(raw, question=replace(QUESTION, **ASKED))
    assert not told.granted
    assert why in told.reasons, told
