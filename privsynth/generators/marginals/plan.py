"""How the fit's μ² is laid out over tables: from declared sizes only, before the first read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from privsynth.generators.marginals.domains import DomainAsk, domain_cost, domain_error
from privsynth.generators.marginals.workload import Clique, Workload, drawn_triples
from privsynth.privacy.noise import MAX_SIGMA, dyadic_at_least, dyadic_below, total_variation

HELD_BACK_SHARE = 0.05
HELD_BACK_TABLES = 8
HELD_BACK_GROUPS = 3
MOST_GROUPS = 100
TARGET_GROUPS = 4
"""A target of more values is merged to so many in the triples."""
GATE_DRAWS = 10_000
"""More counts than a gate draws; at the most noise there is, their share of the sampler's error is set aside."""
LEAST_ONE_WAYS, MOST_ONE_WAYS = 0.2, 0.7
WIDEST_SHARE = 64.0
"""A one-way gets at most so many times the μ² of another: eight times its noise."""
TOLD_CELLS = 0.5
"""Times N/σ: so many cells of a one-way can be told from noise, and a larger one gets no more for its size."""
TRIPLE_SHARE, LOOSE_SHARE = 0.35, 0.3
NOISE_LIMITS = {"pair": 0.2, "triple": 0.04, "loose": 0.04}
"""No stage whose smallest useful table (two groups a column) has more noise than this share of the rows."""
MOST_CELLS = {"pair": 25_000_000, "triple": 20_000_000, "loose": 10_000_000}
"""Of all tables of a stage together, eight bytes each: a ledger takes transcripts up to 500 MB."""
HELPED = 10.0
"""With a public table so much more noise is borne: the paid tables have only to tell how far its law is."""
FIRST_ROUND = Fraction(1, 2)
"""Of what the pairs get, where a fit adapts; the other half is for the last round."""
LEAST_AGAIN = 1 / 64
"""Of the greatest weight in the last round; what weighs less is not bought again."""
SAFE = 1 - Fraction(1, 10**9)
"""Of μ²: the event's own rounding never lets the plan overspend."""


@dataclass(frozen=True)
class Ask:
    """One table to be bought: its stage, columns (increasing) and sigma. ``query``: its number, for a query."""

    stage: str
    clique: Clique
    sigma: float
    query: int | None = None


@dataclass(frozen=True)
class Later:
    """What an adaptive fit leaves to its last round: how much is public, on which pairs its own answers decide.

    Attributes:
        mu_squared: what it costs at most, but for what the stages before it leave over.
        weights: of the pairs that may be bought again.
        contribution: k.
    """

    mu_squared: Fraction
    weights: Mapping[Clique, float]
    contribution: int

    def sigmas(self) -> tuple[float, float]:
        """Least and greatest sigma that may be chosen: all for one pair, or the least weight among all of them."""
        least = self.contribution / math.sqrt(self.mu_squared)
        most = least * math.sqrt(len(self.weights) / LEAST_AGAIN)
        return dyadic_at_least(min(least, MAX_SIGMA)), dyadic_at_least(min(most, MAX_SIGMA))


@dataclass(frozen=True)
class Plan:
    """Public before the first read.

    Attributes:
        one_ways: one table a column, in column order.
        held_back: tables that the fit never sees.
        joint: pairs, then triples with the target, then other triples and queries; possibly none.
        domains: what learning cells, categories and dependencies costs at most; bought first.
        columns: name and number of cells of each column, in column order.
        rows: declared number of training subjects.
        later: what is left to an adaptive fit's last round; None where every sigma is fixed.
    """

    one_ways: tuple[Ask, ...]
    held_back: tuple[Ask, ...]
    joint: tuple[Ask, ...]
    domains: tuple[DomainAsk, ...] = ()
    columns: tuple[tuple[str, int], ...] = ()
    rows: float = 1.0
    later: Later | None = None

    def sigmas(self) -> dict[str, tuple[float, float]]:
        """Least and greatest sigma of each stage whose noise is fixed, in the order of the stages."""
        out: dict[str, tuple[float, float]] = {}
        asked: list[Ask | DomainAsk] = [*self.domains, *self.one_ways, *self.held_back, *self.joint]
        for ask in asked:
            low, high = out.get(ask.stage, (math.inf, 0.0))
            out[ask.stage] = (min(low, ask.sigma), max(high, ask.sigma))
        return out

    def outlook(self) -> tuple[str, ...]:
        """The error to expect of the asked statistics from their noise alone, were every subject one row.

        A one-way of K cells has an expected total variation of K·σ/(N·√(2π)) before it is smoothed; a joint table
        tells the share of rows in any of its cells to σ/N.
        """
        errors = sorted(
            (min(1.0, cells * ask.sigma / (self.rows * math.sqrt(2 * math.pi))), name, cells)
            for ask, (name, cells) in zip(self.one_ways, self.columns, strict=False)
        )
        if not errors:
            return ()
        middle, (worst, name, cells) = errors[len(errors) // 2][0], errors[-1]
        out = [
            f"expected error of one column's distribution, by noise alone (total variation, 0 same, 1 disjoint): "
            f"{middle:.2g} in the middle, at most {worst:.2g} ({name!r}, {cells:,} cells), before smoothing"
        ]
        if self.joint:
            most = max(ask.sigma for ask in self.joint)
            out.append(f"the share of rows in any cell of a joint table is told to ±{most / self.rows:.2g}")
        if self.later is not None:
            low, high = self.later.sigmas()
            out.append(
                f"the noise of the last round is not fixed: the fit's own noisy answers choose it, between {low:.3g} "
                f"and {high:.3g} rows, for some or all of {len(self.later.weights):,} pairs, inside the fit's one "
                f"envelope, of which mu = {math.sqrt(self.later.mu_squared):.3g} is left to it"
            )
        return tuple(out)

    def mu_squared(self, contribution: int) -> Fraction:
        """Exact GDP cost Σ (k/σ)²; of a last round what it may cost at most."""
        asks = (*self.one_ways, *self.held_back, *self.joint)
        later = Fraction(0) if self.later is None else self.later.mu_squared
        return domain_cost(self.domains, contribution) + _cost(asks, contribution) + later


def lay_out(
    *,
    names: Sequence[str],
    cells: Sequence[int],
    mu: float,
    contribution: int,
    rows: float,
    target: int | None,
    workload: Workload,
    recipe: str,
    hold_back: bool,
    helped: bool = False,
    adaptive: bool = False,
) -> Plan:
    """Share ``mu``² over one-ways, held-back cliques and joint tables.

    ``rows`` is the declared number of training subjects (public). A one-way of K cells has error about
    0.4·K·σ/N, so that shares of μ² go with K^(2/3) (steps of √2, for noise tables to be shared); K counts up
    to half of N/σ of an even share, as no histogram tells more cells than that from noise. One-ways
    get 0.4·(8000 / (rows·μ/k))^0.3 of it, within 0.2 and 0.7: the more, the heavier the noise. Of the rest
    pairs, triples with the target and other triples share as 1 : 0.54 : 0.43 (alone beside the pairs: 35% or
    30%), few other triples and queries by their weights next to those of the pairs; within a stage by weight.
    A stage that noise alone would drown is left out, and its share falls to the others. Which cliques are held
    back is drawn from the recipe's identity: no data in it. Sigmas lie on the noise grid; the sum of (k/σ)²
    never exceeds μ². ``adaptive``: half of what the pairs get is left to the last round (rounds.py).
    """
    whole = Fraction(mu) ** 2 * SAFE
    signal = max(rows * mu / contribution, 1e-9)
    held = _held_back(len(names), target, recipe) if hold_back else ()
    held_share = HELD_BACK_SHARE if held else 0.0
    one_share = min(MOST_ONE_WAYS, max(LEAST_ONE_WAYS, 0.4 * (8000.0 / signal) ** 0.3))
    budget = float(whole) * (1 - held_share - one_share)
    limits = {**NOISE_LIMITS, "pair": NOISE_LIMITS["pair"] * (HELPED if helped else 1.0)}
    stages = _stages(names, budget, contribution, rows, target, workload, recipe, limits)
    if not stages:
        one_share = 1.0 - held_share
    even = contribution * math.sqrt(len(cells) / (float(whole) * one_share))
    most = max(2.0, TOLD_CELLS * rows / even)
    sizes = [2.0 ** (round(4 / 3 * math.log2(min(k, most))) / 2) for k in cells]
    least = max(sizes) / WIDEST_SHARE
    ones = spread(
        "one-way", {(c,): max(size, least) for c, size in enumerate(sizes)}, whole * Fraction(one_share), contribution
    )
    back = spread("held-back", dict.fromkeys(held, 1.0), whole * Fraction(held_share), contribution)
    left = whole - _cost(ones, contribution) - _cost(back, contribution)
    joint: list[Ask] = []
    later = None
    total = sum(Fraction(share) for _, _, share in stages)
    for stage, weights, share in stages:
        part = left * Fraction(share) / total
        if adaptive and stage == "pair":
            later = Later(part * (1 - FIRST_ROUND), weights, contribution)
            joint += spread(stage, weights, part * FIRST_ROUND, contribution)
        else:
            joint += spread(stage, weights, part, contribution)
        left, total = left - part, total - Fraction(share)
    joint = [_of_query(ask, names, workload) if ask.stage == "query" else ask for ask in joint]
    ordered = tuple(sorted(ones, key=lambda a: a.clique))
    columns = tuple(zip(names, cells, strict=True))
    return Plan(ordered, tuple(back), tuple(joint), columns=columns, rows=max(rows, 1.0), later=later)


def _stages(
    names: Sequence[str],
    budget: float,
    contribution: int,
    rows: float,
    target: int | None,
    workload: Workload,
    recipe: str,
    limits: Mapping[str, float],
) -> list[tuple[str, Mapping[Clique, float], float]]:
    """The joint stages: name, weighted cliques (a query: its number) and weight of the whole stage. Triples
    only where their least table stands out of the noise, pairs likewise."""
    pairs = workload.pairs(names, target)
    triples = dict.fromkeys(workload.target_triples(names, target), 1.0)
    loose = workload.other_triples(names, target, recipe=recipe)
    queries: dict[Clique, float] = {(i,): q.weight for i, q in enumerate(workload.queries) if q.weight > 0}
    beside = max(sum(pairs.values()), 1.0)
    asked: dict[str, tuple[Mapping[Clique, float], float]] = {
        "pair": (pairs, 1.0 if pairs else 0.0),
        "triple": (triples, TRIPLE_SHARE / (1 - TRIPLE_SHARE) if triples else 0.0),
        "loose": (loose, min(LOOSE_SHARE / (1 - LOOSE_SHARE), sum(loose.values()) / beside)),
        "query": (queries, sum(queries.values()) / beside),
    }
    for stage in ("loose", "triple", "pair"):
        cliques, share = asked[stage]
        part = budget * share / max(sum(s for _, s in asked.values()), 1e-300)
        typical = contribution * math.sqrt(len(cliques) / part) if part > 0 else math.inf
        cells = 4 if stage == "pair" else 8  # of the least table; half the mean absolute noise of each
        if 0.2 * cells * typical / max(rows, 1.0) > limits[stage]:
            asked[stage] = (cliques, 0.0)
    return [(stage, cliques, share) for stage, (cliques, share) in asked.items() if share > 0]


def _of_query(ask: Ask, names: Sequence[str], workload: Workload) -> Ask:
    number = ask.clique[0]
    columns = tuple(sorted(names.index(c) for c in workload.queries[number].where))
    return Ask("query", columns, ask.sigma, number)


def _cost(asks: Sequence[Ask], contribution: int) -> Fraction:
    return sum((Fraction(contribution) ** 2 / Fraction(a.sigma) ** 2 for a in asks), Fraction(0))


def spread(stage: str, weights: Mapping[Clique, float], budget: Fraction, contribution: int) -> list[Ask]:
    """``budget`` of μ² over cliques by weight. Within one weight the first cliques take the grid's sigma
    just below the even one and the others the one just above, so that next to nothing is left over."""
    classes: dict[float, list[Clique]] = {}
    for clique, weight in weights.items():
        classes.setdefault(weight, []).append(clique)
    total = sum(Fraction(weight) * len(cliques) for weight, cliques in classes.items())
    out: list[Ask] = []
    left = budget
    for weight, cliques in sorted(classes.items(), key=lambda c: (len(c[1]), c[0])):
        part = Fraction(weight) * len(cliques)
        share = left * part / total
        even = contribution * math.sqrt(len(cliques) / float(share)) * (1 + 1e-12)
        if even > MAX_SIGMA and stage not in ("one-way", "held-back"):
            total -= part  # so little weight that noise has no table: not measured
            continue
        high = dyadic_at_least(even)
        low = dyadic_below(high)
        dear, cheap = (Fraction(contribution) ** 2 / Fraction(s) ** 2 for s in (low, high))
        more = int((share - cheap * len(cliques)) / (dear - cheap)) if dear > cheap else 0
        out += [Ask(stage, clique, low if i < more else high) for i, clique in enumerate(cliques)]
        left, total = left - _cost(out[-len(cliques) :], contribution), total - part
    return out


def _held_back(columns: int, target: int | None, recipe: str) -> tuple[Clique, ...]:
    """Up to eight cliques of three columns (fewer where there are fewer), drawn by the recipe's hash; without
    the target, whose triples are fitted, where there are columns enough."""
    free = [c for c in range(columns) if c != target]
    if len(free) < min(3, columns):
        free = list(range(columns))
    if len(free) < 3:
        return (tuple(free),)
    return tuple(sorted(drawn_triples(free, HELD_BACK_TABLES, key=recipe)))


def sampler_error(plan: Plan, cells: Sequence[int], *, at: float | None = None) -> Fraction:
    """At most Σ total variation over every count that the plan and a gate draw; ``at``: were each sigma so large."""
    error = GATE_DRAWS * total_variation(MAX_SIGMA)
    for ask in plan.one_ways:
        error += cells[ask.clique[0]] * total_variation(at or ask.sigma)
    for ask in plan.held_back:
        error += HELD_BACK_GROUPS ** len(ask.clique) * total_variation(at or ask.sigma)
    for ask in plan.joint:
        error += math.prod(min(cells[c], MOST_GROUPS) for c in ask.clique) * total_variation(at or ask.sigma)
        if plan.later is not None and ask.stage == "pair":
            error += math.prod(min(cells[c], MOST_GROUPS) for c in ask.clique) * total_variation(MAX_SIGMA)
    return error + domain_error(plan.domains)


def pair_groups(*, rows: float, sigma: float) -> int:
    """How many groups a column gets in the pairs: sqrt(N̂ / (1.5·σ)), 2 to 100.

    So many that a cell of an even table holds 1.5·σ rows. Coarser loses detail, finer drowns it; with the
    penalty of the fit the optimum is flat (docs/decisions/0011).
    """
    return max(2, min(MOST_GROUPS, int(math.sqrt(rows / (1.5 * sigma)))))


def triple_groups(*, rows: float, sigma: float, target_groups: int) -> int:
    """As :func:`pair_groups`, of the two columns beside the target: sqrt(N̂ / (3·σ·√target groups))."""
    return max(2, min(MOST_GROUPS, int(math.sqrt(rows / (3.0 * sigma * math.sqrt(target_groups))))))


def loose_groups(*, rows: float, sigma: float, width: int) -> int:
    """As :func:`pair_groups`, of each column of a table of ``width`` columns."""
    return max(2, min(MOST_GROUPS, int((rows / (3.0 * sigma)) ** (1.0 / width))))
