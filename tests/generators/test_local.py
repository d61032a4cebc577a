"""Processes of one machine: nobody else can speak to them, one that cannot begin is told at once, none is left."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from privsynth.data.schema import parse_schema
from privsynth.errors import PrivsynthError, RanksError, UsageError
from privsynth.generators import local
from privsynth.generators.images.diffusion import ImageDiffusion
from privsynth.generators.ranks import Ranks, together
from privsynth.generators.serving import check_ranks
from privsynth.privacy.budget import Budget
from tests.generators.images.test_diffusion import SCHEMA, SMALL

LISTENS = 0x10000
"""The flag of a listening socket in /proc/net/unix."""


def sockets(pid: int) -> set[str]:
    """The sockets that a process holds, by inode."""
    held = (os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir() if fd.is_symlink())
    return {found[1] for link in held if (found := re.fullmatch(r"socket:\[(\d+)\]", link))}


def rows(name: str) -> list[list[str]]:
    """The lines of a table of /proc/net."""
    return [line.split() for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]


def reachable(pid: int) -> set[str]:
    """The sockets of a process that others can speak to: all of the internet, and of the machine those with a name."""
    internet = {row[9] for name in ("tcp", "tcp6", "udp", "udp6") for row in rows(name)}
    machine = {row[6] for row in rows("unix") if len(row) > 7 or int(row[3], 16) & LISTENS}
    return sockets(pid) & (internet | machine)


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The processes that were started."""
    held: list[subprocess.Popen[bytes]] = []
    begin = local._begun

    def seen(*asked: object) -> subprocess.Popen[bytes]:
        held.append(begin(*asked))  # type: ignore[arg-type]
        return held[-1]

    monkeypatch.setattr(local, "_begun", seen)
    return held


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_nobody_else_can_speak_to_them(begun: list[subprocess.Popen[bytes]]) -> None:
    """A stranger needs an address: no process has one, and each holds the end of its own line alone."""
    recipe = ImageDiffusion(parse_schema(SCHEMA), Budget(9.0, 1e-8), by=("bright",), **SMALL)
    own, before = reachable(os.getpid()), sockets(os.getpid())
    with together(processes=3) as ranks:
        assert (ranks.rank, ranks.world, ranks.here) == (0, 3, 3)
        check_ranks(recipe, {"physical": 1}, ranks)
        assert reachable(os.getpid()) == own
        assert [reachable(other.pid) for other in begun] == [set(), set()]
        ends = [sockets(other.pid) for other in begun] + [sockets(os.getpid()) - before]
        assert [len(held) for held in ends] == [1, 1, 2]
        assert len(set.union(*ends)) == 4, "no end is with two processes"
        for open_ in (socket.create_server(("127.0.0.1", 0)), _named()):
            with open_:
                assert reachable(os.getpid()) > own, "one that others can reach would be seen"
    assert [other.returncode for other in begun] == [0, 0]
    assert sockets(os.getpid()) == before


def _named() -> socket.socket:
    """A listening socket with a name, as any process of the machine may make one."""
    with tempfile.TemporaryDirectory() as folder:
        made = socket.socket(socket.AF_UNIX)
        made.bind(f"{folder}/open")
        made.listen()
    return made


@pytest.mark.slow
def test_one_that_is_killed_is_told_at_once(begun: list[subprocess.Popen[bytes]]) -> None:
    recipe = ImageDiffusion(parse_schema(SCHEMA), Budget(9.0, 1e-8), by=("bright",), **SMALL)
    with pytest.raises(RanksError, match="has ended"), together(processes=2) as ranks:
        begun[0].kill()
        begun[0].wait()
        check_ranks(recipe, {"physical": 1}, ranks)


def test_one_that_cannot_begin_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[subprocess.Popen[bytes]] = []

    def broken(*asked: object) -> subprocess.Popen[bytes]:
        begun.append(subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"], stdout=subprocess.PIPE))
        return begun[-1]

    monkeypatch.setattr(local, "_begun", broken)
    with pytest.raises(RanksError, match="could not begin"), together(processes=3):
        pass
    assert [other.returncode for other in begun] == [3, 3]


def test_one_that_does_not_leave_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], stdout=subprocess.PIPE)
    monkeypatch.setattr(local, "_LEAVING", 0.1)
    local._ended(stuck)
    assert stuck.returncode == -9


@pytest.mark.parametrize("number", [0, -1, 65, True, 2.0])
def test_no_such_number_of_processes(number: int) -> None:
    with pytest.raises(PrivsynthError, match="processes"), together(processes=number):
        pass


def test_a_launcher_and_processes_are_not_asked_for_at_once() -> None:
    with pytest.raises(UsageError, match="asks for others"), together(Ranks(0, 2, 0, 2), processes=2):
        pass
