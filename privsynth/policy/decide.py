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
from privsynth.errors import UsageError
from privsynth.policy.basis import lifts
from privsynth.policy.document import ConsentKind, Policy
from privsynth.policy.duo import forbidden, to_attest
from privsynth.policy.request import Decision, Request, RuleVerdict, Use

__all__ = ["ConsentKind", "Decision", "Request", "RuleVerdict", "Use", "decide", "decide_evidence", "decide_use"]

_SKEW = 300.0
"""Seconds by which the clock of an exporting system may be ahead of ours."""


def decide(policy: Policy, request: Request) -> Decision:
    """Consult every rule of ``policy`` on ``request``. Writes nothing, reads no data. What is no number, day or name
    is refused where the request is made (:class:`Request`, a :class:`UsageError`); this never raises on a request.

    Raises:
        UsageError: ``request`` is no :class:`Request`.
    """
    if not isinstance(request, Request):
        raise UsageError(f"{type(request).__name__} is no request", where="decide", mend="make a Request of it")
    verdicts = [rule(policy, request) for rule in _USE_RULES] + [rule(policy, request) for rule in _HOLD_RULES]
    return Decision(tuple(verdicts))


def decide_use(policy: Policy, use: Use) -> Decision:
    """As :func:`decide`, with the rules that need no price: what the consent step asks before it reads."""
    return Decision(tuple(rule(policy, use) for rule in _USE_RULES))


def decide_evidence(policy: Policy, use: Use) -> Decision:
    """The rules on the evidence of consent itself, asked once its age and what was attested are known."""
    return Decision(tuple(rule(policy, use) for rule in _EVIDENCE_RULES))


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


def _region(policy: Policy, use: Use) -> RuleVerdict:
    recipient, regions = policy.recipients.get(use.recipient), policy.file.regions
    here = None if recipient is None else recipient.region
    return RuleVerdict(
        "PS-REC-003",
        regions is None or here in regions,
        f"recipient {use.recipient!r} in {here or 'no stated region'}",
        policy.where("recipients", use.recipient, "region") if regions is None else policy.where("regions"),
        "anywhere" if regions is None else f"in {join(regions)}",
        "name a recipient who is there; a region counts only as it is written",
    )


def _biometric(policy: Policy, use: Use) -> RuleVerdict:
    """A declaration, not a finding: whether the policy says so of the purpose, or whoever asks says so of the use."""
    purpose, rule = policy.purposes.get(use.purpose), policy.file.images
    declared = purpose is not None and purpose.biometric is True
    meant = use.biometric or declared
    who = f"the policy says that purpose {use.purpose!r}" if declared else "whoever asks says that the use"
    silent = rule is None or rule.biometric_use is None
    return RuleVerdict(
        "PS-IMG-001",
        not (meant and policy.forbids_biometrics),
        f"{who} is for telling who somebody is, or which group a face belongs to"
        if meant
        else f"neither the policy says of purpose {use.purpose!r}, nor whoever asks, that it is biometric",
        policy.where("images", "biometric use"),
        "biometric use is "
        + ("not stated, so it is forbidden" if silent else "forbidden" if policy.forbids_biometrics else "allowed"),
        "ask for another use, or have the policy's owner say `images: {biometric use: allowed}`",
    )


_EVIDENCE = {
    "register": "give the consent register, in a study `consent: {register: consent.csv}`",
    "columns": "let the consent columns of the data speak: give no register",
    "fhir": "give the FHIR records, in a study `consent: {fhir: consents.ndjson, exported: 2026-03-01T06:00:00Z}`",
    "iso-27560": "give the consent receipts, in a study `consent: {receipts: receipts.ndjson}`",
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


def _duo(policy: Policy, use: Use) -> RuleVerdict:
    source, purpose = policy.sources.get(use.source), policy.purposes.get(use.purpose)
    carried = (source.duo or ()) if source is not None else ()
    asked = (purpose.duo or ()) if purpose is not None else ()
    against = forbidden(carried, asked) if asked else carried
    return RuleVerdict(
        "PS-CON-003",
        not against,
        f"a purpose of the kind {join(asked)}" if asked else "a purpose without DUO codes",
        policy.where("sources", use.source, "duo"),
        f"the source is for {join(carried)}" if carried else "the source carries no DUO codes",
        "name a purpose that the source's codes allow; a disease counts only as it is written there",
    )


def _export_age(policy: Policy, use: Use) -> RuleVerdict:
    limit = policy.consent.max_age
    known = use.export_age is not None
    recent = limit is None or (use.export_age is not None and -_SKEW <= use.export_age <= limit.total_seconds())
    return RuleVerdict(
        "PS-CON-002",
        recent,
        f"evidence exported {use.export_age:.0f} seconds ago" if known else "evidence without the time of its export",
        policy.where("consent", "max age of export"),
        "no limit" if limit is None else f"at most {policy.consent.max_age_of_export} old, and not from the future",
        "export the records again and state when, in a study `exported: 2026-03-01T06:00:00Z`",
    )


def _attested(policy: Policy, use: Use) -> RuleVerdict:
    source = policy.sources.get(use.source)
    needed = to_attest((source.duo or ()) if source is not None else ())
    missing = [code for code in needed if code not in use.attested]
    return RuleVerdict(
        "PS-CON-004",
        not missing,
        f"nobody attests that {join(missing)} is met" if missing else "every condition that needs a person is attested",
        policy.where("sources", use.source, "duo"),
        f"a line of a person for {join(needed)}" if needed else "no condition needs a person",
        "have a person who knows state it, in a study `consent: {..., attest: {IRB: vote 12/2026 of 3 March}}`",
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


def _legal_basis(policy: Policy, request: Request) -> RuleVerdict:
    purpose = policy.purposes.get(request.purpose)
    if purpose is None:
        return _unconsulted("PS-PUR-002", policy.where("purposes"), "the purpose is not registered", "PS-PUR-001")
    named = request.legal_basis or purpose.legal_basis
    return RuleVerdict(
        "PS-PUR-002",
        set(named) <= set(purpose.legal_basis),
        f"legal basis {join(named)}",
        policy.where("purposes", request.purpose, "legal basis"),
        f"of {join(purpose.legal_basis)}",
        "rely on what the policy lists, or leave it out",
    )


def _special(policy: Policy, request: Request) -> RuleVerdict:
    source, purpose = policy.sources.get(request.source), policy.purposes.get(request.purpose)
    if source is None:
        return _no_source("PS-PUR-003", policy)
    named = request.legal_basis or (purpose.legal_basis if purpose is not None else ())
    return RuleVerdict(
        "PS-PUR-003",
        not source.categories or lifts(named),
        f"special categories {join(list(source.categories))}" if source.categories else "no special categories",
        policy.where("sources", request.source, "categories"),
        "a basis of Art6(1) and one of Art9(2) together, or one of 45CFR164.508, 45CFR164.512(i), 45CFR164.514(b)",
        "rely on both; for data of special categories one alone lifts nothing",
    )


def _looked(policy: Policy, request: Request) -> RuleVerdict:
    marked = policy.roles.overlap == "marked"
    return RuleVerdict(
        "PS-ROL-003",
        marked or not request.opened_report,
        f"{request.actor!r} {'has' if request.opened_report else 'has not'} opened an internal report",
        policy.where("roles", "overlap"),
        "such a request is marked in every later statement" if marked else "nobody who has opened one asks for holds",
        "have somebody ask who has seen no internal report, or have the policy's owner write `overlap: marked`",
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
    _region,
    _consent_at_hand,
    _duo,
    _biometric,
)
_EVIDENCE_RULES: tuple[Callable[[Policy, Use], RuleVerdict], ...] = (_export_age, _attested)
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
    _legal_basis,
    _special,
    _looked,
)
