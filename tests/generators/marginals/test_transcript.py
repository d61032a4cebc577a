"""The transcript's durable form: stable, exact, and closed to anything else."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privsynth.data.learned import Learned
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


def test_what_was_learned_goes_along() -> None:
    level, votes = (
        Measurement(stage, (c,), (None,), np.arange(n, dtype=np.int64), 2.5, 3)
        for stage, c, n in (("level", 0, 4), ("votes", 1, 0))
    )
    pair = Measurement("one-way", (0,), (None,), np.ones(2, dtype=np.int64), 2.5, 3)
    learned = Learned(bins={"x": (0.1, 40.0)}, values={"w": ()}, maps={"y": (True, None)})
    whole = MarginalTranscript((pair,), "recipe", "os-secure", learned, (level, votes))
    again = MarginalTranscript.from_bytes(whole.to_bytes())
    assert again.to_bytes() == whole.to_bytes()
    assert again.learned == learned
    assert [m.stage for m in again.domains] == ["level", "votes"]
    assert [m.stage for m in again.measurements] == ["one-way"]
    assert again.domains[1].counts.shape == (0,)
    assert whole.mu_squared == (9 + 9 + 3) / Fraction(2.5) ** 2, "a subject moves votes by the root of k"
    with pytest.raises(ModelError):
        MarginalTranscript.from_bytes(replace(whole, domains=(level, pair)).to_bytes())


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
