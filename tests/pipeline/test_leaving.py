"""A recipient with a key gets sealed releases only, from `run` and `sample` on; and that it cannot be is told first."""

from __future__ import annotations

from pathlib import Path

import pytest

from privsynth.errors import MissingExtra
from privsynth.release.verify import verify
from privsynth.signing import age, load_trust, new_identity, new_key, write_trust
from privsynth.signing.trust import Trust
from tests.desk import Desk, cli

pytest.importorskip("pyrage", reason="pyrage is not installed: pip install 'privsynth[age]'")

UNIVERSITY = "university: {purposes: [research, teaching]}"


def keyed(desk: Desk) -> Path:
    """The desk's recipient has a key; its identity file."""
    path = desk.folder / "university.key"
    desk.edit("policy.yaml", (UNIVERSITY, f'{UNIVERSITY[:-1]}, key: "{new_identity(path)}"}}'))
    return path


def plain(desk: Desk) -> list[str]:
    """Release folders, or parts of one, anywhere on the desk."""
    return sorted(p.as_posix() for p in desk.folder.rglob("*") if p.name in ("table.csv", "statement.dsse.json"))


def test_a_run_seals_what_it_makes(desk: Desk) -> None:
    key = keyed(desk)
    planned = cli("plan", desk.study)
    assert planned.code == 0, planned.err
    said = desk.run()
    assert said.code == 0, said.err
    path = desk.folder / "release.age"
    assert f"signed and sealed release: {path}" in said.out and "holder of age1" in said.out
    assert plain(desk) == [] and not desk.release.exists()
    again = desk.run("--json")
    assert again.code == 2 and "release file exists" in again.json["what"]
    trust = ("--trust", desk.folder / "trust.json")
    assert cli("open", path, "--identity", key, "--out", desk.release, *trust, "--recipient", "university").code == 0
    assert verify(desk.release, trust=desk.folder / "trust.json").rows == 300

    told = cli("sample", desk.study, "--rows", "40", "--out", str(desk.folder / "women"), "--json").json
    assert told["release"] == str(desk.folder / "women.age") and told["sealed_to"].startswith("age1")
    assert cli("open", desk.folder / "women.age", "--identity", key, "--out", desk.folder / "opened").code == 0
    assert not (desk.folder / "women").exists()
    assert desk.bought()["reserve"] == 1


def test_what_is_a_folder_is_no_name_of_a_sealed_file(desk: Desk) -> None:
    """Else ``.`` and ``..`` would be files beside the folders that they mean."""
    keyed(desk)
    study = desk.load()
    for out in (".", "..", "nowhere/..", desk.folder, desk.folder / ".."):
        assert study.leaves_at(Path(out)) == Path(out)
    assert study.leaves_at(desk.folder / "new") == desk.folder / "new.age"
    desk.edit("study.yaml", ("out: release/", "out: ."))
    said = desk.run("--json")
    assert said.code == 2 and "the release folder exists" in said.json["what"]


def test_where_two_sign_the_folder_is_for_them(desk: Desk) -> None:
    key = keyed(desk)
    desk.edit("policy.yaml", ("\nroles:\n", "\napproval: {release: {people: 2}}\nroles:\n"))
    said = desk.run()
    assert said.code == 0, said.err
    assert f"privsynth seal {desk.release} --out {desk.release}.age" in said.out
    second = new_key(desk.folder / "second.key", name="B. Lee")
    trust = ("--trust", desk.folder / "both.json")
    write_trust(desk.folder / "both.json", Trust.of(*load_trust(desk.folder / "trust.json").keys, second))
    out = desk.folder / "release.age"
    assert cli("seal", desk.release, "--out", out, *trust).code == 4
    assert cli("sign", "--add", desk.release, "--key", desk.folder / "second.key", *trust).code == 0
    assert cli("seal", desk.release, "--out", out, *trust).code == 0
    assert cli("open", out, "--identity", key, "--out", desk.folder / "opened", *trust).code == 0


def test_without_the_package_nothing_is_spent(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    keyed(desk)
    monkeypatch.setattr(age, "find_spec", lambda name: None)
    for command in ("plan", "run"):
        said = cli(command, desk.study, "--json")
        assert (said.code, said.json["error"]) == (2, MissingExtra.__name__)
        assert said.json["mend"] == "pip install 'privsynth[age]'"
    assert desk.entries() == [] and not (desk.folder / "model").exists()
