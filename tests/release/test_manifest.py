"""The manifest: names that mean one file everywhere, sizes and digests that are compared."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privsynth.documents import canonical, sha256
from privsynth.errors import BundleError
from privsynth.release import manifest as m
from privsynth.release.manifest import Entry, Manifest, check_file, check_names, read_file, walk

FILES = {"data/table.csv": b"a,b\n1,2\n", "card.md": b"# x\n", "empty": b""}


def test_a_manifest_round_trips() -> None:
    manifest = Manifest.of(FILES)
    assert Manifest.from_bytes(manifest.to_bytes()) == manifest
    assert [entry.path for entry in manifest.files] == ["card.md", "data/table.csv", "empty"]
    assert manifest.files[0] == Entry(path="card.md", size=4, sha256=sha256(b"# x\n"))


NAMES = st.from_regex(r"[a-z0-9_][a-z0-9._-]{0,10}[a-z0-9](/[a-z_][a-z]{4,8}){0,3}", fullmatch=True)


@given(st.dictionaries(NAMES, st.binary(max_size=20), min_size=1, max_size=6))
def test_whatever_is_accepted_is_read_back_and_found(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    try:
        manifest = Manifest.of(files)
    except BundleError:
        return
    assert Manifest.from_bytes(manifest.to_bytes()) == manifest
    folder = tmp_path_factory.mktemp("m")
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    assert walk(folder) == tuple(sorted(files))
    for entry in manifest.files:
        check_file(folder, entry)


@pytest.mark.parametrize(
    "path",
    [
        "",
        ".",
        "..",
        "../card.md",
        "data/../../card.md",
        "data/./x",
        "data//x",
        "data/",
        "/etc/passwd",
        "C:/x",
        "c:x",
        "\\\\host\\x",
        "data\\table.csv",
        ".hidden",
        "trailing.",
        "a b",
        "a\nb",
        "a\x00b",
        "-rf",
        "~/x",
        "é",
        "e\u0301",  # the same letter in another Unicode form
        "ﬁle",
        "\u202egpj.exe",
        "x" * 129,
        "/".join("abcdefghi"),
        "con",
        "NUL.txt",
        "data/aux.csv",
        "lpt1",
        "com9.tar.gz",
        "file\udcff",
    ],
)
def test_unsafe_names_are_refused(path: str) -> None:
    with pytest.raises(BundleError, match="unsafe"):
        check_names([path], where="x")


@pytest.mark.parametrize("path", ["a", "card.md", "data/images/000_1.png", "conx", "com10", "a-b.c", "_x", "nulls.csv"])
def test_plain_names_are_taken(path: str) -> None:
    check_names([path], where="x")


@pytest.mark.parametrize(
    ("paths", "says"),
    [
        (["card.md", "Card.md"], "case alone"),
        (["data/a", "Data/b"], "case alone"),
        (["data", "data/a"], "both a file and a folder"),
        (["a/b", "a/b/c"], "both a file and a folder"),
    ],
)
def test_names_that_collide_are_refused(paths: list[str], says: str) -> None:
    for order in (paths, paths[::-1]):
        with pytest.raises(BundleError, match=says):
            check_names(order, where="x")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda v: v.update({"privsynth-manifest": 2}), "format 2"),
        (lambda v: v.update({"note": ""}), "unknown key"),
        (lambda v: v.update({"files": []}), "files"),
        (lambda v: v["files"].reverse(), "out of order"),
        (lambda v: v["files"].append(v["files"][-1]), "repeated"),
        (lambda v: v["files"][0].update(size=-1), "size"),
        (lambda v: v["files"][0].update(size=True), "size"),
        (lambda v: v["files"][0].update(size=2**40), "size"),
        (lambda v: v["files"][0].update(size="4"), "size"),
        (lambda v: v["files"][0].update(sha256="AB" * 32), "sha256"),
        (lambda v: v["files"][0].update(sha256="ab" * 32 + "\n"), "sha256"),
        (lambda v: v["files"][0].pop("sha256"), "missing"),
        (lambda v: v["files"][0].update(path="../card.md"), "unsafe"),
        (lambda v: v["files"][1].update(path="Card.md"), "out of order|case alone"),
    ],
)
def test_a_manifest_of_another_shape_is_refused(change: Callable[[dict[str, Any]], object], says: str) -> None:
    value = json.loads(Manifest.of(FILES).to_bytes())
    change(value)
    with pytest.raises(BundleError, match=says):
        Manifest.from_bytes(canonical(value))


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b"null", b"{", Manifest.of(FILES).to_bytes() + b"\n"])
def test_a_manifest_that_is_not_canonical_is_refused(raw: bytes) -> None:
    with pytest.raises(BundleError):
        Manifest.from_bytes(raw)


def planted(tmp_path: Path, kind: str) -> Path:
    (tmp_path / "a").write_bytes(b"a")
    match kind:
        case "link to a file":
            (tmp_path / "b").symlink_to(tmp_path / "a")
        case "link to a folder":
            (tmp_path / "b").symlink_to("/")
        case "dangling link":
            (tmp_path / "b").symlink_to("nowhere")
        case "pipe":
            os.mkfifo(tmp_path / "b")
        case "empty folder":
            (tmp_path / "d" / "e").mkdir(parents=True)
        case "deep":
            (tmp_path / "/".join("abcdefgh".upper()) / "x").mkdir(parents=True)
        case "odd name":
            (tmp_path / ".DS_Store").write_bytes(b"")
        case "undecodable name":
            Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")).write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize(
    "kind",
    [
        "link to a file",
        "link to a folder",
        "dangling link",
        "pipe",
        "empty folder",
        "deep",
        "odd name",
        "undecodable name",
    ],
)
def test_a_folder_of_anything_but_plain_files_is_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(BundleError) as caught:
        walk(planted(tmp_path, kind))
    str(caught.value).encode()  # even an undecodable name can be printed


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        (tmp_path / name).write_bytes(b"")
    monkeypatch.setattr(m, "MAX_FILES", 3)
    walk(tmp_path)
    monkeypatch.setattr(m, "MAX_FILES", 2)
    with pytest.raises(BundleError, match="too many"):
        walk(tmp_path)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="cannot be read"):
        walk(tmp_path / "none")


@pytest.mark.parametrize("size", [0, 1, m.CHUNK - 1, m.CHUNK, m.CHUNK + 1, 2 * m.CHUNK])
def test_files_are_compared_by_size_and_digest(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "f").write_bytes(data)
    right = Entry(path="f", size=size, sha256=sha256(data))
    check_file(tmp_path, right)
    assert read_file(tmp_path / "f", limit=size) == data
    (tmp_path / "f").write_bytes(data + b"x")
    with pytest.raises(BundleError, match="larger"):
        check_file(tmp_path, right)
    with pytest.raises(BundleError, match="larger"):
        read_file(tmp_path / "f", limit=size)
    (tmp_path / "f").write_bytes(data[:-1] if data else b"x")
    with pytest.raises(BundleError):
        check_file(tmp_path, right)


def test_no_more_is_read_than_was_signed(tmp_path: Path) -> None:
    with (tmp_path / "f").open("wb") as file:
        file.truncate(2**40)  # a sparse terabyte
    with pytest.raises(BundleError, match="larger than the 3 bytes"):
        check_file(tmp_path, Entry(path="f", size=3, sha256="00" * 32))


def test_a_link_or_a_pipe_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").symlink_to("a")
    os.mkfifo(tmp_path / "pipe")  # to open it would wait for ever
    for name in ("b", "pipe"):
        with pytest.raises(BundleError, match="link, or not a plain file"):
            read_file(tmp_path / name, limit=9)
    with pytest.raises(BundleError, match="cannot be read"):
        read_file(tmp_path / "c", limit=9)
