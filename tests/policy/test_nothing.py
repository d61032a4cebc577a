"""A key with nothing behind it is no value, and no key left out: over every place of the form."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from privsynth.documents import Document, load_yaml, parse_yaml, sha256
from privsynth.documents.reading import Place
from privsynth.errors import PolicyError
from privsynth.policy.cases import load_ask
from privsynth.policy.directions import ABSENT
from privsynth.policy.document import load_policy, parse_policy, policy_of
from privsynth.policy.inherit import partial_of, resolved
from privsynth.policy.leaves import NAMES, leaves
from privsynth.policy.trial import load_trial
from tests import world
from tests.policy.test_ledger_asks import ONE
from tests.policy.test_recipient_asks import KEY
from tests.policy_form import NAME, form_leaves

_PREDICTED = {
    "target": "ill",
    "accuracy": {"at least": 0.4},
    "balanced accuracy": {"at least": 0.4},
    "by": ["smoker"],
    "gap": {"max": 0.5},
}
_MEMBERSHIP = {"attack": "neighbour", "cut": 0.5, "advantage": {"upper bound max": 0.3}}
_LINES = {"epsilon": 2.0, "delta": 1e-8}
EVERY: dict[str, Any] = {
    "privsynth-policy": 1,
    "id": "house/base",
    "version": "1",
    "owner": "board@house.example",
    "base": True,
    "valid": {"from": "2026-01-01", "until": "2030-12-31"},
    "sources": {
        NAME: {
            "population": "people",
            "holdout": 0.2,
            "subjects": 40000,
            "unit": "person",
            "neighbours": "add-or-remove",
            "contribution": {"max rows per subject": 4},
            "categories": ["health"],
            "duo": ["GRU"],
            "minors": {"column": "age", "below": 18, "values": ["child"]},
        }
    },
    "purposes": {NAME: {"legal basis": ["consent"], "duo": ["HMB"], "fhir": ["BIORCH"], "biometric": False}},
    "recipients": {NAME: {"purposes": [NAME], "fhir": ["Organization/1"], "region": "EU", "key": KEY}},
    "regions": ["EU"],
    "consent": {
        "default": "deny",
        "by": "fhir",
        "columns": {NAME: {"column": "agreed", "granted": [True]}},
        "records": ["fhir-r4"],
        "requires": {"scope": "research", "status": "active", "purpose": ["BIORCH"], "action": ["use"]},
        "verified by": ["patient"],
        "max age of export": "1d",
        "on withdrawal": "retire-models",
        "because": "it is so",
    },
    "privacy": {
        "filter": {"kind": "rdp", "orders": [2, 4]},
        "budget": [{"over": over, **_LINES} for over in ("population", "recipient")],
        "pace": [{"over": over, "per": "year", "share": "1/4"} for over in ("population", "recipient")],
        "new data": {"population": "disjoint-subjects-only"},
        "per release": {"max epsilon": 1.0, "max delta": 1e-9, "delta below": "1/(1000*subjects)"},
        "noise": "os-secure-only",
    },
    "data": {"min rows": 500, "min subjects per group": 5, "public help": "refused"},
    "gate": {
        "max attempts": 5,
        "budget": {"share": 0.15},
        "schema constraints": True,
        "fidelity": {"held-back marginals": {"max": 0.1}},
        "membership": _MEMBERSHIP,
        "utility": {**_PREDICTED, "positive": [True]},
        "pictures": {"membership": _MEMBERSHIP, "attribute": _PREDICTED},
    },
    "images": {"biometric use": "forbidden", "mark synthetic": ["iptc", "c2pa"]},
    "release": {"transcript": "withheld"},
    "retention": {"model": "30d"},
    "ledger": {"witness": "required", "witness key": ONE},
    "roles": {"requesters of holds": ["a"], "readers of internal reports": ["b"], "overlap": "refused"},
    "people": {NAME + "@a.example": {"roles": ["a"], "key": f"ed25519:{b64encode(bytes(32)).decode()}"}},
    "approval": {"policy change": {"people": 2, "roles": ["b"], "not author": True}, "release": {"people": 2}},
}
"""What a base can say, each key of the form."""

HEAD = {"privsynth-policy": 1, "id": "house/child", "version": "1", "owner": "board@house.example", "base": True}


def places(value: Any = EVERY, at: Place = ()) -> Iterator[Place]:
    """The place of every key and entry."""
    for key, part in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*at, key)
        yield from places(part, (*at, key))


def put(data: Mapping[str, Any], place: Place, value: Any) -> dict[str, Any]:
    """A copy with another value at a place."""
    out: Any = json.loads(json.dumps(data))
    inner = out
    for part in place[:-1]:
        inner = inner[part]
    inner[place[-1]] = value
    return dict(out)


def text_of(data: Mapping[str, Any]) -> bytes:
    """As a file: JSON, each key and entry on its own line."""
    return json.dumps(data, indent=1).encode()


@pytest.fixture(scope="module")
def every() -> Document:
    return parse_yaml(text_of(EVERY), path="base.yaml", error=PolicyError)


def test_the_base_says_each_key_of_the_form(every: Document) -> None:
    said = {tuple(NAME if part.startswith(NAME) else part for part in path) for path in leaves(partial_of(every))}
    assert {path for path, _ in form_leaves()} - said == {("extends",)}


@pytest.mark.parametrize("whole", [False, True])
def test_nothing_behind_any_key_is_told_with_its_line(every: Document, whole: bool) -> None:
    """In a base, and in a file that is to be a policy by itself."""
    read = policy_of if whole else partial_of
    for place in places():
        if place != ("base",) or not whole:
            data = put(EVERY, place, None)
            with pytest.raises(PolicyError, match="nothing is stated") as caught:
                read(replace(every, data={**data, "base": data["base"] and not whole}))
            assert caught.value.where == f"base.yaml:{every.lines[place]}"
            assert caught.value.what.startswith(" › ".join(map(str, place))) and caught.value.mend


def child(folder: Path, place: Place, value: Any) -> Document:
    """A child of the base that restates one section, with another value at a place in it."""
    (folder / "base.yaml").write_bytes(text_of(EVERY))
    extends = {"file": "base.yaml", "sha256": sha256(text_of(EVERY))}
    part = str(place[0])
    data = put({**HEAD, "extends": extends, part: EVERY[part]}, place, value)
    (folder / "child.yaml").write_bytes(text_of(data))
    return load_yaml(folder / "child.yaml", error=PolicyError, kind="policy")


def test_nothing_behind_a_key_of_a_child_takes_no_rule_away(tmp_path: Path) -> None:
    for place in places():
        document = child(tmp_path, place, None)
        with pytest.raises(PolicyError, match="nothing is stated") as caught:
            resolved(document)
        assert caught.value.where == f"{document.path}:{document.lines[place]}"


def test_an_empty_list_or_section_of_a_child_takes_no_rule_away(tmp_path: Path, every: Document) -> None:
    """It is an error, or every leaf of the parent holds as before."""
    above = leaves(partial_of(every))
    loaded = 0
    for place in places():
        value: Any = EVERY
        for part in place:
            value = value[part]
        if not isinstance(value, dict | list):
            continue
        try:
            below = leaves(partial_of(resolved(child(tmp_path, place, type(value)()))))
        except PolicyError as fault:
            assert fault.where and fault.mend
            continue
        loaded += 1
        for path, leaf in above.items():
            names = (below.get((*path[:n], NAMES)) for n in range(1, len(path)))
            if any(held is not None and path[len(held.path) - 1] not in (*held.value, NAMES) for held in names):
                continue  # of a name that the child takes away
            now = below[path].value if path in below else ABSENT
            assert leaf.direction.order(leaf.value, now) in ("same", "tighter"), (place, path)
    assert loaded >= 10


@pytest.mark.parametrize("spelled", ["", " ~", " null", " # to be filled in"])
@pytest.mark.parametrize("key", ["key", "region"])
def test_a_key_that_was_left_open_is_no_policy(spelled: str, key: str) -> None:
    """The key to which releases are sealed, or the region, still to be filled in."""
    text = world.POLICY.replace("  company:", f"    {key}:{spelled}\n  company:").replace(
        "  university: {purposes: [research, teaching]}\n", "  university:\n    purposes: [research, teaching]\n"
    )
    with pytest.raises(PolicyError, match=f"recipients › university › {key}: nothing is stated") as caught:
        parse_policy(text.encode(), path="p.yaml")
    assert text.splitlines()[int(caught.value.where.rpartition(":")[2]) - 1].strip().startswith(f"{key}:")


@pytest.mark.parametrize("key", ["images", "release", "retention", "ledger", "approval"])
@pytest.mark.parametrize("value", ["", " {}", " []"])
def test_an_empty_section_is_no_rule(key: str, value: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_policy(f"{world.POLICY}{key}:{value}\n".encode(), path="p.yaml")
    assert caught.value.where == f"p.yaml:{len(world.POLICY.splitlines()) + 1}"


def test_a_parent_s_null_is_told_at_its_line(tmp_path: Path) -> None:
    base = world.POLICY + "images:\n"
    (tmp_path / "base.yaml").write_text(base)
    pin = sha256(base.encode())
    text = f"privsynth-policy: 1\nid: a\nversion: '1'\nowner: o\nextends: {{file: base.yaml, sha256: '{pin}'}}\n"
    (tmp_path / "child.yaml").write_text(text)
    with pytest.raises(PolicyError, match="images: nothing is stated") as caught:
        load_policy(tmp_path / "child.yaml")
    assert caught.value.where == f"{tmp_path / 'base.yaml'}:{len(base.splitlines())}"


HOLD = "{source: a, purpose: b, recipient: c, actor: d, on: 2026-01-01, epsilon: 1, delta: 1e-9, unit: p, consent: none"


@pytest.mark.parametrize(
    "ask",
    [f"hold: {HOLD}, biometric: }}", "leave: {recipient: a, sealed to: }", "evidence: {source: a, age: ~}",
     "signed: {people: 2}\nhold:", "subject: {source: a, value: null}"],
)  # fmt: skip
def test_nothing_is_no_question(ask: str, tmp_path: Path) -> None:
    """In a file that asks one thing, and in a file of tests."""
    (tmp_path / "ask.yaml").write_text(f"privsynth-policy-request: 1\n{ask}\n")
    with pytest.raises(PolicyError, match="nothing is stated"):
        load_ask(tmp_path / "ask.yaml")
    lines = "".join(f"    {line}\n" for line in ask.splitlines())
    (tmp_path / "t.test.yaml").write_text(
        f"privsynth-policy-test: 1\npolicy: p.yaml\ncases:\n  one:\n{lines}    expect: allow\n"
    )
    with pytest.raises(PolicyError, match="nothing is stated") as caught:
        load_trial(tmp_path / "t.test.yaml")
    assert int(caught.value.where.rpartition(":")[2]) >= 5
