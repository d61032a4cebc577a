"""What a fit bought before its training, kept beside the training's state: a fit that was cut off goes on with it.

For every recipe that trains privately: statistics or tables are bought first, then noisy steps are leased.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from privsynth.data.records import Train
from privsynth.documents import canonical
from privsynth.errors import HoldError
from privsynth.ledger.store import Hold

if TYPE_CHECKING:
    from torch import Tensor

    from privsynth.privacy.dpsgd import Checkpoints, Plan

_BOUGHT, _HOLD, _PLAN = "bought", "hold", "plan"


@dataclass(frozen=True)
class Beside:
    """Checkpoints that keep what was bought before the training beside the training's state, from step 0.

    Attributes:
        held: where they are kept.
        bought: (bytes,) the transcript of what was bought.
        hold: (bytes,) id of the hold that paid.
        plan: (bytes,) the noisy steps that it pays for.
    """

    held: Checkpoints
    bought: Tensor
    hold: Tensor
    plan: Tensor

    def save(self, step: int, tensors: Mapping[str, Tensor]) -> None:
        """See :class:`privsynth.privacy.dpsgd.plan.Checkpoints`."""
        self.held.save(step, {**tensors, _BOUGHT: self.bought, _HOLD: self.hold, _PLAN: self.plan})

    def newest(self) -> tuple[int, Mapping[str, Tensor]] | None:
        """See :class:`privsynth.privacy.dpsgd.plan.Checkpoints`; none before the first noisy step."""
        found = self.held.newest()
        if found is None or found[0] == 0:
            return None
        return found[0], {name: tensor for name, tensor in found[1].items() if name not in (_BOUGHT, _HOLD, _PLAN)}

    def clear(self) -> None:
        """See :class:`privsynth.privacy.dpsgd.plan.Checkpoints`."""
        self.held.clear()


def open_fit(recipe: str, train: Train, hold: Hold) -> None:
    """Record that the fit of the recipe with this identity begins.

    Raises:
        HoldError: as of ``Hold.open_fit``.
    """
    hold.open_fit(
        recipe=recipe,
        source=train.source,
        purpose=train.purpose,
        recipient=train.recipient,
        benchmark=train.benchmark,
    )


def kept(bought: bytes, checkpoints: Checkpoints | None, hold: Hold, *, plan: Plan) -> Beside | None:
    """Where the training's state is kept from now on, with what was bought and ``plan``, durably; None: nowhere."""
    if checkpoints is None:
        return None
    made = Beside(checkpoints, _tensor(bought), _tensor(hold.id.encode()), _tensor(canonical(plan.to_json())))
    made.save(0, {})
    return made


def begun(
    recipe: str, train: Train, hold: Hold, *, plan: Plan, checkpoints: Checkpoints | None
) -> tuple[bytes, Beside] | None:
    """What a fit of this hold that was cut off had bought, and its checkpoints; None where none was begun.

    What ``open_fit`` asked before the fit was cut off is asked again of what it would go on with. Of the rows
    themselves: :func:`privsynth.generators.base.check_rows` has asked for policy, coins and contribution, so
    nobody who is held out is among them. That they are those of the first process is not checked, for nothing of them
    is kept that could tell: rows that were read anew may differ. It costs no subject more, for what was bought of hers
    before and each step since are priced one by one, whatever others are there. Steps of two plans would have no price:
    defaults may differ between versions.

    Args:
        recipe: identity of the recipe that would go on.
        plan: of the steps that it would take.

    Raises:
        HoldError: another hold, recipe, source, purpose, recipient or plan, or one of the two is a benchmark and not
            both.
    """
    newest = None if checkpoints is None else checkpoints.newest()
    if checkpoints is None or newest is None:
        return None
    bought, paid, planned = (newest[1].get(name) for name in (_BOUGHT, _HOLD, _PLAN))
    asked = (recipe, train.source, train.purpose, train.recipient)
    if bought is None or paid is None or planned is None or paid.numpy().tobytes() != hold.id.encode():
        raise another_fit()
    if (hold.recipe, hold.source, hold.purpose, hold.recipient) != asked:
        raise another_fit()
    if hold.benchmark != train.benchmark:
        first, given = ("Split.benchmark's", "a split's") if hold.benchmark else ("a split's", "Split.benchmark's")
        raise HoldError(f"the fit was begun with {first} rows, and these are {given}", mend="pass what it began with")
    if planned.numpy().tobytes() != canonical(plan.to_json()):
        raise HoldError(
            "the fit was begun with other noisy steps than this version plans for it",
            mend="go on with the version that began it",
        )
    return bought.numpy().tobytes(), Beside(checkpoints, bought, paid, planned)


def another_fit() -> HoldError:
    """Checkpoints that are not this fit's."""
    return HoldError("these checkpoints are of another fit", mend="one place for each hold")


def _tensor(raw: bytes) -> Tensor:
    import torch

    return torch.frombuffer(bytearray(raw), dtype=torch.uint8)
