"""Who must agree to a change of a policy: so many distinct people, each with a key of her own and a role that counts.

A quorum is taken from one policy and asked about another: from the policy that a ledger works by, about the one that is
to come after it. Keys in an edited file therefore never vouch for that file. Who the owners are is no question of keys:
the owner of neither policy counts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from privsynth.signing import Trust, TrustedKey, person_key, same_person

if TYPE_CHECKING:
    from privsynth.policy.form import PolicyFile

ROLE = "policy"
"""What a key must be trusted for to approve policies."""


@dataclass(frozen=True)
class Approver:
    """Somebody who may approve: her address, her public key on one line, and the roles that she holds."""

    person: str
    key: str
    roles: tuple[str, ...]


@dataclass(frozen=True)
class Quorum:
    """The rule of one policy about the next.

    Attributes:
        people: how many distinct people must approve.
        not_author: whether somebody who brings a change into use counts for nothing in it.
        owner: of the policy that states the rule; she never counts.
        approvers: whose approval counts, in the order of the policy. No two have one key.
    """

    people: int
    not_author: bool
    owner: str
    approvers: tuple[Approver, ...]

    def counts(self, person: str, key: str | None = None, *, barred: Collection[str] = ()) -> bool:
        """Whether her approval counts.

        Args:
            key: that she signed with; None: her own.
            barred: who else counts for nothing.
        """
        found = [one for one in self.approvers if same_person(one.person, person)]
        out = any(same_person(person, other) for other in (self.owner, *barred))
        return bool(found) and not out and key in (None, found[0].key)

    def met_by(self, people: Collection[str]) -> bool:
        """Whether approvals by these people, who signed with their own keys, are enough."""
        return len({person_key(person) for person in people if self.counts(person)}) >= self.people

    def trust(self) -> Trust | None:
        """The keys whose signatures count; None where there is no key."""
        keys = [TrustedKey.of_line(one.key, name=one.person, roles=(ROLE,)) for one in self.approvers]
        return Trust.of(*keys) if keys else None

    def to_json(self) -> dict[str, Any]:
        """As JSON values: all public."""
        return {
            "people": self.people,
            "not author": self.not_author,
            "owner": self.owner,
            "approvers": [{"person": a.person, "key": a.key, "roles": list(a.roles)} for a in self.approvers],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Quorum:
        """What :meth:`to_json` wrote; KeyError, TypeError or ValueError for anything else."""
        people, not_author, owner = value["people"], value["not author"], value["owner"]
        if isinstance(people, bool) or not isinstance(people, int) or people < 1 or not isinstance(not_author, bool):
            raise ValueError("people")
        approvers = tuple(
            Approver(str(one["person"]), str(one["key"]), tuple(str(role) for role in one["roles"]))
            for one in value["approvers"]
        )
        return cls(people, not_author, str(owner), approvers)


def quorum_of(file: PolicyFile) -> Quorum | None:
    """Who must agree to a change of this policy; None where it does not say that anybody must."""
    rule = None if file.approval is None else file.approval.policy_change
    if rule is None:
        return None
    approvers = tuple(
        Approver(address, person.key, person.roles)
        for address, person in file.people.items()
        if person.key is not None
        and (rule.roles is None or not set(rule.roles).isdisjoint(person.roles))
        and not same_person(address, file.owner)
    )
    return Quorum(rule.people, bool(rule.not_author), file.owner, approvers)


def least_people(file: PolicyFile) -> int:
    """How many people must approve this policy by its own rule; 2 where it has none, for one alone is no approval."""
    quorum = quorum_of(file)
    return 2 if quorum is None else quorum.people
