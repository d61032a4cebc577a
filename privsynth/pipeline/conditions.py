"""``--where sex=F --balance ward=equal``: conditions and shares as a command line writes them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from privsynth.data.balance import EQUAL, read_balance
from privsynth.data.codec import Between, Codec
from privsynth.data.evidence import as_json
from privsynth.data.schema import Boolean, Categorical, Column, Date, Datetime, Schema
from privsynth.errors import ConditionError

_NUMBER = re.compile(r"[-+]?[0-9]{1,40}(\.[0-9]{1,40})?([eE][-+]?[0-9]{1,3})?")
_FORM = "write COLUMN=VALUE, COLUMN=A,B (either), COLUMN=20..40 (a range, both ends included) or COLUMN= (null)"

_SHARES = "write COLUMN=equal or COLUMN=VALUE:SHARE,VALUE:SHARE with shares that sum to 1"


def parse_conditions(texts: Sequence[str], schema: Schema) -> dict[str, Any]:
    """The ``where=`` mapping that the texts write. Values are read by the column's declared kind.

    Raises:
        ConditionError: not of the form, an unknown column, the same column twice, or a value outside the
            column's public domain.
    """
    out: dict[str, Any] = {}
    codec = Codec(schema)
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign:
            raise ConditionError(f"{text!r} has no `=`", where="--where", mend=_FORM)
        column = schema.learned.get(name)
        if column is None:
            raise ConditionError(
                f"{name!r} is not a learned column", where="--where", mend=f"one of {', '.join(schema.learned)}"
            )
        if name in out:
            raise ConditionError(f"{name!r} is given twice", where="--where", mend=_FORM)
        out[name] = _wanted(column, value)
        try:
            codec.evidence({name: out[name]})
        except ConditionError as wrong:
            mend = wrong.mend.replace("Between(low, high)", "LOW..HIGH")
            raise ConditionError(f"{name}: {wrong.what}", where="--where", mend=mend) from None
    return out


def parse_balance(texts: Sequence[str], schema: Schema) -> dict[str, Any]:
    """The ``balance=`` mapping that the texts write: ``sex=equal``, ``sex=F:0.7,M:0.3``, ``age=20..40:0.5,41..60:0.5``.

    Raises:
        ConditionError: not of the form, an unknown column, the same column twice, a value outside the
            column's public domain, or shares that do not sum to 1.
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
            out |= named_shares({name: asked}, schema)
        except ConditionError as wrong:
            raise ConditionError(f"{name}: {wrong.what}", where="--balance", mend=wrong.mend) from None
    return out


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


def named_shares(written: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    """A ``balance`` whose values are named by text, as in a file's keys, as ``sample`` takes it.

    ``null`` or no text at all is null, unless the column's list has such a value; ``20..40`` is a range of numbers
    or dates.

    Raises:
        ConditionError: as of :func:`privsynth.data.balance.read_balance`; a value outside its domain.
    """
    out: dict[str, Any] = {}
    codec = Codec(schema)
    for name, asked in written.items():
        column = schema.learned.get(name)
        try:
            if column is not None and isinstance(asked, Mapping):
                pairs = [{"value": as_json(_named(column, str(v))), "share": share} for v, share in asked.items()]
                out[name] = pairs
            else:
                out[name] = asked
            read_balance({name: out[name]}, codec)
        except ConditionError as wrong:
            raise ConditionError(
                wrong.what, where=f"balance[{name!r}]", mend=wrong.mend.replace(_FORM, _SHARES)
            ) from None
    read_balance(out, codec)
    return out


def _named(column: Column, text: str) -> Any:
    """The value that a text names."""
    if text in ("", "null") and not _listed(column, text):
        return None
    if ".." in text and not isinstance(column, Categorical | Boolean):
        low, _, high = text.partition("..")
        return Between(_value(column, low) if low else None, _value(column, high) if high else None)
    return _value(column, text)


def _wanted(column: Column, text: str) -> Any:
    if text == "":
        return None
    if ".." in text and not isinstance(column, Categorical | Boolean):
        low, _, high = text.partition("..")
        return Between(_value(column, low) if low else None, _value(column, high) if high else None)
    values = [_value(column, part) for part in text.split(",")] if not isinstance(column, Categorical) else None
    if values is None:
        values = [_value(column, text)] if _listed(column, text) else [_value(column, p) for p in text.split(",")]
    return values[0] if len(values) == 1 else values


def _listed(column: Column, text: str) -> bool:
    return isinstance(column, Categorical) and text in {str(v) for v in column.values}


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
