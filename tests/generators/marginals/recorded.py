"""Noise that is written down in one run and given out again in another."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from privsynth.privacy.events import Provenance
from privsynth.privacy.noise import NoiseSource

Ints = npt.NDArray[np.int64]


@dataclass
class Recorder:
    """Draws from an inner source and keeps what was asked and what it gave out."""

    inner: NoiseSource
    sigmas: list[float] = field(default_factory=list)
    outputs: list[Ints] = field(default_factory=list)

    @property
    def provenance(self) -> Provenance:
        return self.inner.provenance

    def add(self, exact: Ints, *, sigma: float) -> Ints:
        self.sigmas.append(sigma)
        self.outputs.append(self.inner.add(exact, sigma=sigma))
        return self.outputs[-1]

    def replay(self) -> Replay:
        """The same outputs in the same order, by the same provenance."""
        return Replay(self.outputs, self.provenance)


@dataclass
class Replay:
    """Gives out what another run gave out, whatever the rows say, and keeps what was asked."""

    outputs: list[Ints]
    provenance: Provenance
    sigmas: list[float] = field(default_factory=list)

    def add(self, exact: Ints, *, sigma: float) -> Ints:
        self.sigmas.append(sigma)
        out = self.outputs[len(self.sigmas) - 1]
        assert out.shape == exact.shape
        return out
