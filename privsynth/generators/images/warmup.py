"""The free part of training: a network learns what paid statistics tell, before it sees a private picture.

Pictures that the statistics' own model draws cost nothing. What they lack is edges: at noise so low that only those
are left to see, some of the pictures are procedural ones (as Li et al. 2024, DP-SynGen, found).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from privsynth.generators.images.edm import dropped, log_normal, losses
from privsynth.generators.images.normal import Normal
from privsynth.progress import SILENT, Progress

CRISP = 0.1
"""Noise below which procedural pictures stand in."""
SHOWN = 0.3
"""For so many of the pictures."""


@dataclass(frozen=True)
class WarmUp:
    """How long, at what rate; public.

    Attributes:
        steps: of gradient descent.
        batch: pictures a step.
        rate: of learning, at first; it falls to 0 along a half cosine.
    """

    steps: int
    batch: int
    rate: float


def warm_up(
    net: nn.Module,
    pictures: Tensor,
    labels: Tensor,
    prior: Normal,
    plan: WarmUp,
    generator: torch.Generator,
    *,
    crisp: Tensor | None = None,
    device: str = "cpu",
    progress: Progress = SILENT,
) -> None:
    """Train ``net`` in place on drawn pictures.

    Args:
        pictures, labels: (n, \\*shape) and (n, columns), on the CPU.
        prior: what the denoiser begins with.
        crisp: procedural ones; None for none.
        generator: of the CPU: what is drawn is the same on every device.
    """
    net.to(device).train()
    known = prior.to(device)
    adam = torch.optim.Adam(net.parameters(), lr=plan.rate)
    progress.step("warm up the network (free)", plan.steps)
    for step in range(plan.steps):
        adam.param_groups[0]["lr"] = plan.rate * (1 + math.cos(math.pi * step / plan.steps)) / 2
        which = torch.randint(len(pictures), (plan.batch,), generator=generator)
        clean, told = pictures[which], dropped(labels[which], prior.sizes, generator)
        sigma = log_normal(plan.batch, generator, clean.device)
        if crisp is not None:
            shown = (sigma < CRISP) & (torch.rand(plan.batch, generator=generator) < SHOWN)
            others = crisp[torch.randint(len(crisp), (plan.batch,), generator=generator)]
            clean = torch.where(shown.view(-1, *[1] * (clean.dim() - 1)), others, clean)
        given = clean.to(device), told.to(device), sigma.to(device), _beside(generator, device)
        found = losses(net, *given, known).mean()
        adam.zero_grad()
        found.backward()  # type: ignore[no-untyped-call]
        adam.step()
        progress.advance()
    adam.zero_grad()


def _beside(generator: torch.Generator, device: str) -> torch.Generator:
    """A generator of ``device`` that goes on from this one."""
    if device == "cpu":
        return generator
    seed = int(torch.randint(2**62, (1,), generator=generator))
    return torch.Generator(device).manual_seed(seed)
