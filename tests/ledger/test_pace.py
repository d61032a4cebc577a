"""The pace at the sale: a share of a budget line within any window, read from the log, and never a refill."""

from __future__ import annotations

import json
import random
import shutil
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from privsynth.documents import canonical
from privsynth.errors import BudgetExhausted, LedgerError, RequestDenied
from privsynth.ledger import pace as module
from privsynth.ledger.entry import leaf_hash
from privsynth.ledger.ledger import Ledger, quote_unopened
from privsynth.policy.document import Policy
from privsynth.policy.pace import WINDOWS
from privsynth.privacy.accountant import mu_squared
from privsynth.privacy.events import decode
from privsynth.privacy.filters import make_filter
from tests.ledger.world import ANALYST, USE, Hands, holds, kinds, lines, opened, paid, policy, recipe, tamper

QUARTER = WINDOWS["quarter"]
BUDGET = "    - {over: recipient, epsilon: 3.0, delta: 2e-8}\n"
GDP, RENYI = "filter: {kind: gdp}", "filter: {kind: rdp}"


def slow(lines: str = "{over: population, per: quarter, share: 1/4}", *edits: tuple[str, str]) -> Policy:
    """The hospital's policy with a pace."""
    return policy((BUDGET, f"{BUDGET}  pace: [{lines}]\n"), *edits)


def bought(ledger: Ledger, epsilon: float = 1.0, **use: str) -> datetime | None:
    """Buy a hold: None; or the first moment that the refusal names."""
    before = kinds(ledger), paid(ledger)
    try:
        ledger.reserve(recipe(epsilon), **{**USE, **use})
    except RequestDenied as denied:
        assert denied.rules == ("PS-PAC-001",) and denied.exit_code == 1
        assert denied.where == ledger.policy.where("privacy", "pace", 0)
        assert (kinds(ledger), paid(ledger)) == before, "a refusal leaves the log as it is"
        assert kinds(ledger, "attempts")[-1] == "denied", "and is noted beside it"
        return datetime.fromisoformat(denied.mend.split("from ")[1].split(" on;")[0])
    return None


def test_a_share_of_the_budget_in_a_window_and_then_more(tmp_path: Path, clock: Hands) -> None:
    ledger = opened(tmp_path, slow(), clock=clock)
    start, count = clock.now, 0
    while (first := bought(ledger, recipient=["university", "institute"][count % 2])) is None:
        count += 1
        clock.move(days=1)
    assert count > 1
    cap = make_filter("gdp", epsilon=6.0, delta=2e-8).cap  # type: ignore[union-attr]
    one = paid(ledger) / count
    assert paid(ledger) <= cap / 4 < paid(ledger) + one
    assert first == start + QUARTER
    clock.now = first - timedelta(microseconds=1)
    assert bought(ledger) == first
    clock.now = first
    assert bought(ledger) is None
    assert bought(ledger) == start + timedelta(days=1) + QUARTER, "one has left the window, one has come in"


@pytest.mark.parametrize("kind", [GDP, RENYI])
def test_no_window_ever_holds_more_than_the_share(tmp_path: Path, clock: Hands, kind: str) -> None:
    """Bought at random moments, at random prices: every window that ends at a purchase is within the share."""
    rng = random.Random(5)
    ledger = opened(tmp_path, slow("{over: population, per: month, share: 1/15}", (GDP, kind)), clock=clock)
    refused = 0
    for _ in range(40):
        clock.move(hours=rng.choice([1, 24, 100, 300]))
        try:
            first = bought(ledger, rng.choice([0.3, 0.7, 1.2]), recipient=rng.choice(["university", "institute"]))
        except BudgetExhausted:
            continue
        refused += first is not None
        assert first is None or first > clock.now
    sold = sorted(holds(ledger).values(), key=lambda hold: hold.entry)
    times = [datetime.fromisoformat(hold.reserved) for hold in sold]
    fresh = make_filter("gdp" if kind == GDP else "rdp", epsilon=6.0, delta=2e-8)
    for end in times:
        inside = fresh
        for hold, at in zip(sold, times, strict=True):
            if end - WINDOWS["month"] < at <= end:
                inside = inside.charge(decode(hold.event))
        assert inside.within(Fraction(1, 15))
    assert refused > 3 and len(sold) > 5


def test_each_recipient_has_its_own_window(tmp_path: Path, clock: Hands) -> None:
    ledger = opened(tmp_path, slow("{over: recipient, per: week, share: 1/4}"), clock=clock)
    while bought(ledger) is None:
        pass
    assert bought(ledger, recipient="institute") is None
    clock.move(days=7)
    assert bought(ledger) is None


def test_a_hold_that_is_more_than_the_share_never_passes(tmp_path: Path, clock: Hands) -> None:
    ledger = opened(tmp_path, slow("{over: population, per: day, share: 1/100}"), clock=clock)
    with pytest.raises(RequestDenied, match="PS-PAC-001") as caught:
        ledger.reserve(recipe(2.0), **USE)
    assert "smaller epsilon" in caught.value.mend
    assert kinds(ledger) == kinds(opened(tmp_path, slow("{over: population, per: day, share: 1/100}"), clock=clock))


def test_a_clock_set_forward_spends_sooner_and_never_more(tmp_path: Path, clock: Hands) -> None:
    """Whoever moves the clock opens every window at once, and meets the budget, which is for ever."""
    ledger = opened(tmp_path, slow("{over: population, per: year, share: 1/4}"), clock=clock)
    exhausted = False
    for n in range(400):
        try:
            if bought(ledger, recipient=["university", "institute"][n % 2]) is not None:
                clock.move(days=400)
        except BudgetExhausted:
            exhausted = True
            break
        except RequestDenied as denied:
            assert denied.rules == ("PS-VAL-001",), "after the policy's last day nothing is sold at all"
            break
    by_hand = make_filter("gdp", epsilon=6.0, delta=2e-8)
    assert paid(ledger) <= by_hand.cap  # type: ignore[union-attr]
    clock.now = datetime.fromisoformat(list(holds(ledger).values())[-1].reserved) - timedelta(minutes=4)
    times = [hold.reserved for hold in holds(ledger).values()]
    assert times == sorted(times)
    assert exhausted


def test_a_clock_set_back_gives_no_room(tmp_path: Path, clock: Hands) -> None:
    """Within the minutes that are tolerated an entry still has the time of the last one."""
    ledger = opened(tmp_path, slow("{over: population, per: day, share: 1/20}"), clock=clock)
    while (first := bought(ledger, 0.5)) is None:
        pass
    clock.move(minutes=-4)
    assert bought(ledger, 0.5) == first
    clock.move(minutes=4, days=1)
    assert bought(ledger, 0.5) is None


def test_without_a_pace_the_log_is_not_read_back(tmp_path: Path, clock: Hands) -> None:
    ledger = opened(tmp_path, clock=clock)
    for _ in range(3):
        ledger.reserve(recipe(0.5), **USE)
    assert ledger.quote(recipe(0.5), **USE).paces == ()


def test_a_pace_can_be_added_to_a_ledger_and_counts_what_was_bought(tmp_path: Path, clock: Hands) -> None:
    ledger = opened(tmp_path, clock=clock)
    for _ in range(6):
        ledger.reserve(recipe(1.0), **USE)
        clock.move(days=1)
    later = opened(tmp_path, slow("{over: population, per: quarter, share: 1/20}"), clock=clock)
    assert bought(later, 0.3) is not None
    clock.move(days=200)
    assert bought(later, 0.3) is None


def test_a_quote_says_when(tmp_path: Path, clock: Hands) -> None:
    rules = slow("{over: population, per: quarter, share: 1/4}, {over: recipient, per: month, share: 1/2}")
    unopened = quote_unopened(recipe(1.0), rules, **USE, actor=ANALYST, clock=clock)
    ledger = opened(tmp_path, rules, clock=clock)
    quote = ledger.quote(recipe(1.0), **USE)
    assert quote == unopened and quote.admitted
    assert [(p.rule.over, p.name, p.holds, p.since) for p in quote.paces] == [
        ("population", "patients", 0, "now"), ("recipient", "university", 0, "now")]  # fmt: skip
    start = clock.now
    while bought(ledger) is None:
        pass
    quote = ledger.quote(recipe(1.0), **USE)
    assert not quote.admitted and quote.decision.allowed and all(line.admitted for line in quote.lines)
    late = [p for p in quote.paces if not p.admitted]
    assert {p.opens for p in late} <= {start + QUARTER, start + WINDOWS["month"]} and late
    assert mu_squared(quote.prices.event) > 0
    again = ledger.reserve(recipe(1.0), **USE, request="r") if quote.admitted else None
    assert again is None


WEEK = "{over: population, per: week, share: 1/2}"


def of_years(folder: Path, clock: Hands, *, state: bool = True) -> Ledger:
    """A ledger with forty holds, one a day, under a pace of a week; its state is of all of them, or of the first."""
    ledger = opened(folder, slow(WEEK), clock=clock)
    for _ in range(40):
        ledger.reserve(recipe(0.01), **USE)
        clock.move(days=1)
    if state:
        with ledger.writing() as session:
            session.close(renew=True)
    return ledger


@pytest.mark.parametrize("kind", [GDP, RENYI])
def test_the_log_is_read_only_once_more_was_bought_than_the_share(
    tmp_path: Path, clock: Hands, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    read: list[int] = []
    genuine = module._sold_since

    def noted(*args: Any, **named: Any) -> Any:
        read.append(1)
        return genuine(*args, **named)

    monkeypatch.setattr(module, "_sold_since", noted)
    ledger = opened(tmp_path, slow("{over: population, per: week, share: 1/4}", (GDP, kind)), clock=clock)
    while bought(ledger, recipient=["university", "institute"][len(holds(ledger)) % 2]) is None:
        assert read == []
    assert read == [1]
    clock.move(days=7)
    assert bought(ledger, recipient="institute") is None, "now the window decides"
    assert read == [1, 1]


def in_window(ledger: Ledger) -> int:
    return ledger.quote(recipe(0.01), **USE).paces[0].holds


@pytest.mark.parametrize("state", [True, False])
def test_only_the_window_is_read_and_all_of_it(tmp_path: Path, clock: Hands, state: bool) -> None:
    ledger = of_years(tmp_path, clock, state=state)
    assert in_window(ledger) == 6, "what was bought seven days ago to the microsecond has left the window"
    clock.move(microseconds=-1)
    assert in_window(ledger) == 7
    clock.move(days=400)
    assert in_window(ledger) == 0
    first = opened(tmp_path, slow(WEEK.replace("week", "year")), clock=clock, name="new.db")
    assert in_window(first) == 0
    first.reserve(recipe(0.01), **USE)
    assert in_window(first) == 1


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of such a ledger."""
    folder = tmp_path_factory.mktemp("whole")
    of_years(folder, Hands())
    return folder


@pytest.mark.parametrize("place", [1, 3, 20, 36, 37, 38, 41, 42])
@pytest.mark.parametrize("harm", ["price", "time", "chained", "cut"])
def test_an_altered_row_of_the_window_is_found(
    tmp_path: Path, whole: Path, clock: Hands, place: int, harm: str
) -> None:
    """Or it is of another day, and the answer is the same: also where halving is led astray by rows of its own."""
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    clock.move(days=40)
    ledger = opened(tmp_path, slow(WEEK), clock=clock)
    honest = in_window(ledger)
    rows = lines(tmp_path)
    assert len(rows) == 43
    said = json.loads(rows[place][1])
    if harm == "time":
        said["time"] = ["2020-01-01T00:00:00.000000+00:00", "2027-12-31T00:00:00.000000+00:00"][place % 2]
    elif said["kind"] == "reserve":
        said["body"]["event"]["events"][0]["noise multiplier"] *= 100
    leaf = canonical(said)
    changes: list[tuple[str, tuple[Any, ...]]] = []
    if harm == "cut":
        changes.append(("DELETE FROM entries WHERE seq = ?", (place,)))
    else:
        changes.append(("UPDATE entries SET leaf = ?, hash = ? WHERE seq = ?", (leaf, leaf_hash(leaf), place)))
    for at in range(place + 1, len(rows)) if harm == "chained" else ():  # every later one names the hash before it
        changes.append(("UPDATE entries SET leaf = ?, hash = ? WHERE seq = ?", (leaf := canonical(
            {**json.loads(rows[at][1]), "prev": leaf_hash(leaf)}), leaf_hash(leaf), at)))  # fmt: skip
    tamper(tmp_path, *changes)
    try:
        found = in_window(ledger)
    except LedgerError:
        return
    assert found == honest
    assert place < 37, "the window begins there"


def test_the_same_request_is_not_asked_twice(tmp_path: Path, clock: Hands) -> None:
    ledger = opened(tmp_path, slow("{over: population, per: quarter, share: 1/20}"), clock=clock)
    first = ledger.reserve(recipe(1.0), **USE, request="r")
    assert bought(ledger) is not None
    assert ledger.reserve(recipe(1.0), **USE, request="r").id == first.id
