"""Questions to a policy as files write them: the form of each kind of ask (``asks``, ``consent_asks``)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pydantic

from privsynth.policy.approval_asks import ChangeAsk, SignedAsk
from privsynth.policy.asks import Ask, CarryAsk, ConsentAsk, Earlier, GateAsk, HoldAsk, KeepAsk, ReportAsk
from privsynth.policy.consent_asks import EvidenceAsk, ReceiptAsk, RecordAsk, SubjectAsk, Then, WithdrawnAsk
from privsynth.policy.consent_rules import Age, seconds
from privsynth.policy.image_asks import MarkedAsk
from privsynth.policy.images import Mark
from privsynth.policy.ledger_asks import OpenAsk
from privsynth.policy.recipient_asks import LeaveAsk
from privsynth.policy.request import Request
from privsynth.policy.thresholds import FIGURES, GROUPED
from privsynth.policy.words import Count, Day, Line, Number, Part, PublicKey, Scalar, WitnessKey

Figure = Annotated[Number, pydantic.Field(ge=0)]


class EarlierForm(Part):
    """Holds before the one that is asked for."""

    epsilon: Figure
    delta: Figure
    recipient: Line
    times: Count = 1
    ago: Age | None = None

    def earlier(self) -> Earlier:
        """The holds."""
        ago = dt.timedelta() if self.ago is None else dt.timedelta(seconds=seconds(self.ago))
        return Earlier(epsilon=self.epsilon, delta=self.delta, recipient=self.recipient, times=self.times, ago=ago)


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
    biometric: bool = False
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
                biometric=self.biometric,
            ),
            after=tuple(e.earlier() for e in self.after),
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
            if name not in FIGURES and not name.startswith(GROUPED):
                raise ValueError(f"{name!r} is no figure of the gate: {', '.join(FIGURES)}, {'..., '.join(GROUPED)}...")
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


class ReceiptForm(Part):
    """One ISO/IEC TS 27560 receipt: for which use, on which legal basis."""

    source: Line
    purpose: Line
    recipient: Line
    legal_basis: tuple[Line, ...]

    def ask(self) -> ReceiptAsk:
        """The question."""
        return ReceiptAsk(**{name: getattr(self, name) for name in type(self).model_fields})


class SubjectForm(Part):
    """One row of a subject: what stands in the column that tells minors; nothing, where `value` is left out. And the
    population that met her first, where it is not the source's own."""

    source: Line
    value: Scalar | float | None = None
    met_in: str = ""

    def ask(self) -> SubjectAsk:
        """The question."""
        return SubjectAsk(source=self.source, value=self.value, met_in=self.met_in)


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


class MarkedForm(Part):
    """By which marks each picture of a release says that it is synthetic, and whether each carries the term of use."""

    marks: tuple[Mark, ...] = ()
    term: bool = True

    def ask(self) -> MarkedAsk:
        """The question."""
        return MarkedAsk(marks=self.marks, term=self.term)


class OpenForm(Part):
    """Whether a witness is named where the ledger is opened, and with which key it has signed."""

    witness: bool = False
    cosigned_by: WitnessKey | Literal[""] = ""

    def ask(self) -> OpenAsk:
        """The question."""
        return OpenAsk(witness=self.witness, cosigned_by=self.cosigned_by)


class LeaveForm(Part):
    """For whom a release leaves, and to which key it is encrypted; in the clear, where that is left out."""

    recipient: Line
    sealed_to: Line | None = None

    def ask(self) -> LeaveAsk:
        """The question."""
        return LeaveAsk(recipient=self.recipient, sealed_to=self.sealed_to)


class ChangeForm(Part):
    """A change of the policy, and who approved it."""

    approved_by: tuple[Line, ...] = ()
    brought_by: str = ""
    keys: Mapping[Line, PublicKey] = {}

    def ask(self) -> ChangeAsk:
        """The question."""
        return ChangeAsk(approved_by=self.approved_by, brought_by=self.brought_by, keys=dict(self.keys))


class SignedForm(Part):
    """How many people signed a release."""

    people: Count = 1

    def ask(self) -> SignedAsk:
        """The question."""
        return SignedAsk(people=self.people)


class Question(Part):
    """What is asked: one of these."""

    hold: HoldForm | None = None
    gate: GateForm | None = None
    consent: ConsentForm | None = None
    evidence: EvidenceForm | None = None
    record: RecordForm | None = None
    receipt: ReceiptForm | None = None
    subject: SubjectForm | None = None
    withdrawn: WithdrawnForm | None = None
    report: ReportForm | None = None
    carry: CarryForm | None = None
    keep: KeepForm | None = None
    marked: MarkedForm | None = None
    open: OpenForm | None = None
    leave: LeaveForm | None = None
    change: ChangeForm | None = None
    signed: SignedForm | None = None

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
