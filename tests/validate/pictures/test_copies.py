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
        self.sigma = 0.0

    def add(self, exact: npt.NDArray[np.int64], *, sigma: float) -> npt.NDArray[np.int64]:
        self.tables.append(exact.copy())
        self.sigma = sigma
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
    assert 10.0 <= tap.sigma <= 10.4, "of a price of 0.1"
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


def test_either_column_of_pictures_can_tell_and_either_can_be_there() -> None:
    """Two columns. Of 40 training subjects ten have both pictures, ten only the first, ten only the second, ten none;
    the first column's copies are of five of those with both, the second's of five others: ten are found, 30 looked at.
    """
    one, two = drawn(40, seed=21), drawn(40, seed=22)
    gone_one, gone_two = np.arange(40) >= 20, ~((np.arange(40) < 10) | ((np.arange(40) >= 20) & (np.arange(40) < 30)))
    rows = album(one).rows
    real = Album(rows, {"a": pictures(one, gone_one), "b": pictures(two, gone_two)})
    nobody = Album(rows, {"a": pictures(drawn(40, seed=23), gone_one), "b": pictures(drawn(40, seed=24), gone_two)})
    near = {"a": np.concatenate([one[:5], drawn(195, seed=31)]), "b": np.concatenate([two[5:10], drawn(195, seed=32)])}
    fresh = {"a": drawn(300, seed=41), "b": drawn(300, seed=42)}
    for order in ("ab", "ba"):
        tap = Tap()
        membership(
            real,
            nobody,
            near={c: pictures(near[c]) for c in order},
            fresh={c: pictures(fresh[c]) for c in order},
            repeats=0.1,
            cut=0.995,
            mu=0.5,
            noise=tap,
            rng=np.random.default_rng(0),
        )
        (above, below), (others, rest) = tap.tables[0].tolist()
        assert (above + below, others + rest) == (30, 30)
        assert 10 <= above <= 13
        assert others <= 3


def test_nothing_fresh_to_compare_with_shows_nothing() -> None:
    real, gone = drawn(60, seed=1), np.ones(60, dtype=np.bool_)
    for near, fresh in ((real, None), (None, real)):
        found = membership(
            album(real),
            album(drawn(60, seed=2)),
            near={"scan": pictures(real, None if near is not None else gone)},
            fresh={"scan": pictures(real, None if fresh is not None else gone)},
            repeats=1.0,
            cut=0.9,
            mu=0.5,
            noise=SeededNoise(1),
            rng=np.random.default_rng(0),
        )
        assert found.upper == 1.0


def test_a_score_at_the_threshold_counts_as_a_copy() -> None:
    """Where all drawn pictures are alike every score is the threshold: everybody is said to be copied."""
    real, tap = np.repeat(drawn(1, seed=1), 60, axis=0), Tap()
    membership(
        album(real[:30]),
        album(real[30:]),
        near={"scan": pictures(real)},
        fresh={"scan": pictures(real)},
        repeats=1.0,
        cut=0.9,
        mu=0.5,
        noise=tap,
        rng=np.random.default_rng(0),
    )
    assert tap.tables[0].tolist() == [[30, 0], [30, 0]]


def test_a_gallery_s_numbers_are_whole_and_its_scores_are_those_of_brute_force() -> None:
    """Each mirror and shift tried by itself on the pixels, in whole numbers of any size."""
    made, real = drawn(90, seed=3), drawn(25, seed=4)
    real[:5] = made[:5]
    gallery = Gallery.of(pictures(made), rng=np.random.default_rng(0))

    def distances(pixels: Pixels, others: npt.NDArray[np.float32]) -> Floats:
        near = others.astype(np.int64)
        alone = gallery_vectors(gallery, pixels)
        products = (alone @ near.T) / 4000.0**2
        return np.asarray(np.sqrt(np.maximum(0, 2 - 2 * products.max(axis=1))))

    padded = np.pad(real, ((0, 0), (2, 2), (2, 2)), mode="edge")
    places = [padded[:, 2 + down : 22 + down, 2 + right : 22 + right] for down, right in SHIFTS]
    both = [turned for place in places for turned in (place, place[:, :, ::-1])]
    near = np.min([distances(place, gallery.near) for place in both], axis=0)
    far = np.min([distances(place, gallery.reference) for place in both[:2]], axis=0)
    wanted = (far + 0.02) / (near + 0.02)
    assert np.allclose(gallery.closeness(pictures(real)), wanted, rtol=1e-6)
    assert wanted[:5].min() > 5 > wanted[5:].max()


def gallery_vectors(gallery: Gallery, pixels: Pixels) -> npt.NDArray[np.int64]:
    """The vectors of pictures as they stand, by a gallery of theirs alone with another's centre and weight."""
    from privsynth.validate.pictures.bands import planes
    from privsynth.validate.pictures.copies import _contrasted, _vectors

    shown = _contrasted(next(planes(np.ascontiguousarray(pixels))))
    return _vectors(shown, gallery.centre, gallery.weight).astype(np.int64)


def test_about_as_many_copies_are_passed_over_as_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a copier's own pictures; never more than a twentieth of all."""
    gallery = Gallery.of(pictures(drawn(400, seed=3)), rng=np.random.default_rng(0))
    asked: list[int] = []

    def closeness(self: Gallery, shown: Pictures, *, passed_over: int = 0) -> Floats:
        asked.append(passed_over)
        return np.arange(len(shown), dtype=np.float64)

    monkeypatch.setattr(Gallery, "closeness", closeness)
    gone = np.arange(101) % 2 == 1
    fresh = pictures(drawn(101, seed=4), gone)
    assert [gallery.threshold(fresh, cut=cut, repeats=1.0) for cut in (0.5, 0.9)] == [50.0, 90.0]
    gallery.threshold(fresh, cut=0.5, repeats=2.25)
    gallery.threshold(fresh, cut=0.5, repeats=100.0)
    assert asked == [5, 5, 9, 20]


def test_those_passed_over_are_the_nearest() -> None:
    """Of pictures that are there twice among the others, and of them themselves."""
    made = drawn(60, seed=5)
    twice = np.concatenate([made, made, drawn(1200, seed=6)])
    gallery = Gallery.of(pictures(twice), rng=np.random.default_rng(0))
    scores = [gallery.closeness(pictures(made), passed_over=n) for n in (0, 1, 2)]
    assert (scores[0] == scores[1]).all()
    assert (scores[2] < scores[1]).all()


def test_flat_pictures_are_not_brought_to_the_contrast_of_others() -> None:
    """Grain of one grey level is no likeness: two flat pictures lie together, whatever the grain."""
    rng = np.random.default_rng(7)
    flat = np.asarray(128 + rng.integers(0, 2, (80, 20, 20)), dtype=np.uint8)
    gallery = Gallery.of(pictures(np.concatenate([flat[:40], drawn(300, seed=8)])), rng=rng)
    lengths = np.sqrt((gallery_shown(flat) ** 2).sum(axis=1))
    assert lengths.max() < 0.5
    assert np.isfinite(gallery.closeness(pictures(flat[40:]))).all()
    assert np.allclose(np.sqrt((gallery_shown(drawn(20, seed=9)) ** 2).sum(axis=1)), 1.0)


def gallery_shown(pixels: Pixels) -> Floats:
    from privsynth.validate.pictures.bands import planes
    from privsynth.validate.pictures.copies import _contrasted

    return _contrasted(next(planes(pixels)))
