"""An attack on the measurement itself: what an onlooker of the noisy tables can tell at worst, from many runs.

What is attacked here is ``measure`` under its ``Till``: every stage of the tables over cells, and so quick that many
runs are made. ``auditing_fits.py`` attacks a whole ``Marginals.fit`` with the same onlooker.

Two neighbouring tables, as far apart as k rows can make them: the subject's rows are alike and lie in cells that
nobody else has. Onlooker and mechanism are run many times on each; the onlooker knows everything but the noise and
says which table it was. How often he errs bounds the privacy parameters from below, by exact binomial limits
(Clopper & Pearson 1934): a μ-GDP mechanism has Φ⁻¹(1 − false alarms) − Φ⁻¹(misses) ≤ μ at every rule (Dong, Roth &
Su 2022), an (ε, δ) one hits ≤ e^ε·false alarms + δ. From n runs without one error no ε above about
ln(n/4) can be found, so ε is audited at points of the stated curve where it is small enough: at a large δ.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from privsynth.data.codec import Codec, Codes
from privsynth.data.count import Counter, TableCounter
from privsynth.data.schema import parse_schema
from privsynth.generators.marginals import Marginals
from privsynth.generators.marginals.measure import Till, measure
from privsynth.generators.marginals.plan import Plan, lay_out
from privsynth.generators.marginals.transcript import MarginalTranscript, Measurement
from privsynth.generators.marginals.workload import Query, Workload
from privsynth.privacy.budget import Budget
from privsynth.privacy.gdp import epsilon_of
from privsynth.privacy.noise import NoiseSource
from privsynth.progress import SILENT
from privsynth.validate.rates import clopper_pearson

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Run = Callable[[Codes], MarginalTranscript]
Told = tuple[list[dict[str, float]], list[dict[str, float]]]

SCHEMA = """\
privsynth-schema: 1
source: made/small
subject: {{each row is a: visit, a person has at most: {k} rows}}
columns:
  a: {{kind: categorical, values: [u, v, w]}}
  b: {{kind: categorical, values: [u, v, w, x]}}
  c: {{kind: boolean}}
  d: {{kind: boolean}}
"""


@dataclass(frozen=True)
class Mechanism:
    """The fit's measurement without a ledger.

    Attributes:
        recipe: whose tables are bought.
        mu: what they may cost.
        rows: declared training rows.
        contribution: k that the noise is scaled to; the recipe's schema has its own.
        cap: what the till lets through, in μ².
    """

    recipe: Marginals
    mu: float
    rows: float
    contribution: int
    cap: Fraction
    hold_back: bool = True

    @property
    def plan(self) -> Plan:
        """What is to be bought."""
        names = [c.name for c in Codec(self.recipe.schema).columns]
        return lay_out(
            names=names,
            cells=self.cells,
            mu=self.mu,
            contribution=self.contribution,
            rows=self.rows,
            target=None if self.recipe.target is None else names.index(self.recipe.target),
            workload=self.recipe.workload,
            recipe="made",
            hold_back=self.hold_back,
            adaptive=self.recipe.rounds == "adaptive",
        )

    @property
    def cells(self) -> list[int]:
        """Of each column."""
        return [c.cells for c in Codec(self.recipe.schema).columns]

    def runs(self, noise: NoiseSource, *, counted: Callable[[Codes], Counter] | None = None) -> Run:
        """The measurement of coded rows; each call draws fresh noise. ``counted`` stands in for the counter."""
        plan, codec = self.plan, Codec(self.recipe.schema)
        target = None if self.recipe.target is None else codec.index[self.recipe.target]
        cells = self.cells

        def run(codes: Codes) -> MarginalTranscript:
            till = Till(
                TableCounter(codes, cells) if counted is None else counted(codes),
                contribution=self.contribution,
                noise=noise,
                cap=self.cap,
                progress=SILENT,
            )
            queries = self.recipe.workload.queries
            return measure(
                till, plan, codec, target=target, queries=queries, recipe="made", noise=noise, progress=SILENT
            )

        return run


def small(*, k: int = 2, mu: float = 3.0, rows: float = 1000.0) -> Mechanism:
    """Four columns and a query: every kind of stage of the tables over cells."""
    workload = Workload(up_to=3, queries=(Query({"a": "v", "b": ["v", "w"]}),))
    recipe = Marginals(parse_schema(SCHEMA.format(k=k)), Budget(1.0, 1e-9), target="c", workload=workload)
    return Mechanism(recipe, mu, rows, k, Fraction(mu) ** 2)


def worst_neighbours(k: int) -> tuple[Codes, Codes]:
    """Five rows, and the same with k rows more, alike and in cells that are empty otherwise."""
    before = np.zeros((5, 4), dtype=np.int32)
    return before, np.concatenate([before, np.full((k, 4), 1, dtype=np.int32)])


def exact(codes: Codes, cells: Sequence[int], m: Measurement) -> Ints:
    """What a noisy table was before its noise."""
    groups = {c: g for c, g in zip(m.clique, m.groups, strict=True) if g is not None}
    return TableCounter(codes, cells).count(m.clique, groups)


def bought_twice(mechanism: Mechanism, noise: NoiseSource) -> Run:
    """A planted fault: every table is drawn twice and paid once."""
    honest = mechanism.runs(noise)

    def run(codes: Codes) -> MarginalTranscript:
        first = honest(codes)
        again = [
            replace(m, counts=noise.add(exact(codes, mechanism.cells, m), sigma=m.sigma)) for m in first.measurements
        ]
        return replace(first, measurements=(*first.measurements, *again))

    return run


# --- the onlooker --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Audit:
    """What was found, at a stated chance that a sound mechanism is found worse than it is.

    Attributes:
        mu, epsilon: lower bounds.
        by: the rule that gave ``mu``.
        runs: of each table.
    """

    mu: float
    epsilon: float
    by: str
    runs: int


def scores(transcript: MarginalTranscript, before: Codes, after: Codes, cells: Sequence[int]) -> dict[str, float]:
    """What the onlooker computes, each above 0 where it speaks for ``after``.

    ``likelihood``: the logarithm of the likelihood ratio of all tables: Σ (y − x)·d/σ² − d·d/2σ², the best there is.
    ``rows`` and ``first``: the noisy numbers of rows, of all tables together and of the first one: they find a number
    of rows that got past the noise.
    """
    ratio, weighed, weight, first = 0.0, 0.0, 0.0, None
    for m in transcript.measurements:
        x = exact(before, cells, m)
        d = exact(after, cells, m) - x
        ratio += float(((m.counts - x) * d).sum() - 0.5 * (d * d).sum()) / m.sigma**2
        over = float(m.counts.sum()) - (len(before) + len(after)) / 2
        weighed, weight = weighed + over / (m.counts.size * m.variance), weight + 1 / (m.counts.size * m.variance)
        first = over if first is None else first
    return {"likelihood": ratio, "rows": weighed / weight, "first": first or 0.0}


SHARES = (0.5, 0.75, 1.0, 1.25)
"""Of the stated ε: where the rules of :func:`audit_points` cut."""


def audit(
    run: Run, before: Codes, after: Codes, cells: Sequence[int], *, runs: int, mu: float, delta: float, alarm: float
) -> Audit:
    """Run the mechanism on both tables and bound μ and ε (at ``delta``) from below: :func:`bound`."""
    return bound(_told(run, before, after, cells, runs), mu=mu, delta=delta, alarm=alarm)


def _told(run: Run, before: Codes, after: Codes, cells: Sequence[int], runs: int) -> Told:
    one, other = ([scores(run(codes), before, after, cells) for _ in range(runs)] for codes in (before, after))
    return one, other


def bound(told: Told, *, mu: float, delta: float, alarm: float) -> Audit:
    """Lower bounds of μ and of ε (at ``delta``).

    Args:
        told: the onlooker's scores of as many runs on each table.
        mu: as stated; it places the rules, fixed before anything is run.
        alarm: the chance that a bound lies above the truth, over all rules together.
    """
    runs = len(told[0])
    rules = [("likelihood", cut * mu * mu / 2) for cut in (-1.0, 0.0, 1.0)] + [("rows", 0.0), ("first", 0.0)]
    level = 1 - alarm / len(rules)  # two-sided: one end of each of two rates is used
    found = [Audit(0.0, 0.0, "", runs)]
    for name, cut in rules:
        alarms = sum(s[name] > cut for s in told[0])
        misses = sum(s[name] <= cut for s in told[1])
        one, two = (clopper_pearson(n, runs, level=level).high for n in (alarms, misses))
        quantile = NormalDist().inv_cdf
        apart = quantile(1 - one) - quantile(two) if max(one, two) < 1 else 0.0
        odds = max((1 - two - delta) / one, (1 - one - delta) / two)
        found.append(Audit(apart, math.log(odds) if odds > 0 else 0.0, name, runs))
    best = max(found, key=lambda a: a.mu)
    return Audit(best.mu, max(a.epsilon for a in found), best.by, runs)


@dataclass(frozen=True)
class Point:
    """One point of the stated curve.

    Attributes:
        delta, stated: of the point.
        found: a lower bound of ε at ``delta``.
    """

    delta: float
    stated: float
    found: float


def audit_points(
    run: Run,
    before: Codes,
    after: Codes,
    cells: Sequence[int],
    *,
    runs: int,
    mu: float,
    deltas: Sequence[float],
    alarm: float,
) -> tuple[Point, ...]:
    """Run the mechanism on both tables and bound ε from below at points of its curve: :func:`points`."""
    return points(_told(run, before, after, cells, runs), mu=mu, deltas=deltas, alarm=alarm)


def points(told: Told, *, mu: float, deltas: Sequence[float], alarm: float) -> tuple[Point, ...]:
    """Lower bounds of ε at points of the curve that ``mu`` states.

    The rules ask whether the likelihood ratio lies beyond shares of the stated ε, either way: hits and false alarms
    of one rule bound ε by ln((hits − δ) / false alarms), each at its Clopper-Pearson limit.

    Args:
        told: the onlooker's scores of as many runs on each table.
        alarm: the chance that any bound lies above the truth, over all rules and points together.
    """
    runs = len(told[0])
    ratios = [np.array([s["likelihood"] for s in side]) for side in told]
    level = 1 - alarm / (2 * len(SHARES) * len(deltas))  # two-sided: one end of each of two rates is used
    out = []
    for delta in deltas:
        stated, found = epsilon_of(mu, delta=delta), 0.0
        for cut in (share * stated for share in SHARES):
            for seen, other in ((ratios[1] > cut, ratios[0] > cut), (ratios[0] < -cut, ratios[1] < -cut)):
                hits = clopper_pearson(int(seen.sum()), runs, level=level).low - delta
                alarms = clopper_pearson(int(other.sum()), runs, level=level).high
                found = max(found, math.log(hits / alarms) if hits > 0 else 0.0)
        out.append(Point(delta, stated, found))
    return tuple(out)
