"""The subjects of a table whom evidence beside it can name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from privsynth.errors import ConsentError

if TYPE_CHECKING:
    from privsynth.data.records import Records
    from privsynth.policy.document import Policy


def subject_ids(records: Records, policy: Policy) -> list[str]:
    """Each subject's id once, as the table has it.

    Raises:
        ConsentError: the schema has no subject column.
    """
    if records.schema.subject.column is None:
        raise ConsentError(
            f"evidence of the kind {policy.consent.kind} names subjects, and this schema names no subject column to "
            "find them by",
            where=policy.where("consent", "by"),
            mend="declare `subject: {column: ..., at most: ...}` in the schema, or a policy with consent columns",
        )
    return [s for s in dict.fromkeys(records.subjects) if isinstance(s, str)]
