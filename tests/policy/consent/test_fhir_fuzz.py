"""Whatever a document holds, it is judged or refused by a typed error; and what grants grants for a reason.

The long form, 100,000 documents and 1,000,000 records, is ``benchmarks/fuzz_consent.py``.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privsynth.errors import ConsentError
from privsynth.policy.consent.fhir import gather
from privsynth.policy.consent.fhir.files import parse_json
from privsynth.policy.consent.fhir.model import Record
from privsynth.policy.consent.fhir.record import read_record
from privsynth.policy.consent.fhir.rules import judge_subject
from privsynth.policy.consent.iso27560 import read_receipt
from privsynth.policy.consent.verdict import Answer, Reason
from tests.policy.consent.made import QUESTION
from tests.policy.consent.mutate import KEYS, SEEDS, mutated, mutated_bytes, record, tightened

pytest.importorskip("fhir.resources", reason="the extra fhir is not installed")

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=8), inner),
    max_leaves=20,
)


def test_mutated_documents_are_judged() -> None:
    random_, answers = random.Random(6), set()
    for _ in range(3000):
        seed = random_.choice(SEEDS)
        found = read_record(mutated(random_, seed, random_.randrange(1, 5)))
        answers.add(judge_subject([found], QUESTION).answer)
    assert answers == set(Answer)


def test_mutated_bytes_are_refused_or_judged(tmp_path: Path) -> None:
    random_, refused, read = random.Random(7), 0, 0
    for _ in range(1000):
        try:
            value, doubled = parse_json(mutated_bytes(random_, random_.choice(SEEDS)), tmp_path)
        except ConsentError:
            refused += 1
            continue
        faults = frozenset({Reason.MALFORMED} if doubled else ())
        read += 1
        judge_subject([read_record(value, faults=faults)], QUESTION)
    assert refused > 100 and read > 20


@given(st.dictionaries(st.sampled_from(KEYS), json_values))
@settings(max_examples=150, deadline=None)
def test_any_json_is_judged(raw: dict[str, object]) -> None:
    found = read_record({"resourceType": "Consent", **raw})
    assert not judge_subject([found], QUESTION).granted
    assert read_receipt(raw).receipt is None


@given(st.lists(json_values, min_size=1, max_size=3))
@settings(max_examples=100, deadline=None)
def test_any_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, values: list[object]) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "c.ndjson"
    try:
        text = "\n".join(json.dumps(value) for value in values)
        path.write_text(text)
    except UnicodeEncodeError:
        return
    try:
        gather(path)
    except ConsentError as wrong:
        assert wrong.mend and str(path) == wrong.where


def test_records_are_judged_and_no_order_counts() -> None:
    random_, granted = random.Random(8), 0
    for _ in range(5000):
        records = [record(random_) for _ in range(random_.randrange(1, 4))]
        told = judge_subject(records, QUESTION)
        assert judge_subject(records[::-1], QUESTION).answer is told.answer
        granted += told.granted
    assert granted > 10


def test_what_grants_keeps_the_laws() -> None:
    """Of records made at random: whatever grants has a known base, is in force, signed, about research and whole; a
    fault takes the grant away; and beside a plain refusal nothing grants."""
    random_ = random.Random(9)
    no = read_record({**SEEDS[7], "decision": "deny"})
    granting: list[Record] = []
    while len(granting) < 200:
        one = record(random_)
        if judge_subject([one], QUESTION).granted:
            granting.append(one)
    for one in granting:
        assert one.standing == "in-force" and one.scope == "research" and one.base is not None
        assert not one.faults and (one.signers or one.checked)
        assert not judge_subject([tightened(random_, one)], QUESTION).granted
        assert judge_subject([one, no], QUESTION).answer is Answer.DENY
