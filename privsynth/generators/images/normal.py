"""The normal law that paid statistics tell, as what a network's denoiser begins with.

EDM's skip connection is the best denoiser of a normal law with one variance for all numbers. Here it is that of the law
of drawn pictures: a mean that adds an effect for each value of each attribute, and a covariance for each value of the
first. A network whose last layer is 0 then draws what the statistics tell, and learns only what they leave out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from privsynth.errors import ModelError

MOST_KEPT = 160
"""Directions with a covariance; beyond them all have one variance."""
_DIRECT = 1024
"""Numbers up to which all second moments are looked at; of more, those of so many drawn ones."""
_LEAST = 2.5e-3
"""Variance in any direction: what the statistics are sure does not vary, a network may still find varies."""


class Prior(Protocol):
    """The best denoiser of a known law."""

    def __call__(self, noisy: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
        """What (n, ...) ``noisy`` ones were before noise of (n,) ``sigma``, by labels alone."""
        ...


def plain(noisy: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
    """The prior of a normal law of standard deviation 1/2 about 0: EDM's own."""
    s = sigma.view(-1, *[1] * (noisy.dim() - 1))
    return noisy / (1 + 4 * s**2)


@dataclass(frozen=True, eq=False)
class Normal:
    """Of (n, \\*shape) pictures or vectors.

    Attributes:
        mean: (d,).
        effects: (Σ (sizes + 1), d) what each value of each column adds; of "not told", the last, 0.
        basis: (d, r) orthonormal.
        axes, spread: (sizes[0] + 1, r, r) and (sizes[0] + 1, r): of each first value's covariance in the basis.
        rest: (1,) variance outside it.
        sizes: how many values each column has.
    """

    mean: Tensor
    effects: Tensor
    basis: Tensor
    axes: Tensor
    spread: Tensor
    rest: Tensor
    sizes: tuple[int, ...]

    @classmethod
    def of(cls, held: Tensor, labels: Tensor, sizes: Sequence[int]) -> Normal:
        """By drawn ones and their (n, columns) labels."""
        flat = held.flatten(1).double()
        mean = flat.mean(0)
        flat = flat - mean
        basis = _basis(flat)
        effects, within = _effects(flat, labels, sizes)
        of_first = effects[: sizes[0]][labels[:, 0]]
        inner = within @ basis
        pooled = inner.T @ inner / len(inner)
        between = (within + of_first) @ basis
        covariances = []
        for value in range(sizes[0]):
            own = inner[labels[:, 0] == value]
            covariances.append((own.T @ own + len(basis.T) * pooled) / (len(own) + len(basis.T)))
        covariances.append(between.T @ between / len(between))
        spread, axes = torch.linalg.eigh(torch.stack(covariances))
        left = (within.square().sum() - inner.square().sum()) / (len(flat) * max(1, flat.shape[1] - basis.shape[1]))
        parts = (mean, effects, basis, axes, spread.clamp(min=_LEAST), left.clamp(min=_LEAST).reshape(1))
        return cls._made([part.float().contiguous() for part in parts], sizes)

    def __call__(self, noisy: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
        """See :class:`Prior`."""
        centre, at = self.mean.expand(len(noisy), -1), 0
        for c, size in enumerate(self.sizes):
            centre = centre + self.effects[at + labels[:, c]]
            at += size + 1
        off = noisy.flatten(1) - centre
        inner = off @ self.basis
        axes, spread = self.axes[labels[:, 0]], self.spread[labels[:, 0]]
        square = sigma[:, None] ** 2
        kept = torch.bmm(axes.transpose(1, 2), inner[:, :, None])[:, :, 0] * (spread / (spread + square))
        inside = torch.bmm(axes, kept[:, :, None])[:, :, 0]
        beyond = self.rest / (self.rest + square)
        told = centre + inside @ self.basis.T + beyond * (off - inner @ self.basis.T)
        return told.reshape(noisy.shape)

    @property
    def arrays(self) -> dict[str, npt.NDArray[np.float32]]:
        """What it is made of, for a transcript."""
        return {name: getattr(self, name).numpy() for name in _PARTS}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[np.float32]], sizes: Sequence[int]) -> Normal:
        """Of :attr:`arrays`.

        Raises:
            ModelError: they are not of such a law.
        """
        try:
            found = cls._made([torch.from_numpy(arrays[name].copy()) for name in _PARTS], sizes)
            d, r = found.basis.shape
            shapes = [(d,), (sum(sizes) + len(sizes), d), (d, r), (sizes[0] + 1, r, r), (sizes[0] + 1, r), (1,)]
            if [tuple(getattr(found, name).shape) for name in _PARTS] != shapes:
                raise ValueError
        except (KeyError, ValueError):
            raise ModelError("the transcript tells of another law", mend="restore it from a backup") from None
        return found

    def to(self, device: str | torch.device) -> Normal:
        """The same law where a network computes."""
        return self._made([getattr(self, name).to(device) for name in _PARTS], self.sizes)

    @classmethod
    def _made(cls, parts: Sequence[Tensor], sizes: Sequence[int]) -> Normal:
        mean, effects, basis, axes, spread, rest = parts
        return cls(mean, effects, basis, axes, spread, rest, tuple(sizes))


_PARTS = ("mean", "effects", "basis", "axes", "spread", "rest")


def _basis(flat: Tensor) -> Tensor:
    """(d, r) the directions in which they differ most."""
    kept = min(MOST_KEPT, *flat.shape)
    if flat.shape[1] <= _DIRECT:
        axes: Tensor = torch.linalg.eigh(flat.T @ flat / len(flat))[1]
        return axes[:, -kept:].flip(1)
    some = flat[:_DIRECT]
    _, mixed = torch.linalg.eigh(some @ some.T)
    found: Tensor = torch.linalg.qr(some.T @ mixed[:, -min(kept, len(some)) :].flip(1))[0]
    return found


def _effects(flat: Tensor, labels: Tensor, sizes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """What each value of each column adds, by turns, and what is left of each row."""
    starts = np.cumsum([0, *(size + 1 for size in sizes)])
    out, left = torch.zeros((int(starts[-1]), flat.shape[1]), dtype=flat.dtype), flat.clone()
    for _ in range(1 if len(sizes) == 1 else 5):
        for c, size in enumerate(sizes):
            counts = torch.bincount(labels[:, c], minlength=size)[:size].clamp(min=1)
            sums = torch.zeros((size, flat.shape[1]), dtype=flat.dtype).index_add_(0, labels[:, c], left)
            more = sums / counts[:, None]
            out[int(starts[c]) : int(starts[c]) + size] += more
            left = left - more[labels[:, c]]
    return out, left
