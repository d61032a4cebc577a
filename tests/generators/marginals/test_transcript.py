"""The transcript's durable form: stable, exact, and closed to anything else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privsynth.errors import ModelError
from privsynth.generators.marginals.transcript import MarginalTranscript, Measurement

ints = st.integers(-(2**62), 2**62)


@st.composite
def measurements(draw: st.DrawFn) -> Measurement:
    shape = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    cells = int(np.prod(shape))
    counts = np.array(draw(st.lists(ints, min_size=cells, max_size=cells)), dtype=np.int64).reshape(shape)
    groups = tuple(
        np.array(draw(st.lists(st.integers(0, 3), min_size=5, max_size=5)), dtype=np.int32)
        if draw(st.booleans())
        else None
        for _ in shape
    )
    return Measurement(
        "pair", tuple(range(len(shape))), groups, counts, draw(st.floats(0.5, 1e4)), draw(st.integers(1, 9))
    )


@given(st.lists(measurements(), max_size=4))
def test_bytes_round_trip(made: list[Measurement]) -> None:
    transcript = MarginalTranscript(tuple(made), "recipe", "os-secure")
    raw = transcript.to_bytes()
    again = MarginalTranscript.from_bytes(raw)
    assert again.to_bytes() == raw
    assert again.mu_squared == transcript.mu_squared
    for a, b in zip(made, again.measurements, strict=True):
        assert (a.counts == b.counts).all()
        assert (a.sigma, a.contribution, a.clique, a.stage) == (b.sigma, b.contribution, b.clique, b.stage)


def test_anything_else_is_refused() -> None:
    raw = MarginalTranscript((), "r", "os-secure").to_bytes()
    for spoilt in (
        b"",
        b"\x00" * 8,
        raw[:-1],
        raw[1:],
        raw.replace(b"format", b"tamrof"),
        b"\xff" * 64,
        b"PK\x03\x04" * 9,
    ):
        with pytest.raises(ModelError):
            MarginalTranscript.from_bytes(spoilt)


def test_counts_of_another_type_are_refused() -> None:
    import json

    from safetensors.numpy import save

    head = {
        "format": 1,
        "recipe": "r",
        "noise": "os-secure",
        "measurements": [{"stage": "pair", "clique": [0], "groups": [None], "sigma": 1.0, "contribution": 1}],
    }
    raw = save({"counts.00000": np.ones(3)}, metadata={"transcript": json.dumps(head)})
    with pytest.raises(ModelError):
        MarginalTranscript.from_bytes(raw)
