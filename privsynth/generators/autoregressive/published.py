"""The transcript of an autoregressive fit as files of its own: the paid tables and the trained weights.

Two files under the names of any transcript. ``transcript.safetensors`` is what was deposited; ``transcript.json`` says
in names what it holds: recipe and receipt, whole; the tables as of a table alone; the plan of the noisy steps, their
price, and each array of weights by its name and shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from privsynth.generators.autoregressive.recipe import Autoregressive
from privsynth.generators.autoregressive.transcript import AutoregressiveTranscript
from privsynth.generators.marginals.belonging import check_belonging
from privsynth.generators.marginals.published import FORMAT, PublishedTranscript, TranscriptFiles, tensors_entry
from privsynth.privacy.events import Receipt
from privsynth.privacy.gdp import root_down, steps_delta
from privsynth.progress import SILENT, Progress

if TYPE_CHECKING:
    from privsynth.generators.autoregressive.model import AutoregressiveModel


@dataclass(frozen=True, eq=False, repr=False)
class PublishedNetwork(TranscriptFiles):
    """A transcript with what a refit needs. Make one with ``model.published()`` or ``load_transcript``.

    Attributes:
        recipe: that asked for tables and steps.
        receipt: what was paid for them.
        transcript: the tables and weights.
        model: id of the model that its owner fitted to them.
        gated: whether its listing says that it left in a release, after the gate; who signed that, ``verify`` tells.
    """

    recipe: Autoregressive
    receipt: Receipt
    transcript: AutoregressiveTranscript
    model: str
    gated: bool = False

    def __repr__(self) -> str:
        return f"PublishedNetwork({self.receipt.source!r}, {self.tables} tables, epsilon={self.receipt.epsilon:g})"

    @property
    def tables(self) -> int:
        """How many noisy tables there are, the trained weights counting as one."""
        return self.of_tables.tables + 1

    @property
    def of_tables(self) -> PublishedTranscript:
        """The tables, at their part of the price."""
        recipe = self.recipe.table
        receipt = replace(
            self.receipt,
            recipe=recipe.identity,
            mu_fit=root_down(Fraction(self.receipt.mu_fit) ** 2 * self.recipe.share),
        )
        return PublishedTranscript(recipe, receipt, self.transcript.table, self.model)

    def refit(self, *, progress: Progress = SILENT) -> AutoregressiveModel:
        """The model: free. On the same kind of machine it is the owner's to the bit, and its ``id`` is
        :attr:`model`."""
        return self.recipe.refit(self.transcript, self.receipt, progress=progress)

    def to_json(self) -> dict[str, Any]:
        """The listing."""
        told = self.transcript
        return {
            "privsynth-transcript": FORMAT,
            "model": self.model,
            "gated": self.gated,
            "recipe": self.recipe.describe(),
            "receipt": self.receipt.to_json(),
            "noise": told.noise,
            "table": self.of_tables.as_part(),
            "training": {
                "plan": told.plan.to_json(),
                "steps run": told.steps_run,
                "mu squared": float(Fraction(self.receipt.mu_fit) ** 2 * (1 - self.recipe.share)),
                "delta": steps_delta(self.receipt.delta),
                "weights": [
                    {"name": name, "shape": list(w.shape), "tensor": f"weights.{name}"}
                    for name, w in sorted(told.weights.items())
                ],
            },
            "tensors": tensors_entry(told.to_bytes()),
        }


def publish(model: AutoregressiveModel) -> PublishedNetwork:
    """The transcript of a fitted model, with what a refit needs."""
    recipe = Autoregressive.from_description(model.recipe)
    return PublishedNetwork(recipe, model.receipt, model.transcript, model.id)


def of_listing(told: Mapping[str, Any], tensors: bytes) -> PublishedNetwork:
    """The transcript of an autoregressive fit, if recipe, receipt, tables, plan and weights belong together.

    Raises:
        PrivsynthError, ValueError, KeyError, TypeError, ...: they do not.
    """
    found = PublishedNetwork(
        Autoregressive.from_description(told["recipe"]),
        Receipt.from_json(told["receipt"]),
        AutoregressiveTranscript.from_bytes(tensors),
        str(told["model"]),
        gated=told["gated"] is True,
    )
    recipe, receipt, transcript = found.recipe, found.receipt, found.transcript
    same = (
        recipe.identity == receipt.recipe == transcript.recipe
        and receipt.schema == recipe.schema.sha256
        and receipt.noise == transcript.noise == transcript.table.noise
        and receipt.contribution == recipe.contribution
    )
    plan = recipe.steps_for(receipt.mu_fit, steps_delta(receipt.delta), transcript.plan.subjects)
    if not same or transcript.plan != plan:
        raise ValueError
    check_belonging(found.of_tables)
    found.refit()
    return found
