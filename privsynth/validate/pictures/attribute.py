"""Do drawn pictures go with their rows? A column is learned from them, and guessed of real ones by noisy counts.

As in ``paid``: the classifier is a function of the fitted model alone, its guess one of a single real row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from privsynth.data.codec import CodedColumn
from privsynth.data.pictures import Pictures, Pixels
from privsynth.privacy.noise import NoiseSource
from privsynth.validate import paid
from privsynth.validate.pictures.bands import Album, band, parts, planes
from privsynth.validate.utility import fit_classes

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

SIDE, COLOUR_SIDE = 10, 4
"""Of the square of cosine coefficients that is looked at: of brightness, and of each colour difference."""
_PENALTY = 20.0
"""Rows that a unit of squared weight costs: of 20,000 drawn pictures a thousandth of the usual freedom."""


def attribute(
    holdout: Album,
    *,
    synthetic: Album,
    columns: Sequence[CodedColumn],
    target: int,
    by: Sequence[int],
    contribution: int,
    mu: float,
    noise: NoiseSource,
) -> paid.Utility:
    """The paid attribute rule: learn a column from drawn pictures, count right and wrong on held-out ones, noisily.

    Logistic regression on the low band of brightness and colours. A class is a cell of the column, or a fifth of its
    cells where it is ordered and has more than 12; rows without the value or without a picture are left out.

    Args:
        synthetic: drawn rows with their pictures.
        target: column number; ``by``: of the columns whose groups get a table of their own.
        contribution: k, the L2 sensitivity of each table; ``mu``: paid for all of them together.

    Raises:
        UsageError: an unordered column of more than 12 values.
    """
    (drawn, _), (real, names) = (
        paid.groups_of(columns[target], album.rows.codes[:, target]) for album in (synthetic, holdout)
    )
    classes = len(names) - columns[target].nullable
    taught = (drawn < classes) & _some(synthetic.pictures)
    asked = (real < classes) & _some(holdout.pictures)
    guess = _Eye.taught(_seen(synthetic.pictures, taught), drawn[taught])(_seen(holdout.pictures, asked))
    groups = [(columns[c].name, *paid.groups_of(columns[c], holdout.rows.codes[asked, c])) for c in by]
    truth = real[asked]
    return paid.count_right(truth, guess == truth, classes, groups, contribution=contribution, mu=mu, noise=noise)


def _some(pictures: Mapping[str, Pictures]) -> Bools:
    """(n,) which rows have a picture."""
    some: Bools = np.any([~held.missing for held in pictures.values()], axis=0)
    return some


def _seen(pictures: Mapping[str, Pictures], rows: Bools) -> Floats:
    """(n, d) whole numbers: the low bands of the pictures of these rows."""
    chosen = np.flatnonzero(rows)
    columns = []
    for held in pictures.values():
        found = [_low(held.pixels[part]) for part in parts(held.pixels, chosen)]
        columns.append(np.concatenate(found or [np.zeros((0, 0))]))
    return np.concatenate(columns, axis=1)


def _low(pixels: Pixels) -> Floats:
    return np.concatenate([band(plane, COLOUR_SIDE if i else SIDE) for i, plane in enumerate(planes(pixels))], axis=1)


@dataclass(frozen=True, repr=False, eq=False)
class _Eye:
    """A linear classifier whose sums are exact."""

    centre: Floats
    spread: Floats
    labels: Ints
    weights: Floats
    offsets: Floats

    @classmethod
    def taught(cls, seen: Floats, labels: Ints) -> _Eye:
        if not len(seen):
            return cls(np.zeros(0), np.zeros(0), np.zeros(1, dtype=np.int64), np.zeros((0, 1)), np.zeros(1))
        centre, spread = seen.mean(axis=0), seen.std(axis=0) + 1.0
        known, weights, offsets = fit_classes(_steps(seen, centre, spread) / 256, labels, _PENALTY / len(seen))
        return cls(centre, spread, known, _whole(weights.T, 16), _whole(offsets, 24))

    def __call__(self, seen: Floats) -> Ints:
        if not self.centre.size or not len(seen):
            return np.zeros(len(seen), dtype=np.int64)
        scores = _steps(seen, self.centre, self.spread) @ self.weights + self.offsets
        guess: Ints = self.labels[scores.argmax(axis=1)]
        return guess


def _whole(values: Floats, bits: int) -> Floats:
    """In steps of 2^-bits, and below 2⁸: the sums of a guess stay below 2⁵³."""
    whole: Floats = np.rint(np.clip(values, -256, 256) * 2**bits)
    return whole


def _steps(seen: Floats, centre: Floats, spread: Floats) -> Floats:
    """256ths of a standard deviation, at most 4,096 of them away."""
    return np.clip(np.rint((seen - centre) / spread * 256), -(2**20), 2**20)
