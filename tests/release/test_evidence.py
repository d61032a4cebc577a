"""A bundle shows that its ledger sold and approved it, to whoever trusts that ledger's key."""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from privsynth.documents import canonical, identity, sha256
from privsynth.errors import BundleError
from privsynth.ledger.evidence import CHECKPOINT, INCLUSION
from privsynth.release.manifest import NAME as MANIFEST
from privsynth.release.predicate import PAYLOAD_TYPE, POLICY, STATEMENT
from privsynth.release.verify import verify
from privsynth.signing import Trust, load_key, load_trust, new_key, sign_envelope, write_trust
from tests.desk import Desk, cli
from tests.ledger.test_witness import serving
from tests.ledger.test_witness_key import keyed


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


def test_a_release_shows_that_the_witness_whom_its_policy_names_has_seen_its_sale(desk: Desk) -> None:
    witness = keyed(desk.folder / "witness")
    line = f'ledger: {{witness: required, witness key: "{witness.cosigner.line}"}}'
    desk.edit("policy.yaml", ("\nroles:\n", f"\n{line}\nroles:\n"))
    with serving(witness) as server:
        place = f"{{at: 'sqlite:///ledger.db', witness: 'http://127.0.0.1:{server.server_port}/'}}"
        desk.edit("study.yaml", ("ledger: sqlite:///ledger.db", f"ledger: {place}"))
        assert desk.run().code == 0
    trust = trusting(desk.folder, desk.folder / "trust.json", desk.folder / "ledger.db.key")
    assert verify(desk.release, trust=trust).witness is None
    stranger = keyed(desk.folder / "stranger")
    for who in (witness, stranger):
        write_trust(who.path.with_name("t.json"), Trust.of(*load_trust(trust).keys, who.trusted))
    assert verify(desk.release, trust=witness.path.with_name("t.json")).witness == witness.name
    told = cli("verify", desk.release, "--trust", witness.path.with_name("t.json"))
    assert told.code == 0 and f"whose length {witness.name} has witnessed" in told.out
    with pytest.raises(BundleError, match="no witness that you trust"):
        verify(desk.release, trust=stranger.path.with_name("t.json"))
    note = (desk.release / CHECKPOINT).read_text()
    assert note.count("\n— ") == 2 and "/attempts" not in note


def test_who_trusts_a_witness_takes_no_bundle_without_its_word(finished: Desk, bundle: Path) -> None:
    witness = keyed(bundle.parent / "witness")
    for root, words in ((finished.release, "no witness that you trust"), (bundle, "does not show that its ledger")):
        own = load_trust(root.parent / "trust.json").keys
        write_trust(root.parent / "t.json", Trust.of(*own, witness.trusted))
        with pytest.raises(BundleError, match=words):
            verify(root, trust=root.parent / "t.json")


def test_a_lone_signer_who_takes_the_rule_out(desk: Desk) -> None:
    """The bundle alone cannot tell: a receiver's threshold refuses it, and the ledger's key."""
    desk.edit("policy.yaml", ("\nroles:\n", "\napproval: {release: {people: 2}}\nroles:\n"))
    assert desk.run().code == 0
    own, root = desk.folder / "trust.json", desk.release
    with pytest.raises(BundleError, match="1 of the 2 people whom its policy asks for"):
        verify(root, trust=own)

    told = json.loads(b64decode(json.loads((root / STATEMENT).read_bytes())["payload"]))
    policy = json.loads((root / POLICY).read_bytes())
    del policy["approval"], told["predicate"]["people"]
    (root / POLICY).write_bytes(canonical(policy))
    told["predicate"]["policy"] = told["predicate"]["receipt"]["policy"] = identity(policy)
    for name in (CHECKPOINT, INCLUSION):
        (root / name).unlink()
    listed = json.loads((root / MANIFEST).read_bytes())
    files = {e["path"]: (root / e["path"]).read_bytes() for e in listed["files"] if (root / e["path"]).exists()}
    listed["files"] = [{"path": name, "sha256": sha256(raw), "size": len(raw)} for name, raw in files.items()]
    (root / MANIFEST).write_bytes(canonical(listed))
    files[MANIFEST] = canonical(listed)
    told["subject"] = [{"name": name, "digest": {"sha256": sha256(files[name])}} for name in sorted(files)]
    key = load_key(desk.folder / "release.key")
    (root / STATEMENT).write_bytes(sign_envelope(PAYLOAD_TYPE, canonical(told), key))

    assert verify(root, trust=own).signers == ("Lab office",)
    with pytest.raises(BundleError, match="does not show that its ledger"):
        verify(root, trust=trusting(desk.folder, own, desk.folder / "ledger.db.key"))
    other = new_key(desk.folder / "second.key", name="B. Lee")
    write_trust(desk.folder / "two.json", Trust.of(*load_trust(own).keys, other, threshold=2))
    with pytest.raises(BundleError, match="1 of the 2 people needed"):
        verify(root, trust=desk.folder / "two.json")
