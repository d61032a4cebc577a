"""Leaves: each field of the form has one direction, each direction keeps its promises, each loose leaf is askable."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privsynth.errors import PrivsynthError
from privsynth.policy.boundary import has_maker
from privsynth.policy.consent_rules import Fixed, Meant, Within
from privsynth.policy.directions import (
    ABSENT,
    FLAG,
    FROZEN,
    HIGHER,
    LOWER,
    OWN,
    SUBSET,
    SUPERSET,
    Choice,
    Demanded,
    Direction,
    Ladder,
    Means,
)
from privsynth.policy.document import Policy
from privsynth.policy.leaves import NAMES, fields_of, leaves, section_of
from privsynth.policy.pace import Portion
from privsynth.policy.words import Count, Part
from tests.policy_form import NAME, form_leaves, models

FORM = dict(form_leaves())


def loosens(direction: Direction) -> bool:
    """Whether some value of the direction has a looser one."""
    return not isinstance(direction, type(FROZEN) | type(OWN) | Fixed)


def test_each_field_of_the_form_says_which_way_it_is_tighter() -> None:
    every = models()
    assert len(every) >= 30
    for model in every.values():
        for field in fields_of(model):
            annotation = model.model_fields[field.attribute].annotation
            assert field.mark is not None or section_of(annotation) is not None, (model.__name__, field.key)


def test_a_field_without_a_direction_or_with_two_is_found() -> None:
    class Without(Part):
        limit: Count

    class Twice(Part):
        limit: Annotated[Count, LOWER, HIGHER]

    class Section(Part):
        inner: Annotated[Without, LOWER, OWN]

    for model in (Without, Twice, Section):
        with pytest.raises(PrivsynthError, match="which way it is tighter"):
            fields_of(model)


def test_the_leaves_of_a_policy_are_leaves_of_the_form(healthcare: Policy) -> None:
    for path, leaf in leaves(healthcare.file).items():
        named = tuple(NAME if i == 1 and path[0] in ("sources", "purposes", "recipients", "people") and part != NAMES
                      else part for i, part in enumerate(path))  # fmt: skip
        assert type(FORM[named]) is type(leaf.direction), path
        assert healthcare.where(*leaf.place).rpartition(":")[2].isdigit()


def test_a_policy_s_leaves_are_all_of_it(healthcare: Policy) -> None:
    """What the resolved form says and no leaf holds: nothing."""
    told: set[str] = set()
    for leaf in leaves(healthcare.file).values():
        told |= {str(leaf.value)} if not isinstance(leaf.value, list) else set(map(str, leaf.value))
        told |= set(leaf.path)

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            for key, part in value.items():
                assert key in told or key in ("file", "sha256"), key
                walk(part)
        elif isinstance(value, list):
            for part in value:
                walk(part)
        else:
            assert any(str(value) in text for text in told), value

    walk(healthcare.to_json())


@pytest.mark.parametrize("path", [path for path, direction in FORM.items() if loosens(direction)], ids="/".join)
def test_each_leaf_with_a_looser_step_can_be_asked_about(path: tuple[str, ...]) -> None:
    assert has_maker(path)


def test_a_leaf_that_nothing_asks_about_is_told() -> None:
    assert not has_maker(("gate", "vibes", "max"))


# --- directions ------------------------------------------------------------------------------------

WORDS = Ladder(("strict", "mild", "loose"), absent="mild")
SAID = Ladder(("strict", ABSENT, "loose"), absent="strict")
VALUES: dict[str, tuple[Direction, st.SearchStrategy[Any]]] = {
    "lower": (LOWER, st.integers(1, 9) | st.floats(0.125, 8)),
    "higher": (HIGHER, st.integers(1, 9)),
    "day": (LOWER, st.dates(dt.date(2026, 1, 1), dt.date(2026, 1, 9))),
    "subset": (SUBSET, st.lists(st.sampled_from("abc"), unique=True)),
    "superset": (SUPERSET, st.lists(st.sampled_from("abc"), unique=True)),
    "ladder": (WORDS, st.sampled_from(WORDS.rungs)),
    "said": (SAID, st.sampled_from(["strict", "loose"])),
    "flag": (FLAG, st.booleans()),
    "choice": (Choice("none"), st.sampled_from(["register", "columns", "none"])),
    "within": (Within(), st.sampled_from(["1h", "24h", "1d", "25h", "2d"])),
    "portion": (Portion(), st.sampled_from(["1/8", "1/4", "1/3", "9/10"])),
    "means": (Means(), st.sampled_from(["a", "b"])),
    "demanded": (Demanded(), st.sampled_from(["a", "b"])),
    "meant": (Meant(), st.lists(st.sampled_from("abc"), unique=True, min_size=1)),
    "fixed": (Fixed(), st.sampled_from(["a", "b"])),
    "frozen": (FROZEN, st.sampled_from(["a", "b"])),
    "own": (OWN, st.sampled_from(["a", "b"])),
}
TURNED = {"same": "same", "tighter": "looser", "looser": "tighter", "incomparable": "incomparable"}


@pytest.mark.parametrize("name", VALUES)
def test_an_order_is_an_order(name: str) -> None:
    direction, values = VALUES[name]

    @given(values | st.just(ABSENT), values | st.just(ABSENT), values | st.just(ABSENT))
    def law(a: Any, b: Any, c: Any) -> None:
        assert direction.order(a, a) == "same"
        assert direction.order(b, a) == TURNED[direction.order(a, b)]
        if name != "frozen" and {direction.order(a, b), direction.order(b, c)} <= {"same", "looser"}:
            assert direction.order(a, c) in ("same", "looser")

    law()


@pytest.mark.parametrize("name", VALUES)
def test_a_step_is_looser(name: str) -> None:
    direction, values = VALUES[name]

    @given(values)
    def law(value: Any) -> None:
        for step in direction.steps(value, ["d"]):
            assert direction.order(value, step) == "looser"

    law()


def test_a_mapping_s_names_are_a_leaf(healthcare: Policy) -> None:
    found = leaves(healthcare.file)
    assert found[("people", NAMES)].value == ["a.kim@st-anna.example", "j.brandt@st-anna.example"]
    assert found[("privacy", "budget", "population", "epsilon")].place == ("privacy", "budget", 0, "epsilon")
    assert found[("people", NAMES)].name == "people"
