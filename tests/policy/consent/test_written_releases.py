"""policies/faces.yaml with a register of written releases: whose face may be used, for what, and for what nobody's."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from privsynth.data.schema import parse_schema
from privsynth.data.tables import read_images
from privsynth.errors import RequestDenied
from privsynth.policy.consent import filter_consent
from privsynth.policy.document import Policy, load_policy

HERE = Path(__file__).parent
POLICY: Policy = load_policy(HERE.parents[2] / "policies" / "faces.yaml")
NOW = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)
SCHEMA = parse_schema(
    """\
privsynth-schema: 1
source: faces/portraits
subject: {column: person, at most: 2 rows}
columns:
  person: {kind: identifier}
  sex: {kind: categorical, values: [F, M]}
  race: {kind: categorical, values: [a, b]}
  age: {kind: categorical, values: [20-29, 30-39]}
  face: {kind: image, size: [4, 4]}
"""
)


def allowed(purpose: str, recipient: str) -> list[str]:
    """The people whose pictures are left, of seven with one each; f0007 never signed."""
    people = [f"f000{i}" for i in range(1, 8)]
    frame = pd.DataFrame({"person": people, "sex": "F", "race": "a", "age": "20-29"})
    faces = np.zeros((7, 4, 4), dtype=np.uint8) + np.arange(7, dtype=np.uint8)[:, None, None]
    records = read_images(frame, SCHEMA, arrays={"face": faces})
    register = HERE / "written_releases.csv"
    granted = filter_consent(records, POLICY, register=register, purpose=purpose, recipient=recipient, now=NOW)
    left: list[str] = granted.records.subjects.tolist()
    assert granted.records.pictures["face"].pixels[:, 0, 0].tolist() == [int(person[1:]) - 1 for person in left]
    return left


def test_only_who_signed_for_it_is_used() -> None:
    """Lapsed, withdrawn, signed for another purpose, a line that cannot be read, no line: left out."""
    assert allowed("fairness-research", "university-lab") == ["f0001", "f0002"]
    assert allowed("dataset-release", "public") == ["f0001", "f0005"]


@pytest.mark.parametrize("purpose", ["identification", "surveillance", "face-recognition"])
def test_nobody_can_ask_for_a_purpose_that_is_not_listed(purpose: str) -> None:
    with pytest.raises(RequestDenied, match="PS-PUR-001"):
        allowed(purpose, "university-lab")


def test_a_recipient_has_its_own_purposes() -> None:
    with pytest.raises(RequestDenied, match="PS-REC-002"):
        allowed("dataset-release", "university-lab")
