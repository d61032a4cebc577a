"""The network and its loss, as the private loop needs them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from privsynth.generators.autoregressive.network import MaskedLoss, Network
from privsynth.generators.autoregressive.source import CodedRows
from privsynth.privacy.dpsgd import check_network
from tests.generators.autoregressive.test_drawing import ground


@pytest.mark.parametrize("hidden", [1, 8, 32])
@pytest.mark.parametrize("components", [1, 5])
def test_networks_of_every_size_pass_the_check(hidden: int, components: int) -> None:
    at = ground(np.random.default_rng(1), components=components)
    loss = MaskedLoss(at, [0, 1, 2, 3])
    net = Network(at.width, hidden, 4, generator=torch.Generator().manual_seed(1))
    before = torch.get_rng_state()
    check_network(net, loss, loss.made_up)
    assert torch.equal(torch.get_rng_state(), before)


def test_networks_come_from_their_generator_alone() -> None:
    state = torch.get_rng_state()
    twins = [Network(9, 4, 3, generator=torch.Generator().manual_seed(7)) for _ in range(2)]
    assert torch.equal(twins[0].inlet.weight, twins[1].inlet.weight)
    assert torch.equal(torch.get_rng_state(), state)
    assert not twins[0].outlet.weight.any()


def test_masks_know_anything_but_everything() -> None:
    at = ground(np.random.default_rng(1))
    loss = MaskedLoss(at, [3, 1, 0, 2])
    rank = torch.from_numpy(np.argsort([3, 1, 0, 2]))
    known = loss._known(4000, torch.Generator().manual_seed(0), rank)
    assert not known.all(dim=1).any()
    masks, counts = torch.unique(known, dim=0, return_counts=True)
    assert len(masks) == 15
    of = {tuple(m.tolist()): int(c) for m, c in zip(masks, counts, strict=True)}
    # all but the last drawn, column 2: 10% always, and of the rest a quarter know three, half of them in order,
    # the others one in four: 0.1 + 0.9 * 0.25 * (0.5 + 0.125) = 0.24; sd of 4,000 coins 0.007
    assert of[(True, True, False, True)] / 4000 == pytest.approx(0.24, abs=0.05)


def test_a_subjects_rows_take_turns() -> None:
    cells = np.arange(10, dtype=np.int32).reshape(5, 2)
    whose = np.array(["b", "a", "b", "a", "b"], dtype=object)
    source = CodedRows(cells, whose)
    assert source.subjects == 2
    rng = np.random.default_rng(0)
    told = source.examples(np.array([0, 1]), copies=6, rng=rng)["cells"].numpy()
    assert told.shape == (12, 2)
    assert {tuple(r) for r in told[:6]} == {(0, 1), (4, 5), (8, 9)}
    assert {tuple(r) for r in told[6:]} == {(2, 3), (6, 7)}
    assert source.examples(np.zeros(0, dtype=np.int64), copies=6, rng=rng)["cells"].shape == (0, 2)
