"""The transcript of an autoregressive fit: paid tables, the weights that noisy steps told, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from privsynth.documents import canonical, sha256
from privsynth.errors import ModelError, PrivsynthError
from privsynth.generators.marginals.transcript import MarginalTranscript, read_safetensors

if TYPE_CHECKING:
    from privsynth.privacy.dpsgd import Plan

FORMAT = 1
Weight = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class AutoregressiveTranscript:
    """All that one fit was told.

    Attributes:
        table: the noisy tables that were bought before the training.
        plan: of the noisy steps.
        steps_run: how many of them are in the weights; fewer than planned after a crash.
        weights: the average of the network's weights over the steps, by name, float32.
        recipe: identity of the recipe that asked.
        noise: ``os-secure`` or ``seeded``.
    """

    table: MarginalTranscript
    plan: Plan
    steps_run: int
    weights: Mapping[str, Weight]
    recipe: str
    noise: str

    @cached_property
    def sha256(self) -> str:
        """Of the durable form."""
        return sha256(self.to_bytes())

    def to_bytes(self) -> bytes:
        """safetensors with the description in its header; the same transcript gives the same bytes."""
        from safetensors.numpy import save

        tensors: dict[str, npt.NDArray[Any]] = {"table": np.frombuffer(self.table.to_bytes(), dtype=np.uint8)}
        for name, weight in self.weights.items():
            tensors[f"weights.{name}"] = np.ascontiguousarray(weight)
        head = {
            "format": FORMAT,
            "recipe": self.recipe,
            "noise": self.noise,
            "plan": self.plan.to_json(),
            "steps run": self.steps_run,
        }
        return save(tensors, metadata={"autoregressive": canonical(head).decode()})

    @classmethod
    def from_bytes(cls, raw: bytes) -> AutoregressiveTranscript:
        """The transcript that :meth:`to_bytes` wrote.

        Raises:
            ModelError: anything else.
        """
        from privsynth.privacy.dpsgd import Plan

        head, tensors = read_safetensors(raw, "autoregressive")
        try:
            weights = {n.removeprefix("weights."): t for n, t in tensors.items() if n.startswith("weights.")}
            if head["format"] != FORMAT or len(weights) + 1 != len(tensors):
                raise ValueError
            if any(w.dtype != np.float32 or not np.isfinite(w).all() for w in weights.values()):
                raise ValueError
            steps_run, plan = head["steps run"], Plan.from_json(head["plan"])
            if isinstance(steps_run, bool) or not isinstance(steps_run, int) or not 0 <= steps_run <= plan.steps:
                raise ValueError
            table = MarginalTranscript.from_bytes(tensors["table"].tobytes())
            return cls(table, plan, steps_run, MappingProxyType(weights), str(head["recipe"]), str(head["noise"]))
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError, PrivsynthError):
            raise ModelError(
                "not a transcript of this version", mend="restore it from the ledger or a backup"
            ) from None
