"""A made-up population in codes: associated columns, ordered, unordered and with nulls; no real person."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from privsynth.validate.coded import Column

Codes = npt.NDArray[np.int32]

COLUMNS = (
    Column("age", 60, ordered=True),
    Column("region", 12),
    Column("visits", 21, ordered=True, nullable=True),
    Column("ward", 9, nullable=True),
    Column("score", 80, ordered=True),
    Column("group", 7),
    Column("dose", 30, ordered=True),
    Column("outcome", 2),
)
OUTCOME = 7


def draw(n: int, rng: np.random.Generator) -> Codes:
    """(n, 8) codes of fresh people of the population: six kinds of people, columns tied to the kind."""
    kind = rng.integers(6, size=n)
    tilt = rng.normal(size=n)

    def number(cells: int, slope: float) -> npt.NDArray[np.float64]:
        centre = cells * (kind + 1) / 8 + slope * cells / 10 * tilt + cells / 12 * rng.normal(size=n)
        return np.clip(np.floor(centre), 0, cells - 1)

    def label(cells: int) -> npt.NDArray[np.int64]:
        return np.where(rng.random(n) < 0.6, (kind * 2) % cells, rng.integers(cells, size=n))

    visits = np.where(rng.random(n) < 0.1, 20, number(20, 1.0))
    ward = np.where(rng.random(n) < 0.1, 8, label(8))
    outcome = rng.random(n) < 1 / (1 + np.exp(-(kind - 2.5 + tilt)))
    columns = [number(60, 1.0), label(12), visits, ward, number(80, -1.0), label(7), number(30, 0.5), outcome]
    return np.column_stack(columns).astype(np.int32)


def copies(train: Codes, fresh: Codes, share: float) -> Codes:
    """As many rows as ``fresh``: the first ``share`` of them verbatim training rows."""
    k = round(share * len(fresh))
    return np.concatenate([train[:k], fresh[k:]])
