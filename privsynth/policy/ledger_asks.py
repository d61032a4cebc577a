"""What can be asked of a policy about its ledger: whether it may be worked with where nobody remembers it, and whose
signature shows that somebody does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from privsynth.policy.request import Decision, RuleVerdict

if TYPE_CHECKING:
    from privsynth.policy.document import Policy

COSIGNED = "PS-LED-002"


@dataclass(frozen=True, kw_only=True)
class OpenAsk:
    """The ledger is to be opened, made or restored, with a witness or without one. ``cosigned_by``: the key with which
    that witness has signed how long the ledger is, on one line; empty: with none."""

    witness: bool = False
    cosigned_by: str = ""


def on_open(ask: OpenAsk, policy: Policy) -> Decision:
    """Whether that may be."""
    key = witness_key(policy)
    return Decision(
        (
            *on_named(policy, witness=ask.witness).verdicts,
            RuleVerdict(
                COSIGNED,
                key in (None, ask.cosigned_by),
                f"a ledger of which {'another' if ask.cosigned_by else 'no'} witness has signed how long it is"
                if key != ask.cosigned_by
                else "a ledger of which the witness has signed how long it is",
                policy.where("ledger", "witness key"),
                key or "any",
                "name the witness whose key this is (docs/witness.md)",
            ),
        )
    )


def on_named(policy: Policy, *, witness: bool) -> Decision:
    """Whether the ledger may be asked for, before any witness was asked."""
    rule = policy.file.ledger
    required = rule is not None and rule.witness == "required"
    return Decision(
        (
            RuleVerdict(
                "PS-LED-001",
                witness or not required,
                "a ledger " + ("whose witness is named" if witness else "of which no witness is named"),
                policy.where("ledger", "witness"),
                "required" if required else "optional",
                "name who remembers how long it was: --witness, `ledger: {at: ..., witness: ...}` in a study, or "
                "`witness=` (docs/ledger.md)",
            ),
        )
    )


def witness_key(policy: Policy) -> str | None:
    """The key of the witness that must have signed, on one line; None: any witness will do."""
    return None if policy.file.ledger is None else policy.file.ledger.witness_key
