"""The commitments of a run's subjects, kept beside its ledger, so that `consent impact` knows who was in which fit."""

from __future__ import annotations

from privsynth.data.records import Train
from privsynth.ledger.store import Hold, Ledger
from privsynth.pipeline.study import Study
from privsynth.policy.consent.impact import fit_of


def keep_commitments(study: Study, train: Train, *, hold: Hold, ledger: Ledger) -> None:
    """Keep who is about to be fitted, where the policy says what follows ``on withdrawal``. Called before the fit: a
    fit of which nobody knows whom it held could never be found again.

    A training that goes on keeps those of its earlier runs too; a hold that was fitted already is left as it is.

    Raises:
        StorageError: they cannot be written; nothing was fitted.
    """
    if study.policy.consent.on_withdrawal is None or hold.transcript() is not None:
        return
    _, key = ledger.commitment_key(train.source)
    fit = fit_of(train, key=key, hold=hold.id, day=hold.reserved[:10], epsilon=study.recipe.budget.epsilon)
    shelf = study.ledger.shelf
    before = shelf.get(hold.id)
    if before is not None:
        fit = fit.model_copy(update={"commitments": tuple(sorted({*fit.commitments, *before.commitments}))})
    shelf.put(fit)
