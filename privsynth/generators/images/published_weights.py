"""The transcript of a fit by diffusion as files of its own: the statistics that were bought first, and the weights.

Two files under the names of any transcript. ``transcript.safetensors`` is what was deposited; ``transcript.json`` says
in names what it holds: the first part as of rows with pictures (published.py), then the noisy steps: their plan, how
many ran, what they cost, and each weight's name and shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from privsynth.generators.images.diffusion import ImageDiffusion
from privsynth.generators.images.published import PublishedPictures
from privsynth.generators.images.trained import TrainedTranscript
from privsynth.generators.marginals.belonging import check_belonging
from privsynth.generators.marginals.published import FORMAT, TranscriptFiles, tensors_entry
from privsynth.privacy.events import Receipt
from privsynth.privacy.gdp import steps_delta
from privsynth.privacy.sampled import dominating_mu
from privsynth.progress import SILENT, Progress

if TYPE_CHECKING:
    from privsynth.generators.images.diffused import DiffusedModel

_ROUNDING = 1 + 1e-3
"""Prices of the same steps may differ by so much from machine to machine."""


@dataclass(frozen=True, eq=False, repr=False)
class PublishedDiffusion(TranscriptFiles):
    """A transcript with what a refit needs. Make one with ``model.published()`` or ``load_transcript``.

    Attributes:
        recipe: that asked for it.
        receipt: what was paid for it.
        transcript: the statistics and the weights.
        model: id of its owner's model.
        gated: whether its listing says that it left in a release, after the gate; who signed that, ``verify`` tells.
    """

    recipe: ImageDiffusion
    receipt: Receipt
    transcript: TrainedTranscript
    model: str
    gated: bool = False

    def __repr__(self) -> str:
        return f"PublishedDiffusion({self.receipt.source!r}, epsilon={self.receipt.epsilon:g})"

    @property
    def first(self) -> PublishedPictures:
        """The part that was bought before the training."""
        receipt = replace(self.receipt, recipe=self.recipe.first.identity)
        return PublishedPictures(self.recipe.first, receipt, self.transcript.first, self.model)

    @property
    def tables(self) -> int:
        """How many noisy tables, sums and weights there are."""
        return self.first.tables + len(self.transcript.weights)

    def refit(self, *, progress: Progress = SILENT) -> DiffusedModel:
        """The model: free, from this transcript alone. On the same kind of machine it is the owner's to the bit, and
        its ``id`` is :attr:`model`."""
        return self.recipe.refit(self.transcript, self.receipt, progress=progress)

    def to_json(self) -> dict[str, Any]:
        """The listing."""
        first, transcript = self.first.to_json(), self.transcript
        weights = [
            {"name": name, "shape": list(w.shape), "tensor": f"weights.{name}"}
            for name, w in sorted(transcript.weights.items())
        ]
        return {
            "privsynth-transcript": FORMAT,
            "model": self.model,
            "gated": self.gated,
            "recipe": self.recipe.describe(),
            "receipt": self.receipt.to_json(),
            "noise": transcript.noise,
            "first": {"tensor": "first", **{key: first[key] for key in ("table", "pictures")}},
            "training": {
                "plan": transcript.plan.to_json(),
                "steps run": transcript.steps_run,
                "mu squared": float(self.recipe.left(self.receipt.mu_fit)),
                "except with probability": steps_delta(self.receipt.delta),
                "weights": weights,
            },
            "tensors": tensors_entry(transcript.to_bytes()),
        }


def publish_diffusion(model: DiffusedModel) -> PublishedDiffusion:
    """The transcript of a fitted model, with what a refit needs."""
    return PublishedDiffusion(ImageDiffusion.from_description(model.recipe), model.receipt, model.transcript, model.id)


def diffusion_of_listing(told: Mapping[str, Any], tables: bytes) -> PublishedDiffusion:
    """The transcript of a fit by diffusion, if recipe, receipt, statistics and plan belong together and can be loaded.

    Raises:
        PrivsynthError, ValueError, KeyError, TypeError, ...: they do not.
    """
    found = PublishedDiffusion(
        ImageDiffusion.from_description(told["recipe"]),
        Receipt.from_json(told["receipt"]),
        TrainedTranscript.from_bytes(tables),
        str(told["model"]),
        gated=told["gated"] is True,
    )
    recipe, receipt, transcript, first = found.recipe, found.receipt, found.transcript, found.first
    spent = transcript.first.table.mu_squared + sum(map(first.mu_squared, transcript.first.told), Fraction(0))
    left = recipe.left(receipt.mu_fit)
    same = (
        recipe.identity == receipt.recipe == transcript.recipe
        and recipe.first.identity == transcript.first.recipe
        and receipt.schema == recipe.schema.sha256
        and receipt.noise == transcript.noise == transcript.first.noise
        and receipt.contribution == recipe.contribution
        and float(spent + left) <= receipt.mu_fit**2 * (1 + 1e-9)
        and transcript.plan == recipe.planned(transcript.plan.subjects, noise=transcript.plan.noise)
        and dominating_mu(transcript.plan.event, delta=steps_delta(receipt.delta)) <= float(left) ** 0.5 * _ROUNDING
    )
    if not same:
        raise ValueError
    check_belonging(first.of_columns)
    found.refit()
    return found
