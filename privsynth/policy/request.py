"""What is asked of a policy, and what it answers: requests, verdicts and decisions, as values."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from privsynth.documents import join
from privsynth.errors import RequestDenied, UsageError
from privsynth.policy.document import ConsentKind
from privsynth.privacy.events import Provenance

_LARGEST = 10**12


def _wrong(name: str, value: object, wanted: str) -> UsageError:
    return UsageError(
        f"{name} is of the kind {type(value).__name__}"
        + (f": {value!r:.40}" if isinstance(value, str | float) else ""),
        where=f"request, {name}",
        mend=wanted,
    )


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise _wrong(name, value, "give it as text")
    return str(value)


def _texts(name: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(part, str) for part in value):
        raise _wrong(name, value, "give it as a tuple of texts")
    return tuple(map(str, value))


def _number(name: str, value: object) -> float:
    """As a float: NaN and infinities are numbers, which the rules deny."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    except OverflowError:
        pass
    raise _wrong(name, value, "give it as a number")


def _whole(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > _LARGEST:
        raise _wrong(name, value, "give it as a whole number from 1")
    return int(value)


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _wrong(name, value, "give it as True or False")
    return value


def _day(name: str, value: object) -> dt.date:
    if not isinstance(value, dt.date) or isinstance(value, dt.datetime):
        raise _wrong(name, value, "give it as a datetime.date, without a time")
    return value


def _age(name: str, value: object) -> float | None:
    return None if value is None else _number(name, value)


_KINDS: Mapping[str, Callable[[str, object], object]] = {
    **dict.fromkeys(("source", "purpose", "recipient", "consent", "unit", "actor", "kind", "noise"), _text),
    **dict.fromkeys(("attested", "columns", "legal_basis"), _texts),
    **dict.fromkeys(("public_help", "opened_report", "biometric"), _flag),
    **dict.fromkeys(("epsilon", "delta"), _number),
    "contribution": _whole,
    "today": _day,
    "export_age": _age,
}
"""Of each field the kind of value; a value of that kind is for the rules to judge."""


@dataclass(frozen=True, kw_only=True)
class Use:
    """What is to be done with whose data: as much of a request as the consent step knows.

    Attributes:
        source: the name that the schema states.
        purpose, recipient: as named in the policy.
        consent: the kind of evidence at hand: ``register``, ``columns``, ``fhir``, ``iso-27560`` or ``none``.
        today: the day of the request (UTC).
        export_age: seconds since the evidence was exported; None where that is not known.
        attested: the DUO codes that a person attests to be met, as the source has them.
        biometric: whether it is to tell who somebody is, or which group a face belongs to; as the purpose says.
    """

    source: str
    purpose: str
    recipient: str
    consent: ConsentKind
    today: dt.date
    export_age: float | None = None
    attested: tuple[str, ...] = ()
    biometric: bool = False

    def __post_init__(self) -> None:
        """Refuse a value of another kind (a :class:`UsageError`): what rules compare are names, days and numbers."""
        for name, kind in _KINDS.items():
            if hasattr(self, name):
                object.__setattr__(self, name, kind(name, getattr(self, name)))


@dataclass(frozen=True, kw_only=True)
class Request(Use):
    """A request for a hold.

    Attributes:
        epsilon, delta: the whole release's price.
        unit: who the recipe says is protected.
        contribution: the most rows of one subject that the recipe lets in (k).
        actor: the address of the person who asks.
        columns: the columns that the schema declares as learned.
        kind: the generator's kind; recorded, no rule reads it.
        noise: where the noise will come from.
        public_help: whether the recipe declares a public table, whose rows are not protected.
        legal_basis: what the request relies on; empty: what the policy lists for the purpose.
        opened_report: whether the actor has opened an internal report of the source's population.
    """

    epsilon: float
    delta: float
    unit: str
    contribution: int
    actor: str
    columns: tuple[str, ...]
    kind: str
    noise: Provenance = "os-secure"
    public_help: bool = False
    legal_basis: tuple[str, ...] = ()
    opened_report: bool = False


@dataclass(frozen=True)
class RuleVerdict:
    """What one rule says of one request.

    Attributes:
        id: the rule's stable id, ``PS-BUD-001``; docs/policy.md explains each.
        allowed: whether this rule lets the request through.
        what: what the request asks for, in one clause.
        where: ``file:line`` of the policy line that the rule reads.
        limit: what that line allows.
        mend: what to do about a refusal.
    """

    id: str
    allowed: bool
    what: str
    where: str
    limit: str
    mend: str


@dataclass(frozen=True)
class Decision:
    """The verdicts of all rules that were consulted, in order of consultation."""

    verdicts: tuple[RuleVerdict, ...]

    @property
    def allowed(self) -> bool:
        """Whether every rule allows it. A decision without verdicts allows nothing."""
        return bool(self.verdicts) and all(v.allowed for v in self.verdicts)

    @property
    def refusing(self) -> tuple[RuleVerdict, ...]:
        """The verdicts that deny."""
        return tuple(v for v in self.verdicts if not v.allowed)

    def refuse(self) -> None:
        """Return if allowed.

        Raises:
            RequestDenied: with the id, what was asked, limit, file:line and mend of every refusing rule.
        """
        if self.allowed:
            return
        rules = [v.id for v in self.refusing]
        if not rules:
            raise RequestDenied("denied: no rule was consulted", mend="ask again through `decide`")
        if len(rules) == 1:
            only = self.refusing[0]
            raise RequestDenied(
                f"denied by {only.id}: {only.what}; limit: {only.limit}.", rules=rules, where=only.where, mend=only.mend
            )
        lines = [f"{v.id} ({v.where}): {v.what}; limit: {v.limit}; mend: {v.mend}" for v in self.refusing]
        raise RequestDenied(
            f"denied by {len(rules)} rules of the policy, {join(rules)}.\n  " + "\n  ".join(lines) + "\n ",
            rules=rules,
            mend="change the request as each of these lines says; all of them must allow it",
        )
