"""The words that policy files are made of: kinds of numbers, names, days and lists, each with its range."""

from __future__ import annotations

import datetime as dt
import math
import re
from dataclasses import dataclass
from typing import Annotated, Any

import pydantic
from pydantic_core import CoreSchema, core_schema

from privsynth.documents import Strict
from privsynth.errors import KeyFileError
from privsynth.privacy.budget import Budget
from privsynth.signing import AGE_KEY, COSIGNER_LINE, KEY_LINE, MAX_PEOPLE, Cosigner, TrustedKey, check_age_key

Scalar = bool | int | str


class Part(Strict):
    """A part of a policy file: frozen, unknown keys refused; only the spelling with blanks is a key."""

    model_config = pydantic.ConfigDict(populate_by_name=False)


def _day(value: Any) -> Any:
    if isinstance(value, dt.date):
        return value
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        raise ValueError("not a day")
    try:
        return dt.date.fromisoformat(value)
    except ValueError:
        raise ValueError("there is no such day") from None


def distinct(value: tuple[Any, ...]) -> tuple[Any, ...]:
    """``value``, unless an entry stands in it twice (true and 1 are two entries)."""
    if len({(type(v), v) for v in value}) != len(value):
        raise ValueError("the same entry stands twice")
    return value


def each_once(value: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
    """As :func:`distinct`, of a list that may be left out."""
    return None if value is None else distinct(value)


def _key(value: str) -> str:
    try:
        TrustedKey.of_line(value, name="somebody", roles=("policy",))
    except KeyFileError as fault:
        raise ValueError(fault.what) from None
    return value


def _cosigner(value: str) -> str:
    try:
        Cosigner.read(value)
    except KeyFileError as fault:
        raise ValueError(fault.what) from None
    return value


def _age_key(value: str) -> str:
    try:
        return check_age_key(value)
    except KeyFileError as fault:
        raise ValueError(fault.what) from None


def scalars(value: Any) -> tuple[Scalar, ...]:
    """A list of values of a column as a tuple, each as it was written."""
    if not isinstance(value, list | tuple) or not value or any(not isinstance(v, bool | int | str) for v in value):
        raise ValueError("list at least one value: text, whole numbers, true or false")
    return distinct(tuple(value))


def as_text(value: Any) -> str | None:
    """A cell of a column as text that can be compared; None for what is no bool, whole number or text."""
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float() if math.isfinite(value) and value == int(value):
            return str(int(value))
        case str():
            return value.strip()
        case _:
            return None


@dataclass(frozen=True)
class _Written:
    """On a text: what it must look like, as a pattern for editors and in words."""

    pattern: str
    words: str

    def check(self, value: str) -> str:
        if not re.fullmatch(self.pattern, value):
            raise ValueError(f"must be {self.words}")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: pydantic.GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: pydantic.GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(core), "pattern": f"^({self.pattern})$"}


Number = Annotated[float, pydantic.Field(strict=True)]
Count = Annotated[int, pydantic.Field(strict=True, ge=1, le=10**12)]
Share = Annotated[Number, pydantic.Field(gt=0, lt=1)]
Proportion = Annotated[Number, pydantic.Field(gt=0, le=1)]
Epsilon = Annotated[Number, pydantic.Field(ge=1e-4, le=Budget.MAX_EPSILON)]
Delta = Annotated[Number, pydantic.Field(ge=1e-300, lt=1)]
Day = Annotated[dt.date, pydantic.BeforeValidator(_day)]
Line = Annotated[str, _Written(r"\S([^\x00-\x1f\x7f]*\S)?", "one line of text, without blanks at its ends")]
Name = Annotated[str, _Written(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}", "letters, digits and . _ - /, at most 128")]
Unit = Annotated[str, _Written(r"[A-Za-z][A-Za-z0-9 _-]{0,62}[A-Za-z0-9]", "a word such as patient or person-year")]
Region = Annotated[str, _Written(r"[A-Z]{2,3}(-[A-Z0-9]{1,3})?", "a code such as EU, CH or US-CA")]
Email = Annotated[str, _Written(r"[^@\s]+@[^@\s]+", "an address such as a.kim@st-anna.example")]
PublicKey = Annotated[str, _Written(KEY_LINE, "ed25519: and 44 characters"), pydantic.AfterValidator(_key)]
WitnessKey = Annotated[
    str, _Written(COSIGNER_LINE, "a name, +, 8 hex digits, + and 44 characters"), pydantic.AfterValidator(_cosigner)
]
AgeKey = Annotated[str, _Written(AGE_KEY, "age1 and 58 small letters and digits"), pydantic.AfterValidator(_age_key)]
SomePeople = Annotated[int, pydantic.Field(strict=True, ge=2, le=MAX_PEOPLE)]
Names = Annotated[tuple[Name, ...], pydantic.AfterValidator(distinct)]
SomeNames = Annotated[Names, pydantic.Field(min_length=1)]
SomeLines = Annotated[tuple[Line, ...], pydantic.Field(min_length=1), pydantic.AfterValidator(distinct)]
Values = Annotated[tuple[Scalar, ...], pydantic.BeforeValidator(scalars)]
