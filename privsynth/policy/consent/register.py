"""Consent by a register: a CSV table of who granted or withdrew what, for whom, and when.

Header: ``subject,purpose,recipient,status,from,until``, in any order. ``recipient`` may be ``*`` (all).
``status`` is ``granted`` or ``withdrawn``. ``from`` and ``until`` are days (2026-03-01) or moments
(2026-03-01T09:30:00+01:00; without zone: UTC) and may be empty.

A subject is granted if one of her lines grants this purpose and recipient now, and no line of hers
withdraws it at the same time or later. Deny wins:

- a withdrawal counts from the moment that it is written down (its ``until`` and a future ``from`` lift
  nothing); only a grant dated after it does; a withdrawal without ``from`` is never outdated;
- a day is read against the grant: a withdrawal stands at the end of its day, a grant at its beginning;
- a withdrawal from purpose ``*`` is one from everything, for everybody, and no grant lifts it;
- any line of hers that cannot be read (unknown status, no purpose or recipient, a grant for ``*``, bad
  date) denies her, and only her; so does having no line. One that says ``withdrawn`` all the same is a withdrawal
  from everything.

A file whose lines cannot be told apart (bad quoting, a line of another number of cells, a cell that runs
over several lines) is a structural fault, for then it is not known whom a line is about.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING

from privsynth.documents import join, read_bytes
from privsynth.errors import ConsentError
from privsynth.policy.consent.reader import Ask, Reading
from privsynth.policy.consent.subjects import subject_ids
from privsynth.policy.consent.verdict import GRANTED, NO_RECORD, Answer, Judgement, Reason

if TYPE_CHECKING:
    from privsynth.data.records import Records
    from privsynth.policy.document import Policy

HEADER = ("subject", "purpose", "recipient", "status", "from", "until")
ANY = "*"

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MOMENT = re.compile(_DAY.pattern + r"[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2})?")
_BEGINNING = datetime.min.replace(tzinfo=UTC)
_END = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, repr=False)
class Entry:
    """One line about a subject. ``first`` and ``last`` are the first and last moment of ``from``: a day has two, a
    moment is both. ``readable``: false of a withdrawal of which no more can be read than that it is one."""

    purpose: str
    recipient: str
    withdraws: bool
    first: datetime
    last: datetime
    until: datetime
    readable: bool = True

    def speaks_of(self, ask: Ask) -> bool:
        """Whether it is about this purpose and recipient."""
        if self.purpose == ANY:
            return True
        return self.purpose == ask.purpose and self.recipient in (ask.recipient, ANY)


Unreadable = None
Lines = Mapping[str, Sequence[Entry | None]]


def by_register(records: Records, policy: Policy, ask: Ask) -> Reading:
    """What the register that ``ask`` names says of each subject.

    Raises:
        ConsentError: a structural fault of the file, or a schema without a subject column.
    """
    subjects = subject_ids(records, policy)
    lines = read_register(ask.path)
    return Reading({subject: judge(lines.get(subject.strip(), ()), ask) for subject in subjects})


def named(policy: Policy, ask: Ask) -> Reading:
    """The same of everybody whom the register names, whether or not there are data of theirs."""
    return Reading({subject: judge(lines, ask) for subject, lines in read_register(ask.path).items()})


def judge(lines: Sequence[Entry | None], ask: Ask) -> Judgement:
    """What one subject's lines say to what is asked, now."""
    unread = (Reason.UNREADABLE,) if any(line is None or not line.readable for line in lines) else ()
    spoken = [line for line in lines if line is not None and line.speaks_of(ask)]
    grants = [e for e in spoken if not e.withdraws]
    current = [e.first for e in grants if e.first <= ask.now <= e.until]
    withdrawals = [e.last for e in spoken if e.withdraws]
    if withdrawals and not (current and max(current) > max(withdrawals)):
        return Judgement(Answer.DENY, (Reason.WITHDRAWN, *unread))
    if unread:
        return Judgement(Answer.UNKNOWN, unread)
    if current:
        return GRANTED
    if grants:
        over = any(e.until < ask.now for e in grants)
        return Judgement(Answer.UNKNOWN, (Reason.EXPIRED if over else Reason.NOT_YET,))
    return Judgement(Answer.UNKNOWN, (Reason.OTHER_USE,)) if lines else NO_RECORD


def agrees(lines: Sequence[Entry | None], ask: Ask) -> bool:
    """Whether one subject's lines grant what is asked, now."""
    return judge(lines, ask).granted


def read_register(path: Path) -> Lines:
    """The lines of each subject; ``None`` for one that cannot be read and is no withdrawal.

    Raises:
        ConsentError: a structural fault. It names the file, never a line or its content.
    """
    found: dict[str, list[Entry | None]] = {}
    for cells in _rows(path):
        if cells["subject"]:
            found.setdefault(cells["subject"], []).append(_entry(cells))
    return found


def _rows(path: Path) -> Iterator[dict[str, str]]:
    """Each line as cells by column name, stripped; blank lines left out."""
    raw = read_bytes(path, error=ConsentError, kind="consent register")
    mend = f"UTF-8, comma-separated, the header {','.join(HEADER)}, six cells in every line"
    if not raw:
        raise ConsentError("zero bytes: not even a header", where=str(path), mend=mend)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConsentError("not UTF-8", where=str(path), mend="save the register as UTF-8") from None
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except csv.Error:
        raise ConsentError("not whole CSV: quotes are missing or misplaced", where=str(path), mend=mend) from None
    header = rows[0] if rows else []
    _check_header(header, str(path), mend)
    for row in rows[1:]:
        if len(row) != len(header) or any("\n" in cell or "\r" in cell for cell in row):
            raise ConsentError(
                f"a line does not have {len(header)} cells on one line: whom it is about is not known",
                where=str(path),
                mend=mend,
            )
        yield {name: cell.strip() for name, cell in zip(header, row, strict=True)}


def _check_header(header: Sequence[str], where: str, mend: str) -> None:
    doubled = sorted({name for name in header if header.count(name) > 1 and name in HEADER})
    missing = [name for name in HEADER if name not in header]
    if doubled:
        raise ConsentError(f"doubled column names: {join(doubled)}", where=where, mend=mend)
    if missing:
        raise ConsentError(f"missing columns: {join(missing)}", where=where, mend=mend)
    if len(header) != len(HEADER):
        raise ConsentError(
            "columns that a register does not have: what they say of a grant would be ignored", where=where, mend=mend
        )


def _entry(cells: Mapping[str, str]) -> Entry | None:
    start, end = span(cells["from"]), span(cells["until"])
    status = cells["status"]
    withdraws, everything = status == "withdrawn", cells["purpose"] == ANY
    unread = start is None or end is None or not cells["purpose"] or not cells["recipient"]
    unread = unread or status not in ("granted", "withdrawn") or (everything and not withdraws)
    if (everything and not unread) or (unread and status.casefold() == "withdrawn"):
        return Entry(ANY, ANY, True, first=_END, last=_END, until=_END, readable=not unread)
    if unread or start is None or end is None:
        return Unreadable
    return Entry(cells["purpose"], cells["recipient"], withdraws, first=start[0], last=start[1], until=end[1])


def span(text: str, *, zoned: bool = False) -> tuple[datetime, datetime] | None:
    """First and last moment of a date cell: all time where empty, None where it cannot be read. ``zoned``: only a
    moment with its zone can be read."""
    if not text and not zoned:
        return _BEGINNING, _END
    try:
        if _DAY.fullmatch(text) and not zoned:
            day = date.fromisoformat(text)
            return datetime.combine(day, time.min, UTC), datetime.combine(day, time.max, UTC)
        if _MOMENT.fullmatch(text):
            moment = datetime.fromisoformat(text)
            if zoned and moment.tzinfo is None:
                return None
            moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
            return moment, moment
    except ValueError:
        return None
    return None
