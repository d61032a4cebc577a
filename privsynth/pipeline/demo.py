"""The demo: real health data from a dependency, one signed release, three refusals, one picture.

statsmodels ships `randhie`: 20,190 person-years of the RAND Health Insurance Experiment. It has no
person id, so the protected unit is the person-year, and the statement says what that means.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from privsynth.errors import MissingExtra, PrivsynthError, StorageError
from privsynth.generators.marginals import MarginalModel
from privsynth.ledger.store import open_ledger
from privsynth.pipeline.run import Outcome, read_split, run_study
from privsynth.pipeline.study import load_study
from privsynth.progress import SILENT, Progress
from privsynth.release.verify import verify
from privsynth.signing import Trust, new_key, write_trust

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
    before = _spent(out)
    outcome = run_study(study, actor=actor, progress=progress)
    verify(outcome.release, trust=out / "trust.json")
    picture = out / "marginals.png"
    draw_marginals(outcome.model, picture)
    after = _spent(out)
    report = _report(out, outcome, progress) if internal else None
    refusals = (_over_budget(out), _no_consent(out), _tampered(out, outcome.release))
    return Demo(outcome, before, after, refusals, picture, report)


def _prepare(out: Path) -> None:
    """A fresh folder with data, files and keys."""
    try:
        from statsmodels.datasets import randhie
    except ImportError:
        raise MissingExtra("the demo's data come with statsmodels", mend="pip install 'privsynth[demo]'") from None
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise MissingExtra("the demo draws with matplotlib", mend="pip install 'privsynth[demo]'") from None
    if out.exists():
        if not (out / ".privsynth-demo").exists():
            raise StorageError("exists, and no demo made it", where=str(out), mend="name another folder with --out")
        shutil.rmtree(out)
    try:
        out.mkdir(parents=True)
        (out / ".privsynth-demo").touch()
        files = resources.files("privsynth.pipeline") / "demo_files"
        for name in _FILES:
            (out / name).write_bytes((files / name).read_bytes())
        randhie.load_pandas().data.to_parquet(out / "randhie.parquet", index=False)
    except OSError as fault:
        raise StorageError(f"cannot be written ({fault.strerror})", where=str(out), mend="name another --out") from None
    key = new_key(out / "release.key", name="privsynth demo")
    write_trust(out / "trust.json", Trust.of(key))


def _spent(out: Path) -> float:
    study = load_study(out / "study.yaml")
    ledger = open_ledger(study.ledger_url, study.policy, actor=study.file.actor or "")
    return next(line.spent_share() for line in ledger.balances() if line.over == "population")


def _report(out: Path, outcome: Outcome, progress: Progress) -> Path:
    from privsynth.validate.report import validate

    study = load_study(out / "study.yaml")
    ledger = open_ledger(study.ledger_url, study.policy, actor=study.file.actor or "")
    split = read_split(study, ledger)
    report = validate(outcome.model, split, ledger=ledger, progress=progress)
    return Path(report.write(out / "report.internal.html"))


# --- three refusals --------------------------------------------------------------------------------


def _refused(tried: str, act: Callable[[], object]) -> Refusal:
    try:
        act()
    except PrivsynthError as error:
        return Refusal(tried, str(error), error.exit_code)
    raise PrivsynthError(f"the demo expected a refusal: {tried}", mend="report this")


def _edited(out: Path, name: str, edits: dict[str, str]) -> Path:
    """A copy of the study with some text replaced."""
    text = (out / "study.yaml").read_text()
    for old, new in edits.items():
        text = text.replace(old, new)
    path = out / name
    path.write_text(text)
    return path


def _over_budget(out: Path) -> Refusal:
    """The same release again: the population's budget is nearly spent, for ever."""
    path = _edited(
        out,
        "study-again.yaml",
        {"out: release/": "out: again/", "model: model/": "model: again.model/\nrequest: again"},
    )
    study = load_study(path)
    return _refused("the same release once more", lambda: run_study(study, actor=study.file.actor or ""))


def _no_consent(out: Path) -> Refusal:
    """A policy that asks for a register, and a study that names none."""
    policy = (out / "policy.yaml").read_text()
    start = policy.index("  by: not-required")
    end = policy.index("privacy:")
    policy = policy[:start] + "  by: register\n" + policy[end:]
    (out / "policy-with-register.yaml").write_text(policy.replace("id: demo/rand-hie", "id: demo/rand-hie-register"))
    path = _edited(
        out,
        "study-no-consent.yaml",
        {
            "policy: policy.yaml": "policy: policy-with-register.yaml",
            "ledger.db": "ledger-register.db",
            "out: release/": "out: no-consent/",
            "model: model/": "model: no-consent.model/",
        },
    )
    study = load_study(path)
    return _refused(
        "a study without the consent register that its policy asks for",
        lambda: run_study(study, actor=study.file.actor or ""),
    )


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


# --- the picture -----------------------------------------------------------------------------------


def draw_marginals(model: MarginalModel, path: Path) -> None:
    """Every column's synthetic marginal with the 95% interval of its noisy measurement: all free."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    intervals = model.intervals()
    across = 3
    down = -(-len(intervals) // across)
    figure = Figure(figsize=(4.2 * across, 2.6 * down), layout="constrained")
    FigureCanvasAgg(figure)
    for i, (name, (share, low, high)) in enumerate(intervals.items()):
        axes = figure.add_subplot(down, across, i + 1)
        place = np.arange(len(share))
        labels = model.codec.columns[model.codec.index[name]].labels()
        axes.bar(place, share, color="#4477aa", width=0.9)
        axes.vlines(place, low, high, color="#222222", linewidth=0.9)
        every = max(1, -(-len(share) // 6))
        axes.set_xticks(place[::every], [labels[p][:10] for p in place[::every]], fontsize=7, rotation=20)
        axes.tick_params(axis="y", labelsize=7)
        axes.set_title(name, fontsize=9, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
    receipt = model.receipt
    figure.suptitle(
        f"Synthetic marginals (bars) and the 95% interval of what was measured with noise (lines); "
        f"ε = {receipt.epsilon:g}, δ = {receipt.delta:g}",
        fontsize=10,
    )
    figure.savefig(path, dpi=110)
