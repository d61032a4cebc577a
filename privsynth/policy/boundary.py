"""Requests at the limits of a policy: what to ask so that a looser leaf shows.

A policy has no conditions, so each leaf is read by few rules, and what it newly allows can be asked at its new value.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, get_args

from privsynth.policy.approval_asks import SignedAsk, changes_at, needed_signatures
from privsynth.policy.asks import (
    Ask,
    CarryAsk,
    ConsentAsk,
    Earlier,
    GateAsk,
    HoldAsk,
    KeepAsk,
    ReportAsk,
    admits,
    paced,
)
from privsynth.policy.consent_asks import EvidenceAsk, ReceiptAsk, SubjectAsk, Then, WithdrawnAsk, usual_record
from privsynth.policy.consent_rules import seconds
from privsynth.policy.document import Policy
from privsynth.policy.image_asks import MarkedAsk
from privsynth.policy.leaves import NAMES
from privsynth.policy.ledger_asks import OpenAsk, witness_key
from privsynth.policy.recipient_asks import LeaveAsk
from privsynth.policy.request import Request
from privsynth.policy.thresholds import thresholds

_OTHER, _ELSEWHERE = "earlier-recipient", "earlier-population"
_ADULT = (99, False, "adult")
_ANY = "*"

Parts = Sequence[str]
Maker = Callable[[Policy, Policy, Parts], Iterator[Ask]]


def requests_at(tight: Policy, loose: Policy, path: Parts) -> Iterator[Ask]:
    """What to ask about the leaf at ``path``, at values that ``loose`` allows and ``tight`` may not."""
    for make in _makers(path):
        yield from make(tight, loose, path)


def _makers(path: Parts) -> Iterator[Maker]:
    for pattern, make in _MAKERS:
        if len(pattern) == len(path) and all(p in (_ANY, q) for p, q in zip(pattern, path, strict=True)):
            yield make


def has_maker(path: Parts) -> bool:
    """Whether requests are known that ask about the leaf at ``path``."""
    return any(True for _ in _makers(path))


def usual(policy: Policy, **wanted: Any) -> Iterator[Request]:
    """Requests that ``policy`` allows, or nearly: modest in price and size; ``wanted`` replaces fields.

    One for each pair of a recipient and a purpose of hers.
    """
    release = policy.privacy.per_release
    asking = set(policy.roles.requesters_of_holds)
    actor = next(name for name, person in policy.people.items() if asking & set(person.roles))
    name = wanted.get("source")
    source = policy.sources.get(str(name)) or next(iter(policy.sources.values()))
    modest = {
        "source": next(iter(policy.sources)),
        "actor": actor,
        "consent": policy.consent.kind,
        "today": policy.valid.from_,
        "epsilon": release.max_epsilon,
        "delta": min(release.max_delta, float(release.delta_limit(source.subjects)) / 2),
        "unit": source.unit,
        "contribution": 1,
        "columns": policy.gate.columns,
        "kind": "marginals",
    }
    for recipient, rule in policy.recipients.items():
        for purpose in rule.purposes:
            yield Request(**{**modest, "recipient": recipient, "purpose": purpose, **wanted})


def _holds(policy: Policy, **wanted: Any) -> Iterator[Ask]:
    for request in usual(policy, **wanted):
        yield HoldAsk(request=request)


def _valid(tight: Policy, loose: Policy, path: Parts) -> Iterator[Ask]:
    yield from _holds(loose, today=loose.valid.from_ if path[-1] == "from" else loose.valid.until)


def _source(tight: Policy, loose: Policy, path: Parts) -> Iterator[Ask]:
    for name in loose.sources:
        if name not in tight.sources:
            yield from _holds(loose, source=name)


def _rows(tight: Policy, loose: Policy, path: Parts) -> Iterator[Ask]:
    yield from _holds(loose, source=path[1], contribution=loose.sources[path[1]].k)


def _categories(tight: Policy, loose: Policy, path: Parts) -> Iterator[Ask]:
    for purpose in loose.purposes.values():
        for basis in purpose.legal_basis:
            yield from _holds(loose, source=path[1], legal_basis=(basis,))


def _model(tight: Policy, loose: Policy, path: Parts) -> Iterator[Ask]:
    kept = tight.file.retention
    if kept is not None:
        longer = loose.file.retention.model if loose.file.retention is not None else "99999d"
        yield KeepAsk(age=dt.timedelta(seconds=seconds(longer)))


def _opened(tight: Policy, loose: Policy, path: Parts) -> Iterator[Ask]:
    yield OpenAsk(witness=False)


def _cosigned(tight: Policy, loose: Policy, path: Parts) -> Iterator[Ask]:
    yield OpenAsk(witness=True, cosigned_by=witness_key(loose) or "")


def _unit(tight: Policy, loose: Policy, path: Parts) -> Iterator[Ask]:
    yield from _holds(loose, source=path[1])


def _purpose(tight: Policy, loose: Policy, path: Parts) -> Iterator[Ask]:
    for name in loose.purposes:
        if name not in tight.purposes:
            allowed = [who for who, rule in loose.recipients.items() if name in rule.purposes]
            yield from _holds(loose, purpose=name, **({"recipient": allowed[0]} if allowed else {}))


def _basis(tight: Policy, loose: Policy, path: Parts) -> Iterator[Ask]:
    held = tight.purposes[path[1]].legal_basis if path[1] in tight.purposes else ()
    for basis in loose.purposes[path[1]].legal_basis:
        if basis not in held:
            for named in ((basis,), (*held, basis)):
                for request in usual(loose, legal_basis=named):
                    if request.purpose == path[1]:
                        yield HoldAsk(request=request)


def _receipt(tight: Policy, loose: Policy, path: Parts) -> Iterator[Ask]:
    """Receipts on the lists of either policy, and on each of their bases alone."""
    if loose.consent.by == "iso-27560":
        for request in usual(loose):
            held = [p.purposes[request.purpose].legal_basis for p in (loose, tight) if request.purpose in p.purposes]
            for basis in dict.fromkeys((*held, *((one,) for part in held for one in part))):
                yield ReceiptAsk(
                    source=path[1] if path[0] == "sources" else request.source,
                    purpose=request.purpose,
                    recipient=request.recipient,
                    legal_basis=basis,
                )


def _minors(tight: Policy, loose: Policy, path: Parts) -> Iterator[Ask]:
    """Subjects whom ``tight`` leaves out, those at its limit first."""
    rule = tight.sources[path[1]].minors if path[1] in tight.sources else None
    if rule is not None:
        for value in (*(rule.values or ()), *((rule.below - 1,) if rule.below is not None else ()), None):
            yield SubjectAsk(source=path[1], value=value)


def _met(tight: Policy, loose: Policy, path: Parts) -> Iterator[Ask]:
    """Somebody of whom another population has been told before, who is no minor by any rule."""
    for name in loose.sources:
        for value in (None, *_ADULT):
            yield SubjectAsk(source=name, value=value, met_in=_ELSEWHERE)


def _recipient(tight: Policy, loose: Policy, path: Parts) -> Iterator[Ask]:
    for name, rule in loose.recipients.items():
        for purpose in rule.purposes if name not in tight.recipients else ():
            yield from _holds(loose, recipient=name, purpose=purpose)


def _recipient_purpose(tight: Policy, loose: Policy, path: Parts) -> Iterator[Ask]:
    held = tight.recipients[path[1]].purposes if path[1] in tight.recipients else ()
    for purpose in loose.recipients[path[1]].purposes:
        if purpose not in held:
            yield from _holds(loose, recipient=path[1], purpose=purpose)


def _leaves(tight: Policy, loose: Policy, path: Parts) -> Iterator[Ask]:
    for key in (None, loose.recipients[path[1]].key if path[1] in loose.recipients else None):
        yield LeaveAsk(recipient=path[1], sealed_to=key)


def _evidence(tight: Policy, loose: Policy, path: Parts) -> Iterator[Ask]:
    yield from _holds(loose)


def _column(tight: Policy, loose: Policy, path: Parts) -> Iterator[Ask]:
    for purpose, rule in (loose.consent.columns or {}).items():
        for value in rule.granted:
            yield ConsentAsk(purpose=purpose, value=value)


def _evidence_age(tight: Policy, loose: Policy, path: Parts) -> Iterator[Ask]:
    """Evidence as old as ``loose`` takes it, and older than ``tight`` does."""
    held = tight.consent.max_age or dt.timedelta()
    for age in (loose.consent.max_age, held + dt.timedelta(hours=1)):
        if age is not None:
            yield EvidenceAsk(source=next(iter(loose.sources)), age=age)


def _record(tight: Policy, loose: Policy, path: Parts) -> Iterator[Ask]:
    """Records that say just what ``loose`` asks for, in each of the forms and by each of the people that it takes."""
    for recipient, rule in loose.recipients.items():
        for purpose in rule.purposes:
            usual = usual_record(loose, purpose=purpose, recipient=recipient)
            if usual is None:
                continue
            for form in loose.consent.records or ():
                yield replace(usual, form=form)
            for signer in loose.consent.verified_by or ():
                yield replace(usual, signed_by=signer)
            for reference in rule.fhir or ():
                yield replace(usual, to=reference)


def _withdrawn(tight: Policy, loose: Policy, path: Parts) -> Iterator[Ask]:
    for then in get_args(Then):
        yield WithdrawnAsk(then=then)


def _price(tight: Policy, loose: Policy, path: Parts) -> Iterator[Ask]:
    for request in usual(loose):
        epsilon, delta = loose.privacy.per_release.max_epsilon, loose.privacy.per_release.max_delta
        if path[-1] == "max epsilon":
            yield HoldAsk(request=replace(request, epsilon=epsilon))
        elif path[-1] == "max delta":
            yield HoldAsk(request=replace(request, delta=delta))
        else:
            limit = tight.privacy.per_release.delta_limit(tight.sources[request.source].subjects)
            yield HoldAsk(request=replace(request, delta=float(limit)))


def _budget(tight: Policy, loose: Policy, path: Parts) -> Iterator[Ask]:
    line = next((line for line in tight.privacy.budget if line.over == path[2]), None)
    if line is None:
        return
    for request in usual(loose):
        earlier = request.recipient if line.over == "recipient" else _OTHER
        whole = Earlier(epsilon=request.epsilon, delta=request.delta, recipient=earlier)

        def asked(times: int, epsilon: float, request: Request = request, whole: Earlier = whole) -> HoldAsk:
            after = (replace(whole, times=times),) if times else ()
            return HoldAsk(request=replace(request, epsilon=epsilon), after=after)

        times = _most(lambda n, asked=asked, e=request.epsilon: admits(tight, line, asked(n, e)))  # type: ignore[misc]
        dearest = _dearest(lambda e, n=times, asked=asked: admits(tight, line, asked(n, e)), request.epsilon)  # type: ignore[misc]
        yield asked(times, float(f"{dearest:.9g}"))
        return


def _pace(tight: Policy, loose: Policy, path: Parts) -> Iterator[Ask]:
    """A hold a little dearer than the pace of ``tight`` lets through, after earlier ones: of now, of a window of
    ``loose`` ago, of one just inside the window of ``tight``."""
    rule = next((rule for rule in tight.privacy.pace or () if rule.over == path[2]), None)
    after = next((rule for rule in loose.privacy.pace or () if rule.over == path[2]), None)
    if rule is None:
        return
    request = next(usual(loose))
    earlier = request.recipient if rule.over == "recipient" else _OTHER
    windows = (dt.timedelta(), after.window if after else rule.window, rule.window - dt.timedelta(hours=1))
    for ago in dict.fromkeys(ago for ago in windows if ago < rule.window):
        whole = Earlier(epsilon=request.epsilon, delta=request.delta, recipient=earlier, ago=ago)

        def asked(times: int, epsilon: float, whole: Earlier = whole) -> HoldAsk:
            return HoldAsk(
                request=replace(request, epsilon=epsilon), after=(replace(whole, times=times),) if times else ()
            )

        def fits(times: int, epsilon: float, asked: Callable[[int, float], HoldAsk] = asked) -> bool:
            return paced(tight, rule, asked(times, epsilon))

        times = _most(lambda n, fits=fits: fits(n, request.epsilon))  # type: ignore[misc]
        yield asked(times, float(f"{_dearest(lambda e, n=times, fits=fits: fits(n, e), request.epsilon):.9g}"))  # type: ignore[misc]


def _dearest(fits: Callable[[float], bool], most: float) -> float:
    """A little more than the largest epsilon up to ``most`` that fits."""
    low, high = 1e-4, most
    for _ in range(40):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if fits(middle) else (low, middle)
    return high * (1 + 1e-6)


def _most(fits: Callable[[int], bool]) -> int:
    """The number of holds after which one more does not fit: the least n at which ``fits(n)`` is false."""
    high = 1
    while fits(high):
        high *= 2
    low = high // 2 if high > 1 else 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return high if fits(low) else low


def _public(tight: Policy, loose: Policy, path: Parts) -> Iterator[Ask]:
    yield from _holds(loose, public_help=True)


def _biometric(tight: Policy, loose: Policy, path: Parts) -> Iterator[Ask]:
    yield from _holds(loose, biometric=True)
    rule = loose.file.images
    yield MarkedAsk(marks=() if rule is None else rule.mark_synthetic or (), term=False)


def _marked(tight: Policy, loose: Policy, path: Parts) -> Iterator[Ask]:
    rule = loose.file.images
    yield MarkedAsk(marks=() if rule is None else rule.mark_synthetic or ())


def _attempts(tight: Policy, loose: Policy, path: Parts) -> Iterator[Ask]:
    yield GateAsk(attempt=loose.gate.max_attempts)


def _figure(tight: Policy, loose: Policy, path: Parts) -> Iterator[Ask]:
    after = {limit.name: limit.value for limit in thresholds(loose.file)}
    for limit in thresholds(tight.file):
        if limit.place[: len(path)] == tuple(path):
            worst = 1.0 if limit.side == "at most" else 0.0
            yield GateAsk(figures={limit.name: after.get(limit.name, worst)})


def _groups(tight: Policy, loose: Policy, path: Parts) -> Iterator[Ask]:
    after = {limit.name for limit in thresholds(loose.file)}
    for limit in thresholds(tight.file):
        if limit.name not in after and limit.place[: len(path) - 1] == tuple(path[:-1]):
            yield GateAsk(figures={limit.name: 1.0})


def _columns(tight: Policy, loose: Policy, path: Parts) -> Iterator[Ask]:
    yield from _holds(loose)


def _transcript(tight: Policy, loose: Policy, path: Parts) -> Iterator[Ask]:
    yield CarryAsk(what="transcript")


def _people(tight: Policy, loose: Policy, path: Parts) -> Iterator[Ask]:
    for name in loose.people:
        yield from _holds(loose, actor=name)
        yield ReportAsk(actor=name)


def _looked(tight: Policy, loose: Policy, path: Parts) -> Iterator[Ask]:
    yield from _holds(loose, opened_report=True)


def _signed(tight: Policy, loose: Policy, path: Parts) -> Iterator[Ask]:
    yield SignedAsk(people=needed_signatures(loose))


_MAKERS: tuple[tuple[tuple[str, ...], Maker], ...] = (
    (("owner",), changes_at),
    (("valid", _ANY), _valid),
    (("sources", NAMES), _source),
    (("sources", _ANY, "contribution", "max rows per subject"), _rows),
    (("sources", _ANY, "unit"), _unit),
    (("sources", _ANY, "categories"), _categories),
    (("purposes", NAMES), _purpose),
    (("purposes", _ANY, "legal basis"), _basis),
    (("purposes", _ANY, "legal basis"), _receipt),
    (("sources", _ANY, "categories"), _receipt),
    (("sources", _ANY, "minors", _ANY), _minors),
    (("recipients", NAMES), _recipient),
    (("recipients", _ANY, "purposes"), _recipient_purpose),
    (("regions",), _evidence),
    (("recipients", _ANY, "region"), _evidence),
    (("recipients", _ANY, "key"), _leaves),
    (("consent", "by"), _evidence),
    (("purposes", _ANY, "fhir"), _record),
    (("recipients", _ANY, "fhir"), _record),
    (("consent", "records"), _record),
    (("consent", "requires", _ANY), _record),
    (("consent", "verified by"), _record),
    (("consent", "max age of export"), _evidence_age),
    (("consent", "on withdrawal"), _withdrawn),
    (("consent", "columns", NAMES), _column),
    (("consent", "columns", _ANY, "granted"), _column),
    (("privacy", "budget", _ANY, "epsilon"), _budget),
    (("privacy", "budget", _ANY, "delta"), _budget),
    (("privacy", "pace", _ANY, _ANY), _pace),
    (("privacy", "new data", "population"), _met),
    (("privacy", "per release", _ANY), _price),
    (("data", "min rows"), _figure),
    (("data", "min subjects per group"), _figure),
    (("data", "public help"), _public),
    (("gate", "max attempts"), _attempts),
    (("gate", "schema constraints"), _figure),
    (("gate", "fidelity", "held-back marginals", "max"), _figure),
    (("gate", "membership", "advantage", "upper bound max"), _figure),
    (("gate", _ANY, _ANY, "at least"), _figure),
    (("gate", _ANY, "gap", "max"), _figure),
    (("gate", _ANY, "by"), _groups),
    (("gate", _ANY, "target"), _columns),
    (("gate", "pictures", _ANY, "advantage", "upper bound max"), _figure),
    (("gate", "pictures", _ANY, _ANY, "at least"), _figure),
    (("gate", "pictures", _ANY, "gap", "max"), _figure),
    (("gate", "pictures", _ANY, "by"), _groups),
    (("gate", "pictures", _ANY, "target"), _columns),
    (("images", "biometric use"), _biometric),
    (("images", "mark synthetic"), _marked),
    (("release", "transcript"), _transcript),
    (("retention", "model"), _model),
    (("ledger", "witness"), _opened),
    (("ledger", "witness key"), _cosigned),
    (("roles", "requesters of holds"), _people),
    (("roles", "readers of internal reports"), _people),
    (("roles", "overlap"), _looked),
    (("people", NAMES), _people),
    (("people", _ANY, "roles"), _people),
    (("people", NAMES), changes_at),
    (("people", _ANY, "roles"), changes_at),
    (("people", _ANY, "key"), changes_at),
    (("approval", "policy change", _ANY), changes_at),
    (("approval", "release", "people"), _signed),
)
