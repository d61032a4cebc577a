"""What a population freezes, and what a later policy may not change."""

from __future__ import annotations

from pathlib import Path

import pytest

from privsynth.documents import sha256
from privsynth.errors import LedgerError
from privsynth.ledger.ledger import Ledger
from tests.ledger.world import USE, kinds, opened, policy, recipe, second_source, tamper


def test_a_new_ledger_begins_with_its_policy_and_its_populations(ledger: Ledger) -> None:
    assert kinds(ledger) == ["genesis", "register", "source"]
    assert kinds(ledger, "attempts") == ["genesis"]
    with ledger.reading() as session:
        genesis, register, source = (entry.body for entry in session.main)
    key = ledger.seal.key().raw_public.hex()
    assert genesis == {"ledger": ledger.id, "policy": "st-anna/research", "format": 1, "key": key}
    assert register["frozen"] == {
        "unit": "patient",
        "neighbours": "add-or-remove",
        "subjects": 41250,
        "holdout": 0.2,
        "contribution": 12,
        "gate share": 0.15,
        "filter kind": "gdp",
        "filter orders": "auto",
        "budget over population": {"epsilon": 6.0, "delta": 2e-8},
        "budget over recipient": {"epsilon": 3.0, "delta": 2e-8},
    }
    assert register["filters"]["population"]["delta_a"] == 2e-10
    assert register["policy"] == ledger.policy.sha256
    assert source == {"source": "ehr/encounters", "population": "patients", "policy": ledger.policy.sha256}


def test_opening_again_changes_nothing(ledger: Ledger, tmp_path: Path) -> None:
    again = opened(tmp_path)
    assert again.id == ledger.id
    assert kinds(again) == kinds(ledger)
    assert again.coin_key("ehr/encounters").key == ledger.coin_key("ehr/encounters").key


def test_a_ledger_of_another_policy_is_refused(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match=r"'st-anna/research', not to 'st-anna/teaching'") as caught:
        opened(tmp_path, policy(("id: st-anna/research", "id: st-anna/teaching")))
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    ("edit", "field", "old", "new"),
    [
        (("unit: patient", "unit: visit"), "unit", "'patient'", "'visit'"),
        (("subjects: 41250", "subjects: 41251"), "subjects", "41250", "41251"),
        (("holdout: 0.2", "holdout: 0.25"), "holdout", "0.2", "0.25"),
        (("max rows per subject: 12", "max rows per subject: 13"), "contribution", "12", "13"),
        (("share: 0.15", "share: 0.2"), "gate share", "0.15", "0.2"),
        (("kind: gdp", "kind: rdp"), "filter kind", "'gdp'", "'rdp'"),
        (
            ("epsilon: 6.0, delta: 2e-8", "epsilon: 7.0, delta: 2e-8"),
            "budget over population",
            "epsilon 6",
            "epsilon 7",
        ),
        (("epsilon: 3.0, delta: 2e-8", "epsilon: 3.0, delta: 1e-8"), "budget over recipient", "2e-08", "1e-08"),
        (("    - {over: recipient, epsilon: 3.0, delta: 2e-8}\n", ""), "budget over recipient", "2e-08", "absent"),
    ],
)
def test_a_changed_frozen_field_is_refused(
    ledger: Ledger, tmp_path: Path, edit: tuple[str, str], field: str, old: str, new: str
) -> None:
    with pytest.raises(LedgerError) as caught:
        opened(tmp_path, policy(edit))
    assert repr(field) in caught.value.what
    assert caught.value.what.index(new) < caught.value.what.rindex(old)
    assert caught.value.where.startswith("policy.yaml:")
    assert caught.value.exit_code == 4
    assert kinds(ledger) == ["genesis", "register", "source"]


def test_listed_orders_are_frozen_too(tmp_path: Path) -> None:
    opened(tmp_path, policy(("{kind: gdp}", "{kind: rdp, orders: [9, 12, 20]}")))
    with pytest.raises(LedgerError, match="filter orders"):
        opened(tmp_path, policy(("{kind: gdp}", "{kind: rdp, orders: [9, 12, 21]}")))


def test_automatic_orders_are_resolved_once(tmp_path: Path) -> None:
    ledger = opened(tmp_path, policy(("{kind: gdp}", "{kind: rdp}")))
    ledger.reserve(recipe(0.5), **USE)
    with ledger.reading() as session:
        filters = session.main[1].body["filters"]
    assert len(filters["population"]["orders"]) == 3
    again = opened(tmp_path, policy(("{kind: gdp}", "{kind: rdp}")))
    assert again.balances()[0].filter.to_json() == filters["population"]
    assert again.balances()[0].filter.kind == "rdp"


def test_a_filter_that_this_version_would_build_otherwise_is_refused(ledger: Ledger) -> None:
    with ledger.reading() as session:
        population = session.balance().populations["patients"]
    altered = {"population": {**population.filters["population"], "delta_a": 1e-10}}
    with pytest.raises(LedgerError, match="another gdp filter"):
        type(population)("patients", population.frozen, altered, population.key).fresh("population")


def test_what_is_not_frozen_may_change(ledger: Ledger, tmp_path: Path) -> None:
    changed = policy(
        ('version: "1"', 'version: "2"'),
        ("max attempts: 2", "max attempts: 1"),
        ("max epsilon: 3.0", "max epsilon: 1.0"),
    )
    assert opened(tmp_path, changed).id == ledger.id
    assert kinds(ledger) == ["genesis", "register", "source"]


def test_a_new_population_is_registered_with_a_key_of_its_own(ledger: Ledger, tmp_path: Path) -> None:
    both = opened(tmp_path, policy(second_source("staff", "staff")))
    assert kinds(both)[3:] == ["register", "source"]
    assert both.coin_key("ehr/staff").key != both.coin_key("ehr/encounters").key
    assert both.coin_key("ehr/encounters").key == ledger.coin_key("ehr/encounters").key
    assert {line.name for line in both.balances() if line.over == "population"} == {"patients", "staff"}
    both.reserve(recipe(1.0, source="ehr/staff"), **USE)
    assert [line.holds for line in ledger.balances() if line.name == "patients"] == [0]


def test_a_new_source_of_a_known_population_joins_it(ledger: Ledger, tmp_path: Path) -> None:
    both = opened(tmp_path, policy(second_source("labs", "patients")))
    assert kinds(both)[3:] == ["source"]
    assert both.coin_key("ehr/labs").key == ledger.coin_key("ehr/encounters").key


def test_a_source_may_not_move_to_a_fresh_population(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match=r"population 'patients-2' in the policy.*'patients'") as caught:
        opened(tmp_path, policy(("population: patients", "population: patients-2")))
    assert "fresh budget" in caught.value.mend


def test_a_population_that_left_the_policy_keeps_its_account(tmp_path: Path) -> None:
    both = opened(tmp_path, policy(second_source("staff", "staff")))
    both.reserve(recipe(1.0, source="ehr/staff"), **USE)
    alone = opened(tmp_path)
    assert {line.name: line.holds for line in alone.balances() if line.over == "population"} == {
        "patients": 0,
        "staff": 1,
    }


def test_a_swapped_secret_key_is_found(ledger: Ledger, tmp_path: Path) -> None:
    with ledger.reading() as session:
        key = session.tx.get("secrets", "patients")
        assert key is not None
        assert len(key) == 32
        assert session.main[1].body["key"] == sha256(key)
    tamper(tmp_path, ("UPDATE secrets SET data = ?", (bytes(32),)))
    with pytest.raises(LedgerError, match="secret key"):
        ledger.coin_key("ehr/encounters")
    with pytest.raises(LedgerError, match="secret key"):
        ledger.verify()
