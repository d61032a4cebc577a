"""Tests of a policy, in a file beside it: requests, and what the policy must say to each.

    privsynth-policy-test: 1
    policy: healthcare.yaml
    request: {source: ehr/encounters, purpose: medical-research, recipient: university-hospital, ...}
    cases:
      an ordinary release: {expect: allow}
      too dear: {hold: {epsilon: 1.01}, expect: [PS-BUD-001]}
      the sixth attempt: {gate: {attempt: 6}, expect: [PS-GATE-ATT]}

A case asks one thing; a hold's fields are those of ``request`` unless it names others. What is expected is ``allow``,
or the exact set of rules that must deny.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic

from privsynth.documents import Document, build, load_yaml, refuse_null
from privsynth.errors import PolicyError
from privsynth.policy.asks import answer
from privsynth.policy.document import Policy
from privsynth.policy.questions import Question
from privsynth.policy.request import Decision
from privsynth.policy.words import Line, Name, Part

FORMAT = 1
KEY = "privsynth-policy-test"


class Case(Question):
    """One question and its answer."""

    expect: Literal["allow"] | tuple[Name, ...]


class TrialFile(Part):
    """A whole file of tests."""

    format: Annotated[int, pydantic.Field(alias=KEY, strict=True)]
    policy: Line
    request: Mapping[str, Any] = {}
    cases: Annotated[Mapping[Line, Case], pydantic.Field(min_length=1)]

    @pydantic.field_validator("format")
    @classmethod
    def _known(cls, value: int) -> int:
        if value != FORMAT:
            raise ValueError(f"format {value} is not known; this version reads {FORMAT}")
        return value


@dataclass(frozen=True)
class Trial:
    """A loaded file of tests.

    Attributes:
        path: the file.
        policy: the file of the policy that it tests.
        cases: by name.
        document: for lines.
    """

    path: Path
    policy: Path
    cases: Mapping[str, Case]
    document: Document

    def where(self, case: str) -> str:
        """``file:line`` of a case."""
        return self.document.where("cases", case)


@dataclass(frozen=True)
class Outcome:
    """What a policy said to one case.

    Attributes:
        case: its name.
        passed: whether that is what was expected.
        decision: what the policy said.
        expected: the rules that were to deny; empty for allow.
    """

    case: str
    passed: bool
    decision: Decision
    expected: frozenset[str]

    @property
    def words(self) -> str:
        """What was wrong; empty where nothing was."""
        if self.passed:
            return ""
        got = ", ".join(sorted({v.id for v in self.decision.refusing})) or "allow"
        return f"expected {', '.join(sorted(self.expected)) or 'allow'}, got {got}"


def load_trial(path: str | Path) -> Trial:
    """Read a file of tests.

    Raises:
        PolicyError: not such a file, with file:line and the mend.
    """
    document = load_yaml(path, error=PolicyError, kind="policy test")
    refuse_null(document, error=PolicyError)
    request, cases = document.data.get("request", {}), document.data.get("cases")
    if isinstance(request, dict) and isinstance(cases, dict):
        kinds = set(Question.model_fields) - {"hold"}
        for case in cases.values():
            if isinstance(case, dict) and not kinds & set(case) and isinstance(case.get("hold", {}), dict):
                case["hold"] = {**request, **case.get("hold", {})}
    file = build(TrialFile, document, error=PolicyError, mends=_MENDS)
    for name, case in file.cases.items():
        if case.kinds != 1:
            raise PolicyError(
                f"case {name!r} asks {case.kinds} things",
                where=document.where("cases", name),
                mend=f"one of {', '.join(Question.model_fields)}",
            )
    return Trial(Path(path), Path(path).parent / file.policy, file.cases, document)


def run_trial(trial: Trial, policy: Policy) -> tuple[Outcome, ...]:
    """Put every case to a policy."""
    return tuple(_outcomes(trial, policy))


def _outcomes(trial: Trial, policy: Policy) -> Iterator[Outcome]:
    for name, case in trial.cases.items():
        decision = answer(case.ask, policy)
        expected = frozenset(() if case.expect == "allow" else case.expect)
        got = frozenset(v.id for v in decision.refusing)
        yield Outcome(name, got == expected and decision.allowed == (not expected), decision, expected)


_MENDS: Mapping[str, str] = {
    KEY: f"the first line of the file is `{KEY}: 1`",
    "policy": "the policy's file, beside this one",
    "cases": "each with a name, a question and `expect`",
    "expect": "`allow`, or a list of the rules that must deny, such as [PS-BUD-001]",
    "on": "a day written as 2026-06-01",
    "figures": "by name: membership advantage, held-back marginals, utility gap sex ...: docs/policy-tools.md",
}
