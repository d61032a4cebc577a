"""A fitted model of rows that carry a picture: the table's model, and a network that draws each row's picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from privsynth.data.guidance import check_guidance
from privsynth.data.pictures import Pixels, shape_of
from privsynth.data.records import Condition, Draw, HeldBack, Synthetic
from privsynth.data.schema import Schema
from privsynth.data.unrolled import pieces_of
from privsynth.documents import canonical, identity, sha256
from privsynth.generators.images.edm import few, guided, heun
from privsynth.generators.images.model import PicturedModel, Sitting, with_pictures
from privsynth.generators.images.networks import Layout, filled
from privsynth.generators.images.normal import Normal
from privsynth.generators.images.space import Space
from privsynth.generators.images.trained import TrainedTranscript
from privsynth.privacy.events import Receipt
from privsynth.progress import SILENT, Progress

if TYPE_CHECKING:
    from privsynth.data.codec import Codec, Codes
    from privsynth.generators.images.published_weights import PublishedDiffusion
    from privsynth.generators.marginals.diagnostics import Diagnostics

FORMAT = 1
STEPS = 18
"""Noise levels of the full way to draw: 35 calls of the network."""
_AT_ONCE = 256
_NUMBERS = 2**24
"""Inside a network's first level, at once: what bounds the memory of drawing."""


@dataclass(frozen=True, eq=False, repr=False)
class DiffusedModel:
    """Made by ``ImageDiffusion.fit``.

    Attributes:
        receipt: what was paid.
        transcript: what it was fitted to.
        recipe: its description.
        first: the model of the statistics that were bought before the training; its table is this model's.
        space: what the network's numbers stand for.
        prior: what its denoiser begins with.
        layout: of the network.
        public_help: where public weights come from that the training began with; None where there were none.
    """

    receipt: Receipt
    transcript: TrainedTranscript
    recipe: Mapping[str, Any] = field(repr=False)
    first: PicturedModel
    space: Space
    prior: Normal
    layout: Layout
    public_help: str | None = None

    @property
    def adapts(self) -> bool:
        """Never: all noise is fixed before the first read."""
        return False

    def __repr__(self) -> str:
        return f"DiffusedModel({self.schema.source!r}, epsilon={self.receipt.epsilon:g})"

    @property
    def schema(self) -> Schema:
        """Of the rows, pictures included."""
        return self.first.schema

    @property
    def kind(self) -> str:
        """The generator's kind, as study files write it."""
        return str(self.recipe["kind"])

    @cached_property
    def id(self) -> str:
        """Identity: SHA-256 over format, receipt, recipe, transcript and the first model."""
        told = {
            "format": FORMAT,
            "receipt": identity(self.receipt.to_json()),
            "recipe": identity(dict(self.recipe)),
            "transcript": self.transcript.sha256,
            "first": self.first.id,
        }
        return sha256(canonical(told))

    @property
    def codec(self) -> Codec:
        """The cells of the columns."""
        return self.first.codec

    def rows_estimate(self) -> tuple[float, float]:
        """N̂ and its standard deviation."""
        return self.first.rows_estimate()

    def held_back_error(self) -> HeldBack | None:
        """Fidelity of the columns on the noisy cliques that the fit never saw."""
        return self.first.held_back_error()

    def diagnostics(self) -> Diagnostics:
        """Figures of the fit of the columns; of pictures there are none."""
        return self.first.diagnostics()

    def refits(self) -> bool:
        """Whether fitting the transcript again, which is free, gives this very model."""
        from privsynth.generators.images.diffusion import ImageDiffusion

        recipe = ImageDiffusion.from_description(self.recipe)
        if recipe.identity != self.receipt.recipe or recipe.identity != self.transcript.recipe:
            return False
        return recipe.refit(self.transcript, self.receipt).id == self.id

    def published(self) -> PublishedDiffusion:
        """The transcript with what anyone needs to load it again."""
        from privsynth.generators.images.published_weights import publish_diffusion

        return publish_diffusion(self)

    def save(self, folder: str | Path) -> None:
        """Write the model into a new folder: see :func:`privsynth.generators.images.disk.save_pictured`."""
        from privsynth.generators.images.disk import save_pictured

        save_pictured(self, Path(folder))

    def sample(
        self,
        n: int,
        *,
        where: Condition | None = None,
        seed: int | None = None,
        balance: Mapping[str, Any] | None = None,
        draw: Draw = "even",
        guidance: float = 0.0,
        full: bool = False,
        progress: Progress = SILENT,
    ) -> Synthetic:
        """``n`` rows with a picture each: free, under the same receipt. Arguments as of ``MarginalModel.sample``.

        With a seed the same pixels again on the same machine. Another processor, device, number of threads or version
        of torch adds in another order: single pixels may then differ by a grey level.

        Args:
            guidance: 0 draws as was learned; above it, up to 3, pictures are pushed to look more like their row's
                values than was learned (Ho & Salimans 2022), always in full, in twice the calls.
            full: draw by the general way, in four times the network's calls, instead of the one that was fitted to
                this network. A release draws its rows again, without guidance not in full: others are for looking at.
            progress: told of every batch.

        Raises:
            ConditionError: as of ``MarginalModel.sample``, or a guidance out of range.
        """
        pushed = check_guidance(guidance, guides=True)
        asked: dict[str, Any] = {"where": where, "seed": seed, "balance": balance, "draw": draw, "guidance": pushed}
        told = self.first.table.beside_pictures(n, **asked)
        progress.step("draw pictures", n)
        drawn = with_pictures(self._sitting(told, full=full or pushed > 0, progress=progress))
        return replace(drawn, faint=self.first.faint)

    def unrolled(self, n: int, *, seed: int | None = None, draw: Draw = "even") -> Synthetic:
        """What :meth:`sample` draws by this seed, its pixels made as they are read: see ``data.unrolled``."""
        told = self.first.table.sample(n, seed=seed, draw=draw)
        return replace(with_pictures(self._sitting(told), unroll=True), faint=self.first.faint)

    def _sitting(self, told: Synthetic, *, full: bool = False, progress: Progress = SILENT) -> Sitting:
        mark = sha256(f"{self.id}:{told.seed}:{told.guidance}:{bool(full)}".encode())

        def begin() -> Callable[[Codes], Iterator[Pixels]]:
            generator = torch.Generator().manual_seed(int(mark[:15], 16))

            def paint(codes: Codes) -> Iterator[Pixels]:
                for pixels in self._pieces(codes, generator, guidance=told.guidance, full=full):
                    yield pixels
                    progress.advance(len(pixels))

            return paint

        return Sitting(told, self.schema, self.codec, self.id, begin, self._at_once)

    def _pieces(self, codes: Codes, generator: torch.Generator, *, guidance: float, full: bool) -> Iterator[Pixels]:
        """(n, height, width[, 3]) pictures of rows with these codes, piece by piece."""
        columns = [self.codec.index[name] for name in self.recipe["by"]]
        labels = torch.from_numpy(np.asarray(codes[:, columns], dtype=np.int64)).to(self._device)
        noise = torch.randn((len(codes), *self.space.shape), generator=generator).to(self._device)
        at = guided(self._network, labels, self.layout.sizes, guidance, self._prior)
        with torch.inference_mode(), torch.backends.cudnn.flags(benchmark=False, deterministic=True):
            held: Tensor = heun(at, noise, STEPS)[-1] if full else few(at, noise, self.transcript.few)
        yield from self.space.pieces(held, pieces_of(shape_of(next(iter(self.schema.pictures.values())))))

    @cached_property
    def _network(self) -> torch.nn.Module:
        return filled(self.layout, dict(self.transcript.weights)).to(self._device)

    @cached_property
    def _prior(self) -> Normal:
        return self.prior.to(self._device)

    @property
    def _device(self) -> str:
        return "cuda" if self.recipe["device"] == "cuda" and torch.cuda.is_available() else "cpu"

    @property
    def _at_once(self) -> int:
        if len(self.layout.shape) == 1:
            return 2048
        inside = 8 * self.layout.channels * self.layout.shape[1] * self.layout.shape[2]
        return max(1, min(_AT_ONCE * (8 if self._device == "cuda" else 1), _NUMBERS * 8 // inside))
