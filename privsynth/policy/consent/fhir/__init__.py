"""Consent by HL7 FHIR Consent resources, R4, R4B and R5.

``files`` takes an export apart, ``record`` reads one resource whatever it holds, ``rules`` judges it by our own rules
of precedence (the specification leaves them open). A record belongs to the patient whom it is about, whoever gave it.
A refusal reaches every id that a Patient resource links with hers; a grant only the id that it names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from privsynth.policy.consent.fhir.files import Evidence, read_consents
from privsynth.policy.consent.fhir.model import Record
from privsynth.policy.consent.fhir.record import read_record
from privsynth.policy.consent.fhir.rules import Question, Says, judge_record, judge_subject
from privsynth.policy.consent.reader import Ask, Reading
from privsynth.policy.consent.subjects import subject_ids
from privsynth.policy.consent.verdict import Reason

if TYPE_CHECKING:
    from privsynth.data.records import Records
    from privsynth.policy.document import Policy


def by_fhir(records: Records, policy: Policy, ask: Ask) -> Reading:
    """Each subject's answer by the records about her, and when they were exported.

    Raises:
        ConsentError: a structural fault of the files, or a schema without a subject column.
        MissingExtra: fhir.resources is not installed.
    """
    subjects = subject_ids(records, policy)
    held, evidence = gather(ask.path)
    question = question_of(policy, ask)
    judged = {s: judge_subject(_of(s.strip(), held, evidence, question), question) for s in subjects}
    return Reading(judged, evidence.exported)


def named(policy: Policy, ask: Ask) -> Reading:
    """The same of everybody whom the records name."""
    held, evidence = gather(ask.path)
    question = question_of(policy, ask)
    everyone = dict.fromkeys((*held, *evidence.linked))
    judged = {subject: judge_subject(_of(subject, held, evidence, question), question) for subject in everyone}
    return Reading(judged, evidence.exported)


def gather(path: Path) -> tuple[Mapping[str, list[Record]], Evidence]:
    """The records about each patient id, and what else the export says."""
    evidence = Evidence()
    held: dict[str, list[Record]] = {}
    for found in read_consents(path, evidence):
        faults = frozenset({Reason.MALFORMED}) if found.doubled else frozenset()
        record = read_record(found.raw, faults=faults)
        if record.subject:
            held.setdefault(record.subject, []).append(record)
    return held, evidence


def question_of(policy: Policy, ask: Ask) -> Question:
    """What the policy asks of records for this use."""
    rule = policy.consent
    required = rule.requires
    own = policy.purposes[ask.purpose].fhir or ()
    return Question(
        purposes=tuple(dict.fromkeys((*(required.purpose if required else ()), *own))),
        actions=required.action if required else (),
        recipients=frozenset(policy.recipients[ask.recipient].fhir or ()),
        now=ask.now,
        versions=frozenset(rule.records or ()),
        signers=frozenset(rule.verified_by or ()),
    )


def _of(subject: str, held: Mapping[str, list[Record]], evidence: Evidence, question: Question) -> list[Record]:
    """Her records, and of her other ids those that are no grant."""
    own = list(held.get(subject, ()))
    for other in _others(subject, evidence.linked):
        own += [replace(record, id="") for record in held.get(other, ()) if not _grants(record, question)]
    return own


def _grants(record: Record, question: Question) -> bool:
    found = judge_record(record, question)
    return found.stands == "counts" and found.says in (Says.GRANT, Says.NOTHING)


def _others(subject: str, linked: Mapping[str, Iterable[str]]) -> set[str]:
    """Every other id of one person, by links of links."""
    seen, pending = {subject}, [subject]
    while pending:
        for other in linked.get(pending.pop(), ()):
            if other not in seen:
                seen.add(other)
                pending.append(other)
    return seen - {subject}


__all__ = ["by_fhir", "gather", "named", "question_of"]
