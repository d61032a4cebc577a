"""What can be asked of a policy about agreement: whether these approvals carry a change, or these signatures a release.

No files: approvals are named by the people who give them. The ledger counts real ones by the same quorum.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from privsynth.documents import join
from privsynth.policy.document import Policy
from privsynth.policy.quorum import Quorum, quorum_of
from privsynth.policy.request import Decision, RuleVerdict
from privsynth.signing import person_key, same_person


@dataclass(frozen=True, kw_only=True)
class ChangeAsk:
    """Another policy is to follow this one, approved by these people and brought into use by somebody.

    ``keys``: who of them signed with another key than the one that this policy names, and with which.
    """

    approved_by: tuple[str, ...] = ()
    brought_by: str = ""
    keys: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SignedAsk:
    """A release that so many distinct people have signed."""

    people: int = 1


def on_change(ask: ChangeAsk, policy: Policy) -> Decision:
    """Whether enough of these people count."""
    quorum = quorum_of(policy.file)
    barred = barred_by(quorum, ask.brought_by)
    counted = () if quorum is None else tuple(
        dict.fromkeys(person_key(p) for p in ask.approved_by if quorum.counts(p, ask.keys.get(p), barred=barred))
    )  # fmt: skip
    return Decision((approval_verdict(quorum, counted, where=policy.where("approval", "policy change")),))


def on_signed(ask: SignedAsk, policy: Policy) -> Decision:
    """Whether so many signatures are enough."""
    needed = needed_signatures(policy)
    return Decision(
        (
            RuleVerdict(
                "PS-APP-002",
                ask.people >= needed,
                f"a release signed by {ask.people} {'person' if ask.people == 1 else 'people'}",
                policy.where("approval", "release", "people"),
                f"at least {needed}",
                "have another person sign it: `privsynth sign --add`",
            ),
        )
    )


def changes_at(tight: Policy, loose: Policy, path: Sequence[str]) -> Iterator[ChangeAsk]:
    """Changes that carry under ``loose`` and, if anything about agreement is tighter in it, not under ``tight``."""
    asked, left = quorum_of(tight.file), quorum_of(loose.file)
    if asked is None:
        return
    own = [one.person for one in asked.approvers]
    if left is None:
        yield ChangeAsk(approved_by=tuple(own[: asked.people - 1]))
        return
    both = [person for person in own if left.counts(person)]
    yield ChangeAsk(approved_by=tuple(both[: left.people]))
    yield ChangeAsk(approved_by=tuple(both[: left.people]), brought_by=both[0] if both else "")
    for one in left.approvers:
        if not asked.counts(one.person, one.key):
            others = [person for person in both if not same_person(person, one.person)][: left.people - 1]
            keys = {one.person: one.key} if asked.counts(one.person) else {}
            yield ChangeAsk(approved_by=(*others, one.person), keys=keys)


def needed_signatures(policy: Policy) -> int:
    """How many distinct people must sign a release."""
    rule = policy.file.approval
    return 1 if rule is None or rule.release is None else rule.release.people


def barred_by(quorum: Quorum | None, *brought_by: str) -> tuple[str, ...]:
    """Who of those that bring a change into use counts for nothing in it."""
    return brought_by if quorum is not None and quorum.not_author else ()


def approval_verdict(
    quorum: Quorum | None, counted: Collection[str], *, where: str, path: str = "POLICY", replaces: str = "BEFORE"
) -> RuleVerdict:
    """PS-APP-001: whether a change is approved by enough people.

    Args:
        quorum: who must agree; None: nobody.
        counted: whose approvals count, each person once.
        where: the line that asks for them, or the ledger that remembers it.
        path: of the policy that is to be approved.
        replaces: the policy whose place it takes, as `privsynth policy approve` is told.
    """
    if quorum is None:
        return RuleVerdict("PS-APP-001", True, "a change of the policy", where, "nobody must approve it", "")
    missing = [a.person for a in quorum.approvers if not any(same_person(a.person, p) for p in counted)]
    given = f"approved by {join(sorted(counted)) or 'nobody'}"
    short = max(0, quorum.people - len(counted))
    if short:
        given += f"; {short} missing"
    return RuleVerdict(
        "PS-APP-001",
        not short,
        f"a change of the policy, {given}",
        where,
        f"{quorum.people} distinct people who count",
        f"have {short} more of {join(missing) or 'nobody'} run "
        f"`privsynth policy approve {path} --replaces {replaces} --key KEY --person ADDRESS`"
        if short
        else "",
    )
