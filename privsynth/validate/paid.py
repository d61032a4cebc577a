"""The noisy forms of a check on real rows: what a gate may use, because it is paid for.

Mechanism of every rule. Neighbours: add or remove one subject. The synthetic rows, the threshold, the
reference and the trained model are fixed before the real rows are read, and are functions of the
fitted model alone. What is read is one table of counts in which a subject moves one cell by 1
(membership: each subject falls in one cell) or cells by at most k in all (utility: k rows), so its L2
sensitivity is 1 and k. It gets rounded Gaussian noise: an exact (1/σ)- or (k/σ)-GDP event. Everything
after that, rates, bounds and verdict, is post-processing.

A bound here is one-sided 95% and has both the added noise and the sampling of people in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from privsynth.data.codec import CodedColumn
from privsynth.errors import UsageError
from privsynth.privacy.noise import NoiseSource, dyadic_at_least
from privsynth.validate.coded import Codes, Rows
from privsynth.validate.membership.neighbour import by_subject, min_distance
from privsynth.validate.utility import features, fit_classifier

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Z95 = NormalDist().inv_cdf(0.95)
REFERENCE_SOFTENER = 1.0
NEAR_SOFTENER = 0.02
EVALUATED = 20_000
"""About so many subjects of a side are looked at, by declared size."""
SUPPRESS_AT = 10.0
"""A group is judged only where its noisy size is at least ten times the noise of that size."""


@dataclass(frozen=True)
class Membership:
    """What the paid membership rule found: paid figures, fit to leave.

    Attributes:
        members, others: noisy (above, below) counts of training and held-out subjects.
        sigma: of the noise on each.
        advantage: TPR − FPR of the attack at its cut.
        upper: its one-sided 95% upper bound; 1 where there are too few people to say.
    """

    members: tuple[int, int]
    others: tuple[int, int]
    sigma: float
    advantage: float
    upper: float


def closeness(rows: Codes, near: Codes, reference: Codes, columns: Sequence[CodedColumn]) -> Floats:
    """(n,) attack score: (d(x, reference) + 1) / (d(x, near) + 0.02), a pure function of the row (the distances
    are whole numbers on a grid, a division rounds one way everywhere): no other row can move it.

    Near a synthetic row, and not merely because the place is crowded: the reference is drawn from
    independent columns. A copy has d = 0 exactly, so copies score above everything else.
    """
    distinct, place = np.unique(rows, axis=0, return_inverse=True)
    to_near = min_distance(distinct, np.unique(near, axis=0), columns)
    to_reference = min_distance(distinct, reference, columns)
    score: Floats = (to_reference + REFERENCE_SOFTENER) / (to_near + NEAR_SOFTENER)
    return score[place.reshape(-1)]


def membership(
    train: Rows,
    holdout: Rows,
    *,
    near: Codes,
    fresh: Codes,
    reference: Codes,
    columns: Sequence[CodedColumn],
    cut: float,
    mu: float,
    noise: NoiseSource,
) -> Membership:
    """The paid membership rule: one noisy 2 × 2 table of (trained on?, scores like a synthetic row?).

    Args:
        train, holdout: real rows by subject; a subject's score is the largest among her rows.
        near: synthetic rows that the attack looks for copies in (about as many as trained on).
        fresh: further synthetic rows; the threshold is the ``cut`` quantile of their scores.
        reference: rows of independent columns.
        cut: share of fresh rows left below the threshold, above 0 and below 1.
        mu: GDP parameter paid for this table; σ = 1/μ, rounded up.
        noise: the secure source; a seeded one in tests.
    """
    threshold = float(np.quantile(closeness(fresh, near, reference, columns), cut))
    members, others = (
        by_subject(closeness(rows.codes, near, reference, columns), rows) >= threshold for rows in (train, holdout)
    )
    return told_apart(members, others, mu=mu, noise=noise)


def told_apart(members: Bools, others: Bools, *, mu: float, noise: NoiseSource) -> Membership:
    """The noisy 2 × 2 table of an attack that says of each training subject (n,) and of each held-out one (m,)
    whether it takes her for a member: the one look at real rows of every membership rule.

    What it says of a subject must be a function of her own rows and of the model: then she is in one cell.
    """
    table = np.array([[said.sum(), (~said).sum()] for said in (members, others)], dtype=np.int64)
    sigma = dyadic_at_least(1.0 / mu * (1 + 1e-12))
    (a, b), (c, d) = noise.add(table, sigma=sigma).tolist()
    advantage, error = _difference((a, b), (c, d), sigma)
    return Membership((a, b), (c, d), sigma, advantage, min(1.0, advantage + Z95 * error))


def _rate(yes: float, no: float, sigma: float) -> tuple[float, float]:
    """A share from two noisy counts, and its standard error (noise and people); (0.5, inf) if too few."""
    total = yes + no
    if total < SUPPRESS_AT * sigma:
        return 0.5, math.inf
    p = min(1.0, max(0.0, yes / total))
    noise = (sigma**2 + 1 / 12) * ((1 - p) ** 2 + p**2) / total**2
    return p, math.sqrt(noise + max(p * (1 - p), 1 / total) / total)


def _difference(members: tuple[float, float], others: tuple[float, float], sigma: float) -> tuple[float, float]:
    p, p_error = _rate(*members, sigma)
    q, q_error = _rate(*others, sigma)
    return p - q, math.hypot(p_error, q_error)


def false_refusal(*, limit: float, members: float, others: float, mu: float, advantage: float = 0.0) -> float:
    """How likely the membership rule refuses a generator whose true advantage is ``advantage``.

    Normal approximation at the worst rate (one half), from declared sizes: public, before any spending.
    Policies are to be chosen, and plans refused, by this figure. With ``advantage = 2Φ(μ_fit/2) − 1``,
    the most that any attacker can have on a fit that keeps its μ, it bounds the false refusal of every
    correct fit on every data set.
    """
    if members <= 0 or others <= 0 or mu <= 0:
        return 1.0
    sigma = dyadic_at_least(1.0 / mu)
    _, error = _difference((members / 2, members / 2), (others / 2, others / 2), sigma)
    if not math.isfinite(error):
        return 1.0
    return 1.0 - NormalDist().cdf((limit - advantage) / error - Z95)


@dataclass(frozen=True)
class GroupRates:
    """Noisy figures of one group; None where the group is too small to be judged.

    Attributes:
        column, group: which.
        size: noisy rows.
        accuracy, balanced: estimates with their standard errors.
        size_error: standard deviation of the noise in ``size``.
    """

    column: str
    group: str
    size: int
    accuracy: tuple[float, float] | None
    balanced: tuple[float, float] | None
    size_error: float = 0.0

    def people(self, *, contribution: int) -> float:
        """The one-sided 95% lower bound on how many people the group has, each with at most so many rows."""
        return max(0.0, (self.size - Z95 * self.size_error) / contribution)


@dataclass(frozen=True)
class Utility:
    """What the paid utility rule found: paid figures, fit to leave.

    Attributes:
        accuracy, balanced: (estimate, one-sided 95% lower bound) over all holdout rows, or None where
            too few.
        groups: the figures by group.
        gap: (estimate, one-sided 95% upper bound) of the largest difference in accuracy between two
            judged groups of a column; None without two such groups.
        sigma: of the noise on each count.
    """

    accuracy: tuple[float, float] | None
    balanced: tuple[float, float] | None
    groups: tuple[GroupRates, ...]
    gap: tuple[float, float] | None
    sigma: float


def utility(
    holdout: Rows,
    *,
    synthetic: Codes,
    columns: Sequence[CodedColumn],
    target: int,
    positive: Bools,
    by: Sequence[int],
    contribution: int,
    mu: float,
    noise: NoiseSource,
    seed: int = 0,
) -> Utility:
    """The paid utility rule: train on synthetic rows, count right and wrong on the holdout, noisily.

    Args:
        synthetic: rows to train on; gradient-boosted trees.
        target: column number; ``positive``: (cells,) which of its cells count as the outcome.
        by: columns whose groups get a table of their own; none: one table.
        contribution: k, the L2 sensitivity of each table.
        mu: paid for all tables together, split evenly over them.
    """
    rest = [c for c in range(len(columns)) if c != target]
    model = fit_classifier(features(synthetic[:, rest]), positive[synthetic[:, target]], seed)
    guess = model.chance(features(holdout.codes[:, rest])) > 0.5
    truth = positive[holdout.codes[:, target]]
    groups = [(columns[c].name, *groups_of(columns[c], holdout.codes[:, c])) for c in by]
    return count_right(truth.astype(np.int64), guess == truth, 2, groups, contribution=contribution, mu=mu, noise=noise)


def count_right(
    truth: Ints,
    right: Bools,
    classes: int,
    groups: Sequence[tuple[str, Ints, tuple[str, ...]]],
    *,
    contribution: int,
    mu: float,
    noise: NoiseSource,
) -> Utility:
    """Noisy tables of (group, true class, guessed wrong or right), and what follows from them: the one look at
    real rows of every rule about a classifier that was trained on synthetic ones.

    Args:
        truth: (n,) of each held-out row, 0 to ``classes`` − 1; ``right``: (n,) whether it was guessed.
        groups: for each column: its name, (n,) the group of each row, their names; none: one table of all.
        contribution: k, the L2 sensitivity of each table; ``mu``: paid for all tables, split evenly over them.
    """
    sigma = dyadic_at_least(contribution * math.sqrt(max(1, len(groups))) / mu * (1 + 1e-12))
    everyone = ("", np.zeros(len(truth), dtype=np.int64), ("all",))
    blocks: list[_Block] = []
    for column, group, labels in groups or (everyone,):
        cells = (group * classes + truth) * 2 + right
        exact = np.bincount(cells, minlength=2 * classes * len(labels)).astype(np.int64)
        blocks.append(_Block(column, labels, noise.add(exact.reshape(len(labels), classes, 2), sigma=sigma)))
    fewest = min(blocks, key=lambda block: len(block.labels))  # the least noise in its sum
    accuracy, balanced = _accuracies(fewest.table.sum(axis=0), sigma * math.sqrt(len(fewest.labels)))
    judged = tuple(g for block in blocks if groups for g in block.groups(sigma))
    return Utility(_lower(accuracy), _lower(balanced), judged, _gap(judged), sigma)


@dataclass(frozen=True, eq=False)
class _Block:
    """One noisy (groups, classes, wrong or right) table."""

    column: str
    labels: tuple[str, ...]
    table: Ints

    def groups(self, sigma: float) -> tuple[GroupRates, ...]:
        return tuple(
            GroupRates(
                self.column, label, int(cell.sum()), *_accuracies(cell, sigma), size_error=sigma * math.sqrt(cell.size)
            )
            for label, cell in zip(self.labels, self.table, strict=True)
        )


def groups_of(column: CodedColumn, codes: Codes) -> tuple[Ints, tuple[str, ...]]:
    """A column's groups: its cells if there are at most 12, else five stretches of cells and null.

    Raises:
        UsageError: an unordered column of more than 12 values.
    """
    labels = column.labels()
    if column.cells <= 12:
        return codes.astype(np.int64), labels
    values = column.cells - (1 if column.nullable else 0)
    if not column.ordered:
        raise UsageError(
            f"{column.name!r} has {column.cells} unordered values: too many groups",
            where="gate › by",
            mend="group by a column of at most 12 values",
        )
    group = np.minimum(codes.astype(np.int64) * 5 // values, 4)
    names = [f"{labels[-(-i * values // 5)]} …" for i in range(5)]
    if column.nullable:
        group = np.where(codes == values, 5, group)
        names.append("null")
    return group, tuple(names)


Estimate = tuple[float, float]


def _accuracies(table: Floats | Ints, sigma: float) -> tuple[Estimate | None, Estimate | None]:
    """(accuracy, balanced accuracy) with standard errors, from a noisy (classes, wrong or right) table."""
    classes = len(table)
    wrong, right = table.sum(axis=0).tolist()
    accuracy = _rate(right, wrong, sigma * math.sqrt(classes))
    rates = [_rate(yes, no, sigma) for no, yes in table.tolist()]
    balanced = sum(p for p, _ in rates) / classes, math.hypot(*(error for _, error in rates)) / classes
    return accuracy if math.isfinite(accuracy[1]) else None, balanced if math.isfinite(balanced[1]) else None


def _lower(estimate: Estimate | None) -> Estimate | None:
    return None if estimate is None else (estimate[0], max(0.0, estimate[0] - Z95 * estimate[1]))


def _gap(groups: Sequence[GroupRates]) -> Estimate | None:
    """The largest accuracy difference within a column, and its upper bound (over all judged pairs)."""
    best: Estimate | None = None
    for column in dict.fromkeys(g.column for g in groups):
        judged = [g.accuracy for g in groups if g.column == column and g.accuracy is not None]
        for i, (p, p_error) in enumerate(judged):
            for q, q_error in judged[i + 1 :]:
                upper = abs(p - q) + Z95 * math.hypot(p_error, q_error)
                best = (abs(p - q), upper) if best is None else (max(best[0], abs(p - q)), max(best[1], upper))
    return best


def thin(subjects: npt.NDArray[np.object_], *, keep: Callable[..., Bools], probability: float, label: str) -> Bools:
    """(n,) which rows are looked at: those of subjects kept by a secret coin of the given probability, which
    does not depend on the data."""
    if probability >= 1.0:
        return np.ones(len(subjects), dtype=np.bool_)
    return keep(subjects, probability=probability, label=label)


@dataclass(frozen=True)
class Reach:
    """The best that the paid utility rule could ever show at a size: a perfect classifier's bounds.

    Attributes:
        accuracy, balanced: the one-sided 95% lower bounds of figures that are 1; 0 with too few people.
        gap: the upper bound of a difference that is 0, between two equal groups; 1 with too few.
    """

    accuracy: float
    balanced: float
    gap: float


def reach(*, people: float, tables: int, contribution: int, mu: float, classes: int = 2) -> Reach:
    """What ``people`` held-out subjects can show at μ, in equal classes: from declared sizes, public, before any
    spending.

    Raises:
        BudgetError: the noise would be beyond the sampler's range.
    """
    sigma = dyadic_at_least(contribution * math.sqrt(max(1, tables)) / mu * (1 + 1e-12))
    perfect = np.tile([0.0, people / classes], (classes, 1))
    whole, balanced = _accuracies(perfect, sigma)
    one, _ = _accuracies(perfect / 2, sigma)
    return Reach(
        accuracy=max(0.0, 1 - Z95 * whole[1]) if whole else 0.0,
        balanced=max(0.0, 1 - Z95 * balanced[1]) if balanced else 0.0,
        gap=min(1.0, Z95 * math.hypot(one[1], one[1])) if one else 1.0,
    )
