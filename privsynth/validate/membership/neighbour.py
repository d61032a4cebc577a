"""The nearest-neighbour membership attack, calibrated on people who were held out.

A row that lies near a synthetic row says little: it may lie in a crowd. So the distance to the
nearest synthetic row is set against the distance to the nearest row of a reference of real people
who were not trained on. The reference is one half of the holdout while the other half plays the
non-members; then the halves swap places. Nothing is fitted on train, scales come from the schema.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from privsynth.progress import SILENT, Progress
from privsynth.validate.coded import Coded, Codes, Rows

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]

SOFTENER = 0.05
"""c of the score, in columns. Of .01 to 2, the most powerful against verbatim and near copies on Adult, n = 1,000."""

GRID = 16384
"""Distances are whole numbers of 1/16384 of a column, so that sums are exact in float32 and a row's distance is
a function of that row alone, wherever it stands in a block and whoever else is there."""

_WIDE = 256
_A_ROWS, _B_ROWS = 2048, 8192


def distance(a: Codes, b: Codes, columns: Sequence[Coded]) -> Floats:
    """(n,) distances of row i of ``a`` to row i of ``b``; each column adds between 0 and 1.

    Unordered: 1 where the codes differ. Ordered: the difference of the codes over its largest possible
    value, a step rounded down to the grid; a null differs from every value by 1.
    """
    total = np.zeros(len(a), dtype=np.int64)
    for j, column in enumerate(columns):
        total += _apart(a[:, j], b[:, j], column)
    return total / GRID


def min_distance(a_codes: Codes, b_codes: Codes, columns: Sequence[Coded]) -> Floats:
    """(n_a,) distance (see :func:`distance`) of each row of ``a_codes`` to its nearest in ``b_codes``.

    Whole-number features whose products add up to the distance (one-hot for unordered, thermometer for
    ordered columns) make a block of distances one float32 matrix product. Every partial sum is a whole
    number below 2^24, hence exact in any order of summation: the result is a pure function of the row and
    of the set ``b_codes``. Columns are taken in parts so that this holds for any number of them. Working
    memory is below 200 MB at any size. Without rows in ``b_codes``: infinity.
    """
    if len(a_codes) == 0 or len(b_codes) == 0:
        return np.full(len(a_codes), np.inf)
    parts = [range(start, min(start + _PART, len(columns))) for start in range(0, len(columns), _PART)]
    best = np.full(len(a_codes), np.iinfo(np.int64).max)
    for b_start in range(0, len(b_codes), _B_ROWS):
        b = b_codes[b_start : b_start + _B_ROWS]
        right = [_features(b, part, columns, right=True) for part in parts]
        for a_start in range(0, len(a_codes), _A_ROWS):
            a = a_codes[a_start : a_start + _A_ROWS]
            block: npt.NDArray[Any] = np.zeros((len(a), len(b)), dtype=np.float32 if len(parts) == 1 else np.int64)
            for part, features in zip(parts, right, strict=True):
                block += (_features(a, part, columns, right=False) @ features.T).astype(block.dtype, copy=False)
            for j, column in enumerate(columns):
                if column.cells > _WIDE:
                    block += _apart(a[:, j, None], b[None, :, j], column).astype(block.dtype)
            rows = slice(a_start, a_start + len(a))
            best[rows] = np.minimum(best[rows], block.min(axis=1).astype(np.int64))
    return best / GRID


_PART = 160
"""Columns a product: 160 · 16,384 · at most 6 terms stays below 2^24 in every partial sum."""


def _step(column: Coded) -> int:
    """The grid's distance of neighbouring codes of an ordered column."""
    return GRID // max(column.cells - column.nullable - 1, 1)


def _apart(a: Codes, b: Codes, column: Coded) -> npt.NDArray[np.int64]:
    """Elementwise distance of two (broadcastable) arrays of one column's codes, on the grid."""
    if not column.ordered:
        return np.where(a != b, GRID, 0).astype(np.int64)
    values = column.cells - column.nullable
    steps = (
        np.abs(a.astype(np.int64) - b) * GRID // max(values - 1, 1)
        if column.cells > _WIDE
        else (np.abs(a.astype(np.int64) - b) * _step(column))
    )
    if not column.nullable:
        return np.asarray(steps, dtype=np.int64)
    either_null = (a == values) | (b == values)
    return np.where(either_null, np.where(a != b, GRID, 0), steps).astype(np.int64)


def _features(codes: Codes, part: range, columns: Sequence[Coded], *, right: bool) -> Singles:
    """(n, width) whole numbers of which the product of a left and a right row is their distance.

    Unordered: GRID − GRID·[a = b]. Ordered, step w: w·a + w·b − 2w·min(a, b), min by thermometers. A null
    stands at value 0, which makes its distance to a value b come out as w·b; one more pair of features each
    way turns that into GRID, and two nulls into 0.
    """
    blocks: list[npt.NDArray[Any]] = []
    for j in part:
        column, code = columns[j], codes[:, j]
        if column.cells > _WIDE:
            continue
        if not column.ordered:
            one_hot = np.eye(column.cells, dtype=np.float32)[code]
            ones = np.ones((len(code), 1), dtype=np.float32)
            blocks += [one_hot, ones] if right else [-GRID * one_hot, GRID * ones]
            continue
        values, step = column.cells - column.nullable, _step(column)
        null = (code >= values).astype(np.float32)[:, None]
        value = np.where(code >= values, 0, code).astype(np.float32)[:, None]
        thermometer = np.tri(values, max(values - 1, 1), -1, dtype=np.float32)[value[:, 0].astype(np.int64)]
        ones = np.ones_like(null)
        if right:
            blocks += [thermometer, ones, step * value, null, GRID - step * value - GRID * null]
        else:
            blocks += [-2 * step * thermometer, step * value, ones, GRID - step * value - GRID * null, null]
    return np.hstack(blocks) if blocks else np.zeros((len(codes), 1), dtype=np.float32)


def by_subject(row_scores: Floats, rows: Rows) -> Floats:
    """(subjects,) the largest score among each subject's rows: the unit of the guarantee is scored."""
    out = np.full(rows.subjects, -np.inf)
    np.maximum.at(out, rows.group, row_scores)
    return out


@dataclass(frozen=True, repr=False, eq=False)
class Scores:
    """Subject scores of one attack; higher means more likely a member. Sensitive.

    Attributes:
        members: (n,) scores of subjects who were trained on.
        others: (n,) scores of as many subjects who were not.
        member_half, other_half: (n,) 0 or 1: which half of the holdout was the reference.
    """

    members: Floats
    others: Floats
    member_half: npt.NDArray[np.int64]
    other_half: npt.NDArray[np.int64]

    def __repr__(self) -> str:
        return "Scores(...)"


@dataclass(frozen=True, repr=False, eq=False)
class Game:
    """Who is scored against which reference: drawn once, so that controls play the same game.

    Attributes:
        members, others: for each half of the holdout as the reference: the subjects to score.
        member_known, other_known: for each half: the distance of their rows to the reference.
    """

    members: tuple[Rows, Rows]
    others: tuple[Rows, Rows]
    member_known: tuple[Floats, Floats]
    other_known: tuple[Floats, Floats]
    columns: Sequence[Coded]

    def __repr__(self) -> str:
        return "Game(...)"

    @property
    def n(self) -> int:
        """How many members are scored, and as many non-members."""
        return self.members[0].subjects + self.members[1].subjects


def draw_game(
    train: Rows, holdout: Rows, columns: Sequence[Coded], *, rng: np.random.Generator, most: int = 10_000
) -> Game:
    """Cut the holdout in halves and pair each with as many random members as it lends non-members.

    At most ``most`` subjects a side are scored; the references are never thinned.
    """
    halves = np.array_split(rng.permutation(holdout.subjects), 2)
    references = [holdout.of_subjects(half).codes for half in halves]
    wanted = [min(len(half), most // 2, train.subjects // 2) for half in (halves[1], halves[0])]
    chosen = rng.permutation(train.subjects)[: sum(wanted)]
    members = (train.of_subjects(chosen[: wanted[0]]), train.of_subjects(chosen[wanted[0] :]))
    others = (holdout.of_subjects(halves[1][: wanted[0]]), holdout.of_subjects(halves[0][: wanted[1]]))

    def known(sides: tuple[Rows, Rows]) -> tuple[Floats, Floats]:
        first, second = (
            min_distance(rows.codes, reference, columns) for rows, reference in zip(sides, references, strict=True)
        )
        return first, second

    return Game(members, others, known(members), known(others), columns)


def attack(game: Game, synthetic: Codes, *, progress: Progress = SILENT) -> Scores:
    """Score every subject of the game against the ``synthetic`` rows (m, columns).

    Row score: log((d(row, reference) + c) / (d(row, synthetic) + c)); a subject has the largest of
    her rows' scores. False alarms: on rows independent of membership given the holdout, members and
    non-members are exchangeable, so the AUC is 0.5 but for chance (test: tests/validate/membership).
    """
    progress.step("nearest-neighbour attack", 4)
    sides: list[list[Floats]] = []
    for halves, known in ((game.members, game.member_known), (game.others, game.other_known)):
        sides.append([])
        for rows, far in zip(halves, known, strict=True):
            near = min_distance(rows.codes, synthetic, game.columns)
            sides[-1].append(by_subject(np.log((far + SOFTENER) / (near + SOFTENER)), rows))
            progress.advance()
    members, others = sides
    return Scores(
        members=np.concatenate(members),
        others=np.concatenate(others),
        member_half=np.repeat([0, 1], [len(s) for s in members]),
        other_half=np.repeat([0, 1], [len(s) for s in others]),
    )
