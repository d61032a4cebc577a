"""A bundle shows that its ledger sold and approved it, to whoever trusts that ledger's key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from privsynth.errors import BundleError
from privsynth.ledger.evidence import CHECKPOINT, INCLUSION
from privsynth.release.verify import verify
from privsynth.signing import Trust, load_key, load_trust, new_key, write_trust
from tests.desk import Desk, cli


def trusting(folder: Path, trust: Path, key: Path) -> Path:
    """A trust file that also names the ledger's key in ``key``."""
    ledger = load_key(key).public(name="the ledger", roles=("ledger",))
    path = folder / f"trusting-{key.name}.json"
    write_trust(path, Trust.of(*load_trust(trust).keys, ledger))
    return path


def test_a_run_ends_in_a_release_that_its_ledger_vouches_for(finished: Desk) -> None:
    bundle = finished.release
    assert {CHECKPOINT, INCLUSION} <= {path.name for path in bundle.iterdir()}
    found = verify(bundle)
    assert found.ledger == f"privsynth.dev/ledger/{finished.ledger().id}"
    trust = trusting(finished.folder, finished.folder / "trust.json", finished.folder / "ledger.db.key")
    assert verify(bundle, trust=trust).ledger == found.ledger


def test_the_key_of_another_ledger_vouches_for_nothing(finished: Desk) -> None:
    new_key(finished.folder / "other.key", name="other")
    trust = trusting(finished.folder, finished.folder / "trust.json", finished.folder / "other.key")
    with pytest.raises(BundleError, match="not one that you trust"):
        verify(finished.release, trust=trust)


def test_who_trusts_a_ledger_takes_no_bundle_without_it(bundle: Path) -> None:
    assert verify(bundle).ledger is None
    new_key(bundle.parent / "ledger.key", name="ledger")
    trust = trusting(bundle.parent, bundle.parent / "trust.json", bundle.parent / "ledger.key")
    with pytest.raises(BundleError, match="does not show that its ledger"):
        verify(bundle, trust=trust)


def test_the_evidence_of_another_release_or_half_of_it_is_refused(world: Any, finished: Desk, tmp_path: Path) -> None:
    own = {name: (finished.release / name).read_bytes() for name in (CHECKPOINT, INCLUSION)}
    write_trust(tmp_path / "trusted.json", world.trust)
    spoilt = {**own, CHECKPOINT: own[CHECKPOINT].replace(b"\n", b"\n0", 1)}
    for number, (evidence, words) in enumerate(
        ((own, "of another release"), ({CHECKPOINT: own[CHECKPOINT]}, "does not show"), (spoilt, "checkpoint"))
    ):
        folder = world.release(evidence=evidence).sign(world.key_path).write(tmp_path / f"release {number}")
        with pytest.raises(BundleError, match=words):
            verify(folder, trust=tmp_path / "trusted.json")


def test_the_command_line_gives_the_key_as_trust_files_list_it(finished: Desk) -> None:
    books = ("--ledger", f"sqlite:///{finished.folder}/ledger.db")
    told = cli("ledger", "checkpoint", finished.folder / "policy.yaml", *books, "--json").json["trust"]
    path = finished.folder / "both.json"
    own = json.loads((finished.folder / "trust.json").read_text())
    path.write_text(json.dumps({**own, "keys": [*own["keys"], told]}))
    assert verify(finished.release, trust=path).ledger
    export = finished.folder / "e.jsonl"
    assert cli("ledger", "export", finished.folder / "policy.yaml", export, *books).code == 0
    assert cli("ledger", "check", export, "--trust", path, "--json").json["trusted"]
    assert cli("ledger", "check", export, "--trust", finished.folder / "trust.json").code == 2
    export.write_bytes(export.read_bytes().replace(b'"reserve"', b'"reservf"'))
    assert cli("ledger", "check", export, "--trust", path).code == 4
