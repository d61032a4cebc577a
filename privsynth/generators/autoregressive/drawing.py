"""Rows drawn column by column, each given those before it, and what a condition means.

*Law.* The paid table's conditional of each column given those drawn before (ground.py), its levels multiplied by the
network's factors and brought to sum 1. Columns come in drawing order: as in the schema, the target last. Every row has
this law, in an even draw too, whose rows hang together by using, column by column, random numbers that are spread
evenly over each batch of rows.

*Conditions.* A network of any order has a conditional for every set of known columns, but they need not belong to one
joint law. What a condition means is fixed by order: its columns come first (those that allow fewest units first, then
as in the schema), then the others in drawing order; the law of these rows, restricted to the condition and brought to
sum 1, is drawn exactly. Of one value a column that is the network's own conditional given these values. Conditions on
several columns are laid out as a list of all that they allow, with the exact probability of each, while there are at
most ``MOST_STATES``; beyond, rows that miss the rest are drawn anew, which is exact too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from privsynth.data.codec import Codes, Evidence
from privsynth.data.evidence import Floats
from privsynth.data.records import Draw
from privsynth.errors import ConditionError
from privsynth.generators.autoregressive.ground import NORM_FLOOR, Ground, Ints

AT_ONCE = 4096
MOST_STATES = 4096
LEAST_KEPT, TRIED = 1e-5, 1_000_000


@dataclass(frozen=True, eq=False)
class Weights:
    """A network's: of each known level into the hidden layer, and out of it.

    Attributes:
        inlet, inlet_bias, outlet, outlet_bias: (width, hidden), (hidden,), (width, hidden), (width,).
        skip: (width, width) of each known level straight to each level of columns drawn later; None: of none.
    """

    inlet: Floats
    inlet_bias: Floats
    outlet: Floats
    outlet_bias: Floats
    skip: Floats | None = None

    @classmethod
    def of(cls, named: Mapping[str, npt.NDArray[np.float32]]) -> Weights:
        """By the names of :class:`network.Network`'s parameters."""
        wide = {name: np.asarray(array, dtype=np.float64) for name, array in named.items()}
        return cls(wide["inlet.weight"].T.copy(), wide["inlet.bias"], wide["outlet.weight"], wide["outlet.bias"])


@dataclass(frozen=True, eq=False)
class Partial:
    """Rows of which some columns are drawn; drawing one more changes them in place, picking rows makes copies.

    Attributes:
        weights: (n, R) of the components given what is drawn.
        hidden: (n, H) what is drawn, as the network takes it in.
        straight: (n, width) the same past the hidden layer; (n, 0) where nothing goes there.
        units: (n, columns) -1 where not drawn.
    """

    weights: Floats
    hidden: Floats
    straight: Floats
    units: Ints

    def __len__(self) -> int:
        return len(self.units)

    def __getitem__(self, rows: Ints) -> Partial:
        return Partial(self.weights[rows], self.hidden[rows], self.straight[rows], self.units[rows])


@dataclass(frozen=True, eq=False)
class Law:
    """The model's law.

    Attributes:
        ground: the paid table's.
        network: what moves it; None: nothing does.
        order: of the columns.
    """

    ground: Ground
    network: Weights | None
    order: Sequence[int]

    def empty(self, n: int) -> Partial:
        """``n`` rows with nothing drawn."""
        bias = np.zeros(0) if self.network is None else self.network.inlet_bias
        skips = self.network is not None and self.network.skip is not None
        return Partial(
            np.tile(self.ground.weights, (n, 1)),
            np.tile(bias, (n, 1)),
            np.zeros((n, self.ground.width if skips else 0)),
            np.full((n, len(self.ground.columns)), -1),
        )

    def shares(self, rows: Partial, column: int) -> Floats:
        """(n, units) the law of a column given what is drawn."""
        c = self.ground.columns[column]
        out = (rows.weights @ c.tables)[:, c.group_of] * c.share
        if self.network is not None:
            out *= self._factors(rows, column)[:, c.level_of]
        total = out.sum(axis=1, keepdims=True)
        return np.asarray(out / total)

    def take(self, rows: Partial, column: int, units: Ints) -> None:
        """Draw a column: these units of it, in place."""
        c = self.ground.columns[column]
        if rows.weights.shape[1] > 1:
            np.multiply(rows.weights, c.tables.T[c.group_of[units]], out=rows.weights)
            np.divide(rows.weights, rows.weights.sum(axis=1, keepdims=True), out=rows.weights)
        if self.network is not None:
            levels = self.ground.starts[column] + c.level_of[units]
            np.add(rows.hidden, self.network.inlet[levels], out=rows.hidden)
            if self.network.skip is not None:
                np.add(rows.straight, self.network.skip[levels], out=rows.straight)
        rows.units[:, column] = units

    def _factors(self, rows: Partial, column: int) -> Floats:
        """(n, levels) the network's, at most 1."""
        assert self.network is not None
        own = slice(int(self.ground.starts[column]), int(self.ground.starts[column + 1]))
        bent = np.maximum(rows.hidden, 0.0)
        bent /= np.sqrt(np.square(bent).mean(axis=1, keepdims=True) + NORM_FLOOR)
        log = bent @ self.network.outlet[own].T + self.network.outlet_bias[own]
        if self.network.skip is not None:
            log += rows.straight[:, own]
        return np.asarray(np.exp(log - log.max(axis=1, keepdims=True)))


@dataclass(frozen=True, eq=False)
class Given:
    """A law under a condition.

    Attributes:
        law: the model's.
        evidence: (units,) what each column of the condition leaves of its units, by column.
    """

    law: Law
    evidence: Mapping[int, Floats]

    @classmethod
    def of(cls, law: Law, evidence: Mapping[int, Evidence]) -> Given:
        """Of a condition on cells."""
        return cls(law, {c: law.ground.columns[c].allowed(e.weights) for c, e in evidence.items()})

    @property
    def possible(self) -> bool:
        """Whether the condition has a probability above 0."""
        return bool(self._laid_out[1].sum() > 0)

    def draw(self, n: int, rng: np.random.Generator, draw: Draw) -> Ints:
        """(n, columns) units, in random order.

        Raises:
            ConditionError: its probability is 0, or so near that it is hardly ever met.
        """
        if not self.possible:
            raise ConditionError(
                "the model gives this condition probability 0", where="where", mend="ask for something that can occur"
            )
        return np.concatenate([self._batch(min(AT_ONCE, n - at), rng, draw) for at in range(0, n, AT_ONCE)])

    def _batch(self, n: int, rng: np.random.Generator, draw: Draw) -> Ints:
        rows = self._begun(n, rng, draw)
        laid, rest = set(self._laid_out[2]), self._rest
        for column in self.law.order:
            if column in laid or column in rest:
                continue
            shares = self.law.shares(rows, column)
            self.law.take(rows, column, picked(shares, spread(n, rng, draw)))
        return rows.units

    def _begun(self, n: int, rng: np.random.Generator, draw: Draw) -> Partial:
        """Rows that meet the condition, with its columns drawn."""
        states, weights, _ = self._laid_out
        upto = np.cumsum(weights / weights.sum())
        if not self._rest:
            return states[_first_above(upto, spread(n, rng, draw))]
        found: list[Partial] = []
        have, tried = 0, 0
        while have < n:
            rows = states[_first_above(upto, rng.random(AT_ONCE))]
            for column in self._rest:
                shares = self.law.shares(rows, column) * self.evidence[column]
                met = rng.random(len(rows)) < shares.sum(axis=1)
                rows = rows[np.flatnonzero(met)]
                self.law.take(rows, column, picked(shares[met], rng.random(len(rows))))
            found.append(rows)
            have, tried = have + len(rows), tried + AT_ONCE
            if tried >= TRIED and have < tried * LEAST_KEPT:
                raise ConditionError("hardly a row meets this condition", where="where", mend="loosen the condition")
        parts = (
            np.concatenate([getattr(f, name) for f in found])[:n] for name in ("weights", "hidden", "straight", "units")
        )
        return Partial(*parts)

    @cached_property
    def _rest(self) -> tuple[int, ...]:
        """Columns of the condition that are not laid out."""
        laid = set(self._laid_out[2])
        return tuple(c for c in self._first if c not in laid)

    @property
    def _first(self) -> list[int]:
        """The condition's columns in their order."""
        return sorted(self.evidence, key=lambda c: (int((self.evidence[c] > 0).sum()), c))

    @cached_property
    def _laid_out(self) -> tuple[Partial, Floats, tuple[int, ...]]:
        """All that the first columns may be, the probability of each, and which columns these are."""
        states, weights = self.law.empty(1), np.ones(1)
        done: list[int] = []
        for column in self._first:
            able = np.flatnonzero(self.evidence[column] > 0)
            if len(states) * len(able) > MOST_STATES and done:
                break
            shares = (self.law.shares(states, column) * self.evidence[column])[:, able] * weights[:, None]
            at, unit = np.nonzero(shares > 0)
            states, weights = states[at], shares[at, unit]
            self.law.take(states, column, able[unit])
            done.append(column)
        return states, weights, tuple(done)


def spread(n: int, rng: np.random.Generator, draw: Draw) -> Floats:
    """(n,) uniform numbers, each on its own or one in each n-th of 0 to 1, in random order."""
    numbers = rng.random(n)
    return numbers if draw == "independent" else np.asarray((rng.permutation(n) + numbers) / n)


def _first_above(upto: Floats, numbers: Floats) -> Ints:
    place = np.searchsorted(upto, numbers * upto[-1], side="right")
    return np.asarray(np.minimum(place, len(upto) - 1), dtype=np.int64)


def picked(shares: Floats, numbers: Floats) -> Ints:
    """(n,) of each row a place by its shares, never one of share 0."""
    upto = np.cumsum(shares, axis=1)
    place = (upto <= (numbers * upto[:, -1])[:, None]).sum(axis=1)
    last = shares.shape[1] - 1 - np.argmax((shares > 0)[:, ::-1], axis=1)
    return np.asarray(np.minimum(place, last), dtype=np.int64)


def cells_of(ground: Ground, units: Ints, evidence: Mapping[int, Evidence], rng: np.random.Generator) -> Codes:
    """(n, columns) int32 a cell of each unit, by what the paid table and the condition say of it."""
    out: Codes = np.empty(units.shape, dtype=np.int32, order="F")
    for c, column in enumerate(ground.columns):
        held = evidence.get(c)
        out[:, c] = column.cells(units[:, c], None if held is None else held.weights, rng)
    return out
