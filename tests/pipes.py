"""Named pipes where files are expected: whoever opens one waits for ever for its other end."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PATIENCE = 60  # seconds; what is tested takes none


class Waited(Exception):
    """The block waited for the pipe."""


def pipe(path: Path) -> Path:
    """A named pipe, in the place of what lies there."""
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    return path


@contextmanager
def not_waiting() -> Iterator[None]:
    """The block, or :class:`Waited` in place of a test that never ends."""

    def stop(*_: object) -> None:
        raise Waited

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(_PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
