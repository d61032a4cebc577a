"""The survival table against 400-bit arithmetic: every entry, the bound on its error, its inversion."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import MPContext

from privsynth.errors import BudgetError, MissingExtra, PrivsynthError
from privsynth.privacy import table as room
from privsynth.privacy.table import Table, dyadic_at_least, floor_of, survival_table, total_variation

LAW = settings(deadline=None, derandomize=True)

WORD = 2**64


def entries(sigma: float) -> list[int]:
    """S(0), S(1), ... of the table, as whole numbers."""
    table = survival_table(sigma)
    return [int(h) * WORD + int(low) for h, low in zip(table.high, table.low, strict=True)][::-1]


def exact_floor(sigma: float, k: int) -> int:
    """floor(2^128·P(|X| > k)) straight from mpmath, which must agree with itself at 300 and at 400 bits."""
    floors = set()
    for precision in (300, 400):
        context = MPContext()
        context.prec = precision
        tail = context.erfc((2 * k + 1) / (2 * context.mpf(sigma) * context.sqrt(2)))
        floors.add(int(context.floor(tail * 2**128)))
    assert len(floors) == 1
    return floors.pop()


@pytest.mark.parametrize("sigma", [0.0625, 0.5, 0.75, 1.0, 2.25, 7.5, 20.0])
def test_every_entry_is_the_exact_floor(sigma: float) -> None:
    found = entries(sigma)
    assert found == [exact_floor(sigma, k) for k in range(len(found))]
    assert exact_floor(sigma, len(found)) == 0


@pytest.mark.parametrize("sigma", [304.0, 3008.0, 32768.0])
def test_entries_of_wide_tables_are_exact_floors(sigma: float) -> None:
    found = entries(sigma)
    last = len(found) - 1
    some = {0, 1, last // 3, last // 2, last - 1, last, *range(0, last, last // 40)}
    assert all(found[k] == exact_floor(sigma, k) for k in some)
    assert exact_floor(sigma, last + 1) == 0
    assert all(later <= earlier for earlier, later in pairwise(found))


@pytest.mark.parametrize("sigma", [0.0625, 0.5, 1.0, 3.0, 10.0])
def test_total_variation_is_below_its_bound(sigma: float) -> None:
    """The true distance by 400-bit arithmetic, over a range whose rest weighs less than 2^-200."""
    context = MPContext()
    context.prec = 400
    drawn = [Fraction(1), *(Fraction(entry, 2**128) for entry in entries(sigma))]
    reach = math.ceil(18 * sigma)
    drawn += [Fraction(0)] * (reach + 1 - len(drawn))
    true = [context.mpf(1)]
    true += [context.erfc((2 * k + 1) / (2 * context.mpf(sigma) * context.sqrt(2))) for k in range(reach)]
    exact = [context.mpf(p.numerator) / p.denominator for p in drawn]
    gaps = [abs((a - b) - (c - d)) for a, b, c, d in zip(true, true[1:], exact, exact[1:], strict=False)]
    distance = sum(gaps) / 2 + context.mpf(2) ** -200
    bound = total_variation(sigma)
    assert distance <= context.mpf(bound.numerator) / bound.denominator
    assert distance > 0


@pytest.mark.parametrize("sigma", [0.0625, 1.0, 62.0, 32768.0])
def test_a_table_is_no_longer_than_its_error_bound_supposes(sigma: float) -> None:
    assert Fraction(len(entries(sigma)) + 2, 2**129) <= total_variation(sigma)


# --- inversion ---------------------------------------------------------------------------------


def split(numbers: list[int]) -> tuple[np.ndarray[tuple[int], np.dtype[np.uint64]], ...]:
    high = np.array([n // WORD for n in numbers], dtype=np.uint64)
    return high, np.array([n % WORD for n in numbers], dtype=np.uint64)


NEAR = st.builds(lambda high, low: high * WORD + low, st.integers(0, 3), st.sampled_from([0, 1, 2, WORD - 2, WORD - 1]))


@LAW
@given(st.lists(NEAR, min_size=1, max_size=12), st.lists(NEAR | st.integers(0, 2**128 - 1), min_size=1, max_size=12))
def test_inversion_counts_the_entries_above_also_where_high_words_tie(survivals: list[int], bits: list[int]) -> None:
    table = Table(*split(sorted(survivals)))
    expected = [sum(u < survival for survival in survivals) for u in bits]
    assert table.magnitudes(*split(bits)).tolist() == expected


def test_the_ends_of_the_random_bits() -> None:
    table = survival_table(2.0)
    assert table.magnitudes(*split([0, 2**128 - 1])).tolist() == [len(table.high), 0]
    each = entries(2.0)
    assert table.magnitudes(*split(each)).tolist() == [sum(u < s for s in each) for u in each]
    assert table.magnitudes(*split([s - 1 for s in each])).tolist() == [sum(u <= s for s in each) for u in each]


def test_words_of_another_type_are_refused() -> None:
    """numpy compares uint64 with int64 as float64: 11 bits would be lost without a word."""
    high, low = split([5])
    with pytest.raises(PrivsynthError, match="uint64"):
        survival_table(2.0).magnitudes(high.astype(np.int64), low)


def test_tables_are_shared_and_cannot_be_written() -> None:
    assert survival_table(2.0) is survival_table(2.0)
    with pytest.raises(ValueError, match="read-only"):
        survival_table(2.0).high[0] = 0


# --- guards ------------------------------------------------------------------------------------


def test_a_floor_that_is_not_proved_is_refused() -> None:
    assert floor_of((7 << 128) + (1 << 127)) == 7
    assert floor_of(0) == 0
    for unclear in ((7 << 128), (7 << 128) + 1, (7 << 128) - 1):
        with pytest.raises(PrivsynthError, match="proof"):
            floor_of(unclear)


@pytest.fixture
def fresh_tables() -> Iterator[None]:
    room._nodes.cache_clear()
    survival_table.cache_clear()
    yield
    room._nodes.cache_clear()
    survival_table.cache_clear()


@pytest.mark.usefixtures("fresh_tables")
def test_without_mpmath_the_mend_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mpmath", None)
    with pytest.raises(MissingExtra, match="mpmath") as missing:
        survival_table(2.0)
    assert "generate" in missing.value.mend


@pytest.mark.usefixtures("fresh_tables")
def test_an_mpmath_that_disagrees_with_itself_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def shaky() -> Any:
        context = MPContext()
        right = context.floor
        context.floor = lambda x: right(x) + (context.prec > 350)
        return context

    monkeypatch.setattr("mpmath.MPContext", shaky)
    with pytest.raises(PrivsynthError, match="300 and at 400"):
        survival_table(2.0)


# --- the grid of sigmas ------------------------------------------------------------------------


@LAW
@given(st.floats(2.0**-4, 2.0**15))
def test_the_grid_rounds_up_once_and_little(sigma: float) -> None:
    up = dyadic_at_least(sigma)
    assert sigma <= up <= sigma * (1 + 1 / 32)
    assert dyadic_at_least(up) == up
    mantissa, exponent = math.frexp(up)
    steps = mantissa * 64
    assert steps.is_integer()
    assert math.ldexp(steps - 1 if steps > 32 else 31.5, exponent - 6) < sigma  # the one below is too small


def test_the_grid_has_32_values_in_an_octave() -> None:
    assert len({dyadic_at_least(sigma) for sigma in np.linspace(128, 256, 5000).tolist()[1:]}) == 32


@pytest.mark.parametrize("sigma", [0.0, -0.0, -3.0, math.nan, math.inf, 2.0**15 + 1, 0.06, 1e-400, True, "3"])
def test_absurd_sigmas_are_refused_with_a_mend(sigma: float) -> None:
    for step in (dyadic_at_least, total_variation, survival_table):
        with pytest.raises(BudgetError) as refusal:
            step(sigma)
        assert "raise epsilon, use fewer columns, or lower the contribution bound" in refusal.value.mend


def test_the_bound_is_for_sigmas_on_the_grid_only() -> None:
    with pytest.raises(BudgetError, match="six significant bits"):
        total_variation(5.03)
