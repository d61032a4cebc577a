"""What a ledger keeps when many processes buy at once and are killed at random: reservations under contention.

Each process asks for its share of the requests, one after the other, on one budget that pays for all but the last
few; now and then it opens the fit of a hold that was just sold, to it or to another. What the ledger answered it
writes to a file of its own and flushes that, *after* the call has returned. The parent kills processes with SIGKILL at
random moments and starts them again, and a process that starts again asks for its first unanswered request once more.
In the end the ledger is read back whole and compared with what was acknowledged, and the budget is added up again
without the ledger's own fold.

    python -m benchmarks.ledger [--systems sqlite postgres] [--reservations 10000] [--processes 8] [--keep]

PostgreSQL is a server of its own on loopback (``tests/postgres_server.py``) with its settings as installed, so that a
commit is flushed.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from time import perf_counter, sleep

from benchmarks.records import Record, keep
from privsynth.errors import BudgetExhausted, HoldError
from privsynth.ledger.entry import Entry
from privsynth.ledger.ledger import Ledger
from privsynth.ledger.store import open_ledger
from privsynth.privacy.accountant import mu_squared, share_out
from privsynth.privacy.budget import Budget
from privsynth.privacy.events import decode
from privsynth.privacy.filters import GdpFilter
from tests.ledger.world import ANALYST, USE, Recipe, policy
from tests.postgres_server import postgres_server

DELTA = 1e-12
UNPAID = 0.02
"""The share of the requests, at least, that the budget does not pay for."""
FITS = 0.25
"""How often a process opens a fit after a sale."""
RECENT = 8
"""Of how many of the newest holds it chooses one."""
UNITS = {"reservations": "holds", "overspent": "holds", "lost": "entries", "used_twice": "holds", "per_second": "1/s"}


@dataclass(frozen=True)
class Contest:
    """How many ask for how much, and how often one is killed.

    Attributes:
        reservations: requests in all.
        processes: that ask at the same time.
        every: seconds between two kills, on average.
        seed: of the kills and of the choice of fits.
    """

    reservations: int = 10_000
    processes: int = 8
    every: float = 0.5
    seed: int = 1


@dataclass(frozen=True)
class Answers:
    """What was acknowledged, in all files together.

    Attributes:
        sold: (request, hold), once for each acknowledgement.
        refused: requests for which the budget was exhausted.
        fitted: holds whose fit was opened, once for each acknowledgement.
    """

    sold: tuple[tuple[str, str], ...]
    refused: tuple[str, ...]
    fitted: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """What the ledger holds in the end.

    Attributes:
        reservations: holds sold.
        overspent: holds sold beyond what the cap pays for.
        lost: acknowledged sales and fits without an entry that says the same.
        used_twice: holds with more than one fit, by entries or by acknowledgements.
        per_second: requests answered, over the time from the first to the last.
    """

    reservations: int
    overspent: int
    lost: int
    used_twice: int
    per_second: float


# --- the offer -----------------------------------------------------------------------------------


def fresh() -> GdpFilter:
    """The tightest budget line of the policy, with nothing spent."""
    line = min(policy().privacy.budget, key=lambda line: line.epsilon)
    return GdpFilter(line.epsilon, line.delta, line.delta / 100)


def pays_for(epsilon: float) -> int:
    """How many holds at this price that line pays for, from the exact cost of one."""
    prices, line = share_out(Budget(epsilon, DELTA), gate_share=policy().gate.budget.share), fresh()
    one = line.charge(prices.event, delta=prices.delta_own)
    by_delta = [int(Fraction(line.delta_a) // one.spent_delta)] if one.spent_delta else []
    return min(int(line.cap // one.spent), *by_delta, sys.maxsize)


def price_for(reservations: int) -> float:
    """An epsilon at which the budget pays for a little less than that many holds."""
    low, high = 1e-3, 3.0
    for _ in range(40):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if pays_for(middle) <= (1 - UNPAID) * reservations else (middle, high)
    return high


# --- one process ---------------------------------------------------------------------------------


def work(opens: Callable[[], Ledger], epsilon: float, requests: Sequence[str], answers: Path, recent: Path) -> None:
    """Ask for every request that has no answer yet, in order; fit now and then; write down each answer.

    Args:
        opens: the ledger.
        answers: this process's own file; what stands there was answered in an earlier life.
        recent: the file of newest holds that all share.
    """
    ledger, recipe = opens(), Recipe(Budget(epsilon, DELTA))
    done = {line[1] for line in read(answers) if line[0] in ("sold", "refused")}
    draw = random.Random(os.getpid())
    with answers.open("ab", buffering=0) as own, recent.open("ab", buffering=0) as shared:

        def acknowledge(*words: str) -> None:
            own.write(" ".join(words).encode() + b"\n")
            os.fsync(own.fileno())

        for request in requests:
            if request in done:
                continue
            try:
                hold = ledger.reserve(recipe, **USE, request=request)
            except BudgetExhausted:
                acknowledge("refused", request)
                continue
            acknowledge("sold", request, hold.id)
            shared.write(f"{hold.id}\n".encode())
            if draw.random() < FITS:
                chosen = ledger.hold(draw.choice(read(recent)[-RECENT:])[0])
                with suppress(HoldError):  # another process was first
                    chosen.open_fit(
                        recipe=chosen.recipe, source=chosen.source, purpose=chosen.purpose, recipient=chosen.recipient
                    )
                    acknowledge("fit", chosen.id)


def read(path: Path) -> list[list[str]]:
    """The whole lines of a file of answers, as words; none where there is no file."""
    whole = path.read_text().rpartition("\n")[0] if path.exists() else ""
    return [line.split() for line in whole.splitlines()]


# --- all of them ---------------------------------------------------------------------------------


def contend(contest: Contest, opens: Callable[[], Ledger], epsilon: float, folder: Path) -> tuple[float, int]:
    """Let the processes ask, kill and restart them until all is answered: seconds, and how many were killed.

    Raises:
        RuntimeError: a process ended by itself before it was done.
    """
    opens().quote(Recipe(Budget(epsilon, DELTA)), **USE)  # what is imported here, no process need import
    requests, draw, kills = requests_of(contest), random.Random(contest.seed), 0

    def start(number: int) -> int:
        if child := os.fork():
            return child
        code = 1
        try:
            own = requests[number :: contest.processes]
            work(opens, epsilon, own, folder / f"answers-{number}", folder / "recent")
            code = 0
        finally:
            if code:
                traceback.print_exc()
            os._exit(code)

    began = perf_counter()
    running = {start(number): number for number in range(contest.processes)}
    try:
        while running:
            sleep(draw.uniform(0, 2 * contest.every))
            victim = draw.choice(sorted(running))
            os.kill(victim, signal.SIGKILL)
            for child in list(running):
                match ended(child, wait=child == victim):
                    case 0:
                        del running[child]
                    case -9:
                        number, kills = running.pop(child), kills + 1
                        running[start(number)] = number
                    case int(code):
                        del running[child]
                        raise RuntimeError(f"a process ended with {code}")
    finally:
        for child in running:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    return perf_counter() - began, kills


def ended(child: int, *, wait: bool) -> int | None:
    """The exit code of a child process, minus the signal that killed it; None while it runs."""
    found, status = os.waitpid(child, 0 if wait else os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def requests_of(contest: Contest) -> list[str]:
    """Every request id."""
    return [f"request-{number:06}" for number in range(contest.reservations)]


def answers_in(folder: Path) -> Answers:
    """What all processes acknowledged."""
    lines = [line for path in sorted(folder.glob("answers-*")) for line in read(path)]
    return Answers(
        sold=tuple((line[1], line[2]) for line in lines if line[0] == "sold"),
        refused=tuple(line[1] for line in lines if line[0] == "refused"),
        fitted=tuple(line[1] for line in lines if line[0] == "fit"),
    )


# --- the verdict ---------------------------------------------------------------------------------


def judge(main: Iterable[Entry], answers: Answers, *, seconds: float) -> Verdict:
    """Compare the main log with what was acknowledged, and add the budget up."""
    line, spent, delta, overspent = fresh(), Fraction(0), Fraction(0), 0
    sold: set[tuple[str, str]] = set()
    fits: Counter[str] = Counter()
    for entry in main:
        body = entry.body
        if entry.kind == "fit":
            fits[str(body["hold"])] += 1
        elif entry.kind == "reserve":
            sold.add((str(body["request"]), str(body["hold"])))
            spent += mu_squared(decode(body["event"]))
            delta += sum(Fraction(body[name]) for name in ("delta noise", "delta open", "delta steps"))
            overspent += spent > line.cap or delta > line.delta_a
    acknowledged = Counter(answers.fitted)
    return Verdict(
        reservations=len(sold),
        overspent=overspent,
        lost=len(set(answers.sold) - sold) + len(acknowledged.keys() - fits.keys()),
        used_twice=len({hold for told in (fits, acknowledged) for hold, times in told.items() if times > 1}),
        per_second=(len(answers.sold) + len(answers.refused)) / seconds,
    )


def faults(contest: Contest, verdict: Verdict, answers: Answers, *, expected: int) -> list[str]:
    """What is wrong, in words; nothing where the ledger did what it promises."""
    holds = dict(answers.sold)
    asked, said = set(requests_of(contest)), {*holds, *answers.refused}
    told = {
        "overspent": verdict.overspent,
        "acknowledged and lost": verdict.lost,
        "used twice": verdict.used_twice,
        "requests without an answer": len(asked - said),
        "requests with two answers": len(answers.sold) + len(answers.refused) - len(said),
        "holds that two requests share": len(holds) - len(set(holds.values())),
        "holds beside those that the budget pays for": abs(verdict.reservations - min(expected, contest.reservations)),
    }
    return [f"{count} {what}" for what, count in told.items() if count]


# --- the systems ---------------------------------------------------------------------------------


@contextmanager
def sqlite(folder: Path) -> Iterator[str]:
    """The address of a ledger in a file."""
    yield f"sqlite:///{folder / 'ledger.db'}"


@contextmanager
def postgres(_: Path) -> Iterator[str]:
    """The address of a ledger on a server that lives as long as the block."""
    with postgres_server() as server:
        yield server.url(server.new_database())


SYSTEMS: dict[str, Callable[[Path], AbstractContextManager[str]]] = {"sqlite": sqlite, "postgres": postgres}


def run(system: str, contest: Contest) -> tuple[Verdict, list[str], int]:
    """One contest on a new ledger: what came of it, what is wrong with it, and how many processes were killed."""
    with tempfile.TemporaryDirectory() as name, SYSTEMS[system](Path(name)) as url:
        folder, rules = Path(name), policy()

        def opens() -> Ledger:
            return open_ledger(url, rules, actor=ANALYST, key=folder / "ledger.key")

        epsilon = price_for(contest.reservations)
        seconds, kills = contend(contest, opens, epsilon, folder)
        ledger, answers = opens(), answers_in(folder)
        ledger.verify()
        with ledger.reading() as session:
            verdict = judge(session.main, answers, seconds=seconds)
        return verdict, faults(contest, verdict, answers, expected=pays_for(epsilon)), kills


def main() -> int:
    """Print, and with ``--keep`` record, what came of each system; 1 where one is at fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--reservations", type=int, default=Contest.reservations)
    parser.add_argument("--processes", type=int, default=Contest.processes)
    parser.add_argument("--every", type=float, default=Contest.every, help="seconds between two kills, on average")
    parser.add_argument("--seed", type=int, default=Contest.seed)
    parser.add_argument("--keep", action="store_true")
    given = parser.parse_args()
    contest, wrong = Contest(given.reservations, given.processes, given.every, given.seed), 0
    for system in given.systems:
        verdict, found, kills = run(system, contest)
        print(f"{system}: {contest.processes} processes, {kills} kills")
        for metric, value in asdict(verdict).items():
            print(f"  {metric:<13}{value:>10g}")
        for fault in found:
            print(f"  WRONG: {fault}")
        wrong += len(found)
        if given.keep:
            keep("ledger", records_of(system, contest, verdict))
    return int(wrong > 0)


def records_of(system: str, contest: Contest, verdict: Verdict) -> list[Record]:
    """The figures of one contest."""
    return [
        Record(
            benchmark="ledger",
            data=f"{contest.processes} processes, kill -9 every {contest.every:g} s",
            system=system,
            epsilon=None,
            delta=None,
            seed=contest.seed,
            n=contest.reservations,
            metric=metric,
            value=value,
            unit=UNITS[metric],
        )
        for metric, value in asdict(verdict).items()
    ]


if __name__ == "__main__":
    sys.exit(main())
