"""The consent part of a policy: what loads, what cannot be meant, and which way each key is tighter."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise

import pytest

from privsynth.errors import PolicyError
from privsynth.policy.consent_rules import RUNGS, Fixed, Within, seconds
from privsynth.policy.directions import ABSENT, Direction
from privsynth.policy.document import Policy

Edit = Callable[..., Policy]
FHIR = """\
  by: fhir
  records: [fhir-r4, fhir-r5]
  requires: {scope: research, status: active, purpose: HRESCH, action: [collect, use]}
  verified by: [patient, legal-representative]
  max age of export: 24h
  on withdrawal: stop-new-use
"""
BY = "  by: register\n"


def test_by_fhir(edited: Edit) -> None:
    consent = edited((BY, FHIR)).consent
    assert consent.kind == "fhir"
    assert consent.requires is not None
    assert (consent.requires.purpose, consent.requires.action) == (("HRESCH",), ("collect", "use"))
    assert consent.max_age == timedelta(hours=24)
    assert consent.rung == "stop-new-use"


def test_by_receipts_and_by_register(edited: Edit, healthcare: Policy) -> None:
    consent = edited((BY, "  by: iso-27560\n  max age of export: 7d\n  on withdrawal: retire-releases\n")).consent
    assert (consent.kind, consent.max_age, consent.rung) == ("iso-27560", timedelta(days=7), "retire-releases")
    assert (healthcare.consent.max_age, healthcare.consent.requires) == (None, None)


def without(line: str) -> str:
    return "".join(one for one in FHIR.splitlines(keepends=True) if line not in one)


@pytest.mark.parametrize(
    ("by", "at", "what"),
    [
        (without("records"), "by: fhir", "`records` and `by: fhir` go together"),
        (without("requires"), "by: fhir", "`requires` and `by: fhir` go together"),
        (without("verified"), "by: fhir", "`verified by` and `by: fhir` go together"),
        (BY + "  records: [fhir-r4]\n", "records:", "`records` and `by: fhir` go together"),
        (BY + "  verified by: [patient]\n", "verified by", "`verified by` and `by: fhir` go together"),
        (BY + "  max age of export: 24h\n", "max age", "knows no export"),
        ("  by: not-required\n  because: public\n  on withdrawal: stop-new-use\n", "on withdrawal", "nobody is asked"),
        (FHIR.replace("fhir-r4, fhir-r5", "fhir-stu3"), "records:", "fhir-r4"),
        (FHIR.replace("fhir-r4, fhir-r5", ""), "records:", "at least 1"),
        (FHIR.replace("fhir-r5", "fhir-r4"), "records:", "stands twice"),
        (FHIR.replace("scope: research", "scope: treatment"), "requires:", "research"),
        (FHIR.replace("status: active", "status: draft"), "requires:", "active"),
        (FHIR.replace("purpose: HRESCH", "purpose: TREAT"), "requires:", "HRESCH"),
        (FHIR.replace("purpose: HRESCH, ", ""), "medical-research:", "no FHIR code says"),
        (FHIR.replace("collect, use", ""), "requires:", "at least 1"),
        (FHIR.replace("collect, use", "study"), "requires:", "collect"),
        (FHIR.replace("patient, legal", "nurse, legal"), "verified by:", "patient"),
        (FHIR.replace("24h", "24"), "max age", "24h"),
        (FHIR.replace("24h", "1.5h"), "max age", "24h"),
        (FHIR.replace("24h", "0h"), "max age", "24h"),
        (FHIR.replace("24h", "soon"), "max age", "24h"),
        (FHIR.replace("stop-new-use", "nothing"), "on withdrawal", "stop-new-use"),
    ],
)
def test_what_cannot_be_meant(edited: Edit, by: str, at: str, what: str) -> None:
    with pytest.raises(PolicyError) as caught:
        edited((BY, by))
    assert what in f"{caught.value.what} {caught.value.mend}"
    assert caught.value.where.startswith("policy.yaml:")
    assert caught.value.mend


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (("medical-research: {", "medical-research: {fhir: [HRESCH], "), "`fhir` is read only with"),
        (("hospital: {purposes", "hospital: {fhir: [Organization/u], purposes"), "`fhir` is read only with"),
    ],
)
def test_fhir_names_without_fhir_records(edited: Edit, change: tuple[str, str], what: str) -> None:
    with pytest.raises(PolicyError, match=what):
        edited(change)


@pytest.mark.parametrize("reference", ["uni", "Organization/", "organization/u", "Organization/u v", "#u", "urn:u"])
def test_references_that_are_none(edited: Edit, reference: str) -> None:
    with pytest.raises(PolicyError, match="references such as"):
        edited((BY, FHIR), ("hospital: {purposes", f'hospital: {{fhir: ["{reference}"], purposes'))


def test_a_purpose_has_codes_of_its_own(edited: Edit) -> None:
    policy = edited(
        (BY, FHIR.replace("purpose: HRESCH, ", "")),
        ("medical-research: {", "medical-research: {fhir: [BIORCH], "),
        ("hospital: {purposes", 'hospital: {fhir: [Organization/u, "https://x.example/fhir/Organization/u"], purposes'),
    )
    assert policy.purposes["medical-research"].fhir == ("BIORCH",)
    assert len(policy.recipients["university-hospital"].fhir or ()) == 2


# --- which way is tighter ------------------------------------------------------------------------


def test_an_age_is_tighter_the_shorter_it_is() -> None:
    within = Within()
    assert isinstance(within, Direction)
    for shorter, longer in pairwise(["1h", "23h", "24h", "2d", "49h", "7d"]):
        assert seconds(shorter) <= seconds(longer)
        assert within.order(longer, shorter) in ("tighter", "same")
        assert within.order(shorter, longer) in ("looser", "same")
    assert within.order("24h", "1d") == "same"
    assert (within.order("24h", ABSENT), within.order(ABSENT, "24h")) == ("looser", "tighter")
    [step] = within.steps("24h", ())
    assert (step, within.order("24h", step)) == ("25h", "looser")


def test_a_condition_may_be_added_and_not_changed() -> None:
    fixed = Fixed()
    assert isinstance(fixed, Direction)
    assert fixed.order(ABSENT, ["HMB"]) == "tighter"
    assert fixed.order(["HMB"], ABSENT) == "looser"
    assert fixed.order(["HMB"], ["GRU"]) == "incomparable"
    assert fixed.order(["HMB"], ["HMB"]) == "same"
    assert list(fixed.steps(["HMB"], ())) == []


def test_the_ladder_begins_with_the_strictest() -> None:
    assert RUNGS == ("retire-releases", "retire-models", "stop-new-use")
