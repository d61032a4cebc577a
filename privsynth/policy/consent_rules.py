"""The form of a policy's ``consent``: by what evidence a subject's agreement is known, and what it must say.

What the keys mean together is in ``consent_check``; who reads the evidence is in ``consent/``.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pydantic

from privsynth.policy.directions import ABSENT, FROZEN, OWN, SUBSET, SUPERSET, Choice, Demanded, Keyed, Ladder, Order
from privsynth.policy.words import Line, Name, Part, Values, distinct

ConsentKind = Literal["register", "columns", "fhir", "iso-27560", "none"]
Withdrawal = Literal["stop-new-use", "retire-models", "retire-releases"]
Signer = Literal["patient", "legal-representative"]
RUNGS: tuple[Withdrawal, ...] = ("retire-releases", "retire-models", "stop-new-use")
"""What follows a withdrawal, the strictest first."""

ResearchCode = Literal[
    "HRESCH", "BIORCH", "CLINTRCH", "CLINTRCHNPC", "CLINTRCHPC", "PRECLINTRCH", "DSRCH", "POARCH", "TRANSRCH"
]
Action = Literal["collect", "access", "use", "disclose", "correct"]

_AGE = re.compile(r"([1-9][0-9]{0,4})(h|d)\Z")
_SECONDS = {"h": 3600, "d": 86400}


def _one_or_more(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _age(value: str) -> str:
    if not _AGE.match(value):
        raise ValueError("must be hours or days, for example 24h or 7d")
    return value


def _reference(value: str) -> str:
    if not re.fullmatch(r"(https?://[!-~]{1,400}/)?[A-Z][A-Za-z]{1,63}/[A-Za-z0-9.-]{1,64}", value):
        raise ValueError("must be references such as Organization/university-hospital")
    return value


Age = Annotated[str, pydantic.AfterValidator(_age)]
References = Annotated[
    tuple[Annotated[str, pydantic.AfterValidator(_reference)], ...],
    pydantic.Field(min_length=1),
    pydantic.AfterValidator(distinct),
]
DuoCodes = Annotated[
    tuple[Annotated[Line, pydantic.Field(max_length=160)], ...],
    pydantic.Field(min_length=1),
    pydantic.AfterValidator(distinct),
]
ResearchCodes = Annotated[
    tuple[ResearchCode, ...],
    pydantic.BeforeValidator(_one_or_more, json_schema_input_type=ResearchCode | tuple[ResearchCode, ...]),
    pydantic.AfterValidator(distinct),
]
SomeResearchCodes = Annotated[ResearchCodes, pydantic.Field(min_length=1)]


@dataclass(frozen=True)
class Within:
    """A length of time such as ``24h`` or ``7d``: shorter is tighter; not stated is no limit."""

    def order(self, before: Any, after: Any, /) -> Order:
        """See :class:`privsynth.policy.directions.Direction`."""
        if ABSENT in (before, after):
            return "same" if before is after else "tighter" if before is ABSENT else "looser"
        old, new = seconds(before), seconds(after)
        return "same" if old == new else "tighter" if new < old else "looser"

    def steps(self, value: Any, names: Sequence[str], /) -> Iterator[Any]:
        """One hour or day more."""
        yield f"{int(value[:-1]) + 1}{value[-1]}"


@dataclass(frozen=True)
class Fixed(Demanded):
    """A condition that may be added and never changed: not stated is no condition, and no mutant drops it."""

    def steps(self, value: Any, names: Sequence[str], /) -> Iterator[Any]:
        """None."""
        return iter(())


@dataclass(frozen=True)
class Meant:
    """Names by which records mean somebody: not stated is tightest. Two lists cannot be compared: with one more, more
    permissions reach her and more refusals too."""

    def order(self, before: Any, after: Any, /) -> Order:
        """See :class:`privsynth.policy.directions.Direction`."""
        if before is after or (ABSENT not in (before, after) and set(before) == set(after)):
            return "same"
        return "looser" if before is ABSENT else "tighter" if after is ABSENT else "incomparable"

    def steps(self, value: Any, names: Sequence[str], /) -> Iterator[Any]:
        """None: nothing is looser than a list that is stated."""
        return iter(())


def seconds(age: str) -> int:
    """``24h`` or ``7d`` in seconds."""
    return int(age[:-1]) * _SECONDS[age[-1]]


class ConsentColumn(Part):
    """The column of the data that says whether a row's subject agrees, and the values that mean yes."""

    column: Annotated[Line, FROZEN]
    granted: Annotated[Values, SUBSET]


class Requires(Part):
    """What a FHIR record must allow: every purpose with every action, in a record about research that is in force."""

    scope: Annotated[Literal["research"], FROZEN]
    status: Annotated[Literal["active"], FROZEN] = "active"
    purpose: Annotated[ResearchCodes, SUPERSET] = ()
    action: Annotated[
        tuple[Action, ...],
        pydantic.BeforeValidator(_one_or_more, json_schema_input_type=Action | tuple[Action, ...]),
        pydantic.Field(min_length=1),
        pydantic.AfterValidator(distinct),
        SUPERSET,
    ]


class Consent(Part):
    """How a subject's agreement is known. Whatever is not known is a no."""

    default: Annotated[Literal["deny"], FROZEN]
    by: Annotated[Literal["register", "columns", "fhir", "iso-27560", "not-required"], Choice("not-required")]
    columns: Annotated[Mapping[Name, ConsentColumn] | None, Keyed()] = None
    records: Annotated[
        tuple[Literal["fhir-r4", "fhir-r5"], ...] | None,
        pydantic.Field(min_length=1),
        pydantic.AfterValidator(lambda value: value if value is None else distinct(value)),
        SUBSET,
    ] = None
    requires: Requires | None = None
    verified_by: Annotated[
        tuple[Signer, ...] | None,
        pydantic.Field(min_length=1),
        pydantic.AfterValidator(lambda value: value if value is None else distinct(value)),
        SUBSET,
    ] = None
    max_age_of_export: Annotated[Age | None, Within()] = None
    on_withdrawal: Annotated[Withdrawal | None, Ladder(RUNGS, absent="stop-new-use")] = None
    because: Annotated[Line | None, OWN] = None

    @property
    def kind(self) -> ConsentKind:
        """The kind of evidence that a request must bring: ``none`` where nobody is asked."""
        return "none" if self.by == "not-required" else self.by

    @property
    def max_age(self) -> dt.timedelta | None:
        """How old the export of the evidence may be; None for no limit."""
        return None if self.max_age_of_export is None else dt.timedelta(seconds=seconds(self.max_age_of_export))

    @property
    def rung(self) -> Withdrawal:
        """What follows a withdrawal."""
        return self.on_withdrawal or "stop-new-use"
