"""The last round of an adaptive fit: the pairs again, with noise that the fit's own noisy answers choose.

Mechanism. The first round buys every pair with half of what a fixed plan would give them. Where a pair differs from
what its two one-ways say by more than its noise, in the more cells the better, it is bought once more, with the share
of what the envelope has left that its weight gives it, at groups that its less noise allows. Where the other pairs
together differ by more than their noise too, that part of what is left is spent on all pairs evenly.

Which tables, groups and sigmas: a function of the transcript so far and of public facts, so that anyone can do it
again (:func:`check_last_round`). What is spent: Σ(k/σ)² of everything is at most the envelope, checked by
:class:`privsynth.privacy.envelope.Envelope` before each table is read. Event of the whole: Gaussian(1/μ) of the
envelope (docs/proofs/filters.md 7).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from privsynth.data.codec import Codec, CodedColumn
from privsynth.data.count import Grouping
from privsynth.errors import ModelError
from privsynth.generators.marginals.plan import LEAST_AGAIN, MOST_CELLS, SAFE, Ask, pair_groups, spread
from privsynth.generators.marginals.resolve import OneWays, equal_mass_groups, one_ways
from privsynth.generators.marginals.transcript import AGAIN, Groups, MarginalTranscript, Measurement
from privsynth.generators.marginals.workload import Clique

if TYPE_CHECKING:
    from privsynth.generators.marginals.recipe import Marginals

Floats = npt.NDArray[np.float64]

STANDS_OUT = 2.0
_BEYOND = math.erfc(STANDS_OUT / math.sqrt(2))
"""The share of cells that stand out by noise alone."""


@dataclass(frozen=True)
class Round:
    """What the last round buys, in order."""

    asks: tuple[Ask, ...]
    groups: Mapping[int, Grouping]


def last_round(
    told: Sequence[Measurement],
    ones: OneWays,
    columns: Sequence[CodedColumn],
    *,
    weights: Mapping[Clique, float],
    left: Fraction,
    copies: int = 1,
) -> Round:
    """What is bought with the μ² that is ``left``: a function of noisy answers. Nothing where there are no pairs.

    Args:
        told: all tables before it.
        ones: the estimates of the one-ways among them.
        weights: of the pairs in the workload.
        copies: of each table that the transcript holds.
    """
    pairs = [m for m in told if m.stage == "pair"]
    if not pairs or left <= 0:
        return Round((), {})
    k = pairs[0].contribution
    wanted = _wanted([_Signal.of(m, ones) for m in pairs])
    heavy = {m.clique: weights.get(m.clique, 0.0) * w for m, w in zip(pairs, wanted, strict=True)}
    shares = {clique: _step(weight) for clique, weight in heavy.items() if weight > 0}
    least = LEAST_AGAIN * max(shares.values(), default=0.0)
    asks = spread(AGAIN, {c: w for c, w in shares.items() if w >= least}, left * SAFE, k)
    if not asks:
        return Round((), {})
    first = {m.clique: m for m in pairs}
    both = [(first[a.clique].sigma ** -2 + a.sigma**-2) ** -0.5 for a in asks]
    room = max(2, math.isqrt(MOST_CELLS["pair"] // (2 * len(asks) * copies)))
    fine = min(pair_groups(rows=ones.rows, sigma=float(np.median(both))), room)
    groups = {
        c: equal_mass_groups(ones.counts[c], fine, null=column.null)
        for c, column in enumerate(columns)
        if column.cells > fine
    }
    return Round(tuple(asks), groups)


@dataclass(frozen=True)
class _Signal:
    """How far a noisy pair is from its one-ways' product.

    Attributes:
        cells: how many it has.
        telling: how many of them stand out of the noise, less those that noise makes stand out (with two of their
            standard deviations); 0 at least.
        energy: Σ (difference/σ)² - cells: what is no noise, of standard deviation √(2·cells).
    """

    cells: int
    telling: float
    energy: float

    @classmethod
    def of(cls, m: Measurement, ones: OneWays) -> _Signal:
        a, b = (
            ones.counts[c] if g is None else np.bincount(g, weights=ones.counts[c])
            for c, g in zip(m.clique, m.groups, strict=True)
        )
        apart = (m.counts - np.outer(a, b) / ones.rows) / math.sqrt(m.variance)
        chance = _BEYOND * apart.size
        beyond = int((np.abs(apart) > STANDS_OUT).sum()) - chance - 2 * math.sqrt(chance * (1 - _BEYOND))
        return cls(apart.size, max(0.0, beyond), float((apart**2).sum()) - apart.size)


def _wanted(signals: Sequence[_Signal]) -> Floats:
    """Weights of the pairs by what each has to tell, of mean 1.

    With noise σ on each of K telling cells a table's error goes with K·σ, so that shares of μ² go with K^(2/3).
    """
    telling = np.array([s.telling for s in signals]) ** (2 / 3)
    energy = np.array([s.energy for s in signals])
    clear, whole = float(energy[telling > 0].sum()), float(energy.sum())
    if clear <= 0 or whole <= 0:
        return np.ones(len(signals))
    noise = math.sqrt(2 * sum(s.cells for s in signals if s.telling == 0))
    rest = min(max((whole - clear - 2 * noise) / whole, 0.0), 1.0)
    return np.asarray(rest + (1 - rest) * telling / telling.mean())


def check_last_round(transcript: MarginalTranscript, recipe: Marginals, *, mu_fit: float) -> None:
    """Whether the last round is what the answers before it choose, by the rule above, and all that was spent lies
    within the fit's envelope, which is itself within ``mu_fit``.

    Raises:
        ModelError: it is not, or there is one although the recipe fixes its noise before the first read.
    """
    told = transcript.measurements
    first = next((i for i, m in enumerate(told) if m.stage == AGAIN), len(told))
    before, after = told[:first], told[first:]
    envelope = transcript.envelope
    if envelope is None:
        right = not after and (recipe.rounds == "fixed" or not any(m.stage == "pair" for m in told))
    elif recipe.rounds == "fixed" or not transcript.mu_squared <= envelope <= Fraction(mu_fit) ** 2:
        right = False
    else:
        columns = Codec(recipe.schema, transcript.learned).columns
        helped = transcript.helped("one-way")
        chosen = last_round(
            before,
            one_ways([m for m, _ in helped], columns, [public for _, public in helped]),
            columns,
            weights=recipe.pair_weights,
            left=envelope - sum((m.mu_squared for m in (*transcript.domains, *before)), Fraction(0)),
            copies=2 if transcript.public else 1,
        )
        right = _same([(Ask(m.stage, m.clique, m.sigma), m.groups) for m in after], chosen)
    if not right:
        raise ModelError(
            "the tables are not those that their own noisy answers choose, or cost more than was paid for them",
            mend="restore the transcript from the ledger or a backup",
        )


def _same(bought: Sequence[tuple[Ask, tuple[Groups | None, ...]]], chosen: Round) -> bool:
    """Whether these tables are the chosen ones, at the chosen groups."""
    wanted = [(ask, tuple(chosen.groups.get(c) for c in ask.clique)) for ask in chosen.asks]
    return len(bought) == len(wanted) and all(
        a == b
        and all(
            np.array_equal(g, h) if g is not None and h is not None else g is h for g, h in zip(gs, hs, strict=True)
        )
        for (a, gs), (b, hs) in zip(bought, wanted, strict=True)
    )


def _step(weight: float) -> float:
    """To the nearest power of √2, for noise tables to be shared."""
    return math.sqrt(2.0 ** round(2 * math.log2(weight)))
