"""Weights, Adam's moments and the average of weights: functions of noisy sums only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from privsynth.errors import ModelError

_BETAS = (0.9, 0.999)
_EPSILON = 1e-8


@dataclass
class State:
    """What a training carries from step to step.

    Attributes:
        weights: the network's trained parameters, by name; stepping changes the network.
        first, second: Adam's moments.
        averaged: the moving average of the weights.
        count: noisy steps so far.
    """

    weights: dict[str, Tensor]
    first: dict[str, Tensor]
    second: dict[str, Tensor]
    averaged: dict[str, Tensor]
    count: Tensor

    @classmethod
    def of(cls, network: nn.Module) -> State:
        """Before the first step."""
        weights = {name: p.detach() for name, p in network.named_parameters() if p.requires_grad}
        first, second = ({name: torch.zeros_like(w) for name, w in weights.items()} for _ in range(2))
        count = torch.zeros(1, dtype=torch.int64, device=next(iter(weights.values())).device)
        return cls(weights, first, second, {name: w.clone() for name, w in weights.items()}, count)

    @torch.no_grad()
    def step(self, gradient: Tensor, *, learning_rate: float, ema: float) -> None:
        """One step of Adam (Kingma & Ba 2015) and of the average, whose decay warms up to ``ema``.

        Args:
            gradient: (size of all weights,) the noisy mean, in the order of ``weights``.
        """
        self.count += 1
        count = int(self.count)
        decay = min(ema, (1 + count) / (10 + count))
        size = learning_rate / (1 - _BETAS[0] ** count)
        parts = torch.split(gradient, [w.numel() for w in self.weights.values()])
        for (name, weight), part in zip(self.weights.items(), parts, strict=True):
            first, second = self.first[name], self.second[name]
            part = part.reshape(weight.shape)
            first.lerp_(part, 1 - _BETAS[0])
            second.lerp_(part * part, 1 - _BETAS[1])
            weight -= size * first / ((second / (1 - _BETAS[1] ** count)).sqrt() + _EPSILON)
            self.averaged[name].lerp_(weight, 1 - decay)

    def tensors(self) -> dict[str, Tensor]:
        """Everything, by name, for a checkpoint."""
        return dict(self._parts())

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what :meth:`tensors` gave.

        Raises:
            ModelError: of another network.
        """
        own = self.tensors()
        if {n: t.shape for n, t in own.items()} != {n: t.shape for n, t in tensors.items()}:
            raise ModelError("a checkpoint is of another network", mend="use the checkpoints of this hold")
        for name, tensor in own.items():
            tensor.copy_(tensors[name])

    def _parts(self) -> Iterator[tuple[str, Tensor]]:
        for part in ("weights", "first", "second", "averaged"):
            for name, tensor in getattr(self, part).items():
                yield f"{part}/{name}", tensor
        yield "count", self.count
