"""``Marginals``: noisy one-ways, then all pairs and the target's triples at a resolution that the noise
allows, one mixture.

Mechanism. Neighbours: add or remove one subject, whose at most k rows all may fall into one cell, so
each exact table has L2 sensitivity k. Every table gets rounded Gaussian noise of standard deviation σ,
an exact (k/σ)-GDP event (docs/proofs/noise.md). Later stages read earlier noisy tables to choose groups;
every sigma is fixed before the first read, but those of an adaptive fit's last round (rounds.py), and an exact
inner sum is checked before each table (privacy/envelope.py), so the whole fit is μ_fit-GDP for every
adaptive path: the hold's event is Gaussian(1/μ_fit). Public: the
schema, the recipe's fields, the policy's declared number of subjects. N is never read: N̂ is paid.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from fractions import Fraction
from typing import Any

from privsynth.data.codec import Codec
from privsynth.data.count import Counter, TableCounter
from privsynth.data.records import Records, Train
from privsynth.data.schema import Schema
from privsynth.documents import identity, join
from privsynth.errors import BudgetError, ConditionError, HoldError, MissingExtra, ModelError, SchemaError
from privsynth.generators.base import check_rows
from privsynth.generators.marginals.domains import (
    NO_DOMAINS,
    Domains,
    domain_cost,
    lay_out_domains,
    learn_domains,
    most_cells,
    open_columns,
)
from privsynth.generators.marginals.estimate import estimate
from privsynth.generators.marginals.measure import Till, measure
from privsynth.generators.marginals.model import MarginalModel
from privsynth.generators.marginals.plan import Plan, lay_out, sampler_error
from privsynth.generators.marginals.public import PublicHelp, PublicRows
from privsynth.generators.marginals.purse import Purse
from privsynth.generators.marginals.rounds import check_last_round
from privsynth.generators.marginals.terms import Terms
from privsynth.generators.marginals.transcript import MarginalTranscript
from privsynth.generators.marginals.workload import Clique, Workload
from privsynth.ledger.store import Hold
from privsynth.privacy.accountant import Prices
from privsynth.privacy.budget import Budget
from privsynth.privacy.events import Provenance, Receipt
from privsynth.privacy.gdp import root_down
from privsynth.privacy.noise import MAX_SIGMA, NoiseSource, SecureNoise
from privsynth.progress import SILENT, Progress

DEVICES = ("cpu", "cuda")
ROUNDS = ("fixed", "adaptive")


@dataclass(frozen=True)
class Marginals:
    """A recipe for tables. All fields may be published.

    Args:
        schema: public description of the table.
        budget: the whole release's price, gate included.
        target: a column whose pairs get three times the weight (``workload``'s ``target_weight``), and whose
            triples with every two other columns are measured too.
        components: of the mixture (R); by default 64 to 1,000, by the paid N̂ and the budget.
        steps: of the free fit; 300.
        workload: what the fit is to get right; all pairs (and the target's triples) by default.
        public: a public table that takes noise out of the fit where its law is near; its rows are given to
            :meth:`fit`. It costs nothing and never counts as private.
        rounds: ``fixed``, or ``adaptive``: half of what the pairs get is spent in a last round on those that stand
            out of the noise of the first (rounds.py).
        device: ``cpu`` or ``cuda``, for the free fit. A model refits to the same bytes on the same kind of
            device.

    Raises:
        SchemaError, ConditionError: the schema has pictures; the target or a column of the workload is not a
            learned column; a query of the workload is beyond its column's domain or cuts a cell.
        BudgetError: components, steps or device out of range.
    """

    schema: Schema
    budget: Budget
    target: str | None = None
    components: int | None = None
    steps: int = 300
    workload: Workload = field(default_factory=Workload)
    device: str = "cpu"
    public: PublicHelp | None = None
    rounds: str = "fixed"

    def __post_init__(self) -> None:
        if self.public is not None and not isinstance(self.public, PublicHelp):
            raise SchemaError(
                f"public is {self.public!r}", where="Marginals.public", mend="PublicHelp.of(rows, note=...)"
            )
        if self.schema.pictures:
            raise SchemaError(
                f"{join(list(self.schema.pictures))}: tables have no pictures",
                where="Marginals.schema",
                mend="declare the column `dropped: true`",
            )
        self.workload.check(self.schema)
        self.workload.check_description()
        if self.device not in DEVICES:
            raise BudgetError(f"device is {self.device!r}", where="Marginals.device", mend=" or ".join(DEVICES))
        if self.rounds not in ROUNDS:
            raise BudgetError(f"rounds is {self.rounds!r}", where="Marginals.rounds", mend=" or ".join(ROUNDS))
        if self.target is not None and self.target not in self.schema.modelled:
            what, mend = self.schema.not_modelled(self.target)
            raise SchemaError(f"target {self.target!r} is {what}", where="Marginals.target", mend=mend)
        for name, value, top in (("components", self.components, 10_000), ("steps", self.steps, 100_000)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= top):
                raise BudgetError(f"{name} is {value!r}", where=f"Marginals.{name}", mend=f"1 to {top}")

    # --- Priced ---------------------------------------------------------------------------------

    @property
    def kind(self) -> str:
        """As written in study files."""
        return "marginals"

    @property
    def source(self) -> str:
        """The registered source that the schema names."""
        return self.schema.source

    @property
    def unit(self) -> str:
        """``row`` unit's name, or empty: the policy names the unit behind a subject column."""
        return self.schema.subject.each_row_is_a or ""

    @property
    def contribution(self) -> int:
        """k."""
        return self.schema.subject.contribution

    @property
    def selects(self) -> bool:
        """Whether the schema has open category sets."""
        return bool(open_columns(self.schema))

    @property
    def trains(self) -> bool:
        """Never: it counts."""
        return False

    def describe(self) -> dict[str, Any]:
        """Every field as JSON values."""
        out: dict[str, Any] = {"kind": self.kind}
        for entry in fields(self):
            value = getattr(self, entry.name)
            match value:
                case None if entry.name == "public":
                    continue
                case "fixed" if entry.name == "rounds":
                    continue
                case Schema() | PublicHelp():
                    out[entry.name] = value.to_json()
                case Workload():
                    out[entry.name] = value.to_json()
                case Budget(epsilon=epsilon, delta=delta, neighbours=neighbours):
                    out[entry.name] = {"epsilon": epsilon, "delta": delta, "neighbours": neighbours}
                case _:
                    out[entry.name] = value
        return out

    @classmethod
    def from_description(cls, value: Mapping[str, Any]) -> Marginals:
        """The recipe that :meth:`describe` described.

        Raises:
            ModelError: not such a value.
        """
        try:
            budget = Budget(**value["budget"])
            schema = Schema.from_json(value["schema"])
            return cls(
                schema,
                budget,
                target=value["target"],
                components=value["components"],
                steps=value["steps"],
                workload=Workload.from_json(value["workload"]),
                device=value["device"],
                public=PublicHelp.from_json(value["public"]) if "public" in value else None,
                rounds=value.get("rounds", ROUNDS[0]),
            )
        except (AttributeError, KeyError, TypeError, ValueError, SchemaError, ConditionError, BudgetError):
            raise ModelError("not a recipe of this version", mend="use the version that wrote it") from None

    @property
    def identity(self) -> str:
        """SHA-256 of :meth:`describe`."""
        return identity(self.describe())

    # --- the step -------------------------------------------------------------------------------

    def fit(
        self,
        train: Train,
        hold: Hold,
        *,
        noise: NoiseSource | None = None,
        public: PublicRows | None = None,
        progress: Progress = SILENT,
    ) -> MarginalModel:
        """Measure, make the transcript durable, then fit it.

        Args:
            train: the training side of a split.
            hold: bought for exactly this recipe, source, purpose and recipient; opened once.
            noise: None for the operating system's secure source. A seeded source is for tests: the
                model says so and no gate passes it.
            public: the rows of the public table that the recipe declares, as ``read_public`` gives them.

        Raises:
            HoldError: public rows other than the declared, or private ones; another recipe, source, purpose or
                recipient, or a hold already opened.
            LedgerError, StorageError: the ledger cannot record it; nothing was measured.
        """
        source = noise if noise is not None else SecureNoise()
        if train.schema.sha256 != self.schema.sha256:
            raise HoldError("the records were read by another schema than the recipe's", mend="read them by this one")
        check_rows(train, hold)
        _check_public(self.public, public, train=train.records)
        self.check_sampler(hold.prices, rows=hold.training_subjects, cap_epsilon=hold.cap_epsilon)
        self.check_machine()
        hold.open_fit(
            recipe=self.identity,
            source=train.source,
            purpose=train.purpose,
            recipient=train.recipient,
            benchmark=train.benchmark,
        )
        transcript = self.buy(train.records, Terms.of(hold), noise=source, public=public, progress=progress)
        hold.deposit(transcript.to_bytes())
        return self.refit(transcript, self.receipt(hold, transcript), progress=progress)

    def buy(
        self,
        records: Records,
        terms: Terms,
        *,
        noise: NoiseSource,
        public: PublicRows | None = None,
        progress: Progress = SILENT,
    ) -> MarginalTranscript:
        """Every noisy table: the only step that reads rows. Once for a hold, after it was opened: by :meth:`fit`, or
        by a recipe whose tables are a part of what its hold buys."""
        domains = self._learn(records, terms, noise=noise, progress=progress)
        counter = _counter(records, Codec(self.schema, domains.learned))
        return self._measure(counter, terms=terms, noise=noise, public=public, progress=progress, domains=domains)

    def check_machine(self) -> None:
        """Whether the free fit can run here, before anything is paid.

        Raises:
            MissingExtra: no torch, or no such device.
        """
        try:
            from privsynth.generators.marginals.mixture import check_device
        except ImportError:
            raise MissingExtra("fitting needs torch", mend="pip install 'privsynth[generate]'") from None
        check_device(self.device)

    def resume(self, transcript: bytes, hold: Hold, *, progress: Progress = SILENT) -> MarginalModel:
        """The model of the bytes that a fit deposited with ``hold``: free.

        Raises:
            HoldError: bought for another recipe. ModelError: not a whole transcript.
        """
        told = MarginalTranscript.from_bytes(transcript)
        return self.refit(told, self.receipt(hold, told), progress=progress)

    def receipt(self, hold: Hold, transcript: MarginalTranscript) -> Receipt:
        """What was paid for a transcript, for the model to carry."""
        noise: Provenance = "os-secure" if transcript.noise == "os-secure" else "seeded"
        return hold.receipt(noise=noise, schema=self.schema.sha256, person_rows=self.schema.subject.person_rows)

    def _learn(self, records: Records, terms: Terms, *, noise: NoiseSource, progress: Progress) -> Domains:
        """The cells and categories that the schema leaves to the fit, bought from the raw rows."""
        asks = lay_out_domains(self.schema, mu=terms.mu, contribution=self.contribution)
        if not asks:
            return NO_DOMAINS
        progress.step("learn the domains (paid)", len(asks))
        domains = learn_domains(
            records.frame,
            records.subjects,
            self.schema,
            asks,
            Purse(noise, cap=terms.cap),
            contribution=terms.contribution,
            delta=terms.delta_open,
        )
        progress.advance(len(asks))
        return domains

    def _measure(
        self,
        counter: Counter,
        *,
        terms: Terms,
        noise: NoiseSource,
        public: PublicRows | None = None,
        progress: Progress = SILENT,
        domains: Domains = NO_DOMAINS,
    ) -> MarginalTranscript:
        """Every noisy table over cells that what the domains left buys."""
        codec = Codec(self.schema, domains.learned)
        plan = self.plan(mu=terms.mu, rows=terms.rows, hold_back=terms.hold_back, domains=domains)
        return measure(
            Till(
                counter,
                contribution=terms.contribution,
                noise=noise,
                cap=terms.cap - domains.mu_squared,
                progress=progress,
            ),
            plan,
            codec,
            target=self._target,
            queries=self.workload.queries,
            recipe=self.identity,
            noise=noise,
            progress=progress,
            public=None if public is None else _counter(public, codec),
            domains=domains,
        )

    @property
    def pair_weights(self) -> dict[Clique, float]:
        """Pairs that the workload asks for, as column numbers, with their weights."""
        return self.workload.pairs(list(self.schema.modelled), self._target)

    @property
    def _target(self) -> int | None:
        return None if self.target is None else list(self.schema.modelled).index(self.target)

    def plan(self, *, mu: float, rows: float, hold_back: bool = True, domains: Domains | None = None) -> Plan:
        """How ``mu`` would be laid out for ``rows`` declared training subjects: public, free.

        Args:
            domains: what the domain stage gave; None before it: then it costs all it may, and every learned
                column has the most cells that it may.
        """
        if domains is None:
            asks = lay_out_domains(self.schema, mu=mu, contribution=self.contribution)
            spent = domain_cost(asks, self.contribution)
            cells = self._most_cells()
        else:
            asks, spent = (), domains.mu_squared
            cells = [c.cells for c in Codec(self.schema, domains.learned).columns]
        left = root_down(Fraction(mu) ** 2 - spent) if spent else mu
        return replace(self._lay_out(left, rows, cells, hold_back), domains=asks)

    def _most_cells(self) -> list[int]:
        """The cells of each column, of learned ones the most that they may get."""
        return [most_cells(self.schema, c.name) or c.cells for c in Codec(self.schema).columns]

    def _lay_out(self, mu: float, rows: float, cells: Sequence[int], hold_back: bool) -> Plan:
        return lay_out(
            names=list(self.schema.modelled),
            cells=cells,
            mu=mu,
            contribution=self.contribution,
            rows=rows,
            target=self._target,
            workload=self.workload,
            recipe=self.identity,
            hold_back=hold_back,
            helped=self.public is not None,
            adaptive=self.rounds == "adaptive",
        )

    def _least(self, plan: Plan, prices: Prices, *, rows: float) -> None:
        """Whether a learned column may come out with one cell, and so the most noise, beside the widest of others.

        Raises:
            BudgetError: its sigma would be beyond the sampler's range.
        """
        learned = [i for i, name in enumerate(self.schema.modelled) if most_cells(self.schema, name) is not None]
        if learned:  # which of them is alike: it counts as one cell
            narrow = self._most_cells()
            narrow[learned[0]] = 1
            left = Fraction(prices.mu_fit) ** 2 - domain_cost(plan.domains, self.contribution)
            self._lay_out(root_down(left), rows, narrow, prices.mu_gate > 0)

    def check_sampler(self, prices: Prices, *, rows: float, cap_epsilon: float) -> Plan:
        """The plan, if its sampler error fits in the slice of delta that the hold pays for it.

        The noise tables are exact to a total variation TV a draw; (1 + e^ε*)·ΣTV over all draws, the
        gate's too, must stay within that slice (docs/proofs/noise.md). Public, before anything is spent.

        Raises:
            BudgetError: it does not fit, or a sigma is beyond the sampler's range.
        """
        plan = self.plan(mu=prices.mu_fit, rows=rows, hold_back=prices.mu_gate > 0)
        cells = self._most_cells()
        error = sampler_error(plan, cells)
        if plan.domains:  # what they leave is laid out anew: no more tables than the whole would buy, at any sigma
            self._least(plan, prices, rows=rows)
            whole = self._lay_out(prices.mu_fit, rows, cells, prices.mu_gate > 0)
            error = sampler_error(replace(whole, domains=plan.domains), cells, at=MAX_SIGMA)
        factor = 1 + Fraction(math.exp(min(cap_epsilon, 700.0)) * (1 + 1e-12))
        if factor * error > Fraction(prices.delta_noise):
            raise BudgetError(
                f"at a cap of epsilon {cap_epsilon:g} the sampler's rounding would cost more than the "
                f"{prices.delta_noise:g} of delta set aside for it",
                where="Marginals.budget",
                mend="a smaller cap in the policy, or a larger delta",
            )
        return plan

    def refit(self, transcript: MarginalTranscript, receipt: Receipt, *, progress: Progress = SILENT) -> MarginalModel:
        """The model of a transcript: free, from noisy tables alone, the same bytes each time.

        Raises:
            HoldError: the transcript was bought for another recipe.
        """
        if transcript.recipe != self.identity or receipt.recipe != self.identity:
            raise HoldError("the transcript belongs to another recipe", mend="refit with the recipe that bought it")
        check_last_round(transcript, self, mu_fit=receipt.mu_fit)
        return self.fitted(transcript, receipt, progress=progress)

    def fitted(self, transcript: MarginalTranscript, receipt: Receipt, *, progress: Progress = SILENT) -> MarginalModel:
        """The same, whatever the receipt was paid for: of tables that are a part of what another recipe bought."""
        self.check_machine()
        from privsynth.generators.marginals.mixture import fit_mixture

        columns = Codec(self.schema, transcript.learned).columns
        found = estimate(transcript, columns, target=self._target, steps=self.steps)
        mixture = fit_mixture(
            found.targets,
            components=self.components or found.components,
            steps=self.steps,
            seed=int(transcript.sha256[:12], 16),
            progress=progress,
            device=self.device,
        )
        return MarginalModel(
            schema=self.schema,
            receipt=receipt,
            transcript=transcript,
            recipe=self.describe(),
            rows=found.ones.rows,
            rows_sigma=found.ones.rows_sigma,
            weights=mixture.weights,
            tables=mixture.tables,
            groups=found.groups,
            within=found.within,
        )


def _counter(records: Records | PublicRows, codec: Codec) -> Counter:
    """Counts these rows by the cells of ``codec``."""
    return TableCounter(codec.encode(records.frame), [c.cells for c in codec.columns])


def _check_public(declared: PublicHelp | None, given: PublicRows | None, *, train: Records) -> None:
    """Refuse a public table other than the declared, or one of private rows, before the hold is opened.

    Raises:
        HoldError: one is given and none declared, one is declared and none given, they differ, or it is private.
    """
    if declared is None and given is not None:
        raise HoldError(
            "the recipe declares no public table", mend="declare it: `public=PublicHelp.of(rows, note=...)`"
        )
    if declared is not None and given is None:
        raise HoldError("the recipe declares a public table", mend="give its rows: `fit(..., public=rows)`")
    if declared is not None and given is not None:
        declared.check(given, train=train)
