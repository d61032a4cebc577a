"""How much of its cap a rule of composition lets an adaptive adversary take: a search over two-step strategies.

The first mechanism is drawn from families (coins and mechanisms of three and four outcomes, Gaussian, Laplace, sampled
steps) and the best finite one is then varied; the second is the worst of all that the rule still grants by each answer
(of several families, where the rule is the natural one). Figures are exact to the brackets of
``tests/privacy/adversaries.py``: the upper end for the package's filters, the lower end for the unsound rules. Above 1
the cap is broken. About twenty minutes.

    python -m benchmarks.bench_adversaries [--firsts 60] [--steps 60] [--keep]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np

from benchmarks.records import Record, keep
from privsynth.privacy.filters import GdpFilter, RenyiFilter, automatic_orders
from tests.privacy.adversaries import (
    ByFilter,
    Mechanism,
    Natural,
    Rule,
    SplitOfNone,
    TightRenyi,
    between,
    coin,
    finishers,
    finite,
    gaussian,
    laplace,
    menu,
    steps,
)

CAPS = ((1.0, 1e-5), (3.0, 1e-6), (0.5, 1e-6))
TINY = 1e-30  # delta_a, so that nearly all of delta is the filter's own
SOUND = ("gdp", "rdp auto", "rdp auto, tight conversion")
UNSOUND = ("natural", "rdp auto, delta not split", "rdp two orders, tight, delta not split")


def rule_of(system: str, epsilon: float, delta: float) -> Rule:
    """The rule of this name."""
    orders = automatic_orders(epsilon, delta)
    match system:
        case "gdp":
            return ByFilter(GdpFilter(epsilon, delta, TINY))
        case "rdp auto":
            return ByFilter(RenyiFilter(epsilon, delta, TINY, orders))
        case "rdp auto, tight conversion":
            return ByFilter(TightRenyi(epsilon, delta, TINY, orders, shares=len(orders)))
        case "rdp auto, delta not split":
            return ByFilter(SplitOfNone(epsilon, delta, TINY, orders))
        case "rdp two orders, tight, delta not split":
            return ByFilter(TightRenyi(epsilon, delta, TINY, (orders[0], orders[-1]), shares=1))
        case _:
            return Natural(epsilon, delta)


def ratio(rule: Rule, first: Mechanism, *, epsilon: float, delta: float) -> float:
    """δ of the worst that the rule grants, over the cap; 0 where it does not grant ``first``."""
    if not rule.grants(first):
        return 0.0
    sound = isinstance(rule, ByFilter) and not isinstance(rule.filter, SplitOfNone)
    second = finishers(rule, first, epsilon=epsilon) if isinstance(rule, ByFilter) else menu(rule, first)
    return between(first, second, epsilon=epsilon)[sound] / delta


def firsts(count: int, epsilon: float, rng: np.random.Generator) -> Iterator[Mechanism]:
    """``count`` drawn first mechanisms, most of them finite."""
    yield from (gaussian(noise / epsilon) for noise in (4.5, 6.0, 8.0, 10.0, 20.0))
    yield from (laplace(scale / epsilon) for scale in (6.0, 12.0, 30.0))
    yield from (steps(rate, noise, times) for rate, noise, times in ((0.01, 2.0, 100), (0.001, 1.0, 200)))
    for _ in range(count):
        outcomes = int(rng.integers(2, 5))
        q = rng.dirichlet(np.full(outcomes, rng.choice([0.3, 1.0])))
        yield tilted(np.maximum(q, 1e-9), rng.normal(size=outcomes) * epsilon * 10 ** rng.uniform(-2, -0.2))


def tilted(q: np.ndarray, losses: np.ndarray) -> Mechanism:
    """The finite mechanism with these probabilities and, but for a constant, these losses."""
    p = q * np.exp(losses)
    return finite("finite " + " ".join(f"{x:.4g}" for x in losses), (p / p.sum()).tolist(), (q / q.sum()).tolist())


def search(system: str, epsilon: float, delta: float, *, count: int, climbs: int, seed: int) -> tuple[float, str]:
    """(largest ratio found, the first mechanism that reaches it)."""
    rng, rule = np.random.default_rng(seed), rule_of(system, epsilon, delta)
    drawn = [(ratio(rule, first, epsilon=epsilon, delta=delta), first) for first in firsts(count, epsilon, rng)]
    drawn.append((ratio(rule, coin(0.3, 0.29), epsilon=epsilon, delta=delta), coin(0.3, 0.29)))
    best, where = max(drawn, key=lambda found: found[0])
    finite_ones = [found for found in drawn if found[1].event is None]
    top, at = max(finite_ones, key=lambda found: found[0])
    for _ in range(climbs):
        q, losses = at.below.q, np.log(at.below.p / at.below.q)
        wide = 10 ** rng.uniform(-3, -0.5)
        other = tilted(
            q * np.exp(wide * rng.normal(size=q.size)),
            losses * (1 + wide * rng.normal()) + wide * epsilon * 0.1 * rng.normal(size=q.size),
        )
        if (reached := ratio(rule, other, epsilon=epsilon, delta=delta)) > top:
            top, at = reached, other
    return max((best, where.name), (top, at.name))


def main() -> None:
    """Print, and with ``--keep`` record, the largest ratio for each rule and cap."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--firsts", type=int, default=60)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true")
    given = parser.parse_args()
    records = []
    for epsilon, delta in CAPS:
        for system in (*SOUND, *UNSOUND):
            found, first = search(system, epsilon, delta, count=given.firsts, climbs=given.steps, seed=given.seed)
            print(f"({epsilon:g}, {delta:g})  {system:<40} {found:.4f} of the cap   first: {first}", flush=True)
            records.append(
                Record(
                    benchmark="adversaries",
                    data="two-step strategies",
                    system=system,
                    epsilon=epsilon,
                    delta=delta,
                    seed=given.seed,
                    n=given.firsts + given.steps,
                    metric="delta reached over the cap",
                    value=found,
                    unit="of delta*",
                )
            )
    if given.keep:
        keep("adversaries", records)


if __name__ == "__main__":
    main()
