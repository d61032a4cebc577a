"""What a fit by diffusion pays for: the statistics, then the noisy steps. The only place where it reads rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from privsynth.data.records import Records, Train
from privsynth.generators.begun import another_fit, begun, kept, open_fit
from privsynth.generators.images.band import Band
from privsynth.generators.images.model import PicturedModel
from privsynth.generators.images.networks import drawn
from privsynth.generators.images.normal import Normal
from privsynth.generators.images.source import Sitters
from privsynth.generators.images.space import space_of
from privsynth.generators.images.trained import TrainedTranscript
from privsynth.generators.images.training import fast_way, generator_of, lesson, warmed
from privsynth.generators.images.transcript import PicturedTranscript
from privsynth.generators.marginals.terms import Terms
from privsynth.generators.ranks import Arrays, Lesson, Ranks, Told
from privsynth.generators.serving import train_together
from privsynth.generators.training import Leased, paid_for
from privsynth.ledger.store import Hold
from privsynth.privacy.dpsgd import Checkpoints, Plan
from privsynth.privacy.noise import TrainingNoise, provenance_of
from privsynth.progress import Progress

if TYPE_CHECKING:
    from privsynth.generators.images.diffusion import ImageDiffusion


def bought(
    recipe: ImageDiffusion,
    train: Train,
    hold: Hold,
    *,
    plan: Plan,
    noise: TrainingNoise,
    checkpoints: Checkpoints | None,
    progress: Progress,
) -> tuple[PicturedModel, Checkpoints | None]:
    """The model of the statistics: bought after the hold was opened, or found in the checkpoints of a fit that was
    cut off. With where the training's state is to be kept.

    Raises:
        HoldError: the hold is not this fit's, or was opened and nothing of it was kept; or as of :func:`begun`.
    """
    pictures, first = recipe.share(hold.prices.mu_fit), recipe.first
    found = begun(recipe.identity, train, hold, plan=plan, checkpoints=checkpoints)
    if found is None:
        open_fit(recipe.identity, train, hold)
        receipt = first.receipt(hold, provenance_of(noise))
        told, table = first.buy(
            train.records, Terms.of(hold), receipt, noise=noise, pictures=pictures, progress=progress
        )
        return first.fitted(told, receipt, table, pictures=pictures), kept(
            told.to_bytes(), checkpoints, hold, plan=plan
        )
    receipt, told = first.receipt(hold, provenance_of(noise)), PicturedTranscript.from_bytes(found[0])
    if (told.recipe, told.noise) != (first.identity, receipt.noise):
        raise another_fit()
    table = first.table.fitted(told.table, receipt, progress=progress)
    return first.fitted(told, receipt, table, pictures=pictures), found[1]


def trained(
    recipe: ImageDiffusion,
    first: PicturedModel,
    records: Records,
    hold: Hold,
    *,
    plan: Plan,
    noise: TrainingNoise,
    checkpoints: Checkpoints | None,
    physical: int,
    ranks: Ranks,
    progress: Progress,
) -> TrainedTranscript:
    """Warm up, freely, and take the noisy steps.

    Raises:
        MemoryShort: memory ran out; it says what becomes of the hold.
    """
    with paid_for(device=recipe.device, where="ImageDiffusion.fit", goes_on=checkpoints is not None):
        network, space, prior = warmed(recipe, first, progress=progress)
        band = asdict(first.portrait.band) if recipe.network == "latent" else None
        pixels, cells, whose = recipe.first.shown(records, first.table)
        told = train_together(
            recipe,
            {"band": band},
            _joined({"space": space.arrays, "prior": prior.arrays}),
            {"pixels": pixels, "cells": cells, "whose": whose},
            plan,
            network=network,
            ranks=ranks,
            lease=Leased(hold),
            checkpoints=checkpoints,
            noise=noise,
            physical=physical,
            progress=progress,
        )
        few = fast_way(recipe, told.averaged, space, prior, first)
    return TrainedTranscript(
        first.transcript,
        plan,
        told.steps_run,
        told.averaged,
        space.arrays,
        prior.arrays,
        few,
        recipe.identity,
        first.receipt.noise,
    )


def lesson_on(recipe: ImageDiffusion, told: Told, arrays: Arrays, rows: Arrays) -> Lesson:
    """What a process trains on these rows, where it works as a transcript would say."""
    band = None if told["band"] is None else Band(**told["band"])
    space = space_of(_under("space", arrays), band)
    layout = recipe.layout(space.shape[0])
    loss, made_up = lesson(layout, Normal.from_arrays(_under("prior", arrays), layout.sizes))
    sitters = Sitters(space, rows["pixels"], rows["cells"], rows["whose"])
    return Lesson(drawn(layout, generator_of(recipe.identity, "begin")), sitters, loss, made_up)


def _joined(parts: Mapping[str, Arrays]) -> dict[str, npt.NDArray[Any]]:
    return {f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}


def _under(part: str, arrays: Arrays) -> Arrays:
    return {name.removeprefix(f"{part}."): a for name, a in arrays.items() if name.startswith(f"{part}.")}
