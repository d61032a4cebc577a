"""The folder of a model of rows with pictures: its transcript and one JSON. Loading fits the transcript again, which
takes the time of a free fit, so that what is loaded is what was paid for; it runs no code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from privsynth.data.schema import Schema
from privsynth.errors import MissingExtra, ModelError, PrivsynthError
from privsynth.generators.images.transcript import PicturedTranscript
from privsynth.generators.marginals.disk import (
    HEAD,
    TRANSCRIPT,
    altered,
    head_of,
    read_folder,
    read_head,
    write_folder,
)
from privsynth.privacy.events import Receipt

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
    write_folder(place, {TRANSCRIPT: model.transcript.to_bytes(), HEAD: head}, what="model")


def load_pictured(folder: str | Path) -> PicturedModel:
    """The model that ``save`` wrote, fitted again: on the same kind of machine the same to the bit.

    Raises:
        ModelError: missing, altered, of another version, or of a machine on which the fit comes out otherwise.
        MissingExtra: no torch, or no such device.
    """
    from privsynth.generators.images.statistics import ImageStatistics

    def refit(recipe: ImageStatistics, raw: bytes, receipt: Receipt) -> PicturedModel:
        transcript = PicturedTranscript.from_bytes(raw)
        if transcript.to_bytes() != raw:
            raise ValueError
        return recipe.refit(transcript, receipt)

    return _loaded(Path(folder), ImageStatistics.from_description, refit)


def load_diffused(folder: str | Path) -> DiffusedModel:
    """The same of a model of diffusion, whose weights are a part of its transcript.

    Raises:
        ModelError, MissingExtra: as of :func:`load_pictured`.
    """
    from privsynth.generators.images.diffusion import ImageDiffusion
    from privsynth.generators.images.trained import TrainedTranscript

    def refit(recipe: ImageDiffusion, raw: bytes, receipt: Receipt) -> DiffusedModel:
        transcript = TrainedTranscript.from_bytes(raw)
        if transcript.to_bytes() != raw:
            raise ValueError
        return recipe.refit(transcript, receipt)

    return _loaded(Path(folder), ImageDiffusion.from_description, refit)


class _Pictured(Protocol):
    @property
    def schema(self) -> Schema: ...


AnyRecipe = TypeVar("AnyRecipe", bound=_Pictured)
AnyModel = TypeVar("AnyModel", bound="PicturedModel | DiffusedModel")


def _loaded(
    place: Path, recipe_of: Callable[[Any], AnyRecipe], refit: Callable[[AnyRecipe, bytes, Receipt], AnyModel]
) -> AnyModel:
    transcript_raw, head_raw = read_folder(place, TRANSCRIPT, HEAD)
    try:
        head = read_head(head_raw, version=FORMAT)
        recipe = recipe_of(head["recipe"])
        if head["schema"] != recipe.schema.to_json():
            raise ValueError
        model = refit(recipe, transcript_raw, Receipt.from_json(head["receipt"]))
    except MissingExtra:
        raise
    except (ArithmeticError, AttributeError, IndexError, KeyError, RecursionError, TypeError, ValueError):
        raise altered(place) from None
    except PrivsynthError:
        raise altered(place) from None
    if head["id"] != model.id:
        raise ModelError(
            "the transcript does not give this model",
            where=str(place),
            mend="load it on the kind of machine that fitted it, or restore it from a backup",
        )
    return model
