"""What a study would cost, before any data are read."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from privsynth.documents import join
from privsynth.errors import BudgetError, BudgetExhausted, ReleaseRefused, Underpowered
from privsynth.generators.marginals.plan import Plan
from privsynth.ledger.store import Hold, Quote, QuoteLine, look_at_ledger, quote_unopened
from privsynth.pipeline.study import Study
from privsynth.release.gate import check_rules
from privsynth.release.rules import planned_false_refusal, utility_out_of_reach

if TYPE_CHECKING:
    from privsynth.policy.document import Policy

MAX_FALSE_REFUSAL = 0.05


@dataclass(frozen=True)
class StudyPlan:
    """The answer of ``privsynth plan``. All public.

    Attributes:
        policy: that decided.
        quote: decision with every rule consulted, prices, budget lines before and after.
        layout: noise of each stage; None where the policy does not allow the study.
        subjects: declared training subjects.
        false_refusal: chance that the membership rule refuses a perfect generator, by declared sizes;
            None without such a rule.
        hold: what this very study bought before; a run goes on from it and pays nothing.
        attempts: at the gate, used up by this population so far; inside only.
        out_of_reach: the limit of the utility rule that not even a perfect model could be shown to keep.
    """

    policy: Policy
    quote: Quote
    layout: Plan | None
    subjects: float
    false_refusal: float | None
    hold: Hold | None = None
    out_of_reach: str | None = None
    attempts: int = 0

    @property
    def noise(self) -> dict[str, float]:
        """Standard deviation of the noise on a count, in rows, by stage (the noisiest table of each)."""
        return {} if self.layout is None else {stage: high for stage, (_, high) in self.layout.sigmas().items()}

    def spent_after(self, line: QuoteLine) -> float | None:
        """The share of a budget line spent after a run; as it is where the hold is paid, None where it cannot pay."""
        return line.spent_after if self.hold is None else line.spent_before

    def refuse(self) -> None:
        """Raise the first reason why this study cannot run now; none where its hold is paid already.

        Raises:
            RequestDenied, BudgetExhausted, Underpowered.
        """
        if self.hold is not None:
            return
        self.quote.decision.refuse()
        if not self.quote.admitted:
            short = [f"{line.over} {line.name}" for line in self.quote.lines if not line.admitted]
            rest = f"at most epsilon {self.quote.buys:g}" if self.quote.buys is not None else "nothing"
            raise BudgetExhausted(
                f"the budget of {join(short)} cannot pay for this hold",
                where=self.policy.where("privacy", "budget"),
                mend=f"at this delta what is left buys {rest}; nothing refills a budget",
            )
        if self.attempts >= self.policy.gate.max_attempts:
            raise ReleaseRefused(
                f"all {self.policy.gate.max_attempts} gate attempts of the population are used up, for ever",
                rules=["PS-GATE-ATT"],
                where=self.policy.where("gate", "max attempts"),
                mend="no more releases of this population can be approved under this policy",
            )
        if self.false_refusal is not None and self.false_refusal > MAX_FALSE_REFUSAL:
            raise Underpowered(
                f"by the declared sizes the membership rule would refuse a perfect generator with probability "
                f"{self.false_refusal:.0%}; the limit is {MAX_FALSE_REFUSAL:.0%}",
                rules=["PS-GATE-MEM"],
                where=self.policy.where("gate", "membership"),
                mend="more subjects, a larger epsilon or gate share, or a limit that this size can show",
            )
        if self.out_of_reach is not None:
            raise Underpowered(
                f"by the declared sizes not even a perfect model could be shown to keep the gate's {self.out_of_reach}",
                rules=["PS-GATE-UTI"],
                where=self.policy.where("gate", "utility", self.out_of_reach),
                mend="more subjects, a larger epsilon or gate share, or a limit that this size can show",
            )

    def to_json(self) -> dict[str, Any]:
        """Everything that was answered, as JSON values."""
        prices = self.quote.prices
        return {
            "allowed": self.quote.decision.allowed,
            "admitted": self.quote.admitted,
            "paid": None if self.hold is None else self.hold.id,
            "rules": [asdict(verdict) for verdict in self.quote.decision.verdicts],
            "mu": {"all": prices.mu, "fit": prices.mu_fit, "gate": prices.mu_gate},
            "noise": self.noise,
            "lines": [
                {"over": x.over, "name": x.name, "before": x.spent_before, "after": self.spent_after(x)}
                for x in self.quote.lines
            ],
            "buys": self.quote.buys,
            "false_refusal": self.false_refusal,
        }


def plan_study(study: Study, *, actor: str) -> StudyPlan:
    """Plan without data; an existing ledger is read, none is created."""
    asked: dict[str, Any] = {
        "purpose": study.file.purpose,
        "recipient": study.file.recipient,
        "consent": study.consent,
    }
    if not study.ledger_path.exists():
        return _planned(study, quote_unopened(study.recipe, study.policy, actor=actor, **asked), None)
    ledger = look_at_ledger(study.ledger_url, study.policy, actor=actor)
    planned = _planned(study, ledger.quote(study.recipe, **asked), ledger.find(study.request))
    source = study.policy.sources.get(study.schema.source)
    return planned if source is None else replace(planned, attempts=ledger.attempts(source.population))


def _planned(study: Study, quote: Quote, hold: Hold | None) -> StudyPlan:
    policy = study.policy
    source = policy.sources.get(study.schema.source)
    subjects = 0.0 if source is None else float(source.declared_train)
    if source is None or not quote.decision.allowed:
        return StudyPlan(policy, quote, None, subjects, None, hold)
    check_rules(policy, study.schema)
    cap = max(line.epsilon for line in policy.privacy.budget if line.over == "population")
    try:
        layout = study.recipe.check_sampler(quote.prices, rows=subjects, cap_epsilon=float(cap))
    except BudgetError as wrong:
        raise BudgetError(wrong.what, where=study.document.where("generator", "delta"), mend=wrong.mend) from None
    sizes = {"subjects": source.subjects, "holdout": float(source.holdout), "mu_gate": quote.prices.mu_gate}
    return StudyPlan(
        policy,
        quote,
        layout,
        subjects,
        planned_false_refusal(policy, **sizes),
        hold,
        utility_out_of_reach(policy, contribution=study.recipe.contribution, **sizes),
    )
