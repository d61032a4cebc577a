"""The network: what is known of a row → how much likelier each level of each column is than the paid table says.

One hidden layer of low rank, an input for each level of a known column (none for an unknown one), an output for each
level; the last layer starts at zero, so that an untrained network changes nothing. Trained on random subsets of known
columns, as masked and order-agnostic autoregressive networks are (Germain et al. 2015; Hoogeboom et al. 2022): one
network for every order and every condition.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Generator, Tensor, nn
from torch.nn.utils import skip_init

from privsynth.generators.autoregressive.ground import NORM_FLOOR, Ground

_FLOOR = 1e-12
_INFINITE = 1e30
IN_ORDER, ALL_BUT_LAST = 0.5, 0.1
"""Of the masks: those that know the first columns in drawing order, and those of them that know all but the last."""


class Network(nn.Module):
    """(n, width) known levels as ones → (n, width) logarithms of factors.

    Args:
        width: levels of all columns.
        hidden: size of the layer between.
        columns: how many there are.
        generator: for the weights of the first layer.
    """

    def __init__(self, width: int, hidden: int, columns: int, *, generator: Generator) -> None:
        super().__init__()
        self.inlet: nn.Linear = skip_init(nn.Linear, width, hidden)  # type: ignore[no-untyped-call]
        self.outlet: nn.Linear = skip_init(nn.Linear, hidden, width)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            self.inlet.weight.normal_(std=2 / math.sqrt(columns), generator=generator)
            for zero in (self.inlet.bias, self.outlet.weight, self.outlet.bias):
                zero.zero_()

    def forward(self, known: Tensor) -> Tensor:
        hidden = torch.relu(self.inlet(known))
        return self.outlet(hidden * torch.rsqrt(hidden.square().mean(dim=1, keepdim=True) + NORM_FLOOR))  # type: ignore[no-any-return]


@dataclass(eq=False, repr=False)
class MaskedLoss:
    """The mean surprise, in nats a column, at the unknown columns of each row, a random subset being known.

    Attributes:
        ground: the law that is moved.
        order: of the columns when rows are drawn.
    """

    ground: Ground
    order: Sequence[int]
    _held: dict[torch.device, dict[str, Tensor]] = field(default_factory=dict)

    def __call__(self, network: nn.Module, batch: Mapping[str, Tensor], generator: Generator) -> Tensor:
        """(n,) losses of rows of cells; what is drawn does not depend on them."""
        cells = batch["cells"]
        held = self._tensors(cells.device)
        at = cells + held["cell start"]
        levels = held["level"][at]
        known = self._known(len(cells), generator, held["rank"])
        seen = torch.zeros((len(cells), self.ground.width), device=cells.device)
        seen = seen.scatter(1, levels, known.float())
        logits = self._paid(held["group"][at], known, held) + network(seen)
        peak = torch.full((len(cells), known.shape[1]), -_INFINITE, device=cells.device)
        peak = peak.scatter_reduce(1, held["column"].expand(len(cells), -1), logits.detach(), "amax")
        total = torch.zeros_like(peak).index_add(1, held["column"], (logits - peak[:, held["column"]]).exp())
        surprise = (peak + total.log() - logits.gather(1, levels)) * (~known).float()
        mean: Tensor = surprise.sum(dim=1) / (~known).float().sum(dim=1)
        return mean

    def made_up(self, n: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """Rows of nobody."""
        cells = [rng.integers(0, len(c.level), n) for c in self.ground.columns]
        return {"cells": torch.from_numpy(np.stack(cells, axis=1))}

    def _known(self, n: int, generator: Generator, rank: Tensor) -> Tensor:
        """(n, columns) at least one is unknown."""
        columns, device = len(rank), rank.device
        coins = torch.rand((3, n, 1), generator=generator, device=device)
        many = (coins[0] * columns).floor()
        many = torch.where(coins[1] < ALL_BUT_LAST, torch.full_like(many, columns - 1), many)
        drawn = torch.rand((n, columns), generator=generator, device=device).argsort(dim=1).argsort(dim=1)
        places = torch.where((coins[2] < IN_ORDER) | (coins[1] < ALL_BUT_LAST), rank.expand(n, -1), drawn)
        return places < many

    def _paid(self, groups: Tensor, known: Tensor, held: Mapping[str, Tensor]) -> Tensor:
        """(n, width) the paid table's logarithms of the levels given what is known."""
        if len(held["weights"]) == 1:
            return held["by level"].clamp_min(_FLOOR).log().expand(len(groups), -1)
        told = torch.zeros((len(groups), len(held["by group"])), device=groups.device)
        told = told.scatter(1, groups, known.float())
        shares = torch.softmax(held["weights"] + told @ held["by group"], dim=1)
        return (shares @ held["by level"]).clamp_min(_FLOOR).log()

    def _tensors(self, device: torch.device) -> dict[str, Tensor]:
        """The ground as tensors on a device."""
        if device not in self._held:
            made = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in self._arrays().items()}
            self._held[device] = {name: tensor.to(device) for name, tensor in made.items()}
        return self._held[device]

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        columns = self.ground.columns
        groups = np.concatenate([[0], np.cumsum([c.tables.shape[1] for c in columns])])
        group_of_cell = [c.group_of[c.unit] + groups[i] for i, c in enumerate(columns)]
        with np.errstate(divide="ignore"):
            weights = np.log(self.ground.weights)
        return {
            "cell start": np.concatenate([[0], np.cumsum([len(c.level) for c in columns])])[:-1].astype(np.int64),
            "level": np.concatenate([c.level + self.ground.starts[i] for i, c in enumerate(columns)]).astype(np.int64),
            "group": np.concatenate(group_of_cell).astype(np.int64),
            "column": np.repeat(np.arange(len(columns)), [c.levels for c in columns]).astype(np.int64),
            "rank": np.argsort(self.order).astype(np.int64),
            "weights": np.maximum(weights, -1e4).astype(np.float32),
            "by group": np.log(np.maximum(np.concatenate([c.tables for c in columns], axis=1), _FLOOR)).T.astype(
                np.float32
            ),
            "by level": np.concatenate([c.by_level for c in columns], axis=1).astype(np.float32),
        }
