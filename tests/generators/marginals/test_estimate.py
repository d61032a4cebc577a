"""From a transcript to the fit's targets: the maps of a column's cells, each once."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from privsynth.generators.marginals.estimate import _maps
from privsynth.generators.marginals.resolve import refinement
from privsynth.generators.marginals.transcript import Groups, Measurement

CELLS = 6


@given(st.lists(st.lists(st.integers(0, 2), min_size=CELLS, max_size=CELLS) | st.none(), min_size=1, max_size=6))
def test_a_map_that_comes_again_changes_no_group(told: list[list[int] | None]) -> None:
    maps: list[Groups | None] = [
        None if g is None else np.unique(g, return_inverse=True)[1].astype(np.int32) for g in told
    ]
    again = [*maps, *(g if g is None else g.copy() for g in reversed(maps))]
    found = _maps([Measurement("pair", (3,), (g,), np.zeros(1, dtype=np.int64), 1.0, 1) for g in again])
    assert list(found) == [3]
    assert [None if g is None else g.tolist() for g in found[3]] == [
        list(key) if key is not None else None
        for key in dict.fromkeys(None if g is None else tuple(g.tolist()) for g in maps)
    ]
    assert refinement(found[3], CELLS).tolist() == refinement(again, CELLS).tolist()
