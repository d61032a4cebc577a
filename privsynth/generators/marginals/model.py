"""The fitted model: closed-form sampling, exact conditioning, exact marginals, one folder on disk."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from privsynth.data.codec import Codec, Codes, Evidence
from privsynth.data.records import Condition, HeldBack, Synthetic
from privsynth.data.schema import Identifier, Schema
from privsynth.data.tables import violations
from privsynth.documents import canonical, identity, sha256
from privsynth.errors import ConditionError
from privsynth.generators.marginals.transcript import Groups, MarginalTranscript
from privsynth.privacy.events import Receipt

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
FORMAT = 1
REDRAW_AT_LEAST = 20_000
REDRAW_SHARE = 1e-3


@dataclass(frozen=True, eq=False)
class MarginalModel:
    """A mixture of products over cells, with its receipt and the transcript it was fitted to.

    Attributes:
        schema: of the table.
        receipt: what was paid.
        transcript: the noisy measurements.
        recipe: the public description of the recipe (:meth:`Marginals.describe`).
        rows, rows_sigma: the paid estimate N̂ of training rows and its standard deviation.
        weights: (R,) component weights, sum 1.
        tables: (R, G) group distributions of all columns side by side.
        groups: per column (cells,) int32 map of cells to groups.
        within: per column (cells,) probability of a cell within its group.
    """

    schema: Schema
    receipt: Receipt
    transcript: MarginalTranscript
    recipe: Mapping[str, Any]
    rows: float
    rows_sigma: float
    weights: Floats
    tables: Floats
    groups: tuple[Groups, ...]
    within: tuple[Floats, ...]

    def __repr__(self) -> str:
        return (
            f"MarginalModel({self.schema.source!r}, {len(self.weights)} components, epsilon={self.receipt.epsilon:g})"
        )

    @cached_property
    def codec(self) -> Codec:
        """The cells of the schema."""
        return Codec(self.schema)

    @cached_property
    def id(self) -> str:
        """SHA-256 over tensors, transcript, receipt and schema."""
        parts = [self.tensors(), self.transcript.to_bytes()]
        return sha256(canonical([*map(sha256, parts), identity(self.receipt.to_json()), self.schema.sha256]))

    @property
    def kind(self) -> str:
        """The generator's kind, as study files write it."""
        return "marginals"

    def refits(self) -> bool:
        """Whether fitting the transcript again by the recipe that the receipt names gives this very model."""
        from privsynth.generators.marginals.recipe import Marginals

        recipe = Marginals.from_description(self.recipe)
        if recipe.identity != self.receipt.recipe or recipe.identity != self.transcript.recipe:
            return False
        return recipe.refit(self.transcript, self.receipt).id == self.id

    def rows_estimate(self) -> tuple[float, float]:
        """N̂ and its standard deviation."""
        return self.rows, self.rows_sigma

    # --- closed forms ---------------------------------------------------------------------------

    def cells(self, column: int) -> Floats:
        """(R, cells): each component's distribution of one column."""
        start = sum(int(g.max()) + 1 for g in self.groups[:column])
        block = self.tables[:, start : start + int(self.groups[column].max()) + 1]
        return block[:, self.groups[column]] * self.within[column]

    def marginal(self, names: Sequence[str], *, where: Condition | None = None) -> Floats:
        """The exact probability table of one to three columns, one axis a column, summing to 1.

        Structural zeros and orders are met by redrawing at sampling and are not in this table.
        """
        columns = [self._column(name) for name in names]
        if not 1 <= len(columns) <= 3 or len(set(columns)) != len(columns):
            raise ConditionError("a marginal takes one to three different columns", mend="ask for fewer")
        weights, evidence = self._condition(where)
        parts = [self._given(c, evidence) for c in columns]
        letters = "abc"[: len(parts)]
        return np.asarray(
            np.einsum("r," + ",".join(f"r{x}" for x in letters) + "->" + letters, weights, *parts, optimize=True)
        )

    def probability(self, where: Condition) -> float:
        """The exact probability of a condition."""
        return float(np.exp(self._log_evidence(self.codec.evidence(where))[1]))

    def _column(self, name: str) -> int:
        if name not in self.codec.index:
            raise ConditionError(f"{name!r} is not a learned column", mend=f"one of {', '.join(self.codec.index)}")
        return self.codec.index[name]

    def _log_evidence(self, evidence: Mapping[str, Evidence]) -> tuple[Floats, float]:
        """Log weights of the components given the evidence, and its log probability."""
        with np.errstate(divide="ignore"):
            log = np.log(self.weights)
            for name, e in evidence.items():
                log = log + np.log(self.cells(self._column(name)) @ e.weights)
        top = log.max()
        if not np.isfinite(top):
            return log, -np.inf
        total = float(top + np.log(np.exp(log - top).sum()))
        return log - total, total

    def _condition(self, where: Condition | None) -> tuple[Floats, dict[str, Evidence]]:
        evidence = self.codec.evidence(where)
        log, total = self._log_evidence(evidence)
        if not np.isfinite(total):
            raise ConditionError(
                "the model gives this condition probability 0", where="where", mend="ask for something that can occur"
            )
        weights = np.exp(log)
        return weights / weights.sum(), evidence

    def _given(self, column: int, evidence: Mapping[str, Evidence]) -> Floats:
        """(R, cells) of a column, restricted to its own evidence."""
        table = self.cells(column)
        e = evidence.get(self.codec.columns[column].name)
        if e is not None:
            table = table * e.weights
        total = table.sum(axis=1, keepdims=True)
        out: Floats = np.divide(table, total, out=np.full_like(table, 0.0), where=total > 0)
        return out

    # --- sampling -------------------------------------------------------------------------------

    def sample(self, n: int, *, where: Condition | None = None, seed: int | None = None) -> Synthetic:
        """``n`` synthetic rows: free, and under the same receipt.

        Args:
            n: how many rows, 1 to 100 million.
            where: column → value, list of values, None (null) or ``Between``; conditioning is exact.
            seed: makes the draw repeatable. Sampling needs no secret: the model is already paid for.

        Rows that break a structural zero or an order are redrawn, which conditions the model on keeping
        them, exactly. Identifiers are made anew.

        Raises:
            ConditionError: a condition of probability 0, or one that the structural zeros contradict.
        """
        if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= 100_000_000:
            raise ConditionError(f"n is {n!r}", where="sample", mend="a whole number from 1 to 100,000,000")
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int) or seed < 0):
            raise ConditionError(f"seed is {seed!r}", where="sample", mend="a whole number from 0")
        drawn_by = secrets.randbits(63) if seed is None else seed
        rng = np.random.default_rng(drawn_by)
        weights, evidence = self._condition(where)
        frame = self._draw_keeping(n, weights, evidence, rng)
        width = len(str(n))
        table: dict[str, Any] = {}
        for name, declared in self.schema.columns.items():
            if isinstance(declared, Identifier) and not declared.dropped:
                table[name] = np.array([f"synthetic-{i:0{width}d}" for i in range(1, n + 1)], dtype=object)
            elif declared.learned:
                table[name] = frame[name]
        asked = {k: _as_json(v) for k, v in (where or {}).items()}
        import pandas as pd

        return Synthetic(pd.DataFrame(table), self.schema, self.receipt, self.id, asked, where, drawn_by)

    def _draw_keeping(
        self, n: int, weights: Floats, evidence: Mapping[str, Evidence], rng: np.random.Generator
    ) -> pd.DataFrame:
        """``n`` rows that keep every structural zero and order: rejection, so exactly conditioned."""
        import pandas as pd

        kept: list[pd.DataFrame] = []
        have, tried, size = 0, 0, n
        while have < n:
            frame = self._draw(size, weights, evidence, rng)
            bad = np.zeros(size, dtype=bool)
            for _, mask in violations(frame, self.schema):
                bad |= mask
            good = (frame.loc[~bad] if bad.any() else frame).iloc[: n - have]
            kept.append(good)
            have, tried = have + len(good), tried + size
            if tried >= REDRAW_AT_LEAST and have < tried * REDRAW_SHARE:
                raise ConditionError(
                    "the schema's structural zeros leave the condition almost no rows",
                    where="where",
                    mend="loosen the condition",
                )
            size = max(256, (n - have) * 5 // 4)
        return kept[0] if len(kept) == 1 else pd.concat(kept, ignore_index=True)

    def _draw(
        self, n: int, weights: Floats, evidence: Mapping[str, Evidence], rng: np.random.Generator
    ) -> pd.DataFrame:
        """``n`` decoded rows: a component each, then every column independently by inverse CDF."""
        component = _pick(np.cumsum(weights), rng.random(n))
        codes: Codes = np.empty((n, len(self.codec.columns)), dtype=np.int32, order="F")
        for c in range(len(self.codec.columns)):
            codes[:, c] = _pick_rows(np.cumsum(self._given(c, evidence), axis=1), component, rng.random(n))
        return self.codec.decode(codes, rng, evidence)

    # --- what the transcript tells ---------------------------------------------------------------

    def held_back_error(self) -> HeldBack | None:
        """Root mean square over held-back cliques of ½·sqrt(K·‖x − N̂·q‖²)/N̂, an upper bound of their
        total-variation error by Cauchy-Schwarz, from the unbiased Σ(y − N̂·q)² − K·variance.

        ``upper`` adds 1.645 standard deviations of that statistic's noise. Free: noisy tables only.
        """
        held = self.transcript.stage("held-back")
        if not held:
            return None
        squares, noises, cliques = [], [], []
        for m in held:
            parts = []
            for c, g in zip(m.clique, m.groups, strict=True):
                table = self.cells(c)
                if g is not None:
                    merged = np.zeros((len(self.weights), int(g.max()) + 1))
                    np.add.at(merged.T, g, table.T)
                    table = merged
                parts.append(table)
            letters = "abc"[: len(parts)]
            q = np.einsum(
                "r," + ",".join(f"r{x}" for x in letters) + "->" + letters, self.weights, *parts, optimize=True
            )
            k, v = m.counts.size, m.variance
            s = float(((m.counts - self.rows * q) ** 2).sum()) - k * v
            factor = k / (4 * self.rows**2)
            squares.append(factor * s)
            noises.append(factor**2 * (2 * k * v**2 + 4 * v * max(s, 0.0)))
            cliques.append(tuple(self.codec.columns[c].name for c in m.clique))
        mean = float(np.mean(squares))
        sd = float(np.sqrt(np.sum(noises))) / len(squares)
        return HeldBack(
            estimate=float(np.sqrt(max(mean, 0.0))),
            upper=float(np.sqrt(max(mean + 1.645 * sd, 0.0))),
            cliques=tuple(cliques),
        )

    def intervals(self) -> dict[str, tuple[Floats, Floats, Floats]]:
        """Per column: the model's share of each cell, and the 95% interval of the noisy measurement.

        Free. Each is (cells,). The interval covers the noise of the measurement, not sampling of people.
        """
        out = {}
        for c, m in enumerate(self.transcript.stage("one-way")):
            share = self.weights @ self.cells(c)
            y = m.counts / self.rows
            half = 1.96 * np.sqrt(m.variance) / self.rows
            out[self.codec.columns[c].name] = (share, np.clip(y - half, 0, 1), np.clip(y + half, 0, 1))
        return out

    def tensors(self) -> bytes:
        """The model's arrays as safetensors: with schema, receipt and transcript, all that it is."""
        from safetensors.numpy import save

        named: dict[str, npt.NDArray[Any]] = {"weights": self.weights, "tables": self.tables}
        for c, (g, w) in enumerate(zip(self.groups, self.within, strict=True)):
            named[f"groups.{c:05d}"], named[f"within.{c:05d}"] = g, w
        head = canonical({"format": FORMAT, "rows": self.rows, "rows sigma": self.rows_sigma}).decode()
        return save({k: np.ascontiguousarray(v) for k, v in named.items()}, metadata={"model": head})

    def save(self, folder: str | Path) -> None:
        """Write the model into a new folder: see :func:`privsynth.generators.marginals.disk.save_model`."""
        from privsynth.generators.marginals.disk import save_model

        save_model(self, Path(folder))


def _pick(cumulative: Floats, u: Floats) -> npt.NDArray[np.int64]:
    """The index of each u under one cumulative distribution."""
    index: npt.NDArray[np.int64] = np.searchsorted(cumulative, u * cumulative[-1], side="right")
    return np.minimum(index, len(cumulative) - 1)


def _pick_rows(cumulative: Floats, row: npt.NDArray[np.int64], u: Floats) -> Codes:
    """The cell of each u under its own row of (R, cells) cumulative distributions: one search over the
    rows laid end to end, O(n log(R·cells))."""
    components, cells = cumulative.shape
    last = cumulative[:, -1:]
    scaled = np.divide(cumulative, last, out=np.ones_like(cumulative), where=last > 0)
    flat = (scaled + np.arange(components)[:, None]).ravel()
    index = np.searchsorted(flat, row + u, side="right") - row * cells
    top = (
        cells
        - 1
        - np.argmax(np.diff(np.concatenate([np.zeros((components, 1)), scaled], axis=1)[:, ::-1], axis=1) < 0, axis=1)
    )
    out: Codes = np.minimum(np.maximum(index, 0), top[row]).astype(np.int32)
    return out


def _as_json(value: Any) -> Any:
    from privsynth.data.codec import Between

    if isinstance(value, Between):
        return {"from": _as_json(value.low), "to": _as_json(value.high)}
    if isinstance(value, list | tuple | set | frozenset):
        return [_as_json(v) for v in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
