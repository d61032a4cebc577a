"""How a policy stands to a ledger: in use, free to be used, or still to be approved by people whom it did not name.

Every transaction that writes under a policy asks this first (:func:`accept`), so a policy that was replaced while a
process worked by it is found too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from privsynth.errors import ApprovalMissing
from privsynth.ledger.accepted import Accepted, deciding
from privsynth.ledger.log import Session
from privsynth.policy.ledger_asks import witness_key
from privsynth.policy.quorum import Quorum, quorum_of
from privsynth.signing import Cosigner

if TYPE_CHECKING:
    from privsynth.policy.approval import Approvals
    from privsynth.policy.document import Policy
    from privsynth.policy.request import RuleVerdict

RULE = "PS-APP-001"
_TOLD = 3


@dataclass(frozen=True)
class Standing:
    """How a policy stands to a ledger.

    Attributes:
        policy: that is to be worked by.
        accepted: what the ledger remembers; None: no policy that asks for approvals was ever accepted.
        quorum: who must agree; None: nobody.
        approvals: found beside the policy's file; empty where it is in use or nobody must agree.
    """

    policy: Policy
    accepted: Accepted | None
    quorum: Quorum | None
    approvals: Approvals

    @property
    def in_use(self) -> bool:
        """Whether the ledger works by this very policy."""
        return self.accepted is not None and self.accepted.sha256 == self.policy.sha256

    @property
    def free(self) -> bool:
        """Whether nothing is asked of it and nothing is noted: no rule of its own, and none in the ledger."""
        return self.quorum is None

    @property
    def verdict(self) -> RuleVerdict | None:
        """PS-APP-001, as ``plan`` shows it; None where nobody must agree."""
        from privsynth.policy.approval_asks import approval_verdict

        if self.quorum is None:
            return None
        own = self.accepted is None or self.accepted.quorum is None
        where = self.policy.where("approval", "policy change") if own else self._entry
        told = approval_verdict(
            self.quorum,
            self.approvals.people,
            where=where,
            path=self.policy.document.path,
            replaces="none" if self.accepted is None else self.accepted.sha256,
        )
        if self.in_use:
            return replace(told, allowed=True, what="the policy in use", where=self._entry, mend="")
        if self.accepted is not None and self.accepted.spent(self.policy.sha256):
            return replace(
                told,
                allowed=False,
                what="a policy that was in use before and was replaced: its approvals are spent",
                limit="the policy in use, or one that was not in use yet",
                mend="work by the policy in use; to go back, give this one a new `version` and have that approved",
            )
        return told

    @property
    def _entry(self) -> str:
        return "" if self.accepted is None else f"entry {self.accepted.entry} of the ledger"

    def missing(self) -> ApprovalMissing | None:
        """Why the ledger may not be worked with by this policy yet; None if it may."""
        found = self.verdict
        if found is None or found.allowed:
            return None
        own = self.policy.sha256[:16]  # approvals of other states lie there too, and nobody asks about them
        passed = [f"{name}: {why}" for name, why in self.approvals.passed_over if name.startswith(own)]
        more = f", and {len(passed) - _TOLD} more" if len(passed) > _TOLD else ""
        over = f" (not counted: {'; '.join(passed[:_TOLD])}{more})" if passed else ""
        return ApprovalMissing(
            f"{RULE}: version {self.policy.version} of policy {self.policy.id} may not be worked by yet: {found.what}; "
            f"needed: {found.limit}{over}",
            rules=[RULE],
            where=found.where,
            mend=found.mend,
        )


def standing(policy: Policy, accepted: Accepted | None, *, actor: str, now: datetime) -> Standing:
    """How ``policy`` stands to a ledger that accepted ``accepted`` last. Reads the approvals beside the policy's file.

    Args:
        actor: who would bring it into use.
        now: with a time zone.
    """
    from privsynth.policy.approval import Approvals, approvals, folder_of
    from privsynth.policy.approval_asks import barred_by

    quorum = deciding(accepted, quorum_of(policy.file))
    trust = None if quorum is None else quorum.trust()
    found = Standing(policy, accepted, quorum, Approvals())
    if quorum is None or trust is None or found.in_use:
        return found
    given = approvals(
        policy,
        folder_of(policy.document.path),
        trust,
        before=None if accepted is None else accepted.sha256,
        now=now,
        excluded=(quorum.owner, *barred_by(quorum, actor)),
    )
    return replace(found, approvals=given)


def accept(session: Session, policy: Policy) -> None:
    """Work by ``policy`` from here on: an entry ``policy`` if it is another one than before and somebody must agree.

    Raises:
        ApprovalMissing: people have yet to approve it, or it was replaced. Nothing is appended.
    """
    accepted = session.balance().accepted
    if accepted is not None and accepted.sha256 == policy.sha256:
        return
    found = standing(policy, accepted, actor=session.actor, now=session.now)
    refusal = found.missing()
    if refusal is not None:
        raise refusal
    if found.free:
        return
    own, watching = quorum_of(policy.file), witness_key(policy)
    approved = [{"person": g.person, "key": g.keyid, "envelope": g.envelope} for g in found.approvals.given]
    session.append(
        "policy",
        {
            "policy": policy.sha256,
            "version": policy.version,
            "before": None if accepted is None else accepted.sha256,
            "approved": approved,
            "rule": None if own is None else own.to_json(),
            **({} if watching is None else {"witness": watching}),
        },
    )
    session.balance()


def cosigner_of(session: Session, policy: Policy) -> Cosigner | None:
    """The witness that must have signed how long the ledger is; None: whoever is named, or nobody.

    It is the one that ``policy`` names. Where the ledger works by another policy, and people have yet to approve this
    one, it is the one that the other names: a file edited by somebody alone does not choose who remembers.
    """
    line, accepted = witness_key(policy), session.balance().accepted
    if accepted is not None and accepted.sha256 != policy.sha256 and accepted.witness != line:
        found = standing(policy, accepted, actor=session.actor, now=session.now)
        line = line if found.missing() is None else accepted.witness
    return None if line is None else Cosigner.read(line)
