"""What can be asked of a policy about the road of a release: whether it may leave as it is, or only encrypted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from privsynth.policy.request import Decision, RuleVerdict

if TYPE_CHECKING:
    from privsynth.policy.document import Policy


@dataclass(frozen=True, kw_only=True)
class LeaveAsk:
    """A release is to leave for a recipient: encrypted to a key, or in the clear."""

    recipient: str
    sealed_to: str | None = None


def on_leave(ask: LeaveAsk, policy: Policy) -> Decision:
    """Whether it may leave so: sealed to the key that the policy names for the recipient, where it names one."""
    rule = policy.recipients.get(ask.recipient)
    key = None if rule is None else rule.key
    how = "in the clear" if ask.sealed_to is None else f"sealed to {ask.sealed_to}"
    return Decision(
        (
            RuleVerdict(
                "PS-REC-004",
                rule is not None and key in (None, ask.sealed_to),
                f"a release for {ask.recipient!r} that leaves {how}",
                policy.where("recipients", ask.recipient, "key"),
                "the recipient is not registered" if rule is None else "no key is named" if key is None else key,
                "seal it: `privsynth run` does, `privsynth seal`, or `signed.seal(...)`",
            ),
        )
    )
