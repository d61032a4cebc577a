"""Recorded events: what is written is what is read; nothing outside the closed set gets in or out."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import dp_accounting as dpa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privsynth.documents import canonical
from privsynth.errors import BudgetError, ModelError
from privsynth.privacy.accountant import mu_squared
from privsynth.privacy.events import Receipt, decode, encode
from tests.receipts import receipt

LAW = settings(deadline=None, derandomize=True)

NOISE = st.floats(0.1, 1e6)
LEAVES = st.one_of(
    st.builds(dpa.GaussianDpEvent, NOISE),
    st.builds(dpa.LaplaceDpEvent, NOISE),
    st.just(dpa.NoOpDpEvent()),
    st.builds(lambda q, noise: dpa.PoissonSampledDpEvent(q, dpa.GaussianDpEvent(noise)), st.floats(1e-6, 1), NOISE),
)
EVENTS = st.recursive(
    LEAVES,
    lambda inner: (
        st.builds(dpa.ComposedDpEvent, st.lists(inner, max_size=3))
        | st.builds(dpa.SelfComposedDpEvent, inner, st.integers(1, 1000))
    ),
    max_leaves=6,
)


@LAW
@given(EVENTS)
def test_an_event_survives_canonical_json(event: Any) -> None:
    written = canonical(encode(event))
    assert decode(json.loads(written)) == event
    assert canonical(encode(decode(json.loads(written)))) == written


def test_the_price_survives_too() -> None:
    event = dpa.ComposedDpEvent([dpa.GaussianDpEvent(0.1 + 0.2), dpa.LaplaceDpEvent(1 / 3)])
    assert mu_squared(decode(json.loads(canonical(encode(event))))) == mu_squared(event)


@pytest.mark.parametrize(
    "event",
    [
        dpa.ZCDpEvent(0.1),
        dpa.NonPrivateDpEvent(),
        dpa.UnsupportedDpEvent(),
        dpa.ComposedDpEvent([dpa.GaussianDpEvent(1.0), dpa.ZCDpEvent(0.1)]),
    ],
)
def test_events_outside_the_closed_set_cannot_be_written(event: Any) -> None:
    with pytest.raises(BudgetError) as refusal:
        encode(event)
    assert refusal.value.mend


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"type": "zcdp", "rho": 1.0},
        {"type": "gaussian"},
        {"type": "gaussian", "noise multiplier": "wide"},
        {"type": "composed", "events": 3},
        {"type": "composed", "events": [{"type": "os.system"}]},
        {"type": "self composed", "event": {"type": "no-op"}, "count": None},
        [],
        "gaussian",
        None,
    ],
)
def test_what_is_not_an_event_cannot_be_read(value: Any) -> None:
    with pytest.raises(ModelError) as refusal:
        decode(value)
    assert refusal.value.mend


RECEIPT = receipt(event=encode(dpa.GaussianDpEvent(5.5)))


def test_a_receipt_survives_json() -> None:
    assert Receipt.from_json(json.loads(json.dumps(RECEIPT.to_json()))) == RECEIPT


def test_a_receipt_with_more_or_fewer_fields_is_refused() -> None:
    whole = RECEIPT.to_json()
    values: list[Any] = [{**whole, "extra": 1}, {k: v for k, v in whole.items() if k != "noise"}, [], None]
    for value in values:
        with pytest.raises(ModelError):
            Receipt.from_json(value)


def test_a_receipt_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        RECEIPT.epsilon = 0.1  # type: ignore[misc]  # the fault under test
