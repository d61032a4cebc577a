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
from privsynth.policy.quorum import quorum_of
from privsynth.signing import person_key


@dataclass(frozen=True)
class Fault:
    """Something that no single key shows: where it stands, what it is, what to do, and the other line if it is told."""

    place: tuple[str | int, ...]
    what: str
    mend: str
    beside: tuple[str | int, ...] | None = None


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
                    mend=f"remove `{key}` and choose an epsilon for everything that will ever be released; what slows "
                    "spending is `pace`, beside `budget`: `pace: [{over: population, per: quarter, share: 1/4}]`",
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


def _minors(file: PolicyFile) -> Faults:
    for name, source in file.sources.items():
        rule = source.minors
        if rule is not None and (rule.below is None) == (rule.values is None):
            yield Fault(
                ("sources", name, "minors"),
                "`minors` says both `below` and `values`" if rule.values else "`minors` does not say who is one",
                "one of the two: `{column: age, below: 18}` or `{column: age_band, values: [0-2, 3-9, 10-17]}`",
            )


def _names(file: PolicyFile) -> Faults:
    seen: dict[str, str] = {}
    for recipient, rule in file.recipients.items():
        if rule.key is not None and seen.setdefault(rule.key, recipient) != recipient:
            yield Fault(
                ("recipients", recipient, "key"),
                f"the key of {seen[rule.key]} too: each could open what leaves for the other",
                "each recipient makes its own: `privsynth keys receiving`",
                beside=("recipients", seen[rule.key], "key"),
            )
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


def _pace(file: PolicyFile) -> Faults:
    lines = file.privacy.pace or ()
    for i, line in enumerate(lines):
        place = ("privacy", "pace", i)
        if line.over in {other.over for other in lines[:i]}:
            yield Fault(place, f"a second line over {line.over}", "keep one line of each kind")
        if file.privacy.line(line.over) is None:
            yield Fault(
                place,
                f"no budget is over {line.over}, of which this could be a share",
                f"add a line `over: {line.over}` under `budget`, or remove this one",
            )


def _sizes(file: PolicyFile) -> Faults:
    largest = max(source.declared_train for source in file.sources.values())
    if largest < file.data.min_rows:
        yield Fault(
            ("data", "min rows"),
            f"no source is large enough: at most {int(largest)} declared subjects are left to fit on",
            f"at most {int(largest)}, or register a larger source",
        )


def _groups(file: PolicyFile) -> Faults:
    least = file.data.min_subjects_per_group
    if least is None:
        return
    place = ("data", "min subjects per group")
    if not any(rule.by for _, rule in file.gate.predictions):
        yield Fault(place, "no rule of the gate compares groups", "write `by` and `gap` under one, or remove this")
    held_out = max(int(source.subjects * Fraction(str(source.holdout))) for source in file.sources.values())
    if least > held_out:
        yield Fault(
            place,
            f"groups are compared among the people who are held out, and no source has more than {held_out} of them",
            f"well below {held_out}, or register a larger source",
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
        other = seen.setdefault(person_key(address), address)
        if other != address:
            yield Fault(("people", address), f"the same address as {other!r}", "keep one of the two")
        for i, role in enumerate(person.roles):
            if role not in asking | reading | _approving(file):
                what = f"role {role!r} is not named under `roles`" + (" or `approval`" if _approving(file) else "")
                yield Fault(("people", address, "roles", i), what, "spell it as there")
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


def _approving(file: PolicyFile) -> set[str]:
    rule = None if file.approval is None else file.approval.policy_change
    return set() if rule is None else set(rule.roles or ())


def _approval(file: PolicyFile) -> Faults:
    seen: dict[str, str] = {}
    for address, person in file.people.items():
        if person.key is not None and seen.setdefault(person.key, address) != address:
            yield Fault(
                ("people", address, "key"),
                f"the key of {seen[person.key]} too: with it one person could approve as two",
                "each person makes her own: `privsynth keys new`",
            )
    quorum = quorum_of(file)
    if file.approval is not None and file.approval.release is None and quorum is None:
        yield Fault(("approval",), "it asks for nothing", "write `policy change`, `release` or both, or leave it out")
    if quorum is not None and len(quorum.approvers) < quorum.people:
        yield Fault(
            ("approval", "policy change", "people"),
            f"{quorum.people} people must approve, but only {len(quorum.approvers)} could: who has a key and a role "
            "that counts, the owner left out",
            "give more people a key and such a role under `people`, or ask for fewer",
        )


def _images(file: PolicyFile) -> Faults:
    place, rule = ("images", "biometric use"), file.images
    said = None if rule is None else rule.biometric_use
    if rule is not None and said is None and rule.mark_synthetic is None:
        yield Fault(
            ("images",), "it asks for nothing", "write `biometric use`, `mark synthetic` or both, or leave it out"
        )
    for name, source in file.sources.items():
        if "biometric" in (source.categories or ()) and said is None:
            yield Fault(
                ("sources", name, "categories"),
                "it holds biometric data, and nothing says whether pictures of it may be used to tell who somebody is",
                "write `images: {biometric use: forbidden}`",
            )
    for name, purpose in file.purposes.items():
        if purpose.biometric and said != "allowed":
            yield Fault(
                ("purposes", name, "biometric"),
                f"purpose {name!r} is biometric, and `biometric use` is "
                + ("not stated, so it is forbidden" if said is None else "forbidden"),
                "leave the purpose out; or, with the owner, `images: {biometric use: allowed}`",
                beside=None if said is None else place,
            )


def _ledger(file: PolicyFile) -> Faults:
    if file.ledger is not None and file.ledger.witness_key is not None and file.ledger.witness != "required":
        yield Fault(
            ("ledger", "witness key"),
            "a witness's key is named, and no witness is required",
            "write `witness: required` beside it, or remove it",
        )


_CHECKS: tuple[Callable[[PolicyFile], Faults], ...] = (
    _window,
    _populations,
    _minors,
    _names,
    _consent,
    _budget,
    _pace,
    _sizes,
    _groups,
    _gate,
    _images,
    _ledger,
    _people,
    _approval,
)
