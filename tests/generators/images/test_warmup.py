"""The free part of training: what labels say is learned, from the generator alone."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from privsynth.generators.images.edm import guided, heun
from privsynth.generators.images.networks import Layout, drawn
from privsynth.generators.images.normal import Normal
from privsynth.generators.images.procedural import procedural
from privsynth.generators.images.warmup import WarmUp, warm_up

LAYOUT = Layout((12,), (2,), 16)


def toy(n: int = 600) -> tuple[Tensor, Tensor]:
    """Vectors: those of class 0 are dark, those of class 1 bright."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (n, 1), generator=generator)
    return torch.randn((n, 12), generator=generator) * 0.1 + (labels - 0.5), labels


def unaware() -> Normal:
    """A law that knows of no label: the network has to."""
    held, labels = toy()
    return Normal.of(held, torch.zeros_like(labels), (2,))


def warmed(seed: int, steps: int = 400, crisp: Tensor | None = None) -> nn.Module:
    net = drawn(LAYOUT, torch.Generator().manual_seed(seed))
    plan = WarmUp(steps, 64, 3e-3)
    warm_up(net, *toy(), unaware(), plan, torch.Generator().manual_seed(seed), crisp=crisp)
    return net


def test_a_network_learns_what_labels_say_and_guidance_says_it_louder() -> None:
    """Means of 40 pictures of each class: 0.5 below and above the middle in truth."""
    net = warmed(1)
    labels = torch.arange(2).repeat_interleave(40)[:, None]
    noise = torch.randn((80, 12), generator=torch.Generator().manual_seed(9))

    def means(guidance: float) -> tuple[float, float]:
        with torch.no_grad():
            told = heun(guided(net, labels, (2,), guidance, unaware()), noise, 12)[-1]
        return float(told[:40].mean()), float(told[40:].mean())

    dark, bright = means(0.0)
    assert dark < -0.25
    assert bright > 0.25
    darker, brighter = means(2.0)
    assert brighter - darker > bright - dark


def test_it_is_drawn_from_its_generator_alone() -> None:
    before = torch.get_rng_state()
    one, two, other = (warmed(seed, steps=3).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)
    assert torch.equal(before, torch.get_rng_state())


def test_no_steps_leave_a_network_as_it_was() -> None:
    net = warmed(1, steps=0)
    assert not net(torch.ones((1, 12)), torch.zeros(1), torch.zeros((1, 1), dtype=torch.int64)).any()


def test_procedural_pictures_change_what_is_learned_and_no_gradient_is_left() -> None:
    crisp = torch.ones((50, 12))
    with_them, without = warmed(1, 5, crisp), warmed(1, 5)
    assert any(
        not torch.equal(a, b)
        for a, b in zip(with_them.state_dict().values(), without.state_dict().values(), strict=True)
    )
    assert all(p.grad is None for p in with_them.parameters())


def test_procedural_pictures_are_pictures_and_different() -> None:
    grey, coloured = (procedural(20, shape, np.random.default_rng(3)) for shape in ((12, 9), (10, 10, 3)))
    assert (grey.shape, coloured.shape) == ((20, 12, 9), (20, 10, 10, 3))
    assert grey.dtype == np.uint8
    assert len(np.unique(grey.reshape(20, -1), axis=0)) == 20
    assert grey.std() > 20
    assert np.array_equal(grey, procedural(20, (12, 9), np.random.default_rng(3)))
