"""Questions about evidence of consent: judged by the rules that judge real records, one aspect at a time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from privsynth.policy.asks import answer
from privsynth.policy.compare import compare
from privsynth.policy.consent_asks import EvidenceAsk, ReceiptAsk, RecordAsk, Then, WithdrawnAsk, usual_record
from privsynth.policy.document import Policy

Edit = Callable[..., Policy]
RULES = {
    "records": "[fhir-r4]",
    "requires": "{scope: research, purpose: [CLINTRCH], action: [collect, use]}",
    "verified by": "[patient]",
    "max age of export": "24h",
    "on withdrawal": "retire-models",
}


@pytest.fixture
def by_fhir(edited: Edit) -> Any:
    """``by_fhir(records="[fhir-r5]")``: healthcare.yaml with FHIR records as evidence."""

    def make(*, own: str = "[BIORCH]", names: str = "[Organization/uh]", **changed: str) -> Policy:
        rules = {**RULES, **{key.replace("_", " "): value for key, value in changed.items()}}
        lines = "".join(f"  {key}: {value}\n" for key, value in rules.items() if value)
        return edited(
            ("  by: register\n", f"  by: fhir\n{lines}"),
            ("medical-research: {legal", f"medical-research: {{fhir: {own}, legal"),
            ("university-hospital: {purposes", f"university-hospital: {{fhir: {names}, purposes"),
        )

    return make


def denied(ask: Any, policy: Policy) -> list[str]:
    decision = answer(ask, policy)
    assert decision.verdicts and all(v.what and v.limit and v.mend for v in decision.verdicts)
    return [v.id for v in decision.refusing]


def usual(policy: Policy) -> RecordAsk:
    found = usual_record(policy, purpose="medical-research", recipient="university-hospital")
    assert found is not None
    return found


def test_a_record_that_says_what_is_asked_counts(by_fhir: Any) -> None:
    policy = by_fhir()
    assert usual(policy) == RecordAsk(
        purpose="medical-research", recipient="university-hospital", form="fhir-r4", allows=("CLINTRCH", "BIORCH"),
        action=("collect", "use"), signed_by="patient", to="Organization/uh",
    )  # fmt: skip
    assert denied(usual(policy), policy) == []


@pytest.mark.parametrize("form", ["fhir-r4", "fhir-r5"])
@pytest.mark.parametrize(
    ("change", "rules"),
    [
        ({}, []),
        ({"allows": ("HRESCH",)}, []),
        ({"allows": ("CLINTRCH",)}, ["PS-CON-103"]),
        ({"allows": ("TREAT",)}, ["PS-CON-103"]),
        ({"allows": ()}, ["PS-CON-103"]),
        ({"action": ("use",)}, ["PS-CON-103"]),
        ({"action": ("collect", "use", "disclose")}, []),
        ({"signed_by": "legal-representative"}, ["PS-CON-102"]),
        ({"to": "Organization/other"}, ["PS-CON-104"]),
        ({"to": "Practitioner/uh"}, ["PS-CON-104"]),
        ({"to": None}, []),
        ({"form": "fhir-stu3"}, ["PS-CON-101"]),
        ({"form": "nonsense"}, ["PS-CON-101"]),
        ({"purpose": "marketing"}, ["PS-CON-101", "PS-CON-102", "PS-CON-103", "PS-CON-104"]),
    ],
)
def test_a_record_that_says_something_else(by_fhir: Any, form: str, change: dict[str, Any], rules: list[str]) -> None:
    policy = by_fhir(records=f"[{form}]")
    assert denied(replace(usual(policy), **change), policy) == rules


def test_without_fhir_no_record_counts_and_where_nobody_is_asked_none_is_needed(
    by_fhir: Any, healthcare: Policy, edited: Edit
) -> None:
    ask = usual(by_fhir())
    assert len(denied(ask, healthcare)) == 4
    open_ = edited(("  by: register\n", "  by: not-required\n  because: open data\n"))
    assert denied(ask, open_) == []
    assert usual_record(healthcare, purpose="medical-research", recipient="university-hospital") is None


RECEIPT = ReceiptAsk(
    source="ehr/encounters",
    purpose="medical-research",
    recipient="university-hospital",
    legal_basis=("Art6(1)(a)", "Art9(2)(a)"),
)


@pytest.mark.parametrize(
    ("change", "rules"),
    [
        ({}, []),
        ({"legal_basis": ("Art6(1)(a)",)}, ["PS-CON-106"]),
        ({"legal_basis": ("45CFR164.508",)}, ["PS-CON-106"]),
        ({"legal_basis": ()}, ["PS-CON-106"]),
        ({"source": "no/source"}, ["PS-CON-106"]),
        ({"purpose": "marketing"}, ["PS-CON-106"]),
        ({"recipient": "insurer"}, ["PS-CON-106"]),
    ],
)
def test_a_receipt_relies_on_what_the_policy_lists(edited: Edit, change: dict[str, Any], rules: list[str]) -> None:
    policy = edited(("  by: register\n", "  by: iso-27560\n"))
    assert denied(replace(RECEIPT, **change), policy) == rules
    assert denied(RECEIPT, edited()) == ["PS-CON-106"], "a register reads no receipts"
    assert denied(RECEIPT, edited(("  by: register\n", "  by: not-required\n  because: open data\n"))) == []


def test_one_basis_more_in_a_policy_is_shown_by_a_receipt(edited: Edit) -> None:
    change = ("  by: register\n", "  by: iso-27560\n")
    before, after = edited(change), edited(change, ("[Art6(1)(a), Art9(2)(a)]", "[Art6(1)(a), Art9(2)(a), Art9(2)(j)]"))
    [found] = compare(before, after)
    assert found.order == "looser" and found.witness is not None
    receipt = replace(RECEIPT, legal_basis=("Art6(1)(a)", "Art9(2)(j)"))
    assert denied(receipt, before) == ["PS-CON-106"] and denied(receipt, after) == []


@pytest.mark.parametrize(
    ("rung", "stands"),
    [("stop-new-use", {"new-rows", "old-release"}), ("retire-models", {"old-release"}), ("retire-releases", set())],
)
def test_what_stands_after_a_withdrawal(by_fhir: Any, rung: str, stands: set[str]) -> None:
    policy = by_fhir(on_withdrawal=rung)
    kinds: tuple[Then, ...] = ("new-fit", "new-rows", "old-release")
    assert {then for then in kinds if not denied(WithdrawnAsk(then=then), policy)} == stands


def test_old_evidence_and_conditions_that_nobody_attests(by_fhir: Any) -> None:
    policy = by_fhir()
    for hours, rules in ((1, []), (24, []), (25, ["PS-CON-002"])):
        assert denied(EvidenceAsk(source="ehr/encounters", age=dt.timedelta(hours=hours)), policy) == rules
    assert denied(EvidenceAsk(source="ehr/encounters"), policy) == ["PS-CON-002"]


def test_a_name_less_is_not_tighter(by_fhir: Any) -> None:
    """Who refused Organization/other would be granted once records by that name no longer mean the recipient."""
    both, one = by_fhir(names="[Organization/uh, Organization/other]"), by_fhir()
    for before, after in ((both, one), (one, both)):
        [change] = compare(before, after, show=False)
        assert (change.leaf.path[-1], change.order) == ("fhir", "incomparable")


@pytest.mark.parametrize(
    ("leaf", "looser"),
    [
        ("consent › records", {"records": "[fhir-r4, fhir-r5]"}),
        ("consent › requires › purpose", {"requires": "{scope: research, purpose: [BIORCH], action: [collect, use]}"}),
        ("consent › requires › action", {"requires": "{scope: research, purpose: [CLINTRCH], action: [use]}"}),
        ("consent › verified by", {"verified_by": "[patient, legal-representative]"}),
        ("consent › max age of export", {"max_age_of_export": "25h"}),
        ("consent › max age of export", {"max_age_of_export": ""}),
        ("consent › on withdrawal", {"on_withdrawal": "stop-new-use"}),
        ("purposes › medical-research › fhir", {"own": "[CLINTRCH]"}),
        ("recipients › university-hospital › fhir", {"names": "[Organization/uh, Organization/other]"}),
    ],
)
def test_each_of_its_leaves_is_shown_by_a_question(by_fhir: Any, leaf: str, looser: dict[str, str]) -> None:
    [change] = compare(by_fhir(), by_fhir(**looser))
    assert (change.leaf.name, change.loosens) == (leaf, True)
    assert change.witness is not None and change.witness.allowed
