"""Keys, trust files and envelopes: what opens, and that nothing else does."""

from __future__ import annotations

import base64
import json
import shutil
import stat
import subprocess
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey  # type: ignore[attr-defined]  # re-exported without __all__

from privsynth.documents import canonical, plain
from privsynth.errors import BundleError, KeyFileError, PrivsynthError, StorageError, UsageError
from privsynth.signing import (
    MAX_ENVELOPE,
    SigningKey,
    Trust,
    load_entry,
    load_key,
    load_trust,
    merged_trust,
    new_key,
    parse_canonical,
    same_person,
    sign_envelope,
    verify_envelope,
    write_trust,
)

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
TYPE = "application/vnd.in-toto+json"


@pytest.fixture(scope="module")
def kim(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    path = tmp_path_factory.mktemp("kim") / "k.key"
    new_key(path, name="Kim")
    return load_key(path)


@pytest.fixture(scope="module")
def lee(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    path = tmp_path_factory.mktemp("lee") / "k.key"
    new_key(path, name="Lee")
    return load_key(path)


def opens(raw: bytes, trust: Trust, *, now: datetime = NOW, role: str = "release") -> tuple[str, ...]:
    return verify_envelope(raw, trust, payload_type=TYPE, role=role, now=now).signers


# --- keys ---------------------------------------------------------------------------------------


def test_a_key_file_is_for_its_owner_and_round_trips(tmp_path: Path) -> None:
    public = new_key(tmp_path, name="Kim")
    path = tmp_path / "release.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    key = load_key(path)
    assert key.public(name="Kim") == public
    assert (public.roles, public.expires) == (("release",), None)


@pytest.mark.parametrize("passphrase", [b"correct horse", b"x", "pässwörd".encode(), b"y" * 5000, b"\x00\x01"])
def test_a_passphrase_locks_the_file_with_scrypt(tmp_path: Path, passphrase: bytes) -> None:
    public = new_key(tmp_path / "k", name="Kim", passphrase=passphrase)
    raw = (tmp_path / "k").read_bytes()
    assert raw.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    der = base64.b64decode(b"".join(raw.splitlines()[1:-1]))
    assert bytes.fromhex("2b06010401da47040b") in der  # scrypt, RFC 7914
    assert load_key(tmp_path / "k", passphrase=passphrase).keyid == public.keyid
    for wrong in (None, b"wrong", b""):
        with pytest.raises(KeyFileError) as caught:
            load_key(tmp_path / "k", passphrase=wrong)
        assert "passphrase" in str(caught.value)
        assert b"".join(raw.splitlines()[1:2]).decode() not in str(caught.value)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_reads_a_locked_key(tmp_path: Path) -> None:
    public = new_key(tmp_path / "k", name="Kim", passphrase=b"secret")
    command = ["openssl", "pkey", "-in", str(tmp_path / "k"), "-passin", "pass:secret", "-pubout"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == public.public, done.stderr


def test_a_key_file_is_never_overwritten(tmp_path: Path) -> None:
    new_key(tmp_path / "k", name="Kim")
    before = (tmp_path / "k").read_bytes()
    with pytest.raises(StorageError, match="exists"):
        new_key(tmp_path / "k", name="Kim")
    (tmp_path / "dangling").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="exists"):
        new_key(tmp_path / "dangling", name="Kim")
    assert (tmp_path / "k").read_bytes() == before
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o700, 0o400, 0o4600])
def test_a_key_file_of_another_mode_is_refused(tmp_path: Path, mode: int) -> None:
    new_key(tmp_path / "k", name="Kim")
    (tmp_path / "k").chmod(mode)
    with pytest.raises(KeyFileError) as caught:
        load_key(tmp_path / "k")
    assert caught.value.mend == f"chmod 600 {tmp_path / 'k'}"
    assert caught.value.exit_code == 2


def rsa() -> bytes:
    key = generate_private_key(65537, 2048)
    no = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, no)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not a private key"),
        (b"rubbish", "not a private key"),
        (b"x" * 100_000, "larger"),
        (rsa(), "not an Ed25519"),
    ],
    ids=["empty", "rubbish", "large", "rsa"],
)
def test_what_is_no_key_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "k"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match=says):
        load_key(path)


def test_other_faults_of_key_files(tmp_path: Path) -> None:
    new_key(tmp_path / "k", name="Kim")
    faults: list[tuple[type[PrivsynthError], str, Callable[[], object]]] = [
        (KeyFileError, "no such file", lambda: load_key(tmp_path / "none")),
        (KeyFileError, "not a file", lambda: load_key(tmp_path)),
        (KeyFileError, "not encrypted", lambda: load_key(tmp_path / "k", passphrase=b"x")),
        (KeyFileError, "empty", lambda: new_key(tmp_path / "e", name="Kim", passphrase=b"")),
        (KeyFileError, "name", lambda: new_key(tmp_path / "n", name="")),
        (StorageError, "cannot be written", lambda: new_key(tmp_path / "no" / "k", name="Kim")),
    ]
    for error, says, act in faults:
        with pytest.raises(error, match=says):
            act()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["k"]


def test_a_key_says_nothing_of_itself(kim: SigningKey) -> None:
    assert repr(kim) == str(kim) == f"SigningKey({kim.keyid[:8]})"


# --- trust --------------------------------------------------------------------------------------


def test_trust_round_trips(tmp_path: Path, kim: SigningKey, lee: SigningKey) -> None:
    late = lee.public(name="Lee", roles=("release", "policy"), expires=date(2027, 1, 31))
    trust = Trust.of(kim.public(name="Kim"), late, threshold=2)
    write_trust(tmp_path / "trust.json", trust)
    assert load_trust(tmp_path / "trust.json") == trust
    with pytest.raises(StorageError):
        write_trust(tmp_path / "trust.json", trust)


def spoilt(kim: SigningKey, lee: SigningKey, change: Callable[[dict[str, Any]], object]) -> str:
    keys = [key.public(name=name).model_dump(mode="json") for key, name in ((kim, "Kim"), (lee, "Lee"))]
    value = {"privsynth-trust": 1, "threshold": 1, "keys": keys}
    change(value)
    return json.dumps(value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda v: v.update({"privsynth-trust": 2}), "format 2"),
        (lambda v: v.update({"threshold": 0}), "threshold"),
        (lambda v: v.update({"threshold": 3}), "nothing could ever verify"),
        (lambda v: v.update({"threshold": True}), "threshold"),
        (lambda v: v.update({"extra": 1}), "unknown key"),
        (lambda v: v.update({"keys": []}), "keys"),
        (lambda v: v["keys"].append(v["keys"][0]), "listed twice"),
        (lambda v: v["keys"][0].update(keyid="00" * 32), "not the id"),
        (lambda v: v["keys"][0].update(public=v["keys"][1]["public"]), "not the id"),
        (lambda v: v["keys"][0].update(public="PEM"), "not a public key"),
        (lambda v: v["keys"][0].update(roles=[]), "roles"),
        (lambda v: v["keys"][0].update(name=" "), "name"),
        (lambda v: v["keys"][0].update(expires=1767225600), "2027-12-31"),
        (lambda v: v["keys"][0].update(expires="2027-13-01"), "date"),
        (lambda v: v["keys"][0].pop("public"), "missing"),
    ],
)
def test_a_trust_file_that_says_something_else_is_refused(
    tmp_path: Path, kim: SigningKey, lee: SigningKey, change: Callable[[dict[str, Any]], object], says: str
) -> None:
    (tmp_path / "trust.json").write_text(spoilt(kim, lee, change))
    with pytest.raises(KeyFileError, match=says) as caught:
        load_trust(tmp_path / "trust.json")
    assert caught.value.mend


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "not JSON"),
        (b"[]", "one JSON object"),
        (b"null", "one JSON object"),
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b'{"privsynth-trust": 1, "privsynth-trust": 1}', "stands twice"),
        (b"[" * 100_000, "not JSON"),
        (b" " * 300_000, "larger"),
    ],
)
def test_a_trust_file_that_is_no_json_object_is_refused(tmp_path: Path, raw: bytes, says: str) -> None:
    (tmp_path / "trust.json").write_bytes(raw)
    with pytest.raises(KeyFileError if says != "larger" else BundleError, match=says):
        load_trust(tmp_path / "trust.json")


def test_a_key_of_another_kind_is_not_trusted(tmp_path: Path) -> None:
    public = generate_private_key(65537, 2048).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    pem = public.public_bytes(serialization.Encoding.PEM, form).decode()
    entry = {"keyid": SSlibKey.from_crypto(public).keyid, "name": "Kim", "public": pem, "roles": ["release"]}
    (tmp_path / "trust.json").write_text(json.dumps({"privsynth-trust": 1, "threshold": 1, "keys": [entry]}))
    with pytest.raises(KeyFileError, match="not an Ed25519 key"):
        load_trust(tmp_path / "trust.json")


def test_trust_files_are_put_into_one(tmp_path: Path, kim: SigningKey, lee: SigningKey) -> None:
    kims, lees = (key.public(name=name, roles=("release",)) for key, name in ((kim, "Kim"), (lee, "Lee")))
    write_trust(tmp_path / "kim.json", Trust.of(kims))
    entry = {"privsynth": 1, "command": "ledger checkpoint", "trust": plain(lee.public(name="Lee", roles=("ledger",)))}
    (tmp_path / "lee.json").write_text(json.dumps(entry))
    parts = [load_entry(tmp_path / name) for name in ("kim.json", "lee.json")]
    both = merged_trust([*parts, Trust.of(kims, lees, threshold=2)])
    assert [(key.name, key.roles) for key in both.keys] == [("Kim", ("release",)), ("Lee", ("ledger", "release"))]
    assert both.threshold == 2 and merged_trust(parts).threshold == 1
    write_trust(tmp_path / "both.json", both)
    assert load_trust(tmp_path / "both.json") == both


def test_what_cannot_be_put_into_one_is_refused(tmp_path: Path, kim: SigningKey, lee: SigningKey) -> None:
    kims, lees = (key.public(name=name, roles=("release",)) for key, name in ((kim, "Kim"), (lee, "Lee")))
    other = kim.public(name="Kim of the night", roles=("release",))
    with pytest.raises(KeyFileError, match="two names or last days"):
        merged_trust([Trust.of(kims), Trust.of(other)])
    with pytest.raises(KeyFileError, match="would be fewer"):
        merged_trust([Trust.of(kims, lees, threshold=2)], threshold=1)
    with pytest.raises(KeyFileError, match="above the number"):
        merged_trust([Trust.of(kims), Trust.of(lees)], threshold=3)
    (tmp_path / "broken.json").write_text('{"privsynth": 1, "trust": {"keyid": "no"}}')
    with pytest.raises(KeyFileError):
        load_entry(tmp_path / "broken.json")


def test_no_trust_file_is_a_question_of_integrity(tmp_path: Path) -> None:
    with pytest.raises(BundleError) as caught:
        load_trust(tmp_path / "trust.json")
    assert caught.value.exit_code == 4
    assert "--trust" in caught.value.mend


# --- envelopes ----------------------------------------------------------------------------------


@given(payload=st.binary(max_size=300))
def test_what_is_signed_opens_and_is_the_same_every_time(kim: SigningKey, payload: bytes) -> None:
    raw = sign_envelope(TYPE, payload, kim)
    assert raw == sign_envelope(TYPE, payload, kim)
    opened = verify_envelope(raw, Trust.of(kim.public(name="Kim")), payload_type=TYPE, role="release", now=NOW)
    assert (opened.payload, opened.signers) == (payload, ("Kim",))


def test_every_byte_counts(kim: SigningKey, lee: SigningKey) -> None:
    trust = Trust.of(kim.public(name="Kim"), lee.public(name="Lee"))  # one of the two signatures would do
    raw = sign_envelope(TYPE, b"payload!", kim, lee)
    opens(raw, trust)
    for at in range(len(raw)):
        for flip in (0x01, 0x02, 0x10, 0x20, 0x80):
            with pytest.raises(BundleError):
                opens(raw[:at] + bytes([raw[at] ^ flip]) + raw[at + 1 :], trust)
    for cut in range(len(raw)):
        with pytest.raises(BundleError):
            opens(raw[:cut], trust)


@given(at=st.integers(0), extra=st.binary(min_size=1, max_size=3))
def test_no_byte_may_be_added(kim: SigningKey, at: int, extra: bytes) -> None:
    raw = sign_envelope(TYPE, b"payload", kim)
    where = at % (len(raw) + 1)
    with pytest.raises(BundleError):
        opens(raw[:where] + extra + raw[where:], Trust.of(kim.public(name="Kim")))


def forms(raw: bytes, kim: SigningKey) -> dict[str, bytes]:
    value = json.loads(raw)
    (signature,) = value["signatures"]
    return {
        "spaced": json.dumps(value).encode(),
        "duplicate key": raw[:-1] + b',"payloadType":"x"}',
        "extra field": canonical({**value, "note": "hello"}),
        "unsigned field in the signature": canonical({**value, "signatures": [{**signature, "cert": "x"}]}),
        "url-safe base64": canonical({**value, "payload": value["payload"].replace("+", "-").replace("/", "_")}),
        "no padding": canonical({**value, "payload": value["payload"].rstrip("=")}),
        "loose base64 bits": canonical({**value, "payload": value["payload"].replace("/w==", "/x==")}),
        "twice the same": canonical({**value, "signatures": [signature, signature]}),
        "none": canonical({**value, "signatures": []}),
        "many": canonical({**value, "signatures": [{**signature, "keyid": f"{i:064x}"} for i in range(17)]}),
        "short": canonical({**value, "signatures": [{**signature, "sig": signature["sig"][:40]}]}),
        "list": canonical([value]),
        "null": b"null",
        "empty": b"",
        "deep": b"[" * 100_000,
        "huge number": b"1" * 5000,
        "lone surrogate": b'"\\ud800"',
    }


def test_only_one_form_opens(kim: SigningKey) -> None:
    payload = b"\xfb\xff\xfe~~\xff\xff"  # its base64 has +, / and padding
    raw = sign_envelope(TYPE, payload, kim)
    assert b"+" in json.loads(raw)["payload"].encode() and json.loads(raw)["payload"].endswith("/w==")
    for name, other in forms(raw, kim).items():
        assert other != raw, name
        with pytest.raises(BundleError):
            opens(other, Trust.of(kim.public(name="Kim")))


def test_a_large_envelope_is_not_even_parsed(kim: SigningKey) -> None:
    raw = sign_envelope(TYPE, b"x" * MAX_ENVELOPE, kim)
    with pytest.raises(BundleError, match="larger"):
        opens(raw, Trust.of(kim.public(name="Kim")))


def test_signatures_stand_in_the_order_of_their_keys(kim: SigningKey, lee: SigningKey) -> None:
    trust = Trust.of(kim.public(name="Kim"), lee.public(name="Lee"), threshold=2)
    raw = sign_envelope(TYPE, b"x", kim, lee)
    assert raw == sign_envelope(TYPE, b"x", lee, kim)
    assert opens(raw, trust) == ("Kim", "Lee")
    value = json.loads(raw)
    value["signatures"].reverse()
    with pytest.raises(BundleError, match="order"):
        opens(canonical(value), trust)


def test_who_signed_decides(kim: SigningKey, lee: SigningKey) -> None:
    both = (kim.public(name="Kim"), lee.public(name="Lee"))
    one = sign_envelope(TYPE, b"x", kim)
    with pytest.raises(BundleError, match="1 of the 2"):
        opens(one, Trust.of(*both, threshold=2))
    with pytest.raises(BundleError, match="1 of the 2"):
        opens(sign_envelope(TYPE, b"x", kim, kim), Trust.of(*both, threshold=2))
    with pytest.raises(BundleError, match="does not list"):
        opens(one, Trust.of(both[1]))
    with pytest.raises(BundleError, match="does not list"):  # a stranger's signature beside a good one
        opens(sign_envelope(TYPE, b"x", kim, lee), Trust.of(both[0]))
    with pytest.raises(BundleError, match="'policy'"):
        opens(one, Trust.of(*both), role="policy")
    with pytest.raises(BundleError, match="of type"):
        opens(sign_envelope("application/json", b"x", kim), Trust.of(*both))


def test_two_keys_of_one_person_are_one_person(kim: SigningKey, lee: SigningKey) -> None:
    third = lee.public(name="Kim"), kim.public(name="Kim")
    with pytest.raises(ValueError, match="number of people"):
        Trust.of(*third, threshold=2)


@pytest.mark.parametrize("name", ["a. kim", "A.  KIM", "A.\u00a0Kim", "\uff21. Kim",
                                  "A.\u200b Kim"])  # fmt: skip
def test_names_that_look_alike_are_one_person(kim: SigningKey, lee: SigningKey, name: str) -> None:
    raw = sign_envelope(TYPE, b"x", kim, lee)
    assert same_person("A. Kim", name)
    assert len(opens(raw, Trust.of(kim.public(name="A. Kim"), lee.public(name=name)))) == 1
    with pytest.raises(ValueError, match="number of people"):
        Trust.of(kim.public(name="A. Kim"), lee.public(name=name), threshold=2)


@pytest.mark.parametrize("name", ["A. Kin", "A Kim", "B. Kim", "A. K\u00edm"])
def test_other_names_are_other_people(kim: SigningKey, lee: SigningKey, name: str) -> None:
    trust = Trust.of(kim.public(name="A. Kim"), lee.public(name=name), threshold=2)
    assert len(opens(sign_envelope(TYPE, b"x", kim, lee), trust)) == 2


def test_a_key_counts_to_the_end_of_its_last_day(kim: SigningKey) -> None:
    trust = Trust.of(kim.public(name="Kim", expires=date(2026, 11, 21)))
    raw = sign_envelope(TYPE, b"x", kim)
    last = datetime(2026, 11, 21, 23, 59, 59, tzinfo=UTC)
    assert opens(raw, trust, now=last) == ("Kim",)
    with pytest.raises(BundleError, match="expired: the key of Kim"):
        opens(raw, trust, now=last + timedelta(seconds=1))


@pytest.mark.parametrize("payload_type", ["", "naïve/type", "a b", "A/b", "x" * 200])
def test_payload_types_are_plain(kim: SigningKey, payload_type: str) -> None:
    with pytest.raises(UsageError):
        sign_envelope(payload_type, b"x", kim)
    with pytest.raises(UsageError):
        sign_envelope(TYPE, b"x")


def test_the_library_frames_what_is_signed_by_bytes() -> None:
    """DSSE's pre-authentication encoding counts bytes; earlier releases of securesystemslib counted characters."""
    assert Envelope(b"ab", "é", {}).pae() == b"DSSEv1 2 \xc3\xa9 2 ab"


@given(st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(), st.lists, max_leaves=20))
def test_canonical_json_is_read_back(value: object) -> None:
    try:
        raw = canonical(value)
    except UsageError:  # a lone surrogate
        return
    assert parse_canonical(raw, where="x") == value
