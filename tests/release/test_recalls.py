"""Lists of recalls: what they say, who signs them, and that `verify` honours them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from privsynth.documents import canonical
from privsynth.errors import BundleError, StorageError, UsageError
from privsynth.release.recalls import PAYLOAD_TYPE, Recall, Recalls, load_recalls, write_recalls
from privsynth.release.verify import verify
from privsynth.signing import load_trust, new_key, sign_envelope

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
TODAY = NOW.date()
DUE = date(2027, 1, 1)


def recall(source: str, first: str, last: str) -> Recall:
    return Recall.model_validate({"source": source, "from": first, "until": last})


@pytest.fixture
def listed(bundle: Path, world: Any) -> Any:
    """Write a signed list of recalls: (recalls) → its path."""

    def write(*recalls: Recall, issued: date = TODAY, due: date = DUE, key: Any = None) -> Path:
        path = bundle.parent / f"recalls-{len(list(bundle.parent.iterdir()))}.json"
        write_recalls(path, Recalls.of(*recalls, issued=issued, due=due), key or world.key)
        return path

    return write


def made(bundle: Path, world: Any) -> tuple[str, date]:
    """The release's source and the day on which it was made."""
    found = verify(bundle, now=NOW)
    return found.receipt.source, datetime.fromisoformat(found.created).astimezone(UTC).date()


def test_a_list_that_recalls_others(bundle: Path, world: Any, listed: Any) -> None:
    source, day = made(bundle, world)
    before, after = str(day - timedelta(days=1)), str(day + timedelta(days=1))
    path = listed(recall(f"{source}x", "2000-01-01", "2100-01-01"), recall(source, "2000-01-01", before),
                  recall(source, after, "2100-01-01"))  # fmt: skip
    assert verify(bundle, now=NOW, recalls=path).receipt.source == source
    assert verify(bundle, now=NOW, recalls=listed()).receipt.source == source


@pytest.mark.parametrize("spread", [0, 1, 400])
def test_a_recalled_release_is_refused(bundle: Path, world: Any, listed: Any, spread: int) -> None:
    source, day = made(bundle, world)
    wide = timedelta(days=spread)
    with pytest.raises(BundleError, match=f"recalled: releases of source '{source}'") as caught:
        verify(bundle, now=NOW, recalls=listed(recall(source, str(day - wide), str(day + wide))))
    assert caught.value.exit_code == 4
    assert "stop using it" in caught.value.mend


def test_an_old_list_is_refused(bundle: Path, world: Any, listed: Any) -> None:
    """A receiver who is kept from the newer list must not be lulled by the older one."""
    path = listed(issued=date(2026, 10, 1), due=date(2026, 11, 20))
    with pytest.raises(BundleError, match="is old: the next was due on 2026-11-20"):
        verify(bundle, now=NOW, recalls=path)
    verify(bundle, now=NOW, recalls=listed(issued=date(2026, 10, 1), due=TODAY))
    with pytest.raises(BundleError, match="of a later day"):
        verify(bundle, now=NOW, recalls=listed(issued=date(2026, 11, 22)))


def test_a_list_of_a_stranger(bundle: Path, listed: Any, tmp_path: Path) -> None:
    from privsynth.signing import load_key

    new_key(tmp_path / "other.key", name="Stranger")
    with pytest.raises(BundleError, match="does not list"):
        verify(bundle, now=NOW, recalls=listed(key=load_key(tmp_path / "other.key")))


def test_any_byte_counts(bundle: Path, listed: Any) -> None:
    path = listed(recall("a/b", "2026-01-01", "2026-02-01"))
    whole, trust = path.read_bytes(), load_trust(bundle.parent / "trust.json")
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(BundleError):
            load_recalls(path, trust, now=NOW)
    for other in (b"", whole[:-1], whole + b"\n"):
        path.write_bytes(other)
        with pytest.raises(BundleError):
            load_recalls(path, trust, now=NOW)
    with pytest.raises(BundleError, match="cannot be read"):
        load_recalls(bundle.parent / "none.json", trust, now=NOW)
    with pytest.raises(UsageError, match="time zone"):
        load_recalls(path, trust, now=datetime(2026, 1, 1))


GOOD = {"privsynth-recalls": 1, "issued": "2026-11-21", "next": "2027-01-01", "recalls": []}


@pytest.mark.parametrize(
    "change",
    [
        {"privsynth-recalls": 2},
        {"next": "2026-11-21"},
        {"next": "soon"},
        {"issued": "2026-02-30"},
        {"releases": ["release-7"]},
        {"recalls": [{"source": "a", "from": "2026-02-01", "until": "2026-01-01"}]},
        {"recalls": [{"source": "a", "from": "2026-01-01", "until": "2026-01-01", "hold": "x"}]},
        {"recalls": [{"source": "", "from": "2026-01-01", "until": "2026-01-01"}]},
    ],
)
def test_lists_that_say_something_else(bundle: Path, world: Any, change: dict[str, Any]) -> None:
    """No list names a release, a hold or a person: there is no key for it."""
    path, trust = bundle.parent / "r.json", load_trust(bundle.parent / "trust.json")
    path.write_bytes(sign_envelope(PAYLOAD_TYPE, canonical(GOOD), world.key))
    load_recalls(path, trust, now=NOW)
    path.write_bytes(sign_envelope(PAYLOAD_TYPE, canonical({**GOOD, **change}), world.key))
    with pytest.raises(BundleError):
        load_recalls(path, trust, now=NOW)


def test_another_kind_of_envelope(bundle: Path, world: Any) -> None:
    with pytest.raises(BundleError, match="not of type"):
        verify(bundle, now=NOW, recalls=bundle / "statement.dsse.json")


def test_a_list_is_written_once(listed: Any, world: Any) -> None:
    path = listed()
    with pytest.raises(StorageError, match="exists"):
        write_recalls(path, Recalls.of(issued=TODAY, due=DUE), world.key)
