"""Whether a ledger needs a witness: what each word allows, which way it is tighter, and how a diff shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from privsynth.errors import PolicyError, RequestDenied
from privsynth.policy.asks import answer
from privsynth.policy.cases import case_of, flow, load_ask
from privsynth.policy.compare import compare
from privsynth.policy.document import Policy, load_policy
from privsynth.policy.ledger_asks import OpenAsk
from privsynth.policy.mutants import loosen
from privsynth.policy.trial import load_trial
from tests.policy.conftest import Edit
from tests.policy.family import BASE, CHILD, pinned

REQUIRED, OPTIONAL = "ledger: {witness: required}\nroles:", "ledger: {witness: optional}\nroles:"
CASES = "cases:\n  nobody remembers: {open: {witness: false}, expect: [PS-LED-001]}\n"


@pytest.fixture
def three(edited: Edit) -> dict[str, Policy]:
    """The same policy with each word, and with none."""
    return {
        "required": edited(("\nroles:", f"\n{REQUIRED}")),
        "optional": edited(("\nroles:", f"\n{OPTIONAL}")),
        "silent": edited(),
    }


@pytest.mark.parametrize(("word", "allowed"), [("required", False), ("optional", True), ("silent", True)])
def test_a_ledger_without_a_witness(three: dict[str, Policy], word: str, allowed: bool) -> None:
    assert answer(OpenAsk(witness=True), three[word]).allowed
    decision = answer(OpenAsk(witness=False), three[word])
    assert decision.allowed is allowed
    if allowed:
        return
    with pytest.raises(RequestDenied, match="PS-LED-001") as caught:
        decision.refuse()
    assert caught.value.where == three[word].where("ledger", "witness")
    assert caught.value.where.startswith("policy.yaml:")
    assert "--witness" in caught.value.mend


def test_a_diff_shows_who_may_now_go_without(three: dict[str, Policy]) -> None:
    for loose in ("optional", "silent"):
        [change] = compare(three["required"], three[loose])
        assert (change.leaf.path, change.order) == (("ledger", "witness"), "looser")
        assert change.witness is not None
        assert change.witness.ask == OpenAsk(witness=False)
        [back] = compare(three[loose], three["required"])
        assert back.order == "tighter"
    assert compare(three["optional"], three["silent"]) == ()


def test_a_child_may_only_require(tmp_path: Path) -> None:
    said = [("\nroles:", f"\n{REQUIRED}")]
    child = load_policy(pinned(tmp_path, BASE, CHILD, said, []))
    assert not answer(OpenAsk(), child).allowed
    with pytest.raises(PolicyError, match="witness"):
        load_policy(pinned(tmp_path, BASE, CHILD, said, [("\nroles:", f"\n{OPTIONAL}")]))
    assert not answer(OpenAsk(), load_policy(pinned(tmp_path, BASE, CHILD, [], said))).allowed


def test_the_loosened_word_turns_a_test_red_and_is_shown(tmp_path: Path, policies_text: str) -> None:
    (tmp_path / "p.yaml").write_text(policies_text.replace("\nroles:", f"\n{REQUIRED}"))
    head = (Path(__file__).parents[2] / "policies" / "healthcare.test.yaml").read_text().partition("cases:")[0]
    (tmp_path / "p.test.yaml").write_text(head.replace("healthcare.yaml", "p.yaml") + CASES)
    trial = load_trial(tmp_path / "p.test.yaml")
    [mutant] = [m for m in loosen(load_policy(trial.policy), trial).mutants if m.leaf.path == ("ledger", "witness")]
    assert (mutant.value, mutant.red, mutant.shown) == ("optional", ("nobody remembers",), True)


def test_the_question_is_written_and_read(tmp_path: Path) -> None:
    assert flow(case_of(OpenAsk(witness=True))) == "{open: {witness: true}}"
    path = tmp_path / "q.yaml"
    path.write_text("privsynth-policy-request: 1\nopen: {witness: false}\n")
    assert load_ask(path) == OpenAsk(witness=False)


@pytest.mark.parametrize("word", ["yes", "true", "on", "[required]", "null"])
def test_other_words_are_refused(edited: Edit, word: str) -> None:
    with pytest.raises(PolicyError, match="witness"):
        edited(("\nroles:", f"\nledger: {{witness: {word}}}\nroles:"))
