"""Small sources, networks and losses for the tests of the training loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from privsynth.privacy.dpsgd import IntArray, Plan

WIDTH = 6


@dataclass
class Rows:
    """A source of one row a subject: ``x`` (n, width) and ``y`` (n,)."""

    x: Tensor
    y: Tensor
    asked: list[IntArray] = field(default_factory=list)

    @classmethod
    def some(cls, subjects: int, *, seed: int = 0, width: int = WIDTH) -> Rows:
        generator = Generator().manual_seed(seed)
        x = torch.randn((subjects, width), generator=generator)
        return cls(x, (x[:, 0] > 0).long() if subjects else torch.zeros(0, dtype=torch.int64))

    @property
    def subjects(self) -> int:
        return len(self.x)

    def examples(self, chosen: IntArray, *, copies: int, rng: np.random.Generator) -> Mapping[str, Tensor]:
        self.asked.append(chosen)
        places = torch.from_numpy(np.repeat(chosen, copies))
        return {"x": self.x[places], "y": self.y[places]}


def random_rows(count: int, rng: np.random.Generator) -> Mapping[str, Tensor]:
    """Rows like those of :class:`Rows`, of nobody."""
    x = torch.from_numpy(rng.normal(size=(count, WIDTH)).astype(np.float32))
    return {"x": x, "y": torch.from_numpy(rng.integers(0, 2, count))}


def random_pictures(count: int, rng: np.random.Generator) -> Mapping[str, Tensor]:
    """(count, 3, 8, 8) pictures and a class each."""
    x = torch.from_numpy(rng.normal(size=(count, 3, 8, 8)).astype(np.float32))
    return {"x": x, "y": torch.from_numpy(rng.integers(0, 4, count))}


def small() -> nn.Sequential:
    """A classifier of :class:`Rows`, the same at every call."""
    network = nn.Sequential(nn.Linear(WIDTH, 5), nn.Tanh(), nn.Linear(5, 2))
    generator = Generator().manual_seed(1)
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(torch.randn(p.shape, generator=generator))
    return network


def cross_entropy(network: nn.Module, batch: Mapping[str, Tensor], generator: Generator) -> Tensor:
    """One loss a row; no randomness."""
    return nn.functional.cross_entropy(network(batch["x"]), batch["y"], reduction="none")


def squares(network: nn.Module, batch: Mapping[str, Tensor], generator: Generator) -> Tensor:
    """Half the squared output of a picture network against noise: a loss with randomness of its own."""
    made = network(batch["x"])
    aim = torch.randn(made.shape, generator=generator, device=made.device)
    losses: Tensor = ((made - aim) ** 2).flatten(1).mean(dim=1)
    return losses


def plan(**fields: Any) -> Plan:
    """A plan of 100 subjects, half of them in a step; the price is not asked."""
    usual: dict[str, Any] = {
        "subjects": 100.0,
        "rate": 0.5,
        "steps": 4,
        "noise": 1.0,
        "clipping_norm": 1.0,
        "copies": 1,
        "learning_rate": 1e-2,
        "ema": 0.9,
    }
    return Plan(**{**usual, **fields})
