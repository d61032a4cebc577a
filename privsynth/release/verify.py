"""Verify a release, offline, without the packages that made it.

What must hold, in this order; the first that does not is a :class:`BundleError` (exit code 4):

1. A trust file that lies outside the bundle (default: trust.json beside it).
2. A real folder with a signed statement, in canonical form, signed by enough trusted people.
3. An in-toto Statement v1 with a predicate that this version knows; a receipt for its recipient.
4. manifest.json as signed, canonical, with safe names; the statement's subjects are its files and itself.
5. The folder holds these files and no other, no link, no empty folder.
6. Every file has its size and SHA-256, read in pieces.
7. The policy and schema shipped are those that the predicate names; the recipient is the one asked for.

What it does not show: that the figures in the statement are true. The signature says who answers for that.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from privsynth.documents import sha256
from privsynth.errors import BundleError, UsageError
from privsynth.privacy.events import Receipt
from privsynth.release.manifest import MAX_MANIFEST, Manifest, check_file, read_file, walk
from privsynth.release.manifest import NAME as MANIFEST
from privsynth.release.predicate import PAYLOAD_TYPE, PREDICATE_TYPE, ROLE, STATEMENT, Predicate, SignedStatement
from privsynth.signing import MAX_ENVELOPE, load_trust, parse_canonical, shaped, verify_envelope

REQUIRED = {"card.json", "card.md", "policy.resolved.json", "privacy.json", "privacy.md", "schema.json"}
_AGAIN = "get the bundle again from its sender"


@dataclass(frozen=True)
class Verified:
    """What a verified bundle is.

    Attributes:
        folder, trust: the bundle, and the trust file that was used.
        signers: names of the people whose signatures counted.
        recipient, rows, created: for whom, how many synthetic rows, when (ISO 8601, UTC).
        files, size: how many files the manifest lists, and their bytes together.
        receipt: what was paid, and for whose protection.
        claims: the gate's rules with limits and, where free or paid, figures.
        condition: the ``where=`` that the rows keep; empty where there was none.
        software: versions that made it.
    """

    folder: Path
    trust: Path
    signers: tuple[str, ...]
    recipient: str
    rows: int
    created: str
    files: int
    size: int
    receipt: Receipt
    claims: tuple[dict[str, Any], ...] = field(repr=False)
    condition: dict[str, Any] = field(repr=False)
    software: dict[str, str] = field(repr=False)


def verify(
    folder: str | Path,
    *,
    trust: str | Path | None = None,
    recipient: str | None = None,
    now: dt.datetime | None = None,
) -> Verified:
    """Verify the bundle in ``folder``.

    Args:
        trust: the trust file; by default trust.json in the folder that holds the bundle.
        recipient: who you are; a bundle for another is refused. None: any.
        now: with a time zone; the clock's if None. Keys that have expired by then do not count.

    Raises:
        BundleError: anything above does not hold.
        KeyFileError: the trust file is there but cannot be used.
    """
    now = now or dt.datetime.now(dt.UTC)
    if now.tzinfo is None:
        raise UsageError("`now` has no time zone", where="verify", mend="datetime.now(timezone.utc)")
    root = Path(folder)
    if root.is_symlink() or not root.is_dir():
        raise BundleError("not a folder (or a link to one)", where=str(root), mend="name the bundle's own folder")
    home = root.resolve()
    trusted = home.parent / "trust.json" if trust is None else Path(trust)
    if trusted.resolve().is_relative_to(home):
        raise BundleError(
            "the trust file lies inside the bundle, where its sender could put any key",
            where=str(trusted),
            mend="get it by another way and keep it outside",
        )
    opened = verify_envelope(
        read_file(root / STATEMENT, limit=MAX_ENVELOPE),
        load_trust(trusted),
        payload_type=PAYLOAD_TYPE,
        role=ROLE,
        now=now,
        where=str(root / STATEMENT),
    )
    signed, predicate = _statement(opened.payload, where=str(root / STATEMENT))
    receipt = predicate.paid(where=str(root / STATEMENT))
    manifest = _manifest(root, signed)
    inside = set(walk(root))
    listed = {entry.path for entry in manifest.files}
    if strange := sorted(inside - listed - {MANIFEST, STATEMENT}):
        raise BundleError(f"a file that was not signed: {strange[0]!a}", where=str(root), mend=_AGAIN)
    if missing := sorted((listed | REQUIRED) - inside):
        raise BundleError(f"a file is missing: {missing[0]!a}", where=str(root), mend=_AGAIN)
    for entry in manifest.files:
        check_file(root, entry)
    for name, digest in (("policy.resolved.json", predicate.policy), ("schema.json", predicate.schema_)):
        if signed[name] != digest:
            raise BundleError("not the one that the statement names", where=str(root / name), mend="ask its sender")
    if recipient is not None and recipient != predicate.recipient:
        raise BundleError(
            f"made for recipient {predicate.recipient!a}, not for {recipient!a}",
            where=str(root),
            mend="ask the sender for your own release",
        )
    return Verified(
        folder=root,
        trust=trusted,
        signers=opened.signers,
        recipient=predicate.recipient,
        rows=predicate.rows,
        created=predicate.created,
        files=len(manifest.files),
        size=sum(entry.size for entry in manifest.files),
        receipt=receipt,
        claims=tuple(claim.model_dump(mode="json") for claim in predicate.claims),
        condition=predicate.condition,
        software=predicate.software,
    )


def _statement(payload: bytes, *, where: str) -> tuple[dict[str, str], Predicate]:
    """The signed digests by file name, and the predicate."""
    data = parse_canonical(payload, where=where)
    if isinstance(data, dict) and data.get("predicateType") != PREDICATE_TYPE:
        raise BundleError(f"not a statement of type {PREDICATE_TYPE}", where=where, mend="upgrade privsynth")
    statement = shaped(
        SignedStatement, data, error=BundleError, where=where, mend="upgrade privsynth, or ask its sender"
    )
    names = [subject.name for subject in statement.subject]
    if names != sorted(set(names)):
        raise BundleError("its subjects are repeated or out of order", where=where, mend=_AGAIN)
    return {subject.name: subject.digest.sha256 for subject in statement.subject}, statement.predicate


def _manifest(root: Path, signed: dict[str, str]) -> Manifest:
    """The manifest, if it is the signed one and lists what was signed."""
    where = str(root / MANIFEST)
    raw = read_file(root / MANIFEST, limit=MAX_MANIFEST)
    if sha256(raw) != signed.get(MANIFEST):
        raise BundleError("the file is not the one that was signed", where=where, mend=_AGAIN)
    manifest = Manifest.from_bytes(raw, where=where)
    if {entry.path: entry.sha256 for entry in manifest.files} | {MANIFEST: sha256(raw)} != signed:
        raise BundleError("it lists other files than were signed", where=where, mend="ask its sender")
    if not {entry.path for entry in manifest.files}.isdisjoint({MANIFEST, STATEMENT}):
        raise BundleError("it lists itself", where=where, mend="ask its sender")
    return manifest
