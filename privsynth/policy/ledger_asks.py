"""What can be asked of a policy about its ledger: whether it may be worked with where nobody remembers it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from privsynth.policy.request import Decision, RuleVerdict

if TYPE_CHECKING:
    from privsynth.policy.document import Policy


@dataclass(frozen=True, kw_only=True)
class OpenAsk:
    """The ledger is to be opened, made or restored, with a witness or without one."""

    witness: bool = False


def on_open(ask: OpenAsk, policy: Policy) -> Decision:
    """Whether that may be."""
    rule = policy.file.ledger
    required = rule is not None and rule.witness == "required"
    return Decision(
        (
            RuleVerdict(
                "PS-LED-001",
                ask.witness or not required,
                "a ledger " + ("whose witness is named" if ask.witness else "of which no witness is named"),
                policy.where("ledger", "witness"),
                "required" if required else "optional",
                "name who remembers how long it was: --witness, `ledger: {at: ..., witness: ...}` in a study, or "
                "`witness=` (docs/ledger.md)",
            ),
        )
    )
