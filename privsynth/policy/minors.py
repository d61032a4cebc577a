"""Minors, left out by rule: a source names the column that tells who is one, and the values that mean it.

The rule looks at one subject at a time, like consent: if any row of hers says that she is a minor, or says nothing that
can be read, all of her rows are left out before anything is split or counted. How many these are stays inside.

A cell is compared with ``values`` by what it means, never by its spelling alone: numbers by value (``016``, ``16.0``),
true and false as 1 and 0 too, text without case, blanks, invisible characters and kinds of dashes.
"""

from __future__ import annotations

import math
import re
import unicodedata
from decimal import Decimal
from typing import Annotated, Any

from privsynth.documents import join
from privsynth.policy.directions import FROZEN, HIGHER, SUPERSET
from privsynth.policy.words import Count, Line, Part, Scalar, Values

_NUMBER = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")
_LITERAL = re.compile(r"[-+]?([0-9]{1,400}\.?[0-9]{0,400}|\.[0-9]{1,400})(e[-+]?[0-9]{1,3})?")
_TRUTH = {"true": Decimal(1), "false": Decimal(0)}


class Minors(Part):
    """Who is left out: below an age, or with one of some values; and whoever's value is missing or no such value.

    ``below`` reads a number, ``values`` a text, a whole number or a boolean: where a number is listed, a cell that is
    none leaves its subject out, and where true or false is, one that is neither. Exactly one of the two stands.
    """

    column: Annotated[Line, FROZEN]
    below: Annotated[Count | None, HIGHER] = None
    values: Annotated[Values | None, SUPERSET] = None

    @property
    def words(self) -> str:
        """Who is left in."""
        return (
            f"at least {self.below}" if self.below is not None else f"none of {join(list(map(str, self.values or ())))}"
        )

    def leaves_out(self, value: Any) -> bool:
        """Whether a cell of the column leaves its subject out."""
        if self.below is not None:
            age = _age(value)
            return age is None or age < self.below
        text, number = _read(value)
        return (not text and number is None) or any(_leaves_out(minor, text, number) for minor in self.values or ())


def _leaves_out(minor: Scalar, text: str, number: Decimal | None) -> bool:
    """Whether what was read of a cell means ``minor``, or is nothing that could be compared with it. So one value more
    never leaves anybody in."""
    if isinstance(minor, bool) and number not in _TRUTH.values():
        return True
    if isinstance(minor, int) and number is None:
        return True
    meant, figure = _read(minor)
    return (bool(meant) and meant == text) or (figure is not None and figure == number)


def _read(value: Any) -> tuple[str, Decimal | None]:
    """A cell as text without what does not tell, and as a number if it is one: ``("child", None)``, ``("016", 16)``."""
    if isinstance(value, str):
        kept = (c for c in unicodedata.normalize("NFKC", value) if unicodedata.category(c)[0] not in "ZC")
        folded = "".join("-" if unicodedata.category(c) == "Pd" or c == "\u2212" else c for c in kept).casefold()
        text = unicodedata.normalize("NFKC", folded)
        return text, _TRUTH.get(text, Decimal(text) if _LITERAL.fullmatch(text) else None)
    told = isinstance(value, int) or (isinstance(value, float | Decimal) and math.isfinite(value))
    return "", Decimal(value) if told else None


def _age(value: Any) -> Decimal | None:
    """A number of years as stored, or as text; None for what is none."""
    if isinstance(value, str):
        return Decimal(value.strip()) if _NUMBER.fullmatch(value.strip()) else None
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or not math.isfinite(value):
        return None
    return Decimal(value)
