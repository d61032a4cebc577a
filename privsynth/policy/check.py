"""What the keys of a policy mean together, and why each is refused: the second reading of a file.

The form (``form``) knows one key at a time. Here stand the faults that only a whole file shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from privsynth.documents import Document
from privsynth.errors import PolicyError
from privsynth.policy.consent_check import consent_faults
from privsynth.policy.form import PolicyFile
from privsynth.policy.gate_rules import Predicted


@dataclass(frozen=True)
class Fault:
    """Something that no single key shows: where it stands, what it is, what to do."""

    place: tuple[str | int, ...]
    what: str
    mend: str


Faults = Iterator[Fault]


def refuse_todo(document: Document) -> None:
    """Refuse text that ``privsynth init`` left open."""
    places: list[tuple[tuple[str | int, ...], Any]] = [((), document.data)]
    while places:
        place, value = places.pop()
        if isinstance(value, str) and value.startswith("TODO"):
            raise PolicyError(
                f"{' › '.join(map(str, place))}: still says {value!r}",
                where=document.where(*place),
                mend="decide it, with the owner of the data, and write it out",
            )
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        places += [((*place, key), part) for key, part in inner]


def refuse_refill(document: Document) -> None:
    """Refuse periods under ``budget`` with the reason, before the form is judged."""
    privacy = document.data.get("privacy")
    budget = privacy.get("budget") if isinstance(privacy, dict) else None
    items = list(enumerate(budget)) if isinstance(budget, list) else []
    for place, part in [((), budget), *(((i,), item) for i, item in items)]:
        for key in ("refill", "reset", "per"):
            if isinstance(part, dict) and key in part:
                raise PolicyError(
                    f"`{key}` under `budget`: a budget is for ever; what was learnt about a person adds up and is "
                    "never unlearnt, so no period gives it back",
                    where=document.where("privacy", "budget", *place, key),
                    mend=f"remove `{key}` and choose an epsilon for everything that will ever be released",
                )


def whole(file: PolicyFile) -> Faults:
    """The faults of the file as a whole, in reading order."""
    for check in _CHECKS:
        yield from check(file)


def _window(file: PolicyFile) -> Faults:
    if file.valid.from_ > file.valid.until:
        yield Fault(("valid",), "`from` is after `until`: the policy is never valid", "swap the two days")


_FROZEN = ("unit", "holdout", "neighbours", "subjects", "contribution")


def _populations(file: PolicyFile) -> Faults:
    first: dict[str, str] = {}
    for name, source in file.sources.items():
        other = first.setdefault(source.population, name)
        for key in _FROZEN:
            if getattr(source, key) != getattr(file.sources[other], key):
                yield Fault(
                    ("sources", name, key),
                    f"{key!r} differs from that of source {other!r}, which draws on the same population "
                    f"{source.population!r}",
                    "write the same value in both; the unit is the coarsest of them",
                )


def _names(file: PolicyFile) -> Faults:
    for recipient, rule in file.recipients.items():
        for i, purpose in enumerate(rule.purposes):
            if purpose not in file.purposes:
                yield Fault(
                    ("recipients", recipient, "purposes", i),
                    f"purpose {purpose!r} is not listed under `purposes`",
                    "spell it as there, or add it there with its legal basis",
                )


def _consent(file: PolicyFile) -> Faults:
    for place, what, mend in consent_faults(file):
        yield Fault(place, what, mend)


def _budget(file: PolicyFile) -> Faults:
    privacy, release = file.privacy, file.privacy.per_release
    if privacy.filter.kind == "gdp" and privacy.filter.orders != "auto":
        yield Fault(
            ("privacy", "filter", "orders"), "a gdp filter has no orders", "remove `orders`, or write `kind: rdp`"
        )
    if privacy.line("population") is None:
        yield Fault(
            ("privacy", "budget"),
            "no line is `over: population`: nothing would be promised about everything ever released",
            "add `{over: population, epsilon: ..., delta: ...}`",
        )
    for i, line in enumerate(privacy.budget):
        place = ("privacy", "budget", i)
        if line.over in {other.over for other in privacy.budget[:i]}:
            yield Fault(place, f"a second line over {line.over}", "keep one line of each kind")
        if release.max_epsilon > line.epsilon:
            yield Fault(
                ("privacy", "per release", "max epsilon"),
                f"a release may cost epsilon {release.max_epsilon:g}, but the budget over {line.over} is only "
                f"{line.epsilon:g} for ever: the limit can never be reached",
                f"at most {line.epsilon:g}",
            )
        for name, source in file.sources.items() if line.over == "population" else ():
            limit = release.delta_limit(source.subjects)
            if Fraction(repr(line.delta)) >= limit:  # as written
                yield Fault(
                    (*place, "delta"),
                    f"delta {line.delta:g} is not below {release.delta_below} = {float(limit):.3g} for source "
                    f"{name!r} with {source.subjects} declared subjects: the promise over the population would be "
                    "weaker than the limit on one release",
                    f"a delta below {float(limit):.3g}",
                )


def _sizes(file: PolicyFile) -> Faults:
    largest = max(source.declared_train for source in file.sources.values())
    if largest < file.data.min_rows:
        yield Fault(
            ("data", "min rows"),
            f"no source is large enough: at most {int(largest)} declared subjects are left to fit on",
            f"at most {int(largest)}, or register a larger source",
        )


def _gate(file: PolicyFile) -> Faults:
    gate = file.gate
    if not gate.rules:
        yield Fault(
            ("gate",),
            "the gate would evaluate no rule, and a gate that checks nothing refuses everything",
            "write at least one of `schema constraints: true`, `fidelity`, `membership`, `utility`, `pictures`",
        )
    if gate.paid and gate.budget.share == 0:
        yield Fault(
            ("gate", "budget", "share"),
            "rules of membership, utility and pictures read real rows and must be paid for, but the gate's share is 0",
            "for example 0.15",
        )
    for place, limit in gate.upper_limits:
        if limit >= 1:
            yield Fault(
                ("gate", *place),
                "the figure lies between 0 and 1: a limit of 1 refuses nothing, and a check that cannot fail is none",
                "a limit below 1 that a bad model would break, or leave the rule out",
            )
    for place, rule in gate.predictions:
        yield from _predicted(("gate", *place), rule)


def _predicted(place: tuple[str, ...], rule: Predicted) -> Faults:
    if rule.accuracy is None and rule.balanced_accuracy is None and rule.gap is None:
        yield Fault(
            place,
            "the rule sets no limit",
            "add `accuracy: {at least: ...}`, `balanced accuracy: {at least: ...}` or `by` with `gap: {max: ...}`",
        )
    if bool(rule.by) != (rule.gap is not None):
        yield Fault(
            (*place, "by" if rule.by else "gap"),
            "`by` and `gap` go together",
            "write both, for example `by: [sex]` and `gap: {max: 0.08}`, or neither",
        )
    if rule.target in rule.by:
        yield Fault((*place, "by"), "the target cannot be a group", "name other columns")


def _people(file: PolicyFile) -> Faults:
    asking, reading = set(file.roles.requesters_of_holds), set(file.roles.readers_of_internal_reports)
    for role in sorted(asking & reading):
        yield Fault(
            ("roles", "readers of internal reports"),
            f"role {role!r} may both read internal reports and request holds: what it reads would choose what it asks",
            "name it in one of the two lists only",
        )
    seen: dict[str, str] = {}
    for address, person in file.people.items():
        other = seen.setdefault(address.casefold(), address)
        if other != address:
            yield Fault(("people", address), f"the same address as {other!r}", "keep one of the two")
        for i, role in enumerate(person.roles):
            if role not in asking | reading:
                yield Fault(
                    ("people", address, "roles", i), f"role {role!r} is not named under `roles`", "spell it as there"
                )
        if file.roles.overlap == "refused" and asking & set(person.roles) and reading & set(person.roles):
            yield Fault(
                ("people", address, "roles"),
                f"{address} may both read internal reports and request holds: what is read would choose what is asked",
                "give the two roles to different people, or write `overlap: marked`: later statements then say so",
            )
    if not any(asking & set(person.roles) for person in file.people.values()):
        yield Fault(
            ("roles", "requesters of holds"),
            "nobody holds a role that may request holds: every request would be denied",
            "give one of these roles to someone under `people`",
        )


_CHECKS: tuple[Callable[[PolicyFile], Faults], ...] = (
    _window,
    _populations,
    _names,
    _consent,
    _budget,
    _sizes,
    _gate,
    _people,
)
