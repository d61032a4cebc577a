"""The transcript of a fit by diffusion: paid statistics, the weights that noisy steps told, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from privsynth.documents import canonical, sha256
from privsynth.errors import ModelError, PrivsynthError
from privsynth.generators.images.space import Arrays
from privsynth.generators.images.transcript import PicturedTranscript
from privsynth.generators.marginals.transcript import read_safetensors
from privsynth.privacy.dpsgd import Plan

FORMAT = 1


@dataclass(frozen=True, eq=False)
class TrainedTranscript:
    """All that one fit was told.

    Attributes:
        first: the tables and sums that were bought before the training.
        plan: of the noisy steps.
        steps_run: how many of them are in the weights; fewer than planned after a crash.
        weights: the average of the network's weights over the steps, by name, float32.
        space: what the network's numbers stand for: post-processing of ``first``.
        prior: what the denoiser begins with: post-processing of ``first`` too.
        few: (steps, 3) weights of the fast way to draw: post-processing of ``weights``.
        recipe: identity of the recipe that asked.
        noise: ``os-secure`` or ``seeded``.
    """

    first: PicturedTranscript
    plan: Plan
    steps_run: int
    weights: Mapping[str, Tensor]
    space: Arrays
    prior: Arrays
    few: Tensor
    recipe: str
    noise: str

    @cached_property
    def sha256(self) -> str:
        """Of the durable form."""
        return sha256(self.to_bytes())

    def to_bytes(self) -> bytes:
        """safetensors with the description in its header; the same transcript gives the same bytes."""
        from safetensors.numpy import save

        tensors: dict[str, npt.NDArray[Any]] = {"first": np.frombuffer(self.first.to_bytes(), dtype=np.uint8)}
        for name, weight in self.weights.items():
            tensors[f"weights.{name}"] = np.ascontiguousarray(weight.numpy())
        for kind, arrays in (("space", self.space), ("prior", self.prior)):
            for name, array in arrays.items():
                tensors[f"{kind}.{name}"] = np.ascontiguousarray(array)
        tensors["few"] = np.ascontiguousarray(self.few.numpy())
        head = {
            "format": FORMAT,
            "recipe": self.recipe,
            "noise": self.noise,
            "plan": self.plan.to_json(),
            "steps run": self.steps_run,
        }
        return save(tensors, metadata={"diffusion": canonical(head).decode()})

    @classmethod
    def from_bytes(cls, raw: bytes) -> TrainedTranscript:
        """The transcript that :meth:`to_bytes` wrote.

        Raises:
            ModelError: anything else.
        """
        head, tensors = read_safetensors(raw, "diffusion")
        try:
            arrays = {n: t for n, t in tensors.items() if n != "first"}
            if head["format"] != FORMAT or any(
                a.dtype != np.float32 or not np.isfinite(a).all() for a in arrays.values()
            ):
                raise ValueError
            steps_run, plan = head["steps run"], Plan.from_json(head["plan"])
            if isinstance(steps_run, bool) or not isinstance(steps_run, int) or not 0 <= steps_run <= plan.steps:
                raise ValueError
            return cls(
                PicturedTranscript.from_bytes(tensors["first"].tobytes()),
                plan,
                steps_run,
                MappingProxyType({n: torch.from_numpy(a.copy()) for n, a in _under("weights.", arrays).items()}),
                MappingProxyType(_under("space.", arrays)),
                MappingProxyType(_under("prior.", arrays)),
                torch.from_numpy(arrays["few"].copy()),
                str(head["recipe"]),
                str(head["noise"]),
            )
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError, PrivsynthError):
            raise ModelError(
                "not a transcript of this version", mend="restore it from the ledger or a backup"
            ) from None


def _under(prefix: str, arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
