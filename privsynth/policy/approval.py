"""Approvals of a policy: detached signatures over its resolved hash, by distinct people with distinct keys.

Beside ``P.yaml`` lies the folder ``P.approvals``; each person adds one file, a signed envelope that names the policy,
its version, its hash, the person and the day. A change of meaning changes the hash, and no approval stands any more.
Whose key is whose is said by a trust file, never by an approval; the owner's own approval counts for nothing.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pydantic

from privsynth.documents import Strict, canonical, plain, read_bytes
from privsynth.errors import ApprovalMissing, BundleError, PrivsynthError, StorageError, UsageError
from privsynth.policy.document import Policy
from privsynth.signing import MAX_ENVELOPE, SigningKey, Trust, parse_canonical, shaped, sign_envelope, verify_envelope

ROLE = "policy"
"""What a key must be trusted for, in the trust file."""
PAYLOAD_TYPE = "application/vnd.privsynth.approval+json"
MOST = 1000
_PERSON = re.compile(r"[^@\s]{1,64}@[^@\s]{1,190}\Z")


class Approval(Strict):
    """What a person signs."""

    format: Annotated[Literal[1], pydantic.Field(alias="privsynth-approval")]
    policy: str
    version: str
    sha256: Annotated[str, pydantic.Field(pattern=r"^[0-9a-f]{64}$")]
    person: Annotated[str, pydantic.Field(max_length=256)]
    on: Annotated[str, pydantic.Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]


@dataclass(frozen=True)
class Approvals:
    """Who has approved a policy.

    Attributes:
        people: by their names in the trust file, sorted; each once, whatever keys they used.
        passed_over: (file, why) of each approval that does not count.
    """

    people: tuple[str, ...]
    passed_over: tuple[tuple[str, str], ...]

    def demand(self, people: int, *, policy: Policy) -> None:
        """Return if at least ``people`` have approved.

        Raises:
            ApprovalMissing: they have not.
        """
        if len(self.people) < people:
            raise ApprovalMissing(
                f"version {policy.version} of policy {policy.id} is approved by {len(self.people)} of {people} people",
                where=policy.document.path,
                mend="have another person run `privsynth policy approve` with a key of her own",
            )


def folder_of(path: str | Path) -> Path:
    """Where the approvals of the policy file at ``path`` lie: ``healthcare.approvals`` beside ``healthcare.yaml``."""
    return Path(path).with_suffix(".approvals")


def approve(policy: Policy, folder: Path, key: SigningKey, *, person: str, today: dt.date) -> Path:
    """Sign the resolved hash of ``policy`` as ``person`` and put the signature into ``folder``.

    Returns:
        The new file: named by the hash and the key, so that two people never write the same one.

    Raises:
        UsageError: not an address, or that of the policy's owner.
        StorageError: this key has approved this policy already, or the folder cannot be written.
    """
    if not _PERSON.match(person):
        raise UsageError(f"{person!a} is not an address", where="--person", mend="for example k.ito@st-anna.example")
    if _same(person, policy.file.owner):
        raise UsageError(
            f"{person} owns this policy, and nobody approves her own",
            where=policy.where("owner"),
            mend="have another person approve it",
        )
    said = Approval.model_validate(
        {
            "privsynth-approval": 1,
            "policy": policy.id,
            "version": policy.version,
            "sha256": policy.sha256,
            "person": person,
            "on": today.isoformat(),
        }
    )
    path = folder / f"{policy.sha256[:16]}-{key.keyid[:16]}.json"
    raw = sign_envelope(PAYLOAD_TYPE, canonical(plain(said)), key)
    try:
        folder.mkdir(exist_ok=True)
        with path.open("xb") as file:
            file.write(raw)
    except FileExistsError:
        mend = "nothing is to be done; another person needs a key of her own"
        raise StorageError("approved already with this key", where=str(path), mend=mend) from None
    except OSError as fault:
        raise StorageError(f"cannot be written ({fault.strerror})", where=str(path), mend="check the folder") from None
    return path


def approvals(
    policy: Policy, folder: Path, trust: Trust, *, now: dt.datetime, excluded: Collection[str] = ()
) -> Approvals:
    """Who has approved this very policy, by keys that ``trust`` lists for the role ``policy``.

    Args:
        folder: ``folder_of`` the policy; one that is not there holds nothing.
        now: with a time zone; expired keys do not count.
        excluded: people whose approval does not count beside the owner's: who wrote the change, who asks for holds.
    """
    barred = (policy.file.owner, *excluded)
    people: set[str] = set()
    passed: list[tuple[str, str]] = []
    for path in sorted(folder.glob("*.json"))[:MOST]:
        try:
            person = _person(path, policy, trust, now=now)
        except PrivsynthError as fault:
            passed.append((path.name, fault.what))
            continue
        if any(_same(person, other) for other in barred):
            passed.append((path.name, f"{person} may not approve this policy"))
        elif any(_same(person, other) for other in people):
            passed.append((path.name, f"{person} has approved already"))
        else:
            people.add(person)
    return Approvals(tuple(sorted(people)), tuple(passed))


def _person(path: Path, policy: Policy, trust: Trust, *, now: dt.datetime) -> str:
    """Who signed: as the trust file names the key."""
    where = str(path)
    raw = read_bytes(path, error=BundleError, kind="approval", limit=MAX_ENVELOPE)
    one = Trust.of(*trust.keys)
    opened = verify_envelope(raw, one, payload_type=PAYLOAD_TYPE, role=ROLE, now=now, where=where)
    data = parse_canonical(opened.payload, where=where)
    said = shaped(Approval, data, error=BundleError, where=where, mend="approve again")
    if said.sha256 != policy.sha256 or said.policy != policy.id:
        raise BundleError("of another policy, or of another state of this one", where=where, mend="approve again")
    if len(opened.signers) != 1 or not _same(opened.signers[0], said.person):
        raise BundleError(
            "the trust file knows the key under another name than the approval says", where=where, mend="approve again"
        )
    return opened.signers[0]


def _same(one: str, other: str) -> bool:
    return one.casefold() == other.casefold()
