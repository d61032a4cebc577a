"""Consent by ISO/IEC TS 27560 records: JSON objects with fixed keys, one a line (NDJSON).

Keys of a record, all of them required but the last three, and no others:

- ``schema_version`` ``"27560:2023"``, ``record_id``;
- ``subject``: the person's id as the table has it;
- ``purposes``, ``recipients``: lists of names of the policy (a recipient may be ``*``);
- ``legal_basis``: a list of texts; what counts is what the policy lists too: at least one, and where the source holds
  special categories enough of them to cover those, as of a request;
- ``events``: a list of ``{state, time}``, ``state`` one of requested, given, refused, withdrawn, expired, ``time``
  with its zone;
- ``data_categories``, ``storage_period`` (``{from, until}``, days or moments as in a register), ``jurisdiction``.

A subject is granted if some record of hers was given for this use and is within its storage period, and none of
hers about this use was refused, withdrawn or expired at the same time or later. A record of hers that cannot be read
denies her. These are our keys for what the standard lists as content; its JSON-LD forms are not read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pydantic

from privsynth.documents import Strict, read_bytes
from privsynth.errors import ConsentError
from privsynth.policy.basis import lifts
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
    """What one record says of this use; ``receipt`` None where it cannot be read.

    ``against``: what such a record tells all the same, that she refused or withdrew.
    """

    receipt: Receipt | None
    events: tuple[tuple[State, datetime], ...] = ()
    first: datetime | None = None
    until: datetime | None = None
    against: State | None = None


def by_receipts(records: Records, policy: Policy, ask: Ask) -> Reading:
    """What the records that ``ask`` names say of each subject.

    Raises:
        ConsentError: a structural fault of the file, or a schema without a subject column.
    """
    subjects = subject_ids(records, policy)
    held, law = _held(ask.path), law_of(policy, ask.purpose, source=records.schema.source)
    return Reading({s: judge(held.get(s.strip(), []), ask, law) for s in subjects})


def named(policy: Policy, ask: Ask) -> Reading:
    """The same of everybody whom the records name, as if of the policy's most special source."""
    law = law_of(policy, ask.purpose)
    return Reading({subject: judge(said, ask, law) for subject, said in _held(ask.path).items()})


@dataclass(frozen=True)
class Law:
    """What a receipt must rely on: some of ``basis``, enough for special categories where ``special``."""

    basis: frozenset[str]
    special: bool = False

    def allows(self, receipt: Receipt) -> bool:
        """Whether it does. A shorter ``basis`` never allows more."""
        named = self.basis.intersection(receipt.legal_basis)
        return bool(named) and (not self.special or lifts(named))


def law_of(policy: Policy, purpose: str, *, source: str | None = None) -> Law:
    """What the policy asks of receipts for ``purpose``; ``source`` None: as of each of its sources."""
    sources = policy.sources.values() if source is None else [policy.source(source)]
    return Law(frozenset(policy.purposes[purpose].legal_basis), any(one.categories for one in sources))


def _held(path: Path) -> dict[str, list[Said]]:
    held: dict[str, list[Said]] = {}
    for raw, doubled in _read(path):
        for subject in {str(one).strip() for one in _parts(raw.get("subject")) if isinstance(one, str | int)} - {""}:
            held.setdefault(subject, []).append(_unread(raw) if doubled else read_receipt(raw))
    return held


def read_receipt(raw: Mapping[str, Any]) -> Said:
    """One record, whatever it holds."""
    try:
        receipt = Receipt.model_validate(raw)
    except (pydantic.ValidationError, RecursionError):
        return _unread(raw)
    start, end = span(receipt.storage_period.from_), span(receipt.storage_period.until)
    times = [span(event.time, zoned=True) for event in receipt.events]
    if start is None or end is None or not all(times):
        return _unread(raw)
    events = tuple(
        (e.state, t[1 if e.state != "given" else 0]) for e, t in zip(receipt.events, times, strict=True) if t
    )
    return Said(receipt, events, start[0], end[1])


def _unread(raw: Mapping[str, Any]) -> Said:
    """A record that cannot be read: it grants nothing, and where it tells of a no, in any letters, that is heard."""
    states = [
        state for event in _parts(raw.get("events")) if isinstance(event, dict) for state in _parts(event.get("state"))
    ]
    told = {state.strip().casefold() for state in states if isinstance(state, str)}
    said_no: list[State] = [state for state in ("withdrawn", "refused") if state in told]
    return Said(None, against=said_no[0] if said_no else None)


def _parts(value: Any) -> Iterator[Any]:
    """``value`` itself, or what stands in it where it is a list; lists in lists too."""
    pending = [value]
    while pending:
        one = pending.pop()
        if isinstance(one, list):
            pending += one
        else:
            yield one


def judge(said: list[Said], ask: Ask, law: Law) -> Judgement:
    """One subject's answer from her records: a grant only by those that ``law`` allows."""
    if not said:
        return NO_RECORD
    unread = [one for one in said if one.receipt is None]
    spoken = [one for one in said if one.receipt is not None and _about(one.receipt, ask)]
    against = [(time, state) for one in spoken for state, time in one.events if state in _AGAINST]
    given = [
        time
        for one in spoken
        for state, time in one.events
        if state == "given" and time <= ask.now and _holds(one, ask.now)
        if one.receipt is not None and law.allows(one.receipt)
        if ask.purpose in one.receipt.purposes  # a grant names its purpose
    ]
    stands = max(against)[1] if against and not (given and max(given) > max(against)[0]) else None
    if unread:
        return _with_unread(next((one.against for one in unread if one.against), stands))
    if not spoken:
        return Judgement(Answer.UNKNOWN, (Reason.OTHER_USE,))
    if stands is not None:
        return _AGAINST[stands]
    if given:
        return GRANTED
    expired = any(one.until is not None and one.until < ask.now for one in spoken)
    return Judgement(Answer.UNKNOWN, (Reason.EXPIRED if expired else Reason.OTHER_USE,))


def _with_unread(stands: State | None) -> Judgement:
    """Of somebody of whom a record cannot be read: no grant, and a no where one is known."""
    known = Judgement(Answer.UNKNOWN, ()) if stands is None else _AGAINST[stands]
    return Judgement(known.answer, (*known.reasons, Reason.UNREADABLE))


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
            found, doubled = parse_json(line, path)
        except ConsentError as wrong:
            raise ConsentError(wrong.what, where=str(path), mend=mend) from None
        yield (json.loads(line.decode("utf-8-sig"), object_pairs_hook=_all_said) if doubled else found), doubled


def _all_said(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object in which a key may stand twice: then with all of its values, as a list."""
    told: dict[str, list[Any]] = {}
    for key, value in pairs:
        told.setdefault(key, []).append(value)
    return {key: values[0] if len(values) == 1 else values for key, values in told.items()}
