"""Which recipe for pictures, by public figures alone, and why."""

from __future__ import annotations

import pytest

from privsynth.data.schema import parse_schema
from privsynth.generators.images.choose import Images
from privsynth.generators.images.diffusion import ImageDiffusion
from privsynth.generators.images.signal import signal
from privsynth.generators.images.statistics import ImageStatistics
from privsynth.privacy.budget import Budget
from privsynth.privacy.dpsgd import Plan

SCHEMA = parse_schema(
    """\
privsynth-schema: 1
source: lab/digits
subject: {each row is a: digit, a person has at most: 1 row}
columns:
  digit: {kind: categorical, values: [0, 1, 2]}
  scan: {kind: image, size: [28, 28]}
"""
)
MUCH, LITTLE = Budget(10.0, 1e-6), Budget(0.3, 1e-6)


@pytest.mark.parametrize(
    ("budget", "given", "kind", "why"),
    [
        (MUCH, {"subjects": 60_000, "device": "cuda"}, ImageDiffusion, "there is a GPU"),
        (MUCH, {"subjects": 60_000, "device": "cpu"}, ImageStatistics, "without a GPU"),
        (LITTLE, {"subjects": 10_000, "device": "cuda"}, ImageStatistics, "below 9"),
        (MUCH, {"device": "cuda"}, ImageStatistics, "without `subjects`"),
    ],
)
def test_a_network_is_chosen_where_it_can_learn_and_be_trained(
    budget: Budget, given: dict[str, object], kind: type, why: str
) -> None:
    chosen = Images(SCHEMA, budget, **given)  # type: ignore[arg-type]
    assert type(chosen) is kind
    assert why in chosen.chosen
    assert chosen.by == ("digit",)


def test_why_is_no_part_of_a_recipe() -> None:
    chosen = Images(SCHEMA, MUCH)
    assert chosen == ImageStatistics(SCHEMA, MUCH)
    assert chosen.identity == ImageStatistics(SCHEMA, MUCH).identity
    assert "chosen" not in chosen.describe()


def test_a_signal_is_what_gradients_can_add_up_to_over_their_noise() -> None:
    plan = Plan(1000.0, 0.1, 25, 2.0, 0.5, 4, 1e-3, 0.9)
    assert signal(plan, 400) == pytest.approx(100 * 5 / (2 * 20))
