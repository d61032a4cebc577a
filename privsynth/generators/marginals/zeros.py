"""Structural zeros: what the schema's ``never`` says of a condition and of the cells of some columns. Public."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from privsynth.data.codec import Codec, CodedColumn, Evidence

Mask = npt.NDArray[np.bool_]


def is_zero(codec: Codec, evidence: Mapping[str, Evidence]) -> bool:
    """Whether every row that meets the condition breaks a structural zero.

    Of each column its values that a rule names, and one for all others: every combination that the condition allows
    must be one that a rule forbids. O(product of the named values).
    """
    rules = _within(codec, set(evidence))
    if not rules:
        return False
    allowed: list[list[Any]] = []
    for name, held in evidence.items():
        column = codec.columns[codec.index[name]]
        named = list(dict.fromkeys(_key(rule[name]) for rule in rules if name in rule))
        kept = [key for key in named if _meets(held, column.evidence(key[1]))]
        allowed.append(kept if _is_all(held, column, [key[1] for key in kept]) else [None, *kept])
    names = list(evidence)
    keyed = [{names.index(name): _key(value) for name, value in rule.items()} for rule in rules]
    return all(
        any(all(row[i] == key for i, key in rule.items()) for rule in keyed) for row in itertools.product(*allowed)
    )


def zero_cells(codec: Codec, names: Sequence[str]) -> Mask | None:
    """(cells, …) where no row can lie, one axis a column: cells of one value each, that a rule forbids together.
    None where no rule names these columns alone."""
    rules = _within(codec, set(names))
    if not rules:
        return None
    columns = [codec.columns[codec.index[name]] for name in names]
    out = np.zeros([c.cells for c in columns], dtype=np.bool_)
    for rule in rules:
        whole = [
            c.evidence(rule[c.name]).weights >= 1.0 if c.name in rule else np.ones(c.cells, dtype=np.bool_)
            for c in columns
        ]
        out[np.ix_(*whole)] = True
    return out


def _within(codec: Codec, names: set[str]) -> list[Mapping[str, Any]]:
    """The rules on these columns alone."""
    return [rule for rule in codec.schema.never if set(rule) <= names]


def _key(value: Any) -> tuple[bool, Any]:
    """``1`` is not ``true``."""
    return isinstance(value, bool), value


def _meets(held: Evidence, one: Evidence) -> bool:
    """Whether a condition allows a single value."""
    cell = int(np.argmax(one.weights > 0))
    if held.segments is None or one.segments is None or not len(one.segments):
        return bool(held.weights[cell] > 0)
    at = one.segments.start[0]
    return bool(((held.segments.start <= at) & (at <= held.segments.stop)).any())


def _is_all(held: Evidence, column: CodedColumn, values: Sequence[Any]) -> bool:
    """Whether a condition allows these values alone, each of which it does allow."""
    if not values:
        return False
    return not (held.weights > column.evidence(list(values)).weights + 1e-12).any()
