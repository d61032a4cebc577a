"""Rows whose domains are left open, for tests of what learns them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pandas as pd

from privsynth.data.codec import Ranged
from privsynth.data.columns import Column, Date, Datetime, Integer, Real
from privsynth.data.ranged import ranged_column
from privsynth.data.schema import Schema
from privsynth.data.tables import read_table
from privsynth.generators.marginals.grid import Level
from privsynth.generators.marginals.purse import Purse
from privsynth.generators.marginals.tree import learn_edges
from privsynth.privacy.noise import SeededNoise
from tests.data import made

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

RANGES: dict[str, Column] = {
    "hours": Real(min=0, max=100, nullable=True),
    "cost": Real(min=0, max=5000, decimals=2),
    "gain": Integer(min=0, max=99_999),
    "weight": Integer(min=-500_000, max=1_500_000, nullable=True),
    "seen": Date(min=dt.date(1900, 1, 1), max=dt.date(2030, 12, 31)),
    "at": Datetime(min=dt.datetime(2015, 1, 1), max=dt.datetime(2024, 12, 31, 23, 59, 59)),
}


NARROW: dict[str, tuple[float, float]] = {
    "two floats": (1.0, 1.0000000000000002),
    "three floats": (1.0, 1.0000000000000004),
    "a few hundred floats": (1.0, 1.0000000000001),
    "one at 1e9": (1e9, 1e9 + 1),
    "a tenth at 1e9": (1e9, 1e9 + 0.1),
    "a hundred at 1e12": (1e12, 1e12 + 100),
    "below -1e12": (-1e12 - 100, -1e12),
    "1.7e18": (1.7e18, 1.70000000000001e18),
    "subnormal": (0.0, 5e-322),
    "about 0": (-5e-324, 5e-324),
    "smallest normal": (2.2250738585072014e-308, 2.225073858507204e-308),
    "greatest": (1.797693134862315e308, 1.7976931348623157e308),
    "from 0 to the greatest": (0.0, 1.7976931348623157e308),
}
"""Of reals: ranges in which floats are scarce."""


class Open(Purse):
    """A purse without a bottom: seeded noise, every cost, sigma, exact and noisy table noted."""

    def __init__(self) -> None:
        super().__init__(SeededNoise(3), cap=Fraction(10**9))
        self.costs: list[Fraction] = []
        self.sigmas: list[float] = []
        self.exact: list[Ints] = []
        self.noisy: list[Ints] = []

    def take(self, exact: Callable[[], Ints], *, sigma: float, cost: Fraction) -> Ints:
        self.costs.append(cost)
        self.sigmas.append(sigma)
        self.exact.append(exact())
        self.noisy.append(super().take(lambda: self.exact[-1], sigma=sigma, cost=cost))
        return self.noisy[-1]


class Told(Open):
    """A purse that answers with the noisy tables that it was given, whatever the rows are."""

    def __init__(self, tables: Iterable[Ints]) -> None:
        super().__init__()
        self._tables = iter(tables)

    def take(self, exact: Callable[[], Ints], *, sigma: float, cost: Fraction) -> Ints:
        super().take(exact, sigma=sigma, cost=cost)
        answer = next(self._tables)
        assert answer.shape == self.exact[-1].shape
        return answer.copy()


def coded(name: str) -> Ranged:
    column = RANGES[name]
    assert isinstance(column, Integer | Real | Date | Datetime)
    return ranged_column(name, column)


def grown(column: Ranged, position: Floats, sigma: float, seed: int = 0) -> tuple[tuple[float, ...], list[Ints]]:
    """The edges that these rows give at this noise, and the noisy levels."""
    noise, levels = SeededNoise(seed), []

    def measure(level: Level) -> tuple[Ints, float]:
        levels.append(noise.add(level.count(np.nan_to_num(position), np.isnan(position)), sigma=sigma))
        return levels[-1], sigma**2 + 1 / 12

    return learn_edges(column, measure), levels


def hours(n: int = 30_000) -> Floats:
    """As people say how long they work: round numbers, half of them 40, and some null."""
    rng = np.random.default_rng(1)
    out = np.where(rng.random(n) < 0.5, 40.0, rng.choice([20.0, 30.0, 35.0, 37.5, 45.0, 50.0, 60.0], n))
    out = np.where(rng.random(n) < 0.2, rng.normal(40, 12, n).clip(0, 100), out)
    return np.where(rng.random(n) < 0.05, np.nan, out)


def open_world(n: int = 4000) -> tuple[Schema, pd.DataFrame, npt.NDArray[np.object_]]:
    """Two wards that many visit, one that a single person knows, and rows of three a person."""
    schema = made.schema(
        {
            "person": {"kind": "identifier"},
            "ward": {"kind": "categorical", "open": True, "nullable": True},
            "hours": {"kind": "real", "min": 0, "max": 100, "nullable": True},
            "ill": {"kind": "boolean"},
        }
    )
    rng = np.random.default_rng(5)
    frame = pd.DataFrame(
        {
            "person": [f"p{i // 3}" for i in range(n)],
            "ward": rng.choice(np.array(["north", "south", None], dtype=object), n),
            "hours": hours(n),
            "ill": rng.random(n) < 0.5,
        }
    )
    frame.loc[0, "ward"] = "Ward of Ms Miller"
    records = read_table(frame, schema)
    return schema, records.frame, records.subjects
