"""What can be asked of a policy, as values, and what it answers: one decision function for every kind of asking.

A hold is what the ledger sells (``decide``). The other kinds are what later steps ask: the gate with its figures,
the reader of one subject's consent, the opener of a report, the writer of a bundle. Tests of policies, ``explain``
and ``diff`` ask them all without any data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from functools import singledispatch
from typing import TYPE_CHECKING

from privsynth.errors import BudgetError, BudgetExhausted, UsageError
from privsynth.policy.approval_asks import ChangeAsk, SignedAsk, on_change, on_signed
from privsynth.policy.consent_asks import (
    EvidenceAsk,
    ReceiptAsk,
    RecordAsk,
    SubjectAsk,
    WithdrawnAsk,
    on_evidence,
    on_receipt,
    on_record,
    on_subject,
    on_withdrawal,
)
from privsynth.policy.consent_rules import seconds
from privsynth.policy.decide import decide
from privsynth.policy.document import Policy
from privsynth.policy.form import BudgetLine
from privsynth.policy.image_asks import MarkedAsk, on_marked
from privsynth.policy.ledger_asks import OpenAsk, on_open
from privsynth.policy.pace import Charge, PaceLine, opens
from privsynth.policy.recipient_asks import LeaveAsk, on_leave
from privsynth.policy.request import Decision, Request, RuleVerdict
from privsynth.policy.thresholds import thresholds

if TYPE_CHECKING:
    from privsynth.privacy.accountant import Prices
    from privsynth.privacy.filters import Filter


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """Holds that were sold before, of one price to one recipient; ``ago``: how long before the request."""

    epsilon: float
    delta: float
    recipient: str
    times: int = 1
    ago: timedelta = timedelta()


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


Ask = (
    HoldAsk
    | GateAsk
    | ConsentAsk
    | EvidenceAsk
    | RecordAsk
    | ReceiptAsk
    | SubjectAsk
    | WithdrawnAsk
    | ReportAsk
    | CarryAsk
    | KeepAsk
    | MarkedAsk
    | OpenAsk
    | LeaveAsk
    | ChangeAsk
    | SignedAsk
)


@singledispatch
def answer(ask: Ask, policy: Policy) -> Decision:
    """What ``policy`` says: every rule of this kind of asking consulted. Writes nothing, reads no data."""
    raise UsageError(f"{type(ask).__name__} is not something that a policy is asked", mend="see policy/asks.py")


@answer.register
def _hold(ask: HoldAsk, policy: Policy) -> Decision:
    decided = decide(policy, ask.request)
    lines = [_line(policy, ask, line) for line in (policy.privacy.budget if ask.after else ())]
    slow = [_slow(policy, ask, i) for i in range(len(policy.privacy.pace or ()))]
    return Decision((*decided.verdicts, *lines, *slow))


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
answer.register(ReceiptAsk)(on_receipt)
answer.register(SubjectAsk)(on_subject)
answer.register(WithdrawnAsk)(on_withdrawal)
answer.register(MarkedAsk)(on_marked)
answer.register(OpenAsk)(on_open)
answer.register(LeaveAsk)(on_leave)
answer.register(ChangeAsk)(on_change)
answer.register(SignedAsk)(on_signed)


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


def _slow(policy: Policy, ask: HoldAsk, place: int) -> RuleVerdict:
    rule = (policy.privacy.pace or ())[place]
    request = ask.request
    return RuleVerdict(
        "PS-PAC-001",
        paced(policy, rule, ask),
        f"epsilon {request.epsilon!r} at delta {request.delta!r} over {rule.over}",
        policy.where("privacy", "pace", place),
        rule.words,
        "ask again later, or for a smaller epsilon; what is left of the budget stays",
    )


def paced(policy: Policy, rule: PaceLine, ask: HoldAsk) -> bool:
    """Whether a line of the pace lets the hold through after the earlier ones, as a ledger would."""
    line = policy.privacy.line(rule.over)
    now = datetime.combine(ask.request.today, time(), tzinfo=UTC)
    price = Earlier(epsilon=ask.request.epsilon, delta=ask.request.delta, recipient=ask.request.recipient)
    try:
        paid = _paid(rule.over, ask, price)
        charges = [Charge(now - e.ago, _prices(policy, e).event) for e in paid for _ in range(e.times)]
        return (
            line is not None
            and opens(rule, _fresh(policy, line), charges, _prices(policy, price).event, now=now) == now
        )
    except (BudgetError, OverflowError):
        return False


def admits(policy: Policy, line: BudgetLine, ask: HoldAsk) -> bool:
    """Whether a budget line pays for the earlier holds and for this one, by the filter that a ledger would use."""
    spent = _fresh(policy, line)
    now = Earlier(epsilon=ask.request.epsilon, delta=ask.request.delta, recipient=ask.request.recipient)
    try:
        for earlier in (*_paid(line.over, ask, now), now):
            prices = _prices(policy, earlier)
            for _ in range(earlier.times):
                spent = spent.charge(prices.event, delta=prices.delta_own)
    except (BudgetExhausted, BudgetError):
        return False
    return True


def _paid(over: str, ask: HoldAsk, now: Earlier) -> tuple[Earlier, ...]:
    """The earlier holds that a line over ``over`` has paid for."""
    return tuple(e for e in ask.after if over == "population" or e.recipient == now.recipient)


def _prices(policy: Policy, price: Earlier) -> Prices:
    from privsynth.privacy.accountant import share_out
    from privsynth.privacy.budget import Budget

    return share_out(Budget(price.epsilon, price.delta), gate_share=policy.gate.budget.share)


def _fresh(policy: Policy, line: BudgetLine) -> Filter:
    from privsynth.privacy.filters import make_filter

    rule = policy.privacy.filter
    return make_filter(rule.kind, epsilon=line.epsilon, delta=line.delta, orders=rule.fixed_orders)
