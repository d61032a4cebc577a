"""Fits by two processes, with gloo on the CPU: one purchase, one statement, every subject once; and who dies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import chi2

from privsynth.data.schema import parse_schema
from privsynth.errors import MissingExtra, RanksError, UsageError
from privsynth.generators import serving
from privsynth.generators.images.diffusion import ImageDiffusion
from privsynth.generators.ranks import ALONE, Ranks, together
from privsynth.generators.serving import check_ranks
from privsynth.privacy.budget import Budget
from privsynth.privacy.dpsgd import Plan
from tests.desk import Desk
from tests.generators.images.test_diffusion import SCHEMA, SMALL
from tests.generators.ranks import LAST, STEPS, WORLD

ALARM = 1e-6  # of the statistical test here, for a right fit
ROOT = Path(__file__).parents[2]
Arrays = dict[str, NDArray[Any]]


def ran(scenes: str, folder: Path, ends: list[int]) -> Path:
    """Run both processes to their end; their exit codes must be ``ends``."""
    settings = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore", "-m", "tests.generators.ranks", scenes]
    running = [
        subprocess.Popen([*command, str(rank), str(folder)], env=settings, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for rank in range(WORLD)
    ]
    faults = [process.communicate(timeout=300)[1] for process in running]
    assert [process.returncode for process in running] == ends, "\n".join(faults)
    return folder


@pytest.fixture(scope="module")
def fits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what both processes recorded of their fits, in the last of which rank 1 was killed."""
    return ran("fits", tmp_path_factory.mktemp("fits"), [0, 9])


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what both were told where one of them failed."""
    return ran("talks", tmp_path_factory.mktemp("talks"), [9, 0])


def told(folder: Path, name: str) -> dict[str, Any]:
    """What a scene wrote down."""
    value: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    return value


def of(folder: Path, name: str) -> list[Arrays]:
    """What each process recorded of a scene."""
    return [dict(np.load(folder / f"{name}, {rank}.npz")) for rank in range(WORLD)]


# --- money ---------------------------------------------------------------------------------------


def bought(folder: Path, fits: int) -> bool:
    """Whether so many fits were bought, each once, and nothing beside."""
    kinds = Desk(folder).kinds()
    return [kinds.count(kind) for kind in ("reserve", "fit", "measured")] == [fits] * 3


def test_a_fit_by_two_is_one_purchase(fits: Path) -> None:
    assert bought(fits / "pictures", 1)
    assert bought(fits / "table", 2), "one by two processes, one by one"
    assert told(fits, "pictures")["leased_at_last"] == STEPS == told(fits, "pictures")["steps"]


def test_a_fit_by_two_says_what_one_by_one_says(fits: Path) -> None:
    table = told(fits, "table")
    assert table["statement"] == table["alone"]["statement"]
    assert table["plan"] == table["alone"]["plan"]
    both, alone = told(fits, "pictures"), told(fits, "one dies")  # which ended alone
    assert both["statement"] == alone["statement"]
    assert both["plan"] == alone["plan"]
    assert both["statement"]["noise"] == "os-secure"
    assert both["refits"] and table["refits"]


# --- subjects ------------------------------------------------------------------------------------


def each_once(folder: Path, name: str) -> bool:
    """Whether every subject's pictures are with one process, all of them."""
    ranks, truth = of(folder, name), dict(np.load(folder / f"{name} as it is.npz"))
    owner = {picture.tobytes(): person for picture, person in zip(truth["pixels"], truth["whose"], strict=True)}
    assert len(owner) == len(truth["whose"]), "pictures are all different"
    held = [[picture.tobytes() for picture in rank["pixels"]] for rank in ranks]
    people = [{owner[picture] for picture in part} for part in held]
    whole = sorted(picture for part in held for picture in part) == sorted(owner)
    return whole and not people[0] & people[1] and [len(p) for p in people] == [int(r["subjects"]) for r in ranks]


def test_every_subject_is_with_one_process_and_all_are_there(fits: Path) -> None:
    assert each_once(fits, "pictures")
    ranks = of(fits, "pictures")
    assert abs(int(ranks[0]["subjects"]) - int(ranks[1]["subjects"])) <= 1
    assert sum(int(rank["subjects"]) for rank in of(fits, "table")) == told(fits, "table")["people"]


def test_all_subjects_on_every_process_are_found(fits: Path) -> None:
    assert not each_once(fits, "everyone")


# --- steps ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pictures", "table"])
def test_both_have_the_same_weights_at_every_step(fits: Path, name: str) -> None:
    first, second = of(fits, name)
    assert len(second["weights"]) == STEPS
    assert np.array_equal(first["weights"][:STEPS], second["weights"])


def noise_fits(folder: Path, name: str) -> bool:
    """Two-sided chi-square test of a fit whose loss tells nothing: is a step the noise of one?"""
    plan = Plan.from_json(told(folder, name)["plan"])
    gradients = of(folder, name)[0]["gradients"][:STEPS]
    statistic = float(np.sum((gradients * plan.divisor / (plan.noise * plan.clipping_norm)) ** 2))
    return bool(chi2.ppf(ALARM / 2, gradients.size) < statistic < chi2.isf(ALARM / 2, gradients.size))


def test_noise_is_drawn_once(fits: Path) -> None:
    assert noise_fits(fits, "still")


def test_noise_on_every_process_is_found(fits: Path) -> None:
    assert not noise_fits(fits, "noise on every rank")


# --- who dies ------------------------------------------------------------------------------------


def test_a_process_that_is_killed_ends_the_fit_which_goes_on_without_it(fits: Path) -> None:
    """What was leased stays spent: of its steps one at most is lost, and nothing is bought again."""
    end = told(fits, "one dies")
    assert end["fault"] == "RanksError"
    assert "has ended" in end["what"] and "run the same command again" in end["what"]
    assert end["leased"] in (LAST, LAST + 1)
    assert STEPS - 1 <= end["steps"] <= STEPS
    assert end["leased_at_last"] == STEPS
    assert bought(fits / "one dies", 1)


def test_a_fit_that_one_process_began_two_end(fits: Path) -> None:
    """How many there are may change from one start to the next: each step is one's, and both have the same weights."""
    end = told(fits, "parted")
    assert (end["leased"], end["steps"], end["leased_at_last"]) == (LAST, STEPS, STEPS)
    assert end["refits"]
    assert bought(fits / "parted", 1)
    first, second = of(fits, "parted")
    assert (len(first["weights"]), len(second["weights"])) == (STEPS, STEPS - LAST)
    assert np.array_equal(first["weights"][LAST:], second["weights"])


def test_where_another_process_cannot_train_nothing_is_begun(talks: Path) -> None:
    fault = told(talks, "cannot, 0")
    assert fault == {
        "fault": "NetworkError",
        "what": "rank 1, device cpu: it does not fit. Mend: a larger machine",
    }
    assert told(talks, "cannot, 1")["fault"] == "SystemExit", "it was let go"


def test_a_process_that_is_silent_is_not_waited_for_for_ever(talks: Path) -> None:
    fault = told(talks, "silent, 0")
    assert fault["fault"] == "RanksError"
    assert "did not answer in time" in fault["what"]
    assert told(talks, "silent, 1")["fault"] == "RanksError"


def test_where_rank_0_dies_the_others_say_so(talks: Path) -> None:
    fault = told(talks, "first dies, 1")
    assert fault["fault"] == "RanksError"
    assert "has ended" in fault["what"]


def test_where_rank_0_is_done_who_died_before_is_no_fault_of_its_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """A release is written by then: the others are let go, each that is there."""
    left = []

    @contextmanager
    def met(ranks: Ranks, meet: str, patience: float) -> Iterator[Ranks]:
        yield ranks

    def order(ranks: Ranks, what: dict[str, Any], *, to: list[int]) -> None:
        if 1 in to:
            raise RanksError("it has ended")
        left.append((what["do"], to))

    for name, planted in (("_met", met), ("_are_met", lambda ranks: True), ("_order", order)):
        monkeypatch.setattr(serving, name, planted)
    with serving.leading(Ranks(0, 3, 0, 3), meet="", patience=1.0):
        pass
    assert left == [("leave", [2])]


# --- which process -------------------------------------------------------------------------------


def test_a_process_knows_its_place_by_what_torchrun_sets() -> None:
    assert Ranks.of_environment({}) == Ranks.of_environment({"RANK": "3"}) == ALONE == Ranks(0, 1, 0, 1)
    set_ = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
    assert Ranks.of_environment(set_) == Ranks(5, 8, 1, 4)
    assert Ranks(5, 8, 1, 4).sharing("cpu") == 4
    assert Ranks(5, 8, 1, 4).device("cpu") == "cpu"
    for wrong in ({"RANK": "8"}, {"RANK": "five"}, {"LOCAL_RANK": "4"}, {"RANK": "-1"}):
        with pytest.raises(UsageError, match="torchrun"):
            Ranks.of_environment({**set_, **wrong})


def test_a_process_without_a_gpu_of_its_own_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    assert Ranks(0, 2, 0, 2).device("cuda") == "cuda:0"
    with pytest.raises(MissingExtra, match="--nproc-per-node 1"):
        Ranks(1, 2, 1, 2).device("cuda")


def test_one_process_is_together_with_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    with together() as ranks:
        assert ranks is not None and ranks.world == 1
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(UsageError, match="where processes meet"), together():
        pass


def test_processes_that_did_not_meet_train_nothing() -> None:
    recipe = ImageDiffusion(parse_schema(SCHEMA), Budget(9.0, 1e-8), by=("bright",), **SMALL)
    with pytest.raises(UsageError, match=r"ps\.together"):
        check_ranks(recipe, {"physical": 1}, Ranks(0, 2, 0, 2))


def test_processes_of_one_machine_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    before, seen = torch.get_num_threads(), list[int]()
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    try:
        for threads, here in ((8, 1), (8, 2), (8, 3), (8, 16), (1, 2)):
            torch.set_num_threads(threads)
            with serving._cores_shared(here):
                seen.append(torch.get_num_threads())
            assert torch.get_num_threads() == threads, "put back"
    finally:
        torch.set_num_threads(before)
    assert seen == [8, 4, 2, 1, 1]
