"""A conditional DCGAN whose critic is trained by DP-SGD with Opacus: a short one, as long as a CPU allows in minutes.

Fixed: 600 steps, each real picture in a step with chance q = 256/n, as many drawn ones beside them, clipped at 1; noise
by Opacus's PRV accountant for the whole budget, less a hundredth of μ² for the classes' shares. The number of pictures
is taken as public, to the peer's favour. The papers train for hours on GPUs; this figure says what minutes give.
"""

from __future__ import annotations

import warnings
from time import perf_counter

import numpy as np
import numpy.typing as npt
import torch
from opacus import GradSampleModule
from opacus.accountants.utils import get_noise_multiplier
from opacus.optimizers import DPOptimizer
from torch import nn

from benchmarks.peers.offered import Draw, Offer
from privsynth.privacy.gdp import mu_of

STEPS, BATCH, CLIP, RATE, LATENT = 600, 256, 1.0, 5e-4, 64
SHARES = 0.01
_AT_ONCE = 1000


class _Critic(nn.Module):
    def __init__(self, channels: int, height: int, width: int, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.body = nn.Sequential(
            nn.Conv2d(channels + classes, 32, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(32, 64, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(64 * (height // 4) * (width // 4), 1),
        )

    def forward(self, pictures: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
        held = nn.functional.one_hot(which, self.classes).float()[:, :, None, None]
        joined = torch.cat([pictures, held.expand(-1, -1, *pictures.shape[2:])], dim=1)
        out: torch.Tensor = self.body(joined)
        return out[:, 0]


class _Generator(nn.Module):
    def __init__(self, channels: int, height: int, width: int, classes: int) -> None:
        super().__init__()
        self.classes, self.low = classes, (64, height // 4, width // 4)
        self.first = nn.Linear(LATENT + classes, int(np.prod(self.low)))
        self.rest = nn.Sequential(
            nn.ReLU(),
            nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(32, channels, 4, stride=2, padding=1),
            nn.Sigmoid(),
        )

    def forward(self, latent: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
        held = nn.functional.one_hot(which, self.classes).float()
        low = self.first(torch.cat([latent, held], dim=1)).view(-1, *self.low)
        out: torch.Tensor = self.rest(low)
        return out


def fitted(offer: Offer) -> tuple[Draw, float]:
    """The sampler, and seconds from the first look at the pictures."""
    mu = mu_of(offer.epsilon, offer.delta)
    classes = int(np.prod(offer.sizes))
    rows, channels, height, width = offer.planes.shape
    rate = min(1.0, BATCH / rows)
    # How a Gaussian beside sampled steps composes is not worked out: the shares' little part is given away on top.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Optimal order", category=UserWarning)  # of a bound it begins with
        sigma = get_noise_multiplier(
            target_epsilon=offer.epsilon * (1 - SHARES),
            target_delta=offer.delta * 0.9,
            sample_rate=rate,
            steps=STEPS,
            accountant="prv",
        )
    rng = np.random.default_rng(offer.seed)
    began = perf_counter()
    counts = np.bincount(offer.joint, minlength=classes) + rng.normal(size=classes) / (mu * SHARES**0.5)
    shares = torch.from_numpy(np.maximum(counts, 1e-3) / np.maximum(counts, 1e-3).sum()).float()
    planes, labels = torch.from_numpy(offer.planes), torch.from_numpy(offer.joint)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(offer.seed)
        critic = GradSampleModule(_Critic(channels, height, width, classes))
        generator = _Generator(channels, height, width, classes)
        paid = DPOptimizer(
            torch.optim.Adam(critic.parameters(), RATE, betas=(0.5, 0.999)),
            noise_multiplier=sigma,
            max_grad_norm=CLIP,
            expected_batch_size=2 * BATCH,
        )
        free = torch.optim.Adam(generator.parameters(), RATE, betas=(0.5, 0.999))
        loss_of = nn.functional.binary_cross_entropy_with_logits
        for _ in range(STEPS):
            chosen = torch.from_numpy(np.flatnonzero(rng.random(rows) < rate))
            which = torch.multinomial(shares, BATCH, replacement=True)
            with torch.no_grad():
                drawn = generator(torch.randn(BATCH, LATENT), which)
            seen = torch.cat([planes[chosen], drawn]).requires_grad_()  # Opacus's hooks ask for it
            both = critic(seen, torch.cat([labels[chosen], which]))
            truth = (torch.arange(len(both)) < len(chosen)).float()
            paid.zero_grad()
            loss_of(both, truth).backward()  # type: ignore[no-untyped-call]
            paid.step()
            critic.disable_hooks()
            free.zero_grad()
            loss_of(critic(generator(torch.randn(BATCH, LATENT), which), which), torch.ones(BATCH)).backward()  # type: ignore[no-untyped-call]
            free.step()
            critic.enable_hooks()
    seconds = perf_counter() - began
    own = torch.Generator().manual_seed(offer.seed)

    def draw(n: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        which = torch.multinomial(shares, n, replacement=True, generator=own)
        with torch.no_grad():
            parts = [generator(torch.randn(len(w), LATENT, generator=own), w) for w in torch.split(which, _AT_ONCE)]
        return Offer.bytes(torch.cat(parts).numpy()), offer.parted(which.numpy())

    return draw, seconds
