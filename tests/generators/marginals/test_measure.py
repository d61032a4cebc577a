"""How finely tables are bought: never more cells than a ledger takes, never more noise than there is."""

from __future__ import annotations

import math

import numpy as np
import pytest

from privsynth.data.codec import Codec
from privsynth.data.schema import parse_schema
from privsynth.errors import BudgetError
from privsynth.generators.marginals import Marginals
from privsynth.generators.marginals.measure import _Stages
from privsynth.generators.marginals.plan import MOST_CELLS
from privsynth.generators.marginals.resolve import OneWays
from privsynth.generators.marginals.workload import Workload
from privsynth.ledger.log import MOST_BYTES
from privsynth.privacy.accountant import share_out
from privsynth.privacy.budget import Budget


def made(columns: int, cells: int, *, k: int = 1, more: str = "") -> str:
    """So many columns of so many declared values."""
    values = ", ".join(f"v{j}" for j in range(cells))
    listed = "".join(f"  c{i}: {{kind: categorical, values: [{values}]}}\n" for i in range(columns))
    subject = f"subject: {{column: person, at most: {k} rows}}\ncolumns:\n  person: {{kind: identifier}}\n"
    return f"privsynth-schema: 1\nsource: made/wide\n{subject}{listed}{more}"


@pytest.mark.parametrize("copies", [1, 2])
def test_tables_stay_within_what_a_ledger_takes(copies: int) -> None:
    """Many columns, many rows, little noise: else the paid transcript could not be deposited."""
    schema = parse_schema(made(60, 121))
    plan = Marginals(schema, Budget(10.0, 1e-9), target="c0", workload=Workload(up_to=3)).plan(mu=3.0, rows=3e7)
    codec = Codec(schema)
    ones = OneWays(3e7, 1.0, tuple(np.full(121, 3e7 / 121) for _ in codec.columns), (1.0,) * 60)
    stages = _Stages(plan, codec, ones, target=0, queries=(), copies=copies)
    held = dict.fromkeys(MOST_CELLS, 0)
    for ask in plan.joint:
        groups = stages.groups(ask)
        cells = [int(groups[c].max()) + 1 if c in groups else codec.columns[c].cells for c in ask.clique]
        held[ask.stage] += copies * math.prod(cells)
    for stage, most in MOST_CELLS.items():
        assert 0.3 * most < held[stage] <= most, stage
    assert 8 * sum(MOST_CELLS.values()) < 0.9 * MOST_BYTES


def test_a_learned_column_that_comes_out_small_is_foreseen() -> None:
    """With one cell beside columns of a thousand it gets the most noise: beyond the sampler's range, not sold."""
    for more, sold in (("", True), ("  w: {kind: categorical, open: true}\n", False)):
        recipe = Marginals(parse_schema(made(30, 1000, k=50, more=more)), Budget(0.2, 1e-9))
        prices = share_out(recipe.budget, gate_share=0.15, selects=recipe.selects)
        if sold:
            recipe.check_sampler(prices, rows=1e7, cap_epsilon=1.0)
        else:
            with pytest.raises(BudgetError, match="sigma"):
                recipe.check_sampler(prices, rows=1e7, cap_epsilon=1.0)
