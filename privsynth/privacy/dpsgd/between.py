"""What the processes of one training tell each other, and what becomes of it where one of them is gone.

All of it goes from processor to processor, wherever the networks compute: a step's sum is eight bytes a parameter, and
meets noise that was drawn on the processor; and a connection whose other end is gone fails at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch.distributed as dist
from torch import Tensor

from privsynth.errors import RanksError


class Links(Protocol):
    """How the processes of one training reach each other. Tensors are dense ones of the processor, used in place.

    Every method raises RanksError where another process has ended, or is silent for too long.
    """

    @property
    def place(self) -> tuple[int, int] | None:
        """This process's rank, and how many there are; None where they are not together."""
        ...

    def send(self, held: Tensor, other: int) -> None:
        """Send to rank ``other``, which receives as many bytes."""
        ...

    def receive(self, into: Tensor, other: int) -> None:
        """Fill ``into`` with what rank ``other`` sends."""
        ...

    def add_up(self, held: Tensor) -> None:
        """Make ``held`` the sum over all ranks."""
        ...

    def from_first(self, held: Tensor) -> None:
        """Make ``held`` what it is on rank 0."""
        ...

    def close(self) -> None:
        """Let the others go: who waits for this process is told that it has ended."""
        ...


class Gloo:
    """Processes that met by ``torch.distributed``, with gloo: unencrypted, and nobody proves who they are.

    Args:
        group: of the processes; by default all of them.
    """

    def __init__(self, group: Any = None) -> None:
        self._group = group

    @property
    def place(self) -> tuple[int, int] | None:
        """As of :class:`Links`."""
        return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else None

    def send(self, held: Tensor, other: int) -> None:
        """As of :class:`Links`."""
        with answered():
            dist.send(held, other, group=self._group)

    def receive(self, into: Tensor, other: int) -> None:
        """As of :class:`Links`."""
        with answered():
            dist.recv(into, other, group=self._group)

    def add_up(self, held: Tensor) -> None:
        """As of :class:`Links`."""
        with answered():
            dist.all_reduce(held, group=self._group)

    def from_first(self, held: Tensor) -> None:
        """As of :class:`Links`."""
        with answered():
            dist.broadcast(held, 0, group=self._group)

    def close(self) -> None:
        """As of :class:`Links`: of all groups."""
        if dist.is_initialized():
            dist.destroy_process_group()


@contextmanager
def answered() -> Iterator[None]:
    """While the block waits for other processes: one that has ended, or is silent for too long, as our error.

    Raises:
        RanksError: one of them.
    """
    try:
        yield
    except (RuntimeError, OSError) as fault:  # torch.distributed's, whose text holds addresses at most; a socket's
        late = "timed out" in str(fault).lower() or "timeout" in str(fault).lower()
        raise RanksError(
            "another process of the training did not answer in time"
            if late
            else "another process of the training has ended",
            mend="see what it says itself, and run the same command again; what was bought and leased stays spent",
        ) from None


def added_up(total: Tensor, links: Links | None) -> Tensor:
    """The sum over all ranks of their int64 ``total``, on its device. Without links this process is alone."""
    if links is None:
        return total
    held = total.cpu().contiguous()
    links.add_up(held)
    return held.to(total.device)


def from_first(tensor: Tensor, links: Links | None) -> Tensor:
    """``tensor`` of rank 0, in place, on every rank."""
    if links is not None:
        held = tensor.cpu().contiguous()
        links.from_first(held)
        tensor.copy_(held)
    return tensor
