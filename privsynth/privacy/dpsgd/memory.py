"""What a chunk of per-example gradients needs of the machine: asked before anything is paid, and kept to after it."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from privsynth.errors import MemoryShort
from privsynth.privacy.dpsgd.plan import Loss, MakeBatch

_SPARE = 0.8  # of what is free now
_MEMINFO = Path("/proc/meminfo")
_SMALLER = "a smaller network, fewer copies, or a larger machine"


def memory_needed(
    network: nn.Module, loss: Loss, make_batch: MakeBatch, *, physical: int, copies: int = 1, device: str = "cpu"
) -> int:
    """Bytes that a training needs besides its source, from the network's sizes and one random example.

    For each example: its gradients, and twice what its forward pass keeps for the backward pass. For each subject: the
    average of her gradients, and of the largest parameter two copies in double precision. Beside them weights, moments,
    average, sums and noise.
    """
    sizes = [p.numel() for p in network.parameters() if p.requires_grad]
    example = 4 * sum(sizes) + 2 * _kept_by_one(network, loss, make_batch, device)
    subject = 4 * sum(sizes) + 16 * max(sizes, default=0)
    return physical * (copies * example + subject) + 64 * sum(sizes)


def check_memory(
    network: nn.Module,
    loss: Loss,
    make_batch: MakeBatch,
    *,
    physical: int,
    copies: int = 1,
    device: str = "cpu",
    ordinary: int = 0,
    beside: int = 0,
    sharing: int = 1,
) -> None:
    """Refuse a chunk that does not fit in 80% of what the device has free now: what a recipe asks before it pays.

    Args:
        ordinary: examples at once of the ordinary steps that come before the private ones, if any.
        beside: bytes that the fit will hold besides, all the while.
        sharing: how many processes ask this of the device at the same time, each for itself.

    Raises:
        MemoryShort: it does not fit; the mend names the ``physical`` that does.
    """
    room = _SPARE * free_memory(device) / sharing - beside
    if ordinary:
        sizes = sum(p.numel() for p in network.parameters() if p.requires_grad)
        needed = 64 * sizes + 2 * ordinary * _kept_by_one(network, loss, make_batch, device)
        if needed > room:
            raise _too_little(f"{ordinary} examples at once", needed, room, device, mend=_SMALLER)
    none, one = _linear(network, loss, make_batch, copies=copies, device=device)
    if none + physical * one > room:
        fits = math.floor((room - none) / one)
        mend = f"physical={fits}" if fits >= 1 else _SMALLER
        raise _too_little(f"{physical} subjects at once", none + physical * one, room, device, mend=mend)


def fitting(
    network: nn.Module,
    loss: Loss,
    make_batch: MakeBatch,
    *,
    physical: int,
    copies: int = 1,
    device: str = "cpu",
    sharing: int = 1,
) -> int:
    """How many subjects at once fit in 80% of what the device has free now, at most ``physical``.

    A training that was paid for asks this: fewer at once are slower and change nothing else.

    Raises:
        MemoryShort: not even one fits.
    """
    none, one = _linear(network, loss, make_batch, copies=copies, device=device)
    room = _SPARE * free_memory(device) / sharing
    if none + one > room:
        raise _too_little("one subject at once", none + one, room, device, mend=_SMALLER)
    return min(physical, math.floor((room - none) / one))


def free_memory(device: str) -> int:
    """Bytes that are free on ``device`` now; on a GPU with those that this process holds and does not use."""
    if device.startswith("cuda"):
        free, _ = torch.cuda.mem_get_info(device)
        return int(free) + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if _MEMINFO.exists():
        for line in _MEMINFO.read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _linear(network: nn.Module, loss: Loss, make_batch: MakeBatch, *, copies: int, device: str) -> tuple[int, int]:
    """Bytes for no subject, and for each one more."""
    none, one = (memory_needed(network, loss, make_batch, physical=n, copies=copies, device=device) for n in (0, 1))
    return none, one - none


def _too_little(what: str, needed: float, room: float, device: str, *, mend: str) -> MemoryShort:
    return MemoryShort(
        f"{what} need {needed / 2**30:.1f} GiB; {max(0.0, room) / 2**30:.1f} GiB may be used",
        where=f"device {device}",
        mend=mend,
    )


def _kept_by_one(network: nn.Module, loss: Loss, make_batch: MakeBatch, device: str) -> int:
    """Bytes that the forward pass of one random example keeps for the backward pass, weights aside."""
    own = {p.data_ptr() for p in network.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in own:
            kept[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    def give(tensor: Any) -> Any:
        return tensor

    batch = {name: t.to(device) for name, t in make_batch(1, np.random.default_rng(0)).items()}
    with torch.autograd.graph.saved_tensors_hooks(keep, give):
        loss(network, batch, Generator(device).manual_seed(0))
    return sum(kept.values())
