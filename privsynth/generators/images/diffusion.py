"""``ImageDiffusion``: rows that carry a picture, drawn by a small diffusion network that DP-SGD trained.

Mechanism. Neighbours: add or remove one subject, with her at most k rows, picture and all. One hold pays three parts,
their μ² fixed shares of the fit's: the columns and the pictures' closed-form statistics, as :class:`ImageStatistics`
buys them, and T noisy steps of one network (privacy/dpsgd), which except with probability ``delta_steps`` are μ-GDP.
Sampling rate, steps, noise and clipping norm follow from declared sizes before anything is read. Between statistics and
steps the network is trained freely, on pictures that the statistics' own model draws. Public: the schema, the recipe's
fields, declared sizes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from fractions import Fraction
from importlib.util import find_spec
from typing import Any

from privsynth.data.columns import Image
from privsynth.data.records import Train
from privsynth.data.schema import Schema
from privsynth.documents import identity
from privsynth.errors import BudgetError, HoldError, MissingExtra, ModelError, SchemaError
from privsynth.generators.images.diffused import DiffusedModel
from privsynth.generators.images.model import PicturedModel
from privsynth.generators.images.networks import Layout, drawn
from privsynth.generators.images.normal import Normal
from privsynth.generators.images.paid import bought, lesson_on, trained
from privsynth.generators.images.pretrained import PublicWeights
from privsynth.generators.images.signal import DiffusionOutlook
from privsynth.generators.images.space import MOST_KEPT, picture_shape, space_of
from privsynth.generators.images.statistics import TABLE, ImageStatistics
from privsynth.generators.images.trained import TrainedTranscript
from privsynth.generators.images.training import BATCH, FEW, begun_with, generator_of, lesson, pool_bytes
from privsynth.generators.ranks import ALONE, Arrays, Lesson, Ranks, Told
from privsynth.generators.serving import check_ranks
from privsynth.ledger.store import Hold
from privsynth.privacy.accountant import Prices
from privsynth.privacy.budget import Budget
from privsynth.privacy.dpsgd import Checkpoints, Plan, check_memory, check_network
from privsynth.privacy.events import Receipt
from privsynth.privacy.gdp import root_down
from privsynth.privacy.noise import SecureNoise, TrainingNoise
from privsynth.privacy.sampled import calibrated_noise
from privsynth.progress import SILENT, Progress

NETWORKS = ("unet", "latent")
DEVICES = ("cpu", "cuda")
EMA = 0.999
NOISE_SLICE = 0.9
"""Of the slice of delta for the sampler's error, for what is bought before the training."""
MOST_BATCH = 4096


@dataclass(frozen=True)
class ImageDiffusion:
    """A recipe for rows that carry one picture. All fields may be published.

    Args:
        schema: public description of the rows, with one column of kind image.
        budget: the whole release's price, gate included.
        by: the columns that pictures depend on, each with a public list of values. By default the first such column.
        network: ``unet`` over pixels, for a GPU; ``latent``, full layers over the few numbers in which the statistics
            say that pictures differ: minutes on a CPU, to try things out, for :class:`ImageStatistics` draws better.
        channels: of the network's first level.
        batch: expected subjects in a step; by default 4,096, or a quarter of the declared ones where that is less.
        steps: noisy ones; by default 1,000, latent 150.
        copies: noise levels at which each subject's pictures are looked at in a step, averaged before clipping.
        learning_rate: of the noisy steps; by default 3e-4, latent 4e-3.
        clipping_norm: of what a subject adds to a step, far below the usual length of a gradient.
        warm_up: free steps before them, on drawn pictures; by default 2,000, latent 300.
        statistics_share: of μ² for the pictures' statistics; by default 34% at small μ, falling to 10%.
        side: of the square of coefficients that the statistics learn; by default from the paid N̂ and μ.
        aligned: whether the statistics may bring pictures to one place and slant.
        device: ``cpu`` or ``cuda``, for training and drawing.
        pretrained: public weights to begin with.
        chosen: why :func:`privsynth.generators.images.choose.Images` chose this recipe; no part of it.

    Raises:
        SchemaError: as of :class:`ImageStatistics`, or ``pretrained`` is no :class:`PublicWeights`.
        BudgetError: a number out of range.
    """

    schema: Schema
    budget: Budget
    by: tuple[str, ...] = ()
    network: str = "unet"
    channels: int = 32
    batch: int | None = None
    steps: int | None = None
    copies: int = 4
    learning_rate: float | None = None
    clipping_norm: float = 0.1
    warm_up: int | None = None
    statistics_share: float | None = None
    side: int | None = None
    aligned: bool = True
    device: str = "cpu"
    pretrained: PublicWeights | None = None
    chosen: str = field(default="", compare=False, repr=False)
    first: ImageStatistics = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        first = ImageStatistics(self.schema, self.budget, by=tuple(self.by), side=self.side, aligned=self.aligned)
        object.__setattr__(self, "first", first)
        object.__setattr__(self, "by", first.by)
        for name, value, known in (("network", self.network, NETWORKS), ("device", self.device, DEVICES)):
            if value not in known:
                raise BudgetError(f"{name} is {value!r}", where=f"ImageDiffusion.{name}", mend=" or ".join(known))
        if self.pretrained is not None and not isinstance(self.pretrained, PublicWeights):
            raise SchemaError(
                f"pretrained is {self.pretrained!r}",
                where="ImageDiffusion.pretrained",
                mend="PublicWeights.of(path, licence=..., note=...)",
            )
        for name, least, most in (
            ("channels", 8, 512),
            ("batch", 1, 10**7),
            ("steps", 1, 10**5),
            ("copies", 1, 64),
            ("warm_up", 0, 10**6),
        ):
            value = getattr(self, name)
            if value is None and name in ("batch", "steps", "warm_up"):
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise BudgetError(f"{name} is {value!r}", where=f"ImageDiffusion.{name}", mend=f"{least:,} to {most:,}")
        if self.channels % 8:
            raise BudgetError("channels come by eights", where="ImageDiffusion.channels", mend="a multiple of 8")
        for name, low, high in (
            ("learning_rate", 1e-7, 1.0),
            ("clipping_norm", 1e-6, 1e3),
            ("statistics_share", 0.01, 0.8),
        ):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not low <= value <= high):
                raise BudgetError(f"{name} is {value!r}", where=f"ImageDiffusion.{name}", mend=f"{low:g} to {high:g}")

    @property
    def picture(self) -> Image:
        """The declaration of the pictures."""
        return self.first.picture

    # --- Priced ---------------------------------------------------------------------------------

    @property
    def kind(self) -> str:
        """As written in study files."""
        return "image-diffusion"

    @property
    def source(self) -> str:
        """The registered source that the schema names."""
        return self.schema.source

    @property
    def unit(self) -> str:
        """``row`` unit's name, or empty: the policy names the unit behind a subject column."""
        return self.first.unit

    @property
    def contribution(self) -> int:
        """k."""
        return self.first.contribution

    @property
    def selects(self) -> bool:
        """Whether the schema has open category sets."""
        return self.first.selects

    @property
    def trains(self) -> bool:
        """True: sampled steps take a slice of delta of their own."""
        return True

    def describe(self) -> dict[str, Any]:
        """Every field as JSON values."""
        out: dict[str, Any] = {"kind": self.kind}
        for entry in fields(self):
            if entry.name in ("chosen", "first"):
                continue
            value = getattr(self, entry.name)
            match value:
                case Schema() | PublicWeights():
                    out[entry.name] = value.to_json()
                case Budget(epsilon=epsilon, delta=delta, neighbours=neighbours):
                    out[entry.name] = {"epsilon": epsilon, "delta": delta, "neighbours": neighbours}
                case tuple():
                    out[entry.name] = list(value)
                case _:
                    out[entry.name] = value
        return out

    @classmethod
    def from_description(cls, value: Mapping[str, Any]) -> ImageDiffusion:
        """The recipe that :meth:`describe` described.

        Raises:
            ModelError: not such a value.
        """
        names = {f.name for f in fields(cls)} - {"chosen", "first"}
        try:
            if set(value) != {"kind", *names}:
                raise ValueError
            given = {name: value[name] for name in names}
            given["schema"] = Schema.from_json(given["schema"])
            given["budget"] = Budget(**given["budget"])
            given["by"] = tuple(given["by"])
            if given["pretrained"] is not None:
                given["pretrained"] = PublicWeights.from_json(given["pretrained"])
            return cls(**given)
        except (AttributeError, KeyError, TypeError, ValueError, SchemaError, BudgetError):
            raise ModelError("not a recipe of this version", mend="use the version that wrote it") from None

    @property
    def identity(self) -> str:
        """SHA-256 of :meth:`describe`."""
        return identity(self.describe())

    # --- before anything is spent ----------------------------------------------------------------

    def share(self, mu: float) -> Fraction:
        """Of μ² for the pictures' statistics."""
        if self.statistics_share is not None:
            return Fraction(self.statistics_share)
        return Fraction(round(1000 * (0.1 + 0.25 / (1 + (mu / 0.6) ** 2))), 1000)

    def left(self, mu: float) -> Fraction:
        """Of the fit's μ², for the noisy steps: rounded down, for the event that the ledger books is."""
        return Fraction(mu) ** 2 * (1 - TABLE - self.share(mu)) * (1 - Fraction(1, 2**40))

    def plan(self, prices: Prices, rows: float) -> Plan:
        """The noisy steps that these prices buy for ``rows`` declared training subjects: public, free."""
        asked = self.planned(rows, noise=1.0)
        mu = root_down(self.left(prices.mu_fit))
        noise = calibrated_noise(mu=mu, delta=prices.delta_steps, rate=asked.rate, steps=asked.steps)
        return replace(asked, noise=noise)

    def planned(self, rows: float, *, noise: float) -> Plan:
        """The noisy steps at this noise."""
        latent = self.network == "latent"
        return Plan(
            subjects=rows,
            rate=min(1.0, (self.batch or max(1.0, min(MOST_BATCH, rows / 4))) / rows),
            steps=self.steps or (150 if latent else 1000),
            noise=noise,
            clipping_norm=self.clipping_norm,
            copies=self.copies,
            learning_rate=self.learning_rate or (4e-3 if latent else 3e-4),
            ema=EMA,
        )

    def layout(self, length: int | None = None) -> Layout:
        """Of the network: for the latent one, of vectors of ``length``, by default the longest."""
        width, height = self.picture.size
        if self.network == "latent":
            return Layout((length or MOST_KEPT,), self.first.sizes, self.channels)
        channels = 3 if self.picture.mode == "RGB" else 1
        return Layout(picture_shape(height, width, channels), self.first.sizes, self.channels)

    def check_sampler(self, prices: Prices, *, rows: float, cap_epsilon: float) -> DiffusionOutlook:
        """Whether a fit at these prices could be laid out for ``rows`` declared training subjects: public, free.

        Raises:
            BudgetError: as of ``ImageStatistics.check_sampler``, or the noise would drown the network.
        """
        first = self.first.check_sampler(
            replace(prices, delta_noise=NOISE_SLICE * prices.delta_noise),
            rows=rows,
            cap_epsilon=cap_epsilon,
            pictures=self.share(prices.mu_fit),
        )
        plan, parameters = self.plan(prices, rows), self.layout().parameters
        factor = 1 + Fraction(math.exp(min(cap_epsilon, 700.0)) * (1 + 1e-12))
        if factor * plan.variation(parameters) > Fraction((1 - NOISE_SLICE) * prices.delta_noise):
            raise BudgetError(
                f"at a cap of epsilon {cap_epsilon:g} the sampler's rounding would cost more delta than is set aside",
                where="ImageDiffusion.budget",
                mend="a smaller cap in the policy, or a larger delta",
            )
        outlook = DiffusionOutlook(first, plan, parameters)
        outlook.refuse()
        return outlook

    def check_machine(self, *, physical: int, ranks: Ranks = ALONE) -> None:
        """Whether the warm-up, and a training on ``physical`` subjects at once, can run here: before anything is paid.

        Raises:
            MissingExtra: no torch or Opacus, or no such device.
            NetworkError: examples would not stay apart.
            MemoryShort: they do not fit in memory: it says how many would.
        """
        self.first.table.check_machine()
        if find_spec("opacus") is None:
            raise MissingExtra("training needs Opacus", mend="pip install 'privsynth[images]'")
        loss, made_up = lesson(self.layout())
        network = drawn(self.layout(), generator_of(self.identity, "try"))
        check_network(network, loss, made_up)
        device = ranks.device(self.device)
        check_memory(
            network.to(device),
            loss,
            made_up,
            physical=physical,
            copies=self.copies,
            device=device,
            ordinary=BATCH if ranks.rank == 0 else 0,
            beside=2 * pool_bytes(self.picture) if self.device == "cpu" and ranks.rank == 0 else 0,
            sharing=ranks.sharing(self.device),
        )

    def check_rank(self, told: Told, ranks: Ranks) -> None:
        """See :class:`privsynth.generators.ranks.Taught`."""
        self.check_machine(physical=told["physical"], ranks=ranks)

    def lesson_of(self, told: Told, arrays: Arrays, rows: Arrays) -> Lesson:
        """See :class:`privsynth.generators.ranks.Taught`."""
        return lesson_on(self, told, arrays, rows)

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
    ) -> DiffusedModel:
        """Buy the statistics, warm up, train, make the transcript durable.

        Args:
            train: the training side of a split of records that ``read_images`` gave.
            hold: bought for exactly this recipe, source, purpose and recipient; opened once.
            noise: None for the operating system's secure source. A seeded source is for tests: the model says so and
                no gate passes it.
            checkpoints: where the training's state is kept, of this hold alone: a fit that was cut off then goes on
                after the last step that it leased, its lost steps spent; None: nowhere. Deleted once the transcript
                is kept.
            physical: subjects whose gradients are held at once, at most; by default as many as fit, up to 64, 256 on
                a GPU. It changes nothing else.
            ranks: the processes that train together, as ``together`` gives it to rank 0: each then holds so many.

        Raises:
            HoldError: another recipe, source, purpose or recipient, or a hold already opened; public weights that are
                not here.
            NetworkError, MissingExtra: this machine cannot train it; nothing was spent.
            MemoryShort: before the hold is opened, as of :meth:`check_machine`; after it memory ran out, and it says
                what becomes of the hold.
            LedgerError, StorageError: the ledger cannot record it; nothing was measured. Or checkpoints cannot be
                written or deleted: it says so.
        """
        source = noise if noise is not None else SecureNoise()
        at_once = physical or (256 if self.device == "cuda" else 64)
        self.first.check_records(train, hold)
        outlook = self.check_sampler(hold.prices, rows=hold.training_subjects, cap_epsilon=hold.cap_epsilon)
        check_ranks(self, {"physical": physical or 1}, ranks)
        begun_with(self, self.layout())
        given: dict[str, Any] = {"plan": outlook.plan, "noise": source, "progress": progress}
        first, kept = bought(self, train, hold, checkpoints=checkpoints, **given)
        transcript = trained(
            self,
            first,
            train.records,
            hold,
            checkpoints=kept,
            physical=at_once,
            ranks=ranks,
            **given,
        )
        hold.deposit(transcript.to_bytes())
        if kept is not None:
            kept.clear()
        return self._model(transcript, first)

    def refit(self, transcript: TrainedTranscript, receipt: Receipt, *, progress: Progress = SILENT) -> DiffusedModel:
        """The model of a transcript: free, from what was told alone, the same bytes each time.

        Raises:
            HoldError: the transcript was bought for another recipe. ModelError: it is not whole.
        """
        if transcript.recipe != self.identity or receipt.recipe != self.identity:
            raise HoldError("the transcript belongs to another recipe", mend="refit with the recipe that bought it")
        if transcript.first.recipe != self.first.identity:
            raise HoldError("the statistics belong to another recipe", mend="refit with the recipe that bought them")
        table = self.first.table.fitted(transcript.first.table, receipt, progress=progress)
        first = self.first.fitted(transcript.first, receipt, table, pictures=self.share(receipt.mu_fit))
        return self._model(transcript, first)

    def resume(self, transcript: bytes, hold: Hold, *, progress: Progress = SILENT) -> DiffusedModel:
        """The model of the bytes that a fit deposited with ``hold``: free.

        Raises:
            HoldError: bought for another recipe. ModelError: not a whole transcript.
        """
        told = TrainedTranscript.from_bytes(transcript)
        receipt = self.first.receipt(hold, "os-secure" if told.noise == "os-secure" else "seeded")
        return self.refit(told, receipt, progress=progress)

    def _model(self, transcript: TrainedTranscript, first: PicturedModel) -> DiffusedModel:
        """The model of a transcript whose statistics are fitted.

        Raises:
            ModelError: weights of another network than the recipe's.
        """
        space = space_of(transcript.space, first.portrait.band if self.network == "latent" else None)
        layout = self.layout(space.shape[0])
        shapes = {name: w.shape for name, w in layout.made().named_parameters()}
        prior = Normal.from_arrays(transcript.prior, layout.sizes)
        given = {name: w.shape for name, w in transcript.weights.items()}
        if given != shapes or transcript.few.shape != (FEW, 3) or len(prior.mean) != math.prod(space.shape):
            raise ModelError("the transcript is of another network", mend="restore it from the ledger or a backup")
        return DiffusedModel(
            receipt=first.receipt,
            transcript=transcript,
            recipe=self.describe(),
            first=first,
            space=space,
            prior=prior,
            layout=layout,
            public_help=None if self.pretrained is None else self.pretrained.told,
        )
