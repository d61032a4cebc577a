"""One figure with all that it takes to read it, and the words that judge it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Literal

from privsynth.validate.rates import Interval

Family = Literal["fidelity", "utility", "membership"]


class Verdict(StrEnum):
    """What a limit says of a figure, mildest first. The gate's own verdict is another, paid one."""

    PASS = "PASS"
    PASS_NOTED = "PASS_NOTED"
    UNDERPOWERED = "UNDERPOWERED"
    FAIL_LIMIT = "FAIL_LIMIT"
    FAIL_LEAK_SHOWN = "FAIL_LEAK_SHOWN"
    CONTRADICTS_GUARANTEE = "CONTRADICTS_GUARANTEE"

    @property
    def meaning(self) -> str:
        """In one sentence."""
        return _MEANING[self]

    @property
    def passed(self) -> bool:
        """Whether it lets a model by."""
        return self in (Verdict.PASS, Verdict.PASS_NOTED)


_MEANING = {
    Verdict.PASS: "with 95% confidence every attack stays under its limit, and none is shown to work at all",
    Verdict.PASS_NOTED: "an attack is shown to do better than chance, but with 95% confidence stays under its limit",
    Verdict.UNDERPOWERED: "too few people were held out: even a perfect generator would often miss the limit",
    Verdict.FAIL_LIMIT: "an attack may do better than its limit; it is not shown that it does",
    Verdict.FAIL_LEAK_SHOWN: "an attack is shown to do better than its limit: the rows give training people away",
    Verdict.CONTRADICTS_GUARANTEE: "an attack does better than the guarantee allows anyone: the software is broken",
}


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """The most serious of ``verdicts``; without any, UNDERPOWERED: a check that saw nothing passes nothing."""
    order = list(Verdict)
    return max(verdicts, key=order.index, default=Verdict.UNDERPOWERED)


@dataclass(frozen=True)
class Metric:
    """A figure on real data. Internal.

    Attributes:
        id: ``membership.neighbour.auc``.
        family: what it is about.
        name: in words.
        floor: what a perfect and safe generator gets on these people.
        value: what this model gets, with its interval.
        ceiling: what the worst gets: ignorant rows for fidelity and utility, verbatim copies for attacks.
        n: subjects (membership) or rows (fidelity, utility) of the holdout behind it.
        bound: the most that the privacy guarantee allows an attack; None for other families.
        limit: the most that passes; None where the figure is only shown.
        verdict: None where there is no limit.
        note: one sentence for the reader, or empty.
    """

    id: str
    family: Family
    name: str
    floor: float
    value: Interval
    ceiling: float
    n: int
    bound: float | None = None
    limit: float | None = None
    verdict: Verdict | None = None
    note: str = ""

    def place(self, figure: float) -> float:
        """Where ``figure`` lies between floor (0) and ceiling (1); nan where the two meet."""
        return (figure - self.floor) / (self.ceiling - self.floor) if self.ceiling != self.floor else float("nan")

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)
