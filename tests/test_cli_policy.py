"""The commands of a policy's author and of the person who answers for it, as they are called."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from privsynth.policy.document import load_policy
from tests.desk import cli

ROOT = Path(__file__).parents[1]
HEALTH = ROOT / "policies" / "healthcare.yaml"
SHIPPED = ("healthcare", "finance", "research-sandbox", "imaging", "faces")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped policies and their tests."""
    for path in (ROOT / "policies").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def edit(path: Path, *changes: tuple[str, str]) -> None:
    text = path.read_text()
    for old, new in changes:
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times"
        text = text.replace(old, new)
    path.write_text(text)


# --- check -----------------------------------------------------------------------------------------


def test_check_takes_policies_bases_and_tests() -> None:
    files = sorted((ROOT / "policies").glob("*.yaml"))
    said = cli("policy", "check", *files)
    assert (said.code, said.err) == (0, "")
    for name in SHIPPED:
        assert f"{name}.yaml: policy " in said.out and f"{name}.test.yaml: " in said.out
    assert "base.yaml: base house/base version" in said.out
    told = {Path(one["file"]).name: one for one in cli("policy", "check", *files, "--json").json["files"]}
    assert {one["kind"] for one in told.values()} == {"policy", "base", "tests"}
    assert told["healthcare.yaml"]["sha256"] == load_policy(HEALTH).sha256


def test_check_of_several_ends_at_the_first_that_is_wrong(folder: Path) -> None:
    edit(folder / "faces.yaml", ("max epsilon: 3.0", "max epsilon: 300.0"))
    said = cli("policy", "check", folder / "healthcare.yaml", folder / "faces.yaml")
    assert said.code == 2 and "faces.yaml:" in said.err
    edit(folder / "base.yaml", ("max attempts: 10", "max attempt: 10"))
    said = cli("policy", "check", folder / "base.yaml")
    assert said.code == 2 and "base.yaml:" in said.err and "did you mean `max attempts`" in said.err


# --- test ------------------------------------------------------------------------------------------


def test_test_passes_for_a_file_and_for_a_folder() -> None:
    said = cli("policy", "test", ROOT / "policies" / "healthcare.test.yaml")
    assert (said.code, said.err) == (0, "")
    assert "cases pass" in said.out and "looser step" not in said.out
    told = cli("policy", "test", ROOT / "policies", "--json").json["files"]
    assert {Path(one["file"]).name for one in told} == {f"{name}.test.yaml" for name in SHIPPED}
    assert all(one["passed"] == one["cases"] > 30 and one["failed"] == [] for one in told)


@pytest.mark.slow
def test_mutate_counts_both_and_names_the_lines_that_still_deny() -> None:
    told = cli("policy", "test", ROOT / "policies", "--mutate", "--json").json["files"]
    for one in told:
        counts = one["mutants"]
        assert counts["red"] == counts["shown"] == counts["loosened"] >= 20
        assert counts["flip_whole"] + len(counts["flip_own_rule"]) == counts["shown"]
        assert all(":" in place and "PS-" in place for m in counts["flip_own_rule"] for place in m["still"])
    said = cli("policy", "test", ROOT / "policies" / "healthcare.test.yaml", "--mutate")
    assert "of 31 turn a test red" in said.out and "by their own rule only" in said.out
    assert "still denied by PS-REC-002 at" in said.out


def test_a_case_that_fails_is_told_with_its_line(folder: Path) -> None:
    edit(folder / "healthcare.yaml", ("max attempts: 5 ", "max attempts: 6 "))
    said = cli("policy", "test", folder, "--json")
    assert said.code == 1 and said.json["error"] == "PolicyTestFailed"
    [failed] = [one for one in said.json["files"] if one["failed"]]
    assert [case["case"] for case in failed["failed"]] == ["the sixth attempt"]
    assert failed["failed"][0]["where"].rpartition(":")[2].isdigit()
    assert "expected PS-GATE-ATT, got allow" in cli("policy", "test", folder).err


def test_what_no_test_sees_is_told_and_a_case_suggested(folder: Path) -> None:
    path = folder / "healthcare.test.yaml"
    edit(path, ("  the sixth attempt: {gate: {attempt: 6}, expect: [PS-GATE-ATT]}\n", ""))
    assert cli("policy", "test", path).code == 0
    said = cli("policy", "test", path, "--suggest")
    assert said.code == 1
    assert "gate › max attempts loosened to 6: no test turns red" in said.err
    [line] = [line for line in said.out.splitlines() if "expect:" in line]
    assert line == "  gate max attempts 6: {gate: {attempt: 6}, expect: [PS-GATE-ATT]}"
    with path.open("a") as file:
        file.write(line + "\n")
    assert cli("policy", "test", path, "--suggest").code == 0


def test_a_folder_without_tests_is_no_pass(tmp_path: Path) -> None:
    said = cli("policy", "test", tmp_path)
    assert said.code == 2 and "no *.test.yaml" in said.err


# --- diff ------------------------------------------------------------------------------------------


def test_diff_of_the_same_is_the_same() -> None:
    said = cli("policy", "diff", HEALTH, HEALTH)
    own = load_policy(HEALTH).sha256
    assert (said.code, said.out) == (0, f"before: {own}\nafter:  {own}\nthe same\n")


def test_diff_of_something_tighter_is_allowed(folder: Path) -> None:
    edit(folder / "healthcare.yaml", ("max attempts: 5 ", "max attempts: 4 "))
    said = cli("policy", "diff", HEALTH, folder / "healthcare.yaml")
    assert said.code == 0
    assert "tighter: gate › max attempts: 5 → 4" in said.out and "nothing loosens" in said.out


def test_diff_of_something_looser_shows_lines_and_a_request(folder: Path) -> None:
    edit(folder / "healthcare.yaml", ("max epsilon: 1.0", "max epsilon: 1.5"))
    later = folder / "healthcare.yaml"
    line = load_policy(HEALTH).where("privacy", "per release", "max epsilon").rpartition(":")[2]
    said = cli("policy", "diff", HEALTH, later)
    assert said.code == 1
    assert f"looser: privacy › per release › max epsilon: 1 → 1.5\n  {HEALTH}:{line} → {later}:{line}\n" in said.out
    assert "epsilon: 1.5" in said.out
    assert f"denied before by {HEALTH}:{line} (PS-BUD-001); allowed after" in said.out
    told = cli("policy", "diff", HEALTH, later, "--json").json
    assert (told["error"], told["exit_code"]) == ("PolicyLooser", 1)
    assert (told["before"], told["after"]) == (load_policy(HEALTH).sha256, load_policy(later).sha256)
    [change] = told["changes"]
    assert (change["order"], change["before"], change["after"]) == ("looser", 1.0, 1.5)
    assert change["shown_by"]["request"]["hold"]["epsilon"] == 1.5
    assert change["shown_by"]["allowed_after"] is True
    assert change["shown_by"]["denied_before"] == [{"rule": "PS-BUD-001", "where": f"{HEALTH}:{line}"}]


def test_the_request_of_a_diff_can_be_asked(folder: Path) -> None:
    """What `diff` prints, put under the format's line, is a file for `explain`."""
    edit(folder / "healthcare.yaml", ("until: 2031-12-31", "until: 2032-12-31"))
    told = cli("policy", "diff", HEALTH, folder / "healthcare.yaml", "--json").json
    asked = {"privsynth-policy-request": 1, **told["changes"][0]["shown_by"]["request"]}
    (folder / "ask.yaml").write_text(json.dumps(asked))
    assert cli("policy", "explain", folder / "ask.yaml", "--policy", HEALTH).code == 1
    assert cli("policy", "explain", folder / "ask.yaml", "--policy", folder / "healthcare.yaml").code == 0


def test_diff_of_what_no_request_shows_asks_people(folder: Path) -> None:
    edit(folder / "healthcare.yaml", ("cut: 0.2 ", "cut: 0.3 "))
    said = cli("policy", "diff", HEALTH, folder / "healthcare.yaml")
    assert said.code == 1 and "incomparable: gate › membership › cut" in said.out
    assert "no single request shows it" in said.out


def test_diff_of_a_bad_file_is_usage(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("id: x\n")
    assert cli("policy", "diff", HEALTH, tmp_path / "bad.yaml").code == 2
    assert cli("policy", "diff", HEALTH, tmp_path / "none.yaml").code == 2


# --- explain ---------------------------------------------------------------------------------------

ASK = """\
privsynth-policy-request: 1
hold: {source: ehr/encounters, purpose: medical-research, recipient: university-hospital, unit: patient,
  actor: a.kim@st-anna.example, on: 2026-06-01, epsilon: 1.0, delta: 1e-9, columns: [readmitted, sex],
  consent: register}
"""


def test_explain_shows_every_rule_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "ask.yaml").write_text(ASK)
    said = cli("policy", "explain", tmp_path / "ask.yaml", "--policy", HEALTH)
    assert (said.code, said.err) == (0, "")
    rows = [line for line in said.out.splitlines() if line.startswith("allow  ")]
    assert len(rows) >= 18 and all("healthcare.yaml:" in row or "base.yaml:" in row for row in rows)
    assert f"allowed by all {len(rows)} rules" in said.out
    (tmp_path / "ask.yaml").write_text(ASK.replace("epsilon: 1.0", "epsilon: 4.0"))
    said = cli("policy", "explain", tmp_path / "ask.yaml", "--policy", HEALTH)
    assert said.code == 1 and "PS-BUD-001" in said.err
    [denied] = [line for line in said.out.splitlines() if line.startswith("DENY")]
    assert "PS-BUD-001" in denied and "epsilon 4.0" in denied and "at most 1.0" in denied
    told = cli("policy", "explain", tmp_path / "ask.yaml", "--policy", HEALTH, "--json").json
    assert (told["allowed"], told["refused_by"], len(told["rules"])) == (False, ["PS-BUD-001"], len(rows))


# --- show, schema ----------------------------------------------------------------------------------


def test_show_lists_every_leaf_with_its_file() -> None:
    said = cli("policy", "show", HEALTH)
    policy = load_policy(HEALTH)
    assert said.code == 0
    assert said.out.rstrip().endswith(policy.sha256)
    assert "retention › model" in said.out and "base.yaml:" in said.out
    assert cli("policy", "show", HEALTH, "--json").json["policy"] == policy.to_json()


def test_show_prose_is_a_page_with_the_hash_at_its_foot() -> None:
    said = cli("policy", "show", HEALTH, "--prose")
    lines = said.out.splitlines()
    assert said.code == 0 and len(lines) < 110 and max(map(len, lines[1:-1])) <= 100
    assert lines[-1].endswith(load_policy(HEALTH).sha256)
    assert any(line.startswith("  One release, its fit and its gate, costs at most epsilon 1. [") for line in lines)
    assert any("[" in line and "base.yaml:" in line for line in lines)
    told = cli("policy", "show", HEALTH, "--prose", "--json").json
    assert {"heading", "text", "where"} == set(told["prose"][0])


def test_schema_is_the_one_that_is_published() -> None:
    said = cli("policy", "schema")
    assert (ROOT / "docs" / "policy.schema.json").read_text("utf-8") == said.out, (
        "run: privsynth policy schema > docs/policy.schema.json"
    )
    assert cli("policy", "schema", "--json").json["schema"] == json.loads(said.out)


# --- approve ---------------------------------------------------------------------------------------


def test_approve_signs_beside_the_policy(folder: Path) -> None:
    key, person = folder / "ito.key", "k.ito@st-anna.example"
    assert cli("keys", "new", key, "--name", person, "--role", "policy").code == 0
    assert json.loads((folder / "trust.json").read_text())["keys"][0]["roles"] == ["policy"]
    args = ("policy", "approve", folder / "healthcare.yaml", "--replaces", "none", "--key", key, "--person", person)
    told = cli(*args, "--json").json
    assert told["sha256"] == load_policy(folder / "healthcare.yaml").sha256
    assert Path(told["approval"]).parent == folder / "healthcare.approvals"
    assert cli(*args).code == 2
    owner = cli(*args[:-1], "privacy-office@st-anna.example")
    assert owner.code == 2 and "nobody approves her own" in owner.err
