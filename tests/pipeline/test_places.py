"""What is checked before anything is paid, and the small files beside a study."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from privsynth.errors import KeyFileError, MissingExtra, StorageError
from privsynth.pipeline import places
from privsynth.pipeline.places import check_file, check_places, check_writable, first_line
from privsynth.policy.document import load_policy
from privsynth.signing import load_key
from tests.desk import Desk, cli
from tests.world import ACTOR


def test_a_good_desk_passes(desk: Desk) -> None:
    before = desk.files()
    check_places(desk.load())
    assert desk.files() == before


def test_a_missing_package_is_told_before_anything_is_paid(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "NEEDED", ("torch", "no_such_package"))
    with pytest.raises(MissingExtra, match="no_such_package") as caught:
        check_places(desk.load())
    assert "privsynth[generate]" in caught.value.mend
    assert desk.kinds() == []


@pytest.mark.parametrize(
    "decisions", ["release", "release/receipts", "other/../release", "model", "model/receipts", "."]
)
def test_receipts_of_consent_do_not_lie_with_what_else_is_made(desk: Desk, decisions: str) -> None:
    """In the release people's names would leave the house; in the model's folder or around both a run would fail."""
    desk.edit("study.yaml", ("{register: consent.csv}", f"{{register: consent.csv, decisions: {decisions}}}"))
    before = desk.files()
    said = desk.run("--json")
    assert (said.code, said.json["error"]) == (2, "StorageError")
    assert "receipts of consent" in said.json["what"] and said.json["where"].endswith("study.yaml:6")
    assert desk.kinds() == [] and desk.files() == before


@pytest.mark.parametrize("at", ["release/ledger.db", "release", "model", "model/deep/ledger.db"])
def test_the_ledger_does_not_lie_in_what_is_made(desk: Desk, at: str) -> None:
    desk.edit("study.yaml", ("sqlite:///ledger.db", f"sqlite:///{at}"))
    before = desk.files()
    with pytest.raises(StorageError, match="would lie in the release folder or the model's") as caught:
        check_places(desk.load())
    assert "study.yaml:" in caught.value.where and desk.files() == before


def test_nor_does_its_key(desk: Desk) -> None:
    desk.edit("study.yaml", ("sqlite:///ledger.db", "{at: sqlite:///ledger.db, key: release/ledger.key}"))
    with pytest.raises(StorageError, match=r"the ledger's ledger\.key"):
        check_places(desk.load())


@pytest.mark.parametrize("name", ["a/b/c", "new", "../beside"])
def test_a_place_that_can_be_made_passes(tmp_path: Path, name: str) -> None:
    check_writable(tmp_path / name)


def test_a_place_that_cannot_hold_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="a file, where a folder is needed"):
        check_writable(tmp_path / "file" / "deep" / "er")
    with pytest.raises(StorageError, match="no such folder"):
        check_file(tmp_path / "no" / "page.html")
    with pytest.raises(StorageError, match="a folder, where a file"):
        check_file(tmp_path)
    check_file(tmp_path / "file")


def test_a_passphrase_is_the_first_line(tmp_path: Path) -> None:
    for text in (b"word", b"word\n", b"word\r\n", b"word\nsecond line\n"):
        (tmp_path / "p").write_bytes(text)
        assert first_line(tmp_path / "p") == b"word"
    for text in (b"", b"\n", b"\r\nword"):
        (tmp_path / "p").write_bytes(text)
        with pytest.raises(KeyFileError, match="empty"):
            first_line(tmp_path / "p")


def test_a_ledger_that_is_asked_for_is_never_made(desk: Desk) -> None:
    url = f"sqlite:///{desk.folder}/ledger.db"
    with pytest.raises(StorageError, match="no such ledger"):
        desk.load().ledger.existing(load_policy(desk.folder / "policy.yaml"), actor=ACTOR)
    said = cli("budget", desk.folder / "policy.yaml", "--ledger", url, "--json")
    assert (said.code, said.json["error"]) == (2, "StorageError")
    assert "ledger.db" not in desk.files()


def test_an_encrypted_key_signs_a_study(desk: Desk) -> None:
    (desk.folder / "pass.txt").write_text("long enough\nnot this\n")
    args = ["--name", "B", "--trust", f"{desk.folder}/b.json", "--passphrase-file", f"{desk.folder}/pass.txt"]
    assert cli("keys", "new", desk.folder / "b.key", *args).code == 0
    desk.edit("study.yaml", ("{key: release.key}", "{key: b.key}"))
    said = desk.run("--json")
    assert (said.code, said.json["error"]) == (2, "KeyFileError")
    assert "encrypted" in said.json["what"] and desk.kinds() == []
    desk.edit("study.yaml", ("{key: b.key}", "{key: b.key, passphrase file: pass.txt}"))
    assert desk.run().code == 0
    assert cli("verify", desk.release, "--trust", desk.folder / "b.json").code == 0
    assert cli("verify", desk.release).code == 4  # trust.json beside it is of another key


# --- keys new --------------------------------------------------------------------------------------


def test_keys_new_makes_a_pair_that_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    told = cli("keys", "new", "--name", "A. Kim", "--json").json
    assert (told["key"], told["trust"]) == ("release.key", "trust.json")
    assert stat.S_IMODE((tmp_path / "release.key").stat().st_mode) == 0o600
    assert load_key(tmp_path / "release.key").keyid == told["keyid"]
    assert told["keyid"] in (tmp_path / "trust.json").read_text()
    assert "A. Kim" in (tmp_path / "trust.json").read_text()


def test_the_trust_file_lies_beside_the_key(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    told = cli("keys", "new", tmp_path / "keys", "--json").json
    assert told["key"] == str(tmp_path / "keys" / "release.key")
    assert told["trust"] == str(tmp_path / "keys" / "trust.json")


@pytest.mark.parametrize(
    ("existing", "args", "what"),
    [
        (["trust.json"], ["release.key"], "the trust file exists"),
        (["release.key"], ["release.key"], "the file exists"),
        ([], ["no/release.key"], "no such folder"),
        ([], ["release.key", "--trust", "no/trust.json"], "no such folder"),
        ([], ["release.key", "--name", " blank "], "name"),
        ([], ["release.key", "--passphrase-file", "none.txt"], "no such passphrase"),
        (["empty.txt"], ["release.key", "--passphrase-file", "empty.txt"], "empty"),
    ],
)
def test_keys_new_makes_both_files_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, existing: list[str], args: list[str], what: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in existing:
        (tmp_path / name).touch()
    said = cli("keys", "new", *args, "--json")
    assert said.code == 2 and what in said.json["what"] and said.json["mend"]
    assert sorted(path.name for path in tmp_path.iterdir()) == existing
    assert all((tmp_path / name).read_bytes() == b"" for name in existing)
