"""Questions to a policy as files write them: the form of each kind of ask (``asks``, ``consent_asks``)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pydantic

from privsynth.policy.asks import Ask, CarryAsk, ConsentAsk, Earlier, GateAsk, HoldAsk, KeepAsk, ReportAsk
from privsynth.policy.consent_asks import EvidenceAsk, RecordAsk, Then, WithdrawnAsk
from privsynth.policy.consent_rules import Age, seconds
from privsynth.policy.request import Request
from privsynth.policy.thresholds import FIGURES, GAPS
from privsynth.policy.words import Count, Day, Line, Number, Part, Scalar

Figure = Annotated[Number, pydantic.Field(ge=0)]


class EarlierForm(Part):
    """Holds before the one that is asked for."""

    epsilon: Figure
    delta: Figure
    recipient: Line
    times: Count = 1


class HoldForm(Part):
    """A request for a hold; what is left out is what ``request`` of the file says."""

    source: Line
    purpose: Line
    recipient: Line
    actor: Line
    on: Day
    epsilon: Figure
    delta: Figure
    unit: Line
    rows_per_subject: Annotated[int, pydantic.Field(strict=True)] = 1
    columns: tuple[Line, ...] = ()
    consent: Line
    legal_basis: tuple[Line, ...] = ()
    noise: Literal["os-secure", "seeded"] = "os-secure"
    public_help: bool = False
    opened_report: bool = False
    after: tuple[EarlierForm, ...] = ()

    def ask(self) -> HoldAsk:
        """The request."""
        return HoldAsk(
            request=Request(
                source=self.source,
                purpose=self.purpose,
                recipient=self.recipient,
                consent=self.consent,  # type: ignore[arg-type]  # a rule denies what it does not know
                today=self.on,
                epsilon=self.epsilon,
                delta=self.delta,
                unit=self.unit,
                contribution=self.rows_per_subject,
                actor=self.actor,
                columns=self.columns,
                kind="any",
                noise=self.noise,
                public_help=self.public_help,
                legal_basis=self.legal_basis,
                opened_report=self.opened_report,
            ),
            after=tuple(
                Earlier(epsilon=e.epsilon, delta=e.delta, recipient=e.recipient, times=e.times) for e in self.after
            ),
        )


class GateForm(Part):
    """What the gate found."""

    attempt: Count = 1
    figures: Mapping[Line, Figure] = {}

    @pydantic.field_validator("figures")
    @classmethod
    def _known(cls, value: Mapping[str, float]) -> Mapping[str, float]:
        """A figure that no rule reads would say nothing."""
        for name in value:
            if name not in FIGURES and not name.startswith(GAPS):
                raise ValueError(f"{name!r} is no figure of the gate: {', '.join(FIGURES)}, {'..., '.join(GAPS)}...")
        return value

    def ask(self) -> GateAsk:
        """The question."""
        return GateAsk(attempt=self.attempt, figures=dict(self.figures))


class ConsentForm(Part):
    """One subject's cell."""

    purpose: Line
    value: Scalar

    def ask(self) -> ConsentAsk:
        """The question."""
        return ConsentAsk(purpose=self.purpose, value=self.value)


class EvidenceForm(Part):
    """How old exported evidence is, and which of the source's DUO codes somebody attests."""

    source: Line
    age: Age | None = None
    attested: tuple[Line, ...] = ()

    def ask(self) -> EvidenceAsk:
        """The question."""
        age = None if self.age is None else dt.timedelta(seconds=seconds(self.age))
        return EvidenceAsk(source=self.source, age=age, attested=self.attested)


class RecordForm(Part):
    """One FHIR record: what it allows, to whom, and who gave it."""

    purpose: Line
    recipient: Line
    form: Line
    allows: tuple[Line, ...]
    action: tuple[Line, ...]
    signed_by: Line
    to: Line | None = None

    def ask(self) -> RecordAsk:
        """The question."""
        return RecordAsk(**{name: getattr(self, name) for name in type(self).model_fields})


class WithdrawnForm(Part):
    """Somebody withdrew: what then?"""

    then: Then

    def ask(self) -> WithdrawnAsk:
        """The question."""
        return WithdrawnAsk(then=self.then)


class ReportForm(Part):
    """Who opens an internal report."""

    actor: Line

    def ask(self) -> ReportAsk:
        """The question."""
        return ReportAsk(actor=self.actor)


class CarryForm(Part):
    """What a release carries."""

    what: Literal["transcript"]

    def ask(self) -> CarryAsk:
        """The question."""
        return CarryAsk(what=self.what)


class KeepForm(Part):
    """How old a model is from which rows are drawn."""

    age: Age

    def ask(self) -> KeepAsk:
        """The question."""
        return KeepAsk(age=dt.timedelta(seconds=seconds(self.age)))


class Question(Part):
    """What is asked: one of these."""

    hold: HoldForm | None = None
    gate: GateForm | None = None
    consent: ConsentForm | None = None
    evidence: EvidenceForm | None = None
    record: RecordForm | None = None
    withdrawn: WithdrawnForm | None = None
    report: ReportForm | None = None
    carry: CarryForm | None = None
    keep: KeepForm | None = None

    @property
    def ask(self) -> Ask:
        """What is asked."""
        found: Ask = self._forms()[0].ask()
        return found

    @property
    def kinds(self) -> int:
        """How many questions stand here; one is right."""
        return len(self._forms())

    def _forms(self) -> tuple[Any, ...]:
        return tuple(form for name in Question.model_fields if (form := getattr(self, name)) is not None)
