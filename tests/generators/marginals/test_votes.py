"""Open categories: what one subject can move, and what is released."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from privsynth.generators.marginals.domains import lay_out_domains, learn_domains
from privsynth.generators.marginals.votes import MOST_CATEGORIES, count_votes, released
from privsynth.privacy.gdp import threshold_of
from privsynth.privacy.noise import SeededNoise
from tests.generators.marginals.left_open import Open, open_world


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "a\0", "she\0", "d", "e"]), st.sampled_from([*"ABCDEFG", "other", None])),
        max_size=40,
    ),
    st.lists(st.sampled_from([*"ABCDEFGHIJK", "other", None]), min_size=1, max_size=5),
)
def test_one_subject_moves_the_votes_by_at_most_the_root_of_k(
    rows: list[tuple[str, str | None]], hers: list[str | None]
) -> None:
    k = len(hers)

    def votes(held: Sequence[tuple[str, str | None]]) -> dict[str, int]:
        whose = np.array([s for s, _ in held], dtype=object)
        texts = pd.Series(pd.Categorical([t for _, t in held], categories=[*"KJIHGFEDCBA", "other"]))
        names, counts = count_votes(texts, whose, rest="other")
        assert names == sorted(names)
        assert "other" not in names
        return dict(zip(names, counts.tolist(), strict=True))

    without = votes(rows)
    with_her = votes([*rows, *(("she", text) for text in hers)])
    brute = {t: len({s for s, held in rows if held == t}) for t in {t for _, t in rows} - {None, "other"}}
    assert without == brute
    moved = [with_her.get(t, 0) - without.get(t, 0) for t in set(with_her) | set(without)]
    assert set(moved) <= {0, 1}
    assert math.sqrt(sum(m * m for m in moved)) <= math.sqrt(k)


def test_what_one_subject_alone_holds_is_hardly_ever_released() -> None:
    """k categories of one subject, a delta that can be seen: any of them is released in at most delta of the
    runs. False alarms: below one in a million (5 standard deviations)."""
    k, delta, sigma, runs = 3, 0.05, 8.0, 40_000
    threshold = threshold_of(sigma, delta=delta, votes=k)
    noisy = SeededNoise(7).add(np.ones((runs, k), dtype=np.int64), sigma=sigma)
    often = (noisy >= threshold).any(axis=1).mean()
    assert often <= delta + 5 * math.sqrt(delta * (1 - delta) / runs)
    lower = (noisy >= threshold - 1).any(axis=1).mean()
    assert lower > delta - 5 * math.sqrt(delta * (1 - delta) / runs), "the threshold is not needlessly high"


def test_what_many_hold_is_released_sorted_by_text() -> None:
    names, noisy = ["a", "b", "c", "d"], np.array([50, 7, 60, 8])
    values, told = released(names, noisy, 8)
    assert values == ("a", "c", "d")
    assert told.tolist() == [50, 60, 8]
    many = [f"{i:05d}" for i in range(MOST_CATEGORIES + 50)]
    values, told = released(many, np.arange(len(many)) + 100, 1)
    assert len(values) == MOST_CATEGORIES
    assert values[0] == "00050"


def test_of_categories_that_are_not_released_nothing_is_kept() -> None:
    schema, frame, subjects = open_world()
    asks = lay_out_domains(schema, mu=0.5, contribution=3)
    purse = Open()
    domains = learn_domains(frame, subjects, schema, asks, purse, contribution=3, delta=1e-12)
    learned, measured = domains.learned, domains.measured
    assert learned.values == {"ward": ("north", "south")}
    votes = next(m for m in measured if m.stage == "votes")
    assert votes.counts.shape == (2,)
    assert purse.exact[0].shape == (3,), "three were counted"
    assert "Miller" not in repr(learned) + repr(measured)
