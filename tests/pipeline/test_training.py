"""A study whose generator is trained privately: cut off in the middle, and gone on with by the same command."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from privsynth.generators.images.diffused import DiffusedModel
from privsynth.ledger.store import Status, open_ledger
from privsynth.pipeline.plan import plan_study
from privsynth.pipeline.run import run_study
from privsynth.pipeline.study import Study, load_study
from privsynth.progress import Progress
from privsynth.release.verify import verify
from tests.desk import ONCE, Desk, Said
from tests.pipeline.test_pictures import laid  # noqa: F401  a fixture

NETWORK = "{kind: image-diffusion, network: latent, steps: 30, warm up: 20, batch: 300,"


class CutOff(Exception):
    """The process ends here."""


class Cutting:
    """Ends the process after so many noisy steps."""

    def __init__(self, steps: int) -> None:
        self._left, self._training = steps, False

    def step(self, what: str, total: int) -> None:
        """A new step of the road."""
        self._training = what == "train privately"

    def advance(self, by: int = 1) -> None:
        """A part of it is done."""
        if self._training:
            self._left -= by
            if self._left < 0:
                raise CutOff


@pytest.fixture
def study(laid: Path, tmp_path: Path) -> Study:  # noqa: F811
    folder = tmp_path / "digits"
    shutil.copytree(laid, folder)
    text = (folder / "study.yaml").read_text()
    (folder / "study.yaml").write_text(
        text.replace("{kind: image-statistics,", NETWORK).replace("rows: 2000", "rows: 40")
    )
    policy = (folder / "policy.yaml").read_text()
    (folder / "policy.yaml").write_text(policy.replace("at least: 0.40", "at least: 0.01"))
    return load_study(folder / "study.yaml")


def test_a_training_that_is_cut_off_goes_on_where_it_was(study: Study) -> None:
    actor = study.file.actor or ""
    cutting: Progress = Cutting(17)
    with pytest.raises(CutOff):
        run_study(study, actor=actor, progress=cutting)
    ledger = open_ledger(study.ledger_url, study.policy, actor=actor)
    hold = ledger.find(study.request)
    assert hold is not None
    assert ledger.status(hold.id) is Status.OPENED
    assert hold.leased >= 17
    leased = hold.leased
    plan = plan_study(study, actor=actor)
    assert plan.paid is not None
    assert plan.paid.next is not None
    assert "trains on" in plan.paid.next
    assert study.training_folder is not None
    assert study.training_folder.is_dir()

    outcome = run_study(study, actor=actor)
    assert outcome.hold.id == hold.id
    assert isinstance(outcome.model, DiffusedModel)
    assert leased == 18
    assert outcome.model.transcript.steps_run == 30, "a block is one step here, and the state was kept after each"
    assert not study.training_folder.exists()
    assert verify(outcome.release, trust=study.folder / "trust.json").rows == 40
    assert len([line for line in ledger.balances() if line.holds != 1]) == 0


@pytest.mark.slow
def test_a_study_by_two_processes_is_one_purchase_and_one_of_them_speaks(study: Study) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    before = Desk(study.folder).files()
    done = subprocess.run(
        [*command, "-m", "privsynth.cli", "run", str(study.folder / "study.yaml"), "--json"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert Said(0, done.stdout, done.stderr).json["rows"] == 40
    assert Desk(study.folder).bought() == ONCE
    assert verify(study.folder / "release", trust=study.folder / "trust.json").rows == 40
    left = {name.partition("/")[0] for name in Desk(study.folder).files() - before}
    assert {"model", "release"} <= left <= {"ledger.db", "ledger.db.key", "model", "release"}


def test_without_the_state_of_its_training_it_is_lost(study: Study) -> None:
    actor = study.file.actor or ""
    with pytest.raises(CutOff):
        run_study(study, actor=actor, progress=Cutting(5))
    assert study.training_folder is not None
    shutil.rmtree(study.training_folder)
    with pytest.raises(Exception, match="was begun before and has not ended"):
        run_study(study, actor=actor)
