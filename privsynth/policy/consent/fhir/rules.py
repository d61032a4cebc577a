"""Our rules of precedence for FHIR consents, for the specification leaves them open (docs/consent.md states them).

1. A record counts while it is active, dated in the past and inside its periods.
2. It starts from its base rule; without a known one it grants nothing.
3. A provision matches if all of its dimensions do; within one dimension any of its alternatives.
4. What is deeper wins over what it is an exception to; of several at one depth a refusal wins.
5. What we cannot judge may be a refusal and is never a permission.
6. Every record about research that counts must grant.
7. A record about something else grants no research; where it plainly refuses, it refuses.
8. A permission covers a purpose if its code is that purpose or lies above it; a refusal also if it lies below.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import product
from typing import Literal

from privsynth.policy.consent.fhir import codes
from privsynth.policy.consent.fhir.model import Actor, Code, Effect, Provision, Record, Version
from privsynth.policy.consent.fhir.times import Match, When
from privsynth.policy.consent.verdict import GRANTED, NO_RECORD, Answer, Judgement, Reason


@dataclass(frozen=True)
class Question:
    """What is asked of a record: every purpose with every action, for a recipient, at a moment.

    Attributes:
        purposes: codes of v3-ActReason under HRESCH; actions: codes of consentaction. All must be allowed.
        recipients: references by which records name the recipient.
        now: with a time zone.
        versions: of FHIR that the policy lists.
        signers: who may have given a record: ``patient``, ``legal-representative``.
    """

    purposes: tuple[str, ...]
    actions: tuple[str, ...]
    recipients: frozenset[str]
    now: dt.datetime
    versions: frozenset[str]
    signers: frozenset[str]


class Says(IntEnum):
    """What one record says, in the order in which one overrides another."""

    GRANT = 0
    NOTHING = 1
    UNSURE = 2
    DENY = 3


Stands = Literal["counts", "over", "ended"]


@dataclass(frozen=True)
class Finding:
    """What one record says to the question, whether it counts, and why."""

    says: Says
    stands: Stands
    about_research: bool
    reasons: tuple[Reason, ...]
    given: When | None = None
    ended: When | None = None


def judge_subject(records: Sequence[Record], question: Question) -> Judgement:
    """The answer of one subject from all records about her."""
    if not records:
        return NO_RECORD
    found = [judge_record(record, question) for record in latest(records)]
    counting = [one for one in found if one.stands == "counts"]
    grants = [one for one in counting if one.says is Says.GRANT]
    denials = [one for one in counting if one.says is Says.DENY]
    if denials:
        return _answer(Answer.DENY, [*([Reason.CONFLICT] if grants else []), *_reasons(denials), *_reasons(found)])
    if withdrawn := [one for one in found if one.stands == "ended" and not _renewed(one, grants)]:
        return _answer(Answer.DENY, [Reason.WITHDRAWN, *_reasons(withdrawn), *_reasons(found)])
    if unsure := [one for one in counting if one.says is Says.UNSURE]:
        told = Answer.DENY if any(Reason.WITHDRAWN in one.reasons for one in unsure) else Answer.UNKNOWN
        return _answer(told, [*_reasons(unsure), *_reasons(found)])
    if not grants:
        return _answer(Answer.UNKNOWN, _reasons(found))
    if silent := [one for one in counting if one.says is Says.NOTHING and one.about_research]:
        return _answer(Answer.UNKNOWN, [Reason.NOT_ALL, *_reasons(silent)])
    return GRANTED


def _reasons(found: Iterable[Finding]) -> list[Reason]:
    return [reason for one in found for reason in one.reasons]


def _answer(answer: Answer, reasons: Sequence[Reason]) -> Judgement:
    kept = [reason for reason in reasons if reason is not Reason.GRANTED]
    return Judgement(answer, tuple(dict.fromkeys(kept)))


def _renewed(ended: Finding, grants: Sequence[Finding]) -> bool:
    """Whether some grant was given after the other record ended, for sure."""
    return ended.ended is not None and any(
        one.given is not None and one.given.begins.early >= ended.ended.ends.late for one in grants
    )


def latest(records: Sequence[Record]) -> list[Record]:
    """Of several versions of one resource the last, where that is told for sure; else all of them."""
    groups: dict[str, list[Record]] = {}
    out = []
    for record in records:
        if record.id:
            groups.setdefault(record.id, []).append(record)
        else:
            out.append(record)
    for group in groups.values():
        distinct = list(dict.fromkeys(group))
        newest = [one for one in distinct if all(one is other or _after(one, other) for other in distinct)]
        out += newest or distinct
    return out


def _after(one: Record, other: Record) -> bool:
    if one.updated is None or other.updated is None:
        return False
    return one.updated.begins.early >= other.updated.ends.late


# --- one record ----------------------------------------------------------------------------------


def judge_record(record: Record, question: Question) -> Finding:
    """What one record says by itself."""
    research = record.scope == "research"
    given = record.dated

    def finding(says: Says, *reasons: Reason, stands: Stands = "counts", ended: When | None = None) -> Finding:
        told = not research and record.version in (Version.R4, Version.R5)
        scope = (_SCOPE[record.scope],) if told else ()
        about = [*reasons, *sorted(record.faults), *scope, *sorted(record.notes)]
        return Finding(says, stands, research, tuple(dict.fromkeys(about)), given, ended)

    if record.standing == "void":
        return finding(Says.NOTHING, Reason.STATUS, stands="over")
    readable = not record.faults - _SHAPELESS
    ended = record.standing == "ended" and record.scope != "other"
    over = (Reason.WITHDRAWN,) if ended else ()  # told even where no more can be read
    if record.version not in (Version.R4, Version.R5) or not readable:
        return finding(Says.UNSURE, *over)
    if record.version not in question.versions:
        return finding(Says.UNSURE, *over, Reason.VERSION_NOT_LISTED)
    if record.standing == "unknown":
        return finding(Says.UNSURE, Reason.STATUS)
    if record.standing == "ended":
        if not ended:
            return finding(Says.NOTHING, Reason.STATUS, stands="over")
        return finding(Says.NOTHING, Reason.STATUS, stands="ended", ended=_end(record))
    inside = _in_force(record, question.now)
    if inside is not None:
        return finding(Says.NOTHING if inside[1] is Match.NO else Says.UNSURE, inside[0],
                       stands="over" if inside[1] is Match.NO else "counts")  # fmt: skip
    says, reasons = _says(record, question)
    if record.faults & _SHAPELESS and says is Says.GRANT:
        says = Says.UNSURE
    if not research:
        if says is not Says.DENY:
            says = Says.UNSURE if record.scope == "unknown" else Says.NOTHING
        return finding(says, *reasons)
    if says is Says.GRANT and not _signed(record, question):
        return finding(Says.UNSURE, Reason.SIGNER)
    return finding(says, *reasons)


_SCOPE = {"other": Reason.OTHER_SCOPE, "unknown": Reason.SCOPE_UNKNOWN}
_SHAPELESS = frozenset({Reason.UNTYPED_PROVISION})
"""Faults under which a record can still be read as a refusal."""


def _end(record: Record) -> When | None:
    """When an ended record ended at the latest that it tells; None where it does not tell. When it was given
    (``dateTime``) is not when it ended."""
    if record.updated is None or not record.dated_readable:
        return None
    known = [when for when in (record.dated, record.updated) if when is not None]
    return max(known, key=lambda when: when.ends.late)


def _in_force(record: Record, now: dt.datetime) -> tuple[Reason, Match] | None:
    """Why the record does not count now, for sure or maybe; None if it counts."""
    if not record.dated_readable:
        return Reason.DATES, Match.UNSURE
    if record.dated is not None and now < record.dated.begins.late:
        return Reason.NOT_YET, Match.NO if now < record.dated.begins.early else Match.UNSURE
    periods = [record.period, record.root.period if record.root is not None else None]
    for period in filter(None, periods):
        holds = period.holds(now)
        if holds is not Match.YES:
            reason = Reason.EXPIRED if holds is Match.UNSURE or period.over(now) else Reason.NOT_YET
            return reason, holds
    return None


def _signed(record: Record, question: Question) -> bool:
    """Whether everybody who gave it may give it. A related person counts as legal representative only where somebody
    verified the record with that person; who signed elsewhere, as in a Provenance, is a claim."""
    givers = record.signers or record.checked
    return bool(givers) and all(_signer(giver, record) in question.signers for giver in givers)


def _signer(giver: str, record: Record) -> str:
    if giver == f"Patient/{record.subject}" or (giver == record.subject and giver.startswith("urn:")):
        return "patient"
    if giver.startswith("RelatedPerson/") and giver in record.checked:
        return "legal-representative"
    return ""


def _says(record: Record, question: Question) -> tuple[Says, tuple[Reason, ...]]:
    """The worst of what it says to each purpose with each action."""
    answers = [_answer_to(record, one, question) for one in product(question.purposes, question.actions)]
    worst = max(says for says, _ in answers)
    reasons = [reason for says, each in answers if says is worst for reason in each]
    return worst, tuple(dict.fromkeys(reasons))


Asked = tuple[str, str]
Outcome = tuple[Says, tuple[Reason, ...]]


def _answer_to(record: Record, asked: Asked, question: Question) -> Outcome:
    if record.version is Version.R4:
        return _r4(record, asked, question)
    if record.base is None:
        return Says.UNSURE, (Reason.BASE_UNKNOWN,)
    bound = _any([_actor(actor, question) for actor in record.grantees]) if record.grantees else Match.YES
    if bound is not Match.YES:
        return (Says.NOTHING, (Reason.OTHER_USE,)) if bound is Match.NO else (Says.UNSURE, (Reason.NOT_JUDGED,))
    return _walk(record.provisions, record.base, Match.YES, asked, question)


def _r4(record: Record, asked: Asked, question: Question) -> Outcome:
    """R4: the root provision narrows the base rule, and where it does not match the record says nothing. One that
    narrows a permission without saying ``permit`` may be an exception that lost its ``deny`` on the way from STU3: it
    permits nothing by itself. The standard has no type there; a ``deny`` is honoured all the same."""
    root, base = record.root, record.base
    if root is None:
        return _plain(base, Match.YES) if base is not None else (Says.UNSURE, (Reason.BASE_UNKNOWN,))
    effect = "deny" if root.effect == "deny" else base
    if effect is None:
        return Says.UNSURE, (Reason.BASE_UNKNOWN,)
    if root.effect == "permit" and effect == "deny":
        return Says.UNSURE, (Reason.CONFLICT,)
    here = matches(root, asked, question, refusing=effect == "deny")
    if here is Match.NO:
        return Says.NOTHING, (Reason.OTHER_USE,)
    says, reasons = _walk(root.inner, effect, here, asked, question)
    if says is Says.GRANT and base is None:
        return Says.UNSURE, (Reason.BASE_UNKNOWN,)
    lost = effect == "permit" and root.effect is None and root.narrows
    if says is Says.GRANT and lost and not _permitted(root, here, asked, question):
        return Says.UNSURE, (Reason.UNTYPED_ROOT,)
    return says, reasons


def _permitted(root: Provision, here: Match, asked: Asked, question: Question) -> bool:
    """Whether some provision under the root permits it in so many words."""
    own = [each for each in root.inner if each.effect == "permit"]
    return any(min(here, matches(each, asked, question, refusing=False)) is Match.YES for each in own)


def _plain(effect: Effect | None, match: Match) -> Outcome:
    """What a rule says by itself, where it matches for sure or maybe."""
    if effect == "deny":
        return (Says.DENY, (Reason.REFUSED,)) if match is Match.YES else (Says.UNSURE, (Reason.NOT_JUDGED,))
    if effect == "permit":
        return (Says.GRANT, (Reason.GRANTED,)) if match is Match.YES else (Says.UNSURE, (Reason.NOT_JUDGED,))
    return Says.UNSURE, (Reason.UNTYPED_PROVISION,)


def _walk(inner: Sequence[Provision], effect: Effect | None, match: Match, asked: Asked, question: Question) -> Outcome:
    """What a rule that matches to ``match`` says, with its exceptions: the worst of those that match, else itself."""
    told = list(_told(inner, match, asked, question))
    if not told:
        return _plain(effect, match)
    worst = max(says for says, _ in told)
    return worst, tuple(dict.fromkeys(reason for says, why in told if says is worst for reason in why))


def _told(inner: Sequence[Provision], match: Match, asked: Asked, question: Question) -> Iterator[Outcome]:
    """What each exception says that matches. A permission that may not match is none, but what it excepts from itself
    may still be a refusal."""
    for each in inner:
        here = min(match, matches(each, asked, question, refusing=each.effect != "permit"))
        if here is Match.NO:
            continue
        if each.effect == "permit" and here is Match.UNSURE:
            yield from _told(each.inner, here, asked, question)
        else:
            yield _walk(each.inner, each.effect, here, asked, question)


# --- dimensions ----------------------------------------------------------------------------------


def matches(provision: Provision, asked: Asked, question: Question, *, refusing: bool) -> Match:
    """Whether a provision speaks of what is asked: all of its dimensions."""
    purpose, action = asked
    parts = [Match.YES if provision.judged else Match.UNSURE]
    if provision.period is not None:
        parts.append(provision.period.holds(question.now))
    if provision.purposes is not None:
        parts.append(_any([_purpose(code, purpose, refusing=refusing) for code in provision.purposes]))
    if provision.actions is not None:
        parts.append(_any([_action(concept, action) for concept in provision.actions]))
    if provision.actors is not None:
        parts.append(_any([_actor(actor, question) for actor in provision.actors]))
    return min(parts)


def _any(parts: Sequence[Match]) -> Match:
    return max(parts, default=Match.UNSURE)


def _purpose(code: Code, asked: str, *, refusing: bool) -> Match:
    if code.system != codes.ACT_REASON or code.code not in codes.KNOWN_PURPOSES:
        return Match.UNSURE
    below = refusing and codes.covers(asked, code.code)
    return Match.YES if codes.covers(code.code, asked) or below else Match.NO


def _action(concept: tuple[Code, ...], asked: str) -> Match:
    """One action in the codings of one or more systems: those that we know must agree."""
    known = {code.code for code in concept if code.system == codes.ACTIONS}
    if len(known) != 1 or not known <= codes.KNOWN_ACTIONS:
        return Match.UNSURE
    return Match.YES if asked in known else Match.NO


def _actor(actor: Actor, question: Question) -> Match:
    """By reference, in a role that receives or in none; never by a display. Of a person or a group it is not known
    whether they belong to the recipient; another organisation is another."""
    if not actor.readable:
        return Match.UNSURE
    if actor.roles:
        known = {code.code for code in actor.roles if code.system == codes.PARTICIPATION}
        if len(known) != 1 or not known <= codes.RECEIVING_ROLES:
            return Match.UNSURE
    elif not actor.reference:
        return Match.UNSURE
    if not actor.reference or actor.reference in question.recipients:
        return Match.YES
    other = actor.reference.startswith("Organization/") and question.recipients
    return Match.NO if other and any(one.startswith("Organization/") for one in question.recipients) else Match.UNSURE
