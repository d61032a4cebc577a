"""Links over sockets without an address: what is sent arrives, sums are sums, who is gone or silent is told."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor

from privsynth.errors import RanksError
from privsynth.generators.sockets import Sockets
from privsynth.privacy.dpsgd.between import added_up, from_first

WORLD = 3
LONG = 300_000
"""Numbers: more bytes than a socket holds unread."""


@pytest.fixture
def links() -> Iterator[list[Sockets]]:
    """The links of each rank, which wait for a second."""
    pairs = {other: socket.socketpair(socket.AF_UNIX) for other in range(1, WORLD)}
    made = [Sockets({other: first for other, (first, _) in pairs.items()}, (0, WORLD), 1.0)]
    made += [Sockets({0: second}, (other, WORLD), 1.0) for other, (_, second) in pairs.items()]
    yield made
    for held in made:
        held.close()


def by_all(links: list[Sockets], do: Callable[[int, Sockets], Any]) -> list[Any]:
    """What ``do`` gives on every rank, all at the same time."""
    with ThreadPoolExecutor(WORLD) as each:
        return list(each.map(do, range(WORLD), links))


def test_a_sum_is_that_of_all_on_all(links: list[Sockets]) -> None:
    torch_rows = torch.arange(WORLD * LONG, dtype=torch.int64).reshape(WORLD, LONG) - 7
    for found in by_all(links, lambda rank, own: added_up(torch_rows[rank].clone(), own)):
        assert torch.equal(found, torch_rows.sum(0))


def test_a_sum_is_exact_up_to_the_largest_number(links: list[Sockets]) -> None:
    """As of one process: int64 wraps around, and nothing is rounded."""
    most = torch.tensor([2**63 - 1, -(2**63), 2**53 + 1])
    for found in by_all(links, lambda rank, own: added_up(most.clone(), own)):
        assert torch.equal(found, most + most + most)


@pytest.mark.parametrize(
    "first",
    [torch.randn(4, 5).T, torch.tensor(3.5), torch.zeros(0, 3), torch.tensor([True, False]), torch.ones(3).bfloat16()],
    ids=["a view", "one", "none", "booleans", "halves"],
)
def test_all_have_what_rank_0_has(links: list[Sockets], first: Tensor) -> None:
    def do(rank: int, own: Sockets) -> Tensor:
        return from_first(first.clone() if rank == 0 else torch.zeros_like(first), own)

    for found in by_all(links, do):
        assert torch.equal(found, first)


def test_weights_that_learn_are_sent_too(links: list[Sockets]) -> None:
    links[0].send(torch.ones(3, requires_grad=True), 2)
    links[2].receive(into := torch.zeros(3), 0)
    assert into.tolist() == [1, 1, 1]


def test_one_that_has_ended_is_told(links: list[Sockets]) -> None:
    links[1].close()
    for do in (links[0].receive, links[0].send):
        with pytest.raises(RanksError, match="has ended"):
            do(torch.zeros(3), 1)
    with pytest.raises(RanksError, match="has ended"):
        links[0].add_up(torch.zeros(3))


def test_one_that_ends_within_what_it_says_is_told(links: list[Sockets]) -> None:
    links[1].send(torch.zeros(3), 0)
    links[1].close()
    with pytest.raises(RanksError, match="has ended"):
        links[0].receive(torch.zeros(4), 1)


def test_one_that_is_silent_or_deaf_is_not_waited_for_for_ever(links: list[Sockets]) -> None:
    with pytest.raises(RanksError, match="in time"):
        links[0].receive(torch.zeros(3), 1)
    with pytest.raises(RanksError, match="in time"):
        links[0].send(torch.zeros(LONG * 8), 1)


def test_after_they_have_parted_nothing_is_said(links: list[Sockets]) -> None:
    assert links[1].place == (1, WORLD)
    links[1].close()
    assert links[1].place is None
    with pytest.raises(RanksError):
        links[1].send(torch.zeros(3), 0)
