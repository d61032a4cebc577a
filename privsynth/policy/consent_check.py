"""What the keys of a policy's ``consent`` mean together with its purposes, recipients and sources."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from privsynth.documents.reading import Place
from privsynth.policy.duo import what_is_wrong

if TYPE_CHECKING:
    from privsynth.policy.form import PolicyFile

Found = Iterator[tuple[Place, str, str]]
_ONLY_WITH = {
    "columns": ("columns", "columns: {research: {column: consent, granted: [yes]}}"),
    "records": ("fhir", "records: [fhir-r4, fhir-r5]"),
    "requires": ("fhir", "requires: {scope: research, purpose: HRESCH, action: [collect, use]}"),
    "verified by": ("fhir", "verified by: [patient]"),
}


def consent_faults(file: PolicyFile) -> Found:
    """(place, what, mend) of each fault, in reading order."""
    yield from _keys(file)
    yield from _columns(file)
    yield from _fhir(file)
    yield from _duo(file)


def _keys(file: PolicyFile) -> Found:
    consent = file.consent
    for key, (by, example) in _ONLY_WITH.items():
        given = getattr(consent, key.replace(" ", "_")) is not None
        if (consent.by == by) != given:
            yield (
                ("consent", key if given else "by"),
                f"`{key}` and `by: {by}` go together",
                f"write both, for example `{example}`, or neither",
            )
    if (consent.by == "not-required") != (consent.because is not None):
        yield (
            ("consent", "because" if consent.because is not None else "by"),
            "`because` and `by: not-required` go together",
            "say in `because` why nobody is asked, or choose another `by`",
        )
    if consent.max_age_of_export is not None and consent.by not in ("fhir", "iso-27560"):
        yield (
            ("consent", "max age of export"),
            f"`by: {consent.by}` knows no export whose age could be told",
            "write it with `by: fhir` or `by: iso-27560`, or remove it",
        )
    if consent.on_withdrawal is not None and consent.by == "not-required":
        yield (("consent", "on withdrawal"), "where nobody is asked nobody can withdraw", "remove it")


def _columns(file: PolicyFile) -> Found:
    columns = file.consent.columns or {}
    for purpose in columns:
        if purpose not in file.purposes:
            yield (
                ("consent", "columns", purpose),
                f"purpose {purpose!r} is not listed under `purposes`",
                "spell it as there",
            )
    for purpose in file.purposes if file.consent.by == "columns" else ():
        if purpose not in columns:
            yield (
                ("consent", "columns"),
                f"no column says who agrees to purpose {purpose!r}: nobody would ever be granted",
                "add a line for it, or remove the purpose",
            )


def _fhir(file: PolicyFile) -> Found:
    asked = file.consent.requires
    for name, purpose in file.purposes.items():
        if purpose.fhir and file.consent.by != "fhir":
            yield (
                ("purposes", name, "fhir"),
                "`fhir` is read only with `consent: {by: fhir}`",
                "remove one of the two",
            )
        if file.consent.by == "fhir" and not (purpose.fhir or (asked is not None and asked.purpose)):
            yield (
                ("purposes", name),
                f"no FHIR code says what purpose {name!r} is: no record could be asked for it",
                "write `fhir: [HRESCH]` here, or `purpose` under `requires`",
            )
    for name, recipient in file.recipients.items():
        if recipient.fhir and file.consent.by != "fhir":
            yield (
                ("recipients", name, "fhir"),
                "`fhir` is read only with `consent: {by: fhir}`",
                "remove one of the two",
            )


def _duo(file: PolicyFile) -> Found:
    places = [(("sources", name, "duo"), source.duo, "source") for name, source in file.sources.items()]
    places += [(("purposes", name, "duo"), purpose.duo, "purpose") for name, purpose in file.purposes.items()]
    for place, codes, of in places:
        if codes and (wrong := what_is_wrong(codes, of=of)):
            yield (place, wrong, 'codes of docs/consent.md, for example [HMB] or ["DS:MONDO:0005148", NPU]')
    if any(source.duo for source in file.sources.values()):
        for name, purpose in file.purposes.items():
            if not purpose.duo:
                yield (
                    ("purposes", name),
                    f"a source carries DUO codes, and purpose {name!r} says none: it would always be denied",
                    "write what it is as `duo`, for example [HMB]",
                )
    elif any(purpose.duo for purpose in file.purposes.values()):
        name = next(name for name, purpose in file.purposes.items() if purpose.duo)
        yield (
            ("purposes", name, "duo"),
            "no source carries DUO codes that this could be held against",
            "write the source's codes as `duo`, or remove these",
        )
