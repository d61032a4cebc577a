"""Pictures of people: what they must not be used for, through every way a policy is written, asked and compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from privsynth.documents import sha256
from privsynth.errors import PolicyError
from privsynth.policy.asks import answer
from privsynth.policy.compare import compare
from privsynth.policy.decide import decide, decide_use
from privsynth.policy.directions import ABSENT
from privsynth.policy.document import Policy, load_policy
from privsynth.policy.image_asks import MarkedAsk
from privsynth.policy.mutants import loosen
from privsynth.policy.nearest import nearest
from privsynth.policy.request import Request
from privsynth.policy.trial import load_trial
from tests.policy.conftest import alone
from tests.policy.test_decide import GOOD

Edit = Callable[..., Policy]
SECTION = "# Who may do what. Whoever reads"
WHO = "purposes:\n  medical-research:"
MEANT = "purposes:\n  watching: {legal basis: [Art6(1)(a), Art9(2)(a)], biometric: true}\n  medical-research:"
FORBIDDEN, ALLOWED = (f"images: {{biometric use: {word}}}\n" for word in ("forbidden", "allowed"))


def with_images(section: str) -> tuple[str, str]:
    return SECTION, section + SECTION


def test_a_biometric_purpose_does_not_load(edited: Edit, policies: Path) -> None:
    """Both lines are named; of silence, which forbids it too, there is one."""
    with pytest.raises(PolicyError, match=r"'watching' is biometric.* forbidden at .*\.yaml:(\d+)") as caught:
        edited((WHO, MEANT), with_images(FORBIDDEN))
    told, ruled = (int(said.rpartition(":")[2]) for said in (caught.value.where, caught.value.what))
    text = alone((policies / "healthcare.yaml").read_text()).replace(WHO, MEANT).replace(SECTION, FORBIDDEN + SECTION)
    assert "watching" in text.splitlines()[told - 1] and "forbidden" in text.splitlines()[ruled - 1]
    with pytest.raises(PolicyError, match="not stated, so it is forbidden"):
        edited((WHO, MEANT))
    assert edited((WHO, MEANT), with_images(ALLOWED)).purposes["watching"].biometric


def test_a_source_of_biometric_data_needs_a_word(edited: Edit) -> None:
    faces = "categories: [health]", "categories: [health, biometric]"
    with pytest.raises(PolicyError, match="whether pictures of it may be used to tell who") as caught:
        edited(faces)
    assert "biometric use: forbidden" in caught.value.mend
    for section in (FORBIDDEN, ALLOWED):
        edited(faces, with_images(section))
    with pytest.raises(PolicyError, match="nothing says"):
        edited(faces, with_images("images: {mark synthetic: [iptc]}\n"))


@pytest.mark.parametrize("section", ["", FORBIDDEN, ALLOWED])
def test_a_use_that_is_meant_so_is_refused_but_where_it_is_allowed(section: str, edited: Edit) -> None:
    policy = edited(with_images(section))
    for decision in (decide(policy, replace(GOOD, biometric=True)), decide_use(policy, replace(GOOD, biometric=True))):
        assert [v.id for v in decision.refusing] == ([] if section == ALLOWED else ["PS-IMG-001"])
    assert decide(policy, GOOD).allowed


def test_the_purpose_speaks_for_the_request(edited: Edit) -> None:
    """Whoever does not say what it is for is held to what the policy says of the purpose."""
    policy = edited((WHO, MEANT), with_images(ALLOWED))
    rule = policy.file.images
    assert rule is not None
    tight = replace(policy, file=policy.file.model_copy(update={"images": None}))
    request = replace(GOOD, purpose="watching")
    assert "PS-IMG-001" not in [v.id for v in decide(policy, request).refusing]
    assert "PS-IMG-001" in [v.id for v in decide(tight, request).refusing]


def test_it_is_told_who_said_so(edited: Edit) -> None:
    """A declaration, never a finding: where nobody declared anything, that is what is told."""
    policy = edited((WHO, MEANT), with_images(ALLOWED))

    def told(request: Request) -> tuple[str, str]:
        [verdict] = [v for v in decide(policy, request).verdicts if v.id == "PS-IMG-001"]
        return verdict.what, verdict.limit

    silent, limit = told(GOOD)
    assert silent == "neither the policy says of purpose 'medical-research', nor whoever asks, that it is biometric"
    assert limit == "biometric use is allowed"
    assert told(replace(GOOD, biometric=True))[0].startswith("whoever asks says that the use is for telling who")
    assert told(replace(GOOD, purpose="watching"))[0].startswith("the policy says that purpose 'watching' is for")
    [verdict] = [v for v in decide(edited(), GOOD).verdicts if v.id == "PS-IMG-001"]
    assert verdict.allowed and verdict.limit == "biometric use is not stated, so it is forbidden"


def test_the_nearest_request_is_for_something_else(edited: Edit) -> None:
    found = nearest(edited(), replace(GOOD, biometric=True))
    assert found.request == GOOD and found.changes == (("biometric", True, False),)


@pytest.mark.parametrize(
    ("marks", "carried", "allowed"),
    [
        ("", (), True),
        ("[iptc]", ("iptc",), True),
        ("[iptc]", ("iptc", "c2pa"), True),
        ("[iptc, c2pa]", ("iptc",), False),
        ("[c2pa]", ("iptc",), False),
        ("[iptc]", (), False),
    ],
)
def test_the_marks_that_are_asked_for(marks: str, carried: tuple[str, ...], allowed: bool, edited: Edit) -> None:
    policy = edited(with_images(f"images: {{mark synthetic: {marks}}}\n" if marks else ""))
    decision = answer(MarkedAsk(marks=carried), policy)
    assert ([v.id for v in decision.refusing] == []) == decision.allowed == allowed


@pytest.mark.parametrize(
    "section",
    [
        "images: {mark synthetic: [visible]}\n",
        "images: {mark synthetic: []}\n",
        "images: {mark synthetic: [iptc, iptc]}\n",
        "images: {biometric use: sometimes}\n",
        "images: {biometric: forbidden}\n",
        "images: forbidden\n",
    ],
)
def test_another_word_is_an_error(section: str, edited: Edit) -> None:
    with pytest.raises(PolicyError, match=r"images|biometric|synthetic") as caught:
        edited(with_images(section))
    assert caught.value.mend


# --- inheritance -----------------------------------------------------------------------------------


def child(folder: Path, policies: Path, *, above: str, edits: tuple[tuple[str, str], ...]) -> Policy:
    """healthcare.yaml under a base of this section ``images``."""
    base = (policies / "base.yaml").read_text()
    (folder / "base.yaml").write_text(base + above)
    text = (policies / "healthcare.yaml").read_text()
    text = text.replace(sha256((policies / "base.yaml").read_bytes()), sha256((folder / "base.yaml").read_bytes()))
    for old, new in edits:
        assert text.count(old) == 1
        text = text.replace(old, new)
    (folder / "child.yaml").write_text(text)
    return load_policy(folder / "child.yaml")


def test_the_stricter_rung_wins(tmp_path: Path, policies: Path) -> None:
    section = "images: {biometric use: forbidden, mark synthetic: [iptc]}\n"
    assert child(tmp_path, policies, above=section, edits=()).forbids_biometrics
    for wider in (ALLOWED, "images: {mark synthetic: [c2pa]}\n"):
        with pytest.raises(PolicyError, match=r"looser than the parent's .*base\.yaml:\d+") as caught:
            child(tmp_path, policies, above=section, edits=(with_images(wider),))
        assert "child.yaml:" in caught.value.where
    narrower = with_images("images: {mark synthetic: [c2pa, iptc]}\n")
    file = child(tmp_path, policies, above=section, edits=(narrower,)).file
    assert file.images is not None and file.images.biometric_use == "forbidden"


def test_a_child_s_biometric_purpose_under_a_parent_that_forbids_it(tmp_path: Path, policies: Path) -> None:
    with pytest.raises(PolicyError, match=r"is biometric.*forbidden at .*base\.yaml:\d+") as caught:
        child(tmp_path, policies, above=FORBIDDEN, edits=((WHO, MEANT),))
    assert "child.yaml:" in caught.value.where


def test_a_purpose_stays_what_it_is(edited: Edit) -> None:
    """Whoever calls a biometric purpose an ordinary one is told, and nothing is looser for calling one biometric."""
    before = edited((WHO, MEANT), with_images(ALLOWED))
    after = edited((WHO, MEANT.replace(", biometric: true", "")), with_images(ALLOWED))
    [change] = compare(before, after)
    assert (change.leaf.path, change.order) == (("purposes", "watching", "biometric"), "looser")
    [change] = compare(after, before)
    assert change.order == "tighter"


def test_a_term_that_is_taken_away_is_no_smaller_change(edited: Edit, tmp_path: Path, policies: Path) -> None:
    """Silence forbids it too, but then no picture says so: that is between the two words."""
    told, silent, allowed = edited(with_images(FORBIDDEN)), edited(), edited(with_images(ALLOWED))
    [change] = compare(told, silent)
    assert (change.order, change.before, change.after) == ("looser", "forbidden", ABSENT) and change.loosens
    assert change.witness is not None and change.witness.ask == MarkedAsk(term=False)
    assert [v.id for v in change.witness.denied] == ["PS-IMG-003"] and change.witness.allowed
    assert [c.order for c in compare(silent, allowed)] == ["looser"]
    assert [c.order for c in compare(silent, told)] == [c.order for c in compare(allowed, silent)] == ["tighter"]
    assert child(tmp_path, policies, above=FORBIDDEN, edits=()).file.images is not None
    with pytest.raises(PolicyError, match="allowed is looser than the parent's silence"):
        child(tmp_path, policies, above="images: {mark synthetic: [iptc]}\n", edits=(with_images(ALLOWED),))


def test_whoever_takes_the_term_away_is_seen(policies: Path) -> None:
    trial = load_trial(policies / "imaging.test.yaml")
    found = [m for m in loosen(load_policy(trial.policy), trial).mutants if m.leaf.path == ("images", "biometric use")]
    assert [(m.value, m.shown) for m in found] == [(ABSENT, True)] and found[0].red == (
        "x-rays without the term of use",
    )


@pytest.mark.parametrize(("section", "term", "allowed"), [("", False, True), (FORBIDDEN, False, False),
                         (FORBIDDEN, True, True), (ALLOWED, False, True)])  # fmt: skip
def test_the_term_that_is_asked_for(section: str, term: bool, allowed: bool, edited: Edit) -> None:
    decision = answer(MarkedAsk(term=term), edited(with_images(section)))
    assert [v.id for v in decision.refusing] == ([] if allowed else ["PS-IMG-003"])


def test_a_looser_word_is_shown_by_a_request_that_flips(edited: Edit) -> None:
    [change] = compare(edited(with_images(FORBIDDEN)), edited(with_images(ALLOWED)))
    assert change.loosens and change.witness is not None and change.witness.allowed
    assert [v.id for v in change.witness.denied] == ["PS-IMG-001"]
