"""The transcript's durable form: stable, exact, and closed to anything else."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privsynth.data.learned import Learned
from privsynth.errors import ModelError
from privsynth.generators.marginals.transcript import MOST_COUNT, MarginalTranscript, Measurement
from privsynth.privacy.table import MAX_SIGMA, MIN_SIGMA, dyadic_at_least

ints = st.integers(-MOST_COUNT, MOST_COUNT)


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
        ("one-way", "pair", "loose")[len(shape) - 1],
        tuple(range(len(shape))),
        groups,
        counts,
        draw(st.floats(MIN_SIGMA, MAX_SIGMA).map(dyadic_at_least)),
        draw(st.integers(1, 9)),
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


def table(**changes: Any) -> bytes:
    """A transcript of one table over two columns, so changed."""
    zeros = np.zeros(3, dtype=np.int32)
    whole = Measurement("pair", (0, 2), (zeros, None), np.ones((1, 2), dtype=np.int64), 2.5, 3)
    return MarginalTranscript((replace(whole, **changes),), "recipe", "os-secure").to_bytes()


def cube(width: int) -> dict[str, Any]:
    """Fields of a table of so many columns."""
    counts = np.ones((1,) * width, dtype=np.int64)
    return {"clique": tuple(range(width)), "groups": (None,) * width, "counts": counts}


HOSTILE: dict[str, dict[str, Any]] = {
    "a stage that there is not": {"stage": "nonsense"},
    "a pair of three": cube(3),
    "a triple of two": {"stage": "triple"},
    "four loose columns": {"stage": "loose", **cube(4)},
    "a query of no column": {"stage": "query", **cube(0)},
    "a query of four": {"stage": "query", **cube(4)},
    "a one-way of two": {"stage": "one-way"},
    "columns out of order": {"clique": (2, 0)},
    "a column twice": {"clique": (2, 2)},
    "a negative column": {"clique": (-1, 0)},
    "a sigma beyond the sampler": {"sigma": 1e200},
    "a sigma below the sampler": {"sigma": 2.0**-5},
    "a sigma off the grid": {"sigma": 2.0**10 + 1},
    "no noise": {"sigma": 0.0},
    "a contribution of none": {"contribution": 0},
    "a count too great": {"counts": np.array([[1, MOST_COUNT + 1]])},
    "a count too small": {"counts": np.array([[1, -(2**62)]])},
    "a map with two axes": {"groups": (np.zeros((1, 3), dtype=np.int32), None)},
    "a map below 0": {"groups": (np.array([0, -1, 0], dtype=np.int32), None)},
    "a map of fractions": {"groups": (np.zeros(3), None)},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_no_fit_measures_is_refused(name: str) -> None:
    MarginalTranscript.from_bytes(table())
    with pytest.raises(ModelError):
        MarginalTranscript.from_bytes(table(**HOSTILE[name]))


ENTRIES: list[Any] = [
    None, 1, "x", [], {}, {"stage": []}, {"stage": None}, {"clique": [1e999]}, {"clique": None}, {"groups": 3},
    {"groups": ["nope"]}, {"sigma": math.nan}, {"sigma": math.inf}, {"sigma": None}, {"contribution": 1e999},
]  # fmt: skip


def listed(entry: Any) -> bytes:
    """A transcript of one table, listed as ``entry``."""
    from safetensors.numpy import save

    learned = Learned().to_json()
    head = {"format": 1, "recipe": "r", "noise": "seeded", "measurements": [entry], "learned": learned, "domains": 0}
    return save({"counts.00000": np.ones(3, dtype=np.int64)}, metadata={"transcript": json.dumps(head)})


@pytest.mark.parametrize("entry", ENTRIES, ids=str)
def test_a_listing_of_any_form_is_refused_by_type(entry: Any) -> None:
    whole = {"stage": "one-way", "clique": [0], "groups": [None], "sigma": 1.0, "contribution": 1}
    assert len(MarginalTranscript.from_bytes(listed(whole)).measurements) == 1
    with pytest.raises(ModelError):
        MarginalTranscript.from_bytes(listed({**whole, **entry} if isinstance(entry, dict) and entry else entry))
