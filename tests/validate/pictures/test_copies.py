"""The attack on pictures: which generators it finds, which it lets pass, and how far one subject moves it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.ndimage import gaussian_filter
from scipy.stats import chi2

from privsynth.data.pictures import Pictures, Pixels
from privsynth.privacy.events import Provenance
from privsynth.privacy.noise import SeededNoise
from privsynth.validate import paid
from privsynth.validate.pictures.bands import Album
from privsynth.validate.pictures.copies import SHIFTS, Gallery, membership
from tests.validate.pictures.drawn import album, drawn, pictures, without

LIMIT, MU = 0.12, 0.25
TRAIN, OTHERS, NEAR, FRESH = 1200, 800, 1500, 500
Floats = npt.NDArray[np.float64]
Leak = Callable[[Floats, np.random.Generator], Any]


def judged(synthetic: Pixels, *, train: Album, holdout: Album, seed: int = 1) -> paid.Membership:
    return membership(
        train,
        holdout,
        near={"scan": pictures(synthetic[:NEAR])},
        fresh={"scan": pictures(synthetic[NEAR:])},
        repeats=NEAR / TRAIN,
        cut=0.99,
        mu=MU,
        noise=SeededNoise(seed),
        rng=np.random.default_rng(seed),
    )


@pytest.fixture(scope="module")
def people() -> tuple[Album, Album]:
    real = drawn(TRAIN + OTHERS, seed=5)
    return album(real[:TRAIN]), album(real[TRAIN:])


def _half(x: Floats, rng: np.random.Generator) -> Any:
    return np.where(rng.random(len(x))[:, None, None] < 0.5, x, drawn(len(x), seed=99))


LEAKS: dict[str, Leak] = {
    "copies": lambda x, rng: x,
    "mirrored": lambda x, rng: x[:, :, ::-1],
    "one of both": lambda x, rng: np.where(rng.random(len(x))[:, None, None] < 0.5, x, x[:, :, ::-1]),
    "all moved alike": lambda x, rng: np.roll(x, 1, axis=2),
    "moved anyhow": lambda x, rng: np.stack([np.roll(p, d, axis=(0, 1)) for p, d in zip(x, _steps(x, rng))]),  # noqa: B905
    "noisy": lambda x, rng: x + rng.normal(0, 20, x.shape),
    "all brighter": lambda x, rng: 0.8 * x + 40,
    "each brighter": lambda x, rng: rng.uniform(0.7, 1.1, (len(x), 1, 1)) * x + rng.uniform(-20, 40, (len(x), 1, 1)),
    "blurred": lambda x, rng: gaussian_filter(x, (0, 0.7, 0.7)),
    "blended": lambda x, rng: 0.75 * x + 0.25 * rng.permutation(x),
    "half of them copies": _half,
}


def _steps(x: Floats, rng: np.random.Generator) -> list[tuple[int, int]]:
    return [((0, 1), (1, 0), (0, -1), (-1, 0))[i] for i in rng.integers(0, 4, len(x))]


@pytest.mark.parametrize("leak", list(LEAKS))
def test_a_generator_that_copies_is_refused(people: tuple[Album, Album], leak: str) -> None:
    """Advantages are 0.26 and more, with a standard error of 0.02."""
    rng = np.random.default_rng(7)
    real = people[0].pictures["scan"].pixels.astype(np.float64)
    made = LEAKS[leak](real[rng.integers(0, TRAIN, NEAR + FRESH)], rng)
    found = judged(np.rint(np.clip(made, 0, 255)).astype(np.uint8), train=people[0], holdout=people[1])
    assert found.advantage > 0.2
    assert found.upper > LIMIT


def test_a_safe_generator_passes(people: tuple[Album, Album]) -> None:
    """Fresh pictures of the same law, ones of another, flat ones: refused less often than 1 time in 1,000 each."""
    asked = {"limit": LIMIT, "members": float(TRAIN), "others": float(OTHERS), "mu": MU}
    assert paid.false_refusal(**asked) < 1e-3
    rough = np.random.default_rng(3).integers(0, 256, (NEAR + FRESH, 20, 20), dtype=np.uint8)
    flat = np.full((NEAR + FRESH, 20, 20), 130, dtype=np.uint8)
    for synthetic in (drawn(NEAR + FRESH, seed=8), drawn(NEAR + FRESH, seed=9), rough, flat):
        assert judged(synthetic, train=people[0], holdout=people[1]).upper <= LIMIT


def test_what_is_said_of_a_picture_is_its_own(people: tuple[Album, Album]) -> None:
    """To the last bit: whoever stands beside it, in whichever order."""
    real = people[0].pictures["scan"].pixels
    gallery = Gallery.of(pictures(drawn(700, seed=2)), rng=np.random.default_rng(0))
    whole = gallery.closeness(pictures(real))
    assert (gallery.closeness(pictures(real[::-1])) == whole[::-1]).all()
    for i in (0, 511, 512, 777):
        assert gallery.closeness(pictures(real[i : i + 1]))[0] == whole[i]
    assert (gallery.closeness(pictures(real[:, :, ::-1]))[:300] > 0).all()


@pytest.mark.parametrize("colours", [False, True])
def test_places_and_mirrors_of_a_copy_are_found(colours: bool) -> None:
    made = drawn(300, seed=4, side=24)
    shown = np.repeat(made[..., None], 3, axis=3) if colours else made
    gallery = Gallery.of(pictures(shown), rng=np.random.default_rng(0))
    other = gallery.closeness(
        pictures(drawn(300, seed=6, side=24)[..., None].repeat(3, 3) if colours else drawn(300, seed=6, side=24))
    )
    for down, right in SHIFTS:
        moved = np.pad(shown, ((0, 0), (2, 2), (2, 2)) + ((0, 0),) * colours, mode="edge")
        moved = moved[:, 2 + down : 26 + down, 2 + right : 26 + right]
        for turned in (moved, moved[:, :, ::-1]):
            assert np.median(gallery.closeness(pictures(np.ascontiguousarray(turned)))) > other.max()


class Tap:
    """Keeps the exact table that a rule would have noised: to test its sensitivity."""

    provenance: Provenance = "seeded"

    def __init__(self) -> None:
        self.tables: list[npt.NDArray[np.int64]] = []

    def add(self, exact: npt.NDArray[np.int64], *, sigma: float) -> npt.NDArray[np.int64]:
        self.tables.append(exact.copy())
        return exact


def test_one_subject_moves_one_cell_by_one() -> None:
    real = drawn(360, seed=1)
    train, holdout = album(real[:180], each=3), album(real[180:], each=3)
    made = np.concatenate([real[:150], drawn(550, seed=2)])
    tap = Tap()

    def ask(one: Album, other: Album) -> None:
        membership(
            one,
            other,
            near={"scan": pictures(made[:400])},
            fresh={"scan": pictures(made[400:])},
            repeats=1.0,
            cut=0.9,
            mu=0.1,
            noise=tap,
            rng=np.random.default_rng(0),
        )

    ask(train, holdout)
    for subject in range(0, 60, 7):
        ask(without(train, subject), holdout)
        ask(train, without(holdout, subject))
    base, *neighbours = tap.tables
    assert base.sum() == 120
    assert base[0, 0] > 40, "the copies are found"
    for table in neighbours:
        assert np.abs(table - base).sum() == 1


def test_the_noise_is_what_is_paid_for() -> None:
    """χ² of 2,000 cells; a standard deviation a tenth smaller or larger would be seen. False alarms: 1 in a million."""
    said = np.arange(500) < 200
    tables = [paid.told_apart(said, ~said, mu=0.05, noise=SeededNoise(i)) for i in range(500)]
    sigma = tables[0].sigma
    assert 20.0 <= sigma <= 20.6
    off = np.array([[*t.members, *t.others] for t in tables]) - [200, 300, 300, 200]
    low, high = chi2(off.size).ppf([5e-7, 1 - 5e-7])
    assert low < (off**2).sum() / sigma**2 < high
    for wrong in (0.9 * sigma, 1.1 * sigma):
        assert not low < (off**2).sum() / wrong**2 < high


def test_missing_pictures_are_nobody_s_copies() -> None:
    real = drawn(200, seed=1)
    gone = np.arange(200) % 2 == 0
    gallery = Gallery.of(pictures(real, gone), rng=np.random.default_rng(0))
    scores = gallery.closeness(pictures(real, gone))
    assert (scores[gone] == 0).all()
    assert (scores[~gone] > 5).all()
    nobody = Pictures(np.zeros_like(real), np.ones(200, dtype=np.bool_))
    rows = album(real).rows
    found = membership(
        Album(rows, {"scan": nobody}),
        Album(rows, {"scan": nobody}),
        near={"scan": nobody},
        fresh={"scan": nobody},
        repeats=1.0,
        cut=0.9,
        mu=0.5,
        noise=SeededNoise(1),
        rng=np.random.default_rng(0),
    )
    assert found.upper == 1.0, "nothing to look at, so nothing is shown"


def test_missing_pictures_do_not_hide_a_copier(people: tuple[Album, Album]) -> None:
    """Of a quarter of the people there is a picture, and each is copied: as clear as if there were nobody else. The
    noise is 4 people, of 300 and 200."""

    def thinned(held: Pictures) -> Pictures:
        return Pictures(held.pixels, np.arange(len(held)) % 4 != 0)

    few = [Album(side.rows, {"scan": thinned(side.pictures["scan"])}) for side in people]
    there = few[0].pictures["scan"]
    copies = there.pixels[~there.missing][np.random.default_rng(1).integers(0, 300, NEAR + FRESH)]
    found = membership(
        few[0],
        few[1],
        near={"scan": thinned(pictures(copies[:NEAR]))},
        fresh={"scan": thinned(pictures(copies[NEAR:]))},
        repeats=NEAR / TRAIN,
        cut=0.99,
        mu=MU,
        noise=SeededNoise(4),
        rng=np.random.default_rng(4),
    )
    assert abs(sum(found.members) - 300) < 40
    assert abs(sum(found.others) - 200) < 40
    assert found.upper > 0.4, "of all 1,200 it would be a quarter of that"


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (3, 2), (8, 8)])
def test_tiny_pictures_are_compared_too(shape: tuple[int, int]) -> None:
    made = np.random.default_rng(0).integers(0, 256, (60, *shape), dtype=np.uint8)
    scores = Gallery.of(pictures(made), rng=np.random.default_rng(0)).closeness(pictures(made))
    assert np.isfinite(scores).all()
