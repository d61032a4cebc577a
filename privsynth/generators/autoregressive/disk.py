"""The folder of an autoregressive model: its transcript and one JSON. Loading fits the tables again, which takes the
time of a free fit, so that what is loaded is what was paid for; it runs no code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from privsynth.errors import MissingExtra, ModelError, PrivsynthError
from privsynth.generators.autoregressive.transcript import AutoregressiveTranscript
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
    from privsynth.generators.autoregressive.model import AutoregressiveModel

FORMAT = 1


def save_network(model: AutoregressiveModel, place: Path) -> None:
    """Write ``transcript.safetensors`` and ``model.json`` as a new folder.

    Raises:
        StorageError: the folder exists or cannot be written; nothing half written is left.
    """
    head = head_of(model, model.recipe, version=FORMAT)
    write_folder(place, {TRANSCRIPT: model.transcript.to_bytes(), HEAD: head}, what="model")


def load_network(folder: str | Path) -> AutoregressiveModel:
    """The model that ``save`` wrote, its tables fitted again: on the same kind of machine the same to the bit.

    Raises:
        ModelError: missing, altered, of another version, or of a machine on which the fit comes out otherwise.
        MissingExtra: no torch, or no such device.
    """
    from privsynth.generators.autoregressive.recipe import Autoregressive

    place = Path(folder)
    transcript_raw, head_raw = read_folder(place, TRANSCRIPT, HEAD)
    try:
        head = read_head(head_raw, version=FORMAT)
        recipe = Autoregressive.from_description(head["recipe"])
        transcript = AutoregressiveTranscript.from_bytes(transcript_raw)
        if transcript.to_bytes() != transcript_raw or head["schema"] != recipe.schema.to_json():
            raise ValueError
        model = recipe.refit(transcript, Receipt.from_json(head["receipt"]))
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
