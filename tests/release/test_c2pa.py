"""Pictures with a signed C2PA manifest and a term of use: who reads them finds both; what lacks one is refused."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from privsynth.data.album import SHEET
from privsynth.documents import identity, sha256
from privsynth.errors import BundleError, KeyFileError, MissingExtra, ReleaseRefused
from privsynth.release import c2pa_mark
from privsynth.release.bundle import Release
from privsynth.release.c2pa_mark import Chain, Credential, reader
from privsynth.release.png import MOST_MANIFEST, TERM, TYPE, Worn, check_png, most_bytes
from privsynth.release.verify import verify
from privsynth.signing import write_trust
from tests.pipes import not_waiting, pipe
from tests.release.certificates import OPEN, PEM, PKCS8, Pair, certified, der, key_file, pem
from tests.release.test_pictures import ZIPS, member, release
from tests.release.test_png import chunk

pytest.importorskip("c2pa", reason="c2pa-python is not installed")


@pytest.fixture(scope="module")
def root() -> Pair:
    return certified("authority")


@pytest.fixture(scope="module")
def leaf(root: Pair) -> Pair:
    return certified("pictures", root)


@pytest.fixture
def credential(tmp_path: Path, root: Pair, leaf: Pair) -> Credential:
    (tmp_path / "chain.pem").write_bytes(pem(leaf, root))
    return Credential.load(tmp_path / "chain.pem", key_file(tmp_path / "leaf.key", leaf))


def under(world: Any, **images: object) -> Release:
    """A release under a policy of this section ``images``."""
    whole = release(world)
    policy = {**whole.policy, "images": {key.replace("_", " "): value for key, value in images.items()}}
    return replace(whole, policy=policy, policy_sha256=identity(policy))


def written(world: Any, tmp_path: Path, made: Release, **how: Any) -> Path:
    write_trust(tmp_path / "trust.json", world.trust)
    return made.sign(world.key_path, **how).write(tmp_path / "release")


def pictures(bundle: Path) -> list[bytes]:
    return [member((bundle / ZIPS[0]).read_bytes(), "scan/07.png"), (bundle / SHEET).read_bytes()]


# --- the term --------------------------------------------------------------------------------------


def test_the_term_travels_with_each_picture_and_stands_in_the_statement(world: Any, tmp_path: Path) -> None:
    bundle = written(world, tmp_path, under(world, biometric_use="forbidden", mark_synthetic=["iptc"]))
    for raw in pictures(bundle):
        said = Image.open(io.BytesIO(raw)).info["XML:com.adobe.xmp"]
        assert "xmpRights:UsageTerms" in said and TERM in said and TYPE in said
    assert json.loads((bundle / "privacy.json").read_bytes())["term"] == {"sentence": TERM}
    assert f"## What the pictures are not for\n\n{TERM}\n" in (bundle / "privacy.md").read_text()
    assert (verify(bundle).c2pa, verify(bundle).c2pa_read) == (None, False)


@pytest.mark.parametrize("images", [{}, {"biometric_use": "allowed"}, {"mark_synthetic": ["iptc"]}])
def test_where_it_is_not_forbidden_nothing_is_said(images: dict[str, Any], world: Any, tmp_path: Path) -> None:
    bundle = written(world, tmp_path, under(world, **images) if images else release(world))
    assert all(b"UsageTerms" not in raw for raw in pictures(bundle))
    assert "term" not in json.loads((bundle / "privacy.json").read_bytes())
    verify(bundle)


@pytest.mark.parametrize("says", ["pictures", "statement"])
@pytest.mark.parametrize("forbidden", [True, False])
def test_a_term_that_only_one_of_them_tells_is_refused(
    says: str, forbidden: bool, world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that the policy does not set."""
    made = {word: under(world, biometric_use=word)._files() for word in ("forbidden", "allowed")}
    words = ("forbidden", "allowed") if forbidden else ("allowed", "forbidden")
    other = (*ZIPS, SHEET) if says == "statement" else ("privacy.json", "privacy.md")
    files = {**made[words[0]], **{name: made[words[1]][name] for name in other}}
    monkeypatch.setattr(Release, "_files", lambda *_: files)
    bundle = written(world, tmp_path, under(world, biometric_use=words[0]))
    with pytest.raises(BundleError, match="not the term of use" if says == "pictures" else "marked as synthetic"):
        verify(bundle)


# --- the manifest ----------------------------------------------------------------------------------


def test_a_manifest_is_written_read_and_told(world: Any, tmp_path: Path, credential: Credential) -> None:
    import c2pa

    made = under(world, biometric_use="forbidden", mark_synthetic=["iptc", "c2pa"])
    bundle = written(world, tmp_path, made, c2pa=credential)
    found = verify(bundle)
    assert (found.c2pa, found.c2pa_read) == (sha256(credential.chain.leaf), True)
    assert (bundle / "c2pa.pem").read_bytes() == credential.chain.pem
    for raw in pictures(bundle):
        said = json.loads(c2pa.Reader("image/png", io.BytesIO(raw)).json())
        [manifest] = said["manifests"].values()
        [action] = manifest["assertions"][0]["data"]["actions"]
        assert (action, set(manifest)) == (
            {"action": "c2pa.created", "digitalSourceType": TYPE},
            {"claim_generator_info", "instance_id", "assertions", "signature_info", "label", "claim_version"},
        )
        assert manifest["signature_info"]["common_name"] == "pictures" and "time" not in manifest["signature_info"]
        assert raw.count(b"caBX") == 1 and raw.index(b"caBX") == 37


def test_without_the_package_its_place_is_checked_still(
    world: Any, tmp_path: Path, credential: Credential, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = written(world, tmp_path, under(world, mark_synthetic=["c2pa"]), c2pa=credential)

    def missing() -> None:
        raise MissingExtra("no")

    monkeypatch.setattr(c2pa_mark, "library", missing)
    assert verify(bundle).c2pa_read is False


def test_a_mark_that_is_asked_for_and_not_made_never_leaves(world: Any, tmp_path: Path) -> None:
    with pytest.raises(ReleaseRefused, match="marked as synthetic by c2pa") as caught:
        under(world, mark_synthetic=["c2pa"]).sign(world.key_path)
    assert caught.value.rules == ("PS-IMG-002",)


def test_verify_asks_for_what_the_policy_lists(world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Release, "_check_marks", lambda *_: None)
    with pytest.raises(BundleError, match="asks for pictures marked as synthetic by c2pa"):
        verify(written(world, tmp_path, under(world, mark_synthetic=["iptc", "c2pa"])))


def _rezipped(raw: bytes, change: Callable[[bytes], bytes]) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(raw)) as held, zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as out:
        for i, info in enumerate(held.infolist()):
            again = zipfile.ZipInfo(info.filename, info.date_time)
            again.create_system, again.external_attr = 3, info.external_attr
            out.writestr(again, change(held.read(info)) if i == 6 else held.read(info))
    return sink.getvalue()


def _manifest(raw: bytes) -> tuple[int, int]:
    return 33, 33 + 12 + int.from_bytes(raw[33:37], "big")


def _other_body(raw: bytes, change: Callable[[bytes], bytes]) -> bytes:
    start, end = _manifest(raw)
    return raw[:start] + chunk(b"caBX", change(raw[start + 8 : end - 4])) + raw[end:]


def moved(raw: bytes, start: int, end: int) -> bytes:
    return raw[:start] + raw[end:-12] + raw[start:end] + raw[-12:]


SPOILT: dict[str, Callable[[bytes, bytes], bytes]] = {
    "taken out": lambda raw, leaf: raw[: _manifest(raw)[0]] + raw[_manifest(raw)[1] :],
    "twice": lambda raw, leaf: raw[:33] + raw[slice(*_manifest(raw))] + raw[33:],
    "behind the pixels": lambda raw, leaf: moved(raw, *_manifest(raw)),
    "too large": lambda raw, leaf: _other_body(raw, lambda body: body + bytes(MOST_MANIFEST)),
    "of nobody": lambda raw, leaf: _other_body(raw, lambda body: b"row 17"),
}  # fmt: skip
READ: dict[str, Callable[[bytes, bytes], bytes]] = {
    "a bit of its signature": lambda raw, leaf: _other_body(raw, lambda b: b[:-40] + bytes([b[-40] ^ 1]) + b[-39:]),
    "the name alone": lambda raw, leaf: _other_body(raw, lambda body: leaf),
    "bytes in its room": lambda raw, leaf: _other_body(
        raw, lambda b: b[: b.index(b"\xa1\x63pad") + 9] + b"row 17" + b[b.index(b"\xa1\x63pad") + 15 :]
    ),
    "of another picture": lambda raw, leaf: (
        raw[: raw.index(b"IDAT") - 4] + chunk(b"IDAT", zlib.compress(bytes(4 * 7))) + chunk(b"IEND", b"")
    ),
}


@pytest.mark.parametrize("name", [*SPOILT, *READ])
def test_a_manifest_that_does_not_hold_is_refused(
    name: str, world: Any, tmp_path: Path, credential: Credential, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, leaf = under(world, mark_synthetic=["c2pa"]), credential.chain.leaf
    change = {**SPOILT, **READ}[name]
    files = dict(made._files(credential))
    files[ZIPS[0]] = _rezipped(files[ZIPS[0]], lambda raw: change(raw, leaf))
    monkeypatch.setattr(Release, "_files", lambda *_: files)
    bundle = written(world, tmp_path, made, c2pa=credential)
    with pytest.raises(BundleError, match="marked as synthetic" if name in SPOILT else "manifest does not hold"):
        verify(bundle)


def test_another_certificate_than_the_statement_names_is_refused(
    world: Any, tmp_path: Path, credential: Credential, root: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = under(world, mark_synthetic=["c2pa"])
    chain = credential.chain.pem
    for given in (pem(certified("else", root), root), b"no certificate", chain + b"row 17", b"\n" + chain, None):
        files = {name: raw for name, raw in {**made._files(credential), "c2pa.pem": given}.items() if raw is not None}
        with monkeypatch.context() as patch:
            patch.setattr(Release, "_files", lambda *_, files=files: files)
            folder = tmp_path / sha256(given or b"")[:8]
            folder.mkdir()
            with pytest.raises(BundleError, match=r"certificates|not the one that its statement names"):
                verify(written(world, folder, made, c2pa=credential))


def test_certificates_that_nobody_named_are_refused(
    world: Any, tmp_path: Path, credential: Credential, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {**release(world)._files(), "c2pa.pem": credential.chain.pem}
    monkeypatch.setattr(Release, "_files", lambda *_: files)
    with pytest.raises(BundleError, match="other certificates than its statement names"):
        verify(written(world, tmp_path, release(world)))


def test_an_expired_certificate_signs_nothing_and_what_it_signed_holds(credential: Credential) -> None:
    """As a reader sees it later: the certificate is out of date, all else is whole."""
    said = {"manifests": {"a": {"assertions": [{"data": c2pa_mark._MANIFEST["assertions"][0]["data"]}]}}}
    passed = [{"code": code} for code in ("claimSignature.validated", "assertion.dataHash.match")]
    for codes, fits in (
        ([], True),
        (["signingCredential.expired", "signingCredential.untrusted"], True),
        (["signingCredential.untrusted"], False),
        (["signingCredential.expired", "assertion.dataHash.mismatch"], False),
    ):
        found = {"activeManifest": {"success": passed, "failure": [{"code": code} for code in codes]}}
        assert c2pa_mark._fits({**said, "validation_results": found}) is fits


def test_a_manifest_that_another_certificate_signed_is_refused(
    credential: Credential, root: Pair, leaf: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the named one stands in its chain, and a reader has nothing more to say than that it is old."""
    monkeypatch.setattr(c2pa_mark, "_fits", lambda said: True)
    read, dot = reader(credential.chain), c2pa_mark._DOT
    assert read is not None
    read(credential.marker()(dot), "p.png")
    other = certified("else", root)
    for chain in (pem(other, root), pem(other, leaf, root), pem(other, leaf), pem(other, root, leaf)):
        marked = Credential(Chain.of(chain), other[1].private_bytes(PEM, PKCS8, OPEN), "else.key").marker()(dot)
        with pytest.raises(BundleError, match="manifest does not hold"):
            read(marked, "p.png")


# --- certificates and keys -------------------------------------------------------------------------


def test_what_does_not_sign_is_refused_before_anything_is_paid(tmp_path: Path, root: Pair, leaf: Pair) -> None:
    chain, key = tmp_path / "chain.pem", key_file(tmp_path / "leaf.key", leaf)
    good = pem(leaf, root)
    other = key_file(tmp_path / "other.key", certified("else", root))
    late, stranger = certified("late", root, days=-1), certified("authority")
    cases: list[tuple[bytes, Path, str]] = [
        (good, other, "do not sign"),
        (pem(leaf), key, "no certificates can be read"),
        (b"", key, "no certificates can be read"),
        (b"\xff" * 9, key, "no certificates can be read"),
        (good + b"more", key, "no certificates can be read"),
        (pem(late, root), key_file(tmp_path / "late.key", late), "do not sign"),
        (pem(leaf, stranger), key, "do not sign"),
        (good, tmp_path / "nowhere.key", "no such file"),
    ]
    for raw, path, what in cases:
        chain.write_bytes(raw)
        with pytest.raises(KeyFileError, match=what):
            Credential.load(chain, path)
    chain.write_bytes(good)
    key.chmod(0o640)
    with pytest.raises(KeyFileError, match="mode 0640"):
        Credential.load(chain, key)
    for certificate, secret in ((pipe(tmp_path / "p"), key), (chain, pipe(tmp_path / "q"))):
        with not_waiting(), pytest.raises(KeyFileError, match="not a file"):
            Credential.load(certificate, secret)


def test_no_repr_tells_the_key(credential: Credential) -> None:
    assert "PRIVATE" not in repr(credential) and "BEGIN" not in repr(credential)


def test_a_chain_is_read_as_it_is_written(root: Pair, leaf: Pair) -> None:
    chain = Chain.of(pem(leaf, root))
    assert Chain.of(chain.pem) == chain
    assert chain.leaf == der(leaf)
    assert chain.root.encode() == pem(root)
    assert Chain.of(b"\n" + pem(leaf) + b"\n\n" + pem(root)) == chain


def test_a_manifest_makes_room_for_itself(credential: Credential) -> None:
    worn = Worn(leaf=credential.chain.leaf)
    assert most_bytes((1, 1), "L", worn) - most_bytes((1, 1), "L") == MOST_MANIFEST
    with pytest.raises(BundleError):
        check_png(b"", size=(1, 1), mode="L", where="p.png", worn=worn)
