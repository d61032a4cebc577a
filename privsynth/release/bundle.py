"""The only door out of the house: rows, card, statement, manifest and, where the policy says so, the transcript, signed
as one and written at once. A model's folder and an exported transcript are inside files.

What is signed is what is written: all bytes are made in memory, listed in the manifest, named in an
in-toto Statement v1, and signed in a DSSE envelope. Form: docs/verify.md.
"""

from __future__ import annotations

import datetime as dt
import io
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from privsynth import __version__
from privsynth.data.schema import Categorical, Schema
from privsynth.documents import canonical, identity, join, plain, sha256
from privsynth.errors import BundleError, HoldError, ModelError, ReleaseRefused, SeededNoise
from privsynth.privacy.events import Receipt
from privsynth.release.album import Writer, check_pictures, picture_files, png, told_of
from privsynth.release.c2pa_mark import Credential
from privsynth.release.cards import card_markdown, data_card
from privsynth.release.claims import Claims
from privsynth.release.manifest import NAME as MANIFEST
from privsynth.release.manifest import Manifest
from privsynth.release.png import TERM
from privsynth.release.predicate import (
    CHAIN,
    CSV,
    LISTING,
    PARQUET,
    PAYLOAD_TYPE,
    PREDICATE_TYPE,
    STATEMENT,
    STATEMENT_TYPE,
    TABLES,
    Claim,
    Predicate,
    forbids_biometrics,
    marks_needed,
    people_needed,
    publishes_transcript,
    sealed_to,
)
from privsynth.release.signed import SignedRelease
from privsynth.release.statement import privacy_statement, statement_markdown
from privsynth.signing import load_key, sign_envelope

if TYPE_CHECKING:
    import pandas as pd

    from privsynth.data.records import Synthetic

_PACKAGES = ("dp-accounting", "numpy", "pandas", "pyarrow", "torch")


@dataclass(frozen=True, repr=False, eq=False)
class Release:
    """An approved model's rows, ready to be signed.

    Attributes:
        model_id, receipt: of the model that the gate approved.
        claims: what the gate found.
        policy, policy_sha256: the resolved policy under which the gate ran, and its identity.
        schema: of the table.
        synth: rows of that model.
        generator: its kind, as study files write it.
        public_help: where public rows that helped the fit come from.
        adapts: whether the fit chose some of its noise from its own noisy answers.
        transcript: the model's transcript as files by name, where the policy publishes it; else empty.
        evidence: what shows that the ledger sold and approved the hold, as files by name (``Hold.evidence``).

    Raises:
        SeededNoise: noise that did not come from the operating system.
        ReleaseRefused: a rule that did not pass, or no rule at all.
        HoldError: rows of another model or hold.
        ModelError: rows, pictures or a schema that are not the receipt's.
        BundleError: a policy that is not the one of ``policy_sha256``, or that says otherwise of the transcript.
    """

    model_id: str
    receipt: Receipt
    claims: Claims
    policy: Mapping[str, Any]
    policy_sha256: str
    schema: Schema
    synth: Synthetic
    generator: str = "not stated"
    public_help: str | None = None
    adapts: bool = False
    transcript: Mapping[str, bytes] = field(default_factory=dict)
    evidence: Mapping[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        where = f"release of hold {self.receipt.hold}"
        if self.receipt.noise != "os-secure" or self.synth.receipt.noise != "os-secure":
            raise SeededNoise(
                "the model was fitted with noise from a seed, which protects nobody",
                where=where,
                mend="fit again without `noise=`",
            )
        if self.claims.refused or not self.claims.findings:
            raise ReleaseRefused(
                "the gate did not pass" if self.claims.refused else "the gate evaluated no rule",
                rules=[finding.rule for finding in self.claims.refused],
                where=where,
                mend="only an approved model is released",
            )
        if self.synth.model_id != self.model_id or self.synth.receipt != self.receipt:
            raise HoldError(
                "these rows were drawn from another model than the one approved",
                where=where,
                mend="release what `approved.model.sample(...)` gave",
            )
        if self.receipt.schema != self.schema.sha256 or self.synth.schema.sha256 != self.schema.sha256:
            raise ModelError("the schema is not the one of the receipt", where=where, mend="use the model's schema")
        if identity(self.policy) != self.policy_sha256:
            raise BundleError("the policy's hash is not its own", where=where, mend="load the policy again")
        published = publishes_transcript(self.policy)
        if set(self._tables()) != ({LISTING, TABLES} if published else set()):
            raise BundleError(
                f"the policy says that the transcript is {'published' if published else 'withheld'}",
                where=where,
                mend="release what `approved.release(...)` gave",
            )
        _check_rows(self.synth.frame, self.schema, where=where)
        check_pictures(self.synth, self.schema, where=where)

    def __repr__(self) -> str:
        return f"Release({len(self.synth)} rows of {self.schema.source!r} for {self.receipt.recipient!r})"

    def sign(
        self,
        key_path: str | Path,
        passphrase: bytes | None = None,
        *,
        now: dt.datetime | None = None,
        c2pa: Credential | None = None,
    ) -> SignedRelease:
        """Make every file and sign them.

        Args:
            key_path: a key file that ``privsynth keys new`` made.
            passphrase: of that file.
            now: the time written in; the clock's if None.
            c2pa: signs a C2PA manifest into each picture.

        Raises:
            KeyFileError: a key that cannot be used. MissingExtra: ``c2pa`` without c2pa-python.
            ReleaseRefused: the policy asks for a mark that the pictures would not carry (PS-IMG-002).
        """
        key = load_key(key_path, passphrase=passphrase)
        signer = c2pa if self.schema.pictures else None
        self._check_marks(signer)
        created = (now or dt.datetime.now(dt.UTC)).astimezone(dt.UTC).isoformat(timespec="seconds")
        files = self._files(signer)
        manifest = Manifest.of(files)
        predicate = Predicate(
            format=1,
            created=created,
            recipient=self.receipt.recipient,
            rows=len(self.synth),
            condition=dict(self.synth.condition),
            balance=dict(self.synth.balance),
            draw=self.synth.draw,
            guidance=self.synth.guidance or None,
            model=self.model_id,
            receipt=self.receipt.to_json(),
            claims=tuple(Claim.model_validate(finding) for finding in self.claims.published()),
            policy=self.policy_sha256,
            schema_=self.schema.sha256,
            software=_software(),
            transcript=sha256(self._tables()[TABLES]) if self.transcript else None,
            pictures=told_of(self.synth, self.schema),
            people=people_needed(self.policy),
            key=sealed_to(self.policy, self.receipt.recipient),
            c2pa=None if signer is None else signer.chain.fingerprint,
        )
        digests = {entry.path: entry.sha256 for entry in manifest.files} | {MANIFEST: sha256(manifest.to_bytes())}
        statement = {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": name, "digest": {"sha256": digests[name]}} for name in sorted(digests)],
            "predicateType": PREDICATE_TYPE,
            "predicate": predicate.to_json(),
        }
        envelope = sign_envelope(PAYLOAD_TYPE, canonical(statement), key)
        return SignedRelease({**files, MANIFEST: manifest.to_bytes(), STATEMENT: envelope})

    def _tables(self) -> dict[str, bytes]:
        """The transcript's files by their paths in the bundle."""
        return {f"transcript/{name}": raw for name, raw in self.transcript.items()}

    def _check_marks(self, signer: Credential | None) -> None:
        made = ("iptc",) if signer is None else ("iptc", "c2pa")
        missing = [mark for mark in marks_needed(self.policy) if mark not in made]
        if self.schema.pictures and missing:
            raise ReleaseRefused(
                f"the policy asks for pictures marked as synthetic by {join(missing)}, and these would not be",
                rules=["PS-IMG-002"],
                where=f"release of hold {self.receipt.hold}",
                mend="sign them too: `sign: {key: ..., c2pa: {certificate: ..., key: ...}}` (docs/guide-pictures.md)",
            )

    def _writer(self, signer: Credential | None) -> Writer:
        """What makes a file of a picture, with all that it has to say."""
        term = forbids_biometrics(self.policy)
        mark = (lambda raw: raw) if signer is None else signer.marker()
        return lambda pixels: mark(png(pixels, term=term))

    def _files(self, signer: Credential | None = None) -> dict[str, bytes]:
        """Every file that the manifest lists."""
        pictures = told_of(self.synth, self.schema) or ()
        card = data_card(
            self.receipt,
            self.claims,
            schema=self.schema,
            rows=len(self.synth),
            condition=self.synth.condition,
            balance=self.synth.balance,
            draw=self.synth.draw,
            guidance=self.synth.guidance,
            files=(PARQUET, CSV),
            generator=self.generator,
            model=self.model_id,
            transcript=bool(self.transcript),
            public_help=self.public_help,
            adapts=self.adapts,
            pictures=[plain(told) for told in pictures],
            faint=self.synth.faint,
        )
        privacy = privacy_statement(
            self.receipt,
            pictures=[told.column for told in pictures],
            term=TERM if forbids_biometrics(self.policy) else None,
        )
        return {
            PARQUET: _parquet(self.synth.frame),
            CSV: self.synth.frame.to_csv(index=False, lineterminator="\n").encode(),
            "card.json": canonical(card),
            "card.md": card_markdown(card).encode(),
            "privacy.json": canonical(privacy),
            "privacy.md": statement_markdown(privacy).encode(),
            "policy.resolved.json": canonical(self.policy),
            "schema.json": canonical(self.schema.to_json()),
            **picture_files(self.synth, self.schema, write=self._writer(signer)),
            **({} if signer is None else {CHAIN: signer.chain.pem}),
            **self._tables(),
            **self.evidence,
        }


def _check_rows(frame: pd.DataFrame, schema: Schema, *, where: str) -> None:
    """Columns in the schema's order, and no text beyond the public values."""
    columns = [name for name, column in schema.columns.items() if not column.dropped]
    wrong = list(frame.columns) != columns or len(frame) == 0
    for name, column in schema.columns.items():
        if not wrong and isinstance(column, Categorical) and not (column.dropped or column.open):
            wrong = not set(frame[name].dropna().unique().tolist()) <= set(column.values)
    if wrong:
        raise ModelError(
            "the rows are none, or do not fit the schema", where=where, mend="release what `model.sample(...)` gave"
        )


def _parquet(frame: pd.DataFrame) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(frame, preserve_index=False, nthreads=1).replace_schema_metadata(None)
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _software() -> dict[str, str]:
    found = {"privsynth": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
