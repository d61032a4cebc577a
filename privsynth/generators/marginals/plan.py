"""How the fit's μ² is laid out over stages and tables: from declared sizes and paid answers only."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from privsynth.documents import sha256
from privsynth.privacy.noise import dyadic_at_least, total_variation

HELD_BACK_SHARE = 0.05
HELD_BACK_TABLES = 8
HELD_BACK_GROUPS = 3
MOST_GROUPS = 100
GATE_DRAWS, GATE_SIGMA = 10_000, 1024.0
"""More counts than a gate draws, at more noise: their share of the sampler's error is set aside."""
TARGET_WEIGHT = 3.0
PAIR_NOISE_LIMIT = 0.05
"""No pair stage where the noise of a 2 × 2 table exceeds this share of the rows."""


@dataclass(frozen=True)
class Plan:
    """Public before the first read.

    Attributes:
        one_way_sigma: noise of each one-way.
        held_back: cliques that the fit never sees.
        held_back_sigma: their noise.
        pairs: cliques of the pair stage, possibly none.
        pair_sigmas: their noise, one each.
    """

    one_way_sigma: float
    held_back: tuple[tuple[int, ...], ...]
    held_back_sigma: float
    pairs: tuple[tuple[int, int], ...]
    pair_sigmas: tuple[float, ...]


def lay_out(
    *, columns: int, mu: float, contribution: int, rows: float, target: int | None, recipe: str, hold_back: bool
) -> Plan:
    """Share μ² = ``mu``² over one-ways, held-back cliques and pairs.

    ``rows`` is the declared number of training subjects (public). The one-ways get more where noise is
    heavy: their share is 0.4·(8000 / (rows·μ))^0.3, within 0.2 and 0.7 (tables.md measured 40% at ε = 1
    and 20% at ε = 10 on Adult). Every sigma is rounded up to the noise grid, so the sum of (k/σ)² never
    exceeds μ². Which cliques are held back is drawn from the recipe's identity: no data in it.
    """
    mu2 = mu * mu
    held = _held_back(columns, recipe) if hold_back else ()
    held_share = HELD_BACK_SHARE if held else 0.0
    one_share = min(0.7, max(0.2, 0.4 * (8000.0 / max(rows * mu, 1e-9)) ** 0.3))
    pairs = list(itertools.combinations(range(columns), 2))
    weights = [TARGET_WEIGHT if target in pair else 1.0 for pair in pairs]
    pair_share = 1.0 - held_share - one_share
    typical = contribution * math.sqrt(sum(weights) / (pair_share * mu2)) if pairs else math.inf
    if 0.8 * typical / max(rows, 1.0) > PAIR_NOISE_LIMIT:
        pairs, weights, one_share = [], [], 1.0 - held_share
    total = sum(weights)
    return Plan(
        one_way_sigma=_sigma(contribution, mu2 * one_share / columns),
        held_back=held,
        held_back_sigma=_sigma(contribution, mu2 * held_share / len(held)) if held else math.inf,
        pairs=tuple(pairs),
        pair_sigmas=tuple(_sigma(contribution, mu2 * pair_share * w / total) for w in weights),
    )


def _sigma(contribution: int, mu2: float) -> float:
    """The grid's least sigma with (k/σ)² ≤ mu2; a hair up so that float error cannot overspend."""
    return dyadic_at_least(contribution / math.sqrt(mu2) * (1 + 1e-12))


def _held_back(columns: int, recipe: str) -> tuple[tuple[int, ...], ...]:
    """Up to eight cliques of three columns (fewer where there are fewer), by hash order of the recipe."""
    cliques = itertools.combinations(range(columns), min(3, columns))
    ranked = heapq.nsmallest(HELD_BACK_TABLES, cliques, key=lambda c: sha256(f"{recipe}:{c}".encode()))
    return tuple(sorted(ranked))


def sampler_error(plan: Plan, cells: Sequence[int]) -> Fraction:
    """At most Σ total variation over every count that the plan and a gate draw."""
    error = sum(cells) * total_variation(plan.one_way_sigma) + GATE_DRAWS * total_variation(GATE_SIGMA)
    if plan.held_back:
        error += len(plan.held_back) * HELD_BACK_GROUPS**3 * total_variation(plan.held_back_sigma)
    for (a, b), sigma in zip(plan.pairs, plan.pair_sigmas, strict=True):
        error += min(cells[a], MOST_GROUPS) * min(cells[b], MOST_GROUPS) * total_variation(sigma)
    return error


def resolution(*, rows: float, sigma: float, mu: float, cells: Sequence[int]) -> int:
    """How many groups a column gets in the pair stage: sqrt(N̂ / (κσ)), at least 2, at most 100.

    κ falls as the signal grows: 6 at ε = 1 on Adult and 2 at ε = 10 (tables.md 1.0).
    """
    kappa = min(12.0, max(2.0, 6.0 * (8000.0 / max(rows * mu, 1e-9)) ** 0.5))
    return max(2, min(MOST_GROUPS, int(math.sqrt(rows / (kappa * sigma))), max(cells)))
