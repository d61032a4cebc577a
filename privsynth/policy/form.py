"""The form of a policy file: its keys, their types and ranges. What they mean together is in ``check``.

Key ``max epsilon`` of the file is the field ``max_epsilon`` here. Every model is frozen and refuses
keys that it does not know; a key that later versions know is refused too, never silently ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from itertools import pairwise
from typing import Annotated, Any, Literal

import pydantic

from privsynth.policy.consent_rules import (
    Age,
    Consent,
    DuoCodes,
    Fixed,
    Meant,
    References,
    SomeResearchCodes,
    Within,
)
from privsynth.policy.directions import (
    FLAG,
    FROZEN,
    HIGHER,
    LOWER,
    OWN,
    SUBSET,
    SUPERSET,
    Demanded,
    Keyed,
    Ladder,
    Means,
)
from privsynth.policy.gate_rules import GateRules
from privsynth.policy.images import Images
from privsynth.policy.minors import Minors
from privsynth.policy.new_data import NewData
from privsynth.policy.pace import PaceLine
from privsynth.policy.words import (
    AgeKey,
    Count,
    Day,
    Delta,
    Email,
    Epsilon,
    Line,
    Name,
    Names,
    Part,
    PublicKey,
    Region,
    Share,
    SomeLines,
    SomeNames,
    SomePeople,
    Unit,
    WitnessKey,
    each_once,
)

FORMAT = 1
MAX_ORDERS = 64
DeltaBelow = Literal["1/(1000*subjects)", "1/subjects"]
_TIMES_SUBJECTS: Mapping[str, int] = {"1/(1000*subjects)": 1000, "1/subjects": 1}


Category = Literal["health", "genetic", "biometric", "ethnicity", "politics", "religion", "union", "sexuality"]
"""Special categories of personal data, GDPR Art. 9(1)."""


class Valid(Part):
    """The days on which requests may be granted, both included."""

    from_: Annotated[Day, HIGHER]
    until: Annotated[Day, LOWER]


class Contribution(Part):
    """The most that one subject puts into a fit."""

    max_rows_per_subject: Annotated[Count, LOWER]


class Source(Part):
    """A registered source: where rows come from, and whose they are.

    ``subjects`` is the public number of people in the population, rounded down; ``holdout`` is the share
    of them that no fit ever sees. All of it is frozen per population when the ledger is created.
    """

    population: Annotated[Name, FROZEN]
    holdout: Annotated[Share, FROZEN]
    subjects: Annotated[Count, FROZEN]
    unit: Annotated[Unit, FROZEN]
    neighbours: Annotated[Literal["add-or-remove"], FROZEN]
    contribution: Contribution
    categories: Annotated[tuple[Category, ...] | None, pydantic.Field(min_length=1), SUPERSET] = None
    duo: Annotated[DuoCodes | None, Fixed()] = None
    minors: Minors | None = None

    @property
    def k(self) -> int:
        """The contribution bound: at most k rows of a subject enter a fit."""
        return self.contribution.max_rows_per_subject

    @property
    def declared_train(self) -> Fraction:
        """``subjects * (1 - holdout)``, exactly: the declared number of subjects that a fit may see."""
        return self.subjects * (1 - Fraction(str(self.holdout)))


class Purpose(Part):
    """Why data are used, and the legal basis that the owner claims for it (text; not judged here).

    ``duo`` is held against the source's codes, ``fhir`` are the codes that a FHIR record must allow; ``biometric``: it
    is for telling who somebody is, or which group a face belongs to."""

    legal_basis: Annotated[SomeLines, SUBSET]
    duo: Annotated[DuoCodes | None, Fixed()] = None
    fhir: Annotated[SomeResearchCodes | None, SUPERSET] = None
    biometric: Annotated[bool | None, Fixed()] = None


class Recipient(Part):
    """Who may receive releases, for which purposes, where they are, by which references FHIR records name them, and to
    which key what leaves for them is encrypted."""

    purposes: Annotated[SomeNames, SUBSET]
    fhir: Annotated[References | None, Meant()] = None
    region: Annotated[Region | None, Means()] = None
    key: Annotated[AgeKey | None, Demanded()] = None


def _orders(value: Any) -> Any:
    if value == "auto":
        return value
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= MAX_ORDERS:
        raise ValueError(f"write `auto` or a list of 1 to {MAX_ORDERS} numbers above 1")
    if any(isinstance(a, bool) or not isinstance(a, int | float) or not 1 < a <= 10**6 for a in value):
        raise ValueError("an order is a number above 1 and at most 1,000,000")
    if any(b <= a for a, b in pairwise(value)):
        raise ValueError("the orders must increase")
    return tuple(float(a) for a in value)


class FilterRule(Part):
    """The rule that adds up what is spent: ``gdp``, or ``rdp`` at fixed orders. Frozen with the ledger."""

    kind: Annotated[Literal["gdp", "rdp"], FROZEN]
    orders: Annotated[Literal["auto"] | tuple[float, ...], pydantic.BeforeValidator(_orders), FROZEN] = "auto"

    @property
    def fixed_orders(self) -> tuple[float, ...] | None:
        """The orders that the file lists; None for ``auto``."""
        return None if self.orders == "auto" else tuple(self.orders)


class BudgetLine(Part):
    """The most that may ever be spent, for ever, over a whole population or towards one recipient."""

    over: Annotated[Literal["population", "recipient"], OWN]
    epsilon: Annotated[Epsilon, LOWER]
    delta: Annotated[Delta, LOWER]


class PerRelease(Part):
    """What one release may cost, fit and gate together."""

    max_epsilon: Annotated[Epsilon, LOWER]
    max_delta: Annotated[Delta, LOWER]
    delta_below: Annotated[DeltaBelow, Ladder(tuple(_TIMES_SUBJECTS))]

    def delta_limit(self, subjects: int) -> Fraction:
        """The exact value that delta must stay below at ``subjects`` declared subjects."""
        return Fraction(1, _TIMES_SUBJECTS[self.delta_below] * subjects)


class Privacy(Part):
    """Budgets and limits of the proof."""

    filter: FilterRule
    budget: Annotated[tuple[BudgetLine, ...], pydantic.Field(min_length=1), Keyed("over")]
    pace: Annotated[tuple[PaceLine, ...] | None, pydantic.Field(min_length=1), Keyed("over")] = None
    new_data: NewData | None = None
    per_release: PerRelease
    noise: Annotated[Literal["os-secure-only"], FROZEN]

    def line(self, over: Literal["population", "recipient"]) -> BudgetLine | None:
        """The budget line over ``over``; None if there is none (never for population)."""
        return next((line for line in self.budget if line.over == over), None)


class Data(Part):
    """How much data there must be, by declared sizes and of each group that a rule of the gate compares by its paid
    counts; and whether public rows may be declared beside them."""

    min_rows: Annotated[Count, HIGHER]
    min_subjects_per_group: Annotated[Count | None, HIGHER] = None
    public_help: Annotated[Literal["refused", "allowed"] | None, Ladder(("refused", "allowed"), absent="refused")] = (
        None
    )


class Leaving(Part):
    """What a release carries beside its rows. ``transcript: published``: the noisy tables that were paid for, from
    which anyone fits the model again."""

    transcript: Annotated[Literal["withheld", "published"], Ladder(("withheld", "published"), absent="withheld")]


class Retention(Part):
    """How long what was made is used: a model draws no more rows once it is older than this."""

    model: Annotated[Age, Within()]


class LedgerRules(Part):
    """What is asked of the ledger. ``witness: required``: none is opened, made or restored unless somebody else is
    named who remembers how long it was; with ``witness key`` only who signs with this key what it remembers."""

    witness: Annotated[Literal["required", "optional"], Ladder(("required", "optional"), absent="optional")]
    witness_key: Annotated[WitnessKey | None, Demanded()] = None


class RoleLists(Part):
    """Which roles may do what. The two lists must be disjoint, and so must the people behind them, unless
    ``overlap: marked`` lets one person hold both: then every statement after a look says so."""

    requesters_of_holds: Annotated[SomeNames, SUBSET]
    readers_of_internal_reports: Annotated[Names, SUBSET]
    overlap: Annotated[Literal["refused", "marked"], Ladder(("refused", "marked"), absent="refused")] = "refused"


class Person(Part):
    """What a person may do, and the public key by which she approves."""

    roles: Annotated[SomeNames, SUBSET]
    key: Annotated[PublicKey | None, Means()] = None


class PolicyChange(Part):
    """Who must agree before a changed policy is worked by: so many people who have a key and one of the roles (none
    stated: any). The owner never counts; with ``not author: true`` nor does who brings the change into use."""

    people: Annotated[SomePeople, HIGHER]
    roles: Annotated[SomeNames | None, SUBSET] = None
    not_author: Annotated[bool | None, FLAG] = None


class SignedBy(Part):
    """How many distinct people must have signed a release before anybody verifies it."""

    people: Annotated[SomePeople, HIGHER]


class Approval(Part):
    """What takes more than one person."""

    policy_change: PolicyChange | None = None
    release: SignedBy | None = None


class Extends(Part):
    """The parent, which this file may only tighten: its path in the folder, and the SHA-256 of its bytes."""

    file: Annotated[Line, OWN]
    sha256: Annotated[Line, OWN]


class PolicyFile(Part):
    """A whole policy file. One with ``base: true`` is only extended: nothing is asked of it."""

    format: Annotated[int, pydantic.Field(alias="privsynth-policy", strict=True), OWN]
    id: Annotated[Name, OWN]
    version: Annotated[Name, OWN]
    owner: Annotated[Line, OWN]
    base: Annotated[bool | None, OWN] = None
    extends: Annotated[Extends | None, OWN] = None
    valid: Valid
    sources: Annotated[Mapping[Name, Source], pydantic.Field(min_length=1), Keyed()]
    purposes: Annotated[Mapping[Name, Purpose], pydantic.Field(min_length=1), Keyed()]
    recipients: Annotated[Mapping[Name, Recipient], pydantic.Field(min_length=1), Keyed()]
    regions: Annotated[
        tuple[Region, ...] | None, pydantic.Field(min_length=1), pydantic.AfterValidator(each_once), SUBSET
    ] = None
    consent: Consent
    privacy: Privacy
    data: Data
    gate: GateRules
    images: Images | None = None
    release: Leaving | None = None
    retention: Retention | None = None
    ledger: LedgerRules | None = None
    roles: RoleLists
    people: Annotated[Mapping[Email, Person], pydantic.Field(min_length=1), Keyed()]
    approval: Approval | None = None

    @pydantic.field_validator("format")
    @classmethod
    def _known_format(cls, value: int) -> int:
        if value != FORMAT:
            raise ValueError(f"format {value} is not known; this version reads {FORMAT}")
        return value
