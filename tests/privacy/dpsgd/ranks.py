"""What each process of test_ranks.py runs: ``python -m tests.privacy.dpsgd.ranks RANK FOLDER``."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast
from unittest import mock

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from privsynth.privacy.dpsgd import Plan, train
from privsynth.privacy.dpsgd.state import State
from privsynth.privacy.dpsgd.sums import Sums
from privsynth.privacy.noise import SecureNoise, SeededNoise, TrainingNoise
from tests.privacy.dpsgd.toy import Rows, cross_entropy, plan, random_rows, small

RANKS = 4
STILL = plan(subjects=40.0, rate=0.3, steps=25, noise=1.5, clipping_norm=0.8, learning_rate=1e-3)
SPARSE = plan(subjects=40.0, rate=0.03, steps=60)
FULL = plan(subjects=40.0, rate=1.0, steps=2, learning_rate=0.05)


class Noiseless(SeededNoise):
    """No noise, and coins of the operating system."""

    def add(self, exact: NDArray[np.int64], *, sigma: float) -> NDArray[np.int64]:
        return exact


class Counted:
    """A lease that writes down every call."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def take(self, through: int) -> int:
        before = max(self.calls, default=0)
        self.calls.append(through)
        return before + 1


def no_gradient(network: nn.Module, batch: Any, generator: Generator) -> Tensor:
    """A loss that tells nothing: a step's update is its noise."""
    return 0 * cross_entropy(network, batch, generator)


def share(rows: Rows, rank: int, world: int) -> Rows:
    return Rows(rows.x[rank::world], rows.y[rank::world])


def recorded(
    rows: Rows, what: Plan, *, loss: Any, rank: int, world: int, noise: TrainingNoise | None = None
) -> dict[str, NDArray[Any]]:
    """One training: the noisy gradient, the weights and who was chosen, at every step."""
    gradients: list[Tensor] = []
    weights: list[Tensor] = []
    chosen: list[NDArray[np.bool_]] = []
    step, over = State.step, Sums.over

    def seen_step(state: State, gradient: Tensor, **rates: float) -> None:
        gradients.append(gradient.clone())
        step(state, gradient, **rates)
        weights.append(torch.cat([w.flatten() for w in state.weights.values()]))

    def seen_over(sums: Sums, places: NDArray[np.int64]) -> Tensor:
        chosen.append(np.isin(np.arange(rows.subjects), places))
        return over(sums, places)

    lease = Counted()
    with mock.patch.object(State, "step", seen_step), mock.patch.object(Sums, "over", seen_over):
        trained = train(
            small(), rows, loss, what, make_batch=random_rows, rank=rank, world=world, noise=noise, lease=lease
        )
    return {
        "gradients": torch.stack(gradients).double().numpy(),
        "weights": torch.stack(weights).numpy(),
        "chosen": np.array(chosen),
        "leases": np.array(lease.calls),
        "steps": np.array(trained.steps_run),
    }


def noisy_sums(sums: Sums, places: NDArray[np.int64]) -> Tensor:
    """Planted: a rank other than 0 adds noise too."""
    total = SecureNoise().add(np.zeros(sums.size, dtype=np.int64), sigma=sums.plan.grid_sigma)
    return torch.from_numpy(total)


def scenes(rank: int, world: int) -> dict[str, dict[str, NDArray[Any]]]:
    """Everything that ``world`` ranks do together, by name."""
    here: dict[str, Any] = {"rank": rank, "world": world}
    rows = share(Rows.some(40), rank, world)
    torch.manual_seed(0)  # what a launcher's seed_everything does
    np.random.seed(0)
    told = {
        "pure noise": recorded(rows, STILL, loss=no_gradient, **here),
        "sparse": recorded(rows, SPARSE, loss=cross_entropy, **here),
        "full": recorded(rows, FULL, loss=cross_entropy, noise=Noiseless(0), **here),
    }
    if world == 2:
        huge, others = Rows(rows.x.clone(), rows.y), torch.arange(rows.subjects) != 3
        huge.x[3] = 1e6
        without = Rows(rows.x[others], rows.y[others])
        for name, there in (("with her", huge), ("without her", without)):
            there = there if rank == 1 else rows
            told[name] = recorded(there, FULL, loss=cross_entropy, noise=Noiseless(0), **here)
        with mock.patch.object(Sums, "over", noisy_sums) if rank else nullcontext():
            told["noise on every rank"] = recorded(rows, STILL, loss=no_gradient, **here)
    if world == 4:
        told["one seed"] = recorded(rows, STILL, loss=no_gradient, noise=SeededNoise(7), **here)
    return told


def main(rank: int, folder: Path) -> None:
    """As rank ``rank`` of 4, then of 2, then alone; results go to ``folder``."""
    torch.set_num_threads(1)
    for world in (4, 2, 1):
        if rank >= world:
            break
        if world > 1:
            dist.init_process_group("gloo", init_method=f"file://{folder}/meet-{world}", rank=rank, world_size=world)
        for name, arrays in scenes(rank, world).items():
            np.savez(folder / f"{name}, {rank} of {world}.npz", **cast(Any, arrays))
        if world > 1:
            dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
