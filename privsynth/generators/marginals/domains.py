"""Paid domains: what a schema leaves open, what that costs, and its buying before any table over cells.

Cells of numbers, dates and moments come from a tree (``tree.py``), open categories from votes (``votes.py``), maps of
determined columns from one table each (``dependencies.py``). Dependencies come last, for they need the categories.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from privsynth.data.codec import Learned, Listed, Ranged, coded_column
from privsynth.data.columns import Categorical, Date, Datetime, Integer, Real
from privsynth.data.learned import NOTHING
from privsynth.data.ranged import cells_are_learned, ranged_column
from privsynth.data.rules import Determines
from privsynth.data.schema import Schema
from privsynth.errors import SchemaError
from privsynth.generators.marginals.dependencies import MOST_BESIDE, count_beside, most_frequent
from privsynth.generators.marginals.grid import BRANCHES, Floats, Grid, Ints, Level, Mask
from privsynth.generators.marginals.purse import Purse
from privsynth.generators.marginals.transcript import DEPENDENCY, LEVEL, VOTES, Measurement
from privsynth.generators.marginals.tree import MOST_CELLS, MOST_DIVIDED, learn_edges
from privsynth.generators.marginals.votes import MOST_CATEGORIES, MOST_VOTED, count_votes, released
from privsynth.privacy.gdp import threshold_of
from privsynth.privacy.noise import dyadic_at_least, total_variation

if TYPE_CHECKING:
    import pandas as pd

DOMAIN_SHARE = 0.5
"""Of μ², where the domain of every column is learned; in proportion to how many are."""


def learned_ranges(schema: Schema) -> tuple[str, ...]:
    """The columns whose cells a fit pays for."""
    return tuple(
        name
        for name, column in schema.modelled.items()
        if isinstance(column, Integer | Real | Date | Datetime) and cells_are_learned(column)
    )


def open_columns(schema: Schema) -> tuple[str, ...]:
    """The columns whose categories a fit pays for."""
    return tuple(name for name, c in schema.modelled.items() if isinstance(c, Categorical) and c.open)


def learned_maps(schema: Schema) -> dict[str, Determines]:
    """The determined columns for which the schema has no public map."""
    computed = schema.computed.items()
    return {name: rule for name, rule in computed if isinstance(rule, Determines) and rule.map is None}


def most_cells(schema: Schema, name: str) -> int | None:
    """The most cells that a fit can give a column, null included; None where they are public."""
    column = schema.modelled[name]
    null = 1 if column.nullable else 0
    if name in open_columns(schema):
        return MOST_CATEGORIES + 1 + null
    if name in learned_ranges(schema):
        return MOST_CELLS + 2 * len(column.atoms if isinstance(column, Real) else ()) + null
    return None


# --- what it costs -------------------------------------------------------------------------------


@dataclass(frozen=True)
class DomainAsk:
    """The domain of one column, to be bought.

    Attributes:
        column: its name; of a dependency the determined one.
        stage: ``level`` (a tree), ``votes`` or ``dependency``.
        tables: at most so many.
        cells: at most so many counts are drawn in all.
        sigma: of each table's noise.
    """

    column: str
    stage: str
    tables: int
    cells: int
    sigma: float

    def cost(self, contribution: int) -> Fraction:
        """Of one table, in μ²: (k/σ)², of votes k/σ²."""
        return Fraction(contribution) ** (1 if self.stage == VOTES else 2) / Fraction(self.sigma) ** 2


def lay_out_domains(schema: Schema, *, mu: float, contribution: int) -> tuple[DomainAsk, ...]:
    """What each learned domain costs at most, from the schema alone, before the first read: of ``mu``² half
    where every column's domain is learned, in proportion where fewer are; each an even part, which its levels share
    evenly. Dependencies count as columns; they come last, for they need the categories.

    Raises:
        SchemaError: a dependency's table would have more than ``MOST_BESIDE`` cells.
    """
    maps = learned_maps(schema)
    part = mu * mu * DOMAIN_SHARE / (len(schema.modelled) + len(maps))
    sigma = dyadic_at_least(contribution / math.sqrt(part) * (1 + 1e-12))
    out = []
    for name, declared in schema.modelled.items():
        if isinstance(declared, Integer | Real | Date | Datetime) and cells_are_learned(declared):
            grid = Grid.of(ranged_column(name, declared))
            cells = grid.levels * (BRANCHES * MOST_DIVIDED + 1)
            each = dyadic_at_least(contribution * math.sqrt(grid.levels / part) * (1 + 1e-12))
            out.append(DomainAsk(name, LEVEL, grid.levels, cells, each))
        elif isinstance(declared, Categorical) and declared.open:
            each = dyadic_at_least(math.sqrt(contribution / part) * (1 + 1e-12))
            out.append(DomainAsk(name, VOTES, 1, MOST_VOTED, each))
    for name, rule in maps.items():
        left = most_cells(schema, rule.left) or coded_column(rule.left, schema.columns[rule.left]).cells
        cells = left * coded_column(name, schema.columns[name]).cells
        if cells > MOST_BESIDE:
            raise SchemaError(
                f"`determines: {rule.left} -> {name}` has no map, and a table of both columns to learn it from would "
                f"have {cells} cells; at most {MOST_BESIDE}",
                where=name,
                mend="give the map in the schema, or drop the dependency",
            )
        out.append(DomainAsk(name, DEPENDENCY, 1, cells, sigma))
    return tuple(out)


def domain_cost(asks: Sequence[DomainAsk], contribution: int) -> Fraction:
    """What the asks cost at most together, in μ²."""
    return sum((ask.tables * ask.cost(contribution) for ask in asks), Fraction(0))


def domain_error(asks: Sequence[DomainAsk]) -> Fraction:
    """At most Σ total variation over every count that the asks draw."""
    return sum((ask.cells * total_variation(ask.sigma) for ask in asks), Fraction(0))


@dataclass(frozen=True, eq=False)
class Domains:
    """What the domain stage gave.

    Attributes:
        learned: cells, categories and maps.
        measured: its noisy tables.
    """

    learned: Learned = NOTHING
    measured: tuple[Measurement, ...] = ()

    @property
    def mu_squared(self) -> Fraction:
        """Exact GDP cost."""
        return sum((m.mu_squared for m in self.measured), Fraction(0))


NO_DOMAINS = Domains()


def learn_domains(
    frame: pd.DataFrame,
    subjects: npt.NDArray[np.object_],
    schema: Schema,
    asks: Sequence[DomainAsk],
    purse: Purse,
    *,
    contribution: int,
    delta: float,
) -> Domains:
    """Buy every domain of the plan.

    Neighbours: add or remove one subject, with her at most k rows. Public: the schema, the asks, ``delta`` (the
    slice for open categories, shared evenly by the open columns). Events: as :class:`DomainAsk` says; the votes
    have the slice as a delta of their own.
    """
    stage = _Stage(purse, contribution, tuple(schema.modelled))
    opened, rules = sum(ask.stage == VOTES for ask in asks), learned_maps(schema)
    bins: dict[str, tuple[float, ...]] = {}
    values: dict[str, tuple[str, ...]] = {}
    maps: dict[str, tuple[Any, ...]] = {}
    for ask in asks:
        if ask.stage == DEPENDENCY:
            left, known = rules[ask.column].left, Learned(bins, values)
            pair = (
                coded_column(left, schema.columns[left], known),
                coded_column(ask.column, schema.columns[ask.column]),
            )
            maps[ask.column] = stage.depend(ask, frame, cast("tuple[Listed, Listed]", pair))
            continue
        column, stored = coded_column(ask.column, schema.modelled[ask.column]), frame[ask.column]
        if isinstance(column, Ranged):
            position, missing = positions(column, stored)
            bins[ask.column] = learn_edges(column, partial(stage.level, ask, position, missing))
        elif isinstance(column.column, Categorical):
            values[ask.column] = stage.vote(ask, stored, subjects, rest=column.column.rest, delta=delta / opened)
    return Domains(Learned(*(MappingProxyType(part) for part in (bins, values, maps))), tuple(stage.measured))


def positions(column: Ranged, stored: pd.Series[Any]) -> tuple[Floats, Mask]:
    """Where the tree counts each row, and which rows are null."""
    position, missing = column.position(stored)
    return (np.rint(position * column.scale) / column.scale if column.scale else position), missing


class _Stage:
    """Buys the tables of the domain stage and keeps them."""

    def __init__(self, purse: Purse, contribution: int, names: Sequence[str]) -> None:
        self._purse = purse
        self._contribution = contribution
        self._names = list(names)
        self.measured: list[Measurement] = []

    def level(self, ask: DomainAsk, position: Floats, missing: Mask, level: Level) -> tuple[Ints, float]:
        """One level's noisy counts, and the variance of each."""
        counts = self._take(ask, lambda: level.count(position, missing))
        self._note(LEVEL, ask, counts)
        return counts, self.measured[-1].variance

    def vote(
        self, ask: DomainAsk, texts: pd.Series[Any], subjects: npt.NDArray[np.object_], *, rest: str, delta: float
    ) -> tuple[str, ...]:
        """The released categories; only their noisy counts are kept."""
        names: list[str] = []

        def exact() -> Ints:
            held, counts = count_votes(texts, subjects, rest=rest)
            names.extend(held)
            return counts

        noisy = self._take(ask, exact)
        values, told = released(names, noisy, threshold_of(ask.sigma, delta=delta, votes=self._contribution))
        self._note(VOTES, ask, told)
        return values

    def depend(self, ask: DomainAsk, frame: pd.DataFrame, pair: tuple[Listed, Listed]) -> tuple[Any, ...]:
        """The right column's value for each cell of the left one."""
        noisy = self._take(ask, lambda: count_beside(frame, *pair))
        self._note(DEPENDENCY, ask, noisy, of=pair[0].name)
        return most_frequent(noisy, *pair, sigma=self.measured[-1].variance ** 0.5)

    def _take(self, ask: DomainAsk, exact: Callable[[], Ints]) -> Ints:
        return self._purse.take(exact, sigma=ask.sigma, cost=ask.cost(self._contribution))

    def _note(self, stage: str, ask: DomainAsk, counts: Ints, *, of: str | None = None) -> None:
        place = self._names.index(of or ask.column)
        self.measured.append(Measurement(stage, (place,), (None,), counts, ask.sigma, self._contribution))
