"""The workload: which tables and counts a user cares for, and how much. Public, part of the recipe."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from privsynth.data.codec import Between
from privsynth.data.evidence import as_json
from privsynth.documents import sha256
from privsynth.errors import SchemaError

TARGET_WEIGHT = 3.0
MOST_TRIPLES = 2000
MOST_QUERIES = 1000
WIDEST = 3

Clique = tuple[int, ...]


@dataclass(frozen=True)
class Query:
    """One count that shall be right: how many rows meet a condition on one to three columns.

    Args:
        where: column → value, list of values, None (null) or ``Between``; it must follow the columns' cells.
        weight: next to 1 for a pair.
    """

    where: Mapping[str, Any]
    weight: float = 10.0

    def __post_init__(self) -> None:
        if not isinstance(self.where, Mapping) or not 1 <= len(self.where) <= WIDEST:
            raise SchemaError(
                f"a query names one to {WIDEST} columns",
                where="Workload.queries",
                mend='for example Query({"sex": "F", "age": Between(65, 99)})',
            )
        _check_weight(self.weight, "Workload.queries")
        object.__setattr__(self, "where", MappingProxyType(dict(self.where)))

    def __hash__(self) -> int:
        return hash((tuple(self.where), self.weight))


@dataclass(frozen=True)
class Workload:
    """What the fit is to get right.

    Args:
        up_to: 1, 2 or 3: all tables of so many columns are measured where the budget can tell them from
            noise. 2 by default; triples that hold the target are measured in any case.
        weights: (columns, weight) for pairs or triples that count more or less than 1; 0 leaves a pair out;
            a triple that is named is measured.
        target_weight: of the pairs that hold the target.
        queries: further counts.

    Raises:
        SchemaError: numbers out of range.
    """

    up_to: int = 2
    weights: tuple[tuple[tuple[str, ...], float], ...] = ()
    target_weight: float = TARGET_WEIGHT
    queries: tuple[Query, ...] = field(default=())

    def __post_init__(self) -> None:
        if isinstance(self.up_to, bool) or self.up_to not in (1, 2, 3):
            raise SchemaError(f"up_to is {self.up_to!r}", where="Workload.up_to", mend="1, 2 or 3")
        _check_weight(self.target_weight, "Workload.target_weight")
        object.__setattr__(self, "weights", tuple((tuple(c), float(w)) for c, w in self.weights))
        object.__setattr__(self, "queries", tuple(self.queries))
        if len(self.queries) > MOST_QUERIES:
            raise SchemaError(
                f"{len(self.queries)} queries; at most {MOST_QUERIES}", where="Workload.queries", mend="fewer of them"
            )
        for columns, weight in self.weights:
            if len(columns) not in (2, 3) or len(set(columns)) != len(columns):
                raise SchemaError(
                    f"{columns!r} is no pair or triple of different columns",
                    where="Workload.weights",
                    mend='for example ((("age", "income"), 5.0),)',
                )
            _check_weight(weight, "Workload.weights")

    def check(self, names: Sequence[str]) -> None:
        """Whether every column that it names is among the learned ones.

        Raises:
            SchemaError: one is not.
        """
        asked = [c for columns, _ in self.weights for c in columns] + [c for q in self.queries for c in q.where]
        for name in asked:
            if name not in names:
                raise SchemaError(
                    f"{name!r} is not a learned column", where="Workload", mend=f"one of {', '.join(names)}"
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
        chosen by hash order of the recipe's identity."""
        named = {clique: weight for clique, weight in self._named(names) if len(clique) == 3}
        out: dict[Clique, float] = {}
        if self.up_to == 3:
            everyone = (t for t in itertools.combinations(range(len(names)), 3) if target not in t and t not in named)
            if math.comb(len(names), 3) > MOST_TRIPLES:
                chosen = heapq.nsmallest(MOST_TRIPLES, everyone, key=lambda t: sha256(f"{recipe}:triple:{t}".encode()))
            else:
                chosen = list(everyone)
            out = dict.fromkeys(sorted(chosen), 1.0)
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


def _wanted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return Between(value["from"], value["to"])
    return [_wanted(item) for item in value] if isinstance(value, list | tuple) else value


def _check_weight(weight: float, where: str) -> None:
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not (weight == 0 or 1e-3 <= weight <= 1e6):
        raise SchemaError(f"a weight is {weight!r}", where=where, mend="0, or a number from 0.001 to 1,000,000")
