"""Precision, recall, density, coverage, Vendi: against brute force, and which generators they set apart."""

from __future__ import annotations

import numpy as np
import pytest

from privsynth.data.pictures import Pixels
from privsynth.errors import SchemaError
from privsynth.validate.images.coverage import Coverage, covered, variance_ratio, vendi
from privsynth.validate.images.features import convolved
from tests.validate.images import worlds

REAL, CLASSES, FRESH, FRESH_CLASSES = worlds.halves()
SEEN = convolved(REAL)


def measured(pixels: Pixels) -> Coverage:
    return covered(SEEN, convolved(pixels))


def score(pixels: Pixels) -> float:
    return vendi(convolved(pixels), centre=SEEN.mean(axis=0))


def test_shares_are_those_of_brute_force() -> None:
    rng = np.random.default_rng(0)
    real, drawn = rng.normal(size=(30, 3)), rng.normal(size=(25, 3)) + 0.5

    def reach(points: np.ndarray[tuple[int, ...], np.dtype[np.float64]], i: int, k: int) -> float:
        return float(np.sort(np.linalg.norm(points - points[i], axis=1))[k])

    apart = np.linalg.norm(real[:, None] - drawn[None], axis=2)
    near = [[apart[i, j] <= reach(real, i, 3) for j in range(25)] for i in range(30)]
    theirs = [[apart[i, j] <= reach(drawn, j, 3) for j in range(25)] for i in range(30)]
    wide = [[apart[i, j] <= reach(real, i, 5) for j in range(25)] for i in range(30)]
    found = covered(real, drawn)
    assert found.precision == pytest.approx(np.mean(np.any(near, axis=0)))
    assert found.recall == pytest.approx(np.mean(np.any(theirs, axis=1)))
    assert found.density == pytest.approx(np.sum(wide) / 5 / 25)
    assert found.coverage == pytest.approx(np.mean(np.any(wide, axis=1)))


def test_fresh_people_are_covered() -> None:
    found = measured(FRESH)
    assert min(found.precision, found.recall, found.coverage) > 0.6
    assert found.density == pytest.approx(1, abs=0.25)


def test_blur_and_noise_lower_precision() -> None:
    good = measured(FRESH)
    for worse in (worlds.blurred(FRESH), worlds.noisy(FRESH)):
        assert measured(worse).precision < 0.5 * good.precision
        assert measured(worse).density < 0.5 * good.density


def test_one_kind_lowers_recall_coverage_and_kinds() -> None:
    good, kinds = measured(FRESH), score(FRESH)
    one = worlds.one_kind(FRESH, FRESH_CLASSES)
    assert measured(one).recall < 0.5 * good.recall
    assert measured(one).coverage < 0.3 * good.coverage
    assert score(one) < 0.5 * kinds
    assert measured(one).precision > 0.6, "what it draws is good"


def test_a_class_of_one_picture_has_no_variance() -> None:
    fallen = worlds.collapsed(FRESH, FRESH_CLASSES)
    assert measured(fallen).coverage < 0.2
    ratio = variance_ratio(REAL, CLASSES, fallen, FRESH_CLASSES)
    assert set(ratio) == set(range(10))
    assert max(ratio.values()) < 0.01
    good = variance_ratio(REAL, CLASSES, FRESH, FRESH_CLASSES)
    assert min(good.values()) > 0.75
    assert max(good.values()) < 1.3
    assert variance_ratio(REAL[CLASSES == 1], CLASSES[CLASSES == 1], FRESH, FRESH_CLASSES).keys() == {1}


def test_copies_are_covered_wholly() -> None:
    """No measure of privacy: a generator that hands out its training pictures has the best figures."""
    found = measured(REAL)
    assert (found.precision, found.recall, found.coverage) == (1, 1, 1)
    assert score(REAL) > 0.8 * score(FRESH)


def test_vendi_counts_kinds_that_have_nothing_in_common() -> None:
    corners = np.eye(4)[np.arange(40) % 4]
    assert vendi(corners, centre=np.zeros(4)) == pytest.approx(4)
    assert vendi(corners[:1], centre=np.zeros(4)) == pytest.approx(1)


def test_too_few_neighbours_are_refused() -> None:
    with pytest.raises(SchemaError, match="5 real"):
        covered(np.zeros((5, 2)), np.zeros((9, 2)))
