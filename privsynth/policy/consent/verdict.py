"""What a form of evidence says of one subject: grant, deny or unknown, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Answer(StrEnum):
    """What a subject says to a use. Only ``GRANT`` lets her rows into a fit."""

    GRANT = "grant"
    DENY = "deny"
    UNKNOWN = "unknown"


class Reason(StrEnum):
    """Why. docs/consent.md explains each."""

    GRANTED = "granted"
    NOT_ASKED = "not-asked"
    NO_RECORD = "no-record"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    NOT_YET = "not-yet-in-force"
    NOT_ALL = "not-all-records-grant"
    CONFLICT = "records-in-conflict"
    UNREADABLE = "unreadable"
    OTHER_USE = "says-nothing-of-this-use"
    OTHER_SCOPE = "not-about-research"
    MINOR = "minor-or-age-not-known"
    # FHIR
    UNSUPPORTED_VERSION = "unsupported-version"
    UNKNOWN_VERSION = "version-not-known"
    MIXED_VERSIONS = "mixed-versions"
    VERSION_NOT_LISTED = "version-not-listed"
    MALFORMED = "malformed"
    SUBJECT_UNSURE = "subject-not-sure"
    STATUS = "status-not-in-force"
    SCOPE_UNKNOWN = "scope-not-known"
    BASE_UNKNOWN = "base-rule-unknown"
    UNTYPED_ROOT = "root-provision-without-type"
    UNTYPED_PROVISION = "provision-without-type"
    TYPED_ROOT = "root-provision-with-type"
    NOT_JUDGED = "dimension-not-judged"
    MODIFIED = "modifier-not-understood"
    TOO_LARGE = "too-large"
    SIGNER = "signer-not-accepted"
    DATES = "dates-in-conflict"


@dataclass(frozen=True)
class Judgement:
    """One subject's answer, with every reason that was found, the deciding ones first."""

    answer: Answer
    reasons: tuple[Reason, ...]

    @property
    def granted(self) -> bool:
        """Whether her rows may be used."""
        return self.answer is Answer.GRANT


Judgements = Mapping[str, Judgement]

GRANTED = Judgement(Answer.GRANT, (Reason.GRANTED,))
NO_RECORD = Judgement(Answer.UNKNOWN, (Reason.NO_RECORD,))


def counts(judged: Iterable[Judgement]) -> Mapping[str, Mapping[str, int]]:
    """Subjects by answer, and by the first reason of each. Figures about real people: they stay inside."""
    listed = list(judged)
    answers = Counter(str(one.answer) for one in listed)
    reasons = Counter(str(one.reasons[0]) for one in listed)
    return {"answers": dict(sorted(answers.items())), "reasons": dict(sorted(reasons.items()))}
