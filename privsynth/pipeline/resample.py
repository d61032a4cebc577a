"""A further release from a model that was paid for and approved: free."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from privsynth.data.records import Draw
from privsynth.generators.kept import load_model
from privsynth.pipeline.conditions import parse_balance, parse_conditions
from privsynth.pipeline.leaving import check_leaving, leave
from privsynth.pipeline.places import check_marks, passphrase
from privsynth.pipeline.study import Study
from privsynth.release.gate import approved


def sample_study(
    study: Study,
    *,
    rows: int,
    where: Sequence[str],
    seed: int | None,
    balance: Sequence[str],
    draw: Draw,
    guidance: float = 0.0,
    out: Path,
    actor: str,
) -> int:
    """Draw from a study's saved model, sign and write; reads no data and costs nothing.

    Args:
        rows, seed, draw, guidance: as of ``model.sample``.
        where, balance: as a command line writes them; read by the model's own cells and categories.
        out: the new release's folder, from the current one; what leaves sealed lies at :meth:`Study.leaves_at` of it.

    Returns:
        How many rows were written.

    Raises:
        RequestDenied: pictures that would lack a mark. ModelError: no saved model.
        HoldError: the model has no approval on record.
        MissingExtra: it leaves sealed, and pyrage is not installed.
        ConditionError: a condition, shares or a guidance that the model cannot meet.
        StorageError: no ledger, or a release folder that is there already.
    """
    check_leaving(study)
    check_marks(study)
    credential = study.credential()
    model = load_model(study.model_folder)
    wanted, shares = parse_conditions(where, model.codec), parse_balance(balance, model.codec)
    ledger = study.ledger.existing(study.policy, actor=actor)
    verdict = approved(model, hold=ledger.hold(model.receipt.hold), policy=study.policy)
    synth = model.sample(rows, where=wanted or None, seed=seed, balance=shares or None, draw=draw, guidance=guidance)
    leave(study, verdict.release(synth).sign(study.key, passphrase(study), c2pa=credential), study.leaves_at(out))
    return len(synth)
