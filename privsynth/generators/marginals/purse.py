"""The one check between a hold's money and a read of the rows."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from privsynth.errors import HoldError
from privsynth.privacy.noise import NoiseSource

Ints = npt.NDArray[np.int64]


class Purse:
    """Pays for tables against the hold's exact cap: checks, then reads and adds noise."""

    def __init__(self, noise: NoiseSource, *, cap: Fraction) -> None:
        self._noise = noise
        self._left = cap

    def take(self, exact: Callable[[], Ints], *, sigma: float, cost: Fraction) -> Ints:
        """The noisy form of an exact table, which is not read unless its ``cost`` in μ² is left.

        Raises:
            HoldError: it is not.
        """
        self._pay(cost)
        return self._noise.add(exact(), sigma=sigma)

    def take_two(
        self, exact: Callable[[], Ints], *, sigma: tuple[float, float], first: npt.NDArray[np.bool_], cost: Fraction
    ) -> Ints:
        """The same with noise of the first sigma where ``first``, along the last axis, is true, else of the second."""
        self._pay(cost)
        counts = exact()
        out = np.empty_like(counts)
        out[..., first] = self._noise.add(np.ascontiguousarray(counts[..., first]), sigma=sigma[0])
        out[..., ~first] = self._noise.add(np.ascontiguousarray(counts[..., ~first]), sigma=sigma[1])
        return out

    def _pay(self, cost: Fraction) -> None:
        if cost > self._left:
            raise HoldError("a table would cost more than the hold has left", mend="report this: plans never overspend")
        self._left -= cost
