"""A run that is killed, interrupted or out of disk: what was paid stays paid, and the same command goes on."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from privsynth.generators.marginals import load_model
from privsynth.release.verify import verify
from tests.desk import ONCE, Desk, Said, cli

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
STAGES = {  # each with the exit code of the same command afterwards
    "nothing yet": 0,
    "registered": 0,
    "reserved": 0,
    "fit begun": 4,
    "measured": 0,
    "model kept": 0,
    "gate begun": 4,
    "approved": 0,
}

# Runs the first desk to its end, which loads every package; then each of the others in a fork that kills itself,
# by a signal that nothing can catch, when it next opens the ledger or renames a file at the stage it is to reach.
KILLER = """
import os, signal, sys
from pathlib import Path
from privsynth.pipeline.run import run_study
from tests.desk import Desk

def run_until(desk, wanted):
    study, looking = desk.load(), []
    def watch(event, args):
        if event in ("sqlite3.connect", "os.rename") and not looking:
            looking.append(event)
            if desk.stage() == wanted:
                os.kill(os.getpid(), signal.SIGKILL)
            looking.clear()
    sys.addaudithook(watch)
    run_study(study, actor=study.file.actor)

warm = Desk(Path(sys.argv[1])).load()
run_study(warm, actor=warm.file.actor)
for folder, wanted in zip(sys.argv[2::2], sys.argv[3::2]):
    child = os.fork()
    if child == 0:
        run_until(Desk(Path(folder)), wanted)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, (wanted, status)
"""


@pytest.fixture(scope="module")
def killed(laid: Desk, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Desk]:
    """A desk for each stage, whose run was killed there."""
    desks = {}
    for name in ("warm", *STAGES):
        folder = tmp_path_factory.mktemp("killed") / "desk"
        shutil.copytree(laid.folder, folder)
        desks[name] = Desk(folder)
    warm = str(desks.pop("warm").folder)
    args = [part for name, desk in desks.items() for part in (str(desk.folder), name)]
    done = subprocess.run(
        [sys.executable, "-c", KILLER, warm, *args],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return desks


@pytest.mark.parametrize("name", STAGES)
def test_killed_anywhere_the_same_command_goes_on_and_never_pays_twice(name: str, killed: dict[str, Desk]) -> None:
    desk = killed[name]
    assert desk.stage() == name
    paid = desk.spent() if "reserve" in desk.kinds() else None
    assert (paid is not None and paid > 0) == (name not in ("nothing yet", "registered"))
    if name == "approved":  # nothing more is read
        (desk.folder / "data.parquet").unlink()
        (desk.folder / "consent.csv").unlink()

    said = desk.run("--json")
    assert said.code == STAGES[name], said.err
    assert paid in (None, desk.spent())
    assert desk.bought()["reserve"] == 1
    if said.code == 0:
        assert desk.bought() == ONCE
        assert verify(desk.release).rows == 300
        return
    assert (said.json["error"], "request:" in said.json["mend"]) == ("HoldError", True)
    assert said.err.count("\n") == 1
    assert not desk.release.exists()
    desk.edit("study.yaml", ("model: model/\n", "model: second/\nrequest: second\n"))
    assert desk.run().code == 0
    assert desk.bought()["reserve"] == 2
    assert desk.spent() > (paid or 0)


def test_what_was_measured_is_refitted_to_the_same_bytes(finished: Desk) -> None:
    before = load_model(finished.folder / "model")
    shutil.rmtree(finished.folder / "model")
    shutil.rmtree(finished.release)
    assert finished.run().code == 0
    assert load_model(finished.folder / "model").id == before.id
    assert finished.bought() == ONCE


def test_a_hold_that_was_reserved_is_opened_again_once_the_file_is_back(desk: Desk) -> None:
    hold, paid = desk.reserve(), desk.spent()
    data = desk.folder / "data.parquet"
    data.rename(desk.folder / "elsewhere.parquet")
    said = desk.run("--json")
    assert (said.code, said.json["error"]) == (2, "DataError")
    assert desk.spent() == paid
    (desk.folder / "elsewhere.parquet").rename(data)
    assert desk.run("--json").json["hold"] == hold
    assert desk.spent() == paid
    assert desk.bought() == ONCE


# --- Ctrl-C ----------------------------------------------------------------------------------------


def process(desk: Desk, **more: Any) -> subprocess.Popen[str]:
    """``privsynth run`` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "privsynth.cli", "run", str(desk.study)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def heed_interrupts() -> None:
    """Before the program starts: a shell that runs the tests in the background has its children ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_ends_in_one_line_and_leaves_nothing_half_done(desk: Desk) -> None:
    desk.edit("study.yaml", ("steps: 40", "steps: 4000"))  # long enough to be met in the free fit
    before = desk.files()
    running = process(desk, preexec_fn=heed_interrupts)
    deadline = time.monotonic() + 60
    while "measured" not in desk.kinds():
        assert time.monotonic() < deadline and running.poll() is None
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert (running.returncode, out) == (130, "")
    mend = "the same command goes on from here, or says what was lost; what was paid stays paid"
    assert err == f"privsynth: interrupted. Mend: {mend}\n"
    assert desk.files() - before == {"ledger.db", "ledger.db.key"}
    paid = desk.spent()
    assert desk.run().code == 0
    assert (desk.spent(), desk.bought()) == (paid, ONCE)


def test_two_runs_at_once_are_one_purchase(desk: Desk) -> None:
    ended = [(running, *running.communicate(timeout=120)) for running in [process(desk), process(desk)]]
    codes = sorted(running.returncode for running, *_ in ended)
    assert codes[0] == 0 and codes[1] in (2, 4), [err for *_, err in ended]
    assert all(err.count("\n") == (running.returncode != 0) for running, _, err in ended)
    assert desk.bought() == ONCE
    assert verify(desk.release).rows == 300


# --- disks -----------------------------------------------------------------------------------------


def no_file_above(size: int) -> Callable[[], None]:
    """Before the program starts: no file may grow beyond ``size`` bytes, as on a disk that is full."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def run_within(desk: Desk, size: int) -> Said:
    running = process(desk, preexec_fn=no_file_above(size))
    out, err = running.communicate(timeout=120)
    return Said(running.returncode, out, err)


# (what does not fit, bytes that a file may have, edits of the study, how far the run came, then)
ROOM = [
    ("ledger", 8_192, [], "nothing yet", 0),
    ("transcript", 69_632, [], "fit begun", 4),
    ("model", 150_000, [("components: 40", "components: 2000"), ("steps: 40", "steps: 2")], "measured", 0),
    ("release", 150_000, [("rows: 300", "rows: 20000")], "approved", 0),
]


@pytest.mark.parametrize(("what", "size", "edits", "reached", "then"), ROOM, ids=[row[0] for row in ROOM])
def test_a_full_disk_is_told_and_leaves_nothing_half_written(
    desk: Desk, what: str, size: int, edits: list[tuple[str, str]], reached: str, then: int
) -> None:
    desk.edit("study.yaml", *edits)
    before = desk.files()
    said = run_within(desk, size)
    assert (said.code, said.out) == (2, "")
    assert said.err.count("\n") == 1 and "Mend: " in said.err, said.err
    left = {name.partition("/")[0] for name in desk.files() - before}
    assert left <= (set() if reached == "nothing yet" else {"ledger.db", "ledger.db.key", "model"})
    assert desk.stage() == reached
    paid = desk.spent() if reached != "nothing yet" else None
    assert desk.run().code == then
    assert paid in (None, desk.spent())
    assert desk.bought()["reserve"] == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user takes root")
@pytest.mark.parametrize("closed", [".", "ledger.db"])
@pytest.mark.usefixtures("ended")  # so that every package is loaded before the rights to read them are given up
def test_what_may_not_be_written_is_told_before_anything_is_paid(laid: Desk, closed: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        desk = Desk(Path(name) / "desk")
        shutil.copytree(laid.folder, desk.folder)
        desk.ledger()
        for path in (desk.folder, *desk.folder.rglob("*")):
            os.chown(path, 65534, 65534)
        (desk.folder / closed).chmod(0o555 if closed == "." else 0o444)
        os.seteuid(65534)
        try:
            said = desk.run("--json")
        finally:
            os.seteuid(0)
        assert (said.code, said.json["error"]) == (2, "StorageError")
        assert "read-only" in said.json["what"] and said.json["mend"]
        assert desk.bought()["reserve"] == 0


def test_a_file_in_the_way_is_told_before_anything_is_paid(desk: Desk) -> None:
    (desk.folder / "model").write_text("in the way")
    said = cli("run", desk.study, "--json")
    assert (said.code, said.json["error"]) == (2, "StorageError")
    assert desk.bought()["reserve"] == 0
    assert (desk.folder / "model").read_text() == "in the way"
