"""The grid's places: what one subject can move in a level, and the shortest decimal of a stretch."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from privsynth.data.columns import Integer, Real
from privsynth.data.ranged import ranged_column
from privsynth.generators.marginals.grid import FINEST, Grid, Ints, Level, shortest_decimal
from privsynth.generators.marginals.tree import learn_edges
from tests.generators.marginals.left_open import NARROW, RANGES, coded


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_one_subject_moves_a_level_by_at_most_k(data: st.DataObject) -> None:
    """Neighbours: her at most k rows added. Every level that the tree asks for, whatever it was grown on."""
    name = data.draw(st.sampled_from(sorted([*RANGES, *NARROW])))
    column = coded(name) if name in RANGES else ranged_column(name, Real(min=NARROW[name][0], max=NARROW[name][1]))
    ends = (
        st.floats(column.low[0], column.stop[-1])
        if not column.scale
        else st.integers(round(column.low[0] * column.scale), round(column.stop[-1] * column.scale)).map(
            lambda i: i / column.scale
        )
    )
    value = st.one_of(ends, st.just(math.nan)) if column.nullable else ends
    others = np.array(data.draw(st.lists(value, max_size=30)), dtype=np.float64)
    hers = np.array(data.draw(st.lists(value, min_size=1, max_size=4)), dtype=np.float64)
    asked: list[Level] = []

    def measure(level: Level) -> tuple[Ints, float]:
        asked.append(level)
        whole = np.concatenate([others, hers])
        return 100 * level.count(np.nan_to_num(whole), np.isnan(whole)), 1e-4

    learn_edges(column, measure)
    assert 1 <= len(asked) <= Grid.of(column).levels
    for level in asked:
        assert (level.low < level.high).all()
        assert (level.high[:-1] <= level.low[1:]).all(), "disjoint"
        whole = np.concatenate([others, hers])
        with_her, without = (level.count(np.nan_to_num(x), np.isnan(x)) for x in (whole, others))
        assert np.linalg.norm((with_her - without).astype(float)) <= len(hers)
        assert with_her.sum() <= len(whole)
    assert asked[0].count(np.nan_to_num(others), np.isnan(others)).sum() == len(others), "level 1 counts every row"


@pytest.mark.parametrize("name", sorted(NARROW))
def test_a_finest_stretch_has_two_floats_at_least(name: str) -> None:
    low, high = NARROW[name]
    grid = Grid.of(ranged_column(name, Real(min=low, max=high)))
    assert 1 <= grid.size <= FINEST
    first = grid.place(np.unique(np.linspace(0, grid.size - 1, 1000).astype(np.int64)))
    after = grid.place(np.unique(np.linspace(0, grid.size - 1, 1000).astype(np.int64)) + 1)
    assert first[0] == low
    assert (np.nextafter(first, np.inf) < after).all()
    assert first[-1] <= high < after[-1]


def test_the_places_of_the_widest_integers_are_exact() -> None:
    most = 2**53 - 1
    grid = Grid.of(ranged_column("wide", Integer(min=-most, max=most)))
    assert grid.size == 2 * most + 1
    for index in (0, 1, most - 1, most, most + 1, most + 2, 2 * most - 1, 2 * most):
        assert int(grid.place(index)) == index - most
    assert Grid.of(ranged_column("odd", Integer(min=-most, max=most - 1))).size == 2 * most


@pytest.mark.parametrize(
    ("low", "high", "shortest"),
    [
        (39.99999995, 40.00000004, 40.0),
        (37.4999999, 37.5000001, 37.5),
        (0.0, 1e-7, 0.0),
        (-1e-9, 1e-9, 0.0),
        (-40.1, -39.9, -40.0),
        (1999.5, 2000.5, 2000.0),
        (0.3, 0.4, 0.3),
        (5e-324, 2e-323, 1e-323),
        (1.5e308, math.inf, 1.5e308),
        (1.7976931348623155e308, math.inf, 1.7976931348623155e308),
        (-1.7976931348623157e308, -1.55e308, -1.6e308),
        (0.30000000000000004, 0.30000000000000010, 0.30000000000000004),
    ],
)
def test_the_shortest_decimal(low: float, high: float, shortest: float) -> None:
    assert shortest_decimal(low, high) == shortest


@given(st.floats(-1e12, 1e12), st.floats(1e-9, 1e6))
@example(-32.5625, 1e-4)
def test_the_shortest_decimal_lies_within(low: float, width: float) -> None:
    high = low + width
    if low < high:
        assert low <= shortest_decimal(low, high) < high


@given(st.integers(-(10**7), 10**7), st.integers(0, 6), st.booleans())
@example(163, 1, False)
@example(-163, 1, True)
@example(-237, 1, False)
def test_a_stretch_that_begins_or_ends_at_a_short_decimal_has_it(digits: int, places: int, ends: bool) -> None:
    """Decimals are not floats: the domain's own least and greatest values must be found all the same."""
    value = float(Fraction(digits, 10**places))
    width = 10.0 ** -(places + 1)
    low, high = (value - width, math.nextafter(value, math.inf)) if ends else (value, value + width)
    assert shortest_decimal(low, high) == value
