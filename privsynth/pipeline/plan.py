"""What a study would cost, before any data are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from privsynth.documents import join
from privsynth.errors import BudgetError, BudgetExhausted, HoldError, ReleaseRefused, Underpowered, UsageError
from privsynth.generators.base import Layout
from privsynth.ledger.pace import PaceQuote, slowest
from privsynth.ledger.store import Hold, Ledger, Quote, QuoteLine, Status, quote_unopened
from privsynth.pipeline.leaving import check_leaving
from privsynth.pipeline.places import check_marks, missing_files
from privsynth.pipeline.study import Study
from privsynth.policy.consent.minors import rule_on_minors
from privsynth.release.gate import check_rules
from privsynth.release.picture_rules import ATTRIBUTE, MEMBERSHIP, attribute_out_of_reach
from privsynth.release.rules import planned_false_refusal, utility_out_of_reach

if TYPE_CHECKING:
    from privsynth.policy.document import Policy

MAX_FALSE_REFUSAL = 0.05
_NEXT = {
    Status.RESERVED: "fits, asks the gate and releases",
    Status.OPENED: "trains on after the last step that was begun, asks the gate and releases; lost steps stay spent",
    Status.MEASURED: "asks the gate, which has not been asked yet, and releases; what was measured stays",
    Status.APPROVED: "releases, without another look at the data",
}
"""What a run does with a hold that is paid and not at its end."""


@dataclass(frozen=True)
class Paid:
    """What a study bought before.

    Attributes:
        hold: that was bought.
        status: how far it has come.
        refused_by: the ids of the gate's rules that refused it.
        goes_on: whether a fit that was cut off left the state of its training.
    """

    hold: Hold
    status: Status
    refused_by: tuple[str, ...] = ()
    goes_on: bool = False

    @classmethod
    def of(cls, hold: Hold, ledger: Ledger, study: Study) -> Paid:
        """As the ledger stands now."""
        with ledger.reading() as session:
            refused = session.gates().refused.get(hold.id, ())
        left = study.training(hold)
        return cls(hold, ledger.status(hold.id), tuple(refused), left is not None and left.begun)

    @property
    def next(self) -> str | None:
        """What a run does with it; None where none goes on from it."""
        return _NEXT.get(self.status) if self.goes_on or self.status is not Status.OPENED else None

    def refuse(self) -> None:
        """Raise why no run goes on from this hold, if none does.

        Raises:
            HoldError: its fit or gate was begun and has not ended. ReleaseRefused: the gate refused it.
        """
        again = "write a new `request:` and `model:` into the study: that buys a new hold; what was paid stays spent"
        if self.status is Status.GATED or (self.status is Status.OPENED and not self.goes_on):
            step = "fit" if self.status is Status.OPENED else "gate"
            raise HoldError(
                f"the {step} of this study was begun before and has not ended: another process runs it, or it was "
                "cut off",
                where=f"hold {self.hold.id}",
                mend=f"wait for it; if nothing runs, {again}",
            )
        if self.status is Status.REFUSED:
            raise ReleaseRefused(
                f"the gate refused this study's model before ({', '.join(self.refused_by)}), and a verdict stands",
                rules=self.refused_by,
                where=f"hold {self.hold.id}",
                mend=f"change the recipe, or {again}",
            )


@dataclass(frozen=True)
class StudyPlan:
    """The answer of ``privsynth plan``. All public.

    Attributes:
        policy: that decided.
        quote: decision with every rule consulted, prices, budget lines before and after.
        layout: noise of each stage; None where the policy does not allow the study.
        subjects: declared training subjects, each of one to ``contribution`` rows.
        contribution: the most rows of a subject that enter the fit.
        false_refusal: chance that the membership rule refuses a perfect generator, by declared sizes;
            None without such a rule.
        paid: what this very study bought before; a run pays nothing then.
        attempts: at the gate, used up by this population so far; inside only.
        waiting: gate attempts that others need first: holds of the population that were sold and wait, and items of the
            plan before it.
        out_of_reach: the limit of the utility rule that not even a perfect model could be shown to keep.
        attribute_out_of_reach: the same of the rule about an attribute of pictures.
        missing: the files that a run would read and that are not there, as errors: told, and no reason to refuse,
            for who plans need not have the data.
    """

    policy: Policy
    quote: Quote
    layout: Layout | None
    subjects: float
    contribution: int
    false_refusal: float | None = None
    paid: Paid | None = None
    out_of_reach: str | None = None
    attribute_out_of_reach: str | None = None
    attempts: int = 0
    waiting: int = 0
    missing: tuple[UsageError, ...] = ()

    @property
    def noise(self) -> dict[str, float]:
        """Standard deviation of the noise on a count, in rows, by stage (the noisiest table of each)."""
        return {} if self.layout is None else {stage: high for stage, (_, high) in self.layout.sigmas().items()}

    @property
    def outlook(self) -> tuple[str, ...]:
        """What else is to be expected of the fit, a line each."""
        return () if self.layout is None else self.layout.outlook()

    def spent_after(self, line: QuoteLine) -> float | None:
        """The share of a budget line spent after a run; as it is where the hold is paid, None where it cannot pay."""
        return line.spent_after if self.paid is None else line.spent_before

    def refuse(self) -> None:
        """Raise the first reason why this study cannot run now. What is paid is not asked for its price again.

        Raises:
            ApprovalMissing: people have yet to approve the policy.
            RequestDenied, BudgetExhausted, Underpowered: it cannot be bought.
            ReleaseRefused: attempts are used up, or as of :meth:`Paid.refuse`. HoldError: as of it.
        """
        if self.quote.unapproved is not None:
            raise self.quote.unapproved
        if self.paid is not None:
            self.paid.refuse()
        else:
            self._refuse_price()

    def _refuse_price(self) -> None:
        self.quote.decision.refuse()
        short = [f"{line.over} {line.name}" for line in self.quote.lines if not line.admitted]
        if short:
            rest = f"at most epsilon {self.quote.buys:g}" if self.quote.buys is not None else "nothing"
            raise BudgetExhausted(
                f"the budget of {join(short)} cannot pay for this hold",
                where=self.policy.where("privacy", "budget"),
                mend=f"at this delta what is left buys {rest}; nothing refills a budget",
            )
        if (late := slowest(self.quote.paces)) is not None:
            raise late.refusal()
        most = self.policy.gate.max_attempts
        if self.attempts + self.waiting >= most:
            why, mend = "", "no more releases of this population can be approved under this policy"
            if self.attempts < most:
                why = ", or needed by holds that wait and by items before this one"
                mend = "plan fewer releases, or use first what was bought: more could not be approved under this policy"
            raise ReleaseRefused(
                f"all {most} gate attempts of the population are used up, for ever{why}",
                rules=["PS-GATE-ATT"],
                where=self.policy.where("gate", "max attempts"),
                mend=mend,
            )
        if self.false_refusal is not None and self.false_refusal > MAX_FALSE_REFUSAL:
            rows = self.policy.gate.membership is not None
            raise Underpowered(
                f"by the declared sizes the membership rules would refuse a perfect generator with probability "
                f"{self.false_refusal:.0%}; the limit is {MAX_FALSE_REFUSAL:.0%}",
                rules=["PS-GATE-MEM"] * rows + ["PS-GATE-PIM"] * (self.policy.gate.pictures is not None),
                where=self.policy.where("gate", *(("membership",) if rows else MEMBERSHIP)),
                mend="more subjects, a larger epsilon or gate share, or a limit that this size can show",
            )
        for rule, place, limit in (
            ("PS-GATE-UTI", ("utility",), self.out_of_reach),
            ("PS-GATE-PIA", ATTRIBUTE, self.attribute_out_of_reach),
        ):
            if limit is not None:
                raise Underpowered(
                    f"by the declared sizes not even a perfect model could be shown to keep the gate's {limit}",
                    rules=[rule],
                    where=self.policy.where("gate", *place, limit),
                    mend="more subjects, a larger epsilon or gate share, or a limit that this size can show",
                )

    def to_json(self) -> dict[str, Any]:
        """Everything that was answered, as JSON values."""
        prices = self.quote.prices
        return {
            "allowed": self.quote.decision.allowed,
            "admitted": self.quote.admitted,
            "paid": None if self.paid is None else self.paid.hold.id,
            "status": None if self.paid is None else self.paid.status.value,
            "missing": [wrong.where for wrong in self.missing],
            "rules": [asdict(verdict) for verdict in self.quote.decision.verdicts],
            "mu": {"all": prices.mu, "fit": prices.mu_fit, "gate": prices.mu_gate},
            "training": {"subjects": self.subjects, "rows": [self.subjects, self.subjects * self.contribution]},
            "noise": self.noise,
            "outlook": list(self.outlook),
            "lines": [
                {"over": x.over, "name": x.name, "before": x.spent_before, "after": self.spent_after(x)}
                for x in self.quote.lines
            ],
            "pace": pace_json(self.quote.paces),
            "buys": self.quote.buys,
            "nearest": self._nearest(),
            "false_refusal": self.false_refusal,
        }

    def _nearest(self) -> dict[str, Any] | None:
        found = self.quote.nearest
        if found is None:
            return None
        changes = [{"field": name, "asked": asked, "allowed": allowed} for name, asked, allowed in found.changes]
        return {"allowed": found.request is not None, "changes": changes, "stuck": list(found.stuck)}


def pace_json(quoted: Sequence[PaceQuote]) -> list[dict[str, Any]]:
    """The lines of a pace, as JSON values."""
    return [
        {
            "over": x.rule.over,
            "name": x.name,
            "per": x.rule.per,
            "share": x.rule.share,
            "holds": x.holds,
            "opens": None if x.opens is None else x.opens.isoformat(),
        }
        for x in quoted
    ]


def plan_study(study: Study, *, actor: str) -> StudyPlan:
    """Plan without data; an existing ledger is read, none is created.

    Raises:
        HoldError: the study's `request` already bought a hold on other terms.
        RequestDenied: the policy requires a witness of the ledger, and none is named.
        LedgerError, StorageError, MissingExtra: the ledger or its witness cannot be asked, or is not as it was.
    """
    asked: dict[str, Any] = {
        "purpose": study.file.purpose,
        "recipient": study.file.recipient,
        "consent": study.consent,
    }
    if not study.ledger.exists(study.policy):
        planned = weigh_study(study, quote_unopened(study.recipe, study.policy, actor=actor, **asked))
        return replace(planned, missing=missing_files(study))
    ledger = study.ledger.look(study.policy, actor=actor)
    hold = ledger.sold(study.recipe, request=study.request, **asked)
    planned = weigh_study(study, ledger.quote(study.recipe, **asked))
    paid = None if hold is None else Paid.of(hold, ledger, study)
    read = paid is None or paid.status is not Status.APPROVED
    planned = replace(planned, paid=paid, missing=missing_files(study) if read else ())
    source = study.policy.sources.get(study.schema.source)
    return planned if source is None else replace(planned, attempts=ledger.attempts(source.population))


def weigh_study(study: Study, quote: Quote) -> StudyPlan:
    """The answer for a study by the quote of its hold, without what it bought before and what is missing.

    Raises:
        BudgetError: there is no usable noise at this price. MissingExtra: the release could not be sealed here.
    """
    policy = study.policy
    source = policy.sources.get(study.schema.source)
    subjects = 0.0 if source is None else float(source.declared_train)
    if source is None or not quote.decision.allowed:
        return StudyPlan(policy, quote, None, subjects, study.recipe.contribution)
    rule_on_minors(study.schema, policy)
    check_leaving(study)
    check_rules(policy, study.schema)
    check_marks(study)
    cap = max(line.epsilon for line in policy.privacy.budget if line.over == "population")
    try:
        layout = study.recipe.check_sampler(quote.prices, rows=subjects, cap_epsilon=float(cap))
    except BudgetError as wrong:
        key = "epsilon" if wrong.where.endswith(".epsilon") else "delta"
        raise BudgetError(wrong.what, where=study.document.where("generator", key), mend=wrong.mend) from None
    sizes = {"subjects": source.subjects, "holdout": float(source.holdout), "mu_gate": quote.prices.mu_gate}
    return StudyPlan(
        policy,
        quote,
        layout,
        subjects,
        study.recipe.contribution,
        false_refusal=planned_false_refusal(policy, **sizes),
        out_of_reach=utility_out_of_reach(policy, contribution=study.recipe.contribution, **sizes),
        attribute_out_of_reach=attribute_out_of_reach(
            policy, study.schema, contribution=study.recipe.contribution, **sizes
        ),
    )
