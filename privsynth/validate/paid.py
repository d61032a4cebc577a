"""The noisy forms of a check on real rows: what a gate may use, because it is paid for.

Mechanism of both rules. Neighbours: add or remove one subject. The synthetic rows, the threshold, the
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
Z95 = NormalDist().inv_cdf(0.95)
REFERENCE_SOFTENER = 1.0
NEAR_SOFTENER = 0.02
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
    table = np.zeros((2, 2), dtype=np.int64)
    for side, rows in enumerate((train, holdout)):
        scores = by_subject(closeness(rows.codes, near, reference, columns), rows)
        above = int((scores >= threshold).sum())
        table[side] = (above, rows.subjects - above)
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
    """

    column: str
    group: str
    size: int
    accuracy: tuple[float, float] | None
    balanced: tuple[float, float] | None


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
    positive: npt.NDArray[np.bool_],
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
    sigma = dyadic_at_least(contribution * math.sqrt(max(1, len(by))) / mu * (1 + 1e-12))
    blocks: list[_Block] = []
    for c in by:
        group, labels = groups_of(columns[c], holdout.codes[:, c])
        blocks.append(_count(columns[c].name, labels, group, truth, guess, noise, sigma))
    if not by:
        everyone = np.zeros(len(holdout), dtype=np.int64)
        blocks.append(_count("", ("all",), everyone, truth, guess, noise, sigma))
    fewest = min(blocks, key=lambda block: len(block.labels))  # the least noise in its sum
    accuracy, balanced = _accuracies(fewest.table.sum(axis=0), sigma * math.sqrt(len(fewest.labels)))
    groups = tuple(g for block in blocks if by for g in block.groups(sigma))
    return Utility(_lower(accuracy), _lower(balanced), groups, _gap(groups), sigma)


@dataclass(frozen=True, eq=False)
class _Block:
    """One noisy (groups, truth, guess) table."""

    column: str
    labels: tuple[str, ...]
    table: npt.NDArray[np.int64]

    def groups(self, sigma: float) -> tuple[GroupRates, ...]:
        return tuple(
            GroupRates(self.column, label, int(cell.sum()), *_accuracies(cell, sigma))
            for label, cell in zip(self.labels, self.table, strict=True)
        )


def _count(
    column: str,
    labels: tuple[str, ...],
    group: npt.NDArray[np.int64],
    truth: npt.NDArray[np.bool_],
    guess: npt.NDArray[np.bool_],
    noise: NoiseSource,
    sigma: float,
) -> _Block:
    flat = (group * 2 + truth) * 2 + guess
    exact = np.bincount(flat, minlength=4 * len(labels)).astype(np.int64).reshape(len(labels), 2, 2)
    return _Block(column, labels, noise.add(exact, sigma=sigma))


def groups_of(column: CodedColumn, codes: Codes) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
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
            where="gate › utility › by",
            mend="group by a column of at most 12 values",
        )
    group = np.minimum(codes.astype(np.int64) * 5 // values, 4)
    names = [f"{labels[-(-i * values // 5)]} …" for i in range(5)]
    if column.nullable:
        group = np.where(codes == values, 5, group)
        names.append("null")
    return group, tuple(names)


Estimate = tuple[float, float]


def _accuracies(
    table: npt.NDArray[np.float64] | npt.NDArray[np.int64], sigma: float
) -> tuple[Estimate | None, Estimate | None]:
    """(accuracy, balanced accuracy) with standard errors, from a noisy 2 × 2 table truth × guess."""
    (tn, fp), (fn, tp) = table.tolist()
    accuracy = _rate(tp + tn, fp + fn, sigma * math.sqrt(2))
    yes, no = _rate(tp, fn, sigma), _rate(tn, fp, sigma)
    whole = accuracy if math.isfinite(accuracy[1]) else None
    both = math.hypot(yes[1], no[1]) / 2
    return whole, ((yes[0] + no[0]) / 2, both) if math.isfinite(both) else None


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


def thin(
    rows: Codes,
    subjects: npt.NDArray[np.object_],
    *,
    keep: Callable[..., npt.NDArray[np.bool_]],
    probability: float,
    label: str,
) -> Rows:
    """The rows of subjects kept by a secret coin of the given probability: data-independent."""
    if probability >= 1.0:
        return Rows.of(rows, subjects)
    mask = keep(subjects, probability=probability, label=label)
    return Rows.of(rows[mask], subjects[mask])


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


def reach(*, people: float, tables: int, contribution: int, mu: float) -> Reach:
    """What ``people`` held-out subjects can show at μ: from declared sizes, public, before any spending.

    Raises:
        BudgetError: the noise would be beyond the sampler's range.
    """
    sigma = dyadic_at_least(contribution * math.sqrt(max(1, tables)) / mu * (1 + 1e-12))
    half = people / 2
    whole, balanced = _accuracies(np.array([[half, 0.0], [0.0, half]]), sigma)
    one, _ = _accuracies(np.array([[half / 2, 0.0], [0.0, half / 2]]), sigma)
    return Reach(
        accuracy=max(0.0, 1 - Z95 * whole[1]) if whole else 0.0,
        balanced=max(0.0, 1 - Z95 * balanced[1]) if balanced else 0.0,
        gap=min(1.0, Z95 * math.hypot(one[1], one[1])) if one else 1.0,
    )
