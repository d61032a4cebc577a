"""``ImageStatistics``: rows that carry a picture, from closed-form paid statistics: seconds on a CPU.

Mechanism. Neighbours: add or remove one subject, with her at most k rows, picture and all. One hold pays two parts,
each under an exact inner cap: the columns by :class:`Marginals` (their tables), the pictures by sums, histograms and
second moments (sums.py), each of them an exact Gaussian event of rounded or floored noise. What is asked later follows
from what was told before, so the hold's event Gaussian(1/μ_fit) is an envelope over all paths. Public: the schema, the
recipe's fields, declared sizes. p(row) is the table model; p(picture | row) a normal law of its low band whose mean
adds an effect for each value of the columns ``by``, and whose spread is that of the first of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from privsynth.data.codec import Codec, Codes
from privsynth.data.columns import Image
from privsynth.data.pictures import Pixels
from privsynth.data.records import Records, Train
from privsynth.data.schema import Schema
from privsynth.data.threads import one_thread
from privsynth.documents import identity, join
from privsynth.errors import BudgetError, HoldError, SchemaError
from privsynth.generators.base import check_rows
from privsynth.generators.images.asked import Rows, Told
from privsynth.generators.images.band import Band
from privsynth.generators.images.matched import matched
from privsynth.generators.images.model import PicturedModel
from privsynth.generators.images.outlook import LEAST_TOLD, Outlook
from privsynth.generators.images.portrait import MOST_ASKED, Portrait, Setting, effects_share, portray
from privsynth.generators.images.sums import Till
from privsynth.generators.images.transcript import PicturedTranscript
from privsynth.generators.marginals import MarginalModel, Marginals
from privsynth.generators.marginals.plan import Plan
from privsynth.generators.marginals.purse import Purse
from privsynth.generators.marginals.terms import Terms
from privsynth.ledger.store import Hold
from privsynth.privacy.accountant import Prices
from privsynth.privacy.budget import Budget
from privsynth.privacy.events import Provenance, Receipt
from privsynth.privacy.gdp import root_down
from privsynth.privacy.noise import WIDEST, NoiseSource, SecureNoise, provenance_of, wide_variation
from privsynth.progress import SILENT, Progress

Ints = npt.NDArray[np.int64]

TABLE = Fraction(1, 10)
"""Of μ² for the columns; a table of few columns is good at little, pictures never are."""
PICTURES = 1 - TABLE
"""For the pictures' sums, where nothing else is bought."""
NOISE_SLICE = 0.999
"""Of the slice of delta for the sampler's error, for the tables' draws; the wide ones need next to nothing."""
LEAST_SIDE, MOST_SIDE = 4, 24
LEAST_ALIGNED = 16
"""Pixels: moving a smaller picture between its pixels blurs it more than it aligns."""


@dataclass(frozen=True)
class ImageStatistics:
    """A recipe for rows that carry one picture. All fields may be published.

    Args:
        schema: public description of the rows, with one column of kind image. One that may be missing is, beside
            its pictures, a column of the table: there or null.
        budget: the whole release's price, gate included.
        by: the columns that pictures depend on, each with a public list of values; the first one's values have spreads
            of their own. By default the first such column.
        side: of the square of coefficients that is learned; by default from the paid N̂ and the fit's μ.
        aligned: whether pictures may be brought to one place and slant first (dark ground, bright ink): decided by
            paid sums; False: never.
        chosen: why :func:`privsynth.generators.images.choose.Images` chose this recipe; no part of it.

    Raises:
        SchemaError: not one picture, or ``by`` names what has no public list of values.
        BudgetError: ``side`` out of range.
    """

    schema: Schema
    budget: Budget
    by: tuple[str, ...] = ()
    side: int | None = None
    aligned: bool = True
    chosen: str = field(default="", compare=False, repr=False)
    table: Marginals = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.schema.pictures) != 1:
            raise SchemaError(
                f"{len(self.schema.pictures)} columns of pictures",
                where="ImageStatistics.schema",
                mend="declare one column of kind image, and the others `dropped: true`",
            )
        listed = [name for name, size in self._sizes.items() if size is not None]
        object.__setattr__(self, "by", tuple(self.by) or tuple(listed[:1]))
        wrong = [name for name in self.by if name not in listed]
        if wrong or not self.by or len(set(self.by)) != len(self.by):
            raise SchemaError(
                f"pictures cannot depend on {join(wrong) or 'nothing'}",
                where="ImageStatistics.by",
                mend=f"name columns with a public list of values: {join(listed) or 'declare one'}",
            )
        if self.side is not None and (isinstance(self.side, bool) or not LEAST_SIDE <= self.side <= MOST_SIDE):
            raise BudgetError(
                f"side is {self.side!r}", where="ImageStatistics.side", mend=f"{LEAST_SIDE} to {MOST_SIDE}"
            )
        object.__setattr__(self, "table", Marginals(self.schema.table, self.budget, target=self.by[0]))

    @cached_property
    def _sizes(self) -> dict[str, int | None]:
        """How many cells each learned column has; None where a fit pays for them."""
        columns = {c.name: c for c in Codec(self.schema.table).columns}
        return {
            name: None
            if getattr(declared, "open", False) or declared.kind not in ("categorical", "boolean")
            else columns[name].cells
            for name, declared in self.schema.table.modelled.items()
            if name != self.column
        }

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many values each column of ``by`` has."""
        return tuple(self._sizes[name] or 0 for name in self.by)

    @property
    def column(self) -> str:
        """The column of pictures."""
        return next(iter(self.schema.pictures))

    @property
    def picture(self) -> Image:
        """Its declaration."""
        return self.schema.pictures[self.column]

    # --- Priced ---------------------------------------------------------------------------------

    @property
    def kind(self) -> str:
        """As written in study files."""
        return "image-statistics"

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
        """Never: it adds up."""
        return False

    def describe(self) -> dict[str, Any]:
        """Every field as JSON values."""
        budget = self.budget
        return {
            "kind": self.kind,
            "schema": self.schema.to_json(),
            "budget": {"epsilon": budget.epsilon, "delta": budget.delta, "neighbours": budget.neighbours},
            "by": list(self.by),
            "side": self.side,
            "aligned": self.aligned,
        }

    @classmethod
    def from_description(cls, value: Mapping[str, Any]) -> ImageStatistics:
        """The recipe that :meth:`describe` described."""
        return cls(
            Schema.from_json(value["schema"]),
            Budget(**value["budget"]),
            by=tuple(value["by"]),
            side=value["side"],
            aligned=value["aligned"],
        )

    @property
    def identity(self) -> str:
        """SHA-256 of :meth:`describe`."""
        return identity(self.describe())

    def check_sampler(
        self, prices: Prices, *, rows: float, cap_epsilon: float, pictures: Fraction = PICTURES
    ) -> Outlook:
        """Whether a fit at these prices could be laid out for ``rows`` declared training subjects: public, free.

        Args:
            pictures: of μ² for the pictures' sums.

        Raises:
            BudgetError: noise beyond the sampler's range, more sampler error than delta is set aside for, or so much
                noise that no picture would be told.
        """
        share = replace(
            prices, mu_fit=self._parts(Fraction(prices.mu_fit) ** 2)[0], delta_noise=NOISE_SLICE * prices.delta_noise
        )
        plan = self.table.check_sampler(share, rows=rows, cap_epsilon=cap_epsilon)
        draws = MOST_ASKED * sum(size or 0 for size in self._sizes.values()) * self._setting(MOST_SIDE).plain.size ** 2
        factor = 1 + Fraction(math.exp(min(cap_epsilon, 700.0)) * (1 + 1e-12))
        if factor * draws * wide_variation(WIDEST) > Fraction((1 - NOISE_SLICE) * prices.delta_noise):
            raise BudgetError(
                f"at a cap of epsilon {cap_epsilon:g} the sampler's rounding would cost more delta than is set aside",
                where="ImageStatistics.budget",
                mend="a smaller cap in the policy, or a larger delta",
            )
        outlook = self._outlook(plan, mu=_whole(prices.mu_fit, pictures), rows=rows)
        outlook.refuse()
        return outlook

    def _outlook(self, plan: Plan, *, mu: float, rows: float) -> Outlook:
        """By declared sizes: how far the mean picture of a value of ``by`` stands out of its noise."""
        cells = max(self._sizes[name] or 1 for name in self.by)
        told = self._told(max(rows, 1.0) / cells, mu=mu, rows=rows)
        return Outlook(plan, self.by, self._side(rows, mu), told)

    def _told(self, pictured: float, *, mu: float, rows: float) -> float:
        """The length of a picture over that of the noise on the mean of so many of all ``rows``, at the pictures' μ."""
        setting = self._setting(self._side(rows, mu))
        share = effects_share(rows * mu) / (1 if setting.straight is None else 2)
        noise = self.contribution * math.sqrt(len(self.by) * setting.plain.size / share)
        return pictured * mu * math.sqrt(1 - float(TABLE)) / noise

    def faint(self, table: MarginalModel, mu: float) -> dict[str, tuple[str, ...]]:
        """The values of each column of ``by`` whose mean picture does not stand out of its noise, by the paid table.

        Args:
            mu: of the whole fit.
        """
        rows, out = self._pictured(table), {}
        for name in self.by:
            column = table.codec.columns[table.codec.index[name]]
            held = self._together(table, name, name).diagonal() * max(table.rows, 1.0)
            told = [self._told(float(n), mu=mu, rows=rows) for n in held]
            low = tuple(label for label, found in zip(column.labels(), told, strict=True) if found < LEAST_TOLD)
            if low:
                out[name] = low
        return out

    # --- the step -------------------------------------------------------------------------------

    def fit(
        self, train: Train, hold: Hold, *, noise: NoiseSource | None = None, progress: Progress = SILENT
    ) -> PicturedModel:
        """Measure, make the transcript durable, then fit it.

        Args:
            train: the training side of a split of records that ``read_images`` gave.
            hold: bought for exactly this recipe, source, purpose and recipient; opened once.
            noise: None for the operating system's secure source. A seeded source is for tests: the model says so and
                no gate passes it.

        Raises:
            HoldError: another recipe, source, purpose or recipient, or a hold already opened.
            LedgerError, StorageError: the ledger cannot record it; nothing was measured.
        """
        source = noise if noise is not None else SecureNoise()
        self.check_records(train, hold)
        self.check_sampler(hold.prices, rows=hold.training_subjects, cap_epsilon=hold.cap_epsilon)
        self.table.check_machine()
        hold.open_fit(
            recipe=self.identity,
            source=train.source,
            purpose=train.purpose,
            recipient=train.recipient,
            benchmark=train.benchmark,
        )
        receipt = self.receipt(hold, provenance_of(source))
        transcript, table = self.buy(train.records, Terms.of(hold), receipt, noise=source, progress=progress)
        hold.deposit(transcript.to_bytes())
        return self.fitted(transcript, receipt, table)

    def check_records(self, train: Train, hold: Hold) -> None:
        """Refuse rows that are not what the hold was bought for, before it is opened.

        Raises:
            HoldError: read by another schema, or as :func:`check_rows`.
        """
        if train.schema.sha256 != self.schema.sha256 or self.column not in train.records.pictures:
            raise HoldError("the records were read by another schema than the recipe's", mend="read them by this one")
        check_rows(train, hold)

    def receipt(self, hold: Hold, noise: Provenance) -> Receipt:
        """What was paid, for the model to carry."""
        return hold.receipt(noise=noise, schema=self.schema.sha256, person_rows=self.schema.subject.person_rows)

    def buy(
        self,
        records: Records,
        terms: Terms,
        receipt: Receipt,
        *,
        noise: NoiseSource,
        pictures: Fraction = PICTURES,
        progress: Progress = SILENT,
    ) -> tuple[PicturedTranscript, MarginalModel]:
        """Every noisy table and sum, and the model of the columns. Once for a hold, after it was opened: by
        :meth:`fit`, or by a recipe of which this is a part.

        Args:
            terms: of the whole hold: ``TABLE`` of its μ² goes to the columns, ``pictures`` of it to the pictures.
        """
        mu_table, cap_table = self._parts(terms.cap)
        parted = replace(terms, mu=mu_table, cap=cap_table)
        table = self.table.buy(records, parted, noise=noise, progress=progress)
        fitted = self.table.fitted(table, receipt, progress=progress)
        cap = terms.cap - cap_table if pictures == PICTURES else terms.cap * pictures
        till = Till(Purse(noise, cap=cap), contribution=terms.contribution)
        rows = self._rows(records, fitted, till, terms, pictures, progress)
        with one_thread():
            portray(rows, rows.setting, rows=self._pictured(fitted), beside=self._beside(fitted))
        return PicturedTranscript(table, rows.told, self.identity, receipt.noise), fitted

    def refit(self, transcript: PicturedTranscript, receipt: Receipt, *, progress: Progress = SILENT) -> PicturedModel:
        """The model of a transcript: free, from noisy sums alone, the same bytes each time.

        Raises:
            HoldError: the transcript was bought for another recipe. ModelError: it is not whole.
        """
        if transcript.recipe != self.identity or receipt.recipe != self.identity:
            raise HoldError("the transcript belongs to another recipe", mend="refit with the recipe that bought it")
        return self.fitted(transcript, receipt, self.table.fitted(transcript.table, receipt, progress=progress))

    def resume(self, transcript: bytes, hold: Hold, *, progress: Progress = SILENT) -> PicturedModel:
        """The model of the bytes that a fit deposited with ``hold``: free.

        Raises:
            HoldError: bought for another recipe. ModelError: not a whole transcript.
        """
        told = PicturedTranscript.from_bytes(transcript)
        receipt = self.receipt(hold, "os-secure" if told.noise == "os-secure" else "seeded")
        return self.refit(told, receipt, progress=progress)

    def fitted(
        self,
        transcript: PicturedTranscript,
        receipt: Receipt,
        table: MarginalModel,
        *,
        pictures: Fraction = PICTURES,
    ) -> PicturedModel:
        """The model of a transcript whose columns are fitted, whatever the receipt was paid for."""
        return PicturedModel(
            schema=self.schema,
            receipt=receipt,
            transcript=transcript,
            recipe=self.describe(),
            table=table,
            portrait=self._portrait(transcript, table, _whole(receipt.mu_fit, pictures)),
        )

    def _portrait(self, transcript: PicturedTranscript, table: MarginalModel, mu: float) -> Portrait:
        rows = self._pictured(table)
        told, beside = Told(transcript.told), self._beside(table)
        portrait = portray(told, self._layout(rows, mu), rows=rows, beside=beside)
        told.refuse_unasked()
        return matched(portrait, beside)

    def _parts(self, whole: Fraction) -> tuple[float, Fraction]:
        """The table's μ, and exactly its part of μ²."""
        mu = root_down(whole * TABLE)
        return mu, Fraction(mu) ** 2

    def _rows(
        self, records: Records, table: MarginalModel, till: Till, terms: Terms, pictures: Fraction, progress: Progress
    ) -> Rows:
        setting = self._layout(self._pictured(table), _whole(terms.mu, pictures))
        progress.step("measure the pictures (paid)", 1)
        pixels, cells, _ = self.shown(records, table)
        return Rows(setting, pixels, cells, till, float(terms.cap * pictures) * (1 - 1e-9))

    def shown(self, records: Records, table: MarginalModel) -> tuple[Pixels, Ints, npt.NDArray[np.object_]]:
        """The pictures that are there, their rows' cells of ``by``, and whose they are. Private."""
        codes: Codes = table.codec.encode(records.frame)
        cells = np.asarray(codes[:, [table.codec.index[name] for name in self.by]], dtype=np.int64)
        held = records.pictures[self.column]
        if not held.missing.any():
            return held.pixels, cells, records.subjects
        there = ~held.missing
        return held.pixels[there], cells[there], records.subjects[there]

    def _side(self, rows: float, mu: float) -> int:
        """More coefficients where more is told of each, by paid N̂ and μ: on 60,000 digits 14 at ε = 1, 20 at 10; and of
        pictures larger than those."""
        if self.side is not None:
            return self.side
        larger = max(1.0, min(self.picture.size) / 28) ** 0.3
        return int(min(MOST_SIDE, max(LEAST_SIDE, round(14 * larger * max(rows * mu / 16_000, 1e-6) ** 0.18))))

    def _layout(self, rows: float, mu: float) -> Setting:
        """By N̂ and μ."""
        return replace(self._setting(self._side(rows, mu)), effects=effects_share(rows * mu))

    def _setting(self, side: int) -> Setting:
        width, height = self.picture.size
        colours = self.picture.mode == "RGB"
        placed = self.aligned and not colours and min(width, height) >= LEAST_ALIGNED
        straight = Band(height, width, False, side, aligned=True) if placed else None
        return Setting(Band(height, width, colours, side), straight, self.sizes)

    def _pictured(self, table: MarginalModel) -> float:
        """About how many rows have a picture, by the table's model."""
        return table.rows * (float(table.marginal([self.column])[0]) if self.picture.nullable else 1.0)

    def _beside(self, table: MarginalModel) -> npt.NDArray[np.float64]:
        """About how many rows with a picture hold two values of ``by`` together, by the table's model."""
        blocks = [[self._together(table, a, b) for b in self.by] for a in self.by]
        return np.asarray(np.block(blocks) * max(table.rows, 1.0), dtype=np.float64)

    def _together(self, table: MarginalModel, a: str, b: str) -> npt.NDArray[np.float64]:
        """The share of rows with a picture that hold each value of ``a`` beside each of ``b``."""
        names = [a] if a == b else [a, b]
        share = table.marginal([*names, self.column])[..., 0] if self.picture.nullable else table.marginal(names)
        return np.diag(share) if a == b else np.asarray(share)


def _whole(mu: float, pictures: Fraction) -> float:
    """The μ of a fit of columns and pictures alone that would leave as much to the pictures."""
    return mu * math.sqrt(pictures / PICTURES)
