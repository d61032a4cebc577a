"""``Autoregressive``: a paid table's law, moved by a small masked network that DP-SGD trained.

Mechanism. Neighbours: add or remove one subject, with her at most k rows. One hold pays two parts, their μ² fixed
shares of the fit's: tables, as :class:`Marginals` buys them, and T noisy steps of one network (privacy/dpsgd), which
except with probability ``delta_steps`` are μ-GDP. Sampling rate, steps, noise, clipping norm and the network's size
follow from declared sizes before anything is read; its levels from the paid tables. The event Gaussian(1/μ_fit) is an
envelope of both. Public: the schema, the recipe's fields, declared sizes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from privsynth.data.codec import Codec
from privsynth.data.records import Records, Train
from privsynth.data.schema import Schema
from privsynth.documents import identity
from privsynth.errors import BudgetError, HoldError, MissingExtra, ModelError, SchemaError
from privsynth.generators.autoregressive.ground import Ground, drawing_order
from privsynth.generators.autoregressive.model import AutoregressiveModel
from privsynth.generators.autoregressive.outlook import Outlook, Size
from privsynth.generators.autoregressive.transcript import AutoregressiveTranscript
from privsynth.generators.base import check_rows
from privsynth.generators.begun import another_fit, begun, kept, open_fit
from privsynth.generators.marginals import MarginalModel, Marginals
from privsynth.generators.marginals.domains import most_cells
from privsynth.generators.marginals.terms import Terms
from privsynth.generators.marginals.transcript import MarginalTranscript
from privsynth.generators.ranks import ALONE, Arrays, Lesson, Ranks, Told
from privsynth.generators.training import Leased, paid_for
from privsynth.ledger.store import Hold
from privsynth.privacy.accountant import Prices
from privsynth.privacy.budget import Budget
from privsynth.privacy.events import Provenance, Receipt
from privsynth.privacy.gdp import root_down
from privsynth.privacy.noise import SecureNoise, TrainingNoise, provenance_of
from privsynth.progress import SILENT, Progress

if TYPE_CHECKING:
    from privsynth.generators.autoregressive.network import MaskedLoss, Network
    from privsynth.privacy.dpsgd import Checkpoints, Plan

NOISE_SLICE = 0.9
"""Of the slice of delta for the sampler's error, for the tables; the wide draws of the steps need next to nothing."""
HIDDEN = (32, 16, 8)
MOST_BATCH, STEPS, MOST_COPIES = 2048, 150, 4
EMA = 0.98
PHYSICAL = 32


@dataclass(frozen=True)
class Autoregressive:
    """A recipe for tables with structure of higher order. All fields may be published.

    Args:
        schema: public description of the table.
        budget: the whole release's price, gate included.
        target: a column that is drawn last, given all others; the tables treat it as ``Marginals`` does.
        table_share: of the fit's μ² for the tables.
        levels: of each column at most so many are told apart by the network; inside of one the tables say how cells
            are shared.
        hidden: size of the network's layer; by default 32, 16 or 8, the largest that stands out of the noise.
        batch: expected subjects in a step; by default 2,048, or a quarter of the declared ones where that is less.
        steps: noisy ones.
        copies: masks under which a subject's rows are looked at in a step, averaged before clipping; by default k, at
            most 4.
        learning_rate: of Adam; by default 0.003 to 0.05, the less noise the more.
        clipping_norm: of what a subject adds to a step.
        device: ``cpu`` or ``cuda``.
        though_drowned: fit though the noise is expected to drown the network.

    Raises:
        SchemaError: the schema has pictures, or the target is no learned column.
        BudgetError: a number out of range.
    """

    schema: Schema
    budget: Budget
    target: str | None = None
    table_share: float = 0.6
    levels: int = 8
    hidden: int | None = None
    batch: int | None = None
    steps: int = STEPS
    copies: int | None = None
    learning_rate: float | None = None
    clipping_norm: float = 1.0
    device: str = "cpu"
    though_drowned: bool = False
    table: Marginals = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        for name, least, most in (
            ("levels", 2, 256),
            ("hidden", 1, 4096),
            ("batch", 1, 10**7),
            ("steps", 1, 10**5),
            ("copies", 1, 64),
        ):
            value = getattr(self, name)
            if value is None and name in ("hidden", "batch", "copies"):
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise BudgetError(f"{name} is {value!r}", where=f"Autoregressive.{name}", mend=f"{least:,} to {most:,}")
        for name, low, high in (
            ("table_share", 0.05, 0.95),
            ("learning_rate", 1e-7, 1.0),
            ("clipping_norm", 1e-6, 1e3),
        ):
            value = getattr(self, name)
            if value is None and name == "learning_rate":
                continue
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not low <= value <= high:
                raise BudgetError(f"{name} is {value!r}", where=f"Autoregressive.{name}", mend=f"{low:g} to {high:g}")
        try:
            table = Marginals(self.schema, self.budget, target=self.target, device=self.device)
        except (SchemaError, BudgetError) as wrong:
            where = str(wrong.where).replace("Marginals", "Autoregressive")
            raise type(wrong)(wrong.what, where=where, mend=wrong.mend) from None
        object.__setattr__(self, "table", table)

    # --- Priced ---------------------------------------------------------------------------------

    @property
    def kind(self) -> str:
        """As written in study files."""
        return "autoregressive"

    @property
    def source(self) -> str:
        """The registered source that the schema names."""
        return self.schema.source

    @property
    def unit(self) -> str:
        """``row`` unit's name, or empty: the policy names the unit behind a subject column."""
        return self.table.unit

    @property
    def contribution(self) -> int:
        """k."""
        return self.table.contribution

    @property
    def selects(self) -> bool:
        """Whether the schema has open category sets."""
        return self.table.selects

    @property
    def trains(self) -> bool:
        """True: sampled steps take a slice of delta of their own."""
        return True

    def describe(self) -> dict[str, Any]:
        """Every field as JSON values."""
        out: dict[str, Any] = {"kind": self.kind}
        for entry in fields(self):
            value = getattr(self, entry.name)
            match value:
                case Marginals():
                    continue
                case Schema():
                    out[entry.name] = value.to_json()
                case Budget(epsilon=epsilon, delta=delta, neighbours=neighbours):
                    out[entry.name] = {"epsilon": epsilon, "delta": delta, "neighbours": neighbours}
                case _:
                    out[entry.name] = value
        return out

    @classmethod
    def from_description(cls, value: Mapping[str, Any]) -> Autoregressive:
        """The recipe that :meth:`describe` described.

        Raises:
            ModelError: not such a value.
        """
        names = {f.name for f in fields(cls)} - {"table"}
        try:
            if set(value) != {"kind", *names}:
                raise ValueError
            given = {name: value[name] for name in names}
            given["schema"] = Schema.from_json(given["schema"])
            given["budget"] = Budget(**given["budget"])
            return cls(**given)
        except (AttributeError, KeyError, TypeError, ValueError, SchemaError, BudgetError):
            raise ModelError("not a recipe of this version", mend="use the version that wrote it") from None

    @property
    def identity(self) -> str:
        """SHA-256 of :meth:`describe`."""
        return identity(self.describe())

    # --- before anything is spent ----------------------------------------------------------------

    @property
    def share(self) -> Fraction:
        """Of μ² for the tables."""
        return Fraction(self.table_share)

    def levels_at_most(self) -> list[int]:
        """Levels of each column: of what a fit learns no more is known before it."""
        cells = (most_cells(self.schema, c.name) or c.cells for c in Codec(self.schema).columns)
        return [min(self.levels, n) for n in cells]

    def size(self, mu_fit: float, subjects: float) -> Size:
        """Of the network that a hold of ``mu_fit`` trains: public, free."""
        sizes = HIDDEN if self.hidden is None else (self.hidden,)
        return Size.of(sizes, width=sum(self.levels_at_most()), mu=self._mu_steps(mu_fit), subjects=subjects)

    def steps_for(self, mu_fit: float, delta: float, subjects: float) -> Plan:
        """The noisy steps that a hold of ``mu_fit`` buys for ``subjects`` declared: public, free.

        Args:
            delta: of the steps, a hold's ``delta_steps``.
        """
        from privsynth.privacy.dpsgd import Plan

        return Plan.of(
            subjects=subjects,
            batch=self.batch or max(1.0, min(MOST_BATCH, subjects / 4)),
            steps=self.steps,
            mu=self._mu_steps(mu_fit),
            delta=delta,
            clipping_norm=self.clipping_norm,
            copies=self.copies or min(self.contribution, MOST_COPIES),
            learning_rate=self.learning_rate or self.size(mu_fit, subjects).learning_rate,
            ema=EMA,
        )

    def check_sampler(self, prices: Prices, *, rows: float, cap_epsilon: float) -> Outlook:
        """Whether a fit at these prices could be laid out for ``rows`` declared training subjects: public, free.

        Raises:
            BudgetError: as of ``Marginals.check_sampler``, or the noise would drown the network.
            MissingExtra: no torch.
        """
        self.check_machine()
        part = replace(prices, mu_fit=self._table_part(prices.mu_fit)[0], delta_noise=NOISE_SLICE * prices.delta_noise)
        table = self.table.check_sampler(part, rows=rows, cap_epsilon=cap_epsilon)
        plan = self.steps_for(prices.mu_fit, prices.delta_steps, rows)
        outlook = Outlook(table, plan, self.size(prices.mu_fit, rows))
        factor = 1 + Fraction(math.exp(min(cap_epsilon, 700.0)) * (1 + 1e-12))
        if factor * plan.variation(outlook.size.parameters) > Fraction((1 - NOISE_SLICE) * prices.delta_noise):
            raise BudgetError(
                f"at a cap of epsilon {cap_epsilon:g} the sampler's rounding would cost more delta than is set aside",
                where="Autoregressive.budget",
                mend="a smaller cap in the policy, or a larger delta",
            )
        if not self.though_drowned:
            outlook.refuse()
        return outlook

    def check_machine(self) -> None:
        """Whether fits can run here, before anything is paid.

        Raises:
            MissingExtra: no torch or Opacus, or no such device.
        """
        self.table.check_machine()
        try:
            import opacus  # noqa: F401
        except ImportError:
            raise MissingExtra("training needs Opacus", mend="pip install 'privsynth[images]'") from None

    def check_training(self, hidden: int, *, physical: int, ranks: Ranks = ALONE) -> None:
        """Whether the network can be trained here, before anything is paid: tried on made-up rows.

        Raises:
            NetworkError: examples would not stay apart.
            MemoryShort: they do not fit in memory: it says how many would.
        """
        from privsynth.privacy.dpsgd import check_memory, check_network

        network, loss = self.lesson(Ground.blank(self.levels_at_most()), hidden)
        check_network(network, loss, loss.made_up)
        device = ranks.device(self.device)
        network.to(device)
        copies = self.copies or min(self.contribution, MOST_COPIES)
        check_memory(
            network,
            loss,
            loss.made_up,
            physical=physical,
            copies=copies,
            device=device,
            sharing=ranks.sharing(self.device),
        )

    def _table_part(self, mu_fit: float) -> tuple[float, Fraction]:
        """The tables' μ, and exactly their part of μ²."""
        mu = root_down(Fraction(mu_fit) ** 2 * self.share)
        return mu, Fraction(mu) ** 2

    def _mu_steps(self, mu_fit: float) -> float:
        """What the tables' share leaves of μ, whatever they cost in the end."""
        return root_down(Fraction(mu_fit) ** 2 - self._table_part(mu_fit)[1])

    # --- the step -------------------------------------------------------------------------------

    def fit(
        self,
        train: Train,
        hold: Hold,
        *,
        noise: TrainingNoise | None = None,
        checkpoints: Checkpoints | None = None,
        physical: int | None = None,
        ranks: Ranks = ALONE,
        progress: Progress = SILENT,
    ) -> AutoregressiveModel:
        """Buy the tables, train the network, make the transcript durable.

        Args:
            train: the training side of a split.
            hold: bought for exactly this recipe, source, purpose and recipient; opened once.
            noise: None for the operating system's secure source. A seeded source is for tests: the model says so and
                no gate passes it.
            checkpoints: where the training's state is kept, of this hold alone: a fit that was cut off then goes on
                after the last step that it leased, its lost steps spent; None: nowhere. Deleted once the transcript
                is kept.
            physical: subjects whose gradients are held at once, at most; by default as many as fit, up to 32.
            ranks: the processes that train together, as ``together`` gives it to rank 0: each then holds so many.

        Raises:
            HoldError: another recipe, source, purpose or recipient, or a hold already opened.
            BudgetError: the noise would drown the network. NetworkError, MissingExtra: this machine cannot train it;
                nothing was spent.
            MemoryShort: before the hold is opened, as of :meth:`check_training`; after it memory ran out, and it says
                what becomes of the hold.
            LedgerError, StorageError: the ledger cannot record it; nothing was measured. Or checkpoints cannot be
                written or deleted: it says so.
        """
        from privsynth.generators.serving import check_ranks

        source = noise if noise is not None else SecureNoise()
        if train.schema.sha256 != self.schema.sha256:
            raise HoldError("the records were read by another schema than the recipe's", mend="read them by this one")
        check_rows(train, hold)
        outlook = self.check_sampler(hold.prices, rows=hold.training_subjects, cap_epsilon=hold.cap_epsilon)
        check_ranks(self, {"hidden": outlook.size.hidden, "physical": physical or 1}, ranks)
        table, beside = self._bought(train, outlook, hold, noise=source, checkpoints=checkpoints, progress=progress)
        told = self._train(
            train.records,
            table,
            outlook,
            hold,
            noise=source,
            checkpoints=beside,
            physical=physical or PHYSICAL,
            ranks=ranks,
            progress=progress,
        )
        hold.deposit(told.to_bytes())
        if beside is not None:
            beside.clear()
        return self._model(told, table.receipt, table)

    def _bought(
        self,
        train: Train,
        outlook: Outlook,
        hold: Hold,
        *,
        noise: TrainingNoise,
        checkpoints: Checkpoints | None,
        progress: Progress,
    ) -> tuple[MarginalModel, Checkpoints | None]:
        """The table's model: bought after the hold was opened, or found in the checkpoints of a fit that was cut off.
        With where the training's state is to be kept.

        Raises:
            HoldError: the hold is not this fit's, or was opened and nothing of it was kept; or as of :func:`begun`.
        """
        found = begun(self.identity, train, hold, plan=outlook.plan, checkpoints=checkpoints)
        if found is None:
            open_fit(self.identity, train, hold)
            whole = Terms.of(hold)
            mu, cap = self._table_part(hold.prices.mu_fit)
            told = self.table.buy(train.records, replace(whole, mu=mu, cap=cap), noise=noise, progress=progress)
            beside = kept(told.to_bytes(), checkpoints, hold, plan=outlook.plan)
        else:
            told, beside = MarginalTranscript.from_bytes(found[0]), found[1]
            if (told.recipe, told.noise) != (self.table.identity, provenance_of(noise)):
                raise another_fit()
        return self.table.fitted(told, self._receipt(hold, provenance_of(noise)), progress=progress), beside

    def _train(
        self,
        records: Records,
        table: MarginalModel,
        outlook: Outlook,
        hold: Hold,
        *,
        noise: TrainingNoise,
        checkpoints: Checkpoints | None,
        physical: int,
        ranks: Ranks,
        progress: Progress,
    ) -> AutoregressiveTranscript:
        """The noisy steps, and all that the fit was told.

        Raises:
            MemoryShort: memory ran out; it says what becomes of the hold.
        """
        from privsynth.generators.serving import train_together

        ground = Ground.of(table, levels=self.levels)
        rows = {"cells": table.codec.encode(records.frame), "whose": records.subjects}
        with paid_for(device=self.device, where="Autoregressive.fit", goes_on=checkpoints is not None):
            trained = train_together(
                self,
                {"hidden": outlook.size.hidden},
                ground.arrays,
                rows,
                outlook.plan,
                ranks=ranks,
                lease=Leased(hold),
                checkpoints=checkpoints,
                noise=noise,
                physical=physical,
                progress=progress,
            )
        return AutoregressiveTranscript(
            table.transcript,
            outlook.plan,
            trained.steps_run,
            {name: weight.numpy() for name, weight in trained.averaged.items()},
            self.identity,
            provenance_of(noise),
        )

    def lesson(self, ground: Ground, hidden: int) -> tuple[Network, MaskedLoss]:
        """The untrained network, which changes nothing, and what it is trained on."""
        from torch import Generator

        from privsynth.generators.autoregressive.network import MaskedLoss, Network

        generator = Generator().manual_seed(int(self.identity[:12], 16))
        columns = list(self.schema.modelled)
        order = drawing_order(len(columns), None if self.target is None else columns.index(self.target))
        return Network(ground.width, hidden, len(columns), generator=generator), MaskedLoss(ground, order)

    def check_rank(self, told: Told, ranks: Ranks) -> None:
        """See :class:`privsynth.generators.ranks.Taught`."""
        self.check_machine()
        self.check_training(told["hidden"], physical=told["physical"], ranks=ranks)

    def lesson_of(self, told: Told, arrays: Arrays, rows: Arrays) -> Lesson:
        """See :class:`privsynth.generators.ranks.Taught`."""
        from privsynth.generators.autoregressive.source import CodedRows

        network, loss = self.lesson(Ground.from_arrays(arrays), told["hidden"])
        return Lesson(network, CodedRows(rows["cells"], rows["whose"]), loss, loss.made_up)

    def resume(self, transcript: bytes, hold: Hold, *, progress: Progress = SILENT) -> AutoregressiveModel:
        """The model of the bytes that a fit deposited with ``hold``: free.

        Raises:
            HoldError: bought for another recipe. ModelError: not a whole transcript.
        """
        told = AutoregressiveTranscript.from_bytes(transcript)
        receipt = self._receipt(hold, "os-secure" if told.noise == "os-secure" else "seeded")
        return self.refit(told, receipt, progress=progress)

    def _receipt(self, hold: Hold, noise: Provenance) -> Receipt:
        """What was paid, for the model to carry."""
        return hold.receipt(noise=noise, schema=self.schema.sha256, person_rows=self.schema.subject.person_rows)

    def refit(
        self, transcript: AutoregressiveTranscript, receipt: Receipt, *, progress: Progress = SILENT
    ) -> AutoregressiveModel:
        """The model of a transcript: free, from tables and weights alone, the same bytes each time.

        Raises:
            HoldError: the transcript was bought for another recipe. ModelError: it is not whole.
        """
        if transcript.recipe != self.identity or receipt.recipe != self.identity:
            raise HoldError("the transcript belongs to another recipe", mend="refit with the recipe that bought it")
        return self._model(transcript, receipt, self.table.fitted(transcript.table, receipt, progress=progress))

    def _model(
        self, transcript: AutoregressiveTranscript, receipt: Receipt, table: MarginalModel
    ) -> AutoregressiveModel:
        model = AutoregressiveModel(
            schema=self.schema, receipt=receipt, transcript=transcript, recipe=self.describe(), table=table
        )
        model.check()
        return model
