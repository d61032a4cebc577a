"""Verify a release, offline, without the packages that made it.

What must hold, in this order; the first that does not is a :class:`BundleError` (exit code 4):

1. A trust file that lies outside the bundle (default: trust.json beside it).
2. A real folder with a signed statement, in canonical form, signed by enough trusted people: as many as the trust file
   asks for, and as many as the statement says, which is what the policy shipped asks for.
3. An in-toto Statement v1 with a predicate that this version knows; a receipt for its recipient.
   Where a list of recalls is given, it is signed by them too, current, and does not recall this release.
4. manifest.json as signed, canonical, with safe names; the statement's subjects are its files and itself.
5. The folder holds these files and no other, no link, no empty folder; each is of those that a release has.
6. Every file has its size and SHA-256, read in pieces.
7. The policy and schema shipped are those that the predicate names, the policy in the form of one; the recipient is the
   one asked for, and its key is the one that this policy names for it.
8. A transcript is there if and only if that policy publishes it, says that it was gated, and names the predicate's
   model and receipt and that receipt's recipe.
9. Where the schema has columns of pictures, the statement tells of each, pictures.png is there, and each column's zip
   file holds exactly what table.csv names, in its order, under plain names, stored; no other zip is there. Each picture
   is a PNG file of the size and mode that are told, with its two marks as synthetic, and nothing else in it; so is
   pictures.png, of a size that such a sheet may have. Where that policy forbids biometric use, each of them and
   privacy.json say so. Where the statement names a certificate, which it must if that policy asks for it, c2pa.pem
   begins with it, and each has a C2PA manifest too, which holds it; with c2pa-python the manifests are read, must hold,
   and must be signed by it.
10. Where checkpoint.txt and inclusion.json are, or the trust file names a key of role ``ledger``, which they must then
   be signed by: the hold of the receipt was sold and approved in the log under that checkpoint, at these prices. Where
   the trust file names keys of role ``witness``, one of them must have cosigned that checkpoint.

What it does not show: that the figures in the statement are true. The signature says who answers for that.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from privsynth.data.album import SHEET
from privsynth.documents import identity, join, plain, sha256
from privsynth.errors import BundleError, LedgerError, UsageError
from privsynth.ledger.evidence import CHECKPOINT, INCLUSION, Evidence, check_evidence, is_of, witnesses_of
from privsynth.privacy.events import Receipt
from privsynth.release.manifest import MAX_MANIFEST, Entry, Manifest, check_file, read_file, walk
from privsynth.release.manifest import NAME as MANIFEST
from privsynth.release.picture_check import check_pictures
from privsynth.release.predicate import (
    CHAIN,
    CSV,
    LISTING,
    PARQUET,
    PAYLOAD_TYPE,
    POLICY,
    PREDICATE_TYPE,
    PRIVACY,
    ROLE,
    SCHEMA,
    STATEMENT,
    TABLES,
    Predicate,
    SignedStatement,
    people_needed,
    publishes_transcript,
    sealed_to,
    shipped_policy,
)
from privsynth.release.recalls import check_recalled, load_recalls
from privsynth.signing import MAX_ENVELOPE, Trust, load_trust, parse_canonical, shaped, verify_envelope

LEDGER_ROLE = "ledger"
MAX_EVIDENCE = 4 * 2**20
MAX_POLICY, MAX_LISTING = 16 * 2**20, 256 * 2**20
REQUIRED = {"card.json", "card.md", POLICY, PRIVACY, "privacy.md", SCHEMA}
KNOWN = REQUIRED | {PARQUET, CSV, LISTING, TABLES, CHECKPOINT, INCLUSION, CHAIN, SHEET}
"""Every file of a release, but for those of its columns of pictures."""
_AGAIN = "get the bundle again from its sender"


@dataclass(frozen=True)
class Verified:
    """What a verified bundle is.

    Attributes:
        folder, trust: the bundle, and the trust file that was used.
        signers: names of the people whose signatures counted.
        people: how many must have signed, by the trust file and by the policy that the bundle holds.
        recipient, rows, created: for whom, how many synthetic rows, when (ISO 8601, UTC).
        files, size: how many files the manifest lists, and their bytes together.
        receipt: what was paid, and for whose protection.
        claims: the gate's rules with limits and, where free or paid, figures.
        condition: the ``where=`` that the rows keep; empty where there was none.
        balance: the ``balance=`` by which the rows were drawn; empty where there was none.
        draw: ``even`` or ``independent`` rows.
        guidance: with which pictures were drawn, to look more like their row's values; 0: as was learned.
        software: versions that made it.
        transcript: the folder of the noisy tables, for ``load_transcript``; None where they are withheld.
        pictures: of each column that holds them, its name, size, mode, zip file and how many there are.
        key: of the recipient, to which the release leaves sealed; None where its policy names none.
        contents: every file of it with its size and SHA-256 as they were verified, manifest and statement too.
        c2pa: SHA-256 of the certificate that signed each picture's C2PA manifest; None: they have none.
        c2pa_read: whether these manifests were read, and held; without c2pa-python only their place is checked.
        ledger: the log under whose checkpoint the hold was sold and approved; None where the bundle does not say.
        witness: who of the trust file's witnesses cosigned that checkpoint; None where it lists none.
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
    balance: dict[str, Any] = field(repr=False)
    draw: str
    software: dict[str, str] = field(repr=False)
    transcript: Path | None = None
    pictures: tuple[dict[str, Any], ...] = ()
    ledger: str | None = None
    witness: str | None = None
    guidance: float = 0.0
    people: int = 1
    c2pa: str | None = None
    c2pa_read: bool = False
    key: str | None = None
    contents: tuple[Entry, ...] = field(default=(), repr=False)


def verify(
    folder: str | Path,
    *,
    trust: str | Path | None = None,
    recipient: str | None = None,
    recalls: str | Path | None = None,
    now: dt.datetime | None = None,
) -> Verified:
    """Verify the bundle in ``folder``.

    Args:
        trust: the trust file; by default trust.json in the folder that holds the bundle.
        recipient: who you are; a bundle for another is refused. None: any.
        recalls: the sender's current list of recalls, signed as releases are; a release that it recalls is refused.
        now: with a time zone; the clock's if None. Keys that have expired by then do not count.

    Raises:
        BundleError: anything above does not hold.
        KeyFileError: the trust file is there but cannot be used.
    """
    return checked(folder, trust=trust, recipient=recipient, recalls=recalls, now=now)


def checked(
    folder: str | Path,
    *,
    trust: str | Path | None,
    recipient: str | None = None,
    recalls: str | Path | None = None,
    now: dt.datetime | None = None,
    lacking: bytes | None = None,
) -> Verified:
    """As :func:`verify`; ``lacking``: this envelope is checked in the place of the bundle's, and one signature that
    counts is enough, for who is to add another to it."""
    now = now or dt.datetime.now(dt.UTC)
    if now.tzinfo is None:
        raise UsageError("`now` has no time zone", where="verify", mend="datetime.now(timezone.utc)")
    root = Path(folder)
    if root.is_symlink() or not root.is_dir():
        mend = "open it first: `privsynth open`" if root.is_file() else "name the bundle's own folder"
        raise BundleError("not a folder (or a link to one)", where=str(root), mend=mend)
    home = root.resolve()
    trusted = home.parent / "trust.json" if trust is None else Path(trust)
    if trusted.resolve().is_relative_to(home):
        raise BundleError(
            "the trust file lies inside the bundle, where its sender could put any key",
            where=str(trusted),
            mend="get it by another way and keep it outside",
        )
    people = load_trust(trusted)
    envelope = read_file(root / STATEMENT, limit=MAX_ENVELOPE) if lacking is None else lacking
    opened = verify_envelope(
        envelope,
        people if lacking is None else people.model_copy(update={"threshold": 1}),
        payload_type=PAYLOAD_TYPE,
        role=ROLE,
        now=now,
        where=str(root / STATEMENT),
    )
    signed, predicate = _statement(opened.payload, where=str(root / STATEMENT))
    if lacking is None and len(opened.signers) < (predicate.people or 1):
        raise BundleError(
            f"signed by {len(opened.signers)} of the {predicate.people} people whom its policy asks for "
            f"({join(opened.signers)}), as your trust file knows them",
            where=str(root / STATEMENT),
            mend="ask the sender to have it signed by more people, and for a trust file that names them",
        )
    receipt = predicate.paid(where=str(root / STATEMENT))
    if recalls is not None:
        check_recalled(
            load_recalls(recalls, people, now=now), source=receipt.source, created=predicate.created, where=str(root)
        )
    manifest = _manifest(root, signed)
    inside = set(walk(root))
    listed = {entry.path for entry in manifest.files}
    if unknown := sorted(listed - KNOWN - {name for name in listed if name.endswith(".zip")}):
        mend = "ask its sender, or upgrade privsynth"
        raise BundleError(f"a file that no release holds: {unknown[0]!a}", where=str(root), mend=mend)
    if strange := sorted(inside - listed - {MANIFEST, STATEMENT}):
        raise BundleError(f"a file that was not signed: {strange[0]!a}", where=str(root), mend=_AGAIN)
    if missing := sorted((listed | REQUIRED) - inside):
        raise BundleError(f"a file is missing: {missing[0]!a}", where=str(root), mend=_AGAIN)
    for entry in manifest.files:
        check_file(root, entry)
    for name, digest in ((POLICY, predicate.policy), (SCHEMA, predicate.schema_)):
        if signed[name] != digest:
            raise BundleError("not the one that the statement names", where=str(root / name), mend="ask its sender")
    policy = shipped_policy(read_file(root / POLICY, limit=MAX_POLICY), where=str(root / POLICY))
    if predicate.key != sealed_to(policy, predicate.recipient):
        raise BundleError(
            "its statement and its policy name different keys for its recipient",
            where=str(root / STATEMENT),
            mend="ask its sender",
        )
    carried = _transcript(root, signed, predicate, receipt, policy)
    evidence = _evidence(root, signed, predicate, receipt, people, now)
    schema = parse_canonical(read_file(root / SCHEMA, limit=MAX_LISTING), where=str(root / SCHEMA))
    manifests_read = check_pictures(root, signed, predicate, policy=policy, schema=schema)
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
        balance=predicate.balance,
        draw=predicate.draw,
        guidance=predicate.guidance or 0.0,
        people=max(people.threshold, predicate.people or 1),
        software=predicate.software,
        transcript=(root / TABLES).parent if carried else None,
        ledger=None if evidence is None else evidence.checkpoint.origin,
        witness=None if evidence is None or evidence.witness is None else evidence.witness.name,
        pictures=tuple(plain(told) for told in predicate.pictures or ()),
        c2pa=predicate.c2pa,
        c2pa_read=manifests_read,
        key=predicate.key,
        contents=(*manifest.files, Entry.of(MANIFEST, manifest.to_bytes()), Entry.of(STATEMENT, envelope)),
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


def _transcript(root: Path, signed: dict[str, str], predicate: Predicate, receipt: Receipt, policy: Any) -> bool:
    """Whether the bundle carries a transcript, which must be this model's and what the policy says."""
    inside = {name for name in signed if name.partition("/")[0] == "transcript"}
    people = people_needed(policy)
    if predicate.people != people:
        raise BundleError(
            f"its policy says that {people or 1} people must sign, its statement {predicate.people or 1}",
            where=str(root / POLICY),
            mend="ask its sender",
        )
    wanted = {LISTING, TABLES} if publishes_transcript(policy) else set()
    if inside != wanted or signed.get(TABLES) != predicate.transcript:
        word = "published" if wanted else "withheld"
        raise BundleError(
            f"its policy says that the transcript is {word}", where=str(root / POLICY), mend="ask its sender"
        )
    if not inside:
        return False
    told = parse_canonical(read_file(root / LISTING, limit=MAX_LISTING), where=str(root / LISTING))
    size = (root / TABLES).stat().st_size
    tensors = {"file": TABLES.rpartition("/")[2], "sha256": signed[TABLES], "size": size}
    own = {"model": predicate.model, "receipt": receipt.to_json(), "tensors": tensors}
    where = str(root / LISTING)
    if not isinstance(told, dict) or {key: told.get(key) for key in own} != own:
        raise BundleError("the transcript of another model", where=where, mend="ask its sender")
    if identity(told.get("recipe")) != receipt.recipe:
        raise BundleError("the transcript's recipe is not the receipt's", where=where, mend="ask its sender")
    if told.get("gated") is not True:
        raise BundleError("the transcript says that no gate has seen it", where=where, mend="ask its sender")
    return True


def _evidence(
    root: Path, signed: dict[str, str], predicate: Predicate, receipt: Receipt, trust: Trust, now: dt.datetime
) -> Evidence | None:
    """The ledger's evidence, which must be there where the trust file names a ledger's key or a witness's."""
    keys = [key.raw_public for key in trust.keys if LEDGER_ROLE in key.roles]
    witnesses, inside = witnesses_of(trust, now), {CHECKPOINT, INCLUSION} & signed.keys()
    if not inside and not keys and witnesses is None:
        return None
    if len(inside) < 2:
        raise BundleError(
            "it does not show that its ledger sold and approved it, and your trust file names a ledger or its witness",
            where=str(root),
            mend="ask its sender for checkpoint.txt and inclusion.json, signed as part of the bundle",
        )
    note, listing = (read_file(root / name, limit=MAX_EVIDENCE) for name in (CHECKPOINT, INCLUSION))
    try:
        found = check_evidence(note, listing, keys=keys, where=str(root / INCLUSION), witnesses=witnesses)
    except LedgerError as fault:
        raise BundleError(fault.what, where=fault.where, mend=fault.mend) from None
    if not is_of(receipt, found.reserve) or found.approve.body.get("policy") != predicate.policy:
        raise BundleError(
            "the ledger's entries are of another release", where=str(root / INCLUSION), mend="ask its sender"
        )
    return found


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
