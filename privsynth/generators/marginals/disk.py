"""A model's folder: two safetensors files and one JSON; beside them, what shows that a ledger sold its hold. Writing is
whole or not at all; loading runs no code."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from privsynth.data.columns import EXACT
from privsynth.data.records import Model, Transcript
from privsynth.data.schema import Schema
from privsynth.documents import canonical, identity, read_bytes
from privsynth.errors import LedgerError, MissingExtra, ModelError, PrivsynthError, StorageError
from privsynth.generators.marginals.model import FORMAT, MarginalModel
from privsynth.generators.marginals.transcript import MarginalTranscript, read_safetensors
from privsynth.ledger.evidence import check_sale, evidence_in
from privsynth.privacy.events import Receipt


class _OfRows(Protocol):
    """A recipe of any kind."""

    @property
    def schema(self) -> Schema: ...


AnyRecipe = TypeVar("AnyRecipe", bound=_OfRows)
AnyTranscript = TypeVar("AnyTranscript", bound=Transcript)
AnyModel = TypeVar("AnyModel", bound=Model)

TENSORS, TRANSCRIPT, HEAD = "model.safetensors", "transcript.safetensors", "model.json"


def save_model(model: MarginalModel, place: Path) -> None:
    """Write ``model.safetensors``, ``transcript.safetensors`` and ``model.json`` as a new folder.

    Raises:
        StorageError: the folder exists or cannot be written; nothing half written is left.
    """
    head = head_of(model, model.recipe, version=FORMAT)
    files = {TENSORS: model.tensors(), TRANSCRIPT: model.transcript.to_bytes(), HEAD: head, **model.receipt.evidence}
    write_folder(place, files, what="model")


def head_of(model: Model, recipe: Mapping[str, Any], *, version: int) -> bytes:
    """``model.json`` of a model of any kind."""
    head = {
        "privsynth-model": version,
        "id": model.id,
        "receipt": model.receipt.to_json(),
        "schema": model.schema.to_json(),
        "recipe": dict(recipe),
    }
    return canonical(head)


def write_folder(place: Path, files: Mapping[str, bytes], *, what: str) -> None:
    """Write files as a new folder, whole or not at all.

    Raises:
        StorageError: the folder exists or cannot be written; ``what`` is its name in that message.
    """
    if os.path.lexists(place):
        raise StorageError("exists already", where=str(place), mend=f"name a new folder for the {what}")
    draft = place.with_name(f".{place.name}.{os.getpid()}.new")
    try:
        draft.mkdir(parents=True)
        for name, raw in files.items():
            (draft / name).write_bytes(raw)
        draft.rename(place)
    except OSError as fault:
        raise StorageError(
            f"the {what} cannot be written ({fault.strerror})", where=str(place), mend="check the disk and rights"
        ) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _number(text: str) -> int | float:
    """Canonical JSON writes a float of 1e18 as a whole number; no integer that large is ever written."""
    return number if abs(number := int(text)) <= EXACT else float(text)


def load_model(folder: str | Path) -> MarginalModel:
    """The model that ``save`` wrote.

    Raises:
        ModelError: missing, altered or of another version.
    """
    place = Path(folder)
    tensors_raw, transcript_raw, head_raw = read_folder(place, TENSORS, TRANSCRIPT, HEAD)
    receipt = receipt_in(place, head_raw)
    try:
        head = read_head(head_raw, version=FORMAT)
        extra, tensors = read_safetensors(tensors_raw, "model")
        if extra["format"] != FORMAT:
            raise ValueError
        schema = Schema.model_validate(head["schema"])
        width = range(len(schema.modelled))
        model = MarginalModel(
            schema=schema,
            receipt=receipt,
            transcript=MarginalTranscript.from_bytes(transcript_raw),
            recipe=head["recipe"],
            rows=float(extra["rows"]),
            rows_sigma=float(extra["rows sigma"]),
            weights=tensors["weights"],
            tables=tensors["tables"],
            groups=tuple(tensors[f"groups.{c:05d}"] for c in width),
            within=tuple(tensors[f"within.{c:05d}"] for c in width),
        )
        if model.id != head["id"] or identity(head["recipe"]) != model.receipt.recipe:
            raise ValueError
    except (ValueError, KeyError, TypeError, RecursionError, PrivsynthError):
        raise altered(place) from None
    return model


def load_refitted(
    place: Path,
    *,
    version: int,
    recipe_of: Callable[[Any], AnyRecipe],
    transcript_of: Callable[[bytes], AnyTranscript],
    refit: Callable[[AnyRecipe, AnyTranscript, Receipt], AnyModel],
) -> AnyModel:
    """The model of a folder that holds no more than its transcript and ``model.json``: fitted again.

    Raises:
        ModelError: missing, altered, of another version, or of a machine on which the fit comes out otherwise.
        MissingExtra: as of ``refit``.
    """
    transcript_raw, head_raw = read_folder(place, TRANSCRIPT, HEAD)
    receipt = receipt_in(place, head_raw)
    try:
        head = read_head(head_raw, version=version)
        recipe, transcript = recipe_of(head["recipe"]), transcript_of(transcript_raw)
        if transcript.to_bytes() != transcript_raw or head["schema"] != recipe.schema.to_json():
            raise ValueError
        model = refit(recipe, transcript, receipt)
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


def read_folder(place: Path, *names: str) -> tuple[bytes, ...]:
    """These files of a model's folder.

    Raises:
        ModelError: one is not there.
    """
    try:
        return tuple(read_bytes(place / name, error=ModelError, kind="model") for name in names)
    except ModelError as fault:
        raise ModelError(f"not a model folder ({fault.what})", where=str(place), mend="name the folder") from None


def receipt_in(place: Path, head: bytes) -> Receipt:
    """The receipt in ``model.json``, with the evidence of its sale that lies beside it. Folders of before there was
    such evidence have none, and load as they did.

    Raises:
        ModelError: altered, or the evidence does not hold or is of another sale.
    """
    try:
        receipt = replace(Receipt.from_json(read_head(head)["receipt"]), evidence=evidence_in(place))
    except (OSError, ValueError, KeyError, TypeError, RecursionError, ModelError):
        raise altered(place) from None
    if receipt.evidence:
        try:
            check_sale(receipt, where=str(place))
        except LedgerError as fault:
            raise ModelError(fault.what, where=fault.where, mend="restore it from a backup") from None
    return receipt


def read_head(raw: bytes, *, version: int | None = None) -> dict[str, Any]:
    """What :func:`head_of` wrote; None: of any version.

    Raises:
        ValueError, KeyError, TypeError, RecursionError: anything else.
    """
    head: dict[str, Any] = json.loads(raw, parse_int=_number)
    if version not in (None, head["privsynth-model"]) or canonical(head) != raw:
        raise ValueError
    return head


def altered(place: Path) -> ModelError:
    """What is raised of a folder whose files do not hold together."""
    return ModelError(
        "the saved model was altered or is of another version", where=str(place), mend="restore it from a backup"
    )
