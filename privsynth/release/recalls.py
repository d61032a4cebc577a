"""Lists of recalled releases: signed, issued on fixed days, and by source and day alone.

A list that named the releases which held a person who withdrew would tell that she was in them ("she withdrew on
Tuesday, this was recalled on Wednesday"). So a recall names a source and a span of days on which releases of it were
made, and the days on which lists appear are fixed beforehand: the next one is named in each. Whoever makes a list
decides by the calendar, not by who was in.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated

import pydantic

from privsynth.documents import Strict, canonical, plain
from privsynth.errors import BundleError, UsageError
from privsynth.signing import MAX_ENVELOPE, SigningKey, Trust, parse_canonical, shaped, sign_envelope, verify_envelope
from privsynth.signing.files import read_small, reason, write_new

PAYLOAD_TYPE = "application/vnd.privsynth.recalls+json"
ROLE = "release"
_MEND = "get the current list from the sender, by another way than the bundle"
_DAY = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
Day = Annotated[str, pydantic.Field(pattern=_DAY)]


class Recall(Strict):
    """Every release of ``source`` that was made from one day to another (UTC), both included."""

    source: Annotated[str, pydantic.Field(min_length=1, max_length=128)]
    from_: Day
    until: Day

    @pydantic.model_validator(mode="after")
    def _days(self) -> Recall:
        if read_day(self.from_) > read_day(self.until):
            raise ValueError("`from` is after `until`")
        return self

    def covers(self, source: str, made: dt.date) -> bool:
        """Whether a release of ``source`` made on that day is recalled."""
        return source == self.source and read_day(self.from_) <= made <= read_day(self.until)


class Recalls(Strict):
    """One list. It holds for every release until the day on which the next one is due has passed."""

    format: Annotated[pydantic.StrictInt, pydantic.Field(alias="privsynth-recalls", ge=1, le=1)]
    issued: Day
    next: Day
    recalls: Annotated[tuple[Recall, ...], pydantic.Field(max_length=10_000)]

    @pydantic.model_validator(mode="after")
    def _days(self) -> Recalls:
        if read_day(self.issued) >= read_day(self.next):
            raise ValueError("`next` is not after `issued`")
        return self

    @classmethod
    def of(cls, *recalls: Recall, issued: dt.date, due: dt.date) -> Recalls:
        """A list of ``recalls``; the next one is due on the day ``due``."""
        given = {"privsynth-recalls": 1, "issued": issued.isoformat(), "next": due.isoformat()}
        return cls.model_validate({**given, "recalls": [plain(one) for one in recalls]})

    def sign(self, *keys: SigningKey) -> bytes:
        """The list in a DSSE envelope."""
        return sign_envelope(PAYLOAD_TYPE, canonical(plain(self)), *keys)


def read_day(text: str) -> dt.date:
    """A day of a list; a ValueError where there is no such day."""
    return dt.date.fromisoformat(text)


def write_recalls(path: str | Path, recalls: Recalls, *keys: SigningKey) -> None:
    """Write a new signed list.

    Raises:
        StorageError: the file exists, or cannot be written.
    """
    write_new(Path(path), recalls.sign(*keys), mode=0o644)


def load_recalls(path: str | Path, trust: Trust, *, now: dt.datetime) -> Recalls:
    """Read a signed list.

    Args:
        trust: whose signatures count; as of releases.
        now: with a time zone.

    Raises:
        BundleError: it cannot be read, is not signed by enough trusted people, or is out of date.
    """
    where = str(path)
    if now.tzinfo is None:
        raise UsageError("`now` has no time zone", where="load_recalls", mend="datetime.now(timezone.utc)")
    try:
        raw, _ = read_small(Path(path), limit=MAX_ENVELOPE)
    except (OSError, ValueError) as wrong:
        raise BundleError(f"the list of recalls cannot be read ({reason(wrong)})", where=where, mend=_MEND) from None
    opened = verify_envelope(raw, trust, payload_type=PAYLOAD_TYPE, role=ROLE, now=now, where=where)
    data = parse_canonical(opened.payload, where=where)
    found = shaped(Recalls, data, error=BundleError, where=where, mend=_MEND)
    today = now.astimezone(dt.UTC).date()
    if today > read_day(found.next):
        raise BundleError(f"the list of recalls is old: the next was due on {found.next}", where=where, mend=_MEND)
    if today < read_day(found.issued):
        raise BundleError(f"the list of recalls is of a later day, {found.issued}", where=where, mend="check the clock")
    return found


def check_recalled(recalls: Recalls, *, source: str, created: str, where: str) -> None:
    """Refuse a release that the list recalls.

    Args:
        source: as its receipt has it.
        created: when it was made, ISO 8601.

    Raises:
        BundleError: it is recalled, or does not say when it was made.
    """
    try:
        made = dt.datetime.fromisoformat(created).astimezone(dt.UTC).date()
    except (ValueError, OverflowError):
        raise BundleError("the release does not say when it was made", where=where, mend="ask its sender") from None
    if any(recall.covers(source, made) for recall in recalls.recalls):
        raise BundleError(
            f"recalled: releases of source {source!a} made on {made.isoformat()}, by the list of {recalls.issued}",
            where=where,
            mend="stop using it, delete it, and ask its sender for another",
        )
