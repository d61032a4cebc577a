"""Whether a ledger needs a witness: what each word allows, which way it is tighter, and how a diff shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from privsynth.errors import PolicyError, RequestDenied
from privsynth.policy.asks import answer
from privsynth.policy.cases import case_of, flow, load_ask
from privsynth.policy.compare import compare
from privsynth.policy.directions import ABSENT
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


# --- which witness ---------------------------------------------------------------------------------

ONE = "st-anna.example/witness+e90a2880+BNdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea"
OTHER = "other.example/witness+8d35dc6e+BNdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea"


def named(key: str) -> str:
    return f'ledger: {{witness: required, witness key: "{key}"}}\nroles:'


@pytest.fixture
def keyed(edited: Edit) -> dict[str, Policy]:
    """The hospital's policy that names one witness, another, or none."""
    lines = {"one": named(ONE), "other": named(OTHER), "any": REQUIRED}
    return {name: edited(("\nroles:", f"\n{line}")) for name, line in lines.items()}


def test_only_the_witness_that_is_named_will_do(keyed: dict[str, Policy]) -> None:
    assert answer(OpenAsk(witness=True, cosigned_by=ONE), keyed["one"]).allowed
    for signed, rules in ((OTHER, ("PS-LED-002",)), ("", ("PS-LED-002",))):
        decision = answer(OpenAsk(witness=True, cosigned_by=signed), keyed["one"])
        assert tuple(v.id for v in decision.refusing) == rules
        assert decision.refusing[0].where == keyed["one"].where("ledger", "witness key")
        assert answer(OpenAsk(witness=True, cosigned_by=signed), keyed["any"]).allowed
    assert [v.id for v in answer(OpenAsk(), keyed["one"]).refusing] == ["PS-LED-001", "PS-LED-002"]


def test_a_diff_shows_whose_word_is_taken_instead(keyed: dict[str, Policy]) -> None:
    for loose, order, signed in (("any", "looser", ""), ("other", "incomparable", OTHER)):
        [change] = compare(keyed["one"], keyed[loose])
        assert (change.leaf.path, change.order, change.loosens) == (("ledger", "witness key"), order, True)
        assert change.witness is not None and change.witness.allowed
        assert change.witness.ask == OpenAsk(witness=True, cosigned_by=signed)
        assert [v.id for v in change.witness.denied] == ["PS-LED-002"]
    [change] = compare(keyed["any"], keyed["one"])
    assert change.order == "tighter" and not change.loosens


def test_a_child_may_name_a_witness_and_take_no_other(tmp_path: Path) -> None:
    def child(parent: str, own: str) -> Policy:
        return load_policy(pinned(tmp_path, BASE, CHILD, [("\nroles:", f"\n{parent}")], [("\nroles:", f"\n{own}")]))

    assert not answer(OpenAsk(witness=True), child(REQUIRED, named(ONE))).allowed
    for own in (named(OTHER), named("")):
        with pytest.raises(PolicyError, match="witness key"):
            child(named(ONE), own)


def test_each_of_the_two_words_left_out_turns_a_test_red_and_is_shown(tmp_path: Path, policies_text: str) -> None:
    (tmp_path / "p.yaml").write_text(policies_text.replace("\nroles:", f"\n{named(ONE)}"))
    head = (Path(__file__).parents[2] / "policies" / "healthcare.test.yaml").read_text().partition("cases:")[0]
    cases = "  nobody signs: {open: {witness: true}, expect: [PS-LED-002]}\n"
    cases = CASES.replace("[PS-LED-001]", "[PS-LED-001, PS-LED-002]") + cases
    (tmp_path / "p.test.yaml").write_text(head.replace("healthcare.yaml", "p.yaml") + cases)
    trial = load_trial(tmp_path / "p.test.yaml")
    found = {m.leaf.path[1]: m for m in loosen(load_policy(trial.policy), trial).mutants if m.leaf.path[0] == "ledger"}
    assert {name: (m.value, m.shown, bool(m.red)) for name, m in found.items()} == {
        "witness": ("optional", True, True),
        "witness key": (ABSENT, True, True),
    }
    assert found["witness key"].red == ("nobody remembers", "nobody signs")


def test_the_question_names_a_key(tmp_path: Path) -> None:
    ask = OpenAsk(witness=True, cosigned_by=ONE)
    path = tmp_path / "q.yaml"
    path.write_text(f"privsynth-policy-request: 1\n{flow(case_of(ask))[1:-1]}\n")
    assert load_ask(path) == ask


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f'ledger: {{witness: optional, witness key: "{ONE}"}}\nroles:', "no witness is required"),
        (f'ledger: {{witness key: "{ONE}"}}\nroles:', "witness"),
        (named(ONE.replace("e90a2880", "00000000")), "not the line of a witness's key"),
        (named("st-anna.example/witness"), "witness key"),
        ("ledger: {witness: required, witness key: 7}\nroles:", "witness key"),
    ],
)
def test_keys_that_name_nobody_are_refused(edited: Edit, text: str, told: str) -> None:
    with pytest.raises(PolicyError, match=told):
        edited(("\nroles:", f"\n{text}"))
