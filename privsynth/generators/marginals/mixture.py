"""One mixture of products, fitted in torch to every noisy table at once.

P(x) = Σ_r w_r Π_c A_rc(group of x_c) · within_c(x_c). With A the R × G matrix of all columns' group
distributions side by side, every pair table of every two columns is a block of Aᵀ·diag(w)·A, so one
step costs one matrix product whatever the number of pairs: O(R·G²). Deterministic: the start is drawn
from a generator seeded with the transcript's hash and one thread does the sums, so a refit gives the same
bytes (same kind of machine and torch version).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from privsynth.progress import Progress

Floats = npt.NDArray[np.float64]
START_SPREAD = 0.5
RATE = 0.1


@dataclass(frozen=True, eq=False)
class Targets:
    """What the mixture must meet, in shares of N̂.

    Attributes:
        sizes: groups of each column; G is their sum.
        one_way: per column (groups,) the smoothed one-way at group level, summing to 1.
        one_way_precision: per column (groups,) 1 / variance of it.
        pairs: for columns (i, j), i < j: (table of shares, 1 / variance of a cell).
    """

    sizes: tuple[int, ...]
    one_way: tuple[Floats, ...]
    one_way_precision: tuple[Floats, ...]
    pairs: Mapping[tuple[int, int], tuple[Floats, float]]


@dataclass(frozen=True, eq=False)
class Mixture:
    """Attributes: ``weights`` (R,) float64 summing to 1; ``tables`` (R, G) float64, each column's block a
    distribution; ``sizes``: groups of each column."""

    weights: Floats
    tables: Floats
    sizes: tuple[int, ...]

    def block(self, column: int) -> Floats:
        """(R, groups) of one column."""
        start = sum(self.sizes[:column])
        return self.tables[:, start : start + self.sizes[column]]


def fit_mixture(targets: Targets, *, components: int, steps: int, seed: int, progress: Progress) -> Mixture:
    """Minimise the Gaussian log-likelihood of all tables by Adam, rate 0.1 falling to 0 as a cosine.

    Where there are no pairs one component is exact and nothing is fitted.
    """
    if not targets.pairs:
        return Mixture(np.ones(1), np.concatenate(targets.one_way)[None, :], targets.sizes)
    with _one_thread():
        return _descend(targets, components=components, steps=steps, seed=seed, progress=progress)


@contextmanager
def _one_thread() -> Iterator[None]:
    """One torch thread, put back afterwards: the matrices are small, threads that wait for each other on a
    busy machine cost twenty times the work, and one thread sums in one order everywhere."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _descend(targets: Targets, *, components: int, steps: int, seed: int, progress: Progress) -> Mixture:
    device = torch.device("cpu")
    dtype = torch.float32
    starts = np.concatenate([[0], np.cumsum(targets.sizes)])
    total = int(starts[-1])
    wanted = torch.zeros((total, total), dtype=dtype)
    precision = torch.zeros((total, total), dtype=dtype)
    for (i, j), (table, weight) in targets.pairs.items():
        a, b = slice(int(starts[i]), int(starts[i + 1])), slice(int(starts[j]), int(starts[j + 1]))
        wanted[a, b] = torch.from_numpy(table).to(dtype)
        precision[a, b] = weight
    one = torch.from_numpy(np.concatenate(targets.one_way)).to(dtype)
    one_precision = torch.from_numpy(np.concatenate(targets.one_way_precision)).to(dtype)
    scale = float(precision.max())
    precision, one_precision = precision / scale, one_precision / scale

    draw = torch.Generator(device=device).manual_seed(seed)
    start = torch.log(one.clamp_min(1e-6))
    logits = (start + START_SPREAD * torch.randn((components, total), generator=draw, dtype=dtype)).requires_grad_()
    weights = torch.zeros(components, dtype=dtype, requires_grad=True)
    adam, softmax = _Adam([logits, weights]), _Softmax(targets.sizes)
    progress.step("fit the model (free)", steps)
    for step in range(steps):
        tables = softmax(logits)
        share = torch.softmax(weights, 0)
        pairs = tables.T @ (share[:, None] * tables)
        loss = (precision * (pairs - wanted).square()).sum() + (one_precision * (share @ tables - one).square()).sum()
        adam.step(
            torch.autograd.grad(loss, [logits, weights]), rate=RATE * 0.5 * (1 + math.cos(math.pi * step / steps))
        )
        progress.advance()
    with torch.no_grad():
        fitted: Floats = softmax(logits).double().numpy()
        mix: Floats = torch.softmax(weights, 0).double().numpy()
    return Mixture(mix / mix.sum(), _renormalise(fitted, targets.sizes), targets.sizes)


class _Adam:
    """Adam (Kingma and Ba, 2015) with the usual constants. torch.optim would load torch's compiler,
    which takes longer than the fit."""

    def __init__(self, parameters: Sequence[torch.Tensor]) -> None:
        self._parameters = list(parameters)
        self._mean = [torch.zeros_like(p) for p in self._parameters]
        self._square = [torch.zeros_like(p) for p in self._parameters]
        self._steps = 0

    @torch.no_grad()
    def step(self, gradients: Sequence[torch.Tensor], *, rate: float) -> None:
        """One step against ``gradients``."""
        self._steps += 1
        first, second = 1 - 0.9**self._steps, 1 - 0.999**self._steps
        for parameter, gradient, mean, square in zip(
            self._parameters, gradients, self._mean, self._square, strict=True
        ):
            mean.mul_(0.9).add_(gradient, alpha=0.1)
            square.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
            parameter.addcdiv_(mean, (square / second).sqrt_().add_(1e-8), value=-rate / first)


class _Softmax:
    """One softmax a column over the side-by-side logits, in three operations however many columns there
    are. Logits are held within ±60, so that no exponential overflows in float32."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self._column = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
        self._member = torch.nn.functional.one_hot(self._column, len(sizes)).float()

    def __call__(self, logits: torch.Tensor) -> torch.Tensor:
        weights = logits.clamp(-60.0, 60.0).exp()
        return weights / (weights @ self._member)[:, self._column]


def _renormalise(tables: Floats, sizes: Sequence[int]) -> Floats:
    out = tables.copy()
    start = 0
    for size in sizes:
        out[:, start : start + size] /= out[:, start : start + size].sum(axis=1, keepdims=True)
        start += size
    return out
