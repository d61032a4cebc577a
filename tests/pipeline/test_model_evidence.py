"""A saved model shows that its ledger sold the hold that paid for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from privsynth.documents import canonical
from privsynth.errors import LedgerError, ModelError
from privsynth.generators.kept import load_model
from privsynth.ledger.evidence import CHECKPOINT, INCLUSION, check_model_folder
from privsynth.signing import Trust, load_key, load_trust, new_key, write_trust
from tests.desk import Desk, cli


def trusting(folder: Path, key: Path) -> Path:
    """A trust file that names a ledger's key."""
    path = folder / f"trusting-{key.name}.json"
    own = load_trust(folder / "trust.json").keys
    write_trust(path, Trust.of(*own, load_key(key).public(name="the ledger", roles=("ledger",))))
    return path


def test_a_run_keeps_a_model_whose_hold_its_ledger_vouches_for(finished: Desk, tmp_path: Path) -> None:
    folder, key = finished.folder / "model", finished.folder / "ledger.db.key"
    found = check_model_folder(folder, keys=[load_key(key).raw_public])
    model = load_model(folder)
    assert found.reserve.body["hold"] == model.receipt.hold
    assert model.receipt.evidence == {name: (folder / name).read_bytes() for name in (CHECKPOINT, INCLUSION)}
    model.save(tmp_path / "again")
    for file in folder.iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()

    said = cli("ledger", "check", folder, "--trust", trusting(finished.folder, key), "--json")
    assert (said.code, said.json["sold"], said.json["trusted"]) == (0, True, True)
    assert said.json["hold"] == model.receipt.hold
    assert said.json["log"] == f"privsynth.dev/ledger/{finished.ledger().id}"
    assert "sold: hold" in cli("ledger", "check", folder).out
    new_key(finished.folder / "other.key", name="other")
    assert cli("ledger", "check", folder, "--trust", trusting(finished.folder, finished.folder / "other.key")).code == 4


def test_the_ledger_names_the_transcript_that_lies_in_the_folder(finished: Desk) -> None:
    """What docs/ledger.md tells an auditor to compare."""
    from privsynth.documents import sha256

    (measured,) = [entry for entry in finished.entries() if entry["kind"] == "measured"]
    assert measured["body"]["sha256"] == sha256((finished.folder / "model" / "transcript.safetensors").read_bytes())


@pytest.mark.parametrize("name", [CHECKPOINT, INCLUSION])
def test_altered_evidence_is_refused(finished: Desk, name: str) -> None:
    path = finished.folder / "model" / name
    raw = path.read_bytes()
    for at in (0, len(raw) // 2, len(raw) - 3):
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
        with pytest.raises(ModelError) as caught:
            load_model(path.parent)
        assert caught.value.exit_code == 4
        for command in (
            ("inspect", path.parent),
            ("transcript", path.parent, "--out", finished.folder / "t"),
            ("explain-budget", "--model", path.parent),
            ("sample", finished.study, "--rows", "5", "--out", finished.folder / "x"),
            ("ledger", "check", path.parent),
        ):
            assert cli(*command).code == 4
    path.unlink()
    with pytest.raises(ModelError, match="nothing shows"):
        load_model(path.parent)


@pytest.mark.parametrize(
    "edited",
    [
        {"epsilon": 1.5},
        {"first_of_population": False},
        {"chosen_after_report": True},
        {"schema": ""},
        {"person_rows": 9},
    ],
    ids=lambda edited: next(iter(edited)),
)
def test_a_receipt_of_another_sale_is_refused(finished: Desk, edited: dict[str, Any]) -> None:
    folder = finished.folder / "model"
    head = json.loads((folder / "model.json").read_bytes())
    assert not head["receipt"].items() >= edited.items()
    changed: dict[str, Any] = {**head, "receipt": {**head["receipt"], **edited}}
    (folder / "model.json").write_bytes(canonical(changed))
    with pytest.raises(LedgerError, match="another hold than the receipt's"):
        check_model_folder(folder)
    assert cli("ledger", "check", folder).code == 4
    if "schema" not in edited:  # which is refused before
        with pytest.raises(ModelError, match="another hold than the receipt's"):
            load_model(folder)


def test_a_folder_of_before_there_was_evidence_loads(finished: Desk) -> None:
    folder = finished.folder / "model"
    before = load_model(folder).id
    for name in (CHECKPOINT, INCLUSION):
        (folder / name).unlink()
    old = load_model(folder)
    assert (old.id, old.receipt.evidence) == (before, {})
    assert cli("sample", finished.study, "--rows", "5", "--out", finished.folder / "x").code == 0
    with pytest.raises(LedgerError, match="nothing shows that a ledger sold it"):
        check_model_folder(folder)
    assert cli("ledger", "check", folder).code == 4


def test_a_folder_that_is_no_model_s_is_refused(tmp_path: Path) -> None:
    for text in ("", "[]", "{}", '{"receipt": 1}', '{"receipt": {"hold": "h"}}'):
        (tmp_path / "model.json").write_text(text)
        said = cli("ledger", "check", tmp_path, "--json")
        assert (said.code, said.json["error"]) == (4, "ModelError")
