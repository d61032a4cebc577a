"""The steps of a hold: each once, in order, for what was bought, whatever happens to the Python value."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from privsynth.errors import HoldError, LedgerError, ModelError, ReleaseRefused, RequestDenied, UsageError
from privsynth.ledger.hold import Hold
from privsynth.ledger.ledger import Ledger
from privsynth.ledger.steps import Status
from privsynth.privacy.events import Receipt
from privsynth.privacy.gdp import steps_delta
from tests.ledger.world import USE, Hands, fit, gate, kinds, opened, paid, policy, recipe, second_source, tamper


@pytest.fixture
def hold(ledger: Ledger) -> Hold:
    return ledger.reserve(recipe(0.5), **USE, request="monday")


def test_the_whole_way(ledger: Ledger, hold: Hold) -> None:
    assert ledger.status(hold.id) is Status.RESERVED
    assert (hold.transcript(), hold.claims()) == (None, None)
    hold.open_fit(recipe=hold.recipe, source=hold.source, purpose=hold.purpose, recipient=hold.recipient)
    assert ledger.status(hold.id) is Status.OPENED
    hold.deposit(b"noisy")
    assert ledger.status(hold.id) is Status.MEASURED
    assert hold.transcript() == b"noisy"
    assert gate(hold) == 1
    assert ledger.status(hold.id) is Status.GATED
    hold.approve({"findings": ["PS-GATE-SCH"], "limit": 0.1})
    assert ledger.status(hold.id) is Status.APPROVED
    assert hold.claims() == {"findings": ["PS-GATE-SCH"], "limit": 0.1}
    assert kinds(ledger)[3:] == ["reserve", "fit", "measured", "approve", "disclose"]
    assert kinds(ledger, "attempts") == ["genesis", "gate"]
    ledger.verify()


def test_a_refusal_stays_in_the_second_log(ledger: Ledger, hold: Hold) -> None:
    gate(fit(hold))
    published = kinds(ledger)
    hold.refuse(["PS-GATE-MEM", "PS-GATE-UTL"])
    assert kinds(ledger) == published
    assert kinds(ledger, "attempts") == ["genesis", "gate", "refused"]
    assert ledger.status(hold.id) is Status.REFUSED
    with pytest.raises(HoldError, match="verdict"):
        hold.approve({})
    assert hold.claims() is None


@pytest.mark.parametrize("rules", [[], ["advantage 0.37"], ["PS-GATE-MEM", ""], ["ps-gate-mem"], [7]])
def test_a_refusal_holds_rule_ids_only(hold: Hold, rules: list[str]) -> None:
    gate(fit(hold))
    with pytest.raises(UsageError, match="rule"):
        hold.refuse(rules)


@pytest.mark.parametrize("other", ["recipe", "source", "purpose", "recipient"])
def test_a_fit_is_for_what_was_bought(ledger: Ledger, hold: Hold, other: str) -> None:
    own: dict[str, Any] = {
        "recipe": hold.recipe,
        "source": hold.source,
        "purpose": hold.purpose,
        "recipient": hold.recipient,
    }
    with pytest.raises(HoldError, match=other):
        hold.open_fit(**{**own, other: "something else"})
    assert ledger.status(hold.id) is Status.RESERVED
    hold.open_fit(**own)


@pytest.mark.parametrize("other", ["model_hold", "source", "population", "purpose", "recipient"])
def test_a_gate_is_for_its_own_model_and_data(ledger: Ledger, hold: Hold, other: str) -> None:
    fit(hold)
    with pytest.raises(HoldError, match=other.removesuffix("_hold")):
        gate(hold, **{other: "something else"})
    assert ledger.attempts("patients") == 0
    assert gate(hold) == 1


def test_steps_come_in_order(ledger: Ledger, hold: Hold) -> None:
    with pytest.raises(HoldError, match="open fit"):
        hold.deposit(b"x")
    with pytest.raises(HoldError, match="no measured fit"):
        gate(hold)
    with pytest.raises(HoldError, match="no open gate"):
        hold.approve({})
    with pytest.raises(HoldError, match="no open gate"):
        hold.refuse(["PS-GATE-MEM"])
    assert kinds(ledger)[3:] == ["reserve"]


def opened_fit(hold: Hold) -> Hold:
    hold.open_fit(recipe=hold.recipe, source=hold.source, purpose=hold.purpose, recipient=hold.recipient)
    return hold


def test_training_steps_are_leased_once(ledger: Ledger, hold: Hold, tmp_path: Path) -> None:
    """In one process or in two, and whatever was asked before: a number that was leased runs nowhere else."""
    with pytest.raises(HoldError, match="open fit"):
        hold.lease(10)
    opened_fit(hold)
    assert hold.leased == 0
    assert (hold.lease(10), hold.leased) == (1, 10)
    assert (hold.lease(10), hold.lease(4), hold.leased) == (11, 11, 10)
    other = opened(tmp_path).hold(hold.id)
    assert (other.lease(20), hold.lease(20), hold.lease(25)) == (11, 21, 21)
    assert kinds(ledger)[3:] == ["reserve", "fit", "lease", "lease", "lease"]
    assert ledger.status(hold.id) is Status.OPENED
    hold.deposit(b"weights")
    with pytest.raises(HoldError, match="trains no more"):
        hold.lease(30)
    assert hold.leased == 25
    ledger.verify()


def test_trainings_that_lease_at_once_share_no_step(hold: Hold, tmp_path: Path) -> None:
    """Four at a time, each on a connection of its own, as four processes would."""
    opened_fit(hold)

    def leases(_: int) -> list[int]:
        taken: list[int] = []
        own, through = opened(tmp_path).hold(hold.id), 5
        while through <= 40:
            first = own.lease(through)
            taken += range(first, through + 1)
            through = max(through, first - 1) + 5
        return taken

    with ThreadPoolExecutor(4) as pool:
        taken = [step for steps in pool.map(leases, range(4)) for step in steps]
    assert sorted(taken) == list(range(1, 41))


@pytest.mark.parametrize("through", [0, -1, 2.0, True, "9"])
def test_a_lease_goes_up_to_a_step_number(hold: Hold, through: Any) -> None:
    with pytest.raises(UsageError, match="through"):
        opened_fit(hold).lease(through)
    assert hold.leased == 0


def test_a_recipe_that_trains_pays_for_it_in_delta(ledger: Ledger) -> None:
    trains = ledger.reserve(recipe(0.5, trains=True), **USE, request="trains")
    plain = ledger.reserve(recipe(0.5), **USE, request="plain")
    assert trains.prices.delta_steps == steps_delta(trains.delta) > plain.prices.delta_steps == 0.0
    assert ledger.hold(trains.id).prices == trains.prices
    assert trains.prices.delta_own > plain.prices.delta_own
    with pytest.raises(HoldError):
        ledger.reserve(recipe(0.5, trains=True), **USE, request="plain")


def test_steps_come_once(ledger: Ledger, hold: Hold) -> None:
    fit(hold)
    with pytest.raises(HoldError, match="opened for a fit before") as caught:
        fit(hold)
    assert "new request id" in caught.value.mend
    with pytest.raises(HoldError, match="transcript already"):
        hold.deposit(b"other")
    gate(hold)
    with pytest.raises(HoldError, match="gated before"):
        gate(hold)
    hold.approve({})
    with pytest.raises(HoldError, match="verdict already"):
        hold.approve({})
    with pytest.raises(HoldError, match="verdict already"):
        hold.refuse(["PS-GATE-MEM"])
    assert hold.transcript() == b"noisy counts"
    ledger.verify()


def test_a_fault_before_the_first_statistic_costs_no_second_hold(ledger: Ledger, hold: Hold) -> None:
    """The data file was missing: the same request id returns the same, still unopened hold."""
    spent = paid(ledger)
    fit(ledger.reserve(recipe(0.5), **USE, request="monday"))
    assert paid(ledger) == spent
    with pytest.raises(HoldError, match="opened for a fit before"):
        fit(ledger.reserve(recipe(0.5), **USE, request="monday"))


def test_copies_and_pickles_gain_nothing(hold: Hold) -> None:
    others = [copy.copy(hold), copy.deepcopy(hold), pickle.loads(pickle.dumps(hold))]
    fit(others[2])
    for other in [hold, *others]:
        assert other == hold
        with pytest.raises(HoldError, match="opened for a fit before"):
            fit(other)
        assert other.transcript() == b"noisy counts"


def test_an_edited_hold_is_refused(ledger: Ledger, hold: Hold) -> None:
    richer = ledger.reserve(recipe(2.0), **USE)
    for edited, name in (
        (replace(hold, prices=richer.prices), "prices"),
        (replace(hold, epsilon=2.0), "epsilon"),
        (replace(hold, chosen_after_report=True), "chosen_after_report"),
        (replace(hold, id="0" * 32), "not in this ledger"),
    ):
        with pytest.raises(HoldError, match=name):
            fit(edited)
        with pytest.raises(HoldError, match=name):
            edited.receipt(noise="os-secure", schema="", person_rows=1)


def test_a_hold_of_another_ledger_is_refused(hold: Hold, tmp_path: Path) -> None:
    other = opened(tmp_path, name="other.db")
    with pytest.raises(HoldError, match="not in this ledger"):
        fit(replace(hold, ledger=other))
    for ask in (other.hold, other.status):
        with pytest.raises(HoldError, match="not in this ledger"):
            ask(hold.id)


def test_a_file_swapped_under_an_open_ledger_is_refused(ledger: Ledger, hold: Hold, tmp_path: Path) -> None:
    opened(tmp_path, name="other.db")
    (tmp_path / "other.db").rename(tmp_path / "l.db")
    with pytest.raises(LedgerError, match="not signed by its key"):
        fit(hold)
    (tmp_path / "other.db.key").rename(tmp_path / "l.db.key")
    with pytest.raises(LedgerError, match="was opened"):
        fit(hold)


def test_altered_transcripts_and_claims_are_found(ledger: Ledger, hold: Hold, tmp_path: Path) -> None:
    gate(fit(hold))
    hold.approve({"ok": True})
    tamper(tmp_path, ("UPDATE transcripts SET data = ?, sha256 = 'x'", (b"nicer counts",)))
    with pytest.raises(ModelError, match="transcripts"):
        hold.transcript()
    tamper(tmp_path, ("UPDATE claims SET data = ?", (b"{}",)))
    with pytest.raises(ModelError, match="claims"):
        hold.claims()
    with pytest.raises(ModelError):
        ledger.verify()
    tamper(tmp_path, ("DELETE FROM claims", ()))
    with pytest.raises(LedgerError, match="do not belong together"):
        hold.claims()


def test_gate_attempts_are_counted_for_ever_whatever_comes_of_them(ledger: Ledger, tmp_path: Path) -> None:
    first, second, third = (fit(ledger.reserve(recipe(0.2), **USE)) for _ in range(3))
    assert gate(first) == 1  # and the process dies
    assert gate(second) == 2
    second.refuse(["PS-GATE-MEM"])
    again = opened(tmp_path)
    assert again.attempts("patients") == 2
    with pytest.raises(ReleaseRefused, match=r"PS-GATE-ATT.* all 2 gate attempts") as caught:
        gate(again.hold(third.id))
    assert caught.value.rules == ("PS-GATE-ATT",)
    assert caught.value.where.startswith("policy.yaml:")
    assert again.attempts("patients") == 2
    assert again.status(third.id) is Status.MEASURED
    assert kinds(again, "attempts")[-1] == "denied"


def test_attempts_are_counted_per_population(tmp_path: Path) -> None:
    ledger = opened(tmp_path, policy(second_source("staff", "staff")))
    gate(fit(ledger.reserve(recipe(0.2), **USE)))
    assert gate(fit(ledger.reserve(recipe(0.2, source="ehr/staff"), **USE))) == 1
    assert (ledger.attempts("patients"), ledger.attempts("staff"), ledger.attempts("nobody")) == (1, 1, 0)


@pytest.mark.parametrize(
    ("edit", "rule"),
    [
        (("max epsilon: 3.0", "max epsilon: 0.1"), "PS-BUD-001"),
        (("university: {purposes: [research]}", "college: {purposes: [research]}"), "PS-REC-001"),
        (("until: 2031-12-31", "until: 2026-11-20"), "PS-VAL-001"),
        (("a.kim@st-anna.example: {roles: [analysts]}", "d.ray@st-anna.example: {roles: [analysts]}"), "PS-ROL-001"),
    ],
)
def test_the_policy_in_use_at_the_gate_must_allow_too(
    hold: Hold, tmp_path: Path, edit: tuple[str, str], rule: str
) -> None:
    fit(hold)
    stricter = opened(tmp_path, policy(edit))
    with pytest.raises(RequestDenied) as caught:
        gate(stricter.hold(hold.id))
    assert rule in caught.value.rules
    assert stricter.attempts("patients") == 0  # nothing was computed
    assert gate(hold) == 1


def test_a_receipt_carries_hold_caps_and_marks(ledger: Ledger, hold: Hold) -> None:
    receipt = hold.receipt(noise="os-secure", schema="ab" * 32, person_rows=5)
    assert Receipt.from_json(receipt.to_json()) == receipt
    assert (receipt.hold, receipt.population, receipt.recipe) == (hold.id, "patients", hold.recipe)
    assert (receipt.cap_epsilon, receipt.cap_delta, receipt.filter, receipt.subjects) == (6.0, 2e-8, "gdp", 41250)
    assert (receipt.first_of_population, receipt.chosen_after_report) == (True, False)
    assert (receipt.mu, receipt.mu_fit, receipt.mu_gate) == (hold.prices.mu, hold.prices.mu_fit, hold.prices.mu_gate)
    assert (receipt.schema, receipt.person_rows, receipt.policy) == ("ab" * 32, 5, ledger.policy.sha256)


def test_a_fit_plans_by_declared_sizes_only(hold: Hold) -> None:
    assert hold.training_subjects == 41250 * (1 - 0.2)


def test_nothing_secret_prints(ledger: Ledger, hold: Hold) -> None:
    key = ledger.coin_key("ehr/encounters")
    fit(hold, b"noisy-but-inside")
    text = f"{ledger!r} {hold!r} {key!r} {ledger.balances()!r}"
    assert key.key.hex() not in text
    assert repr(key.key) not in text
    assert "noisy-but-inside" not in text


# --- expiry ----------------------------------------------------------------------------------------


def test_a_hold_that_expired_is_closed_and_stays_paid(ledger: Ledger, clock: Hands, tmp_path: Path) -> None:
    hold = ledger.reserve(recipe(0.5), **USE, request="r", valid_for=timedelta(days=1))
    assert hold.expires == "2026-11-22T12:00:00.000000+00:00"
    clock.move(days=1)
    assert ledger.status(hold.id) is Status.RESERVED
    clock.move(seconds=1)
    for _ in range(2):
        with pytest.raises(HoldError, match="expired at 2026-11-22") as caught:
            opened_fit(hold)
        assert "stays spent" in caught.value.mend
    assert kinds(ledger)[3:] == ["reserve", "expire"]
    clock.move(minutes=-4)  # a clock that goes back a little brings nothing back
    with pytest.raises(HoldError, match="expired"):
        opened_fit(hold)
    assert ledger.balances()[0].holds == 1
    assert ledger.reserve(recipe(0.5), **USE, request="r") == hold
    opened(tmp_path, clock=clock).verify()


def test_a_fit_that_began_in_time_may_keep_what_it_measured(ledger: Ledger, clock: Hands) -> None:
    hold = opened_fit(ledger.reserve(recipe(0.5), **USE, valid_for=timedelta(hours=1)))
    clock.move(hours=2)
    hold.deposit(b"noisy")
    with pytest.raises(HoldError, match="expired"):
        gate(hold)
    assert ledger.attempts("patients") == 0
    assert hold.transcript() == b"noisy"
    ledger.verify()


def test_a_training_that_expired_leases_no_more(ledger: Ledger, clock: Hands) -> None:
    hold = opened_fit(ledger.reserve(recipe(0.5), **USE, valid_for=timedelta(hours=1)))
    assert hold.lease(5) == 1
    clock.move(hours=2)
    for step in (lambda: hold.lease(9), lambda: hold.deposit(b"")):
        with pytest.raises(HoldError, match=r"expired|closed"):
            step()
    assert hold.leased == 5
    ledger.verify()


@pytest.mark.parametrize("days", [0, -1])
def test_a_hold_is_valid_for_some_time(ledger: Ledger, days: int) -> None:
    with pytest.raises(UsageError, match="valid for some time"):
        ledger.reserve(recipe(0.5), **USE, valid_for=timedelta(days=days))
