"""Tables of a wanted number of rows from draws that lose some: rejection by the schema's rules."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from privsynth.data.records import Draw
from privsynth.errors import ConditionError
from privsynth.generators.marginals.draw import BLOCK

if TYPE_CHECKING:
    import pandas as pd

REDRAW_AT_LEAST = 1_000_000
REDRAW_SHARE = 1e-5


def filled(
    n: int,
    drawn: Callable[[int, Draw], pd.DataFrame],
    rng: np.random.Generator,
    draw: Draw,
    *,
    barren: ConditionError,
) -> pd.DataFrame:
    """``n`` rows that keep the rules, of ``drawn``, which leaves out what breaks one: rejection, so exact.

    The first n are drawn as asked; rows that broke a rule are replaced by independent ones that keep it. So each
    set of values is expected n times its probability given that the rules are kept, also where the rows of a draw
    are not independent. At most 1 / ``REDRAW_SHARE`` rows are tried for each that is kept, or ``REDRAW_AT_LEAST``
    and a block.

    Raises:
        ConditionError: ``barren``, where fewer than ``REDRAW_SHARE`` of at least ``REDRAW_AT_LEAST`` rows keep them.
    """
    kept = [drawn(n, draw)]
    tried, passed = n, len(kept[0])
    have = passed
    while have < n:
        if tried >= REDRAW_AT_LEAST and passed < tried * REDRAW_SHARE:
            raise barren
        size = min(BLOCK, max(256, tried if passed == 0 else math.ceil(1.1 * (n - have) * tried / passed)))
        more = drawn(size, "independent")
        tried, passed = tried + size, passed + len(more)
        kept.append(more.iloc[: n - have])
        have += len(kept[-1])
    return kept[0] if len(kept) == 1 else shuffled(joined(kept), rng)


def joined(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """One table under the other."""
    import pandas as pd

    return parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)


def shuffled(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """The rows in random order."""
    import pandas as pd

    out = frame.take(rng.permutation(len(frame)))
    out.index = pd.RangeIndex(len(out))
    return out
