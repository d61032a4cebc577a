"""For a leaf that is looser in one policy than in another: a concrete request that the tighter one denies.

Requests at the leaf's new value (``boundary``) are put to both policies; what is reported is what they said.
"""

from __future__ import annotations

from dataclasses import dataclass

from privsynth.policy.asks import Ask, answer
from privsynth.policy.boundary import requests_at
from privsynth.policy.document import Policy
from privsynth.policy.leaves import Leaf
from privsynth.policy.request import RuleVerdict


@dataclass(frozen=True)
class Witness:
    """A request that a looser leaf lets through.

    Attributes:
        ask: what is asked.
        denied: the verdicts of the tighter policy that denied and that the looser one reverses.
        allowed: whether the looser policy allows the whole request; else other lines of it still deny.
        still: the rules of the looser policy that deny yet.
    """

    ask: Ask
    denied: tuple[RuleVerdict, ...]
    allowed: bool
    still: tuple[RuleVerdict, ...]


def witness(tight: Policy, loose: Policy, leaf: Leaf) -> Witness | None:
    """A request that shows that ``loose`` is looser at this leaf; None if none was found.

    Args:
        leaf: of either policy, at a path where ``loose`` allows more.
    """
    best: Witness | None = None
    for ask in requests_at(tight, loose, leaf.path):
        before, after = answer(ask, tight), answer(ask, loose)
        passing = {_place(v) for v in after.verdicts if v.allowed}
        refusing = {v.id for v in after.refusing}
        turned = tuple(v for v in before.refusing if v.id not in refusing or _place(v) in passing)
        if not turned or before.allowed:
            continue
        found = Witness(ask, turned, after.allowed, after.refusing)
        if found.allowed:
            return found
        best = best or found
    return best


def _place(verdict: RuleVerdict) -> tuple[str, str]:
    return verdict.id, verdict.what
