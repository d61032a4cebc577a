"""Consent by ISO/IEC TS 27560 records: JSON objects with fixed keys, one a line (NDJSON).

Keys of a record, all of them required but the last three, and no others:

- ``schema_version`` ``"27560:2023"``, ``record_id``;
- ``subject``: the person's id as the table has it;
- ``purposes``, ``recipients``: lists of names of the policy (a recipient may be ``*``);
- ``legal_basis``: a list of texts; all of the policy's legal basis for the purpose must stand in it;
- ``events``: a list of ``{state, time}``, ``state`` one of requested, given, refused, withdrawn, expired, ``time``
  with its zone;
- ``data_categories``, ``storage_period`` (``{from, until}``, days or moments as in a register), ``jurisdiction``.

A subject is granted if some record of hers was given for this use and is within its storage period, and none of
hers about this use was refused, withdrawn or expired at the same time or later. A record of hers that cannot be read
denies her. These are our keys for what the standard lists as content; its JSON-LD forms are not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pydantic

from privsynth.documents import Strict, read_bytes
from privsynth.errors import ConsentError
from privsynth.policy.consent.fhir.files import MAX_FILE, MAX_RESOURCE, MAX_RESOURCES, parse_json
from privsynth.policy.consent.reader import Ask, Reading
from privsynth.policy.consent.register import ANY, span
from privsynth.policy.consent.subjects import subject_ids
from privsynth.policy.consent.verdict import GRANTED, NO_RECORD, Answer, Judgement, Reason

if TYPE_CHECKING:
    from privsynth.data.records import Records
    from privsynth.policy.document import Policy

VERSION = "27560:2023"
Texts = Annotated[tuple[str, ...], pydantic.Field(min_length=1)]
State = Literal["requested", "given", "refused", "withdrawn", "expired"]


class _Form(Strict):
    """The keys as they stand, underlines included."""

    model_config = pydantic.ConfigDict(alias_generator=None)


class Event(_Form):
    """What happened to a consent, and when."""

    state: State
    time: str


class Storage(_Form):
    """How long the consent holds."""

    from_: Annotated[str, pydantic.Field(alias="from")] = ""
    until: str = ""


class Receipt(_Form):
    """One record."""

    schema_version: Literal["27560:2023"]
    record_id: str
    subject: str
    purposes: Texts
    recipients: Texts
    legal_basis: Texts
    events: Annotated[tuple[Event, ...], pydantic.Field(min_length=1)]
    data_categories: tuple[str, ...] = ()
    storage_period: Storage = Storage()
    jurisdiction: str = ""


@dataclass(frozen=True, repr=False)
class Said:
    """What one record says of this use; ``readable`` false where it cannot be read."""

    receipt: Receipt | None
    events: tuple[tuple[State, datetime], ...] = ()
    first: datetime | None = None
    until: datetime | None = None


def by_receipts(records: Records, policy: Policy, ask: Ask) -> Reading:
    """What the records that ``ask`` names say of each subject.

    Raises:
        ConsentError: a structural fault of the file, or a schema without a subject column.
    """
    subjects = subject_ids(records, policy)
    held, basis = _held(ask.path), frozenset(policy.purposes[ask.purpose].legal_basis)
    return Reading({s: judge(held.get(s.strip(), []), ask, basis) for s in subjects})


def named(policy: Policy, ask: Ask) -> Reading:
    """The same of everybody whom the records name."""
    basis = frozenset(policy.purposes[ask.purpose].legal_basis)
    return Reading({subject: judge(said, ask, basis) for subject, said in _held(ask.path).items()})


def _held(path: Path) -> dict[str, list[Said]]:
    held: dict[str, list[Said]] = {}
    for raw, doubled in _read(path):
        subject = raw.get("subject")
        if isinstance(subject, str) and subject.strip():
            held.setdefault(subject.strip(), []).append(Said(None) if doubled else read_receipt(raw))
    return held


def read_receipt(raw: Mapping[str, Any]) -> Said:
    """One record, whatever it holds."""
    try:
        receipt = Receipt.model_validate(raw)
    except (pydantic.ValidationError, RecursionError):
        return Said(None)
    start, end = span(receipt.storage_period.from_), span(receipt.storage_period.until)
    times = [span(event.time, zoned=True) for event in receipt.events]
    if start is None or end is None or not all(times):
        return Said(None)
    events = tuple(
        (e.state, t[1 if e.state != "given" else 0]) for e, t in zip(receipt.events, times, strict=True) if t
    )
    return Said(receipt, events, start[0], end[1])


def judge(said: list[Said], ask: Ask, basis: frozenset[str]) -> Judgement:
    """One subject's answer from her records.

    Args:
        basis: the legal basis that the policy lists for the purpose.
    """
    if not said:
        return NO_RECORD
    if any(one.receipt is None for one in said):
        return Judgement(Answer.UNKNOWN, (Reason.UNREADABLE,))
    spoken = [one for one in said if one.receipt is not None and _about(one.receipt, ask)]
    if not spoken:
        return Judgement(Answer.UNKNOWN, (Reason.OTHER_USE,))
    against = [(time, state) for one in spoken for state, time in one.events if state in _AGAINST]
    given = [
        time
        for one in spoken
        for state, time in one.events
        if state == "given" and time <= ask.now and _holds(one, ask.now) and _lawful(one, basis)
        if one.receipt is not None and ask.purpose in one.receipt.purposes  # a grant names its purpose
    ]
    if against and not (given and max(given) > max(against)[0]):
        return _AGAINST[max(against)[1]]
    if given:
        return GRANTED
    expired = any(one.until is not None and one.until < ask.now for one in spoken)
    return Judgement(Answer.UNKNOWN, (Reason.EXPIRED if expired else Reason.OTHER_USE,))


_AGAINST: Mapping[str, Judgement] = {
    "refused": Judgement(Answer.DENY, (Reason.REFUSED,)),
    "withdrawn": Judgement(Answer.DENY, (Reason.WITHDRAWN,)),
    "expired": Judgement(Answer.UNKNOWN, (Reason.EXPIRED,)),
}


def _about(receipt: Receipt, ask: Ask) -> bool:
    named = ask.purpose in receipt.purposes or ANY in receipt.purposes
    return named and (ask.recipient in receipt.recipients or ANY in receipt.recipients)


def _holds(one: Said, now: datetime) -> bool:
    return (one.first is None or one.first <= now) and (one.until is None or now <= one.until)


def _lawful(one: Said, basis: frozenset[str]) -> bool:
    return one.receipt is not None and basis <= set(one.receipt.legal_basis)


def _read(path: Path) -> Iterator[tuple[Mapping[str, Any], bool]]:
    """Every record, and whether it holds a key twice."""
    raw = read_bytes(path, error=ConsentError, kind="consent receipts", limit=MAX_FILE)
    lines = [line for line in raw.splitlines() if line.strip()]
    mend = "one JSON object a line (NDJSON), UTF-8, at most 1 MiB each"
    if not lines or len(lines) > MAX_RESOURCES or max(map(len, lines)) > MAX_RESOURCE:
        raise ConsentError(
            "no record in it" if not lines else "too many or too large lines", where=str(path), mend=mend
        )
    for line in lines:
        try:
            yield parse_json(line, path)
        except ConsentError as wrong:
            raise ConsentError(wrong.what, where=str(path), mend=mend) from None
