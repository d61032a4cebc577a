"""New data about people of whom something was released before: whoever one population has met is nobody's else.

Under ``new data: {population: disjoint-subjects-only}`` each subject belongs to the population whose split met her
first, once and for ever; the splits of all others leave her out, in silence. So a new population opens a new budget
for new people only. Who was met is known by her id alone: a table in which each row is a subject by itself has none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from privsynth.errors import RequestDenied
from privsynth.policy.directions import Ladder
from privsynth.policy.words import Part

if TYPE_CHECKING:
    from privsynth.policy.document import Policy

PLACE = ("privacy", "new data", "population")
DISJOINT = "disjoint-subjects-only"


class NewData(Part):
    """``population: disjoint-subjects-only``: the ledger sees to it that nobody is in two populations. ``as-declared``:
    that nobody is, is what the owner of the policy declares."""

    population: Annotated[
        Literal["disjoint-subjects-only", "as-declared"],
        Ladder(("disjoint-subjects-only", "as-declared"), absent="as-declared"),
    ]


def unknown_again(policy: Policy) -> RequestDenied:
    """Why a table without a subject column is not taken where populations are kept apart (PS-SRC-006)."""
    return RequestDenied(
        "PS-SRC-006: in this schema each row is a subject by itself, so nobody in it could be known again in another "
        "population",
        rules=["PS-SRC-006"],
        where=policy.where(*PLACE),
        mend="name in the schema the column that holds each person's id, `subject: {column: ...}`; or put this data "
        "under a policy, and a ledger, that ask for no disjoint populations",
    )
