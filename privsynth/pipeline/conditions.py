"""``--where sex=F --balance ward=equal``: conditions and shares as a command line writes them."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from privsynth.data.balance import EQUAL, read_balance
from privsynth.data.codec import Between, Codec
from privsynth.data.evidence import as_json
from privsynth.data.learned import Learned
from privsynth.data.listed import Listed
from privsynth.data.ranged import cells_are_learned
from privsynth.data.schema import Boolean, Categorical, Column, Date, Datetime, Real
from privsynth.errors import ConditionError

_NUMBER = re.compile(r"[-+]?[0-9]{1,40}(\.[0-9]{1,40})?([eE][-+]?[0-9]{1,3})?")
_MOST = 1e300
_FORM = (
    "write COLUMN=VALUE, COLUMN=A,B (either; a value with a comma in double quotes), COLUMN=20..40 (a range, both "
    "ends included) or COLUMN= (null)"
)
_SHARES = "write COLUMN=equal or COLUMN=VALUE:SHARE,VALUE:SHARE with shares that sum to 1"


def parse_conditions(texts: Sequence[str], codec: Codec) -> dict[str, Any]:
    """The ``where=`` mapping that the texts write. Values are read by the column's declared kind.

    Args:
        codec: of the model that will be asked; of the schema alone where there is none yet.

    Raises:
        ConditionError: not of the form, an unknown column, the same column twice, or a value outside the
            column's domain.
    """
    out: dict[str, Any] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign:
            raise ConditionError(f"{text!r} has no `=`", where="--where", mend=_FORM)
        if name not in codec.index:
            what, mend = codec.schema.not_modelled(name)
            raise ConditionError(f"{name!r} is {what}", where="--where", mend=mend)
        if name in out:
            raise ConditionError(f"{name!r} is given twice", where="--where", mend=_FORM)
        out[name] = _wanted(codec, name, value)
        try:
            codec.evidence({name: out[name]})
        except ConditionError as wrong:
            mend = wrong.mend.replace("Between(low, high)", "LOW..HIGH")
            raise ConditionError(f"{name}: {wrong.what}", where="--where", mend=mend) from None
    return out


def parse_balance(texts: Sequence[str], codec: Codec) -> dict[str, Any]:
    """The ``balance=`` mapping that the texts write: ``sex=equal``, ``sex=F:0.7,M:0.3``, ``age=20..40:0.5,41..60:0.5``.

    Args:
        codec: as of :func:`parse_conditions`.

    Raises:
        ConditionError: not of the form, an unknown column, the same column twice, a value outside the
            column's domain, or shares that do not sum to 1.
    """
    written: dict[str, Any] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign:
            raise ConditionError(f"{text!r} has no `=`", where="--balance", mend=_SHARES)
        if name in written:
            raise ConditionError(f"{name!r} is given twice", where="--balance", mend=_SHARES)
        written[name] = value if value == EQUAL else _written_shares(name, value)
    out: dict[str, Any] = {}
    for name, asked in written.items():
        try:
            out |= named_shares({name: asked}, codec, form=_SHARES)
        except ConditionError as wrong:
            raise ConditionError(f"{name}: {wrong.what}", where="--balance", mend=wrong.mend) from None
    return out


def before_fit(codec: Codec, asked: Mapping[str, Any]) -> Codec:
    """The codec that checks what is asked of a model before its fit: where the fit is to learn a column's cells, each
    single value that ``asked`` names (column → values) counts as an atom that the fit may find. Whether it has, the
    sampling tells."""
    edges: dict[str, tuple[float, ...]] = {}
    for name, wanted in asked.items():
        column = codec.schema.modelled.get(name)
        if not isinstance(column, Real) or not cells_are_learned(column):
            continue
        singles = {float(value) for value in _singles(wanted)}
        edges[name] = tuple(sorted({edge for v in singles for edge in (v, math.nextafter(v, math.inf))}))
    found = {name: part for name, part in edges.items() if part}
    return Codec(codec.schema, Learned(bins=found)) if found else codec


def _singles(wanted: Any) -> Iterator[float]:
    """The numbers that are asked for by themselves."""
    for item in wanted if isinstance(wanted, list | tuple) else [wanted]:
        value = item.low if isinstance(item, Between) and item.low == item.high else item
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MOST:
            yield value


def _written_shares(name: str, text: str) -> dict[str, float]:
    """Value → share, as text. A value may hold commas: what has no share belongs to what follows."""
    out: dict[str, float] = {}
    held: list[str] = []
    for part in text.split(","):
        held.append(part)
        value, sign, share = ",".join(held).rpartition(":")
        if not sign:
            continue
        if not _NUMBER.fullmatch(share):
            raise ConditionError(f"{name}: {share!r} is no share", where="--balance", mend=_SHARES)
        if value in out:
            raise ConditionError(f"{name}: {value!r} is given twice", where="--balance", mend=_SHARES)
        out[value] = float(share)
        held = []
    if held:
        raise ConditionError(f"{name}: {','.join(held)!r} has no share", where="--balance", mend=_SHARES)
    return out


def named_shares(written: Mapping[str, Any], codec: Codec, *, form: str) -> dict[str, Any]:
    """A ``balance`` whose values are named by text, as in a file's keys, as ``sample`` takes it.

    ``null`` or no text at all is null, unless the column's list has such a value; ``20..40`` is a range of numbers
    or dates.

    Args:
        codec: as of :func:`parse_conditions`.
        form: the mend of what is not written as a balance.

    Raises:
        ConditionError: as of :func:`privsynth.data.balance.read_balance`; a value outside its domain; before a fit
            ``equal`` on a column whose cells it will learn.
    """
    out: dict[str, Any] = {}
    for name, asked in written.items():
        column = codec.schema.modelled.get(name)
        place = f"balance[{name!r}]"
        if asked == EQUAL and column is not None and not codec.learned and cells_are_learned(column):
            raise ConditionError(
                "`equal` on a column whose cells are learned: how many there will be is not known",
                where=place,
                mend="name ranges and their shares, or declare its `bins` or `cells: equal` in the schema",
            )
        try:
            out[name] = asked
            if column is not None and isinstance(asked, Mapping):
                pairs = [{"value": as_json(_named(codec, name, str(v))), "share": s} for v, s in asked.items()]
                out[name] = pairs
        except ConditionError as wrong:
            raise ConditionError(wrong.what, where=place, mend=wrong.mend.replace(_FORM, form)) from None
    try:
        read_balance(out, codec if codec.learned else before_fit(codec, named_values(out)))
    except ConditionError as wrong:
        mend = wrong.mend.replace("Between(low, high)", "LOW..HIGH")
        raise ConditionError(wrong.what, where=wrong.where, mend=mend) from None
    return out


def named_values(balance: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The values that a ``balance`` of :func:`named_shares` names, by column."""
    out: dict[str, list[Any]] = {}
    for name, asked in balance.items():
        pairs = asked if isinstance(asked, list | tuple) else []
        values = [pair.get("value") for pair in pairs if isinstance(pair, Mapping)]
        out[name] = [Between(v.get("from"), v.get("to")) if isinstance(v, Mapping) else v for v in values]
    return out


def _named(codec: Codec, name: str, text: str) -> Any:
    """The value that a text names."""
    if text in ("", "null") and not _listed(codec, name, text):
        return None
    return _one(codec.schema.learned[name], text)


def _wanted(codec: Codec, name: str, text: str) -> Any:
    column = codec.schema.learned[name]
    if text == "":
        return None
    if _listed(codec, name, text) or _is_range(column, text):
        return _one(column, text)
    values = [_value(column, part) for part in _parts(text)]
    return values[0] if len(values) == 1 else values


def _parts(text: str) -> list[str]:
    """The values of a list as a line of CSV: one in double quotes may hold commas, and a quote in it is doubled."""
    try:
        lines = list(csv.reader([text], strict=True))
    except csv.Error:
        lines = []
    if len(lines) != 1 or not lines[0]:
        raise ConditionError(f"{text!r} is no list of values", where="--where", mend=_FORM)
    return lines[0]


def _one(column: Column, text: str) -> Any:
    """A value or a range."""
    if not _is_range(column, text):
        return _value(column, text)
    low, _, high = text.partition("..")
    return Between(_value(column, low) if low else None, _value(column, high) if high else None)


def _is_range(column: Column, text: str) -> bool:
    return ".." in text and not isinstance(column, Categorical | Boolean)


def _listed(codec: Codec, name: str, text: str) -> bool:
    """Whether the whole text is a category of the column, as declared or as its fit has released it."""
    column = codec.columns[codec.index[name]]
    return isinstance(column, Listed) and text in {str(v) for v in column.values if not isinstance(v, bool)}


def _value(column: Column, text: str) -> Any:
    match column:
        case Boolean():
            flags = {"true": True, "false": False}
            if text not in flags:
                raise ConditionError(f"{text!r} is neither true nor false", where="--where", mend=_FORM)
            return flags[text]
        case Categorical(values=values):
            return next((v for v in values if str(v) == text), text)
        case Date() | Datetime():
            return text
        case _:
            if not _NUMBER.fullmatch(text):
                raise ConditionError(f"{text!r} is not a number", where="--where", mend=_FORM)
            return float(text) if set(text) & set(".eE") else int(text)
