"""The fitted model: closed-form sampling, exact conditioning, exact marginals, one folder on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from privsynth.data.balance import Balance
from privsynth.data.codec import Codec, Codes, Evidence
from privsynth.data.guidance import check_guidance
from privsynth.data.records import Condition, Draw, HeldBack, Synthetic
from privsynth.data.schema import Schema
from privsynth.documents import canonical, identity, sha256
from privsynth.errors import ConditionError
from privsynth.generators.marginals import told
from privsynth.generators.marginals.chains import Orders
from privsynth.generators.marginals.draw import blocks, draw_codes
from privsynth.generators.marginals.filled import filled, joined
from privsynth.generators.marginals.product import Given, check_table, components_at_once, product_table
from privsynth.generators.marginals.rows import barren, kept, sampled
from privsynth.generators.marginals.transcript import Groups, MarginalTranscript
from privsynth.privacy.events import Receipt

if TYPE_CHECKING:
    import pandas as pd

    from privsynth.generators.marginals.diagnostics import Diagnostics
    from privsynth.generators.marginals.published import PublishedTranscript

Floats = npt.NDArray[np.float64]
FORMAT = 1
LIKELY_ROWS = 4096  # of a block of log_likelihood


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
        """The cells of the schema and those that the fit has learned."""
        return Codec(self.schema, self.transcript.learned)

    @cached_property
    def id(self) -> str:
        """SHA-256 over tensors, transcript, receipt and schema."""
        parts = [self.tensors(), self.transcript.to_bytes()]
        return sha256(canonical([*map(sha256, parts), identity(self.receipt.to_json()), self.schema.sha256]))

    @property
    def kind(self) -> str:
        """The generator's kind, as study files write it."""
        return "marginals"

    @property
    def public_help(self) -> str | None:
        """Where the public rows come from that took noise out of the fit; None where there were none."""
        return self.recipe["public"]["note"] if "public" in self.recipe else None

    @property
    def adapts(self) -> bool:
        """Whether the last round's noise was chosen from the noisy answers before it."""
        return self.transcript.envelope is not None

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
        return np.asarray(np.take(self._shares(column), self.groups[column], axis=1) * self.within[column])

    def share(self, column: int) -> Floats:
        """(cells,) the model's distribution of one column. O(R·groups + cells)."""
        return np.asarray((self.weights @ self._shares(column))[self.groups[column]] * self.within[column])

    def _shares(self, column: int) -> Floats:
        """(R, groups) of one column."""
        start = sum(int(g.max()) + 1 for g in self.groups[:column])
        return self.tables[:, start : start + int(self.groups[column].max()) + 1]

    def _share(self, column: int, cells: Floats) -> Floats:
        """(R,) each component's share of these weights of a column's cells, a few components at a time."""
        shares, groups, within = self._shares(column), self.groups[column], self.within[column]
        some = components_at_once(len(shares), len(groups))
        return np.concatenate([(shares[s][:, groups] * within) @ cells for s in some])

    def grouped(self, column: int, groups: Groups | None) -> Floats:
        """(R, groups) each component's distribution of one column over ``groups`` of its cells; None: over cells."""
        if groups is None:
            return self.cells(column)
        from scipy.sparse import csr_array

        own = self.groups[column]
        merge = csr_array((self.within[column], (groups, own)), shape=(int(groups.max()) + 1, int(own.max()) + 1))
        return np.asarray((merge @ self._shares(column).T).T)

    def marginal(self, names: Sequence[str], *, where: Condition | None = None) -> Floats:
        """The exact probability table of one to three columns, one axis a column, summing to 1.

        Structural zeros and orders are met by redrawing at sampling and are not in this table.

        Raises:
            ConditionError: another number of columns, one that is not learned, a table of more than
                ``MOST_TABLE_CELLS`` cells, or a condition that cannot be met.
        """
        columns = [self._column(name) for name in names]
        if not 1 <= len(columns) <= 3 or len(set(columns)) != len(columns):
            raise ConditionError("a marginal takes one to three different columns", mend="ask for fewer")
        check_table([self.codec.columns[c].cells for c in columns], names)
        evidence = self.codec.evidence(where)
        weights = _shares_of(self._log_condition(evidence))
        return product_table(weights, [self._given(c, evidence) for c in columns])

    def probability(self, where: Condition) -> float:
        """The exact probability of a condition."""
        return float(np.exp(self._log_evidence(self.codec.evidence(where))[1]))

    def log_likelihood(self, rows: pd.DataFrame | Codes) -> Floats:
        """(n,) natural logarithm of each row's probability under the model, at the schema's cells; -inf where it is 0.

        Args:
            rows: conformed rows (the learned columns of ``Records.frame`` or ``Synthetic.frame``), or their
                (n, columns) codes.

        Of real rows the figures are sensitive and unpaid: for use inside only, as the internal report is.
        Exact, by sums of logarithms; as in :meth:`marginal`, structural zeros and orders are not in it.
        O(n·columns·R).
        """
        codes = rows if isinstance(rows, np.ndarray) else self.codec.encode(rows)
        if codes.ndim != 2 or codes.shape[1] != len(self.codec.columns):
            raise ConditionError(
                f"codes of shape {codes.shape}", where="log_likelihood", mend="(n, columns), as `codec.encode` gives"
            )
        with np.errstate(divide="ignore"):
            log = np.log(self.weights)
            tables = [np.log(np.ascontiguousarray(self.cells(c).T)) for c in range(codes.shape[1])]
        out: Floats = np.empty(len(codes))
        for at in range(0, len(codes), LIKELY_ROWS):
            part = codes[at : at + LIKELY_ROWS]
            each = np.tile(log, (len(part), 1))
            for c, table in enumerate(tables):
                each += table[part[:, c]]
            out[at : at + len(part)] = _log_sum(each)
        return out

    def _column(self, name: str) -> int:
        if name not in self.codec.index:
            what, mend = self.schema.not_modelled(name)
            raise ConditionError(f"{name!r} is {what}", mend=mend)
        return self.codec.index[name]

    def _log_evidence(self, evidence: Mapping[str, Evidence]) -> tuple[Floats, float]:
        """Log weights of the components given the evidence, and its log probability."""
        with np.errstate(divide="ignore"):
            log = np.log(self.weights)
            for name, e in evidence.items():
                log = log + np.log(self._share(self._column(name), e.weights))
        total = float(_log_sum(log[None, :])[0])
        return (log - total if np.isfinite(total) else log), total

    def _log_condition(self, evidence: Mapping[str, Evidence]) -> Floats:
        """(R,) log weights of the components given the evidence.

        Raises:
            ConditionError: its probability is 0.
        """
        log, total = self._log_evidence(evidence)
        if not np.isfinite(total):
            raise ConditionError(
                "the model gives this condition probability 0", where="where", mend="ask for something that can occur"
            )
        return log

    def _given(self, column: int, evidence: Mapping[str, Evidence]) -> Given:
        """(R, cells) of a column, restricted to its own evidence."""
        e = evidence.get(self.codec.columns[column].name)
        weights = None if e is None else e.weights
        return Given(self._shares(column), self.groups[column], self.within[column], weights)

    # --- sampling -------------------------------------------------------------------------------

    def sample(
        self,
        n: int,
        *,
        where: Condition | None = None,
        seed: int | None = None,
        balance: Balance | None = None,
        draw: Draw = "even",
        guidance: float = 0.0,
    ) -> Synthetic:
        """``n`` synthetic rows: free, and under the same receipt.

        Args:
            n: how many rows, 1 to 100 million.
            where: column → value, list of values, None (null) or ``Between``; conditioning is exact.
            seed: below 2**128; makes the draw repeatable. Sampling needs no secret: the model is already paid for.
            balance: column → ``"equal"`` or {value: share}: how many of the rows hold each value, to one
                row; of several columns the product of the shares, to one row for each combination. The rows
                of a combination are drawn conditional on it, exactly, and on ``where``. In what order the
                columns are named, here and in ``where``, is nothing to the rows.
            draw: ``"even"``: the rows keep the model's shares more closely than independent rows would;
                ``"independent"``: independent rows. Either way each row has the model's law (see draw.py).
            guidance: 0; more is for models that draw pictures by a network.

        Rows that break a structural zero or an order are redrawn, which conditions the model on keeping
        them, exactly; chains of orders that few rows would keep are drawn conditional on them, exactly too
        (see chains.py). Identifiers are made anew, ``synthetic-MARK-NUMBER``: the mark is of this draw (the model,
        ``n``, and all that was asked, the seed too), so that rows of two draws can be put into one table; the same
        draw has the same again. Memory: a small multiple of the table.

        Raises:
            ConditionError: a condition or combination of probability 0, or one that the schema's rules leave
                almost no rows; or a guidance.
        """
        check_guidance(guidance, guides=False)
        return self.beside_pictures(n, where=where, seed=seed, balance=balance, draw=draw)

    def beside_pictures(
        self,
        n: int,
        *,
        where: Condition | None = None,
        seed: int | None = None,
        balance: Balance | None = None,
        draw: Draw = "even",
        guidance: float = 0.0,
    ) -> Synthetic:
        """The rows of :meth:`sample` for a model that draws their pictures with ``guidance``, which their identifiers'
        mark and what is told of them then tell."""
        asked: dict[str, Any] = {"where": where, "seed": seed, "balance": balance, "draw": draw, "guidance": guidance}
        return sampled(self, _Drawer(self, Orders(self.codec)), n, **asked)

    # --- what the transcript tells ---------------------------------------------------------------

    def held_back_error(self) -> HeldBack | None:
        """How far the model is from tables that it was not fitted to: see :func:`told.held_back_error`."""
        return told.held_back_error(self)

    def intervals(self) -> dict[str, tuple[Floats, Floats, Floats]]:
        """Per column: the model's share of each cell, and the 95% interval of the noisy measurement."""
        return told.intervals(self)

    def interval(self, where: Condition, *, confidence: float = 0.95) -> told.Interval:
        """Between what bounds the share of training rows lies that meet ``where``, a condition on one to three
        columns: from the noisy tables, free (see told.py).

        Raises:
            ConditionError: another number of columns, a value outside its domain, or a confidence out of range.
        """
        return told.interval(self, where, confidence=confidence)

    def marginal_interval(self, names: Sequence[str], *, confidence: float = 0.95) -> told.IntervalTable:
        """As :meth:`interval` for each cell of one to three columns, or for each group of cells that was measured.

        Raises:
            ConditionError: as :meth:`marginal`, or a confidence out of range.
        """
        return told.marginal_interval(self, names, confidence=confidence)

    def published(self) -> PublishedTranscript:
        """The transcript with what anyone needs to fit it again."""
        from privsynth.generators.marginals.published import publish

        return publish(self)

    def diagnostics(self) -> Diagnostics:
        """Figures of the fit for a person to look at: free, noisy tables only."""
        from privsynth.generators.marginals.diagnostics import diagnose

        return diagnose(self)

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


def _log_sum(log: Floats) -> Floats:
    """(n,) the logarithm of the sum of each row's exponentials; -inf of a row of -inf."""
    top = log.max(axis=1)
    base = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray(base + np.log(np.exp(log - base[:, None]).sum(axis=1)))


def _shares_of(log: Floats) -> Floats:
    """Weights of sum 1 from their logarithms: exact however rare what they are given is."""
    weights = np.exp(log)
    return np.asarray(weights / weights.sum())


@dataclass(frozen=True, eq=False)
class _Drawer:
    """One draw; the sums of chains of orders are kept for all its parts."""

    model: MarginalModel
    orders: Orders

    def can(self, evidence: Mapping[str, Evidence]) -> bool:
        """Whether a condition has a probability above 0."""
        return bool(np.isfinite(self.model._log_evidence(evidence)[1]))

    def keeping(
        self,
        n: int,
        evidence: Mapping[str, Evidence],
        rng: np.random.Generator,
        draw: Draw,
        *,
        combination: str | None = None,
    ) -> pd.DataFrame:
        """``n`` rows that keep every structural zero and order, block by block."""
        model = self.model
        log = model._log_condition(evidence)
        weights = _shares_of(log)
        given = [model._given(c, evidence) for c in range(len(model.codec.columns))]
        wrong = barren(evidence, combination)
        chains = self.orders.rare(evidence, log, given)
        if chains is not None and not chains.weights.any():
            raise wrong

        def drawn(size: int, draw: Draw) -> pd.DataFrame:
            if chains is not None:
                return kept(chains.frame(size, model.codec, given, evidence, rng, draw), model.schema)
            codes = draw_codes(size, weights, given, rng=rng, draw=draw)
            return kept(model.codec.decode(codes, rng, evidence), model.schema)

        return joined([filled(size, drawn, rng, draw, barren=wrong) for size in blocks(n)])
