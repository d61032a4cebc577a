"""Which process this is among several of one training, and what a recipe tells so that they can train its network.

What they do together: ``generators/serving.py``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy.typing as npt

from privsynth.errors import MissingExtra, UsageError

if TYPE_CHECKING:
    from torch import nn

    from privsynth.privacy.dpsgd import Loss, MakeBatch, Source

Arrays = Mapping[str, npt.NDArray[Any]]
Told = Mapping[str, Any]
"""JSON values that say what a fit has settled."""

MEET = "env://"
"""Where processes meet: by default where ``torchrun`` says."""
PATIENCE = 1800.0
"""Seconds that a process waits for another within a step, by default. One that has ended is noticed at once."""
_SET = "RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE"


@dataclass(frozen=True)
class Ranks:
    """Which process this is among those of one training. Alone by default.

    Attributes:
        rank: its place, from 0.
        world: how many there are.
        local: its place on its machine: to it ``cuda`` is the GPU of this number.
        here: how many of them are on its machine, and share its memory.
        orders, steps: links (``privacy/dpsgd/between.py``), while they are together: for rank 0's orders, for steps.

    Raises:
        UsageError: numbers that cannot be.
    """

    rank: int = 0
    world: int = 1
    local: int = 0
    here: int = 1
    orders: Any = field(default=None, compare=False, repr=False)
    steps: Any = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not (0 <= self.rank < self.world and 0 <= self.local < self.here <= self.world):
            raise UsageError(
                f"no process is {self.rank} of {self.world}, and {self.local} of {self.here} on its machine",
                where=_SET,
                mend="start all processes by torchrun",
            )

    @classmethod
    def of_environment(cls, told: Mapping[str, str] | None = None) -> Ranks:
        """As ``torchrun`` has set it; alone where it has not.

        Raises:
            UsageError: no whole numbers, or such as cannot be.
        """
        told = os.environ if told is None else told
        if "RANK" not in told or "WORLD_SIZE" not in told:
            return cls()
        try:
            rank, world = int(told["RANK"]), int(told["WORLD_SIZE"])
            local, here = int(told.get("LOCAL_RANK", rank)), int(told.get("LOCAL_WORLD_SIZE", world))
        except ValueError:
            raise UsageError("not whole numbers", where=_SET, mend="start all processes by torchrun") from None
        return cls(rank, world, local, here)

    def device(self, kind: str) -> str:
        """Where this process computes, of a recipe's ``cpu`` or ``cuda``.

        Raises:
            MissingExtra: there is no GPU for it.
        """
        if kind != "cuda" or self.world == 1:
            return kind
        import torch

        if self.local >= (found := torch.cuda.device_count()):
            raise MissingExtra(
                f"{self.here} processes on a machine with {found} GPUs", mend=f"--nproc-per-node {max(1, found)}"
            )
        return f"cuda:{self.local}"

    def sharing(self, kind: str) -> int:
        """How many processes share the memory of this one's device."""
        return 1 if kind == "cuda" else self.here


ALONE = Ranks()


@dataclass(frozen=True)
class Lesson:
    """What a process trains, and on whom.

    Attributes:
        network: with the weights that it begins with; those of rank 0 count.
        source: the subjects of this process.
        loss, make_batch: as of ``privacy.dpsgd.train``.
    """

    network: nn.Module
    source: Source
    loss: Loss
    make_batch: MakeBatch


class Taught(Protocol):
    """A recipe whose network several processes can train."""

    @property
    def device(self) -> str:
        """``cpu`` or ``cuda``."""
        ...

    def describe(self) -> dict[str, Any]:
        """All fields, for ``from_description``."""
        ...

    def check_rank(self, told: Told, ranks: Ranks) -> None:
        """Whether this process can train: asked of every one before anything is paid.

        Raises:
            NetworkError, MissingExtra: it cannot.
        """
        ...

    def lesson_of(self, told: Told, arrays: Arrays, rows: Arrays) -> Lesson:
        """What to train: of what all are told, paid figures and public ones, and of this process's private rows.

        Args:
            rows: (n, ...) arrays, and ``whose`` (n,) each row's subject.
        """
        ...


def threads_of(here: int) -> int:
    """How many threads each of ``here`` processes of this machine computes with: from 1."""
    return max(1, (os.cpu_count() or 1) // here)


@contextmanager
def together(
    ranks: Ranks | None = None, *, processes: int = 1, meet: str = MEET, patience: float = PATIENCE
) -> Iterator[Ranks]:
    """Where fits may use several processes: ``with ps.together(processes=4) as ranks:`` the road, with
    ``fit(..., ranks=ranks)``.

    Only rank 0 enters the block. Every other process serves it and then ends, so that nothing is reserved, paid or
    written twice.

    Args:
        processes: above 1, so many on this machine, of which this is the first and starts the others. They speak over
            sockets that nobody else can connect to.
        ranks: which process this is; by default as ``torchrun`` has set it. One that is alone just enters.
        meet: where processes meet, as of ``torch.distributed.init_process_group``.
        patience: seconds that a process waits for another within a step.

    Raises:
        SystemExit: in another process than rank 0, once that is done.
        RanksError: they did not meet, one has ended or is silent for too long. UsageError: nothing says where to meet,
            or ``processes`` where a launcher has started some.
    """
    ranks = Ranks.of_environment() if ranks is None else ranks
    if processes != 1 or isinstance(processes, bool):
        from privsynth.generators.local import started
        from privsynth.generators.serving import leading

        if ranks.world > 1:
            raise UsageError(
                f"one of {ranks.world} processes asks for others",
                where="processes",
                mend="either torchrun or processes",
            )
        with (
            started(processes, patience=patience) as (first, lines),
            leading(first, meet=lines, patience=patience) as joined,
        ):
            yield joined
        return
    if ranks.world == 1:
        yield ranks
        return
    from privsynth.generators.serving import leading, serve

    if ranks.rank > 0:
        serve(ranks, meet=meet, patience=patience)
        raise SystemExit(0)
    with leading(ranks, meet=meet, patience=patience) as joined:
        yield joined
