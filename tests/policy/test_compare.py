"""Comparing policies: the verdict of each leaf, requests that show the looser ones, and no answer that disagrees."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.policy_pairs import Found, look
from privsynth.policy.asks import HoldAsk, answer
from privsynth.policy.compare import Change, compare
from privsynth.policy.directions import ABSENT
from privsynth.policy.document import Policy, load_policy

Edit = Callable[..., Policy]
GAP = ("    by: [sex]                             # Groups that must be served alike.\n"
       "    gap: {max: 0.08}                      # Largest difference between groups.\n")  # fmt: skip
RECIPIENT_LINE = "    - {over: recipient, epsilon: 3.0, delta: 2e-8}\n"


@pytest.fixture
def healthcare(edited: Edit) -> Policy:
    """healthcare.yaml without its parent, which would refuse some of the edits."""
    return edited()


def only(changes: tuple[Change, ...]) -> Change:
    [change] = changes
    return change


def test_a_policy_is_the_same_as_itself(healthcare: Policy, edited: Edit) -> None:
    assert compare(healthcare, healthcare) == ()
    assert compare(healthcare, edited(('version: "1.0.0"', 'version: "1.0.1"'))) == ()


@pytest.mark.parametrize(
    ("old", "new", "leaf", "order"),
    [
        ("until: 2031-12-31", "until: 2032-12-31", "valid › until", "looser"),
        ("from: 2026-01-01", "from: 2026-02-01", "valid › from", "tighter"),
        ("{max rows per subject: 12}", "{max rows per subject: 11}",
         "sources › ehr/encounters › contribution › max rows per subject", "tighter"),
        ("unit: patient ", "unit: visit ", "sources › ehr/encounters › unit", "incomparable"),
        ("subjects: 41250", "subjects: 41251", "sources › ehr/encounters › subjects", "incomparable"),
        ("holdout: 0.2", "holdout: 0.3", "sources › ehr/encounters › holdout", "incomparable"),
        ("[Art6(1)(a), Art9(2)(a)]", "[Art6(1)(a), Art9(2)(a), Art9(2)(j)]",
         "purposes › medical-research › legal basis", "looser"),
        ("[Art6(1)(a), Art9(2)(a)]", "[Art6(1)(a), Art9(2)(j)]",
         "purposes › medical-research › legal basis", "incomparable"),
        ("over: population, epsilon: 6.0", "over: population, epsilon: 6.1", "privacy › budget › population › epsilon",
         "looser"),
        ("over: recipient, epsilon: 3.0", "over: recipient, epsilon: 2.9", "privacy › budget › recipient › epsilon",
         "tighter"),
        ("max epsilon: 1.0", "max epsilon: 1.5", "privacy › per release › max epsilon", "looser"),
        ("share: 0.15", "share: 0.1", "gate › budget › share", "incomparable"),
        ("max attempts: 5 ", "max attempts: 4 ", "gate › max attempts", "tighter"),
        ("accuracy: {at least: 0.60}", "accuracy: {at least: 0.59}", "gate › utility › accuracy › at least", "looser"),
        ("by: [sex]", "by: [sex, ward]", "gate › utility › by", "tighter"),
        ("target: readmitted", "target: died", "gate › utility › target", "incomparable"),
        ("cut: 0.2", "cut: 0.3", "gate › membership › cut", "incomparable"),
    ],
)  # fmt: skip
def test_one_edit_one_verdict(healthcare: Policy, edited: Edit, old: str, new: str, leaf: str, order: str) -> None:
    change = only(compare(healthcare, edited((old, new))))
    assert (change.leaf.name, change.order) == (leaf, order)
    assert change.loosens == (order in ("looser", "incomparable"))
    assert change.where_before.rpartition(":")[2] == change.where_after.rpartition(":")[2]
    back = only(compare(edited((old, new)), healthcare))
    assert (back.order, back.before, back.after) == (TURNED[order], change.after, change.before)


TURNED = {"looser": "tighter", "tighter": "looser", "incomparable": "incomparable"}


def test_a_looser_leaf_is_shown_by_a_request_that_flips(healthcare: Policy, edited: Edit) -> None:
    later = edited(("max epsilon: 1.0", "max epsilon: 1.5"))
    seen = only(compare(healthcare, later)).witness
    assert seen is not None and isinstance(seen.ask, HoldAsk)
    assert (seen.ask.request.epsilon, seen.allowed, seen.still) == (1.5, True, ())
    assert [v.id for v in answer(seen.ask, healthcare).refusing] == ["PS-BUD-001"] == [v.id for v in seen.denied]
    assert seen.denied[0].where == healthcare.where("privacy", "per release", "max epsilon")
    assert answer(seen.ask, later).allowed


def test_what_another_line_still_denies_is_said(healthcare: Policy, edited: Edit) -> None:
    later = edited(('delta below: "1/(1000*subjects)"', 'delta below: "1/subjects"'))
    seen = only(compare(healthcare, later)).witness
    assert seen is not None
    assert ([v.id for v in seen.denied], [v.id for v in seen.still]) == (["PS-BUD-003"], ["PS-BUD-002"])
    assert not seen.allowed


def test_a_rule_that_is_gone_is_looser_and_one_that_is_new_is_tighter(healthcare: Policy, edited: Edit) -> None:
    later = edited((GAP, ""))
    found = {change.leaf.name: change for change in compare(healthcare, later)}
    assert {name: change.order for name, change in found.items()} == dict.fromkeys(
        ("gate › utility › by", "gate › utility › gap › max"), "looser"
    )
    assert {change.order for change in compare(later, healthcare)} == {"tighter"}
    assert found["gate › utility › gap › max"].after is ABSENT
    assert all(change.witness is not None and change.witness.allowed for change in found.values())


def test_a_budget_line_that_is_gone_is_looser(healthcare: Policy, edited: Edit) -> None:
    found = compare(healthcare, edited((RECIPIENT_LINE, "")))
    assert [(change.leaf.path[2], change.order) for change in found] == [("recipient", "looser")] * 2
    assert all(change.witness is not None and change.witness.allowed for change in found)


def test_a_new_name_is_one_change_and_not_all_that_stands_under_it(healthcare: Policy, edited: Edit) -> None:
    later = edited(("recipients:\n", "recipients:\n  insurer: {purposes: [medical-research]}\n"))
    change = only(compare(healthcare, later))
    assert (change.leaf.name, change.order) == ("recipients", "looser")
    assert change.witness is not None and isinstance(change.witness.ask, HoldAsk)
    assert change.witness.ask.request.recipient == "insurer"


def test_a_frozen_leaf_is_shown_by_no_request_where_none_reads_it(healthcare: Policy, edited: Edit) -> None:
    assert only(compare(healthcare, edited(("cut: 0.2", "cut: 0.3")))).witness is None
    assert only(compare(healthcare, edited(("unit: patient ", "unit: visit ")))).witness is not None


def test_without_looking_for_requests_it_only_judges(healthcare: Policy, edited: Edit) -> None:
    change = only(compare(healthcare, edited(("max epsilon: 1.0", "max epsilon: 1.5")), show=False))
    assert change.loosens and change.witness is None


def test_shipped_policies_of_other_data_cannot_be_compared(policies: Path) -> None:
    one, other = (load_policy(policies / f"{name}.yaml") for name in ("healthcare", "finance"))
    orders = {change.leaf.name: change.order for change in compare(one, other, show=False)}
    assert {orders[name] for name in ("sources", "purposes", "recipients", "people")} == {"incomparable"}


@pytest.mark.slow
def test_verdicts_never_disagree_with_answers() -> None:
    """5,000 random requests; ``python -m benchmarks.policy_pairs`` asks 100,000. Both kinds of pairs occur."""
    seen: Found = look(5_000, seed=11)
    assert seen.disagreements == []
    assert seen.counts["requests"] >= 5_000
    assert seen.counts["pairs looser"] > 3 and seen.counts["pairs not looser"] > 3
    assert seen.counts["denied → allowed (looser)"] > 10
    assert seen.counts["denied → allowed (not looser)"] == 0


def test_another_id_is_no_small_change(edited: Edit) -> None:
    """It opens another ledger, of which nothing is spent."""
    one, other = edited(), edited(("id: st-anna/encounters-research", "id: st-anna/encounters-again"))
    [change] = compare(one, other)
    assert change.leaf.path == ("id",) and change.loosens
