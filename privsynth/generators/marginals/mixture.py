"""One mixture of products, fitted in torch to every noisy table at once.

P(x) = Σ_r w_r Π_c A_rc(group of x_c) · within_c(x_c). With A the R × G matrix of all columns' group
distributions side by side, every pair table of every two columns is a block of Aᵀ·diag(w)·A, so one
step costs two matrix products whatever the number of pairs: O(R·G²). A triple with the target is such
a block with w_r·A_r(target group) for w_r.

The loss is ½·χ² of all noisy tables plus λ·Σ_c I(Z; X_c), the information that the component Z gives of
each column: where noise is heavy the columns are held near independence instead of following the noise.
λ goes with N̂·√(Σ 1/σ²), at which χ² comes out near the number of measured cells (docs/decisions/0011).

Deterministic: the start is drawn from a generator seeded with the transcript's hash and one thread does
the sums, so a refit gives the same bytes (same kind of machine and torch version).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from privsynth.errors import MissingExtra
from privsynth.generators.marginals.targets import Block, Floats, Loose, Targets
from privsynth.progress import Progress

START_SPREAD = 1.0
RATE = 0.2
MEAN_DECAY, SQUARE_DECAY = 0.9, 0.9


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


def check_device(device: str) -> None:
    """Refuse a device that this machine lacks, before anything is paid for a fit on it.

    Raises:
        MissingExtra: no CUDA device, or torch built without it.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise MissingExtra(
            "no CUDA device that torch can use on this machine", mend='device="cpu", or a machine with a GPU'
        )


def fit_mixture(
    targets: Targets, *, components: int, steps: int, seed: int, progress: Progress, device: str = "cpu"
) -> Mixture:
    """Minimise the penalised Gaussian log-likelihood of all tables by Adam, rate 0.2 falling to 0 as a cosine.

    Where there are no joint tables one component is exact and nothing is fitted.
    """
    if not targets.blocks and not targets.loose:
        return Mixture(np.ones(1), targets.one_way[None, :].copy(), targets.sizes)
    with _one_thread():
        return _descend(targets, components, steps, seed, torch.device(device), progress)


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


@torch.no_grad()
def _descend(
    targets: Targets, components: int, steps: int, seed: int, device: torch.device, progress: Progress
) -> Mixture:
    """Gradients are written out: half the matrix products that automatic differentiation would take."""
    greatest = max([float(b.precision.max()) for b in targets.blocks] + [t.precision for t in targets.loose])
    one = _tensor(targets.one_way, device)
    one_precision = _tensor(targets.one_way_precision / greatest, device)
    blocks = [_TorchBlock(b, greatest, device) for b in targets.blocks]
    loose = [_TorchLoose(t, targets.sizes, greatest, device) for t in targets.loose]
    parts: list[_TorchBlock | _TorchLoose] = [*blocks, *loose]
    penalty = targets.penalty / greatest

    draw = torch.Generator().manual_seed(seed)
    noise = torch.randn((components, len(one)), generator=draw).to(device)
    logits = torch.log(one.clamp_min(1e-6)) + START_SPREAD * noise
    mix = torch.zeros(components, device=device)
    adam, softmax = _Adam([logits, mix]), _Softmax(targets.sizes, device)
    progress.step("fit the model (free)", steps)
    for step in range(steps):
        tables, weights = softmax(logits), torch.softmax(mix, 0)
        mean = weights @ tables
        slope = one_precision * (mean - one)
        by_table, by_weight = weights[:, None] * slope, tables @ slope
        for part in parts:
            part.add_gradient(tables, weights, by_table, by_weight)
        gain = torch.log(tables.clamp_min(1e-30)) - torch.log(mean.clamp_min(1e-30))
        by_table += penalty * weights[:, None] * gain
        by_weight += penalty * (tables * gain).sum(1)
        rate = RATE * 0.5 * (1 + math.cos(math.pi * step / steps))
        by_mix = weights * (by_weight - (by_weight * weights).sum())
        adam.step((softmax.backward(tables, by_table), by_mix), rate=rate)
        progress.advance()
    fitted: Floats = _Softmax.held(logits).double().exp().cpu().numpy()  # in float32 a cell could come to exactly 0
    shares: Floats = torch.softmax(mix.double(), 0).cpu().numpy()
    return Mixture(shares / shares.sum(), _renormalise(fitted, targets.sizes), targets.sizes)


class _TorchBlock:
    """A block in torch: its share of the loss ½·Σ precision·(P - wanted)² and of the gradient."""

    def __init__(self, block: Block, scale: float, device: torch.device) -> None:
        self._wanted = _tensor(block.wanted, device)
        self._precision = _tensor(block.precision / scale, device)
        self._merge = None
        if block.merge is not None:
            places = torch.from_numpy(block.merge).to(device)
            self._merge = torch.nn.functional.one_hot(places, block.wanted.shape[0]).float()
        self._given = None if block.given is None else torch.tensor(block.given, device=device)

    def _parts(
        self, tables: torch.Tensor, weights: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor, torch.Tensor]:
        merged = tables if self._merge is None else tables @ self._merge
        share = None if self._given is None else tables[:, self._given].sum(1)
        held = weights if share is None else weights * share
        return merged, share, held, merged.T @ (held[:, None] * merged) - self._wanted

    def add_gradient(
        self, tables: torch.Tensor, weights: torch.Tensor, by_table: torch.Tensor, by_weight: torch.Tensor
    ) -> None:
        """Add the gradient by tables and by weights."""
        merged, share, held, residual = self._parts(tables, weights)
        slope = self._precision * residual
        product = merged @ (slope + slope.T)
        by_held = 0.5 * (product * merged).sum(1)
        by_merged = held[:, None] * product
        by_table += by_merged if self._merge is None else by_merged @ self._merge.T
        if share is None or self._given is None:
            by_weight += by_held
        else:
            by_weight += by_held * share
            by_table[:, self._given] += (weights * by_held)[:, None]


class _TorchLoose:
    """One table of up to three columns in torch."""

    def __init__(self, table: Loose, sizes: Sequence[int], scale: float, device: torch.device) -> None:
        starts = np.concatenate([[0], np.cumsum(sizes)])
        self._spans = [slice(int(starts[c]), int(starts[c + 1])) for c in table.columns]
        self._merges = [
            torch.nn.functional.one_hot(torch.from_numpy(m).to(device), n).float()
            for m, n in zip(table.merges, table.wanted.shape, strict=True)
        ]
        self._wanted = _tensor(table.wanted, device).reshape(-1, table.wanted.shape[-1])
        self._precision = table.precision / scale

    def _parts(self, tables: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Each column's (R, groups), and (R, all but the last column's groups) products."""
        parts = [tables[:, span] @ merge for span, merge in zip(self._spans, self._merges, strict=True)]
        rest = torch.ones((len(tables), 1), device=tables.device)
        for part in parts[:-1]:
            rest = (rest[:, :, None] * part[:, None, :]).flatten(1)
        return parts, rest

    def add_gradient(
        self, tables: torch.Tensor, weights: torch.Tensor, by_table: torch.Tensor, by_weight: torch.Tensor
    ) -> None:
        """Add the gradient by tables and by weights."""
        parts, rest = self._parts(tables)
        last = parts[-1]
        slope = self._precision * (rest.T @ (weights[:, None] * last) - self._wanted)
        onward = rest @ slope
        by_weight += (onward * last).sum(1)
        grads = [weights[:, None] * onward]
        back = weights[:, None] * (last @ slope.T)
        if len(parts) == 2:
            grads.insert(0, back)
        elif len(parts) == 3:
            cube = back.reshape(len(tables), parts[0].shape[1], parts[1].shape[1])
            grads[:0] = [(cube * parts[1][:, None, :]).sum(2), (cube * parts[0][:, :, None]).sum(1)]
        for span, merge, grad in zip(self._spans, self._merges, grads, strict=True):
            by_table[:, span] += grad @ merge.T


class _Adam:
    """Adam (Kingma and Ba, 2015) with a short memory of squares: gradients shrink by orders of magnitude as
    the tables are met, and a long memory would hold the steps back. torch.optim would load torch's
    compiler, which takes longer than the fit."""

    def __init__(self, parameters: Sequence[torch.Tensor]) -> None:
        self._parameters = list(parameters)
        self._mean = [torch.zeros_like(p) for p in self._parameters]
        self._square = [torch.zeros_like(p) for p in self._parameters]
        self._steps = 0

    def step(self, gradients: Sequence[torch.Tensor], *, rate: float) -> None:
        """One step against ``gradients``."""
        self._steps += 1
        first, second = 1 - MEAN_DECAY**self._steps, 1 - SQUARE_DECAY**self._steps
        for parameter, gradient, mean, square in zip(
            self._parameters, gradients, self._mean, self._square, strict=True
        ):
            mean.mul_(MEAN_DECAY).add_(gradient, alpha=1 - MEAN_DECAY)
            square.mul_(SQUARE_DECAY).addcmul_(gradient, gradient, value=1 - SQUARE_DECAY)
            parameter.addcdiv_(mean, (square / second).sqrt_().add_(1e-12), value=-rate / first)


class _Softmax:
    """One softmax a column over the side-by-side logits, in three operations however many columns there
    are. Logits are held within ±60, so that no exponential overflows in float32."""

    def __init__(self, sizes: Sequence[int], device: torch.device) -> None:
        self._column = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes)).to(device)
        self._member = torch.nn.functional.one_hot(self._column, len(sizes)).float()

    def __call__(self, logits: torch.Tensor) -> torch.Tensor:
        weights = self.held(logits).exp()
        return weights / (weights @ self._member)[:, self._column]

    @staticmethod
    def held(logits: torch.Tensor) -> torch.Tensor:
        """Within the bounds."""
        return logits.clamp(-60.0, 60.0)

    def backward(self, tables: torch.Tensor, by_table: torch.Tensor) -> torch.Tensor:
        """The gradient by logits, of the gradient by tables."""
        return tables * (by_table - ((by_table * tables) @ self._member)[:, self._column])


def _tensor(values: Floats, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).to(device=device, dtype=torch.float32)


def _renormalise(tables: Floats, sizes: Sequence[int]) -> Floats:
    out = tables.copy()
    start = 0
    for size in sizes:
        out[:, start : start + size] /= out[:, start : start + size].sum(axis=1, keepdims=True)
        start += size
    return out
