"""The form of a policy's ``gate``: which rules a release must pass, and their limits.

The rules themselves run in ``release/gate.py``; what is not built there has no key here.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import pydantic

from privsynth.policy.directions import FLAG, FROZEN, HIGHER, LOWER, SUPERSET
from privsynth.policy.words import Count, Line, Number, Part, Proportion, Scalar, Share, distinct, scalars


class GateBudget(Part):
    """The share of a release's μ² that pays for the gate's noisy counts."""

    share: Annotated[Number, pydantic.Field(ge=0, lt=1), FROZEN]


class AtMost(Part):
    """A figure must be at most ``max``."""

    max: Annotated[Proportion, LOWER]


class AtLeast(Part):
    """A figure must be at least ``at_least``."""

    at_least: Annotated[Proportion, HIGHER]


class UpperBound(Part):
    """The upper 95% bound of a figure, its noise included, must be at most ``upper_bound_max``."""

    upper_bound_max: Annotated[Proportion, LOWER]


class Fidelity(Part):
    """Free: error on noisy marginals that the fit never saw (total variation, 0 to 1)."""

    held_back_marginals: Annotated[AtMost, pydantic.Field(alias="held-back marginals")]


class Membership(Part):
    """Paid: how much better than chance an attacker tells training subjects from held-out ones."""

    attack: Annotated[Literal["neighbour"], FROZEN]
    cut: Annotated[Share, FROZEN] = 0.2
    advantage: UpperBound


class Above(Part):
    """The positive class of a numeric target: values above a public number."""

    above: Annotated[Number, FROZEN]


def _positive(value: Any) -> Any:
    if isinstance(value, Above):
        return value
    if isinstance(value, list | tuple):
        return scalars(value)
    if isinstance(value, dict) and set(value) == {"above"}:
        number = value["above"]
        if not isinstance(number, bool) and isinstance(number, int | float) and math.isfinite(number):
            return Above(above=float(number))
    raise ValueError("write a list of values, such as [true], or {above: 3}")


class Predicted(Part):
    """A column that is predicted, and how well it must be: over all rows, and alike in every group."""

    target: Annotated[Line, FROZEN]
    accuracy: AtLeast | None = None
    balanced_accuracy: AtLeast | None = None
    by: Annotated[tuple[Line, ...], pydantic.AfterValidator(distinct), SUPERSET] = ()
    gap: AtMost | None = None


class Utility(Predicted):
    """Paid: a model trained on synthetic rows, tested on real ones by noisy counts."""

    positive: Annotated[tuple[Scalar, ...] | Above, pydantic.BeforeValidator(_positive), FROZEN]


class PictureMembership(Membership):
    """Paid: the same of pictures, by how closely a real one is copied: mirrored, moved or brightened too."""

    cut: Annotated[Share, FROZEN] = 0.99


class Attribute(Predicted):
    """Paid: a column is learned from synthetic pictures, and guessed of real ones by noisy counts."""


class Pictures(Part):
    """Rules for rows that carry pictures: whether one is a copy is always asked."""

    membership: PictureMembership
    attribute: Attribute | None = None


class GateRules(Part):
    """What a release must pass. The rules run in the order of the fields below."""

    max_attempts: Annotated[Count, LOWER]
    budget: GateBudget
    schema_constraints: Annotated[bool, pydantic.Field(strict=True), FLAG] = False
    fidelity: Fidelity | None = None
    membership: Membership | None = None
    utility: Utility | None = None
    pictures: Pictures | None = None

    @property
    def rules(self) -> tuple[str, ...]:
        """The rules that this gate evaluates, under their names in the file, in order."""
        free = ("schema constraints",) if self.schema_constraints else ()
        named = ("fidelity", "membership", "utility", "pictures")
        return free + tuple(name for name in named if getattr(self, name) is not None)

    @property
    def paid_rules(self) -> tuple[tuple[str, ...], ...]:
        """Where the rules stand that read real rows, each at an equal share of the gate's μ²."""
        places = (("membership",), ("utility",), ("pictures", "membership"), ("pictures", "attribute"))
        return tuple(place for place in places if self._at(place) is not None)

    def mu_each(self, mu_gate: float) -> float:
        """What each of them has of μ = ``mu_gate``; 0 without any."""
        return mu_gate / math.sqrt(len(self.paid_rules)) if self.paid_rules else 0.0

    def _at(self, place: tuple[str, ...]) -> Any:
        found: Any = self
        for name in place:
            found = None if found is None else getattr(found, name)
        return found

    @property
    def paid(self) -> bool:
        """Whether some rule reads real rows (and so needs a share of the budget)."""
        return bool(self.paid_rules)

    @property
    def predictions(self) -> tuple[tuple[tuple[str, ...], Predicted], ...]:
        """The rules that predict a column, with where they stand."""
        return tuple((p, self._at(p)) for p in self.paid_rules if isinstance(self._at(p), Predicted))

    @property
    def memberships(self) -> tuple[Membership, ...]:
        """The rules that ask whether training subjects show."""
        return tuple(rule for rule in map(self._at, self.paid_rules) if isinstance(rule, Membership))

    @property
    def upper_limits(self) -> tuple[tuple[tuple[str, ...], float], ...]:
        """The limits from above, each on a figure between 0 and 1, with where they stand."""
        found: list[tuple[tuple[str, ...], float]] = []
        if self.fidelity is not None:
            found.append((("fidelity", "held-back marginals", "max"), self.fidelity.held_back_marginals.max))
        for place in self.paid_rules:
            rule = self._at(place)
            if isinstance(rule, Membership):
                found.append(((*place, "advantage", "upper bound max"), rule.advantage.upper_bound_max))
            elif rule.gap is not None:
                found.append(((*place, "gap", "max"), rule.gap.max))
        return tuple(found)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that rules name: target first, then groups."""
        return tuple(dict.fromkeys(name for _, rule in self.predictions for name in (rule.target, *rule.by)))
