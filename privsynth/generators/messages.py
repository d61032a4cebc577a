"""What processes of one training send each other: JSON and plain numbers, so that receiving runs no code.

What is received is bounded and of known kinds before memory is taken for it: not each that speaks may be of ours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from privsynth.errors import RanksError
from privsynth.privacy.dpsgd.between import Links

Arrays = Mapping[str, npt.NDArray[Any]]

_PIECE = 2**27
"""Bytes that are sent at once."""
_LONGEST = 2**26
"""Bytes of JSON values: an order holds a schema, and no rows."""
_KINDS = frozenset("biuf")
"""Of numbers, by numpy's letters: truth values, whole numbers with and without sign, floats."""
_MOST_SIDES = 8


def tell(other: int, what: object, *, over: Links) -> None:
    """Send JSON values to rank ``other``.

    Raises:
        RanksError: it has ended, or does not listen.
    """
    raw = np.frombuffer(json.dumps(what).encode(), dtype=np.uint8)
    _send(other, np.array([len(raw)], dtype=np.int64), over)
    _send(other, raw, over)


def heard(other: int, *, over: Links) -> Any:
    """The JSON values that rank ``other`` tells.

    Raises:
        RanksError: it has ended, is silent, or says what no process of ours says.
    """
    (length,) = _received(other, (1,), np.dtype("<i8"), over)
    if not 0 < length <= _LONGEST:
        raise _strange(other)
    try:
        return json.loads(_received(other, (int(length),), np.dtype("|u1"), over).tobytes())
    except (ValueError, RecursionError):
        raise _strange(other) from None


def send_arrays(other: int, arrays: Arrays, *, over: Links) -> None:
    """Send numbers by name; otherwise as :func:`tell`."""
    held = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    tell(other, [[name, a.shape, a.dtype.str] for name, a in held.items()], over=over)
    for array in held.values():
        _send(other, array, over)


def received_arrays(other: int, *, over: Links) -> Arrays:
    """What :func:`send_arrays` sends; otherwise as :func:`heard`."""
    listed = [_array_of(entry, other) for entry in _list_of(heard(other, over=over), other)]
    return {name: _received(other, shape, kind, over) for name, shape, kind in listed}


def _send(other: int, array: npt.NDArray[Any], over: Links) -> None:
    flat = array.reshape(-1).view(np.uint8)
    for start in range(0, len(flat), _PIECE):
        over.send(torch.from_numpy(flat[start : start + _PIECE].copy()), other)


def _received(other: int, shape: tuple[int, ...], kind: np.dtype[Any], over: Links) -> npt.NDArray[Any]:
    try:
        array = np.empty(shape, dtype=kind)
    except (ValueError, MemoryError):
        raise _strange(other) from None
    flat = torch.from_numpy(array.reshape(-1).view(np.uint8))
    for start in range(0, len(flat), _PIECE):
        over.receive(flat[start : start + _PIECE], other)
    return array


def _list_of(told: Any, other: int) -> list[Any]:
    if not isinstance(told, list):
        raise _strange(other)
    return told


def _array_of(told: Any, other: int) -> tuple[str, tuple[int, ...], np.dtype[Any]]:
    """A name, a shape and a kind of plain numbers, as :func:`send_arrays` lists them."""
    try:
        name, shape, kind = told
        found = np.dtype(str(kind))
    except (TypeError, ValueError):
        raise _strange(other) from None
    sizes = isinstance(shape, list) and len(shape) <= _MOST_SIDES and all(type(n) is int and n >= 0 for n in shape)
    if not isinstance(name, str) or not sizes or found.kind not in _KINDS or found.fields or found.subdtype:
        raise _strange(other)
    return name, tuple(shape), found


def _strange(other: int) -> RanksError:
    return RanksError(
        f"rank {other} said what no process of this version says",
        mend="check that nobody else can reach where the processes meet, and run the same command again",
    )
