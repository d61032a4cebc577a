"""Who must agree, as a policy says it: the page's example, each leaf loosened, rules that nobody can meet."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from privsynth.documents import sha256
from privsynth.errors import KeyFileError, PolicyError
from privsynth.policy.approval_asks import ChangeAsk, SignedAsk, needed_signatures
from privsynth.policy.asks import answer
from privsynth.policy.compare import compare
from privsynth.policy.directions import ABSENT
from privsynth.policy.document import Policy, load_policy, parse_policy
from privsynth.policy.leaves import leaves
from privsynth.policy.mutants import loosen
from privsynth.policy.quorum import Quorum, least_people, quorum_of
from privsynth.policy.trial import load_trial, run_trial
from privsynth.signing import TrustedKey, new_key
from tests.policy.family import BASE, CHILD, pinned

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "policies.md").read_text("utf-8")
RULE, CASES = re.findall(r"```yaml\n(.*?)```", PAGE.partition("## Nobody alone")[2], re.DOTALL)
DPO, SECURITY, THIRD = "d.ito@st-anna.example", "m.roy@st-anna.example", "n.sato@st-anna.example"
ANALYST = "a.kim@st-anna.example"
Rule = Callable[..., Policy]


def line(n: int) -> str:
    return f"ed25519:{b64encode(bytes([n]) * 32).decode()}"


@pytest.fixture
def text(policies_text: str) -> str:
    """healthcare.yaml with the page's section in the place of its people."""
    return re.sub(r"(?ms)^people:\n.*\Z", RULE, policies_text)


@pytest.fixture
def ruled(text: str) -> Rule:
    """``ruled((old, new), ...)``: that policy with texts replaced."""

    def edit(*changes: tuple[str, str]) -> Policy:
        found = text
        for old, new in changes:
            assert found.count(old) == 1, f"{old!r} stands {found.count(old)} times"
            found = found.replace(old, new)
        return parse_policy(found.encode(), path="policy.yaml")

    return edit


def allowed(policy: Policy, *people: str, **more: object) -> bool:
    decision = answer(ChangeAsk(approved_by=people, **more), policy)  # type: ignore[arg-type]
    assert [v.id for v in decision.verdicts] == ["PS-APP-001"]
    return decision.allowed


# --- the example -----------------------------------------------------------------------------------


def test_the_page_s_example_passes_its_tests_and_no_leaf_is_left_unseen(text: str, tmp_path: Path) -> None:
    """Of the leaves that it adds; the others have the tests of healthcare.yaml."""
    (tmp_path / "p.yaml").write_text(text)
    head = (ROOT / "policies" / "healthcare.test.yaml").read_text().partition("cases:")[0]
    (tmp_path / "p.test.yaml").write_text(head.replace("healthcare.yaml", "p.yaml") + CASES)
    policy, trial = load_policy(tmp_path / "p.yaml"), load_trial(tmp_path / "p.test.yaml")
    assert [(o.case, o.words) for o in run_trial(trial, policy) if not o.passed] == []
    found = loosen(policy, trial)
    own = [
        m for m in found.mutants if m.leaf.path[0] == "approval" or m.leaf.path[1:2] in ((DPO,), (SECURITY,), (THIRD,))
    ]
    assert {m.leaf.path[-1] for m in own} == {"not author", "roles", "people"}
    assert all(m.red and m.shown for m in own), [m.leaf.name for m in own if not m.red or not m.shown]
    gone = {m.leaf.path for m in own if m.value is ABSENT}
    assert gone == {("approval", "policy change", "people"), ("approval", "release", "people")}, "1 is no number here"


# --- what is asked ---------------------------------------------------------------------------------


def test_distinct_people_who_count(ruled: Rule) -> None:
    policy = ruled()
    assert allowed(policy, DPO, SECURITY) and allowed(policy, DPO, THIRD, SECURITY)
    assert allowed(policy, DPO.upper(), SECURITY.title())
    assert not allowed(policy) and not allowed(policy, DPO) and not allowed(policy, DPO, DPO.upper())
    assert not allowed(policy, DPO, ANALYST) and not allowed(policy, DPO, "x@y.z")
    assert not allowed(policy, DPO, "privacy-office@st-anna.example")
    assert not allowed(policy, DPO, SECURITY, brought_by=DPO.upper()) and allowed(
        policy, DPO, SECURITY, brought_by=THIRD
    )
    assert not allowed(policy, DPO, SECURITY, keys={DPO: line(9)}) and allowed(
        policy, DPO, SECURITY, keys={DPO: line(1)}
    )


def test_the_owner_does_not_count_even_with_key_and_role(ruled: Rule) -> None:
    policy = ruled(("owner: privacy-office@st-anna.example", f"owner: {DPO.upper()}"))
    assert not allowed(policy, DPO, SECURITY) and allowed(policy, THIRD, SECURITY)


def test_another_owner_cannot_be_compared_and_is_shown_by_a_change(ruled: Rule) -> None:
    """She who was barred may approve then."""
    owner = "owner: privacy-office@st-anna.example"
    before, after = ruled((owner, f"owner: {DPO}")), ruled((owner, f"owner: {THIRD}"))
    [change] = compare(before, after)
    assert (change.leaf.name, change.order) == ("owner", "incomparable") and change.witness is not None
    assert not answer(change.witness.ask, before).allowed and answer(change.witness.ask, after).allowed
    assert compare(before, ruled((owner, f"owner: {DPO.upper()}"))) == ()


@pytest.mark.parametrize("between", [False, True])
def test_a_child_has_the_owner_whom_its_parent_bars(text: str, tmp_path: Path, between: bool) -> None:
    """Where the parent says who approves; a base in between changes nothing."""
    path = tmp_path / "p.yaml"
    path.write_text(text.replace("owner: privacy-office@st-anna.example", f"owner: {DPO}"))

    def child(name: str, parent: Path, *more: str) -> Path:
        pin = sha256(parent.read_bytes())
        lines = ("privsynth-policy: 1", f"id: house/{name}", "version: '1'", *more)
        made = tmp_path / f"{name}.yaml"
        made.write_text("\n".join([*lines, f"extends: {{file: {parent.name}, sha256: '{pin}'}}", ""]))
        return made

    parent = child("base", path, "base: true") if between else path
    with pytest.raises(PolicyError, match=f"owner: {THIRD} is looser than the parent's {DPO}") as caught:
        load_policy(child("child", parent, f"owner: {THIRD}"))
    assert caught.value.where == f"{tmp_path / 'child.yaml'}:4" and DPO in str(caught.value.mend)
    assert load_policy(child("child", parent, f"owner: {DPO.upper()}")).file.owner == DPO.upper()


def test_a_base_bars_nobody(tmp_path: Path) -> None:
    """It is no policy; who owns it approves nothing."""
    rule = ("roles:\n", "approval: {policy change: {people: 2, roles: [board]}}\nroles:\n")
    keys = "".join(f"  {one}: {{roles: [board], key: '{line(n)}'}}\n" for n, one in enumerate((DPO, SECURITY), 1))
    assert load_policy(pinned(tmp_path, BASE, CHILD, [rule], [("people:\n", "people:\n" + keys)]))


def test_a_policy_that_asks_nobody_allows_every_change(healthcare: Policy) -> None:
    assert allowed(healthcare)
    assert quorum_of(healthcare.file) is None
    assert (least_people(healthcare.file), needed_signatures(healthcare)) == (2, 1)


def test_signatures_of_a_release(ruled: Rule) -> None:
    assert needed_signatures(ruled()) == 2
    assert [answer(SignedAsk(people=n), ruled()).allowed for n in (1, 2, 3)] == [False, True, True]


def test_a_quorum_is_written_and_read(ruled: Rule) -> None:
    quorum = quorum_of(ruled().file)
    assert quorum is not None and Quorum.from_json(quorum.to_json()) == quorum
    assert [a.person for a in quorum.approvers] == [DPO, SECURITY, THIRD] and quorum.people == 2 and quorum.not_author
    trust = quorum.trust()
    assert trust is not None and [key.line for key in trust.keys] == [line(1), line(2), line(3)]
    harms: list[dict[str, Any]] = [{"people": 0}, {"people": True}, {"people": "2"}, {"not author": 1}]
    for harm in (*harms, {"approvers": [{}]}):
        with pytest.raises((KeyError, TypeError, ValueError)):
            Quorum.from_json({**quorum.to_json(), **harm})


# --- each leaf, looser and shown -------------------------------------------------------------------

KEY = f'{{roles: [dpo], key: "{line(3)}"}}'
LOOSER = [
    ("people: 2                    # ...", "people: 3                    # ...", "approval › policy change › people"),
    ("    not author: true  ", "    #", "approval › policy change › not author"),
    ("release: {people: 2}", "release: {people: 3}", "approval › release › people"),
    (KEY, KEY.replace(f', key: "{line(3)}"', ""), f"people › {THIRD} › key"),
]


@pytest.mark.parametrize(("loose", "tight", "leaf"), LOOSER, ids=[leaf for *_, leaf in LOOSER])
def test_a_looser_leaf_is_shown_by_a_request_that_flips(ruled: Rule, loose: str, tight: str, leaf: str) -> None:
    if leaf.endswith("not author"):
        loose, tight = tight, loose
        before, after = ruled(), ruled((tight, loose))
    else:
        before, after = ruled((loose, tight)), ruled()
    found = {change.leaf.name: change for change in compare(before, after)}
    assert set(found) == {leaf} and found[leaf].order == "looser"
    seen = found[leaf].witness
    assert seen is not None and seen.allowed
    assert not answer(seen.ask, before).allowed and answer(seen.ask, after).allowed
    assert {change.order for change in compare(after, before)} == {"tighter"}


def test_one_role_more_is_shown(ruled: Rule) -> None:
    office = "{roles: [security]", "{roles: [quality-office]"
    before = ruled(office, ("roles: [dpo, security] ", "roles: [dpo] "))
    after = ruled(office, ("roles: [dpo, security] ", "roles: [dpo, quality-office] "))
    [change] = compare(before, after)
    assert (change.leaf.name, change.order) == ("approval › policy change › roles", "looser")
    assert change.witness is not None and change.witness.ask == ChangeAsk(approved_by=(DPO, SECURITY))


def test_another_key_cannot_be_compared_and_is_shown(ruled: Rule) -> None:
    [change] = compare(ruled(), ruled((line(3), line(9))))
    assert (change.leaf.name, change.order) == (f"people › {THIRD} › key", "incomparable")
    assert change.witness is not None and change.witness.ask == ChangeAsk(
        approved_by=(DPO, THIRD), keys={THIRD: line(9)}
    )


def test_a_section_that_is_gone_is_looser(ruled: Rule, healthcare: Policy, text: str) -> None:
    bare = re.sub(r"(?ms)^approval:.*?^people:", "people:", text)
    bare = re.sub(r"(?m)^  [dmn]\..*\n", "", bare)
    after = parse_policy(bare.encode(), path="policy.yaml")
    found = {change.leaf.name: change for change in compare(ruled(), after) if change.loosens}
    own = {name for name in found if name.startswith("approval")}
    assert own - {"approval › policy change › roles"} == {leaf for *_, leaf in LOOSER if "approval" in leaf}
    assert all(change.witness is not None and change.witness.allowed for change in found.values())
    back = {change.leaf.name: change.order for change in compare(after, ruled())}
    assert {order for name, order in back.items() if name.startswith("approval")} == {"tighter"}
    assert back["people"] == "looser"  # they can do nothing else, but they are three more people


def test_a_new_approver_is_shown(ruled: Rule) -> None:
    after = ruled((KEY, f'{KEY}\n  o.new@st-anna.example: {{roles: [security], key: "{line(8)}"}}'))
    [change] = compare(ruled(), after)
    assert change.leaf.name == "people" and change.witness is not None and change.witness.allowed
    assert change.witness.ask == ChangeAsk(approved_by=(DPO, "o.new@st-anna.example"))


# --- a child and its parent ------------------------------------------------------------------------


def test_a_child_only_tightens(policies: Path, tmp_path: Path) -> None:
    from privsynth.documents import sha256

    for path in policies.glob("*.yaml"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    base = (tmp_path / "base.yaml").read_text() + "approval:\n  policy change: {people: 2, roles: [dpo, security]}\n"
    (tmp_path / "base.yaml").write_text(base)
    child = re.sub(
        r'sha256: "[0-9a-f]{64}"', f'sha256: "{sha256(base.encode())}"', (tmp_path / "healthcare.yaml").read_text()
    )
    child = re.sub(r"(?ms)^people:\n.*\Z", "", child)
    people = RULE[RULE.index("people:\n") :]

    def loaded(section: str) -> Policy:
        (tmp_path / "healthcare.yaml").write_text(child + section + people)
        return load_policy(tmp_path / "healthcare.yaml")

    assert leaves(loaded("").file)[("approval", "policy change", "people")].value == 2
    assert least_people(loaded("approval: {policy change: {people: 3}}\n").file) == 3
    with pytest.raises(PolicyError, match="looser than the parent"):
        loaded("approval: {policy change: {roles: [dpo, security, analysts]}}\n")
    with pytest.raises(PolicyError, match="only 3 could"):
        loaded("approval: {policy change: {people: 4}}\n")


# --- files that cannot be met ----------------------------------------------------------------------

BAD = [
    ("people: 2                    # ...", "people: 4                    # ...", "only 3 could"),
    ("people: 2                    # ...", "people: 1                    # ...", "greater than or equal to 2"),
    ("people: 2                    # ...", "people: 17                    # ...", "less than or equal to 16"),
    ("release: {people: 2}", "release: {people: 1}", "greater than or equal to 2"),
    ("release: {people: 2}", "release: {people: 2, persons: 2}", "unknown key 'persons'"),
    ("roles: [dpo, security] ", "roles: [] ", "at least 1"),
    ("not author: true", "not author: maybe", "boolean"),
    (line(3), line(1), f"the key of {DPO} too"),
    (line(3), "ed25519:AQ==", "must be ed25519: and 44 characters"),
    (line(3), line(3)[:-2] + "F=", "not an Ed25519 public key"),
    (line(3), "rsa:AQ==", "must be ed25519: and 44 characters"),
    ("{roles: [security]", "{roles: [secret]", "not named under `roles` or `approval`"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "what"), BAD, ids=[b[2] for b in BAD])
def test_a_rule_that_cannot_be_met_is_refused(ruled: Rule, old: str, new: str, what: str) -> None:
    with pytest.raises(PolicyError) as caught:
        ruled((old, new))
    assert what in caught.value.what and caught.value.mend
    assert re.fullmatch(r"policy\.yaml:[0-9]+", caught.value.where)


def test_a_rule_that_only_the_owner_could_meet(ruled: Rule) -> None:
    with pytest.raises(PolicyError, match="only 1 could"):
        ruled(
            ("owner: privacy-office@st-anna.example", f"owner: {DPO}"),
            (KEY, "{roles: [dpo]}"),
        )


def test_an_empty_section(text: str) -> None:
    bare = re.sub(r"(?ms)^approval:.*?^people:", "approval: {}\npeople:", text)
    bare = re.sub(r"(?m)^  [dmn]\..*\n", "", bare)
    with pytest.raises(PolicyError, match="it asks for nothing"):
        parse_policy(bare.encode(), path="policy.yaml")


def test_a_key_on_one_line(tmp_path: Path) -> None:
    public = new_key(tmp_path / "k", name="A. Kim", roles=("policy",))
    assert TrustedKey.of_line(public.line, name="A. Kim", roles=("policy",)) == public
    for bad in (
        "",
        "ed25519:",
        public.line[:-1],
        f" {public.line}",
        public.line.replace("ed25519", "ED25519"),
        f"{public.line}\n",
    ):
        with pytest.raises(KeyFileError, match="not an Ed25519 public key"):
            TrustedKey.of_line(bad, name="A. Kim", roles=("policy",))
