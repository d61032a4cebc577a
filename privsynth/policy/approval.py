"""Approvals of a policy: detached signatures over its resolved hash, by distinct people with distinct keys.

Beside ``P.yaml`` lies the folder ``P.approvals``; each person adds one file, a signed envelope that names the policy,
its version, its hash, the hash of the policy that it replaces, the person and the day. A change of meaning changes the
hash, and no approval stands any more; nor does it where another policy is in use by now than the one that she compared.
Whose key is whose is said by a trust file, or by the policy that a ledger works by; never by an approval, nor by the
policy that is approved. The owner's own approval counts for nothing.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pydantic

from privsynth.documents import join, sha256
from privsynth.errors import ApprovalMissing, BundleError, PrivsynthError, UsageError
from privsynth.policy.document import Policy
from privsynth.policy.quorum import ROLE
from privsynth.signing import MOST_STATEMENTS, Personal, SigningKey, Trust, hear, person_key, same_person, say

PAYLOAD_TYPE = "application/vnd.privsynth.approval+json"
_PERSON = re.compile(r"[^@\s]{1,64}@[^@\s]{1,190}\Z")
_Sha256 = Annotated[str, pydantic.Field(pattern=r"^[0-9a-f]{64}$")]


class Approval(Personal):
    """What a person signs: this policy in the place of ``before``; null: of none that asked for approvals."""

    format: Annotated[Literal[1], pydantic.Field(alias="privsynth-approval")]
    policy: str
    version: str
    sha256: _Sha256
    before: _Sha256 | None


@dataclass(frozen=True)
class Given:
    """An approval that counts.

    Attributes:
        person: by her name in the trust file.
        keyid: of the key that she signed with.
        envelope: SHA-256 of the file.
        on: the day that she wrote.
    """

    person: str
    keyid: str
    envelope: str
    on: dt.date


@dataclass(frozen=True)
class Approvals:
    """Who has approved a policy.

    Attributes:
        given: the approvals that count, in order of their people; each person once, whatever keys she used.
        passed_over: (file, why) of each approval that does not count.
    """

    given: tuple[Given, ...] = ()
    passed_over: tuple[tuple[str, str], ...] = ()

    @property
    def people(self) -> tuple[str, ...]:
        """By their names in the trust file, sorted."""
        return tuple(one.person for one in self.given)

    def demand(self, people: int, *, policy: Policy) -> None:
        """Return if at least ``people`` have approved.

        Raises:
            ApprovalMissing: they have not.
        """
        if len(self.people) < people:
            raise ApprovalMissing(
                f"PS-APP-001: version {policy.version} of policy {policy.id} is approved by {len(self.people)} of "
                f"{people} people ({join(self.people) or 'nobody'})",
                rules=["PS-APP-001"],
                where=policy.document.path,
                mend=f"have another person run `privsynth policy approve {policy.document.path} --replaces BEFORE "
                "--key KEY --person ADDRESS` with a key of her own",
            )


def folder_of(path: str | Path) -> Path:
    """Where the approvals of the policy file at ``path`` lie: ``healthcare.approvals`` beside ``healthcare.yaml``."""
    return Path(path).with_suffix(".approvals")


def approve(policy: Policy, folder: Path, key: SigningKey, *, before: str | None, person: str, today: dt.date) -> Path:
    """Sign the resolved hash of ``policy`` as ``person`` and put the signature into ``folder``.

    Args:
        before: SHA-256 of the policy that it replaces: of the one that the ledger works by. None: no policy that asks
            for approvals was in use before.

    Returns:
        The new file: named by both hashes, the key and the day, so that two people never write the same one.

    Raises:
        UsageError: not an address, or that of the policy's owner; the policy replaces itself.
        StorageError: this key has approved this policy today already, or the folder cannot be written.
    """
    if not _PERSON.match(person):
        raise UsageError(f"{person!a} is not an address", where="--person", mend="for example k.ito@st-anna.example")
    if same_person(person, policy.file.owner):
        raise UsageError(
            f"{person} owns this policy, and nobody approves her own",
            where=policy.where("owner"),
            mend="have another person approve it",
        )
    if before == policy.sha256:
        raise UsageError(
            "it is the same policy as the one that it would replace",
            where=policy.document.path,
            mend="name the policy that the ledger works by now",
        )
    value = {
        "privsynth-approval": 1,
        "policy": policy.id,
        "version": policy.version,
        "sha256": policy.sha256,
        "before": before,
        "person": person,
        "on": today.isoformat(),
    }
    said = Approval.model_validate(value)
    over = "first" if before is None else before[:16]
    name = f"{policy.sha256[:16]}-{over}-{key.keyid[:16]}-{said.on}.json"
    return say(value, folder, name, key, payload_type=PAYLOAD_TYPE, there="approved already with this key")


def approvals(
    policy: Policy,
    folder: Path,
    trust: Trust,
    *,
    before: str | None,
    now: dt.datetime,
    excluded: Collection[str] = (),
) -> Approvals:
    """Who has approved this very policy, by keys that ``trust`` lists for the role ``policy``.

    Args:
        before: SHA-256 of the policy that it replaces, as of :func:`approve`; what was approved in the place of another
            one does not count.
        folder: ``folder_of`` the policy; one that is not there holds nothing.
        now: with a time zone; expired keys do not count.
        excluded: people whose approval does not count beside the owner's: who wrote the change, who asks for holds.
    """
    barred = (policy.file.owner, *excluded)
    given: dict[str, Given] = {}
    passed: list[tuple[str, str]] = []
    for path in sorted(folder.glob("*.json"))[:MOST_STATEMENTS]:
        try:
            one = _given(path, policy, trust, before=before, now=now)
        except PrivsynthError as fault:
            passed.append((path.name, fault.what))
            continue
        if any(same_person(one.person, other) for other in barred):
            passed.append((path.name, f"{one.person} may not approve this policy"))
        elif person_key(one.person) in given:
            passed.append((path.name, f"{one.person} has approved already"))
        else:
            given[person_key(one.person)] = one
    return Approvals(tuple(sorted(given.values(), key=lambda one: one.person)), tuple(passed))


def _given(path: Path, policy: Policy, trust: Trust, *, before: str | None, now: dt.datetime) -> Given:
    """What the file says, and who signed it: as the trust file names the key."""
    heard = hear(
        path,
        Approval,
        trust=trust,
        role=ROLE,
        payload_type=PAYLOAD_TYPE,
        kind="approval",
        now=now,
        mend="approve again",
    )
    said, where = heard.said, str(path)
    if said.sha256 != policy.sha256 or said.policy != policy.id:
        raise BundleError("of another policy, or of another state of this one", where=where, mend="approve again")
    if said.before != before:
        raise BundleError(
            f"given to replace {_named(said.before)}, and it would replace {_named(before)}",
            where=where,
            mend="read what would change now, and approve again",
        )
    return Given(heard.person, heard.keyid, sha256(heard.raw), heard.on)


def _named(before: str | None) -> str:
    return "none before it" if before is None else f"policy {before[:16]}"
