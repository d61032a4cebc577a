"""Guidance: a number in its range, and only where a network draws."""

from __future__ import annotations

import math

import pytest

from privsynth.data.guidance import MOST_GUIDANCE, check_guidance
from privsynth.errors import ConditionError


@pytest.mark.parametrize("asked", [0, 0.0, 1, 1.5, MOST_GUIDANCE])
def test_a_number_in_range_is_taken(asked: float) -> None:
    assert check_guidance(asked, guides=True) == float(asked)


@pytest.mark.parametrize("asked", [-0.1, 3.01, math.nan, math.inf, True, "1.5", None])
def test_anything_else_is_refused(asked: object) -> None:
    with pytest.raises(ConditionError) as told:
        check_guidance(asked, guides=True, where="study.yaml:3")
    assert (told.value.where, told.value.mend) == ("study.yaml:3", "a number from 0 to 3")


def test_none_may_be_asked_of_anybody_and_some_only_of_who_can() -> None:
    assert check_guidance(0, guides=False) == 0.0
    with pytest.raises(ConditionError, match=r"no.* drawn by a network") as told:
        check_guidance(0.5, guides=False)
    assert "image-diffusion" in told.value.mend
