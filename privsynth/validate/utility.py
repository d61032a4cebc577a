"""Train on synthetic, test on real: does a model learnt from the release work on people never seen?

Two model families (gradient-boosted trees, logistic regression) are trained on synthetic rows and on
as many real training rows, and both are tested on the holdout. The gap is paired: the same people,
so its interval is far narrower than the two intervals side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from privsynth.data.threads import one_thread
from privsynth.errors import MissingExtra
from privsynth.progress import SILENT, Progress
from privsynth.validate.coded import Coded, Codes, Rows
from privsynth.validate.rates import Influence, Interval, accuracy_interval, auc, normal_interval, share

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]


class Classifier(Protocol):
    """A fitted two-class model."""

    def chance(self, X: Singles) -> Floats:
        """(n,) predicted chance in [0, 1] that the outcome is true."""
        ...


@dataclass(frozen=True, repr=False)
class _Fitted:
    """A scikit-learn model, of which only the second class's probability is asked."""

    model: Any

    def chance(self, X: Singles) -> Floats:
        if not len(X):  # scikit-learn refuses to predict nothing
            return np.zeros(0)
        out: Floats = self.model.predict_proba(X)[:, 1]
        return out


@dataclass(frozen=True)
class _Constant:
    """What can be learnt from rows that all have one outcome, or from none."""

    rate: float

    def chance(self, X: Singles) -> Floats:
        return np.full(len(X), self.rate)


def features(codes: Codes) -> Singles:
    """(n, columns) codes as numbers, for trees: order is kept where codes have one."""
    return codes.astype(np.float32)


def dummies(codes: Codes, columns: Sequence[Coded], *, most: int = 64) -> Singles:
    """(n, width) for linear models: unordered columns one-hot (the codes from ``most`` on share one),
    ordered ones scaled to [0, 1] with a column of its own for null."""
    parts: list[Singles] = []
    for j, column in enumerate(columns):
        code = codes[:, j]
        if column.ordered:
            values = column.cells - column.nullable
            null = code >= values
            parts.append(np.where(null, 0, code / max(values - 1, 1)).astype(np.float32)[:, None])
            if column.nullable:
                parts.append(null.astype(np.float32)[:, None])
        else:
            parts.append(np.eye(min(column.cells, most), dtype=np.float32)[np.minimum(code, most - 1)])
    return np.hstack(parts) if parts else np.zeros((len(codes), 0), dtype=np.float32)


def fit_classifier(X: Singles, y: Bools, seed: int) -> Classifier:
    """Gradient-boosted trees on ``features(codes)`` (n, columns); deterministic in ``seed``.

    On one thread: the same bits on every machine, and no threads that wait for each other on a busy one.
    """
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier
    except ImportError:
        raise _missing() from None
    if len(np.unique(y)) < 2:
        return _Constant(float(y.mean()) if len(y) else 0.5)
    model = HistGradientBoostingClassifier(max_iter=100, early_stopping=False, random_state=seed)
    with one_thread():
        return _Fitted(model.fit(X, y))


def fit_logistic(X: Singles, y: Bools, seed: int) -> Classifier:
    """Logistic regression on :func:`dummies`; deterministic in ``seed``."""
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        raise _missing() from None
    if len(np.unique(y)) < 2:
        return _Constant(float(y.mean()) if len(y) else 0.5)
    with one_thread():
        return _Fitted(LogisticRegression(max_iter=2000, random_state=seed).fit(X, y))


def fit_classes(X: Floats, y: npt.NDArray[np.int64], freedom: float) -> tuple[npt.NDArray[np.int64], Floats, Floats]:
    """Logistic regression of any number of classes on (n, columns); ``freedom`` is scikit-learn's C.

    Returns:
        (classes,) those of ``y``, (classes, columns) weights and (classes,) offsets: the largest sum is the guess.
    """
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        raise _missing() from None
    known = np.unique(y)
    if len(known) < 2:
        return known, np.zeros((1, X.shape[1])), np.zeros(1)
    with one_thread():
        model = LogisticRegression(C=freedom, max_iter=500).fit(X, y)
    if len(known) == 2:
        return known, np.vstack([0 * model.coef_, model.coef_]), np.append(0.0, model.intercept_)
    return known, model.coef_, model.intercept_


def _missing() -> MissingExtra:
    return MissingExtra("utility needs scikit-learn, which is not installed", mend="pip install 'privsynth[generate]'")


@dataclass(frozen=True)
class Family:
    """A kind of model: its name, how it wants rows as numbers, and how it is fitted."""

    name: str
    shape: Callable[[Codes, Sequence[Coded]], Singles]
    fit: Callable[[Singles, Bools, int], Classifier]


FAMILIES = (
    Family("boosted trees", lambda codes, _: features(codes), fit_classifier),
    Family("logistic regression", dummies, fit_logistic),
)


@dataclass(frozen=True)
class Score:
    """One figure of one model family.

    Attributes:
        target: the column predicted, with the outcome in words.
        family: of models.
        statistic: ``AUC`` or ``accuracy``.
        synthetic: trained on synthetic rows, tested on the holdout.
        real: trained on as many real rows, tested on the same holdout.
        gap: real - synthetic, paired.
        guess: what no model at all gets: 0.5, or the share of the commoner outcome.
        n: holdout rows.
    """

    target: str
    family: str
    statistic: str
    synthetic: Interval
    real: Interval
    gap: Interval
    guess: float
    n: int


def outcome(column: Coded, reference: npt.NDArray[np.integer[Any]]) -> tuple[Bools, str]:
    """A column as a yes or no: (cells,) which codes count as yes, and that in words.

    Two codes in use: the later one. Ordered: above the reference's median. Else: its commonest code.
    """
    counts = np.bincount(reference, minlength=column.cells)
    used = np.flatnonzero(counts)
    yes = np.zeros(column.cells, dtype=np.bool_)
    if len(used) <= 2:
        yes[used[-1:]] = True
        return yes, f"{column.name}: its later value"
    if column.ordered:
        values = column.cells - column.nullable
        half = np.cumsum(counts[:values])
        middle = int(np.searchsorted(half, half[-1] / 2))
        yes[middle + 1 : values] = True
        return yes, f"{column.name}: above the median"
    yes[int(counts.argmax())] = True
    return yes, f"{column.name}: its commonest value"


def measure_utility(
    train: Rows,
    holdout: Rows,
    synthetic: Codes,
    columns: Sequence[Coded],
    *,
    target: int,
    seed: int,
    level: float = 0.95,
    most: int = 50_000,
    progress: Progress = SILENT,
) -> tuple[Score, ...]:
    """AUC and accuracy of each family for column number ``target``.

    Both sides train on the same number of rows, at most ``most``. A holdout with fewer than two rows
    of either outcome measures nothing: no scores.
    """
    rng = np.random.default_rng(seed)
    yes, words = outcome(columns[target], holdout.codes[:, target])
    truth = yes[holdout.codes[:, target]]
    n = min(len(train), len(synthetic), most)
    if min(truth.sum(), (~truth).sum()) < 2 or n == 0:
        return ()
    rest = [j for j in range(len(columns)) if j != target]
    others = [columns[j] for j in rest]
    sides = [codes[rng.permutation(len(codes))[:n]] for codes in (synthetic, train.codes)]
    scores: list[Score] = []
    progress.step(f"train on synthetic, test on real: {columns[target].name}", len(FAMILIES))
    for family in FAMILIES:
        tested = family.shape(holdout.codes[:, rest], others)
        chances = [
            family.fit(family.shape(side[:, rest], others), yes[side[:, target]], seed).chance(tested) for side in sides
        ]
        for statistic, measured, guess in (
            ("AUC", [auc(chance, truth, holdout.group) for chance in chances], 0.5),
            ("accuracy", [share((chance > 0.5) == truth, holdout.group) for chance in chances], _commoner(truth)),
        ):
            scores.append(_score(words, family.name, statistic, measured, guess, len(holdout), level))
        progress.advance()
    return tuple(scores)


def _commoner(truth: Bools) -> float:
    return float(max(truth.mean(), 1 - truth.mean()))


def _score(
    target: str, family: str, statistic: str, measured: Sequence[Influence], guess: float, n: int, level: float
) -> Score:
    synthetic, real = measured
    gap = real.minus(synthetic)

    def interval(estimate: Influence) -> Interval:
        if statistic == "accuracy":
            return accuracy_interval(estimate, level=level)
        return normal_interval(estimate.value, estimate.sd, level=level)

    return Score(
        target=target,
        family=family,
        statistic=statistic,
        synthetic=interval(synthetic),
        real=interval(real),
        gap=normal_interval(gap.value, gap.sd, level=level, within=(-1.0, 1.0)),
        guess=guess,
        n=n,
    )
