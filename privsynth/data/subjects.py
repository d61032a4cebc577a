"""Whose row each is, as numbers: ids are compared as Python compares texts, to the last character."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def grouped(ids: npt.NDArray[Any], *, by_text: bool = False) -> tuple[npt.NDArray[np.int64], int]:
    """Each row's subject as a number from 0, and how many subjects there are. Sensitive, as ids are.

    Neither numpy's fixed-width texts nor pandas' hashes of texts, which end at a NUL: to them "a" and "a\\0" are one
    subject, whose rows would then be bounded, clipped and counted together. O(rows), with ``by_text`` O(rows · log).

    Args:
        ids: (n,) subject ids, repeats allowed.
        by_text: numbers in the order of the ids' texts; else of their first rows.
    """
    rows = ids.tolist()
    known = dict.fromkeys(rows)
    place = {id_: number for number, id_ in enumerate(sorted(known, key=str) if by_text else known)}
    return np.fromiter(map(place.__getitem__, rows), dtype=np.int64, count=len(rows)), len(place)
