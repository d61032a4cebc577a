"""Values ↔ cells: the round trip, evidence against brute force, and every refused condition.

Chance: every random test has a fixed seed or is a law that holds for each draw; the one statistical test
states its false-alarm rate.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from privsynth.data.codec import Between, Codec, CodedColumn, Codes, Ranged, Segments, coded_column
from privsynth.data.columns import EXACT
from privsynth.data.schema import Boolean, Categorical, Column, Date, Datetime, Integer, Real, Text
from privsynth.errors import ConditionError, DataError
from tests.data import made

BIG = EXACT
DAY = dt.date(1970, 1, 1)
MOMENT = dt.datetime(1970, 1, 1)


# --- columns of every kind -----------------------------------------------------------------------


@st.composite
def integers(draw: st.DrawFn) -> Integer:
    low = draw(st.one_of(st.integers(-300, 300), st.integers(-BIG, BIG - 1)))
    high = draw(st.one_of(st.integers(low + 1, min(BIG, low + 600)), st.integers(low + 1, BIG)))
    bins = draw(st.none() | st.lists(st.integers(low + 1, high), min_size=1, max_size=6, unique=True).map(sorted))
    return Integer(min=low, max=high, bins=None if bins is None else tuple(bins), nullable=draw(st.booleans()))


@st.composite
def reals(draw: st.DrawFn) -> Real:
    finite = st.floats(-1e300, 1e300) | st.floats(-100, 100) | st.integers(-50, 50).map(float)
    low, high = sorted(draw(st.lists(finite, min_size=2, max_size=2, unique=True)))
    inside = st.floats(low, high)
    edges = inside.filter(lambda b: low < b)
    bins = draw(st.none() | st.lists(edges, min_size=1, max_size=5, unique=True).map(sorted))
    decimals = draw(st.none() | st.integers(0, 6))
    atoms = draw(st.lists(inside, max_size=3, unique=True))
    if decimals is not None:
        atoms = [a for a in {round(a, decimals) for a in atoms} if low <= a <= high]
    return Real(
        min=low,
        max=high,
        bins=None if bins is None else tuple(bins),
        atoms=tuple(atoms),
        decimals=decimals,
        nullable=draw(st.booleans()),
    )


@st.composite
def dates(draw: st.DrawFn) -> Date:
    low, high = sorted(draw(st.lists(st.dates(), min_size=2, max_size=2, unique=True)))
    after = st.dates(low + dt.timedelta(days=1), high)
    bins = draw(st.none() | st.lists(after, min_size=1, max_size=4, unique=True).map(sorted))
    return Date(min=low, max=high, bins=None if bins is None else tuple(bins), nullable=draw(st.booleans()))


@st.composite
def datetimes(draw: st.DrawFn) -> Datetime:
    whole = st.datetimes().map(lambda m: m.replace(microsecond=0))
    low, high = sorted(draw(st.lists(whole, min_size=2, max_size=2, unique=True)))
    return Datetime(min=low, max=high, nullable=draw(st.booleans()))


@st.composite
def categories(draw: st.DrawFn) -> Categorical:
    texts = st.lists(st.sampled_from(["F", "M", "X", "Ä", "1", "a b"]), min_size=1, max_size=5, unique=True)
    numbers = st.lists(st.integers(-5, 5), min_size=1, max_size=5, unique=True)
    values: list[Any] = draw(st.one_of(texts, numbers))
    return Categorical(values=tuple(values), nullable=draw(st.booleans()))


COLUMNS: st.SearchStrategy[Column] = st.one_of(
    integers(), reals(), dates(), datetimes(), categories(), st.booleans().map(lambda n: Boolean(nullable=n))
)


def draws(coded: CodedColumn, seed: int, n: int = 300) -> Codes:
    return np.random.default_rng(seed).integers(0, coded.cells, n).astype(np.int32)


@settings(max_examples=300, deadline=None)
@given(column=COLUMNS, seed=st.integers(0, 2**32))
def test_encoding_undoes_decoding(column: Column, seed: int) -> None:
    coded = coded_column("c", column)
    codes = draws(coded, seed)
    values = coded.decode(codes, np.random.default_rng(seed))
    assert values.name == "c"
    assert np.array_equal(coded.encode(values), codes)
    assert coded.encode(values).dtype == np.int32
    assert np.array_equal(values.isna().to_numpy(), codes == coded.null)


@settings(max_examples=200, deadline=None)
@given(column=COLUMNS)
def test_every_cell_has_a_label_of_its_own(column: Column) -> None:
    coded = coded_column("c", column)
    labels = coded.labels()
    assert len(labels) == coded.cells == len(set(labels))
    assert (labels[-1] == "null") == coded.nullable


# --- cells ---------------------------------------------------------------------------------------


def ranged(column: Column) -> Ranged:
    coded = coded_column("c", column)
    assert isinstance(coded, Ranged)
    return coded


@settings(max_examples=200, deadline=None)
@given(column=reals(), data=st.data())
def test_a_real_value_falls_into_the_cell_that_holds_it(column: Real, data: st.DataObject) -> None:
    coded = ranged(column)
    edges = [*coded.low, *coded.stop, *column.atoms, column.min, column.max]
    near = [float(np.nextafter(e, way)) for e in edges for way in (-np.inf, np.inf)]
    values = [v for v in [*edges, *near, *data.draw(st.lists(st.floats(column.min, column.max)))]]
    values = [float(v) for v in values if column.min <= v <= column.max]
    codes = coded.encode(pd.Series(values, dtype=np.float64))
    for value, code in zip(values, codes, strict=True):
        nearest = np.rint(value * coded.scale) / coded.scale if coded.scale else value
        assert coded.low[code] <= np.clip(nearest, coded.low[0], coded.stop[-1]) <= coded.stop[code]
    after = (np.rint(coded.stop * coded.scale) + 1) / coded.scale if coded.scale else np.nextafter(coded.stop, np.inf)
    assert all(coded.low[1:] == after[:-1])  # no gap, no overlap
    assert column.min <= coded.low[0]
    assert coded.stop[-1] <= column.max
    assert coded.bounds == (column.min, column.max)


@settings(max_examples=200, deadline=None)
@given(column=integers(), data=st.data())
def test_a_whole_number_falls_into_the_cell_that_holds_it(column: Integer, data: st.DataObject) -> None:
    coded = ranged(column)
    values = [column.min, column.max, *(column.bins or ()), *data.draw(st.lists(st.integers(column.min, column.max)))]
    codes = coded.encode(pd.Series(values, dtype="int64"))
    for value, code in zip(values, codes, strict=True):
        assert coded.low[code] <= value <= coded.stop[code]
    assert (coded.low[0], coded.stop[-1]) == (column.min, column.max)
    assert all(coded.stop[:-1] < coded.low[1:])
    assert coded.cells - column.nullable == len(coded.low) <= 256


def test_a_cell_a_value_up_to_256_and_64_of_equal_width_beyond() -> None:
    assert ranged(Integer(min=1, max=256)).cells == 256
    assert ranged(Integer(min=0, max=256)).cells == 64
    assert ranged(Real(min=0, max=1)).cells == 64
    assert ranged(Integer(min=0, max=99, bins=(18, 65))).labels() == ("0 to 17", "18 to 64", "65 to 99")
    assert ranged(Integer(min=0, max=3, bins=(3,))).labels() == ("0 to 2", "3")


def test_the_widest_whole_numbers() -> None:
    coded = ranged(Integer(min=-BIG, max=BIG, bins=(0, BIG)))
    assert coded.encode(pd.Series([-BIG, -1, 0, BIG - 1, BIG])).tolist() == [0, 0, 1, 1, 2]
    drawn = coded.decode(np.array([0, 1, 2] * 500, dtype=np.int32), np.random.default_rng(1))
    assert drawn.min() < -BIG // 2
    assert drawn.max() == BIG
    assert coded.evidence(BIG).weights.tolist() == [0, 0, 1]
    assert coded.labels() == (f"{-BIG} to -1", f"0 to {BIG - 1}", str(BIG))


@pytest.mark.parametrize(
    ("low", "high"), [(1.0, math.nextafter(1.0, 2.0)), (-8e307, 8e307), (0.0, 5e-324), (1e9, math.nextafter(1e9, 2e9))]
)
def test_bounds_as_near_and_as_far_as_floats_go(low: float, high: float) -> None:
    coded = ranged(Real(min=low, max=high))
    codes = draws(coded, 1)
    values = coded.decode(codes, np.random.default_rng(1))
    assert np.array_equal(coded.encode(values), codes)
    assert values.between(low, high).all()


def test_days_and_moments_before_1970() -> None:
    days = ranged(Date(min=dt.date(1969, 12, 30), max=dt.date(1970, 1, 2)))
    assert days.labels() == ("1969-12-30", "1969-12-31", "1970-01-01", "1970-01-02")
    assert days.encode(pd.Series(pd.to_datetime(["1969-12-31", "1970-01-01"]))).tolist() == [1, 2]
    moments = ranged(Datetime(min=dt.datetime(1969, 12, 31, 23, 59, 58), max=dt.datetime(1970, 1, 1)))
    assert moments.labels() == ("1969-12-31 23:59:58", "1969-12-31 23:59:59", "1970-01-01 00:00:00")
    half = pd.Series(pd.to_datetime(["1969-12-31 23:59:58.500", "1969-12-31 23:59:59.999"]))
    assert moments.encode(half).tolist() == [0, 1]
    ages = ranged(Date(min=dt.date(1, 1, 1), max=dt.date(9999, 12, 31)))
    drawn = ages.decode(draws(ages, 3), np.random.default_rng(3))
    assert drawn.dt.year.min() < 200
    assert drawn.dt.year.max() > 9800


def test_what_is_drawn_has_the_storage_type_of_its_kind() -> None:
    codec = Codec(made.every_kind())
    codes = np.zeros((4, len(codec.columns)), dtype=np.int32)
    kinds = {name: str(kind) for name, kind in codec.decode(codes, np.random.default_rng(1)).dtypes.items()}
    assert kinds == {
        **{"age": "Int64", "visits": "int64", "sex": "category", "ward": "category", "grade": "category"},
        **{"ill": "boolean", "smoker": "boolean", "cost": "float64", "weight": "float64"},
        **{"seen": "datetime64[s]", "left": "datetime64[s]", "at": "datetime64[s]"},
    }


# --- decimals and atoms --------------------------------------------------------------------------


def test_a_real_column_with_decimals_has_those_values_and_no_others() -> None:
    coded = ranged(Real(min=0, max=1, bins=(0.005, 0.5, 1.0), atoms=(0.0, 0.25), decimals=2))
    assert coded.labels() == ("0", "0.01 to 0.24", "0.25", "0.26 to 0.49", "0.5 to 0.99", "1")
    codes = draws(coded, 5, n=4000)
    values = coded.decode(codes, np.random.default_rng(5)).to_numpy()
    assert set(values) == {k / 100 for k in range(101)}
    near = pd.Series([0.004, 0.006, 0.2449, 0.2451, 0.25499, 0.994, 0.996])  # read as the nearest hundredth
    assert coded.encode(near).tolist() == [0, 1, 1, 2, 2, 4, 5]


@settings(max_examples=300, deadline=None)
@given(st.integers(-(10**7), 10**7), st.integers(0, 7))
def test_decimals_lie_where_they_are_written(k: int, decimals: int) -> None:
    """0.07·100 is a little more than 7 in floats; 0.07 is a hundredth all the same, and its neighbours are not."""
    value, after = (float(f"{n}e-{decimals}") for n in (k, k + 1))
    column = ranged(Real(min=value, max=after + 1, bins=(after,), decimals=decimals))
    assert column.low.tolist() == [value, after]
    assert column.evidence(after).weights[1] > 0
    assert column.evidence(Between(value, value)).weights.tolist() == [1, 0]
    over = ranged(Real(min=math.nextafter(value, math.inf), max=after + 1, decimals=decimals))
    assert over.low[0] == after
    under = ranged(Real(min=value - 1, max=math.nextafter(after, -math.inf), decimals=decimals))
    assert under.stop[-1] == value


class _Top(np.random.Generator):
    """Draws the largest number that ``random`` ever returns."""

    def random(self, size: int) -> npt.NDArray[np.float64]:  # type: ignore[override]  # one of its many forms
        return np.full(size, np.nextafter(1.0, 0.0))


@settings(max_examples=500, deadline=None)
@given(ends=st.tuples(*[st.floats(-1e300, 1e300) | st.floats(-2, 2)] * 2).map(sorted), scale=st.just(0.0))
@example(ends=[0.0, 5e-324], scale=0.0)
@example(ends=[-float(BIG), float(BIG)], scale=1.0)
@example(ends=[0.0, float(BIG)], scale=1.0)
@example(ends=[-(2**51 - 1) / 1e15, (2**51 - 1) / 1e15], scale=1e15)
def test_the_largest_draw_stays_in_its_stretch(ends: list[float], scale: float) -> None:
    cell = Segments(np.zeros(1, np.int64), np.array(ends[:1]), np.array(ends[1:]), scale)
    drawn = cell.draw(np.zeros(1, np.int32), 1, rng=_Top(np.random.PCG64(1)))
    assert ends[0] <= drawn[0] <= ends[1]


def test_decimals_leave_no_cell_empty() -> None:
    assert ranged(Real(min=0, max=1, decimals=0)).labels() == ("0", "1")
    assert ranged(Real(min=0.5, max=3.9, decimals=0)).labels() == ("1", "2", "3")
    assert ranged(Real(min=0.5, max=3.9, decimals=0)).encode(pd.Series([0.5, 3.9])).tolist() == [0, 2]
    assert ranged(Real(min=0.1, max=0.9, decimals=0)).scale == 0  # no whole number within: digits are kept
    assert ranged(Real(min=0, max=1000, decimals=15)).scale == 0  # finer than floats are


def test_conditions_on_decimals_count_decimals() -> None:
    coded = ranged(Real(min=0, max=10, decimals=1))
    evidence = coded.evidence([Between(1.04, 1.26), Between(3.0, 3.1), 7.5])
    cells = np.flatnonzero(evidence.weights).astype(np.int32)
    drawn = coded.decode(np.repeat(cells, 500), np.random.default_rng(2), evidence)
    assert set(drawn) == {1.1, 1.2, 3.0, 3.1, 7.5}
    with pytest.raises(ConditionError, match="no value"):
        coded.evidence(7.55)


def test_without_decimals_an_atom_is_a_cell_between_stretches() -> None:
    coded = ranged(Real(min=0, max=10, bins=(5,), atoms=(0, 2.5, 10)))
    assert coded.labels() == ("0", "over 0 to 2.5", "2.5", "over 2.5 to 5", "5 to 10", "10")
    assert coded.encode(pd.Series([0, 5e-324, 2.4, 2.5, 2.6, 5.0, 9.99, 10])).tolist() == [0, 1, 1, 2, 3, 4, 4, 5]
    assert coded.evidence([Between(0, 2.5), 10]).weights.tolist() == [1, 1, 1, 0, 0, 1]


# --- conditions ----------------------------------------------------------------------------------


def shares(coded: Ranged, allowed: Callable[[Any], bool], values: list[Any], codes: Codes) -> npt.NDArray[np.float64]:
    """Brute force: of the ``values`` in each cell, which share is allowed."""
    hit = np.bincount(codes, weights=[allowed(v) for v in values], minlength=len(coded.low))
    return np.asarray(hit / np.bincount(codes, minlength=len(coded.low)))


def inside(wanted: list[Any]) -> Callable[[Any], bool]:
    def allowed(value: Any) -> bool:
        for w in wanted:
            if isinstance(w, Between):
                if (w.low is None or w.low <= value) and (w.high is None or value <= w.high):
                    return True
            elif w == value:
                return True
        return False

    return allowed


@st.composite
def asked(draw: st.DrawFn, values: list[Any], *, points: bool) -> list[Any]:
    """Values and ranges of a domain, ends open or not."""
    one = st.sampled_from(values)
    end = st.none() | one

    def some(pair: tuple[Any, Any]) -> bool:  # a range of more than one value
        low, high = (values[0] if pair[0] is None else pair[0], values[-1] if pair[1] is None else pair[1])
        return bool(low < high)

    ranges = st.tuples(end, end).filter(some).map(lambda p: Between(*p))
    return draw(st.lists(one | ranges if points else ranges, min_size=1, max_size=4))


WHOLE = [
    Integer(min=-40, max=59),
    Integer(min=0, max=999, nullable=True),
    Integer(min=0, max=99, bins=(18, 40, 65)),
    Date(min=dt.date(1969, 6, 1), max=dt.date(1971, 9, 30), nullable=True),
    Date(min=dt.date(2020, 1, 1), max=dt.date(2020, 12, 31), bins=(dt.date(2020, 2, 29), dt.date(2020, 12, 31))),
    Datetime(min=dt.datetime(1969, 12, 31, 23, 50), max=dt.datetime(1970, 1, 1, 0, 10)),
]


def domain(column: Column) -> list[Any]:
    """Every value of a whole-numbered column."""
    match column:
        case Integer(min=low, max=high):
            return list(range(low, high + 1))
        case Date(min=first, max=last):
            return [first + dt.timedelta(days=i) for i in range((last - first).days + 1)]
        case Datetime(min=start, max=end):
            return [start + dt.timedelta(seconds=i) for i in range(int((end - start).total_seconds()) + 1)]
    raise AssertionError(column)


@settings(max_examples=150, deadline=None)
@given(column=st.sampled_from(WHOLE), data=st.data())
def test_evidence_of_whole_numbers_and_dates_equals_brute_force(column: Column, data: st.DataObject) -> None:
    coded, values = ranged(column), domain(column)
    wanted = data.draw(asked(values, points=True))
    null = [None] if column.nullable and data.draw(st.booleans()) else []
    allowed = inside(wanted)
    series = pd.Series(values if isinstance(column, Integer) else pd.to_datetime(pd.Series(values)))
    evidence = coded.evidence([*wanted, *null])
    expected = shares(coded, allowed, values, coded.encode(series))
    assert evidence.weights[: len(coded.low)] == pytest.approx(expected, abs=1e-12)
    assert evidence.weights[len(coded.low) :].tolist() == [float(bool(null))] * column.nullable
    codes = np.random.default_rng(1).choice(np.flatnonzero(evidence.weights), 400).astype(np.int32)
    drawn = coded.decode(codes, np.random.default_rng(2), evidence)
    assert np.array_equal(coded.encode(drawn), codes)
    position, missing = coded.position(drawn)
    places = dict(zip(coded.position(series)[0].tolist(), values, strict=True))
    assert all(allowed(places[p]) for p in position[~missing])
    assert bool(null) >= missing.any()


@settings(max_examples=150, deadline=None)
@given(data=st.data(), bins=st.booleans(), decimals=st.sampled_from([None, 0, 1]))
def test_evidence_of_reals_equals_brute_force(data: st.DataObject, bins: bool, decimals: int | None) -> None:
    """With decimals every value is counted. Without, edges and ends are multiples of 1/8, so that the
    midpoints of eighths count length exactly."""
    column = Real(min=-8, max=8, bins=(-3, 0.5, 6) if bins else None, atoms=(0.0, 2.0), decimals=decimals)
    coded = ranged(column)
    ends = [k / 8 for k in range(-64, 65)] if decimals is None else [k / 10 for k in range(-80, 81)]
    wanted = data.draw(asked(ends, points=False))
    assume(decimals != 0 or all(any(inside([w])(v) for v in range(-8, 9)) for w in wanted))
    evidence, allowed = coded.evidence(wanted), inside(wanted)
    middles = [k / 8 + 1 / 16 for k in range(-64, 64)] if decimals is None else ends if decimals else range(-8, 9)
    with np.errstate(invalid="ignore"):
        expected = shares(coded, allowed, list(middles), coded.encode(pd.Series(middles, dtype=np.float64)))
    atoms = coded.low == coded.stop
    expected[atoms] = [allowed(a) for a in coded.low[atoms]]
    assert evidence.weights == pytest.approx(expected, abs=1e-12)
    codes = np.random.default_rng(1).choice(np.flatnonzero(evidence.weights), 400).astype(np.int32)
    drawn = coded.decode(codes, np.random.default_rng(2), evidence)
    assert all(map(allowed, drawn))
    assert np.array_equal(coded.encode(drawn), codes)


@settings(max_examples=100, deadline=None)
@given(column=categories() | st.booleans().map(lambda n: Boolean(nullable=n)), data=st.data())
def test_evidence_of_lists(column: Categorical | Boolean, data: st.DataObject) -> None:
    coded = coded_column("c", column)
    values = [*(column.values if isinstance(column, Categorical) else (False, True)), *([None] * column.nullable)]
    wanted = data.draw(st.lists(st.sampled_from(values), min_size=1))
    assert coded.evidence(wanted).weights.tolist() == [float(v in wanted) for v in values]
    assert coded.evidence(wanted[0]).weights.sum() == 1


def test_a_condition_may_be_any_collection() -> None:
    sex, age = coded_column("sex", Categorical(values=("F", "M"))), coded_column("age", Integer(min=0, max=3))
    for wanted in (["M"], {"M"}, ("M",), np.array(["M"]), pd.Series(["M"]), np.array("M"), np.str_("M")):
        assert sex.evidence(wanted).weights.tolist() == [0, 1]
    for number in (2, 2.0, np.int64(2), np.float32(2), np.array([2]), np.array(2), range(2, 3), Between(1.5, 2.5)):
        assert age.evidence(number).weights.tolist() == [0, 0, 1, 0]
    assert age.evidence(Between()).weights.tolist() == [1, 1, 1, 1]
    day = coded_column("day", Date(min=dt.date(2020, 1, 1), max=dt.date(2020, 1, 3)))
    for when in ("2020-01-02", dt.date(2020, 1, 2), pd.Timestamp("2020-01-02"), dt.datetime(2020, 1, 2, 12)):
        assert day.evidence(when).weights.tolist() == [0, 1, 0]


def test_only_null() -> None:
    coded = ranged(Integer(min=0, max=9, nullable=True))
    evidence = coded.evidence(None)
    assert evidence.weights.tolist() == [0.0] * 10 + [1.0]
    assert coded.decode(np.full(5, 10, dtype=np.int32), np.random.default_rng(1), evidence).isna().all()


@pytest.mark.parametrize(
    ("name", "wanted", "says"),
    [
        ("sex", "Q", "public domain"),
        ("sex", b"F", "public domain"),
        ("sex", 1, "public domain"),
        ("sex", None, "never null"),
        ("sex", [], "empty list"),
        ("sex", {}, "mapping"),
        ("sex", {"from": "F"}, "mapping"),
        ("sex", ["F", ["M"]], "public domain"),
        ("sex", [["F"]], "public domain"),
        ("sex", float("nan"), "public domain"),
        ("sex", pd.NA, "public domain"),
        ("sex", Between("F", "M"), "range"),
        ("sex", ["F", Between("F", "M")], "range"),
        ("grade", True, "public domain"),
        ("grade", "1", "public domain"),
        ("grade", 1.5, "public domain"),
        ("ill", 1, "public domain"),
        ("ill", "true", "public domain"),
        ("ill", np.int64(1), "public domain"),
        ("ill", None, "never null"),
        ("visits", None, "never null"),
        ("visits", "5", "not of kind integer"),
        ("visits", True, "not of kind integer"),
        ("visits", np.True_, "not of kind integer"),
        ("visits", [5, False], "not of kind integer"),
        ("visits", float("nan"), "not of kind integer"),
        ("visits", float("inf"), "not of kind integer"),
        ("visits", 10**400, "not of kind integer"),
        ("visits", 1j, "not of kind integer"),
        ("visits", pd.NA, "not of kind integer"),
        ("visits", {5: 6}, "mapping"),
        ("visits", 0, "no value"),
        ("visits", [5, 1001], "no value"),
        ("visits", 5.5, "no value"),
        ("visits", Between(5.2, 5.8), "no value"),
        ("visits", Between(2000, None), "no value"),
        ("visits", Between(9, 8), "empty range"),
        ("visits", Between(float("nan"), 8), "not of kind integer"),
        ("visits", Between(None, "8"), "not of kind integer"),
        ("weight", 5.0, "no value"),
        ("weight", Between(5.0, 5.0), "no value"),
        ("cost", 5.001, "no value"),
        ("cost", Between(-5.0, -1.0), "no value"),
        ("cost", "0", "not of kind real"),
        ("seen", "2020-02-30", "not of kind date"),
        ("seen", "yesterday", "not of kind date"),
        ("seen", 18262, "not of kind date"),
        ("seen", pd.NaT, "not of kind date"),
        ("seen", dt.date(1950, 1, 1), "no value"),
        ("at", dt.date(2020, 1, 1), "not of kind datetime"),
        ("at", dt.datetime(2020, 1, 1, tzinfo=dt.UTC), "not of kind datetime"),
        ("at", "2020-01-01T00:00:00Z", "not of kind datetime"),
        ("person", "p1", "not a learned column"),
        ("note", "x", "not a learned column"),
        ("height", 1, "not a learned column"),
    ],
)
def test_conditions_that_cannot_be_met_are_refused(name: str, wanted: Any, says: str) -> None:
    with pytest.raises(ConditionError, match=says) as refused:
        Codec(made.every_kind()).evidence({name: wanted})
    assert refused.value.where == f"where[{name!r}]"
    assert refused.value.mend


def test_a_condition_is_a_mapping() -> None:
    codec = Codec(made.every_kind())
    assert codec.evidence(None) == codec.evidence({}) == {}
    with pytest.raises(ConditionError, match="not a mapping"):
        codec.evidence(["sex"])  # type: ignore[arg-type]  # what a caller without types writes


def test_draws_are_uniform_over_the_allowed_values() -> None:
    """Chi-square over 30 values in 6 stretches of 2 cells, fixed seed; a correct sampler would fail at
    1 seed in 10,000 (58.3 is the 0.999 quantile of 29 degrees of freedom, 66.2 the 0.9999)."""
    coded = ranged(Integer(min=0, max=99, bins=(50,)))
    wanted = [*range(0, 10), *range(20, 25), 49, *range(50, 58), 70, *range(95, 100)]
    evidence = coded.evidence(wanted)
    rng = np.random.default_rng(11)
    codes = rng.choice(2, 60_000, p=evidence.weights / evidence.weights.sum()).astype(np.int32)
    counts = np.bincount(coded.decode(codes, rng, evidence), minlength=100)
    assert counts.sum() == counts[wanted].sum()
    expected = 60_000 / len(wanted)
    assert ((counts[wanted] - expected) ** 2 / expected).sum() < 66.2


# --- the whole table -----------------------------------------------------------------------------


def test_only_learned_columns_are_coded() -> None:
    codec = Codec(made.every_kind())
    assert list(codec.index) == [n for n in made.EVERY_KIND if n not in ("person", "note")]
    with pytest.raises(ConditionError, match="never coded"):
        coded_column("note", Text(dropped=True))
    assert coded_column("x", Categorical(values=("a",))).cells == 1


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), n=st.integers(0, 50))
def test_a_table_round_trips(seed: int, n: int) -> None:
    codec, rng = Codec(made.every_kind()), np.random.default_rng(seed)
    codes = np.column_stack([rng.integers(0, c.cells, n) for c in codec.columns]).astype(np.int32)
    frame = codec.decode(codes, rng)
    assert list(frame.columns) == list(codec.index)
    assert np.array_equal(codec.encode(frame), codes)


def test_the_same_seed_draws_the_same_rows() -> None:
    codec = Codec(made.every_kind())
    codes = np.zeros((50, len(codec.columns)), dtype=np.int32)
    first, again, other = (codec.decode(codes, np.random.default_rng(s)) for s in (1, 1, 2))
    pd.testing.assert_frame_equal(first, again)
    assert not first.equals(other)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        (Categorical(values=("F", "M")), pd.Series(["F", made.MARKER])),
        (Categorical(values=("F", "M")), pd.Series(["F", None])),
        (Boolean(), pd.Series([True, None], dtype="boolean")),
        (Boolean(), pd.Series([True, made.MARKER])),
        (Integer(min=0, max=9), pd.Series([1, None], dtype="Int64")),
        (Date(min=DAY, max=dt.date(1980, 1, 1)), pd.Series([pd.Timestamp(MOMENT), pd.NaT])),
    ],
)
def test_rows_that_were_not_conformed_are_refused_without_their_values(column: Column, values: pd.Series[Any]) -> None:
    with pytest.raises(DataError, match="outside the public domain") as refused:
        coded_column("c", column).encode(values)
    assert made.MARKER not in str(refused.value)
    assert "read_table" in refused.value.mend
