"""A Consent as our rules see it: the same for R4 and R5. Made by ``record``, judged by ``rules``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from privsynth.policy.consent.fhir.times import Period, When
from privsynth.policy.consent.verdict import Reason

Effect = Literal["permit", "deny"]
Scope = Literal["research", "other", "unknown"]
Standing = Literal["in-force", "ended", "void", "unknown"]


class Version(StrEnum):
    """The versions of FHIR that are told apart, by their names in a policy where one can list them."""

    R4 = "fhir-r4"
    R5 = "fhir-r5"
    STU3 = "fhir-stu3"
    MIXED = "mixed"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Code:
    """A code with its system; both empty where it cannot be read."""

    system: str = ""
    code: str = ""


@dataclass(frozen=True)
class Actor:
    """Who is meant: a reference, or a role alone; both empty where neither can be read."""

    reference: str = ""
    roles: tuple[Code, ...] = ()
    readable: bool = True


@dataclass(frozen=True)
class Provision:
    """One provision. A dimension that is None is not there and matches everything.

    Attributes:
        effect: what it does; None where R4's type is missing.
        period, purposes, actions, actors: its dimensions: each a list of alternatives.
        judged: false where it has a dimension that we cannot judge (data, classes, labels, expressions, modifiers).
        inner: its exceptions.
    """

    effect: Effect | None
    period: Period | None = None
    purposes: tuple[Code, ...] | None = None
    actions: tuple[tuple[Code, ...], ...] | None = None
    actors: tuple[Actor, ...] | None = None
    judged: bool = True
    inner: tuple[Provision, ...] = ()

    @property
    def narrows(self) -> bool:
        """Whether it has any dimension."""
        return not self.judged or any(d is not None for d in (self.period, self.purposes, self.actions, self.actors))

    def walk(self) -> Iterator[Provision]:
        """Itself and every provision under it."""
        yield self
        for each in self.inner:
            yield from each.walk()


@dataclass(frozen=True)
class Record:
    """One Consent resource.

    Attributes:
        version: of FHIR.
        id: the resource's logical id; empty without one.
        subject: whom it is about; empty where that cannot be told.
        standing: what its status means; ``ended`` of inactive, rejected and not-done ones.
        scope: what it is about.
        base: the rule that provisions except from; None where it is not known.
        root: R4's root provision, which says where the base rule holds.
        provisions: R5's, each an exception to the base.
        period: R5's, of the whole record.
        dated: when it was given; None where it does not say.
        dated_readable: whether what it says can be read.
        updated: when this version of it was stored; None where that is not known.
        signers: references to those who gave it. Those it was checked with: ``checked``.
        grantees: R5: whom it binds; empty where it names nobody.
        faults: what forbids to read it as a grant.
        notes: what is odd about it and decides nothing.
    """

    version: Version
    id: str = ""
    subject: str = ""
    standing: Standing = "in-force"
    scope: Scope = "unknown"
    base: Effect | None = None
    root: Provision | None = None
    provisions: tuple[Provision, ...] = ()
    period: Period | None = None
    dated: When | None = None
    dated_readable: bool = True
    updated: When | None = None
    signers: tuple[str, ...] = ()
    checked: tuple[str, ...] = ()
    grantees: tuple[Actor, ...] = ()
    faults: frozenset[Reason] = field(default_factory=frozenset)
    notes: frozenset[Reason] = field(default_factory=frozenset)
