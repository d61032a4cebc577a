"""How far released rows are from real ones, on coded tables.

tvd1, tvd2, tvd3: half the L1 distance of normalised tables, averaged over every column, every pair, and triples:
all of them where there are at most 500, else 500 drawn once by a fixed seed, the same for every system.
ks: the greatest gap between two distribution functions (Kolmogorov & Smirnov), for a column of numbers as they are.
auc: a HistGradientBoostingClassifier (random_state 0) trained on released rows, scored on every real row.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from benchmarks.coding import CodedTable

MOST_TRIPLES = 500
DENSE_CELLS = 1 << 22

Codes = npt.NDArray[np.integer]
Shares = Sequence[npt.NDArray[np.float64]]
Clique = tuple[int, ...]


def cliques(columns: int, order: int) -> list[Clique]:
    """Every set of ``order`` columns; of triples at most 500, drawn by seed 0."""
    if order < 3 or math.comb(columns, order) <= MOST_TRIPLES:
        return list(itertools.combinations(range(columns), order))
    rng = np.random.default_rng(0)
    drawn: dict[Clique, None] = {}
    while len(drawn) < MOST_TRIPLES:
        drawn[tuple(sorted(rng.choice(columns, order, replace=False).tolist()))] = None
    return list(drawn)


def distances(real: CodedTable, released: Codes, *, orders: Sequence[int] = (1, 2, 3)) -> dict[str, float]:
    """tvd1, tvd2 and tvd3 of released rows."""
    ours, theirs = _columns(real.codes), _columns(released)
    return {
        f"tvd{order}": float(np.mean([_tvd(ours, theirs, real.sizes, c) for c in cliques(len(real.sizes), order)]))
        for order in orders
        if order <= len(real.sizes)
    }


def exact_distances(real: CodedTable, shares: Shares) -> dict[str, float]:
    """The same of independent columns with these distributions, without drawing rows."""
    ours = _columns(real.codes)
    found = {}
    for order in range(1, min(3, len(real.sizes)) + 1):
        each = []
        for clique in cliques(len(real.sizes), order):
            keys, counts = np.unique(_keys(ours, real.sizes, clique), return_counts=True)
            chance = np.ones(len(keys))
            for column, codes in zip(clique, _unkey(keys, real.sizes, clique), strict=True):
                chance *= shares[column][codes]
            each.append((np.abs(counts / len(real) - chance).sum() + 1 - chance.sum()) / 2)
        found[f"tvd{order}"] = max(0.0, float(np.mean(each)))
    return found


def ks(real: npt.NDArray[np.float64], released: npt.NDArray[np.float64]) -> float:
    """The greatest gap between the distribution functions of two samples, either of any size above 0."""
    at = np.union1d(real, released)
    below = [np.searchsorted(np.sort(values), at, side="right") / len(values) for values in (real, released)]
    return float(np.abs(below[0] - below[1]).max())


def auc(real: CodedTable, released: Codes) -> float | None:
    """How well a classifier trained on released rows ranks the real ones; None without a target."""
    if real.target is None:
        return None
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score

    rest = [c for c in range(len(real.sizes)) if c != real.target]
    label = np.isin(released[:, real.target], real.positive)
    if label.all() or not label.any():
        return 0.5
    model = HistGradientBoostingClassifier(random_state=0).fit(released[:, rest], label)
    chance = model.predict_proba(real.codes[:, rest])[:, 1]
    return float(roc_auc_score(np.isin(real.codes[:, real.target], real.positive), chance))


def _columns(codes: Codes) -> list[npt.NDArray[np.int64]]:
    return [np.ascontiguousarray(codes[:, c], dtype=np.int64) for c in range(codes.shape[1])]


def _keys(columns: Sequence[npt.NDArray[np.int64]], sizes: Sequence[int], clique: Clique) -> npt.NDArray[np.int64]:
    """One number a row: its cell in the clique's table."""
    key = columns[clique[0]]
    for c in clique[1:]:
        key = key * sizes[c] + columns[c]
    return key


def _unkey(keys: npt.NDArray[np.int64], sizes: Sequence[int], clique: Clique) -> list[npt.NDArray[np.int64]]:
    codes = []
    for c in reversed(clique):
        keys, code = np.divmod(keys, sizes[c])
        codes.append(code)
    return codes[::-1]


def _tvd(
    real: Sequence[npt.NDArray[np.int64]],
    released: Sequence[npt.NDArray[np.int64]],
    sizes: Sequence[int],
    clique: Clique,
) -> float:
    ours, theirs = _keys(real, sizes, clique), _keys(released, sizes, clique)
    cells = math.prod(sizes[c] for c in clique)
    if cells <= DENSE_CELLS:
        gap = np.bincount(ours, minlength=cells) / len(ours) - np.bincount(theirs, minlength=cells) / len(theirs)
        return float(np.abs(gap).sum() / 2)
    keys, counts = np.unique(ours, return_counts=True)
    place = np.minimum(np.searchsorted(keys, theirs), len(keys) - 1)
    met = place[keys[place] == theirs]
    share = np.bincount(met, minlength=len(keys)) / len(theirs)
    return float((np.abs(counts / len(ours) - share).sum() + 1 - len(met) / len(theirs)) / 2)
