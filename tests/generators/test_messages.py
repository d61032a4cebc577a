"""What is sent is what is received; between processes: test_ranks.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from privsynth.errors import RanksError
from privsynth.generators import messages
from privsynth.generators.messages import heard, received_arrays, send_arrays, tell


class Wire(list[Tensor]):
    """What is under way from one process to another."""

    def send(self, held: Tensor, other: int) -> None:
        self.append(held.clone())

    def receive(self, into: Tensor, other: int) -> None:
        piece = self.pop(0)
        assert len(piece) == len(into)
        into.copy_(piece)


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Links that keep what is sent, in pieces of at most 7 bytes."""
    monkeypatch.setattr(messages, "_PIECE", 7)
    return Wire()


def test_values_arrive_as_they_were(wire: Any) -> None:
    what = {"do": "train", "numbers": [1, 0.1, None, True], "text": "ε"}
    tell(1, what, over=wire)
    assert heard(0, over=wire) == what
    assert not wire


@pytest.mark.parametrize(
    "array",
    [
        np.arange(30, dtype=np.uint8).reshape(5, 3, 2)[::2],
        np.array([[0.1, np.inf], [np.nan, -0.0]], dtype=np.float64),
        np.zeros((0, 4), dtype=np.int32),
        np.array(3.5, dtype=np.float32),
        np.array([True, False]),
    ],
    ids=["a view", "doubles", "none", "one", "booleans"],
)
def test_arrays_arrive_as_they_were(wire: Any, array: NDArray[Any]) -> None:
    send_arrays(1, {"first": array, "second": np.arange(3)}, over=wire)
    found = received_arrays(0, over=wire)
    assert list(found) == ["first", "second"]
    assert (found["first"].shape, found["first"].dtype) == (array.shape, array.dtype)
    assert found["first"].tobytes() == np.ascontiguousarray(array).tobytes()
    assert not wire


def test_what_is_no_plain_number_is_not_sent(wire: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        send_arrays(1, {"whose": np.array(["anna", "bert"], dtype=object)}, over=wire)


def raw(*sent: NDArray[Any] | bytes) -> list[Tensor]:
    """Bytes under way, in pieces of at most 7."""
    out = []
    for part in sent:
        held = np.frombuffer(part if isinstance(part, bytes) else part.tobytes(), dtype=np.uint8)
        out += [torch.from_numpy(held[i : i + 7].copy()) for i in range(0, len(held), 7)]
    return out


def said(what: bytes) -> list[Tensor]:
    """A message of these bytes."""
    return raw(np.array([len(what)], dtype=np.int64), what)


@pytest.mark.parametrize("length", [-1, 0, 2**26 + 1, 2**62])
def test_a_length_that_cannot_be_takes_no_memory(wire: Any, length: int) -> None:
    wire += raw(np.array([length], dtype=np.int64))
    with pytest.raises(RanksError, match="no process of this version"):
        heard(1, over=wire)


@pytest.mark.parametrize(
    "what", [b"{", b"\xff\xfe", b"[" * 100_000, b"cos\nsystem\n"], ids=["cut", "no text", "deep", "a pickle"]
)
def test_what_is_no_json_is_told(wire: Any, what: bytes) -> None:
    wire += said(what)
    with pytest.raises(RanksError, match="no process of this version"):
        heard(1, over=wire)


@pytest.mark.parametrize(
    "listed",
    [
        '{"a": 1}',
        "[7]",
        '[["a", [2], "|O"]]',
        '[["a", [2], "<i4,<i4"]]',
        '[["a", [2], "(2,)<i4"]]',
        '[["a", [2], "<U9"]]',
        '[["a", [2], "nonsense"]]',
        '[["a", [-2], "<i4"]]',
        '[["a", [2.5], "<i4"]]',
        '[["a", [true], "<i4"]]',
        '[["a", 2, "<i4"]]',
        '[[1, [2], "<i4"]]',
        '[["a", [4611686018427387904, 4611686018427387904], "<i4"]]',
        '[["a", [1, 1, 1, 1, 1, 1, 1, 1, 1], "<i4"]]',
    ],
)
def test_arrays_that_are_no_plain_numbers_are_not_received(wire: Any, listed: str) -> None:
    wire += said(listed.encode())
    with pytest.raises(RanksError, match="no process of this version"):
        received_arrays(1, over=wire)
