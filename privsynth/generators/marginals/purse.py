"""The one check between a hold's money and a read of the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from privsynth.errors import BudgetExhausted, HoldError
from privsynth.privacy.envelope import Envelope
from privsynth.privacy.noise import NoiseSource

Ints = npt.NDArray[np.int64]


class Purse:
    """Pays for tables against the hold's exact cap: checks, then reads and adds noise. An :class:`Envelope` with the
    prices of a recipe, whose plans never overspend."""

    def __init__(self, noise: NoiseSource, *, cap: Fraction) -> None:
        self._envelope = Envelope(cap, noise=noise)

    @property
    def left(self) -> Fraction:
        """μ² that is not spent."""
        return self._envelope.left

    def take(self, exact: Callable[[], Ints], *, sigma: float, cost: Fraction) -> Ints:
        """The noisy form of an exact table, which is not read unless its ``cost`` in μ² is left.

        Raises:
            HoldError: it is not.
        """
        with _within_plan():
            return self._envelope.measure(exact, sigma=sigma, sensitivity=cost * Fraction(sigma) ** 2)

    def take_two(
        self, exact: Callable[[], Ints], *, sigma: tuple[float, float], first: npt.NDArray[np.bool_], cost: Fraction
    ) -> Ints:
        """The same with noise of the first sigma where ``first``, along the last axis, is true, else of the second."""
        with _within_plan():
            return self._envelope.measure_two(exact, sigma=sigma, first=first, cost=cost)


@contextmanager
def _within_plan() -> Iterator[None]:
    try:
        yield
    except BudgetExhausted:
        raise HoldError(
            "a table would cost more than the hold has left", mend="report this: plans never overspend"
        ) from None
