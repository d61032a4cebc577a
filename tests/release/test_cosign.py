"""A release that two people sign: the second adds a signature, offline, over the same bytes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from privsynth.documents import identity
from privsynth.errors import BundleError, KeyFileError, PrivsynthError, StorageError, UsageError
from privsynth.release import cosign
from privsynth.release.cosign import add_signature
from privsynth.release.predicate import PAYLOAD_TYPE, STATEMENT
from privsynth.release.verify import checked, verify
from privsynth.signing import (
    SigningKey,
    Trust,
    load_key,
    load_trust,
    new_key,
    sign_envelope,
    verify_envelope,
    write_trust,
)
from tests.desk import Desk, cli
from tests.release.conftest import POLICY

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
TWO = {**POLICY, "approval": {"release": {"people": 2}}}


@pytest.fixture
def second(tmp_path: Path) -> Path:
    """The key file of another person."""
    path = tmp_path / "lee" / "second.key"
    path.parent.mkdir()
    new_key(path, name="B. Lee")
    return path


@pytest.fixture
def waiting(world: Any, second: Path, tmp_path: Path) -> Path:
    """A bundle whose trust file asks for two people, signed by one of them."""
    folder: Path = world.release().sign(world.key_path, now=NOW).write(tmp_path / "release")
    trusting(world, second, tmp_path, threshold=2)
    return folder


def trusting(world: Any, second: Path, folder: Path, *, threshold: int, **changes: Any) -> Path:
    """A trust file with both people."""
    told: dict[str, Any] = {"name": "B. Lee", **changes}
    keys = (*world.trust.keys, load_key(second).public(**told))
    path = folder / "trust.json"
    path.unlink(missing_ok=True)
    write_trust(path, Trust.of(*keys, threshold=threshold))
    return path


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_two_signatures_verify_where_two_are_asked_for(world: Any, waiting: Path, second: Path) -> None:
    with pytest.raises(BundleError, match="1 of the 2 people"):
        verify(waiting, now=NOW)
    before = files(waiting)
    found = add_signature(waiting, second, now=NOW)
    assert (found.signers, found.people) == (("A. Kim", "B. Lee"), 2)
    assert verify(waiting, now=NOW).signers == ("A. Kim", "B. Lee")
    after = files(waiting)
    assert {name for name in after if after[name] != before.get(name)} == {STATEMENT}
    assert {path.name for path in waiting.parent.iterdir()} == {"lee", "release", "trust.json"}


def test_it_is_the_envelope_that_both_would_have_signed_at_once(world: Any, waiting: Path, second: Path) -> None:
    raw = (waiting / STATEMENT).read_bytes()
    payload = verify_envelope(raw, world.trust, payload_type=PAYLOAD_TYPE, role="release", now=NOW).payload
    add_signature(waiting, second, now=NOW)
    keys: list[SigningKey] = [load_key(second), world.key]
    assert (waiting / STATEMENT).read_bytes() == sign_envelope(PAYLOAD_TYPE, payload, *keys)


def test_it_is_made_on_another_machine_and_sent_back(world: Any, waiting: Path, second: Path, tmp_path: Path) -> None:
    away = tmp_path / "away"
    away.mkdir()
    shutil.copytree(waiting, away / "copy")
    add_signature(away / "copy", second, trust=tmp_path / "trust.json", now=NOW)
    shutil.copy(away / "copy" / STATEMENT, waiting / STATEMENT)
    assert verify(waiting, now=NOW).signers == ("A. Kim", "B. Lee")


def test_the_policy_of_the_release_asks_for_two(world: Any, second: Path, tmp_path: Path) -> None:
    release = world.release(policy=TWO, policy_sha256=identity(TWO)).sign(world.key_path, now=NOW)
    folder = release.write(tmp_path / "release")
    trusting(world, second, tmp_path, threshold=1)
    with pytest.raises(BundleError, match="1 of the 2 people whom its policy asks for"):
        verify(folder, now=NOW)
    assert add_signature(folder, second, now=NOW).people == 2
    assert verify(folder, now=NOW).people == 2


def test_three_people_sign_one_after_the_other(world: Any, waiting: Path, second: Path, tmp_path: Path) -> None:
    third = tmp_path / "lee" / "third.key"
    new_key(third, name="C. Roy")
    keys = (*world.trust.keys, load_key(second).public(name="B. Lee"), load_key(third).public(name="C. Roy"))
    (tmp_path / "trust.json").unlink()
    write_trust(tmp_path / "trust.json", Trust.of(*keys, threshold=3))
    found = add_signature(waiting, third, now=NOW)
    assert (len(found.signers), found.people) == (2, 3)
    with pytest.raises(BundleError, match="2 of the 3 people"):
        verify(waiting, now=NOW)
    assert add_signature(waiting, second, now=NOW).signers == ("A. Kim", "B. Lee", "C. Roy")
    assert verify(waiting, now=NOW).signers == ("A. Kim", "B. Lee", "C. Roy")


# --- what is refused, with nothing changed ---------------------------------------------------------


def refused(folder: Path, key: Path, error: type[PrivsynthError], says: str, **given: Any) -> None:
    before = files(folder.parent)
    with pytest.raises(error, match=says) as caught:
        add_signature(folder, key, **{"now": NOW, **given})
    assert caught.value.mend
    assert files(folder.parent) == before


def test_a_key_signs_once(world: Any, waiting: Path, second: Path) -> None:
    refused(waiting, world.key_path, BundleError, "signed by this key already")
    add_signature(waiting, second, now=NOW)
    refused(waiting, second, BundleError, "signed by this key already")


def test_a_person_signs_once(world: Any, waiting: Path, second: Path, tmp_path: Path) -> None:
    (tmp_path / "trust.json").unlink()
    again = load_key(second).public(name="A. Kim")
    other = tmp_path / "lee" / "third.key"
    write_trust(tmp_path / "trust.json", Trust.of(*world.trust.keys, again, new_key(other, name="C. Roy"), threshold=2))
    refused(waiting, second, BundleError, "two keys of one person count once")


def test_a_key_whose_signature_would_not_count_does_not_sign(world: Any, waiting: Path, second: Path) -> None:
    folder = waiting.parent
    new_key(folder / "other.key", name="D")
    refused(waiting, folder / "other.key", KeyFileError, "does not list this key")
    trusting(world, second, folder, threshold=2, roles=("policy",))
    refused(waiting, second, KeyFileError, "does not list this key for 'release'")
    trusting(world, second, folder, threshold=2, expires=date(2026, 11, 20))
    refused(waiting, second, KeyFileError, "expired")
    refused(waiting, folder / "no.key", KeyFileError, "cannot be read")


def flip(name: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        raw = bytearray((folder / name).read_bytes())
        raw[len(raw) // 2] ^= 1
        (folder / name).write_bytes(bytes(raw))

    return spoil


@pytest.mark.parametrize(
    "spoil",
    [
        *(flip(name) for name in ("data/table.csv", "card.md", "manifest.json", STATEMENT)),
        lambda folder: (folder / "more.txt").touch(),
        lambda folder: (folder / "privacy.md").unlink(),
    ],
)
def test_nobody_signs_what_does_not_verify(waiting: Path, second: Path, spoil: Callable[[Path], None]) -> None:
    spoil(waiting)
    refused(waiting, second, BundleError, ".")


def test_nobody_signs_what_only_strangers_signed(world: Any, waiting: Path, second: Path, tmp_path: Path) -> None:
    (tmp_path / "trust.json").unlink()
    write_trust(tmp_path / "trust.json", Trust.of(load_key(second).public(name="B. Lee")))
    refused(waiting, second, BundleError, "does not list")
    refused(waiting, second, BundleError, "inside the bundle", trust=waiting / "card.json")
    refused(waiting, second, UsageError, "no time zone", now=datetime(2026, 1, 1))


def test_a_disk_that_is_full_leaves_the_envelope_as_it_was(
    waiting: Path, second: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    refused(waiting, second, StorageError, "No space left")


# --- on the command line ---------------------------------------------------------------------------


def test_the_command_line(world: Any, waiting: Path, tmp_path: Path) -> None:
    (tmp_path / "pass").write_text("long enough\n")
    key = tmp_path / "locked.key"
    public = new_key(key, name="B. Lee", passphrase=b"long enough")
    third = new_key(tmp_path / "third.key", name="C. Roy")
    write_trust(tmp_path / "three.json", Trust.of(*world.trust.keys, public, third, threshold=3))
    trust = ("--trust", tmp_path / "three.json")
    assert cli("sign", "--add", waiting, "--key", key, *trust).code == 2
    said = cli("sign", "--add", waiting, "--key", key, *trust, "--passphrase-file", tmp_path / "pass")
    assert said.code == 0, said.err
    assert "signed by A. Kim, B. Lee" in said.out
    assert "1 more must sign" in said.out
    told = cli("sign", "--add", waiting, "--key", tmp_path / "third.key", *trust, "--json").json
    assert (told["signers"], told["people"], told["lacking"]) == (["A. Kim", "B. Lee", "C. Roy"], 3, 0)
    assert cli("verify", waiting, *trust).code == 0
    assert cli("sign", "--add", waiting, "--key", tmp_path / "third.key", *trust).code == 4


def test_a_run_under_a_policy_of_two_people_waits_for_the_second(desk: Desk) -> None:
    desk.edit("policy.yaml", ("\nroles:\n", "\napproval: {release: {people: 2}}\nroles:\n"))
    said = desk.run()
    assert said.code == 0, said.err
    assert "1 of 2 people" in said.out
    second = new_key(desk.folder / "second.key", name="B. Lee")
    trust = ("--trust", desk.folder / "both.json")
    write_trust(desk.folder / "both.json", Trust.of(*load_trust(desk.folder / "trust.json").keys, second))
    assert cli("verify", desk.release, *trust).code == 4
    added = cli("sign", "--add", desk.release, "--key", desk.folder / "second.key", *trust)
    assert added.code == 0, added.err
    assert "more must sign" not in added.out
    for told in (said.out, added.out):
        assert "receivers need `threshold: 2` in their trust file, or the ledger's key" in told
    assert cli("verify", desk.release, *trust, "--json").json["signers"] == ["B. Lee", "Lab office"]


def test_what_was_verified_is_what_is_signed(
    world: Any, waiting: Path, second: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another statement that is put in the place of the first while it is verified gets no signature."""
    other = world.release().sign(world.key_path, now=datetime(2026, 11, 22, tzinfo=UTC)).files[STATEMENT]
    first = (waiting / STATEMENT).read_bytes()

    def swapped(*given: Any, **named: Any) -> Any:
        found = checked(*given, **named)
        (waiting / STATEMENT).write_bytes(other)
        return found

    monkeypatch.setattr(cosign, "checked", swapped)
    add_signature(waiting, second, now=NOW)
    trust = load_trust(tmp_path / "trust.json")
    told: dict[str, Any] = {"payload_type": PAYLOAD_TYPE, "role": "release", "now": NOW}
    signed = verify_envelope((waiting / STATEMENT).read_bytes(), trust, **told)
    assert signed.payload == verify_envelope(first, world.trust, **told).payload
    assert verify(waiting, now=NOW).signers == ("A. Kim", "B. Lee")


@pytest.mark.parametrize("name", ["a. kim", "A.  Kim", "A. KIM"])
def test_another_key_of_one_person_is_hers_however_her_name_is_typed(
    world: Any, waiting: Path, second: Path, tmp_path: Path, name: str
) -> None:
    before = files(waiting)
    trusting(world, second, tmp_path, threshold=1, name=name)
    with pytest.raises(BundleError, match="two keys of one person count once"):
        add_signature(waiting, second, now=NOW)
    assert files(waiting) == before


def test_the_page_verifies_by_hand_whoever_signed(world: Any, waiting: Path, second: Path, tmp_path: Path) -> None:
    """The script of docs/verify.md, with the keys in either order and more of them than have signed."""
    page = (Path(__file__).parents[2] / "docs" / "verify.md").read_text("utf-8")
    [script] = re.findall(r"```python\n(import base64.*?)```", page.partition("## By hand")[2], flags=re.DOTALL)
    trust = json.loads((tmp_path / "trust.json").read_text())

    def by_hand(keys: list[Any]) -> str:
        (tmp_path / "trust.json").write_text(json.dumps({**trust, "keys": keys}))
        done = subprocess.run([sys.executable, "-c", script], check=False, cwd=tmp_path, capture_output=True, text=True)
        return "" if done.returncode == 0 else done.stderr

    for _ in range(2):
        assert by_hand(trust["keys"]) == by_hand(trust["keys"][::-1]) == ""
        if len(json.loads((waiting / STATEMENT).read_bytes())["signatures"]) == 1:
            add_signature(waiting, second, now=NOW)
    assert "KeyError" in by_hand(trust["keys"][:1])
    raw = json.loads((waiting / STATEMENT).read_bytes())
    raw["signatures"][1]["sig"] = raw["signatures"][0]["sig"]
    (waiting / STATEMENT).write_text(json.dumps(raw))
    assert "InvalidSignature" in by_hand(trust["keys"])
