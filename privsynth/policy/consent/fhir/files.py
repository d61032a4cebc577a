"""FHIR evidence on disk → Consent resources, links between ids of one person, and the time of the export.

A file of JSON (one resource or a Bundle), of NDJSON (one resource a line), or a folder of such files. What cannot be
taken apart is a structural fault, for then it is not known whom it is about; what a resource holds never is.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from privsynth.documents import read_bytes
from privsynth.errors import ConsentError
from privsynth.policy.consent.fhir.times import read_when

MAX_FILE, MAX_RESOURCE = 2**30, 2**20
MAX_FILES, MAX_RESOURCES, MAX_NESTING = 1000, 5_000_000, 64
MANIFEST = "manifest.json"
"""The name of a bulk export's manifest, whose ``transactionTime`` is the time of the export."""

_FORM = "JSON or NDJSON as a FHIR server exports it, UTF-8: a resource, a Bundle, one resource a line, or a folder"
_BUNDLES = ("searchset", "collection")
_DOUBLED = "\x00 a key stands twice"
"""Marks an object that says two things under one key, so that in a Bundle only the resource that does is distrusted."""


@dataclass(frozen=True, repr=False)
class Found:
    """One resource, and whether it is to be distrusted: a key that stands twice says two things."""

    raw: Mapping[str, Any]
    doubled: bool


@dataclass(repr=False)
class Evidence:
    """What was found.

    Attributes:
        exported: when the export was made, the oldest time that its parts state; None where one states none.
        linked: by each patient's id the ids that her Patient resource links it with.
    """

    exported: dt.datetime | None = None
    linked: dict[str, set[str]] = field(default_factory=dict)


def read_consents(path: Path, evidence: Evidence) -> Iterator[Found]:
    """Every Consent under ``path``; links and export time go into ``evidence``, which is whole at the end.

    Raises:
        ConsentError: a structural fault. It names the file, never a resource.
    """
    files = _files(path)
    stated: list[dt.datetime | None] = []
    pages: tuple[set[str], set[str]] = (set(), set())
    count = 0
    for file in files:
        if file.name == MANIFEST and path.is_dir():
            stated = [_manifest(file)]
    from_manifest = bool(stated)
    for file in files:
        if file.name == MANIFEST and path.is_dir():
            continue
        for found in _resources(file, stated if not from_manifest else None, pages):
            count += 1
            if count > MAX_RESOURCES:
                raise _fault(f"more than {MAX_RESOURCES} resources", path)
            kind = found.raw.get("resourceType")
            if kind == "Consent":
                yield found
            elif kind == "Patient":
                _link(found.raw, evidence.linked)
    if missing := pages[1] - pages[0]:
        raise _fault(f"{len(missing)} further pages of a search are not there: a refusal may stand in them", path)
    known = [time for time in stated if time is not None]
    evidence.exported = min(known) if known and len(known) == len(stated) else None


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    inside = sorted(p for p in path.iterdir() if not p.name.startswith("."))
    if strange := [p for p in inside if p.suffix not in (".json", ".ndjson") or not p.is_file()]:
        raise ConsentError("not a file of FHIR records", where=str(strange[0]), mend="keep only exports in the folder")
    if not inside or len(inside) > MAX_FILES:
        raise _fault(f"a folder of {len(inside)} files" if inside else "an empty folder", path)
    return inside


def _resources(
    file: Path, stated: list[dt.datetime | None] | None, pages: tuple[set[str], set[str]]
) -> Iterator[Found]:
    """The resources of one file, those in Bundles too; what a Bundle states of its time goes into ``stated``."""
    raw = read_bytes(file, error=ConsentError, kind="consent record", limit=MAX_FILE)
    if not raw.strip():
        raise _fault("no resource in it", file)
    lines = raw.splitlines() if file.suffix == ".ndjson" else [raw]
    if file.suffix == ".ndjson" and stated is not None:
        stated.append(None)
    for line in lines:
        if not line.strip():
            continue
        if file.suffix == ".ndjson" and len(line) > MAX_RESOURCE:
            raise _fault(f"a line above {MAX_RESOURCE} bytes", file)
        value, doubled = parse_json(line, file)
        if value.get("resourceType") != "Bundle":
            if file.suffix != ".ndjson" and stated is not None:
                stated.append(None)
            yield Found(value, doubled)
            continue
        if stated is not None and file.suffix != ".ndjson":
            stated.append(_moment(value.get("timestamp")) or _moment(_inner(value, "meta").get("lastUpdated")))
        yield from _entries(value, file, pages)


def _entries(bundle: Mapping[str, Any], file: Path, pages: tuple[set[str], set[str]]) -> Iterator[Found]:
    if bundle.get("type") not in _BUNDLES:
        raise _fault(f"a Bundle that is no {' or '.join(_BUNDLES)}: it may hold what is no longer so", file)
    links = bundle.get("link", [])
    for link in links if isinstance(links, list) else []:
        if isinstance(link, dict) and isinstance(link.get("url"), str) and link.get("relation") in ("self", "next"):
            pages[link["relation"] == "next"].add(link["url"])
    entries = bundle.get("entry", [])
    if not isinstance(entries, list):
        raise _fault("a Bundle whose entries are no list", file)
    for entry in entries:
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if not isinstance(resource, dict):
            raise _fault("a Bundle with an entry that holds no resource", file)
        if resource.get("resourceType") == "Bundle":
            raise _fault("a Bundle in a Bundle", file)
        if _DOUBLED in entry or _DOUBLED in bundle:
            raise _fault("a Bundle with a key that stands twice", file)
        yield Found(resource, _marked(resource))


def _marked(value: Any) -> bool:
    """Whether some object in it has a key twice."""
    pending = [value]
    while pending:
        node = pending.pop()
        if isinstance(node, dict) and _DOUBLED in node:
            return True
        inner = node.values() if isinstance(node, dict) else node
        pending += [part for part in inner if isinstance(part, dict | list)]
    return False


def parse_json(raw: bytes, file: Path) -> tuple[dict[str, Any], bool]:
    """One JSON object, and whether it is to be distrusted: a key stands twice in it, or it is nested too deeply. Then
    only what is not is kept, so that it is still known whom it is about.

    Raises:
        ConsentError: not one JSON object in UTF-8.
    """
    doubled = False

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal doubled
        out = dict(items)
        if len(out) < len(items):
            doubled = True
            out[_DOUBLED] = True
        return out

    def constant(text: str) -> Any:
        raise ValueError(text)

    try:
        value = json.loads(raw.decode("utf-8-sig"), object_pairs_hook=pairs, parse_constant=constant)
    except (ValueError, RecursionError):
        raise _fault("not JSON of one resource, whole and in UTF-8", file) from None
    if not isinstance(value, dict):
        raise _fault("not one JSON object", file)
    if _too_deep(value):
        flat = {key: part for key, part in value.items() if not _too_deep({"": part})}
        if flat.get("resourceType") == "Bundle":
            raise _fault(f"a Bundle of more than {MAX_NESTING} levels", file)
        return flat, True
    return value, doubled


def _too_deep(value: Any) -> bool:
    level: list[Any] = [value]
    for _ in range(MAX_NESTING):
        level = [
            part
            for node in level
            for part in (node.values() if isinstance(node, dict) else node)
            if isinstance(part, dict | list)
        ]
        if not level:
            return False
    return True


def _link(patient: Mapping[str, Any], linked: dict[str, set[str]]) -> None:
    """Note the other ids of one person, whatever the kind of link."""
    own, links = patient.get("id"), patient.get("link")
    for link in links if isinstance(links, list) and isinstance(own, str) else []:
        text = _inner(link, "other").get("reference")
        if isinstance(text, str) and "Patient/" in text:
            other = text.rpartition("Patient/")[2].partition("/")[0]
            linked.setdefault(str(own), set()).add(other)
            linked.setdefault(other, set()).add(str(own))


def _manifest(file: Path) -> dt.datetime | None:
    value, _ = parse_json(read_bytes(file, error=ConsentError, kind="export manifest", limit=MAX_RESOURCE), file)
    return _moment(value.get("transactionTime"))


def _moment(value: Any) -> dt.datetime | None:
    """The beginning of a FHIR instant; of a bare day the earliest that it may mean."""
    when = read_when(value)
    return None if when is None else when.begins.early


def _inner(value: Any, key: str) -> Any:
    inner = value.get(key) if isinstance(value, dict) else None
    return inner if isinstance(inner, dict) else {}


def _fault(what: str, file: Path) -> ConsentError:
    return ConsentError(what, where=str(file), mend=_FORM)
