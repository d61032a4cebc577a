"""Whom :func:`portray` asks: rows that are paid for, or a transcript that was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from privsynth.data.pictures import Pixels
from privsynth.errors import ModelError
from privsynth.generators.images.portrait import Setting, View
from privsynth.generators.images.sums import Noisy, Till

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(eq=False, repr=False)
class Rows:
    """Private rows: every answer is bought of ``till`` at its share of ``mu_squared``, and kept in ``told``."""

    setting: Setting
    pixels: Pixels
    cells: Ints
    till: Till
    mu_squared: float
    told: dict[str, Noisy] = field(default_factory=dict)
    _vectors: dict[bool, Floats] = field(default_factory=dict)

    def _seen(self, view: View) -> Floats:
        if view.aligned not in self._vectors:
            band = self.setting.straight if view.aligned else self.setting.plain
            assert band is not None
            self._vectors[view.aligned] = band.vectors(self.pixels)
        return view.of(self._vectors[view.aligned], self.cells, self.setting.sizes)

    def _keep(self, name: str, noisy: Noisy) -> Noisy:
        assert name not in self.told
        self.told[name] = noisy
        return noisy

    def lengths(self, name: str, view: View, top: float, *, share: float) -> Noisy:
        """See :class:`privsynth.generators.images.portrait.Ask`."""
        seen = self._seen(view)
        lengths = np.sqrt(np.einsum("nd,nd->n", seen, seen))
        return self._keep(name, self.till.lengths(lengths, top, price=share * self.mu_squared))

    def sums(self, name: str, view: View, radius: float, *, share: float) -> Noisy:
        """See :class:`privsynth.generators.images.portrait.Ask`."""
        price = share * self.mu_squared
        return self._keep(name, self.till.sums(self._seen(view), radius, self.cells, self.setting.sizes, price=price))

    def mean(self, name: str, view: View, radius: float, *, share: float) -> Noisy:
        """See :class:`privsynth.generators.images.portrait.Ask`."""
        price = share * self.mu_squared
        return self._keep(name, self.till.sums(self._seen(view), radius, self.cells[:, :0], (), price=price))

    def moments(self, name: str, view: View, radius: float, *, by: bool, share: float) -> Noisy:
        """See :class:`privsynth.generators.images.portrait.Ask`."""
        cells = self.cells[:, 0] if by else np.zeros(len(self.cells), dtype=np.int64)
        size = self.setting.sizes[0] if by else 1
        price = share * self.mu_squared
        return self._keep(name, self.till.moments(self._seen(view), radius, cells, size, price=price))


@dataclass(frozen=True, eq=False, repr=False)
class Told:
    """A transcript: every answer is what was told before."""

    told: Mapping[str, Noisy]

    def _again(self, name: str) -> Noisy:
        if name not in self.told:
            raise ModelError(f"the transcript has no table {name!r}", mend="restore it from the ledger or a backup")
        return self.told[name]

    def lengths(self, name: str, view: View, top: float, *, share: float) -> Noisy:
        """As told."""
        return self._again(name)

    def sums(self, name: str, view: View, radius: float, *, share: float) -> Noisy:
        """As told."""
        return self._again(name)

    def mean(self, name: str, view: View, radius: float, *, share: float) -> Noisy:
        """As told."""
        return self._again(name)

    def moments(self, name: str, view: View, radius: float, *, by: bool, share: float) -> Noisy:
        """As told."""
        return self._again(name)
