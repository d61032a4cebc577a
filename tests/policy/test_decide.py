"""Decisions: every rule always, one edit one refusal, and loosening never denies more."""

from __future__ import annotations

import copy
import datetime as dt
import json
import math
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privsynth.errors import RequestDenied, UsageError
from privsynth.policy.compare import compare
from privsynth.policy.decide import Decision, Request, Use, decide, decide_evidence, decide_use
from privsynth.policy.document import Policy, load_policy, parse_policy

Edit = Callable[..., Policy]
RULES = (
    "PS-VAL-001", "PS-SRC-001", "PS-PUR-001", "PS-REC-001", "PS-REC-002", "PS-REC-003", "PS-CON-001", "PS-CON-003",
    "PS-IMG-001", "PS-SRC-002", "PS-SRC-003", "PS-ROL-001", "PS-BUD-001", "PS-BUD-002", "PS-BUD-003", "PS-SIZ-001",
    "PS-GATE-001", "PS-NOI-001", "PS-PUB-001", "PS-PUR-002", "PS-PUR-003", "PS-ROL-003",
)  # fmt: skip
GOOD = Request(
    source="ehr/encounters",
    purpose="medical-research",
    recipient="university-hospital",
    consent="register",
    today=dt.date(2026, 12, 1),
    epsilon=1.0,
    delta=1e-9,
    unit="patient",
    contribution=12,
    actor="a.kim@st-anna.example",
    columns=("age", "sex", "readmitted"),
    kind="marginals",
)
RESOLVED = load_policy(Path(__file__).parents[2] / "policies" / "healthcare.yaml").to_json()
del RESOLVED["extends"]  # what it inherits is in it


def built(value: dict[str, Any]) -> Policy:
    """A policy from JSON values: JSON is YAML."""
    return parse_policy(json.dumps(value, indent=0).encode(), path="policy.yaml")


def test_allowed(healthcare: Policy) -> None:
    decision = decide(healthcare, GOOD)
    assert decision.allowed
    assert decision.refusing == ()
    decision.refuse()


def test_every_rule_is_consulted_and_says_where(healthcare: Policy) -> None:
    for request in (GOOD, replace(GOOD, source="nowhere", recipient="nobody", epsilon=math.nan)):
        verdicts = decide(healthcare, request).verdicts
        assert tuple(v.id for v in verdicts) == RULES
        for verdict in verdicts:
            path, _, line = verdict.where.rpartition(":")
            assert path.endswith(("healthcare.yaml", "base.yaml"))
            assert int(line) > 0
            assert verdict.what
            assert verdict.limit
            assert verdict.mend


@pytest.mark.parametrize(
    ("change", "rules", "line", "limit"),
    [
        ({"today": dt.date(2025, 12, 31)}, ["PS-VAL-001"], "valid:", "2026-01-01 to 2031-12-31"),
        ({"today": dt.date(2032, 1, 1)}, ["PS-VAL-001"], "valid:", "2026-01-01 to 2031-12-31"),
        ({"unit": "visit"}, ["PS-SRC-002"], "unit: patient", "'patient'"),
        ({"contribution": 13}, ["PS-SRC-003"], "max rows per subject", "1 to 12"),
        ({"contribution": 0}, ["PS-SRC-003"], "max rows per subject", "1 to 12"),
        (
            {"purpose": "marketing"},
            ["PS-PUR-001", "PS-REC-002", "PS-PUR-002", "PS-PUR-003"],
            "purposes:",
            "medical-research",
        ),
        ({"recipient": "insurer"}, ["PS-REC-001", "PS-REC-002"], "recipients:", "university-hospital"),
        ({"actor": "j.brandt@st-anna.example"}, ["PS-ROL-001"], "j.brandt", "role analysts"),
        ({"actor": "A.KIM@st-anna.example"}, ["PS-ROL-001"], "people:", "role analysts"),
        ({"consent": "none"}, ["PS-CON-001"], "by: register", "register"),
        ({"consent": "columns"}, ["PS-CON-001"], "by: register", "register"),
        ({"epsilon": 1.0000000000000002}, ["PS-BUD-001"], "max epsilon", "at most 1.0"),
        ({"epsilon": 0.0}, ["PS-BUD-001"], "max epsilon", "above 0"),
        ({"epsilon": -1.0}, ["PS-BUD-001"], "max epsilon", "above 0"),
        ({"epsilon": math.nan}, ["PS-BUD-001"], "max epsilon", "above 0"),
        ({"epsilon": math.inf}, ["PS-BUD-001"], "max epsilon", "at most 1.0"),
        ({"delta": 2e-9}, ["PS-BUD-002"], "max delta", "at most 1e-09"),
        ({"delta": 3e-8}, ["PS-BUD-002", "PS-BUD-003"], "max delta", "at most 1e-09"),
        ({"delta": 0.0}, ["PS-BUD-002", "PS-BUD-003"], "max delta", "above 0"),
        ({"delta": math.nan}, ["PS-BUD-002", "PS-BUD-003"], "max delta", "above 0"),
        ({"columns": ("age", "sex")}, ["PS-GATE-001"], "utility:", "'readmitted' and 'sex'"),
        ({"columns": ()}, ["PS-GATE-001"], "utility:", "'readmitted' and 'sex'"),
        ({"noise": "seeded"}, ["PS-NOI-001"], "noise:", "secure source"),
        ({"biometric": True}, ["PS-IMG-001"], "# Policy for", "forbidden"),
        (
            {"source": "ehr/encounters_2"},
            ["PS-SRC-001", "PS-SRC-002", "PS-SRC-003", "PS-BUD-003", "PS-SIZ-001", "PS-PUR-003"],
            "sources:",
            "registered",
        ),
    ],
)
def test_one_edit_one_refusal(
    healthcare: Policy, change: dict[str, Any], rules: list[str], line: str, limit: str
) -> None:
    decision = decide(healthcare, replace(GOOD, **change))
    assert [v.id for v in decision.refusing] == rules
    first = decision.refusing[0]
    path, _, number = first.where.rpartition(":")
    assert line in Path(path).read_text().splitlines()[int(number) - 1]
    assert limit in first.limit
    with pytest.raises(RequestDenied) as caught:
        decision.refuse()
    assert caught.value.exit_code == 1
    assert list(caught.value.rules) == rules
    for verdict in decision.refusing:
        for part in (verdict.id, verdict.where, verdict.limit, verdict.mend):
            assert part in str(caught.value)


def test_delta_below_is_strict_and_exact(edited: Edit) -> None:
    """At 41,250 subjects the limit is 1/41,250,000; the float just below it passes, the float above does not."""
    policy = edited(("max delta: 1e-9", "max delta: 1e-3"))
    limit = 1 / 41_250_000
    assert decide(policy, replace(GOOD, delta=math.nextafter(limit, 0))).allowed
    refused = decide(policy, replace(GOOD, delta=math.nextafter(limit, 1)))
    assert [v.id for v in refused.refusing] == ["PS-BUD-003"]


def test_delta_at_the_limit_is_refused(edited: Edit) -> None:
    """1/32,768 is a float, so equality can be tested."""
    policy = edited(
        ("subjects: 41250", "subjects: 32768"),
        ("max delta: 1e-9", "max delta: 1e-3"),
        ('"1/(1000*subjects)"', '"1/subjects"'),
    )
    assert [v.id for v in decide(policy, replace(GOOD, delta=2.0**-15)).refusing] == ["PS-BUD-003"]
    assert decide(policy, replace(GOOD, delta=math.nextafter(2.0**-15, 0))).allowed


def test_too_small_a_source(edited: Edit) -> None:
    small = "sources:\n  ehr/pilot: {population: pilot, subjects: 6249, holdout: 0.2, unit: patient, "
    small += "neighbours: add-or-remove, contribution: {max rows per subject: 12}}\n"
    request = replace(GOOD, source="ehr/pilot")
    assert [v.id for v in decide(edited(("sources:\n", small)), request).refusing] == ["PS-SIZ-001"]
    assert decide(edited(("sources:\n", small.replace("6249", "6250"))), request).allowed


def test_a_recipient_of_another_purpose(policies: Path) -> None:
    policy = load_policy(policies / "finance.yaml")
    request = replace(
        GOOD,
        source="cards/transactions",
        purpose="fraud-detection",
        recipient="scoring-vendor",
        consent="columns",
        unit="cardholder",
        actor="l.ferrari@northbank.example",
        columns=("amount", "fraud"),
    )
    assert [v.id for v in decide(policy, request).refusing] == ["PS-REC-002"]
    assert decide(policy, replace(request, recipient="fraud-team")).allowed


def test_nobody_is_asked_means_no_evidence(policies: Path) -> None:
    policy = load_policy(policies / "research-sandbox.yaml")
    request = replace(
        GOOD,
        source="public/census-sample",
        purpose="teaching",
        recipient="students",
        consent="none",
        unit="person",
        contribution=1,
        actor="r.researcher@institute.example",
        columns=(),
    )
    assert decide(policy, request).allowed
    assert [v.id for v in decide(policy, replace(request, consent="register")).refusing] == ["PS-CON-001"]


def test_a_recipient_elsewhere(edited: Edit) -> None:
    here = ("{purposes: [medical-research]}", "{purposes: [medical-research], region: EU}")
    assert decide(edited(("consent:\n", "regions: [EU, CH]\nconsent:\n"), here), GOOD).allowed
    for regions, *change in (("[CH]", here), ("[EU-1, CH]", here), ("[EU]",)):
        policy = edited(("consent:\n", f"regions: {regions}\nconsent:\n"), *change)
        [verdict] = decide(policy, GOOD).refusing
        assert (verdict.id, verdict.where) == ("PS-REC-003", policy.where("regions"))
    assert decide(edited(here), GOOD).allowed, "without `regions` no region is asked"


def test_a_region_is_not_made_by_a_child(edited: Edit) -> None:
    """One region more is shown by a request; a region that was not stated, or another one, is looser or unlike."""
    two = ("university-hospital: {purposes: [medical-research]}",
           "university-hospital: {purposes: [medical-research], region: EU}\n"
           "  clinic: {purposes: [medical-research], region: US-CA}")  # fmt: skip
    before = edited(two, ("consent:\n", "regions: [EU]\nconsent:\n"))
    after = edited(two, ("consent:\n", "regions: [EU, US-CA]\nconsent:\n"))
    [change] = compare(before, after)
    assert change.order == "looser" and change.witness is not None and change.witness.allowed
    assert [v.id for v in change.witness.denied] == ["PS-REC-003"]
    moved = (two[0], two[1].replace("US-CA", "EU"))
    [change] = compare(before, edited(moved, ("consent:\n", "regions: [EU]\nconsent:\n")))
    assert change.order == "incomparable" and change.witness is not None
    unsaid = (two[0], two[1].replace(", region: US-CA", ""))
    [change] = compare(edited(unsaid, ("consent:\n", "regions: [EU]\nconsent:\n")), before)
    assert change.order == "looser"


def test_a_single_refusal_reads_as_one_line(healthcare: Policy) -> None:
    with pytest.raises(RequestDenied) as caught:
        decide(healthcare, replace(GOOD, epsilon=4.0)).refuse()
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(healthcare.where("privacy", "per release", "max epsilon"))
    assert "PS-BUD-001: epsilon 4.0" in text
    assert text.endswith("Mend: ask for epsilon 1.0 or less")


def test_no_verdicts_allow_nothing() -> None:
    assert not Decision(()).allowed
    with pytest.raises(RequestDenied):
        Decision(()).refuse()


def test_use_is_a_part_of_the_decision(healthcare: Policy) -> None:
    use = Use(source="x", purpose="y", recipient="z", consent="none", today=dt.date(2026, 6, 1))
    ids = [v.id for v in decide_use(healthcare, use).verdicts]
    assert tuple(ids) == RULES[:9]
    assert [v.id for v in decide_use(healthcare, use).refusing] == [*ids[1:5], "PS-CON-001"]


ANYTHING = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=3) | st.dates()
    | st.datetimes() | st.decimals() | st.just(10**5000) | st.lists(st.text(max_size=3) | st.none(), max_size=2)
    | st.dictionaries(st.text(max_size=2), st.integers(), max_size=2) | st.just(object())
)  # fmt: skip


@settings(max_examples=500)
@given(field=st.sampled_from([f.name for f in fields(Request)]), value=ANYTHING)
def test_whatever_a_request_holds_is_a_decision_or_a_usage_error(field: str, value: Any) -> None:
    """Nothing in a request ends in another exception, and no part of a row or of a person is a contribution."""
    try:
        request = replace(GOOD, **{field: value})
    except UsageError as error:
        assert field in error.where and error.mend
        return
    policy = load_policy(Path(__file__).parents[2] / "policies" / "healthcare.yaml")
    decision = decide(policy, request)
    assert len(decision.verdicts) == len(RULES)
    assert decide_evidence(policy, request).verdicts
    if field == "contribution" and decision.allowed:
        assert type(request.contribution) is int and 1 <= request.contribution <= 12
    if field in ("epsilon", "delta") and decision.allowed:
        assert getattr(request, field) > 0


@pytest.mark.parametrize(
    "change",
    [
        {"contribution": 1.5},
        {"contribution": "1"},
        {"contribution": True},
        {"contribution": None},
        {"epsilon": "1.0"},
        {"delta": None},
        {"today": "2026-12-01"},
        {"today": dt.datetime(2026, 12, 1)},
        {"columns": "readmitted, sex"},
        {"public_help": "no"},
        {"biometric": 1},
        {"export_age": "1h"},
        {"source": None},
    ],
)
def test_a_value_of_another_kind_is_no_request(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(change))):
        replace(GOOD, **change)


def test_only_requests_are_decided(healthcare: Policy) -> None:
    with pytest.raises(UsageError, match="no request"):
        decide(healthcare, {"epsilon": 1.0})  # type: ignore[arg-type]


# --- laws ----------------------------------------------------------------------------------------

requests = st.builds(
    Request,
    source=st.sampled_from(["ehr/encounters", "ehr/small", "ehr/none"]),
    purpose=st.sampled_from(["medical-research", "teaching", "sale"]),
    recipient=st.sampled_from(["university-hospital", "school", "broker"]),
    consent=st.sampled_from(["register", "columns", "none"]),
    today=st.dates(dt.date(2025, 12, 30), dt.date(2026, 1, 2)) | st.dates(dt.date(2031, 12, 30), dt.date(2032, 1, 2)),
    epsilon=st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 4.0]) | st.floats(),
    delta=st.sampled_from([1e-12, 1e-9, 2.4e-8, 1e-7, 1e-5]) | st.floats(),
    unit=st.sampled_from(["patient", "stay"]),
    contribution=st.integers(-1, 15),
    actor=st.sampled_from(["a.kim@st-anna.example", "j.brandt@st-anna.example", "new@st-anna.example", ""]),
    columns=st.sets(st.sampled_from(["readmitted", "sex", "age"])).map(lambda s: tuple(sorted(s))),
    kind=st.just("marginals"),
    noise=st.sampled_from(["os-secure", "seeded"]),
)


def _set(*path: str, to: object) -> Callable[[dict[str, Any]], None]:
    def apply(value: dict[str, Any]) -> None:
        for key in path[:-1]:
            value = value[key]
        value[path[-1]] = to

    return apply


def _small_source(value: dict[str, Any]) -> None:
    value["sources"]["ehr/small"] = {**value["sources"]["ehr/encounters"], "population": "small", "subjects": 2000}


def _teaching(value: dict[str, Any]) -> None:
    value["purposes"]["teaching"] = {"legal basis": ["Art6(1)(f)"]}
    value["recipients"]["university-hospital"]["purposes"].append("teaching")


def _no_groups(value: dict[str, Any]) -> None:
    del value["gate"]["utility"]["gap"]
    value["gate"]["utility"]["by"] = []


LOOSER: dict[str, Callable[[dict[str, Any]], None]] = {
    "from": _set("valid", "from", to="2025-12-31"),
    "until": _set("valid", "until", to="2032-01-01"),
    "source": _small_source,
    "k": _set("sources", "ehr/encounters", "contribution", "max rows per subject", to=14),
    "min rows": _set("data", "min rows", to=1),
    "purpose": _teaching,
    "recipient": _set("recipients", "school", to={"purposes": ["medical-research"]}),
    "max epsilon": _set("privacy", "per release", "max epsilon", to=2.0),
    "max delta": _set("privacy", "per release", "max delta", to=1e-6),
    "delta below": _set("privacy", "per release", "delta below", to="1/subjects"),
    "person": _set("people", "new@st-anna.example", to={"roles": ["analysts"]}),
    "groups": _no_groups,
    "utility": _set("gate", "utility", to=None),
}


def _loosened(names: list[str]) -> Policy:
    value = copy.deepcopy(RESOLVED)
    value["privacy"]["budget"] = [{"over": "population", "epsilon": 6.0, "delta": 1e-9}]
    for name in names:
        LOOSER[name](value)
    return built({**value, "gate": {key: rule for key, rule in value["gate"].items() if rule is not None}})


POLICIES = {name: _loosened([name]) for name in LOOSER}
BASE, LOOSEST = _loosened([]), _loosened(list(LOOSER))


def test_each_loosening_matters() -> None:
    """The law below is not vacuous: each looser policy is another policy."""
    assert len({BASE.sha256, LOOSEST.sha256, *(p.sha256 for p in POLICIES.values())}) == len(LOOSER) + 2


@settings(max_examples=150, deadline=None)
@given(request=requests)
def test_loosening_never_denies_more(request: Request) -> None:
    before = {v.id for v in decide(BASE, request).refusing}
    for looser in (*POLICIES.values(), LOOSEST):
        assert {v.id for v in decide(looser, request).refusing} <= before


@settings(max_examples=300, deadline=None)
@given(request=requests)
def test_decisions_agree_with_the_words_of_the_policy(request: Request) -> None:
    """An oracle written from healthcare.yaml by hand."""
    allowed = (
        request.source == "ehr/encounters"
        and request.purpose == "medical-research"
        and request.recipient == "university-hospital"
        and request.consent == "register"
        and dt.date(2026, 1, 1) <= request.today <= dt.date(2031, 12, 31)
        and 0 < request.epsilon <= 1.0
        and 0 < request.delta <= 1e-9
        and request.unit == "patient"
        and request.contribution in range(1, 13)
        and request.actor == "a.kim@st-anna.example"
        and {"readmitted", "sex"} <= set(request.columns)
        and request.noise == "os-secure"
    )
    decision = decide(BASE, request)
    assert decision.allowed == allowed
    assert tuple(v.id for v in decision.verdicts) == RULES


def test_a_public_table_needs_the_owner_s_word(healthcare: Policy) -> None:
    asked = replace(GOOD, public_help=True)
    [refusing] = decide(healthcare, asked).refusing
    assert refusing.id == "PS-PUB-001" and ".yaml:" in refusing.where
    for word, allowed in (("allowed", True), ("refused", False)):
        policy = built({**RESOLVED, "data": {**RESOLVED["data"], "public help": word}})
        assert decide(policy, asked).allowed is allowed
        assert decide(policy, GOOD).allowed


def test_columns_that_pictures_must_show_are_asked_for_too(policies: Path) -> None:
    faces = load_policy(policies / "faces.yaml")
    [verdict] = [v for v in decide(faces, replace(GOOD, columns=("age", "race"))).verdicts if v.id == "PS-GATE-001"]
    assert not verdict.allowed
    assert verdict.what == "the schema does not learn 'sex'"
    assert verdict.where == faces.where("gate", "pictures", "attribute")
