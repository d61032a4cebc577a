"""A receipt of what a release cost, for tests of what carries one."""

from __future__ import annotations

from typing import Any

from privsynth.privacy.events import Receipt


def receipt(**changes: Any) -> Receipt:
    """A release at (1, 1e-9) with a gate's share of 0.15, with fields changed."""
    given: dict[str, Any] = {
        "hold": "h-0001",
        "population": "st-anna-patients",
        "source": "ehr/encounters",
        "purpose": "medical-research",
        "recipient": "university-hospital",
        "unit": "patient",
        "contribution": 12,
        "person_rows": 1,
        "epsilon": 1.0,
        "delta": 1e-9,
        "neighbours": "add-or-remove",
        "mu": 0.18197,
        "mu_fit": 0.16776,
        "mu_gate": 0.07047,
        "event": {"type": "gaussian", "noise multiplier": 5.4954},
    }
    return Receipt(**{**given, **changes})
