"""The demo: real health data from a dependency, one signed release, three refusals, one picture.

statsmodels ships `randhie`: 20,190 person-years of the RAND Health Insurance Experiment. It has no
person id, so the protected unit is the person-year, and the statement says what that means.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from privsynth.errors import MissingExtra, PrivsynthError, StorageError
from privsynth.generators.marginals import MarginalModel
from privsynth.pipeline.inside import report_study
from privsynth.pipeline.keys import make_keys
from privsynth.pipeline.picture import draw_marginals
from privsynth.pipeline.places import check_writable
from privsynth.pipeline.plan import StudyPlan, plan_study
from privsynth.pipeline.run import Outcome, run_study
from privsynth.pipeline.study import load_study
from privsynth.progress import SILENT, Progress
from privsynth.release.verify import verify

_MARK = ".privsynth-demo"
_FILES = ("policy.yaml", "randhie.schema.yaml", "study.yaml")


@dataclass(frozen=True)
class Refusal:
    """A refusal that the demo provoked: what was tried, the message, the exit code."""

    tried: str
    message: str
    exit_code: int


@dataclass(frozen=True)
class Demo:
    """What the demo left.

    Attributes:
        outcome: of the run.
        spent_before, spent_after: share of the population's filter spent.
        refusals: the three that were provoked.
        picture: path of the plot.
        report: path of the internal report, where it was asked for.
    """

    outcome: Outcome
    spent_before: float
    spent_after: float
    refusals: tuple[Refusal, ...]
    picture: Path
    report: Path | None

    def to_json(self) -> dict[str, Any]:
        """What was done, as JSON values."""
        return {
            **self.outcome.to_json(),
            "spent": {"before": self.spent_before, "after": self.spent_after},
            "refusals": [asdict(refusal) for refusal in self.refusals],
            "picture": str(self.picture),
            "report": None if self.report is None else str(self.report),
        }


def run_demo(out: Path, *, internal: bool = False, progress: Progress = SILENT) -> Demo:
    """Run the demo into ``out``, which is replaced if an earlier demo left it.

    Args:
        internal: also write the internal report with exact figures. Its opening is logged, and every
            later statement of this population says that its recipe was chosen after unpaid figures.

    Raises:
        StorageError: ``out`` exists and no demo made it.
        MissingExtra: statsmodels or matplotlib are not installed.
    """
    _prepare(out)
    study = load_study(out / "study.yaml")
    actor = study.file.actor or ""
    outcome = run_study(study, actor=actor, progress=progress)
    verify(outcome.release, trust=out / "trust.json")
    picture = out / "marginals.png"
    if isinstance(outcome.model, MarginalModel):  # the demo's study names its kind
        draw_marginals(outcome.model, picture)
    report = None
    if internal:
        report = report_study(study, out=out / "report.internal.html", actor=actor, progress=progress)
    refusals = (_over_budget(out), _no_consent(out), _tampered(out, outcome.release))
    return Demo(outcome, _spent(outcome.plan), _spent(plan_study(study, actor=actor)), refusals, picture, report)


def _spent(plan: StudyPlan) -> float:
    """The share of the population's filter that is spent."""
    return next(line.spent_before for line in plan.quote.lines if line.over == "population")


def _prepare(out: Path) -> None:
    """A fresh folder with data, files and keys."""
    try:
        import matplotlib  # noqa: F401 - asked for here, before anything is written
        from statsmodels.datasets import randhie
    except ImportError as fault:
        raise MissingExtra(
            f"the demo needs a package that is not installed ({fault.name})", mend="pip install 'privsynth[demo]'"
        ) from None
    if os.path.lexists(out) and not (out / _MARK).exists():
        raise StorageError("exists, and no demo made it", where=str(out), mend="name another folder with --out")
    check_writable(out)
    try:
        if out.exists():
            shutil.rmtree(out)
        out.mkdir(parents=True)
        (out / _MARK).touch()
        files = resources.files("privsynth.pipeline") / "demo_files"
        for name in _FILES:
            (out / name).write_bytes((files / name).read_bytes())
        randhie.load_pandas().data.to_parquet(out / "randhie.parquet", index=False)
    except OSError as fault:
        raise StorageError(f"cannot be written ({fault.strerror})", where=str(out), mend="name another --out") from None
    make_keys(out / "release.key", name="privsynth demo")


# --- three refusals --------------------------------------------------------------------------------


def _refused(tried: str, act: Callable[[], object]) -> Refusal:
    try:
        act()
    except PrivsynthError as error:
        return Refusal(tried, str(error), error.exit_code)
    raise PrivsynthError(f"the demo expected a refusal: {tried}", mend="report this")


def _refused_run(tried: str, out: Path, name: str, edits: Mapping[str, str]) -> Refusal:
    """Run a copy of the study with some text replaced."""
    text = (out / "study.yaml").read_text("utf-8")
    for old, new in edits.items():
        text = text.replace(old, new)
    (out / name).write_text(text, "utf-8")
    study = load_study(out / name)
    return _refused(tried, lambda: run_study(study, actor=study.file.actor or ""))


def _over_budget(out: Path) -> Refusal:
    """The same release again: the population's budget is nearly spent, for ever."""
    edits = {"out: release/": "out: again/", "model: model/": "model: again.model/\nrequest: again"}
    return _refused_run("the same release once more", out, "study-again.yaml", edits)


def _no_consent(out: Path) -> Refusal:
    """A policy that asks for a register, and a study that names none."""
    policy = (out / "policy.yaml").read_text("utf-8")
    start, end = policy.index("  by: not-required"), policy.index("privacy:")
    policy = policy[:start] + "  by: register\n" + policy[end:]
    policy = policy.replace("id: demo/rand-hie", "id: demo/rand-hie-register")
    (out / "policy-with-register.yaml").write_text(policy, "utf-8")
    edits = {
        "policy: policy.yaml": "policy: policy-with-register.yaml",
        "ledger.db": "ledger-register.db",
        "out: release/": "out: no-consent/",
        "model: model/": "model: no-consent.model/",
    }
    tried = "a study without the consent register that its policy asks for"
    return _refused_run(tried, out, "study-no-consent.yaml", edits)


def _tampered(out: Path, release: Path) -> Refusal:
    """One byte of the data changed after signing."""
    copy = out / "tampered"
    shutil.copytree(release, copy)
    table = copy / "data" / "table.csv"
    raw = bytearray(table.read_bytes())
    raw[len(raw) // 2] ^= 1
    table.write_bytes(bytes(raw))
    return _refused(
        "verifying the release after one bit of its table was flipped", lambda: verify(copy, trust=out / "trust.json")
    )
