"""The pace of a policy: its form, its direction, and what it says to a hold after others."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import dp_accounting as dpa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privsynth.errors import BudgetExhausted, PolicyError
from privsynth.policy.asks import Earlier, HoldAsk, answer
from privsynth.policy.cases import case_of, flow
from privsynth.policy.compare import compare
from privsynth.policy.document import Policy
from privsynth.policy.pace import WINDOWS, Charge, PaceLine, Portion, opens
from privsynth.privacy import filters
from privsynth.privacy.accountant import mu_squared
from privsynth.privacy.filters import GdpFilter, make_filter
from tests.policy.test_decide import GOOD

Edit = Callable[..., Policy]
NOW = dt.datetime(2026, 12, 1, tzinfo=dt.UTC)
LINE = "{over: population, per: quarter, share: 1/4}"


@pytest.fixture
def paced(edited: Edit) -> Callable[..., Policy]:
    def make(*lines: str, more: tuple[tuple[str, str], ...] = ()) -> Policy:
        return edited(("  per release: ", f"  pace: [{', '.join(lines or (LINE,))}]\n  per release: "), *more)

    return make


def asked(policy: Policy, *after: Earlier, epsilon: float = 1.0) -> list[str]:
    decision = answer(HoldAsk(request=replace(GOOD, epsilon=epsilon), after=after), policy)
    assert all(v.what and v.limit and v.mend for v in decision.verdicts)
    return [v.id for v in decision.refusing]


def earlier(times: int, days: int = 0, recipient: str = "university-hospital") -> Earlier:
    return Earlier(epsilon=1.0, delta=1e-9, recipient=recipient, times=times, ago=dt.timedelta(days=days))


@pytest.mark.parametrize("share", ["1/4", "2/8", "0.25", "'1/4'", "'0.25'"])
def test_spellings_of_a_share_are_one_policy(paced: Any, share: str) -> None:
    policy = paced(LINE.replace("1/4", share))
    assert policy.sha256 == paced().sha256
    assert policy.privacy.pace[0].share == "1/4"


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (LINE.replace("1/4", "1/0"), "share"),
        (LINE.replace("1/4", "1"), "share"),
        (LINE.replace("1/4", "0"), "share"),
        (LINE.replace("1/4", "-1/4"), "share"),
        (LINE.replace("1/4", "a quarter"), "share"),
        (LINE.replace("1/4", "true"), "share"),
        (LINE.replace("1/4", "'٠.٥'"), "share"),
        (LINE.replace("1/4", "'1_0/4_0'"), "share"),
        (LINE.replace("1/4", "' 1/4'"), "share"),
        (LINE.replace("1/4", "'1 / 4'"), "share"),
        (LINE.replace("1/4", "'-1/-4'"), "share"),
        (LINE.replace("1/4", "1/1000000000000"), "share"),
        (LINE.replace("quarter", "fortnight"), "per"),
        (LINE.replace("population", "purpose"), "over"),
        (LINE.replace("{", "{epsilon: 1.0, "), "epsilon"),
        (f"{LINE}, {LINE}", "a second line over population"),
    ],
)
def test_what_is_no_pace(paced: Any, line: str, fault: str) -> None:
    with pytest.raises(PolicyError, match=fault) as caught:
        paced(line)
    assert caught.value.where.startswith("policy.yaml:") and caught.value.mend


def test_a_pace_without_its_budget(paced: Any) -> None:
    with pytest.raises(PolicyError, match="no budget is over recipient"):
        paced(
            LINE.replace("population", "recipient"),
            more=(("    - {over: recipient, epsilon: 3.0, delta: 2e-8}\n", ""),),
        )


@pytest.mark.parametrize("key", ["refill", "reset", "per"])
def test_a_period_under_budget_points_at_the_pace(edited: Edit, key: str) -> None:
    with pytest.raises(PolicyError, match=f"`{key}` under `budget`") as caught:
        edited(("epsilon: 6.0, ", f"epsilon: 6.0, {key}: month, "))
    assert "pace: [{over: population" in caught.value.mend


def test_what_passes_within_a_window(paced: Any) -> None:
    policy = paced()
    many = next(n for n in range(1, 60) if asked(policy, earlier(n, recipient="other")))
    assert asked(policy, earlier(many, recipient="other")) == ["PS-PAC-001"]
    assert asked(policy, earlier(many, days=91, recipient="other")) == ["PS-PAC-001"]
    assert asked(policy, earlier(many, days=92, recipient="other")) == []
    assert asked(policy, earlier(many - 1, recipient="other")) == []
    assert asked(policy) == []
    assert asked(paced(LINE.replace("1/4", "1/1000"))) == ["PS-PAC-001"], "by itself more than the share"


def test_a_recipient_s_pace_counts_her_holds_only(paced: Any) -> None:
    policy = paced(LINE.replace("population", "recipient").replace("1/4", "1/5"))
    assert asked(policy, earlier(3)) == ["PS-PAC-001"]
    assert asked(policy, earlier(3, recipient="other")) == []


def test_a_slower_pace_is_tighter(paced: Any, edited: Edit) -> None:
    for before, after in (
        (LINE, LINE.replace("1/4", "1/3")),
        (LINE, LINE.replace("quarter", "month")),
        (LINE, ""),
    ):
        one, other = paced(before), paced(after) if after else edited()
        looser = compare(one, other)
        assert {c.order for c in looser} == {"looser"}
        assert any(c.witness is not None and c.witness.allowed for c in looser)
        assert {c.order for c in compare(other, one)} == {"tighter"}
        witness = next(c.witness for c in looser if c.witness is not None)
        assert "ago" in flow(case_of(witness.ask)) or witness.ask.after[0].ago == dt.timedelta()  # type: ignore[union-attr]


def test_a_slower_window_of_a_larger_share_is_shown(paced: Any) -> None:
    """Looser in one leaf, tighter in the other: the looser one is told, and a request is looked for without end."""
    one, other = paced(LINE.replace("quarter", "month")), paced(LINE.replace("1/4", "1/2"))
    assert {c.leaf.path[-1]: c.order for c in compare(one, other)} == {"share": "looser", "per": "tighter"}


def test_windows_are_the_longest_of_their_name() -> None:
    assert [window.days for window in WINDOWS.values()] == [366, 92, 31, 7, 1]


def test_every_step_of_a_share_is_a_share() -> None:
    assert list(Portion().steps("9/10", ())) == ["99/100", "909/1000"]
    assert next(Portion().steps("1/4", ())) == "5/16"


def plainly(rule: PaceLine, fresh: Any, charges: list[Charge], event: dpa.DpEvent) -> dt.datetime | None:
    """What a filter says that is charged anew for every moment at which something leaves the window."""
    held = sorted((c for c in charges if c.at > NOW - rule.window), key=lambda c: c.at)
    for gone in range(len(held) + 1):
        spent = fresh
        try:
            for one in [*(charge.event for charge in held[gone:]), event]:
                spent = spent.charge(one)
        except BudgetExhausted:
            continue
        if spent.within(Fraction(rule.share)):
            return held[gone - 1].at + rule.window if gone else NOW
    return None


def priced(kind: str, costs: list[tuple[float, int]]) -> list[dpa.DpEvent]:
    """Events as a ledger records them: of a fit and a gate; where the filter takes them, of training too."""
    return [
        dpa.ComposedDpEvent([
            dpa.GaussianDpEvent(sigma) if kind == "gdp" or n % 3 else dpa.SelfComposedDpEvent(
                dpa.PoissonSampledDpEvent(0.01, dpa.GaussianDpEvent(sigma)), n + 1),
            dpa.LaplaceDpEvent(sigma * 2) if n % 2 else dpa.GaussianDpEvent(sigma * 3)])
        for sigma, n in costs
    ]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2000), st.floats(2.0, 30.0), st.integers(0, 5)), max_size=25),
    st.tuples(st.floats(2.0, 30.0), st.integers(0, 5)),
    st.sampled_from(["gdp", "rdp"]),
    st.fractions(Fraction(1, 50), Fraction(49, 50), max_denominator=1000),
)
def test_the_answer_is_the_filter_s_own(
    held: list[tuple[int, float, int]], asked: tuple[float, int], kind: Any, share: Fraction
) -> None:
    rule = PaceLine(over="population", per="quarter", share=str(share))
    fresh = make_filter(kind, epsilon=3.0, delta=1e-6)
    *events, event = priced(kind, [*((sigma, n) for _, sigma, n in held), asked])
    charges = [Charge(NOW - dt.timedelta(hours=at), one) for (at, _, _), one in zip(held, events, strict=True)]
    assert opens(rule, fresh, charges, event, now=NOW) == plainly(rule, fresh, charges, event)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.floats(2.0, 30.0), min_size=1, max_size=12),
    st.sampled_from(["gdp", "rdp"]),
    st.integers(-2, 2),
)
def test_at_the_very_edge_of_the_share_too(sigmas: list[float], kind: Any, off: int) -> None:
    """A share that is what the events cost to the last digit, and a hair to either side."""
    fresh = make_filter(kind, epsilon=3.0, delta=1e-6)
    events: list[dpa.DpEvent] = [dpa.GaussianDpEvent(sigma) for sigma in sigmas]
    spent = fresh
    try:
        for event in events:
            spent = spent.charge(event)
    except BudgetExhausted:
        assert fresh.surplus(events, share=Fraction(99, 100)) != 0
        return
    if isinstance(spent, GdpFilter):
        share = spent.spent / spent.cap + Fraction(off, 2**280)
    else:
        share = min(Fraction(s) / Fraction(c) for s, c in zip(spent.sums, spent.caps, strict=True))
        share += Fraction(off, 2**80)
    assert (fresh.surplus(events, share=share) == 0) == spent.within(share) == (off >= 0)


def test_each_price_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever has to leave the window, and however often a price comes again."""
    asked: list[object] = []

    def noted(event: dpa.DpEvent) -> Fraction:
        asked.append(event)
        return mu_squared(event)

    monkeypatch.setattr(filters, "mu_squared", noted)
    one, other = dpa.GaussianDpEvent(9.0), dpa.GaussianDpEvent(8.0)
    charges = [Charge(NOW - dt.timedelta(hours=n), one if n % 2 else other) for n in range(400)]
    rule = PaceLine(over="population", per="quarter", share="1/4")
    found = opens(rule, make_filter("gdp", epsilon=3.0, delta=1e-6), charges, one, now=NOW)
    assert found is not None
    assert found > NOW
    assert len(asked) == 2


prices = st.lists(st.tuples(st.integers(0, 500), st.sampled_from([3.0, 5.0, 9.0])), max_size=12)


@settings(max_examples=60, deadline=None)
@given(prices, st.sampled_from(["gdp", "rdp"]), st.sampled_from(list(WINDOWS)), st.sampled_from(["1/10", "1/3"]))
def test_it_opens_at_the_first_moment_that_holds(
    held: list[tuple[int, float]], kind: Any, per: Any, share: str
) -> None:
    """By brute force over the moments at which something leaves the window."""
    rule = PaceLine(over="population", per=per, share=share)
    fresh = make_filter(kind, epsilon=3.0, delta=1e-6)
    charges = [Charge(NOW - dt.timedelta(hours=6 * n), dpa.GaussianDpEvent(s)) for n, s in held]
    event = dpa.GaussianDpEvent(6.0)

    def passes(at: dt.datetime) -> bool:
        spent = fresh
        try:
            for one in charges:
                if at - rule.window < one.at <= at:
                    spent = spent.charge(one.event)
            spent = spent.charge(event)
        except BudgetExhausted:
            return False
        return spent.within(Fraction(share))

    moments = sorted({NOW, *(c.at + rule.window for c in charges if c.at + rule.window > NOW)})
    expected = next((at for at in moments if passes(at)), None)
    assert opens(rule, fresh, charges, event, now=NOW) == expected
