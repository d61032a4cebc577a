"""Loosened leaves: the tests of the shipped policies see every one, and what they do not see is told."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest

from privsynth.documents import parse_yaml
from privsynth.errors import PolicyError
from privsynth.policy.cases import suggestion
from privsynth.policy.directions import ABSENT, Limit
from privsynth.policy.document import Policy, load_policy
from privsynth.policy.leaves import leaves, silent
from privsynth.policy.mutants import Loosened, loosen
from privsynth.policy.trial import Trial, load_trial, run_trial

SHIPPED = ("healthcare", "finance", "research-sandbox", "imaging", "faces")
HEAD = """\
privsynth-policy-test: 1
policy: healthcare.yaml
request: {source: ehr/encounters, purpose: medical-research, recipient: university-hospital, unit: patient,
  epsilon: 1.0, delta: 1e-9, actor: a.kim@st-anna.example, on: 2026-06-01, columns: [readmitted, sex],
  consent: register}
cases:
"""


def beside(folder: Path, policies: Path, cases: str) -> Trial:
    """A copy of healthcare.yaml and its parents, with other tests beside it."""
    for path in policies.glob("*.yaml"):
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "healthcare.test.yaml").write_text(HEAD + cases)
    return load_trial(folder / "healthcare.test.yaml")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> tuple[Policy, Trial, Loosened]:
    """healthcare.yaml with one test that sees little."""
    folder = Path(__file__).parents[2] / "policies"
    trial = beside(tmp_path_factory.mktemp("bare"), folder, "  an ordinary release: {expect: allow}\n")
    policy = load_policy(trial.policy)
    return policy, trial, loosen(policy, trial)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_every_loosened_leaf_turns_a_test_red_and_is_shown(policies: Path, name: str) -> None:
    trial = load_trial(policies / f"{name}.test.yaml")
    policy = load_policy(trial.policy)
    assert [o.words for o in run_trial(trial, policy) if not o.passed] == []
    found = loosen(policy, trial)
    assert found.survivors == ()
    assert len(found.mutants) >= 20
    assert found.leaves == len(leaves(policy.file)) + len(silent(policy.file))


def test_what_silence_means_is_loosened_too(policies: Path) -> None:
    """No line of the sandbox withholds the noisy tables or refuses public tables; its tests hold both all the same."""
    trial = load_trial(policies / "research-sandbox.test.yaml")
    policy = load_policy(trial.policy)
    unsaid = {leaf.path: leaf for leaf in silent(policy.file)}
    assert {("data", "public help"), ("release", "transcript")} <= set(unsaid)
    found = {m.leaf.path: m for m in loosen(policy, trial).mutants if m.leaf.path in unsaid}
    assert {path: m.value for path, m in found.items()} == {
        ("images", "biometric use"): "allowed",
        ("data", "public help"): "allowed",
        ("release", "transcript"): "published",
    }
    assert all(m.red and m.shown for m in found.values())


def test_tests_that_see_little_are_told(bare: tuple[Policy, Trial, Loosened]) -> None:
    policy, _, found = bare
    assert [m.leaf.name for m in found.mutants if m.red] == ["consent › by"]  # an ordinary release brings a register
    assert len(found.survivors) == len(found.mutants) - 1 >= 25
    numbers = [leaf for leaf in leaves(policy.file).values() if isinstance(leaf.direction, Limit)]
    assert {leaf.path for leaf in numbers} <= {mutant.leaf.path for mutant in found.mutants}
    assert all(mutant.shown for mutant in found.mutants)


def test_names_that_no_test_asks_for_are_loosened_too(bare: tuple[Policy, Trial, Loosened]) -> None:
    added = {m.leaf.name: set(m.value) - set(m.leaf.value) for m in bare[2].mutants if isinstance(m.value, list)}
    assert added["sources"] == {"unlisted/source"}
    assert added["people"] == {"nobody@unlisted.example"}
    assert added["purposes"] == {"unlisted-purpose"}


def test_what_has_no_looser_value_that_makes_a_policy_is_listed(bare: tuple[Policy, Trial, Loosened]) -> None:
    stuck = {leaf.name for leaf in bare[2].stuck}
    assert "roles › requesters of holds" in stuck
    assert stuck.isdisjoint(m.leaf.name for m in bare[2].mutants)


RULES = """\
approval: {release: {people: 2}, policy change: {people: 2, roles: [board]}}
"""


def test_what_can_only_be_left_out_is_left_out(tmp_path: Path, policies: Path) -> None:
    """Whoever deletes a rule whose number cannot be lower, or whose list has one entry, is seen."""
    trial = beside(tmp_path, policies, "  an ordinary release: {expect: allow}\n")
    text = (tmp_path / "healthcare.yaml").read_text().replace(
        "    unit: patient ", "    minors: {column: age, values: [child]}\n    unit: patient "
    )  # fmt: skip
    keys = {
        name: f"ed25519:{b64encode(bytes([n]) * 32).decode()}"
        for n, name in enumerate(("k@a.example", "l@a.example"), 1)
    }
    text += "".join(f"  {name}: {{roles: [board], key: '{key}'}}\n" for name, key in keys.items()) + RULES
    (tmp_path / "healthcare.yaml").write_text(text)
    policy = load_policy(trial.policy)
    found = {m.leaf.name: m for m in loosen(policy, trial).mutants if m.value is ABSENT}
    assert set(found) == {
        "sources › ehr/encounters › minors › values",
        "approval › policy change › people",
        "approval › release › people",
    }
    assert all(m.shown and not m.red for m in found.values())
    lines = [suggestion(policy, trial, m) for m in found.values()]
    (tmp_path / "healthcare.test.yaml").write_text(HEAD + "\n".join(lines))
    better = load_trial(tmp_path / "healthcare.test.yaml")
    assert [o.words for o in run_trial(better, policy) if not o.passed] == []
    assert all(m.red for m in loosen(policy, better).mutants if m.value is ABSENT)


@pytest.mark.parametrize("below", [1, 18])
def test_the_lowest_age_of_minors_is_loosened(
    edited: Callable[..., Policy], bare: tuple[Policy, Trial, Loosened], below: int
) -> None:
    policy = edited(("    unit: patient ", f"    minors: {{column: age, below: {below}}}\n    unit: patient "))
    [mutant] = [m for m in loosen(policy, bare[1]).mutants if "minors" in m.leaf.path]
    assert mutant.value == (ABSENT if below == 1 else 17) and mutant.shown


def test_suggestions_are_the_cases_that_lack(
    bare: tuple[Policy, Trial, Loosened], tmp_path: Path, policies: Path
) -> None:
    """Put into the file as they are printed, they pass, and then no loosened leaf is left unseen."""
    policy, trial, found = bare
    lines = [suggestion(policy, trial, mutant) for mutant in found.survivors]
    assert all(lines) and len(set(lines)) == len(lines)
    better = beside(tmp_path, policies, "\n".join(lines))
    assert [o.words for o in run_trial(better, policy) if not o.passed] == []
    assert loosen(policy, better).survivors == ()


def test_a_case_that_fails_anyhow_sees_nothing(tmp_path: Path, policies: Path) -> None:
    trial = beside(tmp_path, policies, "  wrong from the start: {hold: {epsilon: 1.25}, expect: allow}\n")
    policy = load_policy(trial.policy)
    [mutant] = [m for m in loosen(policy, trial).mutants if m.leaf.path[-1] == "max epsilon"]
    assert mutant.red == ()
    assert mutant.value == 1.25


def test_mutants_are_of_the_policy_and_leave_it_alone(bare: tuple[Policy, Trial, Loosened]) -> None:
    policy, _, found = bare
    again = parse_yaml(Path(policy.document.path).read_bytes(), path=policy.document.path, error=PolicyError)
    assert load_policy(policy.document.path).sha256 == policy.sha256
    assert again.data["valid"]["until"] == "2031-12-31"
    stated = (*leaves(policy.file).values(), *silent(policy.file))
    assert {m.leaf.name for m in found.mutants} <= {leaf.name for leaf in stated}
