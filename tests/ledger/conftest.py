"""Fixtures of the ledger's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from privsynth.ledger.ledger import Ledger
from tests.ledger.world import Hands, opened
from tests.postgres_server import Server


@pytest.fixture
def clock() -> Hands:
    """A clock that is moved by hand."""
    return Hands()


@pytest.fixture
def ledger(tmp_path: Path, clock: Hands) -> Ledger:
    """A new ledger in ``tmp_path / 'l.db'``, for an analyst."""
    return opened(tmp_path, clock=clock)


@pytest.fixture
def server_url(server: Server) -> Iterator[str]:
    """The address of a new, empty database, which goes again."""
    name = server.new_database()
    yield server.url(name)
    server.run(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a ledger can be made: in a file, and on a server."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'l.db'}"
    found: str = request.getfixturevalue("server_url")
    return found
