"""Whether recipe, receipt and tables of a published transcript belong together and can be fitted.

What a schema leaves open, what a workload asks for and what the noisy tables of the domain stage give are functions
of what is published, so all of it is done again here: the edges of every tree, the maps, the groups of every query.
The sigmas of single tables are not: they follow from the size of the held-out side, which no file tells.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, cast

import numpy as np

from privsynth.data.codec import Codec, CodedColumn, Learned, Listed, Ranged, coded_column
from privsynth.data.columns import Categorical
from privsynth.generators.marginals.dependencies import most_frequent
from privsynth.generators.marginals.domains import DomainAsk, lay_out_domains, learned_maps
from privsynth.generators.marginals.grid import Level
from privsynth.generators.marginals.plan import HELD_BACK_TABLES
from privsynth.generators.marginals.rounds import check_last_round
from privsynth.generators.marginals.transcript import DEPENDENCY, LEVEL, VOTES, Groups, Ints, Measurement
from privsynth.generators.marginals.tree import learn_edges
from privsynth.generators.marginals.votes import MOST_CATEGORIES
from privsynth.generators.marginals.workload import Workload

if TYPE_CHECKING:
    from privsynth.generators.marginals.published import PublishedTranscript


def check_belonging(found: PublishedTranscript) -> None:
    """Whether they belong together.

    Raises:
        ValueError, IndexError, KeyError, TypeError, ArithmeticError, PrivsynthError: they do not.
    """
    recipe, receipt, transcript = found.recipe, found.receipt, found.transcript
    same = (
        recipe.identity == receipt.recipe == transcript.recipe
        and receipt.schema == recipe.schema.sha256
        and receipt.noise == transcript.noise
        and receipt.contribution == recipe.contribution
        and float(transcript.mu_squared) <= receipt.mu_fit**2 * (1 + 1e-9)
    )
    if not same or any(m.contribution != recipe.contribution for m in (*transcript.domains, *transcript.measurements)):
        raise ValueError
    _check_domains(found)
    columns = Codec(recipe.schema, transcript.learned).columns
    if [m.clique for m in transcript.stage("one-way")] != [(c,) for c in range(len(columns))]:
        raise ValueError
    for m in transcript.measurements:
        _check_table(m, columns)
    _check_asked(found)
    check_last_round(transcript, recipe, mu_fit=receipt.mu_fit)
    _check_public(found)


# --- domains -------------------------------------------------------------------------------------


def _check_domains(found: PublishedTranscript) -> None:
    """Whether the domain tables are those that the recipe asks for, in order, and give what was learned."""
    schema, learned = found.recipe.schema, found.transcript.learned
    left, names = list(found.transcript.domains), list(schema.modelled)
    bins: dict[str, tuple[float, ...]] = {}
    values: dict[str, tuple[str, ...]] = {}
    maps: dict[str, tuple[bool | int | str | None, ...]] = {}
    for ask in lay_out_domains(schema, mu=found.receipt.mu_fit, contribution=found.recipe.contribution):
        of = learned_maps(schema)[ask.column].left if ask.stage == DEPENDENCY else ask.column
        tables = _taken(left, ask, (names.index(of),))
        if ask.stage == LEVEL:
            bins[ask.column] = _edges(cast("Ranged", coded_column(ask.column, schema.columns[ask.column])), tables)
        elif ask.stage == VOTES:
            values[ask.column] = learned.values[ask.column]
            _check_votes(values[ask.column], tables[0], cast("Categorical", schema.columns[ask.column]))
        else:
            one, other = coded_column(of, schema.columns[of], Learned(bins, values)), schema.columns[ask.column]
            maps[ask.column] = _map(cast("Listed", one), cast("Listed", coded_column(ask.column, other)), tables[0])
    if left or (bins, values, maps) != (learned.bins, learned.values, learned.maps):
        raise ValueError


def _taken(left: list[Measurement], ask: DomainAsk, clique: tuple[int, ...]) -> list[Measurement]:
    """The first tables of ``left`` that this ask bought, taken off it: at least one, at most what was asked."""
    out: list[Measurement] = []
    while left and len(out) < ask.tables and (left[0].stage, left[0].clique) == (ask.stage, clique):
        out.append(left.pop(0))
    if not out or any(m.groups != (None,) for m in out):
        raise ValueError
    return out


def _edges(column: Ranged, tables: Sequence[Measurement]) -> tuple[float, ...]:
    """The edges that these levels give, each read once."""
    left = list(tables)

    def measure(level: Level) -> tuple[Ints, float]:
        m = left.pop(0)
        if m.counts.shape != (len(level.low) + level.null,):
            raise ValueError
        return m.counts, m.variance

    edges = learn_edges(column, measure)
    if left:
        raise ValueError
    return edges


def _check_votes(values: Sequence[str], m: Measurement, column: Categorical) -> None:
    if m.counts.shape != (len(values),) or len(values) > MOST_CATEGORIES or column.rest in values:
        raise ValueError


def _map(left: Listed, right: Listed, m: Measurement) -> tuple[bool | int | str | None, ...]:
    if m.counts.shape != (left.cells * right.cells,):
        raise ValueError
    return most_frequent(m.counts, left, right, sigma=m.variance**0.5)


# --- tables over cells ---------------------------------------------------------------------------


def _check_asked(found: PublishedTranscript) -> None:
    """Whether every table is one that the workload asks for, bought once; every one of a query at its groups."""
    recipe, measured = found.recipe, found.transcript.measurements
    names = list(recipe.schema.modelled)
    target = None if recipe.target is None else names.index(recipe.target)
    named = {frozenset(map(names.index, columns)): weight for columns, weight in recipe.workload.weights}
    bought = Counter((m.stage, m.clique) for m in measured if m.stage != "query")
    held = sum(stage == "held-back" for stage, _ in bought)
    if held > HELD_BACK_TABLES or any(count > 1 for count in bought.values()):
        raise ValueError
    for stage, clique in bought:
        if not _is_asked(stage, clique, recipe.workload, target, named.get(frozenset(clique)), len(names)):
            raise ValueError
    codec = Codec(recipe.schema, found.transcript.learned)
    queries = Counter(_query(dict(zip(m.clique, m.groups, strict=True))) for m in measured if m.stage == "query")
    if queries and queries - Counter(_query(query.groups(codec)) for query in recipe.workload.queries):
        raise ValueError


def _query(groups: Mapping[int, Groups | None]) -> tuple[tuple[int, bytes], ...]:
    return tuple((c, b"" if g is None else g.tobytes()) for c, g in sorted(groups.items(), key=lambda at: at[0]))


def _is_asked(
    stage: str, clique: Sequence[int], workload: Workload, target: int | None, weight: float | None, columns: int
) -> bool:
    """Whether a table of this stage may be bought; ``weight``: where the clique was named."""
    match stage:
        case "held-back":
            return len(clique) == min(3, columns)
        case "pair" | "pair again":
            return workload.up_to >= 2 if weight is None else weight > 0
        case "triple":
            return target in clique and workload.up_to >= 2 and weight is None
        case "loose":
            return (workload.up_to == 3 and target not in clique) if weight is None else weight > 0
        case _:
            return stage == "one-way"


def _check_public(found: PublishedTranscript) -> None:
    """Whether each table that is fitted comes with all rows of the public table, where one is declared."""
    declared, transcript = found.recipe.public, found.transcript
    if declared is None and not transcript.public:
        return
    if declared is None or len(transcript.public) != len(transcript.measurements):
        raise ValueError
    for m, public in zip(transcript.measurements, transcript.public, strict=True):
        rows = None if public is None else int(public.sum())
        if rows != (None if m.stage == "held-back" else declared.rows):
            raise ValueError


def _check_table(m: Measurement, columns: Sequence[CodedColumn]) -> None:
    """Whether a table is one of these columns, at groups that its maps give."""
    if not m.clique or m.clique[0] < 0 or any(a >= b for a, b in pairwise(m.clique)):
        raise ValueError
    for c, g, size in zip(m.clique, m.groups, m.counts.shape, strict=True):
        cells = columns[c].cells
        if g is None:
            fits = size == cells
        else:
            fits = g.shape == (cells,) and bool(np.array_equal(np.unique(g), np.arange(size)))
        if not fits or (m.stage == "one-way" and g is not None):
            raise ValueError
