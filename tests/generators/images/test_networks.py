"""The networks that ship: shapes, the check before a private training, randomness of their own."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from privsynth.generators.images.networks import Layout, drawn, filled
from privsynth.generators.images.source import EdmLoss, made_up
from privsynth.generators.images.space import picture_shape
from privsynth.privacy.dpsgd import check_network

LAYOUTS = [
    Layout((12,), (3,), 8),
    Layout((64,), (10, 2), 16),
    Layout(picture_shape(8, 8, 1), (3, 2), 8),
    Layout(picture_shape(10, 14, 3), (4,), 16),
    Layout(picture_shape(44, 44, 1), (2,), 8),
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_a_network_gives_what_it_gets(layout: Layout) -> None:
    generator = torch.Generator().manual_seed(0)
    net = drawn(layout, generator)
    x = torch.randn((5, *layout.shape), generator=generator)
    labels = torch.zeros((5, len(layout.sizes)), dtype=torch.int64)
    assert net(x, torch.zeros(5), labels).shape == x.shape
    assert sum(p.numel() for p in net.parameters()) == layout.parameters
    nulls = torch.tensor(layout.sizes).expand(5, -1)
    assert torch.isfinite(net(x, torch.full((5,), 1.1), nulls)).all()


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_every_network_passes_the_check_before_a_training(layout: Layout) -> None:
    net = drawn(layout, torch.Generator().manual_seed(0))
    check_network(net, EdmLoss(layout.sizes), partial(made_up, layout.shape, layout.sizes))


@pytest.mark.parametrize("layout", LAYOUTS[::2], ids=str)
def test_a_network_is_drawn_from_its_generator_alone(layout: Layout) -> None:
    before = torch.get_rng_state()
    one, two, other = (drawn(layout, torch.Generator().manual_seed(s)).state_dict() for s in (1, 1, 2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)
    assert torch.equal(before, torch.get_rng_state())


def test_a_network_begins_with_silence_and_told_apart_it_is_not() -> None:
    """The last layer is 0, so that the first drawn are those of the preconditioning alone."""
    layout = LAYOUTS[2]
    net = drawn(layout, torch.Generator().manual_seed(0))
    x = torch.ones((2, *layout.shape))
    assert not net(x, torch.zeros(2), torch.tensor([[0, 0], [2, 1]])).any()


def test_weights_make_the_same_network_again() -> None:
    layout = LAYOUTS[1]
    net = drawn(layout, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.1)
    again = filled(layout, dict(net.state_dict()))
    x, level, labels = torch.ones((2, 64)), torch.zeros(2), torch.tensor([[0, 0], [9, 1]])
    assert torch.equal(net(x, level, labels), again(x, level, labels))
    assert not any(p.requires_grad for p in again.parameters())
    assert not torch.equal(again(x, level, labels)[0], again(x, level, labels)[1])
