"""Ids that one person may have in two spellings: told by ``privsynth data check``, and used as they are.

A subject is her id, so one that is written otherwise in another source or another delivery is somebody else there, with
a budget of her own (docs/proofs/disjoint.md). Only the owner knows which ids mean one person; these two kinds seldom
come of a person's hand: a whole number that went through decimals, and characters that nobody sees.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

_DECIMAL = re.compile(r"[0-9]\.0+\Z")


def odd_ids(ids: Iterable[str | None]) -> dict[str, npt.NDArray[np.bool_]]:
    """Of each kind, in words, which of the ids are of it; O(characters).

    Args:
        ids: one for each row, without the blanks at its ends; None where there is none.
    """
    texts = [text or "" for text in ids]
    return {
        "kept, ends in .0": np.array([bool(_DECIMAL.search(text)) for text in texts], dtype=np.bool_),
        "kept, holds what nobody sees": np.array([not text.isprintable() for text in texts], dtype=np.bool_),
    }
