"""Random pairs of policies and random requests: does what ``compare`` says of a pair ever disagree with the answers?

A pair is a shipped policy (or one with FHIR records, or with receipts and a pace) and the same with some leaves
loosened, tightened, added or left out, or with another owner, who may then not approve. Where ``compare`` finds nothing
looser, no request that the first denies may be allowed by the second; and the second, written as a child of the first,
must load. Where it finds something, a child that states it must be refused.
``python -m benchmarks.policy_pairs 100000``.

The evidence of consent that a request brings is what the policy at hand asks for, or none: that two policies ask for
evidence in different forms makes neither looser.
"""

from __future__ import annotations

import base64
import copy
import datetime as dt
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, get_args

from privsynth.documents import sha256
from privsynth.errors import PolicyError
from privsynth.policy.approval_asks import ChangeAsk, SignedAsk
from privsynth.policy.asks import Ask, CarryAsk, ConsentAsk, Earlier, GateAsk, HoldAsk, KeepAsk, ReportAsk, answer
from privsynth.policy.compare import Change, compare
from privsynth.policy.consent_asks import EvidenceAsk, ReceiptAsk, RecordAsk, SubjectAsk, Then, WithdrawnAsk
from privsynth.policy.consent_rules import Within
from privsynth.policy.directions import ABSENT, Choice, Ladder, Limit, Members
from privsynth.policy.document import Policy, load_policy, policy_of
from privsynth.policy.leaves import NAMES, Leaf, leaves
from privsynth.policy.ledger_asks import OpenAsk
from privsynth.policy.pace import Portion
from privsynth.policy.recipient_asks import LeaveAsk
from privsynth.policy.request import Request
from privsynth.policy.thresholds import thresholds
from privsynth.signing import Cosigner

POLICIES = Path(__file__).parents[1] / "policies"
SHIPPED = ("healthcare", "finance", "faces", "imaging", "research-sandbox")
BY_FHIR = {
    "default": "deny",
    "by": "fhir",
    "records": ["fhir-r4", "fhir-r5"],
    "requires": {"scope": "research", "purpose": ["CLINTRCH"], "action": ["collect", "use"]},
    "verified by": ["patient", "legal-representative"],
    "max age of export": "24h",
    "on withdrawal": "retire-models",
}
"""The evidence of one more policy: healthcare.yaml with FHIR records."""
BY_RECEIPTS = {"default": "deny", "by": "iso-27560", "max age of export": "24h", "on withdrawal": "stop-new-use"}
"""And of one with receipts."""
EACH = 200
"""Requests for one pair."""


@dataclass
class Found:
    """What was seen.

    Attributes:
        counts: pairs, requests and flips, by what ``compare`` said.
        disagreements: in words; empty if there is none.
    """

    counts: Counter[str] = field(default_factory=Counter)
    disagreements: list[str] = field(default_factory=list)


def look(requests: int, *, seed: int) -> Found:
    """Put ``requests`` random requests to random pairs, ``EACH`` to each pair."""
    rng, found = random.Random(seed), Found()
    with tempfile.TemporaryDirectory() as folder:
        while found.counts["requests"] < requests:
            before, after = _pair(rng)
            if rng.random() < 0.5:
                before, after = after, before
            _look_at(before, after, rng, found, Path(folder))
    return found


def _look_at(before: Policy, after: Policy, rng: random.Random, found: Found, folder: Path) -> None:
    loose = _loose(before, after)
    kind = "looser" if loose else "not looser"
    found.counts[f"pairs {kind}"] += 1
    child = as_child(before, after, folder)
    if (child is None and not loose) or (child is not None and _loose(before, child)):
        found.disagreements.append(f"inherit and compare differ: {[c.leaf.name for c in loose]}, {after.document.data}")
    for ask in _asks(before, after, rng, EACH):
        found.counts["requests"] += 1
        old, new = answer(for_policy(ask, before), before), answer(for_policy(ask, after), after)
        if old.allowed != new.allowed:
            found.counts[f"{'denied → allowed' if new.allowed else 'allowed → denied'} ({kind})"] += 1
        if new.allowed and not old.allowed and not loose:
            found.disagreements.append(f"{ask} was denied by {[v.id for v in old.refusing]} and is allowed now")


def _loose(before: Policy, after: Policy) -> list[Change]:
    return [change for change in compare(before, after, show=False) if change.loosens]


def for_policy(ask: Ask, policy: Policy) -> Ask:
    """The request with the evidence of consent that the policy asks for, unless it brings none."""
    if isinstance(ask, HoldAsk) and ask.request.consent != "none":
        return replace(ask, request=replace(ask.request, consent=policy.consent.kind))
    return ask


def as_child(parent: Policy, child: Policy, folder: Path) -> Policy | None:
    """``child`` written out as a file that extends ``parent``, loaded: what it leaves out it inherits. None where that
    is refused as looser. A shipped parent is its own file."""
    shipped = next((POLICIES / f"{name}.yaml" for name in SHIPPED if _shipped(name) is parent), None)
    for path in POLICIES.glob("*.yaml"):
        (folder / path.name).write_bytes(path.read_bytes())
    raw = json.dumps(_plain(parent)).encode() if shipped is None else shipped.read_bytes()
    name = "parent.yaml" if shipped is None else shipped.name
    (folder / name).write_bytes(raw)
    said = {**_plain(child), "extends": {"file": name, "sha256": sha256(raw)}}
    (folder / "child.yaml").write_text(json.dumps(said))
    try:
        return load_policy(folder / "child.yaml")
    except PolicyError as fault:
        if "looser than the parent" in fault.what:
            return None
        raise


def _plain(policy: Policy) -> dict[str, Any]:
    return {key: part for key, part in policy.to_json().items() if key != "extends"}


# --- pairs ------------------------------------------------------------------------------------------


@cache
def _shipped(name: str) -> Policy:
    return load_policy(POLICIES / f"{name}.yaml")


@cache
def _by_fhir() -> Policy:
    policy = _shipped("healthcare")
    data = {**_plain(policy), "consent": BY_FHIR}
    data["purposes"]["medical-research"]["fhir"] = ["BIORCH"]
    data["recipients"]["university-hospital"]["fhir"] = ["Organization/uh"]
    data["sources"]["ehr/encounters"]["minors"] = {"column": "band", "values": [16, True, "child"]}
    return policy_of(replace(policy.document, data=data))


_KEYS = (
    "age1r6psryw6n4ldrm4xgzphhhqu9etda4q7jsz98sf6lfgm7nnuve7q6hg7y9",
    "age1ujat3p8p9gu4tftlcs2qfj52kdpysnh5e4ryxvkxwhc8flrmsvvsd38gfn",
)


@cache
def _by_receipts() -> Policy:
    policy = _shipped("healthcare")
    data = {**_plain(policy), "consent": BY_RECEIPTS}
    data["purposes"]["medical-research"]["legal basis"] += ["45CFR164.508"]
    data |= {"regions": ["EU", "CH"]}
    data["recipients"]["university-hospital"]["region"] = "EU"
    data["recipients"]["elsewhere"] = {"purposes": ["medical-research"], "region": "US-CA", "key": _KEYS[0]}
    data["data"]["min subjects per group"] = 200
    data["privacy"]["pace"] = [{"over": "population", "per": "month", "share": "1/10"}]
    data["sources"]["other/rows"] = {**data["sources"]["ehr/encounters"]}
    del data["sources"]["other/rows"]["categories"]
    data["sources"]["other/rows"]["minors"] = {"column": "age", "below": 18}
    return policy_of(replace(policy.document, data=data))


@cache
def _by_several() -> Policy:
    policy = _shipped("finance")
    data = _plain(policy)
    for n, roles in enumerate((["dpo"], ["security"], ["dpo", "security"], ["board"])):
        key = f"ed25519:{base64.b64encode(bytes([n + 1]) * 32).decode()}"
        data["people"][f"approver-{n}@people.example"] = {"roles": roles, "key": key}
    change = {"people": 2, "roles": ["dpo", "security", "board"], "not author": True}
    data["approval"] = {"policy change": change, "release": {"people": 3}}
    data["ledger"] = {"witness": "required", "witness key": _WITNESSES[0]}
    return policy_of(replace(policy.document, data=data))


_MADE: Mapping[str, Callable[[], Policy]] = {
    "by fhir": _by_fhir,
    "by receipts": _by_receipts,
    "by several": _by_several,
}


def _pair(rng: random.Random) -> tuple[Policy, Policy]:
    """A shipped policy, and it with one to four leaves changed, all tighter in half of the pairs."""
    while True:
        name = rng.choice([*SHIPPED, *_MADE])
        policy = _MADE[name]() if name in _MADE else _shipped(name)
        data, only_tighter = _plain(policy), rng.random() < 0.5
        for leaf in rng.sample(list(leaves(policy.file).values()), rng.randint(1, 4)):
            value = _tighter(leaf, rng) if only_tighter or rng.random() < 0.4 else _looser(leaf, rng)
            if value is not None:
                _put(data, leaf, value)
        if "approval" in data and rng.random() < 0.3:
            data["owner"] = rng.choice(list(data["people"]))
        try:
            changed = policy_of(replace(policy.document, data=data))
        except PolicyError:
            continue
        if changed.sha256 != policy.sha256:
            return policy, changed


_WITNESSES = tuple(Cosigner(name, bytes(32)).line for name in ("st-anna.example/witness", "other.example/witness"))


def _looser(leaf: Leaf, rng: random.Random) -> Any:
    if rng.random() < 0.15:
        return ABSENT
    if leaf.path[0] == "recipients" and leaf.path[-1] == "key":
        return _KEYS[1]
    if leaf.path == ("ledger", "witness key"):
        return _WITNESSES[1]
    steps = list(leaf.direction.steps(leaf.value, _NAMES.get((leaf.path[0], leaf.path[-1]), ())))
    return rng.choice(steps) if steps else None


_NAMES: Mapping[tuple[str, str], Sequence[str]] = {
    ("sources", NAMES): ("new/source",),
    ("purposes", NAMES): ("new-purpose",),
    ("purposes", "legal basis"): ("new basis",),
    ("recipients", NAMES): ("new-recipient",),
    ("people", NAMES): ("new@people.example",),
    ("regions", "regions"): ("US-CA", "JP"),
    ("consent", "granted"): ("perhaps",),
    ("recipients", "fhir"): ("Organization/new",),
}


def _tighter(leaf: Leaf, rng: random.Random) -> Any:
    """A tighter value, by its direction; None if none is known."""
    value = leaf.value
    match leaf.direction:
        case Limit(tighter=side):
            sign = -1 if side == "lower" else 1
            if isinstance(value, dt.date):
                return value + dt.timedelta(days=sign * rng.randint(1, 40))
            if isinstance(value, int):
                return max(1, value + sign * rng.choice([1, value // 4]))
            return float(f"{value * (1 + sign * rng.choice([0.01, 0.1, 0.3])):.6g}")
        case Members(tighter="subset"):
            return [part for part in value if part != rng.choice(value)] or None
        case Members(tighter="superset"):
            return [*value, "age"] if leaf.path[-1] in ("by", "values") else None
        case Ladder(rungs=rungs):
            return rungs[0]
        case Choice():
            return "register" if value == "not-required" else None
        case Within():
            return "7h"
        case Portion():
            return str(Fraction(value) * Fraction(2, 3))
        case _:
            return None


def _put(data: dict[str, Any], leaf: Leaf, value: Any) -> None:
    inner: Any = data
    for part in leaf.place[:-1]:
        if not (part in inner if isinstance(inner, dict) else int(part) < len(inner)):
            return
        inner = inner[part]
    last = leaf.place[-1]
    if value is ABSENT:
        if isinstance(inner, dict):
            inner.pop(str(last), None)
    elif leaf.path[-1] == NAMES:
        held = inner[last]
        first = next(iter(held.values()))
        inner[last] = {name: copy.deepcopy(held.get(name, first)) for name in value}
    else:
        inner[last] = value.isoformat() if isinstance(value, dt.date) else value
    if leaf.path == ("consent", "by"):
        for rule in (*data["purposes"].values(), *data["recipients"].values()):
            rule.pop("fhir", None)
        data["consent"] = {"default": "deny", "by": value}
        data["consent"] |= {"because": "a reason"} if value == "not-required" else {}


# --- requests ---------------------------------------------------------------------------------------


def _asks(a: Policy, b: Policy, rng: random.Random, count: int) -> Iterator[Ask]:
    for _ in range(count):
        yield rng.choices(_KINDS, weights=[60, 3, 20, 8, 5, 2, 4, 4, 6, 4, 12, 8, 12, 2, 2, 3])[0](a, b, rng)


def _both(a: Sequence[Any], b: Sequence[Any] = (), *more: Any) -> list[Any]:
    return list(dict.fromkeys((*a, *b, *more)))


def _near(rng: random.Random, *limits: float) -> float:
    """A number at, just below or just above one of some limits, or below all of them."""
    return float(rng.choice(limits)) * rng.choice([1.0, 1.0, 1 - 1e-9, 1 + 1e-9, 0.9, 1.05, 0.5])


def _hold(a: Policy, b: Policy, rng: random.Random) -> HoldAsk:
    """A request that is usual in most respects, and at some limit in others."""
    odd = iter([rng.random() < 0.06 for _ in range(20)])

    def pick(usual: Sequence[Any], unusual: Sequence[Any]) -> Any:
        return rng.choice(unusual if next(odd) else usual)

    one = rng.choice([a, b])
    source = pick(list(one.sources), _both(list(a.sources), list(b.sources), "no/source"))
    held = one.sources.get(source) or next(iter(one.sources.values()))
    recipient = pick(list(one.recipients), _both(list(a.recipients), list(b.recipients), "nobody"))
    may = one.recipients[recipient].purposes if recipient in one.recipients else list(one.purposes)
    asking = [n for n, p in one.people.items() if set(p.roles) & set(one.roles.requesters_of_holds)]
    days = [day + dt.timedelta(days=n) for p in (a, b) for day in (p.valid.from_, p.valid.until) for n in (-1, 0, 1)]
    basis = [x for p in (a, b) for rule in p.purposes.values() for x in rule.legal_basis]
    columns = _both(a.gate.columns, b.gate.columns)
    rules = a.privacy.per_release, b.privacy.per_release
    limits = [float(rule.delta_limit(held.subjects)) for rule in rules]
    request = Request(
        source=source,
        purpose=pick(list(may), _both(list(a.purposes), list(b.purposes), "marketing")),
        recipient=recipient,
        consent=pick(["register"], ["none"]),
        today=pick([max(a.valid.from_, b.valid.from_)], days),
        epsilon=pick([rng.choice(rules).max_epsilon], [_near(rng, *(rule.max_epsilon for rule in rules))]),
        delta=pick([min(rule.max_delta for rule in rules)], [_near(rng, *(r.max_delta for r in rules), *limits)]),
        unit=pick([held.unit], ["visit"]),
        contribution=pick([1], [n + d for p in (a, b) for n in [held.k] for d in (-1, 0, 1)]),
        actor=pick(asking, _both(list(a.people), list(b.people), "stranger@elsewhere.example")),
        columns=tuple(pick([columns], [columns[1:], columns[:1], []])),
        kind="any",
        noise=pick(["os-secure"], ["seeded"]),
        public_help=pick([False], [True]),
        legal_basis=pick([()], [(basis[0],), (basis[-1],), tuple(dict.fromkeys(basis)), ("other",)]),
        opened_report=pick([False], [True]),
    )
    return HoldAsk(request=request)


def _after(a: Policy, b: Policy, rng: random.Random) -> HoldAsk:
    ask = _hold(a, b, rng)
    line = rng.choice([*a.privacy.budget, *b.privacy.budget])
    epsilon = max(1e-4, ask.request.epsilon)
    fits = max(1, round(rng.uniform(0.3, 1.6) * (line.epsilon / epsilon) ** 1.5))
    delta = min(ask.request.delta, 1e-6)
    earlier = Earlier(epsilon=epsilon, delta=delta, recipient=ask.request.recipient, times=min(fits, 60))
    rules = [*(a.privacy.pace or ()), *(b.privacy.pace or ())]
    if rules and rng.random() < 0.8:
        rule = rng.choice(rules)
        times = max(1, round(earlier.times * float(Fraction(rule.share)) * rng.uniform(0.5, 1.5)))
        earlier = replace(earlier, times=times, ago=rng.choice([dt.timedelta(), rule.window]))
    return replace(ask, after=(earlier,))


def _gate(a: Policy, b: Policy, rng: random.Random) -> GateAsk:
    every = [*thresholds(a.file), *thresholds(b.file)]
    chosen = rng.sample(every, min(len(every), rng.randint(0, 2)))
    figures = {limit.name: abs(_near(rng, limit.value or 1.0)) for limit in chosen}
    return GateAsk(attempt=max(1, rng.choice([a, b]).gate.max_attempts + rng.choice([-2, -1, 0, 1])), figures=figures)


def _consent(a: Policy, b: Policy, rng: random.Random) -> ConsentAsk:
    rules = [(name, rule) for p in (a, b) for name, rule in (p.consent.columns or {}).items()]
    values = [value for _, rule in rules for value in rule.granted]
    purposes = _both(list(a.purposes), list(b.purposes))
    return ConsentAsk(purpose=rng.choice(purposes), value=rng.choice([*values, "no", "perhaps", True]))


def _report(a: Policy, b: Policy, rng: random.Random) -> ReportAsk:
    return ReportAsk(actor=rng.choice(_both(list(a.people), list(b.people), "stranger@elsewhere.example")))


def _carry(a: Policy, b: Policy, rng: random.Random) -> CarryAsk:
    return CarryAsk(what="transcript")


def _change(a: Policy, b: Policy, rng: random.Random) -> ChangeAsk:
    people = [name for name in _both(list(a.people), list(b.people)) if name.startswith("approver")]
    chosen = tuple(rng.sample(people, rng.randint(0, len(people))))
    held = [p.people[name].key for p in (a, b) for name in chosen if name in p.people]
    other = {rng.choice(chosen): rng.choice(held)} if chosen and None not in held and rng.random() < 0.2 else {}
    return ChangeAsk(approved_by=chosen, brought_by=rng.choice([*chosen, ""]), keys=other)  # type: ignore[arg-type]


def _signed(a: Policy, b: Policy, rng: random.Random) -> SignedAsk:
    return SignedAsk(people=rng.randint(1, 5))


def _keep(a: Policy, b: Policy, rng: random.Random) -> KeepAsk:
    return KeepAsk(age=dt.timedelta(days=rng.choice([1, 300, 364, 365, 366, 400, 4000])))


def _leave(a: Policy, b: Policy, rng: random.Random) -> LeaveAsk:
    recipient = rng.choice(_both(list(a.recipients), list(b.recipients), "nobody"))
    return LeaveAsk(recipient=recipient, sealed_to=rng.choice([None, *_KEYS]))


def _open(a: Policy, b: Policy, rng: random.Random) -> OpenAsk:
    return OpenAsk(witness=rng.random() < 0.5, cosigned_by=rng.choice(["", *_WITNESSES]))


def _evidence(a: Policy, b: Policy, rng: random.Random) -> EvidenceAsk:
    ages = [p.consent.max_age for p in (a, b) if p.consent.max_age is not None]
    age = rng.choice([*ages, *(age + dt.timedelta(hours=1) for age in ages), dt.timedelta(hours=3), None])
    return EvidenceAsk(source=rng.choice(list(a.sources)), age=age)


def _record(a: Policy, b: Policy, rng: random.Random) -> RecordAsk:
    one = rng.choice([a, b])
    recipient = rng.choice(list(one.recipients))
    purpose = rng.choice(list(one.purposes))
    codes, actions = ["HRESCH", "CLINTRCH", "BIORCH", "TREAT"], ["collect", "use", "disclose"]
    return RecordAsk(
        purpose=purpose,
        recipient=recipient,
        form=rng.choice(["fhir-r4", "fhir-r5"]),
        allows=tuple(rng.sample(codes, rng.randint(1, 3))),
        action=tuple(rng.sample(actions, rng.randint(1, 3))),
        signed_by=rng.choice(["patient", "legal-representative"]),
        to=rng.choice(["Organization/uh", "Organization/new", None]),
    )


def _receipt(a: Policy, b: Policy, rng: random.Random) -> ReceiptAsk:
    one = rng.choice([a, b])
    purpose = rng.choice(list(one.purposes))
    listed = _both(
        [x for p in (a, b) if purpose in p.purposes for x in p.purposes[purpose].legal_basis], ["other basis"]
    )
    return ReceiptAsk(
        source=rng.choice(list(one.sources)),
        purpose=purpose,
        recipient=rng.choice(list(one.recipients)),
        legal_basis=tuple(rng.sample(listed, rng.randint(1, len(listed)))),
    )


def _subject(a: Policy, b: Policy, rng: random.Random) -> SubjectAsk:
    values = [x for p in (a, b) for source in p.sources.values() if source.minors for x in source.minors.values or ()]
    ages = [0, 1, 16.0, 17, 17.5, 18, 19, "16", "016", "True", "false", "CHILD", "Age", "old", None, *values]
    return SubjectAsk(source=rng.choice(list(a.sources)), value=rng.choice(ages))


def _withdrawn(a: Policy, b: Policy, rng: random.Random) -> WithdrawnAsk:
    return WithdrawnAsk(then=rng.choice(get_args(Then)))


_KINDS = (_hold, _after, _gate, _consent, _report, _carry, _keep, _evidence, _record, _withdrawn, _receipt, _subject,
          _change, _signed, _open, _leave)  # fmt: skip


if __name__ == "__main__":
    seen = look(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, seed=int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    for name, count in sorted(seen.counts.items()):
        print(f"{name}: {count:,}")
    print(f"disagreements: {len(seen.disagreements)}")
    for line in seen.disagreements[:10]:
        print(f"  {line}")
