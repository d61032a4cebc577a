"""The nearest allowed request: allowed indeed, changed only where a rule denied, and never by a guess of names."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from privsynth.policy.decide import decide
from privsynth.policy.document import Policy
from privsynth.policy.nearest import nearest
from privsynth.policy.request import Request

GOOD = Request(
    source="ehr/encounters",
    purpose="medical-research",
    recipient="university-hospital",
    consent="register",
    today=dt.date(2026, 6, 1),
    epsilon=1.0,
    delta=1e-9,
    unit="patient",
    contribution=12,
    actor="a.kim@st-anna.example",
    columns=("readmitted", "sex"),
    kind="marginals",
)


def test_what_is_allowed_is_its_own_nearest(healthcare: Policy) -> None:
    found = nearest(healthcare, GOOD)
    assert found.request == GOOD and found.changes == () and found.stuck == ()


@pytest.mark.parametrize(
    ("asked", "changes"),
    [
        ({"epsilon": 3.0}, (("epsilon", 3.0, 1.0),)),
        ({"delta": 1e-6}, (("delta", 1e-6, 1e-9),)),
        ({"contribution": 40, "unit": "visit"}, (("unit", "visit", "patient"), ("contribution", 40, 12))),
        ({"purpose": "marketing"}, (("purpose", "marketing", "medical-research"),)),
        ({"recipient": "insurer"}, (("recipient", "insurer", "university-hospital"),)),
        ({"actor": "x@y.example"}, (("actor", "x@y.example", "a.kim@st-anna.example"),)),
        ({"noise": "seeded", "public_help": True}, (("noise", "seeded", "os-secure"), ("public_help", True, False))),
    ],
)
def test_only_what_was_denied_changes_and_to_the_limit(
    healthcare: Policy, asked: dict[str, Any], changes: tuple[object, ...]
) -> None:
    assert nearest(healthcare, replace(GOOD, **asked)).changes == changes


@pytest.mark.parametrize(
    ("asked", "stuck"),
    [
        ({"today": dt.date(2040, 1, 1)}, "PS-VAL-001"),
        ({"source": "ehr/copy"}, "PS-SRC-001"),
        ({"columns": ()}, "PS-GATE-001"),
    ],
)
def test_what_no_change_of_the_request_mends_is_named(healthcare: Policy, asked: dict[str, Any], stuck: str) -> None:
    found = nearest(healthcare, replace(GOOD, **asked))
    assert found.request is None and stuck in found.stuck


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    epsilon=st.floats(1e-4, 50),
    delta=st.floats(1e-12, 0.5),
    contribution=st.integers(0, 100),
    unit=st.sampled_from(["patient", "visit"]),
    purpose=st.sampled_from(["medical-research", "marketing", ""]),
    recipient=st.sampled_from(["university-hospital", "insurer"]),
    actor=st.sampled_from(["a.kim@st-anna.example", "j.brandt@st-anna.example", "nobody@x.example"]),
    legal_basis=st.sampled_from([(), ("Art6(1)(f)",), ("Art6(1)(a)",)]),
    opened_report=st.booleans(),
)
def test_what_it_gives_is_allowed(healthcare: Policy, **asked: Any) -> None:
    request = replace(GOOD, **asked)
    found = nearest(healthcare, request)
    denied = {v.id for v in decide(healthcare, request).refusing}
    assert bool(found.changes) == bool(denied - set(found.stuck)) or found.request is None
    if found.request is None:
        assert found.stuck == ("PS-ROL-003",) and request.actor == "a.kim@st-anna.example"  # the only requester
    else:
        assert decide(healthcare, found.request).allowed


def test_the_smaller_of_two_limits_on_delta_is_taken(healthcare: Policy) -> None:
    found = nearest(healthcare, replace(GOOD, delta=1e-3))
    assert found.request is not None and found.request.delta == 1e-9
