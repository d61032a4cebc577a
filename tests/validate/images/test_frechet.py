"""The distance of two normal laws: known values, and which generators it sets apart."""

from __future__ import annotations

import numpy as np
import pytest

from privsynth.errors import SchemaError
from privsynth.validate.images.features import convolved, octaves
from privsynth.validate.images.frechet import frechet, placed
from tests.validate.images import worlds

REAL, CLASSES, FRESH, FRESH_CLASSES = worlds.halves()


def test_what_it_is_of_known_laws() -> None:
    """Moved by a: a²; stretched from s to t in each of d directions: d·(s − t)². Sets of exact moments."""
    rng = np.random.default_rng(0)
    held = rng.normal(size=(500, 4))
    values, axes = np.linalg.eigh(np.cov(held, rowvar=False, ddof=0))
    exact = (held - held.mean(0)) @ (axes / np.sqrt(values))
    assert frechet(exact, exact) == pytest.approx(0, abs=1e-9)
    assert frechet(exact, exact + np.array([3.0, 0, 4, 0])) == pytest.approx(25)
    assert frechet(2 * exact, 5 * exact) == pytest.approx(4 * 9)
    assert frechet(exact, exact * [1.0, 1, 1, 0]) == pytest.approx(1)


def test_singular_covariances_have_one() -> None:
    """More directions than vectors."""
    found = frechet(convolved(REAL[:20]), convolved(FRESH[:20]))
    assert np.isfinite(found)
    assert found == pytest.approx(frechet(convolved(FRESH[:20]), convolved(REAL[:20])), rel=1e-6)


@pytest.mark.parametrize("space", [convolved, octaves])
@pytest.mark.parametrize("fault", ["blurred", "noisy", "collapsed", "one kind", "flat"])
def test_every_fault_is_further_than_fresh_people(space: object, fault: str) -> None:
    seen = convolved if space is convolved else octaves
    drawn = {
        "blurred": worlds.blurred(FRESH),
        "noisy": worlds.noisy(FRESH),
        "collapsed": worlds.collapsed(FRESH, FRESH_CLASSES),
        "one kind": worlds.one_kind(FRESH, FRESH_CLASSES),
        "flat": worlds.flat(FRESH, FRESH_CLASSES),
    }[fault]
    real = seen(REAL)
    assert frechet(real, seen(drawn)) > 3 * frechet(real, seen(FRESH))


def test_copies_of_real_pictures_are_near() -> None:
    """No measure of privacy: a generator that hands out its training pictures is nearest of all."""
    real = convolved(REAL)
    assert frechet(real, real) < frechet(real, convolved(FRESH))


def test_a_good_one_stands_at_the_floor_and_class_means_at_the_null() -> None:
    real, rng = convolved(np.concatenate([REAL, FRESH])), np.random.default_rng(3)
    flat = convolved(worlds.flat(REAL, CLASSES))
    good = placed(real, real, flat, rng=rng)
    assert abs(good.share) < 0.05
    assert placed(real, flat, flat, rng=rng).share == pytest.approx(1, abs=0.05)
    half_blurred = (worlds.blurred(FRESH) // 2 + FRESH // 2).astype(np.uint8)
    assert 0.05 < placed(real, convolved(half_blurred), flat, rng=rng).share < 1


@pytest.mark.parametrize("sizes", [(1, 5, 3, 3), (5, 1, 3, 3), (5, 5, 3, 4)])
def test_sets_that_cannot_be_compared(sizes: tuple[int, int, int, int]) -> None:
    with pytest.raises(SchemaError, match="sets of"):
        frechet(np.zeros((sizes[0], sizes[2])), np.zeros((sizes[1], sizes[3])))
