"""What is declared before the first look at the rows, and what the training loop is given."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from privsynth.errors import BudgetError, ModelError
from privsynth.privacy.events import Provenance
from privsynth.privacy.gdp import check_number
from privsynth.privacy.noise import WIDEST, wide_variation
from privsynth.privacy.sampled import calibrated_noise, sampled_steps

if TYPE_CHECKING:
    from dp_accounting import DpEvent

IntArray = NDArray[np.int64]
Loss = Callable[[nn.Module, Mapping[str, Tensor], Generator], Tensor]
"""(network, batch of n examples, randomness) → (n,) losses, the i-th from the i-th example only."""
MakeBatch = Callable[[int, np.random.Generator], Mapping[str, Tensor]]
"""(n, randomness) → n random examples, of nobody, in the form of the source's: names, shapes but the first, types."""

_UNITS = 31  # a subject moves the integer sum by at most 2^31: 2^31 subjects fit in 62 bits


class Source(Protocol):
    """The private rows as tensors."""

    @property
    def subjects(self) -> int:
        """How many coins are tossed. Private: never logged."""
        ...

    def examples(self, chosen: IntArray, *, copies: int, rng: np.random.Generator) -> Mapping[str, Tensor]:
        """The rows of the subjects at these places, on the CPU.

        Args:
            chosen: (b,) places in [0, subjects).
            copies: M examples for each subject, one after the other; her rows take turns over them.
            rng: for augmentation.

        Returns:
            Tensors whose first dimension is b·M; what stands for a subject comes from her rows alone.
        """
        ...


class Lease(Protocol):
    """Which steps may run: each one once, ever."""

    def take(self, through: int) -> int:
        """Lease the steps up to ``through``, durably; return the first that may run: the highest leased before, plus
        one. Where that is above ``through``, nothing was leased."""
        ...


class Checkpoints(Protocol):
    """Where the state after noisy steps is kept. Nothing in it is more than what the steps told."""

    def save(self, step: int, tensors: Mapping[str, Tensor]) -> None:
        """Keep the state after ``step``, durably, and delete older ones."""
        ...

    def newest(self) -> tuple[int, Mapping[str, Tensor]] | None:
        """The newest state and its step; None if there is none."""
        ...

    def clear(self) -> None:
        """Delete them all: once what the training told is kept elsewhere."""
        ...


@dataclass(frozen=True)
class Plan:
    """A private training, fixed before the first look. Every field is public.

    Attributes:
        subjects: how many training subjects were declared (a hold's ``training_subjects``), not how many there are.
        rate: q, with which each subject is in a step, on her own.
        steps: T; all are taken, empty ones too.
        noise: σ, multiplier: standard deviation of a step's noise over ``clipping_norm``.
        clipping_norm: C, the largest L2 norm of what one subject adds to a step's sum of gradients.
        copies: M examples of each subject (noise levels, her rows, augmentations), averaged before clipping.
        learning_rate: of Adam.
        ema: decay of the average of weights, in [0, 1); after t steps at most (1 + t)/(10 + t).
    """

    subjects: float
    rate: float
    steps: int
    noise: float
    clipping_norm: float
    copies: int
    learning_rate: float
    ema: float

    def __post_init__(self) -> None:
        check_number("subjects", self.subjects, 1.0, 1e12)
        check_number("rate", self.rate, 2.0**-40, 1.0)
        check_number("noise", self.noise, 2.0**-2, 2.0**30)
        check_number("clipping_norm", self.clipping_norm, 1e-12, 1e12)
        check_number("learning_rate", self.learning_rate, 1e-12, 1e3)
        check_number("ema", self.ema, 0.0, 1.0 - 2.0**-53)
        for name, value, most in (("steps", self.steps, 10**6), ("copies", self.copies, 4096)):
            check_number(name, value, 1, most)
            if not isinstance(value, int):
                raise BudgetError(f"{name} is {value!r}", mend="a whole number")

    @classmethod
    def of(
        cls,
        *,
        subjects: float,
        batch: float,
        steps: int,
        mu: float,
        delta: float,
        clipping_norm: float,
        copies: int = 1,
        learning_rate: float,
        ema: float = 0.999,
    ) -> Plan:
        """The plan with the least noise whose steps are a (mu, delta) event.

        Args:
            batch: expected subjects in a step.
            mu, delta: of the hold: what of μ_fit goes to training, and ``Prices.delta_steps``.

        Raises:
            BudgetError: numbers out of range.
        """
        check_number("batch", batch, 1e-9, 1e12)
        check_number("subjects", subjects, 1.0, 1e12)
        rate = min(1.0, batch / subjects)
        return cls(
            subjects=subjects,
            rate=rate,
            steps=steps,
            noise=calibrated_noise(mu=mu, delta=delta, rate=rate, steps=steps),
            clipping_norm=clipping_norm,
            copies=copies,
            learning_rate=learning_rate,
            ema=ema,
        )

    @property
    def divisor(self) -> float:
        """What sums are divided by: the expected subjects of a step, q · subjects."""
        return self.rate * self.subjects

    @property
    def event(self) -> DpEvent:
        """The mechanism: T Poisson-sampled Gaussians."""
        return sampled_steps(noise=self.noise, rate=self.rate, steps=self.steps)

    @property
    def grid_sigma(self) -> float:
        """Standard deviation of the noise in grid units: a power of two."""
        return min(2.0 ** math.floor(_UNITS + math.log2(self.noise)), WIDEST)

    @property
    def grid_norm(self) -> int:
        """The most that a subject may move the integer sum, in L2: ⌊grid_sigma/σ⌋, at most 2^31."""
        return math.floor(Fraction(self.grid_sigma) / Fraction(self.noise))

    def variation(self, parameters: int) -> Fraction:
        """A bound on the total variation by which all draws of a training of so many parameters differ from exact
        Gaussians: (1 + e^ε) times it must keep below the hold's ``delta_noise``."""
        return self.steps * parameters * wide_variation(self.grid_sigma)

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Plan:
        """The plan that :meth:`to_json` wrote.

        Raises:
            ModelError: not such a value.
        """
        if not isinstance(value, Mapping) or set(value) != {f.name for f in fields(cls)}:
            raise ModelError("not a training plan of this version", mend="use the version that wrote it")
        whole: dict[str, Any] = {name: value[name] for name in ("steps", "copies")}
        return cls(**{name: float(number) for name, number in value.items()} | whole)


@dataclass(frozen=True)
class Trained:
    """What the steps told, and all that may leave the training.

    Attributes:
        weights: trained parameters after the last step, by name, on the CPU.
        averaged: their exponential moving average.
        steps_run: how many noisy steps are in them; fewer than the plan's after a crash.
        provenance: where the noise came from.
    """

    weights: Mapping[str, Tensor]
    averaged: Mapping[str, Tensor]
    steps_run: int
    provenance: Provenance
