"""What every generator is: a frozen recipe with public fields only, fitted by call arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from privsynth.data.records import Model, Train
from privsynth.data.subjects import grouped
from privsynth.errors import HoldError
from privsynth.ledger.store import Hold
from privsynth.privacy.noise import NoiseSource
from privsynth.privacy.priced import Priced
from privsynth.progress import Progress

if TYPE_CHECKING:
    from privsynth.privacy.accountant import Prices


class Layout(Protocol):
    """What a fit would measure, by declared sizes: public, before any spending."""

    def sigmas(self) -> dict[str, tuple[float, float]]:
        """Least and most standard deviation of the noise on a count, in rows, by stage."""
        ...

    def outlook(self) -> tuple[str, ...]:
        """What else is to be expected, a line each."""
        ...


class Recipe(Priced, Protocol):
    """An unfitted generator. Its fields may all be published; data and randomness come as arguments."""

    def check_sampler(self, prices: Prices, *, rows: float, cap_epsilon: float) -> Layout:
        """What a fit at these prices would measure: see :meth:`Priced.check_sampler`."""
        ...

    def fit(self, train: Train, hold: Hold, *, noise: NoiseSource | None = None, progress: Progress = ...) -> Model:
        """Spend the hold's fit and return the model, which carries its receipt.

        Raises:
            HoldError: the hold was bought for another recipe, source, purpose or recipient, or is opened.
        """
        ...

    def resume(self, transcript: bytes, hold: Hold, *, progress: Progress = ...) -> Model:
        """The model of what a fit deposited with ``hold`` before it was cut off: free.

        Raises:
            HoldError: bought for another recipe. ModelError: not a whole transcript.
        """
        ...


def check_rows(train: Train, hold: Hold) -> None:
    """Refuse rows that are not what the hold was bought for, before it is opened.

    Raises:
        HoldError: not the training side, consent read under another policy, coins of another ledger, or
            more rows of a subject than the hold's contribution bound.
    """
    if not isinstance(train, Train):
        raise HoldError("a fit takes the training side of a split", mend="pass split.train")
    if train.policy != hold.ledger.policy.sha256:
        raise HoldError(
            "the consent of these rows was read under another policy than the one that the ledger is open under",
            mend="read, filter and split again under the policy in use",
        )
    if train.coins != hold.coins:
        raise HoldError("the split was drawn by another ledger", mend="split with the ledger that sold the hold")
    whose, people = grouped(train.records.subjects)
    rows = np.bincount(whose, minlength=people)
    if train.contribution != hold.contribution or rows.max(initial=0) > hold.contribution:
        raise HoldError(
            f"the hold was bought for at most {hold.contribution} rows of a subject", mend="fit what the split gave"
        )
