"""What noisy sums tell of pictures: means, one common basis, spreads within it. Pure: the same from the same numbers.

Follows the noise-edge rule of spiked covariance models (Baik, Ben Arous & Péché 2005; Gavish & Donoho 2017): noise on a
d × d second moment is a Gaussian orthogonal matrix whose eigenvalues end at e = 2·s·√d, s the noise of an entry off the
diagonal. What stays below is noise and is left out; an eigenvalue λ above belongs to a true (λ + √(λ² − e²))/2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from privsynth.generators.images.sums import Noisy, square

Floats = npt.NDArray[np.float64]

ABOVE_EDGE = 1.05
MOST_KEPT = 160


@dataclass(frozen=True, eq=False)
class Basis:
    """Directions in which pictures differ, the strongest first.

    Attributes:
        axes: (d, r) orthonormal columns.
        spread: (r,) variance along each.
        edge: below which all is noise.
    """

    axes: Floats
    spread: Floats
    edge: float


def means(sums: Noisy, beside: Floats, sizes: tuple[int, ...]) -> Floats:
    """(Σ sizes, d) what each value of each column adds to the mean of all: least squares, shrunk by the noise.

    E[v] = Σ e[column, value] over a row's values gives for each value's sum: S = C·e, where C (``beside``) counts the
    rows that hold two values together. One ridge for all coordinates of a column: each effect is believed as far as the
    effects' own spread exceeds their noise (Efron & Morris 1973), coordinate by coordinate.

    Args:
        sums: of vectors from which the mean of all was taken.
        beside: (Σ sizes, Σ sizes) how many rows hold both values, as a model of the columns tells.
    """
    own = np.maximum(np.diag(beside), 1.0)
    raw = sums.values / own[:, None]
    noise = (sums.error / own) ** 2
    at, prior = 0, np.zeros_like(raw)
    for size in sizes:
        part = slice(at, at + size)
        weight = own[part] / own[part].sum()
        prior[part] = np.maximum((weight[:, None] * raw[part] ** 2).sum(0) - (weight * noise[part]).sum(), 0.0)[None]
        at += size
    if len(sizes) == 1:
        shrunk: Floats = raw * prior / (prior + noise[:, None] + 1e-300)
        return shrunk
    out = np.zeros_like(raw)
    for d in range(raw.shape[1]):  # beside/own·e + ridge·e = raw
        ridge = noise / np.maximum(prior[:, d], 1e-12 + 1e-6 * noise)
        out[:, d] = np.linalg.solve(beside / own[:, None] + np.diag(ridge), raw[:, d])
    return out


def basis(moments: Noisy, rows: float, size: int) -> Basis:
    """Of the pooled second moment of ``rows`` rows' residuals."""
    noisy = square(moments.values[0], size) / rows
    edge = _edge(moments, rows, size)
    spread, axes = np.linalg.eigh(noisy)
    spread, axes = spread[::-1], axes[:, ::-1]
    kept = np.flatnonzero(spread > ABOVE_EDGE * edge)[:MOST_KEPT]
    if not len(kept):
        kept = np.array([0])
    told = np.maximum(spread[kept], edge)
    return Basis(_signed(axes[:, kept]), (told + np.sqrt(np.maximum(told**2 - edge**2, 0.0))) / 2, edge)


def spreads(moments: Noisy, rows: Floats, pooled: Floats) -> list[Floats]:
    """(r, r) second moment of each cell: the pooled one and what stands out of the noise of the difference."""
    out = []
    for triangle, n in zip(moments.values, rows, strict=True):
        size = len(pooled)
        if n < 2:
            out.append(pooled)
            continue
        values, axes = np.linalg.eigh(square(triangle, size) / n - pooled)
        edge = _edge(moments, float(n), size)
        clear = np.sign(values) * np.maximum(np.abs(values) - edge, 0.0)
        whole = pooled + (axes * clear) @ axes.T
        values, axes = np.linalg.eigh(whole)
        out.append((axes * np.maximum(values, 0.0)) @ axes.T)
    return out


def _edge(moments: Noisy, rows: float, size: int) -> float:
    off = (moments.sigma_off or moments.sigma) * moments.unit
    return float(2 * off * np.sqrt(size) / rows)


def _signed(axes: Floats) -> Floats:
    """Each column with its greatest entry positive: eigenvectors have no sign of their own."""
    greatest = np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None], axis=0)
    return np.asarray(axes * np.where(greatest < 0, -1.0, 1.0), dtype=np.float64)
