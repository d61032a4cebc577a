"""A recipient's key: its form, which way it is tighter, and that a diff shows what may now leave in the clear."""

from __future__ import annotations

from pathlib import Path

import pytest

from privsynth.errors import KeyFileError, PolicyError, RequestDenied
from privsynth.policy.asks import answer
from privsynth.policy.cases import case_of, flow, load_ask
from privsynth.policy.compare import compare
from privsynth.policy.directions import ABSENT
from privsynth.policy.document import Policy, load_policy
from privsynth.policy.leaves import NAMES, leaves
from privsynth.policy.mutants import loosen
from privsynth.policy.prose import sentence
from privsynth.policy.recipient_asks import LeaveAsk
from privsynth.policy.trial import load_trial
from privsynth.signing import check_age_key
from tests.policy.conftest import Edit
from tests.policy.family import BASE, CHILD, pinned

# Of both the secret part is nowhere.
KEY = "age12yyfs8cj4qyhq8jtwkjwuk62ljq7kkad99fqpsvys0hx6jma7p3sz03lrs"
OTHER = "age1k82t7w652um28mzme9rqz4nmn7pq9vxpas4yd3783vh25jcy0apsdqrnvq"
NAME, PATH = "university-hospital", ("recipients", "university-hospital", "key")
LINE = "university-hospital: {purposes: [medical-research]}"


def with_key(key: str) -> tuple[str, str]:
    return LINE, f'university-hospital: {{purposes: [medical-research], key: "{key}"}}'


@pytest.fixture
def three(edited: Edit) -> dict[str, Policy]:
    """The same policy with two keys, and with none."""
    return {"key": edited(with_key(KEY)), "other": edited(with_key(OTHER)), "none": edited()}


@pytest.mark.parametrize(
    ("policy", "sealed_to", "allowed"),
    [
        ("key", KEY, True),
        ("key", OTHER, False),
        ("key", None, False),
        ("none", None, True),
        ("none", KEY, True),
    ],
)
def test_how_a_release_may_leave(three: dict[str, Policy], policy: str, sealed_to: str | None, allowed: bool) -> None:
    decision = answer(LeaveAsk(recipient=NAME, sealed_to=sealed_to), three[policy])
    assert decision.allowed is allowed
    if allowed:
        return
    with pytest.raises(RequestDenied, match="PS-REC-004") as caught:
        decision.refuse()
    assert caught.value.where == three[policy].where(*PATH)
    assert "privsynth seal" in caught.value.mend


def test_nobody_else_gets_anything(three: dict[str, Policy]) -> None:
    assert not answer(LeaveAsk(recipient="nobody"), three["none"]).allowed


def test_a_diff_shows_what_may_now_leave_in_the_clear(three: dict[str, Policy]) -> None:
    [change] = compare(three["key"], three["none"])
    assert (change.leaf.path, change.order, change.before, change.after) == (PATH, "looser", KEY, ABSENT)
    assert change.witness is not None and change.witness.allowed
    assert change.witness.ask == LeaveAsk(recipient=NAME)
    [back] = compare(three["none"], three["key"])
    assert (back.order, back.witness) == ("tighter", None)


def test_a_diff_shows_who_may_now_open_it(three: dict[str, Policy]) -> None:
    [change] = compare(three["key"], three["other"])
    assert (change.leaf.path, change.order) == (PATH, "incomparable") and change.loosens
    assert change.witness is not None
    assert change.witness.ask == LeaveAsk(recipient=NAME, sealed_to=OTHER)


def test_a_child_may_only_add_one(tmp_path: Path) -> None:
    base = [("retention:", f'recipients: {{lab: {{purposes: [research], key: "{KEY}"}}}}\nretention:')]
    child = load_policy(pinned(tmp_path, BASE, CHILD, base, []))
    assert child.recipients["lab"].key == KEY
    stated = "  lab: {purposes: [research]"
    assert load_policy(pinned(tmp_path, BASE, CHILD, [], [(stated, f'{stated}, key: "{KEY}"')])).recipients["lab"].key
    with pytest.raises(PolicyError, match="recipients › lab › key"):
        load_policy(pinned(tmp_path, BASE, CHILD, base, [(stated, f'{stated}, key: "{OTHER}"')]))


def test_left_out_it_turns_a_test_red_and_is_shown(tmp_path: Path, policies_text: str) -> None:
    (tmp_path / "p.yaml").write_text(policies_text.replace(*with_key(KEY)))
    head = (Path(__file__).parents[2] / "policies" / "healthcare.test.yaml").read_text().partition("cases:")[0]
    cases = f"cases:\n  in the clear: {{leave: {{recipient: {NAME}}}, expect: [PS-REC-004]}}\n"
    (tmp_path / "p.test.yaml").write_text(head.replace("healthcare.yaml", "p.yaml") + cases)
    trial = load_trial(tmp_path / "p.test.yaml")
    [mutant] = [m for m in loosen(load_policy(trial.policy), trial).mutants if m.leaf.path == PATH]
    assert (mutant.value, mutant.red, mutant.shown) == (ABSENT, ("in the clear",), True)


def test_two_recipients_have_two_keys(edited: Edit) -> None:
    """Both lines are named; a new name that a mutant adds has no key."""
    other = (
        f"  {NAME}: {{purposes",
        f'  insurer: {{purposes: [medical-research], key: "{KEY}"}}\n  {NAME}: {{purposes',
    )
    with pytest.raises(PolicyError, match=r"the key of insurer too.* at policy\.yaml:(\d+)") as caught:
        edited(other, with_key(KEY))
    beside, here = (int(said.rpartition(":")[2]) for said in (caught.value.what, caught.value.where))
    assert here == beside + 1 and "keys receiving" in caught.value.mend
    assert list(edited(other, with_key(OTHER)).recipients) == ["insurer", NAME]


def test_the_names_of_recipients_who_all_have_keys_are_loosened(tmp_path: Path, policies_text: str) -> None:
    (tmp_path / "p.yaml").write_text(policies_text.replace(*with_key(KEY)))
    head = (Path(__file__).parents[2] / "policies" / "healthcare.test.yaml").read_text().partition("cases:")[0]
    (tmp_path / "p.test.yaml").write_text(
        head.replace("healthcare.yaml", "p.yaml") + "cases:\n  one: {expect: allow}\n"
    )
    trial = load_trial(tmp_path / "p.test.yaml")
    [mutant] = [m for m in loosen(load_policy(trial.policy), trial).mutants if m.leaf.path == ("recipients", NAMES)]
    assert mutant.shown


def test_the_question_is_written_and_read(tmp_path: Path) -> None:
    ask = LeaveAsk(recipient=NAME, sealed_to=KEY)
    path = tmp_path / "q.yaml"
    path.write_text(f"privsynth-policy-request: 1\nleave: {flow(case_of(ask)['leave'])}\n")
    assert load_ask(path) == ask
    assert flow(case_of(LeaveAsk(recipient=NAME))) == f"{{leave: {{recipient: {NAME}}}}}"


def test_the_officer_reads_it(three: dict[str, Policy]) -> None:
    leaf = leaves(three["key"].file)[PATH]
    assert sentence(leaf) == (
        f"What leaves for {NAME} is encrypted to its key {KEY}; nothing leaves for it in the clear."
    )


WRONG = {
    "another letter": KEY[:30] + ("q" if KEY[30] != "q" else "p") + KEY[31:],
    "two swapped": KEY[:4] + KEY[5] + KEY[4] + KEY[6:],
    "short": KEY[:-1],
    "long": KEY + "q",
    "capitals": KEY.upper(),
    "blank": f" {KEY}",
    "another prefix": "bge1" + KEY[4:],
    "a secret": "AGE-SECRET-KEY-1" + "Q" * 58,
    "a signing key": "ed25519:" + "A" * 44,
    "zero": "age1" + "q" * 52 + "5cu47z",
    "empty": "",
}

SMALL = (
    "age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq5cu47z",
    "age1qyqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqj7vrya",
    "age1anlllllllllllllllllllllllllllllllllllllllllllllllals4n2t7m",
    "age1ahlllllllllllllllllllllllllllllllllllllllllllllllalsn46ayy",
    "age1amlllllllllllllllllllllllllllllllllllllllllllllllalselrwrv",
    "age1ur4h5lpmgxu2u9jku0a0r87ydtdqnr0tnsetrlvxvgz3vh6fhqqqzyt4v9",
    "age1t7wft09r2zxzfvwsk92eeql0tvzyghxytqwgapkcyf8dm5ylz9ts6wm9s8",
    "age1lllllllllllllllllllllllllllllllllllllllllllllllllalsjzdrvv",
    "age1pyqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqzqqyr3apl",
)


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_key_is_refused_with_its_line(edited: Edit, kind: str) -> None:
    with pytest.raises(PolicyError, match="key") as caught:
        edited(with_key(WRONG[kind]))
    assert caught.value.where.startswith("policy.yaml:")
    assert "privsynth keys receiving" in caught.value.mend
    with pytest.raises(KeyFileError):
        check_age_key(WRONG[kind])


def test_every_changed_letter_is_found() -> None:
    assert check_age_key(KEY) == KEY
    for at in range(4, len(KEY)):
        for letter in "qpzry9x8gf2tvdw0s3jn54khce6mua7l".replace(KEY[at], ""):
            with pytest.raises(KeyFileError, match="checksum"):
                check_age_key(KEY[:at] + letter + KEY[at + 1 :])


def test_keys_that_nobody_holds_are_refused() -> None:
    """Points of small order, whose secrets everybody knows, and numbers beyond the field; all with a right checksum."""
    for key in SMALL:
        with pytest.raises(KeyFileError, match="nobody can hold"):
            check_age_key(key)
