"""The gate's limits as a list: each figure that a release must keep, the rule that asks for it, and its line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from privsynth.documents.reading import Place
from privsynth.policy.form import PolicyFile
from privsynth.policy.gate_rules import Predicted

UTILITY, ATTRIBUTE = ("PS-GATE-UTI", "PS-GATE-GAP"), ("PS-GATE-PIA", "PS-GATE-PIG")


FIGURES = (
    "broken rows",
    "training rows",
    "held-back marginals",
    "membership advantage",
    "utility accuracy",
    "utility balanced accuracy",
    "pictures membership advantage",
    "pictures attribute accuracy",
    "pictures attribute balanced accuracy",
)
GROUPED = ("utility gap ", "pictures attribute gap ", "utility group size ", "pictures attribute group size ")
"""The names of all figures that a gate can ask for; of gaps and sizes, with the column of the groups after them."""


@dataclass(frozen=True)
class Threshold:
    """One limit of the gate.

    Attributes:
        rule: the id of the rule that refuses where it is not kept.
        name: what the figure is called in tests of policies: ``membership advantage``, ``utility gap sex``.
        place: where the limit stands in the file.
        side: whether the figure, with its noise on its bad side, must be at most or at least the limit.
        value: the limit.
    """

    rule: str
    name: str
    place: Place
    side: Literal["at most", "at least"]
    value: float

    def holds(self, figure: float) -> bool:
        """Whether a figure keeps the limit; one that is not a number does not."""
        return figure <= self.value if self.side == "at most" else figure >= self.value

    @property
    def words(self) -> str:
        """The limit as text."""
        return f"{self.side} {self.value:,g}"


def thresholds(file: PolicyFile) -> tuple[Threshold, ...]:
    """Every limit that a release under this policy must keep, in the gate's order."""
    return tuple(_thresholds(file))


def _thresholds(file: PolicyFile) -> Iterator[Threshold]:
    gate = file.gate
    if gate.schema_constraints:
        yield Threshold("PS-GATE-SCH", "broken rows", ("gate", "schema constraints"), "at most", 0)
    yield Threshold("PS-GATE-ROW", "training rows", ("data", "min rows"), "at least", file.data.min_rows)
    if gate.fidelity is not None:
        place: Place = ("gate", "fidelity", "held-back marginals", "max")
        yield Threshold("PS-GATE-FID", "held-back marginals", place, "at most", gate.fidelity.held_back_marginals.max)
    if gate.membership is not None:
        place = ("gate", "membership", "advantage", "upper bound max")
        limit = gate.membership.advantage.upper_bound_max
        yield Threshold("PS-GATE-MEM", "membership advantage", place, "at most", limit)
    if gate.utility is not None:
        yield from _predicted("utility", ("gate", "utility"), gate.utility, *UTILITY)
        yield from _groups("utility", gate.utility, file)
    if gate.pictures is not None:
        place = ("gate", "pictures", "membership", "advantage", "upper bound max")
        limit = gate.pictures.membership.advantage.upper_bound_max
        yield Threshold("PS-GATE-PIM", "pictures membership advantage", place, "at most", limit)
        if gate.pictures.attribute is not None:
            found = gate.pictures.attribute
            yield from _predicted("pictures attribute", ("gate", "pictures", "attribute"), found, *ATTRIBUTE)
            yield from _groups("pictures attribute", found, file)


def _groups(name: str, asked: Predicted, file: PolicyFile) -> Iterator[Threshold]:
    least = file.data.min_subjects_per_group
    for group in asked.by if least is not None else ():
        place: Place = ("data", "min subjects per group")
        yield Threshold("PS-GATE-GRP", f"{name} group size {group}", place, "at least", least or 0)


def _predicted(name: str, place: Place, asked: Predicted, rule: str, gap_rule: str) -> Iterator[Threshold]:
    for key, wanted in (("accuracy", asked.accuracy), ("balanced accuracy", asked.balanced_accuracy)):
        if wanted is not None:
            yield Threshold(rule, f"{name} {key}", (*place, key, "at least"), "at least", wanted.at_least)
    if asked.gap is not None:
        for group in asked.by:
            yield Threshold(gap_rule, f"{name} gap {group}", (*place, "gap", "max"), "at most", asked.gap.max)
