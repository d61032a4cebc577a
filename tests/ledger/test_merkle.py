"""The tree: the vectors of Certificate Transparency, the pictures of RFC 6962, and proofs altered anywhere."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privsynth.ledger.merkle import EMPTY, Frontier, consistency, extends, includes, inclusion, node, spans

LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = (  # of the first 0, 1, ..., 8 leaves: the test vectors of google/certificate-transparency
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)


def hashed(count: int) -> list[bytes]:
    """Leaf hashes of made-up leaves."""
    return [hashlib.sha256(b"\x00%d" % n).digest() for n in range(count)]


def by_definition(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, word for word."""
    if not leaves:
        return EMPTY
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return node(by_definition(leaves[:k]), by_definition(leaves[k:]))


@pytest.mark.parametrize("size", range(9))
def test_the_known_roots(size: int) -> None:
    leaves = [hashlib.sha256(b"\x00" + leaf).digest() for leaf in LEAVES[:size]]
    assert Frontier().grown(leaves).root.hex() == by_definition(leaves).hex() == ROOTS[size]


def test_the_proofs_of_the_picture() -> None:
    """RFC 6962, 2.1.3: seven leaves d0..d6, a..j their nodes."""
    over = spans(leaves := hashed(7))
    a, b, c, d, e, f, j = leaves
    g, h, i = node(a, b), node(c, d), node(e, f)
    k, level = node(g, h), node(i, j)
    assert Frontier().grown(leaves).root == node(k, level)
    assert inclusion(over, 0, 7) == (b, h, level)
    assert inclusion(over, 3, 7) == (c, g, level)
    assert inclusion(over, 4, 7) == (f, j, k)
    assert inclusion(over, 6, 7) == (i, k)
    assert consistency(over, 3, 7) == (c, d, g, level)
    assert consistency(over, 4, 7) == (level,)
    assert consistency(over, 6, 7) == (i, j, k)


@given(st.integers(0, 70), st.data())
def test_a_frontier_grows_in_pieces(size: int, data: st.DataObject) -> None:
    leaves, cut = hashed(size), data.draw(st.integers(0, size))
    edge = Frontier().grown(leaves[:cut])
    assert edge.whole
    assert edge.root == by_definition(leaves[:cut])
    assert edge.grown(leaves[cut:]) == Frontier().grown(leaves)


def flips(value: bytes, data: st.DataObject) -> bytes:
    at = data.draw(st.integers(0, 8 * len(value) - 1))
    return bytes(b ^ (1 << at % 8) if n == at // 8 else b for n, b in enumerate(value))


@given(st.integers(1, 70), st.data())
def test_a_proof_of_inclusion_holds_and_no_altered_one_does(size: int, data: st.DataObject) -> None:
    leaves = hashed(size)
    at, root = data.draw(st.integers(0, size - 1)), by_definition(leaves)
    proof = inclusion(spans(leaves), at, size)
    assert includes(root, size, leaf=leaves[at], at=at, proof=proof)
    assert not includes(flips(root, data), size, leaf=leaves[at], at=at, proof=proof)
    assert not includes(root, size, leaf=flips(leaves[at], data), at=at, proof=proof)
    other = data.draw(st.integers(-1, size + 1).filter(lambda n: n != at))
    assert not includes(root, size, leaf=leaves[at], at=other, proof=proof)
    assert not includes(root, size, leaf=leaves[at], at=at, proof=(*proof, leaves[0]))
    for n, step in enumerate(proof):
        altered = (*proof[:n], flips(step, data), *proof[n + 1 :])
        assert not includes(root, size, leaf=leaves[at], at=at, proof=altered)
        assert not includes(root, size, leaf=leaves[at], at=at, proof=proof[:n] + proof[n + 1 :])


@given(st.integers(1, 70), st.data())
def test_a_proof_of_consistency_holds_and_no_altered_one_does(size: int, data: st.DataObject) -> None:
    leaves = hashed(size)
    old = data.draw(st.integers(1, size))
    before, root = by_definition(leaves[:old]), by_definition(leaves)
    proof = consistency(spans(leaves), old, size)
    assert extends(root, size, old_root=before, old=old, proof=proof)
    assert not extends(flips(root, data), size, old_root=before, old=old, proof=proof)
    assert not extends(root, size, old_root=flips(before, data), old=old, proof=proof)
    assert not extends(root, size, old_root=before, old=old, proof=(*proof, leaves[0]))
    for n, step in enumerate(proof):
        altered = (*proof[:n], flips(step, data), *proof[n + 1 :])
        assert not extends(root, size, old_root=before, old=old, proof=altered)
        assert not extends(root, size, old_root=before, old=old, proof=proof[:n] + proof[n + 1 :])


def test_nothing_begins_everything_and_a_larger_tree_begins_no_smaller_one() -> None:
    leaves = hashed(5)
    root, small = by_definition(leaves), by_definition(leaves[:3])
    assert consistency(spans(leaves), 0, 5) == ()
    assert extends(root, 5, old_root=EMPTY, old=0, proof=())
    assert not extends(root, 5, old_root=small, old=0, proof=())
    assert not extends(small, 3, old_root=root, old=5, proof=consistency(spans(leaves), 3, 5))
    assert not extends(root, 5, old_root=EMPTY, old=-1, proof=())


def test_a_frontier_that_lost_a_peak_is_not_whole() -> None:
    edge = Frontier().grown(hashed(7))
    assert not Frontier(7, edge.peaks[1:]).whole
    assert not Frontier(7, (*edge.peaks[:2], b"short")).whole
