"""The contest of the benchmark in short, on both stores; and its judge finds what it is there to find."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.ledger import (
    UNITS,
    Answers,
    Contest,
    Verdict,
    faults,
    judge,
    pays_for,
    price_for,
    records_of,
    requests_of,
)
from privsynth.ledger.entry import Entry, follow
from privsynth.privacy.accountant import share_out
from privsynth.privacy.budget import Budget
from privsynth.privacy.events import encode
from tests.ledger.world import ANALYST, NOON, policy

ROOT = Path(__file__).parents[2]
SHORT = Contest(reservations=200, processes=4, every=0.5)
SOME = Contest(reservations=10, processes=2)


@pytest.mark.slow
@pytest.mark.parametrize("system", ["sqlite", "postgres"])
def test_nothing_is_overspent_lost_or_used_twice(system: str, request: pytest.FixtureRequest) -> None:
    if system == "postgres":
        request.getfixturevalue("server")  # skips where there can be none
    command = [sys.executable, "-m", "benchmarks.ledger", "--systems", system]
    command += ["--reservations", str(SHORT.reservations), "--processes", str(SHORT.processes)]
    run = subprocess.run(
        [*command, "--every", str(SHORT.every)], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    told = dict(line.split() for line in run.stdout.splitlines() if line.startswith("  "))
    assert told.keys() == UNITS.keys()
    assert int(told["reservations"]) == pays_for(price_for(SHORT.reservations)) < SHORT.reservations
    assert [told[metric] for metric in ("overspent", "lost", "used_twice")] == ["0", "0", "0"]


def test_the_budget_pays_for_all_but_the_last_few() -> None:
    for reservations in (10, 200, 10_000):
        sells = pays_for(price_for(reservations))
        assert 0.9 * reservations <= sells < reservations


# --- the judge -------------------------------------------------------------------------------------


def log(*, holds: int, fits: tuple[int, ...] = (0,)) -> list[Entry]:
    """A main log that sold so many holds at the contest's price, with fits of the holds of these numbers."""
    prices = share_out(Budget(price_for(SOME.reservations), 1e-12), gate_share=policy().gate.budget.share)
    body = {"event": encode(prices.event), "delta noise": prices.delta_noise, "delta open": 0.0, "delta steps": 0.0}
    bodies = [("reserve", {**body, "hold": f"h{n}", "request": name}) for n, name in enumerate(requests_of(SOME))]
    fitted: list[tuple[str, dict[str, Any]]] = [("fit", {"hold": f"h{number}"}) for number in fits]
    entries: list[Entry] = []
    for kind, words in [*bodies[:holds], *fitted]:
        last = entries[-1] if entries else None
        entries.append(follow(last, kind, words, log="main", actor=ANALYST, now=NOON))
    return entries


def answers(holds: int) -> Answers:
    """What the processes of a good contest were told."""
    names = requests_of(SOME)
    sold = tuple((name, f"h{number}") for number, name in enumerate(names[:holds]))
    return Answers(sold=sold, refused=tuple(names[holds:]), fitted=("h0",))


def judged(main: list[Entry], told: Answers) -> tuple[Verdict, list[str]]:
    """Verdict, and what is wrong."""
    verdict = judge(main, told, seconds=2.0)
    return verdict, faults(SOME, verdict, told, expected=pays_for(price_for(SOME.reservations)))


SELLS = pays_for(price_for(SOME.reservations))


def test_a_good_contest_has_no_fault() -> None:
    verdict, wrong = judged(log(holds=SELLS), answers(SELLS))
    assert wrong == []
    assert verdict == Verdict(reservations=SELLS, overspent=0, lost=0, used_twice=0, per_second=5.0)


def test_a_hold_too_many_is_found() -> None:
    verdict, wrong = judged(log(holds=SELLS + 1), answers(SELLS + 1))
    assert verdict.overspent == 1
    assert wrong == ["1 overspent", "1 holds beside those that the budget pays for"]


def test_a_lost_sale_and_a_lost_fit_are_found() -> None:
    assert judged([entry for entry in log(holds=SELLS) if entry.seq != 1], answers(SELLS))[0].lost == 1
    assert judged(log(holds=SELLS, fits=()), answers(SELLS))[0].lost == 1
    told = answers(SELLS)
    other = replace(told, sold=((told.sold[0][0], "another"), *told.sold[1:]))
    assert judged(log(holds=SELLS), other)[0].lost == 1


def test_a_hold_that_was_fitted_twice_is_found() -> None:
    assert judged(log(holds=SELLS, fits=(0, 0)), answers(SELLS))[0].used_twice == 1
    assert judged(log(holds=SELLS), replace(answers(SELLS), fitted=("h0", "h0")))[0].used_twice == 1


def test_wrong_answers_are_found() -> None:
    told, main = answers(SELLS), log(holds=SELLS)
    assert judged(main, replace(told, refused=told.refused[1:]))[1] == ["1 requests without an answer"]
    assert "1 requests with two answers" in judged(main, replace(told, refused=(*told.refused, told.sold[0][0])))[1]
    shared = replace(told, sold=(*told.sold[:-1], (told.sold[-1][0], "h0")))
    assert "1 holds that two requests share" in judged(main, shared)[1]
    assert judged(main[:1], replace(told, sold=told.sold[:1]))[1] != []


def test_each_figure_is_recorded_with_its_unit() -> None:
    verdict = Verdict(reservations=SELLS, overspent=0, lost=0, used_twice=0, per_second=5.0)
    told = {record.metric: (record.value, record.unit) for record in records_of("sqlite", SOME, verdict)}
    assert told == {
        "reservations": (SELLS, "holds"),
        "overspent": (0, "holds"),
        "lost": (0, "entries"),
        "used_twice": (0, "holds"),
        "per_second": (5.0, "1/s"),
    }
