"""Which subjects of a table the rule on minors of their source leaves out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from privsynth.errors import ConsentError, RequestDenied
from privsynth.policy.consent.columns import turned

if TYPE_CHECKING:
    from privsynth.data.records import Ballots, Records
    from privsynth.data.schema import Schema
    from privsynth.policy.document import Policy
    from privsynth.policy.minors import Minors


_KINDS = "`{kind: text, dropped: true}`, or learned"


def rule_on_minors(schema: Schema, policy: Policy) -> Minors | None:
    """The rule of the schema's source; None if it has none. Asked of a study before anything is paid.

    Raises:
        RequestDenied: the schema does not declare the column (PS-SRC-004), or the source is not registered.
    """
    rule = policy.source(schema.source).minors
    if rule is not None and rule.column not in schema.columns:
        raise RequestDenied(
            f"PS-SRC-004: the policy leaves minors out by column {rule.column!r}, which the schema does not declare",
            rules=["PS-SRC-004"],
            where=policy.where("sources", schema.source, "minors", "column"),
            mend=f"declare the column in the schema: {_KINDS}",
        )
    return rule


def minors_of(records: Records, policy: Policy) -> frozenset[str]:
    """The subjects whom the rule of their source leaves out. Figures about real people: inside only.

    Raises:
        RequestDenied: the schema does not declare the column (PS-SRC-004).
        ConsentError: the rows were not read from a table, and the schema turns the column's faulty values into others;
            or the column is not read as it was stored: a picture, an identifier, or a dropped one that is no text.
    """
    rule = rule_on_minors(records.schema, policy)
    if rule is None:
        return frozenset()
    subjects, values = _stored(records, rule.column, policy)
    strange = _undeclared(records.schema, rule, values) if rule.values else [False] * len(values)
    known: dict[tuple[type, Any], bool] = {}
    out = set()
    for subject, value, unread in zip(subjects, values, strange, strict=True):
        if not isinstance(subject, str) or subject in out:
            continue
        cell = type(value), value
        if cell not in known:
            known[cell] = rule.leaves_out(value)
        if unread or known[cell]:
            out.add(subject)
    return frozenset(out)


def _stored(records: Records, column: str, policy: Policy) -> Ballots:
    try:
        by_hand = records.roll is None and turned(records, column)
        if not by_hand and records.schema.columns[column].kind != "image":
            return records.ballots(column)
    except KeyError:  # it was not read
        pass
    raise ConsentError(
        f"the rows do not hold column {column!r} as it was stored",
        where=policy.where("sources", records.schema.source, "minors", "column"),
        mend=f"declare it as {_KINDS}, stored as text",
    )


def _undeclared(schema: Schema, rule: Minors, values: list[Any]) -> list[bool]:
    """Of each cell whether the column's declared domain does not hold it, by the very reading that the schema gives it:
    what that would round, clip, map to another category or drop. Of a column without a domain: none."""
    from privsynth.data.conform import conform
    from privsynth.data.schema import Categorical, Identifier, Text

    column = schema.columns[rule.column]
    listed = not isinstance(column, Categorical) or (bool(column.values) and not column.open)
    if not listed or isinstance(column, Text | Identifier):
        return [False] * len(values)
    import numpy as np
    import pyarrow as pa

    try:
        broken = conform(rule.column, column, pa.array(values, from_pandas=True)).broken
    except (pa.ArrowException, OverflowError):  # made by hand: no column of a file mixes types
        return [True] * len(values)
    return list(np.logical_or.reduce([mask for _, mask in broken]).tolist())
