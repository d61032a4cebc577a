"""GA4GH Data Use Ontology: what a source's codes allow, matched with what a purpose says that it is.

The 25 terms stand below as a table; no ontology is loaded. Matching follows the published rules of DUOS,
version 4: the source must satisfy every condition of the purpose. Diseases match by their written term alone:
a source for cancer does not cover a purpose for lung cancer here, nor the other way round.

A source lists permissions and modifiers: ``[HMB, NPU]``, ``["DS:MONDO:0005148", IRB]``. A purpose lists what it is:
``GRU`` (research of any kind), ``HMB``, ``DS:disease``, ``POA``, ``MDS`` (development of methods), and ``COM`` where
anybody earns by it. Some modifiers no rule can judge (an ethics vote, a publication): those a person must attest.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from privsynth.documents import join

Kind = Literal["group", "permission", "modifier"]


@dataclass(frozen=True)
class Term:
    """One row: short name, number in the ontology, label, kind; whether a person must attest that it is met."""

    code: str
    number: int
    label: str
    kind: Kind
    attested: bool = False


TERMS = (
    Term("DUP", 1, "data use permission", "group"),
    Term("NRES", 4, "no restriction", "permission"),
    Term("HMB", 6, "health or medical or biomedical research", "permission"),
    Term("DS", 7, "disease specific research", "permission"),
    Term("POA", 11, "population origins or ancestry research only", "permission"),
    Term("RS", 12, "research specific restrictions", "modifier", attested=True),
    Term("NMDS", 15, "no general methods research", "modifier"),
    Term("GSO", 16, "genetic studies only", "modifier", attested=True),
    Term("DUM", 17, "data use modifier", "group"),
    Term("NPUNCU", 18, "not for profit, non commercial use only", "modifier", attested=True),
    Term("PUB", 19, "publication required", "modifier", attested=True),
    Term("COL", 20, "collaboration required", "modifier", attested=True),
    Term("IRB", 21, "ethics approval required", "modifier", attested=True),
    Term("GS", 22, "geographical restriction", "modifier", attested=True),
    Term("MOR", 24, "publication moratorium", "modifier", attested=True),
    Term("TS", 25, "time limit on use", "modifier", attested=True),
    Term("US", 26, "user specific restriction", "modifier", attested=True),
    Term("PS", 27, "project specific restriction", "modifier", attested=True),
    Term("IS", 28, "institution specific restriction", "modifier", attested=True),
    Term("RTN", 29, "return to database or resource", "modifier", attested=True),
    Term("GRU", 42, "general research use", "permission"),
    Term("CC", 43, "clinical care use", "modifier", attested=True),
    Term("NPOA", 44, "population origins or ancestry research prohibited", "modifier"),
    Term("NPU", 45, "not for profit organisation use only", "modifier", attested=True),
    Term("NCU", 46, "non-commercial use only", "modifier"),
)
_BY_CODE = {term.code: term for term in TERMS}
_BY_NUMBER = {f"DUO:{term.number:07d}": term for term in TERMS}
_CODE = re.compile(r"(DUO:[0-9]{7}|[A-Z]{2,6})(?::(\S(?:[ -~]{0,150}\S)?))?\Z")
PURPOSES = ("GRU", "HMB", "DS", "POA", "MDS", "COM")
_NO_COMMERCE = ("NPU", "NCU", "NPUNCU")


def read_code(text: str) -> tuple[str, str] | None:
    """``DS:MONDO:0005148`` or ``DUO:0000007:MONDO:0005148`` as (``DS``, ``MONDO:0005148``); None if no such code."""
    found = _CODE.match(text)
    if found is None:
        return None
    term = _BY_NUMBER.get(found[1]) or _BY_CODE.get(found[1])
    code = term.code if term is not None else found[1] if found[1] in PURPOSES else None
    return None if code is None else (code, found[2] or "")


def what_is_wrong(codes: Sequence[str], *, of: str) -> str:
    """What is wrong with the ``duo`` of a ``source`` or a ``purpose``; empty if nothing is."""
    read = [read_code(code) for code in codes]
    for text, code in zip(codes, read, strict=True):
        if code is None:
            return f"there is no DUO code {text!r}"
        term = _BY_CODE.get(code[0])
        if term is not None and term.kind == "group":
            return f"{text!r} is the name of a group of codes, not a code"
        if of == "source" and code[0] in ("MDS", "COM"):
            return f"{text!r} says what a purpose is, not what a source allows"
        if of == "purpose" and code[0] not in PURPOSES:
            return f"{text!r} is a condition of a source; a purpose is one or more of {join(PURPOSES)}"
        if (code[0] == "DS") and not code[1]:
            return f"{text!r} names no disease"
        if code[1] and (code[0] in PURPOSES or code[0] == "NRES") and code[0] != "DS":
            return f"{text!r}: this code takes nothing after it"
    if len(set(read)) != len(read):
        return "the same code stands twice"
    known = {code for code, _ in filter(None, read)}
    if of == "source" and not any(_BY_CODE[code].kind == "permission" for code in known):
        return "no permission among them: one of NRES, GRU, HMB, DS, POA"
    if of == "purpose" and known <= {"COM"}:
        return "what is done is not said: one of GRU, HMB, DS, POA, MDS"
    return ""


def forbidden(source: Sequence[str], purpose: Sequence[str]) -> tuple[str, ...]:
    """The codes of ``purpose`` that ``source`` does not allow; empty if all are allowed."""
    allowed = set(filter(None, map(read_code, source)))
    names = {code for code, _ in allowed}
    return tuple(text for text in purpose if not _allows(allowed, names, read_code(text)))


def _allows(allowed: set[tuple[str, str]], names: set[str], asked: tuple[str, str] | None) -> bool:
    free = "NRES" in names
    match asked:
        case ("COM", _):
            return names.isdisjoint(_NO_COMMERCE)
        case ("MDS", _):
            return "NMDS" not in names
        case ("GRU", _):
            return free or "GRU" in names
        case ("HMB", _):
            return free or not names.isdisjoint(("GRU", "HMB"))
        case ("POA", _):
            return "NPOA" not in names and (free or not names.isdisjoint(("GRU", "POA")))
        case ("DS", disease):
            return free or not names.isdisjoint(("GRU", "HMB")) or ("DS", disease) in allowed
        case _:
            return False


def to_attest(source: Sequence[str]) -> tuple[str, ...]:
    """The codes of ``source`` that no rule can judge, as written: a person must attest each."""
    return tuple(text for text in source if (read := read_code(text)) and _BY_CODE[read[0]].attested)
