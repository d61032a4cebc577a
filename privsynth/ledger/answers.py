"""Who answers for a restore: detached signatures over one small statement, by distinct people with distinct keys.

The statement says what is brought back, what the witness remembers of it, and whether entries are lost. It lies in a
folder; each person reads it there and adds one file, a signed envelope. Whose key is whose is said by the copy itself,
where its ledger works by a policy that names the keys of those who approve its changes; else by a trust file. Answers
stand for a week: the same statement may be true of a later restore that nobody was asked about.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pydantic

from privsynth.documents import Strict, canonical, join, plain, read_bytes
from privsynth.errors import ApprovalMissing, BundleError, LedgerError, PrivsynthError
from privsynth.ledger.entry import Entry
from privsynth.policy.quorum import ROLE
from privsynth.signing import (
    MAX_ENVELOPE,
    MOST_STATEMENTS,
    Personal,
    SigningKey,
    Trust,
    hear,
    keep,
    parse_canonical,
    person_key,
    same_person,
    say,
    shaped,
    verify_envelope,
)

PAYLOAD_TYPE = "application/vnd.privsynth.restore+json"
STATEMENT = "statement.json"
PEOPLE = 2
"""So many distinct people answer for a restore."""
FRESH = dt.timedelta(days=7)
_THERE = "it is there already"
_AGAIN = "read the statement, and answer again"
Sha256 = Annotated[str, pydantic.Field(pattern=r"^[0-9a-f]{64}$")]
Size = Annotated[int, pydantic.Field(ge=0)]


class Extent(Strict):
    """How long a log is, and its root."""

    size: Size
    root: Sha256


class Remembered(Strict):
    """How long a witness knows both logs to be."""

    main: Size
    attempts: Size


class Statement(Strict):
    """What a restore brings back. Without ``witness``, there is none to ask, or it remembers nothing yet."""

    format: Annotated[Literal[1], pydantic.Field(alias="privsynth-restore")] = 1
    ledger: str
    policy: Sha256
    main: Extent
    attempts: Extent
    witness: Remembered | None = None
    lost: bool

    @property
    def missing(self) -> dict[str, int] | None:
        """How many entries of each log the witness knows and the copy lacks; None where nobody can say."""
        if self.witness is None:
            return None
        knows = {"main": (self.witness.main, self.main.size), "attempts": (self.witness.attempts, self.attempts.size)}
        return {log: max(0, remembered - held) for log, (remembered, held) in knows.items()}

    def words(self) -> Iterator[str]:
        """What it says, line by line."""
        yield f"ledger {self.ledger}, under the policy {self.policy}"
        yield f"the copy: {self.main.size:,} entries, {self.attempts.size:,} attempts; root {self.main.root}"
        if self.witness is None:
            yield "the witness: there is none, or it remembers nothing: nobody can say what is missing"
        else:
            yield f"the witness: remembers {self.witness.main:,} entries, {self.witness.attempts:,} attempts"
        if self.lost:
            yield "lost: every population's budget is booked as spent, for ever, also of those registered later; every"
            yield "  hold that was sold before is closed"
        else:
            yield "nothing is missing, and nothing is booked"


class Answer(Personal):
    """What a person signs."""

    format: Annotated[Literal[1], pydantic.Field(alias="privsynth-answer")] = 1
    statement: Statement


@dataclass(frozen=True)
class Given:
    """An answer that counts: whose, by which key, and the signed envelope."""

    person: str
    keyid: str
    envelope: str


@dataclass(frozen=True)
class Answers:
    """Who answers for a restore.

    Attributes:
        given: each person once, each key once, in order of the people.
        passed_over: (file, why) of each that does not count.
    """

    given: tuple[Given, ...]
    passed_over: tuple[tuple[str, str], ...]

    def demand(self, *, folder: Path) -> None:
        """Return if enough people have answered.

        Raises:
            ApprovalMissing: they have not; each answer that does not count is named, with the reason.
        """
        if len(self.given) >= PEOPLE:
            return
        over = "".join(f"; {name} does not count: {why}" for name, why in self.passed_over[:5])
        raise ApprovalMissing(
            f"a restore takes the signed answers of {PEOPLE} distinct people; given: "
            f"{join([one.person for one in self.given]) or 'nobody'}{over}",
            where=str(folder),
            mend=f"have each of them run `privsynth ledger answer {folder} --key KEY --person ADDRESS` with a key of "
            "her own",
        )


def write_statement(statement: Statement, folder: Path) -> Path:
    """Put the statement into a folder, which is made where it is not there.

    Raises:
        StorageError: one is there already, or the folder cannot be written.
    """
    return keep(canonical(plain(statement)), folder, STATEMENT, there=_THERE)


def read_statement(folder: Path) -> Statement:
    """The statement in a folder.

    Raises:
        BundleError: there is none, or it is not one.
    """
    where = folder / STATEMENT
    raw = read_bytes(where, error=BundleError, kind="statement", limit=MAX_ENVELOPE)
    mend = "`privsynth ledger restore` writes it; name a new folder"
    return shaped(Statement, parse_canonical(raw, where=str(where)), error=BundleError, where=str(where), mend=mend)


def answer(folder: Path, key: SigningKey, *, person: str, today: dt.date) -> Path:
    """Sign the statement in ``folder`` as ``person``, and put the answer beside it.

    Returns:
        The new file, named by the key and the day.

    Raises:
        BundleError: there is no statement. StorageError: this key has answered today already; the folder cannot be
            written.
    """
    said = Answer(statement=read_statement(folder), person=person, on=today.isoformat())
    name = f"{key.keyid[:16]}-{said.on}.json"
    return say(plain(said), folder, name, key, payload_type=PAYLOAD_TYPE, there=_THERE)


def answers(statement: Statement, folder: Path, trust: Trust, *, people: Collection[str], now: dt.datetime) -> Answers:
    """Who has answered for this very statement, by keys that ``trust`` lists for the role ``policy``.

    Args:
        people: whose answer may count: addresses.
        now: with a time zone; expired keys do not count, nor answers of more than a week ago.
    """
    given: list[Given] = []
    passed: list[tuple[str, str]] = []
    for path in sorted(folder.glob("*.json"))[:MOST_STATEMENTS]:
        if path.name == STATEMENT:
            continue
        try:
            one = _given(path, statement, trust, now=now)
        except PrivsynthError as fault:
            passed.append((path.name, fault.what))
            continue
        if not any(same_person(one.person, other) for other in people):
            passed.append((path.name, f"{one.person} is not one of the policy's people"))
        elif any(same_person(one.person, other.person) or one.keyid == other.keyid for other in given):
            passed.append((path.name, f"{one.person} has answered already"))
        else:
            given.append(one)
    return Answers(tuple(sorted(given, key=lambda one: one.person)), tuple(passed))


def check_restores(entries: Iterable[Entry], trust: Trust) -> dict[int, tuple[str, ...]]:
    """Who signed for each entry ``restore`` of a main log, by keys that ``trust`` lists for the role ``policy``.

    Returns:
        Place of the entry -> the people; empty where the trust file lists no such key.

    Raises:
        LedgerError: fewer than two of them signed for one.
    """
    found: dict[int, tuple[str, ...]] = {}
    if not any(ROLE in key.roles for key in trust.keys):
        return found
    for entry in entries:
        if entry.kind == "restore":
            found[entry.seq] = _signers(entry, trust)
            if len(found[entry.seq]) < PEOPLE:
                raise LedgerError(
                    f"the ledger was restored, and {len(found[entry.seq])} of {PEOPLE} people whom the trust file "
                    "names signed for it",
                    where=f"entry {entry.seq} of the main log",
                    mend="ask who restored it; what was sold before may have been sold again",
                )
    return found


def _signers(entry: Entry, trust: Trust) -> tuple[str, ...]:
    """Who signed what the entry says, with a key that was good on its day."""
    now, people = dt.datetime.fromisoformat(entry.time), set[str]()
    for told in entry.body.get("answers", ()):
        try:
            raw = str(told["envelope"]).encode()
            opened = verify_envelope(raw, Trust.of(*trust.keys), payload_type=PAYLOAD_TYPE, role=ROLE, now=now)
            said = parse_canonical(opened.payload, where="answer")
            if said["statement"] == entry.body["statement"] and same_person(opened.signers[0], said["person"]):
                people.add(person_key(opened.signers[0]))
        except (PrivsynthError, KeyError, TypeError, AttributeError):
            continue
    return tuple(sorted(people))


def _given(path: Path, statement: Statement, trust: Trust, *, now: dt.datetime) -> Given:
    heard = hear(path, Answer, trust=trust, role=ROLE, payload_type=PAYLOAD_TYPE, kind="answer", now=now, mend=_AGAIN)
    if heard.said.statement != statement:
        raise BundleError("of another copy, policy or state of the witness", where=str(path), mend=_AGAIN)
    if heard.on < (now - FRESH).date():
        raise BundleError(f"of {heard.said.on}; it counts for {FRESH.days} days", where=str(path), mend=_AGAIN)
    return Given(heard.person, heard.keyid, heard.raw.decode())
