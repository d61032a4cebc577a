"""The transcript of a fit of rows with pictures: its noisy tables, its noisy sums, and nothing else of the rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from privsynth.documents import canonical, sha256
from privsynth.errors import BudgetError, ModelError
from privsynth.generators.images.sums import Noisy
from privsynth.generators.marginals.transcript import MarginalTranscript, read_safetensors
from privsynth.privacy.noise import WIDEST
from privsynth.privacy.table import check_sigma

FORMAT = 1
MOST_COUNT = 2**62


@dataclass(frozen=True, eq=False)
class PicturedTranscript:
    """All measurements of one fit.

    Attributes:
        table: those of the columns.
        told: the noisy sums of the pictures, by name, in the order in which they were asked for.
        recipe: identity of the recipe that asked.
        noise: ``os-secure`` or ``seeded``.
    """

    table: MarginalTranscript
    told: Mapping[str, Noisy]
    recipe: str
    noise: str

    @property
    def sha256(self) -> str:
        """Of the durable form."""
        return sha256(self.to_bytes())

    def to_bytes(self) -> bytes:
        """safetensors with the description in its header; the same transcript gives the same bytes."""
        from safetensors.numpy import save

        tensors: dict[str, npt.NDArray[Any]] = {"table": np.frombuffer(self.table.to_bytes(), dtype=np.uint8)}
        listed = []
        for i, (name, noisy) in enumerate(self.told.items()):
            tensors[f"sums.{i:05d}"] = np.ascontiguousarray(noisy.counts)
            listed.append({"name": name, "sigma": noisy.sigma, "unit": noisy.unit, "off": noisy.sigma_off})
        head = {"format": FORMAT, "recipe": self.recipe, "noise": self.noise, "sums": listed}
        return save(tensors, metadata={"pictures": canonical(head).decode()})

    @classmethod
    def from_bytes(cls, raw: bytes) -> PicturedTranscript:
        """The transcript that :meth:`to_bytes` wrote.

        Raises:
            ModelError: anything else.
        """
        head, tensors = read_safetensors(raw, "pictures")
        try:
            if head["format"] != FORMAT:
                raise ValueError
            told = {str(e["name"]): _noisy(e, tensors[f"sums.{i:05d}"]) for i, e in enumerate(head["sums"])}
            if len(told) != len(head["sums"]):
                raise ValueError
            table = MarginalTranscript.from_bytes(tensors["table"].tobytes())
            return cls(table, MappingProxyType(told), str(head["recipe"]), str(head["noise"]))
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError, BudgetError):
            raise ModelError(
                "not a transcript of this version", mend="restore it from the ledger or a backup"
            ) from None


def _noisy(entry: Mapping[str, Any], counts: npt.NDArray[Any]) -> Noisy:
    """One noisy sum as it can be.

    Raises:
        KeyError, TypeError, ValueError, OverflowError, BudgetError: it is not.
    """
    if counts.dtype != np.int64 or ((counts < -MOST_COUNT) | (counts > MOST_COUNT)).any():
        raise ValueError
    sigma, unit = float(entry["sigma"]), float(entry["unit"])
    off = None if entry["off"] is None else float(entry["off"])
    for used in (sigma, off):
        if used is not None:
            check_sigma(used, most=WIDEST)
    if not (math.isfinite(unit) and unit > 0):
        raise ValueError
    return Noisy(counts, sigma, unit, off)
