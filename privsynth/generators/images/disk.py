"""The folder of a model of rows with pictures: its transcript and one JSON. Loading fits the transcript again, which
takes the time of a free fit, so that what is loaded is what was paid for; it runs no code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from privsynth.generators.images.transcript import PicturedTranscript
from privsynth.generators.marginals.disk import HEAD, TRANSCRIPT, head_of, load_refitted, write_folder

if TYPE_CHECKING:
    from privsynth.generators.images.diffused import DiffusedModel
    from privsynth.generators.images.model import PicturedModel

FORMAT = 1


def save_pictured(model: PicturedModel | DiffusedModel, place: Path) -> None:
    """Write ``transcript.safetensors`` and ``model.json`` as a new folder.

    Raises:
        StorageError: the folder exists or cannot be written; nothing half written is left.
    """
    head = head_of(model, model.recipe, version=FORMAT)
    files = {TRANSCRIPT: model.transcript.to_bytes(), HEAD: head, **model.receipt.evidence}
    write_folder(place, files, what="model")


def load_pictured(folder: str | Path) -> PicturedModel:
    """The model that ``save`` wrote, fitted again: on the same kind of machine the same to the bit.

    Raises:
        ModelError: missing, altered, of another version, or of a machine on which the fit comes out otherwise.
        MissingExtra: no torch, or no such device.
    """
    from privsynth.generators.images.statistics import ImageStatistics

    return load_refitted(
        Path(folder),
        version=FORMAT,
        recipe_of=ImageStatistics.from_description,
        transcript_of=PicturedTranscript.from_bytes,
        refit=ImageStatistics.refit,
    )


def load_diffused(folder: str | Path) -> DiffusedModel:
    """The same of a model of diffusion, whose weights are a part of its transcript.

    Raises:
        ModelError, MissingExtra: as of :func:`load_pictured`.
    """
    from privsynth.generators.images.diffusion import ImageDiffusion
    from privsynth.generators.images.trained import TrainedTranscript

    return load_refitted(
        Path(folder),
        version=FORMAT,
        recipe_of=ImageDiffusion.from_description,
        transcript_of=TrainedTranscript.from_bytes,
        refit=ImageDiffusion.refit,
    )
