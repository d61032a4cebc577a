"""What a release may cost: compared with limits, never added or subtracted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from privsynth.errors import BudgetError

Neighbours = Literal["add-or-remove"]


@dataclass(frozen=True)
class Budget:
    """The whole price of one release, fit and gate together.

    Args:
        epsilon: finite and above 0. Above 50 is refused: it protects nobody.
        delta: above 0 and below 1. The policy demands far less (``delta below``).
        neighbours: data sets that differ by one whole subject added or removed; N is not public.

    Raises:
        BudgetError: a value outside its range.
    """

    epsilon: float
    delta: float
    neighbours: Neighbours = "add-or-remove"

    MAX_EPSILON = 50.0

    def __post_init__(self) -> None:
        for name, value, top in (("epsilon", self.epsilon, self.MAX_EPSILON), ("delta", self.delta, 1.0)):
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not math.isfinite(value) or value <= 0 or value > top:
                raise BudgetError(
                    f"{name} is {value!r}; it must be a finite number above 0 and at most {top:g}",
                    where=f"Budget.{name}",
                    mend="for example Budget(epsilon=1.0, delta=1e-9)",
                )
        if self.delta >= 1.0 or self.delta < 1e-300:
            raise BudgetError(
                f"delta is {self.delta!r}; it must lie between 1e-300 and 1",
                where="Budget.delta",
                mend="below 1/(1000 * subjects), for example 1e-9",
            )
        if self.epsilon < 1e-4:
            raise BudgetError(
                f"epsilon is {self.epsilon!r}, below 0.0001: no statistic survives the noise",
                where="Budget.epsilon",
                mend="0.1 to 10 is the useful range",
            )
        if self.neighbours != "add-or-remove":
            raise BudgetError(
                f"neighbours {self.neighbours!r} is not known",
                where="Budget.neighbours",
                mend="use add-or-remove",
            )
