"""Private rows as the training loop takes them: by subject, her rows in turn over the copies, as cells."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from privsynth.data.codec import Codes
from privsynth.data.subjects import grouped

Ints = npt.NDArray[np.int64]


class CodedRows:
    """The training rows, by subject. Sensitive: nothing of it prints.

    Args:
        cells: (n, columns).
        whose: (n,) each row's subject, as anything that can be compared.
    """

    def __init__(self, cells: Codes, whose: npt.NDArray[np.object_]) -> None:
        codes, people = grouped(whose)
        order = np.argsort(codes, kind="stable")
        self._cells = np.ascontiguousarray(cells[order], dtype=np.int32)
        counts = np.bincount(codes, minlength=people)
        self._starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    @property
    def subjects(self) -> int:
        """How many there are."""
        return len(self._starts) - 1

    def examples(self, chosen: Ints, *, copies: int, rng: np.random.Generator) -> Mapping[str, Tensor]:
        """See :class:`privsynth.privacy.dpsgd.plan.Source`: which of a subject's rows comes first is drawn."""
        counts = np.diff(self._starts)[chosen]
        first = rng.integers(0, 2**31, size=len(chosen))
        turns = (first[:, None] + np.arange(copies)) % np.maximum(counts, 1)[:, None]
        rows = (self._starts[chosen][:, None] + turns).ravel()
        return {"cells": torch.from_numpy(self._cells[rows].astype(np.int64))}
