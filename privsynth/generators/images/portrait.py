"""The steps from paid sums to a likeness of the pictures: what is asked next follows from what was told before.

One function, :func:`portray`, asks for every noisy sum in turn; how each is looked at (the :class:`View`) is public or
follows from earlier answers. Asked of rows it buys; asked of a transcript it gives the same portrait again.

Shares of μ², fixed: lengths 1% each time (radii are quantiles of noisy lengths), mean 3%, effects, pooled second
moment and the classes' second moments the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from privsynth.data.pictures import Pixels
from privsynth.generators.images.band import Band
from privsynth.generators.images.likeness import basis, means, spreads
from privsynth.generators.images.sums import BINS, Noisy, edges, quantile

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LENGTHS, MEAN, EFFECTS, POOLED = 0.01, 0.03, 0.14, 0.38
"""Shares of μ²: of each histogram of lengths, each mean, all effects, the pooled moment. The classes have the rest."""
WITHIN = 0.85
"""Of the rows, by a noisy histogram, lie within the radius that they are shortened to: what is far is rare."""
MOST_ASKED = 20
"""Sums that a portrait asks for, at most."""
FEWER = 0.77
"""Pictures are aligned where that leaves so much of what is within a class, or less."""


@dataclass(frozen=True, eq=False)
class View:
    """How vectors are looked at: (v − centre − Σ effects) · axes. Public, or told before.

    Attributes:
        aligned: of which vectors, those of aligned pictures or the plain ones.
        centre: (d,).
        effects: (Σ sizes, d) taken off by each row's cells; None for none.
        axes: (d, r); None for all d.
    """

    aligned: bool
    centre: Floats | None = None
    effects: Floats | None = None
    axes: Floats | None = None

    def of(self, vectors: Floats, cells: Ints, sizes: Sequence[int]) -> Floats:
        """(n, d or r) of (n, d) vectors and (n, columns) cells."""
        out = vectors if self.centre is None else vectors - self.centre
        if self.effects is not None:
            at = 0
            for c, size in enumerate(sizes):
                out = out - self.effects[at + cells[:, c]]
                at += size
        return out if self.axes is None else out @ self.axes


class Ask(Protocol):
    """Whom noisy sums are asked of. Each is asked by a name of its own, once; ``share`` is its part of μ²."""

    def lengths(self, name: str, view: View, top: float, *, share: float) -> Noisy:
        """Histogram of the lengths of what is seen."""
        ...

    def sums(self, name: str, view: View, radius: float, *, share: float) -> Noisy:
        """Sums over the cells of all columns."""
        ...

    def mean(self, name: str, view: View, radius: float, *, share: float) -> Noisy:
        """One sum of all rows."""
        ...

    def moments(self, name: str, view: View, radius: float, *, by: bool, share: float) -> Noisy:
        """Second moments of all rows together, or (``by``) over the cells of the first column."""
        ...


@dataclass(frozen=True)
class Setting:
    """What is public of the pictures and the columns that they depend on.

    Attributes:
        plain, straight: bands of the pictures as they are, and aligned (None: never aligned).
        sizes: cells of each column.
    """

    plain: Band
    straight: Band | None
    sizes: tuple[int, ...]

    @property
    def top(self) -> float:
        """No picture's vector is longer: every pixel white, and the place of its ink."""
        return float(np.sqrt(self.plain.height * self.plain.width * (1.5 if self.plain.colours else 1.0) + 20.0))


@dataclass(frozen=True, eq=False)
class Portrait:
    """A normal law of vectors for each combination of the columns' cells.

    Attributes:
        band: of the vectors.
        centre: (d,) mean of all.
        effects: (Σ sizes, d) what each value adds.
        axes: (d, r) basis.
        roots: (cells of the first column, r, r) roots of the covariances within the basis.
        edge: below this variance all is noise.
        sizes: cells of each column.
    """

    band: Band
    centre: Floats
    effects: Floats
    axes: Floats
    roots: Floats
    edge: float
    sizes: tuple[int, ...]

    @property
    def arrays(self) -> tuple[Floats, ...]:
        """Every number of it."""
        return (self.centre, self.effects, self.axes, self.roots, np.array([self.edge]))

    def drawn(self, cells: npt.NDArray[np.integer], rng: np.random.Generator) -> Pixels:
        """(n, height, width[, 3]) a picture for each row of (n, columns) cells."""
        vectors = np.tile(self.centre, (len(cells), 1))
        at = 0
        for c, size in enumerate(self.sizes):
            vectors += self.effects[at + cells[:, c]]
            at += size
        inner = rng.normal(size=(len(cells), self.axes.shape[1]))
        for cell in np.unique(cells[:, 0]):
            held = cells[:, 0] == cell
            vectors[held] += (inner[held] @ self.roots[cell].T) @ self.axes.T
        return self.band.pixels(vectors)


def portray(ask: Ask, setting: Setting, *, rows: float, beside: Floats) -> Portrait:
    """Ask for every sum and make the portrait.

    Args:
        rows: N̂.
        beside: (Σ sizes, Σ sizes) about how many rows hold two values together, by a model of the columns.
    """
    bands = [b for b in (setting.plain, setting.straight) if b is not None]
    looked = [_average(ask, setting, band, len(bands), rows=rows, beside=beside) for band in bands]
    found = looked[-1] if len(looked) == 2 and looked[1].within <= FEWER * looked[0].within else looked[0]
    size = found.band.size
    pooled = ask.moments("pooled", found.rest, found.radius, by=False, share=POOLED)
    axes = basis(pooled, rows, size)
    inner = View(found.rest.aligned, found.rest.centre, found.rest.effects, axes.axes)
    radius = quantile(ask.lengths("inner", inner, setting.top, share=LENGTHS), setting.top, WITHIN)
    spent = POOLED + EFFECTS + LENGTHS + len(bands) * (3 * LENGTHS + MEAN)
    classes = ask.moments("classes", inner, radius, by=True, share=1 - spent)
    own = np.maximum(np.diag(beside)[: setting.sizes[0]], 1.0)
    return Portrait(
        found.band,
        np.asarray(found.rest.centre),
        np.asarray(found.rest.effects),
        axes.axes,
        np.stack([_root(s) for s in spreads(classes, own, np.diag(axes.spread))]),
        axes.edge,
        setting.sizes,
    )


@dataclass(frozen=True, eq=False)
class _Average:
    """Mean and effects of one band, and what is left within."""

    band: Band
    rest: View
    radius: float
    within: float


def _average(ask: Ask, setting: Setting, band: Band, bands: int, *, rows: float, beside: Floats) -> _Average:
    name = "straight" if band.aligned else "plain"
    whole = View(band.aligned)
    radius = quantile(ask.lengths(f"{name} whole", whole, setting.top, share=LENGTHS), setting.top, WITHIN)
    centre = ask.mean(f"{name} mean", whole, radius, share=MEAN).values[0] / max(rows, 1.0)
    centred = View(band.aligned, centre)
    radius = quantile(ask.lengths(f"{name} centred", centred, setting.top, share=LENGTHS), setting.top, WITHIN)
    effects = means(ask.sums(f"{name} effects", centred, radius, share=EFFECTS / bands), beside, setting.sizes)
    rest = View(band.aligned, centre, effects)
    lengths = ask.lengths(f"{name} rest", rest, setting.top, share=LENGTHS)
    return _Average(band, rest, quantile(lengths, setting.top, WITHIN), _square(lengths, setting.top))


def _square(noisy: Noisy, top: float) -> float:
    """The mean square of lengths, by their noisy histogram."""
    counts = np.maximum(noisy.values - noisy.error, 0.0)
    ends = np.append(edges(top), top)
    middles = ends / 2 ** (1 / 6)
    assert len(counts) == BINS
    return float((counts * middles**2).sum() / max(counts.sum(), 1e-9))


def _root(spread: Floats) -> Floats:
    values, axes = np.linalg.eigh(spread)
    return np.asarray(axes * np.sqrt(np.maximum(values, 0.0)), dtype=np.float64)
