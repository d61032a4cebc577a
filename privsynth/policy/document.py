"""A policy file, loaded: what may be done with which data, for whom, at what cost, and who may ask.

Form and meaning of every key: docs/policy.md. A policy is a product of plain fields (no conditions,
no expressions), so every refusal can name the one line that refused. Loading refuses what it does not
know, and limits that the declared sizes can never meet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from privsynth.documents import Document, build, identity, load_yaml, parse_yaml, plain
from privsynth.errors import PolicyError, RequestDenied
from privsynth.policy.check import refuse_todo, whole
from privsynth.policy.consent_rules import Consent, ConsentKind
from privsynth.policy.form import (
    BudgetLine,
    Data,
    Person,
    PolicyFile,
    Privacy,
    Purpose,
    Recipient,
    RoleLists,
    Source,
    Valid,
)
from privsynth.policy.gate_rules import Above, GateRules
from privsynth.policy.inherit import resolved
from privsynth.policy.mends import MENDS
from privsynth.policy.new_data import DISJOINT

__all__ = [
    "Above",
    "BudgetLine",
    "ConsentKind",
    "GateRules",
    "Policy",
    "PolicyFile",
    "Source",
    "load_policy",
    "parse_policy",
]


@dataclass(frozen=True, repr=False)
class Policy:
    """A loaded policy. Make one with :func:`load_policy`.

    Attributes:
        file: the validated contents.
        document: the same with line numbers, for messages.
        sha256: identity of the resolved policy: what it says, not how it is spelled or commented.
    """

    file: PolicyFile
    document: Document = field(compare=False)
    sha256: str

    def __repr__(self) -> str:
        return f"Policy({self.id!r}, version={self.version!r}, sha256={self.sha256[:12]!r})"

    @property
    def id(self) -> str:
        """The policy's name, by which a ledger knows it."""
        return self.file.id

    @property
    def version(self) -> str:
        """The owner's version of it."""
        return self.file.version

    @property
    def valid(self) -> Valid:
        """The days on which it may grant."""
        return self.file.valid

    @property
    def sources(self) -> Mapping[str, Source]:
        """The registered sources by name."""
        return self.file.sources

    @property
    def purposes(self) -> Mapping[str, Purpose]:
        """The purposes by name."""
        return self.file.purposes

    @property
    def recipients(self) -> Mapping[str, Recipient]:
        """The recipients by name."""
        return self.file.recipients

    @property
    def consent(self) -> Consent:
        """How a subject's agreement is known."""
        return self.file.consent

    @property
    def privacy(self) -> Privacy:
        """Filter, budgets and limits."""
        return self.file.privacy

    @property
    def data(self) -> Data:
        """Size limits."""
        return self.file.data

    @property
    def gate(self) -> GateRules:
        """What a release must pass."""
        return self.file.gate

    @property
    def publishes_transcript(self) -> bool:
        """Whether each release carries the transcript that its model was fitted to."""
        return self.file.release is not None and self.file.release.transcript == "published"

    @property
    def forbids_biometrics(self) -> bool:
        """Whether nothing may be used to tell who somebody is; so it is where the policy is silent."""
        rule = self.file.images
        return rule is None or rule.biometric_use != "allowed"

    @property
    def disjoint(self) -> bool:
        """Whether the ledger sees to it that nobody is in two populations."""
        rule = self.file.privacy.new_data
        return rule is not None and rule.population == DISJOINT

    @property
    def roles(self) -> RoleLists:
        """Which roles may do what."""
        return self.file.roles

    @property
    def people(self) -> Mapping[str, Person]:
        """Who holds which roles, by address."""
        return self.file.people

    def where(self, *path: str | int) -> str:
        """``file:line`` of the key at ``path`` (as spelled in the file), or of its nearest ancestor."""
        return self.document.where(*path)

    def source(self, name: str) -> Source:
        """The source registered as ``name``.

        Raises:
            RequestDenied: rule PS-SRC-001, if there is none.
        """
        found = self.sources.get(name)
        if found is None:
            raise RequestDenied(
                f"PS-SRC-001: source {name!r} is not registered in the policy",
                rules=["PS-SRC-001"],
                where=self.where("sources"),
                mend="name a registered source, or ask the policy's owner to register this one",
            )
        return found

    def to_json(self) -> dict[str, Any]:
        """The resolved policy as JSON values: every default written out, no comments, no lines."""
        return plain(self.file)


def load_policy(path: str | Path) -> Policy:
    """Read a policy file.

    Raises:
        PolicyError: anything that is not a whole, meaningful policy, with file:line and the mend.
    """
    return policy_of(load_yaml(path, error=PolicyError, kind="policy"))


def parse_policy(raw: bytes, *, path: str) -> Policy:
    """As :func:`load_policy`, from bytes; ``path`` is only for messages."""
    return policy_of(parse_yaml(raw, path=path, error=PolicyError))


def policy_of(document: Document) -> Policy:
    """As :func:`load_policy`, from values with their lines."""
    refuse_todo(document)
    document = resolved(document)
    if document.data.get("base") is True:
        raise PolicyError(
            "this is a base: other policies extend it, and nothing is asked of it",
            where=document.where("base"),
            mend="name a policy that extends it",
        )
    file = build(PolicyFile, document, error=PolicyError, mends=MENDS)
    for fault in whole(file):
        beside = "" if fault.beside is None else f" at {document.where(*fault.beside)}"
        raise PolicyError(f"{fault.what}{beside}", where=document.where(*fault.place), mend=fault.mend)
    return Policy(file=file, document=document, sha256=identity(plain(file)))
