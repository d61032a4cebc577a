"""The books as people read them: the same sums as the filters', and what the rest buys is what is then sold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from privsynth.errors import BudgetExhausted, StorageError
from privsynth.ledger.accounts import accounts
from privsynth.ledger.ledger import Ledger
from privsynth.pipeline.books import budget_page, write_budget_page
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
    found = accounts(ledger)
    text = budget_page(found, policy="st-anna <research>")
    assert "<script" not in text and "http" not in re.sub(r"<meta[^>]*>", "", text)
    assert "st-anna &lt;research&gt;" in text and "<svg" in text
    assert f"{found[0].spent:.1%}" in text and found[0].words in text
    place = tmp_path / "budget.html"
    write_budget_page(place, found, policy="p")
    write_budget_page(place, found, policy="p")
    assert place.stat().st_mode & 0o777 == 0o600
    place.write_text("my notes")
    with pytest.raises(StorageError):
        write_budget_page(place, found, policy="p")
    assert place.read_text() == "my notes"
