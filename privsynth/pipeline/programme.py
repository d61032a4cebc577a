"""Several studies whose holds are bought together, all or none (a plan), before the first of them runs."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from privsynth.errors import BudgetExhausted, PrivsynthError, UsageError
from privsynth.ledger.pace import slowest
from privsynth.ledger.store import Hold, PlanQuote, Wish, quote_all_unopened
from privsynth.pipeline.plan import StudyPlan, pace_json, plan_study, weigh_study
from privsynth.pipeline.study import Study


@dataclass(frozen=True)
class Programme:
    """What several studies would cost together. All public.

    Attributes:
        studies: in the order in which they are bought.
        items: the answer for each, its budget lines as they stand once those before it are paid; where they were bought
            before, as a run of each would have it now.
        quote: of all of them.
        sold: their holds, where they were bought; else empty.
    """

    studies: tuple[Study, ...]
    items: tuple[StudyPlan, ...]
    quote: PlanQuote
    sold: tuple[Hold, ...] = ()

    def refuse(self) -> None:
        """Raise the first reason why these studies cannot be bought together now; none where they were.

        Raises:
            ApprovalMissing, RequestDenied, BudgetExhausted, Underpowered, ReleaseRefused: as of
                :meth:`StudyPlan.refuse`, naming the study.
        """
        if self.sold:
            return
        for place, (study, item) in enumerate(zip(self.studies, self.items, strict=True), 1):
            try:
                item.refuse()
            except PrivsynthError as wrong:
                wrong.what = f"item {place} of {len(self.items)} ({study.document.path}): {wrong.what}"
                if isinstance(wrong, BudgetExhausted) and place > 1:
                    wrong.mend = f"the first {place - 1} of these {len(self.items)} would fit; after them, {wrong.mend}"
                raise
        if (late := slowest(self.quote.paces)) is not None:
            raise late.refusal(plan=True)

    def to_json(self) -> dict[str, Any]:
        """Everything that was answered, as JSON values."""
        return {
            "admitted": bool(self.sold) or self.quote.admitted,
            "sold": [hold.id for hold in self.sold],
            "items": [
                {"study": str(study.document.path), "request": study.request, **item.to_json()}
                for study, item in zip(self.studies, self.items, strict=True)
            ],
            "pace": pace_json(self.quote.paces),
        }


def plan_together(studies: Sequence[Study], *, actor: str) -> Programme:
    """Plan without data; an existing ledger is read, none is created.

    Raises:
        UsageError: the studies name several ledgers or policies, or two of them have one request id.
        HoldError: some of them bought their holds before, and others did not, or on other terms.
        RequestDenied, LedgerError, StorageError, MissingExtra: as of :func:`privsynth.pipeline.plan.plan_study`.
    """
    first, wishes = _one_book(studies), [_wish(study) for study in studies]
    sold: tuple[Hold, ...] = ()
    attempts: Counter[str] = Counter()
    waiting: Counter[str] = Counter()
    if first.ledger.exists(first.policy):
        ledger = first.ledger.look(first.policy, actor=actor)
        sold, quote = ledger.sold_all(wishes), ledger.quote_all(wishes)
        names, most = set(map(_population, studies)), first.policy.gate.max_attempts
        attempts.update({name: ledger.attempts(name) for name in names})
        waiting.update({name: ledger.waiting(name, most=most) for name in names})
    else:
        quote = quote_all_unopened(wishes, first.policy, actor=actor)
    if sold:
        return Programme(tuple(studies), tuple(plan_study(study, actor=actor) for study in studies), quote, sold)
    items = []
    for study, quoted in zip(studies, quote.items, strict=True):
        name = _population(study)
        items.append(replace(weigh_study(study, quoted), attempts=attempts[name], waiting=waiting[name]))
        waiting[name] += 1  # each of them needs one at the gate
    return Programme(tuple(studies), tuple(items), quote)


def reserve_together(studies: Sequence[Study], *, actor: str, name: str | None = None) -> Programme:
    """Buy the holds of all of them, or none; each study's run then finds its own. Again: the same holds, for nothing.

    Args:
        name: of the plan, for people.

    Raises:
        RequestDenied, BudgetExhausted, HoldError: as of :meth:`privsynth.ledger.ledger.Ledger.reserve_all`; what
            policy, pace and budget refuse is noted in the ledger's second log.
        Else as of :func:`plan_together` and :meth:`Programme.refuse`.
    """
    planned = plan_together(studies, actor=actor)
    if planned.quote.admitted:
        planned.refuse()
    ledger = studies[0].ledger.open(studies[0].policy, actor=actor)
    return replace(planned, sold=ledger.reserve_all([_wish(study) for study in studies], plan=name))


def _wish(study: Study) -> Wish:
    return Wish(study.recipe, study.file.purpose, study.file.recipient, study.request, study.consent)


def _population(study: Study) -> str:
    source = study.policy.sources.get(study.schema.source)
    return "" if source is None else source.population


def _one_book(studies: Sequence[Study]) -> Study:
    """The first of them; all work by its ledger and policy."""
    first = studies[0]
    for study in studies[1:]:
        if study.policy.sha256 != first.policy.sha256 or _book(study) != _book(first):
            raise UsageError(
                "studies that are bought together name one policy and one ledger, with one key file and one witness; "
                f"{first.document.path} names others",
                where=str(study.document.path),
                mend="write the same `policy` and `ledger` into each, or buy them one by one",
            )
    return first


def _book(study: Study) -> tuple[str, ...]:
    place = study.ledger
    return tuple(os.path.normpath(str(part)) for part in (place.url, place.key, place.witness))
