"""The table of a few columns under a mixture of products."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def product_table(weights: Floats, parts: Sequence[Floats]) -> Floats:
    """Σ_r w_r Π parts_r, one axis a part.

    Args:
        weights: (R,) of the components.
        parts: one to three columns, each (R, cells or groups).
    """
    letters = "abc"[: len(parts)]
    sums = "r," + ",".join(f"r{x}" for x in letters) + "->" + letters
    return np.asarray(np.einsum(sums, weights, *parts, optimize=True))
