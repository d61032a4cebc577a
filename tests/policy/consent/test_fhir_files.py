"""FHIR evidence on disk: files, NDJSON, Bundles and folders; links between ids; the time of the export."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from privsynth.data.records import Records
from privsynth.data.schema import parse_schema
from privsynth.errors import ConsentError, RequestDenied
from privsynth.policy.consent import filter_consent, judge_consent
from privsynth.policy.consent.verdict import Reason, counts
from privsynth.policy.document import Policy
from tests.policy.consent.made import NOW, Raw, r4, r5, reference

pytest.importorskip("fhir.resources", reason="the extra fhir is not installed")

USE: dict[str, Any] = {"purpose": "medical-research", "recipient": "university-hospital"}
EXPORTED = NOW - timedelta(hours=2)
RULES = """\
  by: fhir
  records: [fhir-r4, fhir-r5]
  requires: {scope: research, status: active, purpose: HRESCH, action: [collect, use]}
  verified by: [patient, legal-representative]
  max age of export: 24h
  on withdrawal: stop-new-use
"""


@pytest.fixture
def policy(edited: Callable[..., Policy]) -> Policy:
    """healthcare.yaml with consent by FHIR records."""
    return edited(("  by: register\n", RULES))


def of(patient: str, raw: Raw) -> Raw:
    """The same record about another patient, given by that patient."""
    return json.loads(json.dumps(raw).replace("Patient/p1", f"Patient/{patient}"))  # type: ignore[no-any-return]


def table(*ids: str) -> Records:
    schema = parse_schema(
        "privsynth-schema: 1\nsource: ehr/encounters\nsubject: {column: patient_id, at most: 12 rows}\n"
        "columns:\n  patient_id: {kind: identifier}\n  age: {kind: integer, min: 0, max: 120}\n"
    )
    return Records(schema, pd.DataFrame({"age": range(len(ids))}), np.array(ids, dtype=object))


def ndjson(path: Path, *resources: Raw) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in resources))
    return path


def bundle(*resources: Raw, **more: Any) -> Raw:
    entries = [{"resource": one} for one in resources]
    return {"resourceType": "Bundle", "type": "searchset", "entry": entries, **more}


def kept(policy: Policy, evidence: Path, *ids: str, **more: Any) -> list[str]:
    given = {"exported": EXPORTED, "now": NOW, **USE, **more}
    return list(filter_consent(table(*ids), policy, fhir=evidence, **given).records.subjects)


PEOPLE = ("p1", "p2", "p1", " p3 ", "p4", "p5")
RECORDS = [r4(), of("p2", r5("deny")), of("p3", r5()), of("p4", r4(performer=[reference("Practitioner/x")]))]


def test_one_resource_a_line(policy: Policy, tmp_path: Path) -> None:
    path = ndjson(tmp_path / "consents.ndjson", *RECORDS, {"resourceType": "Patient", "id": "p5"})
    assert kept(policy, path, *PEOPLE) == ["p1", "p1", " p3 "]


def test_a_bundle_a_folder_and_a_single_resource(policy: Policy, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "a.json").write_text(json.dumps(bundle(*RECORDS[:2])))
    (folder / "b.json").write_text(json.dumps(RECORDS[2]))
    ndjson(folder / "c.ndjson", RECORDS[3])
    assert kept(policy, folder, *PEOPLE) == ["p1", "p1", " p3 "]
    assert kept(policy, folder / "a.json", *PEOPLE) == ["p1", "p1"]


def test_what_a_record_holds_denies_its_subject_only(policy: Policy, tmp_path: Path) -> None:
    odd = [
        of("p2", r4(unheardOf=1)),
        of("p4", {"resourceType": "Consent", "patient": reference("Patient/p1"), "policyRule": "http://x.example"}),
        {"resourceType": "Consent"},
        {"resourceType": "Consent", "status": 5, "patient": "p1", "provision": 7},
    ]
    assert kept(policy, ndjson(tmp_path / "c.ndjson", *RECORDS[:1], *odd), *PEOPLE) == ["p1", "p1"]


def test_one_subject_moves_nobody_else(policy: Policy, tmp_path: Path) -> None:
    """With and without p2 and all that is about her, ids shared with others included."""
    shared = {"id": "c1", "meta": {"lastUpdated": "2026-02-01T00:00:00Z"}}
    others = [{**r4(), **shared}, of("p3", r5())]
    whole = ndjson(tmp_path / "a.ndjson", *others, of("p2", {**r4("OPTOUT"), **shared}))
    without = ndjson(tmp_path / "b.ndjson", *others)
    assert kept(policy, whole, "p1", "p2", "p3") == kept(policy, without, "p1", "p3") == ["p1", "p3"]


def test_a_doubled_key_says_two_things(policy: Policy, tmp_path: Path) -> None:
    path = tmp_path / "c.ndjson"
    path.write_text(json.dumps(r4()).replace('"status": "active"', '"status": "inactive", "status": "active"'))
    assert kept(policy, path, "p1") == []


def test_a_doubled_key_in_a_bundle_denies_its_subject_only(policy: Policy, tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    odd = json.dumps(of("p2", r4()))
    text = json.dumps(bundle(r4(), of("p2", r4())))
    path.write_text(text.replace(odd, odd.replace('"status": "active"', '"status": "inactive", "status": "active"')))
    assert kept(policy, path, "p1", "p2") == ["p1"]
    path.write_text(text.replace('"type": "searchset"', '"type": "history", "type": "searchset"'))
    with pytest.raises(ConsentError, match="stands twice"):
        kept(policy, path, "p1")


def test_deep_nesting_denies_its_subject_only(policy: Policy, tmp_path: Path) -> None:
    deep: Raw = {"x": 1}
    for _ in range(70):
        deep = {"extension": [deep]}
    path = ndjson(tmp_path / "c.ndjson", r4(), of("p2", r4()), of("p2", r4(contained=[deep])), r4(id="again"))
    assert kept(policy, path, "p1", "p2") == ["p1"]


# --- one subject under two ids -------------------------------------------------------------------


def patient(id_: str, *others: str, kind: str = "refer") -> Raw:
    links = [{"other": reference(f"Patient/{other}"), "type": kind} for other in others]
    return {"resourceType": "Patient", "id": id_, "link": links}


@pytest.mark.parametrize("kind", ["replaced-by", "replaces", "refer", "seealso"])
def test_a_refusal_reaches_every_id_and_a_grant_only_its_own(policy: Policy, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "c.ndjson"
    grants = [r4(), of("p2", r4()), of("p3", r4())]
    assert kept(policy, ndjson(path, *grants, of("p4", r5("deny"))), "p1", "p2", "p3", "p4") == ["p1", "p2", "p3"]
    ndjson(path, *grants, of("p4", r5("deny")), patient("p4", "p2", kind=kind), patient("p1", "p2", kind=kind))
    assert kept(policy, path, "p1", "p2", "p3", "p4") == ["p3"]
    ndjson(path, r4(), patient("p1", "p2", kind=kind))
    assert kept(policy, path, "p1", "p2") == ["p1"]


def test_a_withdrawal_under_the_other_id(policy: Policy, tmp_path: Path) -> None:
    withdrawn = of("p2", r4(status="inactive", dateTime="2026-05-01"))
    assert kept(policy, ndjson(tmp_path / "c.ndjson", r4(), withdrawn, patient("p2", "p1")), "p1") == []
    assert kept(policy, ndjson(tmp_path / "c.ndjson", r4(), withdrawn), "p1") == ["p1"]


# --- the time of the export ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "allowed"),
    [
        (timedelta(0), True),
        (timedelta(hours=24), True),
        (timedelta(hours=24, seconds=1), False),
        (timedelta(seconds=-300), True),
        (timedelta(seconds=-301), False),
    ],
)
def test_an_old_export_is_refused(policy: Policy, tmp_path: Path, age: timedelta, allowed: bool) -> None:
    path = ndjson(tmp_path / "c.ndjson", r4())
    if allowed:
        assert kept(policy, path, "p1", exported=NOW - age) == ["p1"]
        return
    with pytest.raises(RequestDenied) as caught:
        kept(policy, path, "p1", exported=NOW - age)
    assert caught.value.rules == ("PS-CON-002",)
    assert caught.value.where == policy.where("consent", "max age of export")


def test_an_export_without_its_time_is_refused(policy: Policy, tmp_path: Path) -> None:
    for name, text in (("c.ndjson", json.dumps(r4())), ("c.json", json.dumps(r4())), ("b.json", json.dumps(bundle()))):
        (tmp_path / name).write_text(text)
        with pytest.raises(RequestDenied, match="without the time of its export"):
            kept(policy, tmp_path / name, "p1", exported=None)


def test_what_the_export_states_itself(policy: Policy, tmp_path: Path) -> None:
    """A Bundle's timestamp or a bulk export's manifest; the oldest of all that is stated counts."""
    recent, old = "2026-06-15T11:00:00Z", "2026-06-01T00:00:00Z"
    path = tmp_path / "b.json"
    path.write_text(json.dumps(bundle(r4(), timestamp=recent)))
    assert kept(policy, path, "p1", exported=None) == ["p1"]
    with pytest.raises(RequestDenied, match="PS-CON-002"):
        kept(policy, path, "p1", exported=datetime(2026, 6, 1, tzinfo=UTC))
    path.write_text(json.dumps(bundle(r4(), timestamp=old)))
    with pytest.raises(RequestDenied, match="PS-CON-002"):
        kept(policy, path, "p1")
    folder = tmp_path / "bulk"
    folder.mkdir()
    ndjson(folder / "Consent.ndjson", r4())
    (folder / "manifest.json").write_text(json.dumps({"transactionTime": recent, "output": []}))
    assert kept(policy, folder, "p1", exported=None) == ["p1"]
    (folder / "manifest.json").write_text(json.dumps({"output": []}))
    with pytest.raises(RequestDenied, match="PS-CON-002"):
        kept(policy, folder, "p1", exported=None)


# --- structural faults ---------------------------------------------------------------------------

GOOD = json.dumps(r4())
PAGE = bundle(r4(), link=[{"relation": "next", "url": "https://x.example/2"}])


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("c.ndjson", "", "no resource"),
        ("c.ndjson", "\n \n", "no resource"),
        ("c.ndjson", GOOD + "\n" + GOOD[:50], "not JSON"),
        ("c.ndjson", GOOD + "\n[]", "not one JSON object"),
        ("c.ndjson", "null", "not one JSON object"),
        ("c.json", "[" * 100_000, "not JSON"),
        ("c.json", '{"resourceType": "Bundle", "a":' + '{"a":' * 70 + "1" + "}" * 71, "more than 64 levels"),
        ("c.json", '{"a": NaN}', "not JSON"),
        ("c.json", '{"a": ' + "9" * 5000 + "}", "not JSON"),
        ("c.ndjson", '{"a": "' + "x" * 2**20 + '"}', "above 1048576 bytes"),
        ("c.json", json.dumps(bundle(r4(), type="history")), "no searchset or collection"),
        ("c.json", json.dumps({**bundle(), "entry": {}}), "no list"),
        ("c.json", json.dumps({**bundle(), "entry": [{"request": {"method": "DELETE"}}]}), "holds no resource"),
        ("c.json", json.dumps(bundle(bundle())), "a Bundle in a Bundle"),
        ("c.json", json.dumps(PAGE), "1 further pages"),
        ("missing/c.json", None, "no such consent record file"),
        ("folder", None, "an empty folder"),
    ],
)
def test_what_cannot_be_taken_apart(policy: Policy, tmp_path: Path, name: str, text: str | None, what: str) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    elif name == "folder":
        path.mkdir()
    with pytest.raises(ConsentError, match=what) as caught:
        kept(policy, path, "p1")
    assert caught.value.exit_code == 2
    assert caught.value.where == str(path)
    assert caught.value.mend
    assert "p1" not in str(caught.value).replace(str(tmp_path), "")


def test_pages_that_are_all_there(policy: Policy, tmp_path: Path) -> None:
    (tmp_path / "1.json").write_text(json.dumps(PAGE))
    second = bundle(of("p2", r4()), link=[{"relation": "self", "url": "https://x.example/2"}])
    (tmp_path / "2.json").write_text(json.dumps(second))
    assert kept(policy, tmp_path, "p1", "p2") == ["p1", "p2"]


def test_a_strange_file_in_a_folder(policy: Policy, tmp_path: Path) -> None:
    ndjson(tmp_path / "c.ndjson", r4())
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ConsentError, match="not a file of FHIR records"):
        kept(policy, tmp_path, "p1")


# --- the policy and the evidence -----------------------------------------------------------------


def test_evidence_of_another_kind(policy: Policy, healthcare: Policy, tmp_path: Path) -> None:
    path = ndjson(tmp_path / "c.ndjson", r4())
    with pytest.raises(ConsentError, match="FHIR records were given") as caught:
        kept(healthcare, path, "p1")
    assert caught.value.where == healthcare.where("consent", "by")
    with pytest.raises(ConsentError, match="a consent register was given"):
        filter_consent(table("p1"), policy, register=path, now=NOW, **USE)
    with pytest.raises(RequestDenied) as denied:
        filter_consent(table("p1"), policy, now=NOW, **USE)
    assert denied.value.rules == ("PS-CON-001",)


def test_counts_by_reason(policy: Policy, tmp_path: Path) -> None:
    path = ndjson(tmp_path / "c.ndjson", *RECORDS)
    reading = judge_consent(table(*PEOPLE), policy, files={"fhir": path}, exported=EXPORTED, now=NOW, **USE)
    told = counts(reading.judged.values())
    assert told["answers"] == {"deny": 1, "grant": 2, "unknown": 2}
    assert told["reasons"] == {
        Reason.GRANTED: 2,
        Reason.NO_RECORD: 1,
        Reason.REFUSED: 1,
        Reason.SIGNER: 1,
    }


def test_recipients_by_reference(edited: Callable[..., Policy], tmp_path: Path) -> None:
    """Records that name a recipient need the policy to say which reference is its."""
    raw = r4(provision={"type": "permit", "actor": [{"role": {"coding": [{"system": ROLE, "code": "PRCP"}]},
                                                      "reference": reference("Organization/uh")}]})  # fmt: skip
    path = ndjson(tmp_path / "c.ndjson", raw)
    rules = ("  by: register\n", RULES)
    assert kept(edited(rules), path, "p1") == []
    named = edited(rules, ("hospital: {purposes: [", "hospital: {fhir: [Organization/uh], purposes: ["))
    assert kept(named, path, "p1") == ["p1"]


ROLE = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"


def test_every_reason_is_explained() -> None:
    page = (Path(__file__).parents[3] / "docs" / "consent.md").read_text("utf-8")
    assert [reason for reason in Reason if f"`{reason}`" not in page] == []
