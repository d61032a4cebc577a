"""Four processes, two, one: the invariants of distributed private training, with gloo on the CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest, chi2, norm

from tests.privacy.dpsgd.ranks import FULL, RANKS, SPARSE, STILL

ALARM = 1e-6  # of every statistical test here, for a right loop
ROOT = Path(__file__).parents[3]
Arrays = dict[str, NDArray[Any]]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what each rank recorded."""
    folder = tmp_path_factory.mktemp("ranks")
    settings = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore", "-m", "tests.privacy.dpsgd.ranks"]
    running = [
        subprocess.Popen([*command, str(rank), str(folder)], env=settings, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for rank in range(RANKS)
    ]
    faults = [process.communicate(timeout=300)[1] for process in running]
    assert [process.returncode for process in running] == [0] * RANKS, "\n".join(faults)
    return folder


def of(told: Path, scene: str, world: int) -> list[Arrays]:
    """What each rank of ``world`` recorded."""
    out = []
    for rank in range(world):
        with np.load(told / f"{scene}, {rank} of {world}.npz") as file:
            out.append(dict(file))
    return out


def spread_fits(noise: NDArray[np.float64], deviation: float) -> bool:
    """Two-sided chi-square test of independent Gaussians of this standard deviation."""
    statistic = float(np.sum(noise**2)) / deviation**2
    return bool(chi2.ppf(ALARM / 2, noise.size) < statistic < chi2.isf(ALARM / 2, noise.size))


STILL_DEVIATION = STILL.noise * STILL.clipping_norm / STILL.divisor


@pytest.mark.parametrize("world", [1, 2, 4])
def test_1_noise_is_drawn_once_for_all(told: Path, world: int) -> None:
    assert spread_fits(of(told, "pure noise", world)[0]["gradients"], STILL_DEVIATION)


def test_1_noise_on_every_rank_is_found(told: Path) -> None:
    gradients = of(told, "noise on every rank", 2)[0]["gradients"]
    assert not spread_fits(gradients, STILL_DEVIATION)
    assert spread_fits(gradients, STILL_DEVIATION * np.sqrt(2))


@pytest.mark.parametrize("scene", ["pure noise", "sparse", "full"])
@pytest.mark.parametrize("world", [2, 4])
def test_2_all_ranks_have_the_same_weights_at_every_step(told: Path, scene: str, world: int) -> None:
    first, *others = of(told, scene, world)
    assert all(np.array_equal(first["weights"], other["weights"]) for other in others)


def apart(a: Arrays, b: Arrays) -> bool:
    """Whether two ranks choose independently: the correlation of their coins, place by place."""
    left, right = a["chosen"].ravel().astype(float), b["chosen"].ravel().astype(float)
    return bool(abs(np.corrcoef(left, right)[0, 1]) < norm.isf(ALARM / 2) / np.sqrt(left.size))


def test_3_ranks_toss_coins_of_their_own_whatever_the_global_seed(told: Path) -> None:
    ranks = of(told, "pure noise", 4)
    assert all(apart(ranks[i], ranks[j]) for i in range(4) for j in range(i))


def test_3_one_seed_on_all_ranks_is_found(told: Path) -> None:
    ranks = of(told, "one seed", 4)
    assert not apart(ranks[1], ranks[2])


@pytest.mark.parametrize("world", [1, 2, 4])
def test_4_all_steps_run_also_empty_ones_and_together_they_are_a_poisson_sample(told: Path, world: int) -> None:
    ranks = of(told, "sparse", world)
    assert {int(rank["steps"]) for rank in ranks} == {SPARSE.steps}
    sizes = sum(rank["chosen"].sum(axis=1) for rank in ranks)
    assert len(sizes) == SPARSE.steps
    assert 0 in sizes
    assert binomtest(int(np.sum(sizes)), 40 * SPARSE.steps, SPARSE.rate).pvalue > ALARM
    spread = float(np.var(sizes)) * len(sizes) / (40 * SPARSE.rate * (1 - SPARSE.rate))
    assert 0.2 * len(sizes) < spread < 2.5 * len(sizes)  # six standard deviations


def test_5_a_subject_with_a_huge_gradient_moves_the_step_by_at_most_c(told: Path) -> None:
    there, gone = (of(told, scene, 2)[0]["gradients"][0] for scene in ("with her", "without her"))
    most = FULL.clipping_norm / FULL.divisor
    assert 0.99 * most < np.linalg.norm(there - gone) <= most * (1 + 1e-6)


@pytest.mark.parametrize("world", [2, 4])
def test_6_without_noise_and_with_everyone_ranks_do_what_one_does(told: Path, world: int) -> None:
    alone, together = of(told, "full", 1)[0], of(told, "full", world)[0]
    assert np.allclose(alone["gradients"], together["gradients"], atol=1e-6)
    assert np.allclose(alone["weights"][0], together["weights"][0], atol=1e-4)


@pytest.mark.parametrize("world", [1, 2, 4])
def test_7_one_rank_leases(told: Path, world: int) -> None:
    first, *others = of(told, "sparse", world)
    assert first["leases"][-1] == SPARSE.steps
    assert all(rank["leases"].size == 0 for rank in others)


def test_8_a_subject_is_on_one_rank(told: Path) -> None:
    """Sources hold whole subjects; together the ranks have each of the 40 once."""
    for world in (1, 2, 4):
        assert sum(rank["chosen"].shape[1] for rank in of(told, "full", world)) == 40
        assert all(rank["chosen"].all() for rank in of(told, "full", world))
