"""What a training takes as one subject: ids that numpy or pandas would take for one stay two, and each moves by C."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn

from privsynth.data.pictures import Pixels
from privsynth.generators.autoregressive.source import CodedRows
from privsynth.generators.images.source import Sitters
from privsynth.generators.images.space import PixelSpace
from privsynth.privacy.dpsgd import IntArray, Source
from privsynth.privacy.dpsgd.clip import per_example
from privsynth.privacy.dpsgd.sums import Sums
from privsynth.privacy.noise import SecureNoise
from tests.generators.images.test_space import pictures
from tests.privacy.dpsgd.toy import plan

PULLS = {"ann": 1000, "ann\0": -3, "ann\0\0": 7, "eve": 1}
Made = Callable[[Sequence[str]], Source]


class Pulls:
    """Only what each example pulls: of either source."""

    def __init__(self, source: Source, name: str) -> None:
        self._source, self._name = source, name

    @property
    def subjects(self) -> int:
        return self._source.subjects

    def examples(self, chosen: IntArray, *, copies: int, rng: np.random.Generator) -> Mapping[str, Tensor]:
        return {"pull": self._source.examples(chosen, copies=copies, rng=rng)[self._name][:, 0]}


def array(ids: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
    out = np.empty(len(ids), dtype=object)
    out[:] = ids
    return out


def coded(ids: Sequence[str]) -> Source:
    return Pulls(CodedRows(np.array([[PULLS[i]] for i in ids], dtype=np.int32), array(ids)), "cells")


def sitting(ids: Sequence[str]) -> Source:
    pixels: Pixels = pictures(8, 8)[: len(ids)]
    told = np.array([[PULLS[i]] for i in ids], dtype=np.int64)
    return Pulls(Sitters(PixelSpace.of(pictures(8, 8)), pixels, told, array(ids)), "labels")


def pulled(network: nn.Module, batch: Mapping[str, Tensor], generator: Generator) -> Tensor:
    losses: Tensor = network(torch.ones((len(batch["pull"]), 1)))[:, 0] * batch["pull"]
    return losses


def nobody(count: int, rng: np.random.Generator) -> Mapping[str, Tensor]:
    return {"pull": torch.from_numpy(rng.integers(-9, 9, count))}


def summed(source: Source) -> Tensor:
    network = nn.Linear(1, 1)
    with per_example(network):
        sums = Sums.of(network, source, pulled, plan(copies=2), nobody, chunk=2, device="cpu", noise=SecureNoise())
        return sums.over(np.arange(source.subjects))


@pytest.mark.parametrize("made", [coded, sitting])
@pytest.mark.parametrize("ids", [*combinations(PULLS, 2), tuple(PULLS)])
def test_a_step_moves_by_at_most_c_when_somebody_leaves(made: Made, ids: tuple[str, ...]) -> None:
    rows = [*ids, ids[0]]
    assert made(rows).subjects == len(ids)
    before = summed(made(rows))
    for gone in ids:
        moved = before - summed(made([i for i in rows if i != gone]))
        assert math.sqrt(sum(int(t) ** 2 for t in moved)) <= plan(copies=2).grid_norm
