"""Which recipe for pictures: by device, declared sizes and the signal that they predict, before any data are read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from privsynth.data.schema import Schema
from privsynth.errors import BudgetError
from privsynth.generators.images.statistics import ImageStatistics
from privsynth.privacy.accountant import share_out
from privsynth.privacy.budget import Budget

if TYPE_CHECKING:
    from privsynth.generators.images.diffusion import ImageDiffusion

ENOUGH = 9.0
"""Of signal, for a network to be worth its money: that of about 20,000 subjects at ε = 2 and half a million numbers."""
GATE = 0.1
"""Of μ², as policies usually leave it to the gate."""


def Images(
    schema: Schema,
    budget: Budget,
    *,
    subjects: int | None = None,
    by: tuple[str, ...] = (),
    device: str | None = None,
) -> ImageStatistics | ImageDiffusion:
    """The recipe for rows that carry one picture that fits size, budget and machine; its ``chosen`` says why.

    A network is chosen only where all clipped gradients of its training can stand :data:`ENOUGH` times out of their
    noise, and where there is a GPU. Nothing is read: the choice is a function of public figures, and both recipes can
    be named instead.

    Args:
        subjects: as the policy declares them; None: a network is never chosen.
        by: the columns that pictures depend on.
        device: ``cpu`` or ``cuda``; by default what is here.

    Raises:
        SchemaError, BudgetError: as of the recipes.
    """
    statistics = ImageStatistics(schema, budget, by=by)
    if subjects is None:
        return replace(statistics, chosen="statistics: without `subjects` no network's signal can be predicted")
    import torch

    from privsynth.generators.images.diffusion import ImageDiffusion
    from privsynth.generators.images.signal import signal

    here = device or ("cuda" if torch.cuda.is_available() else "cpu")
    network = ImageDiffusion(schema, budget, by=by, device=here)
    try:
        prices = share_out(budget, gate_share=GATE, selects=network.selects, trains=True)
        found = signal(network.plan(prices, float(subjects)), network.layout().parameters)
    except BudgetError as fault:
        return replace(statistics, chosen=f"statistics: {fault.what}")
    told = f"of {subjects:,} subjects at epsilon {budget.epsilon:g} a network's signal is {found:.1f} times its noise"
    if found < ENOUGH:
        return replace(statistics, chosen=f"statistics: {told}, below {ENOUGH:g}")
    if here != "cuda":
        return replace(statistics, chosen=f"statistics: {told}, but without a GPU its training takes days")
    return replace(network, chosen=f"diffusion: {told}, at least {ENOUGH:g}, and there is a GPU")
