"""Diffusion as of Karras et al. 2022 (EDM): how a network is asked to take noise off, its loss, and how it draws.

Vectors or pictures come with a root mean square of 1/2 about 0 (space.py sees to that), so that the published
constants hold. All randomness comes from the generator that is given.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from privsynth.generators.images.normal import Prior

SIGMA_DATA = 0.5
P_MEAN, P_STD = -1.2, 1.2
"""Of the logarithm of the noise's standard deviation in training."""
SIGMA_MIN, SIGMA_MAX, RHO = 0.005, 20.0, 7.0
DROPPED = 0.1
"""How often each attribute is left out in training, so that pictures can be drawn without it, and with guidance."""

Denoiser = Callable[[Tensor, Tensor], Tensor]
"""(n, ...) noisy ones and (n,) standard deviations → what they were."""


def denoise(net: nn.Module, noisy: Tensor, sigma: Tensor, labels: Tensor, prior: Prior) -> Tensor:
    """What ``noisy`` (n, ...) was before noise of standard deviation ``sigma`` (n,): what ``prior`` says, and what the
    network, which sees and gives numbers of about size 1, knows better by the rows' ``labels`` (n, columns)."""
    s = sigma.view(-1, *[1] * (noisy.dim() - 1))
    total = (s**2 + SIGMA_DATA**2).sqrt()
    inner: Tensor = net((noisy / total).contiguous(), sigma.log() / 4, labels)
    return prior(noisy, sigma, labels) + inner * (s * SIGMA_DATA / total)


def dropped(labels: Tensor, nulls: Sequence[int], generator: torch.Generator) -> Tensor:
    """Each label replaced by its column's null with probability ``DROPPED``."""
    gone = torch.rand(labels.shape, generator=generator, device=labels.device) < DROPPED
    return torch.where(gone, torch.tensor(nulls, device=labels.device), labels)


def log_normal(count: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """(count,) standard deviations of noise as training draws them."""
    return (torch.randn(count, generator=generator, device=device) * P_STD + P_MEAN).exp()


def losses(
    net: nn.Module, clean: Tensor, labels: Tensor, sigma: Tensor, generator: torch.Generator, prior: Prior
) -> Tensor:
    """(n,) mean square of what the network gets wrong at ``sigma``, in its own numbers: level over noise levels."""
    s = sigma.view(-1, *[1] * (clean.dim() - 1))
    noise = torch.randn(clean.shape, generator=generator, device=clean.device)
    found = denoise(net, clean + noise * s, sigma, labels, prior)
    weight = (sigma**2 + SIGMA_DATA**2) / (sigma * SIGMA_DATA) ** 2
    return weight * ((found - clean) ** 2).flatten(1).mean(1)


def guided(net: nn.Module, labels: Tensor, nulls: Sequence[int], guidance: float, prior: Prior) -> Denoiser:
    """The network for fixed labels: 0 as they say, above 0 away from what it would draw without them (Ho & Salimans
    2022)."""
    without = torch.tensor(nulls, device=labels.device).expand_as(labels)

    def at(noisy: Tensor, sigma: Tensor) -> Tensor:
        told = denoise(net, noisy, sigma, labels, prior)
        return told if guidance == 0 else told + guidance * (told - denoise(net, noisy, sigma, without, prior))

    return at


def levels(steps: int) -> list[float]:
    """``steps`` noise levels from the greatest to the least, and 0."""
    ends = SIGMA_MAX ** (1 / RHO), SIGMA_MIN ** (1 / RHO)
    return [(ends[0] + i / (steps - 1) * (ends[1] - ends[0])) ** RHO for i in range(steps)] + [0.0]


def heun(at: Denoiser, noise: Tensor, steps: int) -> list[Tensor]:
    """The way from (n, ...) standard normal noise along :func:`levels`, a drawn one at its end: 2·steps − 1 calls of
    the network."""
    sigmas = levels(steps)
    way = [noise * sigmas[0]]
    for now, then in itertools.pairwise(sigmas):
        held = way[-1]
        slope = (held - at(held, _of(held, now))) / now
        moved = held + (then - now) * slope
        if then > 0:
            slope = (slope + (moved - at(moved, _of(held, then))) / then) / 2
            moved = held + (then - now) * slope
        way.append(moved)
    return way


def few(at: Denoiser, noise: Tensor, weights: Tensor) -> Tensor:
    """A drawn one in as many calls as ``weights`` (steps, 3) has rows: each step adds up where it stands, what the
    network says there and what it said before, by weights that :func:`fitted` found."""
    sigmas = levels(len(weights))
    held, before = noise * sigmas[0], torch.zeros_like(noise)
    for now, (here, told, last) in zip(sigmas, weights.tolist(), strict=False):
        said = at(held, _of(held, now))
        held, before = here * held + told * said + last * before, said
    return held


def fitted(at: Denoiser, noise: Tensor, steps: int, finer: int = 4) -> Tensor:
    """(steps, 3) weights with which :func:`few` comes nearest, in the least squares of each step, to what
    :func:`heun` draws of the same noise with ``finer`` times the steps. A function of the network alone."""
    fine = heun(at, noise, (steps - 1) * finer + 1)
    goals = [*fine[finer:-1:finer], fine[-1]]
    held, before = fine[0], torch.zeros_like(noise)
    out = []
    for now, goal in zip(levels(steps), goals, strict=False):
        said = at(held, _of(held, now))
        known = torch.stack([t.flatten().double() for t in (held, said, before)], dim=1)
        gram = known.T @ known
        ridge = torch.diag(gram.diagonal() * 1e-9 + 1e-12)
        weights = torch.linalg.solve(gram + ridge, known.T @ goal.flatten().double())
        out.append(weights)
        here, told, last = weights.tolist()
        held, before = here * held + told * said + last * before, said
    return torch.stack(out).float()


def _of(like: Tensor, sigma: float) -> Tensor:
    return torch.full((len(like),), sigma, device=like.device, dtype=like.dtype)
