"""A transcript from the policy to a stranger: carried in the signed bundle, verified, fitted again."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import privsynth as ps
from privsynth.errors import BundleError
from privsynth.generators.marginals import MarginalModel, load_model, load_transcript
from privsynth.release.verify import verify
from tests.desk import SECRET, Desk, cli, lay

PUBLISHED = ("roles:\n", "release: {transcript: published}\nroles:\n")


@pytest.fixture(scope="module")
def received(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a receiver has: release/ and trust.json, of a policy that publishes transcripts."""
    desk = lay(tmp_path_factory.mktemp("published"))
    desk.edit("policy.yaml", PUBLISHED)
    said = desk.run()
    assert said.code == 0, said.err
    said = cli("sample", desk.study, "--rows", "20", "--out", desk.folder / "second")
    assert said.code == 0, said.err
    return desk.folder


def test_the_receiver_fits_the_same_model_without_a_ledger(received: Path, tmp_path: Path) -> None:
    model = load_model(received / "model")
    home = tmp_path / "home"
    home.mkdir()
    (received / "release").rename(home / "release")
    try:
        (home / "trust.json").write_bytes((received / "trust.json").read_bytes())
        found = verify(home / "release")
        assert found.transcript == home / "release" / "transcript"
        again = ps.load_transcript(found.transcript).refit()
        assert isinstance(again, MarginalModel)
        assert again.tensors() == model.tensors() and again.id == model.id
        code = (
            "import sys, privsynth as ps; v = ps.verify(sys.argv[1]); t = ps.load_transcript(v.transcript);"
            "print(len(t.refit().sample(9, where={'sex': 'F'}, seed=1)))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(home / "release")], capture_output=True, text=True, check=False, cwd=home
        )
        assert (done.returncode, done.stdout) == (0, "9\n"), done.stderr
        said = cli("verify", home / "release")
        assert "with the noisy tables" in said.out
        told = cli("verify", home / "release", "--json").json
        assert told["transcript"] == str(home / "release" / "transcript")
    finally:
        (home / "release").rename(received / "release")


def test_card_and_statement_say_so_and_nothing_else_is_in_it(received: Path) -> None:
    release = received / "release"
    assert "The noisy tables that the model was fitted to are in `transcript/`" in (release / "card.md").read_text()
    assert json.loads((release / "card.json").read_bytes())["transcript"] is True
    for path in (release / "transcript").iterdir():
        assert SECRET.encode() not in path.read_bytes()
    assert verify(received / "second").transcript is not None
    second = load_transcript(received / "second" / "transcript")
    assert second.gated and second.model == load_model(received / "model").id


@pytest.mark.parametrize("name", ["transcript.json", "transcript.safetensors"])
def test_a_changed_byte_is_told_by_verify(name: str, received: Path, tmp_path: Path) -> None:
    shutil.copytree(received / "release", tmp_path / "release")
    shutil.copy(received / "trust.json", tmp_path / "trust.json")
    path = tmp_path / "release" / "transcript" / name
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(BundleError, match="not the one that was signed"):
        verify(tmp_path / "release")
    path.unlink()
    with pytest.raises(BundleError, match="missing"):
        verify(tmp_path / "release")


def test_without_the_policy_s_word_nothing_is_carried(finished: Desk) -> None:
    assert verify(finished.release).transcript is None
    assert not (finished.release / "transcript").exists()
    assert json.loads((finished.release / "card.json").read_bytes())["transcript"] is False
    assert cli("verify", finished.release, "--json").json["transcript"] is None


def test_the_policy_s_word_cannot_be_changed_after_the_approval(finished: Desk) -> None:
    finished.edit("policy.yaml", PUBLISHED)
    said = cli("sample", finished.study, "--rows", "5", "--out", finished.folder / "x", "--json")
    assert (said.code, said.json["error"]) == (4, "HoldError")


def test_it_is_written_from_a_model_folder_alone(finished: Desk) -> None:
    out, model = finished.folder / "tables", finished.folder / "model"
    said = cli("transcript", model, "--out", out, "--json")
    assert (said.code, said.json["written"]) == (0, str(out))
    assert said.json["gated"] is False
    assert json.loads((out / "transcript.json").read_bytes())["gated"] is False
    found = load_transcript(out)
    assert not found.gated and found.refit().id == said.json["model"]
    assert "inside only" in cli("transcript", model, "--out", finished.folder / "told").out
    again = cli("transcript", model, "--out", out, "--json")
    assert (again.code, again.json["error"]) == (2, "StorageError")
    assert cli("transcript", finished.folder, "--out", finished.folder / "y", "--json").json["error"] == "ModelError"
