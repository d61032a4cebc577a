"""Records → Granted: only the rows of subjects whose agreement to this purpose and recipient is known, minors left out
where the source says so (``policy/minors``).

One file per form of evidence (``register``, ``columns``, ``fhir``, ``iso27560``), all behind ``ConsentReader``. Each
looks at one subject at a time, so adding or removing a subject moves nobody else, and whatever is not known is a no.
How many agreed, and why others did not, are figures about real people: they are neither printed nor put in an error,
but by ``privsynth consent check``, inside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from privsynth.errors import ConsentError, UsageError
from privsynth.policy.consent import fhir as fhir_format
from privsynth.policy.consent import iso27560
from privsynth.policy.consent import register as register_format
from privsynth.policy.consent.columns import by_columns
from privsynth.policy.consent.minors import minors_of
from privsynth.policy.consent.reader import Ask, ConsentReader, Reading
from privsynth.policy.consent.verdict import Answer, Judgement, Reason
from privsynth.policy.consent_rules import ConsentKind
from privsynth.policy.decide import Use, decide_evidence, decide_use
from privsynth.policy.document import Policy

if TYPE_CHECKING:
    from privsynth.data.records import Granted, Records

__all__ = ["filter_consent", "judge_consent", "judge_named", "keep_granted"]

_FILES: Mapping[str, tuple[ConsentKind, str]] = {
    "register": ("register", "a consent register was"),
    "fhir": ("fhir", "FHIR records were"),
    "receipts": ("iso-27560", "consent receipts were"),
}


def filter_consent(
    records: Records,
    policy: Policy,
    *,
    register: str | Path | None = None,
    fhir: str | Path | None = None,
    receipts: str | Path | None = None,
    exported: datetime | None = None,
    attest: Mapping[str, str] | None = None,
    purpose: str,
    recipient: str,
    now: datetime | None = None,
) -> Granted:
    """Keep the subjects whose consent allows ``purpose`` and ``recipient``, as the policy asks for it.

    Args:
        records: a table as read.
        policy: says by what consent is known.
        register: the consent register, a CSV file; exactly where the policy says ``by: register``.
        fhir: FHIR Consent resources, a file or folder; exactly where it says ``by: fhir``.
        receipts: ISO/IEC TS 27560 records, a file or folder; exactly where it says ``by: iso-27560``.
        exported: when these were exported, with a time zone; an earlier time that the files state themselves counts.
        attest: by DUO code of the source a line of the person who attests that its condition is met.
        purpose, recipient: as named in the policy.
        now: the moment that grants are judged at, with a time zone; the present where left out.

    Raises:
        RequestDenied: the policy does not allow this use (PS-CON-001: it asks for evidence that was not given;
            PS-CON-002: it is too old; PS-CON-003, 004: the source's DUO codes; PS-SRC-004: minors are left out by a
            column that the schema does not declare).
        ConsentError: evidence that the policy does not use, or a structural fault of it; a consent column that the
            data do not hold. Never the content of a line or record.
        MissingExtra: FHIR records, and fhir.resources is not installed.
    """
    reading = judge_consent(
        records,
        policy,
        files={"register": register, "fhir": fhir, "receipts": receipts},
        exported=exported,
        attest=attest or {},
        purpose=purpose,
        recipient=recipient,
        now=now,
    )
    return keep_granted(records, policy, reading, purpose=purpose, recipient=recipient)


def keep_granted(records: Records, policy: Policy, reading: Reading, *, purpose: str, recipient: str) -> Granted:
    """The rows of those who agreed, by what :func:`judge_consent` gave for this use."""
    import numpy as np

    from privsynth.data.records import Granted

    agreed = {subject for subject, judged in reading.judged.items() if judged.granted}
    kept = np.array([isinstance(s, str) and s in agreed for s in records.subjects], dtype=np.bool_)
    kind = policy.consent.kind
    return Granted(records.keep(kept), purpose=purpose, recipient=recipient, consent=kind, policy=policy.sha256)


def judge_consent(
    records: Records,
    policy: Policy,
    *,
    files: Mapping[str, str | Path | None],
    exported: datetime | None = None,
    attest: Mapping[str, str] | None = None,
    purpose: str,
    recipient: str,
    now: datetime | None = None,
) -> Reading:
    """The answer of every subject, with its reasons: inside only. Arguments and errors as of :func:`filter_consent`;
    ``files`` by the names of its arguments."""

    rule = policy.consent
    given = _given(policy, files)
    moment = datetime.now(UTC) if now is None else now
    for name, when in (("now", moment), ("exported", exported)):
        if when is not None and when.tzinfo is None:
            raise UsageError(f"`{name}` has no time zone", where="filter_consent", mend="pass datetime.now(UTC)")
    by_file = rule.by in {kind for kind, _ in _FILES.values()}
    use = Use(
        source=records.schema.source,
        purpose=purpose,
        recipient=recipient,
        consent="none" if by_file and given is None else rule.kind,
        today=moment.astimezone(UTC).date(),
        attested=tuple(code for code, line in (attest or {}).items() if line.strip()),
    )
    decide_use(policy, use).refuse()
    ask = Ask(purpose=purpose, recipient=recipient, now=moment, evidence=given)
    reading = _READERS[rule.by](records, policy, ask)
    told = [when for when in (exported, reading.exported) if when is not None]
    exported = min(told) if told else None
    age = None if exported is None else (moment - exported).total_seconds()
    decide_evidence(policy, replace(use, export_age=age)).refuse()
    young = minors_of(records, policy)
    judged = {s: _MINOR if s in young and one.granted else one for s, one in reading.judged.items()}
    return Reading(judged, exported)


_MINOR = Judgement(Answer.DENY, (Reason.MINOR,))


def judge_named(
    policy: Policy, *, files: Mapping[str, str | Path | None], purpose: str, recipient: str, now: datetime
) -> Reading:
    """The answer of everybody whom the evidence names, whatever the policy allows today: inside only.

    Raises:
        ConsentError: as of :func:`judge_consent`; no evidence was given, it stands in the data themselves, or the
            policy does not know the use.
    """
    reader, given = _NAMED.get(policy.consent.by), _given(policy, files)
    if reader is None or given is None:
        raise ConsentError(
            f"the policy says `by: {policy.consent.by}`, and no such evidence was given beside the data",
            where=policy.where("consent", "by"),
            mend="name the register, the FHIR records or the receipts",
        )
    if purpose not in policy.purposes or recipient not in policy.recipients:
        raise ConsentError(
            f"the policy does not know purpose {purpose!r} for recipient {recipient!r}",
            where=policy.where("purposes"),
            mend="give a version of the policy that does",
        )
    return reader(policy, Ask(purpose=purpose, recipient=recipient, now=now, evidence=given))


def _given(policy: Policy, files: Mapping[str, str | Path | None]) -> Path | None:
    """The one file of the policy's kind; a ConsentError where one of another kind was given."""
    given = {name: Path(path) for name, path in files.items() if path is not None}
    if strange := [name for name in given if _FILES[name][0] != policy.consent.by]:
        raise ConsentError(
            f"{_FILES[strange[0]][1]} given, but the policy does not use one",
            where=policy.where("consent", "by"),
            mend=f"leave `{strange[0]}` out, or have the policy's owner write `by: {_FILES[strange[0]][0]}`",
        )
    return next(iter(given.values()), None)


_NOBODY_ASKED = Judgement(Answer.GRANT, (Reason.NOT_ASKED,))


def _everyone(records: Records, policy: Policy, ask: Ask) -> Reading:
    """Every subject: the policy says why nobody is asked."""
    return Reading(dict.fromkeys((s for s in records.subjects if isinstance(s, str)), _NOBODY_ASKED))


_READERS: Mapping[str, ConsentReader] = {
    "register": register_format.by_register,
    "columns": by_columns,
    "fhir": fhir_format.by_fhir,
    "iso-27560": iso27560.by_receipts,
    "not-required": _everyone,
}
_NAMED: Mapping[str, Callable[[Policy, Ask], Reading]] = {
    "register": register_format.named,
    "fhir": fhir_format.named,
    "iso-27560": iso27560.named,
}
