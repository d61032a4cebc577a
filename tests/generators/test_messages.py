"""What is sent is what is received; between processes: test_ranks.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from privsynth.generators import messages
from privsynth.generators.messages import heard, received_arrays, send_arrays, tell


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """What is under way from one process to another, in pieces of at most 7 bytes."""
    held: list[Tensor] = []

    def receive(into: Tensor, other: int, *, group: Any) -> None:
        piece = held.pop(0)
        assert len(piece) == len(into)
        into.copy_(piece)

    monkeypatch.setattr(messages, "_PIECE", 7)
    monkeypatch.setattr(dist, "send", lambda piece, other, *, group: held.append(piece.clone()))
    monkeypatch.setattr(dist, "recv", receive)
    return held


def test_values_arrive_as_they_were(wire: list[Tensor]) -> None:
    what = {"do": "train", "numbers": [1, 0.1, None, True], "text": "ε"}
    tell(1, what, group=None)
    assert heard(0, group=None) == what
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
def test_arrays_arrive_as_they_were(wire: list[Tensor], array: NDArray[Any]) -> None:
    send_arrays(1, {"first": array, "second": np.arange(3)}, group=None)
    found = received_arrays(0, group=None)
    assert list(found) == ["first", "second"]
    assert (found["first"].shape, found["first"].dtype) == (array.shape, array.dtype)
    assert found["first"].tobytes() == np.ascontiguousarray(array).tobytes()
    assert not wire


def test_what_is_no_plain_number_is_not_sent(wire: list[Tensor]) -> None:
    with pytest.raises((TypeError, ValueError)):
        send_arrays(1, {"whose": np.array(["anna", "bert"], dtype=object)}, group=None)
