"""The internal report of a study: exact figures, for eyes that ask for no holds."""

from __future__ import annotations

from pathlib import Path

from privsynth.errors import StorageError
from privsynth.generators.marginals import load_model
from privsynth.pipeline.places import check_file, existing_ledger
from privsynth.pipeline.run import read_split
from privsynth.pipeline.study import Study
from privsynth.progress import SILENT, Progress
from privsynth.release.predicate import STATEMENT
from privsynth.validate.report import validate
from privsynth.validate.report.value import WATERMARK


def report_study(study: Study, *, out: Path, actor: str, progress: Progress = SILENT) -> Path:
    """Measure a study's saved model on the real rows and write the page. Its opening is logged first.

    Args:
        out: the page, from the current folder; an older report is replaced, and nothing else.

    Raises:
        RequestDenied: ``actor`` may not read internal reports.
        ModelError: no saved model. StorageError: no ledger, or a place that cannot be written.
    """
    check_file(out)
    _check_page(out)
    model = load_model(study.model_folder)
    ledger = existing_ledger(study.ledger_url, study.policy, actor=actor)
    return validate(model, read_split(study, ledger), ledger=ledger, progress=progress).write(out)


def _check_page(out: Path) -> None:
    """Refuse to write over anything but an earlier report, and into a release.

    Raises:
        StorageError: another file is there, or the folder is a release's.
    """
    if any((folder / STATEMENT).exists() for folder in out.absolute().parents):
        raise StorageError(
            "inside a release", where=str(out), mend="name another place"
        )
    if out.exists():
        with out.open("rb") as file:
            earlier = WATERMARK.encode() in file.read(1 << 20)
        if not earlier:
            raise StorageError("a file that is no report is there", where=str(out), mend="name another file")
