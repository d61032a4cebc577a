"""The transcript as an artefact of its own: with it anyone refits the model, without ledger, rows or us.

Two files: ``transcript.safetensors``, the noisy tables as they were deposited, and ``transcript.json``, which says in
names what they are: the recipe, the receipt, and for each table its stage, columns, groups, noise, price and tensor.
Publishing them costs nothing more, since all of it was paid for; what it means stands in docs/threat-model.md. They
leave in a signed release, where the policy says so. Written alone they are an inside file, like a model's folder: no
gate has seen them, nobody signed them, and the listing says ``"gated": false``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from privsynth.data.codec import Codec, CodedColumn
from privsynth.data.records import Transcript
from privsynth.documents import canonical, sha256
from privsynth.documents.reading import read_bytes
from privsynth.errors import ModelError, PrivsynthError, SeededNoise
from privsynth.generators.marginals.belonging import check_belonging
from privsynth.generators.marginals.disk import write_folder
from privsynth.generators.marginals.model import MarginalModel
from privsynth.generators.marginals.recipe import Marginals
from privsynth.generators.marginals.transcript import MarginalTranscript, Measurement, read_safetensors
from privsynth.privacy.events import Receipt
from privsynth.progress import SILENT, Progress

FORMAT = 1
TABLES, LISTING = "transcript.safetensors", "transcript.json"
MOST_LISTING = 256 * 2**20
MOST_TABLES = 2 * 2**30
_MALFORMED = (AttributeError, ArithmeticError, IndexError, KeyError, RecursionError, TypeError, ValueError)
_AGAIN = "get both files again from where they were published"


class TranscriptFiles:
    """The two files of a published transcript, whatever kind of fit it is of."""

    receipt: Receipt
    transcript: Transcript
    gated: bool

    def to_json(self) -> dict[str, Any]:
        """The listing."""
        raise NotImplementedError

    def files(self, *, gated: bool = False) -> dict[str, bytes]:
        """Both files, by name.

        Args:
            gated: of a release, which a gate has let through; an inside file otherwise.

        Raises:
            SeededNoise: noise that anyone can subtract.
        """
        if self.receipt.noise != "os-secure" or self.transcript.noise != "os-secure":
            raise SeededNoise(
                "the noise of these tables was seeded, and anyone can subtract it",
                mend="fit without a `noise` argument",
            )
        listing = {**self.to_json(), "gated": self.gated or gated}
        return {LISTING: canonical(listing), TABLES: self.transcript.to_bytes()}

    def write(self, folder: str | Path) -> Path:
        """Write both files as a new folder, whole or not at all: an inside file, unsigned. A release carries its own.

        Raises:
            StorageError: the folder exists or cannot be written. SeededNoise: as of :meth:`files`.
        """
        place = Path(folder)
        write_folder(place, self.files(), what="transcript")
        return place


Found = TypeVar("Found", bound=TranscriptFiles)


def tensors_entry(raw: bytes) -> dict[str, Any]:
    """What a listing says of the other file."""
    return {"file": TABLES, "sha256": sha256(raw), "size": len(raw)}


@dataclass(frozen=True, eq=False, repr=False)
class PublishedTranscript(TranscriptFiles):
    """A transcript with what a refit needs. Make one with ``model.published()`` or :func:`load_transcript`.

    Attributes:
        recipe: that asked for the tables.
        receipt: what was paid for them.
        transcript: the tables.
        model: id of the model that its owner fitted to them.
        gated: whether its listing says that it left in a release, after the gate; who signed that, ``verify`` tells.
    """

    recipe: Marginals
    receipt: Receipt
    transcript: MarginalTranscript
    model: str
    gated: bool = False

    def __repr__(self) -> str:
        tables = len(self.transcript.measurements)
        return f"PublishedTranscript({self.receipt.source!r}, {tables} tables, epsilon={self.receipt.epsilon:g})"

    def refit(self, *, progress: Progress = SILENT) -> MarginalModel:
        """The model: free, from these tables alone. On the same kind of machine it is the owner's to the bit, and
        its ``id`` is :attr:`model`."""
        return self.recipe.refit(self.transcript, self.receipt, progress=progress)

    def to_json(self) -> dict[str, Any]:
        """The listing."""
        raw = self.transcript.to_bytes()
        head, _ = read_safetensors(raw, "transcript")
        measured = (*self.transcript.domains, *self.transcript.measurements)
        columns = Codec(self.recipe.schema, self.transcript.learned).columns
        return {
            "privsynth-transcript": FORMAT,
            "model": self.model,
            "gated": self.gated,
            "recipe": self.recipe.describe(),
            "receipt": self.receipt.to_json(),
            "noise": self.transcript.noise,
            "mu squared": float(self.transcript.mu_squared),
            "columns": [{"name": c.name, "cells": list(c.labels())} for c in columns],
            "learned": self.transcript.learned.to_json(),
            "measurements": [
                _listed(m, i, named, columns) | self._public(i)
                for i, (m, named) in enumerate(zip(measured, head["measurements"], strict=True))
            ],
            "tensors": tensors_entry(raw),
        }

    def as_part(self) -> dict[str, Any]:
        """What the listing of a fit says of which these tables are a part, deposited as the tensor ``table``."""
        told = self.to_json()
        return {"tensor": "table", **{key: told[key] for key in ("columns", "learned", "measurements", "mu squared")}}

    def _public(self, i: int) -> dict[str, str]:
        """The tensor of a table's public counts, if it has any."""
        at = i - len(self.transcript.domains)
        known = at >= 0 and bool(self.transcript.public) and self.transcript.public[at] is not None
        return {"public": f"public.{at:05d}"} if known else {}

    @property
    def tables(self) -> int:
        """How many noisy tables there are."""
        return len(self.transcript.domains) + len(self.transcript.measurements)


def publish(model: MarginalModel) -> PublishedTranscript:
    """The transcript of a fitted model, with what a refit needs."""
    return PublishedTranscript(Marginals.from_description(model.recipe), model.receipt, model.transcript, model.id)


def load_transcript(folder: str | Path) -> PublishedTranscript:
    """The transcript in a folder: what :meth:`PublishedTranscript.write` wrote, or ``transcript`` of a release.

    Of a release call ``verify`` first: it tells whose it is. Here only what the two files say of each other is
    checked (belonging.py), and that they can be fitted: without a signature they prove nothing, not even that
    anything was paid. Compare ``refit().id`` with the model that a signed statement names, never with
    :attr:`PublishedTranscript.model` alone.

    Raises:
        ModelError: missing, altered, too large or of another version.
    """
    return read_transcript(folder, of_listing)


def read_transcript(folder: str | Path, make: Callable[[Mapping[str, Any], bytes], Found]) -> Found:
    """The transcript in a folder, as ``make`` reads the listing and the bytes of its tables.

    Raises:
        ModelError: missing, altered, too large or of another version.
    """
    place = Path(folder)
    raw = read_bytes(place / LISTING, error=ModelError, kind="transcript", limit=MOST_LISTING)
    tables = read_bytes(place / TABLES, error=ModelError, kind="transcript", limit=MOST_TABLES)
    try:
        told = json.loads(raw)
        if not isinstance(told, dict) or told.get("privsynth-transcript") != FORMAT:
            raise ModelError("not a transcript of this version", where=str(place), mend="use the version that wrote it")
        if told["tensors"] != tensors_entry(tables):
            raise ValueError
        found = make(told, tables)
        if found.transcript.to_bytes() != tables or canonical(found.to_json()) != raw:
            raise ValueError
    except (*_MALFORMED, PrivsynthError) as wrong:
        if isinstance(wrong, ModelError) and wrong.where:
            raise
        raise ModelError(
            "the transcript was altered, or its two files do not belong together", where=str(place), mend=_AGAIN
        ) from None
    return found


def of_listing(told: Mapping[str, Any], tables: bytes) -> PublishedTranscript:
    """The transcript of a table.

    Raises:
        PrivsynthError, ValueError, KeyError, TypeError, ...: it is none.
    """
    found = PublishedTranscript(
        Marginals.from_description(told["recipe"]),
        Receipt.from_json(told["receipt"]),
        MarginalTranscript.from_bytes(tables),
        str(told["model"]),
        gated=told["gated"] is True,
    )
    check_belonging(found)
    return found


def _listed(m: Measurement, i: int, named: Mapping[str, Any], columns: Sequence[CodedColumn]) -> dict[str, Any]:
    """One table in names; ``maps`` name the tensors that map cells to groups, null where every cell stands alone."""
    return {
        "stage": m.stage,
        "columns": [columns[c].name for c in m.clique],
        "groups": list(m.counts.shape),
        "maps": named["groups"],
        "sigma": m.sigma,
        "contribution": m.contribution,
        "mu squared": float(m.mu_squared),
        "tensor": f"counts.{i:05d}",
    }
