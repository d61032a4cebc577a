"""What every generator is: a frozen recipe with public fields only, fitted by call arguments."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from privsynth.data.records import Model, Train
from privsynth.errors import HoldError
from privsynth.ledger.store import Hold
from privsynth.privacy.noise import NoiseSource
from privsynth.privacy.priced import Priced
from privsynth.progress import Progress


class Recipe(Priced, Protocol):
    """An unfitted generator. Its fields may all be published; data and randomness come as arguments."""

    def fit(self, train: Train, hold: Hold, *, noise: NoiseSource | None = None, progress: Progress = ...) -> Model:
        """Spend the hold's fit and return the model, which carries its receipt.

        Raises:
            HoldError: the hold was bought for another recipe, source, purpose or recipient, or is opened.
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
    if train.policy != hold.policy:
        raise HoldError(
            "the consent of these rows was read under another policy than the hold's",
            mend="read, filter and split again under the hold's policy",
        )
    if train.coins != hold.coins:
        raise HoldError("the split was drawn by another ledger", mend="split with the ledger that sold the hold")
    _, rows = np.unique(train.records.subjects.astype(object), return_counts=True)
    if train.contribution != hold.contribution or rows.max(initial=0) > hold.contribution:
        raise HoldError(
            f"the hold was bought for at most {hold.contribution} rows of a subject", mend="fit what the split gave"
        )
