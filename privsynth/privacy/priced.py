"""What a ledger must know of a recipe to sell it a hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from privsynth.privacy.accountant import Prices
    from privsynth.privacy.budget import Budget


class Priced(Protocol):
    """What a ledger must know of a recipe to sell it a hold: public fields only."""

    @property
    def source(self) -> str:
        """The registered source that the recipe's schema names."""
        ...

    @property
    def budget(self) -> Budget:
        """The whole release's price."""
        ...

    @property
    def unit(self) -> str:
        """Who is protected where the schema says so (``person-year``); empty where the policy names the
        person behind a subject column (``patient``)."""
        ...

    @property
    def contribution(self) -> int:
        """The most rows of one subject that enter the fit (k)."""
        ...

    @property
    def kind(self) -> str:
        """The generator's kind as written in study files: ``marginals``."""
        ...

    @property
    def selects(self) -> bool:
        """Whether the fit releases categories from open sets: that takes a slice of delta of its own."""
        ...

    @property
    def trains(self) -> bool:
        """Whether the fit trains a network by sampled steps: that takes a slice of delta of its own."""
        ...

    def describe(self) -> dict[str, Any]:
        """Every public field, schema included, as JSON values; its hash is the recipe's identity."""
        ...

    def check_sampler(self, prices: Prices, *, rows: float, cap_epsilon: float) -> object:
        """Whether a fit at these prices could be laid out for ``rows`` declared training subjects: public, free.

        Raises:
            BudgetError: its noise is beyond the sampler's range, or costs more delta than is set aside for it.
        """
        ...
