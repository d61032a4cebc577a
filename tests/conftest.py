"""Desks for tests of the command line and of the road: laid out once, copied for each test; a server for ledgers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from privsynth.generators.images.statistics import ImageStatistics
from privsynth.generators.marginals import Marginals
from tests.after_fits import looked_at, looked_at_pictures
from tests.desk import Desk, lay
from tests.postgres_server import NoServer, Server, postgres_server


@pytest.fixture(scope="session", autouse=True)
def noise_is_looked_at() -> Iterator[None]:
    """After every fit of this process: chi-square of transcript minus true counts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Marginals, "fit", looked_at(Marginals.fit))
        patch.setattr(ImageStatistics, "fit", looked_at_pictures(ImageStatistics.fit))
        yield


@pytest.fixture(scope="session")
def laid(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A desk that nobody touches, without a ledger."""
    return lay(tmp_path_factory.mktemp("laid"))


@pytest.fixture(scope="session")
def ended(laid: Desk, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A desk that nobody touches, whose study has run to its release."""
    folder = tmp_path_factory.mktemp("ended") / "desk"
    shutil.copytree(laid.folder, folder)
    desk = Desk(folder)
    said = desk.run()
    assert said.code == 0, said.err
    return desk


@pytest.fixture
def desk(laid: Desk, tmp_path: Path) -> Desk:
    """A desk of one's own, without a ledger."""
    shutil.copytree(laid.folder, tmp_path / "desk")
    return Desk(tmp_path / "desk")


@pytest.fixture
def finished(ended: Desk, tmp_path: Path) -> Desk:
    """A desk of one's own, with ledger, model and release."""
    shutil.copytree(ended.folder, tmp_path / "finished")
    return Desk(tmp_path / "finished")


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A PostgreSQL server of this test process; skipped, saying why, where there can be none."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    try:
        with postgres_server() as running:
            yield running
    except NoServer as why:
        pytest.skip(str(why))
