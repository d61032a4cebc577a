"""The codes that the FHIR reader understands; every other code is one that it cannot judge."""

from __future__ import annotations

from collections.abc import Mapping

ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
SCOPES = "http://terminology.hl7.org/CodeSystem/consentscope"
CATEGORIES = "http://terminology.hl7.org/CodeSystem/consentcategorycodes"
ACTIONS = "http://terminology.hl7.org/CodeSystem/consentaction"
PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"

BASES: Mapping[str, str] = {"OPTIN": "permit", "OPTOUT": "deny", "OPTOUTE": "deny"}
"""Base rules of R4's ``policyRule``. OPTINR and the implied ones restrict in words that are not in the record."""

OTHER_SCOPES = frozenset({"patient-privacy", "treatment", "adr"})
KNOWN_ACTIONS = frozenset({"collect", "access", "use", "disclose", "correct"})
RECEIVING_ROLES = frozenset({"PRCP", "IRCP"})
"""The roles of an actor who receives information; of other roles it is not known whether they are the recipient."""

_PARENT: Mapping[str, str] = {
    **dict.fromkeys(("HRESCH", "TREAT", "HOPERAT", "HPAYMT", "PUBHLTH", "PATRQT", "HMARKT"), "PurposeOfUse"),
    **dict.fromkeys(("BIORCH", "CLINTRCH", "DSRCH", "POARCH", "TRANSRCH"), "HRESCH"),
    **dict.fromkeys(("CLINTRCHNPC", "CLINTRCHPC", "PRECLINTRCH"), "CLINTRCH"),
    **dict.fromkeys(("CAREMGT", "ETREAT", "ERTREAT", "BTG", "POPHLTH"), "TREAT"),
    **dict.fromkeys(
        ("FRAUD", "GOV", "HACCRED", "HCOMPL", "HDIRECT", "HLEGAL", "HQUALIMP", "HSYSADMIN", "MEMADMIN", "PATADMIN",
         "PATSFTY", "PERFMSR", "RECORDMGT", "SYSDEV", "TRAIN"), "HOPERAT"),
    **dict.fromkeys(("CLMATTCH", "COVAUTH", "COVERAGE", "ELIGDTRM", "ELIGVER", "ENROLLM", "REMITADV"), "HPAYMT"),
    **dict.fromkeys(("FAMRQT", "PWATRNY", "SUPNWK"), "PATRQT"),
    **dict.fromkeys(("DISASTER", "THREAT"), "PUBHLTH"),
}  # fmt: skip
KNOWN_PURPOSES = frozenset({"PurposeOfUse", *_PARENT})


def covers(wide: str, narrow: str) -> bool:
    """Whether purpose ``narrow`` is ``wide`` or lies under it."""
    at: str | None = narrow
    while at is not None:
        if at == wide:
            return True
        at = _PARENT.get(at)
    return False
