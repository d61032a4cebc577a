"""A Consent resource as JSON values → a :class:`Record`. Nothing that it holds raises; what is wrong becomes a fault.

The version is told from the elements that only one version has, before anything else is read: an R4 reader that is
handed STU3 would drop its ``except`` and turn "all but" into "all". STU3 is not read at all. The optional package
fhir.resources then says whether the resource has its version's shape; what it means is read here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from privsynth.errors import MissingExtra
from privsynth.policy.consent.fhir import codes
from privsynth.policy.consent.fhir.model import Actor, Code, Effect, Provision, Record, Scope, Standing, Version
from privsynth.policy.consent.fhir.times import Period, read_period, read_when, zone_of
from privsynth.policy.consent.verdict import Reason

MAX_DEPTH = 8
MAX_PROVISIONS = 500

_STU3 = frozenset({"except", "consentingParty", "actor", "action", "purpose", "dataPeriod", "data", "securityLabel"})
_R4 = frozenset({"scope", "performer"})
_R5 = frozenset({"subject", "decision", "date", "grantor", "grantee", "manager", "controller", "regulatoryBasis",
                 "policyBasis", "policyText"})  # fmt: skip
_STANDING: Mapping[str, Standing] = {
    "active": "in-force",
    "inactive": "ended",
    "rejected": "ended",
    "not-done": "ended",
    "draft": "void",
    "proposed": "void",
    "entered-in-error": "void",
}
_HARMLESS = frozenset({"id", "extension", "type", "provision", "fhir_comments"})
_JUDGED = frozenset({"period", "purpose", "action", "actor"})
_PATIENT = re.compile(r"Patient/([A-Za-z0-9.-]{1,64})(?:/_history/[A-Za-z0-9.-]{1,64})?\Z")
_ELSEWHERE = re.compile(r".+/Patient/([A-Za-z0-9.-]{1,64})(?:/_history/[A-Za-z0-9.-]{1,64})?\Z")


def version_of(raw: Mapping[str, Any]) -> Version:
    """The version of a Consent, by the elements that only one has."""
    found = set()
    if _STU3 & raw.keys() or isinstance(raw.get("policyRule"), str) or isinstance(raw.get("identifier"), dict):
        found.add(Version.STU3)
    if _R4 & raw.keys() or isinstance(raw.get("policyRule"), dict) or isinstance(raw.get("provision"), dict):
        found.add(Version.R4)
    if _R5 & raw.keys() or isinstance(raw.get("provision"), list):
        found.add(Version.R5)
    if "patient" in raw and Version.R5 in found:
        found.add(Version.R4)
    if len(found) > 1:
        return Version.MIXED
    return found.pop() if found else Version.UNKNOWN


def read_record(raw: Mapping[str, Any], *, faults: frozenset[Reason] = frozenset()) -> Record:
    """Read one Consent.

    Args:
        raw: JSON values; ``resourceType`` is Consent.
        faults: what is known to be wrong with it already.

    Raises:
        MissingExtra: fhir.resources is not installed.
    """
    version = version_of(raw)
    about = raw.get("subject") if version is Version.R5 else raw.get("patient", raw.get("subject"))
    subject, sure = _subject(about)
    wrong = set(faults) | (set() if sure else {Reason.SUBJECT_UNSURE})
    wrong |= {
        Version.STU3: {Reason.UNSUPPORTED_VERSION},
        Version.MIXED: {Reason.MIXED_VERSIONS},
        Version.UNKNOWN: {Reason.UNKNOWN_VERSION},
    }.get(version, set())
    if version not in (Version.R4, Version.R5):
        return Record(version, _text(raw.get("id")), subject, faults=frozenset(wrong))
    if _hollow(raw) or not has_shape(raw, version):
        wrong.add(Reason.MALFORMED)
    if "modifierExtension" in raw or "implicitRules" in raw or "_implicitRules" in raw:
        wrong.add(Reason.MODIFIED)
    return _of_version(raw, version, subject, wrong)


def _of_version(raw: Mapping[str, Any], version: Version, subject: str, wrong: set[Reason]) -> Record:
    zone = zone_of(raw.get("dateTime"))
    written = raw.get("dateTime" if version is Version.R4 else "date")
    budget = _Budget()
    root: Provision | None = None
    provisions: tuple[Provision, ...] = ()
    base: Effect | None = None
    period: Period | None = None
    if version is Version.R4:
        base = _policy_rule(raw.get("policyRule"))
        if "provision" in raw:
            root = _provision(raw["provision"], None, zone, budget, typed=True)
        signers = _references(raw.get("performer"))
    else:
        decision = raw.get("decision")
        base = decision if decision in ("permit", "deny") else None
        provisions = _exceptions(raw, base, zone, budget, typed=False)
        period = read_period(raw["period"], zone) if "period" in raw else None
        signers = _references(raw.get("grantor"))
    notes = set()
    if root is not None:
        if root.effect is not None:
            notes.add(Reason.TYPED_ROOT)
        elif root.narrows and base == "permit":
            notes.add(Reason.UNTYPED_ROOT)
        if any(each.effect is None for each in root.walk() if each is not root):
            wrong.add(Reason.UNTYPED_PROVISION)
    if budget.spent:
        wrong.add(Reason.TOO_LARGE)
    if budget.malformed:
        wrong.add(Reason.MALFORMED)
    dated = read_when(written, zone)
    end = (
        period.end if period is not None else root.period.end if root is not None and root.period is not None else None
    )
    if dated is not None and end is not None and end.ends.late <= dated.begins.early:
        notes.add(Reason.DATES)
    meta = raw.get("meta")
    return Record(
        version=version,
        id=_text(raw.get("id")),
        subject=subject,
        standing=_STANDING.get(_text(raw.get("status")), "unknown"),
        scope=_scope(raw, version),
        base=base,
        root=root,
        provisions=provisions,
        period=period,
        dated=dated,
        dated_readable=written is None or dated is not None,
        updated=read_when(meta.get("lastUpdated")) if isinstance(meta, dict) else None,
        signers=signers,
        checked=_checked(raw.get("verification")),
        grantees=tuple(_actor({"reference": each}) for each in _list(raw.get("grantee"))),
        faults=frozenset(wrong),
        notes=frozenset(notes),
    )


class _Budget:
    """How many provisions may still be read; a tree that is larger, or not a tree, is told of the record."""

    def __init__(self) -> None:
        self.left, self.spent, self.malformed = MAX_PROVISIONS, False, False


def _exceptions(
    raw: Mapping[str, Any], outer: Effect | None, zone: Any, budget: _Budget, *, typed: bool, depth: int = 0
) -> tuple[Provision, ...]:
    """The provisions under one, or under R5's record: there each turns its parent's effect round."""
    listed = raw.get("provision", [])
    if not isinstance(listed, list):
        budget.malformed = True
        return ()
    if listed and depth >= MAX_DEPTH:
        budget.spent = True
        return ()
    turned: Effect | None = None if outer is None else "deny" if outer == "permit" else "permit"
    return tuple(_provision(each, turned, zone, budget, typed=typed, depth=depth + 1) for each in listed)


def _provision(
    raw: Any, effect: Effect | None, zone: Any, budget: _Budget, *, typed: bool, depth: int = 0
) -> Provision:
    """One provision. ``typed``: it says its own effect (R4). A permission without any dimension, which would undo what
    it is an exception to, is none that we can judge."""
    budget.left -= 1
    if budget.left < 0 or not isinstance(raw, dict):
        budget.spent = budget.spent or budget.left < 0
        budget.malformed = budget.malformed or not isinstance(raw, dict)
        return Provision(effect=None, judged=False)
    if typed:
        stated = raw.get("type")
        effect = stated if stated in ("permit", "deny") else None
        if "type" in raw and effect is None:
            budget.malformed = True
    inner: tuple[Provision, ...] = ()
    if "provision" in raw:
        inner = _exceptions(raw, effect, zone, budget, typed=typed, depth=depth)
    if raw.keys() <= _HARMLESS - {"type", "provision"}:  # what stood in it is lost
        budget.malformed = True
    everything = effect == "permit" and depth > 0 and raw.keys() <= _HARMLESS
    return Provision(
        effect=effect,
        period=read_period(raw["period"], zone) if "period" in raw else None,
        purposes=_alternatives(raw, "purpose", _code),
        actions=_alternatives(raw, "action", _concept),
        actors=_alternatives(raw, "actor", _actor),
        judged=not everything and raw.keys() <= _HARMLESS | _JUDGED and not any(raw.get(d) == [] for d in _JUDGED),
        inner=inner,
    )


def _alternatives(raw: Mapping[str, Any], key: str, read: Any) -> Any:
    if key not in raw:
        return None
    return tuple(read(each) for each in _list(raw[key])) or (read(None),)


def _code(raw: Any) -> Code:
    """A Coding; unreadable where it lacks system or code, or carries a modifier."""
    if not isinstance(raw, dict) or "modifierExtension" in raw:
        return Code()
    system, code = raw.get("system"), raw.get("code")
    return Code(system, code) if isinstance(system, str) and isinstance(code, str) else Code()


def _concept(raw: Any) -> tuple[Code, ...]:
    """A CodeableConcept: its codings, which say one thing in several systems."""
    listed = _list(raw.get("coding")) if isinstance(raw, dict) else []
    return tuple(map(_code, listed)) or (Code(),)


def _actor(raw: Any) -> Actor:
    if not isinstance(raw, dict) or not raw.keys() <= {"id", "extension", "role", "reference"}:
        return Actor(readable=False)
    roles = _concept(raw["role"]) if "role" in raw else ()
    if "reference" not in raw:
        return Actor(roles=roles)
    inner = raw["reference"]
    reference = inner.get("reference") if isinstance(inner, dict) else None
    return Actor(reference, roles) if isinstance(reference, str) and reference else Actor(readable=False)


def _policy_rule(raw: Any) -> Effect | None:
    """R4's base rule; None where it is not known or its codings contradict each other."""
    found = {codes.BASES.get(code.code) for code in _concept(raw) if code.system == codes.ACT_CODE}
    if len(found) != 1:
        return None
    rule = found.pop()
    return "permit" if rule == "permit" else "deny" if rule == "deny" else None


def _scope(raw: Mapping[str, Any], version: Version) -> Scope:
    """What the record is about: R4 by its scope, which no category may contradict; R5 by its categories."""
    categories = [code for concept in _list(raw.get("category")) for code in _concept(concept)]
    named = {code.code for code in categories if code.system in (codes.CATEGORIES, codes.SCOPES)}
    if version is Version.R4:
        stated = {code.code for code in _concept(raw.get("scope")) if code.system == codes.SCOPES}
        if stated == {"research"}:
            return "unknown" if named & codes.OTHER_SCOPES else "research"
        if not stated:
            return "research" if "research" in named and not named & codes.OTHER_SCOPES else "unknown"
        return "other" if stated <= codes.OTHER_SCOPES and "research" not in named else "unknown"
    if "research" in named:
        return "unknown" if named & codes.OTHER_SCOPES else "research"
    return "other" if categories else "unknown"


def _subject(raw: Any) -> tuple[str, bool]:
    """(whom it is about, whether that is sure). A reference to a patient of another server may mean somebody else with
    the same id: such a record refuses for this one and grants for nobody; so does one by identifier alone."""
    if not isinstance(raw, dict):
        return "", False
    reference = raw.get("reference")
    if isinstance(reference, str):
        if found := _PATIENT.match(reference):
            return found[1], True
        if found := _ELSEWHERE.match(reference):
            return found[1], False
        return (reference, True) if reference.startswith("urn:") else ("", False)
    identifier = raw.get("identifier")
    value = identifier.get("value") if isinstance(identifier, dict) else None
    return (value.strip(), False) if isinstance(value, str) else ("", False)


def _checked(raw: Any) -> tuple[str, ...]:
    """With whom somebody verified the record."""
    done = [each for each in _list(raw) if isinstance(each, dict) and each.get("verified") is True]
    return _references([each["verifiedWith"] for each in done if "verifiedWith" in each])


def _references(raw: Any) -> tuple[str, ...]:
    """References of a list; an empty text for each that cannot be read."""
    found = [each.get("reference") if isinstance(each, dict) else None for each in _list(raw)]
    return tuple(each if isinstance(each, str) else "" for each in found)


def _list(raw: Any) -> list[Any]:
    return raw if isinstance(raw, list) else [] if raw is None else [raw]


def _text(raw: Any) -> str:
    return raw if isinstance(raw, str) else ""


def _hollow(raw: Any) -> bool:
    """Whether a null, an empty list or an empty object stands anywhere: FHIR has none, so something was lost there."""
    pending = [raw]
    while pending:
        node = pending.pop()
        if not node:
            return True
        for part in node.values() if isinstance(node, dict) else node:
            if isinstance(part, dict | list):
                pending.append(part)
            elif part is None and isinstance(node, dict):
                return True
    return False


def has_shape(raw: Mapping[str, Any], version: Version) -> bool:
    """Whether fhir.resources takes it for a Consent of its version.

    Raises:
        MissingExtra: it is not installed.
    """
    model = _models()[version]
    try:
        model.model_validate(raw)
    except Exception:  # noqa: BLE001 - another's parser on hostile input: whatever it raises, the record is not taken
        return False
    return True


_MODELS: dict[Version, Any] = {}


def _models() -> Mapping[Version, Any]:
    if not _MODELS:
        try:
            from fhir.resources.consent import Consent as R5
            from fhir.resources.R4B.consent import Consent as R4
        except ModuleNotFoundError:
            raise MissingExtra(
                "FHIR records need the package fhir.resources", mend="pip install 'privsynth[fhir]'"
            ) from None
        _MODELS.update({Version.R4: R4, Version.R5: R5})
    return _MODELS


__all__ = ["MAX_DEPTH", "MAX_PROVISIONS", "Period", "has_shape", "read_record", "version_of"]
