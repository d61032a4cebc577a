"""Cosignatures of C2SP's tlog-cosignature: their form to the byte, and that nothing else passes for one."""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from privsynth.errors import IntegrityError, KeyFileError, UsageError
from privsynth.signing import Cosigner, SigningKey, Trust, cosign, load_key, load_trust, sign_note, write_trust
from privsynth.signing.note import note_lines

SECRET = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")  # RFC 8032, 7.1, test 1
NAME = "witness.example.com/w1"
TEXT = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
EXAMPLE = (  # c2sp.org/tlog-cosignature, the first example
    f"{TEXT}\n"
    "— example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "— witness.example.com/w1 "
    "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
)
NOTE = EXAMPLE.rpartition("— witness")[0]
SECONDS = 1679315147


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    """The key of the RFC's vector, as a file."""
    private = Ed25519PrivateKey.from_private_bytes(SECRET)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path / "w.key"
    path.write_bytes(pem)
    path.chmod(0o600)
    return load_key(path)


@pytest.fixture
def cosigner(key: SigningKey) -> Cosigner:
    return Cosigner(NAME, key.raw_public)


def test_the_specification_s_example_has_the_form(cosigner: Cosigner) -> None:
    text, lines = note_lines(EXAMPLE)
    assert text == TEXT
    assert [line.name for line in lines] == ["example.com/behind-the-sofa", NAME]
    raw = lines[1].raw
    assert len(raw) == 4 + 8 + 64
    assert int.from_bytes(raw[4:12], "big") == SECONDS  # "time 1679315147" in the specification
    with pytest.raises(IntegrityError, match="not cosigned"):
        cosigner.cosigned(EXAMPLE)  # of another key


def test_a_cosignature_is_what_cryptography_says_by_itself(key: SigningKey, cosigner: Cosigner) -> None:
    private = Ed25519PrivateKey.from_private_bytes(SECRET)
    public = private.public_key().public_bytes_raw()
    said = private.sign(b"cosignature/v1\ntime 1679315147\n" + TEXT.encode())
    key_id = hashlib.sha256(NAME.encode() + b"\n\x04" + public).digest()[:4]
    line = f"— {NAME} {b64encode(key_id + bytes.fromhex('00000000641850cb') + said).decode()}\n"
    assert cosign(NOTE, name=NAME, key=key, seconds=SECONDS) == line
    assert line == (
        "— witness.example.com/w1 "
        "fm9KqgAAAABkGFDL+TPmh4BYuAjsYRoqMJCWb/gWJaeRF/kmm5tlCr9sJ57DLErur7K0yDXc2ArN+TIuotuB/HbuL3AJsp3bv/aNCQ==\n"
    )
    found = cosigner.cosigned(NOTE + line)
    assert (found.name, found.seconds, found.line) == (NAME, SECONDS, line)
    encoded = b64encode(b"\x04" + public).decode()
    assert cosigner.line == f"{NAME}+{key_id.hex()}+{encoded}"
    assert cosigner.line == f"{NAME}+7e6f4aaa+BNdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea"
    assert Cosigner.read(cosigner.line) == cosigner


def test_anything_else_is_no_cosignature(key: SigningKey, cosigner: Cosigner) -> None:
    line = cosign(NOTE, name=NAME, key=key, seconds=SECONDS)
    raw = b64decode(line.split()[2])

    def written(changed: bytes, name: str = NAME) -> str:
        return f"{NOTE}— {name} {b64encode(changed).decode()}\n"

    assert cosigner.cosigned(written(raw))
    later = raw[:4] + (SECONDS + 1).to_bytes(8, "big") + raw[12:]
    plain = raw[:12] + key.sign(TEXT.encode())
    other = cosign(NOTE.replace("20852163", "20852164"), name=NAME, key=key, seconds=SECONDS)
    bad = {
        "no line": NOTE,
        "another time": written(later),
        "the text alone": written(plain),
        "another checkpoint's": NOTE + other,
        "without a time": written(raw[:4] + raw[12:]),
        "cut": written(raw[:-1]),
        "longer": written(raw + b"\0"),
        "time zero": NOTE + _at(key, 0),
        "time beyond 2^63": NOTE + _at(key, 2**63),
        "another name": written(raw, "witness.example.com/w2"),
        "another key id": written(b"\0" + raw[1:]),
        "twice": written(raw) + line,
        "not a note": "x",
        "as a note's own": sign_note(TEXT, name=NAME, key=key),
    }
    for name, note in bad.items():
        with pytest.raises(IntegrityError) as caught:
            cosigner.cosigned(note)
        assert caught.value.exit_code == 4, name
    for flipped in range(0, len(raw), 5):
        with pytest.raises(IntegrityError):
            cosigner.cosigned(written(raw[:flipped] + bytes([raw[flipped] ^ 1]) + raw[flipped + 1 :]))


def _at(key: SigningKey, seconds: int) -> str:
    """A line with a time that may not be, signed."""
    raw = seconds.to_bytes(8, "big") + key.sign(f"cosignature/v1\ntime {seconds}\n{TEXT}".encode())
    return f"— {NAME} {b64encode(Cosigner(NAME, key.raw_public).key_id + raw).decode()}\n"


def test_a_time_that_may_not_be_is_not_signed(key: SigningKey) -> None:
    for seconds in (0, -1, 2**63):
        with pytest.raises(UsageError, match="no time"):
            cosign(NOTE, name=NAME, key=key, seconds=seconds)
    assert cosign(NOTE, name=NAME, key=key, seconds=2**63 - 1)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "w",
        "w+7e6f4aaa",
        "w+7e6f4aaa+BNdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea",  # another name's id
        f"{NAME}+7E6F4AAA+BNdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea",
        f"{NAME}+7e6f4aaa+AddamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea",  # a log's key, of type 1
        f"{NAME}+7e6f4aaa+BNdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea\n",
        "two words+7e6f4aaa+BNdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea",
    ],
)
def test_other_lines_name_nobody(line: str) -> None:
    with pytest.raises(KeyFileError, match="not the line of a witness's key"):
        Cosigner.read(line)


def test_a_trust_file_lists_a_witness_under_the_name_by_which_it_signs(key: SigningKey, tmp_path: Path) -> None:
    write_trust(tmp_path / "t.json", Trust.of(key.public(name=NAME, roles=("witness",))))
    (listed,) = load_trust(tmp_path / "t.json").keys
    assert (listed.name, listed.roles, listed.raw_public) == (NAME, ("witness",), key.raw_public)
    for name in ("two words", "a+b"):
        with pytest.raises(KeyFileError, match="no blanks and no plus signs"):
            key.public(name=name, roles=("witness",))
        assert key.public(name=name)
