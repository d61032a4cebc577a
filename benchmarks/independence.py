"""DP independence at the whole budget: what any system of pairs must beat at the same (ε, δ).

Every column's counts get Gaussian noise of σ = √columns / μ(ε, δ), the exact GDP calibration; the number of rows is
the mean of the noisy totals. ``flat`` projects each column to the simplex. ``pooled`` first shares out cells below
3σ: among neighbours, until their sum stands out, where the codes are ordered; among all such cells of the column
where they are not.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from benchmarks.coding import CodedTable
from benchmarks.peers.independent import simplex
from privsynth.privacy.gdp import mu_of

Floats = npt.NDArray[np.float64]
KINDS = ("flat", "pooled")


def shares(table: CodedTable, *, kind: str, epsilon: float, delta: float, seed: int) -> list[Floats]:
    """Each column's distribution."""
    rng = np.random.default_rng(seed)
    sigma = float(np.sqrt(len(table.sizes)) / mu_of(epsilon, delta))
    exact = [np.bincount(table.codes[:, c], minlength=size) for c, size in enumerate(table.sizes)]
    noisy = [counts + rng.normal(0, sigma, len(counts)) for counts in exact]
    rows = max(1.0, float(np.mean([y.sum() for y in noisy])))
    found = []
    for y, ordered, nullable in zip(noisy, table.ordered, table.nullable, strict=True):
        if kind == "pooled":
            values = len(y) - nullable
            head = pool(y[:values], sigma) if ordered else threshold(y[:values], sigma)
            y = np.concatenate([head, y[values:]])
        found.append(simplex(y / rows))
    return found


def exact_shares(table: CodedTable) -> list[Floats]:
    """Each column's own distribution: independence without noise."""
    return [np.bincount(table.codes[:, c], minlength=size) / len(table) for c, size in enumerate(table.sizes)]


def pool(noisy: Floats, sigma: float) -> Floats:
    """Merge cells below 3σ with their neighbours until their sum stands out; share it out evenly."""
    out = noisy.copy()
    weak = noisy < 3 * sigma
    i = 0
    while i < len(noisy):
        if not weak[i]:
            i += 1
            continue
        end = i
        while end < len(noisy) and weak[end]:
            end += 1
        starts = [i]
        for j in range(i, end):
            width = j + 1 - starts[-1]
            if noisy[starts[-1] : j + 1].sum() >= 3 * sigma * np.sqrt(width):
                starts.append(j + 1)
        if len(starts) > 1:
            starts.pop()  # what is left over goes to the group before it
        for start, stop in zip(starts, [*starts[1:], end], strict=True):
            out[start:stop] = max(0.0, noisy[start:stop].mean())
        i = end
    return out


def threshold(noisy: Floats, sigma: float) -> Floats:
    """Give all cells below 3σ their common mean, or nothing if their sum does not stand out."""
    weak = noisy < 3 * sigma
    if not weak.any():
        return noisy
    total = noisy[weak].sum()
    stands_out = total >= 3 * sigma * np.sqrt(weak.sum())
    return np.where(weak, total / weak.sum() if stands_out else 0.0, noisy)
