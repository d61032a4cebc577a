"""What the processes of one training do together: rank 0 asks, deals and pays, the others serve.

Rank 0 walks the whole road: it alone has the rows, the hold and the ledger, buys what stands before the training,
deposits and releases. The others are dealt whole subjects and told what the network is, take the same noisy steps
(privacy/dpsgd), and write nothing. Why so: docs/decisions/0012-rank-0-deals.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from privsynth import __version__
from privsynth.data.subjects import grouped
from privsynth.errors import NetworkError, PrivsynthError, RanksError, UsageError
from privsynth.generators.messages import heard, received_arrays, send_arrays, tell
from privsynth.generators.ranks import MEET, PATIENCE, Arrays, Lesson, Ranks, Taught, Told, threads_of
from privsynth.generators.sockets import Lines, Sockets
from privsynth.privacy.dpsgd import Checkpoints, Lease, Plan, Trained, train
from privsynth.privacy.dpsgd.between import Gloo, answered
from privsynth.privacy.noise import TrainingNoise
from privsynth.progress import SILENT, Progress

_IDLE = 48 * 3600.0
"""Seconds that one waits for an order, while rank 0 reads, pays and warms up."""


# --- rank 0 --------------------------------------------------------------------------------------


def check_ranks(recipe: Taught, told: Told, ranks: Ranks) -> None:
    """Ask every process whether it can train, before anything is paid.

    Raises:
        NetworkError, MissingExtra: this one cannot. NetworkError: another cannot, and says why.
        RanksError: one is gone. UsageError: they are not together.
    """
    with _in_step(ranks):
        _order(ranks, {"do": "check", "recipe": recipe.describe(), "told": told})
        own = _wrong(recipe, told, ranks)
        answers = {other: heard(other, over=ranks.orders) for other in range(1, ranks.world)}
    if own is not None:
        raise own
    for other, wrong in answers.items():
        if wrong is not None:
            place = ", ".join(filter(None, (f"rank {other}", wrong["where"])))
            raise NetworkError(wrong["what"], where=place, mend=wrong["mend"])


def train_together(
    recipe: Taught,
    told: Told,
    arrays: Arrays,
    rows: Arrays,
    plan: Plan,
    *,
    ranks: Ranks,
    physical: int,
    lease: Lease,
    noise: TrainingNoise,
    checkpoints: Checkpoints | None = None,
    network: nn.Module | None = None,
    progress: Progress = SILENT,
) -> Trained:
    """The noisy steps, each process with its own subjects: with the event of one process.

    Rank 0 draws the noise and its own subjects' coins from ``noise``; the others toss the operating system's.

    Args:
        told, arrays: what all are told: functions of paid figures and public ones.
        rows: private, dealt by subject: see :meth:`Taught.lesson_of`.
        physical: subjects whose gradients a process holds at once, at most.
        network: begins with these weights; by default with the lesson's.

    Raises:
        As of ``privacy.dpsgd.train``. RanksError: another process is gone. UsageError: they are not together.
    """
    with _in_step(ranks):
        if ranks.world > 1:
            rows = {**rows, "whose": grouped(rows["whose"])[0]}
            what = {"do": "train", "recipe": recipe.describe(), "told": told}
            _order(ranks, {**what, "plan": plan.to_json(), "physical": physical})
            _deal(arrays, rows, ranks)
        lesson = recipe.lesson_of(told, arrays, rows if ranks.world == 1 else share(rows, 0, ranks.world))
        if network is not None:
            lesson = replace(lesson, network=network)
        given: dict[str, Any] = {"noise": noise, "checkpoints": checkpoints, "progress": progress}
        return _train(lesson, plan, ranks, device=recipe.device, physical=physical, lease=lease, **given)


@contextmanager
def leading(ranks: Ranks, *, meet: str | Lines, patience: float) -> Iterator[Ranks]:
    """While the block runs the other processes serve this one, rank 0; then they leave, each that is still there.

    Raises:
        RanksError, UsageError: as of :func:`serve`.
    """
    with _met(ranks, meet, patience) as joined:
        try:
            yield joined
        finally:
            if _are_met(joined):
                for other in range(1, joined.world):
                    with suppress(RanksError):  # it has ended before: nothing is left that it was needed for
                        _order(joined, {"do": "leave"}, to=[other])


# --- the others ----------------------------------------------------------------------------------


def serve(ranks: Ranks, *, meet: str | Lines = MEET, patience: float = PATIENCE) -> None:
    """Do what rank 0 orders until it is done.

    Raises:
        RanksError: processes did not meet, one has ended or is silent for too long, or rank 0 is of another version.
        UsageError: nothing says where to meet. As of ``privacy.dpsgd.train``.
    """
    with _met(ranks, meet, patience) as joined:
        while (order := heard(0, over=joined.orders))["do"] != "leave":
            recipe = _recipe(order)
            if order["do"] == "check":
                _answer(joined, _wrong(recipe, order["told"], joined))
            else:
                _serve_training(recipe, order, joined)


def _serve_training(recipe: Taught, order: Told, ranks: Ranks) -> None:
    arrays, rows = (received_arrays(0, over=ranks.orders) for _ in range(2))
    lesson, plan = recipe.lesson_of(order["told"], arrays, rows), Plan.from_json(order["plan"])
    _train(lesson, plan, ranks, device=recipe.device, physical=order["physical"], lease=_OfRank0())


class _OfRank0:
    """The lease of the others, which is never asked."""

    def take(self, through: int) -> int:
        raise PrivsynthError("another process than rank 0 asked for a lease")


def _recipe(order: Told) -> Taught:
    """The recipe that an order is about.

    Raises:
        RanksError: rank 0 runs another version.
    """
    from privsynth.generators.autoregressive.recipe import Autoregressive
    from privsynth.generators.images.diffusion import ImageDiffusion

    if order["version"] != __version__:
        raise RanksError(f"rank 0 is version {order['version']}, and this is {__version__}", mend="install one version")
    kinds: Mapping[str, Any] = {"autoregressive": Autoregressive, "image-diffusion": ImageDiffusion}
    recipe: Taught = kinds[order["recipe"]["kind"]].from_description(order["recipe"])
    return recipe


# --- all -----------------------------------------------------------------------------------------


def share(rows: Arrays, rank: int, world: int) -> Arrays:
    """The rows of every ``world``-th subject from the ``rank``-th on: each subject is one process's, as a whole.

    Args:
        rows: as of :meth:`Taught.lesson_of`, subjects numbered from 0.
    """
    own = rows["whose"] % world == rank
    return {name: array[own] for name, array in rows.items()}


def _deal(arrays: Arrays, rows: Arrays, ranks: Ranks) -> None:
    for other in range(1, ranks.world):
        send_arrays(other, arrays, over=ranks.orders)
        send_arrays(other, share(rows, other, ranks.world), over=ranks.orders)


def _train(lesson: Lesson, plan: Plan, ranks: Ranks, *, device: str, **given: Any) -> Trained:
    with _cores_shared(ranks.here):
        return train(
            lesson.network,
            lesson.source,
            lesson.loss,
            plan,
            make_batch=lesson.make_batch,
            device=ranks.device(device),
            rank=ranks.rank,
            world=ranks.world,
            links=ranks.steps,
            sharing=ranks.sharing(device),
            **given,
        )


@contextmanager
def _cores_shared(here: int) -> Iterator[None]:
    """While the block runs this process computes on its part of the machine's cores: threads that wait for each other
    because there are more of them than cores cost several times the work."""
    before = torch.get_num_threads()
    if here > 1:
        torch.set_num_threads(min(before, threads_of(here)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _wrong(recipe: Taught, told: Told, ranks: Ranks) -> PrivsynthError | None:
    """Why this process cannot train, if it cannot."""
    try:
        recipe.check_rank(told, ranks)
    except PrivsynthError as fault:
        return fault
    return None


# --- speech --------------------------------------------------------------------------------------


@contextmanager
def _met(ranks: Ranks, meet: str | Lines, patience: float) -> Iterator[Ranks]:
    """While the block runs the processes can speak to each other."""
    place, idle = (ranks.rank, ranks.world), _IDLE if ranks.rank else patience
    if isinstance(meet, str):
        joined = replace(ranks, orders=_by_launcher(ranks, meet, patience, idle), steps=Gloo())
    else:
        joined = replace(ranks, orders=Sockets(meet, place, idle), steps=Sockets(meet, place, patience))
    try:
        yield joined
    finally:
        _part(joined)


def _by_launcher(ranks: Ranks, meet: str, patience: float, idle: float) -> Gloo:
    """The group of orders, of processes that a launcher started."""
    place: dict[str, Any] = {"init_method": meet, "rank": ranks.rank, "world_size": ranks.world}
    try:
        with answered():
            dist.init_process_group("gloo", timeout=timedelta(seconds=patience), **place)
            return Gloo(dist.new_group(backend="gloo", timeout=timedelta(seconds=idle)))
    except ValueError:
        raise UsageError(
            "nothing says where processes meet", where="MASTER_ADDR, MASTER_PORT", mend="start them all by torchrun"
        ) from None


@contextmanager
def _in_step(ranks: Ranks) -> Iterator[None]:
    """While rank 0 does what the others do too: where it cannot go on, they are let go, for they would wait.

    Raises:
        UsageError: they are not together.
    """
    if ranks.world > 1 and not _are_met(ranks):
        raise UsageError(
            f"{ranks.world} processes that are not together", where="ranks", mend="with ps.together() as ranks: ..."
        )
    try:
        yield
    except BaseException:
        if ranks.world > 1:
            _part(ranks)
        raise


def _are_met(ranks: Ranks) -> bool:
    return ranks.orders is not None and ranks.orders.place is not None


def _part(ranks: Ranks) -> None:
    if ranks.orders is not None:
        ranks.orders.close()


def _order(ranks: Ranks, what: Told, *, to: Iterable[int] | None = None) -> None:
    for other in range(1, ranks.world) if to is None else to:
        tell(other, {**what, "version": __version__}, over=ranks.orders)


def _answer(ranks: Ranks, fault: PrivsynthError | None) -> None:
    told = None if fault is None else {"what": fault.what, "where": fault.where, "mend": fault.mend}
    tell(0, told, over=ranks.orders)
