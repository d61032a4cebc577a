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

from privsynth.policy.gate_rules import GateRules
from privsynth.policy.words import (
    Count,
    Day,
    Delta,
    Email,
    Epsilon,
    Line,
    Name,
    Names,
    Part,
    Share,
    SomeLines,
    SomeNames,
    Unit,
    Values,
)

FORMAT = 1
MAX_ORDERS = 64
ConsentKind = Literal["register", "columns", "none"]
DeltaBelow = Literal["1/(1000*subjects)", "1/subjects"]
_TIMES_SUBJECTS: Mapping[str, int] = {"1/(1000*subjects)": 1000, "1/subjects": 1}


class Valid(Part):
    """The days on which requests may be granted, both included."""

    from_: Day
    until: Day


class Contribution(Part):
    """The most that one subject puts into a fit."""

    max_rows_per_subject: Count


class Source(Part):
    """A registered source: where rows come from, and whose they are.

    ``subjects`` is the public number of people in the population, rounded down; ``holdout`` is the share
    of them that no fit ever sees. All of it is frozen per population when the ledger is created.
    """

    population: Name
    holdout: Share
    subjects: Count
    unit: Unit
    neighbours: Literal["add-or-remove"]
    contribution: Contribution

    @property
    def k(self) -> int:
        """The contribution bound: at most k rows of a subject enter a fit."""
        return self.contribution.max_rows_per_subject

    @property
    def declared_train(self) -> Fraction:
        """``subjects * (1 - holdout)``, exactly: the declared number of subjects that a fit may see."""
        return self.subjects * (1 - Fraction(str(self.holdout)))


class Purpose(Part):
    """Why data are used, and the legal basis that the owner claims for it (text; not judged here)."""

    legal_basis: SomeLines


class Recipient(Part):
    """Who may receive releases, and for which purposes."""

    purposes: SomeNames


class ConsentColumn(Part):
    """The column of the data that says whether a row's subject agrees, and the values that mean yes."""

    column: Line
    granted: Values


class Consent(Part):
    """How a subject's agreement is known. Whatever is not known is a no."""

    default: Literal["deny"]
    by: Literal["register", "columns", "not-required"]
    columns: Mapping[Name, ConsentColumn] | None = None
    because: Line | None = None

    @property
    def kind(self) -> ConsentKind:
        """The kind of evidence that a request must bring: ``none`` where nobody is asked."""
        return "none" if self.by == "not-required" else self.by


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

    kind: Literal["gdp", "rdp"]
    orders: Annotated[Literal["auto"] | tuple[float, ...], pydantic.BeforeValidator(_orders)] = "auto"

    @property
    def fixed_orders(self) -> tuple[float, ...] | None:
        """The orders that the file lists; None for ``auto``."""
        return None if self.orders == "auto" else tuple(self.orders)


class BudgetLine(Part):
    """The most that may ever be spent, for ever, over a whole population or towards one recipient."""

    over: Literal["population", "recipient"]
    epsilon: Epsilon
    delta: Delta


class PerRelease(Part):
    """What one release may cost, fit and gate together."""

    max_epsilon: Epsilon
    max_delta: Delta
    delta_below: DeltaBelow

    def delta_limit(self, subjects: int) -> Fraction:
        """The exact value that delta must stay below at ``subjects`` declared subjects."""
        return Fraction(1, _TIMES_SUBJECTS[self.delta_below] * subjects)


class Privacy(Part):
    """Budgets and limits of the proof."""

    filter: FilterRule
    budget: Annotated[tuple[BudgetLine, ...], pydantic.Field(min_length=1)]
    per_release: PerRelease
    noise: Literal["os-secure-only"]

    def line(self, over: Literal["population", "recipient"]) -> BudgetLine | None:
        """The budget line over ``over``; None if there is none (never for population)."""
        return next((line for line in self.budget if line.over == over), None)


class Data(Part):
    """How much data there must be, by declared sizes, and whether public rows may be declared beside them."""

    min_rows: Count
    public_help: Literal["refused", "allowed"] | None = None


class Leaving(Part):
    """What a release carries beside its rows. ``transcript: published``: the noisy tables that were paid for, from
    which anyone fits the model again."""

    transcript: Literal["withheld", "published"]


class RoleLists(Part):
    """Which roles may do what. The two lists must be disjoint, and so must the people behind them, unless
    ``overlap: marked`` lets one person hold both: then every statement after a look says so."""

    requesters_of_holds: SomeNames
    readers_of_internal_reports: Names
    overlap: Literal["refused", "marked"] = "refused"


class Person(Part):
    """What a person may do."""

    roles: SomeNames


class PolicyFile(Part):
    """A whole policy file."""

    format: Annotated[int, pydantic.Field(alias="privsynth-policy", strict=True)]
    id: Name
    version: Name
    owner: Line
    valid: Valid
    sources: Annotated[Mapping[Name, Source], pydantic.Field(min_length=1)]
    purposes: Annotated[Mapping[Name, Purpose], pydantic.Field(min_length=1)]
    recipients: Annotated[Mapping[Name, Recipient], pydantic.Field(min_length=1)]
    consent: Consent
    privacy: Privacy
    data: Data
    gate: GateRules
    release: Leaving | None = None
    roles: RoleLists
    people: Annotated[Mapping[Email, Person], pydantic.Field(min_length=1)]

    @pydantic.field_validator("format")
    @classmethod
    def _known_format(cls, value: int) -> int:
        if value != FORMAT:
            raise ValueError(f"format {value} is not known; this version reads {FORMAT}")
        return value
