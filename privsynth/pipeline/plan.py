"""What a study would cost, before any data are read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from privsynth.errors import BudgetExhausted, Underpowered
from privsynth.generators.marginals.plan import Plan
from privsynth.ledger.store import Ledger, Quote, open_ledger, quote_unopened
from privsynth.pipeline.study import Study
from privsynth.release.gate import check_rules
from privsynth.release.rules import planned_false_refusal

if TYPE_CHECKING:
    from privsynth.policy.document import Policy

MAX_FALSE_REFUSAL = 0.05


@dataclass(frozen=True)
class StudyPlan:
    """The answer of ``privsynth plan``. All public.

    Attributes:
        quote: decision with every rule consulted, prices, budget lines before and after.
        layout: noise of each stage; None where the source is not registered.
        subjects: declared training subjects.
        false_refusal: chance that the membership rule refuses a perfect generator, by declared sizes;
            None without such a rule.
    """

    quote: Quote
    layout: Plan | None
    subjects: float
    false_refusal: float | None

    def refuse(self) -> None:
        """Raise the first reason why this study cannot run now.

        Raises:
            RequestDenied, BudgetExhausted, Underpowered.
        """
        self.quote.decision.refuse()
        if not self.quote.admitted:
            short = [f"{line.over} {line.name}" for line in self.quote.lines if not line.admitted]
            rest = f"at most epsilon {self.quote.buys:g}" if self.quote.buys is not None else "nothing"
            raise BudgetExhausted(
                f"the budget of {' and of '.join(short)} cannot pay for this hold",
                mend=f"at this delta what is left buys {rest}",
            )
        if self.false_refusal is not None and self.false_refusal > MAX_FALSE_REFUSAL:
            raise Underpowered(
                f"by the declared sizes the membership rule would refuse a perfect generator with probability "
                f"{self.false_refusal:.0%}",
                rules=["PS-GATE-MEM"],
                mend="more subjects, a larger epsilon or gate share, or a limit that this size can show",
            )


def plan_study(study: Study, *, actor: str) -> StudyPlan:
    """Plan without data; an existing ledger is read, none is created."""
    path = Path(study.ledger_url.removeprefix("sqlite:///"))
    if path.exists():
        ledger: Ledger = open_ledger(study.ledger_url, study.policy, actor=actor)
        quote = ledger.quote(
            study.recipe, purpose=study.file.purpose, recipient=study.file.recipient, consent=study.consent
        )
    else:
        quote = quote_unopened(
            study.recipe,
            study.policy,
            purpose=study.file.purpose,
            recipient=study.file.recipient,
            actor=actor,
            consent=study.consent,
        )
    return _planned(study, study.policy, quote)


def _planned(study: Study, policy: Policy, quote: Quote) -> StudyPlan:
    source = policy.sources.get(study.schema.source)
    if source is None:
        return StudyPlan(quote, None, 0.0, None)
    check_rules(policy, study.schema)
    subjects = source.subjects * (1 - float(source.holdout))
    cap = max(line.epsilon for line in policy.privacy.budget if line.over == "population")
    layout = study.recipe.check_sampler(quote.prices, rows=subjects, cap_epsilon=float(cap))
    refusal = planned_false_refusal(
        policy, subjects=source.subjects, holdout=float(source.holdout), mu_gate=quote.prices.mu_gate
    )
    return StudyPlan(quote, layout, subjects, refusal)
