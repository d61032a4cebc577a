"""The rule that drawn pictures go with their rows: what it sees, and how far one subject moves it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import chi2

from privsynth.errors import UsageError
from privsynth.privacy.noise import SeededNoise
from privsynth.validate import paid
from privsynth.validate.coded import Rows
from privsynth.validate.pictures.attribute import _PENALTY, _Eye, _steps, _whole, attribute
from privsynth.validate.pictures.bands import Album
from privsynth.validate.utility import fit_classes
from tests.validate.pictures.drawn import CODEC, album, drawn, pictures, without
from tests.validate.pictures.test_copies import Tap

KIND, LEFT, WARD, AGE = (CODEC.index[name] for name in ("kind", "left", "ward", "age"))
Cells = npt.NDArray[np.int32]


def cells(n: int, *, seed: int, null: float = 0.0) -> Cells:
    rng = np.random.default_rng(seed)
    out = np.column_stack([rng.integers(0, c.cells - c.nullable, n) for c in CODEC.columns]).astype(np.int32)
    out[rng.random(n) < null, KIND] = 3
    return out


def shown(n: int, *, seed: int, null: float = 0.0, each: int = 1) -> Album:
    """Rows whose pictures tell their kind."""
    held = cells(n, seed=seed, null=null)
    return album(drawn(n, seed=seed + 1000, kinds=held[:, KIND].astype(np.int64) % 3), held, each=each)


def judged(holdout: Album, synthetic: Album, **changes: Any) -> paid.Utility:
    asked: dict[str, Any] = {
        "columns": CODEC.columns,
        "target": KIND,
        "by": [LEFT],
        "contribution": 1,
        "mu": 1.0,
        "noise": SeededNoise(4),
    }
    return attribute(holdout, synthetic=synthetic, **{**asked, **changes})


def test_pictures_that_go_with_their_rows_are_told_from_ones_that_do_not() -> None:
    """Right: over 0.9. Of shuffled rows 0.29 to 0.40 over twenty seeds, by chance a third."""
    holdout, synthetic = shown(900, seed=1), shown(1500, seed=2)
    good = judged(holdout, synthetic)
    mixed = Album(album(synthetic.pictures["scan"].pixels, cells(1500, seed=77)).rows, synthetic.pictures)
    bad = judged(holdout, mixed)
    assert good.accuracy is not None
    assert good.balanced is not None
    assert good.gap is not None
    assert bad.balanced is not None
    assert good.accuracy[1] > 0.85
    assert good.balanced[1] > 0.85
    assert bad.balanced[0] < 0.5
    assert [(g.column, g.group) for g in good.groups] == [("left", "false"), ("left", "true")]
    assert good.gap[1] < 0.15


def test_colours_are_seen() -> None:
    """Two kinds of one brightness, told apart by their colour alone."""
    rng = np.random.default_rng(0)

    def coloured(n: int, seed: int) -> Album:
        held = cells(n, seed=seed)
        pixels = np.repeat(drawn(n, seed=seed)[..., None] // 2 + 40, 3, axis=3)
        pixels[..., 0] += np.where(held[:, LEFT] == 1, 24, 0).astype(np.uint8)[:, None, None]
        pixels[..., 1] -= np.where(held[:, LEFT] == 1, 12, 0).astype(np.uint8)[:, None, None]
        return album(pixels + rng.integers(0, 9, pixels.shape, dtype=np.uint8), held)

    found = judged(coloured(600, 1), coloured(1000, 2), target=LEFT, by=[])
    assert found.accuracy is not None
    assert found.accuracy[1] > 0.9


def test_classes_are_cells_or_stretches_and_nulls_stay_out() -> None:
    tap = Tap()
    holdout = shown(400, seed=3, null=0.3)
    judged(holdout, shown(500, seed=4, null=0.3), noise=tap)
    there = int((holdout.rows.codes[:, KIND] < 3).sum())
    assert tap.tables[0].shape == (2, 3, 2)
    assert tap.tables[0].sum() == there < 400
    judged(holdout, shown(500, seed=4), target=AGE, by=[], noise=tap)
    assert tap.tables[1].shape == (1, 5, 2)
    with pytest.raises(UsageError, match="too many groups"):
        judged(holdout, shown(500, seed=4), target=WARD)


def test_rows_without_a_picture_stay_out() -> None:
    holdout, tap = shown(300, seed=5), Tap()
    gone = np.arange(300) % 3 == 0
    partly = Album(holdout.rows, {"scan": pictures(holdout.pictures["scan"].pixels, gone)})
    judged(partly, shown(500, seed=6), noise=tap)
    assert tap.tables[0].sum() == 200
    nobody = Album(holdout.rows, {"scan": pictures(holdout.pictures["scan"].pixels, np.ones(300, dtype=np.bool_))})
    judged(nobody, shown(500, seed=6), noise=tap)
    judged(partly, nobody, noise=tap)
    assert tap.tables[1].sum() == 0
    assert tap.tables[2].sum() == 200


def test_a_model_of_one_class_guesses_it() -> None:
    synthetic, tap = shown(300, seed=7), Tap()
    same = synthetic.rows.codes.astype(np.int32)
    same[:, KIND] = 1
    judged(shown(300, seed=8), Album(album(drawn(300, seed=1), same).rows, synthetic.pictures), by=[], noise=tap)
    assert (tap.tables[0][0, [0, 2], 1] == 0).all()
    assert tap.tables[0][0, 1, 0] == 0


def test_one_subject_moves_the_tables_by_at_most_k() -> None:
    k = 3
    holdout, synthetic = shown(180, seed=9, null=0.1, each=k), shown(400, seed=10)
    for by in ([], [LEFT], [LEFT, AGE]):
        tap = Tap()
        judged(holdout, synthetic, by=by, contribution=k, noise=tap)
        count = len(tap.tables)
        assert count == max(1, len(by))
        for subject in range(0, 60, 6):
            judged(without(holdout, subject), synthetic, by=by, contribution=k, noise=tap)
        for i, table in enumerate(tap.tables[count:]):
            off = table - tap.tables[i % count]
            assert (off <= 0).all()
            assert -off.sum() <= k


def test_the_noise_is_what_is_paid_for() -> None:
    """χ² of 2,400 cells at k = 2 and two tables; a tenth less or more would be seen. False alarms: 1 in a million."""
    n, k, mu = 400, 2, 0.1
    truth, right = np.arange(n) % 3, np.arange(n) % 2 == 0
    groups = [("a", np.arange(n) % 2, ("x", "y")), ("b", np.arange(n) // 200, ("x", "y"))]
    offs = []
    for seed in range(100):
        kept = Kept(seed)
        found = paid.count_right(truth, right, 3, groups, contribution=k, mu=mu, noise=kept)
        offs += [kept.noisy[i] - kept.exact[i] for i in range(2)]
    assert k * 2**0.5 / mu <= found.sigma <= 1.04 * k * 2**0.5 / mu
    off = np.array(offs, dtype=np.float64)
    low, high = chi2(off.size).ppf([5e-7, 1 - 5e-7])
    assert low < (off**2).sum() / found.sigma**2 < high
    for wrong in (0.9 * found.sigma, 1.1 * found.sigma):
        assert not low < (off**2).sum() / wrong**2 < high


class Kept(Tap):
    """Seeded noise, and both what it was given and what it gave."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.exact, self.noisy, self._noise = self.tables, list[npt.NDArray[np.int64]](), SeededNoise(seed)

    def add(self, exact: npt.NDArray[np.int64], *, sigma: float) -> npt.NDArray[np.int64]:
        self.noisy.append(self._noise.add(super().add(exact, sigma=sigma), sigma=sigma))
        return self.noisy[-1]


def test_the_classifier_computes_in_whole_numbers_below_2_to_the_53() -> None:
    """So no order of adding, and no other row, can turn a guess."""
    rng = np.random.default_rng(11)
    seen = np.rint(rng.normal(size=(400, 132)) * 10.0 ** rng.integers(0, 5, 132))
    labels = rng.integers(0, 3, 400)
    eye = _Eye.taught(seen, labels)
    steps = _steps(np.concatenate([seen, seen[:9] * 1e9]), eye.centre, eye.spread)
    for whole in (steps, eye.weights, eye.offsets):
        assert (whole == np.rint(whole)).all()
    assert np.abs(steps).max() == 2**20
    assert np.abs(_whole(np.array([1e9, -1e9]), 16)).max() == 2**24
    most = 132 * 2**20 * 2**24 + 2**32
    assert most < 2**53
    exact = steps.astype(np.int64).astype(object) @ eye.weights.astype(np.int64).astype(object)
    exact = exact + eye.offsets.astype(np.int64).astype(object)
    assert np.array_equal(np.asarray(exact, dtype=np.float64), steps @ eye.weights + eye.offsets)
    _, weights, offsets = fit_classes(steps[:400] / 256, labels, _PENALTY / 400)
    assert np.allclose(eye.weights / 2**16, weights.T, atol=2.0**-16)
    assert np.allclose(eye.offsets / 2**24, offsets, atol=2.0**-24)
    wanted = (steps[:400] / 256) @ (eye.weights / 2**16) + eye.offsets / 2**24
    assert np.array_equal(eye(seen), eye.labels[wanted.argmax(axis=1)])


def test_each_row_is_guessed_by_itself() -> None:
    holdout, synthetic = shown(90, seed=12), shown(300, seed=13)
    whole, alone = Tap(), Tap()
    judged(holdout, synthetic, by=[], noise=whole)
    for subject in range(90):
        keep = holdout.rows.group == subject
        one = Album(
            Rows.of(holdout.rows.codes[keep], np.array(["p"], dtype=object)),
            {name: held.keep(keep) for name, held in holdout.pictures.items()},
        )
        judged(one, synthetic, by=[], noise=alone)
    assert np.array_equal(sum(alone.tables), whole.tables[0])


def test_a_row_with_one_of_two_pictures_is_asked() -> None:
    held = shown(120, seed=14)
    gone = np.arange(120) % 2 == 0
    pixels = held.pictures["scan"].pixels
    both = Album(held.rows, {"a": pictures(pixels, gone), "b": pictures(pixels, ~gone)})
    tap = Tap()
    judged(both, both, by=[], noise=tap)
    assert tap.tables[0].sum() == 120


def test_rows_without_the_value_teach_nothing() -> None:
    """Synthetic rows whose kind is null show pictures of one kind only: nobody is guessed to be null."""
    synthetic, tap = shown(400, seed=15, null=0.5), Tap()
    judged(shown(200, seed=16), synthetic, by=[], noise=tap)
    wrong, right = tap.tables[0].sum(axis=(0, 1))
    assert right > 0.8 * (wrong + right)
    assert _Eye.taught(np.zeros((0, 3)), np.zeros(0, dtype=np.int64))(np.zeros((2, 3))).tolist() == [0, 0]


def test_missing_pictures_teach_nothing() -> None:
    """Of three drawn rows two have no picture, and what stands in its place is of another kind than the row's."""
    synthetic, tap = shown(600, seed=15), Tap()
    gone = np.arange(600) % 3 > 0
    wrong = synthetic.rows.codes.astype(np.int32)
    wrong[gone, KIND] = (wrong[gone, KIND] + 1) % 3
    people = synthetic.rows.group.astype(object)
    partly = Album(Rows.of(wrong, people), {"scan": pictures(synthetic.pictures["scan"].pixels, gone)})
    judged(shown(200, seed=16), partly, by=[], noise=tap)
    assert tap.tables[0].sum(axis=(0, 1))[1] > 160


@pytest.mark.parametrize("by", [[], [LEFT], [LEFT, AGE]])
def test_the_rule_s_noise_is_of_its_contribution_tables_and_price(by: list[int]) -> None:
    """k = 3 at μ = 0.5: σ = 6·√tables, and what is added is of it."""
    tap = Sigmas()
    found = judged(shown(60, seed=17, each=3), shown(200, seed=18), by=by, contribution=3, mu=0.5, noise=tap)
    tables = max(1, len(by))
    assert 6 * tables**0.5 <= found.sigma <= 1.04 * 6 * tables**0.5
    assert tap.sigmas == [found.sigma] * tables


class Sigmas(Tap):
    """Notes what noise was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.sigmas: list[float] = []

    def add(self, exact: npt.NDArray[np.int64], *, sigma: float) -> npt.NDArray[np.int64]:
        self.sigmas.append(sigma)
        return super().add(exact, sigma=sigma)
