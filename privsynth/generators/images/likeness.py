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
Ints = npt.NDArray[np.int64]

ABOVE_EDGE = 1.05
MOST_KEPT = 160
RINGED = 4
LEAST_BELIEVED = 1e-3
"""Of a coordinate of an axis: so that no axis is nothing."""


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


def means(sums: Noisy, beside: Floats, sizes: tuple[int, ...], rings: Ints) -> Floats:
    """(Σ sizes, d) what each value of each column adds to the mean of all: least squares, shrunk by the noise.

    E[v] = Σ e[column, value] over a row's values gives for each value's sum: S = C·e, where C (``beside``) counts the
    rows that hold two values together. One ridge for all coordinates of a column: each effect is believed as far as the
    effects' own spread exceeds their noise (Efron & Morris 1973): that of a coordinate, and as if by ``RINGED`` more
    values that of its ring, for the spread of two values alone is told by hardly anything.

    Args:
        sums: of vectors from which the mean of all was taken.
        beside: (Σ sizes, Σ sizes) how many rows hold both values, as a model of the columns tells.
        rings: (d,) which coordinates are of about one frequency.
    """
    own = np.maximum(np.diag(beside), 1.0)
    raw = sums.values / own[:, None]
    noise = (sums.error / own) ** 2
    at, prior = 0, np.zeros_like(raw)
    for size in sizes:
        part = slice(at, at + size)
        weight = own[part] / own[part].sum()
        excess = (weight[:, None] * raw[part] ** 2).sum(0) - (weight * noise[part]).sum()
        held = (size - 1) / (size - 1 + RINGED)
        prior[part] = np.maximum(held * excess + (1 - held) * _ringed(excess, rings), 0.0)[None]
        at += size
    if len(sizes) == 1:
        shrunk: Floats = raw * prior / (prior + noise[:, None] + 1e-300)
        return shrunk
    out = np.zeros_like(raw)
    for d in range(raw.shape[1]):  # beside/own·e + ridge·e = raw
        ridge = noise / np.maximum(prior[:, d], 1e-12 + 1e-6 * noise)
        out[:, d] = np.linalg.solve(beside / own[:, None] + np.diag(ridge), raw[:, d])
    return out


def basis(moments: Noisy, rows: float, rings: Ints) -> Basis:
    """Of the pooled second moment of ``rows`` rows' residuals.

    An axis found of a true variance θ has the share (e/2θ)² of its square from the noise, the same in every coordinate
    (Benaych-Georges & Nadakuditi 2011). Each ring of it is kept as far as it holds more than that, so that what is
    smooth stays smooth; then the axes are made orthonormal again.
    """
    size = len(rings)
    noisy = square(moments.values[0], size) / rows
    edge = _edge(moments, rows, size)
    spread, axes = np.linalg.eigh(noisy)
    spread, axes = spread[::-1], axes[:, ::-1]
    kept = np.flatnonzero(spread > ABOVE_EDGE * edge)[:MOST_KEPT]
    if not len(kept):
        kept = np.array([0])
    told = np.maximum(spread[kept], edge)
    true = (told + np.sqrt(np.maximum(told**2 - edge**2, 0.0))) / 2
    share = np.minimum((edge / (2 * true)) ** 2, 1.0) / size
    believed = [
        axis * np.maximum(1 - noise / np.maximum(_ringed(axis**2, rings), 1e-300), LEAST_BELIEVED)
        for axis, noise in zip(axes[:, kept].T, share, strict=True)
    ]
    return Basis(_signed(np.linalg.qr(np.stack(believed, axis=1))[0]), true, edge)


def _ringed(values: Floats, rings: Ints) -> Floats:
    """(d,) the mean over each coordinate's ring."""
    _, ring, counts = np.unique(rings, return_inverse=True, return_counts=True)
    out: Floats = (np.bincount(ring, values) / counts)[ring]
    return out


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


def grain(moments: Noisy, rows: float, within: Floats, rings: Ints) -> Floats:
    """(d,) standard deviation of what no axis holds, coordinate by coordinate.

    Coordinates of one ring (about one frequency) share one: the mean excess of their noisy variances over ``within``.

    Args:
        within: (d,) variance along each coordinate that the axes hold already.
        rings: (d,) which coordinates go together.
    """
    left = moments.values[0][diagonal(len(within))] / rows - within
    return np.sqrt(np.maximum(_ringed(left, rings), 0.0))


def diagonal(size: int) -> Ints:
    """Where an upper triangle holds the diagonal."""
    return np.cumsum([0, *range(size, 1, -1)], dtype=np.int64)


def _edge(moments: Noisy, rows: float, size: int) -> float:
    off = (moments.sigma_off or moments.sigma) * moments.unit
    return float(2 * off * np.sqrt(size) / rows)


def _signed(axes: Floats) -> Floats:
    """Each column with its greatest entry positive: eigenvectors have no sign of their own."""
    greatest = np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None], axis=0)
    return np.asarray(axes * np.where(greatest < 0, -1.0, 1.0), dtype=np.float64)
