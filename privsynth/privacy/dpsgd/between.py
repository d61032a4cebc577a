"""What the processes of one training tell each other, and what becomes of it where one of them is gone.

All of it goes from processor to processor by gloo, wherever the networks compute: a step's sum is eight bytes a
parameter, and meets noise that was drawn on the processor; and a connection whose other end is gone fails at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch.distributed as dist
from torch import Tensor

from privsynth.errors import RanksError


@contextmanager
def answered() -> Iterator[None]:
    """While the block waits for other processes: one that has ended, or is silent for too long, as our error.

    Raises:
        RanksError: one of them.
    """
    try:
        yield
    except RuntimeError as fault:  # torch.distributed raises no other, and its text holds addresses at most
        late = "timed out" in str(fault).lower() or "timeout" in str(fault).lower()
        raise RanksError(
            "another process of the training did not answer in time"
            if late
            else "another process of the training has ended",
            mend="see what it says itself, and run the same command again; what was bought and leased stays spent",
        ) from None


def added_up(total: Tensor, world: int) -> Tensor:
    """The sum over all ranks of their int64 ``total``, on its device."""
    if world == 1:
        return total
    held = total.cpu()
    with answered():
        dist.all_reduce(held)
    return held.to(total.device)


def from_first(tensor: Tensor, world: int) -> Tensor:
    """``tensor`` of rank 0, in place, on every rank."""
    if world > 1:
        held = tensor.cpu()
        with answered():
            dist.broadcast(held, 0)
        tensor.copy_(held)
    return tensor
