"""What a reader of one release can learn, alone or beside earlier ones, by exact integration: of two Gaussian holds,
μ = 1 and then μ = 0.1.

See docs/proofs/filters.md, *One release alone*. The reader's *view* is a measure on the line (what release 2 shows) and
on a point (that it did not appear); the subject is in the data or not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import pytest

OTHER, OWN = 1.0, 0.1  # μ of the other hold, and of the release that is read
EPSILON = 0.3
Y = np.linspace(-9.0, 10.0, 40_001)
Masses = npt.NDArray[np.float64]
Rule = Callable[[float], float]  # what the other hold shows -> the chance that release 2 is handed out


def normal(mean: float) -> Masses:
    """(cells,) the masses of N(mean, 1) about the points ``Y``."""
    density: Masses = np.exp(-((Y - mean) ** 2) / 2)
    return normed(density)


def normed(masses: Masses) -> Masses:
    """The same, summing to 1."""
    whole: Masses = masses / masses.sum()
    return whole


def views(publish: Rule, *, carries: bool = False) -> tuple[Masses, Masses]:
    """The reader's view without and with the subject: rows that say what a public field of the recipe says.

    Args:
        publish: how it is decided whether release 2 appears.
        carries: whether its recipe was chosen after the other output, and says in a field whether that was above ½.
    """
    out = []
    for present in (0.0, 1.0):
        other, own = normal(OTHER * present), normal(OWN * present)
        handed = np.array([publish(y) for y in Y])
        field = (Y > 0.5) if carries else np.zeros(len(Y), dtype=bool)
        rows = [np.append(own * (other * handed)[field == told].sum(), 0.0) for told in (False, True)]
        rows[0][-1] = (other * (1 - handed)).sum()
        out.append(np.array(rows))
    return out[0], out[1]


def delta(epsilon: float, p: Masses, q: Masses) -> float:
    """The larger of the two hockey sticks at ``epsilon``; at 0 the reader's advantage."""
    return max(float(np.maximum(a - math.exp(epsilon) * b, 0).sum()) for a, b in ((p, q), (q, p)))


def gaussian(mu: float, epsilon: float = EPSILON) -> float:
    """δ of a Gaussian of ``mu``."""
    cdf = NormalDist().cdf
    return cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * cdf(-mu / 2 - epsilon / mu)


@pytest.mark.parametrize("chance", [1.0, 0.3])
def test_a_committed_recipe_tells_what_it_was_priced_for(chance: float) -> None:
    """Whatever else was sold and shown, as long as a coin of its own or nobody decides whether it appears."""
    p, q = views(lambda _: chance)
    assert delta(0.0, p, q) == pytest.approx(chance * (2 * NormalDist().cdf(OWN / 2) - 1), rel=1e-3)
    assert delta(EPSILON, p, q) == pytest.approx(chance * gaussian(OWN), rel=1e-2)


@pytest.mark.parametrize("carries", [False, True])
def test_what_it_adds_to_all_earlier_outputs(carries: bool) -> None:
    """Of somebody who knows what the other hold shows, whatever was chosen by it: at each such answer its own price."""
    for answer in (-1.0, 0.4, 0.6, 3.0):
        p, q = (normal(OWN * present) for present in (0.0, 1.0))
        handed = [np.append(own * (answer > 0.5 or carries), float(answer <= 0.5 and not carries)) for own in (p, q)]
        assert delta(0.0, *handed) <= (2 * NormalDist().cdf(OWN / 2) - 1) * (1 + 1e-3)
        assert delta(EPSILON, *handed) <= gaussian(OWN) * 1.01


@pytest.mark.parametrize("first", [0.02, 0.06, 0.09])
def test_what_it_adds_in_two_steps_with_another_hold_between(first: float) -> None:
    """Fit, then another hold whose size the fit's answer chooses, then the gate: what its own two steps add, along the
    path of somebody who holds everything, is the price of both together: whatever was between changes neither law."""
    second = math.sqrt(OWN**2 - first**2)
    answers = normal(first)
    seen = 0.0
    for y, mass in zip(Y[::20], answers[::20] * 20, strict=True):
        left = EPSILON - first * (y - first / 2)  # of ε after the fit; given all since, the gate is of one price
        seen += mass * gaussian(second, left)
    assert seen == pytest.approx(gaussian(OWN), rel=1e-2)


def test_a_recipe_chosen_after_another_output_carries_it() -> None:
    p, q = views(lambda _: 1.0, carries=True)
    assert delta(0.0, p, q) > 2 * NormalDist().cdf(OTHER / 2) - 1.001 > 0.38
    assert gaussian(OWN) < delta(EPSILON, p, q) < gaussian(math.hypot(OTHER, OWN)), "the cap of both bounds it"


def test_a_choice_to_publish_carries_what_it_was_made_from() -> None:
    p, q = views(lambda y: float(y > 0.5))
    assert delta(0.0, p, q) > 0.38
    assert gaussian(OWN) < delta(EPSILON, p, q) < gaussian(math.hypot(OTHER, OWN))
    rare = NormalDist().inv_cdf(0.99)
    outsiders, insiders = (1 - view[0][-1] for view in views(lambda y: float(y > rare)))
    assert outsiders == pytest.approx(0.01, rel=1e-2)
    assert insiders == pytest.approx(0.0925, rel=1e-2), "recognised by its appearance alone"
    assert NormalDist().cdf(NormalDist().inv_cdf(0.01) + OWN) < 0.0131, "by the model"


def test_to_look_only_at_what_appeared_is_no_remedy_where_both_decide() -> None:
    """Handed out if the two together are large: what then appears is told apart better than the release's own price."""
    seen = []
    for present in (0.0, 1.0):
        other, own = NormalDist(OTHER * present), normal(OWN * present)
        kept = own * np.array([1 - other.cdf(3.0 - y) for y in Y])
        seen.append(normed(kept))
    assert delta(0.0, *seen) > 1.5 * (2 * NormalDist().cdf(OWN / 2) - 1)
