"""The internal report of a study: exact figures, for eyes that ask for no holds."""

from __future__ import annotations

from pathlib import Path

from privsynth.generators.kept import load_model
from privsynth.pipeline.places import check_page
from privsynth.pipeline.run import read_granted
from privsynth.pipeline.study import Study
from privsynth.progress import SILENT, Progress
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
    check_page(out, mark=WATERMARK)
    model = load_model(study.model_folder)
    ledger = study.ledger.existing(study.policy, actor=actor)
    return validate(model, read_granted(study).split(ledger), ledger=ledger, progress=progress).write(out)
