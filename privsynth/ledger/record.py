"""What the main log records, as values: populations, holds, and the budget lines that they fill."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

from privsynth.errors import LedgerError
from privsynth.ledger.entry import MEND, Entry, odd
from privsynth.ledger.terms import Terms
from privsynth.policy.new_data import DISJOINT

if TYPE_CHECKING:
    from privsynth.privacy.accountant import Prices
    from privsynth.privacy.filters import Filter

Over = Literal["population", "recipient"]
FROZEN = (
    "unit",
    "neighbours",
    "subjects",
    "holdout",
    "contribution",
    "gate share",
    "filter kind",
    "filter orders",
    "budget over population",
    "budget over recipient",
)

APART = "new data"
"""Frozen too, where populations are kept apart: then every population of the ledger is under it."""
ID_KEY = "subject ids"
"""Under which name the key of everybody's ids is kept beside those of the populations; no population is called so."""


@dataclass(frozen=True)
class Population:
    """A registered population: fields that never change again.

    Attributes:
        name: as in the policy.
        frozen: the policy's declarations, by the words used in messages (``holdout``, ``filter kind``).
        filters: the frozen parameters of each budget line's filter, by what the line is over.
        key: SHA-256 of the secret key (32 random bytes, so the digest tells nothing of it).
    """

    name: str
    frozen: Mapping[str, Any]
    filters: Mapping[str, Mapping[str, Any]] = field(repr=False)
    key: str = field(repr=False)

    def cap(self, over: Over) -> tuple[float, float]:
        """(epsilon, delta) of the budget line."""
        line = self.frozen[f"budget over {over}"]
        return float(line["epsilon"]), float(line["delta"])

    @property
    def apart(self) -> bool:
        """Whether nobody in it is in another population of the ledger."""
        return APART in self.frozen

    @property
    def training_subjects(self) -> float:
        """How many subjects a fit may expect, as declared: subjects × (1 − holdout). Public."""
        return int(self.frozen["subjects"]) * (1 - float(self.frozen["holdout"]))

    def fresh(self, over: Over) -> Filter:
        """The line's filter before anything was spent.

        Raises:
            LedgerError: this version would build another filter than the one that was frozen.
        """
        from privsynth.privacy.filters import make_filter

        epsilon, delta = self.cap(over)
        frozen, kind = self.filters[over], self.frozen["filter kind"]
        orders = tuple(float(a) for a in frozen["orders"]) if frozen.get("orders") else None
        made = make_filter(kind, epsilon=epsilon, delta=delta, orders=orders)
        if made.to_json() != frozen:
            raise LedgerError(
                f"this version of privsynth builds another {kind} filter than the one frozen for {self.name!r}",
                mend="use the version that registered the population",
            )
        return made


@dataclass(frozen=True)
class Bought:
    """A hold as recorded: its terms and price, when and where in the main log it was sold, its plan if it is of one."""

    id: str
    request: str
    population: str
    terms: Terms
    policy: str
    mu: float
    mu_fit: float
    mu_gate: float
    delta_noise: float
    delta_open: float
    delta_steps: float
    event: Mapping[str, Any] = field(repr=False)
    reserved: str = ""
    first_of_population: bool = False
    chosen_after_report: bool = False
    entry: int = -1
    expires: str = ""
    plan: str = ""

    @property
    def prices(self) -> Prices:
        """What fit and gate may each spend."""
        import dp_accounting as dpa

        from privsynth.privacy.accountant import Prices
        from privsynth.privacy.events import decode

        event = decode(self.event)
        if not isinstance(event, dpa.ComposedDpEvent) or len(event.events) != 2:
            raise LedgerError(f"hold {self.id} records no fit and gate", where=f"hold {self.id}", mend=MEND)
        fit, gate = event.events
        return Prices(
            mu=self.mu,
            mu_fit=self.mu_fit,
            mu_gate=self.mu_gate,
            fit=fit,
            gate=gate,
            delta_noise=self.delta_noise,
            delta_open=self.delta_open,
            delta_steps=self.delta_steps,
        )


@dataclass(frozen=True)
class Line:
    """A budget line and what is left of it.

    Attributes:
        over: ``population`` (the only line that is a guarantee) or ``recipient`` (a policy limit).
        name: the population's or the recipient's name.
        population: whose subjects it is about.
        filter: with everything spent so far in it.
        holds: how many holds it has paid for.
        epsilon, delta: the cap.
    """

    over: Over
    name: str
    population: str
    filter: Filter = field(repr=False)
    holds: int
    epsilon: float
    delta: float

    def spent_share(self) -> float:
        """The share of the filter that is spent, 0 to 1."""
        return self.filter.spent_share()

    def exhausted(self) -> Line:
        """The line with its whole cap spent."""
        from privsynth.privacy.filters import GdpFilter, RenyiFilter

        match self.filter:
            case GdpFilter(cap=cap, delta_a=delta):
                return replace(self, filter=replace(self.filter, spent=cap, spent_delta=Fraction(delta)))
            case RenyiFilter(caps=caps, delta_a=delta):
                return replace(self, filter=replace(self.filter, sums=caps, spent_delta=Fraction(delta)))
        raise LedgerError(f"a {self.filter.kind} filter is not known here", mend="use the version that made the ledger")

    def words(self) -> str:
        """For messages."""
        whom = (
            f"population {self.name}"
            if self.over == "population"
            else f"recipient {self.name} of population {self.population}"
        )
        return (
            f"{whom} (cap: epsilon {self.epsilon:g}, delta {self.delta:g}; spent: {self.spent_share():.1%} of the "
            f"filter by {self.holds} hold{'' if self.holds == 1 else 's'})"
        )


def population_of(entry: Entry) -> Population:
    """The population that a ``register`` entry records; every frozen field must be there."""
    body = entry.body
    frozen = {name: body["frozen"][name] for name in FROZEN}
    if APART in body["frozen"]:
        if body["frozen"][APART] != DISJOINT:
            raise odd(entry)
        frozen[APART] = DISJOINT
    return Population(body["population"], frozen, dict(body["filters"]), body["key"])


def bought_of(entry: Entry) -> Bought:
    """The hold that a ``reserve`` entry records; before there were open columns, or networks to
    train, none took a delta for them."""
    body = entry.body
    return Bought(
        id=body["hold"],
        request=body["request"],
        population=body["population"],
        terms=Terms.from_json(body["terms"]),
        policy=body["policy"],
        mu=float(body["mu"]),
        mu_fit=float(body["mu fit"]),
        mu_gate=float(body["mu gate"]),
        delta_noise=float(body["delta noise"]),
        delta_open=float(body.get("delta open", 0.0)),
        delta_steps=float(body.get("delta steps", 0.0)),
        event=body["event"],
        reserved=entry.time,
        first_of_population=body["first of population"],
        chosen_after_report=body["chosen after report"],
        entry=entry.seq,
        expires=str(body.get("expires", "")),
        plan=str(body.get("plan", "")),
    )


@cache
def accountant_version() -> str:
    """Which code priced a hold: recorded with it, so that a later change of price can be told."""
    return f"dp-accounting {version('dp-accounting')}"
