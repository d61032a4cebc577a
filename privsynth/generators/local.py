"""Several processes of this machine that train together, without a launcher and without a port.

The first starts the others, and hands each one end of a socket that has no address (``generators/sockets.py``), so that
nobody else can speak to them. ``torchrun`` has them meet at a port that is open to all who reach the machine, asks
nobody who they are, and unpickles what it finds there.

``python -m privsynth.generators.local RANK WORLD LINE PATIENCE`` is one of the others.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from privsynth.errors import PrivsynthError, RanksError, UsageError
from privsynth.generators.ranks import Ranks, threads_of

MOST = 64
_LEAVING = 20.0
"""Seconds that one is given to end by itself."""


@contextmanager
def started(processes: int, *, patience: float) -> Iterator[tuple[Ranks, dict[int, socket.socket]]]:
    """Start ``processes - 1`` others, which serve: which this one is among them, and its sockets to them by rank.

    Raises:
        UsageError: no such number of processes.
        RanksError: one of them could not begin; it says itself why.
    """
    if isinstance(processes, bool) or not isinstance(processes, int) or not 2 <= processes <= MOST:
        raise UsageError(f"{processes!r} processes", where="processes", mend=f"a whole number from 1 to {MOST}")
    lines, others = dict[int, socket.socket](), list[subprocess.Popen[bytes]]()
    try:
        for rank in range(1, processes):
            lines[rank], theirs = socket.socketpair()
            with theirs:
                others.append(_begun(rank, processes, theirs, patience))
        for other in others:
            if other.stdout is None or other.stdout.read(1) != b".":
                raise RanksError("another process could not begin", mend="see what it says itself, above")
        yield Ranks(0, processes, 0, processes), lines
    finally:
        for line in lines.values():  # who is still listening hears that this one has ended
            line.close()
        for other in others:
            _ended(other)


def _begun(rank: int, world: int, line: socket.socket, patience: float) -> subprocess.Popen[bytes]:
    same = os.pathsep.join(place or os.getcwd() for place in sys.path)  # the code of this process, and no other
    told = map(str, (rank, world, line.fileno(), patience))
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "privsynth.generators.local", *told],
        env={"OMP_NUM_THREADS": str(threads_of(world)), **os.environ, "PYTHONPATH": same},
        pass_fds=[line.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,  # who interrupts means the first process, which tells them
    )


def _ended(other: subprocess.Popen[bytes]) -> None:
    """Wait until it has ended; end it where it does not."""
    try:
        other.wait(_LEAVING)
    except subprocess.TimeoutExpired:
        other.kill()
        other.wait()
    if other.stdout is not None:
        other.stdout.close()


def main(rank: str, world: str, line: str, patience: str) -> None:
    """Serve as one of the others, and say so once all that is needed is loaded."""
    from privsynth.generators.serving import serve

    os.write(1, b".")
    place = Ranks(int(rank), int(world), int(rank), int(world))
    try:
        with socket.socket(fileno=int(line)) as first:
            first.set_inheritable(False)
            serve(place, meet={0: first}, patience=float(patience))
    except PrivsynthError as fault:
        sys.exit(f"process {rank} of {world}: {fault}")


if __name__ == "__main__":
    main(*sys.argv[1:])
