"""A saved model's diagnostics: free, from paid figures alone."""

from __future__ import annotations

from pathlib import Path

from privsynth.generators.kept import load_model
from privsynth.generators.marginals.diagnostics import Diagnostics
from privsynth.generators.marginals.diagnostics_page import MARK
from privsynth.pipeline.places import check_page


def inspect_model(folder: Path, *, out: Path | None = None, plots: int = 12) -> Diagnostics:
    """The figures of the model in ``folder``, and where ``out`` is given their page. Of rows with pictures: of their
    columns.

    Args:
        out: the page; an older page of diagnostics there is replaced, and nothing else.
        plots: how many columns it draws.

    Raises:
        ModelError: no saved model, or one that was altered.
        StorageError: a place that cannot be written.
    """
    if out is not None:
        check_page(out, mark=MARK)
    told = load_model(folder).diagnostics()
    if out is not None:
        told.write(out, plots=plots)
    return told
