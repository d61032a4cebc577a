"""What a fit has paid to know of the columns' domains: the cells of numbers and dates, the values of open
categories, and what one column's value makes of another.

Everything here is a function of noisy counts, so it may be published with the model; its JSON form travels in
the transcript. ``Codec(schema, learned)`` gives the cells.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from types import MappingProxyType
from typing import Any

from privsynth.data.columns import unfit
from privsynth.errors import ModelError

_KEYS = frozenset({"bins", "values", "maps"})


def _frozen() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True)
class Learned:
    """Paid domains, by column name.

    Attributes:
        bins: inner edges of a column of numbers, dates or datetimes, as positions (data/ranged.py), increasing;
            each begins a cell. A cell of one value is an atom.
        values: the released categories of an open column, sorted.
        maps: of a determined column the value for each cell of the column that determines it; None is null.
    """

    bins: Mapping[str, tuple[float, ...]] = field(default_factory=_frozen)
    values: Mapping[str, tuple[str, ...]] = field(default_factory=_frozen)
    maps: Mapping[str, tuple[bool | int | str | None, ...]] = field(default_factory=_frozen)

    def __bool__(self) -> bool:
        return bool(self.bins or self.values or self.maps)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {key: {name: list(part) for name, part in getattr(self, key).items()} for key in sorted(_KEYS)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Learned:
        """What :meth:`to_json` wrote.

        Raises:
            ModelError: anything else.
        """
        try:
            if set(value) != _KEYS:
                raise ValueError
            bins = {str(name): tuple(map(_number, part)) for name, part in value["bins"].items()}
            values = {str(name): tuple(map(_text, part)) for name, part in value["values"].items()}
            maps = {str(name): tuple(map(_value, part)) for name, part in value["maps"].items()}
            if not all(a < b for part in bins.values() for a, b in pairwise(part)):
                raise ValueError
            if not all(a < b for part in values.values() for a, b in pairwise(part)):
                raise ValueError
        except (AttributeError, KeyError, TypeError, ValueError):
            raise ModelError("not learned domains of this version", mend="restore the file from a backup") from None
        return cls(MappingProxyType(bins), MappingProxyType(values), MappingProxyType(maps))


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError
    return float(value)


def _text(value: object) -> str:
    if not isinstance(value, str) or unfit(value, breaks="\t\n"):
        raise ValueError
    return value


def _value(value: object) -> bool | int | str | None:
    if value is not None and not isinstance(value, bool | int | str):
        raise ValueError
    return value


NOTHING = Learned()
