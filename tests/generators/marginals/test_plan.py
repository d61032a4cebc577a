"""How μ² is laid out: never more than there is, from public numbers alone."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from privsynth.data.codec import Between
from privsynth.errors import BudgetError
from privsynth.generators.marginals.plan import Plan, lay_out, loose_groups, pair_groups, sampler_error, triple_groups
from privsynth.generators.marginals.workload import Query, Workload, drawn_triples


def plan_of(
    cells: Sequence[int] = (30, 4, 7, 2, 90, 12),
    *,
    mu: float = 1.0,
    k: int = 1,
    rows: float = 1e5,
    target: int | None = None,
    workload: Workload | None = None,
    recipe: str = "r",
    hold_back: bool = False,
) -> Plan:
    return lay_out(
        names=[f"c{i}" for i in range(len(cells))],
        cells=cells,
        mu=mu,
        contribution=k,
        rows=rows,
        target=target,
        workload=workload or Workload(),
        recipe=recipe,
        hold_back=hold_back,
    )


@given(
    cells=st.lists(st.integers(1, 3000), min_size=1, max_size=14),
    mu=st.floats(0.02, 5.0),
    k=st.integers(1, 10),
    rows=st.floats(1, 1e8),
    hold_back=st.booleans(),
    up_to=st.sampled_from([1, 2, 3]),
    with_target=st.booleans(),
)
def test_a_plan_never_overspends(
    cells: list[int], mu: float, k: int, rows: float, hold_back: bool, up_to: int, with_target: bool
) -> None:
    try:
        plan = plan_of(
            cells,
            mu=mu,
            k=k,
            rows=rows,
            hold_back=hold_back,
            target=0 if with_target else None,
            workload=Workload(up_to=up_to),
        )
    except BudgetError as refused:
        assert "sigma" in str(refused), "only noise beyond the sampler's range is refused"
        reject()
    spent = plan.mu_squared(k)
    assert spent == sum(
        Fraction(k) ** 2 / Fraction(a.sigma) ** 2 for a in (*plan.one_ways, *plan.held_back, *plan.joint)
    )
    assert spent <= Fraction(mu) ** 2
    assert spent > Fraction(9, 10) * Fraction(mu) ** 2, "a sigma is at most 3.2% above the even one"
    assert [a.clique for a in plan.one_ways] == [(c,) for c in range(len(cells))]
    assert bool(plan.held_back) == hold_back
    if len(plan.joint) > 20:
        assert spent > Fraction(98, 100) * Fraction(mu) ** 2, "two grid values a stage use it up"


def test_pairs_with_the_target_get_less_noise() -> None:
    plan = plan_of(target=2)
    noise = {a.clique: a.sigma for a in plan.joint if a.stage == "pair"}
    assert len(noise) == 15
    assert max(s for p, s in noise.items() if 2 in p) < min(s for p, s in noise.items() if 2 not in p)


def test_every_triple_with_the_target_is_measured_where_it_stands_out() -> None:
    rich, poor = plan_of(target=2, mu=2.0), plan_of(target=2, mu=0.02, rows=5_000)
    triples = [a.clique for a in rich.joint if a.stage == "triple"]
    assert len(triples) == math.comb(5, 2)
    assert all(2 in clique for clique in triples)
    assert {a.stage for a in poor.joint} <= {"pair"}


def test_more_cells_get_less_noise() -> None:
    plan = plan_of([1000, 2, 30])
    wide, narrow, middle = (a.sigma for a in plan.one_ways)
    assert wide < middle < narrow
    assert narrow / wide == pytest.approx((1000 / 2) ** (1 / 3), rel=0.25)


def test_cells_that_no_histogram_tells_from_noise_count_for_nothing() -> None:
    """Else wide columns, lost in any case, would starve the narrow ones."""
    wide, narrow, middle = (a.sigma for a in plan_of([1000, 2, 30], mu=0.1, rows=100).one_ways)
    assert wide == middle
    assert narrow / wide < 1.3


def test_no_joint_tables_where_only_noise_would_be_learnt() -> None:
    poor = plan_of([10] * 10, mu=0.02, k=5, rows=500)
    assert poor.joint == ()
    assert poor.one_ways[0].sigma < 5 / 0.02 * 10**0.5 * 1.05, "all of the budget goes into the one-ways"


def test_which_cliques_are_held_back_is_the_recipe_s_alone() -> None:
    def held(recipe: str) -> list[tuple[int, ...]]:
        return [a.clique for a in plan_of([5] * 10, recipe=recipe, hold_back=True).held_back]

    assert held("a") == held("a")
    assert held("a") != held("b")
    assert all(len(c) == 3 for c in held("a"))


def test_triples_are_drawn_without_a_look_at_all_of_them() -> None:
    """Of 3,000 columns there are 4.5 billion. Few columns: all of them, once each."""
    many = drawn_triples(range(3000), 2000, key="r")
    assert len(set(many)) == 2000 and all(a < b < c < 3000 for a, b, c in many)
    assert many == drawn_triples(range(3000), 2000, key="r") != drawn_triples(range(3000), 2000, key="s")
    assert drawn_triples([4, 7, 8, 9], 8, key="r") == [(4, 7, 8), (4, 7, 9), (4, 8, 9), (7, 8, 9)]
    seen = Counter(c for t in drawn_triples(range(20), 900, key="u") for c in t)
    assert max(seen.values()) < 1.4 * min(seen.values())


def test_held_back_cliques_are_none_of_the_target_s_triples() -> None:
    """Those are fitted; with too few columns there is no other choice."""
    plan = plan_of([5] * 10, hold_back=True, target=4)
    assert all(4 not in a.clique for a in plan.held_back)
    assert [a.clique for a in plan_of([5] * 3, hold_back=True, target=2).held_back] == [(0, 1, 2)]


def test_a_workload_says_what_is_measured() -> None:
    asked = Workload(
        weights=((("c0", "c1"), 0.0), (("c1", "c2"), 9.0), (("c3", "c1", "c0"), 2.0)),
        queries=(Query({"c3": 1}), Query({"c3": 1, "c1": 2}, weight=0.0)),
    )
    plan = plan_of(workload=asked)
    pairs = {a.clique: a.sigma for a in plan.joint if a.stage == "pair"}
    assert (0, 1) not in pairs
    assert pairs[1, 2] < 0.5 * pairs[2, 3], "nine times the weight is a third of the noise"
    assert [a.clique for a in plan.joint if a.stage == "loose"] == [(0, 1, 3)]
    assert [(a.clique, a.query) for a in plan.joint if a.stage == "query"] == [((3,), 0)]
    assert not plan_of(workload=Workload(up_to=1)).joint
    everything = plan_of(workload=Workload(up_to=3), mu=3.0)
    assert len([a for a in everything.joint if a.stage == "loose"]) == math.comb(6, 3)


def test_too_many_triples_are_thinned_by_the_recipe_s_name() -> None:
    names = [f"c{i}" for i in range(40)]
    some, same, others = (Workload(up_to=3).other_triples(names, 3, recipe=r) for r in ("a", "a", "b"))
    assert len(some) == 2000
    assert some == same != others
    assert all(3 not in t for t in some)


@pytest.mark.parametrize("stage", ["pair", "triple", "loose"])
def test_resolution_grows_with_rows_and_falls_with_noise(stage: str) -> None:
    def groups(rows: float, sigma: float) -> int:
        match stage:
            case "pair":
                return pair_groups(rows=rows, sigma=sigma)
            case "triple":
                return triple_groups(rows=rows, sigma=sigma, target_groups=2)
            case _:
                return loose_groups(rows=rows, sigma=sigma, width=3)

    by_rows = [groups(n, 50) for n in (1e3, 1e4, 1e5, 1e6)]
    assert all(a <= b for a, b in pairwise(by_rows))
    by_noise = [groups(1e5, s) for s in (5, 50, 500)]
    assert all(a >= b for a, b in pairwise(by_noise))
    assert 2 <= by_noise[-1] < by_noise[0] <= 100


def test_the_sampler_s_error_counts_every_draw() -> None:
    """A pair has at most 100 × 100 groups, a one-way all its cells."""
    few, many = plan_of([10, 10]), plan_of([10, 10, 10])
    assert 0 < sampler_error(few, [10, 10]) < sampler_error(many, [10, 10, 10])
    assert sampler_error(few, [10, 10]) < sampler_error(few, [10, 1000])


def test_what_a_plan_tells_of_its_noise() -> None:
    plan = plan_of(target=1, hold_back=True)
    told = plan.sigmas()
    assert list(told) == ["one-way", "held-back", "pair", "triple"]
    assert all(low <= high for low, high in told.values())


def test_a_weight_too_small_for_any_noise_table_is_not_measured() -> None:
    asked = Workload(weights=((("c0", "c1"), 0.001),))
    plan = plan_of(mu=0.004, workload=asked, rows=1e7)
    pairs = [a.clique for a in plan.joint if a.stage == "pair"]
    assert (0, 1) not in pairs
    assert len(pairs) == 14


def test_a_workload_survives_its_json_form() -> None:
    asked = Workload(
        up_to=3,
        weights=((("c0", "c1"), 2.0),),
        queries=(Query({"c0": [Between(1, 2), Between(5, 6)], "c1": None}), Query({"c2": Between(None, 3)}, 0.5)),
    )
    again = Workload.from_json(json.loads(json.dumps(asked.to_json())))
    assert again.to_json() == asked.to_json()
    assert again.queries[0].where["c0"] == [Between(1, 2), Between(5, 6)]


@pytest.mark.parametrize(
    "wrong",
    [
        dict(up_to=4),
        dict(up_to=True),
        dict(weights=((("a",), 1.0),)),
        dict(weights=((("a", "a"), 1.0),)),
        dict(weights=((("a", "b"), -1.0),)),
        dict(weights=((("a", "b"), 1e-9),)),
        dict(weights=((("a", "b"), math.nan),)),
        dict(target_weight=math.inf),
    ],
)
def test_a_bad_workload_is_refused(wrong: Any) -> None:
    from privsynth.errors import SchemaError

    with pytest.raises(SchemaError, match="Mend"):
        Workload(**wrong)
