"""The one private training loop: Poisson sample, per-subject clipping, noise on the sum, Adam.

Each step: every subject tosses her coin; the gradients of her M copies are averaged, clipped to C and rounded toward
zero on an integer grid; their sum gets exact rounded Gaussian noise of σ·C and is divided by the declared expectation.
The steps are T, whatever the coins give. All that follows the noise (Adam, the average, when to stop) is
post-processing. What is proved: docs/proofs/dpsgd.md.

Over several processes each holds its own share of the subjects and tosses its own coins; sums are added up, and only
rank 0 draws noise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor, nn

from privsynth.errors import UsageError
from privsynth.privacy.dpsgd.between import Gloo, Links, added_up, from_first
from privsynth.privacy.dpsgd.check import check_network
from privsynth.privacy.dpsgd.clip import per_example
from privsynth.privacy.dpsgd.memory import fitting
from privsynth.privacy.dpsgd.plan import Checkpoints, Lease, Loss, MakeBatch, Plan, Source, Trained
from privsynth.privacy.dpsgd.state import State
from privsynth.privacy.dpsgd.sums import Sums
from privsynth.privacy.noise import SecureNoise, TrainingNoise, poisson_sample, provenance_of
from privsynth.progress import SILENT, Progress

_MOST_AT_ONCE = 2**16  # so that a chunk's sum of grid units is exact in doubles
_BLOCKS = 50  # steps are leased, and the state kept, in about so many blocks


def train(
    network: nn.Module,
    source: Source,
    loss: Loss,
    plan: Plan,
    *,
    make_batch: MakeBatch,
    device: str = "cpu",
    lease: Lease | None = None,
    checkpoints: Checkpoints | None = None,
    noise: TrainingNoise | None = None,
    rank: int = 0,
    world: int = 1,
    links: Links | None = None,
    sharing: int = 1,
    physical: int = 64,
    progress: Progress = SILENT,
) -> Trained:
    """Train ``network``'s parameters privately.

    Neighbours: add or remove one subject of ``source``. Sensitivity: each step's integer sum moves by at most
    ``plan.grid_norm``. Public: ``plan``, the network, the loss, sizes of parameters and of a source's row. Event:
    ``plan.event``, if all T steps run; fewer cost no more.

    Args:
        network: its parameters that require gradients are trained, from the values that they have (rank 0's).
        source: the subjects of this rank; no other rank has any of them.
        loss: the i-th loss from the i-th example only; ``check_network`` is run first.
        make_batch: random examples of nobody, for the check, and to fill up a step's last chunk.
        device: where the network computes: ``cpu``, ``cuda``, ``cuda:1``.
        lease: which steps may run. Without one the training cannot be resumed.
        checkpoints: where the state is kept; needs a lease.
        noise: None for the operating system's secure source; anything else marks the result ``seeded``.
        rank, world: this process among those that train together.
        links: how they reach each other; by default the group of ``torch.distributed``, of gloo.
        sharing: how many of these processes share this device's memory.
        physical: subjects whose gradients are held at once, at most: fewer where memory is short. The law of a step's
            sum does not depend on it.
        progress: told of every step taken.

    Raises:
        NetworkError: the network mixes examples, or its gradients are not what they should be.
        MemoryShort: not even one subject fits; nothing was leased.
        RanksError: another process has ended, or is silent for too long.
        UsageError: checkpoints without a lease, or another rank and world than the links'.
        PrivsynthError: a source or a loss that does not give what it should.
    """
    if checkpoints is not None and lease is None:
        raise UsageError("checkpoints without a lease would let steps run twice", where="train", mend="pass the lease")
    links = None if world == 1 else links or Gloo()
    if links is not None and links.place != (rank, world):
        raise UsageError(
            f"rank {rank} of {world} is not this process's place", where="train", mend="dist.init_process_group first"
        )
    noise = noise or SecureNoise()
    chunk = min(physical, _MOST_AT_ONCE, max(1, math.ceil(plan.divisor / world / 4)))
    check_network(network, loss, make_batch)
    network.to(device).train()
    chunk = fitting(network, loss, make_batch, physical=chunk, copies=plan.copies, device=device, sharing=sharing)
    state = State.of(network)
    if checkpoints is not None and rank == 0 and (found := checkpoints.newest()) is not None:
        state.load(found[1])
    for tensor in state.tensors().values():
        from_first(tensor, links)
    sums = Sums.of(network, source, loss, plan, make_batch, chunk=chunk, device=device, noise=noise)
    unit = plan.clipping_norm / plan.grid_norm / plan.divisor
    progress.step("train privately", plan.steps)
    with per_example(network), ThreadPoolExecutor(1) as beside:
        for step, last_of_block in _steps(plan, lease, rank, links):
            drawn = beside.submit(_noise_of, noise, sums.size if rank == 0 else 0, plan)
            if provenance_of(noise) == "seeded":
                drawn.result()  # so that a replay draws in the same order
            total = sums.over(poisson_sample(source.subjects, rate=plan.rate, source=noise))
            if rank == 0:
                total += drawn.result().to(device)
            total = added_up(total, links)
            state.step((total.double() * unit).float(), learning_rate=plan.learning_rate, ema=plan.ema)
            if checkpoints is not None and rank == 0 and last_of_block:
                checkpoints.save(step, state.tensors())
            progress.advance()
    return Trained(
        weights={name: w.cpu().clone() for name, w in state.weights.items()},
        averaged={name: w.cpu().clone() for name, w in state.averaged.items()},
        steps_run=int(state.count),
        provenance=provenance_of(noise),
    )


# --- steps ---------------------------------------------------------------------------------------


def _steps(plan: Plan, lease: Lease | None, rank: int, links: Links | None) -> Iterator[tuple[int, bool]]:
    """(number, whether it is the last of its block) of each step that may run, each leased before it is given."""
    if lease is None:
        yield from ((step, step == plan.steps) for step in range(1, plan.steps + 1))
        return
    block, step = math.ceil(plan.steps / _BLOCKS), 1
    while step <= plan.steps:
        through = min(plan.steps, step + block - 1)
        first = int(from_first(torch.tensor([lease.take(through) if rank == 0 else 0]), links))
        for step in range(first, through + 1):
            yield step, step == through
        step = max(first, through + 1)


# --- helpers -------------------------------------------------------------------------------------


def _noise_of(noise: TrainingNoise, size: int, plan: Plan) -> Tensor:
    """(size,) noise of one step, in grid units: drawn beside the gradients, of which it knows nothing."""
    return torch.from_numpy(noise.add(np.zeros(size, dtype=np.int64), sigma=plan.grid_sigma))
