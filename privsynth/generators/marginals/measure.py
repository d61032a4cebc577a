"""The measurement: the one step of the fit that reads counts, stage by stage against the hold's exact cap."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from privsynth.data.codec import Codec
from privsynth.data.count import Counter, Grouping
from privsynth.generators.marginals.domains import NO_DOMAINS, Domains
from privsynth.generators.marginals.plan import (
    FIRST_ROUND,
    HELD_BACK_GROUPS,
    MOST_CELLS,
    TARGET_GROUPS,
    Ask,
    Plan,
    loose_groups,
    pair_groups,
    triple_groups,
)
from privsynth.generators.marginals.purse import Purse
from privsynth.generators.marginals.resolve import OneWays, equal_mass_groups, one_ways
from privsynth.generators.marginals.rounds import last_round
from privsynth.generators.marginals.transcript import Ints, MarginalTranscript, Measurement
from privsynth.generators.marginals.workload import Query
from privsynth.privacy.noise import NoiseSource, provenance_of
from privsynth.progress import Progress

Groupings = Mapping[int, Grouping]


class Till:
    """Buys noisy tables against the hold's exact cap: checks, then measures.

    Sensitivity: adding or removing one subject changes at most k rows, each of which falls into one cell of
    a table, so one exact table changes by at most k in L2 (all k rows in one cell). A table with rounded
    Gaussian noise sigma is therefore exactly (k/sigma)-GDP, and Σ (k/sigma)² stays below the cap.
    """

    def __init__(
        self, counter: Counter, *, contribution: int, noise: NoiseSource, cap: Fraction, progress: Progress
    ) -> None:
        self._counter = counter
        self._contribution = contribution
        self.cap = cap
        self._purse = Purse(noise, cap=cap)
        self._progress = progress
        self.bought: list[Measurement] = []

    def buy(self, ask: Ask, groups: Groupings) -> None:
        """Measure one table, or refuse before reading it.

        Raises:
            HoldError: it would cost more than is left.
        """
        cost = Fraction(self._contribution) ** 2 / Fraction(ask.sigma) ** 2
        held = {c: groups[c] for c in ask.clique if c in groups}
        noisy = self._purse.take(lambda: self._counter.count(ask.clique, held), sigma=ask.sigma, cost=cost)
        maps = tuple(groups.get(c) for c in ask.clique)
        self.bought.append(Measurement(ask.stage, ask.clique, maps, noisy, ask.sigma, self._contribution))
        self._progress.advance()


def measure(
    till: Till,
    plan: Plan,
    codec: Codec,
    *,
    target: int | None,
    queries: Sequence[Query],
    recipe: str,
    noise: NoiseSource,
    progress: Progress,
    public: Counter | None = None,
    domains: Domains = NO_DOMAINS,
) -> MarginalTranscript:
    """Every noisy table of the plan. Later stages read earlier noisy tables to choose their groups, never
    the rows; what each costs is fixed in the plan, or in the last round of an adaptive fit a function of them too,
    within what the till's cap has left. Noise counts as secure only from the secure source
    itself, not by its word."""
    progress.step("measure (paid)", len(plan.one_ways) + len(plan.held_back) + len(plan.joint))
    for ask in plan.one_ways:
        till.buy(ask, {})
    ones = one_ways(till.bought, codec.columns, _public(till.bought, public))
    copies = 1 if public is None else 2
    stages = _Stages(plan, codec, ones, target=target, queries=queries, copies=copies)
    for ask in plan.held_back:
        till.buy(ask, stages.held_back)
    for ask in plan.joint:
        till.buy(ask, stages.groups(ask))
    if plan.later is not None:
        left = till.cap - sum((m.mu_squared for m in till.bought), Fraction(0))
        again = last_round(till.bought, ones, codec.columns, weights=plan.later.weights, left=left, copies=copies)
        progress.step("measure what stands out again (paid)", len(again.asks))
        for ask in again.asks:
            till.buy(ask, again.groups)
    provenance = provenance_of(noise)
    known = _public(till.bought, public)
    told = MarginalTranscript(tuple(till.bought), recipe, provenance, domains.learned, domains.measured, known)
    return told if plan.later is None else replace(told, envelope=till.cap + domains.mu_squared)


def _public(bought: Sequence[Measurement], public: Counter | None) -> tuple[Ints | None, ...]:
    """Exact tables of the public rows where the paid ones are; none of the held-back, which no fit sees."""
    if public is None:
        return ()
    return tuple(
        None
        if m.stage == "held-back"
        else public.count(m.clique, {c: g for c, g in zip(m.clique, m.groups, strict=True) if g is not None})
        for m in bought
    )


class _Stages:
    """The groups of each stage's columns, from the noisy one-ways."""

    def __init__(
        self,
        plan: Plan,
        codec: Codec,
        ones: OneWays,
        *,
        target: int | None,
        queries: Sequence[Query],
        copies: int,
    ) -> None:
        """``copies``: of each table that the transcript holds: 2 with the public one beside it."""
        self._codec = codec
        self._ones = ones
        self._target = target
        self._queries = queries
        sigma = {
            stage: float(np.median([a.sigma for a in plan.joint if a.stage == stage]))
            for stage in {a.stage for a in plan.joint}
        }
        if plan.later is not None:
            sigma["pair"] *= math.sqrt(FIRST_ROUND)

        def most(stage: str, beside: int, columns: int) -> int:
            """Groups a column at which all tables of the stage stay within what a transcript may hold."""
            tables = sum(ask.stage == stage for ask in plan.joint) * copies
            if plan.later is not None and stage == "pair":
                tables *= 2  # the last round has the other half
            return max(2, int((MOST_CELLS[stage] / (tables * beside)) ** (1 / columns)))

        self.held_back = self._even(HELD_BACK_GROUPS)
        fine = pair_groups(rows=ones.rows, sigma=sigma["pair"]) if "pair" in sigma else None
        if fine is not None:
            fine = min(fine, most("pair", 1, 2))
        self._pair = self._even(fine) if fine is not None else {}
        self._triple: dict[int, Grouping] = {}
        if "triple" in sigma and target is not None:
            values = min(TARGET_GROUPS, codec.columns[target].cells)
            wide = triple_groups(rows=ones.rows, sigma=sigma["triple"], target_groups=values)
            wide = min(wide, most("triple", values, 2))
            self._triple = self._coarser(min(wide, fine or wide))
            self._triple |= self._coarser(TARGET_GROUPS, only=target)
        self._loose: dict[int, Grouping] = {}
        if "loose" in sigma:
            narrow = loose_groups(rows=ones.rows, sigma=sigma["loose"], width=3)
            self._loose = self._coarser(min(narrow, most("loose", 1, 3)))

    def groups(self, ask: Ask) -> Groupings:
        """What the cells of each column of ``ask`` are merged to."""
        match ask.stage:
            case "pair":
                return self._pair
            case "triple":
                return self._triple
            case "loose":
                return self._loose
            case _:
                return self._queries[ask.query or 0].groups(self._codec)

    def _even(self, wanted: int) -> dict[int, Grouping]:
        """Groups of equal noisy mass for each column of more cells than ``wanted``."""
        return {
            c: equal_mass_groups(self._ones.counts[c], wanted, null=column.null)
            for c, column in enumerate(self._codec.columns)
            if column.cells > wanted
        }

    def _coarser(self, wanted: int, only: int | None = None) -> dict[int, Grouping]:
        """At most ``wanted`` groups of equal noisy mass, each a union of the pairs' groups."""
        out: dict[int, Grouping] = {}
        for c, column in enumerate(self._codec.columns):
            if only is not None and c != only:
                continue
            fine = self._pair.get(c)
            if fine is None:
                fine = np.arange(column.cells, dtype=np.int32)
            groups = int(fine.max()) + 1
            if groups > wanted:
                mass = np.bincount(fine, weights=self._ones.counts[c]).astype(np.float64)
                null = None if column.null is None else groups - 1
                out[c] = equal_mass_groups(mass, wanted, null=null)[fine]
            elif c in self._pair:
                out[c] = self._pair[c]
        return out
