"""The study file: one run from data to release, as a reviewer reads it. Reference: docs/study.md.

Paths are relative to the study file's folder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic

from privsynth.data.schema import Schema, load_schema
from privsynth.documents import Document, Strict, build, identity, load_yaml
from privsynth.errors import StudyError
from privsynth.generators.marginals.recipe import Marginals
from privsynth.policy.decide import ConsentKind
from privsynth.policy.document import Policy, load_policy
from privsynth.privacy.budget import Budget

FORMAT = 1


class ConsentEvidence(Strict):
    """Where consent is read: ``{register: consent.csv}`` or ``{columns: true}``."""

    register_: Annotated[str | None, pydantic.Field(alias="register")] = None
    columns: Literal[True] | None = None

    @pydantic.model_validator(mode="after")
    def _one(self) -> ConsentEvidence:
        if (self.register_ is None) == (self.columns is None):
            raise ValueError("write either `register: FILE` or `columns: true`")
        return self


class MarginalsSpec(Strict):
    """``{kind: marginals, epsilon: 1.0, delta: 1e-9, target: readmitted}``."""

    kind: Literal["marginals"]
    epsilon: float
    delta: float
    target: str | None = None
    components: int | None = None
    steps: int = 400

    def recipe(self, schema: Schema) -> Marginals:
        """The recipe it describes."""
        return Marginals(
            schema,
            Budget(self.epsilon, self.delta),
            target=self.target,
            components=self.components,
            steps=self.steps,
        )


class Sample(Strict):
    """What to draw: ``{rows: 50000, where: {sex: F}, seed: 7}``. ``where`` takes a value, a list, or
    ``{from: 20, to: 40}``."""

    rows: Annotated[int, pydantic.Field(ge=1, le=100_000_000)]
    where: Mapping[str, Any] = {}
    seed: Annotated[int, pydantic.Field(ge=0)] | None = None
    balance: Any = None

    @pydantic.field_validator("balance")
    @classmethod
    def _not_built(cls, value: Any) -> Any:
        if value is not None:
            raise ValueError("balanced samples are not built yet; use `where` for one group at a time")
        return value


class Sign(Strict):
    """``{key: release.key}``, and ``passphrase file`` where the key has one."""

    key: str
    passphrase_file: str | None = None


class StudyFile(Strict):
    """The whole file."""

    format: Annotated[int, pydantic.Field(alias="privsynth-study")]
    schema_: Annotated[str, pydantic.Field(alias="schema")]
    data: str
    policy: str
    ledger: str
    purpose: str
    recipient: str
    generator: MarginalsSpec
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

    @pydantic.field_validator("ledger")
    @classmethod
    def _sqlite(cls, value: str) -> str:
        if not value.startswith("sqlite:///") or len(value) <= len("sqlite:///"):
            raise ValueError("write the ledger as sqlite:///ledger.db")
        return value


_MENDS = {
    "balance": "remove `balance`; draw each group with `where`",
    "kind": "this version builds `kind: marginals`",
    "ledger": "for example `ledger: sqlite:///ledger.db`, relative to the study's folder",
    "sample": "for example `sample: {rows: 10000}`",
    "consent": "for example `consent: {register: consent.csv}`",
}


@dataclass(frozen=True)
class Study:
    """A loaded study with everything public that it names."""

    file: StudyFile
    document: Document
    folder: Path
    schema: Schema
    policy: Policy
    recipe: Marginals

    def path(self, name: str) -> Path:
        """A path of the file, from the study's folder."""
        return self.folder / name

    @property
    def ledger_url(self) -> str:
        """The ledger's address, with its path from the study's folder."""
        return f"sqlite:///{self.path(self.file.ledger.removeprefix('sqlite:///'))}"

    @property
    def model_folder(self) -> Path:
        """Where the fitted model is kept (inside)."""
        return self.path(self.file.model if self.file.model is not None else self.file.out.rstrip("/") + ".model")

    @property
    def consent(self) -> ConsentKind:
        """The evidence of consent that the study names."""
        if self.file.consent is None:
            return "none"
        return "register" if self.file.consent.register_ is not None else "columns"

    @property
    def register(self) -> Path | None:
        """The consent register, if any."""
        named = None if self.file.consent is None else self.file.consent.register_
        return None if named is None else self.path(named)

    @property
    def request(self) -> str:
        """The request id: the study's own, else one that the same study always has, so that a second
        run of a finished or interrupted study never pays twice."""
        if self.file.request is not None:
            return self.file.request
        asked = [self.recipe.describe(), self.file.purpose, self.file.recipient, self.policy.sha256]
        return f"study-{identity(asked)[:40]}"

    @property
    def where(self) -> dict[str, Any]:
        """The sample's condition, ranges translated."""
        from privsynth.data.codec import Between

        out: dict[str, Any] = {}
        for name, wanted in self.file.sample.where.items():
            if isinstance(wanted, Mapping):
                if not set(wanted) <= {"from", "to"} or not wanted:
                    raise StudyError(
                        "a range is written {from: 20, to: 40}",
                        where=self.document.where("sample", "where", name),
                        mend="a value, a list of values or a range",
                    )
                out[name] = Between(wanted.get("from"), wanted.get("to"))
            else:
                out[name] = wanted
        return out


def load_study(path: str | Path) -> Study:
    """Read a study with the schema and policy that it names; no data, no ledger.

    Raises:
        StudyError, SchemaError, PolicyError, BudgetError: with file:line and the mend.
    """
    document = load_yaml(path, error=StudyError, kind="study")
    for key, value in document.data.items():
        if isinstance(value, str) and re.match(r"TODO\b", value):
            raise StudyError(f"{key}: still says {value!r}", where=document.where(key), mend="fill it in")
    file = build(StudyFile, document, error=StudyError, mends=_MENDS)
    folder = Path(path).resolve().parent
    schema = load_schema(folder / file.schema_)
    policy = load_policy(folder / file.policy)
    return Study(file, document, folder, schema, policy, file.generator.recipe(schema))
