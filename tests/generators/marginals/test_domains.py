"""Paid domains: what one subject can move, what is released, and that the cells follow the data."""

from __future__ import annotations

import datetime as dt
import itertools
import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from privsynth.data.codec import Codec, Ranged, coded_column
from privsynth.data.columns import Column, Date, Datetime, Integer, Real
from privsynth.data.ranged import cells_are_learned, ranged_column
from privsynth.data.schema import Schema
from privsynth.data.tables import read_table
from privsynth.generators.marginals.domains import (
    MOST_CATEGORIES,
    MOST_CELLS,
    DomainAsk,
    Grid,
    Level,
    count_votes,
    domain_error,
    lay_out_domains,
    learn_domains,
    learn_edges,
    learned_ranges,
    most_cells,
    open_columns,
    released,
    shortest_decimal,
)
from privsynth.generators.marginals.purse import Purse
from privsynth.privacy.gdp import threshold_of
from privsynth.privacy.noise import SeededNoise
from tests.data import made

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

RANGES: dict[str, Column] = {
    "hours": Real(min=0, max=100, nullable=True),
    "cost": Real(min=0, max=5000, decimals=2),
    "gain": Integer(min=0, max=99_999),
    "weight": Integer(min=-500_000, max=1_500_000, nullable=True),
    "seen": Date(min=dt.date(1900, 1, 1), max=dt.date(2030, 12, 31)),
    "at": Datetime(min=dt.datetime(2015, 1, 1), max=dt.datetime(2024, 12, 31, 23, 59, 59)),
}


class Open(Purse):
    """A purse without a bottom: seeded noise, every cost noted."""

    def __init__(self) -> None:
        super().__init__(SeededNoise(3), cap=Fraction(10**9))
        self.costs: list[Fraction] = []
        self.exact: list[Ints] = []

    def take(self, exact: Callable[[], Ints], *, sigma: float, cost: Fraction) -> Ints:
        self.costs.append(cost)
        self.exact.append(exact())
        return super().take(lambda: self.exact[-1], sigma=sigma, cost=cost)


def coded(name: str) -> Ranged:
    column = RANGES[name]
    assert isinstance(column, Integer | Real | Date | Datetime)
    return ranged_column(name, column)


def grown(column: Ranged, position: Floats, sigma: float, seed: int = 0) -> tuple[tuple[float, ...], list[Ints]]:
    """The edges that these rows give at this noise, and the noisy levels."""
    noise, levels = SeededNoise(seed), []

    def measure(level: Level) -> tuple[Ints, float]:
        levels.append(noise.add(level.count(np.nan_to_num(position), np.isnan(position)), sigma=sigma))
        return levels[-1], sigma**2 + 1 / 12

    return learn_edges(column, measure), levels


def hours(n: int = 30_000) -> Floats:
    """As people say how long they work: round numbers, half of them 40, and some null."""
    rng = np.random.default_rng(1)
    out = np.where(rng.random(n) < 0.5, 40.0, rng.choice([20.0, 30.0, 35.0, 37.5, 45.0, 50.0, 60.0], n))
    out = np.where(rng.random(n) < 0.2, rng.normal(40, 12, n).clip(0, 100), out)
    return np.where(rng.random(n) < 0.05, np.nan, out)


# --- sensitivity -------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_one_subject_moves_a_level_by_at_most_k(data: st.DataObject) -> None:
    """Neighbours: her at most k rows added. Every level that the tree asks for, whatever it was grown on."""
    column = coded(data.draw(st.sampled_from(sorted(RANGES))))
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


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from([*"ABCDEFG", "other", None])), max_size=40),
    st.lists(st.sampled_from([*"ABCDEFGHIJK", "other", None]), min_size=1, max_size=5),
)
def test_one_subject_moves_the_votes_by_at_most_the_root_of_k(
    rows: list[tuple[str, str | None]], hers: list[str | None]
) -> None:
    k = len(hers)

    def votes(held: Sequence[tuple[str, str | None]]) -> dict[str, int]:
        whose = np.array([s for s, _ in held], dtype=object)
        texts = pd.Series(pd.Categorical([t for _, t in held], categories=[*"KJIHGFEDCBA", "other"]))
        names, counts = count_votes(texts, whose, rest="other")
        assert names == sorted(names)
        assert "other" not in names
        return dict(zip(names, counts.tolist(), strict=True))

    without = votes(rows)
    with_her = votes([*rows, *(("she", text) for text in hers)])
    brute = {t: len({s for s, held in rows if held == t}) for t in {t for _, t in rows} - {None, "other"}}
    assert without == brute
    moved = [with_her.get(t, 0) - without.get(t, 0) for t in set(with_her) | set(without)]
    assert set(moved) <= {0, 1}
    assert math.sqrt(sum(m * m for m in moved)) <= math.sqrt(k)


# --- the threshold -----------------------------------------------------------------------------------


def test_what_one_subject_alone_holds_is_hardly_ever_released() -> None:
    """k categories of one subject, a delta that can be seen: any of them is released in at most delta of the
    runs. False alarms: below one in a million (5 standard deviations)."""
    k, delta, sigma, runs = 3, 0.05, 8.0, 40_000
    threshold = threshold_of(sigma, delta=delta, votes=k)
    noisy = SeededNoise(7).add(np.ones((runs, k), dtype=np.int64), sigma=sigma)
    often = (noisy >= threshold).any(axis=1).mean()
    assert often <= delta + 5 * math.sqrt(delta * (1 - delta) / runs)
    lower = (noisy >= threshold - 1).any(axis=1).mean()
    assert lower > delta - 5 * math.sqrt(delta * (1 - delta) / runs), "the threshold is not needlessly high"


def test_what_many_hold_is_released_sorted_by_text() -> None:
    names, noisy = ["a", "b", "c", "d"], np.array([50, 7, 60, 8])
    values, told = released(names, noisy, 8)
    assert values == ("a", "c", "d")
    assert told.tolist() == [50, 60, 8]
    many = [f"{i:05d}" for i in range(MOST_CATEGORIES + 50)]
    values, told = released(many, np.arange(len(many)) + 100, 1)
    assert len(values) == MOST_CATEGORIES
    assert values[0] == "00050"


def open_world(n: int = 4000) -> tuple[Schema, pd.DataFrame, npt.NDArray[np.object_]]:
    """Two wards that many visit, one that a single person knows, and rows of three a person."""
    schema = made.schema(
        {
            "person": {"kind": "identifier"},
            "ward": {"kind": "categorical", "open": True, "nullable": True},
            "hours": {"kind": "real", "min": 0, "max": 100, "nullable": True},
            "ill": {"kind": "boolean"},
        }
    )
    rng = np.random.default_rng(5)
    frame = pd.DataFrame(
        {
            "person": [f"p{i // 3}" for i in range(n)],
            "ward": rng.choice(np.array(["north", "south", None], dtype=object), n),
            "hours": hours(n),
            "ill": rng.random(n) < 0.5,
        }
    )
    frame.loc[0, "ward"] = "Ward of Ms Miller"
    records = read_table(frame, schema)
    return schema, records.frame, records.subjects


def test_of_categories_that_are_not_released_nothing_is_kept() -> None:
    schema, frame, subjects = open_world()
    asks = lay_out_domains(schema, mu=0.5, contribution=3)
    purse = Open()
    domains = learn_domains(frame, subjects, schema, asks, purse, contribution=3, delta=1e-12)
    learned, measured = domains.learned, domains.measured
    assert learned.values == {"ward": ("north", "south")}
    votes = next(m for m in measured if m.stage == "votes")
    assert votes.counts.shape == (2,)
    assert purse.exact[0].shape == (3,), "three were counted"
    assert "Miller" not in repr(learned) + repr(measured)


def test_a_plan_of_domains_pays_what_it_says() -> None:
    schema, frame, subjects = open_world()
    asks = lay_out_domains(schema, mu=0.5, contribution=3)
    purse = Open()
    domains = learn_domains(frame, subjects, schema, asks, purse, contribution=3, delta=1e-12)
    most = sum((ask.tables * ask.cost(3) for ask in asks), Fraction(0))
    assert sum(purse.costs, Fraction(0)) <= most <= Fraction(0.5) ** 2 * Fraction(1, 2)
    assert domains.mu_squared == sum(purse.costs, Fraction(0))
    assert domain_error(asks) > 0
    assert [ask.column for ask in asks] == ["ward", "hours"]
    assert asks[0].cost(3) == Fraction(3) / Fraction(asks[0].sigma) ** 2
    assert asks[1].cost(3) == Fraction(9) / Fraction(asks[1].sigma) ** 2


# --- the tree ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(RANGES))
def test_the_edges_are_a_function_of_the_noisy_counts(name: str) -> None:
    column = coded(name)
    rng = np.random.default_rng(2)
    position = np.floor(rng.beta(2, 9, 20_000) * (column.stop[-1] - column.low[0])) + column.low[0]
    edges, levels = grown(column, position, 20.0)
    again = iter(levels)
    assert learn_edges(column, lambda _: (next(again), 20.0**2 + 1 / 12)) == edges
    assert 10 < len(edges) < MOST_CELLS
    assert all(a < b for a, b in itertools.pairwise(edges))


@pytest.mark.parametrize("name", sorted(RANGES))
@pytest.mark.parametrize("sigma", [1.0, 8192.0])
def test_any_counts_give_cells(name: str, sigma: float) -> None:
    """No rows at all, and noise that drowns everything."""
    column = coded(name)
    declared = column.column
    assert isinstance(declared, Integer | Real | Date | Datetime)
    for position in (np.zeros(0), np.full(50, column.low[0]), np.full(50, column.stop[-1])):
        edges, levels = grown(column, position, sigma)
        paid = ranged_column(name, declared, edges)
        assert 1 <= paid.cells <= MOST_CELLS + 1
        assert len(levels) <= Grid.of(column).levels
        codes = np.arange(len(paid.low), dtype=np.int32)
        assert (paid.encode(paid.decode(codes, np.random.default_rng(0))) == codes).all()


def test_round_hours_become_atoms() -> None:
    column, truth = coded("hours"), hours()
    declared = RANGES["hours"]
    assert isinstance(declared, Real)
    edges, _ = grown(column, truth, 40.0)
    paid = ranged_column("hours", declared, edges)
    atoms = paid.low[paid.low == paid.stop].tolist()
    assert {20.0, 30.0, 35.0, 37.5, 40.0, 45.0, 50.0, 60.0} <= set(atoms)
    codes = paid.encode(pd.Series(truth))
    drawn = paid.decode(codes, np.random.default_rng(0)).to_numpy()
    assert np.mean(drawn == 40.0) == pytest.approx(np.mean(truth == 40.0), abs=1e-3)
    assert np.isnan(drawn).sum() == np.isnan(truth).sum()


def test_a_dense_stretch_is_no_atom() -> None:
    """Values all different, within a millionth of the range: they must not collapse to one."""
    column = ranged_column("wide", Real(min=0, max=1e12))
    truth = np.random.default_rng(0).gamma(3.0, 30.0, 20_000)
    edges, _ = grown(column, truth, 10.0)
    paid = ranged_column("wide", Real(min=0, max=1e12), edges)
    assert (paid.low < paid.stop).all()
    drawn = paid.decode(paid.encode(pd.Series(truth)), np.random.default_rng(0))
    assert drawn.nunique() > 10_000
    assert drawn.max() < 1e4


def test_integers_stay_integers_and_their_spikes_stay() -> None:
    rng = np.random.default_rng(4)
    n = 40_000
    truth = np.where(rng.random(n) < 0.9, 0, rng.choice([7298, 7688, 15_024, 99_999], n))
    truth = np.where(rng.random(n) < 0.05, rng.integers(0, 100_000, n), truth)
    declared = RANGES["gain"]
    assert isinstance(declared, Integer)
    column = ranged_column("gain", declared)
    edges, _ = grown(column, truth.astype(float), 40.0)
    paid = ranged_column("gain", declared, edges)
    assert {0.0, 7298.0, 7688.0, 15_024.0, 99_999.0} <= set(paid.low[paid.low == paid.stop].tolist())
    drawn = paid.decode(paid.encode(pd.Series(truth)), np.random.default_rng(0))
    assert drawn.dtype == np.int64
    assert np.mean(drawn == 0) == pytest.approx(np.mean(truth == 0), abs=2e-3)


def distance(a: Floats, b: Floats) -> float:
    """Kolmogorov's."""
    at = np.unique(np.concatenate([a, b]))
    shares = (np.searchsorted(np.sort(x), at, side="right") / len(x) for x in (a, b))
    return float(np.abs(np.subtract(*shares)).max())


def test_paid_cells_are_nearer_than_equal_ones() -> None:
    rng = np.random.default_rng(6)
    truth = np.exp(rng.normal(5, 1.5, 30_000)).clip(0, 5000)
    declared = RANGES["cost"]
    assert isinstance(declared, Real)
    equal = ranged_column("cost", declared)
    position = np.rint(truth * 100) / 100
    paid = ranged_column("cost", declared, grown(equal, position, 40.0)[0])
    far, near = (distance(c.decode(c.encode(pd.Series(truth)), rng).to_numpy(), position) for c in (equal, paid))
    assert near < 0.02 < far


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


# --- what is learned ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "learned"),
    [
        ({"kind": "integer", "min": 0, "max": 255}, False),
        ({"kind": "integer", "min": 0, "max": 256}, True),
        ({"kind": "integer", "min": 0, "max": 256, "bins": [3]}, False),
        ({"kind": "integer", "min": 0, "max": 256, "cells": "equal"}, False),
        ({"kind": "real", "min": 0, "max": 1}, True),
        ({"kind": "real", "min": 0, "max": 1, "cells": "equal"}, False),
        ({"kind": "date", "min": "2020-01-01", "max": "2020-09-01"}, False),
        ({"kind": "date", "min": "2020-01-01", "max": "2021-01-01"}, True),
        ({"kind": "datetime", "min": "2020-01-01 00:00:00", "max": "2021-01-01 00:00:00"}, True),
    ],
)
def test_which_columns_are_learned(said: dict[str, Any], learned: bool) -> None:
    schema = made.schema({"it": said, "open": {"kind": "categorical", "open": True}})
    assert learned_ranges(schema) == (("it",) if learned else ())
    assert open_columns(schema) == ("open",)
    column = schema.columns["it"]
    assert isinstance(column, Integer | Real | Date | Datetime)
    assert cells_are_learned(column) is learned
    assert (most_cells(schema, "it") is not None) is learned
    asks = {ask.column: ask for ask in lay_out_domains(schema, mu=1.0, contribution=2)}
    assert ("it" in asks) is learned
    assert isinstance(asks["open"], DomainAsk)


def test_a_learned_column_has_no_more_cells_than_planned() -> None:
    schema, frame, subjects = open_world()
    asks = lay_out_domains(schema, mu=2.0, contribution=3)
    learned = learn_domains(frame, subjects, schema, asks, Open(), contribution=3, delta=1e-12).learned
    for column in Codec(schema, learned).columns:
        assert column.cells <= (most_cells(schema, column.name) or column.cells)
    assert coded_column("hours", schema.columns["hours"], learned).cells > 5


# --- dependencies ------------------------------------------------------------------------------------


def test_a_dependency_is_learned_from_one_table() -> None:
    """Each ward has its site; a ward that nobody visits takes the most frequent site."""
    columns: dict[str, dict[str, Any]] = {
        "ward": {"kind": "categorical", "values": ["a", "b", "c", "none"], "nullable": True},
        "floor": {"kind": "categorical", "open": True},
        "site": {"kind": "categorical", "values": ["N", "S"]},
        "high": {"kind": "boolean", "nullable": True},
    }
    schema = made.schema(columns)
    whole = Schema.from_json({**schema.to_json(), "determines": ["ward -> site", "floor -> high"]})
    rng = np.random.default_rng(8)
    ward = rng.choice(np.array(["a", "b", "c", None], dtype=object), 9000, p=[0.5, 0.2, 0.2, 0.1])
    floor = rng.choice(["1", "2", "rare"], 9000, p=[0.5, 0.499, 0.001])
    frame = pd.DataFrame({"ward": ward, "floor": floor})
    frame["site"] = frame["ward"].map({"a": "N", "b": "S", "c": "N"}).fillna("S")
    frame["high"] = frame["floor"].map({"1": False, "2": True, "rare": True}).astype("boolean")
    records = read_table(frame, whole)
    asks = lay_out_domains(whole, mu=0.3, contribution=1)
    assert [ask.stage for ask in asks] == ["votes", "dependency", "dependency"]
    purse = Open()
    domains = learn_domains(records.frame, records.subjects, whole, asks, purse, contribution=1, delta=1e-12)
    learned, measured = domains.learned, domains.measured
    assert learned.values == {"floor": ("1", "2")}
    assert learned.maps == {"site": ("N", "S", "N", "N", "S"), "high": (False, True, True)}
    assert purse.exact[1].sum() == purse.exact[2].sum() == 9000, "every row is in one cell of each table"
    assert [m.clique for m in measured] == [(1,), (0,), (1,)]
    codec = Codec(whole, learned)
    drawn = codec.decode(codec.encode(records.frame), np.random.default_rng(0))
    assert (drawn["site"] == records.frame["site"]).all()


def test_a_dependency_that_noise_drowns_takes_the_most_frequent_value() -> None:
    columns: dict[str, dict[str, Any]] = {
        "ward": {"kind": "boolean"},
        "site": {"kind": "categorical", "values": ["N", "S"]},
    }
    whole = Schema.from_json({**made.schema(columns).to_json(), "determines": ["ward -> site"]})
    frame = read_table(pd.DataFrame({"ward": [True] * 500 + [False] * 3, "site": ["S"] * 500 + ["N"] * 3}), whole)
    asks = lay_out_domains(whole, mu=0.1, contribution=1)
    learned = learn_domains(frame.frame, frame.subjects, whole, asks, Open(), contribution=1, delta=1e-12).learned
    assert learned.maps == {"site": ("S", "S")}
