"""Open categories: which of the values that occur are released.

A *vote* table counts subjects by category, of which a subject holds at most k: L2 at most √k, an event k/σ².
Only categories that occur are counted; a category is released if its noisy count reaches a threshold that one
that a single subject holds passes with probability at most δ (docs/proofs/open-categories.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from privsynth.data.subjects import grouped

if TYPE_CHECKING:
    import pandas as pd

Ints = npt.NDArray[np.int64]

MOST_CATEGORIES = 1000
MOST_VOTED = 2**32
"""More categories than a table that fits in memory can hold: for the bound on the sampler's error."""


def count_votes(texts: pd.Series[Any], subjects: npt.NDArray[np.object_], *, rest: str) -> tuple[list[str], Ints]:
    """The categories that occur, sorted, and how many subjects hold each: sensitive, for the noise alone.

    Neighbours: add or remove one subject. Sensitivity: she holds at most k categories, each counted once, so the
    counts of the categories that others hold move by √k in L2 at most. ``rest`` is no category.
    """
    kept = (~texts.isna() & (texts != rest)).to_numpy()
    held = texts[kept].cat.remove_unused_categories()
    names = sorted(str(name) for name in held.cat.categories)
    codes = held.cat.set_categories(names).cat.codes.to_numpy().astype(np.int64)
    whose, _ = grouped(subjects[kept])
    pairs = np.unique(whose * max(len(names), 1) + codes)
    return names, np.bincount(pairs % max(len(names), 1), minlength=len(names)).astype(np.int64)


def released(names: Sequence[str], noisy: Ints, threshold: int) -> tuple[tuple[str, ...], Ints]:
    """The categories whose noisy count reaches the threshold, sorted by text, at most ``MOST_CATEGORIES`` of
    the greatest; and those counts. Of the others nothing is kept, not even how many there were."""
    passed = np.flatnonzero(noisy >= threshold)
    passed = passed[np.argsort(-noisy[passed], kind="stable")][:MOST_CATEGORIES]
    order = sorted(passed.tolist(), key=lambda i: names[i])
    return tuple(names[i] for i in order), noisy[order].astype(np.int64)
