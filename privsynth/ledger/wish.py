"""What is asked of a ledger: one hold, or several that are sold together, all or none (a plan)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from privsynth.documents import join
from privsynth.errors import UsageError
from privsynth.ledger.terms import Terms, one_line, terms_of

if TYPE_CHECKING:
    from privsynth.policy.document import ConsentKind, Policy
    from privsynth.privacy.priced import Priced

MOST = 1000
"""The most holds of a plan."""
_NAMED = 3


@dataclass(frozen=True)
class Wish:
    """One hold of a plan, as ``Ledger.reserve`` takes it.

    Attributes:
        recipe: what will be fitted, with its budget.
        purpose, recipient: as named in the policy.
        request: an id of the caller's choice, by which the hold is found again.
        consent: how the subjects' agreement will be read; None: as the policy asks.
    """

    recipe: Priced
    purpose: str
    recipient: str
    request: str
    consent: ConsentKind | None = None

    def asked(self, policy: Policy, *, actor: str) -> Asked:
        """The same as a ledger decides it.

        Raises:
            UsageError: a name, or the request id, that is not one line of text.
        """
        use = {"purpose": self.purpose, "recipient": self.recipient}
        terms = terms_of(self.recipe, policy, **use, actor=actor, consent=self.consent)
        return Asked(self.recipe, terms, one_line(self.request, name="request"))


@dataclass(frozen=True)
class Asked:
    """A request for a hold as it is decided; the recipe has a word of its own."""

    recipe: Priced
    terms: Terms
    request: str


def check_plan(wishes: Sequence[Wish]) -> None:
    """Refuse what is no plan.

    Raises:
        UsageError: no wish, more than ``MOST``, or two with one request id.
    """
    if not 0 < len(wishes) <= MOST:
        raise UsageError(f"a plan has 1 to {MOST} holds, not {len(wishes)}", where="plan", mend="name them")
    requests = [wish.request for wish in wishes]
    twice = sorted({str(request) for request in requests if requests.count(request) > 1})
    if twice:
        raise UsageError(
            f"several holds of the plan have one request id: {some(twice)}",
            where="plan",
            mend="give each an id of its own (in a study file: `request: q1-2027`)",
        )


def some(parts: Sequence[str]) -> str:
    """``a, b and c``; of more than these ``a, b, c and 997 more``: a plan may have many items."""
    more = [f"{len(parts) - _NAMED} more"] if len(parts) > _NAMED else []
    return join([*parts[:_NAMED], *more])


def of_item(place: int, wishes: Sequence[Asked]) -> str:
    """An item of a plan in words; ``place`` counts from 0."""
    return f"item {place + 1} of {len(wishes)} (request {wishes[place].request!r})"
