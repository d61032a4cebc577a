"""What the gate found, kept inside, and the part of it that may leave."""

from __future__ import annotations

from typing import Any

import pytest

from privsynth.documents import canonical
from privsynth.errors import LedgerError
from privsynth.release.claims import Claims


def test_claims_round_trip(world: Any) -> None:
    assert Claims.from_json(world.claims.to_json()) == world.claims
    canonical(world.claims.to_json())


def test_what_is_published(world: Any) -> None:
    published = world.claims.published()
    assert [finding["rule"] for finding in published] == ["PS-GATE-SCH", "PS-GATE-MEM"]
    assert all("/" not in finding["where"] for finding in published)


@pytest.mark.parametrize("value", [{}, {"findings": [{"rule": "x"}]}, {"findings": 3}, {"findings": None}])
def test_other_values_are_no_claims(value: dict[str, Any]) -> None:
    with pytest.raises(LedgerError):
        Claims.from_json(value)
