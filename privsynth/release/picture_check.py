"""The pictures of a bundle, as its verifier sees them: the files that there must be, and what each says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from privsynth.data.album import SHEET, largest_sheet
from privsynth.documents import join
from privsynth.errors import BundleError
from privsynth.release.archive import check_archives, pictures_told
from privsynth.release.c2pa_mark import MOST_CHAIN, Chain, reader
from privsynth.release.manifest import read_file
from privsynth.release.png import TERM, Worn, check_sheet, most_bytes
from privsynth.release.predicate import CHAIN, POLICY, PRIVACY, SCHEMA, Predicate, forbids_biometrics, marks_needed
from privsynth.signing import parse_canonical

MOST_STATEMENT = 16 * 2**20


def check_pictures(root: Path, signed: dict[str, str], predicate: Predicate, *, policy: Any, schema: Any) -> bool:
    """Refuse pictures other than the schema, the statement, the table and the policy tell.

    Args:
        signed: the digests of the bundle's files.
        policy, schema: resolved, as JSON values.

    Returns:
        Whether their C2PA manifests were read.

    Raises:
        BundleError: naming the first fault.
    """
    told = predicate.pictures
    try:
        wanted = pictures_told(schema, {file.column: file.pictures for file in told or ()})
    except (AttributeError, KeyError, TypeError, ValueError):
        wanted = ()
    if wanted != told:
        raise BundleError("the statement tells of other pictures", where=str(root / SCHEMA), mend="ask its sender")
    packed = {name for name in signed if name.endswith(".zip") or name == SHEET}
    if packed != ({SHEET, *(file.file for file in told)} if told else set()):
        raise BundleError(
            "it holds other files of pictures than its schema says", where=str(root), mend="ask its sender"
        )
    chain = _chain(root, signed, predicate, policy)
    _check_term(root, policy, pictures=bool(told))
    if not told:
        return False
    worn = Worn(term=forbids_biometrics(policy), leaf=None if chain is None else chain.leaf)
    read = None if chain is None else reader(chain)
    check_archives(root, told, rows=predicate.rows, worn=worn, read=read)
    most = largest_sheet(len(told))
    raw = read_file(root / SHEET, limit=most_bytes(most, "RGB", worn))
    check_sheet(raw, most=most, where=str(root / SHEET), worn=worn)
    if read is not None:
        read(raw, str(root / SHEET))
    return read is not None


def _chain(root: Path, signed: dict[str, str], predicate: Predicate, policy: Any) -> Chain | None:
    """The certificates of whoever signed the pictures, which the policy may ask for."""
    made = {"iptc"} if predicate.c2pa is None else {"iptc", "c2pa"}
    if predicate.pictures and (missing := [mark for mark in marks_needed(policy) if mark not in made]):
        raise BundleError(
            f"its policy asks for pictures marked as synthetic by {join(missing)}, and they are not",
            where=str(root / POLICY),
            mend="ask its sender",
        )
    if (CHAIN in signed) != (predicate.c2pa is not None) or (predicate.c2pa is not None and not predicate.pictures):
        raise BundleError(
            "it holds other certificates than its statement names", where=str(root), mend="ask its sender"
        )
    if predicate.c2pa is None:
        return None
    raw = read_file(root / CHAIN, limit=MOST_CHAIN)
    try:
        chain = Chain.of(raw)
    except ValueError:
        chain = None
    if chain is None or chain.fingerprint != predicate.c2pa or chain.pem != raw:
        raise BundleError(
            "not the certificates that its statement names", where=str(root / CHAIN), mend="ask its sender"
        )
    return chain


def _check_term(root: Path, policy: Any, *, pictures: bool) -> None:
    """Refuse a privacy statement that is none, is silent about a term of the policy, or tells another."""
    where = root / PRIVACY
    told = parse_canonical(read_file(where, limit=MOST_STATEMENT), where=str(where))
    if not isinstance(told, dict):
        raise BundleError("no privacy statement", where=str(where), mend="ask its sender")
    said = told.get("term")
    if said != ({"sentence": TERM} if pictures and forbids_biometrics(policy) else None):
        raise BundleError("not the term of use that its policy sets", where=str(where), mend="ask its sender")
