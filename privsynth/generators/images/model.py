"""A fitted model of rows that carry a picture: the table's model, and a normal law of pictures for each row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from privsynth.data.pictures import Pictures
from privsynth.data.records import Condition, Draw, HeldBack, Synthetic
from privsynth.data.schema import Schema
from privsynth.documents import canonical, identity, sha256
from privsynth.generators.images.portrait import Portrait
from privsynth.generators.images.transcript import PicturedTranscript
from privsynth.generators.marginals import MarginalModel
from privsynth.privacy.events import Receipt

if TYPE_CHECKING:
    from privsynth.data.codec import Codec, Codes

FORMAT = 1
_AT_ONCE = 8192


@dataclass(frozen=True, eq=False, repr=False)
class PicturedModel:
    """Made by ``ImageStatistics.fit``.

    Attributes:
        schema: of the rows, pictures included.
        receipt: what was paid.
        transcript: what it was fitted to.
        recipe: its description.
        table: the model of the columns.
        portrait: of the pictures, given the columns that they depend on.
    """

    schema: Schema
    receipt: Receipt
    transcript: PicturedTranscript
    recipe: Mapping[str, Any] = field(repr=False)
    table: MarginalModel
    portrait: Portrait

    def __repr__(self) -> str:
        return f"PicturedModel({self.schema.source!r}, epsilon={self.receipt.epsilon:g})"

    @property
    def kind(self) -> str:
        """The generator's kind, as study files write it."""
        return str(self.recipe["kind"])

    @cached_property
    def id(self) -> str:
        """Identity: SHA-256 over format, receipt, recipe, transcript and both parts."""
        told = {
            "format": FORMAT,
            "receipt": identity(self.receipt.to_json()),
            "recipe": identity(dict(self.recipe)),
            "transcript": self.transcript.sha256,
            "table": self.table.id,
            "portrait": sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in self.portrait.arrays)),
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

    def rows_estimate(self) -> tuple[float, float]:
        """N̂ and its standard deviation."""
        return self.table.rows_estimate()

    def held_back_error(self) -> HeldBack | None:
        """Fidelity of the columns on the noisy cliques that the fit never saw."""
        return self.table.held_back_error()

    def refits(self) -> bool:
        """Whether fitting the transcript again, which is free, gives this very model."""
        from privsynth.generators.images.statistics import ImageStatistics

        recipe = ImageStatistics.from_description(self.recipe)
        if recipe.identity != self.receipt.recipe or recipe.identity != self.transcript.recipe:
            return False
        return recipe.refit(self.transcript, self.receipt).id == self.id

    def sample(
        self,
        n: int,
        *,
        where: Condition | None = None,
        seed: int | None = None,
        balance: Mapping[str, Any] | None = None,
        draw: Draw = "even",
    ) -> Synthetic:
        """``n`` rows with a picture each: free, under the same receipt. Arguments as of ``MarginalModel.sample``.

        In ``frame`` stands the name that each picture's file would have; the pixels are in ``pictures``.
        """
        told = self.table.sample(n, where=where, seed=seed, balance=balance, draw=draw)
        codes = self.codec.encode(told.frame)
        rng = np.random.default_rng(np.frombuffer(bytes.fromhex(sha256(f"{self.id}:{told.seed}".encode())), np.uint32))
        name = next(iter(self.schema.pictures))
        pixels = np.concatenate([self.drawn(codes[i : i + _AT_ONCE], rng) for i in range(0, n, _AT_ONCE)])
        width = len(str(n))
        files = np.array([f"{name}/{i:0{width}d}.png" for i in range(1, n + 1)], dtype=object)
        frame = told.frame.assign(**{name: files})[[c for c, d in self.schema.columns.items() if not d.dropped]]
        return Synthetic(
            frame,
            self.schema,
            self.receipt,
            self.id,
            told.condition,
            told.where,
            told.seed,
            told.balance,
            told.draw,
            {name: Pictures(pixels, np.zeros(n, dtype=np.bool_))},
        )

    def drawn(self, codes: Codes, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
        """(n, height, width[, 3]) pictures of rows with these codes."""
        return self.portrait.drawn(codes[:, [self.codec.index[name] for name in self.recipe["by"]]], rng)
