"""The page that an officer signs: a sentence for every leaf, nothing left out, under the policy's hash."""

from __future__ import annotations

from pathlib import Path

import pytest

from privsynth.policy.directions import ABSENT
from privsynth.policy.document import Policy, load_policy, parse_policy
from privsynth.policy.leaves import Leaf, leaves
from privsynth.policy.prose import foot, has_sentence, prose, sentence, told
from privsynth.policy.sentences import HEADINGS, SENTENCES
from tests.policy_form import form_leaves

FORM = dict(form_leaves())
SHIPPED = ("healthcare", "finance", "research-sandbox", "imaging", "faces")


@pytest.mark.parametrize("path", FORM, ids="/".join)
def test_each_leaf_of_the_form_has_a_sentence(path: tuple[str, ...]) -> None:
    assert has_sentence(path)
    assert path[0] in HEADINGS


def test_no_sentence_is_of_a_leaf_that_does_not_exist() -> None:
    told_of = {tuple("*" if part == "some-name" else part for part in path) for path in FORM}
    assert set(SENTENCES) - told_of == set()


@pytest.mark.parametrize("name", SHIPPED)
def test_every_leaf_of_a_policy_stands_on_the_page(policies: Path, name: str) -> None:
    policy = load_policy(policies / f"{name}.yaml")
    page = prose(policy)
    assert [one.leaf for one in page] == list(leaves(policy.file))
    for one, leaf in zip(page, leaves(policy.file).values(), strict=True):
        assert one.text[-1] in ".?" and "{" not in one.text
        assert not one.text.startswith(f"{leaf.name}:"), "told as key and value"
        path, _, line = one.where.rpartition(":")
        assert 0 < int(line) <= len(Path(path).read_text().splitlines())


@pytest.mark.parametrize("name", SHIPPED)
def test_every_value_can_be_read_off_the_page(policies: Path, name: str) -> None:
    """Of each leaf whose sentence is not chosen by its word, the value itself stands there, or its percentage."""
    policy = load_policy(policies / f"{name}.yaml")
    for one, leaf in zip(prose(policy), leaves(policy.file).values(), strict=True):
        by_word = leaf.path[-1] in WORDS
        seen = told(leaf.value) in one.text or (isinstance(leaf.value, float) and "%" in one.text)
        assert by_word or seen, (leaf.name, one.text)


WORDS = {
    "neighbours", "default", "by", "on withdrawal", "noise", "public help", "schema constraints", "transcript",
    "overlap", "over", "base", "children", "biometric use", "biometric",
}  # fmt: skip


def test_two_policies_that_differ_have_two_pages(healthcare: Policy) -> None:
    text = (Path(healthcare.document.path)).read_text()
    for old, new in (
        ("epsilon: 6.0", "epsilon: 5.999999"),
        ("patient_id", "patient_id"),
        ("until: 2031", "until: 2030"),
    ):
        other = parse_policy(text.replace(old, new).encode(), path=healthcare.document.path)
        differs = [a.text for a in prose(other)] != [b.text for b in prose(healthcare)]
        assert differs == (other.sha256 != healthcare.sha256)


def test_the_foot_says_which_policy_it_is(healthcare: Policy) -> None:
    assert foot(healthcare) == (
        f"st-anna/encounters-research, version 1.0.0, SHA-256 of the resolved policy {healthcare.sha256}"
    )


def test_a_leaf_without_a_sentence_is_told_all_the_same(healthcare: Policy) -> None:
    some = next(iter(leaves(healthcare.file).values()))
    leaf = Leaf(("gate", "vibes", "max"), (), 0.25, some.direction)
    assert not has_sentence(leaf.path)
    assert sentence(leaf) == "gate › vibes › max: 0.25."
    word = Leaf(("data", "public help"), (), "perhaps", some.direction)
    assert sentence(word) == "data › public help: perhaps."


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"), (41250, "41,250"), (1.0, "1"), (1e-9, "1e-09"), (0.1234567, "0.1234567"), (1234567.5, "1234567.5"),
        (True, "true"), (["a"], "a"), (["a", "b", "c"], "a, b and c"), ([], "none"), ({"above": 3.0}, "above 3"),
        (ABSENT, "not stated"),
    ],
)  # fmt: skip
def test_values_are_told_exactly(value: object, text: str) -> None:
    assert told(value) == text
