"""A fitted autoregressive model: a paid table's law, moved by a network that noisy steps trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from privsynth.data.balance import Balance
from privsynth.data.codec import Codec, Codes, Evidence
from privsynth.data.guidance import check_guidance
from privsynth.data.records import Condition, Draw, HeldBack, Synthetic
from privsynth.data.schema import Schema
from privsynth.documents import canonical, identity, sha256
from privsynth.errors import ModelError
from privsynth.generators.autoregressive.drawing import Given, Law, Weights, cells_of
from privsynth.generators.autoregressive.ground import Ground, drawing_order
from privsynth.generators.autoregressive.settle import settled
from privsynth.generators.autoregressive.transcript import AutoregressiveTranscript
from privsynth.generators.marginals import MarginalModel
from privsynth.generators.marginals.draw import blocks
from privsynth.generators.marginals.filled import filled, joined
from privsynth.generators.marginals.rows import barren, kept, sampled
from privsynth.generators.marginals.told import held_back
from privsynth.generators.marginals.transcript import Measurement
from privsynth.privacy.events import Receipt

if TYPE_CHECKING:
    import pandas as pd

    from privsynth.generators.autoregressive.published import PublishedNetwork
    from privsynth.generators.marginals.diagnostics import Diagnostics

Floats = npt.NDArray[np.float64]
FORMAT = 1
BLOCK = 100_000
"""Rows that are drawn and decoded together."""
LOOKED_AT = 20_000
"""Rows that are drawn to compare the model with held-back tables."""


@dataclass(frozen=True, eq=False, repr=False)
class AutoregressiveModel:
    """Made by ``Autoregressive.fit``.

    Attributes:
        schema: of the table.
        receipt: what was paid.
        transcript: what it was fitted to.
        recipe: its description.
        table: the model of the paid tables, from which the network starts.
    """

    schema: Schema
    receipt: Receipt
    transcript: AutoregressiveTranscript
    recipe: Mapping[str, Any] = field(repr=False)
    table: MarginalModel

    def __repr__(self) -> str:
        size = sum(w.size for w in self.transcript.weights.values())
        return f"AutoregressiveModel({self.schema.source!r}, {size:,} weights, epsilon={self.receipt.epsilon:g})"

    @property
    def kind(self) -> str:
        """The generator's kind, as study files write it."""
        return str(self.recipe["kind"])

    @cached_property
    def id(self) -> str:
        """Identity: SHA-256 over format, receipt, recipe, transcript and the table's model."""
        told = {
            "format": FORMAT,
            "receipt": identity(self.receipt.to_json()),
            "recipe": identity(dict(self.recipe)),
            "transcript": self.transcript.sha256,
            "table": self.table.id,
        }
        return sha256(canonical(told))

    @property
    def codec(self) -> Codec:
        """The cells of the columns."""
        return self.table.codec

    @property
    def public_help(self) -> str | None:
        """None: no public rows help."""
        return None

    @property
    def adapts(self) -> bool:
        """Never: all noise is fixed before the first read."""
        return False

    def rows_estimate(self) -> tuple[float, float]:
        """N̂ and its standard deviation."""
        return self.table.rows_estimate()

    @cached_property
    def ground(self) -> Ground:
        """What the network is added to."""
        return Ground.of(self.table, levels=int(self.recipe["levels"]))

    def check(self) -> None:
        """Whether the network belongs to the table.

        Raises:
            ModelError: it does not.
        """
        width, shapes = self.ground.width, {name: w.shape for name, w in self.transcript.weights.items()}
        hidden = shapes.get("inlet.bias", (0,))[0]
        if shapes != {
            "inlet.weight": (hidden, width),
            "inlet.bias": (hidden,),
            "outlet.weight": (width, hidden),
            "outlet.bias": (width,),
        }:
            raise ModelError("the weights belong to another table", mend="restore the transcript from the ledger")

    @cached_property
    def law(self) -> Law:
        """What rows are drawn by: see drawing.py."""
        target = self.recipe["target"]
        order = drawing_order(len(self.codec.columns), None if target is None else self.codec.index[target])
        law = Law(self.ground, Weights.of(self.transcript.weights), order)
        return settled(law, rng=self._rng())

    def _rng(self) -> np.random.Generator:
        """For what is worked out by drawing rows: a function of the transcript."""
        return np.random.default_rng(np.frombuffer(bytes.fromhex(self.transcript.sha256), np.uint32))

    def refits(self) -> bool:
        """Whether fitting the transcript again, which is free, gives this very model."""
        from privsynth.generators.autoregressive.recipe import Autoregressive

        recipe = Autoregressive.from_description(self.recipe)
        if recipe.identity != self.receipt.recipe or recipe.identity != self.transcript.recipe:
            return False
        return recipe.refit(self.transcript, self.receipt).id == self.id

    # --- sampling -------------------------------------------------------------------------------

    def sample(
        self,
        n: int,
        *,
        where: Condition | None = None,
        seed: int | None = None,
        balance: Balance | None = None,
        draw: Draw = "even",
        guidance: float = 0.0,
    ) -> Synthetic:
        """``n`` rows: free, under the same receipt. Arguments as of ``MarginalModel.sample``.

        Rows that break a structural zero or an order are drawn anew, which conditions the model on keeping them,
        exactly; orders that hardly a row keeps are refused. What a condition means is said in drawing.py. On the same
        kind of machine the same seed gives the same rows. Memory: a block of 100,000 rows, and the table.
        """
        check_guidance(guidance, guides=False)
        return sampled(self, _Drawer(self), n, where=where, seed=seed, balance=balance, draw=draw)

    def codes(self, n: int, *, rng: np.random.Generator, draw: Draw = "even") -> Codes:
        """(n, columns) cells of rows as the network draws them, whatever the schema's rules say."""
        return cells_of(self.law.ground, Given(self.law, {}).draw(n, rng, draw), {}, rng)

    # --- what the transcript tells ---------------------------------------------------------------

    def held_back_error(self) -> HeldBack | None:
        """How far the model is from noisy tables that the fit never saw, on 20,000 rows drawn for this alone; what
        their chance adds is taken off (see ``marginals.told.held_back``)."""
        if not self.transcript.table.stage("held-back"):
            return None
        codes = self.codes(LOOKED_AT, rng=self._rng(), draw="independent")

        def table(m: Measurement) -> Floats:
            held = [codes[:, c] if g is None else g[codes[:, c]] for c, g in zip(m.clique, m.groups, strict=True)]
            place = np.ravel_multi_index(held, m.counts.shape)
            counted = np.bincount(place, minlength=m.counts.size).reshape(m.counts.shape)
            return np.asarray(counted / len(codes), dtype=np.float64)

        return held_back(self.transcript.table, self.codec, table, rows=self.table.rows, drawn=LOOKED_AT)

    def diagnostics(self) -> Diagnostics:
        """Figures of the fit of the paid tables; of the network there are none."""
        return self.table.diagnostics()

    def published(self) -> PublishedNetwork:
        """The transcript with what anyone needs to fit it again."""
        from privsynth.generators.autoregressive.published import publish

        return publish(self)

    def save(self, folder: str | Path) -> None:
        """Write the model into a new folder: see :func:`privsynth.generators.autoregressive.disk.save_network`."""
        from privsynth.generators.autoregressive.disk import save_network

        save_network(self, Path(folder))


@dataclass(frozen=True, eq=False)
class _Drawer:
    """One draw."""

    model: AutoregressiveModel

    def can(self, evidence: Mapping[str, Evidence]) -> bool:
        """Whether a condition has a probability above 0."""
        return self._given(evidence).possible

    def keeping(
        self,
        n: int,
        evidence: Mapping[str, Evidence],
        rng: np.random.Generator,
        draw: Draw,
        *,
        combination: str | None = None,
    ) -> pd.DataFrame:
        """``n`` rows that keep every structural zero and order, block by block."""
        model, given = self.model, self._given(evidence)
        place = self._placed(evidence)

        def drawn(size: int, draw: Draw) -> pd.DataFrame:
            codes = cells_of(model.law.ground, given.draw(size, rng, draw), place, rng)
            return kept(model.codec.decode(codes, rng, evidence), model.schema)

        wrong = barren(evidence, combination)
        parts = [filled(size, drawn, rng, draw, barren=wrong) for size in blocks(n, size=BLOCK)]
        return joined(parts)

    def _given(self, evidence: Mapping[str, Evidence]) -> Given:
        return Given.of(self.model.law, self._placed(evidence))

    def _placed(self, evidence: Mapping[str, Evidence]) -> dict[int, Evidence]:
        return {self.model.codec.index[name]: e for name, e in evidence.items()}
