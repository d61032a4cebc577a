"""DP-MERF (Harder, Adamczewski & Park 2021), written again: one noisy mean of random Fourier features, then a network.

Each picture gives cos and sin of 2,000 random waves, together of length 1, in the place of its class; the sum over all
pictures has sensitivity 1 and gets Gaussian noise once. A generator is then trained so that its own mean embedding is
the noisy one, which costs nothing more. The number of pictures is taken as public, to the peer's favour. Fixed: 600
steps of 500, Adam at 0.01 falling tenfold; length scale² 105 for 784 pixels, as the authors' script for digits has it.
"""

from __future__ import annotations

from time import perf_counter

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from benchmarks.peers.offered import Draw, Offer
from privsynth.privacy.gdp import mu_of

WAVES, STEPS, BATCH, RATE, LATENT = 2000, 600, 500, 1e-2, 10
LENGTH = 105 / 784
_AT_ONCE = 2000


def fitted(offer: Offer) -> tuple[Draw, float]:
    """The sampler, and seconds from the first look at the pictures."""
    gen = torch.Generator().manual_seed(offer.seed)
    classes, pixels = int(np.prod(offer.sizes)), int(np.prod(offer.planes.shape[1:]))
    waves = torch.randn(pixels, WAVES, generator=gen) / (LENGTH * pixels) ** 0.5
    began = perf_counter()
    noisy, shares = _told(offer, waves, classes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(offer.seed)
        model = _network(pixels, classes)
        optimiser = torch.optim.Adam(model.parameters(), RATE)
        pace = torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.1 ** (1 / STEPS))
        for _ in range(STEPS):
            which = torch.multinomial(shares, BATCH, replacement=True)
            held = nn.functional.one_hot(which, classes).float()
            seen = _embedded(model(torch.cat([torch.randn(BATCH, LATENT), held], dim=1)), waves)
            loss = ((held.T @ seen / BATCH - noisy) ** 2).sum()
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            pace.step()
    seconds = perf_counter() - began

    def draw(n: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        which = torch.multinomial(shares, n, replacement=True, generator=gen)
        out = []
        with torch.no_grad():
            for part in torch.split(which, _AT_ONCE):
                held = nn.functional.one_hot(part, classes).float()
                out.append(model(torch.cat([torch.randn(len(part), LATENT, generator=gen), held], dim=1)))
        planes = torch.cat(out).numpy().reshape(n, *offer.planes.shape[1:])
        return Offer.bytes(planes), offer.parted(which.numpy())

    return draw, seconds


def _told(offer: Offer, waves: torch.Tensor, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(classes, 2·waves) noisy mean embedding, and the classes' shares: both of one μ, each with a half of μ²."""
    mu = mu_of(offer.epsilon, offer.delta) / 2**0.5
    rng = np.random.default_rng(offer.seed)
    total = torch.zeros(classes, 2 * WAVES)
    planes = torch.from_numpy(offer.planes).flatten(1)
    which = nn.functional.one_hot(torch.from_numpy(offer.joint), classes).float()
    for seen, held in zip(torch.split(planes, _AT_ONCE), torch.split(which, _AT_ONCE), strict=True):
        total += held.T @ _embedded(seen, waves)
    rows = len(planes)
    noisy = (total + torch.from_numpy(rng.normal(size=total.shape)).float() / mu) / rows
    counts = np.maximum(which.sum(0).numpy() + rng.normal(size=classes) / mu, 0.0)
    return noisy, torch.from_numpy(counts / max(counts.sum(), 1e-9)).float()


def _embedded(flat: torch.Tensor, waves: torch.Tensor) -> torch.Tensor:
    angles = flat @ waves
    out: torch.Tensor = torch.cat([angles.cos(), angles.sin()], dim=1) / WAVES**0.5
    return out


def _network(pixels: int, classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(LATENT + classes, 200),
        nn.BatchNorm1d(200, track_running_stats=False),
        nn.ReLU(),
        nn.Linear(200, 500),
        nn.ReLU(),
        nn.Linear(500, pixels),
        nn.Sigmoid(),
    )
