"""The same ledger in a file or on a server, and the contests that both must win; see test_stores.

``python -m tests.ledger.anywhere CONTEST URL KEY [FAULT]`` runs one contest and prints what came of it. A fault is
planted in the store first: the tests show that each is found.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

import numpy as np
import pytest

from privsynth.data.records import CoinKey
from privsynth.errors import HoldError, PrivsynthError
from privsynth.ledger import assigned, coins, postgres, postgres_tables, seal, sqlite
from privsynth.ledger.balance import Batch
from privsynth.ledger.entry import Clock, Entry
from privsynth.ledger.layout import LAYOUT
from privsynth.ledger.ledger import Ledger
from privsynth.ledger.log import Session
from privsynth.ledger.store import Wish, open_ledger
from privsynth.policy.document import Policy
from tests.ledger.world import ANALYST, USE, Hands, fit, policy, recipe, second_source

ROOT = Path(__file__).parents[2]
PROCESSES = 4
MEET_SECONDS = {False: 2.0, True: 60.0}
"""How long a writer waits for the others before it appends: they come only where a fault is planted."""
PLANTED = pytest.MonkeyPatch()


def opened_at(url: str, key: Path | str, rules: Policy | None = None, *, clock: Clock | None = None) -> Ledger:
    """The ledger at ``url`` with its key at ``key``."""
    return open_ledger(url, rules or policy(), actor=ANALYST, clock=clock or Hands(), key=key)


def contest(name: str, url: str, key: Path, fault: str = "none") -> list[str]:
    """The lines that a contest printed, in a fresh interpreter."""
    command = [sys.executable, "-m", "tests.ledger.anywhere", name, url, str(key), fault]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


# --- deaths while a ledger is made or brought up -------------------------------------------------

POINTS = {
    "draft": (seal, "new_key"),
    "mark": (seal, "write_new"),
    "key": (seal.Seal, "_place"),
    "ledger": (seal.Seal, "settled"),
}
"""Name -> what has just been done when a process is killed there."""


def killed_at(point: str, what: Callable[[], object]) -> None:
    """Do ``what`` in a child that is killed (SIGKILL) once it has done what ``point`` names."""
    child = os.fork()
    if child == 0:
        try:
            where, name = POINTS[point]
            genuine = getattr(where, name)

            def dies(*given: object, **named: object) -> None:
                if name != "settled":
                    genuine(*given, **named)
                os.kill(os.getpid(), signal.SIGKILL)

            setattr(where, name, dies)
            what()
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL


# --- the contests ----------------------------------------------------------------------------------


def in_children(what: Callable[[], str], *, count: int = PROCESSES) -> list[str]:
    """What ``what`` answers in each of several processes that run at once, or the name of the error."""
    inlet, outlet = os.pipe()
    children = []
    for _ in range(count):
        child = os.fork()
        if child:
            children.append(child)
            continue
        try:
            answer = what()
        except PrivsynthError as fault:
            answer = type(fault).__name__
        os.write(outlet, f"{answer}\n".encode())
        os._exit(0)
    os.close(outlet)
    with os.fdopen(inlet) as lines:
        answers = lines.read().splitlines()
    for child in children:
        os.waitpid(child, 0)
    return answers


def last_one(url: str, key: str) -> list[str]:
    """All want the one hold that the budget pays for; none appends before all have looked, if the store lets them."""
    ledger, meeting = opened_at(url, key), Path(key).with_name("meeting")
    meeting.mkdir()
    for transaction in (sqlite.SqliteTransaction, postgres.PostgresTransaction):
        genuine = transaction.add

        def add(self: object, entry: Entry, genuine: Callable[..., None] = genuine) -> None:
            if entry.kind == "reserve":
                (meeting / str(os.getpid())).touch()
                ends = monotonic() + MEET_SECONDS[sys.argv[-1] != "none"]
                while len(list(meeting.iterdir())) < PROCESSES and monotonic() < ends:
                    sleep(0.02)
            genuine(self, entry)

        PLANTED.setattr(transaction, "add", add)
    return in_children(lambda: ledger.reserve(recipe(2.5), **USE).id)


def same_request(url: str, key: str) -> list[str]:
    """All ask under one request id."""
    ledger = opened_at(url, key)
    return in_children(lambda: ledger.reserve(recipe(0.1), **USE, request="monday").id)


def all_of_it(url: str, key: str) -> list[str]:
    """All make the ledger at once, and then buy until nothing is left."""
    opened_at(f"sqlite:///{Path(key).with_name('warm.db')}", f"{key}.warm").quote(recipe(0.7), **USE)

    def buy() -> str:
        ledger = opened_at(url, key)
        sold = [ledger.id]
        try:
            while True:
                sold.append(ledger.reserve(recipe(0.7), **USE).id)
        except PrivsynthError as fault:
            return " ".join([type(fault).__name__, *sold])

    return in_children(buy)


def two_sides(url: str, key: str) -> list[str]:
    """A process forks with a hold in its hands, and both sides fit."""
    hold = opened_at(url, key).reserve(recipe(0.5), **USE)

    def side() -> str:
        try:
            return fit(hold, str(os.getpid()).encode()).id
        except HoldError:
            return "too late"

    return in_children(side, count=2)


def killed(url: str, key: str) -> list[str]:
    """One after the other buys and fits until it is killed; the holds whose transcripts were acknowledged."""
    opened_at(url, key).quote(recipe(0.001), **USE)
    acknowledged = []
    for after in (1, 3, 6, 10):
        inlet, outlet = os.pipe()
        child = os.fork()
        if child == 0:
            ledger = opened_at(url, key)
            while True:
                hold = fit(ledger.reserve(recipe(0.001), **USE), b"x" * 20000)
                os.write(outlet, f"{hold.id}\n".encode())
        os.close(outlet)
        with os.fdopen(inlet) as lines:
            acknowledged += [lines.readline() for _ in range(after)]
            os.kill(child, signal.SIGKILL)
            acknowledged += lines.readlines()
        os.waitpid(child, 0)
        opened_at(url, key).verify()
    return [line.strip() for line in acknowledged]


def three(names: str, epsilon: float) -> list[Wish]:
    """A plan of three holds, a request id for each letter."""
    return [Wish(recipe(epsilon), **USE, request=name) for name in names.split()]


def plans(url: str, key: str) -> list[str]:
    """All ask for the very same plan; then each wants one of its own, and the budget pays for one. Before that, one
    after the other buys small plans until it is killed. What each was answered, and what was acknowledged."""
    ledger = opened_at(url, key)

    def buy(names: str, epsilon: float) -> str:
        return " ".join(hold.request for hold in ledger.reserve_all(three(names, epsilon)))

    ledger.quote(recipe(0.001), **USE)
    acknowledged = []
    for victim, after in enumerate((1, 3)):
        inlet, outlet = os.pipe()
        child = os.fork()
        if child == 0:
            for count in range(1000):
                names = " ".join(f"{victim}.{count}{letter}" for letter in "abc")
                os.write(outlet, f"{buy(names, 0.001)}\n".encode())
        os.close(outlet)
        with os.fdopen(inlet) as lines:
            acknowledged += [lines.readline() for _ in range(after)]
            os.kill(child, signal.SIGKILL)
            acknowledged += lines.readlines()
        os.waitpid(child, 0)
    same = in_children(lambda: " ".join(hold.id for hold in ledger.reserve_all(three("a b c", 0.2))))
    own = in_children(lambda: buy(" ".join(f"{os.getpid()}{letter}" for letter in "abc"), 1.6))
    told = {"acknowledged": acknowledged, "same": same, "own": own}
    return [f"{what} {line.strip()}" for what, lines in told.items() for line in lines]


def both_sides(url: str, key: str) -> list[str]:
    """Two populations that are kept apart meet the same forty people at once, from both ends: whom each ever kept."""
    rules = policy(
        ("  noise: os-secure-only", "  new data: {population: disjoint-subjects-only}\n  noise: os-secure-only"),
        second_source("staff", "staff"),
    )
    ledger, names = opened_at(url, key, rules), [f"p{number}" for number in range(40)]
    meeting = Path(key).with_name("meeting")
    meeting.mkdir()

    def kept(source: str, rows: list[str]) -> set[str]:
        _, own = ledger.assign(source, np.array(rows, dtype=object))
        assert own is not None
        return {name for name, hers in zip(rows, own, strict=True) if hers}

    def meet() -> str:
        place = next(n for n in range(PROCESSES) if _first(meeting / f"{n}"))
        while len(list(meeting.iterdir())) < PROCESSES:
            sleep(0.001)
        source, rows = ("ehr/encounters", names) if place % 2 else ("ehr/staff", names[::-1])
        ever: set[str] = set()
        for end in (25, 30, 35, 40, 40):
            ever |= kept(source, rows[:end])
        return f"{source} {','.join(sorted(ever)) or '-'}"

    return in_children(meet)


def _first(path: Path) -> bool:
    """Whether this process is the one that makes the folder."""
    with suppress(FileExistsError):
        path.mkdir()
        return True
    return False


CONTESTS = {run.__name__: run for run in (last_one, same_request, all_of_it, two_sides, killed, plans, both_sides)}


# --- what may be wrong with a store ----------------------------------------------------------------


def no_row_lock() -> None:
    """A writer that does not wait for the one before it, at READ COMMITTED."""
    PLANTED.setattr(postgres.PostgresStore, "_alone", lambda self, connection: None)


def no_row_lock_and_no_places() -> None:
    """The same, where two entries may stand in one place."""
    no_row_lock()
    loose = [statement.replace(", PRIMARY KEY (seq)", "") for statement in postgres_tables.STATEMENTS]
    PLANTED.setattr(postgres, "STATEMENTS", loose)
    PLANTED.setattr(postgres, "must_be_ours", lambda connection, where: LAYOUT)


def late_lock() -> None:
    """A writer of the file that locks only when it writes."""
    genuine = sqlite._transaction
    PLANTED.setattr(sqlite, "_transaction", lambda connection, begin: genuine(connection, "BEGIN"))


def stale_look() -> None:
    """Who is new is taken as it was seen before the writer had the ledger to itself, when all had looked."""
    meeting, batches, coins_of = Path(sys.argv[3]).with_name("looks"), assigned.batches, coins.coins_of
    seen: list[tuple[Batch, list[bytes]]] = []
    meeting.mkdir()

    def looks(session: Session, policy: Policy, source: str) -> CoinKey:
        seen[:] = [(batch, list(held)) for batch, held in batches(session)]
        (meeting / str(os.getpid())).touch()
        while len(list(meeting.iterdir())) < PROCESSES:
            sleep(0.001)
        return coins_of(session, policy, source)

    PLANTED.setattr(coins, "coins_of", looks)
    PLANTED.setattr(assigned, "batches", lambda session: iter(seen))


FAULTS: dict[str, Callable[[], None]] = {
    "none": lambda: None,
    **{plant.__name__: plant for plant in (no_row_lock, no_row_lock_and_no_places, late_lock, stale_look)},
}


if __name__ == "__main__":
    _, asked, at, file, planted = sys.argv
    FAULTS[planted]()
    sys.stdout.write("\n".join(CONTESTS[asked](at, file)))
