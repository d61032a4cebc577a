"""Verification: the good bundle passes, and every way to spoil one that we could think of does not."""

from __future__ import annotations

import base64
import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from privsynth.documents import canonical, identity, sha256
from privsynth.errors import BundleError, KeyFileError, UsageError
from privsynth.release.manifest import MAX_FILE_BYTES, Manifest, walk
from privsynth.release.verify import verify
from privsynth.signing import Trust, load_key, load_trust, new_key, sign_envelope, write_trust

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
STATEMENT = "statement.dsse.json"
PATHS = (
    "card.json",
    "card.md",
    "data/table.csv",
    "data/table.parquet",
    "manifest.json",
    "policy.resolved.json",
    "privacy.json",
    "privacy.md",
    "schema.json",
    STATEMENT,
)
Resign = Callable[..., Path]


def refused(bundle: Path, says: str | None = None, **given: Any) -> BundleError:
    with pytest.raises(BundleError, match=says) as caught:
        verify(bundle, now=NOW, **given)
    assert caught.value.exit_code == 4
    assert caught.value.mend
    return caught.value


def test_a_good_bundle(world: Any, bundle: Path) -> None:
    found = verify(bundle, now=NOW)
    assert found.receipt == world.receipt
    assert found.signers == ("A. Kim",)
    assert (found.recipient, found.rows, found.files) == ("university-hospital", 60, len(PATHS) - 2)
    assert found.trust == bundle.parent.resolve() / "trust.json"
    assert found.size == sum(
        (bundle / path).stat().st_size for path in PATHS if path not in ("manifest.json", STATEMENT)
    )
    assert list(found.claims) == world.claims.published()
    assert set(walk(bundle)) == set(PATHS)
    verify(bundle, recipient="university-hospital")


# --- bytes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
def test_a_flip_of_any_byte_is_found(bundle: Path, path: str) -> None:
    """First, last and 50 more bytes of every file."""
    whole = (bundle / path).read_bytes()
    draw = random.Random(path)
    for at in (0, len(whole) - 1, *(draw.randrange(len(whole)) for _ in range(50))):
        flipped = bytes([whole[at] ^ draw.randrange(1, 256)])
        (bundle / path).write_bytes(whole[:at] + flipped + whole[at + 1 :])
        refused(bundle)
    (bundle / path).write_bytes(whole)
    verify(bundle, now=NOW)


@pytest.mark.parametrize("path", PATHS)
def test_cut_grown_and_emptied_files_are_found(bundle: Path, path: str) -> None:
    whole = (bundle / path).read_bytes()
    for other in (b"", whole[:-1], whole[: len(whole) // 2], whole[1:], whole + b"\n", whole + whole):
        (bundle / path).write_bytes(other)
        refused(bundle)


@pytest.mark.parametrize("path", PATHS)
def test_an_absent_file_is_found(bundle: Path, path: str) -> None:
    (bundle / path).unlink()
    refused(bundle)


@pytest.mark.parametrize("path", PATHS)
def test_a_file_of_terabytes_is_not_read(bundle: Path, path: str) -> None:
    with (bundle / path).open("r+b") as file:
        file.truncate(2**42)
    refused(bundle, "larger")


# --- files --------------------------------------------------------------------------------------


def add(bundle: Path) -> None:
    (bundle / "more.txt").write_text("x")


def add_deep(bundle: Path) -> None:
    (bundle / "data" / "more.csv").write_text("x")


def add_hidden(bundle: Path) -> None:
    (bundle / ".hidden").write_text("x")


def add_folder(bundle: Path) -> None:
    (bundle / "empty").mkdir()


def rename(bundle: Path) -> None:
    (bundle / "card.md").rename(bundle / "Card.md")


def swap(bundle: Path) -> None:
    one, two = bundle / "card.md", bundle / "privacy.md"
    kept = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(kept)


def link_file(bundle: Path) -> None:
    (bundle / "card.md").rename(bundle.parent / "card.md")
    (bundle / "card.md").symlink_to(bundle.parent / "card.md")


def link_statement(bundle: Path) -> None:
    (bundle / STATEMENT).rename(bundle.parent / "s")
    (bundle / STATEMENT).symlink_to(bundle.parent / "s")


def link_folder(bundle: Path) -> None:
    (bundle / "data").rename(bundle.parent / "data")
    (bundle / "data").symlink_to(bundle.parent / "data")


def folder_for_file(bundle: Path) -> None:
    (bundle / "card.md").unlink()
    (bundle / "card.md").mkdir()
    (bundle / "card.md" / "x").write_text("x")


def copy_of_trust(bundle: Path) -> None:
    shutil.copy(bundle.parent / "trust.json", bundle / "trust.json")


@pytest.mark.parametrize(
    "spoil",
    [
        add,
        add_deep,
        add_hidden,
        add_folder,
        rename,
        swap,
        link_file,
        link_statement,
        link_folder,
        folder_for_file,
        copy_of_trust,
    ],
)
def test_other_files_are_found(bundle: Path, spoil: Callable[[Path], None]) -> None:
    spoil(bundle)
    refused(bundle)


def test_the_bundle_is_a_folder_of_its_own(bundle: Path) -> None:
    (bundle.parent / "link").symlink_to(bundle)
    for path in (bundle.parent / "link", bundle / "card.md", bundle.parent / "none"):
        refused(path, "not a folder")


# --- trust --------------------------------------------------------------------------------------


def test_without_trust_nothing_verifies(bundle: Path) -> None:
    (bundle.parent / "trust.json").unlink()
    fault = refused(bundle, "no trust file")
    assert "--trust" in fault.mend
    refused(bundle, "no trust file", trust=bundle.parent / "other.json")


def test_a_broken_trust_file_is_the_readers_own(bundle: Path) -> None:
    (bundle.parent / "trust.json").write_text("{}")
    with pytest.raises(KeyFileError):
        verify(bundle)


def test_trust_inside_the_bundle_is_not_trust(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (bundle.parent / "trust.json").rename(bundle / "trust.json")
    refused(bundle, "no trust file")
    refused(bundle, "inside the bundle", trust=bundle / "trust.json")
    refused(bundle, "inside the bundle", trust=bundle / "data" / ".." / "trust.json")
    (bundle.parent / "link.json").symlink_to(bundle / "trust.json")
    refused(bundle, "inside the bundle", trust=bundle.parent / "link.json")
    monkeypatch.chdir(bundle)  # `privsynth verify .`: beside is not here
    refused(Path(), "no trust file")


def test_verifying_from_within(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bundle)
    assert verify(".", now=NOW).rows == 60


@pytest.fixture
def stranger(tmp_path: Path) -> Any:
    new_key(tmp_path / "stranger.key", name="A. Kim")
    return load_key(tmp_path / "stranger.key")


def test_altered_and_signed_again_with_a_fresh_key(bundle: Path, resign: Resign, stranger: Any) -> None:
    raw = (bundle / "card.md").read_bytes() + b"Trust me.\n"
    (bundle / "card.md").write_bytes(raw)

    def change(manifest: dict[str, Any], statement: dict[str, Any]) -> None:
        redo(manifest, statement, "card.md", raw)

    resign(change, keys=(stranger,))
    refused(bundle, "does not list")
    write_trust(bundle / "trust.json", Trust.of(stranger.public(name="A. Kim")))  # and its trust file put inside
    refused(bundle, "does not list")


def redo(manifest: dict[str, Any], statement: dict[str, Any], path: str, raw: bytes) -> None:
    """Bring the digests of ``path`` into line with ``raw``."""
    for entry in manifest["files"]:
        if entry["path"] == path:
            entry.update(size=len(raw), sha256=sha256(raw))
    for subject in statement["subject"]:
        if subject["name"] == path:
            subject["digest"]["sha256"] = sha256(raw)


def nothing(manifest: dict[str, Any], statement: dict[str, Any]) -> None:
    """Leave everything as it is."""


def test_signing_the_same_again_verifies(bundle: Path, resign: Resign) -> None:
    """So that what the tests below refuse is refused for what they change."""
    verify(resign(nothing), now=NOW)


def test_an_expired_key(world: Any, bundle: Path) -> None:
    (key,) = world.trust.keys
    late = key.model_copy(update={"expires": date(2026, 11, 21)})
    write_trust(bundle.parent / "t.json", Trust.of(late))
    verify(bundle, trust=bundle.parent / "t.json", now=NOW)
    with pytest.raises(BundleError, match="expired"):
        verify(bundle, trust=bundle.parent / "t.json", now=NOW + timedelta(days=1))


def test_a_time_needs_a_zone(bundle: Path) -> None:
    with pytest.raises(UsageError):
        verify(bundle, now=datetime(2026, 1, 1))


def test_two_people_are_two_people(world: Any, bundle: Path, resign: Resign, stranger: Any) -> None:
    trust = Trust.of(*world.trust.keys, stranger.public(name="B. Lee"), threshold=2)
    write_trust(bundle.parent / "two.json", trust)
    refused(bundle, "1 of the 2", trust=bundle.parent / "two.json")
    resign(nothing, keys=(world.key, world.key))
    refused(bundle, "1 of the 2", trust=bundle.parent / "two.json")
    resign(nothing, keys=(world.key, stranger))
    assert verify(bundle, trust=bundle.parent / "two.json", now=NOW).signers == ("A. Kim", "B. Lee")


def test_a_key_for_another_role(world: Any, bundle: Path) -> None:
    (key,) = world.trust.keys
    write_trust(bundle.parent / "t.json", Trust.of(key.model_copy(update={"roles": ("policy",)})))
    refused(bundle, "'release'", trust=bundle.parent / "t.json")


def test_another_recipient(bundle: Path) -> None:
    refused(bundle, "not for 'somebody else'", recipient="somebody else")


# --- a trusted signer who signs the wrong thing -----------------------------------------------------


@pytest.mark.parametrize(
    "path", ["../../../etc/cron.d/x", "/etc/passwd", "data\\x", "data/../../x", "CON", "a\u0301", "Card.md", "data"]
)
def test_unsafe_names_in_a_signed_manifest(bundle: Path, resign: Resign, path: str) -> None:
    def change(manifest: dict[str, Any], statement: dict[str, Any]) -> None:
        digest = sha256(b"")
        manifest["files"] = sorted(
            [*manifest["files"], {"path": path, "size": 0, "sha256": digest}], key=lambda entry: entry["path"]
        )
        statement["subject"] = sorted(
            [*statement["subject"], {"name": path, "digest": {"sha256": digest}}], key=lambda subject: subject["name"]
        )

    refused(resign(change), "unsafe|case alone|both a file")


def drop_subject(manifest: dict[str, Any], statement: dict[str, Any]) -> None:
    statement["subject"] = [s for s in statement["subject"] if s["name"] != "card.md"]


def drop_manifest(manifest: dict[str, Any], statement: dict[str, Any]) -> None:
    statement["subject"] = [s for s in statement["subject"] if s["name"] != "manifest.json"]


def drop_entry(manifest: dict[str, Any], statement: dict[str, Any]) -> None:
    manifest["files"] = [e for e in manifest["files"] if e["path"] != "card.md"]


def drop_both(manifest: dict[str, Any], statement: dict[str, Any]) -> None:
    drop_entry(manifest, statement)
    drop_subject(manifest, statement)


def other_digest(manifest: dict[str, Any], statement: dict[str, Any]) -> None:
    manifest["files"][0]["sha256"] = "00" * 32


def other_size(manifest: dict[str, Any], statement: dict[str, Any]) -> None:
    manifest["files"][0]["size"] += 1


def huge(manifest: dict[str, Any], statement: dict[str, Any]) -> None:
    manifest["files"][0]["size"] = MAX_FILE_BYTES + 1


def subjects_reversed(manifest: dict[str, Any], statement: dict[str, Any]) -> None:
    statement["subject"].reverse()


def subject_twice(manifest: dict[str, Any], statement: dict[str, Any]) -> None:
    statement["subject"].insert(0, statement["subject"][0])


def other_predicate(manifest: dict[str, Any], statement: dict[str, Any]) -> None:
    statement["predicateType"] = "https://privsynth.dev/release/v2"


def other_statement(manifest: dict[str, Any], statement: dict[str, Any]) -> None:
    statement["_type"] = "https://in-toto.io/Statement/v0.1"


def other_version(manifest: dict[str, Any], statement: dict[str, Any]) -> None:
    statement["predicate"]["privsynth-release"] = 2


def unknown_key(manifest: dict[str, Any], statement: dict[str, Any]) -> None:
    statement["predicate"]["note"] = "x"


def no_rows(manifest: dict[str, Any], statement: dict[str, Any]) -> None:
    statement["predicate"]["rows"] = 0


def no_claims(manifest: dict[str, Any], statement: dict[str, Any]) -> None:
    statement["predicate"]["claims"] = []


def failed_claim(manifest: dict[str, Any], statement: dict[str, Any]) -> None:
    statement["predicate"]["claims"][0]["passed"] = False


def other_policy(manifest: dict[str, Any], statement: dict[str, Any]) -> None:
    statement["predicate"]["policy"] = "00" * 32


def other_schema(manifest: dict[str, Any], statement: dict[str, Any]) -> None:
    statement["predicate"]["schema"] = "00" * 32


def other_recipient(manifest: dict[str, Any], statement: dict[str, Any]) -> None:
    statement["predicate"]["recipient"] = "somebody else"


def seeded(manifest: dict[str, Any], statement: dict[str, Any]) -> None:
    statement["predicate"]["receipt"]["noise"] = "seeded"


def receipt_of_text(manifest: dict[str, Any], statement: dict[str, Any]) -> None:
    statement["predicate"]["receipt"]["epsilon"] = "small"


def receipt_without(manifest: dict[str, Any], statement: dict[str, Any]) -> None:
    del statement["predicate"]["receipt"]["mu"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (drop_subject, "other files than were signed"),
        (drop_manifest, "not the one that was signed"),
        (drop_entry, "other files than were signed"),
        (drop_both, "was not signed: 'card.md'"),
        (other_digest, "other files than were signed"),
        (other_size, "not the one that was signed"),
        (huge, "size"),
        (subjects_reversed, "out of order"),
        (subject_twice, "repeated"),
        (other_predicate, "not a statement of type"),
        (other_statement, "_type"),
        (other_version, "privsynth-release"),
        (unknown_key, "unknown key"),
        (no_rows, "rows"),
        (no_claims, "claims"),
        (failed_claim, "passed"),
        (other_policy, "statement names"),
        (other_schema, "statement names"),
        (other_recipient, "another recipient"),
        (seeded, "a test's"),
        (receipt_of_text, "receipt is not of this version"),
        (receipt_without, "receipt is not of this version"),
    ],
)
def test_signed_nonsense_is_refused(
    bundle: Path, resign: Resign, change: Callable[[dict[str, Any], dict[str, Any]], None], says: str
) -> None:
    refused(resign(change), says)


def test_a_signed_bundle_without_its_card_is_refused(bundle: Path, resign: Resign) -> None:
    (bundle / "card.md").unlink()
    refused(resign(drop_both), "missing: 'card.md'")


def test_a_manifest_that_lists_itself_is_refused(bundle: Path, resign: Resign) -> None:
    raw = (bundle / STATEMENT).read_bytes()

    def change(manifest: dict[str, Any], statement: dict[str, Any]) -> None:
        manifest["files"].append({"path": STATEMENT, "size": len(raw), "sha256": sha256(raw)})
        statement["subject"].append({"name": STATEMENT, "digest": {"sha256": sha256(raw)}})

    refused(resign(change), "lists itself")


def test_another_payload_type_is_refused(bundle: Path, resign: Resign) -> None:
    refused(resign(nothing, payload_type="application/json"), "of type")


@pytest.mark.parametrize("payload", [[], None, "x", {}])
def test_a_payload_of_another_shape_is_refused(bundle: Path, world: Any, payload: object) -> None:
    raw = sign_envelope("application/vnd.in-toto+json", canonical(payload), world.key)
    (bundle / STATEMENT).write_bytes(raw)
    refused(bundle)


def test_a_large_bundle_is_read_in_pieces(bundle: Path, resign: Resign) -> None:
    raw = random.Random(1).randbytes(3 * 2**20 + 17)
    (bundle / "data" / "table.csv").write_bytes(raw)

    def change(manifest: dict[str, Any], statement: dict[str, Any]) -> None:
        redo(manifest, statement, "data/table.csv", raw)

    assert verify(resign(change), now=NOW).size > len(raw)
    (bundle / "data" / "table.csv").write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    refused(bundle, "not the one")


# --- lightness ----------------------------------------------------------------------------------

LIGHT = """
import sys
for name in ("torch", "pandas", "numpy", "scipy", "pyarrow", "sklearn", "mpmath", "safetensors", "dp_accounting"):
    sys.modules[name] = None  # an import of it raises ImportError
import privsynth
found = privsynth.verify(sys.argv[1])
print(found.recipient, found.receipt.epsilon)
try:
    import numpy
except ImportError:
    print("blocked")
"""


def test_verifying_needs_no_heavy_package(bundle: Path) -> None:
    command = [sys.executable, "-c", LIGHT, str(bundle)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "university-hospital 1.0\nblocked\n", done.stderr


def test_what_is_written_is_what_is_listed(bundle: Path) -> None:
    manifest = Manifest.from_bytes((bundle / "manifest.json").read_bytes())
    assert {entry.path for entry in manifest.files} | {"manifest.json", STATEMENT} == set(PATHS)


def test_the_check_by_hand_in_the_docs_works(bundle: Path) -> None:
    """docs/verify.md: an independent reading of what we sign, which fails on an altered bundle too."""
    text = (Path(__file__).parents[2] / "docs" / "verify.md").read_text("utf-8")
    command = [sys.executable, "-c", text.split("```python\n")[1].split("```")[0]]
    done = subprocess.run(command, cwd=bundle.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (bundle / "card.md").write_text("x")
    assert subprocess.run(command, cwd=bundle.parent, capture_output=True, check=False).returncode != 0


# --- how many people ------------------------------------------------------------------------------

TWO: dict[str, Any] = {"id": "st-anna/research", "version": "1.0.0", "approval": {"release": {"people": 2}}}


@pytest.fixture
def shared(world: Any, tmp_path: Path) -> Callable[..., Path]:
    """``shared(B, ...)``: a release whose policy asks for two people, signed by A. Kim and by these keys, with a trust
    file of threshold 1 beside it that names all of them."""

    def make(*others: tuple[str, str], policy: dict[str, Any] = TWO, trusted: bool = True) -> Path:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        paid = replace(world.receipt, policy=identity(policy))
        synth = replace(world.synth, receipt=paid)
        release = world.release(policy=policy, policy_sha256=identity(policy), receipt=paid, synth=synth)
        release.sign(world.key_path, now=NOW).write(folder / "release")
        keys, named = [world.key], list(world.trust.keys)
        for file, name in others:
            path = tmp_path / f"{file}.key"
            if not path.exists():
                new_key(path, name=name)
            keys.append(load_key(path))
            named += [keys[-1].public(name=name)] if trusted else []
        at = folder / "release" / STATEMENT
        payload = base64.b64decode(json.loads(at.read_bytes())["payload"])
        at.write_bytes(sign_envelope("application/vnd.in-toto+json", payload, *keys))
        write_trust(folder / "trust.json", Trust.of(*named))
        return folder / "release"

    return make


def test_a_release_is_signed_by_as_many_as_its_policy_asks_for(shared: Callable[..., Path]) -> None:
    said = json.loads(base64.b64decode(json.loads((shared() / STATEMENT).read_bytes())["payload"]))
    assert said["predicate"]["people"] == 2
    fault = refused(shared(), r"signed by 1 of the 2 people whom its policy asks for \(A\. Kim\)")
    assert "signed by more people" in fault.mend
    assert verify(shared(("b", "B. Lee")), now=NOW).signers == ("A. Kim", "B. Lee")


def test_one_person_with_two_keys_is_one(shared: Callable[..., Path]) -> None:
    refused(shared(("again", "A. Kim")), "signed by 1 of the 2")


def test_a_signature_that_nobody_here_knows_does_not_count(shared: Callable[..., Path]) -> None:
    refused(shared(("c", "C. Roy"), trusted=False), "does not list")


def test_the_larger_of_both_counts(shared: Callable[..., Path]) -> None:
    bundle = shared(("b", "B. Lee"))
    trust = load_trust(bundle.parent / "trust.json")
    third = new_key(bundle.parent / "third.key", name="C. Roy")
    (bundle.parent / "trust.json").unlink()
    write_trust(bundle.parent / "trust.json", Trust.of(*trust.keys, third, threshold=3))
    refused(bundle, "signed by 2 of the 3 people")


def test_a_statement_that_asks_for_fewer_than_its_policy(shared: Callable[..., Path], world: Any) -> None:
    """As a lone signer with another program could write it."""
    bundle = shared()
    at = bundle / STATEMENT
    said = json.loads(base64.b64decode(json.loads(at.read_bytes())["payload"]))
    del said["predicate"]["people"]
    at.write_bytes(sign_envelope("application/vnd.in-toto+json", canonical(said), world.key))
    refused(bundle, "its policy says that 2 people must sign, its statement 1")


def test_a_policy_that_says_nothing_asks_for_one(shared: Callable[..., Path], bundle: Path) -> None:
    said = json.loads(base64.b64decode(json.loads((bundle / STATEMENT).read_bytes())["payload"]))
    assert "people" not in said["predicate"]
    verify(bundle, now=NOW)
