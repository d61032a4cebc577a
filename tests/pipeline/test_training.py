"""A study whose generator is trained privately: cut off in the middle, and gone on with by the same command."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from privsynth.generators.autoregressive import AutoregressiveModel
from privsynth.generators.images.diffused import DiffusedModel
from privsynth.ledger.store import Status
from privsynth.pipeline.plan import plan_study
from privsynth.pipeline.run import run_study
from privsynth.pipeline.study import Study, load_study
from privsynth.progress import Progress
from privsynth.release.verify import verify
from tests.desk import ONCE, Desk, Said, cli
from tests.pipeline.test_pictures import laid as digits  # noqa: F401  a fixture

TABLED = (
    "{kind: marginals, epsilon: 3.0, delta: 1e-8, target: ill, steps: 40, components: 40}",
    "{kind: autoregressive, epsilon: 9.0, delta: 1e-8, target: ill, steps: 30, hidden: 8, batch: 300}",
)
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
def study(digits: Path, tmp_path: Path) -> Study:  # noqa: F811
    folder = tmp_path / "digits"
    shutil.copytree(digits, folder)
    text = (folder / "study.yaml").read_text()
    (folder / "study.yaml").write_text(
        text.replace("{kind: image-statistics,", NETWORK).replace("rows: 2000", "rows: 40, guidance: 1.5")
    )
    policy = (folder / "policy.yaml").read_text()
    (folder / "policy.yaml").write_text(policy.replace("at least: 0.40", "at least: 0.01"))
    return load_study(folder / "study.yaml")


@pytest.fixture
def tabled(desk: Desk) -> Study:
    desk.edit("study.yaml", TABLED, ("rows: 300", "rows: 40"))
    return desk.load()


@pytest.mark.parametrize(("name", "kind"), [("study", DiffusedModel), ("tabled", AutoregressiveModel)])
def test_a_training_that_is_cut_off_goes_on_where_it_was(
    name: str, kind: type[DiffusedModel | AutoregressiveModel], request: pytest.FixtureRequest
) -> None:
    study: Study = request.getfixturevalue(name)
    actor = study.file.actor or ""
    cutting: Progress = Cutting(17)
    with pytest.raises(CutOff):
        run_study(study, actor=actor, progress=cutting)
    ledger = study.ledger.open(study.policy, actor=actor)
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
    assert isinstance(outcome.model, kind)
    assert leased == 18
    assert outcome.model.transcript.steps_run == 30, "a block is one step here, and the state was kept after each"
    assert not study.training_folder.exists()
    found = verify(outcome.release, trust=study.folder / "trust.json")
    assert (found.rows, found.guidance) == (40, study.guidance())
    assert Desk(study.folder).bought() == ONCE
    asked = ("--rows", "5", "--guidance", "0.5", "--out", study.folder / "again")
    if kind is DiffusedModel:
        assert study.guidance() == 1.5
        assert cli("sample", study.folder / "study.yaml", *asked).code == 0
        assert verify(study.folder / "again", trust=study.folder / "trust.json").guidance == 0.5
        return
    said = cli("sample", study.folder / "study.yaml", *asked)
    assert said.code == 2
    assert "drawn by a network" in said.err
    assert not (study.folder / "again").exists()


TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


@pytest.mark.slow
@pytest.mark.parametrize(("launcher", "asked"), [([], ["--processes", "2"]), (TORCHRUN, [])], ids=["alone", "torchrun"])
def test_a_study_by_two_processes_is_one_purchase_and_one_of_them_speaks(
    study: Study, launcher: list[str], asked: list[str]
) -> None:
    before = Desk(study.folder).files()
    done = subprocess.run(
        [sys.executable, *launcher, "-m", "privsynth.cli", "run", str(study.folder / "study.yaml"), "--json", *asked],
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


def test_what_else_lies_where_a_training_is_kept_stays(tabled: Study) -> None:
    """A folder that is named as a training's state would be may be somebody's pictures."""
    assert tabled.training_folder is not None
    tabled.training_folder.mkdir()
    (tabled.training_folder / "face.png").write_bytes(b"a picture")
    run_study(tabled, actor=tabled.file.actor or "")
    assert [path.name for path in tabled.training_folder.iterdir()] == ["face.png"]


def test_a_release_does_not_lie_where_a_training_is_kept(desk: Desk) -> None:
    desk.edit("study.yaml", TABLED, ("out: release/", "out: model.training/"))
    said = desk.run()
    assert said.code == 2
    assert "where the training's state is kept" in said.err
    assert desk.entries() == []


def test_receipts_of_consent_do_not_lie_where_a_training_is_kept(desk: Desk) -> None:
    register = "{register: consent.csv}"
    desk.edit("study.yaml", TABLED, (register, "{register: consent.csv, decisions: model.training/receipts}"))
    said = desk.run()
    assert said.code == 2
    assert "receipts of consent and model.training" in said.err
    assert desk.entries() == []


def test_without_the_state_of_its_training_it_is_lost(study: Study) -> None:
    actor = study.file.actor or ""
    with pytest.raises(CutOff):
        run_study(study, actor=actor, progress=Cutting(5))
    assert study.training_folder is not None
    shutil.rmtree(study.training_folder)
    with pytest.raises(Exception, match="was begun before and has not ended"):
        run_study(study, actor=actor)
