"""docs/officer.md, policy-tools.md and policies.md say what the policies and the commands say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from privsynth.documents import parse_yaml
from privsynth.errors import PolicyError
from privsynth.policy.asks import answer
from privsynth.policy.cases import load_ask
from privsynth.policy.consent_rules import Fixed, Meant, Within
from privsynth.policy.directions import FROZEN, HIGHER, LOWER, OWN, SUBSET, SUPERSET, Choice, Demanded, Ladder, Means
from privsynth.policy.document import load_policy
from privsynth.policy.leaves import NAMES
from privsynth.policy.pace import Portion
from privsynth.policy.questions import HoldForm, Question
from privsynth.policy.thresholds import thresholds
from privsynth.policy.trial import load_trial, run_trial
from tests import officer_page
from tests.policy_form import form_leaves

ROOT = Path(__file__).parents[2]
SHIPPED = ("healthcare", "finance", "research-sandbox", "imaging", "faces")


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text("utf-8")


def test_the_ten_answers_are_those_of_the_policy() -> None:
    text = page("officer.md")
    assert officer_page.up_to_date(text) == text, "run: python -m tests.officer_page"
    questions = re.findall(r"^## ([0-9]+)\. .*\?$", text, re.MULTILINE)
    assert questions == [str(n) for n in range(1, 11)]
    parts = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    assert all(re.search(r"^- `.*` \((healthcare|base)\.yaml:[0-9]+\): ", part, re.MULTILINE) for part in parts)


def test_an_answer_that_is_out_of_date_is_told() -> None:
    text = page("officer.md")
    assert officer_page.up_to_date(text.replace("at most epsilon 6.", "at most epsilon 5.")) == text
    with pytest.raises(KeyError):
        officer_page.up_to_date("- `privacy › refill`\n")


def test_the_lines_hold_what_is_quoted() -> None:
    for key, file, line in re.findall(r"^- `.* › ([^`]+)` \((.*?):([0-9]+)\)", page("officer.md"), re.MULTILINE):
        assert key in (ROOT / "policies" / file).read_text().splitlines()[int(line) - 1]


def test_the_example_of_tests_passes(tmp_path: Path) -> None:
    example = next(text for text in blocks("policy-tools.md") if text.startswith("privsynth-policy-test"))
    for path in (ROOT / "policies").glob("*.yaml"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "a.test.yaml").write_text(example)
    trial = load_trial(tmp_path / "a.test.yaml")
    assert [(o.case, o.words) for o in run_trial(trial, load_policy(trial.policy)) if not o.passed] == []
    assert {type(case.ask).__name__ for case in trial.cases.values()} == {"HoldAsk", "GateAsk", "ReportAsk", "KeepAsk"}


def test_the_example_of_a_request_is_answered(tmp_path: Path) -> None:
    example = next(text for text in blocks("policy-tools.md") if text.startswith("privsynth-policy-request"))
    (tmp_path / "r.yaml").write_text(example)
    decision = answer(load_ask(tmp_path / "r.yaml"), load_policy(ROOT / "policies" / "healthcare.yaml"))
    assert [v.id for v in decision.refusing] == ["PS-GATE-ATT"]


def blocks(name: str) -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", page(name), re.DOTALL)


def test_every_question_and_every_figure_is_named() -> None:
    text = " ".join(page("policy-tools.md").split())
    assert [kind for kind in Question.model_fields if f"| `{kind}` |" not in text] == []
    figures = {limit.name for name in SHIPPED for limit in thresholds(load_policy(ROOT / f"policies/{name}.yaml").file)}
    known = {re.sub(r" gap .*", " gap", name) for name in figures}
    assert [name for name in known if f"`{name}" not in text] == []
    fields = {str(f.alias or name) for name, f in HoldForm.model_fields.items()}
    assert [name for name in fields if not re.search(rf"\b{name}\b", text)] == []


ROWS: dict[str, list[Any]] = {
    "a smaller number, an earlier day": [LOWER, Portion()],
    "a larger number, a later day": [HIGHER],
    "a shorter time": [Within()],
    "fewer names": [SUBSET],
    "more names": [SUPERSET],
    "the stricter word": [Ladder, Choice],
    "added, and never changed": [Fixed()],
    "none; another one cannot be compared": [Means()],
    "there; another one cannot be compared": [Demanded()],
    "only the same; else not to be compared": [FROZEN, Meant()],
}


def test_each_key_stands_in_the_row_of_its_direction() -> None:
    text = page("policy-tools.md")
    own = text[text.index("are each file's own") - 200 : text.index("are each file's own")]
    for path, direction in form_leaves():
        key = path[-2] if path[-1] == NAMES else path[-1]
        if direction == OWN:
            assert f"`{key}`" in own or key == "privsynth-policy"
            continue
        [row] = [name for name, known in ROWS.items() if direction in known or type(direction) in known]
        [line] = [line for line in text.splitlines() if line.startswith(f"| {row} |")]
        assert f"`{key}`" in line, (row, path)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_table_of_shipped_policies_is_right(name: str) -> None:
    policy = load_policy(ROOT / "policies" / f"{name}.yaml")
    [row] = [line for line in page("policies.md").splitlines() if line.startswith(f"| `{name}.yaml` |")]
    line = policy.privacy.line("recipient")
    ever, one = policy.privacy.line("population"), policy.privacy.per_release.max_epsilon
    assert ever is not None
    told = f"{ever.epsilon:g}, {'no line' if line is None else f'{line.epsilon:g}'}, {one:g}"
    assert row.split(" | ")[3] == told
    assert f"## {name}.yaml" in page("policies.md")


def test_every_shipped_file_has_its_part() -> None:
    files = {path.name for path in (ROOT / "policies").glob("*.yaml") if not path.name.endswith(".test.yaml")}
    assert set(re.findall(r"^## (\S+\.yaml)$", page("policies.md"), re.MULTILINE)) == files
    assert parse_yaml((ROOT / "policies" / "base.yaml").read_bytes(), path="", error=PolicyError).data["base"] is True
