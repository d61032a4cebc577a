"""The nearest-neighbour membership attack, calibrated on people who were held out.

A row that lies near a synthetic row says little: it may lie in a crowd. So the distance to the
nearest synthetic row is set against the distance to the nearest row of a reference of real people
who were not trained on. The reference is one half of the holdout while the other half plays the
non-members; then the halves swap places. Nothing is fitted on train, scales come from the schema.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from privsynth.progress import SILENT, Progress
from privsynth.validate.coded import Coded, Codes, Rows

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]

SOFTENER = 0.05
"""c of the score, in columns. Of .01 to 2, the most powerful against verbatim and near copies on Adult, n = 1,000."""

_WIDE = 256
_A_ROWS, _B_ROWS = 2048, 8192


def distance(a: Codes, b: Codes, columns: Sequence[Coded]) -> Floats:
    """(n,) distances of row i of ``a`` to row i of ``b``; each column adds between 0 and 1.

    Unordered: 1 where the codes differ. Ordered: the difference of the codes over its largest
    possible value; a null differs from every value by 1.
    """
    total = np.zeros(len(a))
    for j, column in enumerate(columns):
        total += _apart(a[:, j], b[:, j], column)
    return total


def min_distance(a_codes: Codes, b_codes: Codes, columns: Sequence[Coded]) -> Floats:
    """(n_a,) distance (see :func:`distance`) of each row of ``a_codes`` to its nearest in ``b_codes``.

    Columns become points of a Euclidean space whose squared distances are the column distances
    (one-hot for unordered, thermometer for ordered, null at the apex over the thermometer's
    circumcentre), so one float32 matrix product gives a block of distances. The nearest row is
    picked by that product (good to about 1e-5); its distance is then computed exactly, so a copy
    is exactly 0. Working memory is below 200 MB at any size. Without rows in ``b_codes``: infinity.
    """
    if len(a_codes) == 0 or len(b_codes) == 0:
        return np.full(len(a_codes), np.inf)
    narrow = [(j, _points(column)) for j, column in enumerate(columns) if column.cells <= _WIDE]
    wide = [(j, column) for j, column in enumerate(columns) if column.cells > _WIDE]
    best = np.full(len(a_codes), np.inf, dtype=np.float32)
    nearest = np.zeros(len(a_codes), dtype=np.int64)
    for b_start in range(0, len(b_codes), _B_ROWS):
        b = b_codes[b_start : b_start + _B_ROWS]
        right = _right(b, narrow)
        for a_start in range(0, len(a_codes), _A_ROWS):
            a = a_codes[a_start : a_start + _A_ROWS]
            block = _left(a, narrow) @ right.T
            for j, column in wide:
                block += _apart(a[:, j, None], b[None, :, j], column).astype(np.float32)
            place = block.argmin(axis=1)
            least = block[np.arange(len(a)), place]
            rows = slice(a_start, a_start + len(a))
            nearest[rows] = np.where(least < best[rows], place + b_start, nearest[rows])
            best[rows] = np.minimum(least, best[rows])
    return distance(a_codes, b_codes[nearest], columns)


def _apart(a: Codes, b: Codes, column: Coded) -> Floats:
    """Elementwise distance of two (broadcastable) arrays of one column's codes."""
    if not column.ordered:
        return np.asarray(a != b, dtype=np.float64)
    values = column.cells - column.nullable
    steps: Floats = np.abs(a.astype(np.float64) - b) / max(values - 1, 1)
    if not column.nullable:
        return steps
    either_null = (a == values) | (b == values)
    return np.where(either_null, (a != b).astype(np.float64), steps)


def _points(column: Coded) -> Singles:
    """(cells, dimensions): points whose squared distances are the column's distances."""
    if not column.ordered:
        return np.asarray(np.eye(column.cells) / np.sqrt(2), dtype=np.float32)
    values = column.cells - column.nullable
    steps = max(values - 1, 1)
    points = np.zeros((column.cells, steps + column.nullable))
    points[:values, :steps] = np.tri(values, steps, -1) / np.sqrt(steps)
    if column.nullable:
        points[values, :steps] = 0.5 / np.sqrt(steps)
        points[values, steps] = np.sqrt(0.75)
    return points.astype(np.float32)


def _embed(codes: Codes, narrow: Sequence[tuple[int, Singles]], width: int) -> Singles:
    """(n, width + 2) points of rows, two columns left for the norms."""
    out: Singles = np.zeros((len(codes), width + 2), dtype=np.float32)
    edges = np.cumsum([0, *(points.shape[1] for _, points in narrow)])
    for (j, points), (start, stop) in zip(narrow, pairwise(edges), strict=True):
        out[:, start:stop] = points[codes[:, j]]
    return out


def _left(codes: Codes, narrow: Sequence[tuple[int, Singles]]) -> Singles:
    out = _embed(codes, narrow, sum(points.shape[1] for _, points in narrow))
    norms = np.einsum("ij,ij->i", out, out)
    out *= -2
    out[:, -2], out[:, -1] = norms, 1
    return out


def _right(codes: Codes, narrow: Sequence[tuple[int, Singles]]) -> Singles:
    out = _embed(codes, narrow, sum(points.shape[1] for _, points in narrow))
    norms = np.einsum("ij,ij->i", out, out)
    out[:, -2], out[:, -1] = 1, norms
    return out


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
