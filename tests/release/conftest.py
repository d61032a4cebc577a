"""A small release made by hand: schema, receipt, rows, claims, key and trust."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from privsynth.data.records import Synthetic
from privsynth.data.schema import Schema, parse_schema
from privsynth.documents import canonical, identity, sha256
from privsynth.privacy.events import Receipt
from privsynth.release.bundle import Release
from privsynth.release.claims import Claims, Finding
from privsynth.release.manifest import NAME as MANIFEST
from privsynth.release.predicate import PAYLOAD_TYPE, STATEMENT
from privsynth.signing import SigningKey, Trust, load_key, new_key, sign_envelope, write_trust
from tests.receipts import receipt

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
MODEL = "ab" * 32
POLICY: dict[str, Any] = {"id": "st-anna/research", "version": "1.0.0", "gate": {"max attempts": 5}}
SCHEMA = """
privsynth-schema: 1
source: ehr/encounters
subject: {each row is a: person-year, a person has at most: 5 rows}
columns:
  id: {kind: identifier}
  age: {kind: integer, min: 0, max: 120}
  sex: {kind: categorical, values: [F, M, X]}
  pregnant: {kind: boolean, nullable: true}
  charge: {kind: real, min: 0, max: 200000, decimals: 2, nullable: true}
  admitted: {kind: date, min: 2019-01-01, max: 2024-12-31}
  notes: {kind: text, dropped: true}
never: [{sex: M, pregnant: true}]
"""


@dataclass(frozen=True)
class World:
    """Everything that a release needs, and ways to spoil it."""

    schema: Schema
    receipt: Receipt
    claims: Claims
    synth: Synthetic
    key_path: Path
    key: SigningKey
    trust: Trust

    def release(self, **changes: Any) -> Release:
        """The release, with constructor arguments changed."""
        given: dict[str, Any] = {
            "model_id": MODEL,
            "receipt": self.receipt,
            "claims": self.claims,
            "policy": POLICY,
            "policy_sha256": identity(POLICY),
            "schema": self.schema,
            "synth": self.synth,
            "generator": "marginals",
        }
        return Release(**{**given, **changes})

    def with_receipt(self, **changes: Any) -> Release:
        """The release of another receipt."""
        receipt = replace(self.receipt, **changes)
        return self.release(receipt=receipt, synth=replace(self.synth, receipt=receipt))


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    schema = parse_schema(SCHEMA)
    paid = receipt(
        unit="person-year",
        contribution=1,
        person_rows=5,
        cap_epsilon=6.0,
        cap_delta=2e-8,
        filter="gdp",
        subjects=20_000,
        recipe="12" * 32,
        schema=schema.sha256,
        policy=identity(POLICY),
        reserved="2026-11-21T11:00:00+00:00",
    )
    n = 60
    frame = pd.DataFrame(
        {
            "id": [f"synthetic-{i:02d}" for i in range(1, n + 1)],
            "age": pd.array([i * 7 % 121 for i in range(n)], dtype="Int64"),
            "sex": pd.Categorical(["FMX"[i % 3] for i in range(n)], categories=["F", "M", "X"]),
            "pregnant": pd.array([None if i % 3 else i % 2 == 0 for i in range(n)], dtype="boolean"),
            "charge": [None if i % 10 == 0 else i * 1234.56 for i in range(n)],
            "admitted": pd.to_datetime([f"2020-01-{i % 28 + 1:02d}" for i in range(n)]),
        }
    )
    findings = (
        Finding(
            "PS-GATE-SCH", "schema constraints", True, "every row keeps the schema", None, "free", "/etc/p.yaml:31"
        ),
        Finding("PS-GATE-MEM", "membership", True, "upper bound at most 0.2", "0.11", "paid", "/etc/p.yaml:34"),
    )
    home = tmp_path_factory.mktemp("keys")
    public = new_key(home / "release.key", name="A. Kim")
    return World(
        schema=schema,
        receipt=paid,
        claims=Claims(findings),
        synth=Synthetic(
            frame,
            schema,
            paid,
            MODEL,
            {"sex": ["F", "M", "X"]},
            balance={"pregnant": "equal"},
            draw="even",
        ),
        key_path=home / "release.key",
        key=load_key(home / "release.key"),
        trust=Trust.of(public),
    )


@pytest.fixture(scope="session")
def original(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that nobody touches, with trust.json beside it."""
    home = tmp_path_factory.mktemp("original")
    world.release().sign(world.key_path, now=NOW).write(home / "release")
    write_trust(home / "trust.json", world.trust)
    return home / "release"


@pytest.fixture
def bundle(original: Path, tmp_path: Path) -> Path:
    """A copy to spoil, with trust.json beside it."""
    shutil.copytree(original, tmp_path / "release")
    shutil.copy(original.parent / "trust.json", tmp_path / "trust.json")
    return tmp_path / "release"


Change = Callable[[dict[str, Any], dict[str, Any]], None]


@pytest.fixture
def resign(bundle: Path, world: World) -> Callable[..., Path]:
    """Change manifest and statement of ``bundle`` (two dicts, in place), bring the digests into line where
    they were, and sign again: what a careless or malicious signer could write."""

    def again(change: Change, *, keys: tuple[SigningKey, ...] = (), payload_type: str = PAYLOAD_TYPE) -> Path:
        payload = base64.b64decode(json.loads((bundle / STATEMENT).read_bytes())["payload"])
        statement = json.loads(payload)
        manifest = json.loads((bundle / MANIFEST).read_bytes())
        change(manifest, statement)
        raw = canonical(manifest)
        (bundle / MANIFEST).write_bytes(raw)
        for subject in statement["subject"]:
            if subject["name"] == MANIFEST:
                subject["digest"]["sha256"] = sha256(raw)
        (bundle / STATEMENT).write_bytes(sign_envelope(payload_type, canonical(statement), *(keys or (world.key,))))
        return bundle

    return again
