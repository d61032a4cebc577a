"""What can be asked of a policy about evidence of consent: its age, one record, and what a withdrawal ends.

No data and no files: a record is described by what a policy can ask of it, and judged by the very rules that judge
real ones (``consent/fhir/rules.py``), one aspect at a time with all others as the policy wishes them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Literal

from privsynth.documents import join
from privsynth.policy.decide import decide_evidence
from privsynth.policy.document import Policy
from privsynth.policy.new_data import PLACE
from privsynth.policy.request import Decision, RuleVerdict, Use

if TYPE_CHECKING:
    from privsynth.policy.consent.fhir.model import Record
    from privsynth.policy.consent.fhir.rules import Question

Then = Literal["new-fit", "new-rows", "old-release"]


@dataclass(frozen=True, kw_only=True)
class EvidenceAsk:
    """Evidence that was exported so long ago (None: not known), with the DUO codes of the source that are attested."""

    source: str
    age: timedelta | None = None
    attested: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RecordAsk:
    """One FHIR record in force about research: what it allows, to whom (None: to anybody), and who gave it."""

    purpose: str
    recipient: str
    form: str
    allows: tuple[str, ...]
    action: tuple[str, ...]
    signed_by: str
    to: str | None = None


@dataclass(frozen=True, kw_only=True)
class ReceiptAsk:
    """One ISO/IEC TS 27560 receipt, given for this use: does the legal basis that it names make it count?"""

    source: str
    purpose: str
    recipient: str
    legal_basis: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SubjectAsk:
    """One row of a subject, with this value in the column that tells minors (None: missing): may she be used?

    ``met_in``: the population that met her first; empty: none did, or the source's own.
    """

    source: str
    value: bool | int | float | str | None = None
    met_in: str = ""


@dataclass(frozen=True, kw_only=True)
class WithdrawnAsk:
    """Somebody withdrew: may she be in a new fit, may models fitted with her give new rows, may old releases stand?"""

    then: Then


def on_evidence(ask: EvidenceAsk, policy: Policy) -> Decision:
    """What ``decide_evidence`` says."""
    return decide_evidence(
        policy,
        Use(
            source=ask.source,
            purpose="",
            recipient="",
            consent=policy.consent.kind,
            today=policy.valid.from_,
            export_age=None if ask.age is None else ask.age.total_seconds(),
            attested=ask.attested,
        ),
    )


def on_withdrawal(ask: WithdrawnAsk, policy: Policy) -> Decision:
    """Whether the policy's rung leaves that alone."""
    rung = policy.consent.rung
    stands = {
        "new-fit": False,
        "new-rows": rung == "stop-new-use",
        "old-release": rung != "retire-releases",
    }[ask.then]
    asked = policy.consent.by != "not-required"
    found = RuleVerdict(
        "PS-CON-105",
        stands or not asked,
        f"{ask.then} after somebody withdrew",
        policy.where("consent", "on withdrawal"),
        rung if asked else "nobody is asked, so nobody can withdraw",
        "leave it; what is to be retired or recalled is listed by `privsynth consent impact`",
    )
    return Decision((found,))


def on_record(ask: RecordAsk, policy: Policy) -> Decision:
    """Whether the record grants, aspect by aspect."""
    return Decision(tuple(_aspects(ask, policy)))


def on_subject(ask: SubjectAsk, policy: Policy) -> Decision:
    """Whether the source's rule on minors leaves her in, and whether she is another population's already."""
    source = policy.sources.get(ask.source)
    rule = None if source is None else source.minors
    limit = "nobody is left out" if rule is None else f"{rule.words}, known from column {rule.column!r}"
    found = RuleVerdict(
        "PS-SRC-005",
        source is not None and (rule is None or not rule.leaves_out(ask.value)),
        f"a subject of source {ask.source!r} with {'no value' if ask.value is None else repr(ask.value)}",
        policy.where("sources", ask.source, "minors"),
        limit if source is not None else "a source registered under `sources`",
        "the subject is left out; nothing is to be done",
    )
    own = "" if source is None else source.population
    return Decision((found, _on_met(policy, met_in=ask.met_in or own, own=own)))


def _on_met(policy: Policy, *, met_in: str, own: str) -> RuleVerdict:
    """Whether somebody whom the population ``met_in`` met first may be used as one of ``own`` (PS-SRC-007)."""
    apart = policy.disjoint
    return RuleVerdict(
        "PS-SRC-007",
        not apart or met_in == own,
        f"a subject whom population {met_in!r} met first, in data of {own!r}",
        policy.where(*PLACE),
        "nobody counts in two populations" if apart else "that populations hold different people is declared",
        "the subject is left out; nothing is to be done",
    )


def on_receipt(ask: ReceiptAsk, policy: Policy) -> Decision:
    """Whether the receipt grants, as the reader of receipts judges it."""
    asked = policy.consent.by != "not-required"
    found = RuleVerdict(
        "PS-CON-106",
        not asked or _receipt_grants(ask, policy),
        f"a receipt on the legal basis {join(ask.legal_basis) or 'of none'}",
        policy.where("purposes", ask.purpose, "legal basis"),
        "some of what the policy lists; of special categories enough to cover them" if asked else "nobody is asked",
        "the subject is left out; nothing is to be done",
    )
    return Decision((found,))


def _receipt_grants(ask: ReceiptAsk, policy: Policy) -> bool:
    from privsynth.policy.consent.iso27560 import judge, law_of, read_receipt
    from privsynth.policy.consent.reader import Ask

    known = ask.source in policy.sources and ask.purpose in policy.purposes and ask.recipient in policy.recipients
    if policy.consent.by != "iso-27560" or not known:
        return False
    given = datetime.combine(policy.valid.from_, time(), tzinfo=UTC)
    said = read_receipt(
        {
            "schema_version": "27560:2023",
            "record_id": "asked",
            "subject": "p",
            "purposes": [ask.purpose],
            "recipients": [ask.recipient],
            "legal_basis": list(ask.legal_basis),
            "events": [{"state": "given", "time": given.isoformat()}],
        }
    )
    use = Ask(purpose=ask.purpose, recipient=ask.recipient, now=given + timedelta(hours=12))
    return judge([said], use, law_of(policy, ask.purpose, source=ask.source)).granted


def usual_record(policy: Policy, *, purpose: str, recipient: str) -> RecordAsk | None:
    """A record that allows just what the policy asks for; None where it reads none."""
    question = _question(policy, purpose, recipient)
    if question is None or not (question.versions and question.signers and question.purposes and question.actions):
        return None
    return RecordAsk(
        purpose=purpose,
        recipient=recipient,
        form=min(question.versions),
        allows=question.purposes,
        action=question.actions,
        signed_by=min(question.signers, key=["patient", "legal-representative"].index),
        to=min(question.recipients, default=None),
    )


_ASPECTS: tuple[tuple[str, str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("PS-CON-101", "records", ("form",), ("consent", "records")),
    ("PS-CON-102", "verified by", ("signed_by",), ("consent", "verified by")),
    ("PS-CON-103", "requires", ("allows", "action"), ("consent", "requires")),
    ("PS-CON-104", "fhir", ("to",), ("recipients",)),
)


def _aspects(ask: RecordAsk, policy: Policy) -> Iterator[RuleVerdict]:
    usual = usual_record(policy, purpose=ask.purpose, recipient=ask.recipient)
    asked = policy.consent.by != "not-required"
    for rule, key, fields, place in _ASPECTS:
        told = {name: getattr(ask, name) for name in fields}
        where = (*place, ask.recipient, "fhir") if place == ("recipients",) else place
        yield RuleVerdict(
            rule,
            not asked or (usual is not None and _grants(replace(usual, **told), policy)),
            "a record " + join([f"{name.replace('_', ' ')}: {_text(value)}" for name, value in told.items()]),
            policy.where(*where),
            f"what `{key}` asks for" if asked else "nobody is asked",
            "the subject is left out; nothing is to be done",
        )


def _text(value: str | tuple[str, ...] | None) -> str:
    return "anybody" if value is None else value if isinstance(value, str) else join(value)


def _grants(ask: RecordAsk, policy: Policy) -> bool:
    from privsynth.policy.consent.fhir.rules import Says, judge_record

    question = _question(policy, ask.purpose, ask.recipient)
    return question is not None and judge_record(_record(ask), question).says is Says.GRANT


def _question(policy: Policy, purpose: str, recipient: str) -> Question | None:
    from privsynth.policy.consent.fhir import question_of
    from privsynth.policy.consent.reader import Ask

    if policy.consent.by != "fhir" or purpose not in policy.purposes or recipient not in policy.recipients:
        return None
    now = datetime.combine(policy.valid.from_, time(12), tzinfo=UTC)
    return question_of(policy, Ask(purpose=purpose, recipient=recipient, now=now))


def _record(ask: RecordAsk) -> Record:
    from privsynth.policy.consent.fhir import codes
    from privsynth.policy.consent.fhir.model import Actor, Code, Provision, Record, Version

    known = {str(version): version for version in Version}
    permit = Provision(
        effect="permit",
        purposes=tuple(Code(codes.ACT_REASON, code) for code in ask.allows),
        actions=tuple((Code(codes.ACTIONS, action),) for action in ask.action),
        actors=None if ask.to is None else (Actor(reference=ask.to),),
    )
    version = known.get(ask.form, Version.UNKNOWN)
    giver = "Patient/p" if ask.signed_by == "patient" else "RelatedPerson/r"
    common = Record(version, subject="p", scope="research", signers=(giver,), checked=(giver,))
    if version is Version.R4:
        return replace(common, base="permit", root=permit)
    return replace(common, base="deny", provisions=(permit,))
