"""Preconditioning, loss and both ways to draw, against a law whose best denoiser is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from privsynth.generators.images.edm import (
    SIGMA_DATA,
    denoise,
    dropped,
    few,
    fitted,
    guided,
    heun,
    levels,
    log_normal,
    losses,
)
from privsynth.generators.images.normal import plain


class Nothing(nn.Module):
    """A network that says 0."""

    def forward(self, x: Tensor, level: Tensor, labels: Tensor) -> Tensor:
        return torch.zeros_like(x)


class Label(nn.Module):
    """A network that says each row's first label; "not told" is 2."""

    def forward(self, x: Tensor, level: Tensor, labels: Tensor) -> Tensor:
        return torch.where(labels[:, :1] == 2, 0.0, labels[:, :1] - 0.5).expand_as(x).to(x.dtype)


def normal(noisy: Tensor, sigma: Tensor) -> Tensor:
    """The best denoiser of a normal law of standard deviation 1/2 about 0.3."""
    share = SIGMA_DATA**2 / (SIGMA_DATA**2 + sigma[:, None] ** 2)
    return 0.3 + (noisy - 0.3) * share


def test_without_noise_nothing_is_taken_off() -> None:
    x = torch.linspace(-1, 1, 12).reshape(3, 4)
    sigma = torch.full((3,), 1e-4)
    assert torch.allclose(denoise(Label(), x, sigma, torch.ones(3, 1), plain), x, atol=1e-3)


@pytest.mark.parametrize("sigma", [0.01, 0.5, 20.0])
def test_a_silent_network_has_loss_one_at_every_noise(sigma: float) -> None:
    """4,000 losses of 50 squares each: their mean has a standard deviation of 0.4%, and 5 of these are allowed."""
    generator = torch.Generator().manual_seed(3)
    clean = torch.randn((4000, 50), generator=generator) * SIGMA_DATA
    told = losses(Nothing(), clean, torch.zeros(4000, 1), torch.full((4000,), sigma), generator, plain)
    assert told.shape == (4000,)
    assert abs(float(told.mean()) - 1) < 0.02


def test_the_full_way_draws_the_law() -> None:
    noise = torch.randn((20_000, 2), generator=torch.Generator().manual_seed(0))
    way = heun(normal, noise, 18)
    assert len(way) == 19
    assert abs(float(way[-1].mean()) - 0.3) < 0.02
    assert abs(float(way[-1].std()) - SIGMA_DATA) < 0.02


def test_the_fast_way_draws_nearly_the_same() -> None:
    generator = torch.Generator().manual_seed(1)
    weights = fitted(normal, torch.randn((200, 4), generator=generator), 9)
    assert weights.shape == (9, 3)
    noise = torch.randn((500, 4), generator=generator)
    full, fast = heun(normal, noise, 40)[-1], few(normal, noise, weights)
    assert float((full - fast).abs().max()) < 0.03


def test_levels_fall_to_nothing() -> None:
    found = levels(10)
    assert found == sorted(found, reverse=True)
    assert [found[0], found[-2], found[-1]] == pytest.approx([20, 0.005, 0.0])


def test_each_attribute_is_left_out_now_and_then_on_its_own() -> None:
    """Of 20,000 a tenth, give or take 5 standard deviations of 0.2%; both of a row a hundredth."""
    labels = torch.zeros((20_000, 2), dtype=torch.int64)
    gone = dropped(labels, (7, 9), torch.Generator().manual_seed(2)) != labels
    assert abs(float(gone.float().mean()) - 0.1) < 0.0105
    assert abs(float(gone.all(dim=1).float().mean()) - 0.01) < 0.004
    again = dropped(labels, (7, 9), torch.Generator().manual_seed(2))
    assert set(again[:, 0].tolist()) == {0, 7}
    assert set(again[:, 1].tolist()) == {0, 9}


def test_guidance_goes_away_from_what_is_drawn_without_labels() -> None:
    labels, x, sigma = torch.tensor([[0], [1]]), torch.zeros((2, 3)), torch.ones(2)
    told, more, half = (guided(Label(), labels, (2,), w, plain)(x, sigma) for w in (0.0, 2.0, 1.0))
    assert torch.allclose(more, 3 * told)
    assert torch.allclose(half, 2 * told)
    assert float(told[0, 0]) < 0 < float(told[1, 0])


def test_noise_levels_are_drawn_from_the_generator_alone() -> None:
    one, two = (log_normal(5, torch.Generator().manual_seed(8), torch.device("cpu")) for _ in range(2))
    assert torch.equal(one, two)
