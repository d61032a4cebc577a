"""On what terms a recipe buys its tables: all of a hold's, or a part of one that buys more than tables."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from privsynth.ledger.store import Hold
from privsynth.privacy.accountant import mu_squared


@dataclass(frozen=True)
class Terms:
    """On what terms tables are bought; public.

    Attributes:
        mu: what they may cost.
        cap: the same, exactly and squared: no table is read that would pass it.
        contribution: k.
        rows: training subjects, as declared.
        delta_open: the slice for releasing open categories.
        hold_back: whether cliques are held back for a gate.
    """

    mu: float
    cap: Fraction
    contribution: int
    rows: float
    delta_open: float
    hold_back: bool

    @classmethod
    def of(cls, hold: Hold) -> Terms:
        """All that a hold leaves to its fit."""
        prices = hold.prices
        return cls(
            mu=prices.mu_fit,
            cap=mu_squared(prices.fit),
            contribution=hold.contribution,
            rows=hold.training_subjects,
            delta_open=prices.delta_open,
            hold_back=prices.mu_gate > 0,
        )
