"""Whether drawn pictures look like some real one, and whether every kind of real one is drawn.

Precision and recall: the share of drawn (real) vectors within the k-th neighbour's distance of some real (drawn) one
(Kynkäänniemi et al. 2019). Density and coverage: in how many real balls a drawn vector lies, over k, and the share of
real balls that hold one (Naeem et al. 2020): neither trusts the balls of odd drawn ones. Vendi score: how many kinds
there are, by the spectrum of the likeness of each to each (Friedman & Dieng 2023).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from privsynth.data.pictures import Pixels
from privsynth.errors import SchemaError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

NEAR, NEAR_COVERED = 3, 5
"""k of precision and recall, and of density and coverage."""
VENDI_MOST = 1000


@dataclass(frozen=True)
class Coverage:
    """Four shares.

    Attributes:
        precision: from 0 to 1, of the drawn ones.
        recall: from 0 to 1, of the real ones.
        density: 0 and more, about 1 for a perfect generator.
        coverage: from 0 to 1, of the real ones.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def covered(real: Floats, drawn: Floats) -> Coverage:
    """All four, of as many real as drawn vectors at best: O(n²·d) time, O(n²) memory.

    Raises:
        SchemaError: too few vectors for that many neighbours.
    """
    if min(len(real), len(drawn)) <= NEAR_COVERED:
        raise SchemaError(
            f"{len(real)} real and {len(drawn)} drawn vectors",
            where="validate.images.covered",
            mend=f"give more than {NEAR_COVERED} of each",
        )
    between = _squares(real, drawn)
    own = np.sort(np.partition(_squares(real, real), NEAR_COVERED, axis=1)[:, : NEAR_COVERED + 1], axis=1)
    theirs = np.partition(_squares(drawn, drawn), NEAR, axis=1)[:, NEAR]
    near, wide = own[:, NEAR], own[:, NEAR_COVERED]
    return Coverage(
        precision=float((between <= near[:, None]).any(axis=0).mean()),
        recall=float((between <= theirs[None]).any(axis=1).mean()),
        density=float((between <= wide[:, None]).sum(axis=0).mean() / NEAR_COVERED),
        coverage=float((between.min(axis=1) <= wide).mean()),
    )


def vendi(vectors: Floats, *, centre: Floats) -> float:
    """From 1, all alike, to their number: exp of the entropy of the spectrum of the cosines between the first 1,000.

    Args:
        centre: (d,) from where directions are seen: the mean of the real vectors. Seen from 0, all pictures lie in
            about one direction.
    """
    seen = vectors[:VENDI_MOST] - centre
    seen = seen / np.maximum(np.linalg.norm(seen, axis=1, keepdims=True), 1e-12)
    shares = np.maximum(np.linalg.eigvalsh(seen @ seen.T / max(len(seen), 1)), 1e-300)
    return float(np.exp(-(shares * np.log(shares)).sum()))


def variance_ratio(real: Pixels, real_classes: Ints, drawn: Pixels, drawn_classes: Ints) -> dict[int, float]:
    """Of each class that both have: the variance of a drawn pixel over that of a real one, summed over pixels first.

    1 at best, 0 where all drawn ones of a class are the same.
    """
    found = {}
    for value in sorted(set(real_classes.tolist()) & set(drawn_classes.tolist())):
        ours, theirs = _variance(drawn[drawn_classes == value]), _variance(real[real_classes == value])
        found[int(value)] = ours / max(theirs, 1e-300)
    return found


def _variance(pixels: Pixels) -> float:
    return float(pixels.reshape(len(pixels), -1).astype(np.float64).var(axis=0).sum())


def _squares(one: Floats, other: Floats) -> npt.NDArray[np.float32]:
    """(n, m) squared distances, from the mean of ``one`` so that few digits are lost."""
    middle = one.mean(axis=0)
    a, b = (one - middle).astype(np.float32), (other - middle).astype(np.float32)
    out = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None] - 2 * (a @ b.T)
    return np.asarray(np.maximum(out, 0.0), dtype=np.float32)
