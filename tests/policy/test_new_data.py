"""Whether populations are kept apart: what each word allows, which way it is tighter, and how a diff shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from privsynth.errors import PolicyError, RequestDenied
from privsynth.policy.asks import answer
from privsynth.policy.cases import case_of, flow, load_ask
from privsynth.policy.compare import compare
from privsynth.policy.consent_asks import SubjectAsk
from privsynth.policy.document import Policy, load_policy
from privsynth.policy.mutants import loosen
from privsynth.policy.prose import prose
from privsynth.policy.trial import load_trial
from tests.policy.conftest import Edit
from tests.policy.family import BASE, CHILD, pinned

PATH = ("privacy", "new data", "population")
APART, DECLARED = "new data: {population: disjoint-subjects-only}", "new data: {population: as-declared}"
MET = SubjectAsk(source="ehr/encounters", met_in="last-year")
CASES = (
    "cases:\n  met last year: {subject: {source: ehr/encounters, met in: last-year}, expect: [PS-SRC-007]}\n"
    "  met by nobody: {subject: {source: ehr/encounters}, expect: allow}\n"
)


@pytest.fixture
def three(edited: Edit) -> dict[str, Policy]:
    """The same policy with each word, and with none."""
    return {
        "apart": edited(("  per release: ", f"  {APART}\n  per release: ")),
        "declared": edited(("  per release: ", f"  {DECLARED}\n  per release: ")),
        "silent": edited(),
    }


@pytest.mark.parametrize(("word", "apart"), [("apart", True), ("declared", False), ("silent", False)])
def test_somebody_whom_another_population_met_first(three: dict[str, Policy], word: str, *, apart: bool) -> None:
    policy = three[word]
    own = policy.sources["ehr/encounters"].population
    assert policy.disjoint is apart
    for met_in in ("", own):
        assert answer(SubjectAsk(source="ehr/encounters", met_in=met_in), policy).allowed
    decision = answer(MET, policy)
    assert decision.allowed is not apart
    if apart:
        with pytest.raises(RequestDenied, match="PS-SRC-007") as caught:
            decision.refuse()
        assert caught.value.where == policy.where(*PATH)


def test_a_diff_shows_who_may_now_count_twice(three: dict[str, Policy]) -> None:
    for loose in ("declared", "silent"):
        [change] = compare(three["apart"], three[loose])
        assert (change.leaf.path, change.order) == (PATH, "looser")
        assert change.witness is not None and change.witness.allowed
        assert isinstance(change.witness.ask, SubjectAsk) and change.witness.ask.met_in
        [back] = compare(three[loose], three["apart"])
        assert back.order == "tighter"
    assert compare(three["declared"], three["silent"]) == ()


def test_it_is_shown_beside_a_rule_on_minors(edited: Edit) -> None:
    for rule in ("below: 18", "values: [child]", "values: [true]"):
        minors = ("    unit: patient ", f"    minors: {{column: age, {rule}}}\n    unit: patient ")
        tight = edited(("  per release: ", f"  {APART}\n  per release: "), minors)
        [change] = compare(tight, edited(minors))
        assert change.witness is not None and change.witness.allowed


def test_a_child_may_only_ask_for_it(tmp_path: Path) -> None:
    said = [("  per release: ", f"  {APART}\n  per release: ")]
    child = load_policy(pinned(tmp_path, BASE, CHILD, said, []))
    assert child.disjoint
    with pytest.raises(PolicyError, match="new data"):
        load_policy(pinned(tmp_path, BASE, CHILD, said, [("  per release: ", f"  {DECLARED}\n  per release: ")]))
    assert load_policy(pinned(tmp_path, BASE, CHILD, [], said)).disjoint


def test_the_loosened_word_turns_a_test_red_and_is_shown(tmp_path: Path, policies_text: str) -> None:
    (tmp_path / "p.yaml").write_text(policies_text.replace("  per release: ", f"  {APART}\n  per release: "))
    head = (Path(__file__).parents[2] / "policies" / "healthcare.test.yaml").read_text().partition("cases:")[0]
    (tmp_path / "p.test.yaml").write_text(head.replace("healthcare.yaml", "p.yaml") + CASES)
    trial = load_trial(tmp_path / "p.test.yaml")
    [mutant] = [m for m in loosen(load_policy(trial.policy), trial).mutants if m.leaf.path == PATH]
    assert (mutant.value, mutant.red, mutant.shown) == ("as-declared", ("met last year",), True)


def test_the_officer_reads_that_ids_stay(three: dict[str, Policy]) -> None:
    [told] = [sentence.text for sentence in prose(three["apart"]) if sentence.leaf == PATH]
    assert "Nobody counts in two populations" in told and "never drops it" in told


def test_the_question_is_written_and_read(tmp_path: Path) -> None:
    assert flow(case_of(MET)) == "{subject: {source: ehr/encounters, met in: last-year}}"
    path = tmp_path / "q.yaml"
    path.write_text("privsynth-policy-request: 1\nsubject: {source: ehr/encounters, met in: last-year}\n")
    assert load_ask(path) == MET


@pytest.mark.parametrize("word", ["population", "{}", "{population: any}", "{population: true}", "{disjoint: true}"])
def test_other_words_are_refused(edited: Edit, word: str) -> None:
    with pytest.raises(PolicyError, match=r"new data|population|disjoint"):
        edited(("  per release: ", f"  new data: {word}\n  per release: "))
