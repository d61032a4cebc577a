"""The workload: which tables and counts a user cares for, and how much. Public, part of the recipe."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from privsynth.data.codec import Between, Codec
from privsynth.data.count import Grouping
from privsynth.data.evidence import as_json, plain
from privsynth.data.ranged import cells_are_learned
from privsynth.data.schema import Categorical, Column, Schema
from privsynth.documents import canonical, sha256
from privsynth.errors import ConditionError, PrivsynthError, SchemaError

TARGET_WEIGHT = 3.0
QUERY_WEIGHT = 10.0
MOST_TRIPLES = 2000
MOST_QUERIES = 1000
WIDEST = 3

Clique = tuple[int, ...]


def drawn_triples(columns: Sequence[int], most: int, *, key: str) -> list[Clique]:
    """All triples of ``columns`` (increasing) where they are at most ``most``, else so many drawn by hashes of
    ``key``: no look at them all, of which there are cubically many."""
    if math.comb(len(columns), 3) <= most:
        return list(itertools.combinations(columns, 3))
    found: dict[Clique, None] = {}
    for i in itertools.count():
        number = int(sha256(f"{key}:{i}".encode()), 16)
        places = {number // len(columns) ** j % len(columns) for j in range(3)}
        if len(places) == 3:
            found[tuple(columns[p] for p in sorted(places))] = None
        if len(found) == most:
            break
    return list(found)


@dataclass(frozen=True)
class Query:
    """One count that shall be right: how many rows meet a condition on one to three columns.

    Args:
        where: column → value, list of values, None (null) or ``Between``; it must follow the columns' cells.
            Kept in plain values: numbers, text, booleans, dates as ISO text.
        weight: next to 1 for a pair.

    Raises:
        SchemaError: no columns or too many, or no weight.
        ConditionError: a value that is of no column's kind.
    """

    where: Mapping[str, Any]
    weight: float = QUERY_WEIGHT

    def __post_init__(self) -> None:
        if not isinstance(self.where, Mapping) or not 1 <= len(self.where) <= WIDEST:
            raise SchemaError(
                f"a query names one to {WIDEST} columns",
                where="Query.where",
                mend='for example Query({"sex": "F", "age": Between(65, 99)})',
            )
        where = {name: plain(wanted, f"where[{name!r}]") for name, wanted in self.where.items()}
        object.__setattr__(self, "where", MappingProxyType(where))
        object.__setattr__(self, "weight", check_weight(self.weight, where="Query.weight"))

    def __hash__(self) -> int:
        return hash((tuple(self.where), self.weight))

    def groups(self, codec: Codec) -> dict[int, Grouping]:
        """Each of its columns, by number, as two groups: 0 outside the condition, 1 inside.

        Raises:
            ConditionError: not a learned column, a value outside its domain, or a condition that cuts a cell.
        """
        out: dict[int, Grouping] = {}
        for name, evidence in codec.evidence(self.where).items():
            inside = evidence.weights > 0.5
            if not np.isin(evidence.weights, (0.0, 1.0)).all() or inside.all() or not inside.any():
                raise ConditionError(
                    f"the query on {name!r} does not follow the column's cells",
                    where=f"where[{name!r}]",
                    mend="conditions whose ends are cell edges (see `bins` in the schema), and not the whole column",
                )
            out[codec.index[name]] = inside.astype(np.int32)
        return out

    def check(self, codec: Codec) -> None:
        """Whether its condition follows cells that ``codec``, of the schema alone, knows before a fit.

        Raises:
            SchemaError: a column whose cells are learned.
            ConditionError: as of :meth:`groups`.
        """
        for name in self.where:
            if name in codec.index and _is_learned(codec.columns[codec.index[name]].column):
                raise SchemaError(
                    f"a query on {name!r}, whose cells are learned",
                    where=f"where[{name!r}]",
                    mend="declare its `bins` or values in the schema, or `cells: equal`",
                )
        self.groups(codec)


@dataclass(frozen=True)
class Workload:
    """What the fit is to get right.

    Args:
        up_to: 1, 2 or 3: all tables of so many columns are measured where the budget can tell them from
            noise. 2 by default; triples that hold the target are measured unless it is 1.
        weights: (columns, weight) for pairs or triples that count more or less than 1; 0 leaves one out.
            What is named is measured whatever ``up_to`` is, where its stage stands out of the noise.
        target_weight: of the pairs that hold the target.
        queries: further counts, beside the pairs by weight.

    Raises:
        SchemaError: numbers out of range, or columns that are named twice.
    """

    up_to: int = 2
    weights: tuple[tuple[tuple[str, ...], float], ...] = ()
    target_weight: float = TARGET_WEIGHT
    queries: tuple[Query, ...] = field(default=())

    def __post_init__(self) -> None:
        if isinstance(self.up_to, bool) or self.up_to not in (1, 2, 3):
            raise SchemaError(f"up_to is {self.up_to!r}", where="Workload.up_to", mend="1, 2 or 3")
        object.__setattr__(self, "up_to", int(self.up_to))
        target_weight = check_weight(self.target_weight, where="Workload.target_weight")
        object.__setattr__(self, "target_weight", target_weight)
        object.__setattr__(self, "weights", tuple(_weights(self.weights)))
        object.__setattr__(self, "queries", tuple(self.queries))
        if len(self.queries) > MOST_QUERIES:
            raise SchemaError(
                f"{len(self.queries)} queries; at most {MOST_QUERIES}", where="Workload.queries", mend="fewer of them"
            )
        for i, query in enumerate(self.queries):
            if not isinstance(query, Query):
                raise SchemaError(
                    f"{type(query).__name__} is no query",
                    where=f"Workload.queries[{i}]",
                    mend='for example Query({"sex": "F"}, weight=10)',
                )

    def check(self, schema: Schema) -> None:
        """Whether a fit of ``schema`` can measure what it asks.

        Raises:
            SchemaError: a weight of a column that is not learned, or a query on one whose cells are learned.
            ConditionError: a query on a column that is not learned, beyond its domain, or that cuts a cell.
        """
        modelled = schema.modelled
        for i, (columns, _) in enumerate(self.weights):
            for name in columns:
                if name not in modelled:
                    what, mend = schema.not_modelled(name)
                    raise SchemaError(f"{name!r} is {what}", where=f"Workload.weights[{i}]", mend=mend)
        if not self.queries:
            return
        codec = Codec(schema)
        for i, query in enumerate(self.queries):
            try:
                query.check(codec)
            except (SchemaError, ConditionError) as wrong:
                where = f"Workload.queries[{i}].{wrong.where}"
                raise type(wrong)(wrong.what, where=where, mend=wrong.mend) from None

    def check_description(self) -> None:
        """Whether what :meth:`to_json` writes is read back as this very workload, as every model of it must be.

        Raises:
            SchemaError: it is not.
        """
        told = self.to_json()
        try:
            same = Workload.from_json(json.loads(canonical(told))) == self
        except (KeyError, TypeError, ValueError, PrivsynthError):
            same = False
        if not same:
            raise SchemaError(
                "the workload cannot be written down and read back",
                where="Marginals.workload",
                mend="plain values: numbers, text, booleans, None, dates, lists and `Between` of them",
            )

    def pairs(self, names: Sequence[str], target: int | None) -> dict[Clique, float]:
        """Pairs to be measured, as column numbers, with their weights."""
        if self.up_to < 2:
            out: dict[Clique, float] = {}
        else:
            everyone = itertools.combinations(range(len(names)), 2)
            out = {pair: self.target_weight if target in pair else 1.0 for pair in everyone}
        out |= {clique: weight for clique, weight in self._named(names) if len(clique) == 2}
        return {pair: weight for pair, weight in out.items() if weight > 0}

    def target_triples(self, names: Sequence[str], target: int | None) -> list[Clique]:
        """Triples that hold the target, but those named with a weight of their own."""
        if target is None or self.up_to < 2:
            return []
        named = {clique for clique, _ in self._named(names)}
        others = [c for c in range(len(names)) if c != target]
        triples = (tuple(sorted((target, *pair))) for pair in itertools.combinations(others, 2))
        return [t for t in triples if t not in named]

    def other_triples(self, names: Sequence[str], target: int | None, *, recipe: str) -> dict[Clique, float]:
        """Triples without the target where ``up_to`` is 3, and those named; at most 2,000 of the unnamed,
        drawn by the recipe's hash."""
        named = {clique: weight for clique, weight in self._named(names) if len(clique) == 3}
        out: dict[Clique, float] = {}
        if self.up_to == 3:
            others = [c for c in range(len(names)) if c != target]
            chosen = drawn_triples(others, MOST_TRIPLES, key=f"{recipe}:triple")
            out = dict.fromkeys(sorted(t for t in chosen if t not in named), 1.0)
        return out | {clique: weight for clique, weight in named.items() if weight > 0}

    def _named(self, names: Sequence[str]) -> list[tuple[Clique, float]]:
        place = {name: i for i, name in enumerate(names)}
        return [(tuple(sorted(place[c] for c in columns)), weight) for columns, weight in self.weights]

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "up to": self.up_to,
            "weights": [[list(columns), weight] for columns, weight in self.weights],
            "target weight": self.target_weight,
            "queries": [
                {"where": {k: as_json(v) for k, v in q.where.items()}, "weight": q.weight} for q in self.queries
            ],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Workload:
        """What :meth:`to_json` wrote.

        Raises:
            KeyError, TypeError, ValueError: not such a value.
        """
        queries = tuple(Query({k: _wanted(v) for k, v in q["where"].items()}, q["weight"]) for q in value["queries"])
        weights = tuple((tuple(columns), weight) for columns, weight in value["weights"])
        return cls(up_to=value["up to"], weights=weights, target_weight=value["target weight"], queries=queries)


def _is_learned(column: Column) -> bool:
    """Whether its cells or categories are left to the fit."""
    return cells_are_learned(column) or (isinstance(column, Categorical) and column.open)


def _wanted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return Between(value["from"], value["to"])
    return [_wanted(item) for item in value] if isinstance(value, list | tuple) else value


def _weights(given: Any) -> list[tuple[tuple[str, ...], float]]:
    """Named pairs and triples with their weights, checked."""
    out: list[tuple[tuple[str, ...], float]] = []
    seen: set[frozenset[str]] = set()
    for i, item in enumerate(given):
        where = f"Workload.weights[{i}]"
        if not isinstance(item, tuple | list) or len(item) != 2 or isinstance(item[0], str):
            raise SchemaError(
                "no columns with their weight", where=where, mend='for example ((("age", "income"), 5.0),)'
            )
        columns, weight = check_columns(item[0], where=where), check_weight(item[1], where=where)
        if frozenset(columns) in seen:
            raise SchemaError(f"{columns!r} has a weight already", where=where, mend="name it once")
        seen.add(frozenset(columns))
        out.append((columns, weight))
    return out


def check_columns(columns: Sequence[str], *, where: str) -> tuple[str, ...]:
    """Columns that may be weighted together: two or three, all different.

    Raises:
        SchemaError: they are not.
    """
    if len(columns) not in (2, WIDEST) or len(set(columns)) != len(columns):
        raise SchemaError(
            f"{tuple(columns)!r} is no pair or triple of different columns",
            where=where,
            mend='for example "age", "sex"',
        )
    return tuple(columns)


def check_weight(weight: Any, *, where: str) -> float:
    """A weight that a plan can lay out: 0, or from 0.001 to 1,000,000.

    Raises:
        SchemaError: it is not.
    """
    number = isinstance(weight, int | float | np.integer | np.floating) and not isinstance(weight, bool)
    if not number or not (weight == 0 or 1e-3 <= weight <= 1e6):
        raise SchemaError(f"a weight is {weight!r}", where=where, mend="0, or a number from 0.001 to 1,000,000")
    return float(weight)
