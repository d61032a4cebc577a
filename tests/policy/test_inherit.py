"""A child only tightens, pins its parent, and names both lines where it does not."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from privsynth.errors import PolicyError
from privsynth.policy.document import Policy, load_policy
from tests.policy.conftest import alone
from tests.policy.family import BASE, CHILD, pinned

Write = Callable[..., Path]


@pytest.fixture
def family(tmp_path: Path) -> Write:
    """Write a base and a child of it, each with texts replaced: ``family(child=[(old, new)], base=[(old, new)])``."""

    def write(child: list[tuple[str, str]] | None = None, base: list[tuple[str, str]] | None = None) -> Path:
        return pinned(tmp_path, BASE, CHILD, base or [], child or [])

    return write


def refused(path: Path) -> PolicyError:
    with pytest.raises(PolicyError) as caught:
        load_policy(path)
    assert caught.value.exit_code == 2 and caught.value.where and caught.value.mend
    return caught.value


def test_what_a_child_does_not_state_it_inherits_with_the_line_of_its_parent(family: Write) -> None:
    policy = load_policy(family())
    assert policy.privacy.noise == "os-secure-only"
    assert policy.where("privacy", "noise").endswith(f"base.yaml:{_line(BASE, 'noise:')}")
    assert policy.where("gate", "max attempts").endswith(f"child.yaml:{_line(CHILD, 'max attempts:')}")
    assert policy.gate.max_attempts == 3
    line = policy.privacy.line("population")
    assert line is not None and line.epsilon == 6.0
    assert policy.gate.fidelity is not None and policy.gate.fidelity.held_back_marginals.max == 0.08


def test_ids_versions_and_owners_are_not_inherited(family: Write) -> None:
    assert "'owner' is missing" in refused(family([("owner: child@house.example\n", "")])).what
    assert load_policy(family()).id == "house/child"


@pytest.mark.parametrize(
    ("old", "new", "at"),
    [
        ("max attempts: 3", "max attempts: 6", "max attempts:"),
        ("epsilon: 6.0", "epsilon: 8.5", "over: population"),
        ("max epsilon: 1.0", "max epsilon: 3.1", "max epsilon:"),
        ('delta below: "1/(1000*subjects)"', 'delta below: "1/subjects"', "delta below"),
        ("schema constraints: true", "schema constraints: false", "schema constraints"),
        ("requesters of holds: [analysts]", "requesters of holds: [analysts]\n  overlap: marked", "overlap"),
        ("min rows: 5000", "min rows: 4999", "min rows"),
        ("{share: 0.15}", "{share: 0.10}", "share"),
        ("model: 30d", "model: 366d", "model: 366d"),
    ],
)
def test_a_looser_leaf_is_refused_with_both_lines(family: Write, old: str, new: str, at: str) -> None:
    path = family([(old, new)])
    error = refused(path)
    number = next(n for n, line in enumerate(path.read_text().splitlines(), 1) if at in line)
    assert error.where == f"{path}:{number}"
    assert "base.yaml:" in error.what and "may only tighten" in error.what


MEMBERS = "  membership: {attack: neighbour, advantage: {upper bound max: 0.2}}\n"
LOOSER = MEMBERS.replace("neighbour,", "neighbour, cut: 0.5,")


@pytest.mark.parametrize(
    ("base", "child", "leaf"),
    [
        (("gate:\n", "gate:\n" + MEMBERS), ("gate:\n", "gate:\n" + LOOSER), "gate › membership › cut: 0.5"),
        (("gate:\n", f"gate:\n  pictures:\n  {MEMBERS}"), ("gate:\n", f"gate:\n  pictures:\n  {LOOSER}"),
         "gate › pictures › membership › cut: 0.5"),
        (("privacy:\n", "privacy:\n  filter: {kind: rdp}\n"), ("{kind: gdp}", "{kind: rdp, orders: [4, 8]}"),
         "privacy › filter › orders: [4.0, 8.0]"),
    ],
)  # fmt: skip
def test_a_frozen_value_that_a_parent_leaves_out_is_frozen_at_its_default(
    family: Write, base: tuple[str, str], child: tuple[str, str], leaf: str
) -> None:
    path = family([child], [base])
    error = refused(path)
    default = {"gate › membership": "0.2", "gate › pictures": "0.99"}.get(" › ".join(leaf.split(" › ")[:2]), "auto")
    assert leaf in error.what and f"(left out, so {default})" in error.what and "base.yaml:" in error.what
    assert error.where.startswith(f"{path}:")
    same = {"cut: 0.5": f"cut: {default}", "[4, 8]": "auto"}
    text = path.read_text()
    for old, new in same.items():
        text = text.replace(old, new)
    path.write_text(text)
    load_policy(path)


def test_an_empty_base_in_between_hides_no_default(tmp_path: Path, family: Write) -> None:
    """A policy means 0.2 by leaving `cut` out; a base that extends it and says nothing cannot lift that."""
    path = family([("gate:\n", "gate:\n" + MEMBERS)])
    middle, last = tmp_path / "middle.yaml", tmp_path / "last.yaml"
    head = "privsynth-policy: 1\nid: house/{}\nversion: '1'\nowner: o@house.example\n{}"
    head += "extends: {{file: {}, sha256: '{}'}}\n"
    middle.write_text(head.format("middle", "base: true\n", path.name, _sha(path)))
    last.write_text(head.format("last", "", middle.name, _sha(middle)) + "gate:\n" + LOOSER)
    assert "(left out, so 0.2)" in refused(last).what
    last.write_text(last.read_text().replace("cut: 0.5, ", ""))
    membership = load_policy(last).gate.membership
    assert membership is not None and membership.cut == 0.2


def test_names_that_a_parent_lists_are_all_that_a_child_may_name(family: Write) -> None:
    listed = [("roles:\n", "recipients:\n  lab: {purposes: [research]}\n  ward: {purposes: [research]}\nroles:\n")]
    assert list(load_policy(family(base=listed)).recipients) == ["lab"]
    assert "recipients" in refused(family([("  lab: {", "  insurer: {")], base=listed)).what
    inside = [("roles:\n", "recipients:\n  lab: {purposes: [teaching]}\nroles:\n")]
    assert "recipients › lab › purposes" in refused(family(base=inside)).what


def test_a_line_of_the_budget_that_only_the_parent_has_holds(family: Write) -> None:
    also = [("    - {over: population", "    - {over: recipient, epsilon: 2.0, delta: 1e-8}\n    - {over: population")]
    line = load_policy(family(base=also)).privacy.line("recipient")
    assert line is not None and line.epsilon == 2.0


@pytest.mark.parametrize("at", ["base", "child"])
def test_a_line_that_does_not_say_over_what_is_refused(family: Write, at: str) -> None:
    error = refused(family(**{at: [("over: population, ", "")]}))
    assert "'over' is missing" in error.what and f"{at}.yaml:" in error.where


@pytest.mark.parametrize("at", ["base", "child"])
@pytest.mark.parametrize("key", ["refill", "reset", "per"])
def test_a_refill_is_refused_with_the_reason_wherever_it_stands(family: Write, at: str, key: str) -> None:
    error = refused(family(**{at: [("over: population, ", f"over: population, {key}: month, ")]}))
    assert f"`{key}` under `budget`: a budget is for ever" in error.what and f"{at}.yaml:" in error.where


def test_a_changed_parent_is_refused_until_it_is_pinned_anew(family: Write) -> None:
    path = family()
    base = path.with_name("base.yaml")
    base.write_text(base.read_text() + "# looked at\n")
    error = refused(path)
    assert hashlib.sha256(base.read_bytes()).hexdigest() in error.what
    assert error.where.endswith(f":{_line(path.read_text(), 'extends:')}")


def test_grandparents_are_resolved_first_and_circles_found(tmp_path: Path, family: Write) -> None:
    path = family()
    middle = path.with_name("middle.yaml")
    shutil.copy(path.with_name("base.yaml"), middle)
    text = f'extends: {{file: base.yaml, sha256: "{_sha(path.with_name("base.yaml"))}"}}\n'
    middle.write_text(middle.read_text().replace("base: true\n", f"base: true\n{text}").replace("8.0", "7.0"))
    child = (
        path.read_text().replace("base.yaml", "middle.yaml").replace(_sha(path.with_name("base.yaml")), _sha(middle))
    )
    path.write_text(child)
    assert load_policy(path).privacy.noise == "os-secure-only"
    path.write_text(child.replace("epsilon: 6.0", "epsilon: 7.5"))
    assert "middle.yaml" in refused(path).what
    path.write_text(child.replace("middle.yaml", path.name))
    assert "circle" in refused(path).what


def test_more_parents_than_anybody_reads(tmp_path: Path) -> None:
    name, text = "p0.yaml", "privsynth-policy: 1\nid: p\nversion: '1'\nowner: o\nbase: true\n"
    (tmp_path / name).write_text(text)
    for depth in range(1, 7):
        pin = f'extends: {{file: p{depth - 1}.yaml, sha256: "{_sha(tmp_path / f"p{depth - 1}.yaml")}"}}\n'
        (tmp_path / f"p{depth}.yaml").write_text(text + pin)
    assert "more than 4 parents" in refused(tmp_path / "p6.yaml").what


@pytest.mark.parametrize("name", ["../base.yaml", "/etc/passwd", "a\\b.yaml", "", "missing.yaml", "outside.yaml"])
def test_a_parent_is_a_file_in_the_folder(family: Write, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "policies"
    folder.mkdir()
    path = family()
    for each in ("base.yaml", "child.yaml"):
        shutil.move(tmp_path / each, folder / each)
    (tmp_path / "elsewhere.yaml").write_bytes((folder / "base.yaml").read_bytes())
    (folder / "outside.yaml").symlink_to(tmp_path / "elsewhere.yaml")
    inside = folder / path.name
    inside.write_text(inside.read_text().replace("{file: base.yaml", f"{{file: '{name}'"))
    error = refused(inside)
    assert ("folder" in error.what) != (name == "missing.yaml")


@pytest.mark.parametrize("pin", ["", "9f2c", "Z" * 64, "0" * 64])
def test_a_pin_is_the_hash(family: Write, pin: str) -> None:
    path = family()
    path.write_text(path.read_text().replace(_sha(path.with_name("base.yaml")), pin))
    assert "SHA-256" in refused(path).what


def test_a_base_is_checked_as_far_as_it_speaks(family: Write) -> None:
    assert "unknown key" in refused(family(base=[("noise:", "noice:")])).what
    assert "noise" in refused(family(base=[("os-secure-only", "seeded")])).what
    assert "this is a base" in refused(family().with_name("base.yaml")).what


def test_the_resolved_policy_stands_for_all_that_it_inherits(family: Write) -> None:
    one: Policy = load_policy(family())
    other = load_policy(family(base=[("max attempts: 5", "max attempts: 4")]))
    assert one.sha256 != other.sha256, "the pin is part of the meaning"


def _line(text: str, at: str) -> int:
    return next(n for n, line in enumerate(text.splitlines(), 1) if at in line)


def _sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "stated",
    [
        "roles: {overlap: marked}",
        "data: {public help: allowed}",
        "release: {transcript: published}",
        "gate: {membership: {cut: 0.9}}",
        "consent: {by: not-required, because: nobody would notice}",
    ],
)
def test_what_a_parent_does_not_state_and_means_all_the_same(tmp_path: Path, policies: Path, stated: str) -> None:
    """A default of the parent, and what its silence means, bind the child like a line of it."""
    text = alone((policies / "healthcare.yaml").read_text())
    parent = "\n".join(line for line in text.splitlines() if not line.strip().startswith(("overlap:", "cut:")))
    (tmp_path / "parent.yaml").write_text(parent)
    pin = hashlib.sha256(parent.encode()).hexdigest()
    head = 'privsynth-policy: 1\nid: a/child\nversion: "1"\nowner: a@b.example\n'
    (tmp_path / "child.yaml").write_text(f'{head}extends: {{file: parent.yaml, sha256: "{pin}"}}\n')
    assert load_policy(tmp_path / "child.yaml").roles.overlap == "refused"
    (tmp_path / "child.yaml").write_text(f'{head}extends: {{file: parent.yaml, sha256: "{pin}"}}\n{stated}\n')
    assert "is looser than the parent's" in refused(tmp_path / "child.yaml").what


def test_the_reason_for_asking_nobody_is_not_inherited_where_somebody_is_asked(tmp_path: Path, policies: Path) -> None:
    raw = (policies / "research-sandbox.yaml").read_bytes()
    (tmp_path / "parent.yaml").write_bytes(raw)
    pin = hashlib.sha256(raw).hexdigest()
    head = 'privsynth-policy: 1\nid: a/child\nversion: "1"\nowner: a@b.example\n'
    head += f'extends: {{file: parent.yaml, sha256: "{pin}"}}\n'
    (tmp_path / "child.yaml").write_text(head)
    assert load_policy(tmp_path / "child.yaml").consent.because is not None
    (tmp_path / "child.yaml").write_text(head + "consent: {by: register}\n")
    policy = load_policy(tmp_path / "child.yaml")
    assert (policy.consent.kind, policy.consent.because, policy.consent.default) == ("register", None, "deny")
