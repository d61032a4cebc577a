"""What a fit by diffusion pays for: the statistics, then the noisy steps. The only place where it reads rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from privsynth.data.records import Records, Train
from privsynth.errors import HoldError
from privsynth.generators.images.band import Band
from privsynth.generators.images.model import PicturedModel
from privsynth.generators.images.networks import drawn
from privsynth.generators.images.normal import Normal
from privsynth.generators.images.source import Sitters
from privsynth.generators.images.space import space_of
from privsynth.generators.images.trained import TrainedTranscript
from privsynth.generators.images.training import Beside, fast_way, generator_of, lesson, warmed
from privsynth.generators.images.transcript import PicturedTranscript
from privsynth.generators.marginals.terms import Terms
from privsynth.generators.ranks import Arrays, Lesson, Ranks, Told
from privsynth.generators.serving import train_together
from privsynth.generators.training import Leased, paid_for
from privsynth.ledger.store import Hold
from privsynth.privacy.dpsgd import Checkpoints
from privsynth.privacy.events import Provenance
from privsynth.privacy.noise import TrainingNoise, provenance_of
from privsynth.progress import Progress

if TYPE_CHECKING:
    from privsynth.generators.images.diffusion import ImageDiffusion


def bought(
    recipe: ImageDiffusion,
    train: Train,
    hold: Hold,
    *,
    noise: TrainingNoise,
    checkpoints: Checkpoints | None,
    progress: Progress,
) -> tuple[PicturedModel, Checkpoints | None]:
    """The model of the statistics: bought after the hold was opened, or found in the checkpoints of a fit that was
    cut off. With where the training's state is to be kept.

    Raises:
        HoldError: the hold is not this fit's, or was opened and nothing of it was kept; or as :func:`_check_begun`.
    """
    pictures, first = recipe.share(hold.prices.mu_fit), recipe.first
    begun = None if checkpoints is None else Beside.found(checkpoints, hold=hold.id)
    if begun is None:
        hold.open_fit(
            recipe=recipe.identity,
            source=train.source,
            purpose=train.purpose,
            recipient=train.recipient,
            benchmark=train.benchmark,
        )
        receipt = first.receipt(hold, provenance_of(noise))
        told, table = first.buy(
            train.records, Terms.of(hold), receipt, noise=noise, pictures=pictures, progress=progress
        )
        kept = None if checkpoints is None else Beside.begin(checkpoints, told, hold=hold.id)
        return first.fitted(told, receipt, table, pictures=pictures), kept
    kept, told = begun
    receipt = first.receipt(hold, provenance_of(noise))
    _check_begun(recipe, train, hold, told, noise=receipt.noise)
    table = first.table.fitted(told.table, receipt, progress=progress)
    return first.fitted(told, receipt, table, pictures=pictures), kept


def _check_begun(
    recipe: ImageDiffusion, train: Train, hold: Hold, told: PicturedTranscript, *, noise: Provenance
) -> None:
    """What ``open_fit`` asked before the fit was cut off, asked again of what it would go on with.

    Of the rows themselves: :func:`privsynth.generators.base.check_rows` has asked for the hold's policy, coins and
    contribution, so nobody who is held out is among them. That they are those of the first process is not checked,
    for nothing of them is kept that could tell: rows that were read anew may differ. It costs no subject more, for
    what was bought of hers before and each step since are priced one by one, whatever others are there.

    Raises:
        HoldError: another recipe, source, purpose, recipient or noise, or one of the two is a benchmark and not both.
    """
    asked = (recipe.identity, train.source, train.purpose, train.recipient, recipe.first.identity, noise)
    if (hold.recipe, hold.source, hold.purpose, hold.recipient, told.recipe, told.noise) != asked:
        raise HoldError("these checkpoints are of another fit", mend="one place for each hold")
    if hold.benchmark != train.benchmark:
        begun, given = ("Split.benchmark's", "a split's") if hold.benchmark else ("a split's", "Split.benchmark's")
        raise HoldError(f"the fit was begun with {begun} rows, and these are {given}", mend="pass what it began with")


def trained(
    recipe: ImageDiffusion,
    first: PicturedModel,
    records: Records,
    hold: Hold,
    *,
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
        plan = recipe.plan(hold.prices, hold.training_subjects)
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
