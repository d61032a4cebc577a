"""Private pictures as the training loop takes them: by subject, her rows in turn over the copies, on the CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Generator, Tensor, nn

from privsynth.data.pictures import Pixels
from privsynth.data.subjects import grouped
from privsynth.generators.images.edm import dropped, log_normal, losses
from privsynth.generators.images.normal import Normal, Prior, plain
from privsynth.generators.images.space import Space

Ints = npt.NDArray[np.int64]

_AT_ONCE = 4096


@dataclass(eq=False, repr=False)
class Sitters:
    """Those who have a picture; the others are nobody to the loop, whose coins for them would change nothing.

    Attributes:
        space: what the network sees.
        pixels: (rows, height, width[, 3]).
        cells: (rows, columns) of what pictures depend on.
        whose: (rows,) each row's subject, as anything that can be compared.
    """

    space: Space
    pixels: Pixels
    cells: Ints
    whose: npt.NDArray[np.object_]
    _order: Ints = field(init=False)
    _starts: Ints = field(init=False)
    _short: Tensor | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        codes, people = grouped(self.whose, by_text=True)
        self._order = np.argsort(codes, kind="stable").astype(np.int64)
        counts = np.bincount(codes, minlength=people)
        self._starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        if len(self.space.shape) == 1 and len(self.pixels):  # short vectors are kept, pictures made as they are asked
            parts = range(0, len(self.pixels), _AT_ONCE)
            self._short = torch.cat([self.space.inward(self.pixels[i : i + _AT_ONCE]) for i in parts])

    @property
    def subjects(self) -> int:
        """How many there are."""
        return len(self._starts) - 1

    def examples(self, chosen: Ints, *, copies: int, rng: np.random.Generator) -> Mapping[str, Tensor]:
        """See :class:`privsynth.privacy.dpsgd.plan.Source`: which of a subject's rows comes first is drawn."""
        counts = np.diff(self._starts)[chosen]
        first = rng.integers(0, 2**31, size=len(chosen))
        turns = (first[:, None] + np.arange(copies)) % np.maximum(counts, 1)[:, None]
        rows = self._order[(self._starts[chosen][:, None] + turns).ravel()]
        told = torch.from_numpy(np.ascontiguousarray(self.cells[rows]))
        if not len(rows):
            return {"clean": torch.zeros((0, *self.space.shape)), "labels": told}
        if self._short is not None:
            return {"clean": self._short[torch.from_numpy(rows)], "labels": told}
        different, back = np.unique(rows, return_inverse=True)
        return {"clean": self.space.inward(self.pixels[different])[torch.from_numpy(back)], "labels": told}


def made_up(space_shape: tuple[int, ...], sizes: Sequence[int], n: int, rng: np.random.Generator) -> dict[str, Tensor]:
    """Examples of nobody, in the form of :meth:`Sitters.examples`."""
    clean = torch.from_numpy(rng.normal(scale=0.5, size=(n, *space_shape)).astype(np.float32))
    labels = np.stack([rng.integers(0, size, n) for size in sizes], axis=1)
    return {"clean": clean, "labels": torch.from_numpy(labels)}


@dataclass(frozen=True)
class EdmLoss:
    """The loss of each example at a noise level of its own, some of its attributes left out.

    Attributes:
        nulls: of each column, what says "not told".
        prior: what the denoiser begins with; None: EDM's own.
    """

    nulls: tuple[int, ...]
    prior: Normal | None = None
    _at: dict[torch.device, Normal] = field(default_factory=dict, init=False, repr=False)

    def __call__(self, network: nn.Module, batch: Mapping[str, Tensor], generator: Generator) -> Tensor:
        """(n,) losses; what is drawn does not depend on the examples."""
        clean = batch["clean"]
        told = dropped(batch["labels"], self.nulls, generator)
        sigma = log_normal(len(clean), generator, clean.device)
        return losses(network, clean, told, sigma, generator, self._prior(clean.device))

    def _prior(self, device: torch.device) -> Prior:
        if self.prior is None:
            return plain
        if device not in self._at:
            self._at[device] = self.prior.to(device)
        return self._at[device]
