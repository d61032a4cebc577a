"""A further release from a model that was paid for and approved: free."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from privsynth.generators.marginals import load_model
from privsynth.ledger.store import open_ledger
from privsynth.pipeline.run import passphrase
from privsynth.pipeline.study import Study
from privsynth.release.gate import approved


def sample_study(study: Study, *, rows: int, where: Mapping[str, Any], seed: int | None, out: Path, actor: str) -> int:
    """Draw from a study's saved model, sign and write; reads no data and costs nothing.

    Returns:
        How many rows were written.

    Raises:
        ModelError: no saved model. HoldError: the model has no approval on record.
    """
    model = load_model(study.model_folder)
    ledger = open_ledger(study.ledger_url, study.policy, actor=actor)
    verdict = approved(model, hold=ledger.hold(model.receipt.hold), policy=study.policy)
    synth = model.sample(rows, where=dict(where) or None, seed=seed)
    verdict.release(synth).sign(study.path(study.file.sign.key), passphrase(study)).write(out)
    return len(synth)
