"""What can be asked of a policy about pictures: whether a release may leave whose pictures carry these marks, with the
term of use or without."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from privsynth.documents import join
from privsynth.policy.request import Decision, RuleVerdict

if TYPE_CHECKING:
    from privsynth.policy.document import Policy


@dataclass(frozen=True, kw_only=True)
class MarkedAsk:
    """A release whose pictures each say by these marks that they are synthetic: ``iptc``, ``c2pa``.

    ``term``: each says too that biometric use is forbidden, where the policy states that."""

    marks: tuple[str, ...] = ()
    term: bool = True


def on_marked(ask: MarkedAsk, policy: Policy) -> Decision:
    """Whether these are enough."""
    rule = policy.file.images
    asked = () if rule is None else rule.mark_synthetic or ()
    stated = rule is not None and rule.biometric_use == "forbidden"
    missing = [mark for mark in asked if mark not in ask.marks]
    return Decision(
        (
            RuleVerdict(
                "PS-IMG-002",
                not missing,
                f"pictures marked as synthetic by {join(ask.marks) or 'nothing'}",
                policy.where("images", "mark synthetic"),
                f"at least {join(asked)}" if asked else "no mark is asked for",
                "let the run sign each picture, in a study `sign: {key: ..., c2pa: {certificate: ..., key: ...}}` "
                "(docs/guide-pictures.md)",
            ),
            RuleVerdict(
                "PS-IMG-003",
                ask.term or not stated,
                f"pictures {'with' if ask.term else 'without'} the term of use",
                policy.where("images", "biometric use"),
                "each says that biometric use is forbidden" if stated else "no term is stated",
                "release by `privsynth run` or `approved.release(...)`: each picture says it",
            ),
        )
    )
