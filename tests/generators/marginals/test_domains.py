"""Paid domains: which columns are learned, and what that costs."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from privsynth.data.codec import Codec, coded_column
from privsynth.data.columns import Date, Datetime, Integer, Real
from privsynth.data.ranged import cells_are_learned
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
from tests.generators.marginals.left_open import Open, open_world


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
