"""The one private training loop: what a generator calls to fit a network to rows that must not leave.

Example:
    >>> plan = Plan.of(subjects=n, batch=512, steps=300, mu=mu, delta=delta, ...)  # doctest: +SKIP
    >>> trained = train(network, source, loss, plan, make_batch=make_batch)  # doctest: +SKIP
"""

from __future__ import annotations

from privsynth.privacy.dpsgd.check import check_network
from privsynth.privacy.dpsgd.loop import train
from privsynth.privacy.dpsgd.memory import check_memory, memory_needed
from privsynth.privacy.dpsgd.plan import Checkpoints, IntArray, Lease, Loss, MakeBatch, Plan, Source, Trained

__all__ = [
    "Checkpoints",
    "IntArray",
    "Lease",
    "Loss",
    "MakeBatch",
    "Plan",
    "Source",
    "Trained",
    "check_memory",
    "check_network",
    "memory_needed",
    "train",
]
