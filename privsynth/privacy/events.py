"""What a mechanism did, recorded and never reinterpreted.

Events are dp_accounting's frozen ``DpEvent`` values. A closed set of them has a JSON form (ledger
entries and receipts are JSON); anything else is refused, so an unknown mechanism can be neither
written, read nor priced. Decoding builds values from a table; it never imports what data names.

``GaussianDpEvent(noise_multiplier)`` also stands for an *envelope*: a fit that is proved μ-GDP with
μ = 1/noise_multiplier for every adaptive path has the Gaussian as its exactly dominating pair.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

from privsynth.errors import BudgetError, ModelError
from privsynth.privacy.budget import Neighbours

if TYPE_CHECKING:
    from dp_accounting import DpEvent

Provenance = Literal["os-secure", "seeded"]


def encode(event: DpEvent) -> dict[str, Any]:
    """``event`` as JSON values.

    Raises:
        BudgetError: an event outside the closed set (Gaussian, Laplace, composed, self-composed,
            Poisson-sampled, no-op).
    """
    import dp_accounting as dpa

    match event:
        case dpa.NoOpDpEvent():
            return {"type": "no-op"}
        case dpa.GaussianDpEvent(noise_multiplier=sigma):
            return {"type": "gaussian", "noise multiplier": float(sigma)}
        case dpa.LaplaceDpEvent(noise_multiplier=scale):
            return {"type": "laplace", "noise multiplier": float(scale)}
        case dpa.PoissonSampledDpEvent(sampling_probability=q, event=inner):
            return {"type": "poisson sampled", "probability": float(q), "event": encode(inner)}
        case dpa.SelfComposedDpEvent(event=inner, count=count):
            return {"type": "self composed", "count": int(count), "event": encode(inner)}
        case dpa.ComposedDpEvent(events=events):
            return {"type": "composed", "events": [encode(inner) for inner in events]}
        case _:
            raise BudgetError(
                f"event {type(event).__name__} has no recorded form and no proved price",
                mend="use Gaussian, Laplace, Poisson-sampled or composed events",
            )


def decode(value: Mapping[str, Any]) -> DpEvent:
    """The event that :func:`encode` wrote.

    Raises:
        ModelError: not such a value.
    """
    import dp_accounting as dpa

    try:
        match value["type"]:
            case "no-op":
                return dpa.NoOpDpEvent()
            case "gaussian":
                return dpa.GaussianDpEvent(float(value["noise multiplier"]))
            case "laplace":
                return dpa.LaplaceDpEvent(float(value["noise multiplier"]))
            case "poisson sampled":
                return dpa.PoissonSampledDpEvent(float(value["probability"]), decode(value["event"]))
            case "self composed":
                return dpa.SelfComposedDpEvent(decode(value["event"]), int(value["count"]))
            case "composed":
                return dpa.ComposedDpEvent([decode(inner) for inner in value["events"]])
    except (KeyError, TypeError, ValueError):
        pass
    raise ModelError("not a recorded privacy event", mend="restore the file from a backup")


@dataclass(frozen=True)
class Receipt:
    """What was paid for a model, and what that bought: travels inside the model and its outputs.

    Attributes:
        hold: id of the ledger's hold.
        population, source, purpose, recipient, unit: as registered in the policy.
        contribution: at most this many rows of a subject entered the fit (k).
        person_rows: rows a person may have where the unit is a row; 1 where the unit is the person.
        epsilon, delta: the whole release's price (fit and gate).
        mu: GDP parameter of fit and gate together.
        mu_fit, mu_gate: their parts; mu² = mu_fit² + mu_gate².
        event: JSON of the composed event (fit, then gate).
        cap_epsilon, cap_delta, filter: the population's filter, which bounds everything ever released.
        subjects: the policy's declared number of subjects (public).
        apart: the ledger keeps populations apart: nobody counts in two of them. Left out of its JSON where it does not,
            as receipts of earlier versions leave it out.
        noise: ``os-secure``, or ``seeded`` (tests; no gate passes it).
        first_of_population: the recipe was committed before the first hold of the population: it is that hold, or one
            of a plan that was sold before any other.
        chosen_after_report: the requester had opened an internal report before reserving.
        recipe, schema, policy: SHA-256 of their canonical JSON.
        reserved: time of the hold, ISO 8601 UTC.
        evidence: what shows that a ledger sold the hold, as files by name (:mod:`privsynth.ledger.evidence`); no part
            of its JSON, and kept beside it.
    """

    hold: str
    population: str
    source: str
    purpose: str
    recipient: str
    unit: str
    contribution: int
    person_rows: int
    epsilon: float
    delta: float
    neighbours: Neighbours
    mu: float
    mu_fit: float
    mu_gate: float
    event: Mapping[str, Any] = field(repr=False)
    cap_epsilon: float = 0.0
    cap_delta: float = 0.0
    filter: str = ""
    subjects: int = 0
    apart: bool = False
    noise: Provenance = "os-secure"
    first_of_population: bool = False
    chosen_after_report: bool = False
    recipe: str = ""
    schema: str = ""
    policy: str = ""
    reserved: str = ""
    evidence: Mapping[str, bytes] = field(default_factory=dict, repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """The receipt as JSON values."""
        value = {**asdict(self), "event": dict(self.event)}
        del value["evidence"]
        if not self.apart:
            del value["apart"]
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Receipt:
        """The receipt that :meth:`to_json` wrote; unknown or missing fields are a :class:`ModelError`."""
        names = {f.name for f in fields(cls) if f.compare}
        if not isinstance(value, Mapping) or {*value, "apart"} != names or value.get("apart", True) is not True:
            raise ModelError("not a receipt of this version", mend="use the version of privsynth that wrote it")
        return cls(**value)
