"""The internal report: exact figures on real people, for eyes that ask for no holds.

Nothing in it is paid for, so nothing of it may leave or steer the next hold. That is why opening one
is an entry of the ledger, written before the first figure is computed (docs/report.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from privsynth.data.codec import Codec
from privsynth.data.records import Holdout, Model, Split, Synthetic, Train
from privsynth.errors import UsageError
from privsynth.privacy.events import Receipt
from privsynth.progress import SILENT, Progress
from privsynth.validate.coded import Coded, Codes, Rows
from privsynth.validate.fidelity import Fidelity, measure_fidelity
from privsynth.validate.membership.judge import Paid, attack_metrics, powered
from privsynth.validate.membership.neighbour import Scores, attack, draw_game
from privsynth.validate.metric import Metric, Verdict, worst
from privsynth.validate.rates import Interval
from privsynth.validate.report.curve import Curve, draw_curve
from privsynth.validate.report.value import Report, Sizes
from privsynth.validate.utility import Score, measure_utility

FEWEST = 20
_SPARE_TARGETS = 2


class ReportLog(Protocol):
    """What the report needs of the ledger."""

    def open_report(self, population: str) -> None:
        """Record durably that someone looks at exact figures of ``population``."""
        ...


def validate(
    model: Model,
    split: Split,
    *,
    ledger: ReportLog,
    synth: Synthetic | None = None,
    target: str | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Report:
    """Measure ``model`` on the real rows of ``split``: for eyes inside, never for a release.

    Args:
        ledger: its entry that a report was opened is durable before any figure is computed.
        synth: an unconditional sample of the model; None draws as many rows as train has.
        target: the learned column to predict; None takes two columns by ``seed``.
        seed: of the sample, the halves, the resamples and the classifiers.

    Raises:
        UsageError: a split of another schema, source or population than the model's; a sample of
            another model, a conditional or a tiny one; an unknown target.
    """
    _check(model, split, synth, target)
    ledger.open_report(split.train.population)
    codec = model.codec
    train, holdout = _rows(split.train, codec), _rows(split.holdout, codec)
    drawn = synth if synth is not None else model.sample(max(len(train), FEWEST), seed=seed)
    synthetic = codec.encode(drawn.table)
    sizes = Sizes(train.subjects, len(train), holdout.subjects, len(holdout), len(synthetic))
    paid = Paid(model.receipt.epsilon, model.receipt.delta, model.receipt.mu_fit)
    if min(train.subjects, holdout.subjects) < FEWEST:
        few = f"fewer than {FEWEST} subjects on one side of the split: nothing can be measured"
        return Report(model.receipt, model.id, sizes, (), (), (), None, 0, Verdict.UNDERPOWERED, (few,))
    attacks, curve, attacked, missed = _attack(train, holdout, synthetic, codec.columns, paid, seed, progress)
    fidelity = tuple(
        measure_fidelity(train, holdout, synthetic, codec.columns, ways=ways, seed=seed, progress=progress)
        for ways in (1, 2)
        if ways <= len(codec.columns)
    )
    utility = tuple(
        score
        for column in _targets(codec.columns, target, seed)
        for score in measure_utility(
            train, holdout, synthetic, codec.columns, target=column, seed=seed, progress=progress
        )
    )
    verdicts = [metric.verdict for metric in attacks if metric.verdict is not None]
    verdict = worst([*verdicts, Verdict.UNDERPOWERED] if missed else verdicts)
    return Report(
        receipt=model.receipt,
        model=model.id,
        sizes=sizes,
        metrics=(*attacks, *map(_fidelity_metric, fidelity), *map(_utility_metric, utility)),
        fidelity=fidelity,
        utility=utility,
        curve=curve,
        attacked=attacked,
        verdict=verdict,
        reasons=_reasons(verdict, attacks, missed, powered(attacked, paid), model.receipt),
    )


def _check(model: Model, split: Split, synth: Synthetic | None, target: str | None) -> None:
    receipt = model.receipt
    for part in (split.train, split.holdout):
        if part.schema.sha256 != model.schema.sha256 or part.source != receipt.source:
            raise UsageError(
                "the split is of another schema or source than the model", where="validate", mend="use the model's own"
            )
        if part.population != receipt.population:
            raise UsageError("the split is of another population than the model", where="validate", mend="use its own")
    if synth is not None:
        if synth.model_id != model.id:
            raise UsageError("the sample is of another model", where="validate(synth=)", mend="sample this model")
        if synth.condition:
            raise UsageError(
                "the sample was drawn under a condition, which the holdout does not share",
                where="validate(synth=)",
                mend="leave synth out, or sample without where=",
            )
        if synth.balance:
            raise UsageError(
                "the sample was drawn to chosen shares, which are not the holdout's",
                where="validate(synth=)",
                mend="leave synth out, or sample without balance=",
            )
        if len(synth) < FEWEST:
            raise UsageError(
                f"the sample has fewer than {FEWEST} rows", where="validate(synth=)", mend="draw as many as train has"
            )
    if target is not None and target not in model.schema.modelled:
        what, mend = model.schema.not_modelled(target)
        raise UsageError(f"{target!r} is {what}", where="validate(target=)", mend=mend)


def _rows(part: Train | Holdout, codec: Codec) -> Rows:
    return Rows.of(codec.encode(part.records.frame), part.records.subjects)


def _targets(columns: Sequence[Coded], target: str | None, seed: int) -> list[int]:
    if target is not None:
        return [j for j, column in enumerate(columns) if column.name == target]
    if len(columns) < 2:
        return []
    return sorted(np.random.default_rng(seed).permutation(len(columns))[:_SPARE_TARGETS].tolist())


def _attack(
    train: Rows, holdout: Rows, synthetic: Codes, columns: Sequence[Coded], paid: Paid, seed: int, progress: Progress
) -> tuple[tuple[Metric, ...], Curve, int, bool]:
    """The figures; the curves; how many were scored; whether the attack misses even verbatim copies."""
    game = draw_game(train, holdout, columns, rng=np.random.default_rng(seed))
    scores = attack(game, synthetic, progress=progress)
    copied = attack(game, train.codes, progress=progress)

    def figures(given: Scores) -> tuple[Metric, ...]:
        return attack_metrics(given, copied, paid, name="neighbour", title="nearest neighbour", seed=seed)

    caught = any(
        metric.verdict in (Verdict.FAIL_LEAK_SHOWN, Verdict.CONTRADICTS_GUARANTEE) for metric in figures(copied)
    )
    return figures(scores), draw_curve(scores, copied), game.n, not caught


def _fidelity_metric(fidelity: Fidelity) -> Metric:
    value, excess = fidelity.value, fidelity.excess
    measured = len(fidelity.tables)
    some = "" if measured == fidelity.measured_of else f" ({measured} of {fidelity.measured_of})"
    return Metric(
        id=f"fidelity.tvd{fidelity.ways}",
        family="fidelity",
        name=f"{fidelity.ways}-way tables{some}: mean TVD",
        floor=fidelity.floor.value,
        value=Interval(value.value, value.low, value.high),
        ceiling=fidelity.ceiling.value,
        n=fidelity.rows,
        note=f"above its floor by {excess.value:.4f} ({excess.low:.4f} to {excess.high:.4f})",
    )


def _utility_metric(score: Score) -> Metric:
    return Metric(
        id=f"utility.{score.target.split(':')[0]}.{score.family}.{score.statistic}",
        family="utility",
        name=f"{score.target}, {score.family}: {score.statistic}",
        floor=score.real.value,
        value=score.synthetic,
        ceiling=score.guess,
        n=score.n,
        note=f"real less synthetic training: {score.gap.value:.4f} ({score.gap.low:.4f} to {score.gap.high:.4f})",
    )


def _reasons(
    verdict: Verdict, attacks: Sequence[Metric], missed: bool, enough: bool, receipt: Receipt
) -> tuple[str, ...]:
    reasons = [f"{verdict.value}: {verdict.meaning}."]
    reasons += [
        f"{metric.name}: {metric.verdict.value}." for metric in attacks if metric.verdict and not metric.verdict.passed
    ]
    reasons += [
        f"{metric.name}: its interval lies above what the guarantee allows; on one run that is a warning, not a proof."
        for metric in attacks
        if metric.bound is not None and metric.value.low > metric.bound
    ]
    if missed:
        reasons.append("The control failed: on these data the attack misses even verbatim copies of training rows.")
    if not enough:
        reasons.append("Too few people were held out for a perfect generator to pass 99 times of 100.")
    if receipt.noise != "os-secure":
        reasons.append("The noise of this model was seeded (a test): its guarantee is void and no gate passes it.")
    return tuple(reasons)
