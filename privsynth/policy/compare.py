"""Two policies, leaf by leaf: tighter, looser, the same, or not to be compared; and what a looser leaf lets through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from privsynth.policy.directions import ABSENT, Order
from privsynth.policy.document import Policy
from privsynth.policy.leaves import NAMES, Leaf, leaves
from privsynth.policy.witness import Witness, witness
from privsynth.signing import same_person


@dataclass(frozen=True)
class Change:
    """One leaf that differs.

    Attributes:
        leaf: which, as in the policy that states it (the later one where both do).
        order: how the later value stands to the earlier one.
        before, after: the values; ``ABSENT`` where a policy does not state it.
        where_before, where_after: ``file:line``.
        witness: for a leaf that is not tighter: a request that was denied and is now allowed; None if none shows it.
    """

    leaf: Leaf
    order: Order
    before: Any
    after: Any
    where_before: str
    where_after: str
    witness: Witness | None

    @property
    def loosens(self) -> bool:
        """Whether people must approve it: looser, or not to be compared."""
        return self.order in ("looser", "incomparable")


def compare(before: Policy, after: Policy, *, show: bool = True) -> tuple[Change, ...]:
    """Every leaf in which ``after`` differs from ``before``, in the order of the form.

    Args:
        show: look for a request that shows each looser leaf; takes some tenths of a second for a budget.
    """
    old, new = leaves(before.file), leaves(after.file)
    out = []
    for path in dict.fromkeys((*new, *old)):
        was, now = old.get(path), new.get(path)
        leaf = now or was
        if leaf is None or _under_a_name_of_one(path, old, new):
            continue
        order = leaf.direction.order(ABSENT if was is None else was.value, ABSENT if now is None else now.value)
        if path == ("id",) and before.id != after.id:
            order = "incomparable"  # another id opens another ledger, of which nothing is spent
        if path == ("owner",) and not same_person(before.file.owner, after.file.owner):
            order = "incomparable"  # the owner never approves: under another one somebody may who might not
        if order == "same":
            continue
        loosens = order in ("looser", "incomparable")
        out.append(
            Change(
                leaf=leaf,
                order=order,
                before=ABSENT if was is None else was.value,
                after=ABSENT if now is None else now.value,
                where_before=before.where(*(was or leaf).place),
                where_after=after.where(*(now or leaf).place),
                witness=witness(before, after, leaf) if loosens and show else None,
            )
        )
    return tuple(out)


def _under_a_name_of_one(path: tuple[str, ...], old: Mapping[Any, Leaf], new: Mapping[Any, Leaf]) -> bool:
    """Whether the leaf stands under a name that only one policy registers: the name itself is the difference."""
    for depth in range(1, len(path)):
        names = (*path[:depth], NAMES)
        if names in old and names in new and path[depth] != NAMES:
            held = path[depth] in old[names].value, path[depth] in new[names].value
            if held != (True, True):
                return True
    return False
