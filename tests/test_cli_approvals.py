"""Nobody alone: from keys to a release that two people approved and two people signed, as the commands are called."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from privsynth.policy.document import load_policy
from tests.desk import Desk, Said, cli, lay

DPO, SECURITY, CHAIR = "dpo@lab.example", "security@lab.example", "chair@lab.example"
ROLES = {DPO: "dpo", SECURITY: "security", CHAIR: "dpo"}
RULE = """\
approval:
  policy change: {people: 2, roles: [dpo, security], not author: true}
  release: {people: 2}
"""


def key_of(desk: Desk, person: str) -> Path:
    return desk.folder / f"{person}.key"


def approve(desk: Desk, *people: str, replaces: str | Path = "none") -> None:
    for person in people:
        own = ("--key", key_of(desk, person), "--person", person, "--replaces", replaces)
        said = cli("policy", "approve", desk.folder / "policy.yaml", *own)
        assert said.code == 0, said.err


def trust_of(desk: Desk, *people: str, file: str, role: str) -> Path:
    """One trust file out of what `keys new` wrote for each."""
    keys = []
    for person in people:
        [one] = json.loads((desk.folder / f"{person}.{role}.json").read_text())["keys"]
        keys.append(one)
    path = desk.folder / file
    path.write_text(json.dumps({"privsynth-trust": 1, "threshold": 1, "keys": keys}))
    return path


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Three people with keys in the policy, which asks for two of them; a second signer of releases."""
    desk = lay(tmp_path)
    lines = ""
    for person, role in ROLES.items():
        args = ("--name", person, "--role", "policy", "--trust", tmp_path / f"{person}.policy.json")
        told = cli("keys", "new", key_of(desk, person), *args, "--json").json
        lines += f'  {person}: {{roles: [{role}], key: "{told["public"]}"}}\n'
    second = ("--name", "Second office", "--trust", tmp_path / "second.release.json")
    assert cli("keys", "new", tmp_path / "second.key", *second).code == 0
    shutil.move(tmp_path / "trust.json", tmp_path / "first.release.json")
    trust_of(desk, "first", "second", file="trust.json", role="release")
    desk.edit("policy.yaml", ("people:\n", f"people:\n{lines}"))
    with (tmp_path / "policy.yaml").open("a") as file:
        file.write(RULE)
    return desk


def books(desk: Desk) -> tuple[str | Path, ...]:
    return desk.folder / "policy.yaml", "--ledger", f"sqlite:///{desk.folder / 'ledger.db'}"


def refused(said: Said) -> Said:
    assert said.code == 5 and "PS-APP-001" in said.err and "privsynth policy approve " in said.err, said
    return said


def test_from_keys_to_a_release_and_a_change(desk: Desk) -> None:
    policy = desk.folder / "policy.yaml"
    planned = refused(cli("plan", desk.study))
    assert re.search(r"PS-APP-001 +NO", planned.out)
    refused(desk.run())
    assert not (desk.folder / "ledger.db").exists()
    approve(desk, DPO)
    assert "1 missing" in refused(desk.run()).err
    approve(desk, SECURITY)
    assert cli("plan", desk.study).code == 0
    done = desk.run()
    assert done.code == 0, done.err
    assert "not yet releasable: 1 of 2 people have signed" in done.out
    assert f"privsynth sign --add {desk.release} --key KEY" in done.out
    assert cli("verify", desk.release).code == 4
    assert "1 of the 2 people" in cli("verify", desk.release).err
    assert cli("sign", "--add", desk.release, "--key", desk.folder / "second.key").code == 0
    assert "Lab office, Second office" in cli("verify", desk.release).out

    # one person edits limits, and nothing runs any more
    before = desk.folder / "before.yaml"
    shutil.copy(policy, before)
    desk.edit("policy.yaml", ("max attempts: 5", "max attempts: 50"), ('version: "1"', 'version: "2"'))
    desk.edit("study.yaml", ("out: release/", "out: second/"))
    refused(desk.run())
    assert "entry 1 of the ledger" in refused(cli("plan", desk.study)).out
    refused(cli("sample", desk.study, "--rows", "20", "--out", desk.folder / "third"))
    for command in ("budget", "ledger verify"):
        said = cli(*command.split(), *books(desk))
        assert said.code == 0 and "not approved yet: " in said.out
        assert "PS-APP-001" in cli(*command.split(), *books(desk), "--json").json["not_approved"]["what"]

    # CI sees it
    differs = cli("policy", "diff", before, policy)
    assert differs.code == 1
    assert f"privsynth policy approved {policy} --replaces {before} --trust trust.json" in differs.err
    trust = trust_of(desk, *ROLES, file="approvers.json", role="policy")
    asked = ("policy", "approved", policy, "--replaces", before, "--trust", trust)
    told = cli(*asked, "--json")
    assert told.code == 5 and (told.json["people"], told.json["needed"], told.json["refused_by"]) == (
        [],
        2,
        ["PS-APP-001"],
    )
    approve(desk, SECURITY, CHAIR)
    said = cli(*asked)
    assert said.code == 5 and "not counted: " in said.out and "given to replace none before it" in said.out
    in_use = load_policy(before).sha256
    said = refused(cli("plan", desk.study))
    assert f"privsynth policy approve {policy} --replaces {in_use} " in said.err
    assert "given to replace none before it, and it would replace policy " in said.err
    approve(desk, SECURITY, replaces=before)
    approve(desk, CHAIR, replaces=in_use)
    assert cli(*asked).code == 0
    assert cli(*asked, "--people", "3").code == 5
    assert cli(*asked, "--author", CHAIR).code == 5
    assert cli(*asked, "--people", "1").code == 2
    desk.edit("study.yaml", ("model: model/", "model: again/"))
    assert (said := desk.run()).code == 0, said.err
    assert "not_approved" not in cli("budget", *books(desk), "--json").json
    assert desk.kinds().count("policy") == 2

    # and nobody goes back by the old approvals
    shutil.copy(before, policy)
    assert "was replaced" in cli("sample", desk.study, "--rows", "20", "--out", desk.folder / "third").err


def test_approved_counts_by_the_trust_file_alone(desk: Desk) -> None:
    """The keys in the policy are its editor's to choose; CI does not believe them."""
    policy = desk.folder / "policy.yaml"
    approve(desk, DPO, SECURITY)
    trust = trust_of(desk, SECURITY, CHAIR, file="approvers.json", role="policy")
    said = cli("policy", "approved", policy, "--replaces", "none", "--trust", trust, "--json")
    assert said.code == 5 and said.json["people"] == [SECURITY]
    assert said.json["passed_over"][0]["why"].startswith("signed by a key that the trust file")
    assert cli("policy", "approved", policy, "--replaces", "none", "--trust", desk.folder / "none.json").code == 4


def test_approved_of_a_policy_that_asks_for_three(desk: Desk) -> None:
    desk.edit("policy.yaml", ("policy change: {people: 2", "policy change: {people: 3"))
    approve(desk, DPO, SECURITY)
    trust = trust_of(desk, *ROLES, file="approvers.json", role="policy")
    asked = ("policy", "approved", desk.folder / "policy.yaml", "--replaces", "none", "--trust", trust)
    assert cli(*asked, "--people", "2").code == 5
    approve(desk, CHAIR)
    assert cli(*asked).code == 0


def test_keys_new_prints_what_a_policy_holds(desk: Desk) -> None:
    said = cli("keys", "new", desk.folder / "x.key", "--trust", desk.folder / "x.json", "--name", "X")
    [line] = [line for line in said.out.splitlines() if line.startswith("public: ")]
    public = line.split()[1]
    desk.edit("policy.yaml", ("{roles: [auditors]}", f'{{roles: [auditors], key: "{public}"}}'))
    assert load_policy(desk.folder / "policy.yaml").people["rea@lab.example"].key == public
