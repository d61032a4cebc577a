"""What processes of one training send each other: JSON and plain numbers, so that receiving runs no code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist

from privsynth.privacy.dpsgd.between import answered

Arrays = Mapping[str, npt.NDArray[Any]]

_PIECE = 2**27
"""Bytes that are sent at once."""


def tell(other: int, what: object, *, group: Any) -> None:
    """Send JSON values to rank ``other``.

    Raises:
        RanksError: it has ended, or does not listen.
    """
    raw = np.frombuffer(json.dumps(what).encode(), dtype=np.uint8)
    _send(other, np.array([len(raw)], dtype=np.int64), group)
    _send(other, raw, group)


def heard(other: int, *, group: Any) -> Any:
    """The JSON values that rank ``other`` tells.

    Raises:
        RanksError: it has ended, or is silent.
    """
    (length,) = _received(other, [1], "<i8", group)
    return json.loads(_received(other, [int(length)], "|u1", group).tobytes())


def send_arrays(other: int, arrays: Arrays, *, group: Any) -> None:
    """Send numbers by name; otherwise as :func:`tell`."""
    held = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    tell(other, [[name, a.shape, a.dtype.str] for name, a in held.items()], group=group)
    for array in held.values():
        _send(other, array, group)


def received_arrays(other: int, *, group: Any) -> Arrays:
    """What :func:`send_arrays` sends; otherwise as :func:`heard`."""
    return {name: _received(other, shape, kind, group) for name, shape, kind in heard(other, group=group)}


def _send(other: int, array: npt.NDArray[Any], group: Any) -> None:
    flat = array.reshape(-1).view(np.uint8)
    with answered():
        for start in range(0, len(flat), _PIECE):
            dist.send(torch.from_numpy(flat[start : start + _PIECE].copy()), other, group=group)


def _received(other: int, shape: list[int], kind: str, group: Any) -> npt.NDArray[Any]:
    array = np.empty(shape, dtype=np.dtype(kind))
    flat = torch.from_numpy(array.reshape(-1).view(np.uint8))
    with answered():
        for start in range(0, len(flat), _PIECE):
            dist.recv(flat[start : start + _PIECE], other, group=group)
    return array
