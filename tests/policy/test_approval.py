"""Approvals: of one meaning, by distinct people with distinct keys, the owner's own counting for nothing."""

from __future__ import annotations

import datetime as dt
import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path

import pytest

from privsynth.errors import ApprovalMissing, StorageError, UsageError
from privsynth.policy.approval import PAYLOAD_TYPE, approvals, approve, folder_of
from privsynth.policy.document import Policy
from privsynth.policy.quorum import ROLE
from privsynth.signing import SigningKey, Trust, TrustedKey, load_key, new_key

Edit = Callable[..., Policy]
TODAY = dt.date(2026, 6, 1)
NOW = dt.datetime(2026, 6, 2, tzinfo=dt.UTC)
BEFORE = "0b" * 32
ITO, MAY, OWNER = "k.ito@st-anna.example", "l.may@st-anna.example", "privacy-office@st-anna.example"


class Ring:
    """Keys of people, and the trust file that names them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.trusted = folder, list[TrustedKey]()

    def key(self, name: str, *, role: str = ROLE, expires: dt.date | None = None) -> SigningKey:
        path = self.folder / f"{len(self.trusted)}.key"
        new_key(path, name=name)
        key = load_key(path)
        self.trusted.append(key.public(name=name, roles=(role,), expires=expires))
        return key

    @property
    def trust(self) -> Trust:
        return Trust.of(*self.trusted, threshold=1)


@pytest.fixture
def ring(tmp_path: Path) -> Ring:
    (tmp_path / "keys").mkdir()
    return Ring(tmp_path / "keys")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return folder_of(tmp_path / "policy.yaml")


def test_two_people_approve(healthcare: Policy, ring: Ring, folder: Path) -> None:
    for person in (MAY, ITO):
        path = approve(healthcare, folder, ring.key(person), person=person, before=BEFORE, today=TODAY)
        assert path.parent == folder and path.name.startswith(healthcare.sha256[:16])
    found = approvals(healthcare, folder, ring.trust, before=BEFORE, now=NOW)
    assert (found.people, found.passed_over) == ((ITO, MAY), ())
    found.demand(2, policy=healthcare)
    with pytest.raises(ApprovalMissing, match="2 of 3 people") as caught:
        found.demand(3, policy=healthcare)
    assert caught.value.exit_code == 5


def test_nothing_there_is_nobody(healthcare: Policy, ring: Ring, folder: Path) -> None:
    ring.key(ITO)
    assert approvals(healthcare, folder, ring.trust, before=BEFORE, now=NOW).people == ()


def test_a_person_counts_once_whatever_keys_she_has(healthcare: Policy, ring: Ring, folder: Path) -> None:
    for name in (ITO, ITO.upper()):
        approve(healthcare, folder, ring.key(name), person=ITO, before=BEFORE, today=TODAY)
    found = approvals(healthcare, folder, ring.trust, before=BEFORE, now=NOW)
    assert len(found.people) == 1
    assert "has approved already" in found.passed_over[0][1]


def test_an_approval_copied_under_another_name_counts_once(healthcare: Policy, ring: Ring, folder: Path) -> None:
    path = approve(healthcare, folder, ring.key(ITO), person=ITO, before=BEFORE, today=TODAY)
    (folder / "copy.json").write_bytes(path.read_bytes())
    assert approvals(healthcare, folder, ring.trust, before=BEFORE, now=NOW).people == (ITO,)


def test_a_change_of_meaning_ends_every_approval(healthcare: Policy, edited: Edit, ring: Ring, folder: Path) -> None:
    approve(edited(), folder, ring.key(ITO), person=ITO, before=BEFORE, today=TODAY)
    assert approvals(edited(), folder, ring.trust, before=BEFORE, now=NOW).people == (ITO,)
    respelled = edited(("epsilon: 6.0", "epsilon: 6"))
    assert approvals(respelled, folder, ring.trust, before=BEFORE, now=NOW).people == (ITO,)
    later = edited(("epsilon: 6.0", "epsilon: 5.9"))
    found = approvals(later, folder, ring.trust, before=BEFORE, now=NOW)
    assert found.people == () and "another state" in found.passed_over[0][1]


def test_nobody_approves_her_own_policy(healthcare: Policy, ring: Ring, folder: Path) -> None:
    key = ring.key(OWNER)
    with pytest.raises(UsageError, match="nobody approves her own"):
        approve(healthcare, folder, key, person=OWNER.upper(), before=BEFORE, today=TODAY)
    said = approve(healthcare, folder, ring.key(ITO), person=ITO, before=BEFORE, today=TODAY)
    found = approvals(healthcare, folder, ring.trust, before=BEFORE, now=NOW, excluded=[ITO.title()])
    assert found.people == () and found.passed_over[0][0] == said.name


def test_the_owner_s_signature_counts_for_nothing_however_it_was_made(
    healthcare: Policy, ring: Ring, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("privsynth.policy.approval.same_person", lambda one, other: False)
    approve(healthcare, folder, ring.key(OWNER), person=OWNER, before=BEFORE, today=TODAY)
    monkeypatch.undo()
    found = approvals(healthcare, folder, ring.trust, before=BEFORE, now=NOW)
    assert found.people == () and "may not approve" in found.passed_over[0][1]


def test_a_key_of_somebody_else_a_key_for_releases_and_a_late_one_do_not_count(
    healthcare: Policy, ring: Ring, folder: Path
) -> None:
    approve(healthcare, folder, ring.key(MAY), person=ITO, before=BEFORE, today=TODAY)
    approve(healthcare, folder, ring.key(ITO, role="release"), person=ITO, before=BEFORE, today=TODAY)
    approve(healthcare, folder, ring.key(ITO, expires=dt.date(2026, 5, 31)), person=ITO, before=BEFORE, today=TODAY)
    unknown = ring.key(ITO)
    approve(healthcare, folder, unknown, person=ITO, before=BEFORE, today=TODAY)
    ring.trusted = ring.trusted[:-1]
    found = approvals(healthcare, folder, ring.trust, before=BEFORE, now=NOW)
    assert found.people == ()
    assert len(found.passed_over) == 4


def test_a_byte_that_was_changed_does_not_count(healthcare: Policy, ring: Ring, folder: Path) -> None:
    path = approve(healthcare, folder, ring.key(ITO), person=ITO, before=BEFORE, today=TODAY)
    raw = path.read_bytes()
    envelope = json.loads(raw)
    assert envelope["payloadType"] == PAYLOAD_TYPE
    said = json.loads(b64decode(envelope["payload"]))
    assert said == {
        "privsynth-approval": 1, "policy": healthcare.id, "version": healthcare.version, "sha256": healthcare.sha256,
        "before": BEFORE, "person": ITO, "on": "2026-06-01",
    }  # fmt: skip
    other = {**envelope, "payload": b64encode(b64decode(envelope["payload"]).replace(b"k.ito", b"m.ito")).decode()}
    for changed in (raw[:-1], raw.replace(b"sig", b"sog"), json.dumps(other).encode(), b"", b"\xff"):
        path.write_bytes(changed)
        found = approvals(healthcare, folder, ring.trust, before=BEFORE, now=NOW)
        assert found.people == () and len(found.passed_over) == 1


def test_one_key_approves_once(healthcare: Policy, ring: Ring, folder: Path) -> None:
    key = ring.key(ITO)
    approve(healthcare, folder, key, person=ITO, before=BEFORE, today=TODAY)
    with pytest.raises(StorageError, match="approved already"):
        approve(healthcare, folder, key, person=ITO, before=BEFORE, today=TODAY)


def test_a_person_is_an_address(healthcare: Policy, ring: Ring, folder: Path) -> None:
    for person in ("ito", "a b@c", "", "k.ito@", "k\nito@x"):
        with pytest.raises(UsageError, match="is not an address"):
            approve(healthcare, folder, ring.key(ITO), person=person, before=BEFORE, today=TODAY)
    assert not folder.exists()


def test_a_folder_that_cannot_be_made(healthcare: Policy, ring: Ring, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        approve(healthcare, tmp_path / "no" / "such", ring.key(ITO), person=ITO, before=BEFORE, today=TODAY)


@pytest.mark.parametrize(("given", "asked"), [("1c" * 32, BEFORE), (None, BEFORE), ("1c" * 32, None)])
def test_given_in_the_place_of_another_policy_it_does_not_count(
    healthcare: Policy, ring: Ring, folder: Path, given: str | None, asked: str | None
) -> None:
    key = ring.key(ITO)
    approve(healthcare, folder, key, person=ITO, before=given, today=TODAY)
    assert approvals(healthcare, folder, ring.trust, before=given, now=NOW).people == (ITO,)
    found = approvals(healthcare, folder, ring.trust, before=asked, now=NOW)
    assert found.people == () and "given to replace" in found.passed_over[0][1]
    approve(healthcare, folder, key, person=ITO, before=asked, today=TODAY)
    assert approvals(healthcare, folder, ring.trust, before=asked, now=NOW).people == (ITO,)


def test_a_policy_does_not_replace_itself(healthcare: Policy, ring: Ring, folder: Path) -> None:
    with pytest.raises(UsageError, match="the same policy"):
        approve(healthcare, folder, ring.key(ITO), person=ITO, before=healthcare.sha256, today=TODAY)


def test_a_person_counts_once_however_her_address_is_typed(healthcare: Policy, ring: Ring, folder: Path) -> None:
    wide = ITO.translate({ord("k"): "\uff4b"})
    for name in (ITO, ITO.upper(), wide, f"\u200b{ITO}"):
        approve(healthcare, folder, ring.key(name), person=ITO, before=BEFORE, today=TODAY)
    assert len(approvals(healthcare, folder, ring.trust, before=BEFORE, now=NOW).people) == 1
