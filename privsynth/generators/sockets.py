"""Links between processes of which the first started the others: sockets that were handed down, and have no address.

The system makes such a socket as a pair, of which each end is with one process. Nobody can connect to it, so whoever
speaks on it is the one at its other end, and what is said is read by nobody else.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping

import torch
from torch import Tensor

from privsynth.privacy.dpsgd.between import answered

Lines = Mapping[int, socket.socket]
"""Rank 0's sockets to all others, by rank; another's one socket, to rank 0."""


class Sockets:
    """Links (``privacy/dpsgd/between.py``) over ``lines``: sums are added up by rank 0, which all others tell theirs.

    Args:
        patience: seconds that one waits for another.
    """

    def __init__(self, lines: Lines, place: tuple[int, int], patience: float) -> None:
        self._lines, self._place, self._patience = lines, place, patience

    @property
    def place(self) -> tuple[int, int] | None:
        """As of ``Links``."""
        return None if any(line.fileno() < 0 for line in self._lines.values()) else self._place

    def send(self, held: Tensor, other: int) -> None:
        """As of ``Links``."""
        with answered():
            self._line(other).sendall(_bytes(held))

    def receive(self, into: Tensor, other: int) -> None:
        """As of ``Links``."""
        left = _bytes(into)
        with answered():
            line = self._line(other)
            while left:
                if not (read := line.recv_into(left)):
                    raise ConnectionError
                left = left[read:]

    def add_up(self, held: Tensor) -> None:
        """As of ``Links``."""
        if self._place[0] == 0:
            told = torch.empty_like(held)
            for other in self._lines:
                self.receive(told, other)
                held += told
        else:
            self.send(held, 0)
        self.from_first(held)

    def from_first(self, held: Tensor) -> None:
        """As of ``Links``."""
        if self._place[0] == 0:
            for other in self._lines:
                self.send(held, other)
        else:
            self.receive(held, 0)

    def close(self) -> None:
        """As of ``Links``."""
        for line in self._lines.values():
            line.close()

    def _line(self, other: int) -> socket.socket:
        line = self._lines[other]
        line.settimeout(self._patience)
        return line


def _bytes(held: Tensor) -> memoryview:
    """The memory of a dense tensor."""
    return memoryview(held.detach().view(-1).view(torch.uint8).numpy().data)
