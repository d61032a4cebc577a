"""What every measurement here works on: rows as integer codes, and whose rows they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from privsynth.data.subjects import grouped

Codes = npt.NDArray[np.integer[Any]]
Whole = TypeVar("Whole", bound=np.integer[Any])


class Coded(Protocol):
    """What a measurement must know of a column; the codec's columns satisfy it."""

    @property
    def name(self) -> str:
        """As in the schema."""
        ...

    @property
    def cells(self) -> int:
        """How many codes: 0 .. cells-1, the last one being null where ``nullable``."""
        ...

    @property
    def ordered(self) -> bool:
        """Whether neighbouring codes are neighbouring values."""
        ...

    @property
    def nullable(self) -> bool:
        """Whether the last code stands for null."""
        ...


@dataclass(frozen=True)
class Column:
    """A plain :class:`Coded`, for arrays that no codec made."""

    name: str
    cells: int
    ordered: bool = False
    nullable: bool = False


@dataclass(frozen=True, repr=False, eq=False)
class Rows:
    """Coded rows grouped by subject. Sensitive: nothing of it prints.

    Attributes:
        codes: (n, columns) of integers.
        group: (n,) the subject of each row, as 0 .. subjects-1.
        subjects: how many subjects; each has at least one row.
    """

    codes: Codes
    group: npt.NDArray[np.int64]
    subjects: int

    @classmethod
    def of(cls, codes: Codes, subjects: npt.NDArray[Any] | None = None) -> Rows:
        """Rows of the given subject ids (n,); without ids every row is a subject of its own."""
        if subjects is None:
            return cls(codes, np.arange(len(codes), dtype=np.int64), len(codes))
        return cls(codes, *grouped(subjects, by_text=True))

    def __len__(self) -> int:
        return len(self.codes)

    def __repr__(self) -> str:
        return "Rows(...)"

    def of_subjects(self, chosen: npt.NDArray[np.int64]) -> Rows:
        """All rows of the ``chosen`` subjects (distinct numbers), renumbered in that order."""
        place = np.full(self.subjects, -1, dtype=np.int64)
        place[chosen] = np.arange(len(chosen))
        keep = place[self.group] >= 0
        return Rows(self.codes[keep], place[self.group[keep]], len(chosen))

    def some(self, subjects: int, *, rng: np.random.Generator) -> Rows:
        """The rows of ``subjects`` subjects drawn without replacement (all of them if there are fewer)."""
        return self.of_subjects(rng.permutation(self.subjects)[:subjects])


def independent(codes: npt.NDArray[Whole], *, rng: np.random.Generator) -> npt.NDArray[Whole]:
    """The same columns, each shuffled on its own: right one by one, no association left."""
    return np.column_stack([rng.permutation(column) for column in codes.T]).astype(codes.dtype)
