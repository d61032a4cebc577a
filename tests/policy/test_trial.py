"""Tests of policies: how cases are read and judged, questions there and back, and files that are not right."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any, get_args

import pytest

from privsynth.documents import parse_yaml
from privsynth.errors import PolicyError
from privsynth.policy.asks import Ask, Earlier, GateAsk, HoldAsk, KeepAsk, answer
from privsynth.policy.cases import case_of, flow, load_ask
from privsynth.policy.document import Policy, load_policy
from privsynth.policy.questions import Question
from privsynth.policy.request import RuleVerdict
from privsynth.policy.trial import Trial, load_trial, run_trial

SHIPPED = ("healthcare", "finance", "research-sandbox", "imaging", "faces")
REQUEST = """\
request: {source: ehr/encounters, purpose: medical-research, recipient: university-hospital, unit: patient,
  actor: a.kim@st-anna.example, on: 2026-06-01, epsilon: 1.0, delta: 1e-9, columns: [readmitted, sex],
  consent: register}
"""


@pytest.fixture
def written(tmp_path: Path, policies: Path) -> Any:
    """``written(cases)``: a file of tests beside copies of the shipped policies, loaded."""

    def write(cases: str, head: str = "privsynth-policy-test: 1\npolicy: healthcare.yaml\n" + REQUEST) -> Trial:
        for path in policies.glob("*.yaml"):
            (tmp_path / path.name).write_bytes(path.read_bytes())
        (tmp_path / "t.test.yaml").write_text(head + cases)
        return load_trial(tmp_path / "t.test.yaml")

    return write


@pytest.mark.parametrize("name", SHIPPED)
def test_the_tests_of_the_shipped_policies_pass(policies: Path, name: str) -> None:
    trial = load_trial(policies / f"{name}.test.yaml")
    assert trial.policy == policies / f"{name}.yaml"
    assert [(o.case, o.words) for o in run_trial(trial, load_policy(trial.policy)) if not o.passed] == []


def test_every_shipped_policy_has_tests_beside_it(policies: Path) -> None:
    files = {path.name for path in policies.glob("*.yaml")}
    tests = {name for name in files if name.endswith(".test.yaml")}
    assert {name.replace(".test.yaml", ".yaml") for name in tests} == files - tests - {"base.yaml"}


def test_a_case_passes_only_with_exactly_the_rules_that_deny(written: Any, healthcare: Policy) -> None:
    trial = written(
        "cases:\n"
        "  allowed: {expect: allow}\n"
        "  two rules: {hold: {epsilon: 2.0, unit: visit}, expect: [PS-SRC-002, PS-BUD-001]}\n"
        "  one too few: {hold: {epsilon: 2.0, unit: visit}, expect: [PS-BUD-001]}\n"
        "  one too many: {hold: {epsilon: 2.0}, expect: [PS-SRC-002, PS-BUD-001]}\n"
        "  allowed after all: {expect: [PS-BUD-001]}\n"
        "  denied after all: {hold: {epsilon: 2.0}, expect: allow}\n"
    )
    outcomes = {o.case: o for o in run_trial(trial, healthcare)}
    assert [name for name, o in outcomes.items() if o.passed] == ["allowed", "two rules"]
    assert outcomes["allowed"].words == ""
    assert outcomes["one too few"].words == "expected PS-BUD-001, got PS-BUD-001, PS-SRC-002"
    assert outcomes["denied after all"].words == "expected allow, got PS-BUD-001"
    assert trial.where("allowed").endswith("t.test.yaml:7")


def test_a_case_of_a_hold_is_the_request_with_what_it_says_otherwise(written: Any) -> None:
    trial = written("cases:\n  other: {hold: {epsilon: 0.5, rows per subject: 3}, expect: allow}\n")
    ask = trial.cases["other"].ask
    assert isinstance(ask, HoldAsk)
    assert (ask.request.epsilon, ask.request.contribution, ask.request.unit) == (0.5, 3, "patient")
    assert ask.request.today == dt.date(2026, 6, 1)


@pytest.mark.parametrize(
    ("cases", "head", "what"),
    [
        ("cases: {}\n", None, "at least 1 item"),
        ("cases:\n  a: {}\n", None, "'expect' is missing"),
        ("cases:\n  a: {gate: {}, carry: {what: transcript}, expect: allow}\n", None, "case 'a' asks 2 things"),
        ("cases:\n  a: {hold: {}, gate: {}, expect: allow}\n", None, "is missing"),
        ("cases:\n  a: {expect: maybe}\n", None, "expect"),
        ("cases:\n  a: {hold: {price: 1}, expect: allow}\n", None, "unknown key 'price'"),
        ("cases:\n  a: {hold: {epsilon: none}, expect: allow}\n", None, "epsilon"),
        ("cases:\n  a: {gate: {figures: {broken rows: -1}}, expect: allow}\n", None, "broken rows"),
        ("cases:\n  a: {carry: {what: rows}, expect: allow}\n", None, "transcript"),
        ("cases:\n  a: {expect: allow}\n", "policy: healthcare.yaml\n", "'privsynth-policy-test' is missing"),
        ("cases:\n  a: {expect: allow}\n", "privsynth-policy-test: 2\npolicy: healthcare.yaml\n", "2 is not known"),
        ("cases:\n  a: {hold: {on: 2026-02-30}, expect: allow}\n", None, "no such day"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_right_says_where(written: Any, cases: str, head: str | None, what: str) -> None:
    with pytest.raises(PolicyError) as caught:
        written(cases) if head is None else written(cases, head + REQUEST)
    assert what in caught.value.what
    assert "t.test.yaml:" in caught.value.where
    assert caught.value.mend


def test_tests_of_a_policy_that_is_not_there(written: Any) -> None:
    trial = written("cases:\n  a: {expect: allow}\n", "privsynth-policy-test: 1\npolicy: other.yaml\n" + REQUEST)
    with pytest.raises(PolicyError, match="no such policy file"):
        load_policy(trial.policy)


# --- questions as YAML -----------------------------------------------------------------------------


def test_each_kind_of_question_has_a_key() -> None:
    kinds = {kind.__name__.removesuffix("Ask").lower() for kind in get_args(Ask)}
    assert kinds == set(Question.model_fields)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_question_of_the_shipped_tests_goes_there_and_back(tmp_path: Path, policies: Path, name: str) -> None:
    trial = load_trial(policies / f"{name}.test.yaml")
    for case in trial.cases.values():
        told = case_of(case.ask)
        (tmp_path / "r.yaml").write_text("privsynth-policy-request: 1\n" + flow(told)[1:-1] + "\n")
        assert load_ask(tmp_path / "r.yaml") == case.ask
        short = case_of(case.ask, trial.document.data["request"])
        assert len(flow(short)) <= len(flow(told))


def test_what_the_file_s_request_says_is_left_out(written: Any, healthcare: Policy) -> None:
    trial = written("cases:\n  a: {expect: allow}\n  b: {hold: {epsilon: 0.5}, expect: allow}\n")
    request = trial.document.data["request"]
    assert case_of(trial.cases["a"].ask, request) == {}
    assert case_of(trial.cases["b"].ask, request) == {"hold": {"epsilon": 0.5}}
    earlier = (
        Earlier(epsilon=1.0, delta=1e-9, recipient="x", times=2),
        Earlier(epsilon=1.0, delta=1e-9, recipient="y"),
    )
    asked = HoldAsk(request=trial.cases["a"].ask.request, after=earlier)
    assert case_of(asked, request)["hold"]["after"] == [
        {"epsilon": 1.0, "delta": 1e-9, "recipient": "x", "times": 2},
        {"epsilon": 1.0, "delta": 1e-9, "recipient": "y"},
    ]


@pytest.mark.parametrize(
    ("ask", "text"),
    [
        (GateAsk(attempt=6), "{gate: {attempt: 6}}"),
        (GateAsk(figures={"utility gap sex": 0.1}), "{gate: {figures: {utility gap sex: 0.1}}}"),
        (KeepAsk(age=dt.timedelta(days=366)), "{keep: {age: 366d}}"),
        (KeepAsk(age=dt.timedelta(hours=25)), "{keep: {age: 25h}}"),
    ],
)
def test_questions_are_written_short(ask: Ask, text: str) -> None:
    assert flow(case_of(ask)) == text


@pytest.mark.parametrize(
    "value",
    ["yes", "no", "true", "12", "1e-9", "a b", " a", "a: b", "a #b", "é", 'q"q', "a, b", "[a]", "", "null", "-",
     "12:30", 1, 1.0, 1e-9, True, [1, "a"], {"a b": {"c": ["true", True]}}],
    ids=repr,
)  # fmt: skip
def test_yaml_on_one_line_reads_back(value: Any) -> None:
    assert parse_yaml(f"a: {flow(value)}".encode(), path="", error=PolicyError).data["a"] == value


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("privsynth-policy-request: 1\n", "asks 0 things"),
        ("privsynth-policy-request: 1\ngate: {}\nkeep: {age: 1d}\n", "asks 2 things"),
        ("privsynth-policy-request: 2\ngate: {}\n", "2 is not known"),
        ("gate: {}\n", "is missing"),
        ("privsynth-policy-request: 1\ngate: {}\nexpect: allow\n", "unknown key 'expect'"),
        ("privsynth-policy-request: 1\nhold: {epsilon: 1.0}\n", "is missing"),
    ],
)
def test_a_request_that_is_not_right_says_where(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(PolicyError) as caught:
        load_ask(tmp_path / "r.yaml")
    assert what in caught.value.what and "r.yaml" in caught.value.where and caught.value.mend


def test_every_verdict_of_every_question_is_whole(policies: Path) -> None:
    for name in SHIPPED:
        trial = load_trial(policies / f"{name}.test.yaml")
        policy = load_policy(trial.policy)
        for case in trial.cases.values():
            for verdict in answer(case.ask, policy).verdicts:
                assert isinstance(verdict, RuleVerdict)
                assert all((verdict.id, verdict.what, verdict.limit, verdict.mend))
                assert verdict.where.rpartition(":")[2].isdigit()


def test_a_figure_that_no_rule_reads_is_refused(written: Any) -> None:
    with pytest.raises(PolicyError, match="no figure of the gate"):
        written("cases:\n  misspelt: {gate: {figures: {trainnig rows: 0}}, expect: allow}\n")
