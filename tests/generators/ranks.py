"""What each process of test_ranks.py runs: ``python -m tests.generators.ranks SCENES RANK FOLDER``."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, cast
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from privsynth.data.schema import parse_schema
from privsynth.errors import NetworkError, PrivsynthError
from privsynth.generators import serving
from privsynth.generators.autoregressive.network import MaskedLoss
from privsynth.generators.images.diffusion import ImageDiffusion
from privsynth.generators.ranks import ALONE, Arrays, Ranks, together
from privsynth.generators.serving import check_ranks
from privsynth.generators.training import CheckpointFiles
from privsynth.privacy.budget import Budget
from privsynth.privacy.dpsgd.state import State
from privsynth.privacy.dpsgd.sums import Sums
from privsynth.privacy.events import Receipt
from tests.generators.autoregressive import conftest as tables
from tests.generators.images import test_diffusion as pictures
from tests.privacy.dpsgd.ranks import noisy_sums

WORLD = 2
STEPS, LAST = 10, 4
"""Noisy steps of a fit, and how many a process that dies has taken."""


@contextmanager
def recorded(out: Path) -> Iterator[None]:
    """While the block runs: which rows this process is given, and the gradient and the weights of every step."""
    gradients: list[Tensor] = []
    weights: list[Tensor] = []
    rows: dict[str, NDArray[Any]] = {}
    step, train = State.step, serving._train

    def seen_step(state: State, gradient: Tensor, **rates: float) -> None:
        gradients.append(gradient.clone())
        step(state, gradient, **rates)
        weights.append(torch.cat([w.flatten() for w in state.weights.values()]))

    def seen_train(lesson: Any, *given: Any, **more: Any) -> Any:
        rows.setdefault("subjects", np.array(lesson.source.subjects))
        rows.setdefault("pixels", getattr(lesson.source, "pixels", np.zeros(0)))
        return train(lesson, *given, **more)

    with mock.patch.object(State, "step", seen_step), mock.patch.object(serving, "_train", seen_train):
        yield
    told = {"gradients": torch.stack(gradients).double().numpy(), "weights": torch.stack(weights).numpy(), **rows}
    np.savez(out, **cast(Any, told))


def dying(steps: int) -> Any:
    """Planted: the process ends after so many noisy steps, as by kill -9."""
    step = State.step
    taken: list[None] = []

    def last(state: State, gradient: Tensor, **rates: float) -> None:
        step(state, gradient, **rates)
        taken.append(None)
        if len(taken) == steps:
            os._exit(9)

    return mock.patch.object(State, "step", last)


def everyone(rows: Arrays, rank: int, world: int) -> Arrays:
    """Planted: every process is dealt all subjects."""
    return rows


def nothing_learned() -> Any:
    """A loss that tells nothing: a step's update is its noise."""
    loss = MaskedLoss.__call__
    return mock.patch.object(MaskedLoss, "__call__", lambda self, *given: 0 * loss(self, *given))


def statement(receipt: Receipt) -> dict[str, Any]:
    """What a receipt says of privacy, without what is of this one purchase: its id, its time, its turn."""
    told = {name: str(value) for name, value in receipt.to_json().items()}
    for own in ("hold", "reserved", "first_of_population"):
        del told[own]
    return told


def fits(rank: int, folder: Path) -> None:
    """Fits of both kinds by two processes; then one of them dies, and the other goes on alone."""
    place, meets = Ranks(rank, WORLD, rank, WORLD), iter(f"file://{folder / f'meet-{n}'}" for n in range(99))

    def pictured(name: str) -> None:
        """One fit of pictures."""
        with together(place, meet=next(meets)) as ranks:
            desk = pictures.Desk(folder / name)
            hold = desk.hold(recipe := desk.recipe(steps=STEPS))
            train = desk.split.train.records
            truth = {"whose": train.subjects.astype(str), "pixels": train.pictures["scan"].pixels}
            np.savez(folder / f"{name} as it is.npz", **cast(Any, truth))
            kept = CheckpointFiles(folder / f"{name} kept", hold.id)
            told: dict[str, Any] = {}
            try:
                model = recipe.fit(desk.split.train, hold, checkpoints=kept, ranks=ranks)
            except PrivsynthError as fault:
                told.update(fault=type(fault).__name__, what=str(fault), leased=hold.leased)
                model = recipe.fit(desk.split.train, hold, checkpoints=kept, ranks=ALONE)
            told.update(statement=statement(model.receipt), plan=model.transcript.plan.to_json())
            told.update(steps=model.transcript.steps_run, leased_at_last=hold.leased, refits=model.refits())
            (folder / f"{name}.json").write_text(json.dumps(told))

    def tabled(name: str) -> None:
        """One fit of a table."""
        with together(place, meet=next(meets)) as ranks:
            at = tables.desk(folder / name, tables.ODD, tables.odd_rows(1000), steps=STEPS, hidden=8, batch=200)
            model = at.recipe.fit(at.split.train, at.hold(), ranks=ranks)
            told: dict[str, Any] = {"statement": statement(model.receipt), "plan": model.transcript.plan.to_json()}
            told |= {"people": len(set(at.split.train.records.subjects)), "refits": model.refits()}
            if name == "table":
                alone = at.recipe.fit(at.split.train, at.hold())
                told["alone"] = {"statement": statement(alone.receipt), "plan": alone.transcript.plan.to_json()}
            (folder / f"{name}.json").write_text(json.dumps(told))

    def parted(name: str) -> None:
        """One fit of a table that a process alone began, and both end."""
        with together(place, meet=next(meets)) as ranks:
            at = tables.desk(folder / name, tables.ODD, tables.odd_rows(1000), steps=STEPS, hidden=8, batch=200)
            hold = at.hold()
            kept = CheckpointFiles(folder / f"{name} kept", hold.id)
            with suppress(pictures.Killed):
                at.recipe.fit(at.split.train, hold, checkpoints=kept, progress=pictures.Until(LAST - 1))
            told: dict[str, Any] = {"leased": hold.leased}
            model = at.recipe.fit(at.split.train, hold, checkpoints=kept, ranks=ranks)
            told |= {"steps": model.transcript.steps_run, "leased_at_last": hold.leased, "refits": model.refits()}
            (folder / f"{name}.json").write_text(json.dumps(told))

    def scene(fit: Callable[[str], None], name: str) -> None:
        with recorded(folder / f"{name}, {rank}.npz"):
            try:
                fit(name)
            except SystemExit:  # how a process other than rank 0 ends
                assert rank

    scene(pictured, "pictures")
    scene(tabled, "table")
    scene(parted, "parted")
    with nothing_learned():
        scene(tabled, "still")
        with mock.patch.object(Sums, "over", noisy_sums) if rank else nullcontext():
            scene(tabled, "noise on every rank")
    with mock.patch.object(serving, "share", everyone):
        scene(pictured, "everyone")
    with dying(LAST) if rank else nullcontext():
        scene(pictured, "one dies")


def talks(rank: int, folder: Path) -> None:
    """A process that cannot train, one that is silent, one that dies: what the other is told."""
    place = Ranks(rank, WORLD, rank, WORLD)
    recipe = ImageDiffusion(parse_schema(pictures.SCHEMA), Budget(9.0, 1e-8), by=("bright",), **pictures.SMALL)

    def slow(*given: Any, **more: Any) -> None:
        time.sleep(4)

    def cannot(*given: Any, **more: Any) -> None:
        raise NetworkError("it does not fit", where="device cpu", mend="a larger machine")

    for name, planted in (("cannot", cannot), ("silent", slow), ("first dies", None)):
        told = {}
        try:
            with (
                mock.patch.object(ImageDiffusion, "check_rank", planted) if planted and rank else nullcontext(),
                together(place, meet=f"file://{folder / name}-meet", patience=2 if name == "silent" else 60) as ranks,
            ):
                check_ranks(recipe, {"physical": 1}, ranks)
                if name == "first dies":
                    os._exit(9)
        except (PrivsynthError, SystemExit) as fault:
            told = {"fault": type(fault).__name__, "what": str(fault)}
        (folder / f"{name}, {rank}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    torch.set_num_threads(1)
    {"fits": fits, "talks": talks}[sys.argv[1]](int(sys.argv[2]), Path(sys.argv[3]))
