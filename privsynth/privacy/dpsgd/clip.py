"""Per-subject gradients → one integer sum, in which a subject moves at most ``Plan.grid_norm`` units.

On the grid the sum is exact: it depends on no order, chunk or rank, and the noise that is added to it is the exact
rounded Gaussian of noise.py. Proof of the bound: docs/proofs/dpsgd.md 3.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from privsynth.errors import PrivsynthError
from privsynth.privacy.dpsgd.plan import Plan

_MARGIN = 2.0**-20
"""Norms are computed in double precision: off by at most (parameters + 3)·2^-53, relative, so that with up to 2^32
parameters a norm that is scaled to (1 − 2^-20) of the bound is truly within it."""


_LEFT = ("activations", "max_batch_len", "grad_sample", "_current_grad_sample", "_forward_counter")
"""What Opacus leaves on layers and parameters: examples' values, if a pass was cut off."""


@contextmanager
def per_example(network: nn.Module) -> Iterator[None]:
    """While the block runs, a backward pass of a *sum* of losses leaves each example's gradient in ``grad_sample``."""
    from opacus import GradSampleModule

    hooked = GradSampleModule(network, loss_reduction="sum")
    try:
        with warnings.catch_warnings():  # the first layer's input needs no gradient, and is never asked for one
            warnings.filterwarnings("ignore", "Full backward hook is firing")
            yield
    finally:
        hooked.remove_hooks()
        for held in (*network.modules(), *network.parameters()):
            for name in _LEFT:
                if hasattr(held, name):
                    delattr(held, name)
        for parameter in network.parameters():
            parameter.grad = None


def example_gradients(parameter: nn.Parameter, examples: int) -> Tensor:
    """(examples, size of the parameter) gradients that the backward pass left; they are taken away."""
    gradients = getattr(parameter, "grad_sample", None)
    if not isinstance(gradients, Tensor) or len(gradients) != examples:
        raise PrivsynthError("a backward pass left no gradient of each example", mend="run check_network first")
    parameter.grad = None
    parameter.grad_sample = None  # type: ignore[attr-defined]
    return gradients.reshape(examples, -1)


def add_clipped(total: Tensor, parameters: Sequence[nn.Parameter], plan: Plan, *, rows: int, kept: int) -> None:
    """Add the clipped gradients of ``kept`` subjects, in grid units, to ``total``.

    A subject's copies are averaged first. What is not finite makes all of her contribution zero.

    Args:
        total: (parameters' size,) int64, changed.
        rows: subjects in the chunk, padding included, each with ``plan.copies`` examples.
        kept: how many of them, from the first, are subjects.
    """
    means = [
        example_gradients(p, rows * plan.copies).reshape(rows, plan.copies, -1)[:kept].mean(dim=1) for p in parameters
    ]
    norms = torch.stack([torch.linalg.vector_norm(m, dim=1, dtype=torch.float64) for m in means]).norm(dim=0)
    finite = torch.isfinite(norms)
    scales = plan.grid_norm * (1 - _MARGIN) / torch.clamp(norms, min=plan.clipping_norm)
    start = 0
    for mean in means:
        scaled = mean.double().mul_(scales[:, None]).trunc_()
        scaled[~finite] = 0.0
        total[start : start + mean.shape[1]] += scaled.sum(dim=0).to(torch.int64)
        start += mean.shape[1]
