"""Made-up FHIR consents: R4 and R5 records about patient p1, to be edited one place at a time."""

from __future__ import annotations

import copy
import datetime as dt
from collections.abc import Callable
from typing import Any

from privsynth.policy.consent.fhir.record import read_record
from privsynth.policy.consent.fhir.rules import Question, judge_subject
from privsynth.policy.consent.verdict import Judgement

Raw = dict[str, Any]
Edit = Callable[[Raw], None]
NOW = dt.datetime(2026, 6, 15, 12, 0, tzinfo=dt.UTC)
HL7 = "http://terminology.hl7.org/CodeSystem/"
QUESTION = Question(
    purposes=("HRESCH",),
    actions=("collect", "use"),
    recipients=frozenset({"Organization/uni"}),
    now=NOW,
    versions=frozenset({"fhir-r4", "fhir-r5"}),
    signers=frozenset({"patient", "legal-representative"}),
)


def coding(system: str, code: str) -> Raw:
    """A Coding of one of HL7's systems, or of another."""
    return {"system": system if "/" in system else HL7 + system, "code": code}


def concept(system: str, *codes: str) -> Raw:
    """A CodeableConcept."""
    return {"coding": [coding(system, code) for code in codes]}


def reference(text: str) -> Raw:
    return {"reference": text}


def actor(who: str, role: str = "PRCP") -> Raw:
    return {"role": concept("v3-ParticipationType", role), "reference": reference(who)}


def purpose(*codes: str) -> list[Raw]:
    return [coding("v3-ActReason", code) for code in codes]


def action(*codes: str) -> list[Raw]:
    return [concept("consentaction", code) for code in codes]


def r4(base: str = "OPTIN", provision: Raw | None = None, **more: Any) -> Raw:
    """An R4 research consent of p1, given by herself."""
    out: Raw = {
        "resourceType": "Consent",
        "status": "active",
        "scope": concept("consentscope", "research"),
        "category": [concept("http://loinc.org", "59284-0")],
        "patient": reference("Patient/p1"),
        "dateTime": "2026-01-10T09:00:00+01:00",
        "performer": [reference("Patient/p1")],
        "sourceAttachment": {"title": "signed form"},
        "policyRule": concept("v3-ActCode", base),
    }
    if provision is not None:
        out["provision"] = provision
    return {**out, **more}


def r5(decision: str = "permit", *provisions: Raw, **more: Any) -> Raw:
    """An R5 research consent of p1, given by herself."""
    out: Raw = {
        "resourceType": "Consent",
        "status": "active",
        "category": [concept("consentcategorycodes", "research")],
        "subject": reference("Patient/p1"),
        "date": "2026-01-10",
        "grantor": [reference("Patient/p1")],
        "decision": decision,
    }
    if provisions:
        out["provision"] = list(provisions)
    return {**out, **more}


def permit(**more: Any) -> Raw:
    """An R4 nested provision that permits."""
    return {"type": "permit", **more}


def deny(**more: Any) -> Raw:
    """An R4 nested provision that denies."""
    return {"type": "deny", **more}


def put(path: str, value: Any) -> Edit:
    """An edit: ``put("provision.provision.0.type", "deny")``; a value of ``None`` removes."""

    def edit(raw: Raw) -> None:
        *way, last = path.split(".")
        at: Any = raw
        for part in way:
            at = at[int(part)] if isinstance(at, list) else at[part]
        key: Any = int(last) if isinstance(at, list) else last
        if value is None:
            del at[key]
        else:
            at[key] = value

    return edit


def edited(raw: Raw, *edits: Edit) -> Raw:
    out = copy.deepcopy(raw)
    for edit in edits:
        edit(out)
    return out


def judged(*raw: Raw, question: Question = QUESTION) -> Judgement:
    """The answer of p1 from these records."""
    return judge_subject([read_record(one) for one in raw], question)
