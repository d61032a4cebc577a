"""The one-way road of a study: plan → data → consent → split → hold → fit → gate → sample → release.

A run may be cut off anywhere and started again: the request id is the study's own, so nothing is paid
twice. What is reserved and not opened is opened; what is measured is refitted, free; what is approved
is sampled and released. Only a fit cut off between its opening and its transcript is lost, and paid.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from privsynth.data.codec import Codec
from privsynth.data.records import Split
from privsynth.data.tables import read_table
from privsynth.documents import read_bytes
from privsynth.errors import HoldError, KeyFileError, StorageError
from privsynth.generators.marginals import MarginalModel, load_model
from privsynth.generators.marginals.transcript import MarginalTranscript
from privsynth.ledger.store import Hold, Ledger, Status, open_ledger
from privsynth.pipeline.plan import StudyPlan, plan_study
from privsynth.pipeline.study import Study
from privsynth.policy.consent import filter_consent
from privsynth.progress import SILENT, Progress
from privsynth.release.gate import Approved, approved, gate
from privsynth.signing import load_key


@dataclass(frozen=True)
class Outcome:
    """What a finished run left.

    Attributes:
        plan: as it stood before the run.
        hold: what was paid.
        approved: the verdict with its claims.
        model: the fitted model, kept in ``model_folder``.
        release: the folder of the signed release, of ``rows`` rows.
    """

    plan: StudyPlan
    hold: Hold
    approved: Approved
    model: MarginalModel
    model_folder: Path
    release: Path
    rows: int


def run_study(study: Study, *, actor: str, progress: Progress = SILENT) -> Outcome:
    """Run a study to its signed release. Everything that can be refused without data is refused first.

    Raises:
        Refused and its kin: exit 1. UsageError and its kin: exit 2. BudgetExhausted: exit 3.
        IntegrityError and its kin: exit 4.
    """
    plan = plan_study(study, actor=actor)
    check_places(study)
    ledger = open_ledger(study.ledger_url, study.policy, actor=actor)
    earlier = ledger.find(study.request)
    if earlier is None:
        _refuse_in_the_ledger(study, ledger, plan)
        if study.model_folder.exists():
            raise StorageError("the model folder exists", where=str(study.model_folder), mend="name a new `model:`")
    split = read_split(study, ledger)
    hold = _reserve(study, ledger)
    model = _model(study, ledger, hold, split, progress)
    verdict = _verdict(study, ledger, hold, model, split, progress)
    out = study.path(study.file.out)
    synth = model.sample(study.file.sample.rows, where=study.where or None, seed=study.file.sample.seed)
    progress.step("sign and write the release", 1)
    verdict.release(synth).sign(study.path(study.file.sign.key), passphrase(study)).write(out)
    progress.advance()
    return Outcome(plan, hold, verdict, model, study.model_folder, out, len(synth))


def check_places(study: Study) -> None:
    """Refuse, before any spending, an existing output, an unusable key, an impossible condition.

    Raises:
        StorageError, KeyFileError, ConditionError.
    """
    out = study.path(study.file.out)
    if os.path.lexists(out):
        raise StorageError("the release folder exists", where=str(out), mend="name a new `out:`, or move the old one")
    load_key(study.path(study.file.sign.key), passphrase=passphrase(study))
    Codec(study.schema).evidence(study.where)


def passphrase(study: Study) -> bytes | None:
    """The key's passphrase, from the file that the study names."""
    name = study.file.sign.passphrase_file
    if name is None:
        return None
    return read_bytes(study.path(name), error=KeyFileError, kind="passphrase").rstrip(b"\r\n")


def read_split(study: Study, ledger: Ledger) -> Split:
    """Data → records → granted → split."""
    records = read_table(study.path(study.file.data), study.schema)
    granted = filter_consent(
        records,
        study.policy,
        register=study.register,
        purpose=study.file.purpose,
        recipient=study.file.recipient,
    )
    return granted.split(ledger)


def _reserve(study: Study, ledger: Ledger) -> Hold:
    return ledger.reserve(
        study.recipe,
        purpose=study.file.purpose,
        recipient=study.file.recipient,
        consent=study.consent,
        request=study.request,
    )


def _refuse_in_the_ledger(study: Study, ledger: Ledger, plan: StudyPlan) -> None:
    """Raise what the plan refuses; policy and budget refusals are noted in the ledger's second log."""
    if not plan.quote.admitted:
        _reserve(study, ledger)
    plan.refuse()


def _model(study: Study, ledger: Ledger, hold: Hold, split: Split, progress: Progress) -> MarginalModel:
    """Fit, or refit from the transcript that an earlier run left; kept in the model folder."""
    folder = study.model_folder
    if folder.exists():
        model = load_model(folder)
        if model.receipt.hold != hold.id:
            raise StorageError("the model folder holds another model", where=str(folder), mend="name a new `model:`")
        return model
    if ledger.status(hold.id) in (Status.RESERVED, Status.OPENED):
        model = study.recipe.fit(split.train, hold, progress=progress)
    else:
        raw = hold.transcript()
        if raw is None:
            raise HoldError(
                "the hold has no transcript", where=f"hold {hold.id}", mend="reserve under a new `request:`"
            )
        transcript = MarginalTranscript.from_bytes(raw)
        model = study.recipe.refit(transcript, study.recipe.receipt(hold, transcript), progress=progress)
    model.save(folder)
    return model


def _verdict(
    study: Study, ledger: Ledger, hold: Hold, model: MarginalModel, split: Split, progress: Progress
) -> Approved:
    if ledger.status(hold.id) is Status.APPROVED:
        return approved(model, hold=hold, policy=study.policy)
    return gate(model, split, hold=hold, policy=study.policy, progress=progress)
