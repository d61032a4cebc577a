"""What a fit by diffusion pays for: the statistics, then the noisy steps. The only place where it reads rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from privsynth.data.records import Records, Train
from privsynth.errors import HoldError, NetworkError
from privsynth.generators.images.model import PicturedModel
from privsynth.generators.images.source import Sitters
from privsynth.generators.images.trained import TrainedTranscript
from privsynth.generators.images.training import Beside, fast_way, lesson, warmed
from privsynth.generators.marginals.terms import Terms
from privsynth.generators.training import Leased
from privsynth.ledger.store import Hold
from privsynth.privacy.dpsgd import Checkpoints
from privsynth.privacy.dpsgd import train as train_privately
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
        HoldError: the hold is not this fit's, or was opened and nothing of it was kept.
    """
    pictures, first = recipe.share(hold.prices.mu_fit), recipe.first
    mark = f"{hold.id}{':benchmark' if train.benchmark else ''}"
    begun = None if checkpoints is None else Beside.found(checkpoints, hold=mark)
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
        kept = None if checkpoints is None else Beside.begin(checkpoints, told, hold=mark)
        return first.fitted(told, receipt, table, pictures=pictures), kept
    kept, told = begun
    receipt = first.receipt(hold, provenance_of(noise))
    asked = (recipe.identity, train.source, train.purpose, train.recipient, first.identity, receipt.noise)
    if (hold.recipe, hold.source, hold.purpose, hold.recipient, told.recipe, told.noise) != asked:
        raise HoldError("these checkpoints are of another fit", mend="one place for each hold")
    table = first.table.fitted(told.table, receipt, progress=progress)
    return first.fitted(told, receipt, table, pictures=pictures), kept


def trained(
    recipe: ImageDiffusion,
    first: PicturedModel,
    records: Records,
    hold: Hold,
    *,
    noise: TrainingNoise,
    checkpoints: Checkpoints | None,
    physical: int,
    progress: Progress,
) -> TrainedTranscript:
    """Warm up, freely, and take the noisy steps.

    Raises:
        NetworkError: memory ran out; what was leased stays spent.
    """
    network, space, prior = warmed(recipe, first, progress=progress)
    plan = recipe.plan(hold.prices, hold.training_subjects)
    loss, made_up = lesson(recipe.layout(space.shape[0]), prior)
    try:
        told = train_privately(
            network,
            Sitters(space, *recipe.first.shown(records, first.table)),
            loss,
            plan,
            make_batch=made_up,
            device=recipe.device,
            lease=Leased(hold),
            checkpoints=checkpoints,
            noise=noise,
            physical=physical,
            progress=progress,
        )
    except torch.OutOfMemoryError:
        raise NetworkError(
            f"the memory of {recipe.device} ran out in the training; what was leased stays spent",
            where="ImageDiffusion.fit",
            mend=f"go on from its checkpoints with physical={max(1, physical // 2)}; without them the hold is lost",
        ) from None
    return TrainedTranscript(
        first.transcript,
        plan,
        told.steps_run,
        told.averaged,
        space.arrays,
        prior.arrays,
        fast_way(recipe, told.averaged, space, prior, first),
        recipe.identity,
        first.receipt.noise,
    )
