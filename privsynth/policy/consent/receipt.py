"""What was decided about one subject, in the shape of an ISO/IEC TS 27560 receipt: a record for inside only.

It says which evidence was read, what it came to and why, for which use, under which policy. It is proof that somebody
asked, not evidence of consent: as a record for ``by: iso-27560`` it is not read.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from privsynth.documents import identity
from privsynth.policy.consent.reader import Ask
from privsynth.policy.consent.verdict import Answer, Judgement, Reason

if TYPE_CHECKING:
    from privsynth.policy.document import Policy

_STATES = {
    Reason.WITHDRAWN: "withdrawn",
    Reason.REFUSED: "refused",
    Reason.EXPIRED: "expired",
}


def decision_receipt(
    subject: str,
    judged: Judgement,
    *,
    policy: Policy,
    source: str,
    ask: Ask,
    exported: datetime | None = None,
) -> dict[str, Any]:
    """The receipt as JSON values.

    Args:
        subject: the person's id as the table has it. It stands in the receipt as it is.
        judged: what the evidence says of her.
        source: the data's source, as registered in the policy.
        ask: what was asked, and the moment.
        exported: when the evidence was exported; None where that is not known.

    The ``record_id`` is the hash of everything else, so the same decision has the same id.
    """
    state = "given" if judged.answer is Answer.GRANT else _STATES.get(judged.reasons[0], "not-known")
    registered = policy.sources.get(source)
    body = {
        "schema_version": "27560:2023",
        "record_type": "decision",
        "subject": subject,
        "controller": policy.file.owner,
        "notice": {"policy": policy.id, "version": policy.version, "sha256": policy.sha256},
        "purposes": [ask.purpose],
        "legal_basis": list(policy.purposes[ask.purpose].legal_basis),
        "recipients": [ask.recipient],
        "data_categories": [source],
        "population": "" if registered is None else registered.population,
        "storage_period": {"until": policy.valid.until.isoformat()},
        "evidence": {"kind": policy.consent.kind, "exported": None if exported is None else _moment(exported)},
        "decision": {"answer": str(judged.answer), "reasons": [str(reason) for reason in judged.reasons]},
        "events": [{"state": state, "time": _moment(ask.now)}],
    }
    return {"record_id": identity(body), **body}


def _moment(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
