"""What the noisy steps may be expected to tell, by declared sizes: public, before any spending."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from privsynth.errors import BudgetError

if TYPE_CHECKING:
    from privsynth.generators.marginals.plan import Plan as TablePlan
    from privsynth.privacy.dpsgd import Plan

WIDE_AT, DROWNED_AT = 0.01, 0.015
"""Of noise over signal: above the first a smaller network is taken, above the second none learns."""
USUAL, USUAL_NOISE, SHORTEST, LONGEST = 0.2, 0.004, 0.003, 0.05
"""Learning rate of a network of one level where the noise is so much of the signal, and its ends."""


@dataclass(frozen=True)
class Size:
    """A network's size.

    Attributes:
        width: levels of all columns, at most.
        hidden: of its layer.
        parameters: how many weights it has, at most.
        noise: length of the noise on the mean gradient, all steps taken together, over the most that it can be long:
            √parameters / (μ · subjects).
    """

    width: int
    hidden: int
    parameters: int
    noise: float

    @classmethod
    def of(cls, sizes: Sequence[int], *, width: int, mu: float, subjects: float) -> Size:
        """Of the largest of ``sizes``, in falling order, that stands out of the noise, or the last.

        Args:
            width: levels of all columns.
            mu: of the steps.
            subjects: as declared.
        """
        made = []
        for hidden in sizes:
            parameters = 2 * width * hidden + hidden + width
            made.append(cls(width, hidden, parameters, math.sqrt(parameters) / (mu * subjects)))
        return next((one for one in made if one.noise <= WIDE_AT), made[-1])

    @property
    def learning_rate(self) -> float:
        """The less noise and the fewer levels, the longer the steps."""
        usual = USUAL / math.sqrt(self.width) * math.pow(USUAL_NOISE / self.noise, 1 / 3)
        return min(LONGEST, max(SHORTEST, usual))


@dataclass(frozen=True)
class Outlook:
    """The layout of a fit.

    Attributes:
        table: of the paid tables.
        plan: of the noisy steps.
        size: of the network.
    """

    table: TablePlan
    plan: Plan
    size: Size

    def sigmas(self) -> dict[str, tuple[float, float]]:
        """Of the tables."""
        return self.table.sigmas()

    def outlook(self) -> tuple[str, ...]:
        """The network, its steps and the noise on them."""
        plan, size = self.plan, self.size
        return (
            f"network: at most {size.parameters:,} weights, {plan.steps:,} steps of {plan.divisor:,.0f} expected "
            f"subjects; the noise of all steps together is {size.noise:.2%} of the most that they can tell",
        )

    def refuse(self) -> None:
        """Refuse what would be noise.

        Raises:
            BudgetError: the noise would drown the network, with what is to be expected.
        """
        if self.size.noise > DROWNED_AT:
            raise BudgetError(
                f"by the declared sizes the noise would drown the network: over all steps together it is "
                f"{self.size.noise:.0%} of the most that they can tell; above {DROWNED_AT:.1%} a trained network comes "
                "out no better than the tables that it starts from",
                where="Autoregressive.budget",
                mend="`Marginals`, which spends all on tables; or more subjects, a larger epsilon, fewer `levels`",
            )
