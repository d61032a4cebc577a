"""Consent by columns: the data themselves say, row by row, who agreed.

A subject is granted only if all of her rows hold one of the values that the policy lists for the purpose,
rows that are dropped for other faults of their content too; an empty cell or any other value is a no.
Values are compared as text: true and false as such, whole numbers by their digits, text without the blanks
at its ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from privsynth.errors import ConsentError
from privsynth.policy.consent.reader import Ask, Reading
from privsynth.policy.consent.verdict import GRANTED, Answer, Judgement, Reason
from privsynth.policy.words import as_text

if TYPE_CHECKING:
    from privsynth.data.records import Records
    from privsynth.policy.consent_rules import ConsentColumn
    from privsynth.policy.document import Policy


def by_columns(records: Records, policy: Policy, ask: Ask) -> Reading:
    """Whether each subject agreed to the purpose in all of her rows.

    Raises:
        ConsentError: the data do not hold the column as it was written.
    """
    rule = (policy.consent.columns or {})[ask.purpose]
    where = policy.where("consent", "columns", ask.purpose, "column")
    _check_kind(records, rule, where)
    ballots = zip(*records.ballots(rule.column), strict=True)
    refusing = {subject for subject, value in ballots if not says_yes(rule, value)}
    subjects = dict.fromkeys(s for s in records.subjects if isinstance(s, str))
    return Reading({s: _NO if s in refusing else GRANTED for s in subjects})


_NO = Judgement(Answer.DENY, (Reason.REFUSED,))


def says_yes(rule: ConsentColumn, value: Any) -> bool:
    """Whether a cell of the column is one of the values that mean yes."""
    return as_text(value) in {as_text(yes) for yes in rule.granted}


def _check_kind(records: Records, rule: ConsentColumn, where: str) -> None:
    """Refuse a column whose faulty values the schema turns into others: a no could become a yes."""
    if rule.column not in records.schema.columns or rule.column not in records.frame.columns:
        raise ConsentError(
            f"the data hold no column {rule.column!r} that consent could be read from",
            where=where,
            mend="declare it in the schema, for example as `{kind: text, dropped: true}`, stored as text",
        )
    if turned(records, rule.column):
        raise ConsentError(
            f"the schema turns faulty values of column {rule.column!r} into other values",
            where=where,
            mend="declare it as `{kind: text, dropped: true}`, boolean, or categorical without a mapped `outside`",
        )


def turned(records: Records, name: str) -> bool:
    """Whether the schema turns faulty values of a column into others."""
    from privsynth.data.schema import Boolean, Categorical

    column = records.schema.columns[name]
    kept = ("null", "drop") if isinstance(column, Categorical) and column.open else (None, "null", "drop")
    mapped = isinstance(column, Categorical) and column.outside not in kept
    return column.learned and (mapped or not isinstance(column, Boolean | Categorical))
