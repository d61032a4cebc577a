"""Synthetic rows as they are asked for: of any model that can draw rows that keep the rules and meet a condition."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from privsynth.data.balance import Balance, Shares, allot, combinations, read_balance
from privsynth.data.codec import Codec, Evidence
from privsynth.data.evidence import as_json
from privsynth.data.records import Condition, Draw, Synthetic
from privsynth.data.schema import Identifier, Schema
from privsynth.data.tables import violations
from privsynth.documents import sha256
from privsynth.errors import ConditionError
from privsynth.generators.marginals.draw import check_draw
from privsynth.generators.marginals.filled import joined, shuffled
from privsynth.privacy.events import Receipt

if TYPE_CHECKING:
    import pandas as pd

SEEDS = 2**128


class Drawn(Protocol):
    """What is asked of a model."""

    @property
    def id(self) -> str: ...

    @property
    def schema(self) -> Schema: ...

    @property
    def codec(self) -> Codec: ...

    @property
    def receipt(self) -> Receipt: ...


class Drawer(Protocol):
    """One draw of a model: what a condition may be, and rows that meet it."""

    def can(self, evidence: Mapping[str, Evidence]) -> bool:
        """Whether a condition has a probability above 0."""
        ...

    def keeping(
        self,
        n: int,
        evidence: Mapping[str, Evidence],
        rng: np.random.Generator,
        draw: Draw,
        *,
        combination: str | None = None,
    ) -> pd.DataFrame:
        """``n`` rows that meet a condition and keep every structural zero and order.

        Args:
            combination: of a balance, in words, for :func:`barren`.

        Raises:
            ConditionError: almost no rows do.
        """
        ...


def sampled(
    model: Drawn,
    drawer: Drawer,
    n: int,
    *,
    where: Condition | None,
    seed: int | None,
    balance: Balance | None,
    draw: Draw,
    guidance: float = 0.0,
) -> Synthetic:
    """``n`` synthetic rows of ``model``, as ``MarginalModel.sample`` says.

    Args:
        guidance: with which their pictures will be drawn, checked already.
    """
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= 100_000_000:
        raise ConditionError(f"n is {_shown(n)}", where="sample", mend="a whole number from 1 to 100,000,000")
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < SEEDS):
        raise ConditionError(f"seed is {_shown(seed)}", where="sample", mend="a whole number from 0 to 2**128 - 1")
    check_draw(draw)
    drawn_by = secrets.randbits(63) if seed is None else seed
    rng = np.random.default_rng(drawn_by)
    place = model.codec.index
    evidence = dict(sorted(model.codec.evidence(where).items(), key=lambda item: place[item[0]]))
    shares = sorted(read_balance(balance, model.codec, where=where), key=lambda s: place[s.name])
    if shares:
        frame = _balanced(model.codec, drawer, n, evidence, shares, rng, draw)
    else:
        frame = drawer.keeping(n, evidence, rng, draw)
    condition = {k: as_json(v) for k, v in (where or {}).items()}
    asked = {s.name: s.asked for s in shares}
    mark = _mark(model.id, n, condition, asked, drawn_by, draw, *([guidance] if guidance else []))
    width = len(str(n))
    table: dict[str, Any] = {}
    for name, declared in model.schema.columns.items():
        if isinstance(declared, Identifier) and not declared.dropped:
            table[name] = np.array([f"synthetic-{mark}-{i:0{width}d}" for i in range(1, n + 1)], dtype=object)
        elif declared.learned:
            table[name] = frame[name]
    import pandas as pd

    return Synthetic(
        pd.DataFrame(table, copy=False),
        model.schema,
        model.receipt,
        model.id,
        condition,
        where,
        drawn_by,
        asked,
        draw,
        guidance,
    )


def _mark(*drawn: Any) -> str:
    """What tells the identifiers of one draw from those of another: 32 bits of a hash, all of public values."""
    return sha256(json.dumps(drawn, sort_keys=True).encode())[:8]


def _balanced(
    codec: Codec,
    drawer: Drawer,
    n: int,
    evidence: Mapping[str, Evidence],
    shares: Sequence[Shares],
    rng: np.random.Generator,
    draw: Draw,
) -> pd.DataFrame:
    """``n`` rows that hold each combination of values as often as its share says, each drawn conditional on it."""
    wanted = list(combinations(shares))
    for _, given in wanted:
        if not drawer.can({**evidence, **given}):
            raise ConditionError(
                f"the model gives these rows probability 0: {_named(codec, given)}",
                where="balance",
                mend="leave out a value, or loosen `where`",
            )
    counts = allot(n, [share for share, _ in wanted], rng=rng)
    parts = [
        drawer.keeping(int(rows), {**evidence, **given}, rng, draw, combination=_named(codec, given))
        for rows, (_, given) in zip(counts, wanted, strict=True)
        if rows
    ]
    return shuffled(joined(parts), rng)


def _named(codec: Codec, combination: Mapping[str, Evidence]) -> str:
    """A combination of a balance in words."""
    return ", ".join(f"{name} {_allowed(codec, name, e)}" for name, e in combination.items())


def _allowed(codec: Codec, name: str, evidence: Evidence) -> str:
    """The cells that an evidence allows, in words."""
    labels = codec.columns[codec.index[name]].labels()
    return " or ".join(label for label, w in zip(labels, evidence.weights, strict=True) if w > 0)


def barren(evidence: Mapping[str, Evidence], combination: str | None) -> ConditionError:
    """What is raised where hardly a row keeps the schema's rules."""
    if combination is not None:
        whom, where, mend = combination, "balance", "leave out a value, or loosen `where`"
    elif evidence:
        whom, where, mend = "the condition", "where", "loosen the condition"
    else:
        whom, where = "this model", "schema"
        mend = "loosen its `never`, `order` or `sums`: rows of this fit hardly ever keep them all"
    return ConditionError(f"the schema's rules leave {whom} almost no rows", where=where, mend=mend)


def kept(frame: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """The rows that keep every structural zero and order."""
    bad = np.zeros(len(frame), dtype=bool)
    for _, mask in violations(frame, schema):
        bad |= mask
    return frame.loc[~bad].reset_index(drop=True) if bad.any() else frame


def _shown(number: Any) -> str:
    """What was asked instead of a number in range, in a message: a whole number may have too many digits for one."""
    return "beyond 2**128" if isinstance(number, int) and abs(number) >= SEEDS else repr(number)
