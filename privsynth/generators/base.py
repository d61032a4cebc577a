"""What every generator is: a frozen recipe with public fields only, fitted by call arguments."""

from __future__ import annotations

from typing import Protocol

from privsynth.data.records import Model, Train
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
