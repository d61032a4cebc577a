"""docs/policy.md keeps up with the code: its example loads, its tables name every rule and every key."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from privsynth.policy.document import PolicyFile, load_policy, parse_policy

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "policy.md").read_text()


def keys(schema: Any) -> Iterator[str]:
    """Every key that some part of the file may hold."""
    for part in (schema, *schema["$defs"].values()):
        yield from part.get("properties", {})


def test_the_example_is_the_healthcare_policy() -> None:
    [example] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    policy = parse_policy(example.encode(), path="docs/policy.md")
    assert policy.sha256 == load_policy(ROOT / "policies" / "healthcare.yaml").sha256


def test_every_key_is_explained() -> None:
    prose = re.sub(r"```yaml\n.*?```", "", PAGE, flags=re.DOTALL)
    missing = [key for key in keys(PolicyFile.model_json_schema()) if not re.search(rf"`[^`]*\b{key}\b[^`]*`", prose)]
    assert missing == []


def test_every_rule_is_explained() -> None:
    source = "".join((ROOT / "privsynth" / "policy" / name).read_text() for name in ("decide.py", "document.py"))
    assert set(re.findall(r"PS-[A-Z]+-[0-9]{3}", source)) == set(re.findall(r"^\| (PS-[A-Z]+-[0-9]{3})", PAGE, re.M))


def test_it_is_short_enough_to_be_read() -> None:
    assert len(PAGE.splitlines()) < 200
