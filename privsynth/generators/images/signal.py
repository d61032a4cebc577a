"""How far what a network could learn stands out of its noise, by declared sizes: public, before any spending."""

from __future__ import annotations

import math
from dataclasses import dataclass

from privsynth.errors import BudgetError
from privsynth.generators.images.outlook import Outlook
from privsynth.privacy.dpsgd import Plan

LEAST_SIGNAL = 1.0
"""Below it the noise of all steps together is longer than all clipped gradients can be."""


def signal(plan: Plan, parameters: int) -> float:
    """The longest that T steps' mean gradients can add up to, over the length of their noise: q·N·√T/(σ·√P)."""
    return plan.divisor * math.sqrt(plan.steps) / (plan.noise * math.sqrt(parameters))


@dataclass(frozen=True)
class DiffusionOutlook:
    """The layout of a fit.

    Attributes:
        first: of the statistics.
        plan: of the noisy steps.
        parameters: of the network.
    """

    first: Outlook
    plan: Plan
    parameters: int

    @property
    def signal(self) -> float:
        """See :func:`signal`."""
        return signal(self.plan, self.parameters)

    def sigmas(self) -> dict[str, tuple[float, float]]:
        """Of the columns' tables."""
        return self.first.sigmas()

    def outlook(self) -> tuple[str, ...]:
        """Of the statistics, and of the training."""
        plan = self.plan
        return (
            *self.first.outlook(),
            f"training: {self.parameters:,} parameters, {plan.steps:,} steps of about {plan.divisor:,.0f} subjects, "
            f"noise {plan.noise:.2f} times a subject's; all gradients can stand {self.signal:.1f} times out of it",
        )

    def refuse(self) -> None:
        """Refuse what would be noise.

        Raises:
            BudgetError: the noise would drown the network.
        """
        if self.signal < LEAST_SIGNAL:
            raise BudgetError(
                f"by the declared sizes the noise drowns the network: all gradients together can stand "
                f"{self.signal:.2f} times out of it, and below {LEAST_SIGNAL:g} pictures come out worse than the paid "
                "statistics alone draw them",
                where="ImageDiffusion.budget",
                mend="ImageStatistics, a larger epsilon, more subjects, or fewer channels",
            )
