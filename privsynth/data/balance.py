"""``balance=``: declared shares of a column's values among the rows that are drawn.

``{"sex": "equal"}`` gives each value of the column the same share; null gets one only where it is named.
``{"sex": {"F": 0.7, "M": 0.3}}`` declares the shares; of columns with numbers and dates a value may be a
``Between``. Several columns are balanced together: a combination's share is the product of its values'.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from privsynth.data.codec import Codec
from privsynth.data.evidence import Between, Evidence, Floats, as_json, scalar
from privsynth.data.listed import CodedColumn, Listed, OpenListed
from privsynth.data.ranged import Ranged, cells_are_learned
from privsynth.errors import ConditionError

Balance = Mapping[str, Any]

EQUAL = "equal"
MOST_EQUAL = 64  # cells of numbers that "equal" may mean
MOST_COMBINATIONS = 10_000
SUM_WITHIN = 1e-9
_FORM = '"equal", or {value: share} with shares that sum to 1'


@dataclass(frozen=True, eq=False)
class Shares:
    """The declared shares of one column.

    Attributes:
        name: of the column.
        shares: (values,) float64, at least 0, sum 1.
        evidence: what each value says of the column; no two allow the same value.
        asked: the same as JSON values: ``"equal"``, or a list of ``{"value": …, "share": …}``.
    """

    name: str
    shares: Floats
    evidence: tuple[Evidence, ...]
    asked: Any


def read_balance(
    balance: Balance | None, codec: Codec, *, where: Mapping[str, Any] | None = None
) -> tuple[Shares, ...]:
    """A ``balance=`` mapping, checked and translated; also the JSON values that :class:`Shares` shows.

    Raises:
        ConditionError: not of its form, a column that is not learned or that ``where`` names too, a value
            outside its domain or twice, shares that are no shares or do not sum to 1, too many combinations.
    """
    if balance is not None and not isinstance(balance, Mapping):
        raise ConditionError(
            "not a mapping of columns to shares",
            where="balance",
            mend='write {"sex": "equal"} or {"sex": {"F": 0.7, "M": 0.3}}',
        )
    out = []
    for name, wanted in (balance or {}).items():
        place = f"balance[{name!r}]"
        if name not in codec.index:
            what, mend = codec.schema.not_modelled(name)
            raise ConditionError(what, where=place, mend=mend)
        if where and name in where:
            raise ConditionError(
                "the column is also in `where`",
                where=place,
                mend="name in `balance` the values that you want, and only there",
            )
        out.append(_shares(codec.columns[codec.index[name]], wanted, place))
    if math.prod(len(s.shares) for s in out) > MOST_COMBINATIONS:
        raise ConditionError(
            f"more than {MOST_COMBINATIONS:,} combinations of values",
            where="balance",
            mend="balance fewer columns or values",
        )
    return tuple(out)


def _shares(column: CodedColumn, wanted: Any, place: str) -> Shares:
    if isinstance(wanted, str) and wanted == EQUAL:
        evidence = _each(column, place)
        return Shares(column.name, np.full(len(evidence), 1.0 / len(evidence)), evidence, EQUAL)
    pairs = _pairs(wanted, place)
    evidence = tuple(_evidence(column, value, place) for value, _ in pairs)
    shares = np.array([_share(value, share, place) for value, share in pairs])
    if abs(shares.sum() - 1.0) > SUM_WITHIN:
        raise ConditionError(f"the shares sum to {shares.sum():.12g}", where=place, mend="shares that sum to 1")
    if _overlap(column, [value for value, _ in pairs], evidence):
        raise ConditionError("a value is named twice, or two ranges overlap", where=place, mend="name each value once")
    asked = [{"value": as_json(value), "share": float(s)} for (value, _), s in zip(pairs, shares, strict=True)]
    return Shares(column.name, shares / shares.sum(), evidence, asked)


def _each(column: CodedColumn, place: str) -> tuple[Evidence, ...]:
    """One evidence for each value (of numbers: each public cell); null is none of them."""
    values = column.cells - (1 if column.nullable else 0)
    if not isinstance(column, Listed) and values > MOST_EQUAL:
        learned = cells_are_learned(column.column)
        kind = "learned cells" if learned else "cells of numbers"
        raise ConditionError(
            f"`equal` over {values} {kind}; at most {MOST_EQUAL} are possible",
            where=place,
            mend="name ranges and their shares"
            if learned
            else "declare fewer `bins` in the schema, or name ranges and their shares",
        )
    return tuple(Evidence(np.eye(column.cells)[i]) for i in range(values))


def _pairs(wanted: Any, place: str) -> list[tuple[Any, Any]]:
    """(value, share) as they were written; a value that came as JSON is read back."""
    if isinstance(wanted, Mapping):
        pairs = list(wanted.items())
    elif isinstance(wanted, list | tuple) and all(
        isinstance(x, Mapping) and set(x) == {"value", "share"} for x in wanted
    ):
        pairs = [(_read_back(item["value"]), item["share"]) for item in wanted]
    else:
        raise ConditionError(f"{wanted!r} is no balance", where=place, mend=_FORM)
    if not pairs:
        raise ConditionError("no value is named", where=place, mend=_FORM)
    return pairs


def _read_back(value: Any) -> Any:
    if isinstance(value, Mapping) and set(value) <= {"from", "to"} and value:
        return Between(value.get("from"), value.get("to"))
    return value


def _share(value: Any, share: Any, place: str) -> float:
    plain = scalar(share)
    if isinstance(plain, bool) or not isinstance(plain, int | float) or not 0 <= plain <= 1 + SUM_WITHIN:
        raise ConditionError(f"the share of {value!r} is {share!r}", where=place, mend="a number from 0 to 1")
    return float(plain)


def _evidence(column: CodedColumn, value: Any, place: str) -> Evidence:
    if isinstance(value, Mapping | list | tuple | set | frozenset | np.ndarray):
        raise ConditionError(f"{value!r} is no value", where=place, mend=_FORM)
    try:
        return column.evidence(value)
    except ConditionError as wrong:
        raise ConditionError(wrong.what, where=place, mend=wrong.mend) from None


def _overlap(column: CodedColumn, values: Sequence[Any], evidence: Sequence[Evidence]) -> bool:
    """Whether two of the values share more than nothing of a cell."""
    if isinstance(column, OpenListed) and column.released is None:
        return len(set(values)) < len(values)  # nothing is known of its cells yet
    together = column.evidence(list(values)).weights
    if isinstance(column, Ranged):
        return bool(np.any(sum(e.weights for e in evidence) > together * (1 + 1e-9) + 1e-12))
    return bool(np.any(sum(e.weights for e in evidence) > together))


def combinations(shares: Sequence[Shares]) -> Iterator[tuple[float, dict[str, Evidence]]]:
    """Each combination of values with its share and what it says of the columns; shares of 0 are left out."""
    for chosen in itertools.product(*(range(len(s.shares)) for s in shares)):
        share = math.prod(float(s.shares[i]) for s, i in zip(shares, chosen, strict=True))
        if share > 0:
            yield share, {s.name: s.evidence[i] for s, i in zip(shares, chosen, strict=True)}


def allot(n: int, shares: Sequence[float], *, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """``n`` rows over the shares by the largest remainder: each gets n·share rounded up or down, and the
    sum is ``n``. Equal remainders are told apart at random."""
    wanted = n * np.asarray(shares, dtype=np.float64) / math.fsum(shares)
    whole = np.floor(wanted + SUM_WITHIN)
    left = np.round(wanted - whole, 9)
    first = np.lexsort((rng.random(len(left)), -left))[: n - int(whole.sum())]
    whole[first] += 1
    return whole.astype(np.int64)
