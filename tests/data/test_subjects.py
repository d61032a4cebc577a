"""Ids that numpy or pandas would take for one stay two, and others are numbered as those would number them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from privsynth.data.subjects import grouped


def array(ids: list[str]) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
    out = np.empty(len(ids), dtype=object)
    out[:] = ids
    return out


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=3)))
def test_ids_without_nul_are_numbered_as_numpy_and_pandas_do(ids: list[str]) -> None:
    by_row, people = grouped(array(ids))
    assert by_row.dtype == np.int64
    assert by_row.tolist() == pd.factorize(array(ids))[0].tolist()
    by_text, again = grouped(array(ids), by_text=True)
    assert by_text.tolist() == np.unique(array(ids).astype(str), return_inverse=True)[1].tolist()
    assert people == again == len(set(ids))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text("a\0 ", max_size=4)))
def test_two_ids_are_two_subjects_whatever_is_in_them(ids: list[str]) -> None:
    for by_text in (False, True):
        numbers, people = grouped(array(ids), by_text=by_text)
        assert people == len(set(ids)) == len(set(numbers.tolist()))
        assert len(set(zip(ids, numbers.tolist(), strict=True))) == people


def test_nul_at_an_end() -> None:
    ids = array(["b", "a\0", "a", "a\0\0", "a\0"])
    assert grouped(ids)[0].tolist() == [0, 1, 2, 3, 1]
    assert grouped(ids, by_text=True)[0].tolist() == [3, 1, 0, 2, 1]
    numbers, people = grouped(array([]))
    assert (len(numbers), people) == (0, 0)
