"""The fold: the same entries give the same balance, and entries that cannot be are refused."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from privsynth.errors import LedgerError
from privsynth.ledger.balance import Step, fold, fold_attempts
from privsynth.ledger.entry import Entry, follow
from privsynth.ledger.ledger import Ledger
from privsynth.ledger.terms import Terms
from privsynth.privacy.accountant import mu_squared
from privsynth.privacy.events import decode
from tests.ledger.world import NOON, USE, fit, gate, holds_in, opened, paid, policy, recipe, spent


@pytest.fixture
def entries(ledger: Ledger) -> list[Entry]:
    """A log with one approved hold and one that was only reserved."""
    done = fit(ledger.reserve(recipe(1.0), **USE))
    gate(done)
    done.approve({})
    ledger.reserve(recipe(0.5), purpose="research", recipient="institute")
    with ledger.reading() as session:
        return list(session.main)


def append(entries: list[Entry], kind: str, body: dict[str, Any]) -> list[Entry]:
    last = entries[-1] if entries else None
    return [*entries, follow(last, kind, body, log="main", actor="x", now=NOON)]


def test_the_fold_is_pure(entries: list[Entry]) -> None:
    assert fold(entries) == fold(tuple(entries))
    assert fold(entries).lines() == fold(entries).lines()
    assert fold([]).steps == b""


def test_a_hold_is_charged_to_its_population_and_its_recipient_fitted_or_not(entries: list[Entry]) -> None:
    balance = fold(entries)
    charged = {(line.over, line.name): spent(line) for line in balance.lines()}
    cost = {h.terms.recipient: mu_squared(decode(h.event)) for h in holds_in(entries).values()}
    grid = Fraction(1, 2**250)
    assert sum(cost.values()) <= charged["population", "patients"] <= sum(cost.values()) + grid
    for recipient, exact in cost.items():
        assert exact <= charged["recipient", recipient] <= exact + grid


def test_spending_never_shrinks_along_the_log(entries: list[Entry]) -> None:
    sums = [spent(fold(entries[:n]).line("patients", "population", "patients")) for n in range(2, len(entries) + 1)]
    assert sums == sorted(sums)
    assert sums[0] == 0 < sums[-1]


def test_terms_come_back_as_they_were(entries: list[Entry]) -> None:
    for hold in holds_in(entries).values():
        assert Terms.from_json(hold.terms.to_json()) == hold.terms
        with pytest.raises(LedgerError, match="terms"):
            Terms.from_json({**hold.terms.to_json(), "discount": 0.5})


def test_a_hold_of_an_earlier_version_is_read(entries: list[Entry]) -> None:
    """Written before open columns, public help and training: the fields are not there, and mean none."""
    entry = next(e for e in entries if e.kind == "reserve")
    terms = {k: v for k, v in entry.body["terms"].items() if k not in ("selects", "public_help", "trains")}
    earlier = {k: v for k, v in entry.body.items() if k not in ("delta open", "delta steps")} | {"terms": terms}
    assert len(earlier) == len(entry.body) - 2
    assert len(terms) == len(entry.body["terms"]) - 3
    at = entries.index(entry)
    last = follow(entries[at - 1], "reserve", earlier, log="main", actor=entry.actor, now=NOON)
    hold = holds_in([*entries[:at], last])[entry.body["hold"]]
    assert fold([*entries[:at], last]).count(Step.SOLD) == 1
    assert hold == replace(holds_in(entries)[hold.id], reserved=hold.reserved)
    assert (hold.delta_open, hold.terms.selects, hold.terms.public_help) == (0.0, False, False)
    assert (hold.delta_steps, hold.terms.trains) == (0.0, False)
    with pytest.raises(LedgerError, match="terms"):
        Terms.from_json({k: v for k, v in terms.items() if k != "neighbours"})


def test_leases_follow_a_fit_and_grow(entries: list[Entry]) -> None:
    at = next(i for i, e in enumerate(entries) if e.kind == "measured")
    hold = entries[at].body["hold"]
    leased = append(append(entries[:at], "lease", {"hold": hold, "through": 5}), "lease", {"hold": hold, "through": 9})
    assert fold(leased).leased == {hold: 9}
    assert fold(entries).leased == {}
    for body in (
        {"hold": hold, "through": 9},
        {"hold": hold, "through": 3},
        {"hold": hold},
        {"hold": "unknown", "through": 12},
    ):
        with pytest.raises(LedgerError, match="cannot follow"):
            fold(append(leased, "lease", body))
    with pytest.raises(LedgerError, match="cannot follow"):
        fold(append(entries, "lease", {"hold": hold, "through": 12}))


@pytest.mark.parametrize("kind", ["genesis", "register", "source", "reserve", "fit", "measured", "approve"])
def test_no_entry_happens_twice(entries: list[Entry], kind: str) -> None:
    body = next(dict(e.body) for e in entries if e.kind == kind)
    with pytest.raises(LedgerError, match="cannot follow"):
        fold(append(entries, kind, body))


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("fit", {"hold": "unknown"}),
        ("measured", {"hold": "unknown", "sha256": ""}),
        ("approve", {"hold": "unknown", "claims": ""}),
        ("disclose", {"hold": "unknown"}),
        ("report", {"population": "unknown"}),
        ("source", {"population": "unknown", "source": "s"}),
        ("reserve", {"population": "unknown", "hold": "h"}),
        ("refund", {"hold": "unknown"}),
        ("genesis", {}),
        ("register", {"population": "p"}),
        ("register", {"population": "p", "frozen": {"unit": "patient"}, "filters": {}, "key": ""}),
        ("register", {"population": "p", "frozen": [], "filters": {}, "key": ""}),
        ("source", {}),
        ("reserve", {"hold": "h", "request": "r", "population": "patients"}),
        ("reserve", {"hold": "h", "request": []}),
        ("report", {"population": {}}),
    ],
)
def test_an_entry_that_cannot_be_is_refused(entries: list[Entry], kind: str, body: dict[str, Any]) -> None:
    with pytest.raises(LedgerError, match="cannot follow"):
        fold(append(entries, kind, body))


def test_a_population_is_not_registered_before_the_first_entry() -> None:
    with pytest.raises(LedgerError, match="cannot follow"):
        fold(append([], "register", {"population": "p"}))


@pytest.mark.parametrize(
    ("kind", "body"), [("refused", {"hold": "h", "rules": []}), ("refund", {}), ("genesis", {"ledger": "x"})]
)
def test_the_second_log_is_checked_too(kind: str, body: dict[str, Any]) -> None:
    first = follow(None, "genesis", {"ledger": "x"}, log="attempts", actor="x", now=NOON)
    assert fold_attempts([first]).ledger == "x"
    with pytest.raises(LedgerError, match="cannot follow"):
        fold_attempts([first, follow(first, kind, body, log="attempts", actor="x", now=NOON)])


def test_a_hold_gated_twice_in_the_second_log_is_refused() -> None:
    first = follow(None, "genesis", {"ledger": "x"}, log="attempts", actor="x", now=NOON)
    second = follow(first, "gate", {"hold": "h", "population": "p"}, log="attempts", actor="x", now=NOON)
    third = follow(second, "gate", {"hold": "h", "population": "p"}, log="attempts", actor="x", now=NOON)
    assert fold_attempts([first, second]).attempts == {"p": 1}
    with pytest.raises(LedgerError, match="cannot follow"):
        fold_attempts([first, second, third])


def test_recorded_holds_beyond_the_cap_are_found(entries: list[Entry]) -> None:
    body = next(dict(e.body) for e in entries if e.kind == "reserve")
    for n in range(50):
        entries = append(entries, "reserve", {**body, "hold": f"{n:032x}", "request": f"{n}"})
    with pytest.raises(LedgerError, match="more than the cap"):
        fold(entries).lines()


def test_a_request_id_or_a_source_cannot_be_used_twice_in_the_log(entries: list[Entry]) -> None:
    body = next(dict(e.body) for e in entries if e.kind == "reserve")
    for other in (
        {"hold": "0" * 32},
        {"hold": "0" * 32, "request": "new", "population": "staff"},
        {"hold": "0" * 32, "request": "new", "terms": {**body["terms"], "source": "ehr/other"}},
    ):
        with pytest.raises(LedgerError, match="cannot follow"):
            fold(append(entries, "reserve", {**body, **other}))


def test_a_hold_without_fit_and_gate_is_refused(entries: list[Entry]) -> None:
    hold = next(iter(holds_in(entries).values()))
    with pytest.raises(LedgerError, match="no fit and gate"):
        replace(hold, event={"type": "gaussian", "noise multiplier": 1.0}).prices.fit  # noqa: B018


def test_a_renyi_ledger_adds_up_too(tmp_path: Path) -> None:
    ledger = opened(tmp_path, policy(("{kind: gdp}", "{kind: rdp}")))
    shares = []
    for _ in range(3):
        ledger.reserve(recipe(0.5), **USE)
        shares.append(ledger.balances()[0].spent_share())
    assert 0 < shares[0] < shares[1] < shares[2] < 1
    assert paid(ledger) > 0
    opened(tmp_path, policy(("{kind: gdp}", "{kind: rdp}"))).verify()
