"""For a request that a policy denies: the nearest one that it would allow, and what differs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from privsynth.policy.decide import decide
from privsynth.policy.document import Policy
from privsynth.policy.request import Decision, Request


@dataclass(frozen=True)
class Nearest:
    """What would be allowed instead.

    Attributes:
        request: the request with as few fields changed as the refusals demand; None where no change of the request
            helps, for it is the data, the day or the policy that would have to be other.
        changes: (field, asked, allowed) of each change.
        stuck: the rules that no change of the request satisfies.
    """

    request: Request | None
    changes: tuple[tuple[str, Any, Any], ...]
    stuck: tuple[str, ...]


def nearest(policy: Policy, request: Request) -> Nearest:
    """The nearest request that ``policy`` allows: fields change only where a rule denies them, to the limit itself.

    Names are never guessed by likeness: of purposes, recipients and people that are allowed the first in the file's
    order is taken. It reads no data; budget lines are not asked.
    """
    now, decision = request, decide(policy, request)
    for _ in range(len(decision.verdicts)):
        mends = [(v.id, _MENDS[v.id]) for v in decision.refusing if v.id in _MENDS]
        better = next((b for _, mend in mends if (b := mend(policy, now)) is not None and b != now), None)
        if better is None:
            break
        now, decision = better, decide(policy, better)
    stuck = _stuck(decision)
    changes = tuple(
        (name, getattr(request, name), getattr(now, name)) for name in _FIELDS if _differ(request, now, name)
    )
    return Nearest(None if stuck else now, changes, stuck)


def _stuck(decision: Decision) -> tuple[str, ...]:
    return tuple(v.id for v in decision.refusing)


def _differ(a: Request, b: Request, name: str) -> bool:
    return bool(getattr(a, name) != getattr(b, name))


_FIELDS = (
    "purpose",
    "recipient",
    "consent",
    "epsilon",
    "delta",
    "unit",
    "contribution",
    "actor",
    "noise",
    "public_help",
    "legal_basis",
    "biometric",
)


def _purpose(policy: Policy, request: Request) -> Request | None:
    rule = policy.recipients.get(request.recipient)
    return replace(request, purpose=(rule.purposes if rule else tuple(policy.purposes))[0])


def _recipient(policy: Policy, request: Request) -> Request | None:
    may = [name for name, rule in policy.recipients.items() if request.purpose in rule.purposes]
    return replace(request, recipient=(may or list(policy.recipients))[0])


def _there(policy: Policy, request: Request) -> Request | None:
    regions = policy.file.regions or ()
    may = [n for n, r in policy.recipients.items() if r.region in regions and request.purpose in r.purposes]
    return replace(request, recipient=may[0]) if may else None


def _may(policy: Policy, request: Request) -> Request | None:
    """Keep the purpose if somebody may use it, else keep the recipient."""
    may = [name for name, rule in policy.recipients.items() if request.purpose in rule.purposes]
    return replace(request, recipient=may[0]) if may else _purpose(policy, request)


def _actor(policy: Policy, request: Request) -> Request | None:
    wanted = set(policy.roles.requesters_of_holds)
    may = [name for name, person in policy.people.items() if wanted & set(person.roles) and name != request.actor]
    return replace(request, actor=may[0], opened_report=False) if may else None


def _delta(policy: Policy, request: Request) -> Request | None:
    source, release = policy.sources.get(request.source), policy.privacy.per_release
    if source is None:
        return replace(request, delta=release.max_delta)
    below = math.nextafter(float(release.delta_limit(source.subjects)), 0.0)
    limit = min(release.max_delta, float(f"{below:.3e}"))
    return replace(request, delta=limit if limit < below else below)


def _of_source(name: str, value: Callable[[Any], Any]) -> Callable[[Policy, Request], Request | None]:
    def mend(policy: Policy, request: Request) -> Request | None:
        source = policy.sources.get(request.source)
        return None if source is None else replace(request, **{name: value(source)})

    return mend


_MENDS: Mapping[str, Callable[[Policy, Request], Request | None]] = {
    "PS-PUR-001": _purpose,
    "PS-REC-001": _recipient,
    "PS-REC-002": _may,
    "PS-REC-003": _there,
    "PS-CON-001": lambda policy, request: replace(request, consent=policy.consent.kind),
    "PS-SRC-002": _of_source("unit", lambda source: source.unit),
    "PS-SRC-003": _of_source("contribution", lambda source: source.k),
    "PS-ROL-001": _actor,
    "PS-ROL-003": _actor,
    "PS-BUD-001": lambda policy, request: replace(request, epsilon=policy.privacy.per_release.max_epsilon),
    "PS-BUD-002": _delta,
    "PS-BUD-003": _delta,
    "PS-NOI-001": lambda policy, request: replace(request, noise="os-secure"),
    "PS-PUB-001": lambda policy, request: replace(request, public_help=False),
    "PS-IMG-001": lambda policy, request: replace(request, biometric=False),
    "PS-PUR-002": lambda policy, request: replace(request, legal_basis=()),
    "PS-PUR-003": lambda policy, request: replace(request, legal_basis=()),
}
