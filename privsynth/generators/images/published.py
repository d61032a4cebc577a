"""The transcript of rows with pictures as files of its own: the tables of the columns and the pictures' noisy sums.

Two files under the names of any transcript. ``transcript.safetensors`` is what was deposited; ``transcript.json`` says
in names what it holds: recipe and receipt, whole; the columns' tables as of a table alone; and for each noisy sum of
pictures its ``name``, ``shape``, ``sigma``, ``unit`` (what 1 stands for), price and tensor, in the order of asking.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from privsynth.errors import ModelError
from privsynth.generators.images.statistics import TABLE, ImageStatistics
from privsynth.generators.images.sums import GRID, Noisy
from privsynth.generators.images.transcript import PicturedTranscript
from privsynth.generators.marginals.belonging import check_belonging
from privsynth.generators.marginals.published import FORMAT, PublishedTranscript, TranscriptFiles, tensors_entry
from privsynth.privacy.events import Receipt
from privsynth.privacy.gdp import root_down
from privsynth.progress import SILENT, Progress

if TYPE_CHECKING:
    from privsynth.generators.images.model import PicturedModel


@dataclass(frozen=True, eq=False, repr=False)
class PublishedPictures(TranscriptFiles):
    """A transcript with what a refit needs. Make one with ``model.published()`` or ``load_transcript``.

    Attributes:
        recipe: that asked for the sums.
        receipt: what was paid for them.
        transcript: the tables and sums.
        model: id of the model that its owner fitted to them.
        gated: whether its listing says that it left in a release, after the gate; who signed that, ``verify`` tells.
    """

    recipe: ImageStatistics
    receipt: Receipt
    transcript: PicturedTranscript
    model: str
    gated: bool = False

    def __repr__(self) -> str:
        return f"PublishedPictures({self.receipt.source!r}, {self.tables} tables, epsilon={self.receipt.epsilon:g})"

    @property
    def tables(self) -> int:
        """How many noisy tables and sums there are."""
        return self.of_columns.tables + len(self.transcript.told)

    @property
    def of_columns(self) -> PublishedTranscript:
        """The part that was measured of the columns, at its part of the price."""
        recipe = self.recipe.table
        receipt = replace(
            self.receipt,
            recipe=recipe.identity,
            schema=recipe.schema.sha256,
            mu_fit=root_down(Fraction(self.receipt.mu_fit) ** 2 * TABLE),
        )
        return PublishedTranscript(recipe, receipt, self.transcript.table, self.model)

    def refit(self, *, progress: Progress = SILENT) -> PicturedModel:
        """The model: free, from these sums alone. On the same kind of machine it is the owner's to the bit, and its
        ``id`` is :attr:`model`."""
        return self.recipe.refit(self.transcript, self.receipt, progress=progress)

    def mu_squared(self, name: str) -> Fraction:
        """Exact GDP cost of one noisy sum of pictures.

        Raises:
            ModelError: a name that no fit asks for.
        """
        noisy, k = self.transcript.told[name], Fraction(self.recipe.contribution)
        match name.rsplit(" ", maxsplit=1)[-1]:
            case "whole" | "centred" | "rest" | "inner":
                return _cost(k, noisy)
            case "mean":
                return _cost(k * GRID, noisy)
            case "effects":
                return _cost(k * GRID, noisy) * len(self.recipe.by)
            case "pooled" | "classes":
                return _cost(k * GRID**2, noisy)
        raise ModelError(f"no fit asks for {name!r}", mend="use the version that wrote it")

    def to_json(self) -> dict[str, Any]:
        """The listing."""
        sums = [
            {
                "name": name,
                "shape": list(noisy.counts.shape),
                "sigma": noisy.sigma,
                "sigma off the diagonal": noisy.sigma_off,
                "unit": noisy.unit,
                "mu squared": float(self.mu_squared(name)),
                "tensor": f"sums.{i:05d}",
            }
            for i, (name, noisy) in enumerate(self.transcript.told.items())
        ]
        return {
            "privsynth-transcript": FORMAT,
            "model": self.model,
            "gated": self.gated,
            "recipe": self.recipe.describe(),
            "receipt": self.receipt.to_json(),
            "noise": self.transcript.noise,
            "table": self.of_columns.as_part(),
            "pictures": {"column": self.recipe.column, "sums": sums},
            "tensors": tensors_entry(self.transcript.to_bytes()),
        }


def _cost(sensitivity: Fraction, noisy: Noisy) -> Fraction:
    """(sensitivity/σ)²; of a second moment the dearer of its diagonal and the rest, which stands twice."""
    cost = sensitivity**2 / Fraction(noisy.sigma) ** 2
    return cost if noisy.sigma_off is None else max(cost, sensitivity**2 / (2 * Fraction(noisy.sigma_off) ** 2))


def publish(model: PicturedModel) -> PublishedPictures:
    """The transcript of a fitted model, with what a refit needs."""
    recipe = ImageStatistics.from_description(model.recipe)
    return PublishedPictures(recipe, model.receipt, model.transcript, model.id)


def of_listing(told: Mapping[str, Any], tables: bytes) -> PublishedPictures:
    """The transcript of rows with pictures, if recipe, receipt, tables and sums belong together and can be fitted.

    Raises:
        PrivsynthError, ValueError, KeyError, TypeError, ...: they do not.
    """
    found = PublishedPictures(
        ImageStatistics.from_description(told["recipe"]),
        Receipt.from_json(told["receipt"]),
        PicturedTranscript.from_bytes(tables),
        str(told["model"]),
        gated=told["gated"] is True,
    )
    recipe, receipt, transcript = found.recipe, found.receipt, found.transcript
    spent = transcript.table.mu_squared + sum(map(found.mu_squared, transcript.told), Fraction(0))
    same = (
        recipe.identity == receipt.recipe == transcript.recipe
        and receipt.schema == recipe.schema.sha256
        and receipt.noise == transcript.noise
        and receipt.contribution == recipe.contribution
        and float(spent) <= receipt.mu_fit**2 * (1 + 1e-9)
    )
    if not same:
        raise ValueError
    check_belonging(found.of_columns)
    found.refit()
    return found
