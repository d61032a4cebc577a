"""Paid domains: which columns are learned, and what that costs."""

from __future__ import annotations

import math
from fractions import Fraction
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from privsynth.data.codec import Codec, coded_column
from privsynth.data.columns import Date, Datetime, Integer, Real
from privsynth.data.ranged import cells_are_learned
from privsynth.data.schema import Schema
from privsynth.data.tables import read_table
from privsynth.generators.marginals.domains import (
    DomainAsk,
    domain_error,
    lay_out_domains,
    learn_domains,
    learned_ranges,
    most_cells,
    open_columns,
)
from tests.data import made
from tests.generators.marginals.left_open import Open, Told, open_world


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


def test_a_learned_column_has_no_more_cells_than_planned() -> None:
    schema, frame, subjects = open_world()
    asks = lay_out_domains(schema, mu=2.0, contribution=3)
    learned = learn_domains(frame, subjects, schema, asks, Open(), contribution=3, delta=1e-12).learned
    for column in Codec(schema, learned).columns:
        assert column.cells <= (most_cells(schema, column.name) or column.cells)
    assert coded_column("hours", schema.columns["hours"], learned).cells > 5


# --- nothing of the rows but noisy counts decides ------------------------------------------------


def towns() -> Schema:
    """Every kind of paid domain: open categories, a tree, and what they determine."""
    columns: dict[str, dict[str, Any]] = {
        "person": {"kind": "identifier"},
        "ward": {"kind": "categorical", "open": True, "nullable": True},
        "site": {"kind": "categorical", "values": ["N", "S"], "nullable": True},
        "hours": {"kind": "real", "min": 0, "max": 100, "nullable": True},
        "gain": {"kind": "integer", "min": 0, "max": 99_999},
    }
    return Schema.from_json({**made.schema(columns).to_json(), "determines": ["ward -> site"]})


def visits(
    schema: Schema, wards: dict[str, int], sites: dict[str, str], hour: float, gain: int
) -> tuple[pd.DataFrame, npt.NDArray[np.object_]]:
    """So many people of one row a ward, each ward of one site, and numbers of which one is common."""
    ward = np.repeat(np.array(list(wards), dtype=object), list(wards.values()))
    hours, gains = np.full(len(ward), hour), np.full(len(ward), gain)
    hours[::3], gains[::3] = np.linspace(0, 100, len(ward))[::3], np.linspace(0, 99_999, len(ward))[::3].astype(int)
    frame = pd.DataFrame({"person": [f"p{i}" for i in range(len(ward))], "ward": ward, "hours": hours, "gain": gains})
    records = read_table(frame.assign(site=frame["ward"].map(sites)), schema)
    return records.frame, records.subjects


def test_noisy_counts_alone_decide_what_is_learned() -> None:
    """The noisy tables of some rows, told while other rows are read, of which everything would say otherwise: the
    same domains, the same measurements."""
    schema = towns()
    asks = lay_out_domains(schema, mu=2.0, contribution=1)
    one = visits(schema, {"east": 900, "north": 700, "west": 1}, {"east": "N", "north": "S", "west": "S"}, 40.0, 0)
    other = visits(schema, {"east": 1, "north": 500, "west": 800}, {"east": "S", "north": "N", "west": "N"}, 7.5, 7688)
    first, told = Open(), learn_domains(*one, schema, asks, purse := Open(), contribution=1, delta=1e-12)
    assert told.learned.values == {"ward": ("east", "north")}
    assert told.learned.maps["site"][:2] == ("N", "S")
    assert 40.0 in told.learned.bins["hours"]
    own = learn_domains(*other, schema, asks, first, contribution=1, delta=1e-12).learned
    assert own.values == {"ward": ("north", "west")}
    assert own.bins["hours"] != told.learned.bins["hours"]
    assert own.bins["gain"] != told.learned.bins["gain"]

    replayed = Told(purse.noisy)
    again = learn_domains(*other, schema, asks, replayed, contribution=1, delta=1e-12)
    assert again.learned == told.learned
    assert replayed.costs == purse.costs
    for a, b in zip(again.measured, told.measured, strict=True):
        assert (a.stage, a.clique, a.sigma, a.contribution) == (b.stage, b.clique, b.sigma, b.contribution)
        assert np.array_equal(a.counts, b.counts)


@pytest.mark.parametrize("contribution", [1, 4])
@pytest.mark.parametrize("columns", [1, 3])
def test_a_category_is_released_from_the_threshold_of_the_proof_on(contribution: int, columns: int) -> None:
    """docs/proofs/open-categories.md: T = 1 + m, m the least whole number with m - 1/2 >= sigma * quantile, each
    column with an even share of delta. Noise of some hundreds, so that any other delta or k gives another T."""
    delta = 1e-6
    names = [f"ward{i}" for i in range(columns)]
    schema = made.schema(
        {"person": {"kind": "identifier"}, **{name: {"kind": "categorical", "open": True} for name in names}}
    )
    frame = pd.DataFrame({"person": ["p", "q", "r"], **{name: ["a", "b", "c"] for name in names}})
    records = read_table(frame, schema)
    asks = lay_out_domains(schema, mu=0.01, contribution=contribution)
    own = delta / columns
    each = -math.expm1(math.log1p(-own) / contribution)
    thresholds = []
    for ask in asks:
        assert ask.sigma >= math.sqrt(contribution * columns / (0.01**2 / 2)), "half of mu² for all the votes"
        thresholds.append(1 + math.ceil(-ask.sigma * NormalDist().inv_cdf(each) + 0.5))
    purse = Told(np.array([t, t - 1, t + 1], dtype=np.int64) for t in thresholds)
    domains = learn_domains(
        records.frame, records.subjects, schema, asks, purse, contribution=contribution, delta=delta
    )
    assert domains.learned.values == dict.fromkeys(names, ("a", "c"))
    assert purse.sigmas == [ask.sigma for ask in asks]
    assert purse.costs == [Fraction(contribution) / Fraction(ask.sigma) ** 2 for ask in asks]
    assert [m.counts.tolist() for m in domains.measured] == [[t, t + 1] for t in thresholds]


@pytest.mark.parametrize("rows", [1, 3])
def test_no_table_moves_by_more_than_it_pays_for(rows: int) -> None:
    """Every table of the domain stage, with and without one subject's rows, at the same noisy answers: the square of
    how far it moves in L2 is at most its cost times sigma². Of categories, those that others hold."""
    schema = made.schema(
        {
            "person": {"kind": "identifier"},
            "ward": {"kind": "categorical", "open": True},
            "site": {"kind": "categorical", "values": ["N", "S"]},
            "hours": {"kind": "real", "min": 0, "max": 100},
        }
    )
    schema = Schema.from_json({**schema.to_json(), "determines": ["ward -> site"]})
    rng = np.random.default_rng(rows)
    others = pd.DataFrame(
        {
            "person": [f"p{i}" for i in range(600)],
            "ward": rng.choice(["a", "b", "c"], 600),
            "site": "N",
            "hours": rng.choice([40.0, 37.5, 20.0], 600),
        }
    )
    asks = lay_out_domains(schema, mu=3.0, contribution=rows)
    for ward in (["a"] * rows, ["a", "b", "c"][:rows]):
        hers = pd.DataFrame({"person": ["she"] * rows, "ward": ward, "site": "N", "hours": [40.0] * rows})
        first, then = (read_table(f, schema) for f in (others, pd.concat([others, hers], ignore_index=True)))
        without = Open()
        learn_domains(first.frame, first.subjects, schema, asks, without, contribution=rows, delta=1e-12)
        with_her = Told(without.noisy)
        learn_domains(then.frame, then.subjects, schema, asks, with_her, contribution=rows, delta=1e-12)
        assert len(with_her.exact) == len(without.exact) >= 3
        moves = []
        for a, b, cost, sigma in zip(without.exact, with_her.exact, without.costs, without.sigmas, strict=True):
            moved = int(((a - b) ** 2).sum())
            assert moved <= cost * Fraction(sigma) ** 2
            moves.append((moved, cost * Fraction(sigma) ** 2))
        assert any(moved == most for moved, most in moves), "the bound is met"
