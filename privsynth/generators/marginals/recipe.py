"""``Marginals``: noisy one-ways, then all pairs at a resolution that the noise allows, one mixture.

Mechanism. Neighbours: add or remove one subject, whose at most k rows all may fall into one cell, so
each exact table has L2 sensitivity k. Every table gets rounded Gaussian noise of standard deviation σ,
an exact (k/σ)-GDP event (docs/proofs/noise.md). Stages read earlier noisy tables to choose groups;
their μ² are fixed before the first read and an exact inner sum is checked before each table, so the
whole fit is μ_fit-GDP for every adaptive path: the hold's event is Gaussian(1/μ_fit). Public: the
schema, the recipe's fields, the policy's declared number of subjects. N is never read: N̂ is paid.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any

import numpy as np

from privsynth.data.codec import Codec
from privsynth.data.count import Counter, Grouping, TableCounter
from privsynth.data.records import Train
from privsynth.data.schema import Schema
from privsynth.documents import identity
from privsynth.errors import BudgetError, HoldError, MissingExtra, ModelError, SchemaError
from privsynth.generators.marginals.model import MarginalModel
from privsynth.generators.marginals.plan import HELD_BACK_GROUPS, Plan, lay_out, resolution, sampler_error
from privsynth.generators.marginals.resolve import Floats, OneWays, equal_mass_groups, one_ways
from privsynth.generators.marginals.transcript import Groups, MarginalTranscript, Measurement
from privsynth.ledger.store import Hold
from privsynth.privacy.accountant import Prices, mu_squared
from privsynth.privacy.budget import Budget
from privsynth.privacy.events import Provenance, Receipt
from privsynth.privacy.noise import NoiseSource, SecureNoise
from privsynth.progress import SILENT, Progress


@dataclass(frozen=True)
class Marginals:
    """A recipe for tables. All fields may be published.

    Args:
        schema: public description of the table.
        budget: the whole release's price, gate included.
        target: a column whose pairs get three times the weight.
        components: of the mixture (R); by default 600, fewer for very many cells.
        steps: of the free fit; 400.

    Raises:
        SchemaError: the target is not a learned column.
        BudgetError: components or steps out of range.
    """

    schema: Schema
    budget: Budget
    target: str | None = None
    components: int | None = None
    steps: int = 400

    def __post_init__(self) -> None:
        if self.target is not None and self.target not in self.schema.learned:
            raise SchemaError(
                f"target {self.target!r} is not a learned column",
                where="Marginals.target",
                mend=f"one of {', '.join(self.schema.learned)}",
            )
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

    def describe(self) -> dict[str, Any]:
        """Every field as JSON values."""
        out: dict[str, Any] = {"kind": self.kind}
        for field in fields(self):
            value = getattr(self, field.name)
            match value:
                case Schema():
                    out[field.name] = value.to_json()
                case Budget(epsilon=epsilon, delta=delta, neighbours=neighbours):
                    out[field.name] = {"epsilon": epsilon, "delta": delta, "neighbours": neighbours}
                case _:
                    out[field.name] = value
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
            return cls(schema, budget, target=value["target"], components=value["components"], steps=value["steps"])
        except (KeyError, TypeError):
            raise ModelError("not a recipe of this version", mend="use the version that wrote it") from None

    @property
    def identity(self) -> str:
        """SHA-256 of :meth:`describe`."""
        return identity(self.describe())

    # --- the step -------------------------------------------------------------------------------

    def fit(
        self, train: Train, hold: Hold, *, noise: NoiseSource | None = None, progress: Progress = SILENT
    ) -> MarginalModel:
        """Measure, make the transcript durable, then fit it.

        Args:
            train: the training side of a split.
            hold: bought for exactly this recipe, source, purpose and recipient; opened once.
            noise: None for the operating system's secure source. A seeded source is for tests: the
                model says so and no gate passes it.

        Raises:
            HoldError: another recipe, source, purpose or recipient, or a hold already opened.
            LedgerError, StorageError: the ledger cannot record it; nothing was measured.
        """
        source = noise if noise is not None else SecureNoise()
        if train.schema.sha256 != self.schema.sha256:
            raise HoldError("the records were read by another schema than the recipe's", mend="read them by this one")
        _check_rows(train, hold)
        codec = Codec(self.schema)
        counter = TableCounter(codec.encode(train.records.frame), [c.cells for c in codec.columns])
        self.check_sampler(hold.prices, rows=hold.training_subjects, cap_epsilon=hold.cap_epsilon)
        hold.open_fit(recipe=self.identity, source=train.source, purpose=train.purpose, recipient=train.recipient)
        transcript = self._measure(counter, hold=hold, noise=source, progress=progress)
        hold.deposit(transcript.to_bytes())
        return self.refit(transcript, self.receipt(hold, transcript), progress=progress)

    def receipt(self, hold: Hold, transcript: MarginalTranscript) -> Receipt:
        """What was paid for a transcript, for the model to carry."""
        noise: Provenance = "os-secure" if transcript.noise == "os-secure" else "seeded"
        return hold.receipt(noise=noise, schema=self.schema.sha256, person_rows=self.schema.subject.person_rows)

    def _measure(
        self, counter: Counter, *, hold: Hold, noise: NoiseSource, progress: Progress = SILENT
    ) -> MarginalTranscript:
        """Every noisy table that the hold's μ_fit buys: the only step that reads counts. Once, from ``fit``,
        after the hold is opened. Noise counts as secure only from the secure source itself, not by its word."""
        codec = Codec(self.schema)
        cap = mu_squared(hold.prices.fit)
        plan = self.plan(mu=hold.prices.mu_fit, rows=hold.training_subjects, hold_back=hold.prices.mu_gate > 0)
        till = _Till(counter, hold.contribution, noise, cap, progress)
        progress.step("measure (paid)", len(codec.columns) + len(plan.held_back) + len(plan.pairs))
        for c in range(len(codec.columns)):
            till.buy("one-way", (c,), {}, plan.one_way_sigma)
        ones = one_ways(till.bought, codec.columns)
        if plan.held_back:
            coarse = self._groups(ones, HELD_BACK_GROUPS)
            for clique in plan.held_back:
                till.buy("held-back", clique, coarse, plan.held_back_sigma)
        if plan.pairs:
            fine = self._groups(ones, self._resolution(plan, ones, hold.prices.mu_fit))
            for clique, sigma in zip(plan.pairs, plan.pair_sigmas, strict=True):
                till.buy("pair", clique, fine, sigma)
        provenance = "os-secure" if type(noise) is SecureNoise else "seeded"
        return MarginalTranscript(tuple(till.bought), self.identity, provenance)

    def plan(self, *, mu: float, rows: float, hold_back: bool = True) -> Plan:
        """How ``mu`` would be laid out for ``rows`` declared training subjects: public, free."""
        names = list(self.schema.learned)
        return lay_out(
            columns=len(names),
            mu=mu,
            contribution=self.contribution,
            rows=rows,
            target=None if self.target is None else names.index(self.target),
            recipe=self.identity,
            hold_back=hold_back,
        )

    def check_sampler(self, prices: Prices, *, rows: float, cap_epsilon: float) -> Plan:
        """The plan, if its sampler error fits in the slice of delta that the hold pays for it.

        The noise tables are exact to a total variation TV a draw; (1 + e^ε*)·ΣTV over all draws, the
        gate's too, must stay within that slice (docs/proofs/noise.md). Public, before anything is spent.

        Raises:
            BudgetError: it does not fit, or a sigma is beyond the sampler's range.
        """
        plan = self.plan(mu=prices.mu_fit, rows=rows, hold_back=prices.mu_gate > 0)
        error = sampler_error(plan, [c.cells for c in Codec(self.schema).columns])
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
        try:
            from privsynth.generators.marginals.mixture import Targets, fit_mixture
        except ImportError:
            raise MissingExtra("fitting needs torch", mend="pip install 'privsynth[generate]'") from None
        codec = Codec(self.schema)
        ones = one_ways(transcript.stage("one-way"), codec.columns)
        pairs = transcript.stage("pair")
        groups = _column_groups(pairs, [c.cells for c in codec.columns], ones)
        sizes = tuple(int(g.max()) + 1 for g in groups)
        shares: list[Floats] = []
        precisions: list[Floats] = []
        within: list[Floats] = []
        for c, g in enumerate(groups):
            mass: Floats = np.bincount(g, weights=ones.counts[c]).astype(np.float64)
            even = 1.0 / np.bincount(g)[g]
            within.append(np.divide(ones.counts[c], mass[g], out=even, where=mass[g] > 0))
            shares.append(mass / ones.rows)
            precisions.append((ones.rows**2 / (np.bincount(g) * ones.variance[c])).astype(np.float64))
        wanted = {(m.clique[0], m.clique[1]): (m.counts / ones.rows, ones.rows**2 / m.variance) for m in pairs}
        targets = Targets(sizes, tuple(shares), tuple(precisions), wanted)
        components = self.components or max(100, min(600, 400_000 // max(sum(sizes), 1)))
        mixture = fit_mixture(
            targets, components=components, steps=self.steps, seed=int(transcript.sha256[:12], 16), progress=progress
        )
        return MarginalModel(
            schema=self.schema,
            receipt=receipt,
            transcript=transcript,
            recipe=self.describe(),
            rows=ones.rows,
            rows_sigma=ones.rows_sigma,
            weights=mixture.weights,
            tables=mixture.tables,
            groups=tuple(groups),
            within=tuple(within),
        )

    def _groups(self, ones: OneWays, wanted: int) -> dict[int, Groups]:
        """Groups of equal noisy mass for each column that has more cells than ``wanted``."""
        columns = Codec(self.schema).columns
        return {
            c: equal_mass_groups(ones.counts[c], wanted, null=column.null)
            for c, column in enumerate(columns)
            if column.cells > wanted
        }

    def _resolution(self, plan: Plan, ones: OneWays, mu: float) -> int:
        cells = [c.cells for c in Codec(self.schema).columns]
        return resolution(rows=ones.rows, sigma=max(plan.pair_sigmas), mu=mu, cells=cells)


def _check_rows(train: Train, hold: Hold) -> None:
    """Refuse rows that are not what the hold was bought for, before it is opened.

    Raises:
        HoldError: not the training side, consent read under another policy, coins of another ledger, or
            more rows of a subject than the hold's contribution bound.
    """
    if not isinstance(train, Train):
        raise HoldError("a fit takes the training side of a split", mend="pass split.train")
    if train.policy != hold.policy:
        raise HoldError(
            "the consent of these rows was read under another policy than the hold's",
            mend="read, filter and split again under the hold's policy",
        )
    if train.coins != hold.coins:
        raise HoldError("the split was drawn by another ledger", mend="split with the ledger that sold the hold")
    _, rows = np.unique(train.records.subjects.astype(object), return_counts=True)
    if train.contribution != hold.contribution or rows.max(initial=0) > hold.contribution:
        raise HoldError(
            f"the hold was bought for at most {hold.contribution} rows of a subject", mend="fit what the split gave"
        )


class _Till:
    """Buys noisy tables against the hold's exact cap: checks, then measures."""

    def __init__(
        self, counter: Counter, contribution: int, noise: NoiseSource, cap: Fraction, progress: Progress
    ) -> None:
        self._counter = counter
        self._contribution = contribution
        self._noise = noise
        self._left = cap
        self._progress = progress
        self.bought: list[Measurement] = []

    def buy(self, stage: str, clique: Sequence[int], groups: Mapping[int, Grouping], sigma: float) -> None:
        """Measure one table, or refuse before reading it."""
        cost = Fraction(self._contribution) ** 2 / Fraction(sigma) ** 2
        if cost > self._left or not math.isfinite(sigma):
            raise HoldError("a table would cost more than the hold has left", mend="report this: plans never overspend")
        self._left -= cost
        exact = self._counter.count(tuple(clique), {c: groups[c] for c in clique if c in groups})
        noisy = self._noise.add(exact, sigma=sigma)
        maps = tuple(groups.get(c) for c in clique)
        self.bought.append(Measurement(stage, tuple(clique), maps, noisy, sigma, self._contribution))
        self._progress.advance()


def _column_groups(pairs: Sequence[Measurement], cells: Sequence[int], ones: OneWays) -> list[Groups]:
    """Each column's groups as the pair stage measured them; its pools where there was no pair stage."""
    out: list[Groups | None] = [None] * len(cells)
    for m in pairs:
        for c, g in zip(m.clique, m.groups, strict=True):
            out[c] = np.arange(cells[c], dtype=np.int32) if g is None else g
    return [pool if g is None else g for g, pool in zip(out, ones.pools, strict=True)]
