"""``--where sex=F --where age=20..40``: conditions as a command line writes them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from privsynth.data.codec import Between, Codec
from privsynth.data.schema import Boolean, Categorical, Column, Date, Datetime, Schema
from privsynth.errors import ConditionError

_NUMBER = re.compile(r"[-+]?[0-9]{1,40}(\.[0-9]{1,40})?([eE][-+]?[0-9]{1,3})?")
_FORM = "write COLUMN=VALUE, COLUMN=A,B (either), COLUMN=20..40 (a range, both ends included) or COLUMN= (null)"


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
