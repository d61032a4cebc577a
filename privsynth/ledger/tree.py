"""A log's Merkle tree as a database holds it: leaf hashes beside the entries, and every eighth level.

Hashes of full subtrees of 2^8, 2^16 and 2^24 leaves are kept as they fill up, so a proof reads at most 256
hashes a kept level, however long the log is. None of them is believed: what they prove is compared with a root
that was signed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from privsynth.errors import LedgerError
from privsynth.ledger.entry import MEND, LogName
from privsynth.ledger.merkle import Frontier

LEVELS = (8, 16, 24)
WIDTH = 256


class Hashes(Protocol):
    """Where hashes are kept: level 0 are the leaves, the others are :data:`LEVELS`."""

    def hashes(self, log: LogName, level: int, start: int, stop: int) -> Sequence[bytes]:
        """The hashes of the places start, ..., stop - 1 of a level, in order; those that are there."""
        ...


@dataclass(frozen=True)
class StoredTree:
    """The tree of ``log``: its :meth:`over` is the spans that proofs are made of."""

    kept: Hashes
    log: LogName = "main"

    def over(self, start: int, stop: int) -> bytes:
        """The hash of the tree over the leaves start, ..., stop - 1: a span of the log's own tree, as proofs take.

        Raises:
            LedgerError: a hash is missing.
        """
        edge = Frontier()
        for level in reversed((0, *LEVELS)):
            first, last = _ceil(start + edge.size, level), stop >> level
            hashes = self._all(level, first, last) if last > first else []
            edge = _joined(edge, level, hashes)
        return edge.root

    def _all(self, level: int, start: int, stop: int) -> Sequence[bytes]:
        hashes = self.kept.hashes(self.log, level, start, stop)
        if len(hashes) != stop - start:
            raise LedgerError(f"the tree of the {self.log} log is not whole: hashes are missing", mend=MEND)
        return hashes

    def filled(self, size: int) -> Iterator[tuple[int, int, bytes]]:
        """(level, place, hash) of each kept subtree that the entry before ``size`` has filled, lowest first."""
        for below, level in zip((0, *LEVELS), LEVELS, strict=False):
            if size & ((1 << level) - 1) or not size:
                return
            place = (size >> level) - 1
            hashes = self._all(below, place * WIDTH, (place + 1) * WIDTH)
            yield level, place, Frontier().grown(hashes).root


def _ceil(at: int, level: int) -> int:
    return -(-at >> level)


def _joined(edge: Frontier, level: int, hashes: Sequence[bytes]) -> Frontier:
    """The edge after full subtrees of 2^level leaves each; its size is a multiple of that."""
    above = Frontier(edge.size >> level, edge.peaks).grown(hashes)
    return Frontier(above.size << level, above.peaks)
