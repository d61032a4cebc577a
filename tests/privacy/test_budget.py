"""A budget is a price that makes sense, or a refusal that says how to write one."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privsynth.errors import BudgetError
from privsynth.privacy.budget import Budget

LAW = settings(deadline=None, derandomize=True)


@LAW
@given(st.floats(1e-4, 50), st.floats(1e-300, 1, exclude_max=True))
def test_every_sensible_price_is_a_budget(epsilon: float, delta: float) -> None:
    budget = Budget(epsilon, delta)
    assert (budget.epsilon, budget.delta, budget.neighbours) == (epsilon, delta, "add-or-remove")


ABSURD = [math.nan, math.inf, -math.inf, -1.0, 0.0, -0.0, 1e-400, 1e308, True, "1", None]


@pytest.mark.parametrize("value", [*ABSURD, 50.1, 1e-5])
def test_absurd_epsilons_are_refused(value: Any) -> None:
    with pytest.raises(BudgetError) as refusal:
        Budget(value, 1e-9)
    assert refusal.value.where == "Budget.epsilon"
    assert refusal.value.mend
    assert refusal.value.exit_code == 2


@pytest.mark.parametrize("value", [*ABSURD, 1.0, 1.5, 1e-301])
def test_absurd_deltas_are_refused(value: Any) -> None:
    with pytest.raises(BudgetError) as refusal:
        Budget(1.0, value)
    assert refusal.value.where == "Budget.delta"
    assert refusal.value.mend


def test_other_neighbours_are_refused() -> None:
    with pytest.raises(BudgetError, match="replace-one"):
        Budget(1.0, 1e-9, neighbours="replace-one")  # type: ignore[arg-type]  # the fault under test


def test_a_budget_is_frozen_and_has_no_arithmetic() -> None:
    budget = Budget(1.0, 1e-9)
    with pytest.raises(dataclasses.FrozenInstanceError):
        budget.epsilon = 2.0  # type: ignore[misc]  # the fault under test
    with pytest.raises(TypeError):
        budget + budget  # type: ignore[operator]  # the fault under test
