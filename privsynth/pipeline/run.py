"""The one-way road of a study: plan → data → consent → split → hold → fit → gate → sample → release.

A run may be cut off anywhere and started again: the request id is the study's own, so nothing is paid
twice. What is reserved and not opened is opened; what is measured is refitted, free; what is approved
is sampled and released without another look at the data. Lost, and paid, are only a fit cut off before
its transcript was durable and a gate cut off before its verdict was.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from privsynth.data.records import Granted, Model, Records, Split
from privsynth.data.tables import read_images, read_table
from privsynth.errors import HoldError, ModelError, StorageError
from privsynth.generators.kept import load_model
from privsynth.generators.ranks import ALONE, Ranks
from privsynth.ledger.store import Hold, Ledger, Status
from privsynth.pipeline.decisions import Judged, keep_decisions
from privsynth.pipeline.leaving import leave
from privsynth.pipeline.places import check_places, passphrase
from privsynth.pipeline.plan import Paid, StudyPlan, plan_study
from privsynth.pipeline.study import Study
from privsynth.pipeline.withdrawals import keep_commitments
from privsynth.policy.approval_asks import needed_signatures
from privsynth.policy.consent import judge_consent, keep_granted
from privsynth.progress import SILENT, Progress
from privsynth.release.gate import Approved, approved, gate


@dataclass(frozen=True)
class Outcome:
    """What a finished run left.

    Attributes:
        plan: as it stood before the run.
        hold: what was paid.
        approved: the verdict with its claims.
        model: the fitted model, kept in ``model_folder``.
        release: the folder of the signed release, of ``rows`` rows, or the sealed file.
        sealed_to: the key of its recipient, without which nothing leaves for it; None where the policy names none.
    """

    plan: StudyPlan
    hold: Hold
    approved: Approved
    model: Model
    model_folder: Path
    release: Path
    rows: int
    sealed_to: str | None = None

    @property
    def people(self) -> int:
        """How many people must sign the release, whoever has signed it now included."""
        return needed_signatures(self.plan.policy)

    def to_json(self) -> dict[str, Any]:
        """What a script needs to go on, as JSON values."""
        return {
            "release": str(self.release),
            "model": str(self.model_folder),
            "rows": self.rows,
            "hold": self.hold.id,
            "findings": self.approved.claims.published(),
            "people": self.people,
            "lacking": self.people - 1,
            **({"sealed_to": self.sealed_to} if self.sealed_to is not None else {}),
        }


def run_study(study: Study, *, actor: str, ranks: Ranks = ALONE, progress: Progress = SILENT) -> Outcome:
    """Run a study to its signed release. Everything that can be refused without data is refused first. A missing or
    unreadable file and a size that cannot carry the study leave no ledger, for one that is made freezes the policy's
    populations; a request that the policy denies makes one, to be noted in it.

    Args:
        ranks: the processes that train a network together, as ``together`` gives it to rank 0.

    Raises:
        Refused and its kin: exit 1. UsageError and its kin: exit 2. BudgetExhausted: exit 3.
        IntegrityError and its kin: exit 4. ApprovalMissing: exit 5.
    """
    plan = plan_study(study, actor=actor)
    check_places(study)
    plan = _refuse_early(study, plan, actor=actor)
    approved_before = plan.paid is not None and plan.paid.status is Status.APPROVED
    granted, judged = (None, None) if approved_before else read_judged(study, progress)
    ledger = study.ledger.open(study.policy, actor=actor)
    split = None if granted is None else granted.split(ledger)
    hold = _reserve(study, ledger)
    if split is not None and judged is not None:
        keep_decisions(study, judged, hold=hold)
        keep_commitments(study, split.train, hold=hold, ledger=ledger)
    model = _model(study, ledger, hold, split, ranks, progress)
    if split is None:
        verdict = approved(model, hold=hold, policy=study.policy)
    else:
        verdict = gate(model, split, hold=hold, policy=study.policy, progress=progress)
    wanted = study.file.sample
    synth = model.sample(
        wanted.rows,
        where=study.condition() or None,
        seed=wanted.seed,
        balance=study.balance() or None,
        draw=wanted.draw,
        guidance=study.guidance(),
    )
    progress.step("sign and write the release", 1)
    signed = verdict.release(synth).sign(study.key, passphrase(study), c2pa=study.credential())
    leave(study, signed, study.out)
    progress.advance()
    return Outcome(plan, hold, verdict, model, study.model_folder, study.out, len(synth), study.sealed_to)


def read_records(study: Study, progress: Progress = SILENT) -> Records:
    """The study's data, by its schema."""
    data = study.path(study.file.data)
    if study.schema.pictures:
        return read_images(data, study.schema, progress=progress)
    return read_table(data, study.schema)


def read_granted(study: Study, progress: Progress = SILENT) -> Granted:
    """Data → records → granted."""
    return read_judged(study, progress)[0]


def read_judged(study: Study, progress: Progress = SILENT) -> tuple[Granted, Judged]:
    """Data → records → granted, with what was decided of each subject: inside only."""
    given = study.consent_given
    told = {name: given.pop(name, None) for name in ("exported", "attest")}
    use: dict[str, Any] = {"purpose": study.file.purpose, "recipient": study.file.recipient}
    records, now = read_records(study, progress), datetime.now(UTC)
    reading = judge_consent(records, study.policy, files=given, **told, now=now, **use)
    return keep_granted(records, study.policy, reading, **use), Judged(reading, now)


def _reserve(study: Study, ledger: Ledger) -> Hold:
    return ledger.reserve(
        study.recipe,
        purpose=study.file.purpose,
        recipient=study.file.recipient,
        consent=study.consent,
        request=study.request,
    )


def _refuse_early(study: Study, plan: StudyPlan, *, actor: str) -> StudyPlan:
    """The plan, with what an earlier run of this study paid as it stands now, if a run can go on from there.

    Policy and budget refusals are noted in the ledger's second log.

    Raises:
        StorageError: the model folder is taken.
        HoldError: the earlier run was lost, or bought its hold on other terms.
        Refused, BudgetExhausted, DataError, ConsentError: as of :meth:`StudyPlan.refuse`.
    """
    if plan.paid is not None or not plan.quote.admitted:
        ledger = study.ledger.open(study.policy, actor=actor)
        plan = replace(plan, paid=Paid.of(_reserve(study, ledger), ledger, study))
    plan.refuse()
    if plan.paid is None and study.model_folder.exists():
        raise StorageError("the model folder exists", where=str(study.model_folder), mend="name a new `model:`")
    return plan


def _model(study: Study, ledger: Ledger, hold: Hold, split: Split | None, ranks: Ranks, progress: Progress) -> Model:
    """Fit, or refit from the transcript that an earlier run left; kept in the model folder."""
    folder = study.model_folder
    if folder.exists():
        model = _kept(folder, hold)
        study.forget_training(hold)
        return model
    raw = hold.transcript()
    if raw is not None:
        model = study.recipe.resume(raw, hold, progress=progress)
    elif split is not None:
        model = study.fit(split.train, hold, progress, ranks)
    else:
        raise HoldError("an approved hold without a transcript", where=f"hold {hold.id}", mend="restore the ledger")
    model.save(folder)
    study.forget_training(hold)
    return model


def _kept(folder: Path, hold: Hold) -> Model:
    """The model that an earlier run of this hold saved."""
    try:
        model = load_model(folder)
    except ModelError as wrong:
        raise ModelError(
            wrong.what, where=wrong.where, mend="move it away: the same command makes it again from the ledger, free"
        ) from None
    if model.receipt.hold != hold.id:
        raise StorageError("the model folder holds another model", where=str(folder), mend="name a new `model:`")
    return model
