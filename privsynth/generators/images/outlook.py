"""What a fit of pictures may be expected to tell, by declared sizes: public, before any spending."""

from __future__ import annotations

from dataclasses import dataclass

from privsynth.documents import join
from privsynth.errors import BudgetError
from privsynth.generators.marginals.plan import Plan

LEAST_TOLD = 1.0


@dataclass(frozen=True)
class Outlook:
    """The layout of a fit.

    Attributes:
        table: of its columns.
        by: the columns that pictures depend on.
        side: of the square of coefficients that would be learned.
        told: length of a picture over that of the noise on the mean picture of one value of ``by``, all values being
            equally frequent.
    """

    table: Plan
    by: tuple[str, ...]
    side: int
    told: float

    def sigmas(self) -> dict[str, tuple[float, float]]:
        """Of the columns' tables."""
        return self.table.sigmas()

    def outlook(self) -> tuple[str, ...]:
        """How detailed the pictures are, and how far they stand out of the noise."""
        return (
            f"pictures: {self.side} x {self.side} coefficients; the mean picture of a value of {join(self.by)} stands "
            f"{self.told:.1f} times out of its noise",
        )

    def refuse(self) -> None:
        """Refuse what would be noise.

        Raises:
            BudgetError: the mean picture of a value would not stand out of its noise.
        """
        if self.told < LEAST_TOLD:
            raise BudgetError(
                f"by the declared sizes the mean picture of a value of {join(self.by)} would be noise: it stands "
                f"{self.told:.2f} times out of it, and below {LEAST_TOLD:g} nothing is told",
                where="Budget.epsilon",
                mend="a larger epsilon, more subjects, fewer values in `by`, or fewer rows of a subject",
            )
