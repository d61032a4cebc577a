"""The inner filter of a fit that adapts: it may choose its next noise from its own noisy answers, and never spends
more than the envelope that its hold was charged for (field/privacy.md 7; docs/proofs/filters.md 7).

The hold books the whole fit as ``GaussianDpEvent(1/μ)``. Inside, Gaussian differential privacy adds up: Σμ_i² ≤ μ²,
asked exactly before each table is read, proves it for every way of choosing the next sigma. The sums are those of
:mod:`privsynth.privacy.filters`; the privacy loss distribution of what was spent decides nothing here either.

The object that pays is the one that draws, so that no table can be measured and not paid.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from privsynth.errors import BudgetError, BudgetExhausted
from privsynth.privacy.accountant import mu_squared
from privsynth.privacy.filters import GDP_GRID, gdp_units
from privsynth.privacy.noise import WIDEST, NoiseSource
from privsynth.privacy.table import check_sigma

if TYPE_CHECKING:
    from dp_accounting import DpEvent

Ints = NDArray[np.int64]


class Envelope:
    """What one fit may spend, and its only way to noise. Of one process and one fit: holds open a fit once.

    Args:
        cap: μ² of the hold's fit (``mu_squared(hold.prices.fit)``), rounded down to a multiple of 2^-256.
        noise: where the noise comes from.

    Raises:
        BudgetError: a cap that is not positive.
    """

    def __init__(self, cap: Fraction, *, noise: NoiseSource) -> None:
        self._left = math.floor(cap * GDP_GRID)
        self._noise = noise
        if self._left <= 0:
            raise BudgetError("an envelope holds nothing", mend="a μ above 0")

    @property
    def left(self) -> Fraction:
        """μ² that is not spent: public, for a sum of costs that are."""
        return Fraction(self._left, GDP_GRID)

    def admits(self, event: DpEvent) -> bool:
        """Whether ``event`` still fits.

        Raises:
            BudgetError: it has no proved μ (Poisson-sampled, zCDP, unknown).
        """
        return gdp_units(mu_squared(event)) <= self._left

    def spend(self, event: DpEvent) -> None:
        """Pay for ``event``, before it is run.

        Raises:
            BudgetExhausted: it does not fit; nothing was spent. BudgetError: as of :meth:`admits`.
        """
        self._pay(mu_squared(event))

    def measure(self, exact: Callable[[], Ints], *, sigma: float, sensitivity: int | Fraction) -> Ints:
        """Noisy counts: paid first, then read, then noise.

        Neighbours: add or remove one subject. Sensitivity: ``sensitivity`` is the *square* of the largest L2 change
        of ``exact()`` over such a pair, after every history; proved by the caller (k² of a table of a subject with k
        rows). Public: it, the shape, and ``sigma``, which may depend on every earlier noisy answer. Event:
        Gaussian(sigma/√sensitivity), μ² = sensitivity/sigma², exact.

        Args:
            exact: gives the counts; not called unless they are paid.
            sigma: on the sampler's dyadic grid.

        Raises:
            BudgetExhausted: it does not fit. BudgetError: a sigma off the grid. Nothing was read or spent.
        """
        check_sigma(sigma, most=WIDEST)
        self._pay(Fraction(sensitivity) / Fraction(sigma) ** 2)
        return self._noise.add(exact(), sigma=sigma)

    def measure_two(
        self,
        exact: Callable[[], Ints],
        *,
        sigma: tuple[float, float],
        first: NDArray[np.bool_],
        cost: Fraction,
    ) -> Ints:
        """The same with noise of the first sigma where ``first``, along the last axis, is true, else of the second:
        an event of a μ² of ``cost``, proved by the caller."""
        self._pay(cost)
        counts = exact()
        out = np.empty_like(counts)
        out[..., first] = self._noise.add(np.ascontiguousarray(counts[..., first]), sigma=sigma[0])
        out[..., ~first] = self._noise.add(np.ascontiguousarray(counts[..., ~first]), sigma=sigma[1])
        return out

    def _pay(self, cost: Fraction) -> None:
        if cost < 0:
            raise BudgetError("a measurement costs less than nothing", mend="the event's μ²")
        units = gdp_units(cost)
        if units > self._left:
            raise BudgetExhausted(
                f"a measurement of μ {math.sqrt(cost):.6g} does not fit into what the fit's envelope has left",
                mend="more noise, or a larger budget of the recipe; nothing refills an envelope",
            )
        self._left -= units
