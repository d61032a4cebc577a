"""Policy × request → allow, or deny with every reason.

Every rule is consulted on every request, in one fixed order, whatever the others say: a refusal lists
all that must change. A rule that cannot be consulted denies. What a rule reads is public (the request,
the policy, declared sizes), never a row.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

from privsynth.documents import join
from privsynth.policy.document import ConsentKind, Policy
from privsynth.policy.request import Decision, Request, RuleVerdict, Use

__all__ = ["ConsentKind", "Decision", "Request", "RuleVerdict", "Use", "decide", "decide_use"]


def decide(policy: Policy, request: Request) -> Decision:
    """Consult every rule of ``policy`` on ``request``. Writes nothing, reads no data, never raises."""
    verdicts = [rule(policy, request) for rule in _USE_RULES] + [rule(policy, request) for rule in _HOLD_RULES]
    return Decision(tuple(verdicts))


def decide_use(policy: Policy, use: Use) -> Decision:
    """As :func:`decide`, with the rules that need no price: what the consent step asks before it reads."""
    return Decision(tuple(rule(policy, use) for rule in _USE_RULES))


# --- rules on the use: window, source, purpose, recipient, consent -------------------------------


def _window(policy: Policy, use: Use) -> RuleVerdict:
    valid = policy.valid
    return RuleVerdict(
        "PS-VAL-001",
        valid.from_ <= use.today <= valid.until,
        f"the request is of {use.today.isoformat()}",
        policy.where("valid"),
        f"{valid.from_.isoformat()} to {valid.until.isoformat()}",
        "ask within the policy's window, or have its owner issue a new version",
    )


def _source_known(policy: Policy, use: Use) -> RuleVerdict:
    return RuleVerdict(
        "PS-SRC-001",
        use.source in policy.sources,
        f"source {use.source!r}",
        policy.where("sources", use.source),
        "a source registered under `sources`",
        "name a registered source in the schema, or ask the policy's owner to register this one",
    )


def _purpose_known(policy: Policy, use: Use) -> RuleVerdict:
    return RuleVerdict(
        "PS-PUR-001",
        use.purpose in policy.purposes,
        f"purpose {use.purpose!r}",
        policy.where("purposes", use.purpose),
        f"one of {', '.join(policy.purposes)}",
        "name a purpose of the policy",
    )


def _recipient_known(policy: Policy, use: Use) -> RuleVerdict:
    return RuleVerdict(
        "PS-REC-001",
        use.recipient in policy.recipients,
        f"recipient {use.recipient!r}",
        policy.where("recipients", use.recipient),
        f"one of {', '.join(policy.recipients)}",
        "name a recipient of the policy",
    )


def _recipient_may(policy: Policy, use: Use) -> RuleVerdict:
    recipient = policy.recipients.get(use.recipient)
    if recipient is None:
        return _unconsulted("PS-REC-002", policy.where("recipients"), "the recipient is not registered", "PS-REC-001")
    return RuleVerdict(
        "PS-REC-002",
        use.purpose in recipient.purposes,
        f"recipient {use.recipient!r} for purpose {use.purpose!r}",
        policy.where("recipients", use.recipient, "purposes"),
        f"this recipient may use {join(recipient.purposes)}",
        "name one of these purposes, or another recipient",
    )


_EVIDENCE = {
    "register": "give the consent register, in a study `consent: {register: consent.csv}`",
    "columns": "let the consent columns of the data speak: give no register",
    "none": "this policy asks nobody: give no register and no columns",
}


def _consent_at_hand(policy: Policy, use: Use) -> RuleVerdict:
    return RuleVerdict(
        "PS-CON-001",
        use.consent == policy.consent.kind,
        f"evidence of consent: {use.consent}",
        policy.where("consent", "by"),
        f"evidence of the kind {policy.consent.kind}",
        _EVIDENCE[policy.consent.kind],
    )


# --- rules on the hold: who asks, what it costs, what it protects ---------------------------------


def _unit(policy: Policy, request: Request) -> RuleVerdict:
    source = policy.sources.get(request.source)
    if source is None:
        return _no_source("PS-SRC-002", policy)
    return RuleVerdict(
        "PS-SRC-002",
        request.unit == source.unit,
        f"unit {request.unit!r}",
        policy.where("sources", request.source, "unit"),
        f"exactly {source.unit!r}",
        "declare in the schema the unit that the policy protects",
    )


def _contribution(policy: Policy, request: Request) -> RuleVerdict:
    source = policy.sources.get(request.source)
    if source is None:
        return _no_source("PS-SRC-003", policy)
    return RuleVerdict(
        "PS-SRC-003",
        1 <= request.contribution <= source.k,
        f"{request.contribution} rows of a subject",
        policy.where("sources", request.source, "contribution", "max rows per subject"),
        f"1 to {source.k}",
        f"in the schema's `subject`, at most {source.k} rows",
    )


def _requester(policy: Policy, request: Request) -> RuleVerdict:
    person = policy.people.get(request.actor)
    wanted = policy.roles.requesters_of_holds
    return RuleVerdict(
        "PS-ROL-001",
        person is not None and not set(wanted).isdisjoint(person.roles),
        f"asked by {request.actor!r}",
        policy.where("people", request.actor, "roles"),
        f"a person with role {join(wanted)}",
        "say who asks (`actor`), have a person with such a role ask, or have the policy's owner name this one under "
        "`people`",
    )


def _epsilon(policy: Policy, request: Request) -> RuleVerdict:
    limit = policy.privacy.per_release.max_epsilon
    return RuleVerdict(
        "PS-BUD-001",
        0 < request.epsilon <= limit,
        f"epsilon {request.epsilon!r}",
        policy.where("privacy", "per release", "max epsilon"),
        f"above 0, at most {limit!r}",
        f"ask for epsilon {limit!r} or less",
    )


def _delta(policy: Policy, request: Request) -> RuleVerdict:
    limit = policy.privacy.per_release.max_delta
    return RuleVerdict(
        "PS-BUD-002",
        0 < request.delta <= limit,
        f"delta {request.delta!r}",
        policy.where("privacy", "per release", "max delta"),
        f"above 0, at most {limit!r}",
        f"ask for delta {limit!r} or less",
    )


def _delta_below(policy: Policy, request: Request) -> RuleVerdict:
    source = policy.sources.get(request.source)
    if source is None:
        return _no_source("PS-BUD-003", policy)
    rule = policy.privacy.per_release
    limit = rule.delta_limit(source.subjects)
    return RuleVerdict(
        "PS-BUD-003",
        math.isfinite(request.delta) and 0 < Fraction(repr(request.delta)) < limit,  # as written
        f"delta {request.delta!r}",
        policy.where("privacy", "per release", "delta below"),
        f"below {rule.delta_below} = {float(limit):.3g} at {source.subjects} declared subjects",
        f"ask for a delta below {float(limit):.3g}",
    )


def _size(policy: Policy, request: Request) -> RuleVerdict:
    source = policy.sources.get(request.source)
    if source is None:
        return _no_source("PS-SIZ-001", policy)
    return RuleVerdict(
        "PS-SIZ-001",
        source.declared_train >= policy.data.min_rows,
        f"{math.floor(source.declared_train)} declared subjects to fit on",
        policy.where("data", "min rows"),
        f"at least {policy.data.min_rows}",
        "use a larger source",
    )


def _gate_columns(policy: Policy, request: Request) -> RuleVerdict:
    named = policy.gate.columns
    missing = [name for name in named if name not in request.columns]
    return RuleVerdict(
        "PS-GATE-001",
        not missing,
        f"the schema does not learn {join([repr(m) for m in missing])}" if missing else "the schema learns them",
        policy.where("gate", *(policy.gate.predictions[0][0] if named else ("utility",))),
        f"the gate tests {join([repr(n) for n in named])}" if named else "the gate names no column",
        "declare these columns in the schema as learned, or use a policy whose gate fits this table",
    )


def _noise(policy: Policy, request: Request) -> RuleVerdict:
    return RuleVerdict(
        "PS-NOI-001",
        request.noise == "os-secure",
        f"noise {request.noise}",
        policy.where("privacy", "noise"),
        "from the operating system's secure source only",
        "leave `noise` out; seeds are for tests",
    )


def _public_help(policy: Policy, request: Request) -> RuleVerdict:
    allowed = policy.data.public_help == "allowed"
    return RuleVerdict(
        "PS-PUB-001",
        allowed or not request.public_help,
        "the recipe declares a public table" if request.public_help else "the recipe declares no public table",
        policy.where("data", "public help"),
        "a public table may be declared" if allowed else "no rows may be declared public",
        "leave `public` out, or have the policy's owner say `public help: allowed` under `data`",
    )


def _no_source(rule: str, policy: Policy) -> RuleVerdict:
    return _unconsulted(rule, policy.where("sources"), "the source is not registered", "PS-SRC-001")


def _unconsulted(rule: str, where: str, why: str, first: str) -> RuleVerdict:
    return RuleVerdict(
        rule, False, f"could not be consulted: {why}", where, f"{first} allows it", f"mend {first} first"
    )


_USE_RULES: tuple[Callable[[Policy, Use], RuleVerdict], ...] = (
    _window,
    _source_known,
    _purpose_known,
    _recipient_known,
    _recipient_may,
    _consent_at_hand,
)
_HOLD_RULES: tuple[Callable[[Policy, Request], RuleVerdict], ...] = (
    _unit,
    _contribution,
    _requester,
    _epsilon,
    _delta,
    _delta_below,
    _size,
    _gate_columns,
    _noise,
    _public_help,
)
