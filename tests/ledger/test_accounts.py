"""The books as people read them: the same sums as the filters', and what the rest buys is what is then sold."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from dp_accounting import DpEvent

from privsynth.errors import BudgetExhausted, StorageError
from privsynth.ledger.accounts import Books, accounts, books
from privsynth.ledger.ledger import Ledger
from privsynth.ledger.store import Wish
from privsynth.pipeline.books import budget_page, write_budget_page
from privsynth.privacy import filters
from privsynth.privacy.accountant import mu_squared
from tests.ledger.world import USE, Hands, fit, opened, policy, recipe, second_source


def test_a_new_ledger_has_caps_and_nothing_spent(ledger: Ledger) -> None:
    found = accounts(ledger)
    assert [(a.over, a.name) for a in found] == [
        ("population", "patients"),
        ("recipient", "institute"),
        ("recipient", "university"),
    ]
    assert all((a.spent, a.left, a.more, a.purchases) == (0.0, 1.0, None, ()) for a in found)


def test_shares_are_the_filters_and_history_runs_up_to_them(ledger: Ledger, clock: Hands) -> None:
    for epsilon in (1.0, 0.5, 2.0):
        ledger.reserve(recipe(epsilon), **USE)
        clock.move(days=30)
    lines = {(line.over, line.name): line for line in ledger.balances()}
    for account in accounts(ledger):
        assert account.spent == lines[account.over, account.name].spent_share()
        told = [purchase.spent for purchase in account.purchases]
        assert told == sorted(told) and (not told or told[-1] == account.spent)
        assert sum(account.by_source.values()) == pytest.approx(account.spent)
    assert [p.time[:10] for p in accounts(ledger)[0].purchases] == ["2026-11-21", "2026-12-21", "2027-01-20"]


def test_what_the_rest_buys_is_sold_and_one_more_is_not(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    ledger.reserve(recipe(1.0), **USE)
    account = next(a for a in accounts(ledger) if a.name == "university")
    assert account.more is not None and f"{account.more} more releases like the last" in account.words
    for _ in range(account.more):
        ledger.reserve(recipe(1.0), **USE)
    with pytest.raises(BudgetExhausted):
        ledger.reserve(recipe(1.0), **USE)
    account = next(a for a in accounts(ledger) if a.name == "university")
    assert account.more == 0 and account.words.startswith("no more releases")


@pytest.mark.parametrize("kind", ["gdp", "rdp"])
def test_nothing_is_left_of_a_recipient_whose_population_is_spent(tmp_path: Path, kind: str) -> None:
    """A restore that lost entries books the population's whole cap, and no recipient's."""
    rules = policy(("kind: gdp", f"kind: {kind}"))
    ledger = opened(tmp_path, rules)
    ledger.reserve(recipe(1.0), **USE)
    before = accounts(ledger)
    assert [a.left for a in before] == pytest.approx([1 - before[0].spent, 1.0, 1 - before[2].spent])
    assert before[2].more
    with ledger.writing() as session:
        session.append("restore", {"lost": True})
    after = accounts(ledger)
    assert [(a.name, a.left, a.more) for a in after] == [
        ("patients", 0.0, 0), ("institute", 0.0, None), ("university", 0.0, 0)]  # fmt: skip
    assert after[2].spent == before[2].spent, "what it bought is what it bought"
    assert after[1].words == "nothing: the population's budget is spent"
    assert after[2].words.startswith("no more releases")
    assert all(a.to_json()["left_share"] == 0.0 and f"<td>{a.words}</td>" for a in after)
    assert "100.0%" not in budget_page(Books(after[1:2], ()), policy="p")


@pytest.mark.parametrize("kind", ["gdp", "rdp"])
def test_what_is_left_of_a_recipient_is_what_can_be_bought(tmp_path: Path, kind: str) -> None:
    """Others have bought most of the population: hers is cut to that, in shares of her own line, and no further."""
    rules = policy(("kind: gdp", f"kind: {kind}"), ("population, epsilon: 6.0", "population, epsilon: 4.0"))
    ledger = opened(tmp_path, rules)
    ledger.reserve(recipe(1.0), **USE)
    assert accounts(ledger)[1].left == 1.0, "there is more in the population's line than in hers"
    for _ in range(accounts(ledger)[2].more or 0):
        ledger.reserve(recipe(1.0), **USE)
    her: dict[str, Any] = {"purpose": "research", "recipient": "institute"}
    ledger.reserve(recipe(1.0), **her)
    population, institute, _ = accounts(ledger)
    assert institute.left < 1 - institute.spent - 0.01
    assert institute.more == population.more
    for _ in range(institute.more or 0):
        ledger.reserve(recipe(1.0), **her)
    with pytest.raises(BudgetExhausted, match="budget of population patients"):
        ledger.reserve(recipe(1.0), **her)
    assert accounts(ledger)[1].left < institute.spent, "less than one more costs"


def test_each_source_has_its_part_and_each_recipient_only_hers(tmp_path: Path) -> None:
    ledger = opened(tmp_path, policy(second_source("labs", "patients")))
    ledger.reserve(recipe(1.0), **USE)
    ledger.reserve(recipe(1.0, source="ehr/labs"), purpose="research", recipient="institute")
    population, institute, university = accounts(ledger)
    assert set(population.by_source) == {"ehr/encounters", "ehr/labs"}
    assert set(institute.by_source) == {"ehr/labs"} and set(university.by_source) == {"ehr/encounters"}
    assert len(population.purchases) == 2 and len(institute.purchases) == len(university.purchases) == 1


def test_a_hold_without_a_model_is_held_and_a_fitted_one_is_not(ledger: Ledger) -> None:
    fit(ledger.reserve(recipe(1.0), **USE))
    assert accounts(ledger)[0].held == 0.0
    ledger.reserve(recipe(1.0), **USE)
    account = accounts(ledger)[0]
    assert account.held == pytest.approx(account.spent / 2)


def test_the_page_is_one_file_without_scripts_and_says_what_the_figures_say(ledger: Ledger, tmp_path: Path) -> None:
    for _ in range(3):
        ledger.reserve(recipe(0.5), **USE)
    found = books(ledger)
    text = budget_page(found, policy="st-anna <research>")
    assert "<script" not in text and "http" not in re.sub(r"<meta[^>]*>", "", text)
    assert "st-anna &lt;research&gt;" in text and "<svg" in text
    assert f"{found.lines[0].spent:.1%}" in text and found.lines[0].words in text
    place = tmp_path / "budget.html"
    write_budget_page(place, found, policy="p")
    write_budget_page(place, found, policy="p")
    assert place.stat().st_mode & 0o777 == 0o600
    place.write_text("my notes")
    with pytest.raises(StorageError):
        write_budget_page(place, found, policy="p")
    assert place.read_text() == "my notes"


def test_each_price_is_computed_once_however_many_holds_have_it(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once for each sum that is shown, not for each hold: history, what is held, by source, and what the rest buys."""
    wishes = [Wish(recipe(0.01 * (1 + n % 2)), **USE, request=f"r{n}") for n in range(40)]
    ledger.reserve_all(wishes)
    priced: list[object] = []

    def counted(event: DpEvent) -> Fraction:
        priced.append(event)
        return mu_squared(event)

    monkeypatch.setattr(filters, "mu_squared", counted)
    found = accounts(ledger)
    assert [len(account.purchases) for account in found] == [40, 0, 40]
    assert len(priced) <= 2 * (3 * 2 + 2)
