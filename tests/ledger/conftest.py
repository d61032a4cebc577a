"""Fixtures of the ledger's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from privsynth.ledger.ledger import Ledger
from tests.ledger.world import Hands, opened


@pytest.fixture
def clock() -> Hands:
    """A clock that is moved by hand."""
    return Hands()


@pytest.fixture
def ledger(tmp_path: Path, clock: Hands) -> Ledger:
    """A new ledger in ``tmp_path / 'l.db'``, for an analyst."""
    return opened(tmp_path, clock=clock)
