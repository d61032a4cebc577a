"""The JSON Schema for editors: it takes every shipped policy, and refuses what no policy may hold."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest

from privsynth.documents import load_yaml, parse_yaml
from privsynth.errors import PolicyError
from privsynth.policy.editors import json_schema

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
FOLDER = Path(__file__).parents[2] / "policies"
FILES = sorted(path.name for path in FOLDER.glob("*.yaml") if not path.name.endswith(".test.yaml"))
SCHEMA = json_schema()


def data(name: str) -> Any:
    return copy.deepcopy(load_yaml(FOLDER / name, error=PolicyError, kind="policy").data)


def valid(value: Any) -> bool:
    return bool(jsonschema.Draft202012Validator(SCHEMA).is_valid(value))


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", FILES)
def test_every_shipped_file_is_valid(name: str) -> None:
    errors = jsonschema.Draft202012Validator(SCHEMA).iter_errors(data(name))
    assert [f"{list(e.absolute_path)}: {e.message}" for e in errors] == []


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("gate", "max attempt"), 5), (("gate", "max attempts"), 0), (("gate", "max attempts"), "5"),
        (("gate", "budget", "share"), 1), (("privacy", "noise"), "seeded"), (("consent", "by"), "telepathy"),
        (("consent", "default"), "allow"), (("privacy", "budget"), []), (("sources",), {}), (("valid", "from"), 2026),
        (("privacy", "per release", "max epsilon"), 51), (("owner",), ""), (("version",), 1),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["healthcare.yaml", "research-sandbox.yaml"])
def test_what_no_policy_may_hold_is_refused(name: str, place: tuple[str, ...], value: object) -> None:
    policy = data(name)
    inner = policy
    for part in place[:-1]:
        inner = inner[part]
    inner[place[-1]] = value
    assert not valid(policy)


def test_consent_as_its_page_writes_it_is_valid() -> None:
    policy = data("healthcare.yaml")
    page = (FOLDER.parent / "docs" / "consent.md").read_text("utf-8")
    example = next(text for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "by: fhir" in text)
    read = parse_yaml(example.encode(), path="docs/consent.md", error=PolicyError).data
    policy["consent"] = read["consent"]
    assert valid(policy), list(jsonschema.Draft202012Validator(SCHEMA).iter_errors(policy))


def test_only_a_child_or_a_base_may_leave_keys_out() -> None:
    child, whole = data("healthcare.yaml"), data("research-sandbox.yaml")
    del child["privacy"], whole["privacy"]
    assert valid(child) and not valid(whole)
    del child["extends"]
    assert not valid(child)
    whole["base"] = True
    assert valid(whole)
    whole["base"] = False
    assert not valid(whole)
