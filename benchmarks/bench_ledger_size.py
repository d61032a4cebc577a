"""How long a ledger of a million entries takes to open, and to sell from.

    python -m benchmarks.bench_ledger_size --entries 1000000 --folder /tmp/big

The entries are written in bulk, as one process would have written them one by one: the same leaves, index,
kept hashes, state and head. Of every three holds one is left as it was sold, one was opened, one was fitted: half
of the entries sell a hold. The last ``--window`` sales are of today, the others of a month ago, so a pace of a week
has that many to add up, once where all of them fit and once where half of them must first leave the window.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from privsynth.documents import sha256
from privsynth.errors import RequestDenied
from privsynth.ledger.entry import Entry, follow
from privsynth.ledger.ledger import Ledger
from privsynth.ledger.store import open_ledger
from privsynth.policy.document import Policy, parse_policy
from privsynth.privacy.accountant import Prices
from privsynth.privacy.budget import Budget
from privsynth.privacy.filters import GdpFilter

CHUNK = 20_000
TRANSCRIPT = b"noisy counts"
ACTOR = "a.kim@hospital.example"
USE: dict[str, Any] = {"purpose": "research", "recipient": "university"}
POLICY = """
privsynth-policy: 1
id: benchmark/ledger
version: "1"
owner: privacy@hospital.example
valid: {from: 2020-01-01, until: 2099-12-31}
sources:
  ehr/encounters:
    population: patients
    holdout: 0.2
    subjects: 41250
    unit: patient
    neighbours: add-or-remove
    contribution: {max rows per subject: 1}
purposes:
  research: {legal basis: ["Art6(1)(a)"]}
recipients:
  university: {purposes: [research]}
consent: {default: deny, by: not-required, because: made up for a benchmark}
privacy:
  filter: {kind: gdp}
  budget:
    - {over: population, epsilon: 50.0, delta: 2e-8}
    - {over: recipient, epsilon: 50.0, delta: 2e-8}
  per release: {max epsilon: 3.0, max delta: 1e-8, delta below: "1/(1000*subjects)"}
  noise: os-secure-only
data: {min rows: 1000}
gate:
  max attempts: 2
  budget: {share: 0.15}
  schema constraints: true
roles:
  requesters of holds: [analysts]
  readers of internal reports: [quality]
people:
  a.kim@hospital.example: {roles: [analysts]}
  q.lee@hospital.example: {roles: [quality]}
"""


class Small:
    """A recipe that costs next to nothing, so that a million fit."""

    budget = Budget(0.0015, 1e-15)
    source, unit, contribution, kind = "ehr/encounters", "patient", 1, "marginals"
    selects = trains = False

    def describe(self) -> dict[str, Any]:
        """Its public fields."""
        return {"kind": self.kind}

    def check_sampler(self, prices: Prices, *, rows: float, cap_epsilon: float) -> None:
        """Any price will do."""


def rules(share: Fraction | None = None) -> Policy:
    """The policy of the benchmark; with a pace of a week, of at most ``share`` of the budget over the population."""
    pace = f"  pace: [{{over: population, per: week, share: {float(share):.10f}}}]\n" if share else ""
    return parse_policy(POLICY.replace("  per release:", pace + "  per release:").encode(), path="policy.yaml")


def opened(folder: Path, policy: Policy, *, ago: timedelta = timedelta()) -> Ledger:
    """The ledger of the benchmark, as of ``ago`` before now."""
    return open_ledger(
        f"sqlite:///{folder / 'l.db'}",
        policy,
        actor=ACTOR,
        clock=lambda: datetime.now(UTC).replace(microsecond=0) - ago,
    )


def fill(ledger: Ledger, entries: int, window: int) -> None:
    """Append copies of a first hold and of its steps until there are ``entries``, twenty thousand at a time."""
    hold = ledger.reserve(Small(), **USE)
    with ledger.reading() as session:
        written = lives(session.entry(session.edges["main"].seq), entries, window)
    while chunk := list(islice(written, CHUNK)):
        with ledger.writing() as session:
            for entry in chunk:
                session.tx.add(entry)
                if entry.kind == "measured":
                    session.tx.put("transcripts", entry.body["hold"], TRANSCRIPT)
                session._take([entry])
                session._enrol(entry)
            session.close(renew=True)
    assert ledger.hold(hold.id) == hold


def lives(first: Entry, entries: int, window: int) -> Iterator[Entry]:
    """Holds that were sold, each at its own price; of every three one is left as it is, one opened, one fitted."""
    before, number = first, 0
    then, today = datetime.fromisoformat(first.time), datetime.now(UTC)
    steps: list[tuple[str, dict[str, Any]]] = []
    while before.seq + 1 < entries:
        if steps:
            kind, told = steps.pop(0)
        else:
            number += 1
            id_ = f"{number:032x}"
            fit, gate = first.body["event"]["events"]
            fit = {**fit, "noise multiplier": fit["noise multiplier"] + number / entries}
            event = {**first.body["event"], "events": [fit, gate]}
            kind, told = (
                "reserve",
                {**first.body, "hold": id_, "request": id_, "first of population": False, "event": event},
            )
            of = {"hold": id_, "entry": before.seq + 1}
            later = [("fit", of), ("measured", {**of, "sha256": sha256(TRANSCRIPT), "bytes": len(TRANSCRIPT)})]
            steps = later[: number % 3]
        now = today if entries - before.seq <= 2 * window else then
        before = follow(before, kind, told, log="main", actor=ACTOR, now=now)
        yield before


@contextmanager
def timed(name: str, told: dict[str, list[float]]) -> Iterator[None]:
    """Note the seconds that the block takes."""
    begun = time.perf_counter()
    yield
    told.setdefault(name, []).append(time.perf_counter() - begun)


def measure(folder: Path, policy: Policy, rounds: int) -> dict[str, list[float]]:
    """Seconds of each operation, by name."""
    told: dict[str, list[float]] = {}
    for n in range(rounds):
        with timed("open", told):
            ledger = opened(folder, policy)
        with timed("reserve", told):
            hold = ledger.reserve(Small(), **USE, request=f"round {time.time()} {n}")
        with timed("open a fit", told):
            hold.open_fit(recipe=hold.recipe, source=hold.source, purpose=hold.purpose, recipient=hold.recipient)
        with timed("find an old hold", told):
            ledger.hold(f"{1 + n * 7:032x}")
        with timed("balances", told):
            ledger.balances()
    return told


def measure_pace(folder: Path, rounds: int) -> dict[str, list[float]]:
    """Seconds of an answer under a pace that all sales of the window pass, and under one that half of them do."""
    told: dict[str, list[float]] = {}
    ledger = opened(folder, rules(Fraction(99, 100)))
    line, held = ledger.balances()[0], ledger.quote(Small(), **USE).paces[0].holds
    assert isinstance(line.filter, GdpFilter)
    print(f"sales in the window: {held:,} of {line.holds:,}")
    each = line.filter.spent / line.filter.cap / line.holds
    for share, answer in ((each * held * 3 / 2, "pace, admitted"), (each * held / 2, "pace, refused")):
        for _ in range(rounds):
            ledger = opened(folder, rules(share))
            said = "pace, admitted"
            with timed(answer, told):
                try:
                    ledger.reserve(Small(), **USE)
                except RequestDenied:
                    said = "pace, refused"
            assert said == answer
    return told


def main() -> None:
    """Build, or use what is there, and print medians and the worst."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--window", type=int, default=10_000, help="sales within the pace's window")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--folder", type=Path, help="where to keep the ledger; default: a folder that is removed")
    parser.add_argument("--verify", action="store_true", help="also read everything")
    args = parser.parse_args()
    folder = args.folder or Path(tempfile.mkdtemp())
    try:
        folder.mkdir(exist_ok=True)
        policy = rules()
        if not (folder / "l.db").exists():
            begun = time.perf_counter()
            fill(opened(folder, policy, ago=timedelta(days=30)), args.entries, args.window)
            print(f"built in {time.perf_counter() - begun:.0f} s, {(folder / 'l.db').stat().st_size / 1e6:,.0f} MB")
        for name, seconds in (measure(folder, policy, args.rounds) | measure_pace(folder, args.rounds)).items():
            print(f"{name:17} median {median(seconds):.3f} s, first {seconds[0]:.3f} s, worst {max(seconds):.3f} s")
        if args.verify:
            begun = time.perf_counter()
            checked = opened(folder, policy).verify()
            print(f"verify: {checked.entries:,} entries in {time.perf_counter() - begun:.0f} s")
    finally:
        if args.folder is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
