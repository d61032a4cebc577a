"""Which way each leaf of a policy is tighter: what a child may change, and what a diff calls looser.

Every field of the form carries one of these values in its annotation (``tests/policy/test_leaves.py`` fails if
one has none). A value that a file does not state is ``ABSENT``: no limit from there, unless the direction says
what the silence means.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, Protocol, runtime_checkable

Order = Literal["same", "tighter", "looser", "incomparable"]


class Absent(Enum):
    """What stands for a value that a file does not state."""

    ABSENT = "absent"

    def __repr__(self) -> str:
        return "not stated"


ABSENT = Absent.ABSENT


@runtime_checkable
class Direction(Protocol):
    """How the values of one leaf are ordered."""

    def order(self, before: Any, after: Any, /) -> Order:
        """How ``after`` stands to ``before``; either may be ``ABSENT``."""
        ...

    def steps(self, value: Any, names: Sequence[str], /) -> Iterator[Any]:
        """Values one step looser than ``value``, the nearest first; none for a leaf that cannot be loosened.

        Args:
            value: as in the file.
            names: names that the value does not hold and that somebody may ask for: what a list could grow by.
        """
        ...


@dataclass(frozen=True)
class Limit:
    """A number or a day: the smaller (``lower``) or the larger is tighter; not stated is no limit."""

    tighter: Literal["lower", "higher"]

    def order(self, before: Any, after: Any, /) -> Order:
        """See :class:`Direction`."""
        if before == after:
            return "same"
        if after is ABSENT or before is ABSENT:
            return "looser" if after is ABSENT else "tighter"
        return "tighter" if (after < before) == (self.tighter == "lower") else "looser"

    def steps(self, value: Any, names: Sequence[str], /) -> Iterator[Any]:
        """A day, a whole number, or a hundredth, tenth, quarter of the number further."""
        if isinstance(value, dt.date):
            yield value + dt.timedelta(days=1 if self.tighter == "lower" else -1)
            return
        if isinstance(value, int):
            yield value + (1 if self.tighter == "lower" else -1)
            return
        for part in (0.25, 0.1, 0.01):
            yield float(f"{value * (1 + part if self.tighter == 'lower' else 1 - part):.12g}")


@dataclass(frozen=True)
class Members:
    """A list of names: fewer (``subset``) or more are tighter; not stated is no limit."""

    tighter: Literal["subset", "superset"]

    def order(self, before: Any, after: Any, /) -> Order:
        """See :class:`Direction`."""
        if self.tighter == "superset":  # nothing is demanded
            before, after = ([] if part is ABSENT else part for part in (before, after))
        if before is ABSENT or after is ABSENT:
            return "same" if before is after else "tighter" if before is ABSENT else "looser"
        old, new = ({(type(one), one) for one in part} for part in (before, after))  # true and 1 are two
        if old == new:
            return "same"
        less, more = ("tighter", "looser") if self.tighter == "subset" else ("looser", "tighter")
        return less if new < old else more if new > old else "incomparable"  # type: ignore[return-value]

    def steps(self, value: Any, names: Sequence[str], /) -> Iterator[Any]:
        """One name more, or one less."""
        if self.tighter == "subset":
            yield from ([*value, name] for name in names if name not in value)
        else:
            yield from ([*value[:i], *value[i + 1 :]] for i in range(len(value)))


@dataclass(frozen=True)
class Ladder:
    """Words from the tightest to the loosest; ``absent`` is what silence means (None: no limit). Where the word says
    more than the silence that means it, ``ABSENT`` is a rung by itself."""

    rungs: tuple[Any, ...]
    absent: Any = None

    def order(self, before: Any, after: Any, /) -> Order:
        """See :class:`Direction`."""
        old, new = self._rung(before), self._rung(after)
        return "same" if old == new else "tighter" if new < old else "looser"

    def steps(self, value: Any, names: Sequence[str], /) -> Iterator[Any]:
        """The next rung, and behind silence the next word."""
        looser = self.rungs[self._rung(value) + 1 :]
        yield from looser[: 2 if looser[:1] == (ABSENT,) else 1]

    def _rung(self, value: Any) -> int:
        if value is ABSENT and ABSENT not in self.rungs:
            return len(self.rungs) if self.absent is None else self.rungs.index(self.absent)
        return self.rungs.index(value)


@dataclass(frozen=True)
class Choice:
    """Words of which ``loosest`` is looser than each other one, and the others cannot be compared."""

    loosest: str

    def order(self, before: Any, after: Any, /) -> Order:
        """See :class:`Direction`."""
        if before == after:
            return "same"
        if ABSENT in (before, after):
            return "tighter" if before is ABSENT else "looser"
        return "looser" if after == self.loosest else "tighter" if before == self.loosest else "incomparable"

    def steps(self, value: Any, names: Sequence[str], /) -> Iterator[Any]:
        """The loosest word."""
        if value != self.loosest:
            yield self.loosest


@dataclass(frozen=True)
class Frozen:
    """What may only be the same: it defines what other figures mean, or a ledger froze it.

    A section that is not there has no such value, so silence on one side is no difference by itself: the section's
    limits tell.
    """

    def order(self, before: Any, after: Any, /) -> Order:
        """See :class:`Direction`."""
        return "same" if before == after or ABSENT in (before, after) else "incomparable"

    def steps(self, value: Any, names: Sequence[str], /) -> Iterator[Any]:
        """None."""
        return iter(())


@dataclass(frozen=True)
class Own:
    """What each file says for itself: names, versions, texts. Never compared, never inherited."""

    def order(self, before: Any, after: Any, /) -> Order:
        """See :class:`Direction`."""
        return "same"

    def steps(self, value: Any, names: Sequence[str], /) -> Iterator[Any]:
        """None."""
        return iter(())


@dataclass(frozen=True)
class Means:
    """A means to act, such as somebody's key: one that was not there is looser, another one cannot be compared."""

    def order(self, before: Any, after: Any, /) -> Order:
        """See :class:`Direction`."""
        if before == after:
            return "same"
        return "looser" if before is ABSENT else "tighter" if after is ABSENT else "incomparable"

    def steps(self, value: Any, names: Sequence[str], /) -> Iterator[Any]:
        """None: a key is not made up."""
        return iter(())


@dataclass(frozen=True)
class Demanded:
    """Somebody whom a rule asks for by key: nobody is looser, somebody else cannot be compared."""

    def order(self, before: Any, after: Any, /) -> Order:
        """See :class:`Direction`."""
        if before == after:
            return "same"
        return "tighter" if before is ABSENT else "looser" if after is ABSENT else "incomparable"

    def steps(self, value: Any, names: Sequence[str], /) -> Iterator[Any]:
        """Nobody."""
        yield ABSENT


LOWER, HIGHER = Limit("lower"), Limit("higher")
SUBSET, SUPERSET = Members("subset"), Members("superset")
FROZEN, OWN = Frozen(), Own()
FLAG = Ladder((True, False), absent=False)
"""A rule that is on (tighter) or off."""


@dataclass(frozen=True)
class Keyed:
    """On a mapping: its keys are names of which fewer are tighter; or on a list, whose parts are told apart by a field.

    Attributes:
        by: of a list, the field that names a part; a part that is missing is one limit less. Empty for a mapping.
    """

    by: str = ""
