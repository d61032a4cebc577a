"""docs/policy.md keeps up with the code: its example loads, its tables name every rule and every key."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from privsynth.documents import sha256
from privsynth.policy.document import PolicyFile, load_policy, parse_policy

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "policy.md").read_text()


def keys(schema: Any) -> Iterator[str]:
    """Every key that some part of the file may hold."""
    for part in (schema, *schema["$defs"].values()):
        yield from part.get("properties", {})


def test_the_example_is_the_healthcare_policy() -> None:
    [example] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    pin = sha256((ROOT / "policies" / "base.yaml").read_bytes())
    policy = parse_policy(example.replace("BASE", pin).encode(), path=str(ROOT / "policies" / "example.yaml"))
    assert policy.sha256 == load_policy(ROOT / "policies" / "healthcare.yaml").sha256


def test_every_key_is_explained() -> None:
    prose = re.sub(r"```yaml\n.*?```", "", PAGE, flags=re.DOTALL)
    missing = [key for key in keys(PolicyFile.model_json_schema()) if not re.search(rf"`[^`]*\b{key}\b[^`]*`", prose)]
    assert missing == []


def test_every_rule_is_explained() -> None:
    sources = [path.read_text() for path in (ROOT / "privsynth" / "policy").rglob("*.py")]
    known = {rule for text in sources for rule in re.findall(r"PS-[A-Z]+-[0-9]{3}", text)}
    rows = "".join(line for line in PAGE.splitlines() if line.startswith("| PS-"))
    assert known == set(re.findall(r"PS-[A-Z]+-[0-9]{3}", rows))


def test_every_rule_of_the_gate_is_explained() -> None:
    source = (ROOT / "privsynth" / "policy" / "asks.py").read_text()
    source += (ROOT / "privsynth" / "policy" / "thresholds.py").read_text()
    [row] = [line for line in PAGE.splitlines() if line.startswith("| PS-GATE-…")]
    assert [word for word in re.findall(r"PS-GATE-([A-Z]{3})", source) if not re.search(rf"\b{word}\b", row)] == []


def test_it_is_short_enough_to_be_read() -> None:
    assert len(re.sub(r"```yaml\n.*?```", "", PAGE, flags=re.DOTALL).splitlines()) < 180
