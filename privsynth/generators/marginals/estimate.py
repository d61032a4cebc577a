"""From a transcript alone to what the mixture must meet: groups, shares, precisions, penalty, size.

Post-processing: no rows, no randomness.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from privsynth.data.codec import CodedColumn
from privsynth.errors import ModelError
from privsynth.generators.marginals.public import Blend, blend
from privsynth.generators.marginals.resolve import OneWays, merged, one_ways, refinement
from privsynth.generators.marginals.targets import Block, Floats, Index, Loose, Targets
from privsynth.generators.marginals.transcript import AGAIN, Groups, MarginalTranscript, Measurement

PENALTY = 0.06
PAIRS = ("pair", AGAIN)
FEWEST_COMPONENTS, MOST_COMPONENTS = 64, 1000
MOST_WORK = 6e11
"""Multiplications of a whole fit by default: about half a minute of one core."""


@dataclass(frozen=True, eq=False)
class Estimate:
    """What the transcript says.

    Attributes:
        ones: the one-way estimates.
        groups: per column (cells,) map of cells to the model's groups.
        within: per column (cells,) probability of a cell within its group.
        targets: for the mixture.
        components: how many of them suit the transcript.
    """

    ones: OneWays
    groups: tuple[Groups, ...]
    within: tuple[Floats, ...]
    targets: Targets
    components: int


def estimate(
    transcript: MarginalTranscript, columns: Sequence[CodedColumn], *, target: int | None, steps: int
) -> Estimate:
    """Targets of the fit from the noisy tables.

    Raises:
        ModelError: a transcript whose tables do not belong to these columns.
    """
    helped = transcript.helped("one-way")
    ones = one_ways([m for m, _ in helped], columns, [public for _, public in helped])
    met = _met(transcript, ones.rows)
    joint = [m for m in transcript.measurements if m.stage not in ("one-way", "held-back")]
    maps = _maps(joint)
    groups = tuple(refinement(maps.get(c, []), column.cells) for c, column in enumerate(columns))
    sizes = tuple(int(g.max()) + 1 for g in groups)
    shares, precisions, within = [], [], []
    for c, g in enumerate(groups):
        mass: Floats = np.bincount(g, weights=ones.counts[c]).astype(np.float64)
        even = 1.0 / np.bincount(g)[g]
        within.append(np.divide(ones.counts[c], mass[g], out=even, where=mass[g] > 0))
        shares.append(mass / ones.rows)
        precisions.append(ones.rows**2 / (np.bincount(g) * ones.variance[c]))
    blocks: list[Block] = []
    rounds = [[m for m in joint if m.stage == stage] for stage in PAIRS]
    triples = [m for m in joint if m.stage == "triple"]
    blocks += [_pair_block(pairs, groups, sizes, met) for pairs in rounds if pairs]
    if triples:
        if target is None:
            raise ModelError("triples with a target, but the recipe has none", mend="refit with the recipe that bought")
        blocks += _target_blocks(triples, groups, sizes, met, target)
    loose = tuple(
        Loose(
            m.clique,
            tuple(merged(groups[c], g).astype(np.int64) for c, g in zip(m.clique, m.groups, strict=True)),
            met[id(m)].share,
            met[id(m)].precision,
        )
        for m in joint
        if m.stage not in (*PAIRS, "triple")
    )
    strength = math.sqrt(sum(told.precision for told in met.values()))
    targets = Targets(
        sizes, np.concatenate(shares), np.concatenate(precisions), tuple(blocks), loose, PENALTY * strength
    )
    return Estimate(ones, groups, tuple(within), targets, _components(strength, targets, steps))


def _maps(measured: Sequence[Measurement]) -> dict[int, list[Groups | None]]:
    """By column the different maps of its cells, in the order of the tables."""
    seen: dict[int, dict[bytes | None, Groups | None]] = {}
    for m in measured:
        for c, g in zip(m.clique, m.groups, strict=True):
            seen.setdefault(c, {}).setdefault(None if g is None else g.tobytes(), g)
    return {c: list(maps.values()) for c, maps in seen.items()}


def _components(strength: float, targets: Targets, steps: int) -> int:
    """3·√(N̂·√Σ 1/σ²), within 64 and 1,000 and within the work of half a minute."""
    wanted = min(MOST_COMPONENTS, max(FEWEST_COMPONENTS, round(3 * math.sqrt(strength))))
    work = sum(4.0 * len(b.wanted) ** 2 for b in targets.blocks) + 6.0 * sum(t.wanted.size for t in targets.loose)
    return int(max(16, min(wanted, MOST_WORK / max(work * steps, 1.0))))


def _met(transcript: MarginalTranscript, rows: float) -> dict[int, Blend]:
    """What is to be met of each table, by ``id``: paid answers, and public ones by their weight, stage by stage."""
    out: dict[int, Blend] = {}
    for stage in dict.fromkeys(m.stage for m in transcript.measurements):
        helped = transcript.helped(stage)
        some = blend([m for m, _ in helped], [public for _, public in helped], rows=rows)
        out |= {id(m): told for (m, _), told in zip(helped, some, strict=True)}
    return out


def _pair_block(
    measured: Sequence[Measurement], groups: Sequence[Groups], sizes: Sequence[int], met: Mapping[int, Blend]
) -> Block:
    """All pairs of a round in one block."""
    merge, starts = _side_by_side(measured, groups, sizes)
    width = int(starts[-1])
    wanted, precision = np.zeros((width, width)), np.zeros((width, width))
    for m in measured:
        a, b = (slice(int(starts[c]), int(starts[c + 1])) for c in m.clique)
        wanted[a, b], precision[a, b] = met[id(m)].share, met[id(m)].precision
    return Block(_unless_identity(merge, width), wanted, precision)


def _target_blocks(
    measured: Sequence[Measurement],
    groups: Sequence[Groups],
    sizes: Sequence[int],
    met: Mapping[int, Blend],
    target: int,
) -> list[Block]:
    """One block for each group of the target: the pairs of the other columns among its rows."""
    merge, starts = _side_by_side(measured, groups, sizes)
    width = int(starts[-1])
    first = measured[0]
    values = merged(groups[target], first.groups[first.clique.index(target)])
    offset = int(np.sum(sizes[:target]))
    count = int(values.max()) + 1
    wanted, precision = np.zeros((count, width, width)), np.zeros((count, width, width))
    for m in measured:
        axis = m.clique.index(target)
        a, b = (slice(int(starts[c]), int(starts[c + 1])) for c in m.clique if c != target)
        wanted[:, a, b] = np.moveaxis(met[id(m)].share, axis, 0)
        precision[:, a, b] = met[id(m)].precision
    return [
        Block(
            _unless_identity(merge, width),
            wanted[v],
            precision[v],
            tuple(offset + int(g) for g in np.flatnonzero(values == v)),
        )
        for v in range(count)
    ]


def _side_by_side(
    measured: Sequence[Measurement], groups: Sequence[Groups], sizes: Sequence[int]
) -> tuple[Index, Index]:
    """(G,) places of the model's groups among the measured groups of all columns side by side, and where
    each column starts there."""
    maps: dict[int, Groups | None] = {}
    for m in measured:
        for c, g in zip(m.clique, m.groups, strict=True):
            known = maps.setdefault(c, g)
            if known is not g and (known is None or g is None or not np.array_equal(known, g)):
                raise ModelError("one stage groups a column in two ways", mend="use the version that measured it")
    local = [
        merged(groups[c], maps[c]) if c in maps else np.arange(size, dtype=np.int32) for c, size in enumerate(sizes)
    ]
    starts = np.concatenate([[0], np.cumsum([int(m.max()) + 1 for m in local])]).astype(np.int64)
    return np.concatenate([m + starts[c] for c, m in enumerate(local)]).astype(np.int64), starts


def _unless_identity(merge: Index, width: int) -> Index | None:
    return None if np.array_equal(merge, np.arange(width)) else merge
