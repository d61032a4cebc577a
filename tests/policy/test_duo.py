"""Data Use Ontology: the table, DUOS' matching, and what a person must attest."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from privsynth.data.records import Records
from privsynth.data.schema import parse_schema
from privsynth.errors import PolicyError, RequestDenied
from privsynth.policy.consent import filter_consent
from privsynth.policy.decide import Use, decide_use
from privsynth.policy.document import Policy
from privsynth.policy.duo import TERMS, forbidden, read_code, to_attest, what_is_wrong

Edit = Callable[..., Policy]
LUNG, SKIN = "DS:MONDO:0005138", "DS:MONDO:0002898"


def test_the_table_has_its_25_rows() -> None:
    assert len(TERMS) == len({term.number for term in TERMS}) == len({term.code for term in TERMS}) == 25
    assert [term.code for term in TERMS if term.kind == "permission"] == ["NRES", "HMB", "DS", "POA", "GRU"]


# purpose by source, as DUOS matches them
MATCHES = {
    "NRES": {"GRU": True, "HMB": True, LUNG: True, "POA": True, "MDS": True},
    "GRU": {"GRU": True, "HMB": True, LUNG: True, "POA": True, "MDS": True},
    "HMB": {"GRU": False, "HMB": True, LUNG: True, "POA": False, "MDS": True},
    LUNG: {"GRU": False, "HMB": False, LUNG: True, SKIN: False, "POA": False, "MDS": True},
    "POA": {"GRU": False, "HMB": False, LUNG: False, "POA": True, "MDS": True},
}


@pytest.mark.parametrize(
    ("source", "purpose", "allowed"), [(s, p, a) for s, r in MATCHES.items() for p, a in r.items()]
)
def test_matching(source: str, purpose: str, allowed: bool) -> None:
    assert (forbidden([source], [purpose]) == ()) == allowed
    assert forbidden([source], [purpose, "COM"]) == (() if allowed else (purpose,))


@pytest.mark.parametrize("modifier", ["NPU", "NCU", "NPUNCU"])
def test_nobody_earns_by_what_is_not_for_profit(modifier: str) -> None:
    assert forbidden(["GRU", modifier], ["HMB", "COM"]) == ("COM",)
    assert forbidden(["GRU", modifier], ["HMB"]) == ()


def test_modifiers_take_away() -> None:
    assert forbidden(["GRU", "NMDS"], ["MDS"]) == ("MDS",)
    assert forbidden(["NRES", "NPOA"], ["POA"]) == ("POA",)
    assert forbidden(["HMB"], ["POA", "GRU", "HMB"]) == ("POA", "GRU"), "all conditions of a purpose must be met"


def test_a_disease_is_its_written_term_and_no_other() -> None:
    """No ontology of diseases is loaded: cancer does not cover lung cancer."""
    assert forbidden(["DS:MONDO:0004992"], [LUNG]) == (LUNG,)
    assert forbidden([LUNG, SKIN], [SKIN]) == ()
    assert forbidden(["DUO:0000007:MONDO:0005138"], [LUNG]) == ()
    assert forbidden(["DS:mondo:0005138"], [LUNG]) == (LUNG,)


@pytest.mark.parametrize("text", ["", "hmb", "HMB ", "ZZZ", "DUO:0000006 ", "DUO:6", "DUO:0000099", "DS:", "ΗΜΒ"])
def test_codes_that_do_not_exist(text: str) -> None:
    assert read_code(text) is None
    assert what_is_wrong([text, "GRU"], of="source")
    assert forbidden(["NRES"], [text]) == (text,)


@pytest.mark.parametrize(
    ("codes", "of", "what"),
    [
        (["DUO:0000001"], "source", "a group of codes"),
        (["IRB"], "source", "no permission"),
        (["DS"], "source", "names no disease"),
        (["HMB:MONDO:1"], "source", "takes nothing after it"),
        (["GRU", "COM"], "source", "what a purpose is"),
        (["GRU", "GRU"], "source", "stands twice"),
        (["GRU", "DUO:0000042"], "source", "stands twice"),
        (["NPU"], "purpose", "a condition of a source"),
        (["NRES"], "purpose", "a condition of a source"),
        (["COM"], "purpose", "what is done is not said"),
    ],
)
def test_lists_that_make_no_sense(codes: list[str], of: str, what: str) -> None:
    assert what in what_is_wrong(codes, of=of)


def test_every_term_can_be_used_or_is_a_group() -> None:
    for term in TERMS:
        argument = ":MONDO:1" if term.code == "DS" else ""
        found = what_is_wrong(["GRU" if term.kind == "modifier" else term.code + argument, *(
            [term.code] if term.kind == "modifier" else [])], of="source")  # fmt: skip
        assert bool(found) == (term.kind == "group")


def test_the_page_lists_what_a_person_attests() -> None:
    page = (Path(__file__).parents[2] / "docs" / "consent.md").read_text("utf-8").partition("## Data Use Ontology")[2]
    listed = page.partition("What no rule can see")[2].partition("a person attests")[0]
    assert set(re.findall(r"\b[A-Z]{2,6}\b", listed)) == {term.code for term in TERMS if term.attested}
    [codes] = re.findall(r"duo: \[(HMB, [A-Z, ]+)\]", page)
    [lines] = re.findall(r"attest: \{(.*?)\}", page, re.DOTALL)
    assert to_attest(codes.split(", ")) == tuple(re.findall(r"([A-Z]{3,6}): ", lines))


def test_what_a_person_attests() -> None:
    codes = ["GRU", "IRB", "GS:DE", "NPU", "PUB", "CC"]
    assert to_attest(codes) == ("IRB", "GS:DE", "NPU", "PUB", "CC")


# --- in a policy ---------------------------------------------------------------------------------

SOURCE = ("    population: st-anna-patients", '    duo: [HMB, NPU, "GS:DE"]\n    population: st-anna-patients')
PURPOSE = ("medical-research: {", "medical-research: {duo: [HMB], ")
NOW = datetime(2026, 6, 15, tzinfo=UTC)
USE: dict[str, Any] = {"purpose": "medical-research", "recipient": "university-hospital"}


@pytest.mark.parametrize(
    ("changes", "at", "what"),
    [
        ([SOURCE], "medical-research:", "would always be denied"),
        ([PURPOSE], "medical-research:", "no source carries DUO codes"),
        ([SOURCE, (PURPOSE[0], "medical-research: {duo: [XYZ], ")], "medical-research:", "no DUO code 'XYZ'"),
        ([(SOURCE[0], SOURCE[1].replace("NPU", "NOPE")), PURPOSE], "duo: [HMB, NOPE", "no DUO code 'NOPE'"),
        ([(SOURCE[0], SOURCE[1].replace("HMB, ", "")), PURPOSE], "duo: [NPU", "no permission"),
    ],
)
def test_a_policy_that_makes_no_sense(edited: Edit, changes: list[tuple[str, str]], at: str, what: str) -> None:
    with pytest.raises(PolicyError, match=what) as caught:
        edited(*changes)
    assert caught.value.where.startswith("policy.yaml:")
    assert caught.value.mend


def use(purpose: str = "medical-research") -> Use:
    return Use(
        source="ehr/encounters", purpose=purpose, recipient="university-hospital", consent="register",
        today=date(2026, 6, 15),
    )  # fmt: skip


def test_the_rule_reads_the_source_s_line(edited: Edit) -> None:
    good = edited(SOURCE, PURPOSE)
    assert decide_use(good, use()).allowed
    bad = edited(SOURCE, (PURPOSE[0], "medical-research: {duo: [GRU, COM], "))
    [verdict] = decide_use(bad, use()).refusing
    assert verdict.id == "PS-CON-003"
    assert verdict.where == bad.where("sources", "ehr/encounters", "duo")
    assert "GS:DE" in verdict.limit


def test_without_codes_everything_is_as_it_was(healthcare: Policy) -> None:
    assert decide_use(healthcare, use()).allowed


def test_attestation(edited: Edit, tmp_path: object) -> None:
    """The source is for use in Germany only: no rule can see that, so a person says it, or nothing is read."""
    from pathlib import Path

    policy = edited(SOURCE, PURPOSE)
    schema = parse_schema(
        "privsynth-schema: 1\nsource: ehr/encounters\nsubject: {column: patient_id, at most: 12 rows}\n"
        "columns:\n  patient_id: {kind: identifier}\n  age: {kind: integer, min: 0, max: 120}\n"
    )
    records = Records(schema, pd.DataFrame({"age": [1]}), np.array(["p1"], dtype=object))
    register = Path(str(tmp_path)) / "consent.csv"
    register.write_text("subject,purpose,recipient,status,from,until\np1,medical-research,*,granted,2026-01-01,\n")
    for attest, allowed in (
        ({}, False),
        ({"GS": "x"}, False),
        ({"GS:DE": " "}, False),
        ({"GS:DE": "Kim, 3 May"}, False),
        ({"GS:DE": "Kim, 3 May", "NPU": "Kim, 3 May: a public body"}, True),
    ):
        if allowed:
            granted = filter_consent(records, policy, register=register, attest=attest, now=NOW, **USE)
            assert list(granted.records.subjects) == ["p1"]
        else:
            with pytest.raises(RequestDenied) as caught:
                filter_consent(records, policy, register=register, attest=attest, now=NOW, **USE)
            assert caught.value.rules == ("PS-CON-004",)


def test_all_pairs_are_decided() -> None:
    codes = [t.code + (":X:1" if t.code == "DS" else "") for t in TERMS if t.kind == "permission"]
    for source, purpose in product(codes, ["GRU", "HMB", "DS:X:1", "POA", "MDS", "COM"]):
        assert forbidden([source], [purpose]) in ((), (purpose,))
