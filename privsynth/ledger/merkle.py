"""The Merkle tree of RFC 6962 (RFC 9162, section 2): roots, proofs, and the right edge that grows.

A leaf hashes to SHA-256(0x00 || leaf), a node to SHA-256(0x01 || left || right). A proof of *inclusion*
shows that a leaf stands at its place under a root; a proof of *consistency* shows that a smaller tree is
the beginning of a larger one. All hashes here are 32 bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

EMPTY = hashlib.sha256(b"").digest()
"""The root of no leaves."""

Spans = Callable[[int, int], bytes]
"""(start, stop) -> the hash of the tree over the leaves start, ..., stop - 1, at least one."""


def node(left: bytes, right: bytes) -> bytes:
    """The hash above two subtrees."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def split(size: int) -> int:
    """The leaves of the left subtree of ``size`` leaves, two or more: the largest power of two below it."""
    return 1 << (size - 1).bit_length() - 1


def spans(leaves: Sequence[bytes]) -> Spans:
    """The spans of a tree whose leaf hashes are all at hand."""

    def over(start: int, stop: int) -> bytes:
        return Frontier().grown(leaves[start:stop]).root

    return over


@dataclass(frozen=True)
class Frontier:
    """The right edge of a tree: enough to add leaves and to know the root, in log2(size) hashes.

    Attributes:
        size: leaves so far.
        peaks: hashes of the full subtrees, left to right, one for each bit of ``size``.
    """

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether there are as many peaks as the size has, each a hash."""
        return self.size >= 0 and len(self.peaks) == self.size.bit_count() and all(len(p) == 32 for p in self.peaks)

    @property
    def root(self) -> bytes:
        """The root of the tree."""
        return reduce(lambda right, left: node(left, right), reversed(self.peaks)) if self.peaks else EMPTY

    def grown(self, leaves: Iterable[bytes]) -> Frontier:
        """The edge after more leaf hashes."""
        size, peaks = self.size, list(self.peaks)
        for leaf in leaves:
            carried, full = leaf, size
            while full & 1:
                carried, full = node(peaks.pop(), carried), full >> 1
            peaks.append(carried)
            size += 1
        return Frontier(size, tuple(peaks))


def inclusion(over: Spans, at: int, size: int) -> tuple[bytes, ...]:
    """The proof that leaf ``at`` stands in the tree of the first ``size`` leaves; 0 <= at < size."""
    path: list[bytes] = []
    start, stop = 0, size
    while stop - start > 1:
        middle = start + split(stop - start)
        if at < middle:
            path.append(over(middle, stop))
            stop = middle
        else:
            path.append(over(start, middle))
            start = middle
    return tuple(reversed(path))


def consistency(over: Spans, old: int, size: int) -> tuple[bytes, ...]:
    """The proof that the tree of ``old`` leaves begins the one of ``size``; empty where old is 0 or size."""
    path: list[bytes] = []
    start, stop = 0, size
    while 0 < old < stop:
        middle = start + split(stop - start)
        if old <= middle:
            path.append(over(middle, stop))
            stop = middle
        else:
            path.append(over(start, middle))
            start = middle
    if start > 0:
        path.append(over(start, stop))
    return tuple(reversed(path))


def includes(root: bytes, size: int, *, leaf: bytes, at: int, proof: Sequence[bytes]) -> bool:
    """Whether ``proof`` shows leaf hash ``leaf`` at place ``at`` under ``root`` (RFC 9162, 2.1.3.2)."""
    if not 0 <= at < size:
        return False
    place, last, found = at, size - 1, leaf
    for step in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            found = node(step, found)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            found = node(found, step)
        place, last = place >> 1, last >> 1
    return last == 0 and found == root


def extends(root: bytes, size: int, *, old_root: bytes, old: int, proof: Sequence[bytes]) -> bool:
    """Whether ``proof`` shows that the tree (old, old_root) begins the tree (size, root) (RFC 9162, 2.1.4.2)."""
    if not 0 <= old <= size:
        return False
    if old in (0, size):
        return not proof and old_root == (root if old else EMPTY)
    steps = (old_root, *proof) if old.bit_count() == 1 else tuple(proof)
    if not proof:
        return False
    place, last = old - 1, size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    before = after = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            before, after = node(step, before), node(step, after)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            after = node(after, step)
        place, last = place >> 1, last >> 1
    return last == 0 and before == old_root and after == root
