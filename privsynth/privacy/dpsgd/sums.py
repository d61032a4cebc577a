"""Chosen subjects → the exact integer sum of their clipped gradients, chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor, nn

from privsynth.errors import PrivsynthError
from privsynth.privacy.dpsgd.clip import add_clipped
from privsynth.privacy.dpsgd.plan import IntArray, Loss, MakeBatch, Plan, Source
from privsynth.privacy.noise import TrainingNoise


@dataclass(frozen=True)
class Sums:
    """What one rank adds to a step's sum, before noise: private.

    Attributes:
        network, source, loss, plan, device, noise: as ``train`` was given them.
        parameters: those that are trained.
        filling: a chunk of random examples. A chunk that is not full is filled up with them, and their gradients are
            left out: a loss always sees the same number of examples, so it cannot tell how many subjects are in.
        chunk: subjects at once.
    """

    network: nn.Module
    source: Source
    loss: Loss
    plan: Plan
    device: str
    noise: TrainingNoise
    parameters: tuple[nn.Parameter, ...]
    filling: Mapping[str, Tensor]
    chunk: int

    @classmethod
    def of(
        cls,
        network: nn.Module,
        source: Source,
        loss: Loss,
        plan: Plan,
        make_batch: MakeBatch,
        *,
        chunk: int,
        device: str,
        noise: TrainingNoise,
    ) -> Sums:
        """For a network whose per-example gradients are kept (``clip.per_example``)."""
        parameters = tuple(p for p in network.parameters() if p.requires_grad)
        filling = make_batch(chunk * plan.copies, np.random.default_rng(0))
        return cls(network, source, loss, plan, device, noise, parameters, filling, chunk)

    @property
    def size(self) -> int:
        """How many numbers are trained."""
        return sum(p.numel() for p in self.parameters)

    def over(self, chosen: IntArray) -> Tensor:
        """(size,) int64: the sum over these subjects, in grid units; each moves it by at most ``plan.grid_norm``."""
        total = torch.zeros(self.size, dtype=torch.int64, device=self.device)
        for start in range(0, len(chosen), self.chunk):
            part = chosen[start : start + self.chunk]
            self._leave_gradients(self._batch(part))
            add_clipped(total, self.parameters, self.plan, rows=self.chunk, kept=len(part))
        return total

    def _batch(self, part: IntArray) -> Mapping[str, Tensor]:
        """The examples of these subjects, and filling."""
        rng = np.random.default_rng(self.noise.words(4))
        given, count = self.source.examples(part, copies=self.plan.copies, rng=rng), len(part) * self.plan.copies
        like = {name: (count, t.shape[1:], t.dtype) for name, t in self.filling.items()}
        if {name: (len(t), t.shape[1:], t.dtype) for name, t in given.items()} != like:
            raise PrivsynthError(
                "a source gave other tensors than its random examples are like",
                mend="the same names, types and shapes; first dimension: subjects times copies",
            )
        return {name: torch.cat([tensor, self.filling[name][count:]]).contiguous() for name, tensor in given.items()}

    def _leave_gradients(self, batch: Mapping[str, Tensor]) -> None:
        """Leave each example's gradient in the parameters."""
        own, for_all = (int(word) >> 1 for word in self.noise.words(2))
        generator = Generator(self.device).manual_seed(own)
        with _drawing(for_all, self.device):
            losses = self.loss(self.network, {name: t.to(self.device) for name, t in batch.items()}, generator)
            losses.sum().backward()  # type: ignore[no-untyped-call]


@contextmanager
def _drawing(seed: int, device: str) -> Iterator[None]:
    """While the block runs, torch's global generators (of dropout) draw by this seed: a user may know their own."""
    places = [torch.device(device)] if device.startswith("cuda") else []
    with torch.random.fork_rng(devices=places):
        torch.default_generator.manual_seed(seed)
        for place in places:
            with torch.cuda.device(place):
                torch.cuda.manual_seed(seed)
        yield
