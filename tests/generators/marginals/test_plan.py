"""How μ² is laid out: never more than there is, from public numbers alone."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from privsynth.generators.marginals.plan import lay_out, resolution


@given(
    columns=st.integers(1, 20),
    mu=st.floats(0.02, 5.0),
    k=st.integers(1, 10),
    rows=st.floats(1, 1e8),
    hold_back=st.booleans(),
)
def test_a_plan_never_overspends(columns: int, mu: float, k: int, rows: float, hold_back: bool) -> None:
    plan = lay_out(columns=columns, mu=mu, contribution=k, rows=rows, target=0, recipe="r", hold_back=hold_back)
    spent = columns * Fraction(k) ** 2 / Fraction(plan.one_way_sigma) ** 2
    spent += sum(Fraction(k) ** 2 / Fraction(s) ** 2 for s in plan.pair_sigmas)
    if plan.held_back:
        spent += len(plan.held_back) * Fraction(k) ** 2 / Fraction(plan.held_back_sigma) ** 2
    assert spent <= Fraction(mu) ** 2
    assert bool(plan.held_back) == hold_back
    assert len(plan.pairs) in (0, columns * (columns - 1) // 2)


def test_pairs_with_the_target_get_less_noise() -> None:
    plan = lay_out(columns=6, mu=1.0, contribution=1, rows=1e5, target=2, recipe="r", hold_back=True)
    noise = dict(zip(plan.pairs, plan.pair_sigmas, strict=True))
    assert max(s for p, s in noise.items() if 2 in p) < min(s for p, s in noise.items() if 2 not in p)


def test_no_pairs_where_only_noise_would_be_learnt() -> None:
    poor = lay_out(columns=10, mu=0.02, contribution=5, rows=500, target=None, recipe="r", hold_back=False)
    assert poor.pairs == ()
    assert poor.one_way_sigma < 5 / 0.02 * 10**0.5 * 1.05, "all of the budget goes into the one-ways"


def test_which_cliques_are_held_back_is_the_recipe_s_alone() -> None:
    def held(recipe: str) -> tuple[tuple[int, ...], ...]:
        plan = lay_out(columns=10, mu=1.0, contribution=1, rows=1e5, target=None, recipe=recipe, hold_back=True)
        return plan.held_back

    assert held("a") == held("a")
    assert held("a") != held("b")
    assert all(len(c) == 3 for c in held("a"))


def test_resolution_grows_with_rows_and_falls_with_noise() -> None:
    by_rows = [resolution(rows=n, sigma=50, mu=0.2, cells=[1000]) for n in (1e3, 1e4, 1e5, 1e6)]
    assert all(a <= b for a, b in pairwise(by_rows))
    by_noise = [resolution(rows=1e5, sigma=s, mu=0.2, cells=[1000]) for s in (5, 50, 500)]
    assert all(a >= b for a, b in pairwise(by_noise))
    assert 2 <= by_noise[-1] <= by_rows[-1] <= 100
