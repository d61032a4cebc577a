"""Mutated consents: JSON documents, bytes, and records as our rules see them. Seeded, so that a find repeats."""

from __future__ import annotations

import copy
import datetime as dt
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from privsynth.policy.consent.fhir import codes
from privsynth.policy.consent.fhir.model import Actor, Code, Provision, Record, Version
from privsynth.policy.consent.fhir.times import Period, read_period, read_when
from privsynth.policy.consent.verdict import Reason
from tests.policy.consent.made import (
    Raw,
    action,
    actor,
    coding,
    concept,
    deny,
    permit,
    purpose,
    r4,
    r5,
    reference,
)

UNI = actor("Organization/uni")
YEAR = {"start": "2026-01-01", "end": "2026-12-31"}
SEEDS: tuple[Raw, ...] = (
    r4(),
    r4(provision=permit(purpose=purpose("HRESCH"), period=YEAR, actor=[UNI], action=action("collect", "use"))),
    r4("OPTOUT", {"provision": [permit(purpose=purpose("HRESCH"), actor=[UNI])]}),
    r4(provision={"period": YEAR, "provision": [permit(purpose=purpose("HRESCH"), provision=[deny(actor=[
        actor("Organization/b")], provision=[permit(purpose=purpose("BIORCH"))])])]}),
    r4(performer=[reference("RelatedPerson/m")],
       verification=[{"verified": True, "verifiedWith": reference("RelatedPerson/m")}]),
    r4("OPTOUT", {"actor": [actor("Organization/house", role="CST")]}),
    r4(status="inactive", meta={"lastUpdated": "2026-05-01T00:00:00Z"}, id="c1"),
    r5(),
    r5("deny", {"purpose": purpose("HRESCH"), "actor": [UNI], "period": YEAR}, period=YEAR),
    r5("permit", {"purpose": purpose("TREAT")}, {"actor": [actor("Organization/b")], "provision": [{"actor": [UNI]}]}),
    r5("deny", {"purpose": purpose("HRESCH"), "provision": [{"securityLabel": [coding("v3-Confidentiality", "R")]}]}),
    {"resourceType": "Consent", "status": "active", "patient": reference("Patient/p1"), "policyRule": "http://x/opt-in",
     "except": [{"type": "deny", "actor": [UNI]}]},
)  # fmt: skip
KEYS = ("type", "status", "scope", "category", "patient", "subject", "dateTime", "date", "performer", "grantor",
        "policyRule", "decision", "provision", "purpose", "action", "actor", "period", "start", "end", "role",
        "reference", "coding", "system", "code", "display", "data", "class", "modifierExtension", "implicitRules",
        "verification", "verified", "verifiedWith", "meta", "lastUpdated", "except", "id", "extension", "grantee",
        "identifier", "value", "expression", "_status", "_decision", "consentingParty")  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 10**400, 1e308, "", " ", "permit", "deny", "active", "inactive", "research", "HRESCH",
    "TREAT", "PurposeOfUse", "OPTIN", "OPTOUT", "Patient/p1", "Patient/p2", "https://x/Patient/p1", "Organization/uni",
    "2026-06-15", "2026-06", "9999-12-31", "0001-01-01", "2026-06-15T12:00:00+14:00", "2026-13-45", "x" * 5000,
    "\u0000", "\ud800", "é", [], {}, [[]], [{}], {"coding": []}, [None], YEAR, UNI, purpose("HRESCH"),
    concept("v3-ActCode", "OPTIN"), concept("consentscope", "research"), permit(), deny(),
)  # fmt: skip


def places(value: Any, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every place in a document, but its root."""
    inner = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    return [p for key, part in inner for p in [(*at, key), *places(part, (*at, key))]]


def mutated(random_: random.Random, document: Raw, steps: int) -> Raw:
    """``document`` with some of its parts removed, doubled, swapped, renamed or replaced."""
    out = copy.deepcopy(document)
    for _ in range(steps):
        known = places(out)
        if not known:
            break
        place = random_.choice(known)
        holder: Any = out
        for part in place[:-1]:
            holder = holder[part]
        key: Any = place[-1]
        match random_.randrange(7):
            case 0:
                del holder[key]
            case 1:
                holder[key] = copy.deepcopy(random_.choice(VALUES))
            case 2 if isinstance(holder, dict):
                holder[random_.choice(KEYS)] = holder.pop(key)
            case 3 if isinstance(holder, dict):
                holder[random_.choice(KEYS)] = copy.deepcopy(random_.choice(VALUES))
            case 4:
                holder[key] = [copy.deepcopy(holder[key])] * random_.choice((1, 2, 3))
            case 5 if isinstance(holder, list):
                holder.append(copy.deepcopy(holder[key]))
            case _:
                other: Any = out
                way = random_.choice(known)
                try:
                    for part in way:
                        other = other[part]
                except (KeyError, IndexError, TypeError):
                    continue
                holder[key] = copy.deepcopy(other)
    return out


def mutated_bytes(random_: random.Random, document: Raw) -> bytes:
    """The bytes of a document with some changed, cut or doubled."""
    raw = bytearray(json.dumps(document).encode())
    for _ in range(random_.randrange(1, 6)):
        at = random_.randrange(len(raw))
        match random_.randrange(4):
            case 0:
                raw[at] = random_.randrange(256)
            case 1:
                del raw[at : at + random_.randrange(1, 40)]
            case 2:
                raw[at:at] = raw[at : at + random_.randrange(1, 40)]
            case _:
                raw[at:at] = bytes(random_.randrange(256) for _ in range(3))
        if not raw:
            return b""
    return bytes(raw)


# --- records as the rules see them ---------------------------------------------------------------

_CODES = (*tuple(Code(codes.ACT_REASON, c) for c in ("HRESCH", "BIORCH", "TREAT", "PurposeOfUse", "NOSUCH")), Code())
_ACTIONS = (*tuple((Code(codes.ACTIONS, c),) for c in ("collect", "use", "access", "study")), (Code(),))
_ACTORS = (
    Actor("Organization/uni"), Actor("Organization/b"), Actor("Practitioner/n"), Actor(readable=False),
    Actor(roles=(Code(codes.PARTICIPATION, "PRCP"),)), Actor("Organization/uni", (Code(codes.PARTICIPATION, "CST"),)),
)  # fmt: skip
_PERIODS = tuple(
    read_period(value, zone)
    for value in (YEAR, {"end": "2025"}, {"start": "2026-06-15"}, {"end": "2026-06-15"}, {"start": "9999"}, {})
    for zone in (None, dt.timedelta(hours=10))
)
_WHENS = tuple(map(read_when, ("2026-01-10", "2026-06-15", "2026-06-15T11:00:00Z", "2027", "2020", "x")))
_REASONS = (Reason.MALFORMED, Reason.MODIFIED, Reason.SUBJECT_UNSURE, Reason.UNTYPED_PROVISION)


def some(random_: random.Random, values: Sequence[Any]) -> tuple[Any, ...] | None:
    """No list, or one of one to three values."""
    return None if random_.random() < 0.5 else tuple(random_.choices(values, k=random_.randrange(1, 4)))


def provision(random_: random.Random, depth: int = 0) -> Provision:
    """Any provision, also one that no reader would make."""
    inner = random_.randrange(3) if depth < 3 else 0
    period: Period | None = random_.choice((None, None, *_PERIODS))
    return Provision(
        effect=random_.choice(("permit", "deny", "permit", "deny", None)),
        period=period,
        purposes=some(random_, _CODES),
        actions=some(random_, _ACTIONS),
        actors=some(random_, _ACTORS),
        judged=random_.random() < 0.85,
        inner=tuple(provision(random_, depth + 1) for _ in range(inner)),
    )


def record(random_: random.Random) -> Record:
    """Any record about p1."""
    pick = random_.choice
    return Record(
        version=pick((Version.R4, Version.R5, Version.R4, Version.R5, Version.STU3, Version.MIXED)),
        id=pick(("", "c1", "c2")),
        subject="p1",
        standing=pick(("in-force",) * 6 + ("ended", "void", "unknown")),
        scope=pick(("research",) * 6 + ("other", "unknown")),
        base=pick(("permit", "permit", "deny", None)),
        root=pick((None, provision(random_))),
        provisions=tuple(provision(random_) for _ in range(random_.randrange(3))),
        period=pick((None, None, *_PERIODS)),
        dated=pick(_WHENS),
        dated_readable=random_.random() < 0.9,
        updated=pick(_WHENS),
        signers=pick((("Patient/p1",), ("Patient/p1",), (), ("RelatedPerson/m",), ("",))),
        checked=pick(((), ("RelatedPerson/m",))),
        grantees=some(random_, _ACTORS) or (),
        faults=frozenset(pick(((), (), (), (pick(_REASONS),)))),
    )


def tightened(random_: random.Random, one: Record) -> Record:
    """The same record with one more thing that can only speak against a grant."""
    match random_.randrange(5):
        case 0:
            return replace(one, faults=one.faults | {Reason.MODIFIED})
        case 1:
            return replace(one, signers=(*one.signers, "Organization/x"))
        case 2:
            return replace(one, standing="unknown")
        case 3:
            return replace(one, base=None)
        case _:
            return replace(one, grantees=(), version=Version.MIXED)
