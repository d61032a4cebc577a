"""What a chunk of per-example gradients needs of the machine, asked before anything is paid."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from privsynth.errors import NetworkError
from privsynth.privacy.dpsgd.plan import Loss, MakeBatch

_SPARE = 0.8  # of what is free now
_MEMINFO = Path("/proc/meminfo")


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
    network: nn.Module, loss: Loss, make_batch: MakeBatch, *, physical: int, copies: int = 1, device: str = "cpu"
) -> None:
    """Refuse a chunk that does not fit in 80% of what the device has free now.

    Raises:
        NetworkError: it does not fit; the mend names the ``physical`` that does.
    """

    def needed(rows: int) -> int:
        return memory_needed(network, loss, make_batch, physical=rows, copies=copies, device=device)

    free, none, one = _SPARE * free_memory(device), needed(0), needed(1)
    if none + physical * (one - none) <= free:
        return
    fits = int((free - none) / (one - none))
    raise NetworkError(
        f"{physical} subjects at once need {(none + physical * (one - none)) / 2**30:.1f} GiB; "
        f"{free / 2**30:.1f} GiB may be used",
        where=f"device {device}",
        mend=f"physical={fits}" if fits >= 1 else "a smaller network, fewer copies, or a larger machine",
    )


def free_memory(device: str) -> int:
    """Bytes that are free on ``device`` now."""
    if device.startswith("cuda"):
        free, _ = torch.cuda.mem_get_info(device)
        return int(free)
    if _MEMINFO.exists():
        for line in _MEMINFO.read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


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
