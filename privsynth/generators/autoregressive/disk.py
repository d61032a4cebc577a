"""The folder of an autoregressive model: its transcript and one JSON. Loading fits the tables again, which takes the
time of a free fit, so that what is loaded is what was paid for; it runs no code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from privsynth.generators.autoregressive.transcript import AutoregressiveTranscript
from privsynth.generators.marginals.disk import HEAD, TRANSCRIPT, head_of, load_refitted, write_folder

if TYPE_CHECKING:
    from privsynth.generators.autoregressive.model import AutoregressiveModel

FORMAT = 1


def save_network(model: AutoregressiveModel, place: Path) -> None:
    """Write ``transcript.safetensors`` and ``model.json`` as a new folder.

    Raises:
        StorageError: the folder exists or cannot be written; nothing half written is left.
    """
    head = head_of(model, model.recipe, version=FORMAT)
    files = {TRANSCRIPT: model.transcript.to_bytes(), HEAD: head, **model.receipt.evidence}
    write_folder(place, files, what="model")


def load_network(folder: str | Path) -> AutoregressiveModel:
    """The model that ``save`` wrote, its tables fitted again: on the same kind of machine the same to the bit.

    Raises:
        ModelError: missing, altered, of another version, or of a machine on which the fit comes out otherwise.
        MissingExtra: no torch, or no such device.
    """
    from privsynth.generators.autoregressive.recipe import Autoregressive

    return load_refitted(
        Path(folder),
        version=FORMAT,
        recipe_of=Autoregressive.from_description,
        transcript_of=AutoregressiveTranscript.from_bytes,
        refit=Autoregressive.refit,
    )
