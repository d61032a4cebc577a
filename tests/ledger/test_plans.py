"""Plans: several holds sold together, all or none, written down before the first of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privsynth.documents import identity
from privsynth.errors import BudgetError, BudgetExhausted, HoldError, LedgerError, RequestDenied, UsageError
from privsynth.ledger.accounts import books
from privsynth.ledger.care import backup, export, read
from privsynth.ledger.ledger import Ledger, quote_all_unopened
from privsynth.ledger.quote import weighed
from privsynth.ledger.steps import Status
from privsynth.ledger.store import SqliteStore, Wish
from privsynth.ledger.terms import terms_of
from privsynth.pipeline.books import budget_page
from privsynth.privacy.accountant import Prices
from tests.ledger.anywhere import PROCESSES, contest, opened_at
from tests.ledger.world import (
    ANALYST,
    NOON,
    USE,
    Hands,
    Recipe,
    fit,
    kinds,
    opened,
    paid,
    policy,
    recipe,
    second_source,
)

YEAR = ("q1", "q2", "q3", "q4")


def wish(request: str, epsilon: float = 0.5, *, of: Recipe | None = None, **use: str) -> Wish:
    """A wish for the university, or as ``use`` says."""
    return Wish(of or recipe(epsilon), **{**USE, **use}, request=request)


def year(epsilon: float = 0.5) -> list[Wish]:
    """Four wishes."""
    return [wish(request, epsilon) for request in YEAR]


def entries(ledger: Ledger) -> list[tuple[str, Mapping[str, Any]]]:
    """(kind, body) of every entry."""
    with ledger.reading() as session:
        return [(entry.kind, entry.body) for entry in session.main]


def left_as_it_was(ledger: Ledger, ask: Callable[[], object], error: type[Exception]) -> Any:
    """The error that ``ask`` raises; the main log is as it was before."""
    before = kinds(ledger)
    with pytest.raises(error) as caught:
        ask()
    assert kinds(ledger) == before
    return caught.value


# --- sold ----------------------------------------------------------------------------------------


def test_a_plan_is_written_down_before_its_holds_and_fixes_each(ledger: Ledger) -> None:
    before = len(kinds(ledger))
    sold = ledger.reserve_all(year(), plan="releases of 2027")
    told = entries(ledger)[before:]
    assert [kind for kind, _ in told] == ["plan", *["reserve"] * 4]
    plan, items = told[0][1], [body for _, body in told[1:]]
    assert (plan["name"], plan["policy"]) == ("releases of 2027", ledger.policy.sha256)
    assert plan["items"] == [
        {"request": item["request"], "hold": item["hold"], "sha256": identity(item)} for item in items
    ]
    assert [(item["plan"], item["item"]) for item in items] == [(plan["plan"], number) for number in (1, 2, 3, 4)]
    assert [(hold.request, hold.id) for hold in sold] == [(item["request"], item["hold"]) for item in items]
    assert all(hold == ledger.find(hold.request) == ledger.hold(hold.id) for hold in sold)
    assert ledger.verify().holds == 4


def test_every_hold_of_the_first_plan_was_committed_before_the_first(ledger: Ledger) -> None:
    first = ledger.reserve_all(year(0.1))
    assert all(hold.first_of_population for hold in first)
    receipt = fit(first[2]).receipt(noise="os-secure", schema="", person_rows=1)
    assert receipt.first_of_population
    second = ledger.reserve_all([wish("r1", 0.1), wish("r2", 0.1)])
    assert not any(hold.first_of_population for hold in (*second, ledger.reserve(recipe(0.1), **USE)))


def test_a_hold_that_is_sold_alone_says_nothing_of_plans(ledger: Ledger) -> None:
    ledger.reserve(recipe(), **USE)
    assert not {"plan", "item"} & set(entries(ledger)[-1][1])
    assert books(ledger).plans == ()


def test_each_hold_of_a_plan_takes_its_own_steps(ledger: Ledger, clock: Hands) -> None:
    one, two, *_ = ledger.reserve_all(year(), valid_for=timedelta(days=100))
    fit(one)
    assert [ledger.status(hold.id) for hold in (one, two)] == [Status.MEASURED, Status.RESERVED]
    clock.move(days=101)
    with pytest.raises(HoldError, match="expired"):
        fit(two)
    assert ledger.balances()[0].holds == 4, "what is not used stays spent"
    ledger.verify()


def test_what_waits_is_what_may_still_be_fitted(tmp_path: Path, clock: Hands) -> None:
    ledger = opened(tmp_path, policy(second_source("staff", "staff")), clock=clock)
    one, *_ = ledger.reserve_all(year(0.1))
    ledger.reserve(recipe(0.1), **USE, valid_for=timedelta(days=1))
    ledger.reserve(recipe(0.1, source="ehr/staff"), **USE)
    assert [ledger.waiting("patients", most=most) for most in (0, 3, 9)] == [0, 3, 5]
    fit(one)
    clock.move(days=2)
    assert (ledger.waiting("patients", most=9), ledger.waiting("staff", most=9)) == (3, 1)
    assert ledger.waiting("nobody", most=9) == 0


# --- refused -------------------------------------------------------------------------------------


def test_what_the_budget_cannot_pay_whole_is_not_sold_at_all(ledger: Ledger) -> None:
    wishes = [wish("a", 1.5, recipient="institute"), wish("b", 2.4), wish("c", 2.5)]
    told = left_as_it_was(ledger, lambda: ledger.reserve_all(wishes, plan="2027"), BudgetExhausted)
    assert told.what.startswith("item 3 of 3 (request 'c'): epsilon 2.5")
    assert "budget of recipient university" in told.what and told.what.endswith("the items before it counted as sold")
    assert told.mend.startswith("the first 2 of these 3 would fit; after them, at delta 1e-09 what is left buys")
    with ledger.reading() as session:
        noted = session.attempts[-1]
    assert (noted.kind, noted.body["plan"]) == ("exhausted", "2027")
    assert noted.body["items"] == [
        {"request": one.request, "recipe": one.asked(ledger.policy, actor=ANALYST).terms.recipe} for one in wishes
    ]
    assert noted.body["lines"] == [{"over": "recipient", "name": "university"}]
    offered = float(told.mend.rpartition(" ")[2])
    assert len(ledger.reserve_all([*wishes[:2], wish("c", offered)])) == 3


def test_the_policy_decides_every_item(ledger: Ledger) -> None:
    wishes = [wish("a"), wish("b", 3.5), wish("c", recipient="nobody")]
    told = left_as_it_was(ledger, lambda: ledger.reserve_all(wishes, plan="2027"), RequestDenied)
    assert told.what.startswith("item 2 of 3 (request 'b') and item 3 of 3 (request 'c'): the first of them: denied by")
    assert told.rules[0] == "PS-BUD-001" and "PS-REC-001" in told.rules
    with ledger.reading() as session:
        noted = session.attempts[-1]
    assert (noted.kind, noted.body["plan"], noted.body["rules"]) == ("denied", "2027", list(told.rules))
    only = left_as_it_was(ledger, lambda: ledger.reserve_all([wish("a"), wish("b", 3.5)]), RequestDenied)
    assert only.what.startswith("item 2 of 2 (request 'b'): denied by PS-BUD-001")


def test_a_long_plan_is_refused_in_few_words(ledger: Ledger) -> None:
    """In the message and in the second log, which keeps it for ever."""
    dear = [wish(f"r{n}", 3.5) for n in range(100)]
    told = left_as_it_was(ledger, lambda: ledger.reserve_all(dear), RequestDenied)
    assert "item 3 of 100 (request 'r2') and 97 more: the first of them: denied by PS-BUD-001" in told.what
    with ledger.reading() as session:
        assert len(session.attempts[-1].leaf) < 15_000
    ledger.reserve_all([wish(f"s{n}", 0.01) for n in range(5)])
    told = left_as_it_was(ledger, lambda: ledger.reserve_all([wish(f"s{n}", 0.01) for n in range(10)]), HoldError)
    assert "s0, s1, s2 and 2 more bought holds before, and s5, s6, s7 and 2 more did not" in told.what
    twice = [wish(f"t{n // 2}") for n in range(10)]
    told = left_as_it_was(ledger, lambda: ledger.reserve_all(twice), UsageError)
    assert told.what.endswith("one request id: t0, t1, t2 and 2 more")


def test_an_item_that_could_not_be_fitted_is_named(ledger: Ledger) -> None:
    class Unfit(Recipe):
        """Its noise would be beyond every sampler."""

        def check_sampler(self, prices: Prices, *, rows: float, cap_epsilon: float) -> None:
            raise BudgetError("no such noise", mend="a larger epsilon")

    told = left_as_it_was(ledger, lambda: ledger.reserve_all([wish("a"), wish("b", of=Unfit())]), BudgetError)
    assert told.what == "item 2 of 2 (request 'b'): no such noise"


def test_the_pace_counts_all_of_a_plan_when_it_is_sold(tmp_path: Path, clock: Hands) -> None:
    budget = "    - {over: recipient, epsilon: 3.0, delta: 2e-8}\n"
    pace = "  pace: [{over: population, per: quarter, share: 1/20}]\n"
    ledger = opened(tmp_path, policy((budget, budget + pace)), clock=clock)
    told = left_as_it_was(ledger, lambda: ledger.reserve_all(year(0.8)), RequestDenied)
    assert told.rules == ("PS-PAC-001",) and told.mend.startswith("sell it in parts")
    assert not ledger.quote_all(year(0.8)).admitted
    ledger.reserve_all(year(0.8)[:2])
    told = left_as_it_was(ledger, lambda: ledger.reserve_all(year(0.8)[2:]), RequestDenied)
    assert "ask again from 2027-02-21T12" in told.mend
    clock.move(days=92)
    assert len(ledger.reserve_all(year(0.8)[2:])) == 2


@pytest.mark.parametrize("wishes", [[], [wish("a"), wish("b"), wish("a")], [wish("a", 0.001)] * 2])
def test_a_plan_has_holds_each_under_its_own_request(ledger: Ledger, wishes: list[Wish]) -> None:
    left_as_it_was(ledger, lambda: ledger.reserve_all(wishes), UsageError)
    left_as_it_was(ledger, lambda: ledger.quote_all(wishes), UsageError)
    left_as_it_was(ledger, lambda: ledger.reserve_all([wish("a")], plan="two\nlines"), UsageError)


# --- asked again ---------------------------------------------------------------------------------


def test_the_same_plan_asked_again_is_the_same_holds(ledger: Ledger) -> None:
    assert ledger.sold_all(year()) == ()
    sold = ledger.reserve_all(year(), plan="2027")
    before, spent = kinds(ledger), paid(ledger)
    assert ledger.reserve_all(year(), plan="by another name") == ledger.sold_all(year()) == sold
    assert ledger.reserve_all(year()[::-1]) == sold[::-1]
    assert ledger.reserve(recipe(0.5), **USE, request="q3") == sold[2] == ledger.reserve_all([wish("q3")])[0]
    assert (kinds(ledger), paid(ledger)) == (before, spent)


def test_what_was_not_sold_as_this_plan_is_refused(ledger: Ledger) -> None:
    ledger.reserve_all(year())
    ledger.reserve(recipe(0.5), **USE, request="alone")
    ledger.reserve(recipe(0.5), **USE, request="lonely")
    for wishes, words in (
        ([*year(), wish("q5")], "q1, q2, q3 and 1 more bought holds before, and q5 did not"),
        (year()[:3], "not as this plan"),
        ([*year(), wish("alone")], "not as this plan"),
        ([wish("alone"), wish("lonely")], "not as this plan"),
        ([*year()[:3], wish("q4", 0.6)], "other terms: recipe and epsilon differ"),
    ):
        assert words in left_as_it_was(ledger, partial(ledger.reserve_all, wishes), HoldError).what
        left_as_it_was(ledger, partial(ledger.sold_all, wishes), HoldError)


# --- weighed -------------------------------------------------------------------------------------

PRICES = st.sampled_from([0.02, 0.4, 1.0, 1.7, 2.4, 2.9])
ITEMS = st.lists(st.tuples(PRICES, st.sampled_from(["university", "institute"])), min_size=1, max_size=6)


@given(items=ITEMS, before=st.lists(PRICES, max_size=2), kind=st.sampled_from(["gdp", "rdp"]), data=st.data())
@settings(max_examples=25, deadline=None)
def test_a_plan_fits_exactly_if_its_holds_do_one_after_the_other(
    items: list[tuple[float, str]], before: list[float], kind: str, data: st.DataObject
) -> None:
    """Whatever their order, by filters that are fed by hand, on top of what was bought before."""
    from privsynth.ledger.register import imagined

    rules = policy(("kind: gdp", f"kind: {kind}"), ("population, epsilon: 6.0", "population, epsilon: 4.0"))
    start = imagined(rules, actor=ANALYST, now=NOON)
    asked = [
        terms_of(recipe(epsilon), rules, purpose="research", recipient=who, actor=ANALYST)
        for epsilon, who in [*((epsilon, "university") for epsilon in before), *items]
    ]
    for one in weighed(rules, start, asked[: len(before)]):
        start = start if one.short else one.paid(start)
    plan = asked[len(before) :]
    filters = {(line.over, line.name): line.filter for line in start.lines(recipients=["university", "institute"])}
    fits = True
    for one in weighed(rules, start, plan):
        for name in (("population", "patients"), ("recipient", one.terms.recipient)):
            try:
                filters[name] = filters[name].charge(one.prices.event, delta=one.prices.delta_own)
            except BudgetExhausted:
                fits = False
        if not fits:
            break
    for order in (plan, plan[::-1], data.draw(st.permutations(plan))):
        assert all(not one.short for one in weighed(rules, start, order)) == fits


def test_a_quote_says_what_a_sale_of_them_all_does(ledger: Ledger, tmp_path: Path) -> None:
    before = kinds(ledger), kinds(ledger, "attempts")
    quoted = ledger.quote_all(year())
    assert quoted.admitted and quoted == quote_all_unopened(year(), policy(), actor=ANALYST, clock=lambda: NOON)
    shares = [item.lines[1].spent_after or 0.0 for item in quoted.items]
    assert shares == sorted(shares) and [item.lines[1].spent_before for item in quoted.items] == [0.0, *shares[:3]]
    dear = ledger.quote_all([*year(1.7), wish("more", 0.1)])
    assert not dear.admitted
    assert [all(line.admitted for line in item.lines) for item in dear.items] == [True, True, True, False, True]
    assert (kinds(ledger), kinds(ledger, "attempts")) == before
    ledger.reserve_all(year())
    assert {line.spent_share() for line in ledger.balances() if line.name == "university"} == {shares[-1]}


# --- kept ----------------------------------------------------------------------------------------


def test_the_books_tell_what_became_of_a_plan(ledger: Ledger, clock: Hands) -> None:
    one, *_ = ledger.reserve_all(year(), plan="<2027>")
    fit(one)
    ledger.reserve_all([wish("x", 0.1)], valid_for=timedelta(days=1))
    clock.move(days=2)
    told = books(ledger)
    assert [(p.title, len(p.requests), p.used, p.waiting) for p in told.plans] == [
        ("<2027>", 4, 1, 3),
        (told.plans[1].id[:8], 1, 0, 0),
    ]
    assert told.to_json()["plans"][0]["requests"] == list(YEAR)
    assert "<td>&lt;2027&gt;</td>" in budget_page(told, policy="p")
    assert "Plans" not in budget_page(replace(told, plans=()), policy="p")


def test_a_plan_is_kept_in_copies_and_exports(ledger: Ledger, tmp_path: Path) -> None:
    ledger.reserve_all(year())
    for _ in range(20):
        ledger.reserve(recipe(0.001), **USE)  # the state is made anew
    export(ledger, tmp_path / "e.jsonl", inside=True)
    found = read(tmp_path / "e.jsonl")
    assert [entry.kind for entry in found.main].count("plan") == 1
    assert found.balance.requests == backup_of(ledger, tmp_path / "b.db")
    assert ledger.reserve_all(year()) == ledger.sold_all(year())


def backup_of(ledger: Ledger, path: Path) -> bytes:
    """The requests in a backup that was read whole."""
    assert backup(ledger, path).holds == 24
    copy = replace(ledger, store=SqliteStore(path))
    copy.verify()
    with copy.reading() as session:
        return session.balance().requests


def _cut(bodies: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    return bodies[:-1]


def _swapped(bodies: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    return bodies[::-1]


def _dearer(bodies: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    return [*bodies[:-1], {**bodies[-1], "first of population": False}]


def _strange(bodies: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    alone = {key: value for key, value in bodies[0].items() if key not in ("plan", "item")}
    return [alone, *bodies[1:]]


def _more(bodies: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    return [*bodies, {**bodies[-1], "hold": "f" * 32, "request": "more", "item": 3}]


@pytest.mark.parametrize("change", [_cut, _swapped, _dearer, _strange, _more])
def test_a_plan_whose_holds_are_not_those_that_it_lists_is_told(
    ledger: Ledger, tmp_path: Path, change: Callable[[list[dict[str, Any]]], Iterable[dict[str, Any]]]
) -> None:
    """Even where the ledger's own key signed it: the fold refuses it, so no auditor's export of it is read either."""
    ledger.reserve_all([wish("a"), wish("b")])
    *_, (_, plan), (_, one), (_, two) = entries(ledger)
    other = opened(tmp_path, name="other.db")
    with (
        pytest.raises(LedgerError, match=r"within a plan|\((reserve|report)\) cannot follow"),
        other.writing() as session,
    ):
        session.append("plan", plan)
        for body in change([dict(one), dict(two)]):
            session.append("reserve", body)
        session.balance()
    assert "plan" not in kinds(other)
    with other.writing() as session:  # as it was, it stands
        session.append("plan", plan)
        for whole in (one, two):
            session.append("reserve", whole)
    assert other.verify().holds == 2


def test_nothing_stands_between_the_holds_of_a_plan(ledger: Ledger, tmp_path: Path) -> None:
    ledger.reserve_all([wish("a"), wish("b")])
    *_, (_, plan), (_, one), (_, two) = entries(ledger)
    other = opened(tmp_path, name="other.db")
    with pytest.raises(LedgerError, match=r"\(report\) cannot follow"), other.writing() as session:
        session.append("plan", plan)
        session.append("reserve", one)
        session.append("report", {"population": "patients", "policy": other.policy.sha256})
        session.append("reserve", two)
        session.balance()


# --- several at once, and deaths -----------------------------------------------------------------


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """Where the ledger's key lies."""
    return tmp_path / "ledger.key"


def test_plans_of_several_processes_and_of_killed_ones_are_whole(url: str, key: Path) -> None:
    """Four that ask for one plan get the same; of four plans of which the budget pays for one, one is sold; and
    kill -9 loses none that was acknowledged and cuts none."""
    told: dict[str, list[str]] = {"acknowledged": [], "same": [], "own": []}
    for line in contest("plans", url, key):
        what, _, answer = line.partition(" ")
        told[what].append(answer)
    assert len(told["same"]) == PROCESSES and len(set(told["same"])) == 1 and len(told["same"][0].split()) == 3
    assert told["own"].count("BudgetExhausted") == PROCESSES - 1
    (won,) = set(told["own"]) - {"BudgetExhausted"}
    ledger = opened_at(url, key)
    ledger.verify()
    *small, same, own = [" ".join(plan.requests) for plan in books(ledger).plans]
    assert (same, own) == ("a b c", won)
    assert len(told["acknowledged"]) >= 4 and set(told["acknowledged"]) <= set(small)
    assert len(small) <= len(told["acknowledged"]) + 2, "one more of each victim"
    assert kinds(ledger).count("reserve") == 3 * (len(small) + 2)


@pytest.mark.parametrize("place", [0, 2])
def test_a_plan_cut_short_anywhere_leaves_nothing(
    url: str, key: Path, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    class Crash(BaseException):
        """What a power cut looks like from inside."""

    ledger = opened_at(url, key)
    before = kinds(ledger)
    with ledger.store.reading() as tx:
        kind = type(tx)
    genuine, written = kind.add, list[Any]()

    def crash_at(self: Any, entry: Any) -> None:
        genuine(self, entry)
        written.append(entry)
        if len(written) > place:
            raise Crash

    with monkeypatch.context() as patch, pytest.raises(Crash):
        patch.setattr(kind, "add", crash_at)
        ledger.reserve_all([wish("a"), wish("b")])
    assert kinds(ledger) == before
    assert [hold.request for hold in ledger.reserve_all([wish("a"), wish("b")])] == ["a", "b"]
    ledger.verify()
