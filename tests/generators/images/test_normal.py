"""The law that a denoiser begins with: told from drawn ones, exact where it is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from privsynth.errors import ModelError
from privsynth.generators.images.normal import Normal, plain


def drawn(n: int = 4000) -> tuple[Tensor, Tensor]:
    """Three numbers: the first's mean is told by the first label, its spread too; the second's mean by the second."""
    rng = np.random.default_rng(0)
    labels = np.stack([rng.integers(0, 2, n), rng.integers(0, 3, n)], axis=1)
    held = rng.normal(size=(n, 3)) * np.array([0.3, 0.2, 0.1])
    held[:, 0] *= 1 + labels[:, 0]
    held += np.stack([2.0 * labels[:, 0], labels[:, 1], np.zeros(n)], axis=1)
    return torch.from_numpy(held.astype(np.float32)), torch.from_numpy(labels)


def test_means_and_spreads_are_told() -> None:
    """Means of 1,300 rows and more: ten standard deviations are 0.2; spreads to a tenth are above ten of them."""
    held, labels = drawn()
    law = Normal.of(held, labels, (2, 3))
    own = labels[:, 0] * 3 + labels[:, 1]
    far = torch.full((6,), 1e4)
    cells = torch.tensor([[a, b] for a in range(2) for b in range(3)])
    told = law(torch.zeros(6, 3), far, cells)
    real = torch.stack([held[own == c].mean(0) for c in range(6)])
    assert torch.allclose(told, real, atol=0.2)
    assert float(law.spread[1].max()) == pytest.approx(0.36, rel=0.1)
    assert float(law.spread[0].max()) == pytest.approx(0.09, rel=0.1)


def test_noise_is_taken_off_as_that_law_asks() -> None:
    """Least squares of the truth on what is seen, within one value, is what the law says: to a tenth."""
    held, labels = drawn(20_000)
    law = Normal.of(held, labels, (2, 3))
    some = (labels == torch.tensor([1, 2])).all(dim=1)
    noise = torch.randn(held.shape, generator=torch.Generator().manual_seed(1)) * 0.4
    told = law((held + noise)[some], torch.full((int(some.sum()),), 0.4), labels[some])
    best = float(((told - held[some]) ** 2).mean())
    share = torch.tensor([0.36, 0.04, 0.01])
    assert best == pytest.approx(float((share * 0.16 / (share + 0.16)).mean()), rel=0.1)


def test_what_is_not_told_is_all_together() -> None:
    held, labels = drawn()
    law = Normal.of(held, labels, (2, 3))
    none = torch.tensor([[2, 3]])
    assert torch.allclose(law(torch.zeros(1, 3), torch.tensor([1e4]), none)[0], held.mean(0), atol=0.1)
    assert float(law.spread[2].max()) > 1.0


def test_pictures_of_many_numbers_have_a_law_too() -> None:
    generator = torch.Generator().manual_seed(0)
    held = torch.randn((300, 1, 36, 36), generator=generator) * 0.5
    law = Normal.of(held, torch.zeros((300, 1), dtype=torch.int64), (1,))
    told = law(held[:3], torch.full((3,), 1e-3), torch.zeros((3, 1), dtype=torch.int64))
    assert torch.allclose(told, held[:3], atol=0.01)
    eye = law.basis.T @ law.basis
    assert torch.allclose(eye, torch.eye(len(eye)), atol=1e-4)


def test_a_value_without_rows_is_like_all() -> None:
    held, labels = drawn()
    law = Normal.of(held[labels[:, 0] == 0], labels[labels[:, 0] == 0], (2, 3))
    told = law(held[:4], torch.full((4,), 0.2), torch.tensor([[1, 0]] * 4))
    assert torch.isfinite(told).all()


def test_a_law_comes_back_from_its_arrays() -> None:
    held, labels = drawn(200)
    law = Normal.of(held, labels, (2, 3))
    again = Normal.from_arrays(law.arrays, (2, 3))
    sigma = torch.full((200,), 0.3)
    assert torch.equal(law(held, sigma, labels), again(held, sigma, labels))
    with pytest.raises(ModelError):
        Normal.from_arrays(law.arrays, (2, 4))
    with pytest.raises(ModelError):
        Normal.from_arrays({}, (2, 3))


def test_the_plain_law_is_edms_skip() -> None:
    x, sigma = torch.ones((2, 4)), torch.tensor([0.5, 1.5])
    assert torch.allclose(plain(x, sigma, torch.zeros((2, 1)))[:, 0], torch.tensor([0.5, 0.1]))
