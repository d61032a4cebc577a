"""Loading: the shipped policies, the resolved form, its identity and its lines."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from privsynth.documents import canonical, load_yaml
from privsynth.errors import PolicyError, RequestDenied
from privsynth.policy.document import Above, Policy, load_policy, parse_policy

GOLDEN = Path(__file__).parent / "golden"
SHIPPED = ("healthcare", "finance", "research-sandbox", "imaging", "faces")


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_policies_load(policies: Path, name: str) -> None:
    policy = load_policy(policies / f"{name}.yaml")
    assert policy.privacy.line("population") is not None
    rule, pictures = policy.gate.membership, policy.gate.pictures
    assert policy.gate.memberships
    assert rule is None or (rule.cut, rule.advantage.upper_bound_max) == (0.2, 0.14)
    assert pictures is None or pictures.membership.cut == 0.99
    assert policy.gate.budget.share == 0.15
    assert policy.valid.from_.isoformat() == "2026-01-01"
    assert policy.valid.until.isoformat() == "2031-12-31"


@pytest.mark.parametrize("name", SHIPPED)
def test_every_key_of_a_shipped_policy_is_explained(policies: Path, name: str) -> None:
    """The line of each key, or the line above it, carries a comment; names that the owner chose need none."""
    policy = load_policy(policies / f"{name}.yaml")
    own = {*policy.sources, *policy.purposes, *policy.recipients, *policy.people}
    lines = (policies / f"{name}.yaml").read_text().splitlines()
    for number, line in enumerate(lines):
        key = re.match(r" *(?:- \{)?([^#:]+):( |$)", line)
        if key is not None and key[1] not in own:
            assert "#" in line or "#" in lines[number - 1], f"{name}.yaml:{number + 1} {line}"


def test_what_the_shipped_policies_say(policies: Path) -> None:
    health, finance, sandbox, imaging, faces = (load_policy(policies / f"{name}.yaml") for name in SHIPPED)
    assert list(health.sources) == ["ehr/encounters"]
    assert health.source("ehr/encounters").k == 12
    assert health.consent.kind == "register"
    assert health.privacy.per_release.max_epsilon == 1.0
    assert health.privacy.filter.kind == "gdp"
    assert health.gate.rules == ("schema constraints", "fidelity", "membership", "utility")
    assert health.gate.columns == ("readmitted", "sex")
    assert finance.consent.kind == "columns"
    assert finance.gate.columns == ("fraud",)
    assert sandbox.consent.kind == "none"
    assert sandbox.privacy.per_release.delta_below == "1/subjects"
    assert sandbox.gate.columns == ()
    assert imaging.gate.paid_rules == (("membership",), ("pictures", "membership"), ("pictures", "attribute"))
    assert list(faces.purposes) == ["fairness-research", "dataset-release"]
    assert (faces.consent.kind, faces.source("faces/portraits").k) == ("register", 2)
    assert faces.gate.columns == ("sex", "race")
    assert faces.gate.mu_each(0.2) == pytest.approx(0.2 / 2**0.5)


def test_resolved_form_and_identity_are_stable() -> None:
    """The hash is in every hold and release: if this fails, the file form or the defaults changed."""
    policy = load_policy(GOLDEN / "policy.yaml")
    assert json.loads((GOLDEN / "resolved.json").read_bytes()) == policy.to_json()
    assert (GOLDEN / "resolved.json").read_bytes().rstrip(b"\n") == canonical(policy.to_json())
    assert policy.sha256 == "acb82b3d5e6d063357a0aa32cfebaa12e48a0102a2caf6c97e804b0df9db7664"


def test_identity_is_of_the_meaning(policies_text: str) -> None:
    raw = policies_text.encode()
    policy = parse_policy(raw, path="a.yaml")
    respelled = re.sub(rb" +#.*", b"", raw).replace(b"epsilon: 6.0", b"epsilon: 6").replace(b"2e-8", b"0.00000002")
    assert parse_policy(respelled, path="b.yaml").sha256 == policy.sha256
    assert parse_policy(respelled, path="b.yaml") == policy
    for old, new in (
        (b"epsilon: 6.0", b"epsilon: 6.5"),
        (b"cut: 0.2", b"cut: 0.6"),
        (b"unit: patient", b"unit: person"),
    ):
        assert parse_policy(raw.replace(old, new), path="c.yaml").sha256 != policy.sha256


def test_a_default_is_written_out(policies_text: str) -> None:
    raw = policies_text.encode()
    left_out = re.sub(rb"    cut: 0\.2[^\n]*\n", b"", raw)
    assert left_out != raw
    assert parse_policy(left_out, path="p").to_json()["gate"]["membership"]["cut"] == 0.2
    assert parse_policy(left_out, path="p").sha256 == parse_policy(raw, path="p").sha256


def test_resolved_form_loads_again() -> None:
    policy = load_policy(GOLDEN / "policy.yaml")
    assert parse_policy(json.dumps(policy.to_json()).encode(), path="again.yaml") == policy


def test_values_as_written() -> None:
    policy = load_policy(GOLDEN / "policy.yaml")
    assert policy.gate.utility is not None
    assert policy.gate.utility.positive == Above(above=50000.0)
    assert policy.privacy.filter.fixed_orders == (1.5, 4.0, 32.0)
    assert policy.consent.columns is not None
    granted = policy.consent.columns["research"].granted
    assert [(type(v), v) for v in granted] == [(str, "yes"), (bool, True), (int, 1)]
    assert policy.source("a/two").declared_train == 9000


def test_declared_size_is_exact(healthcare: Policy) -> None:
    """0.2 is not a binary fraction; 41,250 * 0.8 is still 33,000."""
    assert healthcare.source("ehr/encounters").declared_train == 33_000


def test_lines(healthcare: Policy, policies: Path) -> None:
    lines = load_yaml(policies / "healthcare.yaml", error=PolicyError, kind="policy").lines
    text = (policies / "healthcare.yaml").read_text().splitlines()
    place = ("privacy", "per release", "max epsilon")
    assert "max epsilon: 1.0" in text[lines[place] - 1]
    assert healthcare.where(*place) == f"{policies / 'healthcare.yaml'}:{lines[place]}"


def test_unregistered_source(healthcare: Policy) -> None:
    with pytest.raises(RequestDenied) as caught:
        healthcare.source("ehr/encounters_copy")
    assert caught.value.rules == ("PS-SRC-001",)
    assert caught.value.exit_code == 1
    assert caught.value.where == healthcare.where("sources")
    assert caught.value.mend


def test_a_policy_is_frozen_and_prints_short(healthcare: Policy) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        healthcare.__setattr__("sha256", "0")
    assert "st-anna/encounters-research" in repr(healthcare)
    assert len(repr(healthcare)) < 120


def test_missing_file() -> None:
    with pytest.raises(PolicyError, match="no such policy file") as caught:
        load_policy("nowhere/policy.yaml")
    assert caught.value.exit_code == 2
