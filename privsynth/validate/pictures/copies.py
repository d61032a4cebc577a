"""Is a real picture copied? An attack in pixels, told as one noisy table.

As in ``paid``: what is compared with and the threshold are functions of the fitted model alone; what the attack says of
a real picture is a function of that picture and of them. Copies are found mirrored, moved, brightened and blurred.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from privsynth.data.pictures import Pictures, Pixels
from privsynth.privacy.noise import NoiseSource
from privsynth.validate import paid
from privsynth.validate.membership.neighbour import by_subject
from privsynth.validate.pictures.bands import Album, band, parts, planes

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

SIDE = 10
"""Of the square of cosine coefficients of brightness that is looked at."""
SHIFTS = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1), (2, 0), (-2, 0), (0, 2), (0, -2))
"""Pixels down and right by which a copy may have been moved; each also mirrored."""
REFERENCES = 2_000
SOFTENER = 0.02
"""c of the score; distances lie between 0 and 2."""
LEAST_CONTRAST = 4.0
"""Grey levels, root mean square: flatter pictures are not brought to the contrast of others."""
_LENGTH = 4000.0
_COLUMNS = 1024


def _contrasted(brightness: Floats, down: int = 0, right: int = 0) -> Floats:
    """(n, d) of (n, height, width), the mean of each left out, over their length."""
    found = band(brightness, SIDE, down, right)[:, 1:]
    lengths = np.sqrt(np.einsum("nd,nd->n", found, found))
    least = 16 * LEAST_CONTRAST * np.sqrt(brightness.shape[1] * brightness.shape[2])
    shown: Floats = found / np.maximum(lengths, least)[:, None]
    return shown


def _odd(pixels: Pixels) -> Bools:
    """(d,) which of them change their sign where a picture is mirrored."""
    rows, columns = (min(SIDE, length) for length in pixels.shape[1:3])
    return np.tile(np.arange(columns) % 2 == 1, rows)[1:]


def _likest(placed: Sequence[Singles], others: Singles, odd: Bools, *, passed_over: int = 0) -> Singles:
    """(n,) the largest product of each picture, in any of the places where it was ``placed``, with one of ``others``,
    as it is or mirrored; of so many of ``others`` that are likest nothing is said."""
    best = np.full((len(placed[0]), 1 + passed_over), -np.inf, dtype=np.float32)
    halves = [(vectors[:, ~odd], vectors[:, odd]) for vectors in placed]
    for start in range(0, len(others), _COLUMNS):
        even_part, odd_part = others[start : start + _COLUMNS, ~odd].T, others[start : start + _COLUMNS, odd].T
        found = np.full((len(best), even_part.shape[1]), -np.inf, dtype=np.float32)
        for even, other in halves:
            same, turned = even @ even_part, other @ odd_part
            same += np.abs(turned, out=turned)
            np.maximum(found, same, out=found)
        if passed_over:
            both = np.concatenate([best, found], axis=1)
            best = np.partition(both, both.shape[1] - best.shape[1], axis=1)[:, -best.shape[1] :]
        else:
            np.maximum(best, found.max(axis=1, keepdims=True), out=best)
    likest: Singles = best.min(axis=1)
    return likest


def _distance(products: Singles) -> Floats:
    """Between vectors of length 1."""
    return np.sqrt(np.maximum(0.0, 2 - 2 * products.astype(np.float64) / _LENGTH**2))


@dataclass(frozen=True, repr=False, eq=False)
class Gallery:
    """The synthetic pictures of a column, as an attacker looks for copies in them: of a model, no real ones.

    A picture is its low band of cosines of brightness, brought to one contrast, from which the mean synthetic one is
    taken, each coefficient over its spread. So brightness, contrast and colour of a copy do not matter, nor fine
    noise; that it is mirrored or moved is undone by looking for each real picture in every such place.

    Attributes:
        centre, weight: (d,) what is taken away, and by what is multiplied; the same of mirrored pictures.
        near: (m, d) vectors of length about 4,000, of whole numbers.
        reference: (r, d) such, of pictures put together of two synthetic ones each: like them, and nobody's copy.
    """

    centre: Floats
    weight: Floats
    near: Singles
    reference: Singles

    def __repr__(self) -> str:
        return "Gallery(...)"

    @classmethod
    def of(cls, pictures: Pictures, *, rng: np.random.Generator) -> Gallery:
        """Of those drawn pictures that are there; one at least."""
        pixels = pictures.pixels
        there = np.flatnonzero(~pictures.missing)
        shown = np.concatenate([_contrasted(next(planes(pixels[part]))) for part in parts(pixels, there)])
        centre = np.where(_odd(pixels), 0.0, shown.mean(axis=0))
        spread = np.sqrt(((shown - centre) ** 2).mean(axis=0))
        weight = 1 / (spread + 0.1 * spread.sum() / max(1, spread.size) + 1e-3)
        one = rng.integers(0, len(shown), REFERENCES)
        other = (one + rng.integers(1, max(2, len(shown)), REFERENCES)) % len(shown)
        mixed = np.where(rng.random((REFERENCES, shown.shape[1])) < 0.5, shown[one], shown[other])
        return cls(centre, weight, _vectors(shown, centre, weight), _vectors(mixed, centre, weight))

    def closeness(self, pictures: Pictures, *, passed_over: int = 0) -> Floats:
        """(n,) attack score (d(x, reference) + c) / (d(x, near) + c), above 0 and a function of the picture alone;
        0 where it is missing.

        d is the least distance over the mirrorings and shifts, to the reference over the mirrorings; so many of
        ``near`` as are ``passed_over``, the nearest, do not count. O(n · m · d · shifts): 20,000 against 20,000 take
        7·10¹¹ operations. Memory: below 200 MB.
        """
        pixels, odd, out = pictures.pixels, _odd(pictures.pixels), np.zeros(len(pictures))
        for part in parts(pixels, np.flatnonzero(~pictures.missing)):
            brightness = next(planes(pixels[part]))
            placed = [_vectors(_contrasted(brightness, *shift), self.centre, self.weight) for shift in SHIFTS]
            near = _likest(placed, self.near, odd, passed_over=passed_over)
            far = _likest(placed[:1], self.reference, odd)
            out[part] = (_distance(far) + SOFTENER) / (_distance(near) + SOFTENER)
        return out

    def threshold(self, fresh: Pictures, *, cut: float, repeats: float) -> float:
        """The score of copies: the ``cut`` quantile of further drawn pictures, of which one at least is there.

        A model that copies draws the same picture again and again, and alters it the same way each time: its own
        pictures then lie nearer to each other than to what they are copies of. So about as many of the nearest are
        passed over as a row would have copies among ``near``, of which each has ``repeats`` on average.
        """
        passed_over = math.ceil(repeats + 4 * math.sqrt(repeats))
        scores = self.closeness(fresh, passed_over=min(passed_over, len(self.near) // 20))
        return float(np.quantile(scores[~fresh.missing], cut))


def _vectors(shown: Floats, centre: Floats, weight: Floats) -> Singles:
    """Vectors of whole numbers, so short that every product of two is exact in single precision."""
    told = np.rint((shown - centre) * weight * 1024)
    lengths = np.sqrt(np.einsum("nd,nd->n", told, told))
    vectors: Singles = np.rint(told * (_LENGTH / np.maximum(lengths, 1.0))[:, None]).astype(np.float32)
    return vectors


def membership(
    train: Album,
    holdout: Album,
    *,
    near: Mapping[str, Pictures],
    fresh: Mapping[str, Pictures],
    repeats: float,
    cut: float,
    mu: float,
    noise: NoiseSource,
    rng: np.random.Generator,
) -> paid.Membership:
    """The paid membership rule of pictures: one noisy 2 × 2 table of (trained on?, scores like a copy?), of the
    subjects who have a picture: others could not be copied, and would only make a copier look rare.

    Args:
        train, holdout: real rows; a subject is taken for a member if one of her pictures is.
        near: drawn pictures of each column, in which the attack looks for copies.
        fresh: further ones, which say what no copy scores (:meth:`Gallery.threshold`).
        repeats: how many rows of ``near`` there are for each row trained on.
        mu: GDP parameter paid for this table.
        rng: of the reference, which no real row touches.

    Where no picture was drawn in which copies could be looked for, nobody stands in the table: too few to say, and the
    bound is 1.
    """
    limits: dict[str, tuple[Gallery, float]] = {}
    for name, pictures in near.items():
        if not pictures.missing.all() and not fresh[name].missing.all():
            gallery = Gallery.of(pictures, rng=rng)
            limits[name] = gallery, gallery.threshold(fresh[name], cut=cut, repeats=repeats)

    def taken(album: Album) -> Bools:
        said, shown = np.zeros(len(album.rows)), np.zeros(len(album.rows))
        for name, (gallery, threshold) in limits.items():
            pictures = album.pictures[name]
            said = np.maximum(said, gallery.closeness(pictures) >= threshold)
            shown = np.maximum(shown, ~pictures.missing)
        return (by_subject(said, album.rows) > 0)[by_subject(shown, album.rows) > 0]

    return paid.told_apart(taken(train), taken(holdout), mu=mu, noise=noise)
