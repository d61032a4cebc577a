"""Releases that leave only encrypted: what comes back is what was sealed, and nothing else is accepted."""

from __future__ import annotations

import io
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privsynth.documents import identity as identity_of
from privsynth.errors import (
    ApprovalMissing,
    BundleError,
    KeyFileError,
    MissingExtra,
    PrivsynthError,
    RequestDenied,
    StorageError,
    UsageError,
)
from privsynth.release import parcel, sealed
from privsynth.release.manifest import CHUNK, MAX_FILE_BYTES
from privsynth.release.parcel import BLOCK, Unpacked, head, of_memory, packed
from privsynth.release.predicate import STATEMENT
from privsynth.release.sealed import open_sealed, seal, write_sealed
from privsynth.release.signed import SignedRelease
from privsynth.release.verify import checked, verify
from privsynth.signing import Trust, age, load_identity, load_key, new_identity, new_key, write_trust
from privsynth.signing.age import MAX_HEADER
from tests.desk import Said, cli
from tests.pipes import not_waiting, pipe
from tests.release.conftest import POLICY

pyrage = pytest.importorskip("pyrage", reason="pyrage is not installed: pip install 'privsynth[age]'")

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
NAME = "university-hospital"


def naming(key: str, **more: Any) -> dict[str, Any]:
    """A policy that names the recipient's key."""
    return {**POLICY, "recipients": {NAME: {"purposes": ["research"], "key": key}}, **more}


def signed_under(world: Any, policy: dict[str, Any]) -> Any:
    return world.release(policy=policy, policy_sha256=identity_of(policy)).sign(world.key_path, now=NOW)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Identity files of the recipient and of a third party."""
    home = tmp_path_factory.mktemp("identities")
    for name in ("own", "third"):
        new_identity(home / name)
    return {name: home / name for name in ("own", "third")}


def public(path: Path) -> str:
    [key] = load_identity(path).keys
    return key


@pytest.fixture(scope="module")
def made(world: Any, keys: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed release that nobody touches, with trust.json beside it."""
    home = tmp_path_factory.mktemp("sealed")
    write_trust(home / "trust.json", world.trust)
    path: Path = signed_under(world, naming(public(keys["own"]))).seal(home / "release.age")
    return path


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    """A folder with trust.json in it."""
    shutil.copy(made.parent / "trust.json", tmp_path / "trust.json")
    return tmp_path


def opened(path: Path, place: Path, key: Path, **given: Any) -> Any:
    return open_sealed(path, place / "opened", identity=key, **{"now": NOW, **given})


def refused(
    path: Path, place: Path, key: Path, error: type[PrivsynthError] = BundleError, says: str = ".", **given: Any
) -> PrivsynthError:
    """It is refused, and nothing is left."""
    before = sorted(place.rglob("*"))
    with pytest.raises(error, match=says) as caught:
        opened(path, place, key, **given)
    assert caught.value.mend
    assert ".partial" not in str(caught.value)
    assert sorted(place.rglob("*")) == before
    return caught.value


# --- there and back ---------------------------------------------------------------------------------


def test_what_comes_back_is_what_was_signed(world: Any, made: Path, place: Path, keys: dict[str, Path]) -> None:
    found = opened(made, place, keys["own"], recipient=NAME)
    assert (found.folder, found.key, found.recipient) == (place / "opened", public(keys["own"]), NAME)
    files = signed_under(world, naming(public(keys["own"]))).files
    assert {e.path: (found.folder / e.path).read_bytes() for e in found.contents} == files
    again = verify(found.folder, trust=place / "trust.json", now=NOW)
    assert (again.key, again.contents) == (found.key, found.contents)
    assert found.folder.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in place.iterdir()} == {"trust.json", "opened"}


def test_the_file_is_alone_and_tells_nothing(made: Path, keys: dict[str, Path]) -> None:
    assert {path.name for path in made.parent.iterdir()} == {"trust.json", "release.age"}
    assert made.stat().st_mode & 0o777 == 0o644
    raw = made.read_bytes()
    assert raw.startswith(b"age-encryption.org/v1\n")
    assert not any(word in raw for word in (b"synthetic", b"table", NAME.encode(), public(keys["own"]).encode()))


def test_inside_is_a_plain_tar_the_same_each_time(world: Any, made: Path, keys: dict[str, Path]) -> None:
    secret = pyrage.x25519.Identity.from_str(keys["own"].read_text().splitlines()[-1])
    raw = pyrage.decrypt(made.read_bytes(), [secret])
    files = signed_under(world, naming(public(keys["own"]))).files
    assert raw == b"".join(packed(of_memory(files), where=""))
    with tarfile.open(fileobj=io.BytesIO(raw), mode="r:") as archive:
        members = archive.getmembers()
    assert [m.name for m in members] == sorted(files)
    assert {(m.mode, m.uid, m.gid, m.uname, m.gname, m.mtime, m.type) for m in members} == {
        (0o644, 0, 0, "", "", 0, tarfile.REGTYPE)
    }


def test_a_folder_is_sealed_as_its_bytes_in_memory_are(
    world: Any, place: Path, keys: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = naming(public(keys["own"]), approval={"release": {"people": 2}})
    second = new_key(place / "second.key", name="B. Lee")
    (place / "trust.json").unlink()
    write_trust(place / "trust.json", Trust.of(*world.trust.keys, second))
    release = signed_under(world, policy)
    with pytest.raises(ApprovalMissing, match="1 of 2 people"):
        release.seal(place / "release.age")
    folder = release.write(place / "inside" / "release")
    assert folder.stat().st_mode & 0o777 == 0o700
    with pytest.raises(BundleError, match="1 of the 2 people"):
        seal(folder, place / "release.age", trust=place / "trust.json", now=NOW)
    trust = ("--trust", place / "trust.json")
    said = cli("sign", "--add", folder, "--key", place / "second.key", *trust)
    assert "leaves sealed only" in said.out
    assert cli("seal", folder, "--out", place / "release.age", *trust, "--json").json["recipient"] == NAME
    assert opened(place / "release.age", place, keys["own"]).signers == ("A. Kim", "B. Lee")
    same = {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert {
        p.relative_to(place / "opened"): p.read_bytes() for p in (place / "opened").rglob("*") if p.is_file()
    } == same


@pytest.mark.skipif(shutil.which("age") is None, reason="the age tool is not installed: apt-get install age")
def test_the_age_tool_opens_it_and_seals_what_we_open(made: Path, place: Path, keys: dict[str, Path]) -> None:
    own, key = keys["own"], public(keys["own"])

    def tool(*args: str | Path) -> str:
        return subprocess.run(["age", *map(str, args)], check=True, capture_output=True, text=True).stderr

    tool("--decrypt", "-i", own, "-o", place / "x.tar", made)
    with tarfile.open(place / "x.tar") as archive:
        assert "manifest.json" in archive.getnames()
    tool("-r", key, "-o", place / "x.age", place / "x.tar")
    assert opened(place / "x.age", place, own).key == key
    subprocess.run(["age-keygen", "-o", str(place / "theirs.key")], check=True, capture_output=True)
    assert load_identity(place / "theirs.key").keys[0] in (place / "theirs.key").read_text()


def test_large_files_are_sealed_in_pieces(tmp_path: Path, keys: dict[str, Path]) -> None:
    """No more than a piece is held: the stream is asked for the next one only when the last is written."""
    at_once = []

    def pieces() -> Iterator[bytes]:
        for _ in range(40):
            at_once.append((tmp_path / partial()).stat().st_size)
            yield bytes(CHUNK)

    def partial() -> str:
        return next(path.name for path in tmp_path.iterdir() if path.name.endswith(".partial"))

    stream = packed([("a", 40 * CHUNK, pieces())], where="")
    write_sealed(stream, tmp_path / "big.age", key=public(keys["own"]))
    assert at_once == sorted(at_once) and at_once[20] > 15 * CHUNK
    assert (tmp_path / "big.age").stat().st_size > 40 * CHUNK


def test_it_is_written_only_sealed(world: Any, keys: dict[str, Path], tmp_path: Path) -> None:
    release = signed_under(world, naming(public(keys["own"])))
    with pytest.raises(RequestDenied, match="PS-REC-004"):  # whoever makes it: what was signed says so
        SignedRelease(release.files).write(tmp_path / "release")
    with pytest.raises(RequestDenied, match="PS-REC-004") as caught:
        release.write(tmp_path / "release")
    assert '.seal("release.age")' in caught.value.mend and caught.value.exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_without_a_key_nothing_is_sealed(world: Any, place: Path) -> None:
    release = signed_under(world, POLICY)
    with pytest.raises(UsageError, match="names no key"):
        release.seal(place / "release.age")
    folder = release.write(place / "release")
    assert verify(folder, now=NOW).key is None
    with pytest.raises(UsageError, match="names no key"):
        seal(folder, place / "release.age", now=NOW)
    assert not (place / "release.age").exists()


def test_a_tampered_folder_is_not_sealed(
    world: Any, place: Path, keys: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = naming(public(keys["own"]), approval={"release": {"people": 2}})
    folder = signed_under(world, policy).write(place / "release")
    found = checked(folder, trust=place / "trust.json", now=NOW, lacking=(folder / STATEMENT).read_bytes())
    monkeypatch.setattr(sealed, "verify", lambda *_, **__: found)  # and what it verified is changed right after
    for name in ("card.md", STATEMENT, "manifest.json"):
        whole = (folder / name).read_bytes()
        for other in (whole[:-1], whole + b" ", whole[:-1] + b"?"):
            (folder / name).write_bytes(other)
            with pytest.raises(BundleError):
                seal(folder, place / "release.age", now=NOW)
        (folder / name).write_bytes(whole)
    assert {path.name for path in place.iterdir()} == {"trust.json", "release"}
    with pytest.raises(StorageError, match="inside the release"):
        seal(folder, folder / "release.age", now=NOW)


# --- statement and policy ---------------------------------------------------------------------------


def test_statement_and_policy_name_one_key(
    world: Any, keys: dict[str, Path], place: Path, resign: Callable[..., Path], bundle: Path
) -> None:
    def name_a_key(manifest: dict[str, Any], statement: dict[str, Any]) -> None:
        statement["predicate"]["key"] = public(keys["own"])

    with pytest.raises(BundleError, match="different keys"):
        verify(resign(name_a_key), now=NOW)

    def no_key(manifest: dict[str, Any], statement: dict[str, Any]) -> None:
        statement["predicate"]["key"] = "age1"

    with pytest.raises(BundleError, match="key"):
        verify(resign(no_key), now=NOW)


# --- the wrong hands, the wrong key -----------------------------------------------------------------


def test_another_identity_does_not_open_it(made: Path, place: Path, keys: dict[str, Path]) -> None:
    fault = refused(made, place, keys["third"], says="another key")
    assert public(keys["third"]) in fault.mend
    with pytest.raises(BundleError):  # nor are the folders left that it would have lain in
        open_sealed(made, place / "a" / "b" / "opened", identity=keys["third"], trust=place / "trust.json", now=NOW)
    assert not (place / "a").exists()
    both = place / "both"
    both.touch(0o600)
    both.write_text(f"# two\n\n{keys['third'].read_text()}{keys['own'].read_text()}")
    assert opened(made, place, both).key == public(keys["own"])


def test_what_its_receiver_seals_to_another_is_refused_there(made: Path, place: Path, keys: dict[str, Path]) -> None:
    """Surreptitious forwarding: signatures hold, but the sender meant somebody else."""
    opened(made, place, keys["own"])
    files = {p.relative_to(place / "opened").as_posix(): p.read_bytes() for p in (place / "opened").rglob("*.*")}
    forwarded = place / "forwarded.age"
    write_sealed(packed(of_memory(files), where=""), forwarded, key=public(keys["third"]))
    shutil.rmtree(place / "opened")
    fault = refused(forwarded, place, keys["third"], says="someone who is not its sender")
    assert fault.exit_code == 4 and public(keys["own"]) in fault.what


def test_a_release_for_nobody_s_key_is_refused(world: Any, place: Path, keys: dict[str, Path]) -> None:
    files = signed_under(world, POLICY).files
    write_sealed(packed(of_memory(files), where=""), place / "x.age", key=public(keys["own"]))
    refused(place / "x.age", place, keys["own"], says="names no key")


def test_it_is_verified_as_a_folder_is(world: Any, made: Path, place: Path, keys: dict[str, Path]) -> None:
    refused(made, place, keys["own"], says="not for 'other'", recipient="other")
    (place / "trust.json").unlink()
    write_trust(place / "trust.json", Trust.of(new_key(place / "x.key", name="X")))
    fault = refused(made, place, keys["own"], says="does not list")
    assert fault.where == f"{made}/{STATEMENT}"
    (place / "empty.json").touch()
    refused(made, place, keys["own"], KeyFileError, trust=place / "empty.json")


def test_a_trust_file_is_read_before_anything_is_decrypted(
    made: Path, place: Path, keys: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealed, "decrypt", None)
    with not_waiting():
        refused(made, place, keys["own"], says="no trust file can be read", trust=pipe(place / "pipe"))
    (place / "trust.json").unlink()
    assert refused(made, place, keys["own"], says="no trust file can be read").exit_code == 4


# --- bytes ------------------------------------------------------------------------------------------


def test_a_flip_of_any_byte_is_found(made: Path, place: Path, keys: dict[str, Path]) -> None:
    """The header, and the first, last and other bytes of each chunk of 64 KiB."""
    whole, draw = made.read_bytes(), random.Random(1)
    start = whole.index(b"\n", whole.index(b"\n--- ") + 1) + 1
    step = 65536 + 16
    places = {*range(0, start, 5), *range(start, len(whole), step), *range(start - 1, len(whole), step), len(whole) - 1}
    for at in sorted(places | {draw.randrange(len(whole)) for _ in range(40)}):
        (place / "x.age").write_bytes(whole[:at] + bytes([whole[at] ^ draw.randrange(1, 256)]) + whole[at + 1 :])
        refused(place / "x.age", place, keys["own"])


def test_a_file_that_was_cut_or_grew_is_found(made: Path, place: Path, keys: dict[str, Path]) -> None:
    whole = made.read_bytes()
    for at in (0, 1, 20, 100, 200, len(whole) // 2, len(whole) - 17, len(whole) - 1):
        (place / "x.age").write_bytes(whole[:at])
        refused(place / "x.age", place, keys["own"])
    for more in (b"\n", whole):
        (place / "x.age").write_bytes(whole + more)
        refused(place / "x.age", place, keys["own"])


def test_a_header_without_end_is_not_read(place: Path, keys: dict[str, Path]) -> None:
    (place / "x.age").write_bytes(b"age-encryption.org/v1\n" + (b"-> X25519 " + b"A" * 43 + b"\n\n") * 5000)
    refused(place / "x.age", place, keys["own"], says="does not begin")


GOOD = b"-> X25519 " + b"A" * 43 + b"\n" + b"A" * 43 + b"\n"
MAC = b"--- " + b"A" * 43 + b"\n"


@pytest.mark.parametrize(
    "lines",
    [
        GOOD + b"--- ",
        GOOD + MAC[:-1] + b"A",
        GOOD + b"--- \n" + MAC,
        GOOD + b"A" * 64 + b"\n" + MAC,
        GOOD + b"-> \n" + MAC,
        GOOD[:-1] + b"\0\n" + MAC,
        MAC,
    ],
)
def test_a_header_that_is_not_whole_is_not_read(lines: bytes, place: Path, keys: dict[str, Path]) -> None:
    """age would hold all that follows, to look for its end there."""
    (place / "x.age").write_bytes(b"age-encryption.org/v1\n" + lines + bytes(MAX_HEADER))
    refused(place / "x.age", place, keys["own"], says="does not begin")


@pytest.mark.parametrize("kind", ["none", "folder", "pipe"])
def test_what_is_no_file_is_told(place: Path, keys: dict[str, Path], kind: str) -> None:
    if kind == "folder":
        (place / "x.age").mkdir()
    if kind == "pipe":
        os.mkfifo(place / "x.age")
    assert refused(place / "x.age", place, keys["own"], UsageError, "cannot be read").exit_code == 2


# --- what is inside ---------------------------------------------------------------------------------


def member(name: str, size: int = 1, **changes: Any) -> bytes:
    info, form = tarfile.TarInfo(name), changes.pop("form", tarfile.GNU_FORMAT)
    info.size = size
    for key, value in changes.items():
        setattr(info, key, value)
    return info.tobuf(form, "utf-8", "surrogateescape")


def entry(name: str, **changes: Any) -> bytes:
    return member(name, **changes) + b"x" + bytes(BLOCK - 1)


END = bytes(2 * BLOCK)
HOSTILE = {
    "absolute": entry("/etc/cron.d/x"),
    "up": entry("../x"),
    "up inside": entry("a/../../x"),
    "dot": entry("./x"),
    "backslash": entry("a\\b"),
    "hidden": entry(".bashrc"),
    "empty name": entry(""),
    "device name": entry("nul.txt"),
    "not ascii": entry("ä"),
    "long": entry("a" * 101),
    "deep": entry("/".join("abcdefghi")),
    "symlink": member("x", size=0, type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    "hard link": member("x", size=0, type=tarfile.LNKTYPE, linkname="y"),
    "fifo": member("x", size=0, type=tarfile.FIFOTYPE),
    "device": member("x", size=0, type=tarfile.CHRTYPE, devmajor=1, devminor=3),
    "folder": member("x", size=0, type=tarfile.DIRTYPE),
    "pax": member("x", size=0, type=tarfile.XHDTYPE),
    "sparse": member("x", size=0, type=tarfile.GNUTYPE_SPARSE),
    "old form": member("x", type=tarfile.AREGTYPE),
    "setuid": entry("x", mode=0o4755),
    "mode": entry("x", mode=0o600),
    "owner": entry("x", uid=1000),
    "owner's name": entry("x", uname="root"),
    "time": entry("x", mtime=1),
    "ustar": entry("x", form=tarfile.USTAR_FORMAT),
    "doubled": entry("x") + entry("x"),
    "out of order": entry("y") + entry("x"),
    "case": entry("A") + entry("a"),
    "file and folder": entry("a") + entry("a/b"),
    "huge": member("x", size=MAX_FILE_BYTES + 1),
    "padding": member("x") + b"xy" + bytes(BLOCK - 2),
    "one empty block between": entry("a") + bytes(BLOCK) + entry("b"),
    "noise": random.Random(2).randbytes(BLOCK),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_tar_is_refused(kind: str, place: Path, keys: dict[str, Path]) -> None:
    write_sealed([HOSTILE[kind] + END], place / "x.age", key=public(keys["own"]))
    refused(place / "x.age", place, keys["own"])


def test_more_files_than_there_may_be(place: Path, monkeypatch: pytest.MonkeyPatch, keys: dict[str, Path]) -> None:
    monkeypatch.setattr(parcel, "_MOST", 3)
    write_sealed([b"".join(entry(name) for name in "abcd") + END], place / "x.age", key=public(keys["own"]))
    refused(place / "x.age", place, keys["own"], says="more than 3 files")


def test_a_plain_tar_of_another_thing_is_no_bundle(place: Path, keys: dict[str, Path]) -> None:
    x = entry("x")
    streams = {x + END: ".", END: "."} | dict.fromkeys((b"", x, x + END[1:], x + END + b"\0", x + END * 2), "no bundle")
    for i, (stream, says) in enumerate(streams.items()):
        write_sealed([stream], place / f"{i}.age", key=public(keys["own"]))
        refused(place / f"{i}.age", place, keys["own"], says=says)


NAMES = st.from_regex(r"[a-z0-9_]{1,6}(/[a-z0-9_]{1,6}){0,3}", fullmatch=True)


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(NAMES, st.binary(max_size=1500), max_size=5), st.integers(1, 3000), st.data())
def test_any_stream_in_any_pieces(files: dict[str, bytes], most: int, data: st.DataObject) -> None:
    """Files come back as they went; with a byte changed they are refused, or another file's contents."""
    import tempfile

    def unpack(raw: bytes) -> dict[str, bytes]:
        with tempfile.TemporaryDirectory() as folder:
            into = Unpacked(Path(folder), where="x")
            try:
                for at in range(0, len(raw), most):
                    into.write(raw[at : at + most])
                into.end()
            finally:
                into.close()
            found = Path(folder)
            return {p.relative_to(found).as_posix(): p.read_bytes() for p in found.rglob("*") if p.is_file()}

    raw = b"".join(packed(of_memory(files), where="x"))
    clash = any(f"{one}/" == other[: len(one) + 1] for one in files for other in files)
    devices = any(
        part in {"con", "prn", "aux", "nul"} or part[:3] in {"com", "lpt"} for f in files for part in f.split("/")
    )
    if clash or devices:
        return
    assert unpack(raw) == files
    at = data.draw(st.integers(0, len(raw) - 1))
    changed = raw[:at] + bytes([raw[at] ^ data.draw(st.integers(1, 255))]) + raw[at + 1 :]
    try:
        other = unpack(changed)
    except BundleError:
        return
    assert b"".join(packed(of_memory(other), where="x")) == changed


def test_large_sizes_have_one_header() -> None:
    for size in (0, 8 * 2**30 - 1, 8 * 2**30, MAX_FILE_BYTES):
        block = head("data/table.csv", size)
        assert len(block) == BLOCK
        assert tarfile.TarInfo.frombuf(block, "ascii", "strict").size == size
    with pytest.raises(BundleError, match="100 characters"):
        list(packed([("a" * 101, 0, [])], where="x"))


# --- places -----------------------------------------------------------------------------------------


def test_nothing_is_overwritten(world: Any, made: Path, place: Path, keys: dict[str, Path]) -> None:
    (place / "opened").mkdir()
    refused(made, place, keys["own"], StorageError, "never overwritten")
    (place / "taken").write_text("mine")
    with pytest.raises(StorageError, match="never overwritten"):
        signed_under(world, naming(public(keys["own"]))).seal(place / "taken")
    (place / "link").symlink_to(place / "nowhere")
    with pytest.raises(StorageError, match="never overwritten"):
        signed_under(world, naming(public(keys["own"]))).seal(place / "link")
    assert (place / "taken").read_text() == "mine"


def test_what_came_meanwhile_stays(world: Any, place: Path, keys: dict[str, Path]) -> None:
    def stream() -> Iterator[bytes]:
        yield b"a"
        (place / "x.age").write_text("mine")

    with pytest.raises(StorageError, match="never overwritten"):
        write_sealed(stream(), place / "x.age", key=public(keys["own"]))
    assert (place / "x.age").read_text() == "mine"
    assert {path.name for path in place.iterdir()} == {"trust.json", "x.age"}


def test_an_empty_folder_that_came_meanwhile_stays(
    world: Any, made: Path, place: Path, keys: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Late(dict[str, bytes]):
        def items(self) -> Any:
            (place / "release").mkdir()
            return super().items()

    with pytest.raises(StorageError, match="nothing was left behind"):
        SignedRelease(Late(signed_under(world, POLICY).files)).write(place / "release")
    check = sealed._refuse_taken

    def checked(target: Path) -> None:
        check(target)
        if any(".partial" in path.name for path in place.iterdir()):
            target.mkdir()

    monkeypatch.setattr(sealed, "_refuse_taken", checked)
    with pytest.raises(StorageError, match="nothing was left behind"):
        opened(made, place, keys["own"])
    left = {path.name: [*path.iterdir()] for path in place.iterdir() if path.is_dir()}
    assert left == {"release": [], "opened": []}


@pytest.mark.parametrize("act", ["write", "seal", "open"])
@pytest.mark.parametrize("fault", ["folder", "name"])
def test_what_is_said_to_be_left_is_left(
    act: str, fault: str, world: Any, made: Path, place: Path, keys: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a folder that nobody may list nothing is known to come to the disk: it is told before anything is written.
    Where only the name is not brought to the disk, that is told, for the whole is there."""
    clear, keyed, target = signed_under(world, POLICY), signed_under(world, naming(public(keys["own"]))), place / "x"
    open_, fsync = os.open, os.fsync

    def denied(path: Any, *args: Any, **more: Any) -> int:
        if Path(path) == place and fault == "folder":
            raise PermissionError(13, "Permission denied")
        return open_(path, *args, **more)

    def broken(handle: int) -> None:
        if target.exists() and fault == "name":
            raise OSError(5, "Input/output error")
        fsync(handle)

    monkeypatch.setattr(os, "open", denied)
    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(StorageError) as caught:
        if act == "open":
            open_sealed(made, target, identity=keys["own"], trust=place / "trust.json", now=NOW)
        elif act == "seal":
            keyed.seal(target)
        else:
            clear.write(target)
    whole = "it is there, and whole" in caught.value.what
    assert ("nothing was left behind" in caught.value.what) is (not whole) is (not target.exists())
    assert whole is (fault == "name")
    assert {path.name for path in place.iterdir()} == {"trust.json", *(["x"] if whole else [])}


def test_a_file_system_without_links(world: Any, place: Path, monkeypatch: pytest.MonkeyPatch, keys: Any) -> None:
    def none(*_: Any, **__: Any) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", none)
    path = signed_under(world, naming(public(keys["own"]))).seal(place / "release.age")
    assert opened(path, place, keys["own"]).rows == 60
    assert {p.name for p in place.iterdir()} == {"trust.json", "opened", "release.age"}


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_fault_in_the_middle_leaves_nothing(
    world: Any,
    made: Path,
    place: Path,
    keys: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    fault: BaseException,
) -> None:
    def full(_: int) -> None:
        raise fault

    expected = StorageError if isinstance(fault, OSError) else KeyboardInterrupt
    before = sorted(place.rglob("*"))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(expected):
        signed_under(world, naming(public(keys["own"]))).seal(place / "new" / "x.age")
    with pytest.raises(expected):
        opened(made, place, keys["own"])
    monkeypatch.undo()

    def stream() -> Iterator[bytes]:
        yield bytes(10**6)
        raise fault

    with pytest.raises(expected):
        write_sealed(stream(), place / "x.age", key=public(keys["own"]))
    assert sorted(place.rglob("*")) == before
    (place / "file").touch()
    with pytest.raises(StorageError):
        write_sealed([b"x"], place / "file" / "x.age", key=public(keys["own"]))
    with pytest.raises(StorageError):
        open_sealed(made, place / "file" / "x", identity=keys["own"], trust=place / "trust.json", now=NOW)


# --- keys -------------------------------------------------------------------------------------------


def test_an_identity_file_is_age_s_own(tmp_path: Path) -> None:
    key = new_identity(tmp_path / "a.key")
    text = (tmp_path / "a.key").read_text()
    secret = text.splitlines()[-1]
    assert text.startswith("# created: 20") and f"# public key: {key}\n" in text
    assert str(pyrage.x25519.Identity.from_str(secret).to_public()) == key == age.check_age_key(key)
    assert (tmp_path / "a.key").stat().st_mode & 0o777 == 0o600
    assert secret not in repr(load_identity(tmp_path / "a.key"))
    with pytest.raises(StorageError, match="exists"):
        new_identity(tmp_path / "a.key")
    assert (tmp_path / "a.key").read_text() == text


SECRET = "AGE-SECRET-KEY-1" + "Q" * 58


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# only a comment\n",
        f"{SECRET}\n",
        f"{SECRET.lower()}\n",
        "age1" + "q" * 58,
        "AGE-PLUGIN-YUBIKEY-1QQQ\n",
        f"-----BEGIN AGE ENCRYPTED FILE-----\n{SECRET}\n",
        f"good {SECRET}",
        "\0\xff",
    ],
)
def test_what_is_no_identity_is_told_without_its_text(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.key"
    path.touch(0o600)
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(KeyFileError, match="not an identity file") as caught:
        load_identity(path)
    assert "QQQ" not in str(caught.value).upper()


def test_an_identity_that_others_read_is_not_used(tmp_path: Path, keys: dict[str, Path]) -> None:
    shutil.copy(keys["own"], tmp_path / "a.key")
    (tmp_path / "a.key").chmod(0o400)
    assert load_identity(tmp_path / "a.key").keys == (public(keys["own"]),)
    (tmp_path / "a.key").chmod(0o640)
    with pytest.raises(KeyFileError, match="mode 0640"):
        load_identity(tmp_path / "a.key")
    with pytest.raises(KeyFileError, match="cannot be read"):
        load_identity(tmp_path / "none.key")


def test_without_the_package_it_is_told(
    monkeypatch: pytest.MonkeyPatch, world: Any, made: Path, place: Path, keys: dict[str, Path]
) -> None:
    release = signed_under(world, naming(public(keys["own"])))
    monkeypatch.setattr(age, "find_spec", lambda name: None)
    for act in (
        lambda: release.seal(place / "x.age"),
        lambda: opened(made, place, keys["own"]),
        lambda: new_identity(place / "x.key"),
        lambda: seal(place, place / "x.age"),
    ):
        with pytest.raises(MissingExtra) as caught:
            act()
        assert caught.value.mend == "pip install 'privsynth[age]'"
    assert {path.name for path in place.iterdir()} == {"trust.json"}


# --- on the command line ----------------------------------------------------------------------------


def test_the_command_line(world: Any, place: Path, keys: dict[str, Path]) -> None:
    made = cli("keys", "receiving", place / "me.key", "--json").json
    assert made["public"] == public(place / "me.key")
    path = signed_under(world, naming(made["public"])).seal(place / "release.age")

    def run(*more: str | Path, key: Path = place / "me.key", file: Path = path, out: str = "opened") -> Said:
        return cli("open", file, "--identity", key, "--out", place / out, *more)

    (place / "empty.json").touch()
    assert run("--trust", place / "empty.json").code == 2
    assert run(file=place / "none.age").code == 2
    assert run(key=keys["third"]).code == 4
    assert run("--recipient", "somebody").code == 4
    assert run(out="trust.json").code == 2
    (place / "me.key").chmod(0o644)
    assert run().code == 2
    (place / "me.key").chmod(0o600)
    said = run("--recipient", NAME, "--json").json
    assert (said["command"], said["verified"], said["key"]) == ("open", True, made["public"])
    assert f"the key {made['public']}" in run(out="again").out
    shown = cli("verify", path, "--trust", place / "trust.json")
    assert shown.code == 4 and "privsynth open" in shown.err
    shown = cli("verify", place / "opened")
    assert shown.code == 0 and "if it was sent to you as this folder" in shown.out
    assert "if it was sent to you as this folder" not in run(out="third").out
    assert cli("seal", place / "opened", "--out", place / "release.age").code == 2
    assert cli("seal", place / "trust.json", "--out", place / "y.age").code == 4
    assert load_key(world.key_path).keyid not in said["signers"]


SIGNALLED = """
import os, signal, sys
from privsynth.cli import console
from privsynth.release import sealed

verify, remove, names = sealed.verify, sealed.shutil.rmtree, sys.argv.pop().split()

def late(*args, **more):
    print(len(list(args[0].rglob("table.csv"))), "in the clear", file=sys.stderr)
    os.kill(os.getpid(), signal.Signals[names[0]])
    return verify(*args, **more)

def removed(*args, **more):
    os.kill(os.getpid(), signal.Signals[names[-1]])
    remove(*args, **more)

sealed.verify, sealed.shutil.rmtree = late, removed
console()
"""


@pytest.mark.parametrize(
    ("names", "code"), [("SIGTERM SIGHUP", 130), ("SIGHUP SIGINT", 130), ("SIGHUP SIGHUP", 0)], ids=str
)
def test_a_signal_leaves_nothing_in_the_clear(
    names: str, code: int, made: Path, place: Path, keys: dict[str, Path]
) -> None:
    """The first comes when all is unpacked, the second when it is being removed; after `nohup` neither does."""

    def begin() -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL if code else signal.SIG_IGN)

    asked = ["open", made, "--identity", keys["own"], "--out", place / "opened", "--trust", place / "trust.json"]
    command = [sys.executable, "-c", SIGNALLED, *map(str, asked), names]
    said = subprocess.run(command, preexec_fn=begin, capture_output=True, text=True, timeout=60, check=False)
    assert said.returncode == code, said.stderr
    assert said.stderr.startswith("1 in the clear\n")
    assert ("privsynth: interrupted." in said.stderr) is (code == 130)
    assert {path.name for path in place.iterdir()} == {"trust.json", *(["opened"] if code == 0 else [])}
