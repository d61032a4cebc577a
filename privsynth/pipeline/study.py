"""The study file: one run from data to release, as a reviewer reads it. Reference: docs/study.md.

Paths are relative to the study file's folder.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pydantic

from privsynth.data.balance import read_balance
from privsynth.data.codec import Codec
from privsynth.data.guidance import MOST_GUIDANCE, check_guidance
from privsynth.data.records import Draw, Model, Train
from privsynth.data.schema import Schema, load_schema
from privsynth.documents import Document, Strict, build, identity, load_yaml, refuse_null, refuse_todo
from privsynth.documents.reading import Place
from privsynth.errors import BudgetError, ConditionError, SchemaError, StudyError
from privsynth.generators.marginals.public import PublicRows, read_public
from privsynth.generators.ranks import ALONE, Ranks
from privsynth.ledger.store import Hold
from privsynth.pipeline.conditions import before_fit, named_shares, named_values
from privsynth.pipeline.study_generator import GENERATOR_MENDS, GeneratorSpec, read_condition
from privsynth.pipeline.study_ledger import MENDS, LedgerPlace, LedgerSpec
from privsynth.policy.approval_asks import needed_signatures
from privsynth.policy.decide import ConsentKind
from privsynth.policy.document import Policy, load_policy
from privsynth.progress import Progress
from privsynth.release.c2pa_mark import Credential
from privsynth.release.sealed import SUFFIX

if TYPE_CHECKING:
    from privsynth.generators.training import CheckpointFiles
    from privsynth.pipeline.study_generator import StudyRecipe

FORMAT = 1


def _moment(value: str | None) -> str | None:
    if value is not None:
        try:
            zoned = dt.datetime.fromisoformat(value).tzinfo is not None
        except ValueError:
            zoned = False
        if not zoned:
            raise ValueError("must be a moment with its zone, for example 2026-03-01T06:00:00Z")
    return value


class ConsentEvidence(Strict):
    """Where consent is read: ``{register: consent.csv}``, ``{fhir: consents.ndjson, exported: 2026-03-01T06:00:00Z}``,
    ``{receipts: receipts.ndjson}`` or ``{columns: true}``; with ``attest``, what a person attests of DUO codes,
    and ``decisions``, a folder for receipts of what was decided."""

    register_: Annotated[str | None, pydantic.Field(alias="register")] = None
    fhir: str | None = None
    receipts: str | None = None
    columns: Literal[True] | None = None
    exported: Annotated[str | None, pydantic.AfterValidator(_moment)] = None
    attest: Mapping[str, Annotated[str, pydantic.Field(min_length=1, max_length=500)]] = {}
    decisions: str | None = None

    @pydantic.model_validator(mode="after")
    def _one(self) -> ConsentEvidence:
        if len(self.files) + (self.columns is not None) != 1:
            raise ValueError("write one of `register: FILE`, `fhir: FILE`, `receipts: FILE`, `columns: true`")
        if self.exported is not None and self.fhir is None and self.receipts is None:
            raise ValueError("`exported` goes with `fhir` or `receipts`")
        return self

    @property
    def files(self) -> Mapping[str, str]:
        """The file that it names, by the name of ``filter_consent``'s argument."""
        named = {"register": self.register_, "fhir": self.fhir, "receipts": self.receipts}
        return {name: file for name, file in named.items() if file is not None}

    @property
    def kind(self) -> ConsentKind:
        """The kind of evidence."""
        kinds: dict[str, ConsentKind] = {"register": "register", "fhir": "fhir", "receipts": "iso-27560"}
        return next((kinds[name] for name in self.files), "columns")


class Sample(Strict):
    """What to draw: ``{rows: 50000, where: {sex: F}, balance: {ward: equal}, seed: 7}``. ``where`` takes a
    value, a list, or ``{from: 20, to: 40}``; ``balance`` takes ``equal``, or shares by value;
    ``guidance`` a number, where a network draws pictures."""

    rows: Annotated[int, pydantic.Field(ge=1, le=100_000_000)]
    where: Mapping[str, Any] = {}
    seed: Annotated[int, pydantic.Field(ge=0, lt=2**128)] | None = None
    balance: Mapping[str, Any] = {}
    draw: Draw = "even"
    guidance: Annotated[float, pydantic.Field(ge=0.0, le=MOST_GUIDANCE)] = 0.0


class SignPictures(Strict):
    """Who signs a C2PA manifest into each picture: ``{certificate: chain.pem, key: leaf.key}``."""

    certificate: str
    key: str


class Sign(Strict):
    """``{key: release.key}``; ``passphrase file`` where the key has one, and ``c2pa`` where pictures get manifests."""

    key: str
    passphrase_file: str | None = None
    c2pa: SignPictures | None = None


class StudyFile(Strict):
    """The whole file."""

    format: Annotated[int, pydantic.Field(alias="privsynth-study")]
    schema_: Annotated[str, pydantic.Field(alias="schema")]
    data: str
    policy: str
    ledger: LedgerSpec
    purpose: str
    recipient: str
    generator: GeneratorSpec
    sample: Sample
    sign: Sign
    out: str
    consent: ConsentEvidence | None = None
    actor: str | None = None
    model: str | None = None
    request: Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] | None = None

    @pydantic.field_validator("format")
    @classmethod
    def _known(cls, value: int) -> int:
        if value != FORMAT:
            raise ValueError(f"format {value} is not known; this version reads {FORMAT}")
        return value


_MENDS = {
    **GENERATOR_MENDS,
    **MENDS,
    "balance": "shares by column, for example `balance: {sex: equal}` or `balance: {sex: {F: 0.7, M: 0.3}}`",
    "attest": "by DUO code of the source what a person attests, for example `attest: {IRB: vote 12/2026}`",
    "consent": "`{register: consent.csv}`, `{fhir: consents.ndjson, exported: 2026-03-01T06:00:00Z}`, "
    "`{receipts: receipts.ndjson}` or `{columns: true}`; leave it out where the policy asks nobody",
    "data": "the table's path from the study's folder, .parquet or .csv",
    "delta": "a number far below one in the number of people, for example `delta: 1e-9`",
    "draw": "`draw: even` or `draw: independent`",
    "exported": "when the evidence was exported, with its zone: `exported: 2026-03-01T06:00:00Z`",
    "epsilon": "a number from 0.0001 to 50, for example `epsilon: 1.0`; 0.1 to 10 is the useful range",
    "generator": "for example `generator: {kind: marginals, epsilon: 1.0, delta: 1e-9}`",
    "guidance": f"a number from 0 to {MOST_GUIDANCE:g}, or leave it out",
    "out": "the folder of the release that will be written, for example `out: release/`",
    "policy": "the policy's path from the study's folder",
    "privsynth-study": "the first line of the file is `privsynth-study: 1`",
    "purpose": "a purpose of the policy",
    "recipient": "a recipient of the policy",
    "request": "letters, digits and . _ -, at most 64",
    "rows": "a whole number from 1, for example `sample: {rows: 10000}`",
    "sample": "for example `sample: {rows: 10000}`",
    "schema": "the schema's path from the study's folder",
    "seed": "a whole number from 0 and below 2^128, or leave it out",
    "sign": "for example `sign: {key: release.key}`; `privsynth keys new` makes the key",
    "where": "values by column, for example `where: {sex: F, age: {from: 20, to: 40}}`",
}


@dataclass(frozen=True)
class Study:
    """A loaded study with everything public that it names."""

    file: StudyFile
    document: Document = field(repr=False)
    folder: Path
    schema: Schema
    policy: Policy
    recipe: StudyRecipe
    public: PublicRows | None = None

    def path(self, name: str) -> Path:
        """A path of the file, from the study's folder."""
        return self.folder / name

    @property
    def ledger(self) -> LedgerPlace:
        """Its ledger, key file and witness, from the study's folder."""
        return self.file.ledger.place(self.folder)

    @property
    def out(self) -> Path:
        """Where the release will be written: a folder, or one sealed file."""
        return self.leaves_at(self.path(self.file.out))

    @property
    def sealed_to(self) -> str | None:
        """The key of its recipient, without which nothing leaves for it; None where the policy names none."""
        rule = self.policy.recipients.get(self.file.recipient)
        return None if rule is None else rule.key

    @property
    def seals(self) -> bool:
        """Whether a run writes the sealed file itself: where others have yet to sign, it writes the folder for them."""
        return self.sealed_to is not None and needed_signatures(self.policy) == 1

    def leaves_at(self, out: Path) -> Path:
        """``out``, or the sealed file in its place: ``release/`` becomes ``release.age``. A folder that is there is
        none in whose place one could lie; it is told as taken."""
        kept = not self.seals or out.suffix == SUFFIX or out.name in ("", "..") or out.is_dir()
        return out if kept else out.with_name(f"{out.name}{SUFFIX}")

    @property
    def key(self) -> Path:
        """The key that signs it."""
        return self.path(self.file.sign.key)

    def credential(self) -> Credential | None:
        """What signs each picture; None where the study names nothing or has no pictures.

        Raises:
            KeyFileError: it cannot be used. MissingExtra: no c2pa-python.
        """
        named = self.file.sign.c2pa if self.schema.pictures else None
        return None if named is None else Credential.load(self.path(named.certificate), self.path(named.key))

    @property
    def marks(self) -> tuple[str, ...]:
        """By which marks its pictures say that they are synthetic."""
        return ("iptc",) if self.file.sign.c2pa is None else ("iptc", "c2pa")

    @property
    def model_folder(self) -> Path:
        """Where the fitted model is kept (inside)."""
        return self.path(self.file.model if self.file.model is not None else self.file.out.rstrip("/") + ".model")

    @property
    def consent(self) -> ConsentKind:
        """The evidence of consent that the study names."""
        return "none" if self.file.consent is None else self.file.consent.kind

    @property
    def evidence(self) -> Path | None:
        """The file or folder of the evidence of consent, if any."""
        named = {} if self.file.consent is None else self.file.consent.files
        return next((self.path(file) for file in named.values()), None)

    @property
    def decisions(self) -> Path | None:
        """The folder for receipts of what is decided of each subject, if they are kept."""
        named = None if self.file.consent is None else self.file.consent.decisions
        return None if named is None else self.path(named)

    @property
    def consent_given(self) -> dict[str, Any]:
        """The same as arguments of ``filter_consent``."""
        told = self.file.consent
        if told is None:
            return {}
        when = None if told.exported is None else dt.datetime.fromisoformat(told.exported)
        files = {name: self.path(file) for name, file in told.files.items()}
        return {**files, "exported": when, "attest": dict(told.attest)}

    @property
    def request(self) -> str:
        """The request id: the study's own, else one that the same study always has, so that a second
        run of a finished or interrupted study never pays twice."""
        if self.file.request is not None:
            return self.file.request
        asked = [self.recipe.describe(), self.file.purpose, self.file.recipient, self.policy.sha256]
        return f"study-{identity(asked)[:40]}"

    @property
    def training_folder(self) -> Path | None:
        """Where the state of a training that can go on is kept while it runs (inside); None of other generators."""
        folder = self.model_folder
        return folder.with_name(f"{folder.name}.training") if self.recipe.trains else None

    def fit(self, train: Train, hold: Hold, progress: Progress, ranks: Ranks = ALONE) -> Model:
        """Spend the hold's fit, with the public table where the generator names one. A training that was cut off goes
        on where its folder is, and uses all ``ranks``."""
        given: dict[str, Any] = {} if self.public is None else {"public": self.public}
        state = self.training(hold)
        if state is None:
            return self.recipe.fit(train, hold, progress=progress, **given)
        with state.alone():
            given |= {"checkpoints": state, "ranks": ranks}
            return self.recipe.fit(train, hold, progress=progress, **given)

    def training(self, hold: Hold) -> CheckpointFiles | None:
        """The state of a training, where the hold's fit has one."""
        from privsynth.generators.training import CheckpointFiles

        return None if self.training_folder is None else CheckpointFiles(self.training_folder, hold.id)

    def forget_training(self, hold: Hold) -> None:
        """Delete what is kept of a training, now that its model is; the folder too, where nothing else lies in it."""
        state = self.training(hold)
        if state is not None and state.folder.is_dir():
            state.clear()
            with suppress(OSError):
                state.folder.rmdir()

    def condition(self) -> dict[str, Any]:
        """The sample's condition: ranges translated, every value one that its column may hold.

        Raises:
            StudyError: a range that is not written as one.
            ConditionError: not a learned column, or a value outside its public domain. Whether a single value is
                one of those that a fit has learned, the sampling tells.
        """
        codec = Codec(self.schema.table)
        return read_condition(
            self.file.sample.where,
            ("sample", "where"),
            self.document,
            lambda part: before_fit(codec, part).evidence(part),
        )

    def balance(self) -> dict[str, Any]:
        """The sample's balance: values read by their column's kind, every one that its column may hold.

        Raises:
            ConditionError: not of its form, ``equal`` on a column whose cells are learned, or as of
                :func:`privsynth.data.balance.read_balance`.
        """
        out: dict[str, Any] = {}
        codec = Codec(self.schema.table)
        for name, asked in self.file.sample.balance.items():
            try:
                out |= (named := named_shares({name: asked}, codec, form=_MENDS["balance"]))
                read_balance(named, before_fit(codec, named_values(named)), where=self.file.sample.where)
            except ConditionError as wrong:
                place = self.document.where("sample", "balance", name)
                raise ConditionError(f"sample › balance › {name}: {wrong.what}", where=place, mend=wrong.mend) from None
        read_balance(out, before_fit(codec, named_values(out)))
        return out

    def guidance(self) -> float:
        """With which the sample's pictures are drawn; 0: as was learned.

        Raises:
            ConditionError: some, where no network draws pictures.
        """
        try:
            return check_guidance(self.file.sample.guidance, guides=self.file.generator.guides)
        except ConditionError as wrong:
            place = self.document.where("sample", "guidance")
            raise ConditionError(f"sample › guidance: {wrong.what}", where=place, mend=wrong.mend) from None


def load_study(path: str | Path) -> Study:
    """Read a study with the schema, the policy and the public table that it names; no data, no ledger.

    Raises:
        StudyError, SchemaError, PolicyError, BudgetError, ConditionError: with file:line and the mend.
        DataError: a public table that cannot be read.
    """
    document = load_yaml(path, error=StudyError, kind="study")
    refuse_todo(document, error=StudyError, mend="decide it and write it out; docs/study.md explains each key")
    file = build(StudyFile, document, error=StudyError, mends=_MENDS)
    refuse_null(document, error=StudyError, means=_is_null)
    folder = Path(path).resolve().parent
    schema = load_schema(folder / file.schema_)
    policy = load_policy(folder / file.policy)
    public = _public(file, schema, folder, document)
    study = Study(file, document, folder, schema, policy, _recipe(file, schema, document, public), public)
    study.condition()
    study.balance()
    study.guidance()
    return study


def _is_null(place: Place) -> bool:
    """Whether null at this place of a study is a value: under ``where``, rows in which a column is null."""
    return "where" in place[:-1]


def _public(file: StudyFile, schema: Schema, folder: Path, document: Document) -> PublicRows | None:
    """The rows of the public table that the generator names: part of the recipe, by their digest.

    Raises:
        StudyError: it is the file of the private rows. DataError: it cannot be read.
    """
    if file.generator.public is None:
        return None
    public, data = (folder / name for name in (file.generator.public.file, file.data))
    if public.resolve() == data.resolve() or (public.exists() and data.exists() and public.samefile(data)):
        raise StudyError(
            "generator › public: the study's own data cannot be declared public",
            where=document.where("generator", "public"),
            mend="name a table that anybody may see, or leave it out",
        )
    return read_public(public, schema)


def _recipe(file: StudyFile, schema: Schema, document: Document, public: PublicRows | None) -> StudyRecipe:
    """The recipe; what is wrong with one of its fields is told at the study's line."""
    try:
        return file.generator.recipe(schema, document, public)
    except (BudgetError, SchemaError) as wrong:
        if wrong.where.startswith(str(document.path)):  # told at its line already
            raise
        field = wrong.where.rpartition(".")[2]  # as in Budget.epsilon
        mend = _MENDS.get(field, wrong.mend)
        raise type(wrong)(
            f"generator › {field}: {wrong.what}", where=document.where("generator", field), mend=mend
        ) from None
