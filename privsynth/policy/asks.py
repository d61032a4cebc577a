"""What can be asked of a policy, as values, and what it answers: one decision function for every kind of asking.

A hold is what the ledger sells (``decide``). The other kinds are what later steps ask: the gate with its figures,
the reader of one subject's consent, the opener of a report, the writer of a bundle. Tests of policies, ``explain``
and ``diff`` ask them all without any data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import singledispatch

from privsynth.errors import BudgetError, BudgetExhausted, UsageError
from privsynth.policy.consent_asks import (
    EvidenceAsk,
    RecordAsk,
    WithdrawnAsk,
    on_evidence,
    on_record,
    on_withdrawal,
)
from privsynth.policy.consent_rules import seconds
from privsynth.policy.decide import decide
from privsynth.policy.document import Policy
from privsynth.policy.form import BudgetLine
from privsynth.policy.request import Decision, Request, RuleVerdict
from privsynth.policy.thresholds import thresholds


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """Holds that were sold before, of one price to one recipient."""

    epsilon: float
    delta: float
    recipient: str
    times: int = 1


@dataclass(frozen=True, kw_only=True)
class HoldAsk:
    """A request for a hold, after others."""

    request: Request
    after: tuple[Earlier, ...] = ()


@dataclass(frozen=True, kw_only=True)
class GateAsk:
    """What the gate found: which attempt it is, and figures by their names (``thresholds``); others are kept."""

    attempt: int = 1
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ConsentAsk:
    """One subject's cell in the consent column of a purpose."""

    purpose: str
    value: bool | int | str


@dataclass(frozen=True, kw_only=True)
class ReportAsk:
    """Somebody wants to open an internal report."""

    actor: str


@dataclass(frozen=True, kw_only=True)
class CarryAsk:
    """A release is to carry something beside its rows: ``transcript``."""

    what: str


@dataclass(frozen=True, kw_only=True)
class KeepAsk:
    """Rows are to be drawn from a model whose hold was bought so long ago."""

    age: timedelta


Ask = HoldAsk | GateAsk | ConsentAsk | EvidenceAsk | RecordAsk | WithdrawnAsk | ReportAsk | CarryAsk | KeepAsk


@singledispatch
def answer(ask: Ask, policy: Policy) -> Decision:
    """What ``policy`` says: every rule of this kind of asking consulted. Writes nothing, reads no data."""
    raise UsageError(f"{type(ask).__name__} is not something that a policy is asked", mend="see policy/asks.py")


@answer.register
def _hold(ask: HoldAsk, policy: Policy) -> Decision:
    decided = decide(policy, ask.request)
    if not ask.after:
        return decided
    return Decision((*decided.verdicts, *(_line(policy, ask, line) for line in policy.privacy.budget)))


@answer.register
def _gate(ask: GateAsk, policy: Policy) -> Decision:
    most = policy.gate.max_attempts
    found = [
        RuleVerdict(
            "PS-GATE-ATT",
            ask.attempt <= most,
            f"attempt {ask.attempt}",
            policy.where("gate", "max attempts"),
            f"at most {most}, for ever",
            "no more releases of this population can be approved under this policy",
        )
    ]
    for limit in thresholds(policy.file):
        figure = ask.figures.get(limit.name)
        found.append(
            RuleVerdict(
                limit.rule,
                figure is None or limit.holds(figure),
                limit.name if figure is None else f"{limit.name} {figure:g}",
                policy.where(*limit.place),
                limit.words,
                "a larger budget, more data, or another generator",
            )
        )
    return Decision(tuple(found))


@answer.register
def _consent(ask: ConsentAsk, policy: Policy) -> Decision:
    from privsynth.policy.consent.columns import says_yes

    asked, rule = policy.consent.by == "not-required", (policy.consent.columns or {}).get(ask.purpose)
    place = ("consent", "columns", ask.purpose, "granted") if rule is not None else ("consent", "by")
    return Decision(
        (
            RuleVerdict(
                "PS-CON-100",
                asked or (rule is not None and says_yes(rule, ask.value)),
                f"a subject's cell says {ask.value!r} for {ask.purpose!r}",
                policy.where(*place),
                "nobody is asked" if asked else f"one of {list(rule.granted)}" if rule else "no column says who agrees",
                "the subject is left out; nothing is to be done",
            ),
        )
    )


@answer.register
def _report(ask: ReportAsk, policy: Policy) -> Decision:
    person, wanted = policy.people.get(ask.actor), policy.roles.readers_of_internal_reports
    return Decision(
        (
            RuleVerdict(
                "PS-ROL-002",
                person is not None and not set(wanted).isdisjoint(person.roles),
                f"a report opened by {ask.actor!r}",
                policy.where("roles", "readers of internal reports"),
                f"a person with one of the roles {list(wanted)}",
                "have a reader of internal reports open it, who then asks for no holds",
            ),
        )
    )


@answer.register
def _carry(ask: CarryAsk, policy: Policy) -> Decision:
    return Decision(
        (
            RuleVerdict(
                "PS-REL-001",
                ask.what == "transcript" and policy.publishes_transcript,
                f"a release that carries its {ask.what}",
                policy.where("release", "transcript"),
                "withheld" if not policy.publishes_transcript else "published",
                "leave it out, or have the policy's owner write `release: {transcript: published}`",
            ),
        )
    )


@answer.register
def _keep(ask: KeepAsk, policy: Policy) -> Decision:
    rule = policy.file.retention
    return Decision(
        (
            RuleVerdict(
                "PS-RET-001",
                rule is None or ask.age <= timedelta(seconds=seconds(rule.model)),
                f"a model {ask.age.days} days old",
                policy.where("retention", "model"),
                "no limit" if rule is None else f"at most {rule.model} after its hold was bought",
                "destroy the model; a new one takes a new hold",
            ),
        )
    )


answer.register(EvidenceAsk)(on_evidence)
answer.register(RecordAsk)(on_record)
answer.register(WithdrawnAsk)(on_withdrawal)


# --- budget lines ----------------------------------------------------------------------------------

_RULES: Mapping[str, str] = {"population": "PS-BUD-004", "recipient": "PS-BUD-005"}


def _line(policy: Policy, ask: HoldAsk, line: BudgetLine) -> RuleVerdict:
    request, place = ask.request, policy.privacy.budget.index(line)
    told = RuleVerdict(
        _RULES[line.over],
        admits(policy, line, ask),
        f"epsilon {request.epsilon!r} at delta {request.delta!r} after {sum(e.times for e in ask.after)} holds",
        policy.where("privacy", "budget", place),
        f"epsilon {line.epsilon!r}, delta {line.delta!r} over {line.over}, for ever",
        "a smaller epsilon, or a population of other people; nothing refills a budget",
    )
    return told


def admits(policy: Policy, line: BudgetLine, ask: HoldAsk) -> bool:
    """Whether a budget line pays for the earlier holds and for this one, by the filter that a ledger would use."""
    from privsynth.privacy.accountant import share_out
    from privsynth.privacy.budget import Budget
    from privsynth.privacy.filters import make_filter

    rule = policy.privacy.filter
    spent = make_filter(rule.kind, epsilon=line.epsilon, delta=line.delta, orders=rule.fixed_orders)
    now = Earlier(epsilon=ask.request.epsilon, delta=ask.request.delta, recipient=ask.request.recipient)
    paid = [e for e in (*ask.after, now) if line.over == "population" or e.recipient == now.recipient]
    try:
        for earlier in paid:
            prices = share_out(Budget(earlier.epsilon, earlier.delta), gate_share=policy.gate.budget.share)
            for _ in range(earlier.times):
                spent = spent.charge(prices.event, delta=prices.delta_own)
    except (BudgetExhausted, BudgetError):
        return False
    return True
