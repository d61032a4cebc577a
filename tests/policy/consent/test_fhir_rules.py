"""Consents that must grant, and for each the near misses that must not: R4 and R5, by our rules of precedence."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from privsynth.policy.consent.fhir.rules import Question
from privsynth.policy.consent.verdict import Answer, Reason
from tests.policy.consent.made import (
    NOW,
    QUESTION,
    Edit,
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
    r5,
    reference,
)

pytest.importorskip("fhir.resources", reason="the extra fhir is not installed")

R = Reason
UNI = actor("Organization/uni")
YEAR = {"start": "2026-01-01", "end": "2026-12-31"}
Case = tuple[Raw, list[tuple[Edit, Reason]]]

R4: dict[str, Case] = {
    "opt-in, nothing else": (
        r4(),
        [
            (put("policyRule", concept("v3-ActCode", "OPTOUT")), R.REFUSED),
            (put("policyRule", concept("v3-ActCode", "OPTINR")), R.BASE_UNKNOWN),
            (put("policyRule", concept("v3-ActCode", "IMPLIED")), R.BASE_UNKNOWN),
            (put("policyRule", concept("v3-ActCode", "OPTIN", "OPTOUT")), R.BASE_UNKNOWN),
            (put("policyRule", concept("http://other.example/codes", "OPTIN")), R.BASE_UNKNOWN),
            (put("policyRule", {"text": "opt in"}), R.BASE_UNKNOWN),
            (put("policyRule", None), R.BASE_UNKNOWN),
            (put("status", "inactive"), R.WITHDRAWN),
            (put("status", "rejected"), R.WITHDRAWN),
            (put("status", "draft"), R.STATUS),
            (put("status", "proposed"), R.STATUS),
            (put("status", "entered-in-error"), R.STATUS),
            (put("status", "Active"), R.STATUS),
            (put("scope", concept("consentscope", "patient-privacy")), R.OTHER_SCOPE),
            (put("scope", concept("consentscope", "treatment")), R.OTHER_SCOPE),
            (put("scope", concept("consentscope", "research", "patient-privacy")), R.SCOPE_UNKNOWN),
            (put("scope", concept("http://other.example/codes", "research")), R.SCOPE_UNKNOWN),
            (put("scope", {"text": "research"}), R.SCOPE_UNKNOWN),
            (put("category", [concept("consentscope", "treatment")]), R.SCOPE_UNKNOWN),
            (put("dateTime", "2026-06-15T12:00:01Z"), R.NOT_YET),
            (put("dateTime", "15.06.2026"), R.MALFORMED),
            (put("performer", None), R.SIGNER),
            (put("performer", [reference("RelatedPerson/peter")]), R.SIGNER),
            (put("performer", [reference("Practitioner/f1")]), R.SIGNER),
            (put("performer", [reference("Patient/p2")]), R.SIGNER),
            (put("performer", [reference("Patient/p1"), reference("Organization/x")]), R.SIGNER),
            (put("performer", [{"display": "herself"}]), R.SIGNER),
            (put("modifierExtension", [{"url": "http://x.example/not", "valueBoolean": True}]), R.MODIFIED),
            (put("implicitRules", "http://x.example/rules"), R.MODIFIED),
            (put("patient", reference("https://other.example/fhir/Patient/p1")), R.SUBJECT_UNSURE),
            (put("patient", {"identifier": {"value": "p1"}}), R.SUBJECT_UNSURE),
            (put("except", [{"type": "deny"}]), R.MIXED_VERSIONS),
            (put("decision", "permit"), R.MIXED_VERSIONS),
            (put("consentingParty", [reference("Patient/p1")]), R.MIXED_VERSIONS),
            (put("unheardOf", 1), R.MALFORMED),
            (put("provision", {}), R.MALFORMED),
            (put("dateTime", "2026-01-10T09:00:00"), R.MALFORMED),
        ],
    ),
    "opt-in by a permission at the root": (
        r4(provision=permit(purpose=purpose("HRESCH"), period=YEAR)),
        [
            (put("provision.type", None), R.UNTYPED_ROOT),
            (put("provision.type", "deny"), R.REFUSED),
            (put("provision.type", "Permit"), R.MALFORMED),
            (put("policyRule", concept("v3-ActCode", "OPTOUT")), R.CONFLICT),
            (put("policyRule", None), R.BASE_UNKNOWN),
            (put("provision.purpose", purpose("TREAT")), R.OTHER_USE),
            (put("provision.purpose", purpose("ETREAT", "HPAYMT")), R.OTHER_USE),
            (put("provision.purpose", purpose("BIORCH")), R.OTHER_USE),
            (put("provision.purpose", purpose("RESEARCH")), R.NOT_JUDGED),
            (put("provision.purpose", [coding("http://hl7.org/fhir/v3/ActReason", "HRESCH")]), R.NOT_JUDGED),
            (put("provision.purpose", [{"code": "HRESCH"}]), R.NOT_JUDGED),
            (put("provision.purpose", []), R.MALFORMED),
            (put("provision.period.end", "2026-06-14"), R.EXPIRED),
            (put("provision.period.start", "2026-06-17"), R.NOT_YET),
            (put("provision.period", {"end": "2025-01-01", "start": "2026-01-01"}), R.EXPIRED),
            (put("provision.period", {"start": "soon"}), R.MALFORMED),
        ],
    ),
    "opt-in, all purposes": (
        r4(provision=permit(purpose=purpose("PurposeOfUse"))),
        [(put("provision.purpose", purpose("HOPERAT")), R.OTHER_USE)],
    ),
    "opt-in for research among others": (
        r4(provision=permit(purpose=purpose("TREAT", "HRESCH"))),
        [(put("provision.purpose.1", coding("v3-ActReason", "PUBHLTH")), R.OTHER_USE)],
    ),
    "opt-in to this recipient": (
        r4(provision=permit(actor=[UNI])),
        [
            (put("provision.actor", [actor("Organization/other")]), R.OTHER_USE),
            (put("provision.actor", [actor("Organization/uni", role="CST")]), R.NOT_JUDGED),
            (put("provision.actor", [{**UNI, "reference": {"display": "Organization/uni"}}]), R.NOT_JUDGED),
            (put("provision.actor", [actor("Practitioner/f204")]), R.NOT_JUDGED),
            (put("provision.actor", [actor("Patient/example")]), R.NOT_JUDGED),
            (put("provision.actor.0.reference.reference", "Organization/uni/x"), R.OTHER_USE),
        ],
    ),
    "opt-in to an information recipient": (
        r4(provision=permit(actor=[actor("Organization/uni", role="IRCP")])),
        [
            (put("provision.actor.0.role", concept("v3-ParticipationType", "AUT")), R.NOT_JUDGED),
            (put("provision.actor.0.role", concept("v3-ParticipationType", "PRCP", "AUT")), R.NOT_JUDGED),
            (put("provision.actor.0.reference", None), R.MALFORMED),
        ],
    ),
    "opt-in for both actions": (
        r4(provision=permit(action=action("collect", "use"))),
        [
            (put("provision.action", action("use")), R.OTHER_USE),
            (put("provision.action", action("collect", "access")), R.OTHER_USE),
            (put("provision.action", action("collect", "study")), R.NOT_JUDGED),
        ],
    ),
    "opt-in, permitted below an untyped root": (
        r4(provision={"period": YEAR, "provision": [permit(purpose=purpose("HRESCH"))]}),
        [
            (put("provision.provision.0.type", None), R.UNTYPED_PROVISION),
            (put("provision.provision.0.type", "deny"), R.REFUSED),
            (put("provision.provision.0.purpose", purpose("TREAT")), R.UNTYPED_ROOT),
            (put("provision.provision.0.data", [{"meaning": "related", "reference": reference("Task/1")}]),
             R.UNTYPED_ROOT),
            (put("provision.provision.0.class", [coding("http://hl7.org/fhir/resource-types", "Observation")]),
             R.UNTYPED_ROOT),
            (put("provision.provision.0.securityLabel", [coding("v3-Confidentiality", "N")]), R.UNTYPED_ROOT),
            (put("provision.provision.0.dataPeriod", YEAR), R.UNTYPED_ROOT),
            (put("provision.provision.0.code", [concept("http://loinc.org", "34133-9")]), R.UNTYPED_ROOT),
            (put("provision.provision.0.modifierExtension", [{"url": "http://x.example/n", "valueBoolean": True}]),
             R.UNTYPED_ROOT),
            (put("provision.provision.0.period", {"end": "2026-05-01"}), R.UNTYPED_ROOT),
        ],
    ),
    "opt-out but for research": (
        r4("OPTOUT", {"provision": [permit(purpose=purpose("HRESCH"), actor=[UNI])]}),
        [
            (put("provision.provision.0.actor", [actor("Organization/other")]), R.REFUSED),
            (put("provision.provision.0.purpose", purpose("BIORCH")), R.REFUSED),
            (put("provision.provision.0.type", None), R.UNTYPED_PROVISION),
            (put("provision.provision", None), R.MALFORMED),
            (put("provision", None), R.REFUSED),
            (put("provision.provision.0.code", [concept("http://loinc.org", "1")]), R.REFUSED),
            (put("provision.provision", [permit()]), R.REFUSED),
            (put("policyRule", concept("v3-ActCode", "NOSUCH")), R.BASE_UNKNOWN),
        ],
    ),
    "a permit in a deny in a permit": (
        r4(provision={"provision": [
            permit(purpose=purpose("HRESCH"), provision=[
                deny(purpose=purpose("PurposeOfUse"), provision=[permit(actor=[UNI])]),
            ]),
        ]}),
        [
            (put("provision.provision.0.provision.0.provision", None), R.REFUSED),
            (put("provision.provision.0.provision.0.provision.0.actor", [actor("Organization/b")]), R.REFUSED),
            (put("provision.provision.0.provision.0.provision.0.type", "deny"), R.REFUSED),
            (put("provision.provision.0.provision.0.provision.0.type", None), R.UNTYPED_PROVISION),
        ],
    ),
    "a deny for others beside the permit": (
        r4(provision={"provision": [permit(actor=[UNI]), deny(actor=[actor("Organization/other")])]}),
        [
            (put("provision.provision.1.actor", [UNI]), R.REFUSED),
            (put("provision.provision.1.actor", [actor("Practitioner/f204")]), R.NOT_JUDGED),
            (put("provision.provision.1.actor", None), R.REFUSED),
        ],
    ),
    "a deny of treatment only": (
        r4(provision={"provision": [deny(purpose=purpose("TREAT", "HPAYMT"))]}),
        [
            (put("provision.provision.0.purpose", purpose("HRESCH")), R.REFUSED),
            (put("provision.provision.0.purpose", purpose("CLINTRCH")), R.REFUSED),
            (put("provision.provision.0.purpose", purpose("PurposeOfUse")), R.REFUSED),
            (put("provision.provision.0.purpose", purpose("TREAT", "XYZ")), R.NOT_JUDGED),
            (put("provision.provision.0.purpose", []), R.MALFORMED),
        ],
    ),
    "a deny that is over": (
        r4(provision={"provision": [deny(period={"end": "2026-05-31"})]}),
        [
            (put("provision.provision.0.period.end", "2026-06-15"), R.REFUSED),
            (put("provision.provision.0.period", {"end": "2026"}), R.REFUSED),
            (put("provision.provision.0.period", {}), R.MALFORMED),
        ],
    ),
    "given by a representative with whom it was verified": (
        r4(performer=[reference("RelatedPerson/m")],
           verification=[{"verified": True, "verifiedWith": reference("RelatedPerson/m")}]),
        [
            (put("verification.0.verified", False), R.SIGNER),
            (put("verification.0.verifiedWith", reference("RelatedPerson/n")), R.SIGNER),
            (put("verification", None), R.SIGNER),
        ],
    ),
    "no performer, verified with her": (
        edited(r4(verification=[{"verified": True, "verifiedWith": reference("Patient/p1")}]), put("performer", None)),
        [(put("verification.0.verified", False), R.SIGNER)],
    ),
    "category and scope research": (
        r4(category=[concept("consentcategorycodes", "research")]),
        [(put("scope", concept("consentscope", "patient-privacy")), R.SCOPE_UNKNOWN)],
    ),
    "an unknown category code beside": (
        r4(category=[concept("http://x.example/c", "study"), {"text": "study"}]),
        [(put("scope", None), R.SCOPE_UNKNOWN)],
    ),
}  # fmt: skip

R5: dict[str, Case] = {
    "permit, nothing else": (
        r5(),
        [
            (put("decision", "deny"), R.REFUSED),
            (put("decision", "PERMIT"), R.BASE_UNKNOWN),
            (put("decision", None), R.BASE_UNKNOWN),
            (put("status", "not-done"), R.WITHDRAWN),
            (put("status", "unknown"), R.STATUS),
            (put("status", "draft"), R.STATUS),
            (put("category", None), R.SCOPE_UNKNOWN),
            (put("category", [concept("consentscope", "patient-privacy")]), R.OTHER_SCOPE),
            (put("category", [concept("consentscope", "research"), concept("consentscope", "treatment")]),
             R.SCOPE_UNKNOWN),
            (put("grantor", None), R.SIGNER),
            (put("grantor", [reference("Organization/x")]), R.SIGNER),
            (put("date", "2026-06-16"), R.NOT_YET),
            (put("period", {"start": "2020-01-01", "end": "2026-06-13"}), R.EXPIRED),
            (put("period", {"start": "2026-07-01"}), R.NOT_YET),
            (put("patient", reference("Patient/p1")), R.MIXED_VERSIONS),
            (put("scope", concept("consentscope", "research")), R.MIXED_VERSIONS),
            (put("grantee", [reference("Organization/other")]), R.OTHER_USE),
            (put("grantee", [reference("Practitioner/x")]), R.NOT_JUDGED),
            (put("grantee", []), R.MALFORMED),
            (put("provision", [{"purpose": purpose("TREAT"), "provision": []}]), R.MALFORMED),
            (put("_status", {}), R.MALFORMED),
            (put("subject", reference("Group/p1")), R.NO_RECORD),
        ],
    ),
    "in its period": (
        r5(period=YEAR),
        [(put("period.end", "2026-05"), R.EXPIRED), (put("period", {"start": 2026}), R.EXPIRED)],
    ),
    "bound to this recipient": (
        r5(grantee=[reference("Organization/uni")]),
        [(put("grantee.0.reference", "Organization/b"), R.OTHER_USE)],
    ),
    "deny but for research": (
        r5("deny", {"purpose": purpose("HRESCH")}),
        [
            (put("provision.0.purpose", purpose("TREAT")), R.REFUSED),
            (put("provision.0.expression", {"language": "text/cql", "expression": "true"}), R.REFUSED),
            (put("provision.0.resourceType", [coding("http://hl7.org/fhir/fhir-types", "Observation")]), R.REFUSED),
            (put("provision.0.documentType", [coding("http://x.example/d", "x")]), R.REFUSED),
            (put("decision", "permit"), R.REFUSED),
            (put("provision", []), R.MALFORMED),
        ],
    ),
    "several roots, one of which permits": (
        r5("deny", {"purpose": purpose("TREAT")}, {"purpose": purpose("HRESCH"), "actor": [UNI]}),
        [(put("provision.1.actor", [actor("Organization/b")]), R.REFUSED)],
    ),
    "several roots, none of which denies this": (
        r5("permit", {"purpose": purpose("TREAT")}, {"actor": [actor("Organization/insurer")]}),
        [
            (put("provision.0.purpose", purpose("HRESCH")), R.REFUSED),
            (put("provision.1.actor", [UNI]), R.REFUSED),
            (put("provision.1.actor", []), R.MALFORMED),
            (put("provision.1", {}), R.MALFORMED),
            (put("provision.1", {"data": [{"meaning": "related", "reference": reference("Task/1")}]}), R.NOT_JUDGED),
        ],
    ),
    "a deny, and an exception to it": (
        r5("permit", {"purpose": purpose("HRESCH"), "provision": [{"actor": [UNI]}]}),
        [
            (put("provision.0.provision.0.actor", [actor("Organization/b")]), R.REFUSED),
            (put("provision.0.provision.0.provision", [{"action": action("use")}]), R.REFUSED),
            (put("provision.0.provision.0.code", [concept("http://loinc.org", "1")]), R.REFUSED),
        ],
    ),
    "whoever receives": (
        r5("deny", {"actor": [{"role": concept("v3-ParticipationType", "PRCP")}]}),
        [
            (put("provision.0.actor.0.role", concept("v3-ParticipationType", "AUT")), R.REFUSED),
            (put("provision.0", {"actor": []}), R.MALFORMED),
            (put("provision.0", {"id": "x"}), R.MALFORMED),
        ],
    ),
    "an actor by reference alone": (
        r5("deny", {"actor": [{"reference": reference("Organization/uni")}]}),
        [(put("provision.0.actor.0", {"reference": reference("Organization/b")}), R.REFUSED)],
    ),
    "a subject by urn": (
        r5(subject=reference("urn:uuid:7"), grantor=[reference("urn:uuid:7")]),
        [
            (put("subject", reference("#p1")), R.NO_RECORD),
            (put("grantor", [reference("urn:uuid:8")]), R.SIGNER),
        ],
    ),
}  # fmt: skip

CASES = {f"R4 {name}": case for name, case in R4.items()} | {f"R5 {name}": case for name, case in R5.items()}
MISSES = [(f"{name} {i}", case[0], edit, why) for name, case in CASES.items() for i, (edit, why) in enumerate(case[1])]


def test_there_are_enough() -> None:
    assert len(CASES) >= 20
    assert len(MISSES) >= 100


@pytest.mark.parametrize("name", CASES)
def test_must_grant(name: str) -> None:
    answer = judged(CASES[name][0])
    assert answer.granted, answer


@pytest.mark.parametrize(("raw", "edit", "why"), [m[1:] for m in MISSES], ids=[m[0] for m in MISSES])
def test_a_near_miss_does_not(raw: Raw, edit: Edit, why: Reason) -> None:
    from privsynth.policy.consent.fhir.record import read_record

    other = edited(raw, edit)
    if why is R.NO_RECORD:
        assert read_record(other).subject == ""
        return
    answer = judged(other)
    assert answer.answer is not Answer.GRANT, answer
    assert why in answer.reasons, answer


# --- several records of one subject --------------------------------------------------------------

TREATMENT = r4(scope=concept("consentscope", "patient-privacy"), dateTime="2026-02-01")
OLD = "2025-03-01T10:00:00Z"


@pytest.mark.parametrize(
    ("records", "why"),
    [
        ([r4(), r5()], None),
        ([r4(), r4("OPTOUT")], R.CONFLICT),
        ([r5(), r5("deny", {"purpose": purpose("TREAT")})], R.CONFLICT),
        ([r4(), r4(provision=permit(actor=[actor("Organization/b")]))], R.NOT_ALL),
        ([r4(), r4(provision={"actor": [actor("Practitioner/f204")]})], R.NOT_JUDGED),
        # about something else: a permission grants nothing and takes nothing away, a refusal stands
        ([TREATMENT], R.OTHER_SCOPE),
        ([r4(), TREATMENT], None),
        ([r4(), {**TREATMENT, "policyRule": concept("v3-ActCode", "OPTOUT")}], R.CONFLICT),
        ([r4(), {**TREATMENT, "status": "inactive"}], None),
        # withdrawn, and renewed
        ([r4(), r4(status="inactive", dateTime="2026-03-01")], R.WITHDRAWN),
        ([r4(), r4(status="inactive", dateTime="2026-01-10T08:00:00Z")], R.WITHDRAWN),
        ([r4(), r4(status="inactive", dateTime=OLD)], R.WITHDRAWN),  # when it was given is not when it ended
        ([r4(), r4(status="inactive", dateTime=OLD, meta={"lastUpdated": OLD})], None),
        ([r4(), r4(status="inactive", dateTime=OLD, meta={"lastUpdated": "2026-05-01T00:00:00Z"})], R.WITHDRAWN),
        ([r4(), edited(r4(status="inactive"), put("dateTime", None))], R.WITHDRAWN),
        ([r4(), r4(status="rejected", dateTime="2026-03-01")], R.WITHDRAWN),
        ([r4(), r4(status="entered-in-error", dateTime="2026-03-01")], None),
        ([r4(), r4(status="draft", dateTime="2026-03-01")], None),
        ([edited(r4(), put("dateTime", None)), r4(status="inactive", dateTime=OLD)], R.WITHDRAWN),
        # over
        ([r4(), r4("OPTOUT", provision={"period": {"end": "2025-01-01"}})], None),
        ([r4(), r4(provision=permit(period={"end": "2025-01-01"}))], None),
        # versions of one record
        ([r4(id="c", meta={"lastUpdated": "2026-02-01T00:00:00Z"}),
          r4("OPTOUT", id="c", meta={"lastUpdated": "2026-01-11T00:00:00Z"})], None),
        ([r4(id="c", meta={"lastUpdated": "2026-02-01T00:00:00Z"}),
          r4(id="c", status="inactive", meta={"lastUpdated": "2026-03-01T00:00:00Z"})], R.WITHDRAWN),
        ([r4(id="c"), r4("OPTOUT", id="c", meta={"lastUpdated": "2026-01-11T00:00:00Z"})], R.CONFLICT),
        ([r4(id="c"), r4(id="c")], None),
        # one that cannot be read
        ([r4(), r4(unheardOf=1)], R.MALFORMED),
        ([r4(), {"resourceType": "Consent", "status": "active", "patient": {"reference": "Patient/p1"},
                 "except": [{"type": "deny"}]}], R.UNSUPPORTED_VERSION),
        ([r4(), {"resourceType": "Consent", "patient": {"reference": "Patient/p1"}}], R.UNKNOWN_VERSION),
    ],
)  # fmt: skip
def test_several_records(records: list[Raw], why: Reason | None) -> None:
    answer = judged(*records)
    assert answer.granted == (why is None), answer
    assert why is None or why in answer.reasons, answer
    assert judged(*reversed(records)).answer == answer.answer


def test_no_record_is_no_grant() -> None:
    assert judged().reasons == (R.NO_RECORD,)


# --- what is asked -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "grants"),
    [
        ({}, True),
        ({"purposes": ("BIORCH",)}, True),
        ({"purposes": ("HRESCH", "CLINTRCH")}, True),
        ({"actions": ("use",)}, True),
        ({"actions": ("use", "disclose")}, False),
        ({"recipients": frozenset()}, False),
        ({"recipients": frozenset({"Organization/b"})}, False),
        ({"recipients": frozenset({"Organization/b", "Organization/uni"})}, True),
        ({"versions": frozenset({"fhir-r5"})}, False),
        ({"signers": frozenset({"legal-representative"})}, False),
        ({"now": dt.datetime(2027, 2, 1, tzinfo=dt.UTC)}, False),
        ({"now": dt.datetime(2026, 1, 1, tzinfo=dt.UTC)}, False),
    ],
)
def test_the_question_counts(change: dict[str, object], grants: bool) -> None:
    raw = r4(provision=permit(purpose=purpose("HRESCH"), action=action("collect", "use"), actor=[UNI], period=YEAR))
    question: Question = replace(QUESTION, **change)  # type: ignore[arg-type]
    assert judged(raw, question=question).granted == grants


@pytest.mark.parametrize(
    ("written", "end", "last"),
    [
        # the zone of the record's own date and time
        ("2026-01-10T09:00:00+10:00", "2026-06-15", "2026-06-15T13:59:59Z"),
        ("2026-01-10T09:00:00-04:00", "2026-06-15", "2026-06-16T03:59:59Z"),
        ("2026-01-10T09:00:00Z", "2026-06", "2026-06-30T23:59:59Z"),
        ("2026-01-10T09:00:00Z", "2026", "2026-12-31T23:59:59Z"),
        # no zone anywhere: over as soon as the day is over anywhere
        ("2026-01-10", "2026-06-15", "2026-06-15T09:59:59Z"),
        # a moment is a moment
        ("2026-01-10", "2026-06-15T17:32:33+10:00", "2026-06-15T07:32:33Z"),
        ("2026-01-10", "2026-06-15T23:59:59-11:00", "2026-06-16T10:59:59Z"),
    ],
)
@pytest.mark.parametrize("version", ["R4", "R5"])
def test_an_expiry_at_midnight_across_zones(version: str, written: str, end: str, last: str) -> None:
    if version == "R4":
        raw = r4(provision=permit(period={"end": end}), dateTime=written)
    elif len(written) > 10:
        raw = r5(period={"end": f"{end}T23:59:59{written[19:]}"} if len(end) == 10 else {"end": last})
    else:
        raw = r5(period={"end": end})
    moment = dt.datetime.fromisoformat(last)
    assert judged(raw, question=replace(QUESTION, now=moment)).granted
    assert not judged(raw, question=replace(QUESTION, now=moment + dt.timedelta(seconds=1))).granted


def test_a_day_has_begun_when_it_has_begun_everywhere() -> None:
    raw = r5(period={"start": "2026-06-15"})
    for moment, grants in (("2026-06-15T11:59:59Z", False), ("2026-06-15T12:00:00Z", True)):
        assert judged(raw, question=replace(QUESTION, now=dt.datetime.fromisoformat(moment))).granted == grants


def test_a_deny_is_read_at_its_widest() -> None:
    raw = r5("permit", {"period": {"start": "2026-06-15", "end": "2026-06-15"}})
    for moment, grants in (
        ("2026-06-14T09:59:59Z", True),
        ("2026-06-14T10:00:00Z", False),
        ("2026-06-16T11:59:59Z", False),
        ("2026-06-16T12:00:00Z", True),
    ):
        assert judged(raw, question=replace(QUESTION, now=dt.datetime.fromisoformat(moment))).granted == grants


def test_deep_and_wide_trees_are_not_read() -> None:
    deep: Raw = {"purpose": purpose("TREAT")}
    for _ in range(9):
        deep = {"purpose": purpose("TREAT"), "provision": [deep]}
    assert R.TOO_LARGE in judged(r5("permit", deep)).reasons
    assert R.TOO_LARGE in judged(r5("permit", *[{"purpose": purpose("TREAT")}] * 501)).reasons
    assert judged(r5("permit", *[{"purpose": purpose("TREAT")}] * 500)).granted


def test_now_is_the_middle_of_june() -> None:
    """The tables above are written for this moment."""
    assert NOW.isoformat() == "2026-06-15T12:00:00+00:00"


@pytest.mark.parametrize(
    ("records", "answer"),
    [
        ([r4(status="inactive", dateTime="2026-03-01"), r5(status="strange")], Answer.DENY),
        ([edited(r4(status="inactive"), put("provision", 7))], Answer.DENY),
        ([r4(status="inactive", implicitRules="x"), r4()], Answer.DENY),
        ([r5(status="strange")], Answer.UNKNOWN),
    ],
)
def test_a_withdrawal_is_heard_though_a_record_cannot_be_read(records: list[Raw], answer: Answer) -> None:
    for order in (records, records[::-1]):
        assert judged(*order).answer is answer, judged(*order)
