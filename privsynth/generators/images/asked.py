"""Whom :func:`portray` asks: rows that are paid for, or a transcript that was."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from privsynth.data.pictures import Pixels
from privsynth.errors import ModelError
from privsynth.generators.images.alone import lengths
from privsynth.generators.images.portrait import Setting, View
from privsynth.generators.images.sums import BINS, Noisy, Till, unit_of

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_RESTORE = "restore it from the ledger or a backup"


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
        return self._keep(name, self.till.lengths(lengths(self._seen(view)), top, price=share * self.mu_squared))

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
    asked: list[str] = field(default_factory=list)

    def refuse_unasked(self) -> None:
        """Refuse a transcript that holds more than was asked, or in another order.

        Raises:
            ModelError: it does.
        """
        if list(self.told) != self.asked:
            raise ModelError("the transcript has tables that nobody asked for", mend=_RESTORE)

    def _again(self, name: str, unit: float, width: int | None) -> Noisy:
        """What was told under this name, if it can be the answer: in this unit, its last axis so wide (None: any)."""
        if name not in self.told:
            raise ModelError(f"the transcript has no table {name!r}", mend=_RESTORE)
        noisy = self.told[name]
        if noisy.counts.shape[-1:] != (width,) and width is not None:
            raise ModelError(f"the table {name!r} has another shape", mend=_RESTORE)
        if not math.isclose(noisy.unit, unit, rel_tol=1e-9):
            raise ModelError(f"the table {name!r} is in another unit", mend=_RESTORE)
        self.asked.append(name)
        return noisy

    def lengths(self, name: str, view: View, top: float, *, share: float) -> Noisy:
        """As told."""
        return self._again(name, 1.0, BINS)

    def sums(self, name: str, view: View, radius: float, *, share: float) -> Noisy:
        """As told."""
        return self._again(name, unit_of(radius), _width(view))

    def mean(self, name: str, view: View, radius: float, *, share: float) -> Noisy:
        """As told."""
        return self._again(name, unit_of(radius), _width(view))

    def moments(self, name: str, view: View, radius: float, *, by: bool, share: float) -> Noisy:
        """As told."""
        width = _width(view)
        return self._again(name, unit_of(radius) ** 2, None if width is None else width * (width + 1) // 2)


def _width(view: View) -> int | None:
    """How wide what is seen is, where the view says it."""
    if view.axes is not None:
        return int(view.axes.shape[1])
    return None if view.centre is None else len(view.centre)
